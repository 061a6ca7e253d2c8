// Coming in: the first administrator with the vault's one-time token, everyone else by passkey.
import { once } from "./busy.js";
import { base64, base64url, fromBase64, fromBase64url, fromHex, hex, joined, random, sha256, utf8 } from "./bytes.js";
import { place, prepare } from "./order.js";
import * as passkey from "./passkey.js";
import { Problem, post, tell } from "./server.js";

const ORDER = utf8("matron/order/1\0");
const TOKEN = /^matron-join-([0-9a-f]{64})-([0-9a-f]{16})$/;

const status = (form, words, kind) => tell(form.querySelector("[data-status]"), words, kind);

// The session's secret is bound to this browser's name: the cookie alone is nothing in another one.
async function bearer(secret, browser) {
  const name = utf8(browser);
  return `ms_${base64url(await sha256(joined(utf8("matron/session/1\0"), secret, name)))}`;
}

async function signIn(form) {
  const secret = random(32);
  const session = hex(await sha256(utf8(await bearer(secret, form.dataset.browser))));
  const names = form.elements.names?.checked ?? false;
  const what = { kind: "sign_in", session, names };
  const prepared = await prepare({ what, targets: [], reason: "signing in to the console" });
  const signature = { passkey: await passkey.sign(prepared.order) };
  await post("/session", { order: base64(prepared.order), signature, secret: base64url(secret) });
  const to = new URL(form.dataset.to || "/phones", location.origin);
  location.assign(to.origin === location.origin ? to : "/phones");
}

// PKCS #8 of an Ed25519 seed (RFC 8410).
async function tokenKey(seed) {
  const head = fromHex("302e020100300506032b657004220420");
  return crypto.subtle.importKey("pkcs8", joined(head, seed), "Ed25519", true, ["sign"]);
}

async function publicOf(key) {
  const { x } = await crypto.subtle.exportKey("jwk", key);
  return fromBase64url(x);
}

async function join(form) {
  const found = TOKEN.exec((location.hash.slice(1) || form.elements.token.value).trim());
  if (!found) {
    throw new Error("That is no token. Matron prints it at its first start: matron-join- and two groups of digits and letters.");
  }
  const name = form.elements.name.value.trim();
  if (!name) throw new Error("Type your name first.");
  const { root_key } = await post("/orders/key", {});
  if (!hex(await sha256(fromBase64(root_key))).startsWith(found[2])) {
    throw new Error("This token is another Matron's: its root key is not the one that answers here. Nothing was sent.");
  }
  const key = await tokenKey(fromHex(found[1]));
  const made = await passkey.register(name);
  const secrets = { kind: "join", values: { name } };
  const what = { kind: "join_first", ...made };
  const prepared = await prepare({ what, targets: [], reason: "the first administrator joins" }, secrets);
  const signature = new Uint8Array(await crypto.subtle.sign("Ed25519", key, joined(ORDER, prepared.order)));
  await place(prepared, { ed25519: { public: base64(await publicOf(key)), signature: base64(signature) } });
  // The token is spent; it need not stand in the browser's history.
  history.replaceState(null, "", "/sign-in");
  location.assign("/sign-in?joined=1");
}

async function register(form) {
  const secret = fromBase64url(location.hash.slice(1));
  if (secret.length !== 32) throw new Error("The link is not whole: copy all of it from the terminal.");
  const made = await passkey.register("Matron administrator");
  const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const said = utf8([made.rp_id, made.origin, made.attestation].join("\0"));
  const mac = base64(await crypto.subtle.sign("HMAC", key, said));
  await post("/registrations", { ...made, link: hex(await sha256(secret)), mac });
  history.replaceState(null, "", "/register");
  status(form, "Made. Go back to the terminal, look at what it shows, and sign. Then sign in here.", "good");
}

const DOORS = { "sign-in": signIn, join, register };

function inWords(error, form) {
  const isProblem = error instanceof Problem;
  if (isProblem && error.code === "unknown_passkey") {
    return "Nobody here has this passkey: it was removed, or belongs to another Matron.";
  }
  if (isProblem && error.code === "refused" && form.elements.names?.checked) {
    return `${error.message} If your role reads masks alone, as auditors do, untick the names and try again.`;
  }
  return error.message;
}

export async function start() {
  const form = document.querySelector("form[data-door]");
  if (!form) return;
  // Before anything else: a form that the browser sent by itself would carry what was typed.
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    status(form, "", "none");
    await once(event.submitter, async () => {
      try {
        await DOORS[form.dataset.door](form);
      } catch (error) {
        status(form, inWords(error, form), "bad");
      }
    });
  });
  if (form.elements.token && location.hash.startsWith("#matron-join-")) {
    form.elements.token.closest(".nhsuk-form-group").hidden = true;
    form.elements.token.required = false;
  }
  const missing = await passkey.missing();
  if (missing) {
    status(form, missing, "bad");
    form.querySelector("button").disabled = true;
  }
}
