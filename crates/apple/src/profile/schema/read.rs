//! A profile read against the schema.

use model::{Outline, OutlinedKey, OutlinedPayload, OutlinedValue, Since};
use plist::{Dictionary, Value};

use super::{Key, Kind, Misfit, MisfitWhy, PayloadKind, Remark, RemarkWhy, common, payload_kinds, top_level};
use crate::Malformed;
use crate::profile::read_outer;

/// The most misfits and the most remarks that are told.
const MOST_TOLD: usize = 32;
/// The most texts that are told to whoever saved the profile, and the most characters of one.
const MOST_TEXTS: usize = 300;
const LONGEST_TEXT_CHARS: usize = 200;
/// The longest name that is repeated in a remark.
const LONGEST_NAME_CHARS: usize = 64;

/// Names and labels, which are told otherwise or not at all.
const LABELS: &[&str] = &[
    "PayloadIdentifier",
    "PayloadUUID",
    "PayloadType",
    "PayloadVersion",
    "PayloadDescription",
    "PayloadDisplayName",
    "PayloadOrganization",
];

/// What a profile says.
#[derive(Clone, PartialEq)]
pub struct Profile {
    /// What may stand in the clear. How its values stand to an older version is [`Profile::since`]'s to fill in.
    pub outline: Outline,
    /// Texts that are no secrets by their key's name, for whoever saved the profile.
    pub texts: Vec<Text>,
    /// What they should know.
    pub remarks: Vec<Remark>,
    hidden: Vec<(Option<usize>, String, Value)>,
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Profile({}, sealed)", self.outline.identifier)
    }
}

/// A text of a profile.
#[derive(Clone, PartialEq, Eq)]
pub struct Text {
    /// In which payload; `None`: the profile's own.
    pub payload: Option<usize>,
    /// The key's path.
    pub path: String,
    /// The text, cut.
    pub text: String,
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Text({}, sealed)", self.path)
    }
}

/// Why a profile is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRead {
    /// It is no profile.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It does not fit the schema: at least one misfit, at most 32.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Misfits(Vec<Misfit>),
}

/// Reads a profile (not signed any more) against the schema.
///
/// # Errors
/// [`NotRead`] says where and why.
pub fn read(profile: &[u8]) -> Result<Profile, NotRead> {
    let outer = read_outer(profile)?;
    let mut r = Reading::default();
    r.keys_of(&outer, "", &[top_level()], None);
    let identifier = r.plain(&outer, "PayloadIdentifier", "PayloadIdentifier");
    let none = Vec::new();
    let payloads = outer.get("PayloadContent").and_then(Value::as_array).unwrap_or(&none);
    if payloads.len() > Outline::MOST_PAYLOADS {
        r.misfit("PayloadContent".into(), MisfitWhy::TooMany);
    }
    let mut outline = Outline { identifier, ..Outline::default() };
    outline.keys = std::mem::take(&mut r.told);
    for (at, payload) in payloads.iter().take(Outline::MOST_PAYLOADS).enumerate() {
        let path = format!("PayloadContent.{at}");
        match payload.as_dictionary() {
            Some(payload) => outline.payloads.push(r.payload(payload, &path, at)),
            None => r.misfit(path, MisfitWhy::WrongType),
        }
    }
    outline.left_out = r.left_out;
    if !r.misfits.is_empty() {
        return Err(NotRead::Misfits(r.misfits));
    }
    Ok(Profile { outline, texts: r.texts, remarks: r.remarks, hidden: r.hidden })
}

impl Profile {
    /// Fills in how the values that are not told stand to those of an older version. A payload is compared with the
    /// older one's of the same type and the same place among its like.
    pub fn since(&mut self, older: &Self) {
        let places = |o: &Outline| -> Vec<(String, usize)> {
            let nth = |at: usize, t: &str| o.payloads.iter().take(at).filter(|p| p.payload_type == t).count();
            o.payloads
                .iter()
                .enumerate()
                .map(|(at, p)| (p.payload_type.clone(), nth(at, &p.payload_type)))
                .collect()
        };
        let (new, old) = (places(&self.outline), places(&older.outline));
        let was = |payload: Option<usize>| match payload {
            None => Some(None),
            Some(at) => {
                let like = new.get(at)?;
                old.iter().position(|o| o == like).map(Some)
            }
        };
        let values = |of: &[(Option<usize>, String, Value)], payload, path: &str| -> Vec<Value> {
            of.iter().filter(|(p, at, _)| *p == payload && at == path).map(|(_, _, v)| v.clone()).collect()
        };
        let Self { outline, hidden, .. } = self;
        let mut done = std::collections::HashSet::new();
        for (payload, path, _) in hidden.iter() {
            let Some(then) = was(*payload) else { continue };
            // Names that the author chose share one path.
            if !done.insert((*payload, path.as_str())) {
                continue;
            }
            let before = values(&older.hidden, then, path);
            if before.is_empty() {
                continue;
            }
            let since = if before == values(hidden, *payload, path) { Since::Same } else { Since::Changed };
            let keys = match payload {
                None => Some(&mut outline.keys),
                Some(at) => outline.payloads.get_mut(*at).map(|p| &mut p.keys),
            };
            for key in keys.into_iter().flatten().filter(|k| k.path == *path) {
                if let OutlinedValue::Set(told) = &mut key.value {
                    *told = since;
                }
            }
        }
    }
}

