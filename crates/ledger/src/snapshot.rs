//! Copies for a backup, of files that a vault may be writing to meanwhile.

use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::disk::{HEADER_BYTES, io_error};
use crate::error::LedgerError;
use crate::frame::{FILE_MAGIC, FILE_NAME, MARK_OFFSET, mark};
use crate::personal::{self, PersonCover};
use crate::verify::{Report, verify};

/// The ledger as it stood at one moment: what [`verify()`] found whole, and nothing after it.
#[derive(Debug)]
pub struct Snapshot {
    /// What it amounts to.
    pub report: Report,
    file: File,
    path: PathBuf,
}

impl Snapshot {
    /// Reads the ledger in `dir` from end to end and remembers how far it goes. What is appended from
    /// then on is not part of it.
    ///
    /// # Errors
    /// As [`verify()`]: a damaged ledger is not copied as if it were whole.
    pub fn of(dir: &Path) -> Result<Self, LedgerError> {
        let report = verify(dir)?;
        let path = dir.join(FILE_NAME);
        let file = File::open(&path).map_err(io_error("can't open", &path))?;
        Ok(Self { report, file, path })
    }

    /// Its length in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.report.bytes
    }

    /// Its bytes: a ledger's file that is acknowledged to its end.
    ///
    /// # Errors
    /// [`LedgerError::Io`].
    pub fn into_read(mut self) -> Result<impl Read, LedgerError> {
        let after = self.report.bytes.saturating_sub(HEADER_BYTES as u64);
        // The mark in the file moves on while the vault writes; the copy's is its own end.
        let mut header = FILE_MAGIC.to_vec();
        header.resize(usize::try_from(MARK_OFFSET).unwrap_or(header.len()), 0);
        header.extend_from_slice(&mark(self.report.bytes));
        header.resize(HEADER_BYTES, 0);
        self.file.seek(SeekFrom::Start(HEADER_BYTES as u64)).map_err(io_error("can't read", &self.path))?;
        Ok(Cursor::new(header).chain(self.file.take(after)))
    }
}

/// How often a file that is written to at this moment is read again.
const TRIES: usize = 5;

/// The persons' key file in `dir`, as bytes that load, without a cover. Take it after the ledger: a key is durable before
/// the ledger names what it seals.
///
/// # Errors
/// [`LedgerError::Corrupt`] for a damaged record, [`LedgerError::NotOurs`], [`LedgerError::Io`].
pub fn person_keys(dir: &Path, cover: Option<&PersonCover>) -> Result<Zeroizing<Vec<u8>>, LedgerError> {
    let mut tried = 1;
    loop {
        match personal::whole_records(dir, cover) {
            // A key that is erased at this moment is half of each for an instant.
            Err(LedgerError::Corrupt { .. }) if tried < TRIES => tried += 1,
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Body, SigningPublicKey};
    use crate::{FileLedger, KEYS_FILE_NAME, PersonKeys, PersonalSealed, Subject};
    use aws_lc_rs::rand::SystemRandom;
    use model::{Digest, PersonId};
    use std::fs;
    use tempfile::TempDir;

    fn body(n: u8) -> Body {
        Body::KeysStated { epoch: u32::from(n), statement_digest: Digest([n; 32]) }
    }

    fn copy(snapshot: Snapshot) -> Vec<u8> {
        let mut bytes = Vec::new();
        snapshot.into_read().unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_copy_of_a_ledger_that_is_written_to_is_whole_and_ends_where_it_was_looked_at() {
        let dir = TempDir::new().unwrap();
        let mut ledger = FileLedger::open(dir.path()).unwrap();
        let first =
            Body::Genesis { root_key: SigningPublicKey([1; 32]), first_token_key: SigningPublicKey([2; 32]) };
        ledger.append_batch(vec![first, body(1)], 5).unwrap();
        let snapshot = Snapshot::of(dir.path()).unwrap();
        let head = ledger.head();
        ledger.append_batch(vec![body(2)], 6).unwrap();
        let (bytes, report) = (snapshot.bytes(), snapshot.report.clone());
        let copied = copy(snapshot);
        assert_eq!((copied.len() as u64, report.entries, report.head), (bytes, 2, head));
        let other = TempDir::new().unwrap();
        fs::write(other.path().join(FILE_NAME), &copied).unwrap();
        assert_eq!(verify(other.path()).unwrap(), report);
        let again = FileLedger::open(other.path()).unwrap();
        assert_eq!((again.head(), again.cut()), (head, None));
        drop(again);
        // Acknowledged to its end: what is missing there is no torn write.
        fs::write(other.path().join(FILE_NAME), &copied[..copied.len() - 1]).unwrap();
        assert!(matches!(FileLedger::open(other.path()), Err(LedgerError::Corrupt { .. })));
    }

    #[test]
    fn a_torn_end_is_not_copied_and_a_damaged_ledger_is_not_at_all() {
        let dir = TempDir::new().unwrap();
        let mut ledger = FileLedger::open(dir.path()).unwrap();
        ledger.append_batch(vec![body(1)], 5).unwrap();
        ledger.append_batch(vec![body(2)], 6).unwrap();
        drop(ledger);
        let path = dir.path().join(FILE_NAME);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [whole.as_slice(), b"MLB1 half a write"].concat()).unwrap();
        assert_eq!(copy(Snapshot::of(dir.path()).unwrap()), whole);
        let mut bad = whole.clone();
        bad[HEADER_BYTES + 40] ^= 1;
        fs::write(&path, &bad).unwrap();
        assert!(matches!(Snapshot::of(dir.path()), Err(LedgerError::Corrupt { .. })));
    }

    #[test]
    fn the_persons_keys_are_copied_as_they_load_without_a_torn_record() {
        let dir = TempDir::new().unwrap();
        let who = Subject::from(PersonId([3; 16]));
        let mut keys = PersonKeys::load(dir.path()).unwrap();
        let name: PersonalSealed = keys.seal(who, b"Anne Made-Up", &SystemRandom::new()).unwrap();
        let path = dir.path().join(KEYS_FILE_NAME);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [whole.as_slice(), &[1; 20]].concat()).unwrap();
        let copied = person_keys(dir.path(), None).unwrap();
        assert_eq!(*copied, whole);
        let other = TempDir::new().unwrap();
        fs::write(other.path().join(KEYS_FILE_NAME), &copied).unwrap();
        let keys = PersonKeys::load(other.path()).unwrap();
        assert_eq!(keys.open(who, &name).unwrap().as_slice(), b"Anne Made-Up");
        let mut bad = [whole.as_slice(), &whole[64..]].concat();
        bad[70] ^= 1;
        fs::write(&path, &bad).unwrap();
        assert!(matches!(person_keys(dir.path(), None), Err(LedgerError::Corrupt { index: 0, .. })));
    }
}
