//! The proof that an entry is in the ledger, as a file that needs no server (C2SP tlog-proof).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::Path;
use http::StatusCode;
use ledger::tile::BadTile;
use ledger::tree::prove_inclusion;
use ledger::{Proof, Tile, TileNodes, TileSource};
use model::Digest;
use store::LedgerFilter;

use super::access::{Ledger, Permit};
use super::orders::not_held_to_a_group;
use super::problem::{Problem, ProblemBody};
use super::tree::{Text, newest_checkpoint, text, tile};
use crate::cosigned;
use crate::room::Room;

/// Tiles that were fetched so far. A proof takes a few: what is missing is fetched, and it is tried again.
#[derive(Default)]
struct Fetched(BTreeMap<String, Vec<u8>>);

enum Missing {
    Tile(Tile),
    Bad,
}

impl From<BadTile> for Missing {
    fn from(_: BadTile) -> Self {
        Self::Bad
    }
}

impl TileSource for Fetched {
    type Error = Missing;

    fn tile(&self, tile: Tile) -> Result<Vec<u8>, Missing> {
        self.0.get(&tile.path()).cloned().ok_or(Missing::Tile(tile))
    }
}

fn attempt(fetched: &Fetched, index: u64, size: u64) -> Result<Vec<Digest>, Missing> {
    prove_inclusion(&TileNodes::new(fetched, size), index, size)
}

async fn hashes(room: &Room, index: u64, size: u64) -> Result<Vec<Digest>, Problem> {
    let mut fetched = Fetched::default();
    loop {
        let missing = match attempt(&fetched, index, size) {
            Ok(hashes) => return Ok(hashes),
            Err(Missing::Tile(tile)) => tile,
            Err(Missing::Bad) => return Err(Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR)),
        };
        let bytes = match tile(room, missing).await {
            // A tile that has grown full meanwhile.
            Err(p) if p.status == StatusCode::NOT_FOUND && !missing.is_full() => {
                let mut whole = tile(room, Tile::full(missing.level, missing.index)).await?;
                whole.truncate(missing.bytes());
                whole
            }
            other => other?,
        };
        fetched.0.insert(missing.path(), bytes);
    }
}

#[utoipa::path(get, path = "/api/v1/ledger/{index}/proof",
    params(("index" = u64, Path, description = "the entry's place")),
    responses(
        (status = 200, description = "C2SP tlog-proof, the entry's bytes as its extra data; with what witnesses said, once \
         they have seen the entry", body = String, content_type = "text/plain"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(crate) async fn ledger_proof(
    permit: Permit<Ledger>,
    Extension(room): Extension<Arc<Room>>,
    Path(index): Path<String>,
) -> Result<Text, Problem> {
    not_held_to_a_group(&permit)?;
    let index: u64 = index.parse().map_err(|_| Problem::not_found("entry"))?;
    let filter = LedgerFilter { from: index, limit: 1, ..Default::default() };
    let mut rows = room.store.read(move |v| v.ledger_found(&filter)).await?;
    let row = rows.pop().filter(|r| r.index == index).ok_or_else(|| Problem::not_found("entry"))?;
    let newest = newest_checkpoint(&room)?;
    let signed = cosigned::kept(&room).filter(|c| index < c.size()).unwrap_or_else(|| (*newest).clone());
    if index >= signed.size() {
        let detail = "the newest checkpoint is of fewer entries; the vault signs one a second, ask again";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_yet_signed", detail));
    }
    let hashes = hashes(&room, index, signed.size()).await?;
    let proof = Proof { entry: row.entry, index, hashes, note: signed.note().clone() };
    Ok(text(proof.to_string()))
}
