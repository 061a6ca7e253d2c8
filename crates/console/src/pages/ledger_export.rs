//! The whole ledger as files, for whoever keeps it elsewhere: the entries as `matron ledger export` writes them, and the
//! checkpoint that the root key signed over them. `matron ledger verify --dir` checks a folder with both.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use tokio_stream::wrappers::ReceiverStream;

use super::ledger::Head;
use crate::api::{Api, Failure, path};
use crate::guard::Visitor;
use crate::shapes::Page;

/// A line of the file: nothing of it is the console's own words.
#[derive(Debug, Deserialize, Serialize)]
struct Line {
    index: u64,
    at_ms: i64,
    witness: String,
    kind: String,
    hash: String,
    raw: String,
}

/// Every entry that was there when it was asked for, page by page as the browser takes them.
pub(crate) async fn entries(
    State(api): State<Api>,
    Extension(v): Extension<Visitor>,
) -> Result<Response, Failure> {
    let head: Head = api.get("/api/v1/ledger/head", &v.bearer).await?;
    let mut lines = page(&api, &v, 0).await?;
    let (tx, rx) = tokio::sync::mpsc::channel::<Result<Bytes, Failure>>(2);
    tokio::spawn(async move {
        let mut next = 0;
        loop {
            let mut written = String::new();
            for line in lines.iter().filter(|l| l.index < head.entries) {
                // What lacks an entry is no ledger: it breaks off instead.
                let text = serde_json::to_string(line).ok().filter(|_| line.index == next);
                let Some(text) = text else {
                    let _ = tx.send(Err(Failure::within("an entry of the ledger is missing"))).await;
                    return;
                };
                written.push_str(&text);
                written.push('\n');
                next += 1;
            }
            if tx.send(Ok(written.into())).await.is_err() || next >= head.entries {
                return;
            }
            lines = match page(&api, &v, next).await {
                Ok(lines) if !lines.is_empty() => lines,
                Ok(_) => {
                    let _ = tx.send(Err(Failure::within("an entry of the ledger is missing"))).await;
                    return;
                }
                Err(failure) => {
                    let _ = tx.send(Err(failure)).await;
                    return;
                }
            };
        }
    });
    let kind = [
        (CONTENT_TYPE, "application/jsonl"),
        (CONTENT_DISPOSITION, "attachment; filename=\"entries.jsonl\""),
    ];
    Ok((kind, Body::from_stream(ReceiverStream::new(rx))).into_response())
}

async fn page(api: &Api, v: &Visitor, from: u64) -> Result<Vec<Line>, Failure> {
    let own = [("from", Some(from.to_string())), ("limit", Some("200".into())), ("raw", Some("true".into()))];
    let asked = path("/api/v1/ledger", &own);
    api.get::<Page<Line>>(&asked, &v.bearer).await.map(|p| p.items)
}

/// The newest checkpoint. It is fetched first, so that the entries reach as far at least.
pub(crate) async fn checkpoint(
    State(api): State<Api>,
    Extension(v): Extension<Visitor>,
) -> Result<Response, Failure> {
    let note = api.get_text("/ledger/checkpoint", &v.bearer).await?;
    let kind = [
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
        (CONTENT_DISPOSITION, "attachment; filename=\"checkpoint\""),
    ];
    Ok((kind, note).into_response())
}
