// The main job in a real browser: a passkey, a phone that appears, a number revealed, a lock.
import { addPasskey, base, browser, check, holderOf, looked, matron, picture, signIn, tabTo, visitor } from "./lib.mjs";

const chrome = await browser();
const { context, page, complaints } = await visitor(chrome);
let fleet;
try {
  await matron(["admin", "join", "--token", process.env.TOKEN, "--name", "Ada Example"]).done;
  await addPasskey(page, ["admin", "add-key", "--passkey", "--reason", "a passkey for the console", "--yes"]);
  check(true, "a passkey joins by the command line's signature");

  await page.goto(`${base}/phones`);
  check(page.url().includes("/sign-in?to=%2Fphones"), "who is not signed in is asked to");
  await looked(page, "sign-in");
  await page.getByRole("button", { name: "Sign in with a passkey" }).click();
  await page.waitForURL(/\/phones$/);
  check(true, "the passkey signs in, and the page that was asked for comes");

  const kept = `${process.env.SCRATCH}/fleet`;
  await page.getByText("No phone is here yet").waitFor();
  const enrolled = matron(["simulate", "--phones", "3", "--ca", process.env.CA, "--keep", kept, "--quiet"]).done;
  await page.locator("#phones tbody tr").first().waitFor({ timeout: 60_000 });
  check(true, "a phone that enrols appears without a reload");
  await enrolled;
  await page.locator("#phones .nhsuk-tag--green").nth(2).waitFor({ timeout: 30_000 });
  await looked(page, "phones");
  fleet = matron(["simulate", "--resume", kept, "--ca", process.env.CA, "--poll", "1", "--quiet"]).child;

  await page.getByRole("button", { name: /Show the names/ }).click();
  await page.getByRole("columnheader", { name: "Holder" }).waitFor();
  const holder = await holderOf(page);
  check(/[A-Z][a-z]+ [A-Z]/.test(holder), "names are opened under the session's grant");
  await picture(page, "phones-names");
  const addressed = await visitor(chrome);
  await addressed.context.addCookies(await context.cookies());
  await addressed.page.goto(`${base}/phones?names=true`);
  await addressed.page.waitForTimeout(1500);
  check((await addressed.page.getByRole("columnheader", { name: "Holder" }).count()) === 0, "an address alone opens no names, nor does the page by itself");
  await addressed.context.close();

  await page.goto(`${base}/phones`);
  await page.getByLabel("What you have").selectOption("name");
  await page.getByRole("searchbox").fill(holder);
  await page.getByRole("button", { name: "Search" }).click();
  await page.waitForURL(/\/phones\/[0-9a-f]{32}$/);
  check(true, "a search for a name leads to its phone");
  await page.goto(`${base}/phones`);
  await page.getByRole("searchbox").fill("07700 900999");
  await page.getByRole("button", { name: "Search" }).click();
  await page.getByText("No phone was found").waitFor();

  await page.locator("#phones tbody a").first().click();
  await page.waitForURL(/\/phones\/[0-9a-f]{32}$/);
  await looked(page, "phone");

  await page.getByText("Reveal…").click();
  const left = async () => /([\d,]+) in an hour, ([\d,]+) in 24 hours/.exec(await page.locator("#reveal-left").innerText())?.slice(1).map((n) => Number(n.replaceAll(",", "")));
  const before = await left();
  check(before?.[0] > 0 && before[0] < 200 && before[1] > before[0], `what is left of the budget stands at Reveal: ${before}`);
  await page.getByLabel(/^Phone number/).check();
  await page.locator("#reveal-reason").fill("the network asks for it");
  await page.getByRole("button", { name: "Reveal", exact: true }).click();
  await page.getByText("You are about to sign this").waitFor();
  await picture(page, "dialog");
  check((await page.locator("#order dl").innerText()).includes("the network asks for it"), "what is signed is shown in words");
  await page.getByRole("button", { name: "Sign with your passkey" }).click();
  const answer = page.locator("#reveal [data-answer] tbody td");
  await answer.waitFor();
  check(/^(\+44|0)7700 ?900 ?\d{3}$/.test((await answer.innerText()).replaceAll(/(?<=7700)(?=900)/g, "")), "a number is revealed to the page alone");
  await page.locator("#reveal-left", { hasText: `${before[0] - 1} in an hour` }).waitFor({ timeout: 15_000 });
  check((await left())[1] === before[1] - 1, "and one less is left of the budget, without a reload");
  await looked(page, "revealed");

  // By the keyboard alone.
  const keys = page.keyboard;
  const lock = page.getByRole("button", { name: "Lock", exact: true });
  const sign = page.getByRole("button", { name: "Sign with your passkey" });
  await tabTo(page, page.locator("summary", { hasText: "Lock the screen" }));
  await keys.press("Enter");
  await tabTo(page, page.locator("#lock-message"));
  await keys.type("Please call the service desk");
  await tabTo(page, page.locator("#lock-reason"));
  await keys.type("left on the bus");
  await tabTo(page, lock);
  await keys.press("Enter");
  await sign.waitFor();
  const inside = () => page.evaluate(() => document.activeElement === document.body || Boolean(document.activeElement.closest("dialog")));
  const held = [];
  for (let n = 0; n < 6; n += 1) {
    held.push(await inside());
    await keys.press("Tab");
  }
  check(held.every(Boolean), "the dialog holds the focus");
  await keys.press("Escape");
  await page.getByText("Nothing was signed.").waitFor();
  check(await lock.evaluate((e) => e === document.activeElement), "Escape signs nothing and gives the focus back");
  await keys.press("Enter");
  await tabTo(page, sign);
  await keys.press("Enter");
  await page.getByText("Signed and accepted").waitFor();
  check(true, "an order is made, called off and signed by the keyboard alone");
  // Two orders at once: the second's words don't come under the button that signs the first.
  await page.getByText("Make it ring").click();
  await page.locator("#ring-reason").fill("to find it");
  await page.evaluate(() => {
    for (const id of ["lock", "ring"]) document.querySelector(`#${id} form`).requestSubmit(document.querySelector(`#${id} button`));
  });
  await page.getByText("Decide the order that is shown first").waitFor();
  check((await page.locator("#order dl").innerText()).match(/\(\w+\)/g).length === 1, "one order is shown at a time");
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByText("Nothing was signed.").waitFor();
  const locked = page.locator("#commands tr", { hasText: "DeviceLock" });
  await locked.locator(".nhsuk-tag--green").waitFor({ timeout: 30_000 });
  check(true, "a phone is locked, and its answer appears without a reload");
  await picture(page, "locked");

  // What a phone refuses, with its own error chain.
  const list = JSON.parse(await matron(["devices", "list", "--json"]).done).items;
  await page.goto(`${base}/phones/${list.find((d) => d.supervised).enrolment}`);
  await page.getByText("Make it ring").click();
  await page.locator("#ring-reason").fill("to find it");
  await page.getByRole("button", { name: "Ring", exact: true }).click();
  await sign.click();
  const rang = page.locator("#commands tr", { hasText: "PlayLostModeSound" });
  await rang.locator(".nhsuk-tag--red").waitFor({ timeout: 30_000 });
  check((await rang.innerText()).includes("MCMDMErrorDomain 12067"), "a command that failed has the phone's error chain in the history");
  await looked(page, "error-chain");

  await page.goto(`${base}/phones?state=enrolled&silent_for_days=30`);
  await page.getByText("No phone is like that").waitFor();
  await page.goto(`${base}/phones/${"0".repeat(32)}`);
  check(await page.getByRole("heading", { name: "Not found" }).isVisible(), "a phone that is not there is not found");

  const cookies = await context.cookies();
  check(cookies.length === 1 && cookies[0].httpOnly && cookies[0].secure && cookies[0].sameSite === "Strict", "the cookie is the browser's alone");
  const other = await chrome.newContext({ userAgent: "Another browser" });
  await other.addCookies(cookies);
  const there = await other.newPage();
  await there.goto(`${base}/phones`);
  check(there.url().includes("/sign-in"), "a cookie in another browser is none");

  await page.goto(`${base}/phones`);
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.waitForURL(/\/sign-in/);
  await context.addCookies(cookies);
  await page.goto(`${base}/phones`);
  check(page.url().includes("/sign-in"), "a session that was ended is none, whoever kept its cookie");
  const unexpected = complaints.filter((c) => !c.includes("404"));
  check(unexpected.length === 0, `no page complained${unexpected.map((c) => `\n  ${c}`).join("")}`);
} catch (error) {
  await picture(page, "failed");
  console.error(error, await page.locator("[data-status]").allTextContents(), complaints);
  process.exitCode = 1;
} finally {
  fleet?.kill();
  await chrome.close();
}
