//! What whoever validates is answered: a key authorization by plain HTTP, or a certificate of its own in a
//! handshake for `acme-tls/1`. Nothing here can become an answer to a phone: the first leaves on a listener
//! of its own, the second ends with the handshake.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use model::{Clock, SystemClock, TimeMs};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::AcmeChallengeKind;
use crate::served::Served;

/// The protocol of a validating handshake (RFC 8737, 3).
pub(crate) const ACME_TLS: &[u8] = b"acme-tls/1";
/// An answer that nobody withdrew is given no longer.
const LIFE_MS: TimeMs = 10 * 60 * 1000;
const MOST_ANSWERS: usize = 16;
const TOKEN_PATH: &str = "/.well-known/acme-challenge/";
/// An authority looks from a handful of places at once.
const MOST_HTTP_CONNECTIONS: usize = 64;
const HTTP_PATIENCE: Duration = Duration::from_secs(10);

struct Answer {
    kind: AcmeChallengeKind,
    host: String,
    token: String,
    key_authorization: String,
    /// For [`AcmeChallengeKind::TlsAlpn01`].
    certificate: Option<Arc<CertifiedKey>>,
    until_ms: TimeMs,
}

/// The answers of the validation under way.
#[derive(Default)]
pub(crate) struct Answers(Mutex<Vec<Answer>>);

fn is_base64url(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// The account's thumbprint out of a key authorization, which is `token.thumbprint` (RFC 8555, 8.1): a
/// token of 128 bits or more, a SHA-256 in base64url.
pub(super) fn thumbprint<'a>(token: &str, key_authorization: &'a str) -> Option<&'a str> {
    let thumbprint = key_authorization.strip_prefix(token)?.strip_prefix('.')?;
    let fits = (22..=128).contains(&token.len())
        && is_base64url(token)
        && thumbprint.len() == 43
        && is_base64url(thumbprint);
    fits.then_some(thumbprint)
}

impl Answers {
    fn held(&self) -> MutexGuard<'_, Vec<Answer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(
        &self,
        kind: AcmeChallengeKind,
        host: &str,
        token: &str,
        key_authorization: &str,
        now_ms: TimeMs,
    ) -> Result<(), String> {
        let certificate = match kind {
            AcmeChallengeKind::Http01 => None,
            AcmeChallengeKind::TlsAlpn01 => Some(Arc::new(validation_certificate(host, key_authorization)?)),
        };
        let mut held = self.held();
        held.retain(|a| a.until_ms > now_ms && a.token != token);
        if held.len() >= MOST_ANSWERS {
            return Err("too many challenges at once".to_owned());
        }
        held.push(Answer {
            kind,
            host: host.to_owned(),
            token: token.to_owned(),
            key_authorization: key_authorization.to_owned(),
            certificate,
            until_ms: now_ms + LIFE_MS,
        });
        Ok(())
    }

    pub(super) fn withdraw(&self) {
        self.held().clear();
    }

    pub(super) fn certificate(&self, host: &str, now_ms: TimeMs) -> Option<Arc<CertifiedKey>> {
        let held = self.held();
        // The newest, should an authority have asked twice.
        held.iter().rev().find(|a| a.host == host && a.until_ms > now_ms)?.certificate.clone()
    }

    pub(super) fn key_authorization(&self, path: &str, now_ms: TimeMs) -> Option<String> {
        let token = path.strip_prefix(TOKEN_PATH)?;
        let held = self.held();
        let answer = held.iter().find(|a| a.token == token && a.until_ms > now_ms)?;
        (answer.kind == AcmeChallengeKind::Http01).then(|| answer.key_authorization.clone())
    }
}

/// The self-signed certificate of RFC 8737, 3: one name, and the key authorization's SHA-256 in the
/// critical extension acmeIdentifier.
fn validation_certificate(host: &str, key_authorization: &str) -> Result<CertifiedKey, String> {
    let text = |e: rcgen::Error| e.to_string();
    let mut params = CertificateParams::new(vec![host.to_owned()]).map_err(text)?;
    let digest = order::sha256(key_authorization.as_bytes());
    params.custom_extensions.push(CustomExtension::new_acme_identifier(&digest.0));
    let key = KeyPair::generate().map_err(text)?;
    let certificate = params.self_signed(&key).map_err(text)?.der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der())?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    // Not `from_der`: it refuses the critical extension, which is meant for the validating side.
    let key = provider.key_provider.load_private_key(key).map_err(|e| e.to_string())?;
    Ok(CertifiedKey::new(vec![certificate], key))
}

/// Which certificate a handshake is answered with.
#[derive(Clone)]
pub(crate) struct Shown {
    pub(crate) served: Arc<Served>,
    pub(crate) answers: Option<Arc<Answers>>,
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shown(sealed)")
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // RFC 8737, 3: the validating handshake offers this protocol and no other.
        let validates = hello.alpn().is_some_and(|offered| offered.eq([ACME_TLS]));
        match &self.answers {
            Some(answers) if validates => {
                answers.certificate(&hello.server_name()?.to_ascii_lowercase(), SystemClock.now_ms())
            }
            _ => self.served.resolve(hello),
        }
    }
}

/// Serves the challenges of http-01, and nothing else, until told to stop.
pub(crate) async fn serve_http01(
    listener: TcpListener,
    answers: Arc<Answers>,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(MOST_HTTP_CONNECTIONS));
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = async { let _ = stop.wait_for(|s| *s).await; } => return,
        };
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let answers = answers.clone();
        tokio::spawn(async move {
            let _ = tokio::time::timeout(HTTP_PATIENCE, http01_connection(stream, answers)).await;
            drop(place);
        });
    }
}

async fn http01_connection(stream: TcpStream, answers: Arc<Answers>) {
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let found = match *request.method() {
            Method::GET => answers.key_authorization(request.uri().path(), SystemClock.now_ms()),
            _ => None,
        };
        let mut response = Response::new(Full::new(Bytes::from(found.clone().unwrap_or_default())));
        if found.is_none() {
            *response.status_mut() = StatusCode::NOT_FOUND;
        }
        let plain = http::HeaderValue::from_static("application/octet-stream");
        response.headers_mut().insert(http::header::CONTENT_TYPE, plain);
        std::future::ready(Ok::<_, std::convert::Infallible>(response))
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HTTP_PATIENCE)
        .max_buf_size(16 * 1024)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let _ = serving.await;
}
