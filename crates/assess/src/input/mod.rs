//! From what the user names to contents that were read: folders, files,
//! archives within archives, standard input.
//!
//! Nothing is ever written but an unnamed temporary file (for a zip inside
//! something else); names of members are labels only. Every content ends up in
//! the list with what became of it, and a fault in one stops no other.

mod audit;
mod json;
pub mod listing;
mod plain;
pub mod sniff;
mod streams;
pub mod tar;
mod unpack;
mod walk;

use std::io::{self, Read};
use std::path::PathBuf;

pub use walk::{join, read_all, total_bytes};

use crate::finding::{InputKind, ReadState};
use crate::scan::{Findings, Mode, Progress, Setup, scan_reader};
use listing::Listing;
use sniff::{HEAD_BYTES, Shape, sniff};

/// Deepest nesting of archives.
const MAX_DEPTH: u8 = 6;
/// Most contents in one run.
const MAX_CONTENTS: usize = 100_000;

/// How to read.
#[derive(Clone, Debug)]
pub struct Options {
    /// Hash every file given. Members of archives are always hashed.
    pub hash: bool,
    /// Most bytes that one file may unpack to; `None`: 250 times its size, at least 4 GiB.
    pub max_unpacked: Option<u64>,
    /// Threads that read and scan one large content.
    pub threads: usize,
}

/// A content and what was found in it.
#[derive(Debug)]
pub struct Content {
    /// Name to show.
    pub name: String,
    /// The file itself, when it is one.
    pub path: Option<PathBuf>,
    /// What it is.
    pub kind: InputKind,
    /// Index of the archive it lay in.
    pub inside: Option<usize>,
    /// SHA-256, lower-case hex.
    pub sha256: Option<String>,
    /// Bytes as stored.
    pub bytes: u64,
    /// What became of it.
    pub state: ReadState,
    /// Lines.
    pub findings: Option<Findings>,
    /// Listing.
    pub listing: Option<Listing>,
    /// Remarks about reading it.
    pub remarks: Vec<String>,
}

impl Content {
    fn new(name: String, inside: Option<usize>) -> Self {
        Self {
            name,
            path: None,
            kind: InputKind::Other,
            inside,
            sha256: None,
            bytes: 0,
            state: ReadState::Whole,
            findings: None,
            listing: None,
            remarks: Vec::new(),
        }
    }
}

/// The run's state while reading.
pub(crate) struct Reading<'a> {
    pub(crate) setup: &'a Setup,
    pub(crate) options: &'a Options,
    pub(crate) progress: &'a Progress,
    pub(crate) contents: Vec<Content>,
}

/// What is left of a file's allowance.
pub(crate) struct Allowance {
    /// Bytes it may still unpack.
    pub(crate) unpacked: u64,
    /// The whole allowance, for messages.
    pub(crate) of: u64,
}

