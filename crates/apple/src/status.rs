//! A status report of declarative management: the JSON in the check-in's `Data` at the endpoint `status`.
//!
//! Sources: Apple's schema, `declarative/protocol/statusreport.yaml` and `declarative/status/*.yaml`. A
//! status item is named by the path of its keys (`device.operating-system.version`). Items that are lists of
//! objects with an `identifier` are reported change by change (`_removed` takes one away); a report with
//! `FullReport` says everything there is. What isn't known here is kept: newer systems say more.

use model::{DeclarationId, DeclarationKind, Digest};

use crate::Malformed;
use crate::json::{self, Json};
use crate::message::{Field, FieldValue, MAX_MESSAGE_BYTES, MAX_NAME_BYTES};

/// The most values of one report that are told apart.
pub const MAX_ITEMS: usize = 4096;
/// The most reasons that are read of one declaration or error.
pub const MAX_REASONS: usize = 16;

/// What a phone reports.
#[derive(Clone, Default, PartialEq)]
pub struct StatusReport {
    /// It says everything there is; what it doesn't say is no longer so.
    pub full: bool,
    /// Single values by their path.
    pub fields: Vec<Field>,
    /// Elements of lists.
    pub elements: Vec<Element>,
    /// Every declaration that the phone has, when it says so: what isn't among them it doesn't have.
    pub declarations: Option<Vec<DeclarationState>>,
    /// Status items that it can't report.
    pub errors: Vec<ItemError>,
}

impl std::fmt::Debug for StatusReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StatusReport(sealed)")
    }
}

/// One element of a status item that is a list.
#[derive(Clone, PartialEq)]
pub struct Element {
    /// The item's path, such as `mdm.app`.
    pub item: String,
    /// Which element of it.
    pub identifier: String,
    /// It is gone.
    pub removed: bool,
    /// All the phone says of it.
    pub content: Json,
}

impl std::fmt::Debug for Element {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Element({}, sealed)", self.item)
    }
}

/// How a declaration stands on the phone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclarationState {
    /// What it is for.
    pub kind: DeclarationKind,
    /// Its identifier.
    pub identifier: DeclarationId,
    /// The `ServerToken` of what the phone holds; `None` when it is none of ours.
    pub token: Option<Digest>,
    /// It is in force.
    pub active: bool,
    /// What the phone thinks of it.
    pub valid: Validity,
    /// Codes such as `Error.ConfigurationCannotBeApplied`. Their texts stay in the report.
    pub reasons: Vec<String>,
}

/// What the phone thinks of a declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// Not looked at yet.
    Unknown,
    /// Not usable; the reasons say why.
    Invalid,
    /// Usable.
    Valid,
}

/// A status item that the phone can't report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemError {
    /// The item.
    pub item: String,
    /// Codes.
    pub reasons: Vec<String>,
}

/// Reads a report.
///
/// # Errors
/// [`Malformed`]: it isn't JSON within bounds, lacks what the protocol requires, or a path is too long.
pub fn parse(bytes: &[u8]) -> Result<StatusReport, Malformed> {
    let report = json::read(bytes, MAX_MESSAGE_BYTES)?;
    let Json::Object(mut members) = report else { return Err(Malformed::NotADictionary) };
    let items = members.remove("StatusItems").ok_or(Malformed::MissingKey("StatusItems"))?;
    let Json::Object(_) = items else { return Err(Malformed::WrongType("StatusItems")) };
    let full = match members.remove("FullReport") {
        None => false,
        Some(Json::Truth(full)) => full,
        Some(_) => return Err(Malformed::WrongType("FullReport")),
    };
    let mut out = StatusReport { full, ..StatusReport::default() };
    match members.remove("Errors") {
        None => {}
        Some(Json::List(errors)) => {
            for error in errors.iter().take(MAX_ITEMS) {
                let item = error.get("StatusItem").and_then(Json::as_text);
                let item = item.filter(|t| is_word(t)).ok_or(Malformed::WrongType("Errors"))?;
                out.errors
                    .push(ItemError { item: item.to_owned(), reasons: codes(error.get("Reasons"), "Code") });
            }
        }
        Some(_) => return Err(Malformed::WrongType("Errors")),
    }
    walk(&mut String::new(), items, &mut out)?;
    Ok(out)
}

