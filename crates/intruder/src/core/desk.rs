//! The administrators' listener in the intruder's hands: who signs in meanwhile shows it a bearer secret and an
//! order for a grant. It carries the order on, as core would, and keeps both.

use std::convert::Infallible;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use order::{Order, OrderKind, SignedOrder, sha256};
use rpc::proto;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Core, Vault};

pub(crate) async fn serve(
    core: Arc<Core>,
    listener: std::net::TcpListener,
    vaults: watch::Receiver<Option<Vault>>,
) {
    let listener = listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
    let Ok(listener) = listener else { return };
    while let Ok((stream, _)) = listener.accept().await {
        let (core, vaults) = (core.clone(), vaults.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let (core, vault) = (core.clone(), vaults.borrow().clone());
                async move { Ok::<_, Infallible>(answer(&core, vault, request).await) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(core: &Core, vault: Option<Vault>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let bearer = request.headers().get("authorization").and_then(|v| v.to_str().ok());
    if let Some(secret) = bearer.and_then(|b| b.strip_prefix("Bearer ")) {
        let session = sha256(secret.as_bytes());
        let mut sessions = core.sessions.lock().await;
        if !sessions.contains(&session) {
            sessions.push(session);
        }
    }
    let body = request.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    let said = carry(core, vault, &body).await;
    let status = if said.is_some() { 200 } else { 503 };
    let mut response = Response::new(Full::new(Bytes::from(said.unwrap_or(Value::Null).to_string())));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    response
}

async fn carry(core: &Core, vault: Option<Vault>, body: &[u8]) -> Option<Value> {
    let asked: Value = serde_json::from_slice(body).ok()?;
    let bytes = |key: &str| STANDARD.decode(asked.get(key)?.as_str()?).ok();
    let signed = bytes("signed_order")?;
    let submission = proto::Submission {
        signed_order: signed.clone(),
        sealed_arguments: bytes("sealed_arguments").unwrap_or_default(),
        ..Default::default()
    };
    let outcome = vault?.submit(submission).await.ok()?.into_inner();
    if outcome.refusal != 0 {
        return None;
    }
    let signed: SignedOrder = order::decode(&signed).ok()?;
    let order: Order = order::decode(&signed.order).ok()?;
    if let OrderKind::Grant { session, .. } = order.kind {
        core.sessions.lock().await.push(session);
        core.harvested.lock().await.push(signed);
        core.signed_in.send_modify(|n| *n += 1);
    }
    Some(json!({
        "order": order.id,
        "accepted": true,
        "position": outcome.position,
        "sealed_answer": (!outcome.sealed_answer.is_empty()).then(|| STANDARD.encode(&outcome.sealed_answer)),
        "commands": [],
        "erasing": outcome.erasing,
    }))
}
