//! The witness as others' logs know it: `POST /add-checkpoint` (C2SP tlog-witness).

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ledger::VerifierKey;
use ledger::witness::{AddCheckpoint, LARGEST_REQUEST_BYTES, NotCosigned, origin_of_request};
use tokio::sync::Semaphore;

use super::memory::{Memory, Refused};
use super::{Alarms, Trouble, now_s};

/// The most connections at once, and how long each may take.
const MOST_CONNECTIONS: usize = 64;
const PATIENCE: Duration = Duration::from_secs(30);

/// What every connection needs.
pub(crate) struct Desk {
    pub(crate) logs: Vec<VerifierKey>,
    pub(crate) memory: Arc<Mutex<Memory>>,
    pub(crate) alarms: Arc<Alarms>,
}

/// Serves for as long as the process lives, on a thread of its own.
pub(crate) fn start(listener: TcpListener, desk: Desk) -> Result<()> {
    listener.set_nonblocking(true).context("--listen")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("listen".into()).spawn(move || {
        runtime.block_on(serve(listener, Arc::new(desk)));
    })?;
    Ok(())
}

async fn serve(listener: TcpListener, desk: Arc<Desk>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, mostly: some will be free again.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let desk = Arc::clone(&desk);
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(|request| answer(&desk, request));
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), service);
            let _ = tokio::time::timeout(PATIENCE * 4, served).await;
        });
    }
}

fn said(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}

async fn answer(desk: &Desk, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    const TEXT: &str = "text/plain; charset=utf-8";
    if request.uri().path() != "/add-checkpoint" {
        return Ok(said(StatusCode::NOT_FOUND, TEXT, "POST /add-checkpoint\n".into()));
    }
    if request.method() != Method::POST {
        return Ok(said(StatusCode::METHOD_NOT_ALLOWED, TEXT, "POST /add-checkpoint\n".into()));
    }
    let body = tokio::time::timeout(PATIENCE, Limited::new(request, LARGEST_REQUEST_BYTES).collect()).await;
    let body = match body {
        Ok(Ok(body)) => body.to_bytes(),
        _ => return Ok(said(StatusCode::BAD_REQUEST, TEXT, "the request did not come whole\n".into())),
    };
    let outcome = match AddCheckpoint::read(&body) {
        None => Err(Refused::Judged(NotCosigned::Malformed)),
        Some(request) => cosign(desk, &request),
    };
    Ok(match outcome {
        Ok(line) => said(StatusCode::OK, TEXT, line),
        Err(Refused::Judged(NotCosigned::OtherSize { size })) => {
            said(StatusCode::CONFLICT, "text/x.tlog.size", format!("{size}\n"))
        }
        Err(Refused::Judged(why)) => said(status_of(&why), TEXT, format!("{why}\n")),
        Err(Refused::Disk(e)) => {
            eprintln!("matron witness: {}", Refused::Disk(e));
            said(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "the witness can't write\n".into())
        }
    })
}

fn status_of(why: &NotCosigned) -> StatusCode {
    match why {
        NotCosigned::Malformed => StatusCode::BAD_REQUEST,
        NotCosigned::UnknownLog => StatusCode::NOT_FOUND,
        NotCosigned::NotSigned => StatusCode::FORBIDDEN,
        NotCosigned::OtherSize { .. } | NotCosigned::Forked { .. } => StatusCode::CONFLICT,
        NotCosigned::NotConsistent { .. } => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

fn cosign(desk: &Desk, request: &AddCheckpoint) -> Result<String, Refused> {
    let origin = origin_of_request(request);
    let log = desk.logs.iter().find(|l| Some(l.name()) == origin).ok_or(NotCosigned::UnknownLog)?;
    let mut memory = desk.memory.lock().unwrap_or_else(PoisonError::into_inner);
    let outcome = memory.cosign(log, request, now_s());
    let size = memory.kept(log).map_or(0, |k| k.signed.size());
    drop(memory);
    if let Err(Refused::Judged(why @ (NotCosigned::Forked { .. } | NotCosigned::NotConsistent { .. }))) =
        &outcome
    {
        // The log's own key signed it: this is the log's doing, or its key is in other hands.
        let trouble = Trouble::Forked { size, why: why.to_string(), note: request.note.clone() };
        let (log, memory, alarms) = (log.clone(), Arc::clone(&desk.memory), Arc::clone(&desk.alarms));
        // The webhook takes its time, and nobody here waits for it.
        let _ = std::thread::Builder::new().spawn(move || alarms.tell(&log, &trouble, &memory));
    }
    outcome.map(|line| line.to_string())
}
