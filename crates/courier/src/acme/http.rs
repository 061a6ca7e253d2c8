//! HTTP for ACME: to the host and port of the configured directory and nowhere else, whatever the authority
//! links to; bounded in size and time; `Retry-After` remembered.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, RETRY_AFTER};
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use model::{Clock, TimeMs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;

use super::AcmeConfig;
use crate::Error;

const PATIENCE: Duration = Duration::from_secs(30);
/// A chain is some kilobytes.
const MOST_BYTES: usize = 256 * 1024;
/// `Retry-After` beyond this is not believed.
const LONGEST_WAIT_S: i64 = 7 * 24 * 3600;

/// Host and port that requests go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Authority {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// Where an `https` URL leads, or why it is none.
pub(crate) fn authority_of(url: &str) -> Result<Authority, &'static str> {
    let uri: Uri = url.parse().map_err(|_| "must be a URL such as https://acme.example.org/directory")?;
    if uri.scheme_str() != Some("https") {
        return Err("must begin with https://");
    }
    let authority = uri.authority().ok_or("must name a host")?;
    if authority.as_str().contains('@') {
        return Err("must have no user name");
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    Ok(Authority { host, port: authority.port_u16().unwrap_or(443) })
}

/// Why a request was not sent or not answered.
#[derive(Debug, thiserror::Error)]
enum NotAnswered {
    #[error("the authority links to {0}, which is not the host of acme.directory; nothing was sent there")]
    Elsewhere(String),
    #[error("the authority's answer took longer than 30 seconds")]
    TooSlow,
    #[error("the authority can't be reached: {0}")]
    Connection(#[from] std::io::Error),
    #[error("the authority's answer can't be read: {0}")]
    Http(#[from] hyper::Error),
    #[error("the authority's answer is larger than 256 KiB or was cut short")]
    Body,
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
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        if let Some(path) = &config.trust_anchor {
            let bad = |why: String| Error::BadFile { path: path.clone(), why };
            for own in CertificateDer::pem_file_iter(path).map_err(|e| bad(e.to_string()))? {
                roots.add(own.map_err(|e| bad(e.to_string()))?).map_err(|e| bad(e.to_string()))?;
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::Keys(e.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let only = authority_of(&config.directory)
            .map_err(|why| Error::Config { key: "acme.directory", why: why.to_owned() })?;
        Ok(Self(Arc::new(Inside { tls: Arc::new(tls), only, clock, wait_until_ms: AtomicI64::new(0) })))
    }

    /// Until when the authority asked to wait since this was last read; 0: it did not.
    pub(super) fn take_wait_until_ms(&self) -> TimeMs {
        self.0.wait_until_ms.swap(0, Ordering::SeqCst)
    }

    async fn send(&self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, NotAnswered> {
        let (mut head, body) = request.into_parts();
        let url = head.uri.to_string();
        if authority_of(&url).as_ref() != Ok(&self.0.only) {
            return Err(NotAnswered::Elsewhere(super::trying::bounded(&url)));
        }
        let named = head.uri.authority().map(|a| a.as_str().to_owned()).unwrap_or_default();
        let path = head.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
        head.uri = path.parse().map_err(|_| NotAnswered::Elsewhere(String::new()))?;
        head.headers.insert(HOST, HeaderValue::try_from(named).map_err(|_| NotAnswered::Body)?);
        let tcp = TcpStream::connect((self.0.only.host.as_str(), self.0.only.port)).await?;
        let name = ServerName::try_from(self.0.only.host.clone()).map_err(std::io::Error::other)?;
        let tls = tokio_rustls::TlsConnector::from(self.0.tls.clone()).connect(name, tcp).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls)).await?;
        let connection = tokio::spawn(connection);
        let answered = sender.send_request(Request::from_parts(head, body)).await;
        let read = async {
            let (head, body) = answered?.into_parts();
            let body = Limited::new(body, MOST_BYTES).collect().await.map_err(|_| NotAnswered::Body)?;
            Ok((head, body.to_bytes()))
        };
        let (head, body) = read.await.inspect_err(|_: &NotAnswered| connection.abort())?;
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
