//! A room's trust: the root key it pinned at its installation, and the newest key statement it
//! believes. Both lie in the room's own folder; a statement that was believed is kept there, so
//! that a restarted room need not wait for the next.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use model::{Clock, TimeMs};
use order::{SignedStatement, StatementError, TrustedStatement};

use crate::proto;

const ROOT_FILE: &str = "root.pub";
const STATEMENT_FILE: &str = "statement.cbor";

/// The pinned root key and the statement in force.
#[derive(Debug)]
pub struct Trust {
    dir: PathBuf,
    root: Vec<u8>,
    current: RwLock<Option<Arc<TrustedStatement>>>,
}

/// Writes a file whole or not at all: a temporary file, fdatasync, rename, fsync of the folder.
///
/// # Errors
/// When the folder can't be written.
pub fn write_file(dir: &Path, name: &str, content: &[u8], private: bool) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let temporary = dir.join(format!(".{name}.new"));
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(if private { 0o600 } else { 0o644 });
    let mut file = options.open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(name))?;
    fs::File::open(dir)?.sync_all()
}

impl Trust {
    /// Pins the root key and takes the first statement, at the installation.
    ///
    /// # Errors
    /// When the room's folder can't be written.
    pub fn install(dir: &Path, root_key: &[u8; 32], statement: &[u8]) -> io::Result<()> {
        write_file(dir, STATEMENT_FILE, statement, false)?;
        write_file(dir, ROOT_FILE, root_key, false)
    }

    /// Opens what was installed. A kept statement that has run out is passed over: the vault's
    /// next one will come. One that counts says how late it is at least.
    ///
    /// # Errors
    /// When the pinned root key can't be read.
    pub fn open(dir: &Path, clock: &dyn Clock) -> io::Result<Self> {
        let root = fs::read(dir.join(ROOT_FILE))?;
        let trust = Self { dir: dir.to_owned(), root, current: RwLock::new(None) };
        if let Ok(kept) = fs::read(dir.join(STATEMENT_FILE)) {
            let _ = trust.take(&kept, clock);
        }
        Ok(trust)
    }

    /// The pinned root key.
    #[must_use]
    pub fn root(&self) -> &[u8] {
        &self.root
    }

    /// The statement in force; `None` before the first, and once it has run out.
    #[must_use]
    pub fn current(&self, now_ms: TimeMs) -> Option<Arc<TrustedStatement>> {
        let current = self.current.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        current.clone().filter(|s| now_ms < s.expires_at_ms)
    }

    fn take(&self, signed: &[u8], clock: &dyn Clock) -> Result<(u32, bool), StatementError> {
        let signed: SignedStatement = order::decode(signed)?;
        let mut current = self.current.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let newest = current.as_ref().map_or(0, |s| s.epoch);
        let now_ms = clock.now_ms();
        let trusted = signed.verify(&self.root, now_ms, newest)?;
        // Of one epoch the one that was made last counts, unless the clock was wrong and was set back.
        let in_force = |s: &&Arc<TrustedStatement>| {
            now_ms < s.expires_at_ms && now_ms >= s.made_at_ms.saturating_sub(model::clock::SET_BACK_MS)
        };
        let later = |s: &Arc<TrustedStatement>| s.epoch == trusted.epoch && s.made_at_ms > trusted.made_at_ms;
        if current.as_ref().filter(in_force).is_some_and(later) {
            return Err(StatementError::GoesBack);
        }
        clock.not_before(trusted.made_at_ms);
        let epoch = trusted.epoch;
        let fresh = current.as_ref().is_none_or(|s| ***s != *trusted);
        *current = Some(Arc::new(trusted));
        Ok((epoch, fresh))
    }

    /// Believes a statement, or says why not, and keeps it. It is not earlier than the statement says.
    #[must_use]
    pub fn believe(&self, statement: &proto::Statement, clock: &dyn Clock) -> proto::Believed {
        match self.take(&statement.signed, clock) {
            Ok((epoch, fresh)) => {
                if fresh && let Err(e) = write_file(&self.dir, STATEMENT_FILE, &statement.signed, false) {
                    tracing::warn!(error = %e, "the key statement could not be kept");
                }
                proto::Believed { epoch, refused: String::new() }
            }
            Err(e) => {
                tracing::warn!(reason = %e, "a key statement was refused");
                proto::Believed { epoch: 0, refused: e.to_string() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{
        Digest,
        clock::{DAY_MS, HandClock},
    };
    use order::{Ed25519Secret, KeyStatement, X25519Public};

    const NOW_MS: TimeMs = 1_795_000_000_000;

    fn signed(root: &Ed25519Secret, epoch: u32, made_at_ms: TimeMs) -> proto::Statement {
        let statement = KeyStatement {
            version: 1,
            epoch,
            made_at_ms,
            expires_at_ms: made_at_ms + 2 * DAY_MS,
            warrant_key: vec![],
            order_key: X25519Public([0; 32]),
            delivery_key: X25519Public([0; 32]),
            compartments: vec![],
            reader_key: X25519Public([0; 32]),
            vault_sender_key: X25519Public([0; 32]),
            ca_fingerprint: Digest([0; 32]),
            ra_fingerprint: Digest([0; 32]),
            older_needed: None,
            older_readers: None,
            ra_certificate: None,
            authorities: None,
        };
        proto::Statement { signed: order::encode(&SignedStatement::sign(&statement, root)) }
    }

    #[test]
    fn of_one_epoch_the_statement_that_was_made_last_counts_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let root = Ed25519Secret::from_seed([1; 32]).unwrap();
        let public: [u8; 32] = root.public().try_into().unwrap();
        let (first, next) = (signed(&root, 3, NOW_MS - 10), signed(&root, 3, NOW_MS));
        Trust::install(dir.path(), &public, &first.signed).unwrap();
        let clock = HandClock::at(NOW_MS + 1);
        let mut trust = Trust::open(dir.path(), &clock).unwrap();
        assert_eq!(trust.believe(&first, &clock).refused, "", "the same again");
        assert_eq!(trust.believe(&next, &clock).refused, "");
        for _ in 0..2 {
            assert!(trust.believe(&first, &clock).refused.contains("older"));
            assert_eq!(trust.believe(&next, &clock).epoch, 3);
            trust = Trust::open(dir.path(), &clock).unwrap();
        }
        assert_eq!(trust.believe(&signed(&root, 4, NOW_MS - 10), &clock).epoch, 4, "another epoch counts");
        // A clock that was wrong, and is set back by more than is passed over.
        let late = HandClock::at(NOW_MS + 9 * DAY_MS);
        assert_eq!(trust.believe(&signed(&root, 4, NOW_MS + 9 * DAY_MS), &late).epoch, 4);
        assert_eq!(trust.believe(&signed(&root, 4, NOW_MS + 1), &clock).refused, "");
    }
}
