//! Apple's push service over HTTP/2: one connection, kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use bytes::Bytes;
use http::header::{HeaderName, RETRY_AFTER};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use model::clock::DAY_MS;
use model::{CommandId, TimeMs};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, Semaphore};
use zeroize::Zeroizing;

use crate::config::Endpoint;
use crate::identity::Identity;
use crate::opening::Opened;

const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(20);
/// Apple's answers hold one reason word.
const MAX_ANSWER_BYTES: usize = 4096;
/// Longer than any token that Apple gives; what a URL's path still carries.
const MAX_TOKEN_BYTES: usize = 4096;
const FIRST_PAUSE_MS: i64 = 1000;
const LONGEST_PAUSE_MS: i64 = 60_000;
/// After a 429 or a 5xx without a `Retry-After`.
const RETRY_MS: u64 = 60_000;

/// What came of one push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sent {
    Accepted,
    Unregistered { reason: String },
    Later { reason: String, retry_after_ms: u64 },
    Refused { reason: String },
}

fn later(reason: &str, retry_after_ms: u64) -> Sent {
    Sent::Later { reason: reason.to_owned(), retry_after_ms }
}

type Sender = SendRequest<Full<Bytes>>;

/// A connection, its number, and the certificate it was made with.
struct Line {
    number: u64,
    identity: Arc<Identity>,
    sender: Sender,
}

/// The client. Cheap to share.
pub(crate) struct Apns {
    endpoint: Endpoint,
    expiration_ms: TimeMs,
    line: Mutex<Option<Line>>,
    lines: AtomicU64,
    at_once: Semaphore,
    /// Until when nobody tries to connect again, and how often it failed in a row.
    pause_until_ms: AtomicI64,
    failures: AtomicU32,
}

impl Apns {
    pub fn new(endpoint: Endpoint, expiration_days: u32, at_once: u32) -> Self {
        Self {
            endpoint,
            expiration_ms: i64::from(expiration_days) * DAY_MS,
            line: Mutex::new(None),
            lines: AtomicU64::new(0),
            at_once: Semaphore::new(at_once as usize),
            pause_until_ms: AtomicI64::new(0),
            failures: AtomicU32::new(0),
        }
    }

    /// Wakes one phone.
    pub async fn send(&self, identity: &Arc<Identity>, push: &Opened, now_ms: TimeMs) -> Sent {
        if push.token.is_empty() || push.token.len() > MAX_TOKEN_BYTES {
            return Sent::Refused { reason: "BadDeviceToken".to_owned() };
        }
        let Ok(_permit) = self.at_once.acquire().await else {
            return later("Stopping", FIRST_PAUSE_MS as u64);
        };
        let Ok(id) = push_id() else { return later("NoRandomBytes", RETRY_MS) };
        for _ in 0..2 {
            let (number, mut sender) = match self.line(identity, now_ms).await {
                Ok(line) => line,
                Err(sent) => return sent,
            };
            let Ok(request) = self.request(identity, push, &id, now_ms) else {
                return Sent::Refused { reason: "BadDeviceToken".to_owned() };
            };
            let answered = async {
                sender.ready().await?;
                sender.send_request(request).await
            };
            match tokio::time::timeout(ANSWER, answered).await {
                Ok(Ok(response)) => return outcome(response).await,
                // The connection went away (Apple closes idle ones): once more on a fresh one. The push
                // has the same id, and two for one token coalesce.
                Ok(Err(_)) => self.hang_up(number).await,
                Err(_) => {
                    self.hang_up(number).await;
                    return later("NoAnswer", RETRY_MS);
                }
            }
        }
        later("ConnectionLost", RETRY_MS)
    }

