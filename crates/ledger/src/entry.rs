//! What one entry says. The enums here are closed: a number that is not listed does not decode, and
//! a number once used never means anything else.
//!
//! Bytes are CBOR (RFC 8949) in one canonical form: [`Entry::decode`] encodes what it read again and
//! refuses input that differs by a byte, so that one meaning has one hash.

use minicbor::{Decode, Encode};
use model::{CommandId, Digest, Duty, EnrolmentId, Group, KeyId, KeyName, OrderId, PersonId, Role, TimeMs};

pub use crate::effect::{Declared, Effect, ErasingKey};
use crate::error::EntryError;
pub use crate::words::{Opaque, PersonalSealed, ReasonKey, RefusalCode, SigningPublicKey};

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
    /// The number that core gave its word, by which the vault knows one that comes again. The vault's
    /// own entries have none, nor had core's before it numbered them.
    #[n(6)]
    pub word: Option<u64>,
}

/// What an accepted order was counted as. Budgets are a replay of these.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Counted {
    /// As what.
    #[n(0)]
    pub duty: Duty,
    /// How much of it.
    #[n(1)]
    pub count: u32,
    /// Who else signed the same bytes. Empty: it was taken from the signer's budget.
    #[n(2)]
    pub approvals: Vec<Approval>,
    /// No phone is told before then.
    #[n(3)]
    pub not_before_ms: Option<TimeMs>,
}

/// A further person's signature over an order's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Approval {
    /// The key that signed.
    #[n(0)]
    pub key: KeyId,
    /// Whose key that was.
    #[n(1)]
    pub person: PersonId,
    /// The signature.
    #[n(2)]
    pub signature: Opaque,
}

