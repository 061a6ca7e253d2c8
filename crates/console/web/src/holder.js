// Holders' cards: the code that a card's address carries goes into the field, and new cards are shown, once.
import { code, element, show } from "./cards.js";
import { hex } from "./bytes.js";

const callOf = (number) => (number ? `Or call ${number}. ` : "Or call the service desk. ");

// Whose phone it is, as the page shows it: its holder where names are open, its model, its home group.
function whose(enrolment) {
  const id = hex(enrolment);
  const shown = document.querySelector(`[data-phone="${id}"]`)?.dataset.whose;
  return [shown, `phone ${id.slice(0, 8)}`].filter(Boolean).join(" · ");
}

// A card to cut out: its code, and the same as an address that a camera opens.
export function holdersCard(grouped, whose) {
  const { call } = document.getElementById("cards").dataset;
  const link = `${location.origin}/my-phone#${grouped}`;
  return element("li", { class: "app-card app-card--holder" },
    code(link, "The holder's card as a QR code"),
    element("div", {},
      element("h3", { class: "nhsuk-heading-s" }, `Holder's card · ${whose}`),
      element("p", {}, element("code", { class: "app-code" }, grouped)),
      element("p", {}, `Lost your phone? From any computer in the hospital: ${location.host}/my-phone, or point a camera at the code. ${callOf(call)}Keep this card apart from the phone.`),
    ),
  );
}

function made(event) {
  const form = event.target;
  if (form.dataset.cards === undefined || !event.detail.answer) return;
  const [cards] = event.detail.answer;
  show(cards.map(([enrolment, grouped]) => holdersCard(grouped, whose(enrolment))));
}

export function start() {
  document.addEventListener("matron:placed", made);
  const form = document.getElementById("holder-sign-in");
  if (!form || location.hash.length < 2) return;
  const field = form.elements.namedItem("code");
  try {
    field.value = decodeURIComponent(location.hash.slice(1));
  } catch {
    // No text; the field stays empty.
  }
  // It need not stand in the browser's history.
  history.replaceState(null, "", location.pathname);
}
