// The service desk's pages in a real browser: invite, approve with a second person, follow and call back.
import { readFile, writeFile } from "node:fs/promises";
import { addPasskey, base, browser, check, looked, matron, picture, signIn, visitor } from "./lib.mjs";

const scratch = process.env.SCRATCH;
const chrome = await browser();
const { page, complaints } = await visitor(chrome);
const all = [complaints];

async function sign(on) {
  await on.getByRole("button", { name: "Sign with your passkey" }).click();
}

// One person, many, the sheet, taken back.
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
  await sign(page);
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

  await writeFile(`${scratch}/ward.csv`, "name,email,group\nAda One,ada@example.org,ward-7\n,x@example.org,ward-7\n<b>B,nothing,Ward 7\n");
  await page.locator("#many-file").setInputFiles(`${scratch}/ward.csv`);
  await page.getByText("2 of 3 rows have to be mended first").waitFor();
  check((await page.locator("#many-wrong tbody tr").count()) === 2, "a file's mistakes stand beside their rows");
  await looked(page, "many-wrong");
  await writeFile(`${scratch}/ward.csv`, "name,email,group\nAda One,ada@example.org,ward-7\nBo Two,bo@example.org,ward-8\n");
  await page.locator("#many-file").setInputFiles([]);
  await page.locator("#many-file").setInputFiles(`${scratch}/ward.csv`);
  await page.getByText("All 2 rows are good").waitFor();
  const command = await page.locator("#many-command pre").innerText();
  check(command === "matron invite --csv ward.csv", `the command that signs them is told: ${command}`);
  await matron(["invite", "--csv", `${scratch}/ward.csv`, "--reason", "a ward", "--yes"]).done;
  await page.locator("#many-file").setInputFiles(`${scratch}/ward.links.csv`);
  await page.getByText("2 links, from the file").waitFor();
  check((await page.locator("#cards code", { hasText: "/enrol/" }).count()) === 3, "the command line's links become a sheet");

  await page.locator("#open tbody tr").nth(2).waitFor();
  await page.locator("#open input[type=radio]").first().check();
  await page.getByText("Take an invitation back").click();
  await page.getByRole("button", { name: "Take it back" }).click();
  await sign(page);
  await page.getByText("Taken back; its link works no more.").waitFor();
  await page.waitForFunction(() => document.querySelectorAll("#open tbody tr").length === 2);
  check(true, "an invitation is taken back, and goes from the list");
}

// Several phones at once, while none of them comes: what waits, and calling it back. And the table for a spreadsheet.
async function bulk() {
  await page.goto(`${base}/phones?state=enrolled`);
  await page.locator("#phones input[name=phone]").nth(5).waitFor({ timeout: 60_000 });
  await page.locator("#phones input[name=phone]").nth(0).check();
  await page.locator("#phones input[name=phone]").nth(1).check();
  await page.getByText("2 phones are ticked.").waitFor();
  await looked(page, "phones-ticked");
  await page.getByText("Lock their screens").click();
  await page.locator("#lock-reason").fill("left in the canteen");
  await page.getByRole("button", { name: "Lock", exact: true }).click();
  await sign(page);
  await page.locator("#lock").getByText("Signed and accepted").waitFor();

  await page.goto(`${base}/commands`);
  await page.getByText("2 not told yet").waitFor();
  await looked(page, "commands");
  await page.locator("#under-way tbody a").first().click();
  await page.waitForURL(/\/commands\/[0-9a-f]{32}$/);
  check((await page.locator("#phones-of tbody").innerText()).includes("waits for the phone; last heard of"), "what waits is told with why");
  await looked(page, "command");
  await page.locator("details[id^=recall] summary").click();
  await page.locator("input[id^=recall]").fill("found again");
  await page.getByRole("button", { name: "Call it back" }).click();
  await sign(page);
  await page.locator("#phones-of tbody tr", { hasText: "called back" }).nth(1).waitFor();
  check(true, "an order is called back, and no phone was told");

  const csv = await page.evaluate(async () => (await fetch("/phones.csv?state=enrolled")).text());
  const lines = csv.trimEnd().split("\r\n");
  check(lines.length === 7 && lines[0].startsWith("enrolment,group,state,model") && !/7700/.test(csv), "the table for a spreadsheet has masks alone");
}

