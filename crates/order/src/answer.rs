//! The sealed halves of orders, and the answers that are sealed to an order's key.

use minicbor::{Decode, Encode};
use model::{EnrolmentId, Outline, ProfileId, TimeMs};

macro_rules! sealed_debug {
    ($($t:ident),*) => {$(
        impl std::fmt::Debug for $t {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($t), "(sealed)"))
            }
        }
    )*};
}
sealed_debug!(InviteSecrets, JoinSecrets, SearchSecrets, ServiceTokenSecrets, InviteAnswer, OpenedField);
sealed_debug!(HolderCard, DeclarationSecrets, SaveSecrets, SavedText, SavedAnswer);

/// Whom an invitation is for. Sealed to the vault.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct InviteSecrets {
    /// The person's name.
    #[n(0)]
    pub name: String,
    /// The person's email address.
    #[n(1)]
    pub email: String,
}

/// Who an administrator is. Sealed to the vault.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct JoinSecrets {
    /// The person's name.
    #[n(0)]
    pub name: String,
}

/// What is searched for, under a grant. Sealed to the vault.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct SearchSecrets {
    /// `phone`, `imei`, `serial`, `name` or `email`.
    #[n(0)]
    pub field: String,
    /// As the person typed it.
    #[n(1)]
    pub term: String,
}

/// A service's token, as phones get it. Sealed to the vault.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct ServiceTokenSecrets {
    /// `TokenData`.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub token: Vec<u8>,
}

/// What an accepted invitation gives back.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct InviteAnswer {
    /// The enrolment that the link leads to.
    #[n(0)]
    pub enrolment: EnrolmentId,
    /// The link's secret path segment; the vault keeps its hash alone.
    #[n(1)]
    pub link_secret: String,
    /// When the link runs out.
    #[n(2)]
    pub expires_at_ms: TimeMs,
    /// Where phones reach the door, e.g. `https://mdm.example.org`.
    #[n(3)]
    pub base_url: String,
    /// The code of the holder's card, as it stands on it. None, once another card was made, and of the first releases.
    #[n(4)]
    pub holder_code: Option<String>,
    /// The number to call that stands on the card; none: the configuration has none.
    #[n(5)]
    pub call: Option<String>,
}

/// A holder's card.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct HolderCard {
    /// For which phone.
    #[n(0)]
    pub enrolment: EnrolmentId,
    /// Its code, as it stands on the card ([`crate::HolderCode::grouped`]).
    #[n(1)]
    pub code: String,
}

/// What an order for new holders' cards gives back.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct HolderCardsAnswer {
    /// One for each phone of the order. When the order comes again, without those that another card took the place of.
    #[n(0)]
    pub cards: Vec<HolderCard>,
    /// The number to call that stands on each; none: the configuration has none.
    #[n(1)]
    pub call: Option<String>,
}

/// One opened field.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct OpenedField {
    /// Whose.
    #[n(0)]
    pub enrolment: EnrolmentId,
    /// Which.
    #[n(1)]
    pub name: String,
    /// Its value.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub value: Vec<u8>,
}

/// What an `open` order gives back.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct OpenAnswer {
    /// In the order that was asked; what the phone never reported is absent.
    #[n(0)]
    pub fields: Vec<OpenedField>,
}

/// A set of declarations. Sealed to the vault.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct DeclarationSecrets {
    /// A JSON array of objects with `Type`, `Identifier` and `Payload`; empty to take the set away.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub declarations: Vec<u8>,
    /// When the order counts as erasure: the holder's name as the person typed it.
    #[n(1)]
    pub holder_name: Option<String>,
}

/// A version of a profile. Sealed to the vault.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct SaveSecrets {
    /// The `.mobileconfig` as the person gave it, signed or not.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub profile: Vec<u8>,
    /// 32 random bytes, kept sealed beside it: the ledger binds the version by a digest that nobody can guess at
    /// without them.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub salt: Vec<u8>,
}

/// What a saved version says, for whoever saved it.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct SavedAnswer {
    /// Of which profile.
    #[n(0)]
    pub profile: ProfileId,
    /// Which version it became.
    #[n(1)]
    pub version: u32,
    /// What stands in the ledger.
    #[n(2)]
    pub outline: Outline,
    /// Texts that are no secrets by their key's name; nothing of passwords and data.
    #[n(3)]
    pub texts: Vec<SavedText>,
    /// It was signed, by a certificate with this name; nobody has vouched for the certificate. Empty: not signed.
    #[n(4)]
    pub signed_by: String,
    /// What whoever saved it should know: of unknown keys and types.
    #[n(5)]
    pub remarks: Vec<String>,
    /// Why installing it counts as erasure; empty: it does not.
    #[n(6)]
    pub because: Vec<String>,
}

/// One text of a saved version.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct SavedText {
    /// In which payload, from 0; nothing: the profile's own.
    #[n(0)]
    pub payload: Option<u32>,
    /// The key's path.
    #[n(1)]
    pub path: String,
    /// The text, cut.
    #[n(2)]
    pub text: String,
}

/// What stands in a phone's place where versions of this profile are sealed: no phone's id is the hash of a profile's.
#[must_use]
pub fn profile_place(profile: &ProfileId) -> EnrolmentId {
    let hash = crate::sha256(&[b"matron/profile/1\0".as_slice(), profile.as_bytes()].concat());
    let mut out = [0; 16];
    out.iter_mut().zip(hash.0).for_each(|(to, from)| *to = from);
    EnrolmentId(out)
}
