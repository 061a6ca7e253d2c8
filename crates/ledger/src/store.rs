//! The file store: one append-only file, opened by one process.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::TimeMs;

use crate::disk::{Disk, FileDisk, HEADER_BYTES, io_error, open_exclusive, sync_directory};
use crate::entry::{Body, ENTRY_VERSION, Entry, NO_PREVIOUS};
use crate::error::LedgerError;
use crate::frame::{
    Broken, FILE_MAGIC, FILE_NAME, MARK_OFFSET, Position, Record, Walk, frame, mark, read_mark, sha256,
};

/// A place in the file is remembered about every so many entries, to begin reading there.
const MARK_EVERY: u64 = 1024;

/// What opening cut off: the last write before a crash, which was never acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The index that the first lost entry had.
    pub index: u64,
    /// Where the file ends now.
    pub offset: u64,
    /// How many bytes were cut.
    pub bytes: u64,
    /// The file beside the ledger that keeps them, for whoever wants to look.
    pub kept_in: PathBuf,
}

/// The ledger, open for appending. One process has it at a time.
pub struct FileLedger {
    disk: Box<dyn Disk>,
    reader: LedgerReader,
    head: Option<Position>,
    end: u64,
    cut: Option<Cut>,
    halted: bool,
}

/// How far the ledger is durable, shared with its readers.
struct Durable {
    bytes: u64,
    entries: u64,
    /// First index and offset of a frame, ascending, [`MARK_EVERY`] apart.
    marks: Vec<(u64, u64)>,
}

impl Durable {
    fn mark(&mut self, index: u64, offset: u64) {
        if self.marks.last().is_none_or(|(last, _)| index >= last + MARK_EVERY) {
            self.marks.push((index, offset));
        }
    }
}

impl FileLedger {
    /// Opens the ledger in `dir`, making both if they are not there.
    ///
    /// Every entry is read and checked. A torn last write is cut off, kept in a file beside, and told
    /// by [`FileLedger::cut`]. What is then in the file is made durable before this returns, also what
    /// an earlier process wrote and had no answer for.
    ///
    /// # Errors
    /// [`LedgerError::Corrupt`] for damage anywhere but in a torn last write: nothing is changed then.
    /// [`LedgerError::InUse`], [`LedgerError::NotOurs`], [`LedgerError::Io`].
    pub fn open(dir: &Path) -> Result<Self, LedgerError> {
        Self::open_replaying(dir, |_| {})
    }

    /// As [`FileLedger::open`], handing each entry to `apply` in order while it is checked: the way to
    /// rebuild a state in one pass. When this fails, throw away what was built.
    ///
    /// # Errors
    /// As [`FileLedger::open`].
    pub fn open_replaying(dir: &Path, apply: impl FnMut(&Record)) -> Result<Self, LedgerError> {
        Self::open_with(dir, |file| Box::new(FileDisk(file)), apply)
    }

    /// As [`FileLedger::open_replaying`], writing through another [`Disk`] (tests let it fail).
    ///
    /// # Errors
    /// As [`FileLedger::open`].
    pub fn open_with(
        dir: &Path,
        disk: impl FnOnce(File) -> Box<dyn Disk>,
        mut apply: impl FnMut(&Record),
    ) -> Result<Self, LedgerError> {
        let (file, file_bytes) = open_exclusive(dir, FILE_NAME, FILE_MAGIC)?;
        let path = dir.join(FILE_NAME);
        let mut durable = Durable { bytes: 0, entries: 0, marks: Vec::new() };
        let mut head = None;
        let mut last_frame = HEADER_BYTES as u64;
        let acknowledged = read_mark(&file, &path)?;
        let mut walk = Walk::from_start(&file, &path, acknowledged);
        let mut cut = None;
        loop {
            let at = walk.offset;
            match walk.next_frame(file_bytes)? {
                Ok(None) => break,
                Ok(Some(records)) => {
                    last_frame = at;
                    if let Some(first) = records.first() {
                        durable.mark(first.position.index, at);
                    }
                    records.iter().for_each(&mut apply);
                    head = records.last().map(|r| r.position).or(head);
                }
                Err(broken) => {
                    if !broken.tearable || walk.was_acknowledged(file_bytes)? {
                        return Err(corrupt(&path, broken));
                    }
                    cut = Some(cut_off(dir, &file, &path, broken.index, at, file_bytes)?);
                    break;
                }
            }
        }
        let end = walk.offset;
        durable.bytes = end;
        durable.entries = walk.next_index;
        if acknowledged < end {
            settle(&file, &path, last_frame, end)?;
        }
        let reader = LedgerReader { path, durable: Arc::new(Mutex::new(durable)) };
        Ok(Self { disk: disk(file), reader, head, end, cut, halted: false })
    }