/// Whether a key holds a secret, by its name: then not even whoever saved the profile is shown its text.
fn is_secret(name: &str) -> bool {
    const PARTS: &[&str] =
        &["password", "secret", "passcode", "challenge", "token", "pin", "credential", "privatekey"];
    // `PIN` as a word of its own: `pinning` is no secret.
    let lower = name.to_ascii_lowercase();
    PARTS.iter().any(|p| if *p == "pin" { name.ends_with("PIN") } else { lower.contains(p) })
}

#[derive(Default)]
struct Reading {
    misfits: Vec<Misfit>,
    remarks: Vec<Remark>,
    texts: Vec<Text>,
    hidden: Vec<(Option<usize>, String, Value)>,
    told: Vec<OutlinedKey>,
    count: usize,
    left_out: u32,
}

impl Reading {
    fn misfit(&mut self, path: String, why: MisfitWhy) {
        if self.misfits.len() < MOST_TOLD {
            self.misfits.push(Misfit { path, why });
        }
    }

    fn remark(&mut self, path: String, why: RemarkWhy) {
        if self.remarks.len() < MOST_TOLD {
            self.remarks.push(Remark { path, why });
        }
    }

    /// A name that people and machines find a thing by.
    fn plain(&mut self, of: &Dictionary, key: &str, path: &str) -> String {
        let text = of.get(key).and_then(Value::as_string).unwrap_or_default();
        let plain = text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        if plain && (1..=Outline::LONGEST_NAME).contains(&text.len()) {
            return text.to_owned();
        }
        self.misfit(path.to_owned(), MisfitWhy::NotPlain);
        String::new()
    }

    fn payload(&mut self, payload: &Dictionary, path: &str, at: usize) -> OutlinedPayload {
        let payload_type = self.plain(payload, "PayloadType", &format!("{path}.PayloadType"));
        let known: Option<&PayloadKind> = payload_kinds().find(|k| k.payload_type == payload_type);
        let unknown_keys = match known {
            Some(kind) => self.keys_of(payload, path, &[kind.keys, common()], Some(at)),
            None => {
                self.remark(format!("{path} ({payload_type})"), RemarkWhy::UnknownType);
                let all = payload.keys().filter(|k| !LABELS.contains(&k.as_str())).count();
                // What it has in common with every other is checked all the same.
                self.required(payload, path, common());
                self.types_of(payload, path, common());
                u32::try_from(all).unwrap_or(u32::MAX)
            }
        };
        OutlinedPayload {
            payload_type,
            known: known.is_some(),
            keys: std::mem::take(&mut self.told),
            unknown_keys,
        }
    }

    fn required(&mut self, of: &Dictionary, path: &str, keys: &[Key]) {
        for key in keys.iter().filter(|k| k.required && !of.contains_key(k.name)) {
            self.misfit(joined(path, key.name), MisfitWhy::Missing);
        }
    }

    fn types_of(&mut self, of: &Dictionary, path: &str, keys: &[Key]) {
        for key in keys {
            if of.get(key.name).is_some_and(|v| !has_type(key.kind, v)) {
                self.misfit(joined(path, key.name), MisfitWhy::WrongType);
            }
        }
    }

    /// The keys of a profile or a payload. Answers how many of them are unknown.
    fn keys_of(&mut self, of: &Dictionary, path: &str, lists: &[&[Key]], payload: Option<usize>) -> u32 {
        lists.iter().for_each(|keys| self.required(of, path, keys));
        let mut unknown = 0u32;
        for (name, value) in of {
            let Some(key) = lists.iter().copied().flatten().find(|k| k.name == name) else {
                self.remark(joined(path, &name_shown(name)), RemarkWhy::UnknownKey);
                unknown = unknown.saturating_add(1);
                // A payload counts its own; of the profile's nobody else would tell.
                if payload.is_none() {
                    self.hide_unknown(String::new(), name, value, payload);
                }
                continue;
            };
            let at = joined(path, key.name);
            if LABELS.contains(&key.name) || (payload.is_none() && key.name == "PayloadContent") {
                // Read by itself; only its type is looked at.
                if !has_type(key.kind, value) {
                    self.misfit(at, MisfitWhy::WrongType);
                }
                continue;
            }
            self.value(
                At { full: at, own: key.name.to_owned(), secret: is_secret(key.name) },
                key.kind,
                value,
                payload,
            );
        }
        unknown
    }