impl Reading<'_> {
    /// Adds a content, or the remark that there are too many.
    pub(crate) fn add(&mut self, c: Content) -> Option<usize> {
        if self.contents.len() >= MAX_CONTENTS {
            if self.contents.len() == MAX_CONTENTS {
                let mut over = Content::new("(further files)".into(), None);
                over.state = ReadState::NotRead(format!(
                    "more than {MAX_CONTENTS} files were met; these were not read"
                ));
                self.contents.push(over);
            }
            return None;
        }
        self.contents.push(c);
        Some(self.contents.len() - 1)
    }

    fn at(&mut self, i: usize) -> Option<&mut Content> {
        self.contents.get_mut(i)
    }

    /// Reads a content whose bytes come from `reader` into `self.contents[i]`.
    /// `hash`: hash the bytes on the way (unless somebody else does).
    pub(crate) fn content(
        &mut self,
        i: usize,
        reader: &mut (dyn Read + Send),
        depth: u8,
        allowance: &mut Allowance,
        hash: bool,
    ) {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        let failed = reader.take(HEAD_BYTES as u64).read_to_end(&mut head).err();
        let shape = sniff(&head, self.setup);
        let mut whole = Joined { head: &head, reader, failed };
        let mut counted = streams::Hashed::new(&mut whole, hash);
        match shape {
            Shape::Empty => {
                if let Some(c) = self.at(i) {
                    c.kind = InputKind::Empty;
                    c.state = whole_or(counted.take_error());
                }
            }
            Shape::Foreign(what) => {
                if let Some(c) = self.at(i) {
                    c.kind = InputKind::Archive;
                    c.state = ReadState::NotRead(format!(
                        "packed or sealed as {what}: unpack it first, then give the result"
                    ));
                }
            }
            Shape::Gzip | Shape::Zstd | Shape::Xz | Shape::Bzip2 | Shape::Tar | Shape::Zip => {
                if let Some(c) = self.at(i) {
                    c.kind = InputKind::Archive;
                }
                if depth >= MAX_DEPTH {
                    if let Some(c) = self.at(i) {
                        c.state = ReadState::NotRead(format!("nested deeper than {MAX_DEPTH} archives"));
                    }
                } else {
                    self.unpack(i, shape, &mut counted, depth, allowance);
                }
            }
            Shape::Utf16 { little } => {
                let mut text = streams::Utf16::new(&mut counted, little);
                self.lines(i, &mut text, Mode::Text);
                if let Some(c) = self.at(i) {
                    c.remarks.push("The file is UTF-16; offsets are those of its UTF-8 form.".into());
                }
            }
            Shape::Listing => self.listing(i, &mut counted),
            Shape::AuditCsv => self.audit(i, &mut counted),
            Shape::JsonDocument => self.json_document(i, &mut counted),
            Shape::Lines(mode) => self.lines(i, &mut counted, mode),
        }
        let (bytes, digest, fault) = counted.finish();
        if let Some(c) = self.at(i) {
            c.bytes = c.bytes.max(bytes);
            if hash {
                c.sha256 = digest;
            }
            if let (Some(e), ReadState::Whole) = (fault, &c.state) {
                c.state = ReadState::Part(format!("the rest after {bytes} bytes could not be read: {e}"));
            }
        }
    }

    fn lines(&mut self, i: usize, reader: &mut (dyn Read + Send), mode: Mode) {
        let (f, e) = scan_reader(self.setup, reader, mode, self.options.threads);
        self.put(i, f, mode, e);
    }

    /// Records findings and says what the content is.
    pub(crate) fn put(&mut self, i: usize, f: Findings, mode: Mode, e: Option<io::Error>) {
        let Some(c) = self.at(i) else { return };
        c.kind = match mode {
            Mode::Text => InputKind::WebLog,
            Mode::Json => InputKind::JsonLines,
            Mode::JsonAudit if f.layouts.contains_key(&crate::finding::Layout::SentryAudit) => {
                InputKind::SentryAudit
            }
            Mode::JsonAudit => InputKind::EpmmAudit,
        };
        c.state = match e {
            Some(e) => ReadState::Part(format!("read up to byte {} (line {}), then: {e}", f.bytes, f.lines)),
            None if f.sampled.1 == 0 && f.hits.total == 0 => {
                c.kind = InputKind::Other;
                ReadState::NotALog("no line of it has the form of a web request".into())
            }
            None if !f.unreadable.is_empty() => ReadState::Part(format!(
                "{} place(s) could not be read as lines, the first at byte {}",
                f.unreadable.len(),
                f.unreadable.first().map_or(0, |u| u.0)
            )),
            None => ReadState::Whole,
        };
        c.findings = Some(f);
    }

    fn listing(&mut self, i: usize, reader: &mut dyn Read) {
        let (l, bytes, e) = listing::read(reader, &self.setup.indicators, &mut |_| {});
        if let Some(c) = self.at(i) {
            c.kind = InputKind::FileListing;
            c.state = match e {
                Some(e) => ReadState::Part(format!("read up to byte {bytes}, then: {e}")),
                None => ReadState::Whole,
            };
            c.listing = Some(l);
        }
    }

    fn audit(&mut self, i: usize, reader: &mut dyn Read) {
        let (f, e) = audit::read(self.setup, reader);
        if let Some(c) = self.at(i) {
            c.kind = InputKind::EpmmAudit;
            c.state = match e {
                Some(e) => ReadState::Part(format!("read up to line {}, then: {e}", f.lines)),
                None => ReadState::Whole,
            };
            c.findings = Some(f);
        }
    }

    /// JSON that is one document: its objects are read as lines.
    fn json_document(&mut self, i: usize, reader: &mut dyn Read) {
        match json::json_lines(reader) {
            Ok((text, audit)) => {
                let mode = if audit { Mode::JsonAudit } else { Mode::Json };
                let (f, e) = scan_reader(self.setup, &mut text.as_slice(), mode, self.options.threads);
                self.put(i, f, mode, e);
                if let Some(c) = self.at(i) {
                    c.remarks
                        .push("The file is one JSON document; line numbers are those of its records.".into());
                }
            }
            Err(why) => {
                if let Some(c) = self.at(i) {
                    c.state = ReadState::NotRead(why);
                }
            }
        }
    }
}

fn whole_or(e: Option<io::Error>) -> ReadState {
    e.map_or(ReadState::Whole, |e| ReadState::NotRead(e.to_string()))
}

/// A head that was read, then the rest, then the error that ended the head.
struct Joined<'a> {
    head: &'a [u8],
    reader: &'a mut (dyn Read + Send),
    failed: Option<io::Error>,
}

impl Read for Joined<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if !self.head.is_empty() {
            let n = self.head.len().min(buf.len());
            if let (Some(to), Some(from)) = (buf.get_mut(..n), self.head.get(..n)) {
                to.copy_from_slice(from);
            }
            self.head = self.head.get(n..).unwrap_or_default();
            return Ok(n);
        }
        if let Some(e) = self.failed.take() {
            return Err(e);
        }
        self.reader.read(buf)
    }
}