    /// The newest entry's place; `None` in a new ledger.
    #[must_use]
    pub fn head(&self) -> Option<Position> {
        self.head
    }

    /// How many entries there are, which is the next one's index.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.head.map_or(0, |h| h.index + 1)
    }

    /// What opening had to cut off.
    #[must_use]
    pub fn cut(&self) -> Option<&Cut> {
        self.cut.as_ref()
    }

    /// A reader that follows this ledger; it may be cloned and sent to other threads.
    #[must_use]
    pub fn reader(&self) -> LedgerReader {
        self.reader.clone()
    }

    /// Appends entries with these bodies, in this order: one write, one `fdatasync`. When this returns
    /// they are durable, all of them; act on them only then. A crash leaves all of them or none.
    ///
    /// # Errors
    /// [`LedgerError::Entry`] and [`LedgerError::BatchSize`] when a body can't be written: nothing was,
    /// and the ledger goes on. [`LedgerError::Io`] when the disk failed: whether the entries are there
    /// is not known, and every call after it returns [`LedgerError::Halted`] until the ledger is opened
    /// again, which finds out.
    pub fn append_batch(&mut self, bodies: Vec<Body>, at_ms: TimeMs) -> Result<Vec<Record>, LedgerError> {
        self.append_words(bodies.into_iter().map(|b| (b, None)).collect(), at_ms)
    }

    /// As [`FileLedger::append_batch`], with the numbers that core gave its words.
    ///
    /// # Errors
    /// As [`FileLedger::append_batch`].
    pub fn append_words(
        &mut self,
        bodies: Vec<(Body, Option<u64>)>,
        at_ms: TimeMs,
    ) -> Result<Vec<Record>, LedgerError> {
        if self.halted {
            return Err(LedgerError::Halted);
        }
        let first_index = self.entries();
        let mut previous = self.head.map_or(NO_PREVIOUS, |h| h.hash);
        let mut records = Vec::with_capacity(bodies.len());
        for (index, (body, word)) in (first_index..).zip(bodies) {
            let witness = body.witness();
            let entry = Entry { version: ENTRY_VERSION, index, at_ms, previous, witness, body, word };
            let bytes = entry.encode()?;
            previous = sha256(&bytes);
            records.push(Record { position: Position { index, hash: previous }, entry, bytes });
        }
        let framed = frame(first_index, records.iter().map(|r| r.bytes.as_slice()))?;
        let written = self.disk.write_at(self.end, &framed).and_then(|()| self.disk.sync());
        if let Err(e) = written {
            self.halted = true;
            return Err(io_error("can't write", &self.reader.path)(e));
        }
        let mut durable = self.reader.lock();
        durable.mark(first_index, self.end);
        self.end += framed.len() as u64;
        durable.bytes = self.end;
        durable.entries = first_index + records.len() as u64;
        drop(durable);
        // The entries are durable whether or not this mark gets through, so they are acknowledged: the
        // disk that refused it will refuse the next batch, and that one is not.
        let _ = self.disk.write_at(MARK_OFFSET, &mark(self.end));
        self.head = records.last().map(|r| r.position).or(self.head);
        Ok(records)
    }
}

impl std::fmt::Debug for FileLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileLedger")
            .field("path", &self.reader.path)
            .field("entries", &self.entries())
            .field("halted", &self.halted)
            .finish_non_exhaustive()
    }
}

pub(crate) fn corrupt(path: &Path, broken: Broken) -> LedgerError {
    LedgerError::Corrupt {
        path: path.to_owned(),
        index: broken.index,
        offset: broken.offset,
        why: broken.why,
    }
}

