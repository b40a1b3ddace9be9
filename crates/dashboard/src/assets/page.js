// Live updates, sorting and filtering. Everything here works without it too, by loading a page again.
"use strict";
(() => {
  const LEAST_MS = 2500;
  let loading = false, waiting = false, last = 0;

  const rows = () => [...document.querySelectorAll("#table tbody tr")];

  function filter() {
    const field = document.getElementById("filter");
    if (!field || !document.getElementById("table")) return;
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows()) {
      const titles = [...row.querySelectorAll("[title]")].map((part) => part.title).join(" ");
      const text = (row.textContent + " " + titles).toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      if (!row.hidden) shown += 1;
    }
    const count = document.getElementById("shown");
    if (count) count.textContent = shown + " of " + rows().length + " rows shown";
  }

  function keyOf(row, column) {
    const cell = row.cells[column];
    const number = cell.dataset.key ?? (cell.classList.contains("number") ? "" : cell.textContent.trim());
    return number !== "" && Number.isFinite(Number(number)) ? Number(number) : cell.textContent.trim();
  }

  function sort(head, descending) {
    const column = [...head.parentNode.cells].indexOf(head);
    const compare = (a, b) => {
      const [x, y] = [keyOf(a, column), keyOf(b, column)];
      if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1;
      const order = typeof x === "number" ? x - y : x.localeCompare(y);
      return descending ? -order : order;
    };
    const body = document.querySelector("#table tbody");
    body.append(...rows().sort(compare));
    for (const other of head.parentNode.cells) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-sort]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const head = link.closest("th"), now = head.getAttribute("aria-sort");
    const words = ["uid", "standing"].includes(link.dataset.sort);
    sort(head, now === "none" ? !words : now === "ascending");
    const address = new URL(location.href);
    address.searchParams.set("sort", link.dataset.sort);
    address.searchParams.set("order", head.getAttribute("aria-sort") === "descending" ? "down" : "up");
    history.replaceState(null, "", address);
  });
  document.addEventListener("input", (event) => { if (event.target.id === "filter") filter(); });
  document.addEventListener("submit", (event) => {
    if (!document.getElementById("table")) return;
    event.preventDefault();
    filter();
  });

  // Takes the parts of the page that the server has changed. What somebody is in, or has opened, stays.
  function replace(fresh) {
    for (const part of document.querySelectorAll("[data-live]")) {
      const other = fresh.getElementById(part.id);
      const busy = part.contains(document.activeElement) || part.querySelector("details[open]");
      const selected = getSelection();
      const marked = selected && !selected.isCollapsed && part.contains(selected.anchorNode);
      if (!other || busy || marked || part.innerHTML === other.innerHTML) continue;
      part.replaceWith(document.adoptNode(other));
    }
    filter();
  }

  async function load() {
    if (loading || document.hidden) { waiting = true; return; }
    const pause = last + LEAST_MS - Date.now();
    loading = true;
    if (pause > 0) await new Promise((done) => setTimeout(done, pause));
    waiting = false;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (answer.ok) replace(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch { /* The stream reports that the server is away. */ }
    last = Date.now();
    loading = false;
    if (waiting) load();
  }

  const say = (text) => { const line = document.getElementById("live"); if (line) line.textContent = text; };
  if (!window.EventSource || !document.querySelector("[data-live]")) return;
  let stream = null, first = true;
  function follow() {
    stream = new EventSource("/api/v1/events");
    stream.addEventListener("head", () => { if (first) { first = false; return; } load(); });
    stream.addEventListener("window", (event) => {
      if (!first) say("Window " + JSON.parse(event.data).window + " is finished.");
    });
    stream.addEventListener("error", () => say("The live updates are interrupted; they resume by themselves."));
    stream.addEventListener("open", () => say(""));
  }
  follow();
  // A page that was left may be kept for the way back, with its stream: six of them are all that a browser allows a host,
  // and the next page would wait for one.
  addEventListener("pagehide", () => stream.close());
  addEventListener("pageshow", (event) => { if (event.persisted) { follow(); load(); } });
  document.addEventListener("visibilitychange", () => { if (!document.hidden && waiting) load(); });
})();
