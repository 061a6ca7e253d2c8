// Device groups: a rule that is tried and signed, a list of ticked phones, what is done with all that are in, and their end.
import { addPasskey, base, browser, check, looked, matron, picture, signIn, visitor } from "./lib.mjs";

const chrome = await browser();
const { page, complaints } = await visitor(chrome);
const sign = async () => {
  await page.getByText("You are about to sign this").waitFor();
  const words = await page.locator("#order-words").innerText();
  await page.getByRole("button", { name: "Sign with your passkey" }).click();
  return words;
};
try {
  await matron(["admin", "join", "--token", process.env.TOKEN, "--name", "Ada Example"]).done;
  await addPasskey(page, ["admin", "add-key", "--passkey", "--reason", "a passkey for the console", "--yes"]);
  await signIn(page);
  const kept = `${process.env.SCRATCH}/fleet`;
  await matron(["simulate", "--phones", "3", "--ca", process.env.CA, "--keep", kept, "--quiet"]).done;

  await page.goto(`${base}/device-groups`);
  await page.getByText("There is none yet").waitFor();
  await looked(page, "device-groups-none");
  await page.getByRole("button", { name: "New device group" }).click();
  await page.waitForURL(/\/device-groups\/new$/);
  check((await page.locator("#preview").count()) === 0, "nothing is filled in, so nobody is told to be in");
  await page.getByLabel("System older than").fill("seventeen");
  await page.getByRole("button", { name: "Look who is in" }).click();
  await page.locator("#wrong").waitFor();
  check(/version/.test(await page.locator("#wrong").innerText()), "a version that is none is told beside the form");
  await page.getByLabel("System older than").fill("999");
  await page.getByLabel("In lost mode").selectOption("false");
  await page.getByRole("button", { name: "Look who is in" }).click();
  await page.locator("#preview").waitFor();
  check((await page.locator("#preview strong").innerText()) === "3 phones", "who is in is shown before anything is signed");
  check((await page.locator("tbody tr").count()) === 3, "each by name of phone");
  await looked(page, "device-group-new");
  await page.getByLabel("Name").fill("Not lost");
  await page.getByLabel("Why?").fill("to work with them");
  await page.getByRole("button", { name: "Save this device group" }).click();
  const words = await sign();
  check(/device group 'Not lost'/.test(words) && /older than 999, and not in lost mode/.test(words), "what is signed says the rule in words");
  await page.waitForURL(/\/device-groups\/[0-9a-f]{32}$/);
  await page.locator("#members tbody tr").nth(2).waitFor();
  const rule = page.url();
  await looked(page, "device-group");

  await page.goto(`${rule}/edit`);
  check((await page.getByLabel("System older than").inputValue()) === "999", "a change begins with what stands");
  await looked(page, "device-group-edit");
  await page.getByLabel("System older than").fill("");
  await page.getByLabel("In lost mode").selectOption("true");
  await page.getByRole("button", { name: "Look who is in" }).click();
  await page.locator("#preview").waitFor();
  check((await page.locator("#preview strong").innerText()) === "0 phones", "the changed rule holds nobody now");
  await page.getByLabel("Name").fill("Lost");
  await page.getByLabel("Why?").fill("the other way round");
  await page.getByRole("button", { name: "Save this device group" }).click();
  await sign();
  await page.waitForURL(rule);
  check((await page.getByRole("heading", { level: 1 }).innerText()) === "Lost", "it has its new name and the same place");

  // A list of two of the three.
  await page.goto(`${base}/phones`);
  await page.locator("input[name=phone]").nth(0).check();
  await page.locator("input[name=phone]").nth(1).check();
  await page.getByText("Make a device group of them").click();
  await page.locator("#make-list").getByLabel("Name").fill("lost");
  await page.locator("#make-list").getByLabel("Why?").fill("two phones for a trial");
  await page.locator("#make-list").getByRole("button").click();
  await sign();
  await page.getByText(/of this name is there already/).waitFor();
  check(true, "two device groups have two names");
  await page.locator("#make-list").getByLabel("Name").fill("Trial");
  await page.locator("#make-list").getByRole("button").click();
  await sign();
  await page.waitForURL(/\/device-groups\/[0-9a-f]{32}$/);
  check((await page.locator("#members tbody tr").count()) === 2, "a list holds the phones that were ticked");
  await page.getByRole("link", { name: "Show them in the list of phones" }).click();
  await page.waitForURL(/\/phones\?device_group=/);
  check((await page.locator("#phones tbody tr").count()) === 2, "and the list of phones is narrowed to it");
  const [file] = await Promise.all([page.waitForEvent("download"), page.getByText("Download as CSV").click()]);
  const { readFile } = await import("node:fs/promises");
  const lines = (await readFile(await file.path(), "utf8")).trim().split("\r\n");
  check(lines.length === 3, "the table for a spreadsheet too");

  // With all that are in.
  await page.goto(`${base}/device-groups`);
  await page.getByRole("link", { name: "Trial" }).click();
  await page.waitForURL(/\/device-groups\/[0-9a-f]{32}$/);
  const trial = page.url();
  await page.getByText("Lock their screens").click();
  await page.locator("#lock-reason").fill("a trial");
  await page.locator("#lock").getByRole("button", { name: "Lock" }).click();
  const locks = await sign();
  check(/2 phones/.test(locks), "an order for all that are in names them, and says how many");
  await page.getByText("Signed and accepted").waitFor();
  check((await page.locator("#erase").count()) === 0, "what erases is not offered for whoever is in");
  await page.goto(`${base}/commands`);
  await page.getByText("not told yet").first().waitFor();
  check(/2 not told yet/.test(await page.locator("#under-way tbody tr").first().innerText()), "the order goes to both");

  await page.goto(`${base}/device-groups`);
  check((await page.locator("#groups tbody tr").count()) === 2, "the list has both");
  const counted = await page.locator("#groups tbody tr", { hasText: "Trial" }).locator("td").nth(1).innerText();
  check(counted.endsWith("2"), "each with how many phones are in it");
  await looked(page, "device-groups");
  await page.goto(trial);
  await page.getByText("End this device group").click();
  await page.locator("#end-reason").fill("the trial is over");
  await page.locator("#end").getByRole("button", { name: "End it" }).click();
  await sign();
  await page.waitForURL(/\/device-groups$/);
  check((await page.locator("#groups tbody tr").count()) === 1, "an ended device group is gone");
  await page.goto(trial);
  check(await page.getByText("there is no such device group", { exact: false }).isVisible(), "and its page is not there");

  // Reading needs no script.
  const plain = await chrome.newContext({ javaScriptEnabled: false });
  await plain.addCookies(await page.context().cookies());
  const reader = await plain.newPage();
  await reader.goto(`${base}/device-groups/new?lost=false`);
  check((await reader.locator("#preview strong").innerText()) === "3 phones", "a rule is tried without JavaScript");
  await plain.close();

  const unexpected = complaints.filter((c) => !c.includes("404") && !c.includes("403"));
  check(unexpected.length === 0, `no page complained${unexpected.map((c) => `\n  ${c}`).join("")}`);
} catch (error) {
  await picture(page, "failed");
  console.error(error, await page.locator("[data-status]").allTextContents(), complaints);
  process.exitCode = 1;
} finally {
  await chrome.close();
}
