//! Field by field: into the clear, sealed by itself, or packed with its neighbours and sealed as one row.

use std::collections::BTreeMap;

use apple::message::{Field, FieldValue};
use aws_lc_rs::rand::SecureRandom;
use model::{Compartment, EnrolmentId, FieldClass, TimeMs, classify};
use rpc::proto::{ClearField, SealedRow};
use seal::{ChangeTagKey, Sealer};

use crate::json;
use crate::reason::Refusal;

/// The most rows that one message may become; a phone's largest honest one has about a hundred.
pub(crate) const MAX_ROWS: usize = 2048;
/// The longest text that stands in the clear.
const MAX_CLEAR_BYTES: usize = 256;
/// The row of keys that are no plain words.
const OTHER_KEYS: &str = "OtherKeys";

/// Structures whose fields may stand in the clear, where their own names may. A `Version` inside anything
/// else is not the one on the list.
const LISTED: &[&str] =
    &["SecurityInfo", "ServiceSubscriptions", "AvailableOSUpdates", "OSUpdateStatus", "Restrictions"];
/// Structures that hold whatever an app's maker puts into them, passwords among it: one row each, in `secret`.
const APPS_OWN: &[&str] = &["ApplicationConfigurations", "ManagedApplicationFeedback"];
/// Dictionaries of Apple's schema inside which a field keeps a name of its own.
const CONTAINERS: &[&str] = &["ManagementStatus", "OSUpdateSettings", "MDMOptions", "FirewallSettings"];

/// What seals one message's fields.
pub(crate) struct Sealing<'a> {
    pub sealer: &'a mut Sealer,
    pub tags: &'a ChangeTagKey,
    /// By it what comes again is known again: a phone, a user, an element of a list.
    pub names: &'a ChangeTagKey,
    pub rng: &'a dyn SecureRandom,
    pub enrolment: EnrolmentId,
    pub now_ms: TimeMs,
}

/// A message's fields as core may know them.
#[derive(Debug, Default)]
pub(crate) struct Sorted {
    pub clear: Vec<ClearField>,
    pub sealed: Vec<SealedRow>,
}

/// Where a field goes.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Clear,
    Sealed(Compartment),
    Packed(Compartment, String),
}

impl Sealing<'_> {
    /// Seals one value under `name`; the change tag is over `same`, which is equal for equal values.
    pub fn row(
        &mut self,
        name: &str,
        compartment: Compartment,
        value: &[u8],
        same: &[u8],
        mask: String,
    ) -> Result<SealedRow, Refusal> {
        let tag = self.tags.tag(&self.enrolment, name, same).to_vec();
        self.sealer
            .seal(self.rng, self.now_ms, &self.enrolment, name, compartment, value, mask, tag)
            .map(rpc::row_to)
            .map_err(|e| match e {
                seal::SealError::TooLarge { .. } => Refusal::too_large("too_large"),
                e => {
                    // Names the compartment at most.
                    tracing::error!(error = %e, "a field could not be sealed");
                    Refusal::later("sealing_failed")
                }
            })
    }

    /// Sorts fields; none is lost.
    pub fn sort(&mut self, fields: &[Field]) -> Result<Sorted, Refusal> {
        let mut out = Sorted::default();
        let mut packs: BTreeMap<(String, u8), Vec<&Field>> = BTreeMap::new();
        for field in fields {
            match place(&field.name, &field.value) {
                Place::Clear => out.clear.push(clear(field)),
                Place::Sealed(compartment) => {
                    let row = self.value(&field.name, compartment, &field.value)?;
                    out.sealed.push(row);
                }
                Place::Packed(compartment, name) => {
                    packs.entry((name, compartment.number())).or_default().push(field);
                }
            }
            if out.sealed.len() + out.clear.len() + packs.len() > MAX_ROWS {
                return Err(Refusal::too_large("too_many_fields"));
            }
        }
        for ((name, compartment), mut fields) in packs {
            let compartment = Compartment::from_number(compartment).unwrap_or(Compartment::Other);
            fields.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            let packed = json::object(fields.iter().map(|f| (f.name.as_str(), &f.value)));
            let row = self.row(&name, compartment, packed.as_bytes(), packed.as_bytes(), String::new())?;
            out.sealed.push(row);
        }
        Ok(out)
    }

    fn value(
        &mut self,
        name: &str,
        compartment: Compartment,
        value: &FieldValue,
    ) -> Result<SealedRow, Refusal> {
        match value {
            FieldValue::Text(text) => {
                let mask = seal::mask(name, text);
                self.row(name, compartment, text.as_bytes(), text.as_bytes(), mask)
            }
            FieldValue::Bytes(bytes) => self.row(name, compartment, bytes, bytes, seal::mask(name, "")),
            FieldValue::Date(ms) => {
                let text = json::rfc3339(*ms);
                self.row(name, compartment, text.as_bytes(), text.as_bytes(), String::new())
            }
            other => {
                let text = other.to_text();
                let mask = seal::mask(name, &text);
                self.row(name, compartment, text.as_bytes(), text.as_bytes(), mask)
            }
        }
    }
}