/// As deep as JSON is read: `json::MAX_DEPTH`.
fn walk(path: &mut String, value: Json, out: &mut StatusReport) -> Result<(), Malformed> {
    if out.fields.len() + out.elements.len() > MAX_ITEMS {
        return Err(Malformed::TooManyNodes);
    }
    let value = match value {
        Json::Object(members) if path == "management.declarations" => {
            out.declarations = Some(declarations(&members)?);
            return Ok(());
        }
        Json::Object(members) => {
            for (key, member) in members {
                let was = path.len();
                let segment = key.replace('%', "%25").replace('.', "%2E");
                if was + 1 + segment.len() > MAX_NAME_BYTES {
                    return Err(Malformed::NameTooLong);
                }
                if was > 0 {
                    path.push('.');
                }
                path.push_str(if segment.is_empty() { "%" } else { &segment });
                walk(path, member, out)?;
                path.truncate(was);
            }
            return Ok(());
        }
        Json::List(items) if !items.is_empty() && items.iter().all(|i| identifier(i).is_some()) => {
            for content in items {
                let id = identifier(&content).unwrap_or_default().to_owned();
                let removed = content.get("_removed") == Some(&Json::Truth(true));
                out.elements.push(Element { item: path.clone(), identifier: id, removed, content });
                if out.elements.len() > MAX_ITEMS {
                    return Err(Malformed::TooManyNodes);
                }
            }
            return Ok(());
        }
        list @ Json::List(_) => FieldValue::Text(list.write()),
        Json::Text(text) => FieldValue::Text(text),
        Json::Whole(n) => FieldValue::Integer(n),
        Json::Real(r) => FieldValue::Real(r),
        Json::Truth(b) => FieldValue::Bool(b),
        Json::Null => FieldValue::Text(String::new()),
    };
    out.fields.push(Field { name: path.clone(), value });
    Ok(())
}

/// At most 256 bytes, so that it may name a row.
fn identifier(element: &Json) -> Option<&str> {
    element.get("identifier").and_then(Json::as_text).filter(|t| !t.is_empty() && t.len() <= 256)
}

fn declarations(
    members: &std::collections::BTreeMap<String, Json>,
) -> Result<Vec<DeclarationState>, Malformed> {
    const WRONG: Malformed = Malformed::WrongType("management.declarations");
    let mut out = Vec::new();
    for (list, kind) in [
        ("activations", DeclarationKind::Activation),
        ("assets", DeclarationKind::Asset),
        ("configurations", DeclarationKind::Configuration),
        ("management", DeclarationKind::Management),
    ] {
        let Some(list) = members.get(list) else { continue };
        for item in list.as_list().ok_or(WRONG)? {
            if out.len() > MAX_ITEMS {
                return Err(Malformed::TooManyNodes);
            }
            let text = |key| item.get(key).and_then(Json::as_text);
            let truth = |key| match item.get(key) {
                Some(Json::Truth(b)) => Ok(*b),
                _ => Err(WRONG),
            };
            let (name, token) = (text("identifier").ok_or(WRONG)?, text("server-token").ok_or(WRONG)?);
            let valid = match text("valid").ok_or(WRONG)? {
                "valid" => Validity::Valid,
                "invalid" => Validity::Invalid,
                _ => Validity::Unknown,
            };
            let active = truth("active")?;
            // One of another server's, or of nobody's: not ours to follow.
            let Ok(identifier) = DeclarationId::new(name) else { continue };
            out.push(DeclarationState {
                kind,
                identifier,
                token: token.parse().ok(),
                active,
                valid,
                reasons: codes(item.get("reasons"), "code"),
            });
        }
    }
    Ok(out)
}

fn codes(reasons: Option<&Json>, key: &str) -> Vec<String> {
    let list = reasons.and_then(Json::as_list).unwrap_or_default();
    let codes = list.iter().filter_map(|r| r.get(key).and_then(Json::as_text)).filter(|t| is_word(t));
    codes.take(MAX_REASONS).map(str::to_owned).collect()
}

