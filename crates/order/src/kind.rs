//! What a person can order.

use minicbor::{Decode, Encode};
use model::{
    Command, Compartment, DataSubject, DeviceGroupDefinition, DeviceGroupId, DeviceGroupName, Digest,
    EnrolmentId, Group, KeyId, KeyName, Limit, OrderId, PersonId, ProfileId, Role, SealedOutline, SetName,
    StandingTemplate, TimeMs,
};
use serde::{Deserialize, Serialize};

use crate::X25519Public;

/// What a person signs. Everything personal or secret in it is sealed to the vault's order key
/// beforehand and lies beside the order; the order carries only that sealed blob's digest.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Order {
    /// Of this encoding; 1.
    #[n(0)]
    pub version: u8,
    /// Minted at random by whoever makes the order.
    #[n(1)]
    pub id: OrderId,
    /// What shall happen.
    #[n(2)]
    pub kind: OrderKind,
    /// The enrolments it touches: always a list, never "the group".
    #[n(3)]
    pub targets: Vec<EnrolmentId>,
    /// Why. It stands in the ledger for auditors to read: no name or number belongs into it.
    #[n(4)]
    pub reason: String,
    /// When it was made.
    #[n(5)]
    pub made_at_ms: TimeMs,
    /// When it can no longer be carried out. At most [`Order::LONGEST_LIFE_MS`] after it was made.
    #[n(6)]
    pub expires_at_ms: TimeMs,
    /// The answer is sealed to this key, which lives with whoever made the order.
    #[n(7)]
    pub answer_key: X25519Public,
    /// SHA-256 of the sealed arguments that lie beside the order, when it has any.
    #[n(8)]
    pub sealed_digest: Option<Digest>,
    /// What of those arguments whoever signs has to see, in the clear ([`OrderKind::takes_outline`]). An order that several
    /// sign has it; none made before it was invented does.
    #[n(9)]
    pub outline: Option<SealedOutline>,
}

impl Order {
    /// The version this release writes and reads.
    pub const VERSION: u8 = 1;
    /// An order lives 30 days at most (a phone may be in a drawer).
    pub const LONGEST_LIFE_MS: TimeMs = 30 * model::clock::DAY_MS;
    /// A reason's longest text in bytes.
    pub const LONGEST_REASON_BYTES: usize = 500;
    /// The most enrolments one order names.
    pub const MOST_TARGETS: usize = 20_000;
    /// The longest encoding of an order: the most targets take a third of it.
    pub const LARGEST_BYTES: usize = 1 << 20;

    /// It tells what lies sealed in it, or has nothing to tell: whoever is asked to sign it second can judge it.
    #[must_use]
    pub fn tells(&self) -> bool {
        !self.kind.takes_outline() || self.outline.as_ref().is_some_and(SealedOutline::is_whole)
    }
}

/// A public key that signs orders.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PersonKey {
    /// How it signs.
    #[n(0)]
    pub scheme: crate::Scheme,
    /// Its public bytes: 32 for Ed25519; for a passkey a [`crate::Passkey`].
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub public: Vec<u8>,
}

/// What a read-only API key may read: masks only, ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum ApiScope {
    /// Devices with their masks.
    #[n(1)]
    Devices,
    /// Commands and their state.
    #[n(2)]
    Commands,
    /// The ledger.
    #[n(3)]
    Ledger,
    /// Metrics and health.
    #[n(4)]
    Metrics,
}

