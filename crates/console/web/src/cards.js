// Cards with a QR code, and the sheet that they are printed on.
import { encode as qr } from "uqr";

const SVG = "http://www.w3.org/2000/svg";
export function element(name, attributes, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  e.append(...children);
  return e;
}

// Dark on light with its quiet zone, whatever the page's colours.
export function code(link, label = "The link as a QR code") {
  const { size, data } = qr(link, { ecc: "M", border: 4 });
  const path = data.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x} ${y}h1v1h-1z` : ""))).join("");
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of [["viewBox", `0 0 ${size} ${size}`], ["role", "img"], ["aria-label", label], ["class", "app-qr"], ["shape-rendering", "crispEdges"]]) {
    svg.setAttribute(key, value);
  }
  for (const [shape, colour, attributes] of [["rect", "#fff", { width: size, height: size }], ["path", "#000", { d: path }]]) {
    const e = document.createElementNS(SVG, shape);
    for (const [key, value] of Object.entries({ ...attributes, fill: colour })) e.setAttribute(key, value);
    svg.append(e);
  }
  return svg;
}

export function card({ name, group, link, until }) {
  const copy = element("button", { type: "button", class: "nhsuk-button nhsuk-button--secondary nhsuk-button--small app-screen-only" }, "Copy the link");
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(link);
      copy.textContent = "Copied";
    } catch {
      copy.textContent = "The browser does not allow it: copy the link by hand";
    }
  });
  return element("li", { class: "app-card" },
    code(link),
    element("div", {},
      element("h3", { class: "nhsuk-heading-s" }, name),
      element("p", {}, `${group} · one phone, once, until ${until}`),
      element("p", {}, element("code", { class: "app-break" }, link)),
      copy,
    ),
  );
}

// A file's cards take the place of those of the file before: chosen again, it is not printed twice. A card that was made
// here stays, since its link is shown once.
export function show(cards, ofFile = false) {
  const sheet = document.getElementById("sheet");
  const place = document.getElementById("cards");
  if (ofFile) {
    for (const old of place.querySelectorAll("[data-of-file]")) old.remove();
    for (const c of cards) c.dataset.ofFile = "";
  }
  place.prepend(...cards);
  sheet.hidden = false;
  document.getElementById("h-sheet").focus();
}

export function start() {
  document.querySelector("[data-print]")?.addEventListener("click", () => window.print());
}
