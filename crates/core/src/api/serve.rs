//! The administrators' listener: plain HTTP (loopback) or TLS with the configured certificate.

use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SecureRandom;
use axum::body::Body;
use axum::extract::{ConnectInfo, MatchedPath, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::access::Who;
use super::bodies::{Bodies, read_first};
use super::problem::Problem;
use crate::room::Room;
use crate::{Config, Error};

/// The most connections at once.
const MOST_CONNECTIONS: usize = 256;
/// A request's head must be there within this time, and so must a TLS handshake.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// A request, its body included, takes no longer than this.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long requests under way may go on after a stop.
const DRAIN: Duration = Duration::from_secs(10);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What stands before the API on the administrators' listener: it gets the API, the house's clock and the number to call
/// (`organization_phone`), and gives what is served.
pub type Front = fn(axum::Router, Arc<dyn model::Clock>, Option<String>) -> axum::Router;

/// The configured certificate, if there is one.
pub(crate) fn tls(config: &Config) -> Result<Option<TlsAcceptor>, Error> {
    let (Some(cert), Some(key)) = (&config.admin_tls_cert, &config.admin_tls_key) else { return Ok(None) };
    let wrong = |path: &Path, why: String| Error::Certificate { path: path.to_owned(), why };
    let pem = fs::read(cert).map_err(|e| wrong(cert, e.to_string()))?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|_| wrong(cert, "it holds no PEM certificate".into()))?;
    let pem = fs::read(key).map_err(|e| wrong(key, e.to_string()))?;
    let private =
        PrivateKeyDer::from_pem_slice(&pem).map_err(|_| wrong(key, "it holds no PEM private key".into()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|b| b.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|e| wrong(cert, e.to_string()))?;
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

/// Serves one listener until the room stops, then lets requests under way finish.
pub(crate) async fn serve(
    room: Arc<Room>,
    listener: std::net::TcpListener,
    tls: Option<TlsAcceptor>,
    front: Front,
    mut stopping: watch::Receiver<bool>,
) {
    let listener =
        match listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener)) {
            Ok(l) => l,
            Err(e) => {
                tracing::error!(error = %e, "the administrators' listener can't be used");
                return;
            }
        };
    let first = axum::middleware::from_fn_with_state(
        Bodies::counting(room.counters.bodies_refused.clone()),
        read_first,
    );
    let (clock, call) = (room.clock.clone(), room.config.organization_phone.clone());
    let router = front(super::router(room), clock, call).layer(first);
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.changed() => break,
            Some(_) = connections.join_next() => continue,
        };
        let Ok((stream, peer)) = accepted else {
            // Out of descriptors, mostly: some will be free again.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        // The end of an answer does not wait for the acknowledgement of what came before it.
        let _ = stream.set_nodelay(true);
        let (tls, stopping) = (tls.clone(), stopping.clone());
        let from = ConnectInfo(peer);
        let router = router.clone().map_request(move |mut request: http::Request<Incoming>| {
            request.extensions_mut().insert(from);
            request
        });
        connections.spawn(async move {
            let _place = place;
            match tls {
                None => connection(stream, router, stopping).await,
                Some(tls) => match tokio::time::timeout(HEAD_PATIENCE, tls.accept(stream)).await {
                    Ok(Ok(stream)) => connection(stream, router, stopping).await,
                    _ => tracing::debug!("a TLS handshake on the administrators' listener failed"),
                },
            }
        });
    }
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        connections.shutdown().await;
    }
}

async fn connection<S>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: S,
    mut stopping: watch::Receiver<bool>,
) where
    S: tower::Service<http::Request<Incoming>, Response = Response, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut served = std::pin::pin!(served);
    let stopped = async {
        let _ = stopping.wait_for(|s| *s).await;
    };
    tokio::select! {
        _ = served.as_mut() => {}
        () = stopped => {
            served.as_mut().graceful_shutdown();
            let _ = served.await;
        }
    }
}

/// One wide line a request: the route's template, never a body, a query or a header. Gives every
/// response its request id, and problems their body.
pub(crate) async fn wide_line(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request.extensions().get::<Arc<Room>>().and_then(|room| {
        let mut bytes = [0u8; 8];
        room.random.fill(&mut bytes).ok()?;
        Some(format!("{:016x}", u64::from_be_bytes(bytes)))
    });
    let id = id.unwrap_or_default();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("-", MatchedPath::as_str).to_owned();
    let mut response = match tokio::time::timeout(PATIENCE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = "the request took too long; what was begun goes on";
            Problem::new(http::StatusCode::SERVICE_UNAVAILABLE, "too_slow", detail).into_response()
        }
    };
    let status = response.status();
    let problem = response.extensions_mut().remove::<Problem>();
    let failed = status.is_client_error() || status.is_server_error();
    let code = if failed {
        let problem = problem.unwrap_or_else(|| Problem::of_status(status));
        let code = problem.code;
        let body = problem.body(&id);
        let headers = response.headers_mut();
        headers.remove(http::header::CONTENT_LENGTH);
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == http::StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        *response.body_mut() = Body::from(body);
        code
    } else {
        ""
    };
    let who = response.extensions().get::<Who>().map_or("-", |w| w.0.as_str()).to_owned();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    tracing::info!(
        request.id = id,
        http.method = %method,
        http.route = route,
        http.status = status.as_u16(),
        http.duration_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
        problem.code = code,
        actor = who,
        "request"
    );
    response
}
