// A phone's holder at a borrowed computer: no account, no passkey, a code on paper. With JavaScript and without.
import { readFile } from "node:fs/promises";
import { addPasskey, base, browser, check, looked, matron, picture, signIn, visitor } from "./lib.mjs";

const chrome = await browser();
// The service desk's, and the holder's.
const desk = await visitor(chrome);
const holder = await visitor(chrome);
const plain = await chrome.newContext({ javaScriptEnabled: false, viewport: { width: 1280, height: 900 } });
const { page } = desk;
const kept = `${process.env.SCRATCH}/fleet`;
let at = page;
let fleet;
const main = (p) => p.locator("main").innerText();
const sign = async () => page.locator("#order").getByRole("button", { name: "Sign with your passkey" }).click();
const cli = async (...args) => JSON.parse(await matron([...args, "--json"]).done);

// Types a card's code and opens the phone's page.
async function comes(p, code) {
  await p.context().clearCookies();
  await p.goto(`${base}/my-phone`);
  await p.getByLabel("The code of your holder's card").fill(code);
  await p.getByRole("button", { name: "Open my phone's page" }).click();
}

try {
  await matron(["admin", "join", "--token", process.env.TOKEN, "--name", "Ada Example"]).done;
  await addPasskey(page, ["admin", "add-key", "--passkey", "--reason", "a passkey for the console", "--yes"]);
  await signIn(page);

  // An invitation brings a card.
  await page.goto(`${base}/invite`);
  await page.getByLabel("Who will hold the phone?").fill("Grace Example");
  await page.getByLabel("Their email address").fill("grace@example.org");
  await page.getByLabel("Group or ward", { exact: true }).fill("ward-7");
  await page.getByRole("button", { name: "Invite", exact: true }).click();
  await sign();
  const invited = page.locator(".app-card--holder");
  await invited.waitFor();
  const first = await invited.locator("code").innerText();
  check(/^([a-km-np-z2-9]{4}-){4}[a-km-np-z2-9]{4}$/.test(first), `an invitation brings a holder's card (${first.length})`);
  check((await page.locator("#cards svg").count()) === 2, "the link and the card have a code for a camera each");
  await page.emulateMedia({ media: "print" });
  await picture(page, "invitation-and-card-printed");
  await page.emulateMedia({ media: "screen" });

  // The camera's address fills the field and leaves nothing of the code in it.
  at = holder.page;
  await at.goto(`${base}/my-phone#${first}`);
  check(new URL(at.url()).hash === "", "the code leaves the address");
  check((await at.getByLabel("The code of your holder's card").inputValue()) === first, "and stands in the field");
  check(/Call the service desk: 020 7946 0123\./.test(await main(at)), "whoever has no card reads whom to call");
  await looked(at, "my-phone-sign-in");
  await at.getByRole("button", { name: "Open my phone's page" }).click();
  await at.getByRole("heading", { name: "Your phone", exact: true }).waitFor();
  check(/not managed by the hospital, or not yet/.test(await main(at)), "a phone that has not enrolled is told so");
  const cookies = Object.fromEntries((await holder.context.cookies(base)).map((c) => [c.name, c]));
  const own = cookies["__Host-matron-holder"];
  check(own?.httpOnly && own.secure && own.sameSite === "Strict" && !cookies["__Host-matron"], "the session's cookie is the holder's alone");
  for (const path of ["/", "/phones", "/ledger", "/people", "/invite"]) {
    await at.goto(base + path);
    check(new URL(at.url()).pathname === "/sign-in", `${path} is not for a holder`);
  }
  await at.getByRole("link", { name: "my phone" }).click();
  await at.getByRole("heading", { name: "Your phone", exact: true }).waitFor();
  check(true, "the administrators' sign-in page leads to the holder's");

  // A phone in the ward; its card is made on its page.
  at = page;
  await matron(["simulate", "--phones", "6", "--ca", process.env.CA, "--keep", kept, "--not-now-per-mille", "0", "--quiet"]).done;
  // Lost mode is for supervised phones; half of the simulated ones are.
  await page.goto(`${base}/phones?state=enrolled&supervised=true`);
  await page.locator("#phones tbody a").first().click();
  await page.waitForURL(/\/phones\/[0-9a-f]{32}/);
  const phone = page.url();
  await page.locator("#holder-card summary").click();
  await page.locator("#holder-card input[name=reason]").fill("the card was lost");
  await page.locator("#holder-card").getByRole("button", { name: "Make it" }).click();
  await sign();
  const made = page.locator(".app-card--holder code");
  await made.waitFor();
  const code = await made.innerText();
  const card = await page.locator(".app-card--holder").innerText();
  check(/Holder's card · (iPhone|iPad)[^·]* · [^·]+ · phone [0-9a-f]{8}/.test(card), `the card says which phone it is for by model and home group (${card.split("\n")[0]})`);
  check(/Or call 020 7946 0123\./.test(card), "and whom to call");
  await looked(page, "phone-with-new-card");
  await page.emulateMedia({ media: "print" });
  check(!(await page.locator("#summary").isVisible()) && (await made.isVisible()), "the card is printed alone");
  await picture(page, "card-printed");
  await page.emulateMedia({ media: "screen" });

  // Not switched on yet.
  at = holder.page;
  await comes(at, first.replace(/.$/, first.endsWith("a") ? "b" : "a"));
  check(/opens no phone's page/.test(await main(at)), "a wrong code opens nothing");
  check((await at.title()).startsWith("Error: "), "the title says so");
  check((await at.getByLabel("The code of your holder's card").getAttribute("aria-invalid")) === "true", "and the field");
  const field = at.getByLabel("The code of your holder's card");
  check((await field.inputValue()) === "" && !(await at.content()).includes(first.slice(0, 19)), "and nothing of what was typed stands there again");
  await comes(at, first.slice(0, -1));
  check(/You typed 19 letters and digits; a code has 20\./.test(await main(at)), "a code with a letter too few is told as such");
  await looked(at, "my-phone-wrong-code");
  await at.goto(`${base}/my-phone/session`);
  check(new URL(at.url()).pathname === "/my-phone", "the form's address leads to the page");
  await comes(at, code.toUpperCase().replaceAll("-", " "));
  await at.getByRole("heading", { name: "Your phone", exact: true }).waitFor();
  check(/has not switched this on/.test(await main(at)), "without a standing order the page says whom to call");
  check(!/Grace|Simon|@example/.test(await at.content()), "no name stands in it");
  await looked(at, "my-phone-not-switched-on");

  for (const does of ["holder_lost_mode", "holder_rings"]) await matron(["standing", "make", "--does", does, "--yes", "--json"]).done;
  const listed = await cli("standing", "list");
  check(listed.items.length === 2 && listed.items.every((s) => s.state === "stands"), "two standing orders switch it on");

  // Lost.
  await at.reload();
  await at.getByRole("button", { name: "I have lost my phone" }).click();
  await at.getByRole("heading", { name: "Is your phone lost?" }).waitFor();
  await looked(at, "my-phone-sure");
  await at.getByRole("link", { name: "No, go back" }).click();
  await at.getByRole("button", { name: "I have lost my phone" }).click();
  await at.getByRole("button", { name: "Yes, turn lost mode on" }).click();
  await at.locator("#lost").getByText("Lost mode was asked for").waitFor();
  await looked(at, "my-phone-asked");
  fleet = matron(["simulate", "--resume", kept, "--ca", process.env.CA, "--poll", "1", "--not-now-per-mille", "0", "--quiet"]).child;
  // By itself: the page asks again while something waits.
  await at.locator("#lost").getByText("Lost mode is on.").waitFor({ timeout: 20_000 });
  check(true, "the page says that the phone is in lost mode once the phone has said so");
  await at.getByRole("button", { name: "Make it ring" }).click();
  await at.locator("#lost").getByText(/It rang/).waitFor({ timeout: 20_000 });
  await looked(at, "my-phone-lost");
  const done = await at.locator("#done").innerText();
  check(/Lost mode turned on/.test(done) && /Made to ring/.test(done) && /you, from this page/.test(done), "what was done stands in the list");

  // The service desk sees it, and reads a sealed value: that stands in the holder's list, and not who it was.
  await page.goto(phone);
  const history = await page.locator("#commands").innerText();
  check(/EnableLostMode/.test(history) && /PlayLostModeSound/.test(history), "the service desk sees it in the phone's history");
  await page.locator("#reveal summary").first().click();
  await page.locator("#reveal").getByLabel("Serial number").check();
  await page.locator("#reveal input[name=reason]").fill("a repair");
  await page.locator("#reveal").getByRole("button", { name: "Reveal" }).click();
  await sign();
  await page.locator("#reveal [data-answer]").waitFor();
  await page.goto(`${base}/ledger?kind=standing_used`);
  check(/asked for what standing order/.test(await main(page)), "and in the ledger");
  await at.reload();
  check(/Somebody read a number of the device/.test(await at.locator("#done").innerText()), "the holder sees that a sealed value was read");

  // Without JavaScript.
  at = await plain.newPage();
  await comes(at, code);
  await at.getByRole("heading", { name: "Your phone", exact: true }).waitFor();
  check(/Lost mode is on/.test(await main(at)), "the page works without JavaScript");
  await at.getByRole("button", { name: "Make it ring" }).click();
  check(/You are signed in until/.test(await main(at)), "and so does ringing");
  await at.getByRole("button", { name: "Sign out" }).click();
  check(/The code of your holder's card/.test(await main(at)), "and signing out");

  // A second phone is put in lost mode without a script.
  const second = (await cli("devices", "list", "--supervised", "true")).items.map((d) => d.enrolment).find((e) => !phone.includes(e));
  const { cards } = await cli("devices", "holder-card", second, "--yes");
  await comes(at, cards[0].holder_code);
  await at.getByRole("button", { name: "I have lost my phone" }).click();
  await at.getByRole("button", { name: "Yes, turn lost mode on" }).click();
  check(/Lost mode (was asked for|is on)/.test(await main(at)), "lost mode is asked for without JavaScript");
  const token = await at.locator("input[name=token]").first().getAttribute("value");
  const forged = await plain.request.post(`${base}/my-phone/ring`, { form: { token }, headers: { "sec-fetch-site": "cross-site" } });
  check(forged.status() === 403 && /text\/html/.test(forged.headers()["content-type"]), "another site's form is refused");
  const without = await plain.request.post(`${base}/my-phone/ring`, { form: { token: "x" }, headers: { "sec-fetch-site": "same-origin" } });
  check(/another session/.test(await without.text()), "and so is one without the page's token");

  // A new card voids the old one.
  at = holder.page;
  await cli("devices", "holder-card", new URL(phone).pathname.split("/").pop(), "--yes");
  await at.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await at.locator("[data-connection]").getByText("You are signed out").waitFor();
  check(/What was done to it/.test(await main(at)), "an open page says itself that its session ended");
  await at.reload();
  check(/You are signed out/.test(await main(at)), "a new card ends the sessions of the one before");
  await comes(at, code);
  check(/opens no phone's page/.test(await main(at)), "whose code opens nothing any more");

  const files = await Promise.all(["core.db", "core.db-wal"].map((name) => readFile(`${process.env.DATA}/rooms/core/${name}`)));
  check(!files.some((f) => f.includes(code) || f.includes(code.replaceAll("-", ""))), "no code lies in the database");
  const complaints = [...desk.complaints, ...holder.complaints].filter((c) => !/40[013]/.test(c));
  check(complaints.length === 0, `no page complained${complaints.map((c) => `\n  ${c}`).join("")}`);
} catch (error) {
  await picture(at, "failed");
  console.error(error, at.url(), await at.locator("main").allTextContents(), desk.complaints, holder.complaints);
  process.exitCode = 1;
} finally {
  fleet?.kill();
  await chrome.close();
}
