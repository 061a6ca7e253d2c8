// An OpenID provider on this machine: npm's oidc-provider, over TLS, with people made up. It is a program of its own,
// started by a test; "rotate" on standard input gives it another key, and "done" on standard output says that it has it.
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:https";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import Provider from "oidc-provider";

const [, , port, key, certificate, redirect, secret] = process.argv;
const issuer = `https://localhost:${port}`;

// Who signs in there, by name; what is claimed of them.
const people = {
  desk: { groups: ["phones-desk", "others"] },
  auditor: { groups: ["phones-audit"] },
  ward: { groups: ["ward-bench-leads"] },
  nobody: { groups: ["canteen"] },
  many: { _claim_names: { groups: "src1" }, _claim_sources: { src1: { endpoint: "https://graph.example.org" } } },
  hostile: { groups: ["phones-desk"], name: `<script>alert(1)</script>${"x".repeat(10_000)}`, email: "\u202Eevil@example.org" },
};

let numbered = 0;
function signingKey() {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { ...privateKey.export({ format: "jwk" }), kid: `key-${(numbered += 1)}`, use: "sig", alg: "RS256" };
}

function provider(keys) {
  const made = new Provider(issuer, {
    clients: [{ client_id: "matron", client_secret: secret, redirect_uris: [redirect], id_token_signed_response_alg: "RS256" }],
    jwks: { keys },
    claims: { openid: ["sub", "groups", "_claim_names", "_claim_sources", "name", "email"] },
    conformIdTokenClaims: false,
    pkce: { required: () => true },
    features: { devInteractions: { enabled: false } },
    cookies: { keys: ["made-up for a test"] },
    ttl: { AuthorizationCode: 60, IdToken: 300, AccessToken: 300, Session: 600, Interaction: 600, Grant: 600 },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    async findAccount(_, id) {
      return { accountId: id, claims: async () => ({ sub: id, ...people[id] }) };
    },
    renderError: (ctx, out) => { ctx.body = `error: ${out.error}`; },
  });
  made.use(async (ctx, next) => {
    if (!ctx.path.startsWith("/interaction/")) return next();
    const login = ctx.query.as;
    if (!login) {
      ctx.type = "html";
      ctx.body = `<!doctype html><title>Provider</title><h1>Who are you?</h1>${[...Object.keys(people), "refuse"]
        .map((name) => `<p><a href="?as=${name}">${name}</a></p>`).join("")}`;
      return;
    }
    if (login === "refuse") {
      return made.interactionFinished(ctx.req, ctx.res, { error: "access_denied" }, { mergeWithLastSubmission: false });
    }
    const { params } = await made.interactionDetails(ctx.req, ctx.res);
    const grant = new made.Grant({ accountId: login, clientId: params.client_id });
    grant.addOIDCScope("openid");
    const result = { login: { accountId: login, remember: false }, consent: { grantId: await grant.save() } };
    await made.interactionFinished(ctx.req, ctx.res, result, { mergeWithLastSubmission: false });
  });
  return made;
}

let answer = provider([signingKey()]).callback();
createServer({ key: readFileSync(key), cert: readFileSync(certificate) }, (req, res) => answer(req, res)).listen(port, "127.0.0.1", () => {
  console.log("ready");
});

for await (const line of createInterface({ input: process.stdin })) {
  // The old key is gone, as after an emergency.
  if (line !== "rotate") continue;
  answer = provider([signingKey()]).callback();
  console.log("done");
}
process.exit(0);
