//! A file as it was when it was opened: it may grow or become shorter while it is read.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use sha2::{Digest, Sha256};

use super::streams::hex;
use crate::scan::Progress;

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
