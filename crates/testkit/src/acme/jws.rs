//! A signed request, checked (RFC 8555, 6.2; RFC 7515, flattened JSON): what is not exactly right is refused.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::words::Said;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Flattened {
    protected: String,
    payload: String,
    signature: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Protected {
    alg: String,
    nonce: String,
    url: String,
    jwk: Option<Jwk>,
    kid: Option<String>,
}

/// An EC public key on P-256 (RFC 7518, 6.2). `alg` and `use` may stand in it, and say nothing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Jwk {
    kty: String,
    crv: String,
    x: String,
    y: String,
}

impl Jwk {
    /// RFC 7638.
    pub(super) fn thumbprint(&self) -> String {
        let canonical =
            format!(r#"{{"crv":"{}","kty":"{}","x":"{}","y":"{}"}}"#, self.crv, self.kty, self.x, self.y);
        URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()))
    }

    fn point(&self) -> Option<Vec<u8>> {
        let (x, y) = (URL_SAFE_NO_PAD.decode(&self.x).ok()?, URL_SAFE_NO_PAD.decode(&self.y).ok()?);
        let fits = self.kty == "EC" && self.crv == "P-256" && x.len() == 32 && y.len() == 32;
        fits.then(|| [&[4][..], &x, &y].concat())
    }
}

/// Who signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Signer {
    /// A key that is shown: for a new account alone.
    Key(Jwk),
    /// An account's URL.
    Account(String),
}

/// A request whose form is right; its signature is checked by [`Signed::verify`].
pub(super) struct Signed {
    pub(super) signer: Signer,
    pub(super) nonce: String,
    /// `None`: POST-as-GET.
    pub(super) payload: Option<Value>,
    text: String,
    signature: Vec<u8>,
}

fn malformed(detail: &str) -> Said {
    Said::problem(400, "malformed", detail)
}

impl Signed {
    /// Reads a body that was sent to `url`.
    pub(super) fn read(body: &[u8], url: &str) -> Result<Self, Said> {
        let jws: Flattened = serde_json::from_slice(body).map_err(|_| malformed("no flattened JWS"))?;
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed("no base64url"));
        let protected: Protected = serde_json::from_slice(&decode(&jws.protected)?).map_err(|_| {
            malformed("a protected header with other members than alg, nonce, url and jwk or kid")
        })?;
        if protected.alg != "ES256" {
            return Err(Said::problem(400, "badSignatureAlgorithm", "ES256 alone"));
        }
        if protected.url != url {
            return Err(Said::problem(
                403,
                "unauthorized",
                "the url in the header is not the one that was asked",
            ));
        }
        let signer = match (protected.jwk, protected.kid) {
            (Some(key), None) => Signer::Key(key),
            (None, Some(kid)) => Signer::Account(kid),
            _ => return Err(malformed("either jwk or kid")),
        };
        let payload = match jws.payload.as_str() {
            "" => None,
            text => Some(serde_json::from_slice(&decode(text)?).map_err(|_| malformed("a payload of JSON"))?),
        };
        Ok(Self {
            signer,
            nonce: protected.nonce,
            payload,
            text: format!("{}.{}", jws.protected, jws.payload),
            signature: decode(&jws.signature)?,
        })
    }

    pub(super) fn verify(&self, key: &Jwk) -> Result<(), Said> {
        let point = key.point().ok_or_else(|| Said::problem(400, "badPublicKey", "P-256 alone"))?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(self.text.as_bytes(), &self.signature)
            .map_err(|_| Said::problem(401, "unauthorized", "the signature is not this key's"))
    }
}
