//! Readers around readers: bounded, read ahead by a thread, hashed, from UTF-16.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use sha2::{Digest, Sha256};

/// Bytes that the reading-ahead thread hands over at a time.
const BLOCK_BYTES: usize = 512 * 1024;
/// So many of them wait.
const BLOCKS_AHEAD: usize = 8;

/// Stops a decompressor that gives more than was allowed.
pub(super) struct Limited<R> {
    pub(super) inner: R,
    pub(super) left: u64,
    pub(super) of: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other(format!(
                "it unpacks to more than {} bytes, far more than a log of its size would (a bomb?); raise --max-unpacked if it is right",
                self.of
            )));
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let n = self.inner.read(buf.get_mut(..most).unwrap_or_default())?;
        self.left -= n as u64;
        Ok(n)
    }
}

/// Runs `f` on a reader that another thread fills.
pub(super) fn with_readahead<R: Read + Send, T>(
    reader: &mut R,
    f: impl FnOnce(&mut (dyn Read + Send)) -> T,
) -> T {
    std::thread::scope(|scope| {
        let (send, receive) = sync_channel::<io::Result<Vec<u8>>>(BLOCKS_AHEAD);
        // Blocks come back, so that memory is asked for once.
        let (give_back, used) = sync_channel::<Vec<u8>>(BLOCKS_AHEAD + 2);
        scope.spawn(move || {
            loop {
                let mut block = used.try_recv().unwrap_or_default();
                block.resize(BLOCK_BYTES, 0);
                let mut have = 0;
                let end = loop {
                    let Some(free) = block.get_mut(have..).filter(|b| !b.is_empty()) else { break None };
                    match reader.read(free) {
                        Ok(0) => break Some(None),
                        Ok(n) => have += n,
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                        Err(e) => break Some(Some(e)),
                    }
                };
                block.truncate(have);
                if have > 0 && send.send(Ok(block)).is_err() {
                    return;
                }
                match end {
                    None => {}
                    Some(None) => return,
                    Some(Some(e)) => {
                        let _ = send.send(Err(e));
                        return;
                    }
                }
            }
        });
        f(&mut Received { from: receive, give_back, block: Vec::new(), at: 0 })
    })
}

struct Received {
    from: Receiver<io::Result<Vec<u8>>>,
    give_back: SyncSender<Vec<u8>>,
    block: Vec<u8>,
    at: usize,
}

impl Read for Received {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.block.len() {
            match self.from.recv() {
                Ok(Ok(b)) => {
                    let _ = self.give_back.try_send(std::mem::replace(&mut self.block, b));
                    self.at = 0;
                }
                Ok(Err(e)) => return Err(e),
                Err(_) => return Ok(0),
            }
        }
        let have = self.block.get(self.at..).unwrap_or_default();
        let n = have.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..n), have.get(..n)) {
            to.copy_from_slice(from);
        }
        self.at += n;
        Ok(n)
    }
}

/// Counts and, if asked, hashes what passes.
pub(super) struct Hashed<'a> {
    inner: &'a mut (dyn Read + Send),
    hash: Option<Sha256>,
    bytes: u64,
    fault: Option<io::Error>,
}

impl<'a> Hashed<'a> {
    pub(super) fn new(inner: &'a mut (dyn Read + Send), hash: bool) -> Self {
        Self { inner, hash: hash.then(Sha256::new), bytes: 0, fault: None }
    }

    pub(super) fn take_error(&mut self) -> Option<io::Error> {
        let mut b = [0u8; 1];
        self.read(&mut b).err()
    }

    /// Reads what was left unread, so that the digest is that of all of it.
    pub(super) fn finish(mut self) -> (u64, Option<String>, Option<io::Error>) {
        if self.fault.is_none() {
            let mut buf = vec![0u8; 1 << 16];
            loop {
                match self.read(&mut buf) {
                    Ok(0) => break,
                    Err(e) if e.kind() != io::ErrorKind::Interrupted => break,
                    _ => {}
                }
            }
        }
        // Of a content that could not be read to its end there is no digest.
        let digest = if self.fault.is_some() { None } else { self.hash.map(|h| hex(&h.finalize())) };
        (self.bytes, digest, self.fault)
    }
}

impl Read for Hashed<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buf) {
            Ok(n) => {
                self.bytes += n as u64;
                if let Some(h) = &mut self.hash {
                    h.update(buf.get(..n).unwrap_or_default());
                }
                Ok(n)
            }
            Err(e) => {
                if e.kind() != io::ErrorKind::Interrupted {
                    self.fault = Some(io::Error::new(e.kind(), e.to_string()));
                }
                Err(e)
            }
        }
    }
}

/// Bytes as lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

/// UTF-16 to UTF-8; what is not a character becomes U+FFFD.
pub(super) struct Utf16<'a> {
    inner: &'a mut (dyn Read + Send),
    little: bool,
    out: Vec<u8>,
    at: usize,
    odd: Option<u8>,
    high: Option<u16>,
}

impl<'a> Utf16<'a> {
    pub(super) fn new(inner: &'a mut (dyn Read + Send), little: bool) -> Self {
        Self { inner, little, out: Vec::new(), at: 0, odd: None, high: None }
    }
}

impl Read for Utf16<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.at >= self.out.len() {
            let mut raw = [0u8; 32 * 1024];
            let n = self.inner.read(&mut raw)?;
            if n == 0 {
                return Ok(0);
            }
            self.out.clear();
            self.at = 0;
            let mut units: Vec<u16> = self.high.take().into_iter().collect();
            for b in raw.get(..n).unwrap_or_default() {
                match self.odd.take() {
                    None => self.odd = Some(*b),
                    Some(a) if self.little => units.push(u16::from_le_bytes([a, *b])),
                    Some(a) => units.push(u16::from_be_bytes([a, *b])),
                }
            }
            if units.last().is_some_and(|u| (0xD800..0xDC00).contains(u)) {
                self.high = units.pop();
            }
            for c in char::decode_utf16(units) {
                let c = c.unwrap_or(char::REPLACEMENT_CHARACTER);
                if c != '\u{feff}' {
                    let mut b = [0u8; 4];
                    self.out.extend_from_slice(c.encode_utf8(&mut b).as_bytes());
                }
            }
        }
        let have = self.out.get(self.at..).unwrap_or_default();
        let n = have.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..n), have.get(..n)) {
            to.copy_from_slice(from);
        }
        self.at += n;
        Ok(n)
    }
}
