//! The listener.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use model::clock::DAY_MS;
use model::{Clock, SystemClock, TimeMs};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::certificates::{Authority, topic_of};
use super::request::{self, MAX_PAYLOAD_BYTES, Refused};
use super::shelf::{Not, Shelf};
use super::{Counts, Error, Notification, PushIdentity, Subscription};

const HANDSHAKE: Duration = Duration::from_secs(10);

/// The push service. It stops when it is dropped.
pub struct Server {
    /// Where it listens.
    pub addr: SocketAddr,
    /// The trust anchor that courier needs.
    pub ca_pem: String,
    /// A push certificate, valid for a year.
    pub push_cert_pem: String,
    /// Its key.
    pub push_key_pem: String,
    /// Its topic.
    pub topic: String,
    authority: Authority,
    shelf: Shelf,
    /// Rises to make every connection go away; `None` at the end.
    era: watch::Sender<Option<u64>>,
}

impl Server {
    /// Listens at `addr` (port 0: any) with certificates of its own, made now.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn start(addr: SocketAddr) -> Result<Self, Error> {
        Self::start_with_clock(addr, Arc::new(SystemClock)).await
    }

    /// [`Server::start`], with a clock that the caller moves: it decides what has expired.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn start_with_clock(addr: SocketAddr, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let authority = Authority::make()?;
        let tls = TlsAcceptor::from(Arc::new(authority.server(addr.ip())?));
        let topic = "com.apple.mgmt.External.00000000-0000-4000-8000-000000000001".to_owned();
        // TLS goes by the host's clock, whatever the given one shows.
        let identity = authority.push(&topic, SystemClock.now_ms() + 365 * DAY_MS)?;
        let listener = TcpListener::bind(addr).await?;
        let shelf = Shelf::new(clock);
        let (era, seen) = watch::channel(Some(0));
        let server = Self {
            addr: listener.local_addr()?,
            ca_pem: authority.pem.clone(),
            push_cert_pem: identity.cert_pem,
            push_key_pem: identity.key_pem,
            topic,
            authority,
            shelf: shelf.clone(),
            era,
        };
        tokio::spawn(accept(listener, tls, shelf, seen));
        Ok(server)
    }

    /// For courier's configuration key `endpoint`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.addr)
    }

    /// Another push certificate of this service, e.g. a renewed one, valid until then.
    ///
    /// # Errors
    /// [`Error::Certificate`].
    pub fn issue(&self, topic: &str, until_ms: TimeMs) -> Result<PushIdentity, Error> {
        self.authority.push(topic, until_ms)
    }

    /// A phone that is on: gets what waits for its token, then what comes.
    #[must_use]
    pub fn subscribe(&self, token: &[u8]) -> Subscription {
        self.shelf.subscribe(token)
    }

    /// Answers 410 for this token from now on, or no longer.
    pub fn set_gone(&self, token: &[u8], gone: bool) {
        self.shelf.set_gone(token, gone);
    }

    /// Answers 400 `BadDeviceToken` for this token from now on, or no longer.
    pub fn set_bad(&self, token: &[u8], bad: bool) {
        self.shelf.set_bad(token, bad);
    }

    /// Answers the next `requests` with 429 and this `Retry-After`.
    pub fn throttle(&self, requests: u64, retry_after_s: u64) {
        self.shelf.throttle(requests, retry_after_s);
    }

    /// Answers 503 to everything from now on, or no longer.
    pub fn set_outage(&self, outage: bool) {
        self.shelf.set_outage(outage);
    }

    /// Takes this long over every answer from now on.
    pub fn set_delay(&self, delay: Duration) {
        self.shelf.set_delay(delay);
    }

    /// Ends every connection (GOAWAY), as Apple does with idle ones; new ones are taken.
    pub fn hang_up(&self) {
        self.era.send_modify(|era| *era = era.map(|n| n + 1));
    }

    /// What waits for this token, expired or not.
    #[must_use]
    pub fn waiting(&self, token: &[u8]) -> Option<Notification> {
        self.shelf.waiting(token)
    }

    /// How often each thing happened.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shelf.counts()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.era.send_replace(None);
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "apns::Server({})", self.addr)
    }
}

