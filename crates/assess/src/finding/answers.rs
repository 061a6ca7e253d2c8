//! The two answers, and what they rest on.

use serde::{Deserialize, Serialize};

use super::{Grade, Layout, Stage, UnixMs};

/// The first answer: what the lines show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The worst grade reached.
    pub grade: Grade,
    /// What the grade rests on, strongest first: never empty above `NoTrace`.
    pub rests_on: Vec<Ground>,
}

/// One reason for the grade.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ground {
    /// The grade this reason alone supports.
    pub grade: Grade,
    /// What kind of reason it is.
    pub kind: GroundKind,
    /// The reason in one plain sentence.
    pub text: String,
    /// The step it rests on: index into [`super::Assessment::chains`].
    pub chain: Option<usize>,
    /// Index into that chain's steps.
    pub step: Option<usize>,
}

/// What a grade can rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroundKind {
    /// A vulnerable route was asked for.
    Route,
    /// Exploit text in the request.
    ExploitText,
    /// Exploit text against a version that was open to it on that day.
    VersionOpenThatDay,
    /// Something an intruder does after getting in.
    AfterStep,
    /// The answer carried data (status 200 and a body) on a route that must refuse.
    AnsweredWithData,
    /// A file that an intruder laid down was fetched.
    StagedFileFetched,
    /// A public indicator (address, URL, hash) matched.
    Indicator,
    /// A known bad file in a file listing.
    KnownFile,
}

/// The second answer: what was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// Whether all input was read.
    pub grade: CoverageGrade,
    /// First time seen in any log line.
    pub first_ms: Option<UnixMs>,
    /// Last time seen in any log line.
    pub last_ms: Option<UnixMs>,
    /// Stretches inside `first_ms..=last_ms` without any line, and lost parts of files.
    pub holes: Vec<Hole>,
    /// When a flaw was open: from `--epmm-version` or `--exposed-from/-to`.
    pub window: Option<ExposureWindow>,
    /// The window is covered without holes. `None` when no window was given.
    pub window_covered: Option<bool>,
    /// Logs that do not look like EPMM's: they ask for other products' paths.
    #[serde(default)]
    pub not_epmm: Vec<String>,
    /// Rules that a layout can't decide, and flaws that leave no web trace.
    pub not_assessable: Vec<NotAssessable>,
    /// Why the verdict is "unknown", or would be without evidence: plain sentences.
    pub reasons: Vec<String>,
}

/// How much of the input was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CoverageGrade {
    /// Nothing that can be assessed.
    None,
    /// Some.
    Part,
    /// Everything that was given.
    Whole,
}

/// A stretch of time without lines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hole {
    /// Last line before it.
    pub from_ms: UnixMs,
    /// First line after it.
    pub to_ms: UnixMs,
    /// Why this counts as a hole.
    pub why: String,
}

/// The time in which the appliance was open to a flaw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExposureWindow {
    /// Start, if known.
    pub from_ms: Option<UnixMs>,
    /// End, if known.
    pub to_ms: Option<UnixMs>,
    /// Where the window comes from (the options as given, and the flaws meant).
    pub source: String,
    /// CVE ids that were open in it; empty when only dates were given.
    pub cves: Vec<String>,
}

/// A rule that can't be decided from what was given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NotAssessable {
    /// Rule id, or CVE id for a flaw without a web trace.
    pub rule: String,
    /// Title for people.
    pub title: String,
    /// The layout that can't decide it; `None` for a flaw without any web trace.
    pub layout: Option<Layout>,
    /// Why, in a plain sentence.
    pub why: String,
}

/// How lines without an offset were read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimeZoneNote {
    /// IANA name (`Europe/London`) or offset (`+01:00`).
    pub name: String,
    /// True when nobody said so.
    pub guessed: bool,
    /// Why this one; what to do if it is wrong.
    pub why: String,
    /// Number of lines that had no offset of their own and depended on it (all
    /// lines of such files, not only relevant ones).
    pub lines_without_offset: u64,
}

/// A rule that was applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleRef {
    /// Stable id of ours (a UUID, as Sigma wants it), or the file's own.
    pub id: String,
    /// Short name (`matron-epmm-2025-4427-attempt`).
    pub name: String,
    /// Title.
    pub title: String,
    /// Version: the rule's `modified` (or `date`) field, `YYYY-MM-DD`.
    pub version: String,
    /// Flaws it is about (`CVE-2025-4427`).
    pub cves: Vec<String>,
    /// ATT&CK technique ids (`T1190`).
    pub techniques: Vec<String>,
    /// Stage of a step that it marks.
    pub stage: Stage,
    /// How sure the public facts behind it are.
    pub confidence: Confidence,
    /// Where the facts come from.
    pub source: String,
    /// Embedded in the tool, or from `--rules`.
    pub builtin: bool,
    /// Number of lines that matched.
    pub hits: u64,
}

/// How sure a fact is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Read in stored public text.
    Verified,
    /// Second-hand.
    SecondHand,
    /// From memory, unconfirmed.
    FromMemory,
    /// Our inference.
    Inferred,
}
