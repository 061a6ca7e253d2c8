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
export async function addPasskey(page, args, look = async () => {}) {
  let link;
  const found = new Promise((resolve) => (link = resolve));
  const { done } = matron(args, { onError: (text) => /#\S+/.test(text) && link(/http\S+/.exec(text)[0]) });
  await page.goto(await Promise.race([found, done]));
  await look("register");
  await page.getByRole("button", { name: "Make a passkey" }).click();
  await page.getByText("Made.").waitFor();
  await done;
  await look("registered");
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
  const { violations, faint } = await page.evaluate(async () => {
    const found = await window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] });
    // Where a box is drawn beside a text (::before), axe says that it can't tell: then the text is held against the first
    // background behind it.
    const part = (c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
    const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
    const numbers = (colour) => (colour.match(/[\d.]+/g) ?? []).map(Number);
    const behind = (e) => {
      for (let at = e; at; at = at.parentElement) {
        const colour = numbers(getComputedStyle(at).backgroundColor);
        if (colour.length === 3 || colour[3] === 1) return colour;
      }
      return [255, 255, 255];
    };
    const unsure = found.incomplete.filter((i) => i.id === "color-contrast").flatMap((i) => i.nodes.flatMap((n) => n.target));
    const faint = unsure.flatMap((selector) => {
      const e = document.querySelector(selector);
      const style = getComputedStyle(e);
      // Behind a dialog nothing is to be read.
      const modal = document.querySelector("dialog[open]");
      if (modal && !modal.contains(e)) return [];
      const [one, other] = [light(numbers(style.color)), light(behind(e))].sort((a, b) => b - a);
      const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && Number(style.fontWeight) >= 700);
      const ratio = (one + 0.05) / (other + 0.05);
      return ratio < (large ? 3 : 4.5) ? [`${ratio.toFixed(2)}: ${e.outerHTML.slice(0, 120)}`] : [];
    });
    return { violations: found.violations, faint };
  });
  const told = violations.map((v) => `${v.id}: ${v.help} (${v.nodes.map((n) => n.html.slice(0, 120)).join(" | ")})`);
  if (faint.length) told.push(`color-contrast: too faint (${faint.join(" | ")})`);
  check(told.length === 0, `${name} is accessible${told.length ? `:\n  ${told.join("\n  ")}` : ""}`);
}

// Widths in CSS pixels: 1280 enlarged to 200 % (WCAG 1.4.4) and to 400 % (1.4.10), and a phone's between them.
const WIDTHS = [[640, "200 %"], [375, "a phone's width"], [320, "400 %"]];

// The page in light and dark, enlarged, at a phone's width and by the keyboard alone, looked at and kept.
export async function looked(page, name) {
  await lookedOver(page, name);
  await reachable(page, name);
}

// The same but for the keyboard: a dialog that is open holds the focus, which has a test of its own.
export async function lookedOver(page, name) {
  await accessible(page, name);
  await picture(page, name);
  await page.emulateMedia({ colorScheme: "dark" });
  await accessible(page, `${name} in the dark`);
  await picture(page, `${name}-dark`);
  await page.emulateMedia({ colorScheme: "light" });
  const size = page.viewportSize();
  for (const [width, what] of WIDTHS) {
    await page.setViewportSize({ width, height: 800 });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
    if (width !== 320) await picture(page, `${name}-${width}`);
    if (width === 375) await accessible(page, `${name} at ${what}`);
    check(!wide, `${name} fits ${what}`);
  }
  await page.setViewportSize(size);
}

