//! The quick way through a ledger's file: each entry's bytes, hashed, its place and chain checked, and
//! not decoded further. Reads on from a buffer, so that small batches cost no system call each.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use minicbor::Decoder;
use model::{Digest, TimeMs};

use crate::disk::{HEADER_BYTES, io_error};
use crate::entry::{ENTRY_VERSION, MAX_ENTRY_BYTES, NO_PREVIOUS};
use crate::error::{Damage, EntryError, LedgerError};
use crate::frame::{Broken, FILE_MAGIC, FILE_NAME, HEAD_BYTES, Head, Position, Walk, read_mark, sha256};
use crate::store::corrupt;
use crate::verify::Report;

/// How much is read at once.
const BUFFER_BYTES: usize = 1 << 20;

/// An entry as it lies in the file.
#[derive(Debug, Clone, Copy)]
pub struct Scanned<'a> {
    /// Where it stands.
    pub position: Position,
    /// When it was written.
    pub at_ms: TimeMs,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// What every entry begins with.
struct Outline {
    index: u64,
    at_ms: TimeMs,
    previous: Digest,
}

fn outline(bytes: &[u8]) -> Option<Outline> {
    let mut d = Decoder::new(bytes);
    d.array().ok()??;
    if d.u8().ok()? != ENTRY_VERSION {
        return None;
    }
    let (index, at_ms) = (d.u64().ok()?, d.i64().ok()?);
    let previous = Digest(d.bytes().ok()?.try_into().ok()?);
    Some(Outline { index, at_ms, previous })
}

/// Walks the whole file in `dir`. Each entry's place and its hash in the chain are checked; what it says is
/// not decoded ([`crate::replay`] does). Keeps one batch in memory.
///
/// # Errors
/// As [`crate::verify()`], and whatever `visit` returns.
pub fn scan<E: From<LedgerError>>(
    dir: &Path,
    mut visit: impl FnMut(Scanned<'_>) -> Result<(), E>,
) -> Result<Report, E> {
    let path = dir.join(FILE_NAME);
    let mut file = File::open(&path).map_err(io_error("can't open", &path))?;
    let mut header = [0; HEADER_BYTES];
    if file.read_exact(&mut header).is_err() || !header.starts_with(FILE_MAGIC) {
        return Err(LedgerError::NotOurs { path }.into());
    }
    // The mark first: a vault that appends meanwhile moves the end before it moves the mark.
    let acknowledged = read_mark(&file, &path)?;
    let file_bytes = file.metadata().map_err(io_error("can't read", &path))?.len();
    let mut buffered = BufReader::with_capacity(BUFFER_BYTES, &file);
    buffered.seek(SeekFrom::Start(HEADER_BYTES as u64)).map_err(io_error("can't read", &path))?;
    let mut scan = Scan { input: buffered, payload: Vec::new(), path: &path, end: file_bytes };
    let mut report = Report::nothing();
    report.bytes = HEADER_BYTES as u64;
    let mut previous = NO_PREVIOUS;
    loop {
        let (index, offset) = (report.entries, report.bytes);
        let broken = |why, tearable| Broken { index, offset, why, tearable };
        let found = if offset >= file_bytes {
            if acknowledged <= file_bytes {
                break;
            }
            Err(broken(Damage::Missing, false))
        } else {
            scan.next(offset, index)?.map_err(|(why, tearable)| broken(why, tearable))
        };
        match found {
            Ok(head) => {
                entries(&scan.payload, &head, offset, &path, &mut previous, &mut report, &mut visit)?;
                report.bytes += head.frame_bytes();
            }
            Err(b) => {
                let walk = Walk::resume(&file, &path, offset, index, None).acknowledged_to(acknowledged);
                if b.tearable && !walk.was_acknowledged(file_bytes)? {
                    report.tail_bytes = file_bytes - offset;
                    break;
                }
                return Err(corrupt(&path, b).into());
            }
        }
    }
    Ok(report)
}

struct Scan<'a> {
    input: BufReader<&'a File>,
    payload: Vec<u8>,
    path: &'a Path,
    end: u64,
}

impl Scan<'_> {
    /// The next frame, its payload in `self.payload`; or what is wrong with it, and whether a crash may
    /// have done that.
    fn next(&mut self, offset: u64, index: u64) -> Result<Result<Head, (Damage, bool)>, LedgerError> {
        if self.end - offset < HEAD_BYTES as u64 {
            return Ok(Err((Damage::Short, true)));
        }
        let mut head = [0; HEAD_BYTES];
        self.input.read_exact(&mut head).map_err(io_error("can't read", self.path))?;
        let Some(head) = Head::read(&head) else { return Ok(Err((Damage::Head, true))) };
        if offset + head.frame_bytes() > self.end {
            return Ok(Err((Damage::Short, true)));
        }
        self.payload.resize(head.payload_bytes as usize, 0);
        self.input.read_exact(&mut self.payload).map_err(io_error("can't read", self.path))?;
        if !head.fits(&self.payload) {
            return Ok(Err((Damage::Check, true)));
        }
        if head.first_index != index {
            return Ok(Err((Damage::Index, false)));
        }
        Ok(Ok(head))
    }
}

fn entries<E: From<LedgerError>>(
    payload: &[u8],
    head: &Head,
    offset: u64,
    path: &Path,
    previous: &mut Digest,
    report: &mut Report,
    visit: &mut impl FnMut(Scanned<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut rest = payload;
    for index in (head.first_index..).take(head.count as usize) {
        let damaged = |why| corrupt(path, Broken { index, offset, why, tearable: false });
        let (size, after) = rest.split_first_chunk::<4>().ok_or_else(|| damaged(Damage::Short))?;
        let size = u32::from_be_bytes(*size) as usize;
        if size > MAX_ENTRY_BYTES {
            return Err(damaged(Damage::Entry(EntryError::TooLarge { bytes: size })).into());
        }
        let (bytes, after) = after.split_at_checked(size).ok_or_else(|| damaged(Damage::Short))?;
        let outline = outline(bytes).ok_or_else(|| damaged(Damage::Entry(EntryError::Malformed)))?;
        if outline.index != index {
            return Err(damaged(Damage::Index).into());
        }
        if outline.previous != *previous {
            return Err(damaged(Damage::Chain).into());
        }
        let position = Position { index, hash: sha256(bytes) };
        *previous = position.hash;
        report.entries = index + 1;
        report.head = Some(position);
        report.first_at_ms.get_or_insert(outline.at_ms);
        report.last_at_ms = Some(outline.at_ms);
        visit(Scanned { position, at_ms: outline.at_ms, bytes })?;
        rest = after;
    }
    if rest.is_empty() {
        return Ok(());
    }
    let why = Damage::Short;
    Err(corrupt(path, Broken { index: head.first_index, offset, why, tearable: false }).into())
}
