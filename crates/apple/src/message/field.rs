//! A message's values as flat fields: a path and a value, the form in which they are sealed.

use crate::Malformed;
use crate::plist_guard::Node;
use model::TimeMs;
use std::borrow::Cow;

/// Longest path of a field, in bytes; Apple's longest have some 60. Bounds what one long key in front of
/// many values can expand to.
pub const MAX_NAME_BYTES: usize = 256;

/// One thing a phone said: a path such as `IMEI` or `ServiceSubscriptions.0.PhoneNumber` (as
/// [`model::classify`] reads it) and its value.
///
/// A dot or `%` inside a key is written `%2E` or `%25`, so that no key can pose as a path; an empty key
/// is `%`. Empty arrays and dictionaries give no field.
#[derive(Clone, PartialEq)]
pub struct Field {
    /// The path.
    pub name: String,
    /// The value.
    pub value: FieldValue,
}

impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Field({}, sealed)", self.name)
    }
}

/// A field's value, as the phone typed it.
#[derive(Clone, PartialEq)]
pub enum FieldValue {
    /// Text; also an integer above `i64::MAX`, in decimal digits.
    Text(String),
    /// `<data>`.
    Bytes(Vec<u8>),
    /// A whole number.
    Integer(i64),
    /// A floating-point number.
    Real(f64),
    /// True or false.
    Bool(bool),
    /// A date, in milliseconds since the Unix epoch.
    Date(TimeMs),
}

impl std::fmt::Debug for FieldValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("sealed")
    }
}

impl FieldValue {
    /// The bytes that are sealed and compared: a tag (`t`, `d`, `i`, `r`, `b`, `@`), then UTF-8, the
    /// data, or big-endian numbers (8 bytes; one byte for a truth value). Equal values give equal bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (tag, content): (u8, Cow<'_, [u8]>) = match self {
            Self::Text(t) => (b't', t.as_bytes().into()),
            Self::Bytes(b) => (b'd', b.as_slice().into()),
            Self::Integer(i) => (b'i', i.to_be_bytes().to_vec().into()),
            // One NaN, one zero: the same number must give the same bytes.
            Self::Real(r) => {
                let r = if r.is_nan() { f64::NAN } else { *r + 0.0 };
                (b'r', r.to_bits().to_be_bytes().to_vec().into())
            }
            Self::Bool(b) => (b'b', vec![u8::from(*b)].into()),
            Self::Date(ms) => (b'@', ms.to_be_bytes().to_vec().into()),
        };
        let mut out = Vec::with_capacity(content.len() + 1);
        out.push(tag);
        out.extend_from_slice(&content);
        out
    }

    /// Reads what [`FieldValue::encode`] wrote; `None` for anything else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, content) = bytes.split_first()?;
        Some(match tag {
            b't' => Self::Text(String::from_utf8(content.to_vec()).ok()?),
            b'd' => Self::Bytes(content.to_vec()),
            b'i' => Self::Integer(i64::from_be_bytes(content.try_into().ok()?)),
            b'r' => Self::Real(f64::from_bits(u64::from_be_bytes(content.try_into().ok()?))),
            b'b' => Self::Bool(match content {
                [0] => false,
                [1] => true,
                _ => return None,
            }),
            b'@' => Self::Date(i64::from_be_bytes(content.try_into().ok()?)),
            _ => return None,
        })
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(t) = self { Some(t) } else { None }
    }

    /// The data, if it is some.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(b) = self { Some(b) } else { None }
    }

    /// The value as a person reads it: numbers in decimal, data in hexadecimal, a date in milliseconds.
    /// Whoever calls shows a field in the clear.
    #[must_use]
    pub fn to_text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(t) => t.as_str().into(),
            Self::Bytes(b) => {
                use std::fmt::Write;
                b.iter()
                    .fold(String::with_capacity(b.len() * 2), |mut s, x| {
                        let _ = write!(s, "{x:02x}");
                        s
                    })
                    .into()
            }
            Self::Integer(i) => i.to_string().into(),
            Self::Real(r) => r.to_string().into(),
            Self::Bool(b) => (if *b { "true" } else { "false" }).into(),
            Self::Date(ms) => ms.to_string().into(),
        }
    }
}

/// Turns `node` into fields whose paths begin with `prefix` (none when it is empty).
pub(crate) fn flatten(prefix: &str, node: Node<'_>, out: &mut Vec<Field>) -> Result<(), Malformed> {
    let mut path = String::with_capacity(48);
    path.push_str(prefix);
    walk(&mut path, node, out)
}

