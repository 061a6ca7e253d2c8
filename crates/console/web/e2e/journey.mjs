// The main job in a real browser and in one house: sign in, invite, the phone enrols and appears, a number is revealed, lost
// mode, an erasure with a second administrator, and its entry in the ledger proved.
import { writeFile } from "node:fs/promises";
import { addPasskey, base, browser, check, holdersOf, looked, lookedOver, matron, picture, signIn, tabTo, visitor } from "./lib.mjs";

const chrome = await browser();
const { context, page, complaints } = await visitor(chrome);
const everyone = [complaints];
let fleet = [];
// The first phone that follows from this seed is supervised: others know no lost mode.
const SUPERVISED = 1;

const simulated = (...args) => matron(["simulate", ...args, "--ca", process.env.CA, "--quiet"]);

// One person is invited; what comes back is the link.
async function invite() {
  await page.goto(`${base}/invite`);
  await page.getByText("None: every invitation was used").waitFor();
  await looked(page, "invite");
  await page.getByLabel("Who will hold the phone?").fill("Grace Example");
  await page.getByLabel("Their email address").fill("grace@example.org");
  await page.locator("#invite-group").fill("ward-7");
  await page.getByRole("button", { name: "Invite", exact: true }).click();
  await page.getByText("You are about to sign this").waitFor();
  const words = await page.locator("#order dl").innerText();
  check(words.includes("ward-7") && !words.includes("Grace"), "an invitation is shown before it is signed; the name is sealed");
  await page.getByRole("button", { name: "Sign with your passkey" }).click();
  const link = page.locator("#cards code").first();
  await link.waitFor();
  check(/^https:\/\/\S+\/enrol\/\S{32}$/.test(await link.innerText()), "the link is shown once, to this page");
  const code = page.locator("#cards svg.app-qr").first();
  check((await code.locator("path").getAttribute("d")).length > 1000, "and as a QR code");
  await page.locator("#open tbody tr").waitFor();
  await looked(page, "invited");
  await page.emulateMedia({ media: "print" });
  check(!(await page.locator("#invite").isVisible()) && (await code.isVisible()), "the sheet that is printed has the links alone");
  await picture(page, "invited-printed");
  await page.emulateMedia({ media: "screen" });
  return link.innerText();
}

// Staff put the phone in lost mode; it obeys, which its ring and its own report tell.
async function lose() {
  await page.reload();
  await page.locator("#lost-mode summary").click();
  await page.locator("#lost-mode-message").fill("This phone belongs to Example Hospital");
  await page.locator("#lost-mode-phone_number").fill("020 7946 0123");
  await page.locator("#lost-mode-reason").fill("stolen from the ward");
  await page.getByRole("button", { name: "Turn lost mode on" }).click();
  await page.getByText("You are about to sign this").waitFor();
  const words = await page.locator("#order dl").innerText();
  check(/lost mode/i.test(words) && !words.includes("020 7946"), "lost mode is shown before it is signed; what the screen will say is sealed");
  await page.getByRole("button", { name: "Sign with your passkey" }).click();
  const asked = (what) => page.locator("#commands tr", { hasText: what });
  await asked("EnableLostMode").locator(".nhsuk-tag--green").waitFor({ timeout: 30_000 });
  await page.locator("#ring summary").click();
  await page.locator("#ring-reason").fill("to find it");
  await page.getByRole("button", { name: "Ring", exact: true }).click();
  await page.getByRole("button", { name: "Sign with your passkey" }).click();
  await asked("PlayLostModeSound").locator(".nhsuk-tag--green").waitFor({ timeout: 30_000 });
  check((await asked("PlayLostModeSound").count()) === 2, "the phone that refused to ring rings, now that it is in lost mode");
  await page.locator("#summary .nhsuk-tag--red", { hasText: "Lost mode" }).waitFor({ timeout: 30_000 });
  check(true, "and its page says that it is, by its own report, without a reload");
  await looked(page, "phone-lost");
}

