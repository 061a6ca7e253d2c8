//! From a reader to findings: one thread reads (unpacks, hashes), others scan what it read.
//!
//! The reader is cut into chunks of whole lines, always at the same places, and what is found in them
//! is joined in their order: the number of threads is never seen. When the scanners fall behind, the
//! reading thread scans a chunk itself, so that no core waits while there is work.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::{BLOCK_BYTES, Findings, MAX_LINE_BYTES, Mode, Scanner, Setup};
use crate::line::{self, Columns};

/// Bytes of one chunk.
pub const CHUNK_BYTES: usize = 4 << 20;
/// Of a line that is too long, so many bytes are read.
const BEGINNING_BYTES: usize = 64 * 1024;
/// Chunks that wait to be scanned.
const WAITING: usize = 3;
/// Chunks by which one thread may be ahead of another, since what was found in them is held.
const MAX_AHEAD: u64 = 16;

/// Bytes done so far, for the progress bar.
#[derive(Debug, Default)]
pub struct Progress(pub AtomicU64);

impl Progress {
    /// Adds bytes.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }
}

/// Scans what `reader` gives, with so many threads (this one among them).
///
/// An error of the reader ends the scan; what was read until then is returned with it.
pub fn scan_reader(
    setup: &Setup,
    reader: &mut (dyn Read + Send),
    mode: Mode,
    threads: usize,
) -> (Findings, Option<io::Error>) {
    scan_chunks(setup, reader, mode, threads, CHUNK_BYTES)
}

/// The same in chunks of another size (longer than [`MAX_LINE_BYTES`]).
pub(crate) fn scan_chunks(
    setup: &Setup,
    reader: &mut (dyn Read + Send),
    mode: Mode,
    threads: usize,
    chunk_bytes: usize,
) -> (Findings, Option<io::Error>) {
    let mut cutter = Cutter::new(reader, mode, chunk_bytes.max(MAX_LINE_BYTES + 1));
    let mut own = Scanner::new(setup, mode);
    let mut findings = Findings::default();
    let first = cutter.next(Vec::new());
    if threads < 2 || cutter.ended {
        let mut next = first;
        while let Some(chunk) = next {
            let (found, buffer) = scan(&mut own, chunk);
            findings.append(found);
            next = cutter.next(buffer);
        }
        return (findings, cutter.failure);
    }
    let work = Work::default();
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| {
                let _watch = Watch(&work);
                let mut scanner = Scanner::new(setup, mode);
                while let Some(chunk) = work.take() {
                    let index = chunk.index;
                    let (found, buffer) = scan(&mut scanner, chunk);
                    work.done(index, found, buffer);
                }
            });
        }
        let mut next = first;
        while let Some(chunk) = next {
            if let Some(waited) = work.give(chunk) {
                let index = waited.index;
                let (found, buffer) = scan(&mut own, waited);
                work.done(index, found, buffer);
            }
            next = cutter.next(work.buffer());
        }
        work.close();
        while let Some(chunk) = work.take() {
            let index = chunk.index;
            let (found, buffer) = scan(&mut own, chunk);
            work.done(index, found, buffer);
        }
    });
    let state = work.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    (state.findings, cutter.failure)
}

/// A piece of the content.
struct Chunk {
    /// Its place among the others.
    index: u64,
    /// The buffer; the first `len` bytes of it are whole lines.
    buffer: Vec<u8>,
    len: usize,
    /// Offset of its first byte.
    offset: u64,
    /// What the last header before it says.
    columns: Option<Columns>,
    /// It is the beginning of one line of so many bytes.
    long: Option<u64>,
}

/// Cuts a reader into chunks.
struct Cutter<'a> {
    reader: &'a mut (dyn Read + Send),
    text: bool,
    chunk_bytes: usize,
    index: u64,
    offset: u64,
    columns: Option<Columns>,
    /// Read, and part of the next chunk.
    carry: Vec<u8>,
    ended: bool,
    failure: Option<io::Error>,
}

impl<'a> Cutter<'a> {
    fn new(reader: &'a mut (dyn Read + Send), mode: Mode, chunk_bytes: usize) -> Self {
        Self {
            reader,
            text: mode == Mode::Text,
            chunk_bytes,
            index: 0,
            offset: 0,
            columns: None,
            carry: Vec::new(),
            ended: false,
            failure: None,
        }
    }

