//! A room's trust: the root key it pinned at its installation, or one that took its place since ([`order::root`]), and the
//! newest key statement it believes. Both lie in the room's own folder; a statement that was believed is kept there, so
//! that a restarted room need not wait for the next.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};

use model::{Clock, TimeMs};
use order::{SignedStatement, StatementError, TrustedStatement};

use crate::proto;

const ROOT_FILE: &str = "root.pub";
/// The root keys that were pinned before, 32 bytes each, the first one first.
const FORMER_ROOTS_FILE: &str = "former-roots.pub";
const STATEMENT_FILE: &str = "statement.cbor";

/// The pinned root key and the statement in force.
#[derive(Debug)]
pub struct Trust {
    dir: PathBuf,
    /// That was pinned first, and those that took its place; the newest is the pinned one.
    roots: RwLock<Vec<[u8; 32]>>,
    /// What is pinned is not in the files yet: they could not be written.
    unkept: AtomicBool,
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

/// They say who signed what was kept from before; a file that can't be read costs that and nothing else.
fn former_roots(dir: &Path) -> Vec<[u8; 32]> {
    let kept = match fs::read(dir.join(FORMER_ROOTS_FILE)) {
        Ok(kept) => kept,
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(e) => {
            tracing::warn!(error = %e, "the root keys of before can't be read");
            Vec::new()
        }
    };
    kept.as_chunks().0.to_vec()
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
        let root = root.try_into().map_err(|_| io::Error::other("a root key has 32 bytes"))?;
        let mut roots = former_roots(dir);
        // A change that was cut short before the key itself was written is made again by the kept statement.
        roots.retain(|former| *former != root);
        roots.push(root);
        let trust = Self {
            dir: dir.to_owned(),
            roots: RwLock::new(roots),
            unkept: AtomicBool::new(false),
            current: RwLock::new(None),
        };
        if let Ok(kept) = fs::read(dir.join(STATEMENT_FILE)) {
            let _ = trust.take(&kept, clock);
        }
        Ok(trust)
    }

    /// The pinned root key.
    #[must_use]
    pub fn root(&self) -> [u8; 32] {
        self.roots().last().copied().unwrap_or_default()
    }

    /// The root keys that were pinned, the newest last: what an earlier one signed in its time still bears its name.
    #[must_use]
    pub fn roots(&self) -> Vec<[u8; 32]> {
        self.roots.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
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
        let trusted = signed.verify(&self.root(), now_ms, newest)?;
        // Of one epoch the one that was made last counts, unless the clock was wrong and was set back.
        let in_force = |s: &&Arc<TrustedStatement>| {
            now_ms < s.expires_at_ms && now_ms >= s.made_at_ms.saturating_sub(model::clock::SET_BACK_MS)
        };
        let later = |s: &Arc<TrustedStatement>| s.epoch == trusted.epoch && s.made_at_ms > trusted.made_at_ms;
        if current.as_ref().filter(in_force).is_some_and(later) {
            return Err(StatementError::GoesBack);
        }
        clock.not_before(trusted.made_at_ms);
        self.pin(trusted.roots());
        let epoch = trusted.epoch;
        let fresh = current.as_ref().is_none_or(|s| ***s != *trusted);
        *current = Some(Arc::new(trusted));
        Ok((epoch, fresh))
    }

