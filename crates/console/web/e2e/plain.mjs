// Reading works without JavaScript: every page that the router has opens with scripts off and says what it is for.
import { base, check } from "./lib.mjs";

// What each page says there. What is no page says its kind, or why it is left out.
const SAYS = {
  "/": [/Overview/, /enrolled/i],
  "/sign-in": [/Sign in/, /JavaScript/],
  "/join": [/Your name/, /JavaScript/],
  "/register": [/Make a passkey/, /Passkeys need JavaScript/],
  "/sign-in/oidc": [/not signed in/],
  "/sign-in/oidc/done": [/not signed in/],
  "/my-phone": [/The code of your holder's card/],
  "/my-phone/session": [/The code of your holder's card/],
  "/my-phone/lost": [/The code of your holder's card/],
  "/phones": [/Filter and sort/, /enrolled/i, /iPhone/],
  "/phones/{enrolment}": [/What was asked of it/, /DeviceInformation/, /What it reported/],
  "/device-groups": [/Ward & <phones>/],
  "/device-groups/new": [/Look who is in/],
  "/device-groups/{device_group}": [/Ward & <phones>/, /Phones now\s*6/],
  "/device-groups/{device_group}/edit": [/Look who is in/],
  "/invite": [/Open invitations/],
  "/approvals": [/Waiting for another signature/, /returned to the supplier/],
  "/commands": [/Commands in flight/],
  "/commands/{order}": [/returned to the supplier/],
  "/profiles": [/org\.example\.rota/],
  "/profiles/{profile}": [/org\.example\.rota/, /web clip/i],
  "/people": [/Who signs orders/, /administrator/],
  "/health": [/Answers/, /What runs out/],
  "/ledger": [/Ledger/, /is enrolled/],
  "/entries/{index}": [/Entry/, /SHA-256/],
};
const FILES = {
  "/assets/{name}": "text/javascript",
  "/phones.csv": "text/csv",
  "/device-groups/{device_group}/phones": "application/json",
  "/profiles/{profile}/device-groups/{device_group}/phones": "application/json",
  "/approvals/{order}": "application/json",
  "/ledger.jsonl": "",
  "/ledger.checkpoint": "text/plain",
  "/entries/{index}/proof": "text/plain",
};
const LEFT_OUT = {
  "/registrations/{link}": "a passkey for a command line that waits: there is none",
  "/events": "a stream without an end; the script's own",
};

// Opens them all as whoever has these cookies; `ids` are what stands in the templates.
export async function readWithoutScripts(chrome, scripted, ids) {
  const script = await scripted.evaluate(() => new URL(document.querySelector("script[src]").src).pathname.split("/").at(-1));
  const userAgent = await scripted.evaluate(() => navigator.userAgent);
  const context = await chrome.newContext({ javaScriptEnabled: false, userAgent });
  await context.addCookies(await scripted.context().cookies());
  const page = await context.newPage();
  const pages = process.env.PAGES.split("\n");
  check(pages.length > 20, `${pages.length} pages are known`);
  for (const template of pages) {
    const path = template.replace(/\{(\w+)\}/g, (all, name) => ({ ...ids, name: script })[name] ?? all);
    if (template in LEFT_OUT) continue;
    if (template in FILES) {
      const headers = { "user-agent": userAgent, "sec-fetch-site": "same-origin" };
      const response = await context.request.get(base + path, { headers });
      const kind = response.headers()["content-type"] ?? "";
      check(response.status() === 200 && kind.includes(FILES[template]) && !kind.includes("html") && (await response.body()).length > 1, `${template} is a file: ${kind}`);
      continue;
    }
    const says = SAYS[template];
    if (!says) {
      check(false, `${template} is read without JavaScript: nobody has said what it says`);
      continue;
    }
    await page.goto(base + path);
    const main = await page.locator("main").innerText();
    const missing = says.filter((part) => !part.test(main));
    check(missing.length === 0, `${template} is read without JavaScript${missing.length ? `: ${missing} is not in ${main.slice(0, 600)}` : ""}`);
  }
  await context.close();
}
