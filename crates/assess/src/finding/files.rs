//! The files that were met, and where a line stands in them.

use serde::{Deserialize, Serialize};

use super::UnixMs;

/// One file that was met (inside an archive: `bundle.zip!/logs/access.log.gz`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputFile {
    /// Name as given, with `!/` between an archive and its member.
    pub name: String,
    /// SHA-256 of its bytes as stored, lower-case hex; `None` if unreadable, and of the one content of a packed
    /// file, which the file's own digest tells.
    pub sha256: Option<String>,
    /// Size as stored, in bytes.
    pub bytes: u64,
    /// What it is.
    pub kind: InputKind,
    /// Layouts of its log lines with the number of lines that were judged to be
    /// of each (sampled lines and relevant lines, not all), by layout.
    pub layouts: Vec<Layout>,
    /// Whole, part, or not read.
    pub read: ReadState,
    /// First time in it.
    pub first_ms: Option<UnixMs>,
    /// Last time in it.
    pub last_ms: Option<UnixMs>,
    /// Number of lines.
    pub lines: u64,
    /// Number of lines that a rule or indicator matched.
    pub relevant_lines: u64,
    /// Name of the file of which this is a byte-for-byte copy; it was counted once.
    pub double_of: Option<String>,
    /// Index into `inputs` of the archive it lay in.
    pub inside: Option<usize>,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputKind {
    /// Web access log.
    WebLog,
    /// JSON lines of a SIEM export.
    JsonLines,
    /// EPMM's audit export.
    EpmmAudit,
    /// Sentry's JSON audit log.
    SentryAudit,
    /// A listing of files (`mactime` body file, `sha256sum` output).
    FileListing,
    /// A container of others (`tar`, `zip`), or one compressed file.
    Archive,
    /// A folder or something that isn't a file.
    Folder,
    /// Read, and not one of the above.
    Other,
    /// Empty.
    Empty,
}

/// Was it read?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "why")]
pub enum ReadState {
    /// All of it.
    Whole,
    /// In part; why, in a plain sentence.
    Part(String),
    /// Not at all; why.
    NotRead(String),
    /// All of it, but it is not of a kind that can be assessed; why. Does not
    /// lower coverage (a showtech bundle is full of them).
    NotALog(String),
}

/// Layout of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// `https-access_log`: client `ip:port`, has a status. From memory, unconfirmed by a real file.
    EpmmAccess,
    /// `https-request_log`: no status field. Seen in a public sample.
    EpmmRequest,
    /// Apache Common.
    Common,
    /// Apache Combined.
    Combined,
    /// The user's `--format` string.
    Custom,
    /// Columns that a header names: W3C extended (IIS), Zeek.
    W3c,
    /// Amazon CloudFront's standard log.
    CloudFront,
    /// AWS's application or classic load balancer.
    Alb,
    /// HAProxy's `httplog`.
    Haproxy,
    /// JSON lines.
    Json,
    /// Sentry's audit log.
    SentryAudit,
    /// EPMM's audit export.
    EpmmAudit,
    /// File listing.
    FileListing,
    /// Something with a request in quotes that fits no layout.
    Unrecognised,
}

/// Bytes of a log line: lossless and inert. Printable ASCII and valid UTF-8
/// letters stand as they are; a backslash is `\\`; every control, format,
/// bidirectional or invalid byte is `\xNN`. So it can't move a terminal's cursor; an HTML writer
/// must still escape `<>&"'`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Raw(pub String);

/// Where a line stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cite {
    /// Name of the input.
    pub file: String,
    /// Line number, from 1 (in the unpacked file).
    pub line: u64,
    /// Offset of its first byte in the unpacked file.
    pub byte_offset: u64,
    /// The line itself, without its line end; at most 8 KiB of it.
    pub raw: Raw,
    /// True if `raw` was cut.
    pub cut: bool,
}
