//! What an assessment found: the contract between the engine, which fills it,
//! and the outputs (brief, HTML, STIX, drafts…), which only read it.
//!
//! Everything here is plain data, in a fixed order, without a wall clock: the
//! same inputs and options give the same bytes. Times are Unix milliseconds,
//! UTC ([`crate::moment`] writes them out). Text that came from a log is
//! lossless *and* inert: see [`Raw`].

use serde::{Deserialize, Serialize};

mod answers;
mod files;
mod signs;
mod steps;

pub use answers::*;
pub use files::*;
pub use signs::*;
pub use steps::*;

use crate::exposure::Exposure;

/// Unix time in milliseconds, UTC.
pub type UnixMs = i64;

/// The whole result of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assessment {
    /// Version of this tool (`CARGO_PKG_VERSION`).
    pub tool_version: String,
    /// The one-word answer: evidence, or, without any, what coverage permits to say.
    pub verdict: Verdict,
    /// What was found.
    pub evidence: Evidence,
    /// How much was read, and what that covers.
    pub coverage: Coverage,
    /// The date against which ages are weighed: `--as-of`, else the newest line read.
    pub as_of_ms: Option<UnixMs>,
    /// How lines without a zone offset were read.
    pub timezone: TimeZoneNote,
    /// Every rule that was applied, by id.
    pub rule_set: Vec<RuleRef>,
    /// Every file met, also those not read, in the order of their names.
    pub inputs: Vec<InputFile>,
    /// What intruders did, as connected steps; worst first, then by time.
    pub chains: Vec<Chain>,
    /// Every client that appears in a chain; worst first, then by address.
    pub clients: Vec<ClientSummary>,
    /// Hits of public indicators: built in, and of `--indicators`.
    pub indicator_hits: Vec<IndicatorHit>,
    /// Gaps, truncation, time running backwards, lines missing here.
    pub integrity: Vec<IntegrityFinding>,
    /// Set when the log looks as if it stood behind a proxy.
    pub proxy: Option<ProxyFinding>,
    /// Remarks that never change a verdict (a scanner's label, a guessed layout…).
    pub remarks: Vec<Remark>,
    /// Known campaigns that overlap with what was found, as said by others.
    pub attributions: Vec<Attribution>,
    /// Countries and networks of the clients; empty without `--geoip`.
    pub origins: Vec<OriginRow>,
    /// What could have been taken; filled from `--inventory`.
    pub exposure: Option<Exposure>,
}

/// The answer on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing found and not everything read, or the window not covered.
    Unknown,
    /// Nothing found, all input read, the window (if given) covered. Never "clean".
    NoTrace,
    /// Somebody looked at a vulnerable route.
    Probed,
    /// Somebody sent what would exploit it.
    Attempted,
    /// An after-step, or exploit text against a version open to it that day.
    LikelyCompromised,
    /// A staged file was fetched, or a 2023 data route answered with data.
    DataLeft,
}

impl Verdict {
    /// The exit code of the command line.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::NoTrace => 0,
            Self::Unknown => 3,
            Self::Probed => 10,
            Self::Attempted => 11,
            Self::LikelyCompromised => 12,
            Self::DataLeft => 13,
        }
    }
}

/// How bad what was found is. Ordered: later is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// No trace found.
    NoTrace,
    /// A vulnerable route was asked for, without exploit text.
    Probed,
    /// Exploit text was sent.
    Attempted,
    /// An after-step was seen, or the version was open to it that day.
    LikelyCompromised,
    /// Data went out.
    DataLeft,
}
