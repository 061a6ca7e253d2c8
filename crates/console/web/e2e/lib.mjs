// What the browser tests share: Chromium as Debian packages it, an authenticator that Chromium makes up.
import { chromium } from "playwright-core";
import { spawn } from "node:child_process";
import { mkdir, readFile } from "node:fs/promises";

export const base = process.env.MATRON_URL;
const pictures = process.env.MATRON_SCREENSHOTS;

export async function browser() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
}

// A page whose browser has an authenticator; whatever the page complains of is kept.
export async function visitor(chrome, options = {}) {
  const context = await chrome.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (m) => m.type() === "error" && complaints.push(m.text()));
  page.on("pageerror", (e) => complaints.push(String(e)));
  const devtools = await context.newCDPSession(page);
  await devtools.send("WebAuthn.enable");
  const { authenticatorId } = await devtools.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true,
      isUserVerified: true, automaticPresenceSimulation: true,
    },
  });
  return { context, page, complaints, devtools, authenticatorId };
}

export async function picture(page, name) {
  if (!pictures) return;
  await mkdir(pictures, { recursive: true });
  await page.screenshot({ path: `${pictures}/${name}.png`, fullPage: true });
}

export function check(holds, what) {
  console.log(`${holds ? "ok " : "NOT"} ${what}`);
  if (!holds) process.exitCode = 1;
}

// The command line, as an administrator has it.
export function matron(args, { onError } = {}) {
  const child = spawn(process.env.MATRON, args, { stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  let err = "";
  child.stdout.on("data", (d) => (out += d));
  child.stderr.on("data", (d) => {
    err += d;
    onError?.(err);
  });
  const done = new Promise((resolve, reject) =>
    child.on("close", (code) => (code === 0 ? resolve(out) : reject(new Error(`matron ${args.join(" ")}: ${err}`)))),
  );
  return { child, done };
}

// A passkey for whoever the command line belongs to: its link, the browser's passkey, its signature.
export async function addPasskey(page, args) {
  let link;
  const found = new Promise((resolve) => (link = resolve));
  const { done } = matron(args, { onError: (text) => /#\S+/.test(text) && link(/http\S+/.exec(text)[0]) });
  await page.goto(await Promise.race([found, done]));
  await page.getByRole("button", { name: "Make a passkey" }).click();
  await page.getByText("Made.").waitFor();
  await done;
}

export async function signIn(page) {
  await page.goto(`${base}/sign-in`);
  await page.getByRole("button", { name: "Sign in with a passkey" }).click();
  await page.waitForURL((url) => !url.pathname.startsWith("/sign-in"));
}

// What axe-core has to say of the page, by WCAG 2.2 AA. It goes in by the debugger: the page's own policy admits no
// script but ours.
export async function accessible(page, name) {
  const axe = await readFile(new URL("../node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() =>
    window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }),
  );
  const told = violations.map((v) => `${v.id}: ${v.help} (${v.nodes.map((n) => n.html.slice(0, 120)).join(" | ")})`);
  check(told.length === 0, `${name} is accessible${told.length ? `:\n  ${told.join("\n  ")}` : ""}`);
}

// The page in light and dark and at a phone's width, looked at and kept.
export async function looked(page, name) {
  await accessible(page, name);
  await picture(page, name);
  await page.emulateMedia({ colorScheme: "dark" });
  await accessible(page, `${name} in the dark`);
  await picture(page, `${name}-dark`);
  await page.emulateMedia({ colorScheme: "light" });
  const size = page.viewportSize();
  await page.setViewportSize({ width: 375, height: 800 });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
  await picture(page, `${name}-phone`);
  check(!wide, `${name} fits a phone's width`);
  await page.setViewportSize(size);
}

// The first holder's name in a list that shows names.
export async function holderOf(page) {
  const heads = await page.locator("#phones thead th").allInnerTexts();
  const at = heads.findIndex((head) => head.trim() === "Holder") + 1;
  return (await page.locator(`#phones tbody tr :nth-child(${at})`).first().innerText()).trim();
}