async function waits(args) {
  const said = await matron(args).done.then(() => "", (e) => e.message);
  check(said.includes("waits as order"), `the command line is told that it waits: ${said.split("\n").at(-2) ?? ""}`);
}

// Two administrators: Ada asks, Bea signs with her passkey or refuses.
async function approvals(bea) {
  await bea.goto(`${base}/approvals`);
  await bea.getByText("Nothing waits.").waitFor();

  await page.goto(`${base}/phones?state=enrolled`);
  await page.locator("#phones input[name=phone]").nth(0).check();
  await page.locator("#phones input[name=phone]").nth(1).check();
  await page.getByText("Erase everything").click();
  await page.locator("#erase-reason").fill("returned to the supplier");
  await page.getByRole("button", { name: "Erase these phones" }).click();
  await sign(page);
  await page.getByText("It waits under Approvals.").waitFor();
  const card = bea.locator("#waiting article").first();
  await card.getByText(/matron approve [0-9a-f]{32}/).waitFor();
  check(!(await card.getByRole("button", { name: /Read and sign/ }).isVisible()), "what takes a signature from outside the browser says so, with the command");
  await looked(bea, "approvals-outside");
  await card.getByText("Reject it").click();
  await card.getByLabel("Why?").fill("not today");
  await card.getByRole("button", { name: "Reject", exact: true }).click();
  await sign(bea);
  await bea.getByText("Rejected.").waitFor();
  await bea.getByText("Nothing waits.").waitFor();
  check(true, "a second administrator rejects it");

  const ids = await page.locator("#phones input[name=phone]").evaluateAll((boxes) => boxes.map((b) => b.value));
  await updated(bea, card, ids);
  await waits(["devices", "erase", ids[0], ids[1], "--reason", "returned to the supplier", "--yes"]);
  await card.getByText("Counts as erasing 2 phones").waitFor();
  await looked(bea, "approvals");
  await card.getByRole("button", { name: /Read and sign/ }).click();
  await bea.getByText("You are about to sign this").waitFor();
  check((await bea.locator("#order dl").innerText()).includes("ERASE EVERYTHING"), "the second person reads what the bytes say");
  await picture(bea, "approvals-dialog");
  await sign(bea);
  await bea.locator("#decided", { hasText: "It cools off until" }).waitFor();
  await bea.locator("#cooling article").waitFor();
  await page.goto(`${base}/approvals`);
  await page.locator("#cooling [data-countdown]", { hasText: /^59:\d\d$/ }).waitFor();
  await looked(page, "approvals-cooling");
  await page.getByText("Call it back").first().click();
  await page.locator("#cooling").getByLabel("Why?").fill("the supplier does not want them");
  await page.locator("#cooling").getByRole("button", { name: "Call it back" }).click();
  await sign(page);
  await page.getByText("Called back: no phone was told.").waitFor();
  await bea.getByText("Nothing cools off.").waitFor();
  check(true, "an erasure that cools off is called back, and the other page sees it");
}

