// A conversation with the run's model: between this page and the gateway, as a stream of OpenAI's form.
"use strict";
(() => {
  const form = document.getElementById("ask");
  if (!form) return;
  const MOST_MESSAGES = 12, MOST_TOKENS = 200;
  const base = form.dataset.gateway;
  const field = document.getElementById("line"), talk = document.getElementById("talk");
  const stop = document.getElementById("stop"), state = document.getElementById("try-state");
  const send = form.querySelector("button[type=submit]");
  const messages = [];
  let asking = null;

  const say = (text) => { state.textContent = text; };

  // What a model writes is text, never markup.
  function add(who, text) {
    const line = document.createElement("p"), name = document.createElement("strong"), words = document.createElement("span");
    line.className = who === "You" ? "you" : "model";
    name.textContent = who;
    words.textContent = text;
    line.append(name, words);
    talk.append(line);
    return { name, words };
  }

  async function problem(answer) {
    try { return (await answer.json()).error.message; } catch { return "The gateway answers with status " + answer.status + "."; }
  }

  async function model() {
    const answer = await fetch(base + "/models", { signal: asking.signal });
    if (!answer.ok) throw new Error(await problem(answer));
    const first = (await answer.json()).data[0];
    if (!first) throw new Error("The run has no checkpoint yet; it comes with the first ones.");
    return first.id;
  }

  async function* events(answer) {
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        const data = part.replace(/^data: /, "");
        if (data === "[DONE]") return;
        yield JSON.parse(data);
      }
    }
  }

  async function ask(line) {
    const body = { model: await model(), messages: [...messages, { role: "user", content: line }], stream: true, max_tokens: MOST_TOKENS };
    const answer = await fetch(base + "/chat/completions", {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal: asking.signal,
    });
    if (!answer.ok) throw new Error(await problem(answer));
    add("You", line);
    field.value = "";
    const { name, words } = add("Model", "");
    try {
      for await (const event of events(answer)) {
        if (event.error) throw new Error(event.error.message);
        name.textContent = "Model, " + event.system_fingerprint;
        words.textContent += event.choices[0]?.delta?.content ?? "";
      }
    } finally {
      messages.push({ role: "user", content: line }, { role: "assistant", content: words.textContent });
      messages.splice(0, Math.max(0, messages.length - MOST_MESSAGES));
    }
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const line = field.value.trim();
    if (asking || !line) return;
    asking = new AbortController();
    send.disabled = true;
    stop.hidden = false;
    say("The model writes.");
    try {
      await ask(line);
      say("");
    } catch (error) {
      const isAway = error instanceof TypeError;
      say(error.name === "AbortError" ? "Stopped." : isAway ? "The gateway at " + base + " does not answer this page." : error.message);
    }
    asking = null;
    send.disabled = false;
    stop.hidden = true;
    field.focus();
  });
  stop.addEventListener("click", () => asking?.abort());
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
})();