// One phone more than one person's budget pays for: the second administrator's passkey has it erased, and the entry is
// proved where they read it.
async function erase(bea, phone, holder) {
  const id = phone.split("/").at(-1);
  await page.goto(`${base}/phones?state=enrolled`);
  await page.getByRole("button", { name: /Show the names/ }).click();
  await page.getByRole("columnheader", { name: "Holder" }).waitFor();
  const rows = await page.locator("#phones tbody tr").evaluateAll((all) =>
    all.map((r) => ({ id: r.querySelector("input").value, name: r.children[2].lastChild.textContent.trim() })),
  );
  for (const other of rows.filter((r) => r.id !== id)) {
    await matron(["devices", "erase", other.id, "--name", other.name, "--reason", "broken", "--yes"]).done;
  }
  await bea.goto(`${base}/approvals`);
  await bea.getByText("Nothing waits.").waitFor();
  await page.goto(phone);
  await page.locator("#erase summary").click();
  await page.locator("#erase-holder_name").fill(holder);
  await page.locator("#erase-reason").fill("stolen, and not found");
  await page.getByRole("button", { name: "Erase this phone" }).click();
  await page.getByRole("button", { name: "Sign with your passkey" }).click();
  await page.locator("#erase", { hasText: "It waits under Approvals." }).waitFor();
  await bea.getByText("the budget of each administrator alone").waitFor();
  check((await page.locator("#commands tr", { hasText: "EraseDevice" }).count()) === 0, "one signature beyond the budget tells the phone nothing");
  await looked(bea, "approvals-budget");
  await bea.getByRole("button", { name: /Read and sign/ }).click();
  await bea.getByText("You are about to sign this").waitFor();
  check((await bea.locator("#order dl").innerText()).includes("ERASE EVERYTHING"), "the second administrator reads what the bytes say");
  await bea.getByRole("button", { name: "Sign with your passkey" }).click();
  await bea.locator("#decided", { hasText: "Signed and accepted." }).waitFor();
  await page.locator("#commands tr", { hasText: "EraseDevice" }).locator(".nhsuk-tag--green").waitFor({ timeout: 30_000 });
  check(true, "a phone beyond one person's budget is erased once the second administrator's passkey signed");

  await bea.goto(`${base}/ledger?phone=${id}&kind=commanded`);
  const entry = bea.locator("tbody tr", { hasText: "stolen, and not found" });
  check((await entry.count()) === 1 && /ERASE EVERYTHING/i.test(await entry.innerText()), "the erasure stands in the ledger, once");
  await entry.locator("a").first().click();
  await bea.waitForURL(/\/entries\/\d+$/);
  check((await bea.locator(`dd a[href="/phones/${id}"]`).count()) === 1 && (await bea.locator("dd a[href*='person=']").count()) >= 1, "its entry names the phone and who ordered it");
  await bea.getByRole("button", { name: "Check this entry" }).click();
  await bea.getByText("The entry is in the ledger of").waitFor({ timeout: 30_000 });
  check((await bea.getByText("Proved", { exact: true }).count()) === 1, "the erasure's own entry is proved in the page");
  await looked(bea, "entry-of-the-erasure");
  const download = bea.waitForEvent("download");
  await bea.getByText("Download its proof").click();
  const told = await matron(["ledger", "verify-proof", await (await download).path()]).done;
  check(/stolen, and not found/.test(told), "and outside of it, by its file");
  const verified = await matron(["ledger", "verify"]).done;
  check(/hold|good|verif/i.test(verified), `the ledger is verified, signatures too: ${verified.split("\n")[0]}`);
}

