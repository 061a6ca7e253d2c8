//! The ledger's tree as static resources (C2SP tlog-tiles), for witnesses and for whoever proves
//! something: the checkpoint, tiles of hashes, and what witnesses cosigned.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::Path;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use ledger::{SignedCheckpoint, Tile};
use rpc::proto::TileRequest;

use super::access::{HandsBack, Ledger, Permit};
use super::problem::{Problem, ProblemBody};
use crate::cosigned::{self, NotKept};
use crate::room::{Following, Room, VAULT_PATIENCE};

pub(super) type Text = ([(http::HeaderName, &'static str); 1], String);

pub(super) fn text(body: String) -> Text {
    ([(CONTENT_TYPE, "text/plain; charset=utf-8")], body)
}

#[utoipa::path(get, path = "/ledger/checkpoint", responses(
    (status = 200, description = "a signed note (C2SP tlog-checkpoint)", body = String, content_type = "text/plain"),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn ledger_checkpoint(
    _permit: Permit<Ledger>,
    Extension(room): Extension<Arc<Room>>,
) -> Result<Text, Problem> {
    Ok(text(newest_checkpoint(&room)?.note().to_string()))
}

/// The newest one that core held against the entries.
pub(super) fn newest_checkpoint(room: &Room) -> Result<Arc<SignedCheckpoint>, Problem> {
    if let Following::Refused(why) = &*room.following.borrow() {
        let detail = format!("the vault's ledger is not the one that was followed: {why}");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "ledger_refused", detail));
    }
    let newest = room.checkpoint.borrow().clone();
    newest.ok_or_else(Problem::vault_away)
}

#[utoipa::path(get, path = "/ledger/tile/{*path}",
    params(("path" = String, Path, description = "as C2SP tlog-tiles has it, such as 0/x001/234.p/5")),
    responses(
        (status = 200, description = "the tile", content_type = "application/octet-stream"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn ledger_tile(
    _permit: Permit<Ledger>,
    Extension(room): Extension<Arc<Room>>,
    Path(path): Path<String>,
) -> Result<([(http::HeaderName, &'static str); 1], Vec<u8>), Problem> {
    let bytes = tile(&room, path.parse().map_err(|_| Problem::not_found("tile"))?).await?;
    Ok(([(CONTENT_TYPE, "application/octet-stream")], bytes))
}

/// A tile, from the vault.
pub(super) async fn tile(room: &Room, tile: Tile) -> Result<Vec<u8>, Problem> {
    let path = tile.path().trim_start_matches("tile/").to_owned();
    let mut vault = room.vault_to_follow().await?;
    let asked = tokio::time::timeout(VAULT_PATIENCE, vault.tile(TileRequest { path })).await;
    match asked {
        Ok(Ok(answer)) => Ok(answer.into_inner().tile),
        Ok(Err(status)) if status.code() == tonic::Code::NotFound => Err(Problem::not_found("tile")),
        _ => Err(Problem::vault_away()),
    }
}

#[utoipa::path(get, path = "/ledger/cosigned", responses(
    (status = 200, description = "the newest checkpoint that witnesses cosigned, with their lines",
        body = String, content_type = "text/plain"),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn ledger_cosigned(
    _permit: Permit<Ledger>,
    Extension(room): Extension<Arc<Room>>,
) -> Result<Text, Problem> {
    let kept = cosigned::kept(&room).ok_or_else(|| Problem::not_found("cosigned checkpoint"))?;
    Ok(text(kept.note().to_string()))
}

#[utoipa::path(post, path = "/ledger/cosigned",
    request_body(content = String, content_type = "text/plain",
        description = "a checkpoint of this ledger with a witness's cosignature under it"),
    responses(
        (status = 204, description = "kept"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 403, body = ProblemBody, content_type = "application/problem+json",
            description = "for keys that read the ledger, administrators and engineers"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn add_cosigned(
    _permit: Permit<HandsBack>,
    Extension(room): Extension<Arc<Room>>,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    match cosigned::keep(&room, &body) {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(NotKept::NotOurs) => {
            Err(Problem::unreadable("this is no checkpoint of this ledger with a cosignature under it"))
        }
        Err(NotKept::Older) => {
            let detail = "a newer checkpoint was cosigned before, or this one is newer than the ledger";
            Err(Problem::new(StatusCode::CONFLICT, "older", detail))
        }
        Err(NotKept::Disk(e)) => {
            tracing::error!(error = %e, "a cosignature could not be kept");
            Err(Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR))
        }
    }
}
