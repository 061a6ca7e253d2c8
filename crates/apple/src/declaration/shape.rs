//! What a payload's value may be.

use crate::json::Json;

/// One of Apple's declarations.
#[derive(Debug, Clone, Copy)]
pub struct DeclarationType {
    /// Its `Type`.
    pub name: &'static str,
    /// An unsupervised iPhone refuses it.
    pub supervised: bool,
    /// The keys of its `Payload`.
    pub keys: &'static [Key],
}

/// One key of a payload. `*` stands for any name.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What its value is.
    pub shape: Shape,
    /// The payload can't be without it.
    pub required: bool,
}

/// A key that must be there.
pub(super) const fn req(name: &'static str, shape: Shape) -> Key {
    Key { name, shape, required: true }
}

/// A key that may be there.
pub(super) const fn opt(name: &'static str, shape: Shape) -> Key {
    Key { name, shape, required: false }
}

/// A value's type, as Apple's schema has it.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// Text.
    Text,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// A whole number in this range, both ends included.
    Whole(i64, i64),
    /// Any number.
    Real,
    /// True or false.
    Truth,
    /// A list of these.
    List(&'static Shape),
    /// An object with these keys.
    Object(&'static [Key]),
    /// Whatever JSON says.
    Any,
}

/// Longest text in a payload, in bytes.
const MAX_TEXT_BYTES: usize = 16 << 10;

/// Checks `value`; `Err` is the path of what does not fit, without any value, and why.
pub(super) fn check(shape: &Shape, value: &Json, path: &str) -> Result<(), (String, Misfit)> {
    let wrong = |why| Err((path.to_owned(), why));
    match (shape, value) {
        (Shape::Any, _) | (Shape::Truth, Json::Truth(_)) => Ok(()),
        (Shape::Real, Json::Whole(_) | Json::Real(_)) => Ok(()),
        (Shape::Text, Json::Text(text)) if text.len() > MAX_TEXT_BYTES => wrong(Misfit::OutOfRange),
        (Shape::Text, Json::Text(_)) => Ok(()),
        (Shape::OneOf(words), Json::Text(text)) => {
            if words.contains(&text.as_str()) {
                Ok(())
            } else {
                wrong(Misfit::OutOfRange)
            }
        }
        (Shape::Whole(min, max), Json::Whole(n)) => {
            if (min..=max).contains(&n) {
                Ok(())
            } else {
                wrong(Misfit::OutOfRange)
            }
        }
        (Shape::List(of), Json::List(items)) => items.iter().try_for_each(|item| check(of, item, path)),
        (Shape::Object(keys), Json::Object(members)) => {
            if let Some(key) = keys.iter().find(|k| k.required && !members.contains_key(k.name)) {
                return Err((joined(path, key.name), Misfit::Missing));
            }
            for (name, member) in members {
                let key = keys.iter().find(|k| k.name == name || k.name == "*");
                let key = key.ok_or_else(|| (joined(path, name), Misfit::UnknownKey))?;
                check(&key.shape, member, &joined(path, name))?;
            }
            Ok(())
        }
        _ => wrong(Misfit::WrongType),
    }
}

fn joined(path: &str, name: &str) -> String {
    let name: String = name.chars().take(64).collect();
    if path.is_empty() { name } else { format!("{path}.{name}") }
}

/// Why a value does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misfit {
    UnknownKey,
    Missing,
    WrongType,
    OutOfRange,
}
