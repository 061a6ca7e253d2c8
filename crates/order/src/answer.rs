//! The sealed halves of orders, and the answers that are sealed to an order's key.

use minicbor::{Decode, Encode};
use model::{EnrolmentId, TimeMs};

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
sealed_debug!(DeclarationSecrets);

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
