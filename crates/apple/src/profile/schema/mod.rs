//! Apple's schema of configuration profiles: which keys a payload has, of which type; and what of a profile may be told
//! in the clear ([`model::Outline`]).
//!
//! A value of a wrong type, or a required key that is missing, is a [`Misfit`]: a phone would refuse the profile or
//! silently leave the payload out. A type or key that the table has not, or a word or number outside of its lists, is
//! only a [`Remark`]: Apple adds some each year.

mod read;
mod table;

pub use read::{NotRead, Profile, Text, read};

/// What the value of a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `<true/>` or `<false/>`.
    Truth,
    /// A whole number in this range, both ends included.
    Whole(i64, i64),
    /// One of these whole numbers.
    WholeOf(&'static [i64]),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// Any number.
    Real,
    /// Any text.
    Text,
    /// `<data>`
    Data,
    /// `<date>`
    Date,
    /// A list of these.
    List(&'static Kind),
    /// A dictionary with these keys.
    Object(&'static [Key]),
    /// Whatever a property list holds.
    Any,
}

/// A key with its kind. `*` stands for any name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// An iPhone takes no such payload without it.
    pub required: bool,
}

/// A payload type with its own keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadKind {
    /// Its `PayloadType`.
    pub payload_type: &'static str,
    /// Its keys beside those of every payload.
    pub keys: &'static [Key],
}

const WHOLE: Kind = Kind::Whole(i64::MIN, i64::MAX);

const fn req(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, required: true }
}

const fn opt(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, required: false }
}

/// Every payload type of the table.
pub fn payload_kinds() -> impl Iterator<Item = &'static PayloadKind> {
    table::ALL.into_iter().flatten()
}

/// Keys of the profile itself.
#[must_use]
pub fn top_level() -> &'static [Key] {
    table::TOP_LEVEL
}

/// Keys of every payload.
#[must_use]
pub fn common() -> &'static [Key] {
    table::COMMON
}

/// Something for which the profile is not taken. `path` is made of names of the table and places in lists alone, so it
/// says nothing of what the profile holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {why}")]
pub struct Misfit {
    /// Where, such as `PayloadContent.0.SSID_STR`.
    pub path: String,
    /// What is the matter.
    pub why: MisfitWhy,
}

/// Why a profile is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MisfitWhy {
    /// It has to be there.
    #[error("this key is missing")]
    Missing,
    /// The value is of another type than Apple's schema says.
    #[error("the value has another type than Apple's schema says")]
    WrongType,
    /// An identifier or a type that is empty, too long, or more than printable ASCII.
    #[error("it must be 1 to 255 plain characters (ASCII)")]
    NotPlain,
    /// More payloads than a saved profile has.
    #[error("more payloads than a saved profile may have (64)")]
    TooMany,
}

/// Something that whoever saved the profile should know. `path` may hold names that its author chose: it is for them
/// alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Where.
    pub path: String,
    /// What.
    pub why: RemarkWhy,
}

/// What is remarkable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RemarkWhy {
    /// The table has no such payload type.
    #[error(
        "Apple's schema, as far as it is known here, has no such payload type: nothing of it was checked"
    )]
    UnknownType,
    /// The table has no such key.
    #[error("Apple's schema, as far as it is known here, has no such key: it was not checked")]
    UnknownKey,
    /// The word or number is not one of the table's.
    #[error("the value is not one of those that Apple's schema lists")]
    NotListed,
}
