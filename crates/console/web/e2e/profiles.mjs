// The library of profiles in a real browser: saved by a form and by a file, compared, installed, confirmed by a phone.
import { readFile, writeFile } from "node:fs/promises";
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

  // On a device group's phones: who has it is told first, and left out.
  await matron(["device-groups", "save", "Ward & <phones>", "--os-at-least", "1", "--reason", "a trial", "--yes"]).done;
  const profilePage = page.url();
  await page.reload();
  await page.locator("#group").selectOption({ label: "Ward & <phones>" });
  await page.getByRole("button", { name: "Look who has it" }).click();
  await page.locator("#members").getByText("To install on").waitFor();
  const stand = await page.locator("#members").innerText();
  check(/Have version 2\s+1 phone, the newest/.test(stand) && /Have none\s+1 phone\s/.test(stand) && /To install on\s+1 phone;/.test(stand), `who has which version is told before anything is signed: ${stand}`);
  check(/One administrator does that alone|one administrator does that alone/.test(stand), "and how many sign");
  await looked(page, "profile-group");
  await page.locator("#install-reason").fill("the ward's network");
  await page.locator("#install").getByRole("button", { name: "Install" }).click();
  await page.getByText("You are about to sign this").waitFor();
  const named = await page.locator("#order-words").innerText();
  check(/1 phone: [0-9a-f]{32}/.test(named), `the order names the phone that lacks it, and not the other: ${named}`);
  await sign();
  await page.locator("#install").getByText("Signed and accepted").waitFor();
  await page.locator("#members").getByText("and may still answer", { exact: false }).first().waitFor();
  await matron(["simulate", "--ca", process.env.CA, "--resume", `${scratch}/fleet`, "--poll", "1", "--for", "5", ...obliging]).done;
  await page.locator("#members").getByText("2 phones, the newest").waitFor({ timeout: 20_000 });
  check(/none: each has it/.test(await page.locator("#members").innerText()), "progress is told live, by device group too");

  // From the device group's page, and back.
  await page.locator("#members a").click();
  await page.locator("#profiles tbody tr").first().waitFor();
  const cells = await page.locator("#profiles tbody td").allInnerTexts();
  check(/version 2/.test(cells[0]) && [/2$/, /0$/, /0$/].every((is, n) => is.test(cells[n + 1].trim())), `the device group's page tells what its phones hold: ${cells}`);
  await looked(page, "device-group-profiles");
  await page.locator("#profiles").getByRole("link", { name: /Install or remove/ }).click();
  await page.waitForURL(/\/profiles\/[0-9a-f]{32}\?device_group=/);
  check(await page.getByText("No phone of the device group lacks it.").isVisible(), "nothing is left to install");

  // Removing counts as erasure: each phone is ticked, and one person is not enough for two.
  await page.locator("#remove summary").click();
  check((await page.locator("#remove input[name=phone]:checked").count()) === 0, "no phone is ticked beforehand");
  await page.locator("#remove-reason").fill("another network");
  await page.locator("#remove").getByRole("button", { name: "Remove" }).click();
  await page.locator("#remove").getByText("Tick at least one phone").waitFor();
  for (const n of [0, 1]) await page.locator("#remove input[name=phone]").nth(n).check({ force: true });
  await page.locator("#remove").getByRole("button", { name: "Remove" }).click();
  await page.getByText("You are about to sign this").waitFor();
  check(/counts as erasure/.test(await page.locator("#order").innerText()), "what removing means is said before it is signed");
  await sign();
  await page.locator("#remove [data-status]").getByText(/administrator/).waitFor();
  check(true, "two phones take a second administrator");
  await looked(page, "profile-remove");

  // A phone that comes later gets it without a person.
  await matron(["standing", "make", "--does", "install_saved", "--profile", "org.example.ward-wifi", "--device-group", "Ward & <phones>", "--yes"]).done;
  await page.goto(profilePage);
  const stands = page.locator("#standing");
  await stands.getByText("Ward & <phones>").waitFor();
  const soFar = stands.locator("tbody tr").first().locator("td").nth(3);
  check(/(^|\s)0 phones$/.test((await soFar.innerText()).trim()), "a standing order touches nobody who was asked for it before");
  await matron(["simulate", "--phones", "1", "--seed", "8", "--ca", process.env.CA, "--keep", `${scratch}/later`, ...obliging]).done;
  await soFar.getByText(/(^|\s)1 phone$/).or(soFar.filter({ hasText: /(^|\s)1 phone$/ })).first().waitFor({ timeout: 40_000 });
  await matron(["simulate", "--ca", process.env.CA, "--resume", `${scratch}/later`, "--poll", "1", "--for", "5", ...obliging]).done;
  await page.locator("#versions tbody tr").first().locator("td").nth(2).getByText("3").waitFor({ timeout: 20_000 });
  check(true, "and the phone that came later says that it has it");
  await looked(page, "profile-standing");

  // Taken out: it can't be installed any more, and stays in the history with the phones that have it.
  await page.goto(profilePage);
  await page.locator("#end summary").click();
  check((await page.locator("#end").innerText()).includes("3 phones said that they hold it"), "who still has it is said before it is taken out");
  await page.locator("#end-reason").fill("there is another network");
  await page.locator("#end").getByRole("button", { name: "Take it out" }).click();
  await sign();
  await page.waitForURL(/\/profiles$/);
  await page.getByText("Taken out of the library (1)").click();
  await looked(page, "profiles-ended");
  await page.locator("#ended a").first().click();
  await page.getByText("nothing of it is installed any more").waitFor();
  check((await page.locator("#install, #new-file").count()) === 0, "nothing of it is installed or saved");
  check((await page.locator("#profile-phones tbody tr").count()) === 3 && (await page.locator("#remove").count()) === 1, "the phones that have it are listed, and it can be removed from them");
  check(/Does nothing\s+the profile was taken out of the library; end this standing order/.test(await page.locator("#standing").innerText()), "a standing order that rests says so, and why");
  await page.goto(`${base}/health`);
  await page.getByText("1 standing order(s) that install a profile do nothing").waitFor();
  await page.goBack();
  await looked(page, "profile-ended");

  // The other forms: what is made of each is told on its page.
  const pem = (await readFile(process.env.CA, "utf8")).split("-----BEGIN CERTIFICATE-----")[1].split("-----END")[0];
  await writeFile(`${scratch}/root.der`, Buffer.from(pem.replace(/\s/g, ""), "base64"));
  const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
  await writeFile(`${scratch}/icon.png`, Buffer.from(pixel, "base64"));
  const forms = {
    passcode: { set: { minLength: "6", maxFailedAttempts: "10" }, tick: ["forcePIN", "allowSimple"], says: [/Passcode/, /6/, /10/, /yes/, /no/], harm: "Mild" },
    restrictions: { tick: ["allowAssistantWhileLocked", "forceEncryptedBackup"], says: [/while locked/i, /no/, /encrypted backup/i, /yes/], harm: "Mild" },
    clip: { set: { Label: "Rota", URL: "https://rota.example.org/" }, file: { Icon: "icon.png" }, says: [/Web clip/i, /URL/i, /set \(sealed\)/], harm: "Mild" },
    certificate: { set: { PayloadCertificateFileName: "root.cer" }, file: { PayloadContent: "root.der" }, says: [/certificate/i, /set \(sealed\)/], harm: "Counts as erasure" },
  };
  for (const [id, form] of Object.entries(forms)) {
    await page.goto(`${base}/profiles`);
    const place = page.locator(`#new-${id}`);
    await place.locator("summary").click();
    await page.locator(`#${id}-identifier`).fill(`org.example.${id}`);
    for (const [key, value] of Object.entries(form.set ?? {})) await page.locator(`#${id}-${key}`).fill(value);
    for (const key of form.tick ?? []) await page.locator(`#${id}-${key}`).check({ force: true });
    for (const [key, name] of Object.entries(form.file ?? {})) await page.locator(`#${id}-${key}`).setInputFiles(`${scratch}/${name}`);
    await page.locator(`#${id}-reason`).fill("a trial");
    await place.getByRole("button", { name: "Save" }).click();
    await sign();
    await place.getByText("Saved as version 1").waitFor();
    await place.getByRole("link", { name: "Look at it" }).click();
    await page.getByRole("heading", { name: `org.example.${id}`, exact: true }).waitFor();
    const said = await page.locator("section[aria-labelledby=h-says]").innerText();
    const facts = await page.locator("main dl").first().innerText();
    check(form.says.every((part) => part.test(said)) && facts.includes(form.harm), `the ${id} form makes what its page says: ${facts} ${said}`);
  }

  const own = complaints.filter((c) => !c.includes("403"));
  check(own.length === 0, `the browser complains of nothing: ${own.join("; ")}`);
} catch (error) {
  await picture(page, "failed");
  console.error(error, page.url(), await page.locator("[data-status]").allTextContents(), complaints);
  process.exitCode = 1;
} finally {
  await chrome.close();
}
