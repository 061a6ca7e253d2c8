// What someone with a stolen session, a copied passkey or patience gets.
import { createHash, webcrypto } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { addPasskey, base, browser, check, looked, matron, picture, signIn, visitor } from "./lib.mjs";

const chrome = await browser();
const { context, page, devtools, authenticatorId } = await visitor(chrome);

// A request as our own page would make it.
const ask = (from, path, body) =>
  from.evaluate(
    async ([path, body]) => {
      const token = document.querySelector('meta[name="matron-token"]')?.content ?? "";
      const headers = { "content-type": "application/json", "x-matron-token": token };
      const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
      return { status: response.status, body: await response.json().catch(() => ({})) };
    },
    [path, body],
  );

// What the house has counted so far, as Prometheus reads it: turned away, by why.
async function counts() {
  const { secret } = JSON.parse(await readFile(`${process.env.MATRON_HOME}/session.json`, "utf8"));
  const response = await fetch(`${base}/metrics`, { headers: { authorization: `Bearer ${secret}` } });
  const metrics = await response.text();
  if (!response.ok) throw new Error(`no metrics: ${metrics}`);
  return (what) => Number(new RegExp(`api_refused_total\\{what="${what}"\\} (\\d+)`).exec(metrics)?.[1] ?? 0);
}

// What is done is counted as that, and so often.
async function counted(what, act, [least, most] = [1, 1]) {
  const before = await counts();
  const came = await act();
  const more = (await counts())(what) - before(what);
  check(more >= least && more <= most, `and it is counted: ${more} more of ${what}`);
  return came;
}

