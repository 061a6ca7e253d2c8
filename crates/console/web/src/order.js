// An order from the form to its answer: sealed here, encoded by the server, shown in words that are read from the bytes,
// signed by the passkey, sent.
import { base64, fromBase64, hex, random } from "./bytes.js";
import * as passkey from "./passkey.js";
import { answerKey, openAnswer, publicBytes, seal } from "./seal.js";
import { Problem, post } from "./server.js";

// `wanted`: { what, targets, reason }. `secrets`: { kind, values }, or nothing.
export async function prepare(wanted, secrets) {
  const id = random(16);
  const pair = await answerKey();
  let sealed = null;
  if (secrets) {
    const { order_key } = await post("/orders/key", {});
    sealed = await seal(fromBase64(order_key), secrets.kind, secrets.values, id);
  }
  const made = await post("/orders/prepare", {
    ...wanted,
    id: hex(id),
    answer_key: base64(await publicBytes(pair)),
    sealed: sealed && base64(sealed),
  });
  return { id, pair, sealed, order: fromBase64(made.order), words: made.words };
}

// The same bytes act once, so what got no answer is asked again.
export async function sent(order) {
  const unanswered = (e) => e instanceof Problem && (e.status === 0 || e.status === 503);
  for (const pause of [1000, 3000]) {
    try {
      return await post("/orders", order);
    } catch (error) {
      if (!unanswered(error)) throw error;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
  return post("/orders", order).catch((error) => {
    if (unanswered(error)) error.message += " It may have been done: look at what was asked of the phone before you sign it again.";
    throw error;
  });
}

export async function place(prepared, signature) {
  const accepted = await sent({
    order: base64(prepared.order),
    sealed: prepared.sealed && base64(prepared.sealed),
    signature,
  });
  const answer = accepted.sealed_answer
    ? await openAnswer(prepared.pair, fromBase64(accepted.sealed_answer), prepared.id)
    : null;
  return { ...accepted, answer };
}

// Shows what is about to be signed, in a dialog that the person confirms; one at a time.
export function confirm(words) {
  const dialog = document.getElementById("order");
  // Its words are those of one order: another's must not come under the button that signs that one.
  if (dialog.open) return Promise.reject(new Error("Decide the order that is shown first; then do this again."));
  const list = dialog.querySelector("dl");
  list.replaceChildren(
    ...words.lines.map(([name, value]) => {
      const row = document.createElement("div");
      row.className = "nhsuk-summary-list__row nhsuk-summary-list__row--no-actions";
      const dt = document.createElement("dt");
      const dd = document.createElement("dd");
      dt.className = "nhsuk-summary-list__key";
      dd.className = "nhsuk-summary-list__value";
      dt.textContent = name;
      dd.textContent = value;
      row.append(dt, dd);
      return row;
    }),
  );
  dialog.querySelector("[data-warning]").hidden = !words.grave;
  dialog.querySelector("[data-warning-text]").textContent = words.grave ?? "";
  dialog.classList.toggle("app-dialog--grave", Boolean(words.grave));
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "sign"), { once: true });
    dialog.returnValue = "";
    const before = document.activeElement;
    dialog.addEventListener("close", () => before?.focus(), { once: true });
    dialog.showModal();
    // Not on the button: whoever holds Enter down has read nothing yet.
    dialog.querySelector("h2").focus();
  });
}

export async function signAndPlace(wanted, secrets) {
  const prepared = await prepare(wanted, secrets);
  if (!(await confirm(prepared.words))) return null;
  return place(prepared, { passkey: await passkey.sign(prepared.order) });
}
