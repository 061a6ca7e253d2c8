//! The ledger's tree as core sees it: every checkpoint that the vault signs is held against the entries
//! that core followed itself, and never goes back. The newest one lies in core's folder.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use ledger::{Edge, Position, SignedCheckpoint};

use crate::follow::Stop;
use crate::room::Room;
use crate::tasks::fetch_statement;

/// The file in core's folder.
const FILE: &str = "checkpoint";
/// How many hashes are read at once.
const AT_ONCE: u32 = 4096;

/// How far checkpoints were held against the followed entries.
pub(crate) struct FollowedTree {
    dir: PathBuf,
    /// Of the entries up to the newest checkpoint.
    edge: Edge,
    newest: Option<SignedCheckpoint>,
    /// The newest is of entries that are still to be followed.
    waiting: Option<SignedCheckpoint>,
}

impl FollowedTree {
    /// Takes up what was remembered. A file that is not the root key's counts as none.
    pub(crate) fn open(room: &Room) -> Self {
        let dir = room.config.data_dir.clone();
        let kept = fs::read(dir.join(FILE)).ok();
        let newest = kept.map(|bytes| SignedCheckpoint::of_house(&bytes, &room.trust.roots()));
        if matches!(newest, Some(Err(_))) {
            tracing::warn!("the checkpoint that core kept is none of the root key's; it is forgotten");
        }
        Self { dir, edge: Edge::new(), newest: newest.and_then(Result::ok), waiting: None }
    }

    /// Judges a checkpoint of the vault's, of which `followed` entries are known.
    pub(crate) async fn take(&mut self, room: &Room, note: &str, followed: u64) -> Result<(), Stop> {
        let opened = || SignedCheckpoint::of_house(note.as_bytes(), &room.trust.roots());
        let signed = match opened() {
            Ok(signed) => signed,
            // Perhaps by one that took the other's place a moment ago.
            Err(_) => {
                fetch_statement(room).await;
                opened().map_err(|_| Stop::Refused("its checkpoint is not signed by the house's root key"))?
            }
        };
        if let Some(newest) = &self.newest {
            if signed.size() < newest.size() {
                return Err(Stop::Refused("its signed checkpoint is behind the newest one that was seen"));
            }
            if signed.size() == newest.size() && signed.root() != newest.root() {
                return Err(Stop::Refused("it signed two checkpoints of one size"));
            }
        }
        self.waiting = Some(signed);
        self.catch_up(room, followed).await
    }

    /// Holds what waits against the entries, once they are all there.
    pub(crate) async fn catch_up(&mut self, room: &Room, followed: u64) -> Result<(), Stop> {
        let Some(signed) = self.waiting.take_if(|s| s.size() <= followed) else { return Ok(()) };
        while self.edge.size() < signed.size() {
            let from = self.edge.size();
            let most = u32::try_from(signed.size() - from).unwrap_or(u32::MAX).min(AT_ONCE);
            let hashes = room.store.read(move |v| v.ledger_hashes(from, most)).await?;
            if hashes.is_empty() {
                return Err(Stop::Refused("entries that were followed are not in the database any more"));
            }
            for (index, hash) in (from..).zip(hashes) {
                self.edge.push_entry(&Position { index, hash });
                let seen = self.newest.as_ref().filter(|n| n.size() == self.edge.size());
                if seen.is_some_and(|n| n.root() != self.edge.root()) {
                    return Err(Stop::Refused(
                        "what was followed is not what an earlier checkpoint was signed for",
                    ));
                }
            }
        }
        if signed.size() > 0 && signed.root() != self.edge.root() {
            return Err(Stop::Refused("its signed checkpoint is of other entries than those it handed over"));
        }
        if self.newest.as_ref() != Some(&signed) {
            let note = signed.note().to_string();
            // Lost, it is fetched again; what was followed lies in the database.
            if let Err(e) = rpc::trust::write_file(&self.dir, FILE, note.as_bytes(), false) {
                tracing::warn!(error = %e, "the newest checkpoint could not be kept");
            }
            self.newest = Some(signed.clone());
        }
        room.checkpoint.send_replace(Some(Arc::new(signed)));
        Ok(())
    }
}