try {
  await matron(["admin", "join", "--token", process.env.TOKEN, "--name", "Ada Example"]).done;
  await addPasskey(page, ["admin", "add-key", "--passkey", "--reason", "a passkey for the console", "--yes"]);

  // A session of the command line, whose metrics are read.
  await matron(["devices", "list"]).done;

  // The credential is copied before it is used any further.
  const { credentials } = await devtools.send("WebAuthn.getCredentials", { authenticatorId });
  await signIn(page);
  check(true, "the passkey signs in");
  const copy = await visitor(chrome);
  await copy.devtools.send("WebAuthn.addCredential", { authenticatorId: copy.authenticatorId, credential: credentials[0] });
  await copy.page.goto(`${base}/sign-in`);
  await counted("copied_passkey", async () => {
    await copy.page.getByRole("button", { name: "Sign in with a passkey" }).click();
    await copy.page.locator(".app-status--bad").waitFor();
    check(/copied|copy/i.test(await copy.page.locator("[data-status]").innerText()), "a copied passkey does not sign in, and it is said why");
  });
  await picture(copy.page, "copied-passkey");

  // A session is nowhere on the server's disk.
  const [cookie] = await context.cookies();
  const raw = Buffer.from(cookie.value, "base64url");
  const core = `${process.env.DATA}/rooms`;
  const files = readdirSync(core, { recursive: true, withFileTypes: true }).filter((f) => f.isFile());
  // A file that went since it was listed holds nothing.
  const content = (path) => {
    try {
      return readFileSync(path);
    } catch (error) {
      if (error.code === "ENOENT") return Buffer.alloc(0);
      throw error;
    }
  };
  const holds = (bytes) => files.filter((f) => content(`${f.parentPath ?? f.path}/${f.name}`).includes(bytes));
  check(files.length > 1 && holds(raw).length === 0 && holds(Buffer.from(cookie.value)).length === 0, "the cookie is not in the database");
  await page.goto(`${base}/phones`);
  const session = await page.locator("form[data-search]").getAttribute("data-session");
  check(holds(Buffer.from(session, "hex")).length > 0, "the hash of what stands behind it is");
  const bearer = createHash("sha256")
    .update(Buffer.concat([Buffer.from("matron/session/1\0"), raw, Buffer.from(await page.evaluate(() => navigator.userAgent))]))
    .digest();
  check(createHash("sha256").update(`ms_${bearer.toString("base64url")}`).digest("hex") === session, "that is the secret that the API takes");
  check(holds(bearer).length === 0 && holds(Buffer.from(bearer.toString("base64url"))).length === 0, "which is not in the database either");
  const thief = await chrome.newContext({ userAgent: await page.evaluate(() => navigator.userAgent) });
  await thief.addCookies([{ ...cookie, value: Buffer.from(session, "hex").toString("base64url") }]);
  const stolen = await thief.newPage();
  await counted("no_session", async () => {
    await stolen.goto(`${base}/phones`);
    check(stolen.url().includes("/sign-in"), "the hash from the database is no cookie");
  });

  // The cookie itself, in another browser.
  const other = await chrome.newContext({ userAgent: "Another browser" });
  await other.addCookies([cookie]);
  const there = await other.newPage();
  await counted("no_session", async () => {
    await there.goto(`${base}/phones`);
    check(there.url().includes("/sign-in"), "a cookie in another browser is none");
  });
  const kept = await visitor(chrome);
  await kept.context.addCookies([cookie]);
  await kept.page.goto(`${base}/phones`);
  check(new URL(kept.page.url()).pathname === "/phones", "in its own it is good");

  // An assertion is good for the order it was made for.
  const prepare = (reason) =>
    ask(page, "/orders/prepare", {
      id: Buffer.from(webcrypto.getRandomValues(new Uint8Array(16))).toString("hex"),
      what: { kind: "sign_in", session: "00".repeat(32), names: true },
      targets: [], reason, answer_key: Buffer.alloc(32, 9).toString("base64"), sealed: null,
    });
  const [one, another] = [(await prepare("one")).body.order, (await prepare("another")).body.order];
  const passkey = await page.evaluate(async (order) => {
    const bytes = Uint8Array.from(atob(order), (c) => c.charCodeAt(0));
    const challenge = await crypto.subtle.digest("SHA-256", bytes);
    const publicKey = { challenge, rpId: location.hostname, userVerification: "required" };
    const { response } = await navigator.credentials.get({ publicKey });
    const text = (b) => btoa(String.fromCharCode(...new Uint8Array(b)));
    return {
      authenticator_data: text(response.authenticatorData),
      client_data_json: text(response.clientDataJSON),
      signature: text(response.signature),
    };
  }, one);
  await counted("unknown_passkey", async () => {
    const moved = await ask(page, "/orders", { order: another, sealed: null, signature: { passkey } });
    check(moved.status === 404 && moved.body.code === "unknown_passkey", "an assertion for another order is refused");
  });
  const right = await ask(page, "/orders", { order: one, sealed: null, signature: { passkey } });
  check(right.status === 200, "for its own order it is good");

  // Without the page's token nothing is changed, cookie or not.
  const bare = await page.evaluate(async () => {
    const response = await fetch("/search", { method: "POST", headers: { "content-type": "application/json" }, body: "{}" });
    return response.status;
  });
  check(bare === 403, "a request without the page's token is refused");

  // A flood of sign-ins from one address waits; it is counted, and whoever is in goes on working.
  const before = await counts();
  const flood = await page.evaluate(
    async ([order, passkey]) => {
      const wrong = { ...passkey, signature: btoa("no signature at all") };
      const secret = "A".repeat(43);
      const once = async () => {
        const body = JSON.stringify({ order, signature: { passkey: wrong }, secret });
        const headers = { "content-type": "application/json" };
        return (await fetch("/session", { method: "POST", headers, body })).status;
      };
      const all = [];
      for (let n = 0; n < 60; n++) all.push(await once());
      return all;
    },
    [one, passkey],
  );
  check(flood.filter((s) => s === 404).length <= 25 && flood.at(-1) === 429, "a flood of sign-ins is held up");
  await page.goto(`${base}/phones`);
  check(await page.getByRole("heading", { name: "Phones" }).isVisible(), "whoever is signed in goes on working");
  const meanwhile = await ask(page, "/orders", { order: one, sealed: null, signature: { passkey } });
  check(meanwhile.status === 200, "and signing, from the same address");
  const after = await counts();
  const [unknown, waited] = ["unknown_passkey", "held_up"].map((what) => after(what) - before(what));
  const of = (status) => flood.filter((s) => s === status).length;
  check(unknown === of(404) && waited === of(429) && waited >= 30, `each try of the flood is counted: ${unknown} that nobody made, ${waited} held up`);

  // And shown, to whoever looks how the house is: each kind that there was, and no other.
  await page.goto(`${base}/health`);
  const shown = page.locator("[data-refused]");
  await shown.first().waitFor();
  const told = Object.fromEntries(
    await shown.evaluateAll((rows) =>
      rows.map((r) => [r.dataset.refused, [...r.cells].slice(1).map((c) => Number(c.lastChild.textContent.replaceAll(",", "")))]),
    ),
  );
  for (const what of ["copied_passkey", "no_session", "unknown_passkey", "held_up"]) {
    const [hour, all] = told[what] ?? [];
    check(all === after(what) && hour > 0 && hour <= all, `the health page shows ${what}: ${hour} in an hour, ${all} in all`);
  }
  check(!("forged_order" in told) && Object.values(told).every(([, all]) => all > 0), `and nothing that there was none of: ${Object.keys(told)}`);
  await looked(page, "health-after-attacks");
  check(/somebody has a copy of/.test(await matron(["health"]).done), "the command line tells it too");

  // A session that was ended is none, whoever kept its cookie.
  await page.goto(`${base}/phones`);
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.waitForURL(/\/sign-in/);
  await counted("no_session", async () => {
    await kept.page.goto(`${base}/phones`);
    check(kept.page.url().includes("/sign-in"), "a session that was ended is none, whoever kept its cookie");
  }, [1, 3]);
} catch (error) {
  await picture(page, "failed");
  console.error(error, await page.locator("[data-status]").allTextContents());
  process.exitCode = 1;
} finally {
  await chrome.close();
}
