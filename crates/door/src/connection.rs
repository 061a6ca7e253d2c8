//! Connections: accepted, handshaken, served, and let finish at the end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use crate::answer::{Outgoing, OutgoingKind};
use crate::counters::Counters;
use crate::flow::Flow;
use crate::stall::Impatient;
use crate::tls::phone_of;

/// Limits of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    pub(crate) handshake_timeout: Duration,
    pub(crate) idle_timeout: Duration,
}

/// How long someone without a phone's certificate may be silent.
const STRANGERS_IDLE: Duration = Duration::from_secs(20);
/// How long an answer may get on not a byte.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

impl Limits {
    /// The most connections of those who are no phones: strangers can't take the phones' places.
    fn strangers(&self) -> usize {
        (self.connections / 4).max(1)
    }
}

/// Accepts until told to stop, then waits for what is under way.
pub(crate) async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    flow: Arc<Flow>,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let strangers = Arc::new(Semaphore::new(limits.strangers()));
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(a) => a,
                Err(e) => {
                    // Out of descriptors, most likely: others must end first.
                    tracing::warn!(error = %e, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = stopped(&mut stop) => break,
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            Counters::add(&flow.walls.counters.connections_refused);
            continue;
        };
        let (acceptor, flow, stop) = (acceptor.clone(), flow.clone(), stop.clone());
        let strangers = strangers.clone();
        tokio::spawn(async move {
            connection(stream, peer, acceptor, flow, limits, strangers, stop).await;
            drop(place);
        });
    }
    drop(listener);
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(Duration::from_secs(8), places.acquire_many(all)).await;
}

/// Returns when the door is told to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|s| *s).await;
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: TlsAcceptor,
    flow: Arc<Flow>,
    limits: Limits,
    strangers: Arc<Semaphore>,
    mut stop: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let counters = &flow.walls.counters;
    let tls = match tokio::time::timeout(limits.handshake_timeout, acceptor.accept(stream)).await {
        Ok(Ok(tls)) => tls,
        Ok(Err(e)) => {
            Counters::add(&counters.handshakes_failed);
            tracing::debug!(client.address = %peer.ip(), error = %e, "a TLS handshake failed");
            return;
        }
        Err(_) => {
            Counters::add(&counters.handshakes_failed);
            return;
        }
    };
    Counters::add(&counters.connections);
    // Verified by rustls against our CA during the handshake, or restored from its ticket.
    let phone = tls.get_ref().1.peer_certificates().and_then(|c| c.first()).and_then(phone_of);
    let (idle_timeout, _place) = match phone {
        Some(_) => (limits.idle_timeout, None),
        None => match strangers.try_acquire() {
            Ok(place) => (limits.idle_timeout.min(STRANGERS_IDLE), Some(place)),
            Err(_) => return Counters::add(&counters.connections_refused),
        },
    };
    let service = service_fn(|request: Request<Incoming>| {
        let flow = flow.clone();
        async move { Ok::<_, Infallible>(response(flow.serve(phone, request).await)) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle_timeout)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(Impatient::new(tls, WRITE_PATIENCE)), service);
    tokio::pin!(serving);
    tokio::select! {
        _ = serving.as_mut() => {}
        () = stopped(&mut stop) => {
            serving.as_mut().graceful_shutdown();
            let _ = serving.await;
        }
    }
}

/// A few words for people who open a link that leads nowhere. Fixed texts of the door's own.
fn words(out: &Outgoing) -> &'static str {
    match (out.kind, out.status) {
        (OutgoingKind::Plain, 404) => "Nothing is here.\n",
        (OutgoingKind::Plain, 410) => "This link has run out or was used. Ask for a new invitation.\n",
        _ => "",
    }
}

fn response(out: Outgoing) -> Response<Full<Bytes>> {
    let text = words(&out);
    let body = if text.is_empty() { out.body } else { Bytes::from_static(text.as_bytes()) };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = StatusCode::from_u16(out.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let headers = response.headers_mut();
    if let Some(content_type) = out.content_type {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    } else if !text.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
