//! Why the vault did not do it. Closed, counted, and kept in the ledger by its number.

/// Why an order, a certificate request or a use of a grant was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[repr(u16)]
#[allow(missing_docs)]
pub enum Refusal {
    #[error("the order's bytes can't be read; make it again with this version's command line")]
    Unreadable = 1,
    #[error("the signature does not fit the order's bytes; sign it again")]
    BadSignature = 2,
    #[error("the key that signed is not registered; an administrator adds it with 'matron people add'")]
    UnknownSigner = 3,
    #[error("this role may not sign this kind of order; 'matron roles show' has who may")]
    RoleNotAllowed = 4,
    #[error("the order has expired; make it again")]
    Expired = 5,
    #[error("the order says it was made in the future; check this machine's clock")]
    FromTheFuture = 6,
    #[error("the order's life is longer than orders may live (30 days)")]
    LivesTooLong = 7,
    #[error("an order with this id but other bytes was decided before")]
    IdReused = 8,
    #[error("the sealed arguments are missing, altered or can't be opened")]
    BadSealedArguments = 9,
    #[error("an argument is missing or out of range")]
    BadArgument = 10,
    #[error("a phone named in the order is not enrolled, or was never invited")]
    UnknownEnrolment = 11,
    #[error("a phone named in the order belongs to another group than the signer's")]
    OutOfScope = 12,
    #[error("more phones than one order may erase, whoever signs (100; 1 by a set of declarations)")]
    ErasesTooMany = 13,
    #[error(
        "the order erases, and the holder's name in it is missing or is not the name on the invitation; type it as the \
         invitation has it"
    )]
    WrongHolder = 14,
    #[error("the first administrator has already joined; the one-time token is spent")]
    TokenSpent = 15,
    #[error("the grant is unknown, spent or has run out; sign in again")]
    GrantExhausted = 16,
    #[error("the grant does not cover this compartment")]
    GrantDoesNotCover = 17,
    #[error("the invitation is unknown, used, withdrawn or has run out; invite again")]
    InvitationNotOpen = 18,
    #[error("the challenge was already used with another key; invite again, and ask who has the link")]
    ChallengeReused = 19,
    #[error("the certificate request is not acceptable (RSA of 2048 bits or more, correctly signed)")]
    BadCertificateRequest = 20,
    #[error("the profile can't be read; give an unsigned .mobileconfig")]
    BadProfile = 21,
    #[error("the phone has sent no unlock token, so its passcode can't be cleared")]
    NoUnlockToken = 22,
    #[error(
        "a sealed value can't be opened: it was altered, or moved here from another phone or field; find out who could \
         write core's database, and ask the phone for its inventory again"
    )]
    CannotOpen = 23,
    #[error("this key is already registered")]
    KeyAlreadyKnown = 24,
    #[error("the last administrator can't be removed")]
    LastAdministrator = 25,
    #[error("the order named is not known, or has nothing left to call back")]
    NothingToRecall = 26,
    #[error("the reason is missing or too long (1 to 500 bytes)")]
    BadReason = 27,
    #[error("the ledger can't be written; the vault accepts nothing until it can (see the vault's log)")]
    LedgerUnavailable = 28,
    #[error("the order names more phones than this role may command at once; make several orders")]
    TooManyPhones = 29,
    #[error("the phone asked for what is kept for it more often than it is given in an hour")]
    AskedTooOften = 30,
    #[error("no token is kept for that service; 'matron service-token set' keeps one")]
    NoServiceToken = 31,
    #[error("the raw command does not fit Apple's schema; 'matron devices command' says which key")]
    BadRawCommand = 32,
    #[error("this request type has a command of its own; use that one instead of a raw command")]
    HasItsOwnCommand = 33,
    #[error("the app's settings can't be read: a property list whose outermost value is a dictionary")]
    BadAppConfiguration = 34,
    #[error("there is no such standing order, or it has ended or run out; an administrator makes a new one")]
    NoSuchStanding = 50,
    #[error("the standing order has done as much as it may in this hour; it goes on in the next")]
    StandingCapReached = 51,
    #[error("the phone's certificate is not due for renewal yet")]
    CertificateNotDue = 52,
    #[error("the certificate has run out; invite the phone's holder again")]
    CertificateRunOut = 53,
    #[error("a declaration can't be used as it stands; 'matron declarations check' says which and why")]
    BadDeclaration = 40,
    #[error("a phone named in the order has a declaration of the same identifier in another set")]
    DeclarationTaken = 41,
    #[error("a phone named in the order would hold more declarations than one phone may (200)")]
    TooManyDeclarations = 42,
    #[error("no declarations were ever set for this phone")]
    NoDeclarations = 43,
    #[error(
        "the house was restored from a backup: nothing is opened, searched or commanded until two administrators \
         (or the only one) have confirmed it with 'matron confirm-restore'"
    )]
    RestoredUnconfirmed = 85,
    #[error("there is no restore to confirm, or it is another one than the order names")]
    NoSuchRestore = 86,
    #[error("a set of declarations is not called back but replaced: set another one, or an empty one")]
    SetStands = 44,
    #[error("the order waits: it takes another administrator's signature ('matron approve')")]
    NeedsSignatures = 60,
    #[error("this takes two administrators, and a second has never joined; 'matron people add' adds one")]
    NeedsSecondAdministrator = 61,
    #[error("the budget for this is spent for now; 'matron roles show' says what is left")]
    BudgetSpent = 62,
    #[error(
        "even several people together may do no more of this for now; 'matron roles show' says what is left"
    )]
    ApprovedBudgetSpent = 63,
    #[error("one of the last two administrators can't be removed; add another one first")]
    TwoAdministratorsStay = 64,
    #[error("the order is cooling off: no phone is told before that ends")]
    CoolingOff = 65,
    #[error("the number lies outside the bounds that are built in; 'matron roles show --limits' has them")]
    LimitOutOfBounds = 66,
    #[error("the order would run out before its cooling-off ends; give it more days")]
    ExpiresCoolingOff = 67,
    #[error("the person still signs orders; 'matron people remove' first, then erase")]
    PersonStillHere = 80,
    #[error(
        "the phone is still under management, and without its holder's name it can't be erased by order; end its management first, or say --even-if-enrolled"
    )]
    StillEnrolled = 81,
    #[error("nothing is kept of this person, or it was erased before")]
    NothingToErase = 82,
    #[error(
        "there is no such order, or it does not wait for a signature; 'matron orders pending' lists those that do"
    )]
    NothingToReject = 120,
    #[error("an administrator rejected the order while it waited; make it again if it is still wanted")]
    Rejected = 121,
    #[error("a breach was assumed since this was signed: it counts no more; make it again")]
    SignedBeforeBreach = 105,
    #[error("more was sealed again in this hour than the vault does in one; it goes on in the next")]
    ResealCapReached = 106,
    #[error("something may still be under the old key: it is not destroyed yet")]
    OldKeyStillNeeded = 107,
    #[error("this key is not one of yours, or it is your only one; add another one first")]
    KeyStays = 108,
    #[error(
        "the passkey's own count of its signatures went back, as that of a copy does; remove it ('matron admin end-key'), and find out where the copy is"
    )]
    PasskeyCopied = 130,
    #[error(
        "there is no older CA to end: 'matron keys show' has one only while its successor takes its place"
    )]
    NoOlderCa = 151,
    #[error(
        "there is another CA since this was made: look at 'matron keys show', and make it again if it is still wanted"
    )]
    AnotherCaSince = 152,
    #[error(
        "this house's vault does not know the door's TLS key yet, and would leave the door without a certificate; rotate 'tls' with the CA"
    )]
    CaWithoutTls = 153,
    #[error(
        "there are four older CAs whose certificates count still, and no more may; end them first ('matron keys end-old'), or wait until the phones have changed"
    )]
    TooManyOlderCas = 154,
    #[error(
        "there is no such device group, or it has ended; 'matron device-groups list' shows those there are"
    )]
    NoSuchDeviceGroup = 139,
    #[error("somebody else saved this device group meanwhile; look at it again, then make your change anew")]
    DeviceGroupChanged = 140,
    #[error("a device group of this name is there already; choose another name, or change that one")]
    DeviceGroupNameTaken = 141,
    #[error("there are as many device groups as there may be (200); end one first")]
    TooManyDeviceGroups = 142,
    #[error(
        "there is no such profile in the library, or no such version of it; 'matron profiles list' has them"
    )]
    UnknownProfile = 143,
    #[error("the profile does not fit Apple's schema")]
    ProfileMisfit = 144,
    #[error("the profile's signature is broken, or by an algorithm that is not accepted; nothing was saved")]
    BadProfileSignature = 145,
    #[error(
        "the library is full (500 profiles, 200 versions of one); save it as a version of another profile"
    )]
    LibraryFull = 146,
    #[error(
        "what was saved as this version is missing, or is not what was saved; save it again and install that"
    )]
    SavedProfileLost = 147,
    #[error(
        "what was shown of this version is not what was saved as it; look at it again, and sign nothing if it differs once more"
    )]
    ShownOtherwise = 148,
    #[error("another profile of the library has this PayloadIdentifier; save it as that one's next version")]
    IdentifierTaken = 149,
    #[error("the profile's earlier versions have another PayloadIdentifier; save it as a profile of its own")]
    OtherIdentifier = 150,
    #[error("the code is not that of this phone's newest holder's card")]
    WrongHolderCode = 155,
    #[error(
        "this phone's holder has asked for it as often as one may in an hour; the service desk can do it"
    )]
    HolderAskedTooOften = 156,
    #[error("the profile was taken out of the library; nothing of it is installed or saved any more")]
    ProfileEnded = 158,
    #[error(
        "a profile with this PayloadIdentifier was taken out of the library, and no other one gets it: phones would take it for that \
         one; give it another identifier"
    )]
    IdentifierEnded = 159,
    #[error(
        "what the order tells of what lies sealed in it is not what lies sealed there: sign nothing; whoever made it makes it again, with \
         the same version of Matron as the server's"
    )]
    OutlinedOtherwise = 163,
    #[error(
        "the order takes a second signature, and does not tell what it does: what lies sealed in it can't be shown; make it again with \
         this version of Matron, of what fits Apple's schema"
    )]
    NotOutlined = 164,
    #[error(
        "the root key was changed 64 times, and no more may: each is a link of the chain that every statement brings"
    )]
    TooManyRoots = 166,
}