// Every control is reached by Tab, in the page's order, and shows that it has the focus (WCAG 2.1.1, 2.4.3, 2.4.7).
async function reachable(page, name) {
  const controls = await page.evaluate(() => {
    const look = (e) => {
      const told = [e, e.nextElementSibling].filter(Boolean).flatMap((at) => [getComputedStyle(at), getComputedStyle(at, "::before"), getComputedStyle(at, "::after")]);
      return told.map((s) => [s.outlineStyle, s.outlineWidth, s.outlineColor, s.boxShadow, s.backgroundColor, s.borderColor, s.borderWidth].join()).join(";");
    };
    const groups = new Set();
    const shown = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")].filter((e) => {
      if (e.disabled || e.type === "hidden" || !e.checkVisibility({ visibilityProperty: true })) return false;
      // Of radios, Tab goes to one.
      if (e.type !== "radio") return true;
      const first = !groups.has(e.name);
      groups.add(e.name);
      return first;
    });
    document.activeElement?.blur();
    window.e2e = { look, before: new Map(shown.map((e) => [e, look(e)])), seen: [] };
    window.getSelection()?.removeAllRanges();
    document.body.tabIndex = -1;
    document.body.focus();
    document.body.removeAttribute("tabindex");
    return shown.length;
  });
  const unmarked = [];
  for (let n = 0; n < controls + 5; n += 1) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => {
      const { look, before, seen } = window.e2e;
      const e = document.activeElement;
      if (!e || e === document.body || seen.includes(e)) return null;
      seen.push(e);
      const key = e.type === "radio" ? [...before.keys()].find((r) => r.name === e.name) : e;
      const told = e.outerHTML.slice(0, 100);
      return { told, marked: !before.has(key) || before.get(key) !== look(e) };
    });
    if (!at) break;
    if (!at.marked) unmarked.push(at.told);
  }
  const { missed, order } = await page.evaluate(() => {
    const { before, seen } = window.e2e;
    const same = (e) => seen.some((s) => s === e || (e.type === "radio" && s.name === e.name));
    // A page that came anew meanwhile has other elements in its place.
    const missed = [...before.keys()].filter((e) => e.isConnected && !same(e)).map((e) => e.outerHTML.slice(0, 100));
    const kept = seen.filter((e) => e.isConnected);
    const order = kept.every((e, n) => n === 0 || kept[n - 1].compareDocumentPosition(e) & Node.DOCUMENT_POSITION_FOLLOWING);
    return { missed, order };
  });
  check(missed.length === 0 && order, `${name}: Tab reaches its ${controls} controls in order${missed.map((m) => `\n  not ${m}`).join("")}`);
  check(unmarked.length === 0, `${name}: what has the focus shows it${unmarked.map((m) => `\n  not ${m}`).join("")}`);
}

// Goes on by Tab until this has the focus.
export async function tabTo(page, locator) {
  for (let n = 0; n < 200; n += 1) {
    if (await locator.evaluate((e) => e === document.activeElement)) return;
    await page.keyboard.press("Tab");
  }
  throw new Error(`Tab never reaches ${locator}`);
}

// The holders' names in a list that shows names.
export async function holdersOf(page) {
  const heads = await page.locator("#phones thead th").allInnerTexts();
  const at = heads.findIndex((head) => head.trim() === "Holder") + 1;
  return page.locator(`#phones tbody tr > :nth-child(${at})`).evaluateAll((all) => all.map((cell) => cell.lastChild.textContent.trim()));
}

// How many bytes a browser with an empty cache takes over the network for a page: heads, markup, style sheet and script.
export async function firstVisit(chrome, path, cookies = []) {
  const context = await chrome.newContext();
  await context.addCookies(cookies);
  const page = await context.newPage();
  const devtools = await context.newCDPSession(page);
  await devtools.send("Network.enable");
  let bytes = 0;
  let ended = 0;
  devtools.on("Network.loadingFinished", (e) => {
    bytes += e.encodedDataLength;
    ended += 1;
  });
  // What has no end (the stream of changes) is counted as it comes.
  devtools.on("Network.dataReceived", (e) => (streamed.has(e.requestId) ? (bytes += e.encodedDataLength) : 0));
  const streamed = new Set();
  devtools.on("Network.responseReceived", (e) => e.response.mimeType === "text/event-stream" && streamed.add(e.requestId));
  await page.goto(`${base}${path}`, { waitUntil: "load" });
  await page.waitForTimeout(1000);
  const here = new URL(page.url()).pathname;
  await context.close();
  return { bytes, ended, here };
}
