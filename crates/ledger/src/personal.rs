//! Each person's own key, in a file beside the ledger. What the ledger says of a person is sealed under
//! it; erasing the person is destroying the key, and the ledger stays as it was.
//!
//! ```text
//! file   = "matron persons 1\n" padded with zeros to 64 bytes, then records of 64 bytes
//! record = kind:u8 (1 a key, 2 erased) subject:[16] key:[32] check:[15]
//! ```
//!
//! `check` is the start of SHA-256 over what is before it. Records begin at multiples of 64 bytes, so
//! none crosses a disk's sector: it is overwritten whole or not at all. Erasing overwrites the key in
//! place and syncs. What an SSD, a copy-on-write file system or a backup keeps of an older state is
//! beyond this file: keep backups of it apart from the ledger's, and short.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand::SecureRandom;
use model::{EnrolmentId, PersonId};
use zeroize::{Zeroize, Zeroizing};

use crate::disk::{Disk, FileDisk, io_error, open_exclusive};
use crate::entry::PersonalSealed;
use crate::error::{Damage, LedgerError};
use crate::frame::sha256;

/// The file's name in the ledger's directory.
pub const KEYS_FILE_NAME: &str = "persons.keys";
const HEADER: &[u8; 64] =
    b"matron persons 1\n\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
const RECORD_BYTES: usize = 64;
const CHECKED_BYTES: usize = 1 + 16 + 32;
const KIND_KEY: u8 = 1;
const KIND_ERASED: u8 = 2;
const VERSION: u8 = 1;

/// Whose data it is: an administrator, or the holder of an enrolled phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subject([u8; 16]);

impl From<PersonId> for Subject {
    fn from(id: PersonId) -> Self {
        Self(id.0)
    }
}

impl From<EnrolmentId> for Subject {
    fn from(id: EnrolmentId) -> Self {
        Self(id.0)
    }
}

/// A subject's place in the file, and the key unless it was erased.
struct Held {
    offset: u64,
    key: Option<Zeroizing<[u8; 32]>>,
}

/// The persons' keys, open for use by one process.
pub struct PersonKeys {
    disk: Box<dyn Disk>,
    path: PathBuf,
    held: HashMap<Subject, Held>,
    end: u64,
    halted: bool,
}

impl PersonKeys {
    /// Opens the key file in `dir` (the ledger's directory), making it if it is not there. A last
    /// record that a crash tore is dropped: its key was never used, since none is before it is durable.
    ///
    /// # Errors
    /// [`LedgerError::Corrupt`] for a record that is damaged elsewhere (`index` counts records),
    /// [`LedgerError::InUse`], [`LedgerError::NotOurs`], [`LedgerError::Io`].
    pub fn load(dir: &Path) -> Result<Self, LedgerError> {
        Self::load_with(dir, |file| Box::new(FileDisk(file)))
    }

    /// As [`PersonKeys::load`], writing through another [`Disk`].
    ///
    /// # Errors
    /// As [`PersonKeys::load`].
    pub fn load_with(dir: &Path, disk: impl FnOnce(File) -> Box<dyn Disk>) -> Result<Self, LedgerError> {
        let (file, file_bytes) = open_exclusive(dir, KEYS_FILE_NAME, HEADER)?;
        let path = dir.join(KEYS_FILE_NAME);
        let size = usize::try_from(file_bytes - HEADER.len() as u64).unwrap_or(0);
        let mut bytes = Zeroizing::new(vec![0; size]);
        file.read_exact_at(&mut bytes, HEADER.len() as u64).map_err(io_error("can't read", &path))?;
        let mut held = HashMap::new();
        let mut end = HEADER.len() as u64;
        let mut records = bytes.chunks(RECORD_BYTES).enumerate().peekable();
        while let Some((index, record)) = records.next() {
            let Some((subject, key)) = read_record(record) else {
                if records.peek().is_some() {
                    let why = Damage::Check;
                    return Err(LedgerError::Corrupt { path, index: index as u64, offset: end, why });
                }
                break;
            };
            held.insert(subject, Held { offset: end, key });
            end += RECORD_BYTES as u64;
        }
        if end < file_bytes {
            file.set_len(end).map_err(io_error("can't shorten", &path))?;
        }
        file.sync_all().map_err(io_error("can't sync", &path))?;
        Ok(Self { disk: disk(file), path, held, end, halted: false })
    }