impl Refusal {
    /// Every refusal, in the order of its number.
    pub const ALL: [Refusal; 86] = [
        Self::Unreadable,
        Self::BadSignature,
        Self::UnknownSigner,
        Self::RoleNotAllowed,
        Self::Expired,
        Self::FromTheFuture,
        Self::LivesTooLong,
        Self::IdReused,
        Self::BadSealedArguments,
        Self::BadArgument,
        Self::UnknownEnrolment,
        Self::OutOfScope,
        Self::ErasesTooMany,
        Self::WrongHolder,
        Self::TokenSpent,
        Self::GrantExhausted,
        Self::GrantDoesNotCover,
        Self::InvitationNotOpen,
        Self::ChallengeReused,
        Self::BadCertificateRequest,
        Self::BadProfile,
        Self::NoUnlockToken,
        Self::CannotOpen,
        Self::KeyAlreadyKnown,
        Self::LastAdministrator,
        Self::NothingToRecall,
        Self::BadReason,
        Self::LedgerUnavailable,
        Self::TooManyPhones,
        Self::AskedTooOften,
        Self::NoServiceToken,
        Self::BadRawCommand,
        Self::HasItsOwnCommand,
        Self::BadAppConfiguration,
        Self::NoSuchStanding,
        Self::StandingCapReached,
        Self::CertificateNotDue,
        Self::CertificateRunOut,
        Self::BadDeclaration,
        Self::DeclarationTaken,
        Self::TooManyDeclarations,
        Self::NoDeclarations,
        Self::SetStands,
        Self::RestoredUnconfirmed,
        Self::NoSuchRestore,
        Self::NeedsSignatures,
        Self::NeedsSecondAdministrator,
        Self::BudgetSpent,
        Self::ApprovedBudgetSpent,
        Self::TwoAdministratorsStay,
        Self::CoolingOff,
        Self::LimitOutOfBounds,
        Self::ExpiresCoolingOff,
        Self::PersonStillHere,
        Self::StillEnrolled,
        Self::NothingToErase,
        Self::NothingToReject,
        Self::Rejected,
        Self::SignedBeforeBreach,
        Self::ResealCapReached,
        Self::OldKeyStillNeeded,
        Self::KeyStays,
        Self::PasskeyCopied,
        Self::NoOlderCa,
        Self::AnotherCaSince,
        Self::CaWithoutTls,
        Self::TooManyOlderCas,
        Self::NoSuchDeviceGroup,
        Self::DeviceGroupChanged,
        Self::DeviceGroupNameTaken,
        Self::TooManyDeviceGroups,
        Self::UnknownProfile,
        Self::ProfileMisfit,
        Self::BadProfileSignature,
        Self::LibraryFull,
        Self::SavedProfileLost,
        Self::ShownOtherwise,
        Self::IdentifierTaken,
        Self::OtherIdentifier,
        Self::WrongHolderCode,
        Self::HolderAskedTooOften,
        Self::ProfileEnded,
        Self::IdentifierEnded,
        Self::OutlinedOtherwise,
        Self::NotOutlined,
        Self::TooManyRoots,
    ];

    /// Its number in the ledger and on the wire.
    #[must_use]
    pub fn number(self) -> u16 {
        self as u16
    }

    /// The refusal of that number.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.number() == number)
    }
}