    /// Pins the newest of these, where that is another than the pinned one. What can't be kept is tried again with the next
    /// statement, which brings the way there with it also after a start.
    fn pin(&self, led_to: &[[u8; 32]]) {
        let after = led_to.get(1..).unwrap_or_default();
        if after.is_empty() && !self.unkept.load(Ordering::Relaxed) {
            return;
        }
        let mut roots = self.roots.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        roots.extend(after);
        let Some((newest, former)) = roots.split_last() else { return };
        let fingerprint = order::sha256(newest);
        if !after.is_empty() {
            tracing::info!(%fingerprint, "the root key was changed, by the one before; the new one counts from now on");
        }
        // The key itself last: as long as it is the one before, the way is gone again.
        let kept = write_file(&self.dir, FORMER_ROOTS_FILE, &former.concat(), false)
            .and_then(|()| write_file(&self.dir, ROOT_FILE, newest, false));
        self.unkept.store(kept.is_err(), Ordering::Relaxed);
        if let Err(e) = kept {
            tracing::warn!(error = %e, "the new root key could not be kept; it is tried again with the next statement");
        }
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

    #[test]
    fn a_root_key_that_took_the_others_place_is_pinned_for_good_and_what_the_former_signs_counts_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second, thiefs] = [1, 2, 3].map(|n| Ed25519Secret::from_seed([n; 32]).unwrap());
        let public = |key: &Ed25519Secret| <[u8; 32]>::try_from(key.public()).unwrap();
        let led = |next: &Ed25519Secret, epoch: u32| {
            let said = order::root::Succession {
                epoch,
                made_at_ms: NOW_MS,
                former: public(&first),
                next: public(next),
            };
            let mut of_next: SignedStatement = order::decode(&signed(next, epoch, NOW_MS).signed).unwrap();
            of_next.successions = Some(vec![said.sign(&first, next)]);
            proto::Statement { signed: order::encode(&of_next) }
        };
        let clock = HandClock::at(NOW_MS + 1);
        Trust::install(dir.path(), &public(&first), &signed(&first, 1, NOW_MS).signed).unwrap();
        let mut trust = Trust::open(dir.path(), &clock).unwrap();
        assert!(trust.believe(&signed(&second, 2, NOW_MS), &clock).refused.contains("not signed"));
        assert_eq!(trust.root(), public(&first));
        assert_eq!(trust.believe(&led(&second, 2), &clock).epoch, 2);
        for _ in 0..2 {
            assert_eq!(trust.roots(), [public(&first), public(&second)]);
            assert_eq!(trust.current(NOW_MS + 1).unwrap().epoch, 2);
            for forged in [signed(&first, 3, NOW_MS), led(&thiefs, 3)] {
                assert!(trust.believe(&forged, &clock).refused.contains("not signed"));
            }
            assert_eq!(
                trust.believe(&led(&second, 2), &clock).epoch,
                2,
                "the chain stays with the statement"
            );
            trust = Trust::open(dir.path(), &clock).unwrap();
        }
        // A folder that can't be written: believed, and kept as soon as it can be.
        let (stuck, elsewhere) = (dir.path().join(".root.pub.new"), tempfile::tempdir().unwrap());
        fs::write(dir.path().join(ROOT_FILE), public(&first)).unwrap();
        fs::remove_file(dir.path().join(FORMER_ROOTS_FILE)).unwrap();
        fs::rename(dir.path().join(STATEMENT_FILE), elsewhere.path().join("kept")).unwrap();
        fs::create_dir(&stuck).unwrap();
        let held = Trust::open(dir.path(), &clock).unwrap();
        assert_eq!(held.believe(&led(&second, 2), &clock).epoch, 2);
        assert_eq!(held.root(), public(&second));
        assert_eq!(fs::read(dir.path().join(ROOT_FILE)).unwrap(), public(&first));
        fs::remove_dir(&stuck).unwrap();
        assert_eq!(held.believe(&led(&second, 2), &clock).epoch, 2);
        assert_eq!(fs::read(dir.path().join(ROOT_FILE)).unwrap(), public(&second));
        // Killed between any two of the writes: the statement that is there, or the next one, leads there again.
        for lost in [ROOT_FILE, FORMER_ROOTS_FILE, STATEMENT_FILE] {
            match lost {
                ROOT_FILE => fs::write(dir.path().join(ROOT_FILE), public(&first)).unwrap(),
                lost => fs::remove_file(dir.path().join(lost)).unwrap(),
            }
            let trust = Trust::open(dir.path(), &clock).unwrap();
            assert_eq!(trust.believe(&led(&second, 2), &clock).epoch, 2, "{lost}");
            assert_eq!(trust.root(), public(&second), "{lost}");
        }
    }
}
