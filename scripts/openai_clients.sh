#!/usr/bin/env bash
# OpenAI's official clients for Python and Node against our gateway, on a small model that is trained first.
# By hand only: it installs the clients into a scratch folder, which needs the network. Node is left out where it is missing.
#
#   scripts/openai_clients.sh [PATH OF templar]       the release build where none is given
set -euo pipefail
cd "$(dirname "$0")/.."
templar=${1:-${CARGO_TARGET_DIR:-target}/release/templar}
templar=$(realpath "$templar")
scratch=$(mktemp -d)
port=${OPENAI_CLIENTS_PORT:-9912}
trap 'kill "${gateway:-}" 2>/dev/null || true; rm -rf "$scratch"' EXIT
python_version=3.51.0
node_version=7.59.0

python3 -m venv "$scratch/python"
"$scratch/python/bin/pip" install -q "openai==$python_version"
cd "$scratch"
"$templar" model train --synthetic 200000 --preset nano --steps "${STEPS:-40}" --sequence-length 64 --batch 8 --quiet --out small
"$templar" gateway --open --model small --listen "127.0.0.1:$port" --data "$scratch/data" --json > gateway.log 2>&1 &
gateway=$!
export OPENAI_BASE_URL=http://127.0.0.1:$port/v1 OPENAI_API_KEY=any
for _ in $(seq 300); do curl -fs -o /dev/null "http://127.0.0.1:$port/health" && break; sleep 0.1; done

cat > check.py <<'PYTHON'
import concurrent.futures, sys, time, json, urllib.request
import openai
from openai import OpenAI

client = OpenAI(max_retries=0)
failed = 0
ASK = dict(model="small", messages=[{"role": "user", "content": "Anna is"}], max_tokens=24, seed=1)

def check(name, run):
    global failed
    try:
        result = run()
        assert result is not False, "it does not hold"
        print("ok    python:", name)
    except Exception as error:
        print("FAIL  python:", name, "--", type(error).__name__, error)
        failed = 1

def chat(**more):
    return client.chat.completions.create(**{**ASK, **more})

def refused(kind, status, **more):
    try:
        chat(**more)
    except kind as error:
        assert error.status_code == status, error.status_code
        return error
    raise AssertionError("it was not refused")

def streamed(**more):
    pieces, usage = {}, None
    for chunk in chat(stream=True, **more):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            pieces[choice.index] = pieces.get(choice.index, "") + (choice.delta.content or "")
    return pieces, usage

def health():
    return json.load(urllib.request.urlopen(str(client.base_url).replace("/v1/", "/health")))

def parts():
    text = [{"type": "text", "text": "Anna "}, {"type": "text", "text": "is"}]
    return chat(messages=[{"role": "user", "content": text}]).choices[0].message.content == \
        chat().choices[0].message.content

