//! HTTP for ACME: to the host and port of the configured directory and nowhere else, whatever the authority
//! links to; bounded in size and time; `Retry-After` remembered.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use model::{Clock, TimeMs};
use rustls::ClientConfig;

use super::AcmeConfig;
use crate::Error;
use crate::https::{self, Authority, authority_of};

const PATIENCE: Duration = Duration::from_secs(30);
/// A chain is some kilobytes.
const MOST_BYTES: usize = 256 * 1024;
/// `Retry-After` beyond this is not believed.
const LONGEST_WAIT_S: i64 = 7 * 24 * 3600;

/// Why a request was not sent or not answered.
#[derive(Debug, thiserror::Error)]
enum NotAnswered {
    #[error("the authority links to {0}, which is not the host of acme.directory; nothing was sent there")]
    Elsewhere(String),
    #[error("the authority's answer took longer than 30 seconds")]
    TooSlow,
    #[error("the authority: {0}")]
    Https(#[from] https::NotAnswered),
}

struct Inside {
    tls: Arc<ClientConfig>,
    only: Authority,
    clock: Arc<dyn Clock>,
    /// Until when the authority asked to wait, by its newest 429 or 503.
    wait_until_ms: AtomicI64,
}

/// The client. Cheap to share.
#[derive(Clone)]
pub(super) struct Http(Arc<Inside>);

impl Http {
    pub(super) fn new(config: &AcmeConfig, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let tls = https::client(config.trust_anchor.as_deref())?;
        let only = authority_of(&config.directory)
            .map_err(|why| Error::Config { key: "acme.directory", why: why.to_owned() })?;
        Ok(Self(Arc::new(Inside { tls, only, clock, wait_until_ms: AtomicI64::new(0) })))
    }

    /// Until when the authority asked to wait since this was last read; 0: it did not.
    pub(super) fn take_wait_until_ms(&self) -> TimeMs {
        self.0.wait_until_ms.swap(0, Ordering::SeqCst)
    }

    async fn send(&self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, NotAnswered> {
        let url = request.uri().to_string();
        if authority_of(&url).as_ref() != Ok(&self.0.only) {
            return Err(NotAnswered::Elsewhere(super::trying::bounded(&url)));
        }
        let (head, body) = https::send(&self.0.tls, &self.0.only, request, MOST_BYTES).await?;
        if matches!(head.status.as_u16(), 429 | 503)
            && let Some(wait_ms) = head.headers.get(RETRY_AFTER).and_then(|v| self.wait_until(v))
        {
            self.0.wait_until_ms.store(wait_ms, Ordering::SeqCst);
        }
        Ok(BytesResponse::from(Response::from_parts(head, Full::new(body))))
    }

    /// RFC 9110, 10.2.3: seconds, or a date.
    fn wait_until(&self, value: &HeaderValue) -> Option<TimeMs> {
        let now_ms = self.0.clock.now_ms();
        let text = value.to_str().ok()?.trim();
        let wait_s = match text.parse::<i64>() {
            Ok(seconds) => seconds,
            Err(_) => {
                let at = httpdate::parse_http_date(text).ok()?;
                let at_s = at.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
                i64::try_from(at_s).ok()?.saturating_sub(now_ms / 1000)
            }
        };
        Some(now_ms + wait_s.clamp(0, LONGEST_WAIT_S) * 1000)
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let http = self.clone();
        Box::pin(async move {
            let answered = tokio::time::timeout(PATIENCE, http.send(request)).await;
            let answered = answered.unwrap_or(Err(NotAnswered::TooSlow));
            answered.map_err(|e| instant_acme::Error::Other(Box::new(e)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::clock::HandClock;

    fn config(directory: &str) -> AcmeConfig {
        AcmeConfig {
            directory: directory.to_owned(),
            contact: None,
            hosts: vec!["mdm.example.org".to_owned()],
            challenge: super::super::AcmeChallengeKind::Http01,
            trust_anchor: None,
        }
    }

    #[tokio::test]
    async fn what_leads_to_another_host_port_or_scheme_is_not_sent() {
        let clock = Arc::new(HandClock::at(0));
        let http = Http::new(&config("https://acme.example.org/directory"), clock).unwrap();
        for url in [
            "https://acme.example.net/order",
            "https://acme.example.org:8443/order",
            "http://acme.example.org/order",
            "https://acme.example.org@acme.example.net/order",
            "/order",
        ] {
            let request = Request::builder().uri(url).body(BodyWrapper::default()).unwrap();
            let why = http.request(request).await.err().unwrap().to_string();
            assert!(why.contains("not the host of acme.directory"), "{url}: {why}");
        }
        assert_eq!(authority_of("https://ACME.example.org:443/x"), authority_of("https://acme.example.org"));
    }

    #[test]
    fn a_wait_is_seconds_or_a_date_and_at_most_a_week() {
        let clock = Arc::new(HandClock::at(1_000_000_000_000));
        let http = Http::new(&config("https://acme.example.org/directory"), clock).unwrap();
        let wait = |text: &'static str| {
            http.wait_until(&HeaderValue::from_static(text)).map(|at| (at - 1_000_000_000_000) / 1000)
        };
        assert_eq!(wait("7"), Some(7));
        assert_eq!(wait("Sun, 09 Sep 2001 01:46:50 GMT"), Some(10));
        assert_eq!(wait("Sun, 09 Sep 2001 01:46:30 GMT"), Some(0));
        assert_eq!(wait("99999999999"), Some(LONGEST_WAIT_S));
        assert_eq!(wait("soon"), None);
    }
}
