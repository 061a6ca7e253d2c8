// What is sealed to the vault, and what it seals to an order's key: HPKE (RFC 9180), base mode, as crates/seal/src/to.rs
// writes it: version (1) ‖ encapsulated key (32) ‖ ciphertext.
import { Aes256Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from "@hpke/core";
import { decode, encode } from "cborg";
import { joined, utf8 } from "./bytes.js";

const VERSION = 1;
const KEY_BYTES = 32;
const ARGUMENTS = utf8("matron/order-args/1");
const ANSWER = utf8("matron/order-answer/1");

const suite = new CipherSuite({
  kem: new DhkemX25519HkdfSha256(),
  kdf: new HkdfSha256(),
  aead: new Aes256Gcm(),
});

// The secrets of each kind of order, in the order of their fields (crates/order/src/answer.rs, crates/model/src/command.rs).
const FIELDS = {
  join: ["name"],
  invite: ["name", "email"],
  search: ["field", "term"],
  save: ["profile", "salt"],
  command: ["profile", "message", "phone_number", "footnote", "pin", "device_name", "holder_name"],
};

function encoded(kind, values) {
  const fields = FIELDS[kind].map((name) => values[name] || null);
  while (fields.length > 0 && fields.at(-1) === null) fields.pop();
  return encode(fields);
}

export async function answerKey() {
  return suite.kem.generateKeyPair();
}

export async function publicBytes(pair) {
  return new Uint8Array(await suite.kem.serializePublicKey(pair.publicKey));
}

export async function seal(vaultKey, kind, values, belongsTo) {
  const recipientPublicKey = await suite.kem.deserializePublicKey(vaultKey);
  const sender = await suite.createSenderContext({ recipientPublicKey, info: ARGUMENTS });
  const sealed = new Uint8Array(await sender.seal(encoded(kind, values), belongsTo));
  return joined(Uint8Array.of(VERSION), new Uint8Array(sender.enc), sealed);
}

export async function openAnswer(pair, sealed, belongsTo) {
  if (sealed[0] !== VERSION) throw new Error("The answer is of another version; reload the page.");
  const enc = sealed.subarray(1, 1 + KEY_BYTES);
  const recipient = await suite.createRecipientContext({ recipientKey: pair.privateKey, enc, info: ANSWER });
  return decode(new Uint8Array(await recipient.open(sealed.subarray(1 + KEY_BYTES), belongsTo)));
}
