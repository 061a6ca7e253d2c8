// Passkeys: registered for this site, asked to sign an order's SHA-256.
import { base64, sha256 } from "./bytes.js";

// What this browser lacks, in words; nothing when it will do.
export async function missing() {
  if (!window.isSecureContext || typeof PublicKeyCredential !== "function") {
    return "This browser does not offer passkeys here. They need https, or this machine's own http://localhost.";
  }
  try {
    await crypto.subtle.generateKey("X25519", false, ["deriveBits"]);
    return null;
  } catch {
    return "This browser is too old to seal what you type (X25519). Chrome and Edge 133, Firefox 130 and Safari 17 can, and newer ones.";
  }
}

// Nothing was signed; in words for whoever sits there.
function inWords(error) {
  if (error.name === "NotAllowedError") return new Error("The passkey was not used: cancelled, or it took too long.");
  if (error.name === "NotSupportedError") {
    return new Error("This device can't make such a passkey (ES256 or Ed25519): use your phone or a security key instead.");
  }
  return error;
}

export async function register(name) {
  const publicKey = {
    challenge: crypto.getRandomValues(new Uint8Array(32)),
    rp: { id: location.hostname, name: "Matron" },
    user: { id: crypto.getRandomValues(new Uint8Array(16)), name, displayName: name },
    // EdDSA, ES256
    pubKeyCredParams: [-8, -7].map((alg) => ({ type: "public-key", alg })),
    authenticatorSelection: { residentKey: "required", userVerification: "required" },
    attestation: "none",
  };
  const made = await navigator.credentials.create({ publicKey }).catch((e) => Promise.reject(inWords(e)));
  return {
    rp_id: location.hostname,
    origin: location.origin,
    attestation: base64(made.response.attestationObject),
  };
}

export async function sign(order) {
  const challenge = await sha256(order);
  const publicKey = { challenge, rpId: location.hostname, userVerification: "required", allowCredentials: [] };
  const made = await navigator.credentials.get({ publicKey }).catch((e) => Promise.reject(inWords(e)));
  return {
    authenticator_data: base64(made.response.authenticatorData),
    client_data_json: base64(made.response.clientDataJSON),
    signature: base64(made.response.signature),
  };
}
