//! How batches lie in the file, and how they are walked.
//!
//! ```text
//! file  = "matron ledger 1\n" mark zeros[16] frame*
//! mark  = end:u64 check:[24]
//! frame = "MLB1" payload_bytes:u32 count:u32 first_index:u64 check:[12] payload
//! payload = (entry_bytes:u32 entry)*          all numbers big endian
//! ```
//!
//! A frame is one batch: what one write carries and one `fdatasync` makes durable. `check` is the
//! start of SHA-256 over the head before it and the payload. The frame is what a crash can tear, so a
//! batch is there whole or not at all.
//!
//! `mark` says how far the file was acknowledged. It is written after a batch was made durable and
//! becomes durable with the next, so it may lag and never runs ahead: damage or a missing end before it
//! can't be a torn write. `check` is the start of SHA-256 over `end`; a mark that is not right says
//! nothing.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256, digest};
use model::Digest;

use crate::disk::{HEADER_BYTES, io_error};
use crate::entry::{Entry, MAX_ENTRY_BYTES, NO_PREVIOUS};
use crate::error::{Damage, EntryError, LedgerError};

/// The file's name in the ledger's directory.
pub const FILE_NAME: &str = "ledger.log";
pub(crate) const FILE_MAGIC: &[u8; 16] = b"matron ledger 1\n";
pub(crate) const MARK_OFFSET: u64 = 16;
const MARK_BYTES: usize = 32;
const MAGIC: [u8; 4] = *b"MLB1";
pub(crate) const HEAD_BYTES: usize = 32;
/// The largest payload of one frame.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 64 << 20;

/// A place in the ledger and what stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// The entry's index.
    pub index: u64,
    /// SHA-256 of its bytes, which the next entry names.
    pub hash: Digest,
}

/// An entry with its place and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it stands.
    pub position: Position,
    /// What it says.
    pub entry: Entry,
    /// Its canonical bytes.
    pub bytes: Vec<u8>,
}

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    digest_of(digest(&SHA256, bytes))
}

/// A SHA-256 as the domain has it: it always has 32 bytes.
pub(crate) fn digest_of(hash: aws_lc_rs::digest::Digest) -> Digest {
    Digest(hash.as_ref().try_into().unwrap_or_default())
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) payload_bytes: u32,
    pub(crate) count: u32,
    pub(crate) first_index: u64,
    check: [u8; 12],
}

impl Head {
    fn fields(payload_bytes: u32, count: u32, first_index: u64) -> [u8; 20] {
        let mut out = [0; 20];
        let bytes = MAGIC
            .into_iter()
            .chain(payload_bytes.to_be_bytes())
            .chain(count.to_be_bytes())
            .chain(first_index.to_be_bytes());
        out.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        out
    }

    fn check_of(fields: &[u8; 20], payload: &[u8]) -> [u8; 12] {
        let mut hash = Context::new(&SHA256);
        hash.update(fields);
        hash.update(payload);
        let mut out = [0; 12];
        out.iter_mut().zip(hash.finish().as_ref()).for_each(|(to, from)| *to = *from);
        out
    }

    pub(crate) fn read(bytes: &[u8; HEAD_BYTES]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<4>()?;
        let (payload_bytes, rest) = rest.split_first_chunk()?;
        let (count, rest) = rest.split_first_chunk()?;
        let (first_index, check) = rest.split_first_chunk()?;
        let head = Self {
            payload_bytes: u32::from_be_bytes(*payload_bytes),
            count: u32::from_be_bytes(*count),
            first_index: u64::from_be_bytes(*first_index),
            check: check.try_into().ok()?,
        };
        let plausible = *magic == MAGIC && head.count > 0 && head.payload_bytes as usize <= MAX_PAYLOAD_BYTES;
        plausible.then_some(head)
    }

    pub(crate) fn fits(&self, payload: &[u8]) -> bool {
        let fields = Self::fields(self.payload_bytes, self.count, self.first_index);
        Self::check_of(&fields, payload) == self.check
    }

    pub(crate) fn frame_bytes(&self) -> u64 {
        HEAD_BYTES as u64 + u64::from(self.payload_bytes)
    }
}

