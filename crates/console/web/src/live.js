// Parts of a page that are kept up to date: `data-live` elements are replaced by their newest state whenever the server
// says that something changed. What someone ticks or types stays.

const policy = window.trustedTypes?.createPolicy("matron", {
  // Our own page, escaped by the server; it is parsed into a document of its own that runs nothing.
  createHTML: (page) => page,
});

let asking = false;

export async function refresh() {
  const places = document.querySelectorAll("[data-live]");
  if (places.length === 0 || asking) return;
  asking = true;
  try {
    const response = await fetch(location.href, { headers: { accept: "text/html" } });
    if (response.redirected || response.status === 401) location.reload();
    if (!response.ok) return;
    const page = await response.text();
    const fresh = new DOMParser().parseFromString(policy ? policy.createHTML(page) : page, "text/html");
    for (const old of places) {
      const now = fresh.getElementById(old.id);
      // A row with the cursor in it stays as it is.
      if (!now || old.contains(document.activeElement)) continue;
      const ticked = new Set(Array.from(old.querySelectorAll("input:checked"), (box) => box.value));
      for (const box of now.querySelectorAll("input[type=checkbox], input[type=radio]")) box.checked = ticked.has(box.value);
      if (old.innerHTML !== now.innerHTML) old.replaceChildren(...now.childNodes);
    }
  } finally {
    asking = false;
  }
}

export function start() {
  if (!document.querySelector("[data-live]")) return;
  const events = new EventSource("/events");
  events.addEventListener("changed", refresh);
  const place = document.querySelector("[data-connection]");
  events.addEventListener("open", () => place && (place.hidden = true));
  events.addEventListener("error", () => place && (place.hidden = false));
}
