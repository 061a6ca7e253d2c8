//! What something sealed says, as far as it may stand in the clear: types and keys of Apple's schema, truth values,
//! whole numbers and words of the schema's own lists. Of every text, date and datum it says only that there is one, but
//! for the few texts of an order that whoever signs it has to judge ([`OutlinedValue::Text`]).

use std::collections::HashMap;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::DeclarationId;

/// What a version of a profile says, in the clear.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct Outline {
    /// The profile's own `PayloadIdentifier`: printable ASCII.
    #[n(0)]
    pub identifier: String,
    /// Keys of the profile itself, but for its labels and identifiers.
    #[n(1)]
    pub keys: Vec<OutlinedKey>,
    /// Its payloads, in order.
    #[n(2)]
    pub payloads: Vec<OutlinedPayload>,
    /// Keys that were left out, since there are more than are told.
    #[n(3)]
    pub left_out: u32,
}

impl Outline {
    /// The most keys that are told.
    pub const MOST_KEYS: usize = 1_000;
    /// The most payloads that a saved profile has.
    pub const MOST_PAYLOADS: usize = 64;
    /// The longest identifier or payload type, in bytes.
    pub const LONGEST_NAME: usize = 255;
    /// In a [`Change`], the path of all that is not told: no key of the schema has it.
    pub const NOT_TOLD: &str = "?";
}

/// One payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct OutlinedPayload {
    /// Its `PayloadType`: printable ASCII.
    #[n(0)]
    pub payload_type: String,
    /// The schema has this type; of one that it has not, no key is told.
    #[n(1)]
    pub known: bool,
    /// Its keys, but for labels and identifiers.
    #[n(2)]
    pub keys: Vec<OutlinedKey>,
    /// How many keys the schema does not have.
    #[n(3)]
    pub unknown_keys: u32,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
pub struct OutlinedKey {
    /// Names of the schema and places in lists (from 0), such as `EAPClientConfiguration.AcceptEAPTypes.0`. A name that
    /// the profile's author chose, or that the schema does not have, is `*`.
    #[n(0)]
    pub path: String,
    /// What is told of its value.
    #[n(1)]
    pub value: OutlinedValue,
}

/// What is told of a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum OutlinedValue {
    /// True or false.
    #[n(1)]
    Truth(#[n(0)] bool),
    /// A whole number.
    #[n(2)]
    Whole(#[n(0)] i64),
    /// One of the words that the schema lists for this key.
    #[n(3)]
    Word(#[n(0)] String),
    /// Something that is not told: a text, a date, data.
    #[n(4)]
    Set(#[n(0)] Since),
    /// A text that may be told by its key's name: a system's version, a deadline, a server's name.
    #[n(5)]
    Text(#[n(0)] String),
    /// A list or a dictionary with nothing in it. Apple means something by some of these: an empty list of allowed apps
    /// is not the same as none.
    #[n(6)]
    Empty,
}

impl OutlinedValue {
    /// Told in place of an address whose server can't be told beyond doubt.
    pub const NOT_PLAIN: &str = "an address that is not plain";
}

/// What an order tells of what lies sealed beside it, so that whoever signs the order sees what it does. It stands in the
/// signed bytes; the vault makes the same of what lies sealed, and refuses an order that tells otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum SealedOutline {
    /// Of a set of declarations.
    #[n(1)]
    Declarations(#[n(0)] SetOutline),
    /// Of a profile that is given with the order.
    #[n(2)]
    Profile(#[n(0)] Outline),
    /// Of a raw command: its keys.
    #[n(3)]
    Raw(#[n(0)] Vec<OutlinedKey>),
}

impl SealedOutline {
    /// It tells every key.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        match self {
            Self::Declarations(set) => set.left_out == 0,
            Self::Profile(outline) => outline.left_out == 0,
            // Of a command all is told or nothing.
            Self::Raw(_) => true,
        }
    }
}

/// What a set of declarations says, in the clear.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct SetOutline {
    /// Its declarations, in order.
    #[n(0)]
    pub declarations: Vec<OutlinedDeclaration>,
    /// Keys that were left out, since there are more than are told ([`Outline::MOST_KEYS`]).
    #[n(1)]
    pub left_out: u32,
}

/// One declaration.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct OutlinedDeclaration {
    /// Its `Identifier`.
    #[n(0)]
    pub identifier: DeclarationId,
    /// Its `Type`.
    #[n(1)]
    pub declared_type: String,
    /// The phone acts on it: it is no configuration, or an activation of its set names it.
    #[n(2)]
    pub in_force: bool,
    /// The keys of its `Payload`.
    #[n(3)]
    pub keys: Vec<OutlinedKey>,
}

/// How a value that is not told stands to the version before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum Since {
    /// There was none, or it could not be compared.
    #[n(1)]
    Unknown,
    /// It is the same.
    #[n(2)]
    Same,
    /// It is another.
    #[n(3)]
    Changed,
}

/// A difference between two versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// In a payload of this type; empty: the profile's own.
    pub payload_type: String,
    /// Which one of its type, from 1.
    pub nth: u32,
    /// The key's path; empty: the whole payload came or went; [`Outline::NOT_TOLD`]: keys that are only counted, which
    /// are others in number, or may be others.
    pub path: String,
    /// What it was; nothing: it was not there.
    pub from: Option<OutlinedValue>,
    /// What it is; nothing: it is not there any more.
    pub to: Option<OutlinedValue>,
    /// Of a whole payload: whether it came (`true`) or went.
    pub came: Option<bool>,
}