    /// Reads on; 0 at the end, and at an error, which is kept.
    fn read(&mut self, into: &mut [u8]) -> usize {
        loop {
            match self.reader.read(into) {
                Ok(n) => return n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.failure = Some(e);
                    return 0;
                }
            }
        }
    }

    /// The next chunk, in a buffer that is no longer used.
    fn next(&mut self, mut buffer: Vec<u8>) -> Option<Chunk> {
        if self.ended {
            return None;
        }
        let carried = std::mem::take(&mut self.carry);
        let mut have = carried.len();
        // A small content needs no large buffer: it grows with what comes.
        let least = if self.index == 0 { BLOCK_BYTES } else { self.chunk_bytes };
        if buffer.len() < least {
            buffer.resize(least, 0);
        }
        if let Some(place) = buffer.get_mut(..have) {
            place.copy_from_slice(&carried);
        }
        while have < self.chunk_bytes && !self.ended {
            if have == buffer.len() {
                buffer.resize((have * 4).min(self.chunk_bytes), 0);
            }
            let to = buffer.len().min(self.chunk_bytes);
            match self.read(buffer.get_mut(have..to).unwrap_or_default()) {
                0 => self.ended = true,
                n => have += n,
            }
        }
        let filled = buffer.get(..have).unwrap_or_default();
        let cut = if self.ended { Some(have) } else { memchr::memrchr(b'\n', filled).map(|i| i + 1) };
        let Some(len) = cut else { return Some(self.long_line(buffer, have)) };
        if len == 0 {
            return None;
        }
        self.carry = buffer.get(len..have).unwrap_or_default().to_vec();
        let columns = self.columns.clone();
        if self.text
            && let Some(at) = last_header(buffer.get(..len).unwrap_or_default())
        {
            self.columns = Columns::read_at(buffer.get(..len).unwrap_or_default(), at);
        }
        Some(self.chunk(buffer, len, columns, None, len as u64))
    }

    fn chunk(
        &mut self,
        buffer: Vec<u8>,
        len: usize,
        columns: Option<Columns>,
        long: Option<u64>,
        bytes: u64,
    ) -> Chunk {
        let chunk = Chunk { index: self.index, buffer, len, offset: self.offset, columns, long };
        self.index += 1;
        self.offset += bytes;
        chunk
    }

    /// The line that fills the whole buffer: its rest is passed over.
    fn long_line(&mut self, buffer: Vec<u8>, have: usize) -> Chunk {
        let mut bytes = have as u64;
        let mut rest = vec![0u8; BLOCK_BYTES];
        while !self.ended {
            let n = self.read(&mut rest);
            let got = rest.get(..n).unwrap_or_default();
            if n == 0 {
                self.ended = true;
            } else if let Some(end) = memchr::memchr(b'\n', got) {
                bytes += end as u64 + 1;
                self.carry = got.get(end + 1..).unwrap_or_default().to_vec();
                break;
            } else {
                bytes += n as u64;
            }
        }
        let columns = self.columns.clone();
        self.chunk(buffer, BEGINNING_BYTES.min(have), columns, Some(bytes), bytes)
    }
}

/// Where the last header that names columns begins.
fn last_header(lines: &[u8]) -> Option<usize> {
    memchr::memrchr_iter(b'#', lines).find(|at| {
        (*at == 0 || lines.get(at - 1) == Some(&b'\n')) && lines.get(*at..).is_some_and(line::is_header)
    })
}

/// Scans a chunk; its buffer can be used again.
fn scan(scanner: &mut Scanner<'_>, chunk: Chunk) -> (Findings, Vec<u8>) {
    let Chunk { buffer, len, offset, columns, long, .. } = chunk;
    scanner.segment(columns);
    let lines = buffer.get(..len).unwrap_or_default();
    match long {
        Some(bytes) => scanner.long_line(lines, offset, bytes),
        None => blocks(scanner, lines, offset),
    }
    (scanner.segment(None), buffer)
}

/// Blocks of whole lines, each as small as fits the cache.
fn blocks(scanner: &mut Scanner<'_>, lines: &[u8], offset: u64) {
    let mut at = 0;
    while let Some(rest) = lines.get(at..).filter(|r| !r.is_empty()) {
        let near = rest.get(..BLOCK_BYTES).unwrap_or(rest);
        let whole = if near.len() == rest.len() {
            rest.len()
        } else if let Some(i) = memchr::memrchr(b'\n', near) {
            i + 1
        } else {
            memchr::memchr(b'\n', rest).map_or(rest.len(), |i| i + 1)
        };
        let block = rest.get(..whole).unwrap_or_default();
        let begins = offset + at as u64;
        if whole > MAX_LINE_BYTES {
            scanner.long_line(block.get(..BEGINNING_BYTES).unwrap_or(block), begins, whole as u64);
        } else {
            scanner.block(block, begins);
        }
        at += whole;
    }
}

/// Chunks on their way from the reading thread to the scanning ones, and what came of them.
#[derive(Default)]
struct Work {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Chunk>,
    buffers: Vec<Vec<u8>>,
    closed: bool,
    /// A scanning thread panicked: the scope passes that on.
    lost: bool,
    findings: Findings,
    /// Chunks joined.
    joined: u64,
    /// Findings of chunks whose predecessors are still being scanned.
    ahead: BTreeMap<u64, Findings>,
}

/// Wakes those who would wait for a thread that panicked.
struct Watch<'a>(&'a Work);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().lost = true;
            self.0.changed.notify_all();
        }
    }
}

impl Work {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a chunk over. When enough are waiting, the oldest of them is given back to be scanned here.
    fn give(&self, chunk: Chunk) -> Option<Chunk> {
        let mut state = self.lock();
        // The chunk that all wait for is being scanned, or is the oldest that waits: it ends.
        while chunk.index >= state.joined + MAX_AHEAD && !state.lost {
            state = self.wait(state);
        }
        state.waiting.push_back(chunk);
        let back = if state.waiting.len() > WAITING { state.waiting.pop_front() } else { None };
        drop(state);
        self.changed.notify_all();
        back
    }

