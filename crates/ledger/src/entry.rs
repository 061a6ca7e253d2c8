//! What one entry says. The enums here are closed: a number that is not listed does not decode, and
//! a number once used never means anything else.
//!
//! Bytes are CBOR (RFC 8949) in one canonical form: [`Entry::decode`] encodes what it read again and
//! refuses input that differs by a byte, so that one meaning has one hash.

use minicbor::{Decode, Encode};
use model::{
    CommandId, CommandKind, Compartment, Digest, EnrolmentId, Group, KeyId, LinkHash, OrderId, PersonId,
    Role, TimeMs,
};

use crate::error::EntryError;

/// The version that [`Entry::version`] carries today.
pub const ENTRY_VERSION: u8 = 1;

/// The largest encoded entry: room for one order over 50,000 phones with a secret for each.
pub const MAX_ENTRY_BYTES: usize = 8 << 20;

/// The `previous` of the first entry.
pub const NO_PREVIOUS: Digest = Digest([0; 32]);

/// Who saw what the entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Witness {
    /// The vault itself.
    #[n(1)]
    Vault,
    /// Core's word, which the vault could not check.
    #[n(2)]
    Core,
}

/// One entry of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Entry {
    /// [`ENTRY_VERSION`].
    #[n(0)]
    pub version: u8,
    /// Its place: 0, 1, 2, …
    #[n(1)]
    pub index: u64,
    /// When the vault wrote it, by the vault's clock.
    #[n(2)]
    pub at_ms: TimeMs,
    /// SHA-256 of the bytes of the entry before; zeros for the first.
    #[n(3)]
    pub previous: Digest,
    /// Who saw it.
    #[n(4)]
    pub witness: Witness,
    /// What happened.
    #[n(5)]
    pub body: Body,
}

/// Bytes that the ledger keeps and does not read (a signed order, a signature, a certificate).
/// `Debug` shows their length alone, since an order's reason may name someone.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Opaque(
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub Vec<u8>,
);

impl std::fmt::Debug for Opaque {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opaque({} bytes)", self.0.len())
    }
}

/// A personal field sealed under its subject's own key ([`crate::PersonKeys`]): destroying that key
/// erases the field from an append-only ledger.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct PersonalSealed(
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub Vec<u8>,
);

impl std::fmt::Debug for PersonalSealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PersonalSealed(sealed)")
    }
}

/// A person's Ed25519 public key (RFC 8032), 32 bytes. The same shape serves the root key and the
/// first token's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct SigningPublicKey(
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub [u8; 32],
);

/// Why an order was refused: a stable number (the table is the vault's).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct RefusalCode(#[n(0)] pub u16);

/// The short word that goes with a [`RefusalCode`], such as `wrong_role`: 1 to 48 characters of
/// `a-z 0-9 _`. It comes from the vault's own table, so no text from outside gets into the ledger
/// this way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct ReasonKey(#[n(0)] String);

impl ReasonKey {
    /// Checks and takes a word.
    ///
    /// # Errors
    /// [`EntryError::ReasonKey`] when it is empty, longer than 48, or holds another character.
    pub fn new(key: &str) -> Result<Self, EntryError> {
        let ok = (1..=48).contains(&key.len())
            && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if ok { Ok(Self(key.to_owned())) } else { Err(EntryError::ReasonKey) }
    }

