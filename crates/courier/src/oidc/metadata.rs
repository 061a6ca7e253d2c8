//! What a provider writes: its metadata (OpenID Connect Discovery 1.0, 3) and its answer to a code (RFC 6749, 5).

use http::StatusCode;
use serde::Deserialize;

use crate::https::{Authority, authority_of, bounded};

/// A JSON Web Key Set of more is none that a provider signs with.
const MOST_KEYS: usize = 100;

/// How the client proves itself (OpenID Connect Core 1.0, 9).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SecretGoes {
    InHeader,
    InForm,
}

#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    issuer: String,
    pub(super) authorization_endpoint: String,
    pub(super) token_endpoint: String,
    pub(super) jwks_uri: String,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    code_challenge_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
}

pub(super) fn elsewhere(what: &str, url: &str) -> String {
    let (what, url) = (bounded(what), bounded(url));
    format!("{what}, {url}, is not https on the issuer's host or one of oidc.hosts; nothing was sent there")
}

impl Metadata {
    /// Refuses what is another issuer's, or leads to a host that the configuration does not name.
    pub(super) fn read(body: &[u8], issuer: &str, allowed: &[Authority]) -> Result<Self, String> {
        let m: Self = serde_json::from_slice(body).map_err(|e| {
            format!("the provider's metadata can't be read (line {}, column {})", e.line(), e.column())
        })?;
        // Discovery 1.0, 4.3: exactly.
        if m.issuer != issuer {
            let theirs = bounded(&m.issuer);
            return Err(format!("the provider calls itself '{theirs}', and oidc.issuer is '{issuer}'"));
        }
        for (what, url) in [
            ("authorization_endpoint", &m.authorization_endpoint),
            ("token_endpoint", &m.token_endpoint),
            ("jwks_uri", &m.jwks_uri),
        ] {
            if !authority_of(url).is_ok_and(|a| allowed.contains(&a)) {
                return Err(elsewhere(&format!("the provider's {what}"), url));
            }
        }
        // Entra ID says nothing of it and does it.
        let pkce = m.code_challenge_methods_supported.as_ref();
        if pkce.is_some_and(|methods| !methods.iter().any(|method| method == "S256")) {
            return Err("the provider does not do PKCE with S256".to_owned());
        }
        m.secret_goes()?;
        Ok(m)
    }

    pub(super) fn secret_goes(&self) -> Result<SecretGoes, String> {
        // Discovery 1.0, 3: absent, it is client_secret_basic.
        let Some(methods) = &self.token_endpoint_auth_methods_supported else {
            return Ok(SecretGoes::InHeader);
        };
        let has = |name: &str| methods.iter().any(|m| m == name);
        match (has("client_secret_basic"), has("client_secret_post")) {
            (true, _) => Ok(SecretGoes::InHeader),
            (false, true) => Ok(SecretGoes::InForm),
            _ => Err("the provider takes neither client_secret_basic nor client_secret_post".to_owned()),
        }
    }
}

#[derive(Deserialize)]
struct Tokens {
    id_token: String,
}

#[derive(Deserialize)]
struct NoTokens {
    error: String,
}

/// Why there is no ID token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NoToken {
    pub(super) why: String,
    /// It was the code's fault.
    pub(super) code_refused: bool,
}

impl NoToken {
    fn of(why: impl Into<String>) -> Self {
        Self { why: why.into(), code_refused: false }
    }
}

impl From<String> for NoToken {
    fn from(why: String) -> Self {
        Self::of(why)
    }
}

/// The ID token of an answer; access and refresh tokens are dropped unread. Of a refusal its code alone is told: its
/// description may quote what was sent.
pub(super) fn id_token(status: StatusCode, body: &[u8]) -> Result<String, NoToken> {
    if status == StatusCode::OK {
        let tokens: Tokens =
            serde_json::from_slice(body).map_err(|_| NoToken::of("the provider's answer has no ID token"))?;
        return Ok(tokens.id_token);
    }
    let code = serde_json::from_slice::<NoTokens>(body).ok().map(|e| e.error);
    let is_code = |c: &String| c.len() <= 60 && c.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let code = code.filter(is_code).unwrap_or_else(|| "no code of OAuth's".to_owned());
    let why = format!("the provider answers {} ({code})", status.as_u16());
    // RFC 6749, 5.2.
    Err(NoToken { why, code_refused: code == "invalid_grant" })
}

