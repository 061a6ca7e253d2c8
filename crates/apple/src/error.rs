//! What can be wrong, by who is at fault. No variant carries content: an error may be logged as it is.

/// The phone's message, or a profile's author, is at fault: the bytes were refused and nothing of them
/// was used. A device route answers 400 (413 for [`Malformed::TooLarge`]), never 401.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// There are no bytes.
    #[error("the body is empty")]
    Empty,
    /// More bytes, or more once expanded, than are accepted here.
    #[error("the property list is larger than is accepted here")]
    TooLarge,
    /// Neither an XML nor a binary (`bplist00`) property list.
    #[error("not a property list")]
    NotAPlist,
    /// DER: a signed or encrypted profile (CMS). Whoever calls must verify and unwrap it first.
    #[error("a signed or encrypted envelope (CMS); unwrap it first")]
    SignedEnvelope,
    /// Not UTF-8, or declared as something else.
    #[error("not UTF-8")]
    Encoding,
    /// A document type with an internal subset, or one that isn't a property list's.
    #[error("a document type other than Apple's property list")]
    Doctype,
    /// An entity other than the five of XML.
    #[error("an XML entity that isn't one of the five predefined ones")]
    Entity,
    /// Collections nested deeper than [`crate::plist_guard::MAX_DEPTH`], or a cycle of references.
    #[error("nested deeper than 64 collections")]
    TooDeep,
    /// More values than [`crate::plist_guard::MAX_NODES`].
    #[error("more values than are accepted")]
    TooManyNodes,
    /// Not well-formed: a tag or text where none may stand, or an end that is missing.
    #[error("the property list isn't well-formed")]
    Syntax,
    /// One key twice in a dictionary, or one path twice in a message: readers would disagree on which counts.
    #[error("a key stands twice in one dictionary")]
    DuplicateKey,
    /// A number that can't be read or is out of range.
    #[error("a number can't be read")]
    BadNumber,
    /// A date that can't be read or lies outside the years 0000 to 9999.
    #[error("a date can't be read")]
    BadDate,
    /// `<data>` that isn't base64.
    #[error("data isn't base64")]
    BadBase64,
    /// A NUL, or a character reference to something that isn't a character.
    #[error("a character that may not stand in a property list")]
    BadCharacter,
    /// A kind of value that no message has (UID, null).
    #[error("a kind of value that isn't used in device management")]
    Unsupported,
    /// A binary property list whose offsets, sizes or references leave the file.
    #[error("offsets or references of the binary property list leave the file")]
    Reference,
    /// A field's path is longer than [`crate::message::MAX_NAME_BYTES`].
    #[error("a field's name is too long")]
    NameTooLong,
    /// The outermost value must be a dictionary.
    #[error("the outermost value isn't a dictionary")]
    NotADictionary,
    /// A key that this kind of message can't do without.
    #[error("the key {0} is missing")]
    MissingKey(&'static str),
    /// The key is there, with a value of another type than Apple's schema says.
    #[error("the key {0} has a value of the wrong type")]
    WrongType(&'static str),
    /// Neither `MessageType` nor `Status`: no check-in and no report.
    #[error("neither a check-in nor a command report")]
    UnknownMessage,
    /// A `Status` that isn't one of the five.
    #[error("the report's Status isn't one that is known")]
    UnknownStatus,
    /// Neither `UDID` nor `EnrollmentID`: no telling who speaks.
    #[error("neither UDID nor EnrollmentID is there")]
    NoIdentity,
    /// Not JSON (RFC 8259), or a number in it that is out of range.
    #[error("not JSON")]
    NotJson,
}

/// The administrator asked for a command that can't be sent as it stands. Names the argument and what
/// to do, never its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// An argument that this command needs.
    #[error("this command needs {0}")]
    Missing(&'static str),
    /// An argument that this command doesn't take; nothing is dropped silently.
    #[error("this command takes no {0}")]
    Unexpected(&'static str),
    /// `EnableLostMode` without both.
    #[error("lost mode needs a message or a phone number to show")]
    NothingToShow,
    /// An empty text.
    #[error("{0} is empty; leave it out instead")]
    Empty(&'static str),
    /// A text longer than is accepted.
    #[error("{0} is longer than {1} characters")]
    TooLong(&'static str, usize),
    /// A control character, or one that may not stand in this argument.
    #[error("{0} holds a character that may not stand there")]
    BadCharacter(&'static str),
    /// Too many settings, or one setting twice.
    #[error("settings: between 1 and 16 items, each at most once")]
    BadSettings,
    /// No `https://host…`.
    #[error("{0} must be an https address without a user name in it")]
    BadUrl(&'static str),
    /// Not what a bundle identifier looks like.
    #[error("an app's identifier has letters, digits, dots and hyphens only, such as org.example.pager")]
    BadAppIdentifier,
    /// No app named, too many, or one twice.
    #[error("name between 1 and {0} apps, each once")]
    BadAppList(usize),
    /// An app's settings that are no dictionary, or too large.
    #[error(
        "an app's settings are a property list whose outermost value is a dictionary, of at most {0} bytes"
    )]
    BadAppConfiguration(usize),
    /// A raw command was refused.
    #[error("the raw command was refused: {0}")]
    Raw(#[from] RawError),
    /// The profile can't be read; it is sent only as what was read.
    #[error("the profile was refused: {0}")]
    Profile(#[from] Malformed),
    /// The property list couldn't be written: our fault.
    #[error("the command couldn't be written")]
    Unwritable,
}

/// A raw command that does not fit Apple's schema. Names keys of the schema, or at most 64 plain characters
/// of an unknown one; never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RawError {
    /// The bytes can't be read.
    #[error("{0}")]
    Unreadable(Malformed),
    /// No `RequestType`, or another than the order says.
    #[error("RequestType is missing or not the one that was ordered")]
    NoRequestType,
    /// There is a typed command or query for it.
    #[error("{request_type} has a command of its own: use '{instead}'")]
    HasItsOwnCommand {
        /// The request type.
        request_type: String,
        /// What to use.
        instead: &'static str,
    },
    /// No iPhone knows it.
    #[error("{0} is no request type that an iPhone takes")]
    UnknownRequestType(String),
    /// A key that the schema doesn't have.
    #[error("the key {0} is not in Apple's schema of this command")]
    UnknownKey(String),
    /// A key that it can't do without.
    #[error("the key {0} is missing")]
    MissingKey(String),
    /// A key with a value of another type.
    #[error("the key {key} must be {must_be}")]
    WrongType {
        /// The key, with its path.
        key: String,
        /// In words.
        must_be: &'static str,
    },
    /// A value that is none of the listed ones, or too long.
    #[error("the key {0} has a value that Apple's schema doesn't list, or one too long")]
    BadValue(String),
}

/// The operator's configuration makes no valid enrolment profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// A URL that isn't `https://…`.
    #[error("{0} must begin with https://")]
    NotHttps(&'static str),
    /// The push topic.
    #[error("the push topic must begin with com.apple.mgmt.")]
    BadTopic,
    /// An argument that is empty, too long, or holds a control character.
    #[error("{0} is empty, too long or holds a control character")]
    BadText(&'static str),
    /// A CA fingerprint that is neither SHA-1 nor SHA-256.
    #[error("the CA's fingerprint must have 20 or 32 bytes")]
    BadFingerprint,
    /// No CA certificate, or more than eight.
    #[error("an enrolment profile carries one to eight root certificates")]
    BadRoots,
    /// A UUID stands twice; payloads would replace each other.
    #[error("the profile's UUIDs must differ")]
    EqualUuids,
    /// The property list couldn't be written: our fault.
    #[error("the profile couldn't be written")]
    Unwritable,
}