    /// Seals a personal field of this subject, making their key first if they have none: that takes
    /// one `fdatasync`. A field is bound to its subject and opens for no other.
    ///
    /// # Errors
    /// [`LedgerError::Erased`] when the subject was erased: they get no second key.
    /// [`LedgerError::Io`], [`LedgerError::Halted`], [`LedgerError::Randomness`].
    pub fn seal(
        &mut self,
        subject: Subject,
        plaintext: &[u8],
        rng: &dyn SecureRandom,
    ) -> Result<PersonalSealed, LedgerError> {
        if !self.held.contains_key(&subject) {
            self.make(subject, rng)?;
        }
        let key = self.key(subject)?;
        let mut nonce = [0; NONCE_LEN];
        rng.fill(&mut nonce).map_err(|_| LedgerError::Randomness)?;
        let mut out = Vec::with_capacity(1 + NONCE_LEN + plaintext.len() + AES_256_GCM.tag_len());
        out.push(VERSION);
        out.extend_from_slice(&nonce);
        let mut value = Zeroizing::new(plaintext.to_vec());
        let tag = key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad(subject), &mut value)
            .map_err(|_| LedgerError::DoesNotOpen)?;
        out.extend_from_slice(&value);
        out.extend_from_slice(tag.as_ref());
        Ok(PersonalSealed(out))
    }

    /// Opens a personal field of this subject.
    ///
    /// # Errors
    /// [`LedgerError::Erased`], [`LedgerError::NoKey`], or [`LedgerError::DoesNotOpen`] when it was
    /// altered or is someone else's.
    pub fn open(&self, subject: Subject, sealed: &PersonalSealed) -> Result<Zeroizing<Vec<u8>>, LedgerError> {
        let key = self.key(subject)?;
        let Some((&VERSION, rest)) = sealed.0.split_first() else { return Err(LedgerError::DoesNotOpen) };
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or(LedgerError::DoesNotOpen)?;
        let mut value = Zeroizing::new(body.to_vec());
        let opened = key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), aad(subject), &mut value)
            .map_err(|_| LedgerError::DoesNotOpen)?
            .len();
        value.truncate(opened);
        Ok(value)
    }

    /// Destroys this subject's key, durably, and remembers that it did. Doing it again, or for someone
    /// who never had a key, is no error.
    ///
    /// # Errors
    /// [`LedgerError::Io`] when the disk failed: whether the key is gone is not known until the file
    /// is loaded again; [`LedgerError::Halted`] after that.
    pub fn erase(&mut self, subject: Subject) -> Result<(), LedgerError> {
        let offset = match self.held.get(&subject) {
            Some(Held { key: None, .. }) => return Ok(()),
            Some(Held { offset, .. }) => *offset,
            None => self.end,
        };
        self.write(offset, &record(KIND_ERASED, subject, &[0; 32]))?;
        self.held.insert(subject, Held { offset, key: None });
        self.end = self.end.max(offset + RECORD_BYTES as u64);
        Ok(())
    }

    fn make(&mut self, subject: Subject, rng: &dyn SecureRandom) -> Result<(), LedgerError> {
        let mut key = Zeroizing::new([0; 32]);
        rng.fill(key.as_mut()).map_err(|_| LedgerError::Randomness)?;
        let offset = self.end;
        self.write(offset, &record(KIND_KEY, subject, &key))?;
        self.end += RECORD_BYTES as u64;
        self.held.insert(subject, Held { offset, key: Some(key) });
        Ok(())
    }

    fn write(&mut self, offset: u64, record: &[u8; RECORD_BYTES]) -> Result<(), LedgerError> {
        if self.halted {
            return Err(LedgerError::Halted);
        }
        self.disk.write_at(offset, record).and_then(|()| self.disk.sync()).map_err(|e| {
            self.halted = true;
            io_error("can't write", &self.path)(e)
        })
    }

    fn key(&self, subject: Subject) -> Result<LessSafeKey, LedgerError> {
        let held = self.held.get(&subject).ok_or(LedgerError::NoKey)?;
        let key = held.key.as_ref().ok_or(LedgerError::Erased)?;
        let key = UnboundKey::new(&AES_256_GCM, key.as_ref()).map_err(|_| LedgerError::DoesNotOpen)?;
        Ok(LessSafeKey::new(key))
    }
}

impl std::fmt::Debug for PersonKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PersonKeys(sealed)")
    }
}

fn aad(subject: Subject) -> Aad<[u8; 33]> {
    let mut out = [0; 33];
    let bytes = b"matron/personal/1".iter().chain(&subject.0);
    out.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    Aad::from(out)
}

fn record(kind: u8, subject: Subject, key: &[u8; 32]) -> Zeroizing<[u8; RECORD_BYTES]> {
    let mut out = Zeroizing::new([0; RECORD_BYTES]);
    let mut checked = Zeroizing::new([0; CHECKED_BYTES]);
    let bytes = [kind].into_iter().chain(subject.0).chain(key.iter().copied());
    checked.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    let check = sha256(checked.as_ref());
    out.iter_mut().zip(checked.iter().chain(&check.0)).for_each(|(to, from)| *to = *from);
    out
}

/// The subject, and the key unless it says that it was erased; `None` when the check differs.
#[allow(clippy::type_complexity)]
fn read_record(bytes: &[u8]) -> Option<(Subject, Option<Zeroizing<[u8; 32]>>)> {
    let (checked, check) = bytes.split_first_chunk::<CHECKED_BYTES>()?;
    if check.len() != RECORD_BYTES - CHECKED_BYTES || !sha256(checked).0.starts_with(check) {
        return None;
    }
    let (kind, rest) = checked.split_first()?;
    let (subject, key) = rest.split_first_chunk::<16>()?;
    let mut key: [u8; 32] = key.try_into().ok()?;
    let held = (*kind == KIND_KEY).then(|| Zeroizing::new(key));
    key.zeroize();
    matches!(*kind, KIND_KEY | KIND_ERASED).then_some((Subject(*subject), held))
}
