// The library of profiles in a real browser: saved by a form and by a file, compared, installed, confirmed by a phone.
import { writeFile } from "node:fs/promises";
import { addPasskey, base, browser, check, looked, matron, picture, signIn, visitor } from "./lib.mjs";

const scratch = process.env.SCRATCH;
const chrome = await browser();
const { page, complaints } = await visitor(chrome);

async function sign() {
  await page.getByText("You are about to sign this").waitFor();
  await page.getByRole("button", { name: "Sign with your passkey" }).click();
}

try {
  await matron(["admin", "join", "--token", process.env.TOKEN, "--name", "Ada Example"]).done;
  await addPasskey(page, ["admin", "add-key", "--passkey", "--reason", "the console", "--yes"]);
  const obliging = ["--not-now-per-mille", "0", "--quiet"];
  await matron(["simulate", "--phones", "2", "--seed", "7", "--ca", process.env.CA, "--keep", `${scratch}/fleet`, ...obliging]).done;
  await signIn(page);

  await page.goto(`${base}/profiles`);
  await page.getByText("Nothing is saved yet.").waitFor();
  await looked(page, "profiles-empty");

  // By a form.
  await page.locator("#new-wifi summary").click();
  await page.locator("#wifi-identifier").fill("org.example.ward-wifi");
  await page.locator("#wifi-SSID_STR").fill("Ward & <Guests>");
  await page.locator("#wifi-Password").fill("canary-password-4711");
  await page.locator("#wifi-reason").fill("the ward's network");
  await page.locator("#new-wifi").getByRole("button", { name: "Save" }).click();
  await page.getByText("You are about to sign this").waitFor();
  const words = await page.locator("#order dl").innerText();
  check(words.includes("next version of profile") && !words.includes("canary") && !words.includes("Guests"), "what is typed is sealed; the order says what it does");
  await sign();
  await page.locator("#new-wifi").getByText("Saved as version 1").waitFor();
  const told = await page.locator("#new-wifi [data-saved-told]").innerText();
  check(told.includes("SSID_STR: Ward & <Guests>") && !told.includes("canary"), `whoever saved it is told its texts and no password: ${told}`);
  await page.locator("#library").getByText("org.example.ward-wifi").waitFor();
  await looked(page, "profiles");

  // What does not fit is said with its key.
  const broken = `<plist version="1.0"><dict><key>PayloadType</key><string>Configuration</string><key>PayloadVersion</key><integer>1</integer><key>PayloadUUID</key><string>A</string><key>PayloadIdentifier</key><string>org.example.broken</string><key>PayloadContent</key><array><dict><key>PayloadType</key><string>com.apple.wifi.managed</string><key>PayloadVersion</key><integer>1</integer><key>PayloadUUID</key><string>B</string><key>PayloadIdentifier</key><string>org.example.broken.1</string><key>AutoJoin</key><string>yes</string></dict></array></dict></plist>`;
  await writeFile(`${scratch}/broken.mobileconfig`, broken);
  await page.locator("#new-file summary").click();
  await page.locator("#file-profile").setInputFiles(`${scratch}/broken.mobileconfig`);
  await page.locator("#file-reason").fill("a try");
  await page.locator("#new-file").getByRole("button", { name: "Save" }).click();
  await sign();
  await page.locator("#new-file").getByText("PayloadContent.0.AutoJoin").waitFor();
  check(true, "a file that does not fit is refused with its key");

  // The next version, from a file, on the profile's page.
  await page.locator("#library a").click();
  await page.getByRole("heading", { name: "org.example.ward-wifi" }).waitFor();
  await looked(page, "profile");
  const next = broken.replaceAll("org.example.broken", "org.example.ward-wifi").replace("<key>AutoJoin</key><string>yes</string>", "<key>AutoJoin</key><false/><key>SSID_STR</key><string>Ward &amp; &lt;Guests&gt;</string><key>EncryptionType</key><string>WPA3</string><key>Password</key><string>another-made-up-one</string>");
  await writeFile(`${scratch}/next.mobileconfig`, next);
  await page.locator("#new-file summary").click();
  await page.locator("#file-profile").setInputFiles(`${scratch}/next.mobileconfig`);
  await page.locator("#file-reason").fill("a new password");
  await page.locator("#new-file").getByRole("button", { name: "Save" }).click();
  await sign();
  await page.locator("#new-file").getByText("Saved as version 2").waitFor();
  await page.reload();
  const changes = page.locator("section[aria-labelledby=h-changes]");
  await changes.getByText("password is another one").waitFor();
  const different = await changes.innerText();
  check(different.includes("encryption type is WPA3, was WPA2") && !different.includes("SSID"), `what is different is told in words: ${different}`);

  // On a phone, which says so.
  await page.locator("#install input[name=phone]").first().check({ force: true });
  await page.locator("#install-reason").fill("the ward's network");
  await page.locator("#install").getByRole("button", { name: "Install" }).click();
  await sign();
  await page.locator("#install").getByText("Signed and accepted").waitFor();
  await page.locator("#profile-phones").getByText("No answer yet").waitFor();
  await matron(["simulate", "--ca", process.env.CA, "--resume", `${scratch}/fleet`, "--poll", "1", "--for", "5", ...obliging]).done;
  await page.locator("#profile-phones").getByText("Done").waitFor({ timeout: 20_000 });
  check((await page.locator("#versions tbody tr").first().locator("td").nth(2).innerText()).trim() === "1", "the phone's own answer confirms the version, live");
  await looked(page, "profile-installed");

  const own = complaints.filter((c) => !c.includes("403"));
  check(own.length === 0, `the browser complains of nothing: ${own.join("; ")}`);
} catch (error) {
  await picture(page, "failed");
  console.error(error, page.url(), await page.locator("[data-status]").allTextContents(), complaints);
  process.exitCode = 1;
} finally {
  await chrome.close();
}
