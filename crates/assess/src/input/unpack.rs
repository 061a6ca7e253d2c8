//! Decompressors and archives, within an allowance.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::sync::mpsc::{Receiver, sync_channel};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::sniff::Shape;
use super::{Allowance, Content, Reading, tar};
use crate::finding::{InputKind, ReadState};
use crate::fold::inert;

/// Largest JSON document that is read as one.
const MAX_DOCUMENT_BYTES: u64 = 16 << 20;
/// Most members of a zip.
const MAX_ZIP_MEMBERS: u64 = 50_000;
/// Memory that one decompressor may ask for.
const MAX_WINDOW_LOG: u32 = 26;

impl Reading<'_> {
    pub(super) fn unpack(
        &mut self,
        i: usize,
        shape: Shape,
        reader: &mut (dyn Read + Send),
        depth: u8,
        allowance: &mut Allowance,
    ) {
        let outcome = match shape {
            Shape::Tar => self.tar(i, reader, depth, allowance),
            Shape::Zip => self.zip_spooled(i, reader, depth, allowance),
            Shape::Gzip => self.single(
                i,
                flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(1 << 16, &mut *reader)),
                depth,
                allowance,
            ),
            Shape::Bzip2 => self.single(i, bzip2::read::MultiBzDecoder::new(&mut *reader), depth, allowance),
            Shape::Xz => match liblzma::stream::Stream::new_stream_decoder(
                1 << (MAX_WINDOW_LOG + 1),
                liblzma::stream::CONCATENATED,
            ) {
                Ok(s) => {
                    self.single(i, liblzma::read::XzDecoder::new_stream(&mut *reader, s), depth, allowance)
                }
                Err(e) => Err(io::Error::other(e)),
            },
            Shape::Zstd => match zstd::stream::read::Decoder::new(&mut *reader) {
                Ok(mut d) => {
                    d.window_log_max(MAX_WINDOW_LOG).and_then(|()| self.single(i, d, depth, allowance))
                }
                Err(e) => Err(e),
            },
            _ => Ok(()),
        };
        if let Err(e) = outcome
            && let Some(c) = self.at(i)
        {
            let whole = matches!(c.state, ReadState::Whole);
            if whole {
                c.state = ReadState::Part(format!("unpacked in part: {e}"));
            }
        }
    }

    /// One compressed content.
    fn single(
        &mut self,
        i: usize,
        decoder: impl Read + Send,
        depth: u8,
        allowance: &mut Allowance,
    ) -> io::Result<()> {
        let outer = self.contents.get(i).map(|c| c.name.clone()).unwrap_or_default();
        let last = outer.rsplit('/').next().unwrap_or(&outer);
        let inner = [".gz", ".zst", ".xz", ".bz2", ".tgz", ".txz"]
            .iter()
            .find_map(|e| {
                last.strip_suffix(e)
                    .map(|b| if e.starts_with(".t") { format!("{b}.tar") } else { b.to_owned() })
            })
            .filter(|b| !b.is_empty())
            .unwrap_or_else(|| "(content)".into());
        let Some(member) = self.add(Content::new(format!("{outer}!/{inner}"), Some(i))) else {
            return Ok(());
        };
        let start = allowance.unpacked;
        let mut limited = Limited { inner: decoder, left: start, of: allowance.of };
        if depth == 0 {
            // The decompressor gets a thread of its own.
            let left = with_readahead(&mut limited, |r| {
                let mut own = Allowance { unpacked: start, of: allowance.of };
                self.content(member, r, depth + 1, &mut own, true);
                own.unpacked
            });
            allowance.unpacked = left.min(limited.left);
        } else {
            let mut own = Allowance { unpacked: start, of: allowance.of };
            self.content(member, &mut limited, depth + 1, &mut own, true);
            allowance.unpacked = own.unpacked.min(limited.left);
        }
        let part = self.contents.get(member).map(|c| c.state.clone());
        if let (Some(ReadState::Part(why) | ReadState::NotRead(why)), Some(c)) = (part, self.at(i)) {
            c.state = ReadState::Part(format!("its content was read in part: {why}"));
        }
        Ok(())
    }

    fn tar(
        &mut self,
        i: usize,
        reader: &mut (dyn Read + Send),
        depth: u8,
        allowance: &mut Allowance,
    ) -> io::Result<()> {
        let outer = self.contents.get(i).map(|c| c.name.clone()).unwrap_or_default();
        let mut links = 0u64;
        let end = tar::walk(reader, &mut |m, body| {
            match m.kind {
                tar::Kind::Folder => return Ok(true),
                tar::Kind::Link | tar::Kind::Other => {
                    links += 1;
                    return Ok(true);
                }
                tar::Kind::File => {}
            }
            let name = m.name.get(..1024).unwrap_or(&m.name);
            let Some(member) = self.add(Content::new(format!("{outer}!/{}", inert(name)), Some(i))) else {
                return Ok(false);
            };
            if let Some(c) = self.at(member)
                && name.split(|b| *b == b'/').any(|s| s == b"..")
            {
                c.remarks.push(
                    "Its name climbs out of the archive (`..`); it was read in place, nothing was written."
                        .into(),
                );
            }
            self.content(member, body, depth + 1, allowance, true);
            Ok(true)
        });
        if links > 0
            && let Some(c) = self.at(i)
        {
            c.remarks.push(format!(
                "{links} link(s), device(s) or special member(s) were named but not followed."
            ));
        }
        end
    }

    /// A zip needs to be read from its end: one that comes as a stream is laid into an unnamed temporary file.
    fn zip_spooled(
        &mut self,
        i: usize,
        reader: &mut (dyn Read + Send),
        depth: u8,
        allowance: &mut Allowance,
    ) -> io::Result<()> {
        let mut spool = tempfile::tempfile()?;
        let copied = io::copy(&mut reader.take(allowance.of), &mut spool)?;
        if copied == allowance.of {
            return Err(io::Error::other(format!("larger than {copied} bytes")));
        }
        spool.flush()?;
        self.zip(i, spool, depth, allowance)
    }

    pub(super) fn zip(
        &mut self,
        i: usize,
        mut file: File,
        depth: u8,
        allowance: &mut Allowance,
    ) -> io::Result<()> {
        let claimed = zip_members(&mut file)?;
        if claimed > MAX_ZIP_MEMBERS {
            return Err(io::Error::other(format!(
                "a zip with {claimed} members; at most {MAX_ZIP_MEMBERS} are read"
            )));
        }
        let outer = self.contents.get(i).map(|c| c.name.clone()).unwrap_or_default();
        let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(io::Error::other)?;
        for n in 0..archive.len() {
            let label = archive
                .name_for_index(n)
                .and_then(Result::ok)
                .map_or_else(|| "(unreadable name)".to_owned(), |s| s.chars().take(1024).collect());
            let opened = archive.by_index(n);
            if opened.as_ref().is_ok_and(|f| f.is_dir()) {
                continue;
            }
            let Some(member) =
                self.add(Content::new(format!("{outer}!/{}", inert(label.as_bytes())), Some(i)))
            else {
                return Ok(());
            };
            match opened {
                Ok(f) if f.is_symlink() => {
                    if let Some(c) = self.at(member) {
                        c.state = ReadState::NotALog("a link; it was not followed".into());
                    }
                }
                Ok(mut f) => {
                    let mut limited = Limited { inner: &mut f, left: allowance.unpacked, of: allowance.of };
                    let mut own = Allowance { unpacked: allowance.unpacked, of: allowance.of };
                    let mut sent = ReadAll(&mut limited);
                    self.content(member, &mut sent, depth + 1, &mut own, true);
                    allowance.unpacked = own.unpacked.min(limited.left);
                }
                Err(e) => {
                    if let Some(c) = self.at(member) {
                        c.state = ReadState::NotRead(format!("this member can't be opened: {e}"));
                    }
                }
            }
        }
        Ok(())
    }
}