    fn value(&mut self, at: At, kind: Kind, value: &Value, payload: Option<usize>) {
        if !has_type(kind, value) {
            return self.misfit(at.full, MisfitWhy::WrongType);
        }
        match (kind, value) {
            (Kind::Truth, Value::Boolean(b)) => self.tell(at.own, OutlinedValue::Truth(*b)),
            (Kind::Whole(..) | Kind::WholeOf(_), Value::Integer(n)) => {
                let Some(n) = n.as_signed() else { return self.hide(at, value, payload) };
                let listed = match kind {
                    Kind::Whole(min, max) => (min..=max).contains(&n),
                    Kind::WholeOf(numbers) => numbers.contains(&n),
                    _ => true,
                };
                if !listed {
                    self.remark(at.full, RemarkWhy::NotListed);
                }
                self.tell(at.own, OutlinedValue::Whole(n));
            }
            (Kind::OneOf(words), Value::String(text)) => match words.iter().find(|w| *w == text) {
                Some(word) => self.tell(at.own, OutlinedValue::Word((*word).to_owned())),
                None => {
                    self.remark(at.full.clone(), RemarkWhy::NotListed);
                    self.hide(at, value, payload);
                }
            },
            (Kind::List(_), Value::Array(items)) if items.is_empty() => {
                self.tell(at.own, OutlinedValue::Empty)
            }
            (Kind::List(of), Value::Array(items)) => {
                for (n, item) in items.iter().enumerate() {
                    self.value(at.under(&n.to_string(), false), *of, item, payload);
                }
            }
            (Kind::Object(keys), Value::Dictionary(of)) => self.object(&at, keys, of, payload),
            _ => self.hide(at, value, payload),
        }
    }

    fn object(&mut self, at: &At, keys: &[Key], of: &Dictionary, payload: Option<usize>) {
        self.required(of, &at.full, keys);
        if of.is_empty() {
            self.tell(at.own.clone(), OutlinedValue::Empty);
        }
        let any = keys.iter().find(|k| k.name == "*");
        for (name, value) in of {
            match keys.iter().find(|k| k.name == name).or(any) {
                Some(key) => self.value(at.under(key.name, is_secret(name)), key.kind, value, payload),
                None => {
                    self.remark(joined(&at.full, &name_shown(name)), RemarkWhy::UnknownKey);
                    self.hide_unknown(at.own.clone(), name, value, payload);
                }
            }
        }
    }

    fn tell(&mut self, path: String, value: OutlinedValue) {
        if self.count == Outline::MOST_KEYS {
            self.left_out = self.left_out.saturating_add(1);
            return;
        }
        self.count += 1;
        self.told.push(OutlinedKey { path, value });
    }

    /// Of a key that the schema has not, only that there is one; compared with the version before by name and value.
    fn hide_unknown(&mut self, under: String, name: &str, value: &Value, payload: Option<usize>) {
        let at = At { full: String::new(), own: joined(&under, "*"), secret: true };
        self.hide(at, &Value::Array(vec![name.into(), value.clone()]), payload);
    }

    fn hide(&mut self, at: At, value: &Value, payload: Option<usize>) {
        if let (Value::String(text), false, true) = (value, at.secret, self.texts.len() < MOST_TEXTS) {
            let cut: String = text.chars().take(LONGEST_TEXT_CHARS).collect();
            let text = if cut.len() < text.len() { format!("{cut}…") } else { cut };
            self.texts.push(Text { payload, path: at.own.clone(), text });
        }
        if self.count < Outline::MOST_KEYS {
            self.hidden.push((payload, at.own.clone(), value.clone()));
        }
        self.tell(at.own, OutlinedValue::Set(Since::Unknown));
    }
}

/// Where a value stands: in the file, and in its payload.
struct At {
    full: String,
    own: String,
    secret: bool,
}

impl At {
    fn under(&self, name: &str, secret: bool) -> Self {
        Self { full: joined(&self.full, name), own: joined(&self.own, name), secret: self.secret || secret }
    }
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// A name that the author chose, made fit to be shown to them.
fn name_shown(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    name.chars().take(LONGEST_NAME_CHARS).map(plain).collect()
}

/// Whether the value is of the kind's type; lists and dictionaries by their outermost alone.
fn has_type(kind: Kind, value: &Value) -> bool {
    matches!(
        (kind, value),
        (Kind::Any, _)
            | (Kind::Truth, Value::Boolean(_))
            | (Kind::Whole(..) | Kind::WholeOf(_), Value::Integer(_))
            | (Kind::Real, Value::Real(_) | Value::Integer(_))
            | (Kind::OneOf(_) | Kind::Text, Value::String(_))
            | (Kind::Data, Value::Data(_))
            | (Kind::Date, Value::Date(_))
            | (Kind::List(_), Value::Array(_))
            | (Kind::Object(_), Value::Dictionary(_))
    )
}
