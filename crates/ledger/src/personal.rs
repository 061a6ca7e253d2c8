//! Each person's own key, in a file beside the ledger. What the ledger says of a person is sealed under
//! it; erasing the person is destroying the key, and the ledger stays as it was.
//!
//! ```text
//! file   = "matron persons 1" padded with zeros to 64 bytes, then records of 64 bytes
//! record = kind:u8 (1 a key, 2 erased, 3 being erased, 4 a covered key) subject:[16] key:[32] check:[15]
//! ```
//!
//! A covered key is the key XOR HMAC-SHA-256 of the subject under a key that is not on this disk
//! ([`PersonCover`]): each subject has one key ever, so no pad serves twice. A file from before there was such a
//! key is written anew as a whole, beside the old one, and renamed.
//!
//! `check` is the start of SHA-256 over what is before it. Erasing takes two writes, each synced: a record
//! of kind 3 at the end names the place of the key (in the first 8 bytes of `key`, big endian), then the key
//! is overwritten there. A crash in between, also one that tears the second write, is finished when the file
//! is loaded. What an SSD, a copy-on-write file system or a backup keeps of an older state is
//! beyond this file: keep backups of it apart from the ledger's, and short.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SecureRandom;
use model::{DataSubject, EnrolmentId, PersonId};
use zeroize::{Zeroize, Zeroizing};

use crate::disk::{Disk, FileDisk, HEADER_BYTES, io_error, open_exclusive, sync_directory};
use crate::entry::PersonalSealed;
use crate::error::{Damage, LedgerError};
use crate::frame::sha256;

/// The file's name in the ledger's directory.
pub const KEYS_FILE_NAME: &str = "persons.keys";
const MAGIC: &[u8; 16] = b"matron persons 1";
const RECORD_BYTES: usize = 64;
const CHECKED_BYTES: usize = 1 + 16 + 32;
const KIND_KEY: u8 = 1;
const KIND_ERASED: u8 = 2;
const KIND_ERASING: u8 = 3;
const KIND_COVERED: u8 = 4;
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

impl From<DataSubject> for Subject {
    fn from(subject: DataSubject) -> Self {
        match subject {
            DataSubject::Person(id) => id.into(),
            DataSubject::Holder(id) => id.into(),
        }
    }
}

/// What covers the keys in the file, kept elsewhere than on its disk. Wiped when dropped.
pub struct PersonCover(Zeroizing<[u8; 32]>);

impl PersonCover {
    /// Of these 32 secret bytes.
    #[must_use]
    pub fn new(secret: Zeroizing<[u8; 32]>) -> Self {
        Self(secret)
    }

    /// Puts the cover on, or takes it off.
    fn turn(&self, subject: Subject, key: &[u8; 32]) -> Zeroizing<[u8; 32]> {
        let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, self.0.as_ref()));
        mac.update(b"matron/person-cover/1");
        mac.update(&subject.0);
        let pad = mac.sign();
        let mut out = Zeroizing::new([0; 32]);
        out.iter_mut().zip(key.iter().zip(pad.as_ref())).for_each(|(to, (a, b))| *to = a ^ b);
        out
    }
}