    /// The word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What an entry records. Numbers 1 to 15 have the vault for a witness, 32 and up are core's word.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Body {
    /// The first entry: the house's root key, and the key of the one-time token with which the first
    /// administrator joins.
    #[n(1)]
    Genesis {
        /// Ed25519.
        #[n(0)]
        root_key: SigningPublicKey,
        /// Ed25519.
        #[n(1)]
        first_token_key: SigningPublicKey,
    },
    /// The vault stated its keys anew.
    #[n(2)]
    KeysStated {
        /// Rises with each statement.
        #[n(0)]
        epoch: u32,
        /// SHA-256 of the signed statement.
        #[n(1)]
        statement_digest: Digest,
    },
    /// An order was accepted; its effect is part of the vault's state from here on.
    #[n(3)]
    OrderAccepted {
        /// The order.
        #[n(0)]
        order: OrderId,
        /// SHA-256 of `bytes`.
        #[n(1)]
        digest: Digest,
        /// The key that signed it.
        #[n(2)]
        signer: KeyId,
        /// Whose key that was.
        #[n(3)]
        person: PersonId,
        /// The signed bytes, as they came.
        #[n(4)]
        bytes: Opaque,
        /// The signature.
        #[n(5)]
        signature: Opaque,
        /// What the vault made of it.
        #[n(6)]
        effect: Effect,
    },
    /// An order was refused. It changes nothing.
    #[n(4)]
    OrderRefused {
        /// The order, if its bytes could be read.
        #[n(0)]
        order: Option<OrderId>,
        /// SHA-256 of its bytes.
        #[n(1)]
        digest: Digest,
        /// The key it named, if known.
        #[n(2)]
        signer: Option<KeyId>,
        /// Why, as a number.
        #[n(3)]
        reason: RefusalCode,
        /// Why, as a word.
        #[n(4)]
        key: ReasonKey,
    },
    /// A grant was drawn on, written before the answer leaves the vault.
    #[n(5)]
    GrantUsed {
        /// The order that made the grant.
        #[n(0)]
        grant: OrderId,
        /// Which fields of which records were opened.
        #[n(1)]
        opened: Vec<(EnrolmentId, String)>,
        /// How many searches were made.
        #[n(2)]
        searches: u32,
    },
    /// A phone's certificate was issued.
    #[n(6)]
    CertificateIssued {
        /// The enrolment it names.
        #[n(0)]
        enrolment: EnrolmentId,
        /// SHA-256 of the phone's SubjectPublicKeyInfo.
        #[n(1)]
        key_digest: Digest,
        /// The certificate, DER.
        #[n(2)]
        certificate: Opaque,
    },
    /// A certificate was refused.
    #[n(7)]
    CertificateRefused {
        /// The enrolment that the challenge belonged to, if any.
        #[n(0)]
        enrolment: Option<EnrolmentId>,
        /// Why.
        #[n(1)]
        reason: RefusalCode,
    },

    /// Core's word: a phone's `Authenticate`.
    #[n(32)]
    Authenticated {
        /// The enrolment.
        #[n(0)]
        enrolment: EnrolmentId,
        /// The enrolment of the same phone that ends with it.
        #[n(1)]
        replaced: Option<EnrolmentId>,
    },
    /// Core's word: a phone's `TokenUpdate`; it can be reached from now on.
    #[n(33)]
    TokenUpdated {
        /// The enrolment.
        #[n(0)]
        enrolment: EnrolmentId,
    },
    /// Core's word: a phone's `CheckOut`.
    #[n(34)]
    CheckedOut {
        /// The enrolment.
        #[n(0)]
        enrolment: EnrolmentId,
    },
    /// Core's word: a phone answered a command for good.
    #[n(35)]
    CommandFinished {
        /// The enrolment.
        #[n(0)]
        enrolment: EnrolmentId,
        /// The command.
        #[n(1)]
        command: CommandId,
        /// How: the number of `apple`'s status.
        #[n(2)]
        status: u8,
    },
    /// Core's word: a phone was turned away.
    #[n(36)]
    PhoneRefused {
        /// The enrolment.
        #[n(0)]
        enrolment: EnrolmentId,
        /// Why.
        #[n(1)]
        reason: RefusalCode,
    },
}

impl Body {
    /// Who can have seen this: core for what phones said, the vault for all else.
    #[must_use]
    pub fn witness(&self) -> Witness {
        match self {
            Self::Genesis { .. }
            | Self::KeysStated { .. }
            | Self::OrderAccepted { .. }
            | Self::OrderRefused { .. }
            | Self::GrantUsed { .. }
            | Self::CertificateIssued { .. }
            | Self::CertificateRefused { .. } => Witness::Vault,
            Self::Authenticated { .. }
            | Self::TokenUpdated { .. }
            | Self::CheckedOut { .. }
            | Self::CommandFinished { .. }
            | Self::PhoneRefused { .. } => Witness::Core,
        }
    }
}

