// The pages for looking: how the phones are, how the house is, what happened, who may do what.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { addPasskey, base, browser, check, firstVisit, looked, matron, picture, signIn, visitor } from "./lib.mjs";

const chrome = await browser();
const { page, complaints } = await visitor(chrome);
try {
  await matron(["admin", "join", "--token", process.env.TOKEN, "--name", "Ada Example"]).done;
  await addPasskey(page, ["admin", "add-key", "--passkey", "--reason", "a passkey for the console", "--yes"]);
  await signIn(page);
  const kept = `${process.env.SCRATCH}/fleet`;
  await matron(["simulate", "--phones", "3", "--ca", process.env.CA, "--keep", kept, "--quiet"]).done;

  await page.goto(`${base}/`);
  const tile = (what) => page.locator(".app-tile", { hasText: what }).locator(".app-tile__number");
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  // A count may be a second old; the page comes anew by itself.
  await page.locator(".app-tile", { hasText: "enrolled" }).first().getByText("3", { exact: true }).waitFor({ timeout: 15_000 });
  check((await tile("enrolled").first().innerText()) === "3", "the overview counts the phones that are enrolled");
  check((await tile("silent for 7 days").innerText()) === "0", "none of them is silent");
  check((await page.locator(".app-chart svg").count()) === 3, "the last 30 days are drawn");
  // It is counted by itself, and may be older than the tiles.
  await page.locator("#chart-enrolled-told", { hasText: /^\s*3 in all/ }).waitFor({ timeout: 15_000 }).catch(() => {});
  check((await page.locator("#chart-enrolled-told").innerText()).startsWith("3 in all"), "the chart says what it shows");
  await page.getByText("The same as a table").click();
  const todays = await page.locator("#overview details tbody tr").first().innerText();
  check(/^\d+ \w+\s+0\s+3\s/.test(todays), "and the table says the same of today");
  await page.getByText("The same as a table").click();
  await looked(page, "overview");

  await page.goto(`${base}/people`);
  const me = await page.locator("#h-people + table tbody tr").innerText();
  check(/administrator/.test(me) && /passkey/.test(me) && /key file/.test(me), "an administrator is shown with a key file and a passkey");
  await page.getByLabel("If someone who is").selectOption("service_desk");
  await page.getByLabel("Orders", { exact: true }).selectOption("erase");
  await page.getByRole("button", { name: "Look" }).click();
  await page.getByText("may not do that at all").waitFor();
  check(true, "a preview says that the service desk erases nothing");
  await looked(page, "people");

  await page.goto(`${base}/health`);
  const room = (name) => page.locator("#health tr", { has: page.getByText(name, { exact: true }) });
  for (const name of ["Door", "Core", "Vault", "Courier"]) {
    check((await room(name).innerText()).includes("Answers"), `${name} answers`);
  }
  check((await room("Reader").innerText()).includes("Not asked"), "what core can't know is not made up");
  const ends = await page.locator("#health tr", { hasText: "TLS certificate" }).innerText();
  check(/Fine/.test(ends) && /in \d+ days/.test(ends), "the phones' TLS certificate is told with its end");
  check(await page.getByText("There is no push certificate").or(page.getByText("No push certificate is configured")).first().isVisible(), "a missing push certificate is warned of");
  await looked(page, "health");

  await page.goto(`${base}/ledger`);
  await page.locator("tbody tr").first().waitFor();
  await page.getByRole("button", { name: "Check the entries on this page" }).click();
  await page.getByText(/All \d+ entries are in the ledger of \d+ entries/).waitFor({ timeout: 60_000 });
  const rows = await page.locator("tbody tr").count();
  check((await page.getByText("Proved", { exact: true }).count()) === rows, "every entry on the page is proved in the browser");
  await looked(page, "ledger");
  await page.getByText("Filter", { exact: true }).click();
  await page.getByLabel("Kind").selectOption("token_updated");
  await page.getByRole("button", { name: "Show", exact: true }).click();
  await page.waitForURL(/kind=token_updated/);
  check((await page.locator("tbody tr").count()) === 3, "the ledger is filtered by kind: three phones enrolled");
  await picture(page, "ledger-filtered");
  await page.locator("tbody tr a").first().click();
  await page.waitForURL(/\/entries\/\d+$/);
  const phone = await page.locator("dd a[href^='/phones/']").getAttribute("href");
  const download = page.waitForEvent("download");
  await page.getByText("Download its proof").click();
  const file = await (await download).path();
  const outside = await matron(["ledger", "verify-proof", file]).done;
  check(/is enrolled/.test(outside), "the proof that the page gives holds outside of it too");
  await page.getByRole("button", { name: "Check this entry" }).click();
  await page.getByText("The entry is in the ledger of").waitFor({ timeout: 30_000 });
  await looked(page, "ledger-entry");
  await page.goto(`${base}/ledger?phone=${phone.slice(-32, -20)}`);
  const about = await page.locator("tbody tr").count();
  check(about >= 3 && about < rows, "the ledger is filtered by phone, by its first digits");
  const today = new Date().toISOString().slice(0, 10);
  await page.goto(`${base}/ledger?to_day=2020-01-01`);
  check(await page.getByText("No entry is like that").isVisible(), "and by day");
  await page.goto(`${base}/ledger?from_day=${today}&kind=invited`);
  check((await page.locator("tbody tr").count()) === 3, "by day and kind together");

  // All of it, as files that are checked elsewhere.
  await page.goto(`${base}/ledger`);
  await page.getByText("Take it with you").click();
  await looked(page, "ledger-export");
  const whole = `${process.env.SCRATCH}/ledger`;
  await mkdir(whole);
  for (const [link, name] of [["the checkpoint", "checkpoint"], ["every entry", "entries.jsonl"]]) {
    const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: link }).click()]);
    check(file.suggestedFilename() === name, `${link} is downloaded as ${name}`);
    await file.saveAs(`${whole}/${name}`);
  }
  const told = await matron(["ledger", "verify", "--dir", whole]).done;
  const entries = (await readFile(`${whole}/entries.jsonl`, "utf8")).trimEnd().split("\n");
  check(told.includes(`${entries.length} entries`), `the whole ledger leaves the page, and verifies without the server: ${told.split("\n")[0]}`);
  const refused = async (lines, what) => {
    await writeFile(`${whole}/entries.jsonl`, `${lines.join("\n")}\n`);
    check(await matron(["ledger", "verify", "--dir", whole]).done.then(() => false, () => true), what);
  };
  await refused(entries.slice(0, 5), "a ledger that was cut off does not");
  const forged = entries.map((line, n) => (n === 3 ? JSON.stringify({ ...JSON.parse(line), raw: JSON.parse(entries[2]).raw, hash: JSON.parse(entries[2]).hash }) : line));
  await refused(forged, "nor one in which an entry is another's");

  // A proof that was tampered with: the browser is told another entry's.
  await page.route(/\/entries\/\d+\/proof$/, async (route) => {
    const response = await route.fetch();
    const text = await response.text();
    await route.fulfill({ response, body: text.replace(/\nindex \d+\n(\S)/, (all, c) => all.slice(0, -1) + (c === "A" ? "B" : "A")) });
  });
  await page.goto(`${base}/ledger`);
  await page.getByRole("button", { name: "Check the entries on this page" }).click();
  await page.getByText("Not proved").nth(rows - 1).waitFor({ timeout: 60_000 });
  check((await page.getByText("Proved", { exact: true }).count()) === 0, "a proof with one wrong hash proves nothing");
  await picture(page, "ledger-wrong");
  await page.unroute(/\/entries\/\d+\/proof$/);

  // One entry, by other lies.
  const says = async (words, what) => {
    await page.goto(`${base}/entries/1`);
    await page.getByRole("button", { name: "Check this entry" }).click();
    await page.getByText(words).waitFor({ timeout: 30_000 });
    check((await page.getByText("Proved", { exact: true }).count()) === 0, what);
  };
  const other = (c) => (c === "A" ? "B" : "A");
  const tampered = async (change, words, what) => {
    await page.route(/\/entries\/1\/proof$/, async (route) => {
      const response = await route.fetch();
      const before = await response.text();
      const body = change(before);
      if (body === before) throw new Error("nothing was tampered with");
      await route.fulfill({ response, body });
    });
    await says(words, what);
    await page.unroute(/\/entries\/1\/proof$/);
  };
  await tampered((t) => t.replace(/(\u2014 \S+ \S{20})(\S)/, (all, start, c) => start + other(c)), "signature does not fit", "nor one whose signature was changed");
  await tampered((t) => t.replace(/(\u2014 \S+ )(\S)/, (all, start, c) => start + other(c)), "not of this house's root key", "nor one that another key signed");
  await tampered((t) => t.replace(/(\nmatron\S+\n\d+\n)(\S)/, (all, start, c) => start + other(c)), "not in the tree that was signed", "nor one with another tree's root");
  await tampered((t) => t.replace(/(\nextra )(\S)/, (all, start, c) => start + other(c)), "of another entry than the one shown", "nor one of another entry");
  const remembered = await page.evaluate(() => ({ seen: localStorage.getItem("matron-ledger-seen"), pinned: localStorage.getItem("matron-root-key") }));
  await page.evaluate((seen) => localStorage.setItem("matron-ledger-seen", JSON.stringify({ ...JSON.parse(seen), root: "AAAA" })), remembered.seen);
  await says("two different ledgers of one length were signed", "a ledger with two histories is found by who saw the other");
  await page.evaluate(({ seen, pinned }) => {
    localStorage.setItem("matron-ledger-seen", seen);
    localStorage.setItem("matron-root-key", (pinned[0] === "A" ? "B" : "A") + pinned.slice(1));
  }, remembered);
  await says("names another root key than the one this browser knows", "another root key than the one that was seen is not believed");

  // Another root key by an order: the one that the browser knows leads to it, and the page says so once.
  await page.evaluate(({ seen, pinned }) => {
    localStorage.setItem("matron-ledger-seen", seen);
    localStorage.setItem("matron-root-key", pinned);
  }, remembered);
  await matron(["keys", "rotate", "root", "--reason", "the old one is five years old", "--yes"]).done;
  await page.goto(`${base}/entries/1`);
  const look = page.getByRole("button", { name: "Check this entry" });
  const changed = page.getByText("The root key was changed since this browser last looked");
  await look.click();
  await changed.waitFor({ timeout: 30_000 });
  check((await page.getByText("Proved", { exact: true }).count()) === 1, "another root key is followed from the one that the browser knows, and told of");
  await picture(page, "root-changed");
  await look.click();
  await page.getByText("Checking…").waitFor({ state: "hidden" });
  check((await changed.count()) === 0 && (await page.getByText("Proved", { exact: true }).count()) === 1, "it is told of once");

  // The list in each order that the page offers, against what the API says of the phones. One comes later than those that
  // enrolled at once.
  await matron(["simulate", "--phones", "1", "--seed", "9", "--ca", process.env.CA, "--keep", `${process.env.SCRATCH}/later`, "--quiet"]).done;
  const phones = JSON.parse(await matron(["devices", "list", "--json"]).done).items;
  const shown = async (sort) => {
    await page.goto(`${base}/phones`);
    await page.getByText("Filter and sort").click();
    await page.getByLabel("Sort by").selectOption({ label: sort });
    await page.getByRole("button", { name: "Show", exact: true }).click();
    await page.waitForURL(/[?&]sort=/);
    return page.locator("#phones tbody a[href^='/phones/']").evaluateAll((all) => all.map((a) => a.getAttribute("href").split("/").at(-1)));
  };
  const orders = { "Last seen": (d) => d.last_seen_ms, Enrolment: (d) => d.enrolled_at_ms, Invitation: (d) => -d.invited_at_ms };
  for (const [sort, of] of Object.entries(orders)) {
    // Two phones may enrol in the same millisecond.
    const keys = (await shown(sort)).map((id) => of(phones.find((d) => d.enrolment === id)));
    const falls = keys.every((key, n) => n === 0 || keys[n - 1] >= key);
    check(keys.length === 4 && keys[0] > keys[3] && falls, `phones are sorted by: ${sort} (${keys})`);
  }

  // The first visit, with an empty cache; the list of phones with as many rows as a page has.
  const guests = Array.from({ length: 60 }, (_, n) => `Guest Madeup${n},guest${n}@example.org,ward-7`);
  await writeFile(`${process.env.SCRATCH}/many.csv`, `name,email,group\n${guests.join("\n")}\n`);
  await matron(["invite", "--csv", `${process.env.SCRATCH}/many.csv`, "--reason", "a full page", "--yes"]).done;
  const cookies = await page.context().cookies();
  for (const [path, given] of [["/sign-in", []], ["/phones", cookies]]) {
    const { bytes, ended, here } = await firstVisit(chrome, path, given);
    check(here === path && ended >= 3 && bytes > 10_000 && bytes < 150_000, `the first visit to ${path} takes ${bytes} bytes, of at most 150,000`);
  }

  const unexpected = complaints.filter((c) => !c.includes("404"));
  check(unexpected.length === 0, `no page complained${unexpected.map((c) => `\n  ${c}`).join("")}`);
} catch (error) {
  await picture(page, "failed");
  console.error(error, await page.locator("[data-status]").allTextContents(), complaints);
  process.exitCode = 1;
} finally {
  await chrome.close();
}
