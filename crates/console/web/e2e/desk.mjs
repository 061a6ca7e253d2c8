// The service desk's pages in a real browser: invite, approve with a second person, follow and call back.
import { readFile, writeFile } from "node:fs/promises";
import { readWithoutScripts } from "./plain.mjs";
import { addPasskey, base, browser, check, looked, matron, picture, signIn, visitor } from "./lib.mjs";

const scratch = process.env.SCRATCH;
const chrome = await browser();
const { page, complaints } = await visitor(chrome);
const all = [complaints];

async function sign(on) {
  await on.getByRole("button", { name: "Sign with your passkey" }).click();
}

// Many at once, the sheet, taken back.
async function invite() {
  await page.goto(`${base}/invite`);
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
  check((await page.locator("#cards code", { hasText: "/enrol/" }).count()) === 2, "the command line's links become a sheet");

  await page.locator("#open tbody tr").nth(1).waitFor();
  await page.locator("#open input[type=radio]").first().check();
  await page.getByText("Take an invitation back").click();
  await page.getByRole("button", { name: "Take it back" }).click();
  await sign(page);
  await page.getByText("Taken back; its link works no more.").waitFor();
  await page.waitForFunction(() => document.querySelectorAll("#open tbody tr").length === 1);
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

// What somebody at the service desk is offered with their own passkey: to lock a phone, which they do, and not to erase it.
async function serviceDesk(dee) {
  await dee.goto(`${base}/phones?state=enrolled`);
  await dee.locator("#phones tbody tr").nth(3).waitFor();
  const offers = async (of) => (await dee.locator(of).allInnerTexts()).map((t) => t.trim());
  const bulk = await offers(".app-actions summary");
  check(bulk.includes("Lock their screens") && !bulk.some((t) => /erase|device group/i.test(t)), `with several phones the service desk may: ${bulk}`);
  await dee.locator("#phones tbody a[href^='/phones/']").nth(3).click();
  await dee.waitForURL(/\/phones\/[0-9a-f]{32}$/);
  const one = await offers("details.app-action > summary");
  check(["Lock the screen", "Lost mode", "Reveal…", "Remove the passcode"].every((t) => one.includes(t)) && !one.some((t) => /erase/i.test(t)), `with one: ${one}`);
  await looked(dee, "phone-service-desk");
  await dee.locator("#lock summary").click();
  await dee.locator("#lock-reason").fill("left at the desk");
  await dee.getByRole("button", { name: "Lock", exact: true }).click();
  await sign(dee);
  await dee.getByText("Signed and accepted").waitFor();
  check((await dee.locator("#commands tr", { hasText: "DeviceLock" }).count()) === 1, "the service desk's passkey locks a phone");
  // The same page's own request for what it does not offer.
  await dee.evaluate(() => {
    const form = document.querySelector("#lock form");
    form.dataset.order = '{"kind":"erase","keep_esim":true}';
    form.querySelector("input[name=reason]").value = "made up";
    form.requestSubmit();
  });
  await sign(dee);
  await dee.locator("#lock .app-status--bad").waitFor();
  check(/role/i.test(await dee.locator("#lock [data-status]").innerText()), "and an erasure that the page was made to ask for, the vault refuses by role");
  await dee.goto(`${base}/people`);
  check((await dee.locator("form[data-order]").count()) === 0, "nothing about people is offered to the service desk");
  await dee.goto(`${base}/approvals`);
  await dee.getByText("Nothing waits.").waitFor();
}

// All that stands now, read with scripts off: phones, an order that waits, a device group, a profile, entries.
async function read() {
  const payload = "<dict><key>PayloadType</key><string>com.apple.webClip.managed</string><key>PayloadVersion</key><integer>1</integer><key>PayloadUUID</key><string>B</string><key>PayloadIdentifier</key><string>org.example.rota.1</string><key>Label</key><string>Rota</string><key>URL</key><string>https://rota.example.org/</string></dict>";
  const profile = `<plist version="1.0"><dict><key>PayloadType</key><string>Configuration</string><key>PayloadVersion</key><integer>1</integer><key>PayloadUUID</key><string>A</string><key>PayloadIdentifier</key><string>org.example.rota</string><key>PayloadContent</key><array>${payload}</array></dict></plist>`;
  await writeFile(`${scratch}/rota.mobileconfig`, profile);
  await matron(["profiles", "save", `${scratch}/rota.mobileconfig`, "--reason", "the rota", "--yes"]).done;
  await matron(["device-groups", "save", "Ward & <phones>", "--os-at-least", "1", "--reason", "a trial", "--yes"]).done;
  const [waits, group, phone, saved] = await Promise.all(
    [["orders", "pending"], ["device-groups", "list"], ["devices", "list", "--state", "enrolled"], ["profiles", "list"]].map(async (args) => JSON.parse(await matron([...args, "--json"]).done).items[0]),
  );
  await readWithoutScripts(chrome, page, {
    enrolment: phone.enrolment, order: waits.order, device_group: group.device_group, profile: saved.profile, index: "3",
  });
}

// Two administrators: Ada asks, Bea signs with her passkey or refuses.
async function approvals(bea, dee) {
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
  await dee.locator("#waiting article").getByText("Your role does not sign this").waitFor();
  check((await dee.locator("#waiting form").count()) === 0, "nor is the service desk offered to sign or reject it");
  await read();
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

try {
  await matron(["admin", "join", "--token", process.env.TOKEN, "--name", "Ada Example"]).done;
  await addPasskey(page, ["admin", "add-key", "--passkey", "--reason", "a passkey for the console", "--yes"]);
  await signIn(page);
  await invite();
  const { page: dee, complaints: dees } = await visitor(chrome);
  all.push(dees);
  await addPasskey(dee, ["people", "add", "--passkey", "--name", "Dee Example", "--role", "service_desk", "--reason", "the service desk", "--yes"]);
  await signIn(dee);
  const { page: bea, complaints: beas } = await visitor(chrome);
  all.push(beas);
  await addPasskey(bea, ["people", "add", "--passkey", "--name", "Bea Example", "--role", "administrator", "--reason", "a second administrator", "--yes"]);
  await signIn(bea);
  await matron(["simulate", "--phones", "6", "--ca", process.env.CA, "--quiet"]).done;
  await bulk();
  await serviceDesk(dee);
  await approvals(bea, dee);
  const unexpected = all.flat().filter((c) => !c.includes("404") && !c.includes("403"));
  check(unexpected.length === 0, `no page complained${unexpected.map((c) => `\n  ${c}`).join("")}`);
} catch (error) {
  for (const [n, p] of chrome.contexts().flatMap((c) => c.pages()).entries()) await picture(p, `failed-${n}`);
  console.error(error, await page.locator("[data-status]").allTextContents(), all);
  process.exitCode = 1;
} finally {
  await chrome.close();
}
