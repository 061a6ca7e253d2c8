//! What was done, by whom, in which order.

use serde::{Deserialize, Serialize};

use super::{Cite, Confidence, Grade, Raw, UnixMs};

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
    /// Id of the rule (see [`super::Assessment::rule_set`]), or of the indicator.
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
