//! The API's answers, as far as pages show them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
pub(crate) struct Page<T> {
    pub items: Vec<T>,
    pub next_cursor: Option<String>,
}

/// A phone in a list.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Device {
    pub enrolment: String,
    pub state: String,
    pub group: String,
    pub holder: Option<String>,
    pub masks: BTreeMap<String, String>,
    pub clear: BTreeMap<String, Value>,
    pub supervised: Option<bool>,
    pub last_seen_ms: Option<i64>,
    pub enrolled_at_ms: Option<i64>,
    pub invited_at_ms: i64,
    pub pending_commands: u32,
    pub push: String,
}

impl Device {
    /// A field that may stand in the clear, as text.
    pub(crate) fn clear(&self, name: &str) -> Option<String> {
        self.clear.get(name).map(text)
    }

    /// The first digits, as people say them to each other.
    pub(crate) fn short(&self) -> &str {
        self.enrolment.get(..8).unwrap_or(&self.enrolment)
    }
}

/// A JSON value as a person reads it.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::Number(n) => n.to_string(),
        Value::Null => String::new(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Object(map) => {
            map.iter().map(|(k, v)| format!("{k}: {}", text(v))).collect::<Vec<_>>().join(", ")
        }
    }
}

/// One phone.
#[derive(Debug, Deserialize)]
pub(crate) struct DeviceDetail {
    #[serde(flatten)]
    pub device: Device,
    pub apps: Vec<App>,
    pub managed_apps: Vec<ManagedApp>,
    pub reports: Vec<Report>,
    pub sealed_fields: Vec<SealedField>,
    pub replaced_by: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct App {
    pub identifier: String,
    pub version: String,
    pub short_version: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ManagedApp {
    pub identifier: String,
    pub state: String,
    pub reason: Option<String>,
    pub requested_at_ms: i64,
    pub confirmed_at_ms: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Report {
    pub kind: String,
    pub at_ms: i64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct SealedField {
    pub name: String,
    pub compartment: String,
    pub mask: String,
}

/// A device group.
#[derive(Debug, Deserialize)]
pub(crate) struct DeviceGroup {
    pub device_group: model::DeviceGroupId,
    pub name: String,
    pub definition: model::DeviceGroupDefinition,
    pub phones: Option<u64>,
    pub listed: Option<u32>,
    pub order: model::OrderId,
    pub saved_by: model::PersonId,
    pub saved_at_ms: i64,
}

/// Whom a rule would hold.
#[derive(Debug, Deserialize)]
pub(crate) struct GroupPreview {
    pub definition: model::DeviceGroupDefinition,
    pub phones: u64,
    pub items: Vec<Device>,
}

/// A command to one phone.
#[derive(Debug, Deserialize)]
pub(crate) struct Command {
    pub enrolment: String,
    pub request_type: String,
    pub state: String,
    pub created_at_ms: i64,
    pub done_at_ms: Option<i64>,
    pub errors: Vec<CommandError>,
    pub not_now_count: u32,
    pub sent_at_ms: Option<i64>,
    pub expires_at_ms: i64,
    pub phone_last_seen_ms: Option<i64>,
    pub phone_push: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct CommandError {
    pub code: i64,
    pub domain: String,
}

/// The vault's key statement, under its root key; both in base64.
#[derive(Debug, Deserialize)]
pub(crate) struct Statement {
    pub statement: String,
    pub root_key: String,
}

/// What a search found.
#[derive(Debug, Deserialize)]
pub(crate) struct Found {
    pub items: Vec<Device>,
    pub searches_left: u32,
}

/// Whose passkey made an assertion.
#[derive(Debug, Deserialize)]
pub(crate) struct FoundPasskey {
    pub key: model::KeyId,
    /// order::Assertion as CBOR, in base64.
    pub signature: String,
}

/// An invitation that no phone has used.
#[derive(Debug, Deserialize)]
pub(crate) struct Invitation {
    pub enrolment: String,
    pub group: String,
    pub invited_at_ms: i64,
    pub expires_at_ms: i64,
    pub expired: bool,
}

/// An order in a list.
#[derive(Debug, Deserialize)]
pub(crate) struct ListedOrder {
    pub order: model::OrderId,
    pub kind: String,
    pub reason: String,
    pub signer: Option<model::PersonId>,
    pub state: String,
    pub targets: u32,
    pub made_at_ms: i64,
    pub expires_at_ms: i64,
    pub recalled_at_ms: Option<i64>,
    pub cools_until_ms: Option<i64>,
    pub hold: Option<order::limits::Hold>,
}

/// An order that still does something, with how far it has come.
#[derive(Debug, Deserialize)]
pub(crate) struct UnderWay {
    #[serde(flatten)]
    pub order: ListedOrder,
    pub progress: Progress,
}

/// How many phones stand where.
#[derive(Debug, Deserialize)]
pub(crate) struct Progress {
    pub queued: u32,
    pub sent: u32,
    pub not_now: u32,
    pub acknowledged: u32,
    pub error: u32,
    pub expired: u32,
    pub cancelled: u32,
}

impl Progress {
    /// Those that have not answered for good.
    pub(crate) fn open(&self) -> u32 {
        self.queued + self.sent + self.not_now
    }

    pub(crate) fn all(&self) -> u32 {
        self.open() + self.acknowledged + self.error + self.expired + self.cancelled
    }
}

/// order::SignedOrder as CBOR, in base64.
#[derive(Debug, Deserialize)]
pub(crate) struct SignedBytes {
    pub signed_order: String,
}

/// Someone who signs orders.
#[derive(Debug, Deserialize)]
pub(crate) struct Person {
    pub person: model::PersonId,
    pub role: String,
    pub group: Option<String>,
    pub keys: Vec<model::KeyId>,
    /// Those of its keys that are passkeys.
    pub passkeys: Vec<model::KeyId>,
    pub joined_at_ms: i64,
    pub removed_at_ms: Option<i64>,
}

/// A profile of the library.
#[derive(Debug, Deserialize)]
pub(crate) struct Profile {
    pub profile: model::ProfileId,
    pub newest: ProfileVersion,
    pub confirmed: u32,
    pub counted_at_ms: i64,
}

/// A version of one.
#[derive(Debug, Deserialize)]
pub(crate) struct ProfileVersion {
    pub version: u32,
    pub order: model::OrderId,
    pub saved_at_ms: i64,
    pub identifier: String,
    pub signed: bool,
    pub erasing: bool,
    pub payloads: Vec<String>,
    pub phones: ProfilePhones,
}

/// How many phones stand where with it.
#[derive(Debug, Deserialize)]
pub(crate) struct ProfilePhones {
    pub asked: u32,
    pub failed: u32,
    pub confirmed: u32,
}

/// A standing order.
#[derive(Debug, Deserialize)]
pub(crate) struct StandingOrder {
    pub order: model::OrderId,
    pub install: Option<model::StandingInstall>,
    pub cap_an_hour: u32,
    pub state: String,
    pub rests: Option<String>,
    pub expires_at_ms: i64,
    pub uses: u64,
}

/// How a device group's phones stand with a profile.
#[derive(Debug, Deserialize)]
pub(crate) struct ProfileMembers {
    pub device_group: model::DeviceGroupId,
    pub name: String,
    pub newest: u32,
    /// None while they are counted for the first time.
    pub counted: Option<MembersCounted>,
}

/// How they stood when they were counted.
#[derive(Debug, Deserialize)]
pub(crate) struct MembersCounted {
    pub phones: u32,
    pub on_newest: u32,
    pub asked: u32,
    pub older: Vec<OlderVersion>,
    pub without: u32,
    pub to_install: u32,
    pub first_to_install: Vec<String>,
    pub to_remove: u32,
    pub first_to_remove: Vec<String>,
    pub removing: u32,
    pub counted_at_ms: i64,
}

/// Phones on an older version.
#[derive(Debug, Deserialize)]
pub(crate) struct OlderVersion {
    pub version: u32,
    pub phones: u32,
}

/// How a device group's phones stand with one of the library's profiles.
#[derive(Debug, Deserialize)]
pub(crate) struct MemberProfile {
    pub profile: model::ProfileId,
    pub identifier: String,
    pub newest: u32,
    pub erasing: bool,
    /// None while they are counted for the first time.
    pub counted: Option<MemberCounts>,
}

/// How many of a device group's phones hold a profile, and when they were counted.
#[derive(Debug, Deserialize)]
pub(crate) struct MemberCounts {
    pub on_newest: u64,
    pub older: u64,
    pub without: u64,
    pub counted_at_ms: i64,
}

/// A profile with its versions.
#[derive(Debug, Deserialize)]
pub(crate) struct ProfileDetail {
    pub versions: Vec<ProfileVersion>,
    pub removing: ProfilePhones,
    pub counted_at_ms: i64,
    pub ended_at_ms: Option<i64>,
    pub ended_by: Option<model::OrderId>,
}

/// What a version says.
#[derive(Debug, Deserialize)]
pub(crate) struct VersionDetail {
    pub outline: model::Outline,
    pub because: Vec<(String, String)>,
    pub content: bool,
    pub against: Option<u32>,
    pub changes: Vec<model::Change>,
}

/// A phone that a profile was ordered for.
#[derive(Debug, Deserialize)]
pub(crate) struct ProfilePhone {
    pub enrolment: String,
    pub version: u32,
    pub state: String,
    pub command: Option<String>,
    pub confirmed: u32,
    pub confirmed_at_ms: Option<i64>,
}

/// A holder's phone.
#[derive(Debug, Deserialize)]
pub(crate) struct MyPhone {
    pub model: Option<String>,
    pub os_version: Option<String>,
    pub supervised: Option<bool>,
    pub last_seen_ms: Option<i64>,
    pub enrolled_at_ms: Option<i64>,
    pub passcode_present: Option<bool>,
    pub passcode_compliant: Option<bool>,
    pub encrypted: Option<bool>,
    pub apps: u32,
    pub lost_mode: HolderAsked,
    pub ring: HolderAsked,
    pub done: Vec<HolderDone>,
    pub more_done: bool,
    pub call: Option<String>,
    pub expires_at_ms: i64,
    pub now_ms: i64,
}

/// Something that a holder may ask for.
#[derive(Debug, Deserialize)]
pub(crate) struct HolderAsked {
    pub can: String,
    pub state: String,
    pub asked_at_ms: Option<i64>,
    pub confirmed_at_ms: Option<i64>,
}

/// Something that was done to a holder's phone.
#[derive(Debug, Deserialize)]
pub(crate) struct HolderDone {
    pub at_ms: i64,
    pub what: String,
    pub request_type: Option<String>,
    pub state: Option<String>,
    pub compartments: Vec<String>,
    pub by: String,
}