/// Puts a batch's encoded entries into a frame.
pub(crate) fn frame<'a>(
    first_index: u64,
    entries: impl Iterator<Item = &'a [u8]> + Clone,
) -> Result<Vec<u8>, LedgerError> {
    let payload_bytes: usize = entries.clone().map(|e| e.len() + 4).sum();
    let count = entries.clone().count();
    if count == 0 || payload_bytes > MAX_PAYLOAD_BYTES {
        return Err(LedgerError::BatchSize);
    }
    let size = |n: usize| u32::try_from(n).map_err(|_| LedgerError::BatchSize);
    let mut payload = Vec::with_capacity(payload_bytes);
    for entry in entries {
        payload.extend_from_slice(&size(entry.len())?.to_be_bytes());
        payload.extend_from_slice(entry);
    }
    let fields = Head::fields(size(payload_bytes)?, size(count)?, first_index);
    let mut out = Vec::with_capacity(HEAD_BYTES + payload_bytes);
    out.extend_from_slice(&fields);
    out.extend_from_slice(&Head::check_of(&fields, &payload));
    out.extend_from_slice(&payload);
    Ok(out)
}

/// A mark that the file was acknowledged up to `end`.
pub(crate) fn mark(end: u64) -> [u8; MARK_BYTES] {
    let mut out = [0; MARK_BYTES];
    let end = end.to_be_bytes();
    let check = sha256(&end).0;
    out.iter_mut().zip(end.iter().chain(&check)).for_each(|(to, from)| *to = *from);
    out
}

/// How far the file was acknowledged at least: 0 if it does not say.
pub(crate) fn read_mark(file: &File, path: &Path) -> Result<u64, LedgerError> {
    let mut found = [0; MARK_BYTES];
    file.read_exact_at(&mut found, MARK_OFFSET).map_err(io_error("can't read", path))?;
    let end = found.first_chunk().map_or(0, |end| u64::from_be_bytes(*end));
    Ok(if mark(end) == found { end } else { 0 })
}

/// Why a walk stopped before the end of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) index: u64,
    pub(crate) offset: u64,
    pub(crate) why: Damage,
    /// The frame itself is unreadable, so a crash may have torn it. Otherwise it was written whole, and
    /// says something wrong.
    pub(crate) tearable: bool,
}

/// What stands at a place. The check is still to be made.
enum Found {
    Frame(Head, Vec<u8>),
    NoHead,
    Short,
}

/// Reads frames one after the other, checking each entry's form, index and chain.
pub(crate) struct Walk<'a> {
    file: &'a File,
    path: &'a Path,
    pub(crate) offset: u64,
    pub(crate) next_index: u64,
    /// The hash that the next entry must name; `None` when the walk began in the middle.
    previous: Option<Digest>,
    /// Where the file was acknowledged up to, by its mark.
    acknowledged: u64,
}

impl<'a> Walk<'a> {
    /// A walk of the whole file, `acknowledged` up to there by [`read_mark`].
    pub(crate) fn from_start(file: &'a File, path: &'a Path, acknowledged: u64) -> Self {
        let offset = HEADER_BYTES as u64;
        Self { file, path, offset, next_index: 0, previous: Some(NO_PREVIOUS), acknowledged }
    }

    pub(crate) fn resume(
        file: &'a File,
        path: &'a Path,
        offset: u64,
        next_index: u64,
        previous: Option<Digest>,
    ) -> Self {
        Self { file, path, offset, next_index, previous, acknowledged: 0 }
    }

    /// The same walk of a file that was acknowledged up to there.
    pub(crate) fn acknowledged_to(self, acknowledged: u64) -> Self {
        Self { acknowledged, ..self }
    }

    pub(crate) fn previous(&self) -> Option<Digest> {
        self.previous
    }

