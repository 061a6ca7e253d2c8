// Makes dist/: one script, one style sheet, each also compressed by Brotli. Everything comes from here and from the
// packages that package-lock.json pins; nothing is fetched.
import { build, transform } from "esbuild";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { brotliCompressSync, constants } from "node:zlib";

const dist = new URL("dist/", import.meta.url).pathname;
await rm(dist, { recursive: true, force: true });
await mkdir(dist, { recursive: true });

const common = { bundle: true, minify: true, legalComments: "none", target: "es2022", logLevel: "warning" };
await build({ ...common, entryPoints: ["src/main.js"], format: "esm", outfile: `${dist}console.js` });

// Frutiger is licensed to the NHS and lies on a server of its own: system fonts serve. The few icons go into the sheet.
const nhsuk = "node_modules/nhsuk-frontend/dist/nhsuk";
let nhs = await readFile(`${nhsuk}/nhsuk-frontend.min.css`, "utf8");
nhs = nhs.replace(/@font-face\{[^}]*\}/g, "").replace(/\/\*# sourceMappingURL=.*?\*\//g, "");
for (const [place, name] of nhs.matchAll(/url\(\/assets\/images\/([a-z0-9-]+\.svg)\)/g)) {
  const icon = await readFile(`${nhsuk}/assets/images/${name}`);
  nhs = nhs.replaceAll(place, `url(data:image/svg+xml;base64,${icon.toString("base64")})`);
}
const { code: own } = await transform(await readFile("src/console.css", "utf8"), { loader: "css", minify: true });
await writeFile(`${dist}console.css`, `${nhs}\n${own}`);

for (const name of ["console.js", "console.css"]) {
  const plain = await readFile(dist + name);
  const options = { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } };
  await writeFile(`${dist}${name}.br`, brotliCompressSync(plain, options));
}