// As deep as the reader lets a tree be: plist_guard::MAX_DEPTH.
fn walk(path: &mut String, node: Node<'_>, out: &mut Vec<Field>) -> Result<(), Malformed> {
    let value = match node {
        Node::Array(items) => {
            for (i, item) in items.into_iter().enumerate() {
                let was = push_segment(path, &i.to_string())?;
                walk(path, item, out)?;
                path.truncate(was);
            }
            return Ok(());
        }
        Node::Dict(pairs) => {
            for (key, item) in pairs {
                let was = push_segment(path, &escape(&key))?;
                walk(path, item, out)?;
                path.truncate(was);
            }
            return Ok(());
        }
        Node::Text(t) => FieldValue::Text(t.into_owned()),
        Node::Bytes(b) => FieldValue::Bytes(b.into_owned()),
        Node::Integer(i) => {
            i64::try_from(i).map_or_else(|_| FieldValue::Text(i.to_string()), FieldValue::Integer)
        }
        Node::Real(r) => FieldValue::Real(r),
        Node::Bool(b) => FieldValue::Bool(b),
        Node::Date(ms) => FieldValue::Date(ms),
    };
    out.push(Field { name: path.clone(), value });
    Ok(())
}

fn push_segment(path: &mut String, segment: &str) -> Result<usize, Malformed> {
    let was = path.len();
    if was + 1 + segment.len() > MAX_NAME_BYTES {
        return Err(Malformed::NameTooLong);
    }
    if was > 0 {
        path.push('.');
    }
    path.push_str(segment);
    Ok(was)
}

fn escape(key: &str) -> Cow<'_, str> {
    if key.is_empty() {
        return "%".into();
    }
    if key.contains(['.', '%']) {
        return key.replace('%', "%25").replace('.', "%2E").into();
    }
    key.into()
}

/// Refuses a list of fields in which one path stands twice.
pub(crate) fn unique(fields: &[Field]) -> Result<(), Malformed> {
    let mut names: Vec<&str> = fields.iter().map(|f| f.name.as_str()).collect();
    names.sort_unstable();
    let twice = names.windows(2).any(|w| matches!(w, [a, b] if a == b));
    if twice { Err(Malformed::DuplicateKey) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = FieldValue> {
        prop_oneof![
            ".*".prop_map(FieldValue::Text),
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(FieldValue::Bytes),
            any::<i64>().prop_map(FieldValue::Integer),
            (-1e12..1e12f64).prop_map(FieldValue::Real),
            any::<bool>().prop_map(FieldValue::Bool),
            any::<i64>().prop_map(FieldValue::Date),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_value_reads_back_what_it_encodes(value in values()) {
            prop_assert_eq!(FieldValue::decode(&value.encode()), Some(value));
        }

        #[test]
        fn decoding_arbitrary_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            if let Some(value) = FieldValue::decode(&bytes) {
                prop_assert!(!value.encode().is_empty());
            }
        }
    }

    #[test]
    fn a_key_with_a_dot_can_not_pose_as_a_path() {
        let tree = Node::Dict(vec![
            ("PhoneNumber.Version".into(), Node::Text("07700 900123".into())),
            ("".into(), Node::Bool(true)),
            ("%2E".into(), Node::Bool(true)),
        ]);
        let mut out = Vec::new();
        flatten("", tree, &mut out).unwrap();
        let names: Vec<_> = out.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["PhoneNumber%2EVersion", "%", "%252E"]);
        assert_eq!(
            model::classify("PhoneNumber%2EVersion"),
            model::FieldClass::Sealed(model::Compartment::Other)
        );
    }

    #[test]
    fn debug_says_sealed_and_nothing_of_the_value() {
        let field = Field { name: "IMEI".into(), value: FieldValue::Text("350000000000006".into()) };
        assert_eq!(format!("{field:?}"), "Field(IMEI, sealed)");
        assert_eq!(format!("{:?}", field.value), "sealed");
    }

    #[test]
    fn a_number_above_i64_is_kept_as_text() {
        let mut out = Vec::new();
        flatten("X", Node::Integer(u64::MAX.into()), &mut out).unwrap();
        assert_eq!(out[0].value.as_text(), Some("18446744073709551615"));
    }
}
