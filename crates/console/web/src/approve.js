// A second person's signature: the bytes as the server keeps them, shown in words that are read from them, signed as they
// are. The order's answer is for whoever made it.
import { once } from "./busy.js";
import { base64, fromBase64, moment } from "./bytes.js";
import { refresh } from "./live.js";
import { confirm, sent } from "./order.js";
import * as passkey from "./passkey.js";
import { Problem, get, tell } from "./server.js";

async function approved(form) {
  const told = await get(`/approvals/${form.dataset.approve}`);
  if (!(await confirm(told.words))) return null;
  const order = fromBase64(told.order);
  return sent({ order: base64(order), sealed: null, signature: { passkey: await passkey.sign(order) } });
}

async function submitted(event) {
  const form = event.target;
  if (!form.dataset.approve) return;
  event.preventDefault();
  // The card goes once it is decided; what came of it stays on the page.
  const line = document.getElementById("decided");
  const told = (words, kind) => {
    tell(line, words, kind);
    line.scrollIntoView({ block: "nearest" });
  };
  await once(event.submitter, () => decided(form, told));
  event.submitter.blur();
  return refresh();
}

async function decided(form, told) {
  try {
    const placed = await approved(form);
    if (!placed) return told("Nothing was signed.", "none");
    const cools = placed.cools_until_ms
      ? ` It cools off until ${moment(placed.cools_until_ms)}; until then it can be called back, below.`
      : "";
    told(`Signed and accepted.${cools}`, "good");
  } catch (error) {
    told(error.message, error instanceof Problem && error.waits ? "waits" : "bad");
  }
  return undefined;
}

export function start() {
  document.addEventListener("submit", submitted);
}
