//! JSON, read strictly: depth and size are bounded before anything is parsed, a key that stands twice in
//! one object is refused, and what is written again is written in one way only.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::Malformed;

/// Objects and lists nested at most so deep.
pub const MAX_DEPTH: usize = 32;
/// At most so many values.
pub const MAX_VALUES: usize = 100_000;

/// A JSON value. What it holds may be personal: `Debug` says `sealed`.
#[derive(Clone, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// True or false.
    Truth(bool),
    /// A whole number.
    Whole(i64),
    /// Any other number; finite. Read to within its last binary digit: no declaration has one.
    Real(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Json>),
    /// An object, its keys in the order of their bytes.
    Object(BTreeMap<String, Json>),
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Json(sealed)")
    }
}

/// Reads one JSON value.
///
/// # Errors
/// [`Malformed`]: `Empty`, `TooLarge`, `TooDeep`, `TooManyNodes`, `DuplicateKey`, or `NotJson`.
pub fn read(bytes: &[u8], max_bytes: usize) -> Result<Json, Malformed> {
    if bytes.is_empty() {
        return Err(Malformed::Empty);
    }
    if bytes.len() > max_bytes {
        return Err(Malformed::TooLarge);
    }
    scan(bytes)?;
    serde_json::from_slice(bytes).map_err(|e| {
        if e.to_string().starts_with(TWICE) { Malformed::DuplicateKey } else { Malformed::NotJson }
    })
}

/// Bounds depth and number of values by their punctuation, outside of texts.
fn scan(bytes: &[u8]) -> Result<(), Malformed> {
    let (mut depth, mut values, mut in_text, mut escaped) = (0usize, 1usize, false, false);
    for byte in bytes {
        if in_text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b'[' | b'{' => {
                depth += 1;
                values += 1;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(Malformed::TooDeep);
        }
        if values > MAX_VALUES {
            return Err(Malformed::TooManyNodes);
        }
    }
    Ok(())
}

const TWICE: &str = "a key stands twice";

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(Values)
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Truth(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Whole(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Json, E> {
        i64::try_from(value).map(Json::Whole).map_err(|_| E::custom("a number out of range"))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Json, E> {
        if value.is_finite() { Ok(Json::Real(value)) } else { Err(E::custom("a number out of range")) }
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut out = Vec::new();
        while let Some(value) = seq.next_element()? {
            out.push(value);
        }
        Ok(Json::List(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut out = BTreeMap::new();
        while let Some((key, value)) = map.next_entry::<String, Json>()? {
            if out.insert(key, value).is_some() {
                return Err(de::Error::custom(TWICE));
            }
        }
        Ok(Json::Object(out))
    }
}

impl Json {
    /// A member of an object.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Self::Object(members) => members.get(key),
            _ => None,
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The items, if it is a list.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Json]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// An object of these members.
    pub fn object<const N: usize>(members: [(&str, Json); N]) -> Self {
        Self::Object(members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
    }

    /// The one way it is written: keys in the order of their bytes, no space.
    #[must_use]
    pub fn write(&self) -> String {
        let mut out = String::new();
        self.push(&mut out);
        out
    }

    fn push(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Truth(b) => out.push_str(if *b { "true" } else { "false" }),
            Self::Whole(n) => out.push_str(&n.to_string()),
            // Debug keeps the point, so that a real stays a real.
            Self::Real(r) => out.push_str(&format!("{r:?}")),
            Self::Text(text) => push_text(out, text),
            Self::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.push(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (i, (key, value)) in members.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    push_text(out, key);
                    out.push(':');
                    value.push(out);
                }
                out.push('}');
            }
        }
    }
}

fn push_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::Truth),
            any::<i64>().prop_map(Json::Whole),
            any::<i32>().prop_map(|n| Json::Real(f64::from(n) / 8.0)),
            ".{0,12}".prop_map(Json::Text),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Json::List),
                prop::collection::btree_map(".{0,6}", inner, 0..6).prop_map(Json::Object),
            ]
        })
    }

    #[test]
    fn what_could_be_read_in_two_ways_or_without_end_is_refused() {
        let read = |text: &str| read(text.as_bytes(), 1 << 20).map(|_| ());
        assert_eq!(read(r#"{"a":1,"a":1}"#), Err(Malformed::DuplicateKey));
        assert_eq!(read(r#"[{"b":{"a":1,"a":2}}]"#), Err(Malformed::DuplicateKey));
        assert_eq!(read(""), Err(Malformed::Empty));
        for bad in ["{", "[1,]", "{\"a\"}", "nul", "\"\u{1}\"", "1 2", "18446744073709551615", "1e999", "'a'"]
        {
            assert_eq!(read(bad), Err(Malformed::NotJson), "{bad}");
        }
        let nested = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert_eq!(read(&nested(32)), Ok(()));
        assert_eq!(read(&nested(33)), Err(Malformed::TooDeep));
        assert_eq!(read(&"[".repeat(1 << 19)), Err(Malformed::TooDeep));
        assert_eq!(read(&format!("\"{}\"", "[".repeat(100))), Ok(()), "brackets in a text nest nothing");
        assert_eq!(read(&format!("[1{}]", ",1".repeat(MAX_VALUES))), Err(Malformed::TooManyNodes));
        assert_eq!(super::read(b"[1,2]", 4), Err(Malformed::TooLarge));
        assert_eq!(super::read(b"\"\xff\"", 9), Err(Malformed::NotJson));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn what_is_written_reads_back_and_is_written_the_same_again(value in values()) {
            let text = value.write();
            let again = read(text.as_bytes(), 1 << 20).unwrap();
            prop_assert_eq!(again.write(), text);
        }

        #[test]
        fn no_bytes_make_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes, 1 << 20);
        }
    }
}