/// The kinds of order. Closed: numbers are never reused.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum OrderKind {
    /// The very first administrator: signed by the key whose seed the vault printed once. The
    /// sealed arguments are [`crate::JoinSecrets`].
    #[n(1)]
    JoinFirst {
        /// The key that person signs with from now on.
        #[n(0)]
        key: PersonKey,
    },
    /// Another person. Sealed: [`crate::JoinSecrets`].
    #[n(2)]
    AddPerson {
        /// The key that person signs with.
        #[n(0)]
        key: PersonKey,
        /// What the person may do.
        #[n(1)]
        role: Role,
        /// The group a role of narrow scope is held to.
        #[n(2)]
        group: Option<Group>,
    },
    /// Another key for the signer.
    #[n(3)]
    AddKey {
        /// The key.
        #[n(0)]
        key: PersonKey,
    },
    /// A person leaves: keys, sessions and grants end.
    #[n(4)]
    RemovePerson {
        /// Who.
        #[n(0)]
        person: PersonId,
    },
    /// An invitation for one person and one phone. Sealed: [`crate::InviteSecrets`].
    #[n(5)]
    Invite {
        /// The phone's home group.
        #[n(0)]
        group: Group,
        /// How long the link works.
        #[n(1)]
        valid_ms: TimeMs,
    },
    /// Takes an unused invitation back; `targets` names its enrolment.
    #[n(6)]
    WithdrawInvitation,
    /// Opens the named fields of the one target. The answer is [`crate::OpenAnswer`], sealed to the
    /// answer key; core attaches the sealed rows and never sees what is in them.
    #[n(7)]
    Open {
        /// Field paths, e.g. `IMEI`.
        #[n(0)]
        fields: Vec<String>,
    },
    /// A session, and what may be opened in it without another signature. `records` and `searches`
    /// of 0 make a session that reads masks only.
    #[n(8)]
    Grant {
        /// SHA-256 of the session's bearer secret, which never travels in an order.
        #[n(0)]
        session: Digest,
        /// The most records it opens.
        #[n(1)]
        records: u32,
        /// The most searches it pays for.
        #[n(2)]
        searches: u32,
        /// Which compartments.
        #[n(3)]
        compartments: Vec<Compartment>,
        /// How long it lives.
        #[n(4)]
        valid_ms: TimeMs,
    },
    /// A command to every target. Sealed, when it has any: [`model::CommandSecrets`].
    #[n(9)]
    Command {
        /// Which, with its open arguments.
        #[n(0)]
        command: Command,
    },
    /// Calls another order back: what it has not yet done to a phone is not done.
    #[n(10)]
    Recall {
        /// Which order.
        #[n(0)]
        order: OrderId,
    },
    /// A read-only key for the API. Only its hash is known to Matron.
    #[n(11)]
    MakeApiKey {
        /// SHA-256 of the key.
        #[n(0)]
        hash: Digest,
        /// What it may read.
        #[n(1)]
        scopes: Vec<ApiScope>,
        /// How long it lives.
        #[n(2)]
        valid_ms: TimeMs,
        /// What it is for, as people see it.
        #[n(3)]
        label: String,
    },
    /// Ends an API key.
    #[n(12)]
    EndApiKey {
        /// SHA-256 of the key.
        #[n(0)]
        hash: Digest,
    },
    /// Ends a session and its grant at once.
    #[n(13)]
    EndSession {
        /// SHA-256 of the session's bearer secret.
        #[n(0)]
        session: Digest,
    },
    /// The token that phones get when they ask for this service's (`GetToken`). Sealed:
    /// [`crate::ServiceTokenSecrets`]; without them, none is given any more.
    #[n(14)]
    SetServiceToken {
        /// Apple's `TokenServiceType`, such as `com.apple.maid`.
        #[n(0)]
        service: String,
    },
    /// A standing order: the vault acts by itself within a template, so often in an hour, until then.
    #[n(30)]
    MakeStanding {
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
    /// Ends a standing order; what was asked under it and not yet done is not done.
    #[n(31)]
    EndStanding {
        /// The order that made it.
        #[n(0)]
        order: OrderId,
    },
    /// Confirms that the house was restored from this backup, as two administrators (or the only one)
    /// have to before anything is opened or commanded again.
    #[n(70)]
    ConfirmRestore {
        /// SHA-256 of the backup's manifest.
        #[n(0)]
        manifest: Digest,
        /// When the backup was made, as the administrator was shown it.
        #[n(1)]
        made_at_ms: TimeMs,
        /// People who were removed since, and are removed again with it.
        #[n(2)]
        without: Vec<PersonId>,
    },
    /// Destroys the key under which the ledger keeps what it says of a person (UK GDPR, article 17). There
    /// is no way back.
    #[n(50)]
    ErasePerson {
        /// Whose.
        #[n(0)]
        subject: DataSubject,
        /// Also while the phone is under management: it can then not be erased by order any more, since
        /// nobody knows its holder's name.
        #[n(1)]
        despite_enrolled: bool,
    },
    /// Makes this set of declarations the one of that name on every target; what the targets' set of
    /// that name held before is gone from it. Sealed: [`crate::DeclarationSecrets`].
    #[n(20)]
    SetDeclarations {
        /// Which of the phones' sets.
        #[n(0)]
        set: SetName,
    },
    /// Another number in the table of limits, within the bounds that are built in.
    #[n(60)]
    SetLimit {
        /// Which.
        #[n(0)]
        limit: Limit,
        /// The number: phones, records, searches, orders, people or seconds.
        #[n(1)]
        value: u32,
    },
    /// Ends an order that waits for another signature: it is refused for good.
    #[n(120)]
    Reject {
        /// Which order.
        #[n(0)]
        order: OrderId,
    },
    /// Makes these keys of the vault's anew. What is sealed under the old ones is sealed again in the background, and
    /// they are destroyed when nothing is left under them.
    #[n(90)]
    RotateKeys {
        /// Which, ascending.
        #[n(0)]
        keys: Vec<KeyName>,
    },
    /// Somebody was in: every key of the vault's is made anew, whatever was signed before counts no more, sessions,
    /// grants, API keys, open invitations and standing orders end, and so do all keys of people but those that sign
    /// this. Phones are asked for new certificates as they come.
    #[n(91)]
    AssumeBreach {
        /// How many phones an hour are asked for a new certificate.
        #[n(0)]
        reissues_an_hour: u32,
    },
    /// The CAs before the newest one end now, whoever still has a certificate of theirs: the door lets it in no more, and that
    /// phone has to be invited again.
    #[n(141)]
    EndOlderCa {
        /// The epoch that began with the newest: one that is held back ends no CA of a later day.
        #[n(0)]
        before: u32,
    },
    /// A key of one's own signs no more, once there is another.
    #[n(92)]
    EndKey {
        /// Which.
        #[n(0)]
        key: KeyId,
    },
    /// A device group is this one from here on. Of a list, `targets` are its phones; of a rule there are none.
    #[n(131)]
    SaveDeviceGroup {
        /// Minted at random for a new one.
        #[n(0)]
        group: DeviceGroupId,
        /// The order that saved what this was made from, so that nobody's change is lost unseen; none: it is new.
        #[n(1)]
        replaces: Option<OrderId>,
        /// What it is called.
        #[n(2)]
        name: DeviceGroupName,
        /// Which phones it holds.
        #[n(3)]
        definition: DeviceGroupDefinition,
    },
    /// A device group is no more. Its phones stay as they are.
    #[n(132)]
    EndDeviceGroup {
        /// Which.
        #[n(0)]
        group: DeviceGroupId,
    },
    /// The next version of a profile of the library, or a new profile's first. Sealed: [`crate::SaveSecrets`]. The answer
    /// is [`crate::SavedAnswer`].
    #[n(135)]
    SaveProfile {
        /// Which; a new profile's id is minted at random by whoever makes the order.
        #[n(0)]
        profile: ProfileId,
    },
    /// Installs a saved version on every target, as [`Command::InstallProfile`] would. Core attaches the sealed version.
    /// Sealed, when it counts as erasure: [`model::CommandSecrets`] with the holder's name.
    #[n(136)]
    InstallSaved {
        /// Which profile.
        #[n(0)]
        profile: ProfileId,
        /// Which of its versions: 1, 2, …
        #[n(1)]
        version: u32,
        /// Its `PayloadIdentifier`, as it was shown.
        #[n(2)]
        identifier: String,
        /// It was shown to count as erasure.
        #[n(3)]
        erasing: bool,
        /// All that was shown of it ([`crate::ShownVersion::digest`]): the vault installs nothing else.
        #[n(4)]
        shown: Digest,
    },
    /// New holder's cards for the targets; the cards that they had are void. The answer is [`crate::HolderCardsAnswer`].
    #[n(142)]
    HolderCards,
    /// A profile is taken out of the library: no version of it is installed any more, nor another one saved. Phones keep what
    /// they have.
    #[n(144)]
    EndProfile {
        /// Which.
        #[n(0)]
        profile: ProfileId,
    },
}