// What lies sealed in an order is told on the page and before it is signed, as far as a signer has to judge it.
async function updated(bea, card, ids) {
  await waits(["roles", "set", "--kind", "configure", "--alone", "1", "--reason", "made up", "--yes"]);
  await card.getByRole("button", { name: /Read and sign/ }).click();
  await sign(bea);
  await bea.getByText("Nothing waits.").waitFor();
  await waits(["devices", "update-os", ids[0], ids[1], "--version", "18.9", "--build", "22X1", "--by", "2030-12-01T20:00", "--reason", "made up", "--yes"]);
  const does = "Update the system to 18.9 (build 22X1): a phone that has not by 2030-12-01 20:00:00 (its own local time) installs it by itself.";
  await card.getByText(does).waitFor();
  await looked(bea, "approvals-update");
  await card.getByRole("button", { name: /Read and sign/ }).click();
  await bea.getByText("You are about to sign this").waitFor();
  check((await bea.locator("#order dl").innerText()).includes(does), "an update's version, build and deadline are told from the bytes that are signed");
  await picture(bea, "approvals-update-dialog");
  await sign(bea);
  await bea.getByText("Nothing waits.").waitFor();
}

// One phone more than one person's budget pays for: the second administrator's passkey has it erased.
async function erase(bea) {
  await page.goto(`${base}/phones?state=enrolled`);
  await page.getByRole("button", { name: /Show the names/ }).click();
  await page.getByRole("columnheader", { name: "Holder" }).waitFor();
  const rows = await page.locator("#phones tbody tr").evaluateAll((all) =>
    all.map((r) => ({ id: r.querySelector("input").value, name: r.children[2].lastChild.textContent.trim() })),
  );
  for (const { id, name } of rows.slice(0, 3)) await matron(["devices", "erase", id, "--name", name, "--reason", "broken", "--yes"]).done;
  const { id, name } = rows[3];
  await page.goto(`${base}/phones/${id}`);
  await page.locator("#erase summary").click();
  await page.locator("#erase-holder_name").fill(name);
  await page.locator("#erase-reason").fill("stolen");
  await page.getByRole("button", { name: "Erase this phone" }).click();
  await sign(page);
  await page.locator("#erase", { hasText: "It waits under Approvals." }).waitFor();
  await bea.getByText("the budget of each administrator alone").waitFor();
  await looked(bea, "approvals-budget");
  await bea.getByRole("button", { name: /Read and sign/ }).click();
  await sign(bea);
  await bea.locator("#decided", { hasText: "Signed and accepted." }).waitFor();
  await page.locator("#commands tr", { hasText: "EraseDevice" }).locator(".nhsuk-tag--green").waitFor({ timeout: 30_000 });
  check(true, "a phone beyond one person's budget is erased once the second administrator's passkey signed");
  const verified = await matron(["ledger", "verify"]).done;
  check(/hold|good|verif/i.test(verified), `the ledger is verified, signatures too: ${verified.split("\n")[0]}`);
}

let fleet;
try {
  await matron(["admin", "join", "--token", process.env.TOKEN, "--name", "Ada Example"]).done;
  await addPasskey(page, ["admin", "add-key", "--passkey", "--reason", "a passkey for the console", "--yes"]);
  await signIn(page);
  await invite();
  const { page: bea, complaints: beas } = await visitor(chrome);
  all.push(beas);
  await addPasskey(bea, ["people", "add", "--passkey", "--name", "Bea Example", "--role", "administrator", "--reason", "a second administrator", "--yes"]);
  await signIn(bea);
  const kept = `${scratch}/fleet`;
  await matron(["simulate", "--phones", "6", "--ca", process.env.CA, "--keep", kept, "--quiet"]).done;
  await bulk();
  await approvals(bea);
  fleet = matron(["simulate", "--resume", kept, "--ca", process.env.CA, "--poll", "1", "--quiet"]).child;
  await erase(bea);
  const unexpected = all.flat().filter((c) => !c.includes("404") && !c.includes("403"));
  check(unexpected.length === 0, `no page complained${unexpected.map((c) => `\n  ${c}`).join("")}`);
} catch (error) {
  for (const [n, p] of chrome.contexts().flatMap((c) => c.pages()).entries()) await picture(p, `failed-${n}`);
  console.error(error, await page.locator("[data-status]").allTextContents(), all);
  process.exitCode = 1;
} finally {
  fleet?.kill();
  await chrome.close();
}
