//! From a reader to blocks of whole lines.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{BLOCK_BYTES, Findings, MAX_LINE_BYTES, Mode, Scanner, Setup};

/// Bytes done so far, for the progress bar.
#[derive(Debug, Default)]
pub struct Progress(pub AtomicU64);

impl Progress {
    /// Adds bytes.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }
}

/// Which part of a content to read: lines that begin in `start..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Offset at which the reader stands. Beyond 0 the reader begins one byte earlier.
    pub start: u64,
    /// Lines that begin here or later belong to the next segment.
    pub end: u64,
}

impl Segment {
    /// Everything.
    pub const ALL: Self = Self { start: 0, end: u64::MAX };
}

/// Scans what `reader` gives. `fed` is shown every block before it is scanned (to hash it).
///
/// An error of the reader ends the scan; what was read until then is returned with it.
pub fn scan_reader(
    setup: &Setup,
    reader: &mut dyn Read,
    mode: Mode,
    segment: Segment,
    fed: &mut dyn FnMut(&[u8]),
) -> (Findings, Option<io::Error>) {
    let mut s = Scanner::new(setup, mode);
    let mut buf = vec![0u8; BLOCK_BYTES];
    let mut have = 0usize;
    // Offset of buf's first byte.
    let mut offset = segment.start;
    let mut failure = None;
    let mut skipping = segment.start > 0;
    if skipping {
        offset -= 1;
    }
    loop {
        if have == buf.len() {
            if buf.len() < MAX_LINE_BYTES {
                buf.resize(buf.len() * 2, 0);
            } else {
                match swallow(&mut s, reader, &buf, offset, skipping, fed) {
                    Ok((next_offset, rest, ended)) => {
                        skipping = false;
                        offset = next_offset;
                        have = rest.len();
                        if let Some(place) = buf.get_mut(..have) {
                            place.copy_from_slice(&rest);
                        }
                        if ended || offset >= segment.end {
                            return (s.out, None);
                        }
                    }
                    Err(e) => return (s.out, Some(e)),
                }
            }
        }
        let free = buf.get_mut(have..).unwrap_or_default();
        let n = match reader.read(free) {
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => {
                failure = Some(e);
                0
            }
        };
        fed(free.get(..n).unwrap_or_default());
        have += n;
        let filled = buf.get(..have).unwrap_or_default();
        // Small reads are gathered: a block costs a fixed amount.
        if n > 0 && have < BLOCK_BYTES {
            continue;
        }
        let mut from = 0;
        if skipping {
            match memchr::memchr(b'\n', filled) {
                Some(i) => {
                    from = i + 1;
                    skipping = false;
                }
                None if n == 0 => return (s.out, failure),
                None => {
                    // Nothing of this is ours; keep only the place.
                    offset += have as u64;
                    have = 0;
                    continue;
                }
            }
        }
        let mut to = if n == 0 { have } else { memchr::memrchr(b'\n', filled).map_or(from, |i| i + 1) };
        let mut last = n == 0;
        if offset + from as u64 >= segment.end {
            return (s.out, failure);
        }
        if offset + (to as u64) > segment.end {
            // The line that crosses the end is ours; the next begins behind it.
            let edge = usize::try_from(segment.end - offset).unwrap_or(to).max(1) - 1;
            if let Some(i) = filled.get(edge..to).and_then(|b| memchr::memchr(b'\n', b)) {
                to = edge + i + 1;
                last = true;
            }
        }
        if to > from {
            s.block(filled.get(from..to).unwrap_or_default(), offset + from as u64);
        }
        if last {
            return (s.out, failure);
        }
        let keep_from = to.max(from);
        offset += keep_from as u64;
        buf.copy_within(keep_from..have, 0);
        have -= keep_from;
        if buf.len() > BLOCK_BYTES && have < BLOCK_BYTES / 2 {
            buf.truncate(BLOCK_BYTES);
        }
    }
}

/// Reads over the rest of a line that is longer than the buffer. Returns the
/// offset behind it, what was read beyond it, and whether the input ended.
fn swallow(
    s: &mut Scanner<'_>,
    reader: &mut dyn Read,
    beginning: &[u8],
    offset: u64,
    not_ours: bool,
    fed: &mut dyn FnMut(&[u8]),
) -> io::Result<(u64, Vec<u8>, bool)> {
    let mut bytes = beginning.len() as u64;
    let mut buf = vec![0u8; BLOCK_BYTES];
    loop {
        let n = match reader.read(&mut buf) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            r => r?,
        };
        let got = buf.get(..n).unwrap_or_default();
        fed(got);
        let end = memchr::memchr(b'\n', got);
        if n > 0 && end.is_none() {
            bytes += n as u64;
            continue;
        }
        let used = end.map_or(0, |i| i + 1);
        bytes += used as u64;
        if !not_ours {
            s.long_line(beginning.get(..64 * 1024).unwrap_or(beginning), offset, bytes);
        }
        return Ok((offset + bytes, got.get(used..).unwrap_or_default().to_vec(), n == 0));
    }
}
