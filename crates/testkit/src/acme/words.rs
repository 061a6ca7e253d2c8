//! Answers and problem documents.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

/// An answer under way.
pub(super) struct Said {
    status: u16,
    kind: &'static str,
    body: Vec<u8>,
    location: Option<String>,
    retry_after_s: Option<u32>,
}

impl std::fmt::Debug for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.status, String::from_utf8_lossy(&self.body))
    }
}

impl Said {
    pub(super) fn json(status: u16, value: &Value) -> Self {
        let body = value.to_string().into_bytes();
        Self { status, kind: "application/json", body, location: None, retry_after_s: None }
    }

    pub(super) fn chain(pem: &str) -> Self {
        let body = pem.as_bytes().to_vec();
        Self { kind: "application/pem-certificate-chain", body, ..Self::nothing(200) }
    }

    pub(super) fn nothing(status: u16) -> Self {
        Self { status, kind: "application/json", body: vec![], location: None, retry_after_s: None }
    }

    pub(super) fn problem(status: u16, error: &str, detail: &str) -> Self {
        Self { kind: "application/problem+json", ..Self::json(status, &problem(status, error, detail)) }
    }

    pub(super) fn at(self, url: String) -> Self {
        Self { location: Some(url), ..self }
    }

    pub(super) fn later(self, seconds: Option<u32>) -> Self {
        Self { retry_after_s: seconds, ..self }
    }

    pub(super) fn response(self, nonce: Option<String>) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_GATEWAY);
        let headers = response.headers_mut();
        let mut put = |name: HeaderName, value: Option<String>| {
            if let Some(value) = value.and_then(|v| HeaderValue::try_from(v).ok()) {
                headers.insert(name, value);
            }
        };
        put(CONTENT_TYPE, Some(self.kind.to_owned()));
        put(LOCATION, self.location);
        put(RETRY_AFTER, self.retry_after_s.map(|s| s.to_string()));
        put(HeaderName::from_static("replay-nonce"), nonce);
        response
    }
}

pub(super) fn problem(status: u16, error: &str, detail: &str) -> Value {
    json!({ "type": format!("urn:ietf:params:acme:error:{error}"), "detail": detail, "status": status })
}
