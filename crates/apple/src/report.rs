//! Command reports: what a phone answers to a command, or that it is idle.
//!
//! Everything the phone says is in [`Report::fields`], or in [`Report::items`] for answers that are lists
//! of like things (apps, profiles, certificates). Source: `responsekeys` of `mdm/commands/*.yaml`.

use crate::Malformed;
use crate::message::{Field, FieldValue, Keys, Who, flatten, unique};
use crate::plist_guard::Node;
use model::CommandId;

/// `Status` of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Nothing to report; asks for the next command.
    Idle,
    /// The command was accepted.
    Acknowledged,
    /// Not now; the phone polls again by itself only if this was its last word.
    NotNow,
    /// The command failed; see the error chain.
    Error,
    /// The phone could not read the command.
    CommandFormatError,
}

impl Status {
    /// Apple's word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "Idle",
            Self::Acknowledged => "Acknowledged",
            Self::NotNow => "NotNow",
            Self::Error => "Error",
            Self::CommandFormatError => "CommandFormatError",
        }
    }

    fn read(text: &str) -> Option<Self> {
        [Self::Idle, Self::Acknowledged, Self::NotNow, Self::Error, Self::CommandFormatError]
            .into_iter()
            .find(|s| s.name() == text)
    }
}

/// Which command's answer a report holds, judged by the keys in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Answer {
    /// No more than a status.
    Nothing,
    /// `QueryResponses`: its keys stand in the fields without a prefix (`IMEI`).
    DeviceInformation,
    /// Fields begin with `SecurityInfo.`.
    SecurityInfo,
    /// One item an app.
    InstalledApplicationList,
    /// One item a managed app; the key it stood under is its `Identifier`.
    ManagedApplicationList,
    /// One item a profile.
    ProfileList,
    /// One item a certificate: `CommonName`, `IsIdentity`, `Data` (DER).
    CertificateList,
    /// `Latitude`, `Longitude`, ….
    DeviceLocation,
    /// Fields begin with `AvailableOSUpdates.`.
    AvailableOSUpdates,
    /// Fields begin with `OSUpdateStatus.`.
    OSUpdateStatus,
    /// `GlobalRestrictions.…`; each yes or no of `restrictedBool` also stands as `Restrictions.allowCamera`.
    Restrictions,
    /// `ActivationLockBypassCode`.
    ActivationLockBypassCode,
    /// Fields begin with `ApplicationConfigurations.`.
    ManagedApplicationConfiguration,
    /// Fields begin with `ManagedApplicationFeedback.`.
    ManagedApplicationFeedback,
    /// Fields begin with `ApplicationAttributes.`.
    ManagedApplicationAttributes,
    /// Something else.
    Other,
}

/// One app, profile or certificate of a list; paths are relative to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// What the phone says of it.
    pub fields: Vec<Field>,
}

impl Item {
    /// The value of `name`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&FieldValue> {
        self.fields.iter().find(|f| f.name == name).map(|f| &f.value)
    }
}

/// One link of an error chain, without the descriptions, which stand in the fields
/// (`ErrorChain.0.LocalizedDescription`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorLink {
    /// `ErrorCode`.
    pub code: Option<i64>,
    /// `ErrorDomain`, such as `MCMDMErrorDomain`.
    pub domain: Option<String>,
}

/// A command report.
#[derive(Clone, PartialEq)]
pub struct Report {
    /// Who speaks.
    pub who: Who,
    /// How the command went.
    pub status: Status,
    /// Which command; `None` when Idle, or when the phone's `CommandUUID` can't be one of ours.
    pub command_id: Option<CommandId>,
    /// A `CommandUUID` that can't be one of ours, as it came.
    pub foreign_command_uuid: Option<String>,
    /// Outermost error first; empty unless the status says so.
    pub error_chain: Vec<ErrorLink>,
    /// What kind of answer it is.
    pub answer: Answer,
    /// Everything said that isn't an item; no path twice.
    pub fields: Vec<Field>,
    /// The items of a list, in the order sent; empty for other answers.
    pub items: Vec<Item>,
}

impl std::fmt::Debug for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Report({:?}, {:?}, {:?}, sealed)", self.status, self.answer, self.command_id)
    }
}

