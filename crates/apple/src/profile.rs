//! Configuration profiles: the enrolment profile that the vault builds, and a reading of any profile for
//! simulated phones and for people.
//!
//! Source: `mdm/profiles/TopLevel.yaml`, `CommonPayloadKeys.yaml`, `com.apple.mdm.yaml`,
//! `com.apple.security.scep.yaml`, `com.apple.security.root.yaml`.

mod enrolment;
pub mod schema;

pub use enrolment::{ENROLMENT_IDENTIFIER, EnrolmentProfile, ReadEnrolment, Root, format_uuid, parse};

use crate::Malformed;
use crate::plist_guard;
use plist::{Dictionary, Value};

/// The largest profile that is read, in bytes.
pub const MAX_PROFILE_BYTES: usize = 4 << 20;

/// What a profile is made of, for people to look at before they sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Top-level `PayloadIdentifier`.
    pub identifier: String,
    /// Top-level `PayloadDisplayName`.
    pub display_name: Option<String>,
    /// Top-level `PayloadOrganization`.
    pub organization: Option<String>,
    /// Its payloads, in order.
    pub payloads: Vec<PayloadSummary>,
}

/// One payload of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadSummary {
    /// `PayloadType`, such as `com.apple.wifi.managed`.
    pub payload_type: String,
    /// `PayloadIdentifier`.
    pub identifier: Option<String>,
    /// `PayloadDisplayName`.
    pub display_name: Option<String>,
    /// The payload's own keys (not its values), sorted.
    pub keys: Vec<String>,
}

/// A profile without the envelope that it may have come in.
#[derive(Clone, PartialEq, Eq)]
pub struct Unwrapped {
    /// The profile.
    pub profile: Vec<u8>,
    /// The name in the certificate whose key signed it, where it was signed. Nobody has vouched for the certificate.
    pub signed_by: Option<String>,
}

/// Takes a signed profile (CMS) out of its envelope, once the signature was verified; any other is given back as it is.
///
/// # Errors
/// [`CmsError`](crate::cms::CmsError) when the envelope is broken, or its signature is.
pub fn unwrapped(bytes: &[u8]) -> Result<Unwrapped, crate::cms::CmsError> {
    if bytes.first() != Some(&0x30) {
        return Ok(Unwrapped { profile: bytes.to_vec(), signed_by: None });
    }
    let signed = crate::cms::unwrap_signed_by(bytes)?;
    let certificate = crate::x509::Certificate::parse(&signed.certificate_der)?;
    let name =
        certificate.common_name().or(certificate.organization()).unwrap_or("a certificate without a name");
    Ok(Unwrapped { signed_by: Some(name.to_owned()), profile: signed.content })
}

/// Reads what a profile is made of: types, identifiers and keys, no value of a payload.
///
/// # Errors
/// [`Malformed`]; [`Malformed::SignedEnvelope`] when it must be unwrapped first.
pub fn inspect(bytes: &[u8]) -> Result<Summary, Malformed> {
    let outer = read_outer(bytes)?;
    let mut payloads = Vec::new();
    for payload in payloads_of(&outer)? {
        let mut keys: Vec<String> = payload.keys().filter(|k| !k.starts_with("Payload")).cloned().collect();
        keys.sort_unstable();
        payloads.push(PayloadSummary {
            payload_type: find_text(payload, "PayloadType")?.ok_or(Malformed::MissingKey("PayloadType"))?,
            identifier: find_text(payload, "PayloadIdentifier")?,
            display_name: find_text(payload, "PayloadDisplayName")?,
            keys,
        });
    }
    Ok(Summary {
        identifier: find_text(&outer, "PayloadIdentifier")?
            .ok_or(Malformed::MissingKey("PayloadIdentifier"))?,
        display_name: find_text(&outer, "PayloadDisplayName")?,
        organization: find_text(&outer, "PayloadOrganization")?,
        payloads,
    })
}

/// The profile read strictly and written anew, as XML.
///
/// This is what goes to a phone: its own parser may read a duplicate key, a comment or an odd entity
/// otherwise than the one that judged the profile; here there is nothing of that left to disagree about.
///
/// # Errors
/// [`Malformed`]; [`Malformed::SignedEnvelope`] when it must be unwrapped first; [`Malformed::BadNumber`]
/// for a real that is not finite; [`Malformed::TooLarge`] also when what was written is over
/// [`MAX_PROFILE_BYTES`], since no one who reads it again would take it.
pub fn rewritten(bytes: &[u8]) -> Result<Vec<u8>, Malformed> {
    let outer = Value::Dictionary(read_outer(bytes)?);
    check_writable(&outer)?;
    let written = plist_guard::write(&outer).ok_or(Malformed::Syntax)?;
    // Indents and shared references make it larger than it came.
    if written.len() > MAX_PROFILE_BYTES { Err(Malformed::TooLarge) } else { Ok(written) }
}

/// The outermost dictionary of a profile.
pub(crate) fn read_outer(bytes: &[u8]) -> Result<Dictionary, Malformed> {
    let outer =
        plist_guard::parse(bytes, MAX_PROFILE_BYTES)?.into_dictionary().ok_or(Malformed::NotADictionary)?;
    match outer.get("PayloadType").and_then(Value::as_string) {
        Some("Configuration") => Ok(outer),
        Some(_) => Err(Malformed::WrongType("PayloadType")),
        None => Err(Malformed::MissingKey("PayloadType")),
    }
}

/// The payloads of a profile.
pub(crate) fn payloads_of(outer: &Dictionary) -> Result<Vec<&Dictionary>, Malformed> {
    let content = outer.get("PayloadContent").ok_or(Malformed::MissingKey("PayloadContent"))?;
    let content = content.as_array().ok_or(Malformed::WrongType("PayloadContent"))?;
    content.iter().map(|p| p.as_dictionary().ok_or(Malformed::WrongType("PayloadContent"))).collect()
}

pub(crate) fn find_text(of: &Dictionary, key: &'static str) -> Result<Option<String>, Malformed> {
    match of.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Malformed::WrongType(key)),
    }
}

/// XML can't say most control characters, and Apple's reader no infinities. As deep as the reader lets a tree be.
fn check_writable(value: &Value) -> Result<(), Malformed> {
    // The production `Char` of XML 1.0.
    let is_char =
        |c| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..);
    let plain = |text: &str| text.chars().all(is_char);
    match value {
        Value::Array(items) => items.iter().try_for_each(check_writable),
        Value::Dictionary(pairs) => pairs.iter().try_for_each(|(key, value)| {
            if plain(key) { check_writable(value) } else { Err(Malformed::BadCharacter) }
        }),
        Value::Real(r) if !r.is_finite() => Err(Malformed::BadNumber),
        Value::String(text) if !plain(text) => Err(Malformed::BadCharacter),
        _ => Ok(()),
    }
}
