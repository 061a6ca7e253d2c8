//! Indicators, faults of the log itself, remarks and what others say.

use serde::{Deserialize, Serialize};

use super::{Cite, Confidence, Grade, UnixMs};

/// A public indicator that matched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndicatorHit {
    /// The indicator's value as published (made inert).
    pub value: String,
    /// What it is.
    pub kind: IndicatorKind,
    /// Who published it, and where.
    pub source: String,
    /// Published or last confirmed.
    pub dated_ms: Option<UnixMs>,
    /// Days between that date and the line (or `as_of`, for a file).
    pub age_days: Option<i64>,
    /// True when so old that it only counts as a remark.
    pub stale: bool,
    /// Grade it supports by itself (an address alone: at most probed).
    pub grade: Grade,
    /// Number of lines.
    pub hits: u64,
    /// First line.
    pub first: Cite,
    /// Time of it.
    pub first_ms: Option<UnixMs>,
    /// Time of the last.
    pub last_ms: Option<UnixMs>,
}

/// Kind of indicator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IndicatorKind {
    /// An IP address.
    Address,
    /// An exact URL or path.
    Url,
    /// A domain name (matched only as a URL's or referrer's host).
    Domain,
    /// SHA-256, SHA-1 or MD5 of a file.
    FileHash,
    /// A file's name or path.
    FileName,
    /// A user agent, exact.
    UserAgent,
}

/// Something wrong with the log itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IntegrityFinding {
    /// What.
    pub kind: IntegrityKind,
    /// File.
    pub file: String,
    /// From.
    pub from_ms: Option<UnixMs>,
    /// To.
    pub to_ms: Option<UnixMs>,
    /// Line it was seen at.
    pub cite: Option<Cite>,
    /// Number of lines or bytes concerned (see `text`).
    pub count: u64,
    /// One plain sentence, with how it was checked.
    pub text: String,
}

/// Kinds of integrity finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntegrityKind {
    /// No line for longer than this log's habit.
    Gap,
    /// The file ends or begins inside a line, or its archive is cut.
    Truncated,
    /// Time runs backwards.
    TimeBackwards,
    /// A line that is in `--compare OTHER` and missing here.
    MissingHere,
    /// A line that is here and missing there.
    OnlyHere,
    /// NUL bytes or binary rubbish where lines should be (an erased part).
    Erased,
    /// Fewer lines around an intrusion than that hour of the day usually has.
    Thinned,
    /// The line can't be decoded (more encodings than are followed, or far too long).
    Unreadable,
}

/// The log looks as if written behind a proxy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProxyFinding {
    /// The shared addresses, sorted.
    pub addresses: Vec<String>,
    /// Share of sampled lines that bear them, in percent.
    pub share_percent: u8,
    /// Was a forwarded address available and used?
    pub forwarded_used: bool,
    /// What it means for this report.
    pub text: String,
}

/// A remark. Never changes a verdict.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Remark {
    /// Who or what it is about: an address, a file, a rule.
    pub about: String,
    /// The remark, a plain sentence.
    pub text: String,
}

/// A campaign that overlaps, as said by somebody else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attribution {
    /// The campaign's name or description.
    pub campaign: String,
    /// The actor named by `by_whom`, if any.
    pub actor: Option<String>,
    /// Who says so.
    pub by_whom: String,
    /// How sure *we* are that they say so.
    pub confidence: Confidence,
    /// What overlaps here (flaw and dates, staged file's name, …).
    pub overlap: Vec<String>,
    /// ATT&CK techniques that overlap.
    pub techniques: Vec<String>,
}