/// What an entry records. [`Body::witness`] says who can have seen it.
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
        /// What it was counted as, and who else signed. The first ledgers have none, nor has the first
        /// administrator's order.
        #[n(7)]
        counted: Option<Box<Counted>>,
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
    /// A phone asked for what is kept for it and got it, sealed to the door; written before it leaves.
    #[n(10)]
    GivenBack {
        /// The phone.
        #[n(0)]
        enrolment: EnrolmentId,
        /// `BootstrapToken`, or the service whose token it was.
        #[n(1)]
        what: String,
    },
    /// The vault acted for a phone under a standing order, written before the command leaves.
    #[n(12)]
    StandingUsed {
        /// The standing order.
        #[n(0)]
        standing: OrderId,
        /// The phone.
        #[n(1)]
        enrolment: EnrolmentId,
        /// Of a renewal: how many certificates it had before. 0: its holder asked.
        #[n(2)]
        number: u32,
        /// The command's id.
        #[n(3)]
        command: CommandId,
        /// SHA-256 of the bytes the door will send.
        #[n(4)]
        answer_digest: Digest,
        /// Until when it may be given.
        #[n(5)]
        expires_at_ms: TimeMs,
    },
    /// An order of someone's was not decided, since it takes another signature. It may come again with one;
    /// written once for each order.
    #[n(20)]
    OrderHeld {
        /// The order.
        #[n(0)]
        order: OrderId,
        /// SHA-256 of its bytes.
        #[n(1)]
        digest: Digest,
        /// Who signed it so far.
        #[n(2)]
        people: Vec<PersonId>,
        /// What it counts as.
        #[n(3)]
        duty: Duty,
        /// How much of it was asked.
        #[n(4)]
        count: u32,
        /// How many people have to sign.
        #[n(5)]
        needs: u32,
        /// When it runs out.
        #[n(6)]
        expires_at_ms: TimeMs,
    },
    /// The door's own TLS certificate was issued anew, for the same key and names.
    #[n(13)]
    ServerCertificateIssued {
        /// The certificate, DER.
        #[n(0)]
        certificate: Opaque,
    },
    /// The house was restored from a backup. Sessions, API keys and invitations that were open end
    /// here, and nothing is opened or commanded until administrators confirm it.
    #[n(28)]
    Restored {
        /// SHA-256 of the backup's manifest.
        #[n(0)]
        manifest: Digest,
        /// When the backup was made.
        #[n(1)]
        made_at_ms: TimeMs,
        /// How many entries the backup's ledger had.
        #[n(2)]
        entries: u64,
    },
    /// Rows that core keeps were opened and sealed again under a newer key; nobody learned what they say.
    #[n(40)]
    Resealed {
        /// How many were tried; those that opened with no key are among them.
        #[n(0)]
        rows: u32,
    },
    /// Nothing is left under older keys, by core's word or since all of it ran out: they are destroyed. Written first,
    /// done then.
    #[n(41)]
    KeysDestroyed {
        /// Which.
        #[n(0)]
        keys: Vec<KeyName>,
        /// Those of earlier epochs than this one.
        #[n(1)]
        before: u32,
        /// Of CAs: the epoch that begins without them, as of [`Effect::OlderCaEnded`].
        #[n(2)]
        epoch: Option<u32>,
    },
    /// A service's token was sealed again under a newer key.
    #[n(42)]
    ServiceTokenResealed {
        /// The service.
        #[n(0)]
        service: String,
        /// The token, as in [`Effect::ServiceTokenSet`].
        #[n(1)]
        sealed: Opaque,
    },
    /// A room made a key of its own anew, as an order said, and its public half came by the supervisor: from here on
    /// the vault states it.
    #[n(58)]
    RoomKeyTaken {
        /// Which.
        #[n(0)]
        key: KeyName,
        /// Of the order: the epoch that it began.
        #[n(1)]
        number: u32,
        /// The epoch that begins with it.
        #[n(2)]
        epoch: u32,
        /// The public half.
        #[n(3)]
        public: Opaque,
    },
    /// Another root key took the former's place, as an order said: it signs from here on. Whoever reads the ledger from its
    /// first entry is led to the key that signed the newest checkpoint.
    #[n(80)]
    RootSucceeded {
        /// An `order::root::SignedSuccession`.
        #[n(0)]
        succession: Opaque,
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
    /// Core's word: a phone came with its renewed certificate for the first time.
    #[n(44)]
    CertificateTaken {
        /// The enrolment.
        #[n(0)]
        enrolment: EnrolmentId,
        /// SHA-256 of the certificate.
        #[n(1)]
        certificate: Digest,
    },
    /// Core's word: somebody signed in by the OpenID provider, to read masks.
    #[n(73)]
    OidcSignedIn {
        /// SHA-256 of the session's secret.
        #[n(0)]
        session: Digest,
        /// A hash, under a key of core's, of the provider's name for them.
        #[n(1)]
        subject: Digest,
        /// As what they read.
        #[n(2)]
        role: Role,
        /// For whose phones, when the role is bound to a group.
        #[n(3)]
        group: Option<Group>,
        /// Until when at most.
        #[n(4)]
        expires_at_ms: TimeMs,
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
            | Self::CertificateRefused { .. }
            | Self::GivenBack { .. }
            | Self::StandingUsed { .. }
            | Self::OrderHeld { .. }
            | Self::ServerCertificateIssued { .. }
            | Self::Resealed { .. }
            | Self::KeysDestroyed { .. }
            | Self::ServiceTokenResealed { .. }
            | Self::RoomKeyTaken { .. }
            | Self::RootSucceeded { .. }
            | Self::Restored { .. } => Witness::Vault,
            Self::Authenticated { .. }
            | Self::TokenUpdated { .. }
            | Self::CheckedOut { .. }
            | Self::CommandFinished { .. }
            | Self::PhoneRefused { .. }
            | Self::CertificateTaken { .. }
            | Self::OidcSignedIn { .. } => Witness::Core,
        }
    }
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
        if self.witness != self.body.witness() || (self.word.is_some() && self.witness != Witness::Core) {
            return Err(EntryError::Witness);
        }
        match &self.body {
            Body::OrderRefused { key, .. } => ReasonKey::new(key.as_str()).map(drop),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