    fn request(
        &self,
        identity: &Identity,
        push: &Opened,
        id: &CommandId,
        now_ms: TimeMs,
    ) -> Result<Request<Full<Bytes>>, http::Error> {
        let mut path =
            Zeroizing::new(String::with_capacity(self.endpoint.authority.len() + push.token.len() * 2 + 32));
        path.push_str("https://");
        path.push_str(&self.endpoint.authority);
        path.push_str("/3/device/");
        for byte in push.token.iter() {
            for digit in [byte >> 4, byte & 15] {
                path.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
            }
        }
        let expiration_s = (now_ms + self.expiration_ms) / 1000;
        let body = serde_json::json!({ "mdm": push.magic.as_str() }).to_string();
        Request::builder()
            .method(Method::POST)
            .uri(path.as_str())
            .header(name("apns-push-type"), "mdm")
            .header(name("apns-topic"), identity.topic.as_str())
            .header(name("apns-expiration"), expiration_s)
            .header(name("apns-priority"), "10")
            .header(name("apns-id"), id.to_string())
            .body(Full::new(Bytes::from(body)))
    }

    /// The line, made anew when there is none, it is dead, or it has another certificate.
    async fn line(&self, identity: &Arc<Identity>, now_ms: TimeMs) -> Result<(u64, Sender), Sent> {
        let mut line = self.line.lock().await;
        if let Some(l) = &*line
            && Arc::ptr_eq(&l.identity, identity)
            && !l.sender.is_closed()
        {
            return Ok((l.number, l.sender.clone()));
        }
        *line = None;
        let paused_ms = self.pause_until_ms.load(Ordering::Relaxed) - now_ms;
        if paused_ms > 0 {
            return Err(later("NoConnection", paused_ms.unsigned_abs()));
        }
        let connected = tokio::time::timeout(CONNECT, self.connect(identity)).await;
        let error = match connected {
            Ok(Ok(sender)) => {
                self.failures.store(0, Ordering::Relaxed);
                let number = self.lines.fetch_add(1, Ordering::Relaxed);
                *line = Some(Line { number, identity: identity.clone(), sender: sender.clone() });
                return Ok((number, sender));
            }
            Ok(Err(error)) => error,
            Err(_) => std::io::Error::new(std::io::ErrorKind::TimedOut, "no connection within 10 seconds"),
        };
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).min(6);
        let pause_ms = (FIRST_PAUSE_MS << failures).min(LONGEST_PAUSE_MS);
        self.pause_until_ms.store(now_ms + pause_ms, Ordering::Relaxed);
        tracing::warn!(%error, host = %self.endpoint.host, pause_ms, "Apple's push service can't be reached");
        Err(later("NoConnection", pause_ms.unsigned_abs()))
    }

    pub(crate) async fn connect(&self, identity: &Identity) -> std::io::Result<Sender> {
        let tcp = TcpStream::connect((self.endpoint.host.as_str(), self.endpoint.port)).await?;
        tcp.set_nodelay(true)?;
        let host = ServerName::try_from(self.endpoint.host.clone()).map_err(std::io::Error::other)?;
        let tls = tokio_rustls::TlsConnector::from(identity.tls.clone()).connect(host, tcp).await?;
        if tls.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(std::io::Error::other("the endpoint does not speak HTTP/2"));
        }
        let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(Duration::from_secs(60))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(tls))
            .await
            .map_err(std::io::Error::other)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::info!(%error, "the connection with Apple's push service ended");
            }
        });
        Ok(sender)
    }

    /// Forgets the line if it is still this one; what is under way on it goes on.
    async fn hang_up(&self, number: u64) {
        let mut line = self.line.lock().await;
        if line.as_ref().is_some_and(|l| l.number == number) {
            *line = None;
        }
    }
}

fn name(text: &'static str) -> HeaderName {
    HeaderName::from_static(text)
}

/// A fresh id, in the form that Apple asks for: an upper- or lower-case UUID (version 4).
fn push_id() -> Result<CommandId, aws_lc_rs::error::Unspecified> {
    let mut id = [0u8; 16];
    SystemRandom::new().fill(&mut id)?;
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut id;
    *version = *version & 0x0f | 0x40;
    *variant = *variant & 0x3f | 0x80;
    Ok(CommandId(id))
}