impl Outline {
    /// This version with its untold values as they stand to a version some steps back: `between` are the versions after
    /// that one, oldest first, this one's predecessor last.
    #[must_use]
    pub fn since(&self, between: &[Self]) -> Self {
        let mut out = self.clone();
        for older in between.iter().rev() {
            let places: Vec<(String, u32)> = out.places();
            let then = by_path(&older.keys);
            for key in &mut out.keys {
                let before = then.get(key.path.as_str()).copied();
                key.join(before);
            }
            for (payload, (kind, nth)) in out.payloads.iter_mut().zip(places) {
                let then = older.payload(&kind, nth).map(|p| by_path(&p.keys)).unwrap_or_default();
                for key in &mut payload.keys {
                    let before = then.get(key.path.as_str()).copied();
                    key.join(before);
                }
            }
        }
        out
    }

    fn places(&self) -> Vec<(String, u32)> {
        let mut seen = HashMap::new();
        let mut place = |p: &OutlinedPayload| {
            let nth = seen.entry(p.payload_type.clone()).or_insert(0u32);
            *nth += 1;
            (p.payload_type.clone(), *nth)
        };
        self.payloads.iter().map(&mut place).collect()
    }

    fn payload(&self, kind: &str, nth: u32) -> Option<&OutlinedPayload> {
        let skipped = usize::try_from(nth.checked_sub(1)?).ok()?;
        self.payloads.iter().filter(|p| p.payload_type == kind).nth(skipped)
    }

    /// What is different from `from`, whose untold values this one's are compared with ([`Outline::since`]). A value
    /// that is not told and could not be compared is listed too: it may be another.
    #[must_use]
    pub fn changes(&self, from: &Self) -> Vec<Change> {
        let mut out = Vec::new();
        keys("", 0, &from.keys, &self.keys, &mut out);
        not_told("", 0, from.left_out, self.left_out, &mut out);
        let whole = |(kind, nth): (String, u32), came| Change {
            payload_type: kind,
            nth,
            path: String::new(),
            from: None,
            to: None,
            came: Some(came),
        };
        for (kind, nth) in from.places() {
            if self.payload(&kind, nth).is_none() {
                out.push(whole((kind, nth), false));
            }
        }
        for ((kind, nth), payload) in self.places().into_iter().zip(&self.payloads) {
            match from.payload(&kind, nth) {
                Some(before) => {
                    keys(&kind, nth, &before.keys, &payload.keys, &mut out);
                    not_told(&kind, nth, before.unknown_keys, payload.unknown_keys, &mut out);
                    if !payload.known && payload.unknown_keys == 0 {
                        push_not_told(&kind, nth, OutlinedValue::Set(Since::Unknown), None, &mut out);
                    }
                }
                None => out.push(whole((kind, nth), true)),
            }
        }
        out
    }
}

