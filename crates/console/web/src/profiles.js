// The library of profiles: a file, or what a form says written as a profile, sealed to the vault and saved as a version.
import { once } from "./busy.js";
import { hex, random, utf8 } from "./bytes.js";
import { signAndPlace } from "./order.js";
import { plist } from "./plist.js";
import { Problem, tell } from "./server.js";
import { refresh } from "./live.js";

const MOST_BYTES = 4 * 1024 * 1024;

// Ids that this page made for identifiers that the library did not have.
const minted = new Map();

async function bytesOf(file) {
  if (file.size > MOST_BYTES) throw new Error("The file is larger than 4 MiB.");
  return new Uint8Array(await file.arrayBuffer());
}

async function payload(form) {
  const out = {};
  for (const field of form.elements) {
    const { key, kind } = field.dataset ?? {};
    if (!key) continue;
    if (kind === "true" || kind === "false") {
      if (field.checked) out[key] = kind === "true";
    } else if (kind === "data") {
      if (field.files[0]) out[key] = await bytesOf(field.files[0]);
    } else if (kind === "whole") {
      if (field.value !== "") out[key] = Number(field.value);
    } else if (field.value !== "") out[key] = field.value;
  }
  return out;
}

function profile(identifier, payloadType, keys) {
  const common = (type, name) => ({
    PayloadType: type,
    PayloadVersion: 1,
    PayloadUUID: crypto.randomUUID().toUpperCase(),
    PayloadIdentifier: name,
  });
  return utf8(plist({
    ...common("Configuration", identifier),
    PayloadContent: [{ ...common(payloadType, `${identifier}.1`), ...keys }],
  }));
}

function told(form, answer) {
  const place = form.querySelector("[data-saved]");
  const [id, , , texts, signedBy, remarks, because] = answer;
  place.querySelector("[data-saved-link]").href = `/profiles/${hex(id)}`;
  const lines = texts.map(([, path, text]) => `${path}: ${text}`);
  if (signedBy) lines.unshift(`Signed by "${signedBy}"; nobody has vouched for that certificate.`);
  lines.push(...remarks, ...because.map((b) => `Counts as erasure: ${b}`));
  place.querySelector("[data-saved-told]").replaceChildren(
    ...lines.slice(0, 60).map((line) => {
      const li = document.createElement("li");
      li.textContent = line;
      li.className = "app-break";
      return li;
    }),
  );
  place.hidden = false;
}

// The outermost identifier of a profile that is XML: it only says which profile this may be the next version of. What
// the file really says, the vault reads.
function identifierOf(bytes) {
  let depth = 0;
  let key = "";
  for (const [, end, tag, text] of new TextDecoder().decode(bytes).matchAll(/<(\/?)(dict|key|string)>([^<]*)/g)) {
    if (tag === "dict") depth += end ? -1 : 1;
    else if (depth === 1 && !end) {
      if (tag === "string" && key === "PayloadIdentifier") return text;
      key = tag === "key" ? text : "";
    }
  }
  return null;
}

async function submitted(event) {
  const form = event.target;
  if (!form.dataset.save) return;
  event.preventDefault();
  await once(event.submitter, () => saved(form));
  await refresh();
}

async function saved(form) {
  const status = form.querySelector("[data-status]");
  try {
    tell(status, "", "none");
    const known = new Map(Object.entries(JSON.parse(document.getElementById("save-forms").dataset.known)));
    // The next file with the same identifier is the same profile's, also before the page is loaded again.
    const idOf = (identifier) => {
      if (identifier === null) return hex(random(16));
      const found = known.get(identifier) ?? minted.get(identifier) ?? hex(random(16));
      minted.set(identifier, found);
      return found;
    };
    let bytes;
    let id = form.dataset.profile;
    if (form.dataset.save === "file") {
      bytes = await bytesOf(form.elements.profile.files[0]);
      id ??= idOf(identifierOf(bytes));
    } else {
      const identifier = form.elements.identifier.value.trim();
      bytes = profile(identifier, form.dataset.payload, await payload(form));
      id ??= idOf(identifier);
    }
    const wanted = { what: { kind: "save_profile", profile: id }, targets: [], reason: form.elements.reason.value.trim() };
    const placed = await signAndPlace(wanted, { kind: "save", values: { profile: bytes, salt: random(32) } });
    if (!placed) {
      tell(status, "Nothing was signed.", "none");
      return;
    }
    tell(status, `Saved as version ${placed.answer ? placed.answer[1] : "…"}. No phone was told.`, "good");
    if (placed.answer) told(form, placed.answer);
  } catch (error) {
    const held = error instanceof Problem && error.waits;
    tell(status, held ? `${error.message} It waits under Approvals.` : error.message, held ? "waits" : "bad");
  }
}

export function start() {
  document.addEventListener("submit", submitted);
}