/// Keeps a torn tail in a file of its own, then shortens the ledger.
fn cut_off(
    dir: &Path,
    file: &File,
    path: &Path,
    index: u64,
    offset: u64,
    file_bytes: u64,
) -> Result<Cut, LedgerError> {
    let bytes = file_bytes - offset;
    let mut tail = vec![0; usize::try_from(bytes).unwrap_or(0)];
    file.read_exact_at(&mut tail, offset).map_err(io_error("can't read", path))?;
    let hash = sha256(&tail).to_string();
    // Named by content: cutting again after a crash in here writes the same file.
    let kept_in = dir.join(format!("ledger.cut-{index}-{}", hash.get(..16).unwrap_or("")));
    let keep = || -> std::io::Result<()> {
        let kept = File::create(&kept_in)?;
        kept.write_all_at(&tail, 0)?;
        kept.sync_all()
    };
    keep().map_err(io_error("can't keep the torn end in", &kept_in))?;
    sync_directory(dir)?;
    file.set_len(offset).and_then(|()| file.sync_all()).map_err(io_error("can't shorten", path))?;
    Ok(Cut { index, offset, bytes, kept_in })
}

/// Makes what was read and is not known to be acknowledged durable. An earlier process may have written the last frame and died, or had an
/// error from its sync, after which Linux forgets that the pages are dirty: they are written again.
fn settle(file: &File, path: &Path, last_frame: u64, end: u64) -> Result<(), LedgerError> {
    let mut bytes = vec![0; usize::try_from(end - last_frame).unwrap_or(0)];
    file.read_exact_at(&mut bytes, last_frame)
        .and_then(|()| file.write_all_at(&bytes, last_frame))
        .and_then(|()| file.sync_data())
        .and_then(|()| file.write_all_at(&mark(end), MARK_OFFSET))
        .map_err(io_error("can't sync", path))
}

/// Reads a ledger while it is appended to, and never past what is durable.
#[derive(Clone)]
pub struct LedgerReader {
    path: PathBuf,
    durable: Arc<Mutex<Durable>>,
}

impl LedgerReader {
    /// How many entries are durable.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.lock().entries
    }

    /// The entries from `index` on. The iterator ends where the ledger does at that moment; when it is
    /// asked again after more was appended, it goes on. After an error it ends.
    ///
    /// # Errors
    /// [`LedgerError::Io`] when the file can't be opened.
    pub fn read_from(&self, index: u64) -> Result<Entries, LedgerError> {
        let file = File::open(&self.path).map_err(io_error("can't open", &self.path))?;
        let durable = self.lock();
        let after = durable.marks.partition_point(|(first, _)| *first <= index);
        let mark = after.checked_sub(1).and_then(|n| durable.marks.get(n));
        let (next_index, offset) = mark.copied().unwrap_or((0, HEADER_BYTES as u64));
        drop(durable);
        let previous = (next_index == 0).then_some(NO_PREVIOUS);
        Ok(Entries {
            reader: self.clone(),
            file,
            from: index,
            offset,
            next_index,
            previous,
            ready: Vec::new().into_iter(),
            failed: false,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Durable> {
        // Plain numbers: there is no half-done state that a panic elsewhere could have left.
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for LedgerReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LedgerReader").field("path", &self.path).finish_non_exhaustive()
    }
}

/// See [`LedgerReader::read_from`].
#[derive(Debug)]
pub struct Entries {
    reader: LedgerReader,
    file: File,
    from: u64,
    offset: u64,
    next_index: u64,
    previous: Option<model::Digest>,
    ready: std::vec::IntoIter<Record>,
    failed: bool,
}

impl Entries {
    fn fetch(&mut self) -> Result<bool, LedgerError> {
        let end = self.reader.lock().bytes;
        let path = &self.reader.path;
        let mut walk = Walk::resume(&self.file, path, self.offset, self.next_index, self.previous);
        let records = walk.next_frame(end)?.map_err(|broken| corrupt(path, broken))?;
        (self.offset, self.next_index, self.previous) = (walk.offset, walk.next_index, walk.previous());
        let more = records.is_some();
        self.ready = records.unwrap_or_default().into_iter();
        Ok(more)
    }
}

impl Iterator for Entries {
    type Item = Result<Record, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(record) = self.ready.by_ref().find(|r| r.position.index >= self.from) {
                return Some(Ok(record));
            }
            if self.failed {
                return None;
            }
            match self.fetch() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(e) => {
                    self.failed = true;
                    return Some(Err(e));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
