// The first administrator joins in the browser alone, with the vault's token.
import { base, browser, check, looked, picture, signIn, visitor } from "./lib.mjs";

const chrome = await browser();
const { page } = await visitor(chrome);
try {
  await page.goto(`${base}/join#${process.env.TOKEN}`);
  check(!(await page.getByLabel("Token").isVisible()), "the link brings the token");
  await looked(page, "join");
  await page.getByLabel("Your name").fill("Ada Example");
  await page.getByRole("button", { name: "Make my passkey and join" }).click();
  await page.waitForURL(/\/sign-in\?joined/);
  await page.waitForLoadState();
  check(!page.url().includes("matron-join"), "the token is not in the address any more");
  await signIn(page);
  await page.goto(`${base}/phones`);
  check(await page.getByRole("heading", { name: "Phones" }).isVisible(), "the first administrator is in");
  await page.goto(`${base}/join#${process.env.TOKEN}`);
  await page.getByLabel("Your name").fill("Mallory Example");
  await page.getByRole("button", { name: "Make my passkey and join" }).click();
  await page.locator(".app-status--bad").waitFor();
  check(true, "the token works once");
  const plain = await chrome.newContext({ javaScriptEnabled: false });
  const silent = await plain.newPage();
  await silent.goto(`${base}/join`);
  await silent.getByLabel("Token").fill("matron-join-secret");
  await silent.getByLabel("Your name").fill("Ada Example");
  await silent.getByRole("button", { name: "Make my passkey and join" }).click();
  check(!silent.url().includes("secret"), "without JavaScript nothing that was typed goes into an address");
} catch (error) {
  await picture(page, "failed");
  console.error(error, await page.locator("[data-status]").allTextContents());
  process.exitCode = 1;
} finally {
  await chrome.close();
}