try {
  await matron(["admin", "join", "--token", process.env.TOKEN, "--name", "Ada Example"]).done;
  await addPasskey(page, ["admin", "add-key", "--passkey", "--reason", "a passkey for the console", "--yes"], (name) => looked(page, name));
  check(true, "a passkey joins by the command line's signature");

  await page.goto(`${base}/phones`);
  check(page.url().includes("/sign-in?to=%2Fphones"), "who is not signed in is asked to");
  await looked(page, "sign-in");
  await page.getByRole("button", { name: "Sign in with a passkey" }).click();
  await page.waitForURL(/\/phones$/);
  check(true, "the passkey signs in, and the page that was asked for comes");

  const { page: bea, complaints: beas } = await visitor(chrome);
  everyone.push(beas);
  await addPasskey(bea, ["people", "add", "--passkey", "--name", "Bea Example", "--role", "administrator", "--reason", "a second administrator", "--yes"]);
  await signIn(bea);

  // The phone that is invited here is the one that enrols, is lost and is erased at the end.
  await page.getByText("No phone is here yet").waitFor();
  const links = `${process.env.SCRATCH}/links`;
  await writeFile(links, `${await invite()}\n`, { mode: 0o600 });
  await page.goto(`${base}/phones?state=enrolled`);
  await page.getByText("No phone is like that").waitFor();
  const enrols = simulated("--links", links, "--seed", String(SUPERVISED), "--keep", `${links}.kept`);
  await page.locator("#phones tbody tr .nhsuk-tag--green").first().waitFor({ timeout: 60_000 });
  check((await page.locator("#phones tbody tr").count()) === 1, "the phone that was invited in the browser enrols, and its row appears without a reload");
  await enrols.done;
  await simulated("--phones", "3", "--seed", "4711", "--keep", `${links}.others`).done;
  await page.goto(`${base}/phones`);
  await page.locator("#phones .nhsuk-tag--green").nth(3).waitFor({ timeout: 30_000 });
  await looked(page, "phones");
  fleet = ["kept", "others"].map((of) => simulated("--resume", `${links}.${of}`, "--poll", "1", "--not-now-per-mille", "0").child);

  await page.getByRole("button", { name: /Show the names/ }).click();
  await page.getByRole("columnheader", { name: "Holder" }).waitFor();
  const holder = "Grace Example";
  check((await holdersOf(page)).includes(holder), "names are opened under the session's grant");
  await looked(page, "phones-names");
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
  const lost = page.url();
  check(true, "a search for a name leads to its phone");
  await page.goto(`${base}/phones`);
  await page.getByRole("searchbox").fill("07700 900999");
  await page.getByRole("button", { name: "Search" }).click();
  await page.getByText("No phone was found").waitFor();

  await page.goto(lost);
  await looked(page, "phone");

  await page.getByText("Reveal…").click();
  const left = async () => /([\d,]+) in an hour, ([\d,]+) in 24 hours/.exec(await page.locator("#reveal-left").innerText())?.slice(1).map((n) => Number(n.replaceAll(",", "")));
  const before = await left();
  check(before?.[0] > 0 && before[0] < 200 && before[1] > before[0], `what is left of the budget stands at Reveal: ${before}`);
  await page.getByLabel(/^Phone number/).check();
  await page.locator("#reveal-reason").fill("the network asks for it");
  await page.getByRole("button", { name: "Reveal", exact: true }).click();
  await page.getByText("You are about to sign this").waitFor();
  await lookedOver(page, "dialog");
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
  await page.reload();
  await page.getByText("Make it ring").click();
  await page.locator("#ring-reason").fill("to find it");
  await page.getByRole("button", { name: "Ring", exact: true }).click();
  await sign.click();
  const rang = page.locator("#commands tr", { hasText: "PlayLostModeSound" });
  await rang.locator(".nhsuk-tag--red").waitFor({ timeout: 30_000 });
  check((await rang.innerText()).includes("MCMDMErrorDomain 12067"), "a command that failed has the phone's error chain in the history");
  await looked(page, "error-chain");

  await lose();
  await erase(bea, lost, holder);

  await page.goto(`${base}/phones?state=enrolled&silent_for_days=30`);
  await page.getByText("No phone is like that").waitFor();
  await page.goto(`${base}/phones/${"0".repeat(32)}`);
  check(await page.getByRole("heading", { name: "Not found" }).isVisible(), "a phone that is not there is not found");

  const cookies = await context.cookies();
  check(cookies.length === 1 && cookies[0].httpOnly && cookies[0].secure && cookies[0].sameSite === "Strict", "the cookie is the browser's alone");
  const unexpected = everyone.flat().filter((c) => !c.includes("404") && !c.includes("403"));
  check(unexpected.length === 0, `no page complained${unexpected.map((c) => `\n  ${c}`).join("")}`);
} catch (error) {
  await picture(page, "failed");
  console.error(error, await page.locator("[data-status]").allTextContents(), everyone);
  process.exitCode = 1;
} finally {
  for (const child of fleet) child.kill();
  await chrome.close();
}