impl OutlinedKey {
    /// One more step back.
    fn join(&mut self, older: Option<&Self>) {
        let OutlinedValue::Set(since) = &mut self.value else { return };
        *since = match (*since, older.map(|k| &k.value)) {
            (Since::Changed, _) | (_, Some(OutlinedValue::Set(Since::Changed))) => Since::Changed,
            (Since::Same, Some(OutlinedValue::Set(then))) => *then,
            _ => Since::Unknown,
        };
    }
}

fn by_path(keys: &[OutlinedKey]) -> HashMap<&str, &OutlinedKey> {
    keys.iter().map(|k| (k.path.as_str(), k)).collect()
}

fn push_not_told(
    kind: &str,
    nth: u32,
    to: OutlinedValue,
    from: Option<OutlinedValue>,
    out: &mut Vec<Change>,
) {
    let (payload_type, path) = (kind.to_owned(), Outline::NOT_TOLD.to_owned());
    out.push(Change { payload_type, nth, path, from, to: Some(to), came: None });
}

/// Keys that are only counted: as many of them may be others.
fn not_told(kind: &str, nth: u32, from: u32, to: u32, out: &mut Vec<Change>) {
    let whole = |n: u32| OutlinedValue::Whole(n.into());
    if from != to {
        push_not_told(kind, nth, whole(to), Some(whole(from)), out);
    } else if to > 0 {
        push_not_told(kind, nth, OutlinedValue::Set(Since::Unknown), None, out);
    }
}

