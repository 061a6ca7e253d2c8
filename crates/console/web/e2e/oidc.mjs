// Signing in with an organisation's account by a real OpenID provider (npm's oidc-provider): one reads masks, and nothing else.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { addPasskey, base, browser, check, looked, matron, picture, signIn, visitor } from "./lib.mjs";

const provider = spawn(
  "node",
  [new URL("./provider.mjs", import.meta.url).pathname, process.env.OIDC_PORT, process.env.OIDC_KEY, process.env.OIDC_CERTIFICATE,
    `${base}/sign-in/oidc/done`, process.env.OIDC_SECRET],
  { stdio: ["pipe", "pipe", "inherit"] },
);
const lines = createInterface({ input: provider.stdout })[Symbol.asyncIterator]();
const said = async (word) => {
  for (let line = await lines.next(); !line.done; line = await lines.next()) if (line.value === word) return;
  throw new Error("the provider ended");
};

const chrome = await browser();
// The provider's certificate is by nobody whom Chromium knows.
const { context, page, complaints } = await visitor(chrome, { ignoreHTTPSErrors: true });
const here = { page, context };
const heading = () => page.locator("h1").innerText();
const cookies = async () => Object.fromEntries((await context.cookies(base)).map((c) => [c.name, c]));

// From Matron's own page to the provider's, and back as this person. The provider would remember who came before.
async function comeAs(name, to = "", { page, context } = here) {
  await context.clearCookies();
  await page.goto(`${base}/sign-in${to}`);
  await page.getByRole("button", { name: "Sign in with your organisation's account" }).click();
  await page.waitForURL(/\/interaction\//);
  await page.getByRole("link", { name, exact: true }).click();
}
async function signedInAs(name, to) {
  await comeAs(name, to);
  await page.waitForURL((url) => url.origin === base && !url.pathname.startsWith("/sign-in"));
}
async function turnedAway(name) {
  await comeAs(name);
  await page.waitForURL(/\/sign-in\/oidc\/done/);
  return page.locator("main").innerText();
}

try {
  await said("ready");
  await matron(["admin", "join", "--token", process.env.TOKEN, "--name", "Ada Example"]).done;
  await addPasskey(page, ["admin", "add-key", "--passkey", "--reason", "a passkey for the console", "--yes"]);
  await matron(["simulate", "--phones", "2", "--ca", process.env.CA, "--keep", `${process.env.SCRATCH}/fleet`, "--quiet"]).done;

  await page.goto(`${base}/sign-in`);
  await looked(page, "sign-in-with-account");
  await signedInAs("desk", "?to=/phones");
  const firstIn = Date.now();
  check(new URL(page.url()).pathname === "/phones", "whoever signed in comes to where they wanted to go");
  check((await page.locator("header").innerText()).includes("service desk, reading only"), "the page says as what they read");
  const now = await cookies();
  const kept = now["__Host-matron"];
  check(kept?.httpOnly && kept.secure && kept.sameSite === "Strict", "the session's cookie is the pages' alone");
  check(!now["__Host-matron-oidc"], "the cookie of the sign-in is gone");
  check((await page.locator("#phones tbody tr").count()) === 2, "phones are listed");
  check((await page.getByRole("button", { name: "Show the names" }).count()) === 0, "names are not offered");
  check((await page.locator("nav a", { hasText: "Invite" }).count()) === 0, "nor is inviting");
  check((await page.locator("#order").count()) === 0, "there is nothing to sign with");
  await looked(page, "phones-reading-only");
  await page.locator("#phones tbody a").first().click();
  await page.waitForURL(/\/phones\/[0-9a-f]{32}/);
  const text = await page.locator("main").innerText();
  check(!/Simon|Example Person|@example/.test(text) && text.includes("•"), "one phone is shown with its masks");
  check((await page.getByText("Reveal…").count()) === 0 && (await page.getByText("Erase everything").count()) === 0, "nothing of it can be opened or ordered");
  await looked(page, "phone-reading-only");
  const token = await page.locator("meta[name=matron-token]").getAttribute("content");
  const refused = await page.evaluate(async (token) => {
    const headers = { "content-type": "application/json", "x-matron-token": token };
    return (await fetch("/search", { method: "POST", body: JSON.stringify({ sealed_search: "AA==" }), headers })).status;
  }, token);
  check(refused === 403, `a search is refused (${refused})`);
  for (const path of ["/", "/device-groups", "/device-groups/new", "/profiles", "/approvals", "/commands", "/people", "/ledger", "/health", "/invite"]) {
    const answer = await page.goto(base + path);
    const forms = await page.locator("main form[method=dialog]").count();
    check(answer.status() === 200 && forms === 0, `${path} is read, and has nothing to sign (${answer.status()}, ${forms})`);
  }
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.waitForURL(/\/sign-in/);
  await context.addCookies([kept]);
  await page.goto(`${base}/phones`);
  check(new URL(page.url()).pathname === "/sign-in", "the cookie of a session that was signed out is worth nothing");

  await signedInAs("ward");
  check((await page.locator("header").innerText()).includes("ward manager, bench"), "a ward manager reads their ward");
  check((await page.locator("nav a", { hasText: "Ledger" }).count()) === 0, "and not what tells of all");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.waitForURL(/\/sign-in/);

  await signedInAs("hostile");
  const whole = await page.content();
  check(!whole.includes("xxxxxxxx") && !whole.includes("evil@"), "what the provider claims of a person's name is nowhere");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.waitForURL(/\/sign-in/);

  await turnedAway("nobody");
  check((await heading()) === "No access", "someone without a role is told that they have no access");
  check(!(await cookies())["__Host-matron"], "and has no session");
  await looked(page, "no-access");
  check(/more groups than/.test(await turnedAway("many")), "groups that the token leaves out are said plainly");
  check(/did not let you in/.test(await turnedAway("refuse")), "who is refused there is told so");

  // The provider's answer, kept from reaching Matron and brought by another browser and again.
  await context.clearCookies();
  // Its answer is a redirect that is not followed.
  const leads = async (url) =>
    new URL((await context.request.get(url, { maxRedirects: 0, headers: { "sec-fetch-site": "same-origin" } })).headers().location, url).href;
  await page.goto(await leads(`${base}/sign-in/oidc`));
  const link = await page.getByRole("link", { name: "desk", exact: true }).getAttribute("href");
  const answer = await leads(await leads(new URL(link, page.url()).href));
  check(answer.startsWith(`${base}/sign-in/oidc/done?code=`), "the provider answers with a code");
  const other = await visitor(chrome, { ignoreHTTPSErrors: true });
  await other.page.goto(answer);
  check(/not begun in this browser/.test(await other.page.locator("main").innerText()), "an answer that another browser brings is refused");
  const touched = new URL(answer);
  touched.searchParams.set("state", "A".repeat(43));
  await page.goto(touched.href);
  check(/not begun in this browser/.test(await page.locator("main").innerText()), "an answer with another state is refused");
  await page.goto(answer);
  await page.waitForURL((url) => url.origin === base && !url.pathname.startsWith("/sign-in"));
  check(!!(await cookies())["__Host-matron"], "and leaves the sign-in that this browser did begin, in another tab");
  await page.goto(answer);
  check(/not begun in this browser/.test(await page.locator("main").innerText()), "a sign-in that ended is not ended again");

  // A sign-in by account ends the session that was there; a link on another site's page leads to Matron's own first.
  await context.clearCookies();
  await signIn(page);
  const before = (await cookies())["__Host-matron"];
  const linked = await visitor(chrome, { ignoreHTTPSErrors: true });
  await linked.page.route("https://elsewhere.example/", (route) => route.fulfill({ contentType: "text/html", body: `<a href="${base}/sign-in/oidc">x</a>` }));
  await linked.page.goto("https://elsewhere.example/");
  await linked.page.getByRole("link", { name: "x" }).click();
  await linked.page.waitForURL(`${base}/sign-in`);
  check(true, "another site's link begins no sign-in");
  await page.goto(`${base}/sign-in`);
  await page.getByRole("button", { name: "Sign in with your organisation's account" }).click();
  await page.waitForURL(/\/interaction\//);
  await context.addCookies([before]);
  await page.goto(`${base}/phones`);
  check(new URL(page.url()).pathname === "/sign-in", "the passkey's session ended when the sign-in by account began");

  // An administrator ends somebody's looking, by an order.
  const reader = await visitor(chrome, { ignoreHTTPSErrors: true });
  await comeAs("auditor", "", reader);
  await reader.page.waitForURL((url) => url.origin === base && !url.pathname.startsWith("/sign-in"));
  await context.clearCookies();
  await signIn(page);
  await page.goto(`${base}/people`);
  check(await page.getByRole("heading", { name: "Signed in to read" }).isVisible(), "an administrator sees who is signed in to read");
  await looked(page, "people-who-read");
  await page.getByText("End one of them").click();
  const form = page.locator("form[data-order*=end_session]", { hasText: ", auditor," });
  await form.locator("input[name=reason]").fill("they left");
  await form.getByRole("button", { name: "End" }).click();
  await page.locator("#order").getByRole("button", { name: "Sign with your passkey" }).click();
  await page.getByText("Ended: they are signed out.").waitFor();
  await reader.page.goto(`${base}/phones`);
  check(new URL(reader.page.url()).pathname === "/sign-in", "and ends it");
  await page.goto(`${base}/ledger?kind=oidc_signed_in`);
  const told = await page.locator("main").innerText();
  check(/to read as auditor/.test(told) && !/hostile|evil|<script>/.test(told), "the ledger says that somebody came, and nobody's name");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.waitForURL(/\/sign-in/);

  // A passkey's session takes the place of one that only reads.
  await signedInAs("auditor");
  await signIn(page);
  check((await page.locator("header").innerText()).includes("administrator") && !(await page.locator("header").innerText()).includes("reading only"), "with a passkey one is oneself again");

  // The provider has another key, as after an emergency. Matron asks for its keys again, once a minute at most.
  await page.waitForTimeout(Math.max(0, 61_000 - (Date.now() - firstIn)));
  provider.stdin.write("rotate\n");
  await said("done");
  await signedInAs("auditor");
  check((await page.locator("header").innerText()).includes("auditor, reading only"), "a provider that changed its key is believed by the new one");

  const unexpected = complaints.filter((c) => !/40[0134]|ERR_FAILED/.test(c));
  check(unexpected.length === 0, `no page complained${unexpected.map((c) => `\n  ${c}`).join("")}`);
} catch (error) {
  await picture(page, "failed");
  console.error(error, page.url(), await page.locator("main").allTextContents(), complaints);
  process.exitCode = 1;
} finally {
  await chrome.close();
  provider.stdin.end();
}