async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    shelf: Shelf,
    mut era: watch::Receiver<Option<u64>>,
) {
    loop {
        let taken = tokio::select! {
            taken = listener.accept() => taken,
            _ = era.wait_for(Option::is_none) => return,
        };
        match taken {
            Ok((stream, _)) => {
                let mut era = era.clone();
                era.mark_unchanged();
                tokio::spawn(connection(stream, tls.clone(), shelf.clone(), era));
            }
            Err(error) => {
                tracing::warn!(%error, "the push stand-in could not accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    tls: TlsAcceptor,
    shelf: Shelf,
    mut era: watch::Receiver<Option<u64>>,
) {
    let stream = match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::info!(%error, "a handshake with the push stand-in failed");
            return;
        }
        Err(_) => return,
    };
    // The verifier asked for a certificate, so there is one.
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let topic: Arc<str> = certificate.and_then(|c| topic_of(c)).unwrap_or_default().into();
    shelf.count(|c| c.connections += 1);
    let service = service_fn(move |request| answer(request, shelf.clone(), topic.clone()));
    let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(1000)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = std::pin::pin!(served);
    tokio::select! {
        _ = &mut served => {}
        _ = era.changed() => {
            served.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(HANDSHAKE, served).await;
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    shelf: Shelf,
    own_topic: Arc<str>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let read = Limited::new(body, MAX_PAYLOAD_BYTES + 1).collect().await;
    let checked = match read {
        Ok(payload) => {
            let payload = payload.to_bytes();
            request::check(&head.method, head.uri.path(), &head.headers, &payload, &own_topic, shelf.now_ms())
        }
        Err(_) => Err(Refused(413, "PayloadTooLarge")),
    };
    let asked = match checked {
        Ok(asked) => asked,
        Err(refused) => return Ok(refuse(&shelf, refused, None, None)),
    };
    let delay = shelf.delay();
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let id = asked.id.unwrap_or_else(|| format!("00000000-0000-4000-8000-{:012x}", shelf.counts().accepted));
    let notification = Notification {
        push_magic: asked.push_magic,
        topic: asked.topic,
        id: id.clone(),
        expires_at_ms: asked.expires_at_ms,
    };
    Ok(match shelf.take(&asked.token, notification) {
        Ok(()) => respond(200, None, Some(&id), Bytes::new()),
        Err(Not::Gone { since_ms }) => refuse(&shelf, Refused(410, "Unregistered"), Some(since_ms), None),
        Err(Not::Bad) => refuse(&shelf, Refused(400, "BadDeviceToken"), None, None),
        Err(Not::Throttled { retry_after_s }) => {
            refuse(&shelf, Refused(429, "TooManyRequests"), None, Some(retry_after_s))
        }
        Err(Not::Outage) => refuse(&shelf, Refused(503, "ServiceUnavailable"), None, None),
    })
}

fn refuse(
    shelf: &Shelf,
    Refused(status, reason): Refused,
    since_ms: Option<TimeMs>,
    retry_after_s: Option<u64>,
) -> Response<Full<Bytes>> {
    shelf.count(|c| c.refused += 1);
    let mut body = serde_json::json!({ "reason": reason });
    if let (Some(since_ms), Some(object)) = (since_ms, body.as_object_mut()) {
        object.insert("timestamp".into(), since_ms.into());
    }
    respond(status, retry_after_s, None, body.to_string().into())
}

fn respond(status: u16, retry_after_s: Option<u64>, id: Option<&str>, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(value) = retry_after_s.and_then(|s| s.to_string().parse().ok()) {
        response.headers_mut().insert(http::header::RETRY_AFTER, value);
    }
    if let Some(value) = id.and_then(|id| id.parse().ok()) {
        response.headers_mut().insert("apns-id", value);
    }
    response
}
