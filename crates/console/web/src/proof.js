// Checks in this browser that entries are in the ledger: the inclusion proof (RFC 6962) leads from the entry's bytes to
// the root of a checkpoint, and the house's root key signed that checkpoint (C2SP tlog-proof, tlog-checkpoint,
// signed-note). The root key is remembered at the first check; another takes its place by both keys' signatures alone.
import { once } from "./busy.js";
import { base64, fromBase64, hex, joined, sha256, utf8 } from "./bytes.js";
import { post } from "./server.js";

const PINNED = "matron-root-key";
const CHANGED = "matron-root-changed";
const SEEN = "matron-ledger-seen";
const same = (a, b) => a.length === b.length && a.every((byte, n) => byte === b[n]);

// A proof file, taken apart.
function read(text) {
  const end = text.indexOf("\n\n");
  const [first, extra, index, ...hashes] = text.slice(0, end).split("\n");
  const note = text.slice(end + 2);
  const split = note.lastIndexOf("\n\n");
  if (end < 0 || split < 0 || first !== "c2sp.org/tlog-proof@v1" || !extra?.startsWith("extra ") || !index?.startsWith("index ")) {
    throw new Error("the server's proof has not a proof's form");
  }
  const signed = note.slice(0, split + 1);
  const [origin, size, root] = signed.split("\n");
  const lines = note.slice(split + 2).split("\n").filter(Boolean).map((line) => /^\u2014 (\S+) (\S+)$/.exec(line));
  if (lines.some((line) => !line)) throw new Error("the checkpoint's signatures can't be read");
  return {
    entry: fromBase64(extra.slice(6)), index: Number(index.slice(6)), hashes: hashes.map(fromBase64),
    signed, origin, size: Number(size), root: fromBase64(root),
    signatures: lines.map(([, name, bytes]) => ({ name, bytes: fromBase64(bytes) })),
  };
}

const node = (left, right) => sha256(joined(Uint8Array.of(1), left, right));

// The root that the hashes lead to (RFC 9162, section 2.1.3.2).
async function rootOf(leaf, index, size, hashes) {
  if (!(index < size)) throw new Error("the entry's place is not in the tree");
  let place = index;
  let last = size - 1;
  let now = leaf;
  for (const hash of hashes) {
    if (last === 0) throw new Error("the proof is too long");
    if (place % 2 === 1 || place === last) {
      now = await node(hash, now);
      while (place % 2 === 0 && place !== 0) {
        place /= 2;
        last = Math.floor(last / 2);
      }
    } else now = await node(now, hash);
    place = Math.floor(place / 2);
    last = Math.floor(last / 2);
  }
  if (last !== 0) throw new Error("the proof is too short");
  return now;
}

// Throws with what does not hold; says what was proved.
async function check(text, index, hash, rootKey) {
  const proof = read(text);
  const entryHash = await sha256(proof.entry);
  if (proof.index !== index || hex(entryHash) !== hash) throw new Error("the proof is of another entry than the one shown");
  const place = new Uint8Array(8);
  new DataView(place.buffer).setBigUint64(0, BigInt(index));
  const leaf = await sha256(joined(Uint8Array.of(0), place, entryHash));
  if (!same(await rootOf(leaf, index, proof.size, proof.hashes), proof.root)) {
    throw new Error("the entry is not in the tree that was signed");
  }
  // The log is called after its first root key, whichever signs now; the name is remembered with the root.
  const name = proof.origin;
  const id = (await sha256(joined(utf8(`${name}\n`), Uint8Array.of(1), rootKey))).slice(0, 4);
  const line = proof.signatures.find((s) => s.name === name && same(s.bytes.slice(0, 4), id));
  if (!name.startsWith("matron/ledger/") || !line) throw new AnotherKey("the checkpoint is not of this house's root key");
  if (!(await fits(rootKey, line.bytes.slice(4), utf8(proof.signed)))) {
    throw new Error("the checkpoint's signature does not fit");
  }
  return { size: proof.size, root: base64(proof.root), log: name, others: proof.signatures.length - 1 };
}

function remember(found) {
  const seen = JSON.parse(localStorage.getItem(SEEN) ?? "null");
  if (seen?.log && seen.log !== found.log) {
    throw new Error("the ledger is called otherwise than when this browser last looked: keep this page, and tell the other administrators");
  }
  if (seen?.size === found.size && seen.root !== found.root) {
    throw new Error("two different ledgers of one length were signed: keep this page, and tell the other administrators");
  }
  if (!(seen?.size > found.size)) localStorage.setItem(SEEN, JSON.stringify({ size: found.size, root: found.root, log: found.log }));
}

async function fits(publicKey, signature, message) {
  const key = await crypto.subtle.importKey("raw", publicKey, { name: "Ed25519" }, false, ["verify"]);
  return crypto.subtle.verify("Ed25519", key, signature, message);
}