/// What an accepted order did to the vault's state.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Effect {
    /// A person may sign orders.
    #[n(1)]
    PersonJoined {
        /// Who.
        #[n(0)]
        person: PersonId,
        /// What they may do.
        #[n(1)]
        role: Role,
        /// For whose phones, when the role is bound to a group.
        #[n(2)]
        group: Option<Group>,
        /// The key's id.
        #[n(3)]
        key_id: KeyId,
        /// The key.
        #[n(4)]
        public_key: SigningPublicKey,
        /// Their name.
        #[n(5)]
        name: PersonalSealed,
    },
    /// A person has one more key.
    #[n(2)]
    PersonKeyAdded {
        /// Whose.
        #[n(0)]
        person: PersonId,
        /// The key's id.
        #[n(1)]
        key_id: KeyId,
        /// The key.
        #[n(2)]
        public_key: SigningPublicKey,
    },
    /// A person signs no more orders.
    #[n(3)]
    PersonRemoved {
        /// Who.
        #[n(0)]
        person: PersonId,
    },
    /// One phone may enrol.
    #[n(4)]
    Invited {
        /// The id its certificate will carry.
        #[n(0)]
        enrolment: EnrolmentId,
        /// SHA-256 of the link's secret.
        #[n(1)]
        link: LinkHash,
        /// Its home group.
        #[n(2)]
        group: Group,
        /// Until when the link works.
        #[n(3)]
        expires_at_ms: TimeMs,
        /// Who will hold the phone.
        #[n(4)]
        holder: PersonalSealed,
    },
    /// An invitation was taken back.
    #[n(5)]
    InvitationWithdrawn {
        /// The enrolment that will not be.
        #[n(0)]
        enrolment: EnrolmentId,
    },
    /// Fields were opened by the order itself, one by one.
    #[n(6)]
    Opened {
        /// Which fields of which records.
        #[n(0)]
        fields: Vec<(EnrolmentId, String)>,
    },
    /// A session may open records.
    #[n(7)]
    Granted {
        /// SHA-256 of the session's secret.
        #[n(0)]
        session: Digest,
        /// How many records.
        #[n(1)]
        records: u32,
        /// How many searches.
        #[n(2)]
        searches: u32,
        /// Of which compartments.
        #[n(3)]
        compartments: Vec<Compartment>,
        /// Until when.
        #[n(4)]
        expires_at_ms: TimeMs,
    },
    /// A command may be given to phones.
    #[n(8)]
    Commanded {
        /// The command's id, the same for all its phones unless `per_phone` says otherwise.
        #[n(0)]
        command: CommandId,
        /// Which command.
        #[n(1)]
        kind: CommandKind,
        /// SHA-256 of the bytes the door will send.
        #[n(2)]
        answer_digest: Digest,
        /// It counts as erasure.
        #[n(3)]
        erasing: bool,
        /// The phones.
        #[n(4)]
        targets: Vec<EnrolmentId>,
        /// Until when it may be given.
        #[n(5)]
        expires_at_ms: TimeMs,
        /// Where a secret differs from phone to phone: each phone's command id and digest. Empty
        /// otherwise.
        #[n(6)]
        per_phone: Vec<(EnrolmentId, CommandId, Digest)>,
    },
    /// An earlier order was called back: no warrant is signed for it from here on.
    #[n(9)]
    Recalled {
        /// Which.
        #[n(0)]
        order: OrderId,
    },
    /// A read-only API key was made.
    #[n(10)]
    ApiKeyMade {
        /// SHA-256 of the key.
        #[n(0)]
        hash: Digest,
        /// What it may read, as bits.
        #[n(1)]
        scopes: u32,
        /// Until when.
        #[n(2)]
        expires_at_ms: TimeMs,
        /// What it is for, in the words of whoever made it.
        #[n(3)]
        label: String,
    },
    /// An API key reads no more.
    #[n(11)]
    ApiKeyRevoked {
        /// SHA-256 of the key.
        #[n(0)]
        hash: Digest,
    },
    /// A session and its grants ended.
    #[n(12)]
    SessionEnded {
        /// SHA-256 of the session's secret.
        #[n(0)]
        session: Digest,
    },
}

impl Entry {
    /// The entry's bytes: the one form that is hashed and kept.
    ///
    /// # Errors
    /// [`EntryError`] when the entry holds a value outside its range or is too large.
    pub fn encode(&self) -> Result<Vec<u8>, EntryError> {
        self.check()?;
        // Writing to a Vec can't fail, and no encoder here makes an error of its own.
        let bytes = minicbor::to_vec(self).map_err(|_| EntryError::Malformed)?;
        if bytes.len() > MAX_ENTRY_BYTES {
            return Err(EntryError::TooLarge { bytes: bytes.len() });
        }
        Ok(bytes)
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// [`EntryError`] when the bytes are too many, are no entry of this version, hold a value outside
    /// its range, or are not the canonical form of what they say.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        if bytes.len() > MAX_ENTRY_BYTES {
            return Err(EntryError::TooLarge { bytes: bytes.len() });
        }
        let entry: Self = minicbor::decode(bytes).map_err(|_| EntryError::Malformed)?;
        if entry.encode()? != bytes {
            return Err(EntryError::NotCanonical);
        }
        Ok(entry)
    }

    /// The ranges that types alone do not keep, for what is written and what is read.
    fn check(&self) -> Result<(), EntryError> {
        if self.version != ENTRY_VERSION {
            return Err(EntryError::Version { found: self.version });
        }
        if self.witness != self.body.witness() {
            return Err(EntryError::Witness);
        }
        match &self.body {
            Body::OrderRefused { key, .. } => ReasonKey::new(key.as_str()).map(drop),
            Body::OrderAccepted { effect: Effect::PersonJoined { group: Some(group), .. }, .. }
            | Body::OrderAccepted { effect: Effect::Invited { group, .. }, .. } => {
                Group::new(group.as_str()).map(drop).map_err(|_| EntryError::Group)
            }
            _ => Ok(()),
        }
    }
}
