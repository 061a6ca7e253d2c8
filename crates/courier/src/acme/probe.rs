//! A look at the authority's directory, for the operator's commands: no account is used or made.

use std::sync::Arc;

use bytes::Bytes;
use instant_acme::{BodyWrapper, HttpClient};
use model::SystemClock;
use serde::Deserialize;

use super::AcmeConfig;
use super::http::Http;
use crate::Error;

/// What a directory says of its authority (RFC 8555, 7.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeDirectory {
    /// Where its terms of service are, when it has any.
    pub terms: Option<String>,
    /// An account needs a binding that was given elsewhere; Matron makes none.
    pub wants_binding: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Directory {
    #[serde(rename = "newNonce")]
    _nonce: String,
    #[serde(rename = "newAccount")]
    _account: String,
    #[serde(rename = "newOrder")]
    _order: String,
    #[serde(default)]
    meta: Meta,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    terms_of_service: Option<String>,
    external_account_required: bool,
}

/// Reads the configured directory.
///
/// # Errors
/// [`Error`] when the configuration can't be used. Inside: why the authority could not be asked, in words.
pub async fn probe_acme(config: &AcmeConfig) -> Result<Result<AcmeDirectory, String>, Error> {
    config.check()?;
    let client = Http::new(config, Arc::new(SystemClock))?;
    let request = http::Request::get(&config.directory).body(BodyWrapper::<Bytes>::default());
    let request = request.map_err(|e| Error::Config { key: "acme.directory", why: e.to_string() })?;
    let mut answer = match client.request(request).await {
        Ok(answer) => answer,
        Err(e) => return Ok(Err(std::error::Error::source(&e).map_or(e.to_string(), ToString::to_string))),
    };
    if answer.parts.status != http::StatusCode::OK {
        return Ok(Err(format!("it answers {}", answer.parts.status)));
    }
    let body = answer.body.into_bytes().await.unwrap_or_default();
    Ok(read(&body).ok_or_else(|| "what it answers is no ACME directory".to_owned()))
}

fn read(body: &[u8]) -> Option<AcmeDirectory> {
    let d: Directory = serde_json::from_slice(body).ok()?;
    Some(AcmeDirectory { terms: d.meta.terms_of_service, wants_binding: d.meta.external_account_required })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_one_only_with_the_urls_that_an_order_needs() {
        let whole = br#"{"newNonce": "a", "newAccount": "b", "newOrder": "c", "other": 1,
            "meta": {"termsOfService": "https://ca.example.org/terms", "externalAccountRequired": true}}"#;
        let read_whole = read(whole).unwrap();
        assert_eq!(read_whole.terms.as_deref(), Some("https://ca.example.org/terms"));
        assert!(read_whole.wants_binding);
        assert_eq!(read(br#"{"newNonce": "a", "newAccount": "b"}"#), None);
        assert_eq!(read(b"<html>"), None);
    }
}