// The root keys from the known one to the newest (crate order, `root`): context, epoch, time, the key before, the key after
// it, and both keys' signatures over all that.
async function led(known, links) {
  const roots = [known];
  for (const link of links) {
    const [context, former, next] = [link.slice(0, 14), link.slice(26, 58), link.slice(58, 90)];
    if (roots.length === 1 && !same(former, known)) continue;
    const signed = link.slice(0, 90);
    const holds = link.length === 218 && same(context, utf8("matron/root/1\0")) && same(former, roots.at(-1)) &&
      await fits(former, link.slice(90, 154), signed) && await fits(next, link.slice(154), signed);
    if (!holds) break;
    roots.push(next);
  }
  return roots;
}

// The newest root key that the one which this browser remembers leads to.
async function pinnedKey() {
  const { root_key, successions } = await post("/orders/key", {});
  const pinned = localStorage.getItem(PINNED) ?? root_key;
  const roots = await led(fromBase64(pinned), successions.map(fromBase64));
  if (base64(roots.at(-1)) !== root_key) {
    throw new Error("the server names another root key than the one this browser knows: don't go on, tell the other administrators");
  }
  if (pinned !== root_key) localStorage.setItem(CHANGED, root_key);
  localStorage.setItem(PINNED, root_key);
  return roots.at(-1);
}

// It could not be looked at; that says nothing of the entry.
class Unchecked extends Error {}

// Perhaps the one whose place another took a moment ago: the next checkpoint is a second away.
class AnotherKey extends Error {}

async function fetched(index, again = true) {
  const response = await fetch(`/entries/${index}/proof`).catch(() => {
    throw new Unchecked("the server does not answer");
  });
  if (response.redirected) throw new Unchecked("you are signed out; reload the page");
  if (response.ok) return response.text();
  const problem = await response.json().catch(() => ({}));
  if (problem.code === "not_yet_signed" && again) {
    await new Promise((resolve) => setTimeout(resolve, 1500));
    return fetched(index, false);
  }
  throw new Unchecked(problem.detail ?? `the server answered ${response.status}`);
}

function told(place, colour, text) {
  const tag = document.createElement("strong");
  tag.className = `nhsuk-tag nhsuk-tag--${colour}`;
  tag.textContent = text;
  place.replaceChildren(tag);
}

async function checkAll(line) {
  const places = document.querySelectorAll("[data-entry]");
  const rootKey = await pinnedKey();
  let last;
  let [failed, unchecked] = [0, 0];
  let patient = true;
  for (const place of places) {
    try {
      const index = Number(place.dataset.entry);
      const look = async () => check(await fetched(index), index, place.dataset.hash, rootKey);
      last = await look().catch(async (error) => {
        if (!(error instanceof AnotherKey && patient)) throw error;
        patient = false;
        await new Promise((resolve) => setTimeout(resolve, 2500));
        return look();
      });
      remember(last);
      told(place, "green", "Proved");
    } catch (error) {
      if (error instanceof Unchecked) {
        unchecked += 1;
        told(place, "grey", "Not checked");
      } else {
        failed += 1;
        told(place, "red", "Not proved");
      }
      // What failed outweighs what could not be looked at.
      if (failed === 0 || !(error instanceof Unchecked)) line.textContent = `Entry ${place.dataset.entry}: ${error.message}.`;
    }
  }
  if (failed + unchecked > 0) {
    line.className = `app-status app-status--${failed > 0 ? "bad" : "waits"}`;
    return;
  }
  const many = places.length === 1 ? "The entry is" : `All ${places.length} entries are`;
  const witnesses = last.others > 0 ? " It bears other signatures too, which this browser can't check." : "";
  line.className = "app-status app-status--good";
  line.textContent = `${many} in the ledger of ${last.size} entries that the house's root key signed (${last.log}).${witnesses}`;
}

export function start() {
  const place = document.querySelector("[data-check]");
  if (!place) return;
  place.hidden = false;
  const button = place.querySelector("button");
  const line = place.querySelector("[data-status]");
  button.addEventListener("click", () => once(button, async () => {
    line.className = "app-status";
    line.textContent = "Checking…";
    try {
      await checkAll(line);
    } catch (error) {
      line.className = "app-status app-status--bad";
      line.textContent = `${error.message}.`;
    }
    // Whatever came of it, and once.
    const changed = localStorage.getItem(CHANGED);
    if (changed) {
      const fingerprint = hex(await sha256(fromBase64(changed))).slice(0, 16);
      line.append(` The root key was changed since this browser last looked, by the one before. Compare its fingerprint with the other administrators: ${fingerprint}.`);
      localStorage.removeItem(CHANGED);
    }
  }));
}