pub(crate) fn clear(field: &Field) -> ClearField {
    let mut value = String::new();
    json::push_value(&mut value, &field.value);
    ClearField { name: field.name.clone(), value }
}

/// A word that may stand in a row's name: what Apple's keys look like, and no free text.
fn plain(word: &str) -> bool {
    word.len() <= 64
        && word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit())
}

/// A text that may stand in the clear where its name may: short, and one line.
pub(crate) fn plain_text(text: &str) -> bool {
    text.len() <= MAX_CLEAR_BYTES && !text.contains(|c: char| c.is_control())
}

fn place(name: &str, value: &FieldValue) -> Place {
    let top = name.split('.').next().unwrap_or_default();
    if !plain(top) {
        return Place::Packed(Compartment::Other, OTHER_KEYS.to_owned());
    }
    // Codes and domains travel as links; the whole chain is sealed together.
    if top == "ErrorChain" {
        return Place::Packed(Compartment::Other, top.to_owned());
    }
    if APPS_OWN.contains(&top) {
        return Place::Packed(Compartment::Secret, top.to_owned());
    }
    let nested = name.len() > top.len();
    let fits = match value {
        FieldValue::Text(text) => plain_text(text),
        FieldValue::Bytes(_) => false,
        _ => true,
    };
    match classify(name) {
        FieldClass::Clear if fits && own_name(name) && (!nested || LISTED.contains(&top)) => Place::Clear,
        FieldClass::Sealed(compartment) if compartment != Compartment::Other => {
            if own_name(name) {
                return Place::Sealed(compartment);
            }
            // The compartment stays the one of the last word, under a name without the path between.
            let last = name.rsplit('.').find(|s| !number(s)).unwrap_or(top);
            Place::Packed(compartment, format!("{top}.{last}"))
        }
        // A row's name must not promise what is not in it: a dictionary under `IMEI` is no IMEI.
        _ if nested && classify(top) != FieldClass::Sealed(Compartment::Other) => {
            Place::Packed(Compartment::Other, OTHER_KEYS.to_owned())
        }
        _ if nested => Place::Packed(Compartment::Other, top.to_owned()),
        _ => Place::Sealed(Compartment::Other),
    }
}

/// The longest path that is a row's name; the longest in Apple's schema has some 60 bytes.
const MAX_OWN_NAME_BYTES: usize = 128;

/// Whether the path is made of words of Apple's schema alone: a plain top-level key, positions, known
/// containers, and a last word that [`classify`] knew.
fn own_name(name: &str) -> bool {
    if name.len() > MAX_OWN_NAME_BYTES {
        return false;
    }
    let mut words = name.split('.').skip(1).filter(|w| !number(w)).peekable();
    while let Some(word) = words.next() {
        if words.peek().is_some() && !CONTAINERS.contains(&word) {
            return false;
        }
    }
    true
}

