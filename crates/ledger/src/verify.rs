//! Checking a ledger from outside, whether or not a vault has it open.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use model::TimeMs;

use crate::disk::{HEADER_BYTES, io_error};
use crate::error::LedgerError;
use crate::frame::{FILE_MAGIC, FILE_NAME, Position, Record, Walk, read_mark};
use crate::store::corrupt;

/// What a whole, unbroken ledger amounts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How many entries there are.
    pub entries: u64,
    /// The newest, by whose hash the whole chain is known.
    pub head: Option<Position>,
    /// When the first was written.
    pub first_at_ms: Option<TimeMs>,
    /// When the last was written.
    pub last_at_ms: Option<TimeMs>,
    /// The file's size without the tail.
    pub bytes: u64,
    /// Bytes after the last whole batch: a write that is under way, or was torn by a crash and will be
    /// cut when the vault starts. Never acknowledged.
    pub tail_bytes: u64,
}

impl Report {
    pub(crate) fn nothing() -> Self {
        Self { entries: 0, head: None, first_at_ms: None, last_at_ms: None, bytes: 0, tail_bytes: 0 }
    }
}

/// Reads the ledger in `dir` from end to end and checks each entry's form, index and place in the
/// chain. Keeps one batch in memory.
///
/// # Errors
/// [`LedgerError::Corrupt`] names the first entry that is wrong, [`LedgerError::NotOurs`] another kind
/// of file, [`LedgerError::Io`] a file that can't be read.
pub fn verify(dir: &Path) -> Result<Report, LedgerError> {
    replay(dir, |_| {})
}

/// As [`verify`], handing each entry to `visit` as it is found right.
///
/// # Errors
/// As [`verify`].
pub fn replay(dir: &Path, mut visit: impl FnMut(&Record)) -> Result<Report, LedgerError> {
    let path = dir.join(FILE_NAME);
    let file = File::open(&path).map_err(io_error("can't open", &path))?;
    let mut header = [0; HEADER_BYTES];
    if file.read_exact_at(&mut header, 0).is_err() || !header.starts_with(FILE_MAGIC) {
        return Err(LedgerError::NotOurs { path });
    }
    // The mark first: a vault that appends meanwhile moves the end before it moves the mark.
    let acknowledged = read_mark(&file, &path)?;
    let file_bytes = file.metadata().map_err(io_error("can't read", &path))?.len();
    let mut report = Report::nothing();
    let mut walk = Walk::from_start(&file, &path, acknowledged);
    loop {
        match walk.next_frame(file_bytes)? {
            Ok(None) => break,
            Ok(Some(records)) => {
                for record in &records {
                    report.first_at_ms.get_or_insert(record.entry.at_ms);
                    report.last_at_ms = Some(record.entry.at_ms);
                    report.head = Some(record.position);
                    visit(record);
                }
            }
            Err(broken) if broken.tearable && !walk.was_acknowledged(file_bytes)? => {
                report.tail_bytes = file_bytes - walk.offset;
                break;
            }
            Err(broken) => return Err(corrupt(&path, broken)),
        }
    }
    report.entries = walk.next_index;
    report.bytes = walk.offset;
    Ok(report)
}
