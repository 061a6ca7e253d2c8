// The pages for looking: how the house is.
import { addPasskey, base, browser, check, looked, matron, picture, signIn, visitor } from "./lib.mjs";

const chrome = await browser();
const { page, complaints } = await visitor(chrome);
try {
  await matron(["admin", "join", "--token", process.env.TOKEN, "--name", "Ada Example"]).done;
  await addPasskey(page, ["admin", "add-key", "--passkey", "--reason", "a passkey for the console", "--yes"]);
  await signIn(page);
  const kept = `${process.env.SCRATCH}/fleet`;
  await matron(["simulate", "--phones", "3", "--ca", process.env.CA, "--keep", kept, "--quiet"]).done;

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

  const unexpected = complaints.filter((c) => !c.includes("404"));
  check(unexpected.length === 0, `no page complained${unexpected.map((c) => `\n  ${c}`).join("")}`);
} catch (error) {
  await picture(page, "failed");
  console.error(error, await page.locator("[data-status]").allTextContents(), complaints);
  process.exitCode = 1;
} finally {
  await chrome.close();
}