#[derive(Deserialize)]
struct Keys {
    keys: Vec<serde::de::IgnoredAny>,
}

pub(super) fn count_keys(jwks: &[u8]) -> Result<usize, String> {
    match serde_json::from_slice::<Keys>(jwks).map(|k| k.keys.len()) {
        Ok(n @ 1..=MOST_KEYS) => Ok(n),
        Ok(_) => Err("the provider has no keys, or more than 100".to_owned()),
        Err(_) => Err("the provider's keys are no JSON Web Key Set".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const ISSUER: &str = "https://id.example.org/tenant";

    fn allowed() -> Vec<Authority> {
        vec![authority_of(ISSUER).unwrap()]
    }

    fn whole() -> Value {
        json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://id.example.org/authorize",
            "token_endpoint": "https://id.example.org/token",
            "jwks_uri": "https://id.example.org/keys",
        })
    }

    fn with(key: &str, value: Value) -> Result<Metadata, String> {
        let mut m = whole();
        m[key] = value;
        Metadata::read(m.to_string().as_bytes(), ISSUER, &allowed())
    }

    #[test]
    fn metadata_of_another_issuer_or_with_an_endpoint_elsewhere_is_refused() {
        assert!(with("unknown", json!(1)).is_ok());
        for issuer in [
            "https://id.example.org/tenant/",
            "https://id.example.org/other",
            "https://ID.example.org/tenant",
        ] {
            assert!(with("issuer", json!(issuer)).unwrap_err().contains("calls itself"), "{issuer}");
        }
        for endpoint in ["authorization_endpoint", "token_endpoint", "jwks_uri"] {
            for url in [
                "https://elsewhere.example.org/x",
                "http://id.example.org/x",
                "https://id.example.org:444/x",
                "//id.example.org/x",
                "javascript:alert(1)",
            ] {
                let why = with(endpoint, json!(url)).unwrap_err();
                assert!(why.contains(endpoint) && why.contains("nothing was sent"), "{why}");
            }
            assert!(with(endpoint, Value::Null).is_err());
        }
        assert!(Metadata::read(b"<html>", ISSUER, &allowed()).is_err());
    }

    #[test]
    fn without_pkce_or_a_way_for_the_secret_there_is_no_provider() {
        assert!(with("code_challenge_methods_supported", json!(["plain", "S256"])).is_ok());
        assert!(with("code_challenge_methods_supported", json!(["plain"])).is_err());
        let goes = |methods: Value| {
            with("token_endpoint_auth_methods_supported", methods).map(|m| m.secret_goes().unwrap())
        };
        assert_eq!(goes(json!(["client_secret_post", "client_secret_basic"])).unwrap(), SecretGoes::InHeader);
        assert_eq!(goes(json!(["client_secret_post", "private_key_jwt"])).unwrap(), SecretGoes::InForm);
        assert!(goes(json!(["private_key_jwt"])).is_err());
        assert_eq!(with("x", json!(1)).unwrap().secret_goes().unwrap(), SecretGoes::InHeader);
    }

    #[test]
    fn of_a_refused_code_the_word_alone_is_told() {
        let told = |status, body: &str| id_token(status, body.as_bytes());
        assert_eq!(told(StatusCode::OK, r#"{"id_token":"a.b.c","access_token":"x"}"#).unwrap(), "a.b.c");
        assert!(told(StatusCode::OK, r#"{"access_token":"x"}"#).is_err());
        let refused = told(
            StatusCode::BAD_REQUEST,
            r#"{"error":"invalid_grant","error_description":"code sesame of ada@example.org"}"#,
        );
        let refused = refused.unwrap_err();
        assert_eq!(refused.why, "the provider answers 400 (invalid_grant)");
        assert!(refused.code_refused);
        let odd = told(StatusCode::UNAUTHORIZED, r#"{"error":"ada@example.org"}"#).unwrap_err();
        assert!(!odd.why.contains("ada") && !odd.code_refused, "{}", odd.why);
        assert!(told(StatusCode::BAD_GATEWAY, "<html>").unwrap_err().why.contains("502"));
    }

    #[test]
    fn a_key_set_is_one_with_a_key() {
        assert_eq!(count_keys(br#"{"keys":[{"kty":"RSA"},{}]}"#), Ok(2));
        assert!(count_keys(br#"{"keys":[]}"#).is_err());
        assert!(count_keys(b"[]").is_err());
    }
}