impl std::fmt::Debug for PersonCover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PersonCover(sealed)")
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
    cover: Option<PersonCover>,
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
        Self::load_covered(dir, None)
    }

    /// The same, with the keys in the file covered. One that holds keys without a cover is written anew first.
    ///
    /// # Errors
    /// As [`PersonKeys::load`]; [`LedgerError::Covered`] when they are covered and `cover` is missing.
    pub fn load_covered(dir: &Path, cover: Option<PersonCover>) -> Result<Self, LedgerError> {
        let (keys, bare) = Self::read_all(dir, cover, |file| Box::new(FileDisk(file)))?;
        if !bare || keys.cover.is_none() {
            return Ok(keys);
        }
        let Self { cover, path, .. } = keys;
        cover_all(dir, &path, cover.as_ref())?;
        Self::read_all(dir, cover, |file| Box::new(FileDisk(file))).map(|(keys, _)| keys)
    }

    /// As [`PersonKeys::load`], writing through another [`Disk`].
    ///
    /// # Errors
    /// As [`PersonKeys::load`].
    pub fn load_with(dir: &Path, disk: impl FnOnce(File) -> Box<dyn Disk>) -> Result<Self, LedgerError> {
        Self::read_all(dir, None, disk).map(|(keys, _)| keys)
    }

    /// The keys, and whether one of them stands without a cover.
    fn read_all(
        dir: &Path,
        cover: Option<PersonCover>,
        disk: impl FnOnce(File) -> Box<dyn Disk>,
    ) -> Result<(Self, bool), LedgerError> {
        let (file, file_bytes) = open_exclusive(dir, KEYS_FILE_NAME, MAGIC)?;
        let path = dir.join(KEYS_FILE_NAME);
        let size = usize::try_from(file_bytes - HEADER_BYTES as u64).unwrap_or(0);
        let mut bytes = Zeroizing::new(vec![0; size]);
        file.read_exact_at(&mut bytes, HEADER_BYTES as u64).map_err(io_error("can't read", &path))?;
        let mut held = HashMap::new();
        let mut bare = false;
        let mut end = HEADER_BYTES as u64;
        let mut damaged = Vec::new();
        let mut erasing = Vec::new();
        let records: Vec<_> = bytes.chunks(RECORD_BYTES).map(read_record).collect();
        for (index, record) in records.iter().enumerate() {
            match record {
                Some(Read::Key(subject, key)) => {
                    bare = true;
                    held.insert(*subject, Held { offset: end, key: Some(key.clone()) });
                }
                Some(Read::Covered(subject, key)) => {
                    let cover = cover.as_ref().ok_or_else(|| LedgerError::Covered { path: path.clone() })?;
                    held.insert(*subject, Held { offset: end, key: Some(cover.turn(*subject, key)) });
                }
                Some(Read::Erased(subject)) => {
                    held.insert(*subject, Held { offset: end, key: None });
                }
                Some(Read::Erasing(subject, offset)) => erasing.push((*subject, *offset)),
                None if index + 1 == records.len() => break,
                None => damaged.push((index as u64, end)),
            }
            end += RECORD_BYTES as u64;
        }
        // A key that was being overwritten may be half of the one and half of the other.
        let torn = |(_, offset): &&(u64, u64)| !erasing.iter().any(|(_, at)| at == offset);
        if let Some((index, offset)) = damaged.iter().find(torn) {
            let (index, offset, why) = (*index, *offset, Damage::Check);
            return Err(LedgerError::Corrupt { path, index, offset, why });
        }
        for (subject, offset) in erasing {
            if held.get(&subject).is_none_or(|h| h.key.is_some()) {
                let erased = record(KIND_ERASED, subject, &[0; 32]);
                file.write_all_at(erased.as_ref(), offset).map_err(io_error("can't write", &path))?;
                held.insert(subject, Held { offset, key: None });
            }
        }
        if end < file_bytes {
            file.set_len(end).map_err(io_error("can't shorten", &path))?;
        }
        file.sync_all().map_err(io_error("can't sync", &path))?;
        Ok((Self { disk: disk(file), path, cover, held, end, halted: false }, bare))
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
            Some(Held { offset, .. }) => {
                let offset = *offset;
                let mut place = [0; 32];
                place.iter_mut().zip(offset.to_be_bytes()).for_each(|(to, from)| *to = from);
                self.write(self.end, &record(KIND_ERASING, subject, &place))?;
                self.end += RECORD_BYTES as u64;
                offset
            }
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
        let kept = match &self.cover {
            Some(cover) => record(KIND_COVERED, subject, &cover.turn(subject, &key)),
            None => record(KIND_KEY, subject, &key),
        };
        self.write(offset, &kept)?;
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

/// The file's header and its whole records. A last one that is half there is left out, as at
/// [`PersonKeys::load`].
/// Covered keys come without their cover.
pub(crate) fn whole_records(
    dir: &Path,
    cover: Option<&PersonCover>,
) -> Result<Zeroizing<Vec<u8>>, LedgerError> {
    let path = dir.join(KEYS_FILE_NAME);
    let bytes = Zeroizing::new(std::fs::read(&path).map_err(io_error("can't read", &path))?);
    let Some((header, records)) = bytes.split_at_checked(HEADER_BYTES).filter(|(h, _)| h.starts_with(MAGIC))
    else {
        return Err(LedgerError::NotOurs { path });
    };
    let mut out = Zeroizing::new(Vec::with_capacity(bytes.len()));
    out.extend_from_slice(header);
    let mut records = records.chunks(RECORD_BYTES).enumerate().peekable();
    while let Some((index, record)) = records.next() {
        let read = read_record(record);
        if let Some(Read::Covered(subject, key)) = &read {
            let cover = cover.ok_or_else(|| LedgerError::Covered { path: path.clone() })?;
            out.extend_from_slice(self::record(KIND_KEY, *subject, &cover.turn(*subject, key)).as_ref());
        } else if read.is_some() {
            out.extend_from_slice(record);
        } else if records.peek().is_some() {
            let (index, offset) = (index as u64, out.len() as u64);
            return Err(LedgerError::Corrupt { path, index, offset, why: Damage::Check });
        }
    }
    Ok(out)
}

/// Writes the file anew with every key covered, and puts it in the old one's place.
fn cover_all(dir: &Path, path: &Path, cover: Option<&PersonCover>) -> Result<(), LedgerError> {
    let Some(cover) = cover else { return Ok(()) };
    let bytes = Zeroizing::new(std::fs::read(path).map_err(io_error("can't read", path))?);
    let mut out = Zeroizing::new(Vec::with_capacity(bytes.len()));
    let (header, records) = bytes.split_at_checked(HEADER_BYTES).unwrap_or_default();
    out.extend_from_slice(header);
    for bytes in records.chunks(RECORD_BYTES) {
        match read_record(bytes) {
            Some(Read::Key(subject, key)) => {
                out.extend_from_slice(record(KIND_COVERED, subject, &cover.turn(subject, &key)).as_ref());
            }
            _ => out.extend_from_slice(bytes),
        }
    }
    let beside = dir.join(format!(".{KEYS_FILE_NAME}.new"));
    let write = || -> std::io::Result<()> {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(&out)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    };
    write().map_err(io_error("can't write", &beside))?;
    sync_directory(dir)
}

/// What a record says.
enum Read {
    Key(Subject, Zeroizing<[u8; 32]>),
    Covered(Subject, Zeroizing<[u8; 32]>),
    Erased(Subject),
    /// The key that stands at this place of the file.
    Erasing(Subject, u64),
}

/// What the record says; `None` when the check differs.
fn read_record(bytes: &[u8]) -> Option<Read> {
    let (checked, check) = bytes.split_first_chunk::<CHECKED_BYTES>()?;
    if check.len() != RECORD_BYTES - CHECKED_BYTES || !sha256(checked).0.starts_with(check) {
        return None;
    }
    let (kind, rest) = checked.split_first()?;
    let (subject, key) = rest.split_first_chunk::<16>()?;
    let subject = Subject(*subject);
    match *kind {
        KIND_KEY | KIND_COVERED => {
            let mut key: [u8; 32] = key.try_into().ok()?;
            let kept = Zeroizing::new(key);
            key.zeroize();
            Some(if *kind == KIND_KEY { Read::Key(subject, kept) } else { Read::Covered(subject, kept) })
        }
        KIND_ERASED => Some(Read::Erased(subject)),
        KIND_ERASING => Some(Read::Erasing(subject, u64::from_be_bytes(*key.first_chunk()?))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::faulty::{Fault, FaultyDisk};
    use aws_lc_rs::rand::SystemRandom;
    use std::fs;
    use std::sync::{Arc, Mutex};
    use tempfile::TempDir;

    const ANNE: Subject = Subject([1; 16]);
    const BEN: Subject = Subject([2; 16]);
    const CAT: Subject = Subject([3; 16]);

    fn rng() -> SystemRandom {
        SystemRandom::new()
    }

    #[test]
    fn a_field_opens_for_its_subject_alone_also_after_loading_again() {
        let dir = TempDir::new().unwrap();
        let mut keys = PersonKeys::load(dir.path()).unwrap();
        let name = keys.seal(ANNE, b"Anne Made-Up", &rng()).unwrap();
        keys.seal(BEN, b"Ben", &rng()).unwrap();
        drop(keys);
        let keys = PersonKeys::load(dir.path()).unwrap();
        assert_eq!(keys.open(ANNE, &name).unwrap().as_slice(), b"Anne Made-Up");
        assert!(matches!(keys.open(BEN, &name), Err(LedgerError::DoesNotOpen)));
        assert!(matches!(keys.open(CAT, &name), Err(LedgerError::NoKey)));
        for at in 0..name.0.len() {
            let mut bad = name.clone();
            bad.0[at] ^= 1;
            assert!(matches!(keys.open(ANNE, &bad), Err(LedgerError::DoesNotOpen)), "byte {at}");
        }
        assert!(matches!(keys.open(ANNE, &PersonalSealed(vec![1; 5])), Err(LedgerError::DoesNotOpen)));
    }

    #[test]
    fn erasing_takes_the_key_out_of_the_file_and_leaves_the_others() {
        let dir = TempDir::new().unwrap();
        let mut keys = PersonKeys::load(dir.path()).unwrap();
        let anne = keys.seal(ANNE, b"Anne", &rng()).unwrap();
        let ben = keys.seal(BEN, b"Ben", &rng()).unwrap();
        let key = *keys.held[&ANNE].key.clone().unwrap();
        let in_file = |dir: &TempDir| {
            let bytes = fs::read(dir.path().join(KEYS_FILE_NAME)).unwrap();
            bytes.windows(32).any(|w| w == key)
        };
        assert!(in_file(&dir));
        keys.erase(ANNE).unwrap();
        keys.erase(ANNE).unwrap();
        keys.erase(CAT).unwrap();
        assert!(!in_file(&dir));
        for _ in 0..2 {
            assert!(matches!(keys.open(ANNE, &anne), Err(LedgerError::Erased)));
            assert!(matches!(keys.seal(ANNE, b"again", &rng()), Err(LedgerError::Erased)));
            assert!(matches!(keys.seal(CAT, b"late", &rng()), Err(LedgerError::Erased)));
            assert_eq!(keys.open(BEN, &ben).unwrap().as_slice(), b"Ben");
            drop(keys);
            keys = PersonKeys::load(dir.path()).unwrap();
        }
    }

    #[test]
    fn a_key_that_was_not_made_durable_is_not_used() {
        for fault in [Fault::LostBefore, Fault::TornAt(1), Fault::TornAt(63), Fault::LostAfter] {
            let dir = TempDir::new().unwrap();
            let ben = {
                let mut keys = PersonKeys::load(dir.path()).unwrap();
                keys.seal(BEN, b"Ben", &rng()).unwrap()
            };
            let switch = Arc::new(Mutex::new(None));
            let mut keys = PersonKeys::load_with(dir.path(), FaultyDisk::wrap(&switch)).unwrap();
            *switch.lock().unwrap() = Some(fault);
            assert!(matches!(keys.seal(ANNE, b"Anne", &rng()), Err(LedgerError::Io { .. })), "{fault:?}");
            *switch.lock().unwrap() = None;
            assert!(matches!(keys.seal(CAT, b"Cat", &rng()), Err(LedgerError::Halted)));
            assert_eq!(keys.open(BEN, &ben).unwrap().as_slice(), b"Ben");
            drop(keys);
            let mut keys = PersonKeys::load(dir.path()).unwrap();
            assert_eq!(keys.open(BEN, &ben).unwrap().as_slice(), b"Ben");
            let anne = keys.seal(ANNE, b"Anne", &rng()).unwrap();
            assert_eq!(keys.open(ANNE, &anne).unwrap().as_slice(), b"Anne");
        }
    }

    /// A disk whose n-th write goes wrong.
    struct NthWrite {
        disk: FileDisk,
        left: usize,
        fault: Fault,
        failed: bool,
    }

    impl Disk for NthWrite {
        fn write_at(&mut self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
            self.failed = self.left == 0;
            self.left = self.left.wrapping_sub(1);
            let other = || std::io::Error::other("made to fail");
            match self.fault {
                Fault::LostBefore if self.failed => Err(other()),
                Fault::TornAt(n) if self.failed => {
                    self.disk.write_at(offset, &bytes[..n])?;
                    Err(other())
                }
                _ => self.disk.write_at(offset, bytes),
            }
        }

        fn sync(&mut self) -> std::io::Result<()> {
            if self.failed { Err(std::io::Error::other("made to fail")) } else { self.disk.sync() }
        }
    }

    #[test]
    fn an_erasure_that_was_cut_off_at_any_write_is_finished_and_harms_no_other_key() {
        let faults = [Fault::LostBefore, Fault::LostAfter].into_iter().chain((1..64).map(Fault::TornAt));
        for fault in faults {
            for left in 0..2 {
                let dir = TempDir::new().unwrap();
                let mut keys = PersonKeys::load(dir.path()).unwrap();
                let sealed = [ANNE, BEN, CAT].map(|s| keys.seal(s, b"a name", &rng()).unwrap());
                let key = *keys.held[&BEN].key.clone().unwrap();
                drop(keys);
                let disk = |file| -> Box<dyn Disk> {
                    Box::new(NthWrite { disk: FileDisk(file), left, fault, failed: false })
                };
                let mut keys = PersonKeys::load_with(dir.path(), disk).unwrap();
                assert!(matches!(keys.erase(BEN), Err(LedgerError::Io { .. })), "{fault:?} {left}");
                assert!(matches!(keys.erase(BEN), Err(LedgerError::Halted)));
                drop(keys);
                let mut keys = PersonKeys::load(dir.path()).unwrap();
                if left == 1 || fault == Fault::LostAfter {
                    let gone = keys.open(BEN, &sealed[1]);
                    assert!(
                        matches!(gone, Err(LedgerError::Erased)),
                        "{fault:?} {left}: once begun it is finished"
                    );
                }
                // Whoever ordered it does so again, as the vault does at its start.
                keys.erase(BEN).unwrap();
                drop(keys);
                let keys = PersonKeys::load(dir.path()).unwrap();
                assert!(matches!(keys.open(BEN, &sealed[1]), Err(LedgerError::Erased)));
                assert_eq!(keys.open(ANNE, &sealed[0]).unwrap().as_slice(), b"a name");
                assert_eq!(keys.open(CAT, &sealed[2]).unwrap().as_slice(), b"a name");
                let bytes = fs::read(dir.path().join(KEYS_FILE_NAME)).unwrap();
                assert!(!bytes.windows(8).any(|w| key.windows(8).any(|k| k == w)), "{fault:?} {left}");
            }
        }
    }

    #[test]
    fn a_damaged_record_before_the_last_is_refused_and_named() {
        let dir = TempDir::new().unwrap();
        let mut keys = PersonKeys::load(dir.path()).unwrap();
        for subject in [ANNE, BEN, CAT] {
            keys.seal(subject, b"x", &rng()).unwrap();
        }
        drop(keys);
        let path = dir.path().join(KEYS_FILE_NAME);
        let whole = fs::read(&path).unwrap();
        for byte in 128..192 {
            let mut bytes = whole.clone();
            bytes[byte] ^= 4;
            fs::write(&path, &bytes).unwrap();
            match PersonKeys::load(dir.path()) {
                Err(LedgerError::Corrupt { index: 1, offset: 128, .. }) => {}
                other => panic!("byte {byte}: {other:?}"),
            }
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
    }

    #[test]
    fn keys_show_nothing() {
        let dir = TempDir::new().unwrap();
        let mut keys = PersonKeys::load(dir.path()).unwrap();
        let sealed = keys.seal(ANNE, b"Anne", &rng()).unwrap();
        assert_eq!(format!("{keys:?} {sealed:?}"), "PersonKeys(sealed) PersonalSealed(sealed)");
    }

    fn cover(n: u8) -> Option<PersonCover> {
        Some(PersonCover::new(Zeroizing::new([n; 32])))
    }

    #[test]
    fn a_covered_file_holds_no_key_as_it_is_and_opens_with_its_cover_alone() {
        let dir = TempDir::new().unwrap();
        let mut keys = PersonKeys::load(dir.path()).unwrap();
        let before = keys.seal(ANNE, b"made up", &rng()).unwrap();
        let bare = keys.held[&ANNE].key.clone().unwrap();
        keys.seal(CAT, b"made up", &rng()).unwrap();
        keys.erase(CAT).unwrap();
        drop(keys);
        // From here on there is a cover.
        let mut keys = PersonKeys::load_covered(dir.path(), cover(1)).unwrap();
        let after = keys.seal(BEN, b"made up too", &rng()).unwrap();
        let second = keys.held[&BEN].key.clone().unwrap();
        drop(keys);
        let on_disk = fs::read(dir.path().join(KEYS_FILE_NAME)).unwrap();
        for key in [&bare, &second] {
            assert!(!on_disk.windows(32).any(|w| w == key.as_ref()));
        }
        let keys = PersonKeys::load_covered(dir.path(), cover(1)).unwrap();
        assert_eq!(keys.open(ANNE, &before).unwrap().as_slice(), b"made up");
        assert_eq!(keys.open(BEN, &after).unwrap().as_slice(), b"made up too");
        assert!(matches!(keys.open(CAT, &after), Err(LedgerError::Erased)));
        drop(keys);
        assert!(matches!(PersonKeys::load(dir.path()), Err(LedgerError::Covered { .. })));
        let other = PersonKeys::load_covered(dir.path(), cover(2)).unwrap();
        assert!(matches!(other.open(ANNE, &before), Err(LedgerError::DoesNotOpen)));
        drop(other);
        // A backup's copy has them without it.
        let copy = whole_records(dir.path(), cover(1).as_ref()).unwrap();
        let elsewhere = TempDir::new().unwrap();
        fs::write(elsewhere.path().join(KEYS_FILE_NAME), &copy).unwrap();
        let keys = PersonKeys::load(elsewhere.path()).unwrap();
        assert_eq!(keys.open(BEN, &after).unwrap().as_slice(), b"made up too");
    }

    #[test]
    fn a_covered_key_is_erased_as_any_other() {
        let dir = TempDir::new().unwrap();
        let mut keys = PersonKeys::load_covered(dir.path(), cover(1)).unwrap();
        let sealed = keys.seal(ANNE, b"made up", &rng()).unwrap();
        keys.erase(ANNE).unwrap();
        drop(keys);
        let keys = PersonKeys::load_covered(dir.path(), cover(1)).unwrap();
        assert!(matches!(keys.open(ANNE, &sealed), Err(LedgerError::Erased)));
    }
}