impl OrderKind {
    /// The name used in routes, tables, the ledger and on the command line.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::JoinFirst { .. } => "join_first",
            Self::AddPerson { .. } => "add_person",
            Self::AddKey { .. } => "add_key",
            Self::RemovePerson { .. } => "remove_person",
            Self::Invite { .. } => "invite",
            Self::WithdrawInvitation => "withdraw_invitation",
            Self::Open { .. } => "open",
            Self::Grant { .. } => "grant",
            Self::Command { .. } => "command",
            Self::Recall { .. } => "recall",
            Self::MakeApiKey { .. } => "make_api_key",
            Self::EndApiKey { .. } => "end_api_key",
            Self::EndSession { .. } => "end_session",
            Self::SetServiceToken { .. } => "set_service_token",
            Self::MakeStanding { .. } => "make_standing",
            Self::EndStanding { .. } => "end_standing",
            Self::SetDeclarations { .. } => "set_declarations",
            Self::ConfirmRestore { .. } => "confirm_restore",
            Self::SetLimit { .. } => "set_limit",
            Self::ErasePerson { .. } => "erase_person",
            Self::Reject { .. } => "reject",
            Self::RotateKeys { .. } => "rotate_keys",
            Self::AssumeBreach { .. } => "assume_breach",
            Self::EndKey { .. } => "end_key",
            Self::EndOlderCa { .. } => "end_older_ca",
            Self::SaveDeviceGroup { .. } => "save_device_group",
            Self::EndDeviceGroup { .. } => "end_device_group",
            Self::SaveProfile { .. } => "save_profile",
            Self::InstallSaved { .. } => "install_saved",
            Self::HolderCards => "holder_cards",
            Self::EndProfile { .. } => "end_profile",
        }
    }

    /// What it does depends on what lies sealed beside it, and can be told ([`Order::outline`]).
    #[must_use]
    pub fn takes_outline(&self) -> bool {
        match self {
            Self::SetDeclarations { .. } => true,
            Self::Command { command } => matches!(command, Command::InstallProfile | Command::Raw { .. }),
            _ => false,
        }
    }

    /// The key that stands in it, for those that bring one.
    #[must_use]
    pub fn new_key(&self) -> Option<&PersonKey> {
        match self {
            Self::JoinFirst { key } | Self::AddPerson { key, .. } | Self::AddKey { key } => Some(key),
            _ => None,
        }
    }
}
