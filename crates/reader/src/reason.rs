//! Why something was refused, in closed words for logs and counters: never anything of its content.

use std::collections::BTreeMap;
use std::sync::Mutex;

use apple::Malformed;
use apple::scep;
use rpc::proto;

/// Every reason word that this room says in `Refused.reason`.
pub const REASONS: &[&str] = &[
    "too_large",
    "empty",
    "not_a_plist",
    "signed_envelope",
    "encoding",
    "doctype",
    "entity",
    "too_deep",
    "too_many_values",
    "syntax",
    "duplicate_key",
    "bad_value",
    "bad_reference",
    "name_too_long",
    "not_a_dictionary",
    "missing_key",
    "wrong_type",
    "unknown_message",
    "unknown_status",
    "no_identity",
    "not_json",
    "malformed",
    "bad_topic",
    "bad_endpoint",
    "bad_service",
    "too_many_fields",
    "no_enrolment",
    "unknown_request",
    "no_statement",
    "not_the_stated_reader",
    "busy",
    "sealing_failed",
    "scep_not_base64",
    "scep_malformed",
    "scep_algorithm",
    "scep_signature",
    "scep_failed",
    "signature_unreadable",
    "signature_wrong",
    "signature_of_a_stranger",
    "signature_certificate_dates",
    "signature_time",
];

/// A refusal: an HTTP status and one of [`REASONS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub status: u16,
    pub reason: &'static str,
}

impl Refusal {
    pub const fn bad(reason: &'static str) -> Self {
        Self { status: 400, reason }
    }

    pub const fn too_large(reason: &'static str) -> Self {
        Self { status: 413, reason }
    }

    /// Not the phone's doing: it comes again later.
    pub const fn later(reason: &'static str) -> Self {
        Self { status: 503, reason }
    }
}

impl From<Refusal> for proto::Refused {
    fn from(refusal: Refusal) -> Self {
        Self { status: u32::from(refusal.status), reason: refusal.reason.to_owned() }
    }
}

impl From<Malformed> for Refusal {
    fn from(why: Malformed) -> Self {
        Self::bad(match why {
            Malformed::TooLarge => return Self::too_large("too_large"),
            Malformed::Empty => "empty",
            Malformed::NotAPlist => "not_a_plist",
            Malformed::SignedEnvelope => "signed_envelope",
            Malformed::Encoding | Malformed::BadCharacter => "encoding",
            Malformed::Doctype => "doctype",
            Malformed::Entity => "entity",
            Malformed::TooDeep => "too_deep",
            Malformed::TooManyNodes => "too_many_values",
            Malformed::Syntax => "syntax",
            Malformed::DuplicateKey => "duplicate_key",
            Malformed::BadNumber | Malformed::BadDate | Malformed::BadBase64 | Malformed::Unsupported => {
                "bad_value"
            }
            Malformed::Reference => "bad_reference",
            Malformed::NameTooLong => "name_too_long",
            Malformed::NotADictionary => "not_a_dictionary",
            Malformed::MissingKey(_) => "missing_key",
            Malformed::WrongType(_) => "wrong_type",
            Malformed::UnknownMessage => "unknown_message",
            Malformed::UnknownStatus => "unknown_status",
            Malformed::NoIdentity => "no_identity",
            Malformed::NotJson => "not_json",
            _ => "malformed",
        })
    }
}

impl From<&scep::Reason> for Refusal {
    fn from(why: &scep::Reason) -> Self {
        Self::bad(match why {
            scep::Reason::TooLarge => return Self::too_large("too_large"),
            scep::Reason::Algorithm(_) => "scep_algorithm",
            scep::Reason::Signature => "scep_signature",
            scep::Reason::Ours(_) => return Self::later("scep_failed"),
            _ => "scep_malformed",
        })
    }
}

/// How often each thing happened since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<BTreeMap<&'static str, u64>>);

impl Counters {
    pub fn count(&self, what: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *counts.entry(what).or_default() += 1;
    }

    pub fn all(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_of_a_body_has_a_word_of_the_closed_set() {
        let all = [
            Malformed::TooLarge,
            Malformed::Empty,
            Malformed::NotAPlist,
            Malformed::SignedEnvelope,
            Malformed::Encoding,
            Malformed::Doctype,
            Malformed::Entity,
            Malformed::TooDeep,
            Malformed::TooManyNodes,
            Malformed::Syntax,
            Malformed::DuplicateKey,
            Malformed::BadNumber,
            Malformed::BadDate,
            Malformed::BadBase64,
            Malformed::BadCharacter,
            Malformed::Unsupported,
            Malformed::Reference,
            Malformed::NameTooLong,
            Malformed::NotADictionary,
            Malformed::MissingKey("Topic"),
            Malformed::WrongType("Topic"),
            Malformed::UnknownMessage,
            Malformed::UnknownStatus,
            Malformed::NoIdentity,
            Malformed::NotJson,
        ];
        for why in all {
            let refusal = Refusal::from(why);
            assert!(REASONS.contains(&refusal.reason), "{}", refusal.reason);
            assert_eq!(refusal.status, if why == Malformed::TooLarge { 413 } else { 400 });
            assert_ne!(refusal.reason, "malformed", "{why:?} has a word of its own");
        }
    }
}