def stop():
    whole = chat(temperature=0).choices[0].message.content
    word = whole[len(whole) // 2 : len(whole) // 2 + 3]
    cut = chat(temperature=0, stop=[word]).choices[0]
    return cut.message.content == whole[: whole.index(word)] and cut.finish_reason == "stop"

def usage():
    pieces, usage = streamed(stream_options={"include_usage": True})
    whole = chat()
    return pieces[0] == whole.choices[0].message.content and usage == whole.usage

def many():
    pieces, _ = streamed(n=3)
    return [choice.message.content for choice in chat(n=3).choices] == [pieces[index] for index in range(3)]

def logprobs():
    tokens = chat(logprobs=True, top_logprobs=3).choices[0].logprobs.content
    return len(tokens) > 0 and all(len(token.top_logprobs) == 3 and token.logprob <= 0 for token in tokens)

def disconnect():
    before = health()["tokens"]
    stream = chat(stream=True, n=32, max_tokens=400)
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            break
    stream.close()
    while health()["running"] or health()["waiting"]:
        time.sleep(0.05)
    return health()["tokens"] - before < 32 * 400 / 2

def load():
    # 32 clients at once: one reads slowly, one leaves; the others get the text that they get alone.
    alone = {seed: chat(seed=seed).choices[0].message.content for seed in range(4)}
    def ask(number):
        text = ""
        stream = chat(seed=number % 4, stream=True)
        for chunk in stream:
            text += chunk.choices[0].delta.content or ""
            if number == 0:
                time.sleep(0.1)
            if number == 1 and text:
                stream.close()
                return True
        return text == alone[number % 4]
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        return all(pool.map(ask, range(32), timeout=120))

def image():
    content = [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]
    return "image_url" in str(refused(openai.BadRequestError, 400, messages=[{"role": "user", "content": content}]))

def completion():
    whole = client.completions.create(model="small", prompt="Anna", max_tokens=12, temperature=0)
    stream = client.completions.create(model="small", prompt="Anna", max_tokens=12, temperature=0, stream=True)
    return whole.choices[0].text == "".join(chunk.choices[0].text for chunk in stream)

check("models", lambda: [model.id for model in client.models.list()] == ["small"])
check("model", lambda: client.models.retrieve("small").id == "small")
check("chat", lambda: len(chat().choices[0].message.content) > 0)
check("the same seed, the same text", lambda: chat().choices[0].message.content == chat().choices[0].message.content)
check("fingerprint", lambda: chat().system_fingerprint == "folder-small")
check("stream and usage", usage)
check("n", many)
check("stop", stop)
check("logprobs", logprobs)
check("content as parts", parts)
check("penalties", lambda: chat(presence_penalty=1, frequency_penalty=-1, top_p=0.5).choices[0].finish_reason in ("stop", "length"))
check("max_completion_tokens", lambda: chat(max_tokens=openai.NOT_GIVEN, max_completion_tokens=3).usage.completion_tokens <= 3)
check("completions", completion)
check("unknown fields", lambda: chat(extra_body={"made_up": [1]}, user="me", metadata={"a": "b"}) is not None)
check("with_raw_response", lambda: client.chat.completions.with_raw_response.create(**ASK).status_code == 200)
check("bad temperature", lambda: refused(openai.BadRequestError, 400, temperature=3).param == "temperature")
check("unknown model", lambda: refused(openai.NotFoundError, 404, model="gpt-4").code == "model_not_found")
check("tools are refused", lambda: refused(openai.BadRequestError, 400, tools=[{"type": "function", "function": {"name": "f"}}]).param == "tools")
check("images are refused", image)
check("a long prompt", lambda: refused(openai.BadRequestError, 400, messages=[{"role": "user", "content": "Anna " * 2000}]).code == "context_length_exceeded")
check("a client that leaves", disconnect)
check("32 clients, one slow and one that leaves", load)
sys.exit(failed)
PYTHON
status=0
"$scratch/python/bin/python" check.py || status=1

if command -v npm > /dev/null; then
  npm install --silent --no-fund --no-audit "openai@$node_version"
  cat > check.mjs <<'NODE'
import OpenAI from "openai";

const client = new OpenAI({ maxRetries: 0 });
const ASK = { model: "small", messages: [{ role: "user", content: "Anna is" }], max_tokens: 24, seed: 1 };
let failed = 0;
async function check(name, run) {
  try {
    if ((await run()) === false) throw new Error("it does not hold");
    console.log("ok    node:", name);
  } catch (error) {
    console.log("FAIL  node:", name, "--", error.name, error.message);
    failed = 1;
  }
}
const chat = (more = {}) => client.chat.completions.create({ ...ASK, ...more });
const text = async (more) => (await chat(more)).choices[0].message.content;
async function refused(status, more) {
  try {
    await chat(more);
  } catch (error) {
    if (error.status !== status) throw error;
    return error;
  }
  throw new Error("it was not refused");
}

await check("models", async () => (await client.models.list()).data[0].id === "small");
await check("chat", async () => (await text()).length > 0);
await check("stream and usage", async () => {
  let whole = "", usage = null;
  for await (const chunk of await chat({ stream: true, stream_options: { include_usage: true } })) {
    whole += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  return whole === (await text()) && usage.total_tokens === (await chat()).usage.total_tokens;
});
await check("the stream helper", async () => {
  const stream = client.chat.completions.stream({ ...ASK });
  return (await stream.finalContent()) === (await text());
});
await check("n", async () => (await chat({ n: 3 })).choices.length === 3);
await check("content as parts", async () =>
  (await text({ messages: [{ role: "user", content: [{ type: "text", text: "Anna is" }] }] })) === (await text()));
await check("bad temperature", async () => (await refused(400, { temperature: 3 })).param === "temperature");
await check("unknown model", async () => (await refused(404, { model: "gpt-4" })).code === "model_not_found");
await check("an aborted stream", async () => {
  const stream = await chat({ stream: true, n: 32, max_tokens: 400 });
  for await (const chunk of stream) if (chunk.choices[0]?.delta?.content) break;
  stream.controller.abort();
  const health = async () => (await fetch(process.env.OPENAI_BASE_URL.replace("/v1", "/health"))).json();
  for (let load = await health(); load.running || load.waiting; load = await health()) {
    await new Promise((done) => setTimeout(done, 50));
  }
});
process.exit(failed);
NODE
  node check.mjs || status=1
else
  echo "skip  node: npm is not here"
fi
exit $status