    /// The next frame's entries; `Ok(Ok(None))` at `end`.
    pub(crate) fn next_frame(
        &mut self,
        end: u64,
    ) -> Result<Result<Option<Vec<Record>>, Broken>, LedgerError> {
        let broken =
            |why, tearable| Ok(Err(Broken { index: self.next_index, offset: self.offset, why, tearable }));
        if self.offset >= end {
            return if self.acknowledged > end { broken(Damage::Missing, false) } else { Ok(Ok(None)) };
        }
        let (head, payload) = match self.read_frame(self.offset, end)? {
            Found::Frame(head, payload) => (head, payload),
            Found::NoHead => return broken(Damage::Head, true),
            Found::Short => return broken(Damage::Short, true),
        };
        if !head.fits(&payload) {
            return broken(Damage::Check, true);
        }
        if head.first_index != self.next_index {
            return broken(Damage::Index, false);
        }
        match records(&head, &payload, self.previous) {
            Ok(records) => {
                self.offset += head.frame_bytes();
                self.next_index += u64::from(head.count);
                self.previous = records.last().map(|r| r.position.hash);
                Ok(Ok(Some(records)))
            }
            Err((index, why)) => Ok(Err(Broken { index, offset: self.offset, why, tearable: false })),
        }
    }

    fn read_frame(&self, offset: u64, end: u64) -> Result<Found, LedgerError> {
        if end - offset < HEAD_BYTES as u64 {
            return Ok(Found::Short);
        }
        let mut head = [0; HEAD_BYTES];
        self.read_at(&mut head, offset)?;
        let Some(head) = Head::read(&head) else { return Ok(Found::NoHead) };
        if offset + head.frame_bytes() > end {
            return Ok(Found::Short);
        }
        let mut payload = vec![0; head.payload_bytes as usize];
        self.read_at(&mut payload, offset + HEAD_BYTES as u64)?;
        Ok(Found::Frame(head, payload))
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<(), LedgerError> {
        self.file.read_exact_at(bytes, offset).map_err(io_error("can't read", self.path))
    }

    /// Whether the broken frame at `self.offset` was acknowledged once, so that it is damage and not a
    /// torn write: the mark says so, or a whole frame of a later index stands somewhere after it
    /// (frames are written one at a time, each after the one before was durable), or more bytes follow
    /// than any one write has.
    pub(crate) fn was_acknowledged(&self, end: u64) -> Result<bool, LedgerError> {
        let tail_bytes = end - self.offset;
        if self.acknowledged > self.offset || tail_bytes > (HEAD_BYTES + MAX_PAYLOAD_BYTES) as u64 {
            return Ok(true);
        }
        let mut tail = vec![0; usize::try_from(tail_bytes).unwrap_or(0)];
        self.read_at(&mut tail, self.offset)?;
        for (at, _) in tail.windows(MAGIC.len()).enumerate().skip(1).filter(|(_, w)| *w == MAGIC) {
            if let Found::Frame(head, payload) = self.read_frame(self.offset + at as u64, end)?
                && head.first_index > self.next_index
                && head.fits(&payload)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Takes a frame's payload apart.
fn records(head: &Head, payload: &[u8], previous: Option<Digest>) -> Result<Vec<Record>, (u64, Damage)> {
    let mut out = Vec::new();
    let mut rest = payload;
    let mut previous = previous;
    for index in (head.first_index..).take(head.count as usize) {
        let damaged = |why| (index, why);
        let (size, after) = rest.split_first_chunk::<4>().ok_or(damaged(Damage::Short))?;
        let size = u32::from_be_bytes(*size) as usize;
        if size > MAX_ENTRY_BYTES {
            return Err(damaged(Damage::Entry(EntryError::TooLarge { bytes: size })));
        }
        let (bytes, after) = after.split_at_checked(size).ok_or(damaged(Damage::Short))?;
        let entry = Entry::decode(bytes).map_err(|e| damaged(Damage::Entry(e)))?;
        if entry.index != index {
            return Err(damaged(Damage::Index));
        }
        if previous.is_some_and(|p| p != entry.previous) {
            return Err(damaged(Damage::Chain));
        }
        let hash = sha256(bytes);
        previous = Some(hash);
        out.push(Record { position: Position { index, hash }, entry, bytes: bytes.to_vec() });
        rest = after;
    }
    if rest.is_empty() { Ok(out) } else { Err((head.first_index, Damage::Short)) }
}
