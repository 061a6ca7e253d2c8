//! Identifiers. Each is random or a hash, says nothing of a person, and has one written form.

use std::fmt;
use std::str::FromStr;

/// An id's text could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not {what}: expected {expected} hexadecimal digits")]
pub struct ParseIdError {
    what: &'static str,
    expected: usize,
}

fn hex_digit(c: u8) -> Option<u8> {
    (c as char).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

/// Reads `N` bytes of hexadecimal text, either case, ignoring hyphens.
fn read_hex<const N: usize>(text: &str, what: &'static str) -> Result<[u8; N], ParseIdError> {
    let err = || ParseIdError { what, expected: N * 2 };
    let mut out = [0u8; N];
    let mut digits = text.bytes().filter(|c| *c != b'-');
    for byte in &mut out {
        let hi = digits.next().and_then(hex_digit).ok_or_else(err)?;
        let lo = digits.next().and_then(hex_digit).ok_or_else(err)?;
        *byte = hi << 4 | lo;
    }
    if digits.next().is_some() {
        return Err(err());
    }
    Ok(out)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $n:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, minicbor::Encode, minicbor::Decode)]
        #[cbor(transparent)]
        pub struct $name(#[n(0)] #[cbor(with = "minicbor::bytes")] pub [u8; $n]);

        impl $name {
            /// The id as bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = ParseIdError;
            fn try_from(bytes: &[u8]) -> Result<Self, ParseIdError> {
                bytes.try_into().map(Self).map_err(|_| ParseIdError { what: $what, expected: $n * 2 })
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                read_hex(text, $what).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

macro_rules! hex_display {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for b in self.0 {
                    write!(f, "{b:02x}")?;
                }
                Ok(())
            }
        }
    )*};
}

id!(
    /// One enrolment of one phone: minted at random by the vault with the invitation, written into
    /// the phone's certificate, never reused. 32 hexadecimal digits.
    EnrolmentId, 16, "an enrolment id"
);
id!(
    /// One order, minted by whoever makes it. 32 hexadecimal digits.
    OrderId, 16, "an order id"
);
id!(
    /// A profile of the library, whatever its version: minted at random by whoever saves the first one. 32
    /// hexadecimal digits.
    ProfileId, 16, "a profile id"
);
id!(
    /// A person who administers Matron. 32 hexadecimal digits.
    PersonId, 16, "a person id"
);
id!(
    /// A signing key of a person: the first 16 bytes of the SHA-256 of its public bytes.
    KeyId, 16, "a key id"
);
id!(
    /// SHA-256 of an invitation link's secret; the only form of it that is kept.
    LinkHash, 32, "a link hash"
);
id!(
    /// SHA-256 of some bytes.
    Digest, 32, "a SHA-256 digest"
);
id!(
    /// One command to a phone (Apple's `CommandUUID`), written as an upper-case UUID.
    CommandId, 16, "a command id"
);

id!(
    /// A device group, minted at random by whoever saves it first. 32 hexadecimal digits.
    DeviceGroupId, 16, "a device group's id"
);

hex_display!(EnrolmentId, OrderId, PersonId, KeyId, LinkHash, Digest, DeviceGroupId, ProfileId);

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, b) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{b:02X}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_what_they_write() {
        let id = EnrolmentId([0xab; 16]);
        assert_eq!(id.to_string().parse::<EnrolmentId>().unwrap(), id);
        let cmd = CommandId([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
        assert_eq!(cmd.to_string(), "01020304-0506-0708-090A-0B0C0D0E0F10");
        assert_eq!(cmd.to_string().to_lowercase().parse::<CommandId>().unwrap(), cmd);
    }

    #[test]
    fn an_id_of_the_wrong_length_or_alphabet_is_refused() {
        for bad in ["", "ab", "zz", &"a".repeat(31), &"a".repeat(33)] {
            assert!(bad.parse::<OrderId>().is_err(), "{bad}");
        }
    }
}
