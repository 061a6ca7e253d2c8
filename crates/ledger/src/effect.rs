//! What accepted orders do.

use minicbor::{Decode, Encode};
use model::{
    CommandId, CommandKind, Compartment, DataSubject, DeclarationId, DeclarationKind, DeviceGroupDefinition,
    DeviceGroupId, DeviceGroupName, Digest, EnrolmentId, Group, KeyId, KeyName, Limit, LinkHash, OrderId,
    Outline, PersonId, ProfileId, Role, SetName, StandingTemplate, TimeMs,
};

use crate::words::{Opaque, PersonalSealed, SigningPublicKey};

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
        /// The hash of the code of the holder's card. The first ones have none.
        #[n(5)]
        card: Option<Digest>,
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
    /// Phones that ask for this service's token get this one from here on, or none.
    #[n(13)]
    ServiceTokenSet {
        /// Apple's `TokenServiceType`.
        #[n(0)]
        service: String,
        /// The token, sealed by the vault to its own order key with `service` beside it; empty: none.
        #[n(1)]
        sealed: Opaque,
    },
    /// The vault may act by itself from here on, within a template.
    #[n(30)]
    StandingMade {
        /// What it may do.
        #[n(0)]
        template: StandingTemplate,
        /// How often in an hour.
        #[n(1)]
        cap_an_hour: u32,
        /// Until when.
        #[n(2)]
        expires_at_ms: TimeMs,
    },
    /// A standing order ended before its time.
    #[n(31)]
    StandingEnded {
        /// Which.
        #[n(0)]
        order: OrderId,
    },
    /// An administrator confirmed that the house was restored.
    #[n(70)]
    RestoreConfirmed {
        /// Where the restore stands in the ledger.
        #[n(0)]
        restored: u64,
        /// Whom it removes: people who were removed since the backup was made.
        #[n(1)]
        without: Vec<PersonId>,
        /// Enough administrators have confirmed the same: it is in force from here on.
        #[n(2)]
        complete: bool,
    },
    /// A person's own key was destroyed, and with it what is sealed under it here. Written first, done then.
    #[n(50)]
    PersonErased {
        /// Whose.
        #[n(0)]
        subject: DataSubject,
    },
    /// Each target's set of that name is now this one; what it held of it before is gone from it.
    #[n(20)]
    DeclarationsSet {
        /// The set's name.
        #[n(0)]
        set: SetName,
        /// All of it; empty: the set is gone.
        #[n(1)]
        declarations: Vec<Declared>,
        /// The phones.
        #[n(2)]
        targets: Vec<EnrolmentId>,
        /// It counts as erasure.
        #[n(3)]
        erasing: bool,
        /// The `DeclarativeManagement` command that has the phones look.
        #[n(4)]
        command: CommandId,
        /// SHA-256 of that command's bytes.
        #[n(5)]
        answer_digest: Digest,
        /// Until when that command may be given. The set itself stands until another replaces it.
        #[n(6)]
        expires_at_ms: TimeMs,
    },
    /// A number in the table of limits is this one from here on.
    #[n(60)]
    LimitSet {
        /// Which.
        #[n(0)]
        limit: Limit,
        /// The number.
        #[n(1)]
        value: u32,
    },
    /// A person may sign orders, by a passkey.
    #[n(140)]
    PasskeyJoined {
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
        /// The key with its site, as the order has it.
        #[n(4)]
        passkey: Opaque,
        /// Their name.
        #[n(5)]
        name: PersonalSealed,
    },
    /// A person has one more passkey.
    #[n(141)]
    PasskeyAdded {
        /// Whose.
        #[n(0)]
        person: PersonId,
        /// The key's id.
        #[n(1)]
        key_id: KeyId,
        /// The key with its site, as the order has it.
        #[n(2)]
        passkey: Opaque,
    },
    /// An order that waited for another signature was ended: it is refused for good.
    #[n(120)]
    Rejected {
        /// Which.
        #[n(0)]
        order: OrderId,
    },
    /// These keys of the vault's are made anew. Written first, done then.
    #[n(90)]
    KeysRotated {
        /// Which.
        #[n(0)]
        keys: Vec<KeyName>,
        /// The epoch that the new ones begin.
        #[n(1)]
        epoch: u32,
    },
    /// A breach was assumed: all keys of the vault's are made anew, and what was signed before counts no more.
    #[n(91)]
    BreachAssumed {
        /// The epoch that the new keys begin.
        #[n(0)]
        epoch: u32,
        /// The people's keys that signed this; no other one signs from here on.
        #[n(1)]
        signers: Vec<KeyId>,
        /// How many phones an hour are asked for a new certificate, under this order as a standing one.
        #[n(2)]
        reissues_an_hour: u32,
        /// Until when.
        #[n(3)]
        expires_at_ms: TimeMs,
        /// Which keys are made anew. The first ones have none: it was every key that there was then
        /// ([`KeyName::of_first_breaches`]).
        #[n(4)]
        keys: Option<Vec<KeyName>>,
    },
    /// The CAs before this epoch's ended, whoever had a certificate of theirs.
    #[n(163)]
    OlderCaEnded {
        /// The epoch that began with the newest.
        #[n(0)]
        before: u32,
        /// The epoch that begins without them, so that no room believes a statement of before any more.
        #[n(1)]
        epoch: u32,
    },
    /// A person's key signs no more.
    #[n(92)]
    PersonKeyEnded {
        /// Whose.
        #[n(0)]
        person: PersonId,
        /// The key's id.
        #[n(1)]
        key_id: KeyId,
    },
    /// A device group is this one from here on.
    #[n(150)]
    DeviceGroupSaved {
        /// Which.
        #[n(0)]
        group: DeviceGroupId,
        /// What it is called.
        #[n(1)]
        name: DeviceGroupName,
        /// Which phones it holds.
        #[n(2)]
        definition: DeviceGroupDefinition,
        /// Of a list: its phones.
        #[n(3)]
        phones: Vec<EnrolmentId>,
    },
    /// A device group is no more.
    #[n(151)]
    DeviceGroupEnded {
        /// Which.
        #[n(0)]
        group: DeviceGroupId,
    },
    /// A version of a profile was saved. Its bytes are with core, sealed.
    #[n(155)]
    ProfileSaved {
        /// Of which profile.
        #[n(0)]
        profile: ProfileId,
        /// 1, 2, … of each profile.
        #[n(1)]
        version: u32,
        /// What of it may stand in the clear.
        #[n(2)]
        outline: Box<Outline>,
        /// SHA-256 of `matron/profile/1\0`, the profile's id, the version (big endian), 32 bytes that are sealed with the
        /// content, and the content. It binds the version; without those bytes nobody can try a guess at it.
        #[n(3)]
        commitment: Digest,
        /// It came signed, and the signature fitted; the certificate is nobody's in particular.
        #[n(4)]
        signed: bool,
        /// It counts as erasure.
        #[n(5)]
        erasing: bool,
        /// Because of these, the first of them.
        #[n(6)]
        because: Vec<ErasingKey>,
    },
    /// New holder's cards were made; the ones of before are void.
    #[n(170)]
    HolderCardsMade {
        /// For which phones, each with the hash of its card's code.
        #[n(0)]
        cards: Vec<(EnrolmentId, Digest)>,
    },
    /// A profile was taken out of the library: no version of it is installed any more.
    #[n(173)]
    ProfileEnded {
        /// Which.
        #[n(0)]
        profile: ProfileId,
    },
}

/// Why a saved profile counts as erasure.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ErasingKey {
    /// The payload's type; `Configuration` for the profile itself.
    #[n(0)]
    pub payload_type: String,
    /// A key of Apple's schema; empty when the whole payload is meant, `*` for a key that the schema has not.
    #[n(1)]
    pub key: String,
}

/// One declaration of a set, without its content.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Declared {
    /// What it is for.
    #[n(0)]
    pub kind: DeclarationKind,
    /// Its identifier.
    #[n(1)]
    pub identifier: DeclarationId,
    /// Its `Type`, one of the vault's own table.
    #[n(2)]
    pub declared_type: String,
    /// Its `ServerToken`: SHA-256 over type, identifier and payload. The phone reads it as hexadecimal.
    #[n(3)]
    pub token: Digest,
    /// SHA-256 of the bytes that the phone fetches.
    #[n(4)]
    pub answer_digest: Digest,
    /// It has effect: a configuration that an activation names, or any other kind.
    #[n(5)]
    pub in_force: bool,
}
