//! What an assessment found: the contract between the engine, which fills it,
//! and the outputs (brief, HTML, STIX, drafts…), which only read it.
//!
//! Everything here is plain data, in a fixed order, without a wall clock: the
//! same inputs and options give the same bytes. Times are Unix milliseconds,
//! UTC ([`crate::moment`] writes them out). Text that came from a log is
//! lossless *and* inert: see [`Raw`].

use serde::{Deserialize, Serialize};

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
    /// The step it rests on: index into [`Assessment::chains`].
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

/// One file that was met (inside an archive: `bundle.zip!/logs/access.log.gz`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputFile {
    /// Name as given, with `!/` between an archive and its member.
    pub name: String,
    /// SHA-256 of its bytes as stored, lower-case hex; `None` if unreadable.
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

/// What an intruder was doing in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Looked whether it is vulnerable.
    Probe,
    /// Sent exploit text.
    Attempt,
    /// Read or changed data over an API that must refuse.
    ApiAccess,
    /// Asked the class loader.
    Loader,
    /// Uploaded something in chunks.
    Upload,
    /// Laid a file under the web root (seen by its first fetch or in a listing).
    Stage,
    /// Fetched what was laid down: `bytes_out` is what left.
    Fetch,
    /// Opened a tunnel.
    Tunnel,
    /// A new administrator, app or policy.
    Persistence,
    /// Wiped or locked devices.
    Destruction,
    /// A file known from campaigns.
    KnownFile,
    /// A public address or URL indicator.
    Indicator,
    /// An HTTP method or label of a scanner: a remark.
    Scanner,
}

/// A connected series of steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chain {
    /// Number from 1, for people ("chain 2").
    pub number: usize,
    /// Worst grade of its steps together.
    pub grade: Grade,
    /// Addresses that took part, sorted.
    pub clients: Vec<String>,
    /// What joins its steps, in plain words (same client, same staged file, same minutes behind one proxy…).
    pub joined_by: Vec<String>,
    /// Flaws it is about, sorted.
    pub cves: Vec<String>,
    /// First step's time.
    pub first_ms: Option<UnixMs>,
    /// Last step's time.
    pub last_ms: Option<UnixMs>,
    /// Bytes that went out in fetches and data answers.
    pub bytes_out: u64,
    /// Steps in order of time; at most [`MAX_STEPS`], the worst kept.
    pub steps: Vec<Step>,
    /// Steps that were seen but not listed.
    pub steps_left_out: u64,
}

/// Most steps listed in one chain.
pub const MAX_STEPS: usize = 200;

/// One thing that somebody did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// When, if the line says so.
    pub at_ms: Option<UnixMs>,
    /// The line has no offset and the zone was guessed.
    pub zone_guessed: bool,
    /// Stage.
    pub stage: Stage,
    /// The grade this step alone supports.
    pub grade: Grade,
    /// Id of the rule (see [`Assessment::rule_set`]), or of the indicator.
    pub rule: String,
    /// The rule's short name.
    pub rule_name: String,
    /// The rule's title.
    pub title: String,
    /// How sure the rule's facts are.
    pub confidence: Confidence,
    /// Flaws.
    pub cves: Vec<String>,
    /// ATT&CK techniques.
    pub techniques: Vec<String>,
    /// Client's address: the one a proxy vouches for, where the layout has it.
    pub client: Option<String>,
    /// The peer that spoke to the server when it differs from `client`.
    pub via: Option<String>,
    /// HTTP method.
    pub method: Option<Raw>,
    /// Path, decoded and folded as the server would.
    pub path: Option<Raw>,
    /// Status, where the layout has one.
    pub status: Option<u16>,
    /// Bytes of the answer.
    pub bytes_out: Option<u64>,
    /// User agent.
    pub user_agent: Option<Raw>,
    /// Number of further lines of the same kind from the same client, folded into this step.
    pub repeats: u64,
    /// Time of the last of them.
    pub repeats_until_ms: Option<UnixMs>,
    /// What this rests on and what it does not show, in a plain sentence.
    pub note: String,
    /// The line.
    pub cite: Cite,
    /// Why it is believed that the server was open to it, if so.
    pub version_open: Option<String>,
}

/// One client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientSummary {
    /// Address, as in the log.
    pub address: String,
    /// First relevant line.
    pub first_ms: Option<UnixMs>,
    /// Last relevant line.
    pub last_ms: Option<UnixMs>,
    /// Relevant requests.
    pub requests: u64,
    /// Bytes it fetched of what left.
    pub bytes_out: u64,
    /// Worst grade.
    pub grade: Grade,
    /// Stages it took part in, sorted.
    pub stages: Vec<Stage>,
    /// Numbers of the chains it is in.
    pub chains: Vec<usize>,
    /// Country and network, with `--geoip`.
    pub origin: Option<Origin>,
    /// User agents, sorted, at most ten.
    pub user_agents: Vec<Raw>,
    /// The address is private, loopback or reserved: no one outside.
    pub internal: bool,
}

/// Where an address is registered. Not who used it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// ISO 3166 code.
    pub country: Option<String>,
    /// Country in English.
    pub country_name: Option<String>,
    /// Autonomous system number.
    pub asn: Option<u32>,
    /// Its organisation, made inert.
    pub network: Option<String>,
}

/// A row of the table by country and network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OriginRow {
    /// The origin; all `None` for addresses the file doesn't know.
    pub origin: Origin,
    /// Number of clients.
    pub clients: u64,
    /// Their relevant requests.
    pub requests: u64,
    /// Worst grade.
    pub grade: Grade,
}

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