/// The lists that become items, in the order in which they are looked for.
const LISTS: [(&str, Answer); 4] = [
    ("InstalledApplicationList", Answer::InstalledApplicationList),
    ("ManagedApplicationList", Answer::ManagedApplicationList),
    ("ProfileList", Answer::ProfileList),
    ("CertificateList", Answer::CertificateList),
];

/// Answers told by a key that stands in no other, in the order in which they are looked for.
const BY_KEY: [(&str, Answer); 7] = [
    ("AvailableOSUpdates", Answer::AvailableOSUpdates),
    ("OSUpdateStatus", Answer::OSUpdateStatus),
    ("GlobalRestrictions", Answer::Restrictions),
    ("ActivationLockBypassCode", Answer::ActivationLockBypassCode),
    ("ApplicationConfigurations", Answer::ManagedApplicationConfiguration),
    ("ManagedApplicationFeedback", Answer::ManagedApplicationFeedback),
    ("ApplicationAttributes", Answer::ManagedApplicationAttributes),
];

/// Most restrictions that are also told by themselves; iOS has some 200.
const MAX_RESTRICTIONS: usize = 512;

/// Longest `CommandUUID` that is kept.
const MAX_UUID_BYTES: usize = 128;

impl Report {
    pub(crate) fn read(who: Who, mut keys: Keys<'_>) -> Result<Self, Malformed> {
        let status = keys.text("Status")?;
        let status = Status::read(&status).ok_or(Malformed::UnknownStatus)?;
        let (command_id, foreign_command_uuid) = command_uuid(&mut keys)?;
        let error_chain = keys.take("ErrorChain");
        let mut fields = Vec::new();
        let mut answer = Answer::Nothing;
        let mut items = Vec::new();
        if let Some(responses) = keys.take("QueryResponses") {
            answer = Answer::DeviceInformation;
            flatten("", dictionary(responses, "QueryResponses")?, &mut fields)?;
        }
        if let Some(info) = keys.take("SecurityInfo") {
            answer = Answer::SecurityInfo;
            flatten("SecurityInfo", dictionary(info, "SecurityInfo")?, &mut fields)?;
        }
        for (key, kind) in LISTS {
            let Some(list) = keys.take(key) else { continue };
            if items.is_empty() {
                answer = kind;
                items = read_items(list, key)?;
            } else {
                flatten(key, list, &mut fields)?;
            }
        }
        if answer == Answer::Nothing && keys.has("Latitude") && keys.has("Longitude") {
            answer = Answer::DeviceLocation;
        }
        if answer == Answer::Nothing {
            let found = BY_KEY.into_iter().find(|(key, _)| keys.has(key));
            answer = found.map_or(Answer::Nothing, |(_, kind)| kind);
        }
        if answer == Answer::Restrictions {
            fields.extend(restrictions(&keys));
        }
        let rest = keys.into_fields()?;
        if answer == Answer::Nothing && !rest.is_empty() {
            answer = Answer::Other;
        }
        fields.extend(rest);
        let error_chain = match error_chain {
            Some(chain) => read_errors(chain, &mut fields)?,
            None => Vec::new(),
        };
        unique(&fields)?;
        Ok(Self { who, status, command_id, foreign_command_uuid, error_chain, answer, fields, items })
    }

    /// The value of the field `name`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&FieldValue> {
        self.fields.iter().find(|f| f.name == name).map(|f| &f.value)
    }

    /// The report's content in one order and one encoding, for a change tag: the same content gives the
    /// same bytes, whatever the order of keys and items, the command it answers, or the form of the
    /// property list. Personal: for a keyed digest, never for a log or a table.
    #[must_use]
    pub fn normalised(&self) -> Vec<u8> {
        let mut items: Vec<Vec<u8>> = self.items.iter().map(|item| encode_fields(&item.fields)).collect();
        items.sort_unstable();
        let mut out = Vec::with_capacity(64 * (self.fields.len() + items.len() * 4));
        push_run(&mut out, self.status.name().as_bytes());
        push_run(&mut out, &encode_fields(&self.fields));
        for item in &items {
            push_run(&mut out, item);
        }
        out
    }
}

