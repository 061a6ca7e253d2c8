// What ./demo prints at its end: a link that makes the first administrator's passkey in the console, once.
import { spawn } from "node:child_process";
import { base, browser, check, picture, signIn, visitor } from "./lib.mjs";

const demo = spawn(process.env.DEMO, [], { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, PHONES: "2" } });
let said = "";
for (const stream of [demo.stdout, demo.stderr]) stream.on("data", (d) => (said += d));
const ended = new Promise((resolve) => demo.on("close", resolve));
const until = async (holds) => {
  for (let n = 0; n < 1200 && !holds(); n += 1) {
    if (demo.exitCode !== null) throw new Error("the demo ended");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
};
const chrome = await browser();
const { page, complaints } = await visitor(chrome);
try {
  const printed = () => /http\S+\/register#\S+/.exec(said)?.[0];
  await until(printed);
  const link = printed();
  check(link?.startsWith(`${base}/register#`), "the demo prints the console's link");
  await page.goto(link);
  await page.getByRole("button", { name: "Make a passkey" }).click();
  await page.getByText("Made.").waitFor();
  // The command line says so once its order is accepted.
  await until(() => /signs for you too/.test(said));
  await signIn(page);
  await page.goto(`${base}/phones?state=enrolled`);
  await page.locator("#phones tbody tr").nth(1).waitFor();
  check(true, "its passkey signs in, and the demo's phones are there");
  await page.goto(`${base}/people`);
  check(/administrator[\s\S]*passkey/.test(await page.locator("#h-people + table tbody").innerText()), "it is the first administrator's");

  const second = await visitor(chrome);
  await second.page.goto(link);
  await second.page.getByRole("button", { name: "Make a passkey" }).click();
  await second.page.locator("[data-status]:not(:empty)").waitFor();
  await second.page.goto(`${base}/sign-in`);
  await second.page.getByRole("button", { name: "Sign in with a passkey" }).click();
  await second.page.locator(".app-status--bad").waitFor();
  check(new URL(second.page.url()).pathname === "/sign-in", "the link makes no second one");
  const unexpected = complaints.filter((c) => !c.includes("404"));
  check(unexpected.length === 0, `no page complained${unexpected.map((c) => `\n  ${c}`).join("")}`);
} catch (error) {
  await picture(page, "failed");
  console.error(error, said.slice(-3000), await page.locator("[data-status]").allTextContents());
  process.exitCode = 1;
} finally {
  await chrome.close();
  demo.kill("SIGTERM");
  await ended;
}
