//! Connections: accepted, handshaken, served, and let finish at the end.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::acme::ACME_TLS;
use crate::answer::{Outgoing, OutgoingKind};
use crate::arrivals::{Arrival, Arrivals};
use crate::counters::Counters;
use crate::flow::Flow;
use crate::proxy::{BadProxyHeader, Network, read_proxy_header};
use crate::rest::{self, Silence};
use crate::tls::{Front, Who, phone_of};

/// Limits of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    pub(crate) handshake_timeout: Duration,
    pub(crate) idle_timeout: Duration,
}

/// How long someone without a phone's certificate may be silent.
const STRANGERS_IDLE: Duration = Duration::from_secs(20);
/// How long a phone may be silent before its connection is put to rest.
const RESTS_AFTER: Duration = Duration::from_millis(500);
/// How long the end of a connection may take.
pub(crate) const FAREWELL: Duration = Duration::from_secs(1);

impl Limits {
    /// The most connections of those who are no phones: strangers can't take the phones' places.
    fn strangers(&self) -> usize {
        (self.connections / 4).max(1)
    }
}

/// Where the phones' TLS ends.
pub(crate) enum Ends {
    /// Here.
    Here(Front),
    /// At a load balancer, which comes over TLS of its own or over plain TCP.
    Behind(Option<TlsAcceptor>),
}

/// What all connections share.
pub(crate) struct Entrance {
    pub(crate) ends: Ends,
    pub(crate) proxy_from: Option<Vec<Network>>,
    pub(crate) flow: Arc<Flow>,
    pub(crate) limits: Limits,
}

/// Accepts until told to stop, then waits for what is under way.
pub(crate) async fn accept(listener: TcpListener, entrance: Arc<Entrance>, mut stop: watch::Receiver<bool>) {
    let limits = entrance.limits;
    let places = Arc::new(Semaphore::new(limits.connections));
    let strangers = Arc::new(Semaphore::new(limits.strangers()));
    let arrivals = Arrivals::beside(limits.connections);
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
        // Behind a load balancer whoever it is turns out later.
        let known = entrance.proxy_from.is_none() && matches!(entrance.ends, Ends::Here(_));
        let arrival = arrivals.enter().and_then(|mut a| (!known || a.is_of(peer.ip())).then_some(a));
        let Some(arrival) = arrival else {
            Counters::add(&entrance.flow.walls.counters.connections_refused);
            continue;
        };
        let (entrance, stop) = (entrance.clone(), stop.clone());
        let (places, strangers) = (places.clone(), strangers.clone());
        tokio::spawn(async move {
            connection(stream, peer, arrival, &entrance, &places, strangers, stop).await;
        });
    }
    drop(listener);
    if let Ends::Here(front) = &entrance.ends {
        front.end();
    }
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(Duration::from_secs(8), places.acquire_many(all)).await;
}

/// Returns when the door is told to stop.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|s| *s).await;
}

/// What ends a connection before its first request.
#[derive(Debug, thiserror::Error)]
enum NoHandshake {
    #[error("the other end took too long")]
    TooLong,
    #[error("its address is none of phones.proxy_from")]
    NotTheBalancer,
    #[error("its address has too many connections that are only arriving")]
    TooMany,
    #[error(transparent)]
    Proxy(#[from] BadProxyHeader),
    #[error(transparent)]
    Tls(#[from] std::io::Error),
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    mut arrival: Arrival,
    entrance: &Entrance,
    places: &Semaphore,
    strangers: Arc<Semaphore>,
    mut stop: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let counters = &entrance.flow.walls.counters;
    let mut client = peer.ip();
    // On the heap, so that it takes no room afterwards.
    let beginning = Box::pin(begin(stream, peer, &mut arrival, entrance, (&mut client, &mut stop)));
    let made = tokio::time::timeout(entrance.limits.handshake_timeout, beginning);
    let crowd = entrance.flow.walls.crowd.enter();
    let begun = made.await.unwrap_or(Err(NoHandshake::TooLong));
    drop(crowd);
    let (mut stream, who) = match begun {
        Ok(begun) => begun,
        Err(why) => {
            Counters::add(&counters.handshakes_failed);
            tracing::debug!(client.address = %client, reason = %why, "a connection did not begin");
            return;
        }
    };
    if let Begun::Tls(tls) = &mut stream
        && tls.get_ref().1.alpn_protocol() == Some(ACME_TLS)
    {
        // A certificate authority validates (RFC 8737): the handshake was the answer.
        let _ = tokio::time::timeout(FAREWELL, tls.shutdown()).await;
        return;
    }
    // It has arrived: from here on it sits on one of the connections' places.
    drop(arrival);
    let Ok(_place) = places.try_acquire() else { return Counters::add(&counters.connections_refused) };
    Counters::add(&counters.connections);
    match stream {
        Begun::Tls(tls) => serve(tls, who, entrance, strangers, stop).await,
        Begun::Plain(tcp) => serve(tcp, who, entrance, strangers, stop).await,
    }
}

/// A connection that has said who it is.
enum Begun {
    Tls(Box<TlsStream<TcpStream>>),
    Plain(TcpStream),
}

/// What comes before the first request: whom a load balancer speaks for, and TLS. `client` becomes the address of
/// whoever is behind it, `stop` what ends the connection.
async fn begin(
    mut stream: TcpStream,
    peer: SocketAddr,
    arrival: &mut Arrival,
    entrance: &Entrance,
    (client, stop): (&mut IpAddr, &mut watch::Receiver<bool>),
) -> Result<(Begun, Who), NoHandshake> {
    if let Some(balancers) = &entrance.proxy_from {
        if !balancers.iter().any(|net| net.contains(peer.ip())) {
            return Err(NoHandshake::NotTheBalancer);
        }
        if let Some(told) = read_proxy_header(&mut stream).await? {
            *client = told.ip();
            if !arrival.is_of(*client) {
                return Err(NoHandshake::TooMany);
            }
        }
    }
    match &entrance.ends {
        Ends::Here(front) => {
            let (acceptor, until) = front.now();
            *stop = until;
            let tls = acceptor.accept(stream).await?;
            // Verified by rustls against our CA during the handshake, or restored from its ticket.
            let phone = tls.get_ref().1.peer_certificates().and_then(|c| c.first()).and_then(phone_of);
            Ok((Begun::Tls(Box::new(tls)), phone.map_or(Who::Stranger, Who::Phone)))
        }
        Ends::Behind(Some(acceptor)) => {
            Ok((Begun::Tls(Box::new(acceptor.accept(stream).await?)), Who::Balancer))
        }
        Ends::Behind(None) => Ok((Begun::Plain(stream), Who::Balancer)),
    }
}

async fn serve<S>(
    stream: S,
    who: Who,
    entrance: &Entrance,
    strangers: Arc<Semaphore>,
    mut stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (flow, limits) = (&entrance.flow, entrance.limits);
    let (idle_timeout, _place) = match who {
        Who::Phone(_) | Who::Balancer => (limits.idle_timeout, None),
        Who::Stranger => match strangers.try_acquire() {
            Ok(place) => (limits.idle_timeout.min(STRANGERS_IDLE), Some(place)),
            Err(_) => return Counters::add(&flow.walls.counters.connections_refused),
        },
    };
    let silence = Silence { rests: RESTS_AFTER, ends: idle_timeout };
    let answer = |request| async move { response(flow.serve(who, request).await) };
    rest::serve(stream, &answer, silence, &mut stop).await;
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