/// `GlobalRestrictions.restrictedBool.<name>.value` as `Restrictions.<name>`. All of it stays where it was too.
fn restrictions(keys: &Keys<'_>) -> Vec<Field> {
    fn of<'n, 'a>(node: &'n Node<'a>, key: &str) -> Option<&'n Node<'a>> {
        let Node::Dict(pairs) = node else { return None };
        pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }
    let all = keys.find("GlobalRestrictions").and_then(|all| of(all, "restrictedBool"));
    let Some(Node::Dict(named)) = all else { return Vec::new() };
    let plain = |name: &str| name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric());
    let known = named.iter().take(MAX_RESTRICTIONS).filter(|(name, _)| plain(name));
    known
        .filter_map(|(name, of_it)| match of(of_it, "value") {
            Some(Node::Bool(b)) => {
                Some(Field { name: format!("Restrictions.{name}"), value: FieldValue::Bool(*b) })
            }
            _ => None,
        })
        .collect()
}

/// A run of bytes behind its length, so that no two lists of runs look alike.
fn push_run(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn encode_fields(fields: &[Field]) -> Vec<u8> {
    let mut sorted: Vec<&Field> = fields.iter().collect();
    sorted.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let mut out = Vec::with_capacity(fields.len() * 48);
    for field in sorted {
        push_run(&mut out, field.name.as_bytes());
        push_run(&mut out, &field.value.encode());
    }
    out
}

fn command_uuid(keys: &mut Keys<'_>) -> Result<(Option<CommandId>, Option<String>), Malformed> {
    let Some(text) = keys.find_text("CommandUUID")? else { return Ok((None, None)) };
    if text.len() > MAX_UUID_BYTES {
        return Err(Malformed::WrongType("CommandUUID"));
    }
    Ok(match text.parse() {
        Ok(id) => (Some(id), None),
        Err(_) if text.is_empty() => (None, None),
        Err(_) => (None, Some(text.into_owned())),
    })
}

fn dictionary<'a>(node: Node<'a>, key: &'static str) -> Result<Node<'a>, Malformed> {
    if matches!(node, Node::Dict(_)) { Ok(node) } else { Err(Malformed::WrongType(key)) }
}

fn read_items(list: Node<'_>, key: &'static str) -> Result<Vec<Item>, Malformed> {
    let mut items = Vec::new();
    match list {
        Node::Array(nodes) => {
            for node in nodes {
                items.push(item(Vec::new(), dictionary(node, key)?)?);
            }
        }
        // Managed apps stand under their identifiers.
        Node::Dict(pairs) => {
            for (identifier, node) in pairs {
                let name =
                    Field { name: "Identifier".to_owned(), value: FieldValue::Text(identifier.into_owned()) };
                items.push(item(vec![name], dictionary(node, key)?)?);
            }
        }
        _ => return Err(Malformed::WrongType(key)),
    }
    Ok(items)
}

fn item(mut fields: Vec<Field>, node: Node<'_>) -> Result<Item, Malformed> {
    let named = !fields.is_empty();
    flatten("", node, &mut fields)?;
    // Only a managed app that also names itself inside can hold a path twice.
    if named {
        unique(&fields)?;
    }
    Ok(Item { fields })
}

fn read_errors(chain: Node<'_>, fields: &mut Vec<Field>) -> Result<Vec<ErrorLink>, Malformed> {
    let Node::Array(links) = chain else { return Err(Malformed::WrongType("ErrorChain")) };
    let mut errors = Vec::with_capacity(links.len());
    for (i, link) in links.into_iter().enumerate() {
        let Node::Dict(pairs) = &link else { return Err(Malformed::WrongType("ErrorChain")) };
        let mut error = ErrorLink { code: None, domain: None };
        for (key, value) in pairs {
            match (key.as_ref(), value) {
                ("ErrorCode", Node::Integer(code)) => error.code = i64::try_from(*code).ok(),
                ("ErrorDomain", Node::Text(domain)) => error.domain = Some(domain.clone().into_owned()),
                ("ErrorCode" | "ErrorDomain", _) => return Err(Malformed::WrongType("ErrorChain")),
                _ => {}
            }
        }
        errors.push(error);
        flatten(&format!("ErrorChain.{i}"), link, fields)?;
    }
    Ok(errors)
}
