// Forms that make orders. What an order is stands in the form (data-order, JSON); what a person types goes with it: a
// field's name says whether it is sealed (data-sealed) or part of what the order says.
import { once } from "./busy.js";
import { base64, hex, moment, random, text } from "./bytes.js";
import { signAndPlace } from "./order.js";
import { Problem, get, tell } from "./server.js";
import { refresh } from "./live.js";

// A form that goes with what it ends names a line that stays (data-says).
function status(form, words, kind) {
  const place = document.getElementById(form.dataset.says) ?? form.querySelector("[data-status]");
  tell(place, words, kind);
  if (form.dataset.says && words) place.scrollIntoView({ block: "nearest" });
}

function asked(form) {
  const what = JSON.parse(form.dataset.order);
  const values = {};
  for (const field of form.elements) {
    // Phones are whom it goes to, not what it says.
    if (!field.name || ["reason", "phone"].includes(field.name) || field.disabled) continue;
    if (field.type === "checkbox") {
      if (field.dataset.list) {
        if (field.checked) (what[field.dataset.list] ??= []).push(field.value);
      } else what[field.name] = field.checked;
    } else if (field.dataset.sealed !== undefined) values[field.name] = field.value.trim();
    else if (field.dataset.number !== undefined) what[field.name] = Number(field.value);
    else what[field.name] = field.value.trim();
  }
  return { what, values };
}

// Phones that are ticked in the list, or the one that the form is about, or all of a device group's at this moment.
async function targets(form) {
  if (form.dataset.target) return [form.dataset.target];
  if (form.dataset.all) return (await get(form.dataset.all)).phones;
  if (form.dataset.ticked === undefined) return [];
  const list = form.querySelector("input[name=phone]") ? form : document;
  return Array.from(list.querySelectorAll("input[name=phone]:checked"), (box) => box.value);
}

// Most of what is opened is text; tokens are not.
function readable(value) {
  try {
    return text(value);
  } catch {
    return `${base64(value)} (base64)`;
  }
}

function showAnswer(form, answer) {
  const place = form.querySelector("[data-answer]");
  if (!place || !answer) return;
  const rows = (answer[0] ?? []).map(([, name, value]) => {
    const row = document.createElement("tr");
    const th = document.createElement("th");
    const td = document.createElement("td");
    row.className = "nhsuk-table__row";
    th.className = "nhsuk-table__header";
    td.className = "nhsuk-table__cell";
    th.scope = "row";
    th.textContent = form.querySelector(`[value="${CSS.escape(name)}"]`)?.dataset.label ?? name;
    td.textContent = readable(value);
    row.append(th, td);
    return row;
  });
  place.querySelector("tbody").replaceChildren(...rows);
  place.hidden = rows.length === 0;
  if (rows.length === 0) status(form, "The phone never reported what you asked for.", "good");
}

async function submitted(event) {
  const form = event.target;
  if (!form.dataset.order) return;
  event.preventDefault();
  let phones;
  try {
    phones = await targets(form);
  } catch (error) {
    status(form, error.message, "bad");
    return;
  }
  if (form.dataset.ticked !== undefined && phones.length === 0) {
    status(form, form.dataset.nothing ?? "Tick at least one phone in the list first.", "bad");
    return;
  }
  if (form.dataset.all !== undefined && phones.length === 0) {
    status(form, form.dataset.nothing ?? "No phone is in it now.", "bad");
    return;
  }
  const { what, values } = asked(form);
  // The same for the same form: what got no answer is saved once.
  if (form.dataset.mints) what[form.dataset.mints] = form.dataset.minted ??= hex(random(16));
  if (form.dataset.least && !what[form.dataset.least]?.length) {
    status(form, "Tick at least one.", "bad");
    return;
  }
  await once(event.submitter, () => ordered(form, { what, targets: phones }, values));
  // What it ended goes from the page, and its button with it.
  if (form.dataset.says) event.submitter?.blur();
  await refresh();
}

async function ordered(form, wanted, values) {
  try {
    const secrets = form.dataset.secrets && { kind: form.dataset.secrets, values };
    status(form, "", "none");
    const reason = form.elements.reason?.value.trim() ?? "";
    const placed = await signAndPlace({ ...wanted, reason }, secrets);
    if (!placed) {
      status(form, "Nothing was signed.", "none");
      return;
    }
    const cools = placed.cools_until_ms
      ? ` It waits until ${moment(placed.cools_until_ms)}; until then it can be called back.`
      : "";
    status(form, `${form.dataset.done ?? "Signed and accepted."}${cools}`, "good");
    showAnswer(form, placed.answer);
    form.dispatchEvent(new CustomEvent("matron:placed", { bubbles: true, detail: placed }));
    if (form.dataset.then) {
      location.assign(form.dataset.then.replace("{group}", wanted.what.group));
      return;
    }
  } catch (error) {
    const held = error instanceof Problem && error.waits;
    status(form, held ? `${error.message} It waits under Approvals.` : error.message, held ? "waits" : "bad");
  }
}

export function start() {
  document.addEventListener("submit", submitted);
}