async fn outcome(response: hyper::Response<hyper::body::Incoming>) -> Sent {
    let (head, body) = response.into_parts();
    if head.status == StatusCode::OK {
        return Sent::Accepted;
    }
    let read = tokio::time::timeout(ANSWER, Limited::new(body, MAX_ANSWER_BYTES).collect()).await;
    let body = read.ok().and_then(Result::ok).map(|b| b.to_bytes()).unwrap_or_default();
    judge(head.status, &head.headers, &body)
}

/// Apple's answer in our words ("Handling notification responses from APNs", Apple).
fn judge(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Sent {
    let reason = reason(body).unwrap_or_else(|| format!("Status{}", status.as_u16()));
    match status.as_u16() {
        200 => Sent::Accepted,
        410 => Sent::Unregistered { reason },
        429 | 500..=599 => Sent::Later { reason, retry_after_ms: retry_after_ms(headers) },
        // Not the token's fault: the connection was idle for too long.
        400 if reason == "IdleTimeout" => Sent::Later { reason, retry_after_ms: 0 },
        _ => Sent::Refused { reason },
    }
}

/// Apple's reason word, if it is one.
fn reason(body: &[u8]) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(body).ok()?;
    let word = json.get("reason")?.as_str()?;
    let fits = (1..=64).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_alphanumeric());
    fits.then(|| word.to_owned())
}

/// `Retry-After` in seconds (RFC 9110, 10.2.3; a date counts as absent), a day at most.
fn retry_after_ms(headers: &HeaderMap) -> u64 {
    headers
        .get(RETRY_AFTER)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.trim().parse::<u64>().ok())
        .map_or(RETRY_MS, |s| s.min(86_400) * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str, retry_after: Option<&str>) -> Sent {
        let mut headers = HeaderMap::new();
        if let Some(v) = retry_after {
            headers.insert(RETRY_AFTER, v.parse().unwrap());
        }
        judge(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes())
    }

    #[test]
    fn apples_answers_are_told_apart_by_who_must_act() {
        let gone = answer(410, r#"{"reason":"Unregistered","timestamp":1}"#, None);
        assert_eq!(gone, Sent::Unregistered { reason: "Unregistered".into() });
        assert_eq!(answer(429, r#"{"reason":"TooManyRequests"}"#, Some("7")), later("TooManyRequests", 7000));
        assert_eq!(answer(503, "", None), later("Status503", 60_000));
        assert_eq!(
            answer(500, r#"{"reason":"InternalServerError"}"#, Some("soon")),
            later("InternalServerError", 60_000)
        );
        assert_eq!(
            answer(400, r#"{"reason":"BadDeviceToken"}"#, None),
            Sent::Refused { reason: "BadDeviceToken".into() }
        );
        assert_eq!(answer(403, "", None), Sent::Refused { reason: "Status403".into() });
        assert_eq!(answer(400, r#"{"reason":"IdleTimeout"}"#, None), later("IdleTimeout", 0));
    }

    #[test]
    fn a_reason_that_is_no_word_does_not_reach_core() {
        for body in [r#"{"reason":"a b"}"#, r#"{"reason":""}"#, r#"{"reason":7}"#, "[]", "\0"] {
            assert_eq!(answer(400, body, None), Sent::Refused { reason: "Status400".into() }, "{body}");
        }
        let long = format!(r#"{{"reason":"{}"}}"#, "x".repeat(65));
        assert_eq!(answer(400, &long, None), Sent::Refused { reason: "Status400".into() });
    }

    #[test]
    fn a_push_id_is_a_uuid_of_version_4() {
        let text = push_id().unwrap().to_string();
        assert_eq!(text.len(), 36);
        assert_eq!(text.as_bytes()[14], b'4');
        assert!(matches!(text.as_bytes()[19], b'8' | b'9' | b'A' | b'B'));
    }
}
