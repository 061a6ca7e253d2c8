//! Declarative management's words: the four kinds of declaration, identifiers, and names of sets.
//!
//! Source: Apple's schema, `declarative/declarations/declarationbase.yaml` (identifiers of 64 octets at
//! most) and `declarative/protocol/declarationitemsresponse.yaml` (the four kinds).

use serde::{Deserialize, Serialize};

/// What a declaration is for; it stands in the phone's `declaration/<kind>/<identifier>`.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    minicbor::Encode,
    minicbor::Decode,
)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum DeclarationKind {
    /// Puts configurations into force.
    #[n(1)]
    Activation,
    /// Data that configurations refer to.
    #[n(2)]
    Asset,
    /// A policy, an account, a subscription.
    #[n(3)]
    Configuration,
    /// What the phone knows of its management.
    #[n(4)]
    Management,
}

impl DeclarationKind {
    /// Every kind.
    pub const ALL: [DeclarationKind; 4] =
        [Self::Activation, Self::Asset, Self::Configuration, Self::Management];

    /// The word in paths, tables and documents: `activation`, `asset`, `configuration`, `management`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Activation => "activation",
            Self::Asset => "asset",
            Self::Configuration => "configuration",
            Self::Management => "management",
        }
    }

    /// The kind of that word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.name() == name)
    }
}

macro_rules! checked_name {
    ($(#[$doc:meta])* $name:ident, $error:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        #[doc = concat!($what, ": 1 to 64 of `A-Z a-z 0-9 . _ -`.")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
        #[error("{}: 1 to 64 letters, digits, dots, hyphens or underscores", $what)]
        pub struct $error;

        impl $name {
            /// Checks and takes a name.
            ///
            /// # Errors
            /// When it is empty, longer than 64 octets or holds another character.
            pub fn new(name: &str) -> Result<Self, $error> {
                let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
                let ok = (1..=64).contains(&name.len()) && name.bytes().all(fits);
                if ok { Ok(Self(name.to_owned())) } else { Err($error) }
            }

            /// The name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.str(&self.0)?.ok()
            }
        }

        /// By hand, so that no name gets in from bytes that `new` would refuse.
        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
                Self::new(d.str()?).map_err(|_| minicbor::decode::Error::message(concat!("bad ", $what)))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

checked_name!(
    /// The name of a set of declarations. A phone has at most one set of a name; what it should hold is the
    /// union of its sets. It stands in the ledger: no person's name belongs into it.
    SetName,
    SetNameError,
    "a set's name"
);
checked_name!(
    /// A declaration's `Identifier`, unique among a phone's declarations. It stands in the ledger: no
    /// person's name belongs into it.
    DeclarationId,
    DeclarationIdError,
    "a declaration's identifier"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain_however_it_comes_in() {
        for good in ["ward-policy", "os_update", "org.example.A1", &"x".repeat(64)] {
            let name = SetName::new(good).unwrap();
            assert_eq!(minicbor::decode::<SetName>(&minicbor::to_vec(&name).unwrap()).unwrap(), name);
        }
        for bad in ["", "two words", "a/b", "naïve", "a\nb", &"x".repeat(65)] {
            assert!(SetName::new(bad).is_err() && DeclarationId::new(bad).is_err(), "{bad}");
            assert!(minicbor::decode::<DeclarationId>(&minicbor::to_vec(bad).unwrap()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_kind_is_known_by_its_word() {
        for kind in DeclarationKind::ALL {
            assert_eq!(DeclarationKind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(DeclarationKind::from_name("Activation"), None);
    }
}
