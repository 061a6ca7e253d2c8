//! Property lists read strictly: the one reader for whatever a phone or a profile's author wrote.
//!
//! One pass both guards and reads, so that no second parser can see something else than was checked.
//! XML and binary (`bplist00`) alike: at most [`MAX_DEPTH`] collections deep, at most [`MAX_NODES`]
//! values, a bound on what shared references expand to, no document type but Apple's, no entity beyond
//! XML's five, UTF-8 only, no key twice in a dictionary. It never panics.
//!
//! Source: Apple's `PropertyList-1.0.dtd`, and CoreFoundation's `CFPropertyList.c` and
//! `CFBinaryPList.c` for what phones write.

mod binary;
mod xml;

use crate::Malformed;
use model::TimeMs;
use std::borrow::Cow;
use std::time::{Duration, UNIX_EPOCH};

/// How many collections may lie inside each other.
pub const MAX_DEPTH: usize = 64;
/// How many values (collections, scalars and keys) one property list may hold.
pub const MAX_NODES: usize = 131_072;
/// What the strings and data of one property list may expand to, however small it is, in bytes.
const MAX_CONTENT_BYTES: usize = 32 << 20;

/// A value of a property list, borrowing from the body where it can.
#[derive(Clone, PartialEq)]
pub(crate) enum Node<'a> {
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    /// In `i64::MIN..=u64::MAX`.
    Integer(i128),
    Real(f64),
    Bool(bool),
    /// Within the years 0000 to 9999.
    Date(TimeMs),
    Array(Vec<Node<'a>>),
    /// In the order written; no key twice.
    Dict(Vec<(Cow<'a, str>, Node<'a>)>),
}

/// Reads a property list of at most `max_bytes` bytes.
///
/// # Errors
/// [`Malformed`], which says why without saying what was in it.
pub fn parse(body: &[u8], max_bytes: usize) -> Result<plist::Value, Malformed> {
    read(body, max_bytes).map(into_value)
}

/// The same, as a tree that borrows from `body`.
pub(crate) fn read(body: &[u8], max_bytes: usize) -> Result<Node<'_>, Malformed> {
    if body.is_empty() {
        return Err(Malformed::Empty);
    }
    if body.len() > max_bytes {
        return Err(Malformed::TooLarge);
    }
    let mut budget = Budget::for_body(body);
    if body.starts_with(b"bplist") {
        return binary::read(body, &mut budget);
    }
    match body {
        // DER's SEQUENCE with a long-form or indefinite length: CMS. No property list begins so.
        [0x30, 0x80..=0x84, ..] => return Err(Malformed::SignedEnvelope),
        [0xFE, 0xFF, ..] | [0xFF, 0xFE, ..] => return Err(Malformed::Encoding),
        _ => {}
    }
    let text = std::str::from_utf8(body).map_err(|_| Malformed::Encoding)?;
    xml::read(text, &mut budget)
}

/// What is left to spend while reading.
struct Budget {
    nodes: usize,
    content_bytes: usize,
}

impl Budget {
    /// A binary list may name one string many times; 32 times its own size is more than any report needs.
    fn for_body(body: &[u8]) -> Self {
        let content_bytes = body.len().saturating_mul(32).saturating_add(64 << 10).min(MAX_CONTENT_BYTES);
        Self { nodes: MAX_NODES, content_bytes }
    }

    fn take_nodes(&mut self, n: usize) -> Result<(), Malformed> {
        self.nodes = self.nodes.checked_sub(n).ok_or(Malformed::TooManyNodes)?;
        Ok(())
    }

    fn take_content(&mut self, bytes: usize) -> Result<(), Malformed> {
        self.content_bytes = self.content_bytes.checked_sub(bytes).ok_or(Malformed::TooLarge)?;
        Ok(())
    }
}

/// Refuses a dictionary in which one key stands twice: parsers differ on which of the two counts.
fn check_keys(pairs: &[(Cow<'_, str>, Node<'_>)]) -> Result<(), Malformed> {
    let twice = if pairs.len() <= 8 {
        pairs.iter().enumerate().any(|(i, (a, _))| pairs.iter().skip(i + 1).any(|(b, _)| a == b))
    } else {
        let mut keys: Vec<&str> = pairs.iter().map(|(k, _)| k.as_ref()).collect();
        keys.sort_unstable();
        keys.windows(2).any(|w| matches!(w, [a, b] if a == b))
    };
    if twice { Err(Malformed::DuplicateKey) } else { Ok(()) }
}

/// The first and last millisecond of the years 0000 to 9999: what an XML date can say.
const DATES_MS: std::ops::RangeInclusive<TimeMs> = -62_167_219_200_000..=253_402_300_799_999;

// As deep as the reader lets a tree be.
pub(crate) fn into_value(node: Node<'_>) -> plist::Value {
    match node {
        Node::Text(t) => plist::Value::String(t.into_owned()),
        Node::Bytes(b) => plist::Value::Data(b.into_owned()),
        Node::Integer(i) => plist::Value::Integer(match (i64::try_from(i), u64::try_from(i)) {
            (Ok(signed), _) => signed.into(),
            (_, Ok(unsigned)) => unsigned.into(),
            _ => 0i64.into(), // not reachable: the readers bound the range
        }),
        Node::Real(r) => plist::Value::Real(r),
        Node::Bool(b) => plist::Value::Boolean(b),
        Node::Date(ms) => {
            // Whole seconds: Apple's XML reader takes no fraction.
            let s = Duration::from_secs(ms.div_euclid(1000).unsigned_abs());
            let time = if ms < 0 { UNIX_EPOCH.checked_sub(s) } else { UNIX_EPOCH.checked_add(s) };
            plist::Value::Date(time.unwrap_or(UNIX_EPOCH).into())
        }
        Node::Array(items) => plist::Value::Array(items.into_iter().map(into_value).collect()),
        Node::Dict(pairs) => plist::Value::Dictionary(
            pairs.into_iter().map(|(k, v)| (k.into_owned(), into_value(v))).collect(),
        ),
    }
}

/// Writes a property list as XML, the same bytes for the same value.
pub(crate) fn write(value: &plist::Value) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(1024);
    value.to_writer_xml(&mut out).ok()?;
    Some(out)
}

#[cfg(test)]
mod tests;
