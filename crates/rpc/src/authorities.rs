//! The CAs whose certificates a room takes: the installation's until a key statement names others, then those that it names.
//! What a statement named is kept in the room's folder, so that a CA that has ended stays ended over restarts, also while no
//! statement is in force.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use minicbor::{Decode, Encode};
use model::TimeMs;
use order::{Authority, KeyStatement};

use crate::trust::write_file;

/// In a room's folder, once there was another CA than the installation's. Public.
pub const AUTHORITIES: &str = "authorities.cbor";

/// What stands in the file.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
struct Kept {
    /// The newest first.
    #[n(0)]
    authorities: Vec<Authority>,
    /// The epoch of the statement that first named them.
    #[n(1)]
    epoch: u32,
    /// When that was made.
    #[n(2)]
    made_at_ms: TimeMs,
}

/// A room's CAs.
#[derive(Debug)]
pub struct Authorities {
    dir: PathBuf,
    current: RwLock<Arc<[Authority]>>,
    /// Rises when one comes or goes.
    generation: AtomicU64,
    following: Mutex<Following>,
}

#[derive(Debug)]
struct Following {
    /// Epoch and time of the statement that first named what counts; one of before does not bring back what ended since.
    since: (u32, TimeMs),
    /// What stands in the file is what counts.
    kept: bool,
}

impl Authorities {
    /// Reads the room's folder; `installed` is the name of the file with the installation's CA.
    ///
    /// # Errors
    /// When neither file can be read.
    pub fn open(dir: &Path, installed: &str) -> io::Result<Self> {
        let named = |name: &str, e: io::Error| io::Error::new(e.kind(), format!("{name}: {e}"));
        let kept = match fs::read(dir.join(AUTHORITIES)) {
            Ok(bytes) => order::decode(&bytes)
                .ok()
                .filter(|kept: &Kept| !kept.authorities.is_empty())
                .ok_or_else(|| io::Error::other(format!("{AUTHORITIES}: it can't be read; restore it")))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let certificate = fs::read(dir.join(installed)).map_err(|e| named(installed, e))?;
                let authorities = vec![Authority { certificate, successor: None }];
                Kept { authorities, epoch: 0, made_at_ms: TimeMs::MIN }
            }
            Err(e) => return Err(named(AUTHORITIES, e)),
        };
        Ok(Self {
            dir: dir.to_owned(),
            current: RwLock::new(kept.authorities.into()),
            generation: AtomicU64::new(0),
            following: Mutex::new(Following { since: (kept.epoch, kept.made_at_ms), kept: true }),
        })
    }

    /// All of them, the newest first.
    #[must_use]
    pub fn all(&self) -> Arc<[Authority]> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another number says that one came or went.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Goes by those that a statement names, if it is not older than the one that named the present ones. Answers whether anything changed. They count at once; if the file can't be
    /// written, it is tried again with the next statement.
    pub fn follow(&self, statement: &KeyStatement) -> bool {
        let Some(stated) = statement.authorities.as_ref().filter(|all| !all.is_empty()) else { return false };
        let mut following = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = self.all()[..] != stated[..];
        let of = (statement.epoch, statement.made_at_ms);
        if changed && of < following.since {
            tracing::warn!(epoch = of.0, "a key statement of before names other CAs; it is not gone by");
            return false;
        }
        if changed {
            following.since = of;
            following.kept = false;
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = stated.clone().into();
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        if !following.kept {
            let (epoch, made_at_ms) = following.since;
            let kept = Kept { authorities: stated.clone(), epoch, made_at_ms };
            match write_file(&self.dir, AUTHORITIES, &order::encode(&kept), false) {
                Ok(()) => following.kept = true,
                Err(e) => tracing::error!(
                    error = %e,
                    "the CAs that count can't be kept in the room's folder; a restart may let an older one in again"
                ),
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Digest;
    use order::X25519Public;

    fn statement(authorities: Option<Vec<Authority>>) -> KeyStatement {
        KeyStatement {
            version: 1,
            epoch: 1,
            made_at_ms: 0,
            expires_at_ms: 1,
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
            authorities,
        }
    }

    fn authority(n: u8, successor: bool) -> Authority {
        Authority { certificate: vec![n; 9], successor: successor.then(|| vec![n, n]) }
    }

    #[test]
    fn a_ca_that_ended_stays_ended_over_a_restart_without_a_statement() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ca.der"), [1; 9]).unwrap();
        let room = Authorities::open(dir.path(), "ca.der").unwrap();
        assert_eq!(room.all()[..], [authority(1, false)]);
        assert!(!room.follow(&statement(None)), "as releases before state it");
        let both = vec![authority(2, false), authority(1, true)];
        assert!(room.follow(&statement(Some(both.clone()))));
        assert!(!room.follow(&statement(Some(both.clone()))));
        assert_eq!(Authorities::open(dir.path(), "ca.der").unwrap().all()[..], both);
        assert!(room.follow(&statement(Some(vec![authority(2, false)]))));
        assert_eq!(room.generation(), 2);
        assert_eq!(Authorities::open(dir.path(), "ca.der").unwrap().all()[..], [authority(2, false)]);
        fs::write(dir.path().join(AUTHORITIES), b"cut").unwrap();
        assert!(Authorities::open(dir.path(), "ca.der").unwrap_err().to_string().contains(AUTHORITIES));
    }

    #[test]
    fn a_statement_of_before_an_end_does_not_bring_an_older_ca_back_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ca.der"), [1; 9]).unwrap();
        let room = Authorities::open(dir.path(), "ca.der").unwrap();
        let of = |epoch, made_at_ms, all: &[Authority]| KeyStatement {
            epoch,
            made_at_ms,
            ..statement(Some(all.to_vec()))
        };
        let both = [authority(2, false), authority(1, true)];
        let newest = [authority(2, false)];
        assert!(room.follow(&of(2, 10, &both)));
        assert!(room.follow(&of(3, 20, &newest)));
        let earlier = [of(2, 10, &both), of(2, 30, &both), of(3, 19, &both)];
        assert!(!earlier.iter().any(|s| room.follow(s)));
        // The room's kept statement may be an older one than what it has done.
        let room = Authorities::open(dir.path(), "ca.der").unwrap();
        assert!(!earlier.iter().any(|s| room.follow(s)));
        assert_eq!((&room.all()[..], room.generation()), (&newest[..], 0));
        // Of the newest again, and of another one.
        assert!(!room.follow(&of(3, 20, &newest)));
        assert!(room.follow(&of(4, 20, &[authority(3, false), authority(2, true)])));
    }

    #[test]
    fn what_can_not_be_kept_counts_all_the_same_and_is_kept_with_the_next_statement() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ca.der"), [1; 9]).unwrap();
        let room = Authorities::open(dir.path(), "ca.der").unwrap();
        // A folder in the way of the temporary file, as a full disk would be.
        let way = dir.path().join(format!(".{AUTHORITIES}.new"));
        fs::create_dir(&way).unwrap();
        let stated = statement(Some(vec![authority(2, false)]));
        assert!(room.follow(&stated));
        assert_eq!(room.all()[..], [authority(2, false)]);
        assert_eq!(Authorities::open(dir.path(), "ca.der").unwrap().all()[..], [authority(1, false)]);
        fs::remove_dir(&way).unwrap();
        assert!(!room.follow(&stated));
        assert_eq!(Authorities::open(dir.path(), "ca.der").unwrap().all()[..], [authority(2, false)]);
    }
}
