//! People who administer Matron, and the places (groups) their phones belong to.

use serde::{Deserialize, Serialize};

use crate::id::{EnrolmentId, PersonId};

/// What a person may do. Which order each role may sign is the closed table `order::roles`.
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
pub enum Role {
    /// People, roles and limits, and all that the others may.
    #[n(1)]
    Administrator,
    /// Profiles, settings, invitations, commands, erasure of one phone.
    #[n(2)]
    Engineer,
    /// Invites, finds, locks, clears passcodes, lost mode. Does not erase.
    #[n(3)]
    ServiceDesk,
    /// The same as the service desk without clearing passcodes, for the phones of one group.
    #[n(4)]
    WardManager,
    /// Reads masks and the ledger. Signs nothing that opens or changes.
    #[n(5)]
    Auditor,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 5] =
        [Self::Administrator, Self::Engineer, Self::ServiceDesk, Self::WardManager, Self::Auditor];

    /// The name used in routes, tables and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Engineer => "engineer",
            Self::ServiceDesk => "service_desk",
            Self::WardManager => "ward_manager",
            Self::Auditor => "auditor",
        }
    }
}

/// Whose data it is that the vault keeps under a key of their own.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, minicbor::Encode, minicbor::Decode,
)]
#[serde(rename_all = "snake_case")]
pub enum DataSubject {
    /// Someone who signs orders, or did.
    #[n(1)]
    Person(#[n(0)] PersonId),
    /// The holder of an enrolled phone.
    #[n(2)]
    Holder(#[n(0)] EnrolmentId),
}

/// A place phones belong to (a ward, a team): 1 to 64 characters of `a-z 0-9 -`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Group(String);

impl<C> minicbor::Encode<C> for Group {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.str(&self.0)?.ok()
    }
}

/// By hand, so that no name gets in from bytes that [`Group::new`] would refuse.
impl<'b, C> minicbor::Decode<'b, C> for Group {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        Self::new(d.str()?).map_err(|_| minicbor::decode::Error::message("no name of a group"))
    }
}

/// A group's name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a group's name is 1 to 64 characters of a-z, 0-9 and '-', for example ward-7")]
pub struct GroupError;

impl Group {
    /// Checks and takes a group's name.
    ///
    /// # Errors
    /// [`GroupError`] when the name is empty, too long or holds another character.
    pub fn new(name: &str) -> Result<Self, GroupError> {
        let ok = (1..=64).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if ok { Ok(Self(name.to_owned())) } else { Err(GroupError) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Group {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Group {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let name = String::deserialize(d)?;
        Self::new(&name).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_checked_when_it_is_decoded_too() {
        let decode = |name: &str| minicbor::decode::<Group>(&minicbor::to_vec(name).unwrap());
        assert_eq!(decode("ward-7").unwrap(), Group::new("ward-7").unwrap());
        assert!(decode("Ward 7").is_err());
    }

    #[test]
    fn a_group_has_a_plain_name() {
        assert!(Group::new("ward-7").is_ok());
        for bad in ["", "Ward 7", "../x", &"a".repeat(65)] {
            assert!(Group::new(bad).is_err(), "{bad}");
        }
    }
}