/// A list's items as the row named after it holds them: a JSON array, its items in one order.
pub(crate) fn list_json(items: &[apple::report::Item]) -> String {
    let mut items: Vec<String> = items.iter().map(|i| json::item(&i.fields)).collect();
    items.sort_unstable();
    let mut out = String::with_capacity(items.iter().map(|i| i.len() + 1).sum::<usize>() + 2);
    out.push('[');
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        out.push_str(item);
    }
    out.push(']');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(t: &str) -> FieldValue {
        FieldValue::Text(t.into())
    }

    #[test]
    fn what_apple_names_has_a_row_of_its_own() {
        assert_eq!(place("OSVersion", &text("26.1")), Place::Clear);
        assert_eq!(place("SecurityInfo.PasscodePresent", &FieldValue::Bool(true)), Place::Clear);
        assert_eq!(
            place("SecurityInfo.ManagementStatus.IsUserEnrollment", &FieldValue::Bool(true)),
            Place::Clear
        );
        assert_eq!(
            place("ServiceSubscriptions.0.PhoneNumber", &text("07700 900123")),
            Place::Sealed(Compartment::Contact)
        );
        assert_eq!(place("EthernetMACs.1", &text("00:00:5e:00:53:01")), Place::Sealed(Compartment::Hardware));
        assert_eq!(place("NewInOS27", &text("x")), Place::Sealed(Compartment::Other));
    }

    #[test]
    fn which_update_waits_and_which_restrictions_hold_may_be_seen_and_what_apps_are_told_may_not() {
        assert_eq!(place("AvailableOSUpdates.0.Version", &text("18.2")), Place::Clear);
        assert_eq!(place("OSUpdateStatus.0.IsDownloaded", &FieldValue::Bool(true)), Place::Clear);
        assert_eq!(place("Restrictions.allowCamera", &FieldValue::Bool(false)), Place::Clear);
        assert_eq!(
            place("Restrictions.allowSomethingNew", &FieldValue::Bool(false)),
            Place::Packed(Compartment::Other, "Restrictions".into())
        );
        assert_eq!(
            place("GlobalRestrictions.restrictedBool.allowCamera.value", &FieldValue::Bool(false)),
            Place::Packed(Compartment::Other, "GlobalRestrictions".into())
        );
        let secret = Place::Packed(Compartment::Secret, "ApplicationConfigurations".into());
        for name in
            ["Configuration.Server", "Configuration.Version", "Configuration.PhoneNumber", "Identifier"]
        {
            assert_eq!(place(&format!("ApplicationConfigurations.0.{name}"), &text("x")), secret, "{name}");
        }
        assert_eq!(place("ActivationLockBypassCode", &text("x")), Place::Sealed(Compartment::Escrow));
    }

    #[test]
    fn a_dictionarys_own_keys_never_become_a_rows_name() {
        let packed = |name: &str| match place(name, &text("x")) {
            Place::Packed(compartment, row) => (compartment, row),
            other => panic!("{other:?}"),
        };
        assert_eq!(packed("Contacts.Siobhan Made-Up.Model"), (Compartment::Other, "Contacts".into()));
        assert_eq!(
            packed("Contacts.Siobhan.PhoneNumber"),
            (Compartment::Contact, "Contacts.PhoneNumber".into())
        );
        assert_eq!(packed("07700 900123"), (Compartment::Other, "OtherKeys".into()));
        assert_eq!(packed("07700 900123.OSVersion"), (Compartment::Other, "OtherKeys".into()));
        assert_eq!(packed("SecurityInfo.Unheard.Of"), (Compartment::Other, "SecurityInfo".into()));
        assert_eq!(packed("UnheardOfList.0.Version"), (Compartment::Other, "UnheardOfList".into()));
        assert_eq!(packed("IMEI.note"), (Compartment::Other, "OtherKeys".into()));
        assert_eq!(packed("OSVersion.of.what"), (Compartment::Other, "OtherKeys".into()));
        let long = format!("ServiceSubscriptions.{}.PhoneNumber", "0".repeat(400));
        assert_eq!(packed(&long), (Compartment::Contact, "ServiceSubscriptions.PhoneNumber".into()));
        assert_eq!(packed("ErrorChain.0.ErrorCode"), (Compartment::Other, "ErrorChain".into()));
    }

    #[test]
    fn a_clear_name_with_a_long_many_lined_or_binary_value_is_sealed_all_the_same() {
        for value in [text(&"x".repeat(257)), text("a\nb"), FieldValue::Bytes(vec![1])] {
            assert_eq!(place("ModelName", &value), Place::Sealed(Compartment::Other));
        }
    }
}
