//! An ID token, judged (OpenID Connect Core 1.0, 3.1.3.7). The library checks the signature; what the token says is
//! checked here, by the house's own clock.

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use model::TimeMs;
use model::clock::MINUTE_MS;
use serde::Deserialize;
use serde_json::{Map, Value};

/// What providers sign with. Never `none`; never an HMAC, whose key whoever holds the client's secret has.
const ALLOWED: [Algorithm; 4] = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];
/// More than any ID token has.
const MOST_BYTES: usize = 64 * 1024;
/// Clocks differ by so much.
const LEEWAY_MS: TimeMs = MINUTE_MS;
/// A token was made for this sign-in. (Entra ID dates its tokens five minutes back.)
const OLDEST_MS: TimeMs = 15 * MINUTE_MS;
/// OpenID Connect Core 1.0, 2.
const MOST_SUBJECT_CHARS: usize = 255;

/// Why an ID token is none that counts here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    Unreadable,
    Algorithm,
    UnknownKey,
    Signature,
    Issuer,
    Audience,
    Expired,
    NotYet,
    Stale,
    Nonce,
    Subject,
}

impl Unfit {
    /// Its word, for the log and the counter.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::Stale => "stale",
            Self::Nonce => "nonce",
            Self::Subject => "subject",
        }
    }
}

/// What the token has to say.
pub(crate) struct Expected<'a> {
    pub issuer: &'a str,
    pub client_id: &'a str,
    pub nonce: &'a str,
    pub now_ms: TimeMs,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
struct Said {
    iss: String,
    sub: String,
    aud: Audience,
    azp: Option<String>,
    exp: f64,
    iat: f64,
    nbf: Option<f64>,
    nonce: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// What a token says that was found to be the provider's, for us, now and for this browser. Made by [`check`] alone.
/// Its subject and claims are personal: it has no `Debug`.
pub(crate) struct Claims {
    subject: String,
    rest: Map<String, Value>,
}

impl Claims {
    /// Whom the provider means; never shown or kept as it is.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// A claim by its name, or by a path of names with dots between.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.rest.get(name).or_else(|| {
            let mut path = name.split('.');
            let first = self.rest.get(path.next()?)?;
            path.try_fold(first, |value, part| value.get(part))
        })
    }
}

/// The provider's keys that sign.
#[derive(Debug, Clone)]
pub(crate) struct Keys(Vec<Jwk>);

impl Keys {
    /// Keys of a kind that is not known here are passed over.
    pub fn read(jwks: &[u8]) -> Option<Self> {
        let set: JwkSet = serde_json::from_slice(jwks).ok()?;
        let signs = |k: &Jwk| {
            let sig = k.common.public_key_use.as_ref().is_none_or(|u| *u == PublicKeyUse::Signature);
            sig && !matches!(k.algorithm, AlgorithmParameters::OctetKey(_))
        };
        Some(Self(set.keys.into_iter().filter(signs).collect()))
    }

    /// The key of this id; without an id, the only one there is.
    fn find(&self, kid: Option<&str>) -> Option<&Jwk> {
        match (kid, self.0.as_slice()) {
            (Some(kid), keys) => keys.iter().find(|k| k.common.key_id.as_deref() == Some(kid)),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }
}

fn ms(numeric_date: f64) -> TimeMs {
    // `as` holds to the range, and NaN is 0: long ago.
    (numeric_date * 1000.0) as TimeMs
}

/// Judges a token.
pub(crate) fn check(token: &str, keys: &Keys, expected: &Expected<'_>) -> Result<Claims, Unfit> {
    if token.len() > MOST_BYTES {
        return Err(Unfit::Unreadable);
    }
    let said = verified(token, keys)?;
    if said.iss != expected.issuer {
        return Err(Unfit::Issuer);
    }
    let (ours, several) = match &said.aud {
        Audience::One(aud) => (aud == expected.client_id, false),
        Audience::Many(all) => (all.iter().any(|aud| aud == expected.client_id), all.len() != 1),
    };
    let authorized = match &said.azp {
        Some(azp) => azp == expected.client_id,
        None => !several,
    };
    if !ours || !authorized {
        return Err(Unfit::Audience);
    }
    let (now_ms, issued_ms) = (expected.now_ms, ms(said.iat));
    if now_ms >= ms(said.exp).saturating_add(LEEWAY_MS) {
        return Err(Unfit::Expired);
    }
    let not_before_ms = said.nbf.map_or(issued_ms, |nbf| ms(nbf).max(issued_ms));
    if now_ms < not_before_ms.saturating_sub(LEEWAY_MS) {
        return Err(Unfit::NotYet);
    }
    if now_ms.saturating_sub(issued_ms) > OLDEST_MS {
        return Err(Unfit::Stale);
    }
    if said.nonce != expected.nonce {
        return Err(Unfit::Nonce);
    }
    if said.sub.is_empty() || said.sub.chars().count() > MOST_SUBJECT_CHARS {
        return Err(Unfit::Subject);
    }
    Ok(Claims { subject: said.sub, rest: said.rest })
}

/// What it says, once the signature is found to be by one of the keys, with an algorithm that is allowed and is that
/// key's.
fn verified(token: &str, keys: &Keys) -> Result<Said, Unfit> {
    // `none` is no algorithm that the library knows.
    let header = jsonwebtoken::decode_header(token).map_err(|_| Unfit::Unreadable)?;
    if !ALLOWED.contains(&header.alg) {
        return Err(Unfit::Algorithm);
    }
    let key = keys.find(header.kid.as_deref()).ok_or(Unfit::UnknownKey)?;
    if key.common.key_algorithm.is_some_and(|alg| alg.to_string() != format!("{:?}", header.alg)) {
        return Err(Unfit::Algorithm);
    }
    let key = DecodingKey::from_jwk(key).map_err(|_| Unfit::UnknownKey)?;
    let mut validation = Validation::new(header.alg);
    // All of it is checked by `check`, by our own clock.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    use jsonwebtoken::errors::ErrorKind;
    match jsonwebtoken::decode::<Said>(token, &key, &validation) {
        Ok(read) => Ok(read.claims),
        Err(e) => Err(match e.kind() {
            ErrorKind::InvalidSignature => Unfit::Signature,
            ErrorKind::InvalidAlgorithm => Unfit::Algorithm,
            _ => Unfit::Unreadable,
        }),
    }
}

#[cfg(test)]
pub(crate) mod tests;
