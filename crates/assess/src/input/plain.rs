//! A large file that is only lines: several threads, segment by segment.
//!
//! With hashing, one thread hashes while another scans; without, two scan.
//! Results are joined in the file's order, so the number of threads is never seen.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use super::unpack::hex;
use crate::scan::{Findings, Mode, Progress, Segment, Setup, scan_reader};

/// Bytes of one segment.
const SEGMENT_BYTES: u64 = 32 << 20;

/// Reads `file`'s first `len` bytes from an offset on, for itself.
pub(super) struct Part<'a> {
    file: &'a File,
    at: u64,
    len: u64,
    progress: Option<&'a Progress>,
}

impl<'a> Part<'a> {
    pub(super) fn new(file: &'a File, at: u64, len: u64, progress: Option<&'a Progress>) -> Self {
        Self { file, at, len, progress }
    }
}

impl Read for Part<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.len.saturating_sub(self.at)).unwrap_or(usize::MAX).min(buf.len());
        if most == 0 {
            return Ok(0);
        }
        let n = self.file.read_at(buf.get_mut(..most).unwrap_or_default(), self.at)?;
        if n == 0 {
            return Err(super::tar::cut(format!(
                "the file became shorter while it was read ({} of {} bytes)",
                self.at, self.len
            )));
        }
        self.at += n as u64;
        if let Some(p) = self.progress {
            p.add(n as u64);
        }
        Ok(n)
    }
}

/// The digest of the first `len` bytes.
pub(super) fn sha256(file: &File, len: u64) -> io::Result<String> {
    let mut h = Sha256::new();
    let mut part = Part::new(file, 0, len, None);
    let mut buf = vec![0u8; 256 * 1024];
    loop {
        match part.read(&mut buf)? {
            0 => return Ok(hex(&h.finalize())),
            n => h.update(buf.get(..n).unwrap_or_default()),
        }
    }
}

/// Findings of all segments joined, their first fault, and the digest if asked for.
pub(super) struct Outcome {
    pub(super) findings: Findings,
    pub(super) fault: Option<io::Error>,
    pub(super) sha256: Option<String>,
}

/// Scans a file of `len` bytes.
pub(super) fn scan(
    setup: &Setup,
    file: &File,
    len: u64,
    mode: Mode,
    hash: bool,
    threads: usize,
    progress: &Progress,
) -> Outcome {
    let scanners = if hash { threads.saturating_sub(1).max(1) } else { threads.max(1) };
    let next = AtomicU64::new(0);
    let joined = Mutex::new(Joined::default());
    let mut digest = None;
    std::thread::scope(|scope| {
        let (next, joined) = (&next, &joined);
        let work = move || {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let start = n * SEGMENT_BYTES;
                if start >= len {
                    return;
                }
                let segment = Segment {
                    start,
                    end: if start + SEGMENT_BYTES >= len { u64::MAX } else { start + SEGMENT_BYTES },
                };
                let mut part = Part::new(file, start.saturating_sub(1), len, Some(progress));
                let (f, e) = scan_reader(setup, &mut part, mode, segment, &mut |_| {});
                if let Ok(mut j) = joined.lock() {
                    j.add(n, f, e);
                }
            }
        };
        // Hashing is done before scanning is: its thread then helps.
        let hasher = (hash && threads > 1).then(|| {
            scope.spawn(move || {
                let digest = sha256(file, len);
                work();
                digest
            })
        });
        let others: Vec<_> = (1..scanners).map(|_| scope.spawn(work)).collect();
        work();
        for o in others {
            let _ = o.join();
        }
        digest = match hasher {
            Some(h) => h.join().ok().and_then(Result::ok),
            None if hash => sha256(file, len).ok(),
            None => None,
        };
    });
    let j = joined.into_inner().unwrap_or_default();
    Outcome { findings: j.findings, fault: j.fault, sha256: digest }
}

/// Joins segments in order, as early as it can.
#[derive(Default)]
struct Joined {
    findings: Findings,
    done: u64,
    waiting: BTreeMap<u64, Findings>,
    fault: Option<io::Error>,
}

impl Joined {
    fn add(&mut self, n: u64, f: Findings, e: Option<io::Error>) {
        self.fault = self.fault.take().or(e);
        self.waiting.insert(n, f);
        while let Some(f) = self.waiting.remove(&self.done) {
            self.findings.append(f);
            self.done += 1;
        }
    }
}