struct ReadAll<'a, R>(&'a mut R);

impl<R: Read> Read for ReadAll<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

/// The number of members that a zip claims at its end (65,535 stands for "more").
fn zip_members(file: &mut File) -> io::Result<u64> {
    let len = file.seek(SeekFrom::End(0))?;
    let tail = len.min(66_000);
    file.seek(SeekFrom::Start(len - tail))?;
    let mut end = Vec::new();
    file.take(tail).read_to_end(&mut end)?;
    file.seek(SeekFrom::Start(0))?;
    let at = memchr::memmem::rfind(&end, b"PK\x05\x06")
        .ok_or_else(|| tar::cut("the zip has no directory at its end (cut off?)".into()))?;
    let number = |at: usize, n: usize| {
        end.get(at..at + n).unwrap_or_default().iter().rev().fold(0u64, |x, b| (x << 8) | u64::from(*b))
    };
    let short = number(at + 10, 2);
    if short < 65_535 {
        return Ok(short);
    }
    Ok(memchr::memmem::rfind(&end, b"PK\x06\x06").map_or(short, |z| number(z + 32, 8)))
}

/// Stops a decompressor that gives more than was allowed.
struct Limited<R> {
    inner: R,
    left: u64,
    of: u64,
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
fn with_readahead<R: Read + Send, T>(reader: &mut R, f: impl FnOnce(&mut (dyn Read + Send)) -> T) -> T {
    std::thread::scope(|scope| {
        let (send, receive) = sync_channel::<io::Result<Vec<u8>>>(4);
        scope.spawn(move || {
            loop {
                let mut block = vec![0u8; 128 * 1024];
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
        f(&mut Received { from: receive, block: Vec::new(), at: 0 })
    })
}

struct Received {
    from: Receiver<io::Result<Vec<u8>>>,
    block: Vec<u8>,
    at: usize,
}

impl Read for Received {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.block.len() {
            match self.from.recv() {
                Ok(Ok(b)) => {
                    self.block = b;
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

/// Objects of a JSON document, one a line; and whether they look like an audit log.
pub(super) fn json_lines(reader: &mut dyn Read) -> Result<(Vec<u8>, bool), String> {
    let mut text = Vec::new();
    reader.take(MAX_DOCUMENT_BYTES + 1).read_to_end(&mut text).map_err(|e| e.to_string())?;
    if text.len() as u64 > MAX_DOCUMENT_BYTES {
        return Err(format!(
            "one JSON document of more than {MAX_DOCUMENT_BYTES} bytes: export it as JSON lines (one object a line)"
        ));
    }
    let text_ = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    let mut out = Vec::new();
    let mut objects = 0u64;
    for doc in serde_json::Deserializer::from_slice(text_).into_iter::<Value>() {
        let doc = doc.map_err(|e| format!("it begins like JSON, but: {e}"))?;
        records(&doc, &mut out, &mut objects);
    }
    let first = out.split(|b| *b == b'\n').next().unwrap_or_default();
    let audit = crate::line::parse_json(first, &crate::line::FieldMap::default())
        .is_some_and(|l| !l.extra.is_empty());
    Ok((out, audit))
}

fn records(v: &Value, out: &mut Vec<u8>, objects: &mut u64) {
    let list = match v {
        Value::Array(a) => Some(a),
        Value::Object(o) => ["records", "value", "results", "events", "data", "logs", "hits"]
            .iter()
            .find_map(|k| match o.get(*k) {
                Some(Value::Array(a)) => Some(a),
                Some(Value::Object(inner)) => inner.get("hits").and_then(Value::as_array),
                _ => None,
            }),
        _ => None,
    };
    match list {
        Some(a) => {
            for x in a.iter().filter(|x| x.is_object()) {
                let _ = serde_json::to_writer(&mut *out, x);
                out.push(b'\n');
                *objects += 1;
            }
        }
        None if v.is_object() => {
            let _ = serde_json::to_writer(&mut *out, v);
            out.push(b'\n');
            *objects += 1;
        }
        None => {}
    }
}

/// A member that is a folder, for the list of contents.
pub(super) fn not_a_file(name: String, why: &str) -> Content {
    let mut c = Content::new(name, None);
    c.kind = InputKind::Folder;
    c.state = ReadState::NotRead(why.to_owned());
    c
}
