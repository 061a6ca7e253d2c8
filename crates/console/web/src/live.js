// Parts of a page that are kept up to date: `data-live` elements are replaced by their newest state whenever the server
// says that something changed. What someone ticks or types stays.

const policy = window.trustedTypes?.createPolicy("matron", {
  // Our own page, escaped by the server; it is parsed into a document of its own that runs nothing.
  createHTML: (page) => page,
});

let asking = false;
let again = false;
let missed = false;
// How many times in a row a page that asks for itself got no answer, and whether it is over with asking.
let failures = 0;
let signedOut = false;

// Someone types or chooses in it: it is replaced once they have left.
const isUsed = (place) => place.contains(document.activeElement) && document.activeElement.matches("input, select, textarea, button");

function takeOver(old, now) {
  const ticked = new Set(Array.from(old.querySelectorAll("input:checked"), (box) => box.value));
  for (const box of now.querySelectorAll("input[type=checkbox], input[type=radio]")) box.checked = ticked.has(box.value);
  for (const field of now.querySelectorAll("input:not([type=checkbox], [type=radio]), textarea")) {
    const typed = field.id && old.querySelector(`#${CSS.escape(field.id)}`);
    if (typed) field.value = typed.value;
  }
  // By their own name, so that what was opened at one order does not open at the next; others by their place.
  const before = Array.from(old.querySelectorAll("details:not([id])"), (d) => d.open);
  now.querySelectorAll("details:not([id])").forEach((d, n) => (d.open = before[n] ?? d.open));
  for (const fold of now.querySelectorAll("details[id]")) {
    const was = old.querySelector(`#${CSS.escape(fold.id)}`);
    if (was) fold.open = was.open;
  }
  if (now.dataset.poll) old.dataset.poll = now.dataset.poll;
  if (old.innerHTML === now.innerHTML) return;
  const focus = old.contains(document.activeElement) ? document.activeElement.closest("[id]")?.id : null;
  old.replaceChildren(...now.childNodes);
  const at = focus && document.getElementById(focus);
  (at?.matches?.("details") ? at.querySelector("summary") : at)?.focus();
}

export async function refresh() {
  const places = document.querySelectorAll("[data-live]");
  if (places.length === 0) return;
  again = asking;
  if (asking) return;
  asking = true;
  try {
    // Names are opened when someone asks for them, not by a page that asks for itself.
    const here = new URL(location.href);
    here.searchParams.delete("names");
    // It is the page that asks, and nobody who sits there: that keeps no session alive.
    const response = await fetch(here, { headers: { accept: "text/html", "x-matron-live": "1" } });
    if (response.redirected || response.status === 401) {
      signedOut = true;
      connection("You are signed out: reload the page to sign in again.");
      return;
    }
    if (!response.ok) {
      failures += 1;
      return;
    }
    const page = await response.text();
    const fresh = new DOMParser().parseFromString(policy ? policy.createHTML(page) : page, "text/html");
    failures = 0;
    missed = false;
    for (const old of places) {
      const now = fresh.getElementById(old.id);
      if (now && isUsed(old)) missed = true;
      else if (now) takeOver(old, now);
    }
    document.dispatchEvent(new Event("matron:refreshed"));
  } catch {
    // No answer: the connection's own line says so.
    failures += 1;
  } finally {
    asking = false;
  }
  if (again) await refresh();
}

function connection(words) {
  const place = document.querySelector("[data-connection]");
  if (!place) return;
  place.textContent = words ?? "";
  place.hidden = !words;
}

const LOST_AFTER_MS = 10_000;
// What the server counts may be a second old (core's overview): once more when that is over.
const COUNTED_AGAIN_MS = 1500;
let counted;

function changed() {
  clearTimeout(counted);
  counted = setTimeout(refresh, COUNTED_AGAIN_MS);
  refresh();
}

// A holder's page has no stream of changes: while something waits for the phone, it is asked for again every few seconds,
// and otherwise once a minute, so that it never shows for long what is not so any more.
const POLLED_MS = 4000;
const SELDOM_MS = 60_000;
const NOT_CONNECTED = "Not connected: what you see may be old.";

function poll() {
  let asked = Date.now();
  const look = async () => {
    if (document.hidden || signedOut) return;
    const every = failures > 0 || document.querySelector('[data-poll="now"]') ? POLLED_MS : SELDOM_MS;
    if (Date.now() - asked < every - POLLED_MS / 2) return;
    asked = Date.now();
    await refresh();
    // One answer may be lost; two in a row are told.
    if (!signedOut && failures !== 1) connection(failures > 1 ? NOT_CONNECTED : undefined);
  };
  setInterval(look, POLLED_MS);
  document.addEventListener("visibilitychange", () => {
    asked = 0;
    look();
  });
  document.addEventListener("focusout", () => missed && setTimeout(refresh));
}

export function start() {
  if (!document.querySelector("[data-live]")) return;
  if (document.querySelector("[data-poll]")) {
    poll();
    return;
  }
  let events;
  let lost;
  const isLost = () => (lost ??= setTimeout(() => connection(NOT_CONNECTED), LOST_AFTER_MS));
  const listen = () => {
    events?.close();
    // Browsers allow few connections to one host: a tab that nobody looks at holds none.
    if (document.hidden) return;
    events = new EventSource("/events");
    events.addEventListener("changed", changed);
    events.addEventListener("open", () => {
      clearTimeout(lost);
      lost = undefined;
      connection();
      // What changed while nobody listened.
      changed();
    });
    events.addEventListener("error", () => {
      isLost();
      // The server ends each stream after some minutes, and the browser comes back by itself; after another answer than a
      // stream (signed out, a restart behind a proxy) it does not.
      if (events.readyState === EventSource.CLOSED) {
        refresh();
        setTimeout(listen, LOST_AFTER_MS);
      }
    });
  };
  document.addEventListener("visibilitychange", listen);
  document.addEventListener("focusout", () => missed && setTimeout(refresh));
  listen();
}