    /// The next chunk to scan; `None` when there are no more.
    fn take(&self) -> Option<Chunk> {
        let mut state = self.lock();
        loop {
            if let Some(chunk) = state.waiting.pop_front() {
                return Some(chunk);
            }
            if state.closed {
                return None;
            }
            state = self.wait(state);
        }
    }

    fn done(&self, index: u64, found: Findings, buffer: Vec<u8>) {
        let mut guard = self.lock();
        let state = &mut *guard;
        state.ahead.insert(index, found);
        while let Some(next) = state.ahead.remove(&state.joined) {
            state.findings.append(next);
            state.joined += 1;
        }
        state.buffers.push(buffer);
        drop(guard);
        self.changed.notify_all();
    }

    fn buffer(&self) -> Vec<u8> {
        self.lock().buffers.pop().unwrap_or_default()
    }

    fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::{Plan, setup_for, write};
    use crate::finding::Layout;

    /// Gives few bytes at a time, differently each time, and an error at the end if wanted.
    struct Dribble<'a> {
        bytes: &'a [u8],
        step: usize,
        fails: bool,
    }

    impl Read for Dribble<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.step = self.step * 7 % 99_991 + 1;
            let n = self.step.min(buf.len()).min(self.bytes.len());
            if n == 0 && self.fails {
                return Err(io::Error::other("torn"));
            }
            buf[..n].copy_from_slice(&self.bytes[..n]);
            self.bytes = &self.bytes[n..];
            Ok(n)
        }
    }

    fn same(a: &Findings, b: &Findings) {
        assert_eq!((a.lines, a.bytes, a.headers), (b.lines, b.bytes, b.headers));
        assert_eq!(a.hits.lines, b.hits.lines);
        assert_eq!(a.hits.counts, b.hits.counts);
        assert_eq!(a.hours, b.hours);
        assert_eq!(a.unreadable, b.unreadable);
        assert_eq!((a.first_ms, a.last_ms), (b.first_ms, b.last_ms));
    }

    #[test]
    fn a_corpus_gives_the_same_findings_by_any_number_of_threads_in_any_chunks_and_reads() {
        for layout in [Layout::EpmmAccess, Layout::W3c] {
            let plan = Plan { bytes: 9_000_000, one_in: 200, layout, ..Plan::default() };
            let setup = setup_for(&plan).unwrap();
            let mut text = Vec::new();
            write(&plan, &mut text).unwrap();
            let (whole, e) = scan_chunks(&setup, &mut text.as_slice(), Mode::Text, 1, usize::MAX / 2);
            assert!(e.is_none() && whole.hits.total > 100);
            // Directives above a header belong to no hour.
            let timeless = if whole.headers > 0 { 3 } else { 0 };
            assert_eq!(whole.hours.values().sum::<u64>() + timeless, whole.lines);
            for (threads, chunk) in [(1, CHUNK_BYTES), (2, CHUNK_BYTES), (2, 1 << 20), (5, 1_200_000)] {
                let mut reader = Dribble { bytes: &text, step: threads, fails: false };
                same(&whole, &scan_chunks(&setup, &mut reader, Mode::Text, threads, chunk).0);
            }
            let of = |threads| {
                let mut reader = Dribble { bytes: &text, step: 3, fails: true };
                let (f, e) = scan_chunks(&setup, &mut reader, Mode::Text, threads, CHUNK_BYTES);
                assert_eq!(e.unwrap().to_string(), "torn");
                same(&whole, &f);
                format!("{f:?}")
            };
            // Samples, assets and all: only where the chunks are cut the same.
            let (one, many) = (of(1), of(4));
            assert_eq!(one.len(), many.len());
        }
    }

    #[test]
    fn lines_longer_than_any_are_named_and_what_stands_around_them_is_read() {
        let setup = setup_for(&Plan::default()).unwrap();
        let hit = b"203.0.113.7:1 - - 2025-05-16--03-01-36 \"GET /mifs/rs/api/v2/featureusage?format=INERT HTTP/1.1\" 400 168 \"-\" \"UA\" 9\n";
        for long in [MAX_LINE_BYTES - 1, MAX_LINE_BYTES, 3 << 20, 9 << 20] {
            let mut text = hit.to_vec();
            text.extend(std::iter::repeat_n(b'x', long));
            text.push(b'\n');
            text.extend_from_slice(hit);
            let offset = (hit.len() + long + 1) as u64;
            for threads in [1, 3] {
                let (f, _) = scan_chunks(&setup, &mut text.as_slice(), Mode::Text, threads, CHUNK_BYTES);
                let at: Vec<_> = f.hits.lines.iter().map(|h| (h.line, h.offset)).collect();
                assert_eq!(at, [(1, 0), (3, offset)], "{long}");
                assert_eq!((f.lines, f.bytes), (3, text.len() as u64));
                assert_eq!(f.unreadable.len(), usize::from(long >= MAX_LINE_BYTES), "{long}");
            }
        }
    }
}