fn keys(kind: &str, nth: u32, from: &[OutlinedKey], to: &[OutlinedKey], out: &mut Vec<Change>) {
    let mut push = |path: &str, from: Option<&OutlinedValue>, to: Option<&OutlinedValue>| {
        out.push(Change {
            payload_type: kind.to_owned(),
            nth,
            path: path.to_owned(),
            from: from.cloned(),
            to: to.cloned(),
            came: None,
        });
    };
    let (then, after) = (by_path(from), by_path(to));
    for before in from.iter().filter(|k| !after.contains_key(k.path.as_str())) {
        push(&before.path, Some(&before.value), None);
    }
    for now in to {
        let before = then.get(now.path.as_str()).map(|k| &k.value);
        let same = match (before, &now.value) {
            (Some(OutlinedValue::Set(_)), OutlinedValue::Set(since)) => *since == Since::Same,
            (Some(before), now) => before == now,
            (None, _) => false,
        };
        if !same {
            push(&now.path, before, Some(&now.value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outline_survives_its_encoding() {
        let key = |path: &str, value| OutlinedKey { path: path.into(), value };
        let outline = Outline {
            identifier: "org.example.wifi".into(),
            keys: vec![key("PayloadRemovalDisallowed", OutlinedValue::Truth(true))],
            payloads: vec![OutlinedPayload {
                payload_type: "com.apple.wifi.managed".into(),
                known: true,
                keys: vec![
                    key("EncryptionType", OutlinedValue::Word("WPA2".into())),
                    key("Password", OutlinedValue::Set(Since::Changed)),
                    key("ProxyServerPort", OutlinedValue::Whole(8080)),
                    key("HomeNetworks", OutlinedValue::Empty),
                ],
                unknown_keys: 1,
            }],
            left_out: 0,
        };
        let cbor = minicbor::to_vec(&outline).unwrap();
        assert_eq!(minicbor::decode::<Outline>(&cbor).unwrap(), outline);
    }

    fn wifi(ssid: Since, password: Since, hidden: Option<bool>) -> Outline {
        let set = |path: &str, since| OutlinedKey { path: path.into(), value: OutlinedValue::Set(since) };
        let mut keys = vec![set("SSID_STR", ssid), set("Password", password)];
        keys.extend(
            hidden.map(|h| OutlinedKey { path: "HIDDEN_NETWORK".into(), value: OutlinedValue::Truth(h) }),
        );
        let payload_type = "com.apple.wifi.managed".to_owned();
        let payload = OutlinedPayload { payload_type, known: true, keys, unknown_keys: 0 };
        Outline { identifier: "org.example.wifi".into(), payloads: vec![payload], ..Outline::default() }
    }

    #[test]
    fn what_changed_over_several_versions_is_what_changed_at_any_step() {
        let first = wifi(Since::Unknown, Since::Unknown, Some(true));
        let second = wifi(Since::Same, Since::Changed, Some(true));
        let third = wifi(Since::Same, Since::Same, Some(false));
        let paths = |changes: Vec<Change>| changes.into_iter().map(|c| c.path).collect::<Vec<_>>();
        assert_eq!(paths(second.changes(&first)), ["Password"]);
        assert_eq!(paths(third.changes(&second)), ["HIDDEN_NETWORK"]);
        let over = third.since(std::slice::from_ref(&second));
        assert_eq!(paths(over.changes(&first)), ["Password", "HIDDEN_NETWORK"]);
        // Nothing is called the same that could not be compared.
        let lost = wifi(Since::Unknown, Since::Same, Some(true));
        assert_eq!(paths(third.since(&[lost]).changes(&first)), ["SSID_STR", "HIDDEN_NETWORK"]);
    }

    #[test]
    fn keys_that_are_only_counted_are_told_when_their_number_changes_and_that_they_may_be_others_when_not() {
        let first = wifi(Since::Unknown, Since::Unknown, None);
        let mut second = wifi(Since::Same, Since::Same, None);
        assert!(second.changes(&first).is_empty());
        second.payloads[0].unknown_keys = 2;
        second.left_out = 1;
        let told = |c: &Change| (c.nth, c.path.clone(), c.from.clone(), c.to.clone());
        let whole = |n| Some(OutlinedValue::Whole(n));
        let path = Outline::NOT_TOLD.to_owned();
        let changes = second.changes(&first);
        let wanted = [(0, path.clone(), whole(0), whole(1)), (1, path.clone(), whole(0), whole(2))];
        assert_eq!(changes.iter().map(told).collect::<Vec<_>>(), wanted);
        let unsure = Some(OutlinedValue::Set(Since::Unknown));
        let changes = second.changes(&second);
        let wanted = [(0, path.clone(), None, unsure.clone()), (1, path.clone(), None, unsure.clone())];
        assert_eq!(changes.iter().map(told).collect::<Vec<_>>(), wanted);
        // A payload whose type the schema has not tells nothing at all.
        second = wifi(Since::Same, Since::Same, None);
        second.payloads[0].known = false;
        assert_eq!(second.changes(&first).iter().map(told).collect::<Vec<_>>(), [(1, path, None, unsure)]);
    }

    #[test]
    fn payloads_and_keys_that_come_and_go_are_told() {
        let first = wifi(Since::Unknown, Since::Unknown, None);
        let mut second = wifi(Since::Same, Since::Same, Some(false));
        second.payloads.push(second.payloads[0].clone());
        let changes = second.changes(&first);
        assert_eq!(changes.len(), 2, "{changes:?}");
        assert_eq!((changes[0].path.as_str(), &changes[0].from), ("HIDDEN_NETWORK", &None));
        assert_eq!((changes[1].nth, changes[1].came), (2, Some(true)));
        let back = first.changes(&second);
        assert_eq!(back.iter().filter(|c| c.came == Some(false)).count(), 1);
        assert_eq!(first.changes(&Outline::default())[0].came, Some(true));
    }
}
