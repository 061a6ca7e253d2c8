//! Declarative management: what a phone asks for, and what it reports of itself.
//!
//! A status report is split as an inventory is: items on the list of status paths
//! ([`model::classify_status`]) stay in the clear, all else is sealed. An element of a list (an account, a
//! certificate, an app) becomes a row of its own, named by the item and a keyed tag of its identifier, so
//! that a report which says one element has changed changes that row alone.

use apple::checkin::{DeclarativeManagement, Endpoint};
use apple::message::{Field, FieldValue, Message};
use apple::status::{self, DeclarationState, Element, Validity};
use bytes::Bytes;
use model::{DeclarationId, DeclarationKind, FieldClass, classify_status};
use rpc::proto::{self, observed::What};

use crate::fields::{MAX_ROWS, Sealing, clear, plain_text};
use crate::json;
use crate::reason::Refusal;

/// The endpoint as it is hashed: the text that Apple's phones send.
fn text_of(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Tokens => "tokens".into(),
        Endpoint::DeclarationItems => "declaration-items".into(),
        Endpoint::Status => "status".into(),
        Endpoint::Declaration { kind, identifier } => format!("declaration/{kind}/{identifier}"),
    }
}

/// What stays with the door: SHA-256 of the endpoint that was asked; nothing for any other message.
pub(crate) fn endpoint_of(message: &Message) -> Bytes {
    match message {
        Message::DeclarativeManagement(m) => {
            Bytes::copy_from_slice(&order::endpoint_hash(&text_of(&m.endpoint)).0)
        }
        _ => Bytes::new(),
    }
}

/// What core learns of it.
pub(crate) fn what(m: &DeclarativeManagement, sealing: &mut Sealing<'_>) -> Result<What, Refusal> {
    if let Endpoint::Declaration { kind, identifier } = &m.endpoint {
        // It stands in the clear, so it must look like one of ours.
        let fits = DeclarationKind::from_name(kind).is_some() && DeclarationId::new(identifier).is_ok();
        if !fits {
            return Err(Refusal::bad("bad_endpoint"));
        }
    }
    if m.endpoint == Endpoint::Status {
        let data = m.data.as_deref().ok_or(Refusal::bad("missing_key"))?;
        return Ok(What::StatusReport(report(&status::parse(data)?, sealing)?));
    }
    Ok(What::DeclarationsAsked(proto::DeclarationsAsked { endpoint: text_of(&m.endpoint) }))
}

fn report(report: &status::StatusReport, sealing: &mut Sealing<'_>) -> Result<proto::StatusReport, Refusal> {
    let mut out = proto::StatusReport { full: report.full, ..proto::StatusReport::default() };
    for field in &report.fields {
        match classify_status(&field.name) {
            FieldClass::Clear if fits(&field.value) => out.clear.push(clear(field)),
            class => out.sealed.push(row(field, class, sealing)?),
        }
    }
    for element in &report.elements {
        let name = element_name(element, sealing);
        out.apps.extend(app(element));
        if element.removed {
            out.removed.push(name);
            continue;
        }
        let content = element.content.write();
        let compartment = compartment_of(classify_status(&element.item));
        let bytes = content.as_bytes();
        out.sealed.push(sealing.row(&name, compartment, bytes, bytes, String::new())?);
        if out.sealed.len() > MAX_ROWS {
            return Err(Refusal::too_large("too_many_fields"));
        }
    }
    out.declared = report.declarations.is_some();
    out.declarations = report.declarations.iter().flatten().map(state).collect();
    out.errors = report
        .errors
        .iter()
        .map(|e| proto::StatusError { item: e.item.clone(), reasons: e.reasons.clone() })
        .collect();
    if out.sealed.len() + out.clear.len() > MAX_ROWS {
        return Err(Refusal::too_large("too_many_fields"));
    }
    Ok(out)
}

fn fits(value: &FieldValue) -> bool {
    match value {
        FieldValue::Text(text) => plain_text(text),
        FieldValue::Bytes(_) => false,
        _ => true,
    }
}

fn compartment_of(class: FieldClass) -> model::Compartment {
    match class {
        FieldClass::Sealed(compartment) => compartment,
        FieldClass::Clear => model::Compartment::Other,
    }
}

/// A single value as a row; a path that is not made of Apple's own kind of words is no row's name.
fn row(field: &Field, class: FieldClass, sealing: &mut Sealing<'_>) -> Result<proto::SealedRow, Refusal> {
    let plain = |w: &str| w.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let known = field.name.len() <= 128 && field.name.split('.').all(|w| !w.is_empty() && plain(w));
    let name = if known { field.name.clone() } else { tagged("status", &field.name, sealing) };
    let mut value = String::new();
    match &field.value {
        FieldValue::Text(text) => value.clone_from(text),
        other => json::push_value(&mut value, other),
    }
    sealing.row(&name, compartment_of(class), value.as_bytes(), value.as_bytes(), String::new())
}

/// The item's path with a keyed tag of the element's identifier, which could be a user's name.
fn element_name(element: &Element, sealing: &Sealing<'_>) -> String {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    let known = element.item.len() <= 64 && element.item.bytes().all(plain);
    let item = if known { element.item.as_str() } else { "status" };
    tagged(item, &format!("{}\0{}", element.item, element.identifier), sealing)
}

fn tagged(item: &str, of: &str, sealing: &Sealing<'_>) -> String {
    let tag = sealing.names.tag(&sealing.enrolment, "status-element", of.as_bytes());
    let hex: String = tag.iter().map(|b| format!("{b:02x}")).collect();
    format!("{item}.{hex}")
}

/// A managed app as a list may show it.
fn app(element: &Element) -> Option<proto::StatusApp> {
    if element.item != "mdm.app" && element.item != "app.managed.list" {
        return None;
    }
    let identifier = &element.identifier;
    let fits = identifier.len() <= 128
        && identifier.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    let word = |name: &str| {
        let text = element.content.get(name).and_then(apple::json::Json::as_text).unwrap_or_default();
        if plain_text(text) { text.to_owned() } else { String::new() }
    };
    fits.then(|| proto::StatusApp {
        app: Some(proto::App {
            identifier: identifier.clone(),
            version: word("version"),
            short_version: word("short-version"),
            status: String::new(),
        }),
        removed: element.removed,
    })
}

fn state(s: &DeclarationState) -> proto::DeclarationState {
    proto::DeclarationState {
        kind: s.kind.name().to_owned(),
        identifier: s.identifier.to_string(),
        token: s.token.map(|t| t.0.to_vec()).unwrap_or_default(),
        active: s.active,
        valid: match s.valid {
            Validity::Unknown => 0,
            Validity::Invalid => 1,
            Validity::Valid => 2,
        },
        reasons: s.reasons.clone(),
    }
}