/// What may be shown: a code, a status item's name.
fn is_word(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REPORT: &str = r#"{
        "StatusItems": {
            "device": {"operating-system": {"version": "18.1"}, "identifier": {"serial-number": "X0X0X0X0X0"}},
            "passcode": {"is-compliant": true},
            "softwareupdate": {"failure-reason": {"count": 2}, "install-reason": {"reason": ["declaration"]}},
            "mdm": {"app": [
                {"identifier": "org.example.rota", "name": "Rota", "state": "managed"},
                {"identifier": "org.example.gone", "_removed": true}
            ]},
            "management": {"declarations": {
                "activations": [], "assets": [], "management": [],
                "configurations": [
                    {"identifier": "org.example.passcode", "server-token":
                     "0101010101010101010101010101010101010101010101010101010101010101",
                     "active": false, "valid": "invalid",
                     "reasons": [{"code": "Error.ConfigurationCannotBeApplied", "description": "Mary's phone"}]},
                    {"identifier": "somebody else's", "server-token": "x", "active": true, "valid": "valid"}
                ]
            }}
        },
        "Errors": [{"StatusItem": "test.error-value", "Reasons": [{"Code": "Error.NotSupported"}]}],
        "FullReport": true
    }"#;

    #[test]
    fn a_report_is_read_item_by_item() {
        let report = parse(REPORT.as_bytes()).unwrap();
        assert!(report.full);
        let field = |name: &str| report.fields.iter().find(|f| f.name == name).map(|f| f.value.clone());
        assert_eq!(field("device.operating-system.version"), Some(FieldValue::Text("18.1".into())));
        assert_eq!(field("passcode.is-compliant"), Some(FieldValue::Bool(true)));
        assert_eq!(field("softwareupdate.failure-reason.count"), Some(FieldValue::Integer(2)));
        let reason = Some(FieldValue::Text("[\"declaration\"]".into()));
        assert_eq!(field("softwareupdate.install-reason.reason"), reason);
        let apps: Vec<_> = report.elements.iter().map(|e| (&*e.item, &*e.identifier, e.removed)).collect();
        assert_eq!(apps, [("mdm.app", "org.example.rota", false), ("mdm.app", "org.example.gone", true)]);
        let [state] = &report.declarations.unwrap()[..] else { panic!() };
        assert_eq!((state.valid, state.active), (Validity::Invalid, false));
        assert_eq!(state.token, Some(Digest([1; 32])));
        assert_eq!(state.reasons, ["Error.ConfigurationCannotBeApplied"]);
        assert_eq!(report.errors[0].reasons, ["Error.NotSupported"]);
    }

    #[test]
    fn what_is_no_report_is_refused() {
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"StatusItems": []}"#,
            r#"{"StatusItems": {}, "FullReport": "yes"}"#,
            r#"{"StatusItems": {}, "Errors": {}}"#,
            r#"{"StatusItems": {}, "Errors": [{"StatusItem": "Mary Example"}]}"#,
            r#"{"StatusItems": {"management": {"declarations": {"assets": [{}]}}}}"#,
            r#"{"StatusItems": {"management": {"declarations": {"assets": {}}}}}"#,
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let long = format!(r#"{{"StatusItems": {{"{}": 1}}}}"#, "k".repeat(300));
        assert_eq!(parse(long.as_bytes()), Err(Malformed::NameTooLong));
        let many: Vec<_> = (0..5000).map(|n| format!("\"k{n}\":1")).collect();
        let many = format!(r#"{{"StatusItems": {{{}}}}}"#, many.join(","));
        assert_eq!(parse(many.as_bytes()), Err(Malformed::TooManyNodes));
    }

    #[test]
    fn a_key_with_a_dot_poses_as_no_status_item() {
        let report = parse(br#"{"StatusItems": {"device.operating-system.version": "Mary"}}"#).unwrap();
        assert_eq!(report.fields[0].name, "device%2Eoperating-system%2Eversion");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn a_report_with_bytes_changed_is_read_or_refused_and_stays_within_bounds(
            at in any::<prop::sample::Index>(), with in any::<u8>(), cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = REPORT.as_bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = with;
            bytes.truncate(bytes.len() - cut.index(bytes.len()) / 50);
            if let Ok(report) = parse(&bytes) {
                prop_assert!(report.fields.len() + report.elements.len() <= MAX_ITEMS + 1);
                prop_assert!(report.fields.iter().all(|f| f.name.len() <= MAX_NAME_BYTES));
            }
        }
    }
}
