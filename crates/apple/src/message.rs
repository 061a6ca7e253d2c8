//! What a phone sends to the server URL: a check-in (`MessageType`) or a command report (`Status`).
//!
//! [`parse`] is the one entry. Keys that Apple's schema does not know are kept as fields, since newer
//! systems say more than the schema of the day; keys it does know must have the type it gives them.
//! Source: `mdm/checkin/*.yaml` and `mdm/commands/*.yaml` of Apple's device-management schema.

mod field;

pub use field::{Field, FieldValue, MAX_NAME_BYTES};
pub(crate) use field::{flatten, unique};

use crate::Malformed;
use crate::checkin::{
    Authenticate, CheckOut, DeclarativeManagement, GetBootstrapToken, GetToken, SetBootstrapToken,
    TokenUpdate, UserAuthenticate,
};
use crate::plist_guard::{self, Node};
use crate::report::Report;
use std::borrow::Cow;

/// The largest message that is read, in bytes: a report with a few hundred certificates or apps.
pub const MAX_MESSAGE_BYTES: usize = 8 << 20;

/// Longest `MessageType` of a kind that isn't known.
const MAX_TYPE_BYTES: usize = 64;

/// One message from a phone.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// Begins an enrolment anew.
    Authenticate(Authenticate),
    /// Where to push to.
    TokenUpdate(TokenUpdate),
    /// Management was removed from the phone.
    CheckOut(CheckOut),
    /// A Mac's network user signs in; 410 declines.
    UserAuthenticate(UserAuthenticate),
    /// Escrows or clears the bootstrap token.
    SetBootstrapToken(SetBootstrapToken),
    /// Asks for the bootstrap token back.
    GetBootstrapToken(GetBootstrapToken),
    /// Asks for a service's token.
    GetToken(GetToken),
    /// Declarative management's own endpoints.
    DeclarativeManagement(DeclarativeManagement),
    /// The answer to a command, or Idle.
    Report(Box<Report>),
    /// A `MessageType` that isn't known here; answer 400 or an empty 200, and count it.
    Unknown {
        /// The type: at most 64 letters, digits, dots, hyphens, so that it may be logged.
        message_type: String,
        /// Who says so, if that can be told.
        who: Who,
        /// What else it says.
        fields: Vec<Field>,
    },
}

impl Message {
    /// Who speaks.
    #[must_use]
    pub fn who(&self) -> &Who {
        match self {
            Self::Authenticate(m) => &m.who,
            Self::TokenUpdate(m) => &m.who,
            Self::CheckOut(m) => &m.who,
            Self::UserAuthenticate(m) => &m.who,
            Self::SetBootstrapToken(m) => &m.who,
            Self::GetBootstrapToken(m) => &m.who,
            Self::GetToken(m) => &m.who,
            Self::DeclarativeManagement(m) => &m.who,
            Self::Report(m) => &m.who,
            Self::Unknown { who, .. } => who,
        }
    }

    /// The kind of message, for logs and counters: `MessageType`, `Report`, or `Unknown`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Authenticate(_) => "Authenticate",
            Self::TokenUpdate(_) => "TokenUpdate",
            Self::CheckOut(_) => "CheckOut",
            Self::UserAuthenticate(_) => "UserAuthenticate",
            Self::SetBootstrapToken(_) => "SetBootstrapToken",
            Self::GetBootstrapToken(_) => "GetBootstrapToken",
            Self::GetToken(_) => "GetToken",
            Self::DeclarativeManagement(_) => "DeclarativeManagement",
            Self::Report(_) => "Report",
            Self::Unknown { .. } => "Unknown",
        }
    }
}

/// Who speaks, as the message itself claims; the certificate says which enrolment it is. All of it is
/// personal or a hardware id.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Who {
    /// `UDID`: device enrolments.
    pub udid: Option<String>,
    /// `EnrollmentID`: user enrolments, which have no UDID.
    pub enrollment_id: Option<String>,
    /// `EnrollmentUserID`: a Mac's user in a user enrolment.
    pub enrollment_user_id: Option<String>,
    /// `UserID`: the message is a user's, not the device's.
    pub user_id: Option<String>,
    /// `UserShortName`.
    pub user_short_name: Option<String>,
    /// `UserLongName`.
    pub user_long_name: Option<String>,
}

impl std::fmt::Debug for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Who(sealed)")
    }
}

/// Whose connection a message belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// The device's.
    Device,
    /// A user's: a Mac's, or a Shared iPad's.
    User,
}

/// The `UserID` of every user of a Shared iPad; `UserShortName` tells them apart.
pub const SHARED_IPAD_USER_ID: &str = "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF";

impl Who {
    /// The device's own id: `UDID`, or else `EnrollmentID`.
    #[must_use]
    pub fn device_id(&self) -> Option<&str> {
        self.udid.as_deref().or(self.enrollment_id.as_deref())
    }

    /// Whether the device speaks or one of its users.
    #[must_use]
    pub fn channel(&self) -> Channel {
        if self.user_id.is_some() || self.enrollment_user_id.is_some() {
            Channel::User
        } else {
            Channel::Device
        }
    }
}

/// Reads one message.
///
/// # Errors
/// [`Malformed`]: not a property list, or a message without the keys it can't do without, or with one
/// of a wrong type. Nothing of it is to be used.
pub fn parse(body: &[u8]) -> Result<Message, Malformed> {
    let Node::Dict(pairs) = plist_guard::read(body, MAX_MESSAGE_BYTES)? else {
        return Err(Malformed::NotADictionary);
    };
    let mut keys = Keys(pairs);
    let who = Who {
        udid: keys.id("UDID")?,
        enrollment_id: keys.id("EnrollmentID")?,
        enrollment_user_id: keys.id("EnrollmentUserID")?,
        user_id: keys.id("UserID")?,
        user_short_name: keys.id("UserShortName")?,
        user_long_name: keys.id("UserLongName")?,
    };
    let Some(message_type) = keys.find_text("MessageType")? else {
        if !keys.has("Status") {
            return Err(Malformed::UnknownMessage);
        }
        identified(&who)?;
        return Report::read(who, keys).map(|r| Message::Report(Box::new(r)));
    };
    if message_type.len() > MAX_TYPE_BYTES
        || !message_type.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
    {
        return Err(Malformed::UnknownMessage);
    }
    match message_type.as_ref() {
        "Authenticate"
        | "TokenUpdate"
        | "CheckOut"
        | "UserAuthenticate"
        | "SetBootstrapToken"
        | "GetBootstrapToken"
        | "GetToken"
        | "DeclarativeManagement" => identified(&who)?,
        _ => {}
    }
    Ok(match message_type.as_ref() {
        "Authenticate" => Message::Authenticate(Authenticate::read(who, keys)?),
        "TokenUpdate" => Message::TokenUpdate(TokenUpdate::read(who, keys)?),
        "CheckOut" => Message::CheckOut(CheckOut::read(who, keys)?),
        "UserAuthenticate" => Message::UserAuthenticate(UserAuthenticate::read(who, keys)?),
        "SetBootstrapToken" => Message::SetBootstrapToken(SetBootstrapToken::read(who, keys)?),
        "GetBootstrapToken" => Message::GetBootstrapToken(GetBootstrapToken::read(who, keys)?),
        "GetToken" => Message::GetToken(GetToken::read(who, keys)?),
        "DeclarativeManagement" => Message::DeclarativeManagement(DeclarativeManagement::read(who, keys)?),
        other => {
            Message::Unknown { message_type: other.to_owned(), fields: keys.into_fields_with(&who)?, who }
        }
    })
}

fn identified(who: &Who) -> Result<(), Malformed> {
    who.device_id().map(|_| ()).ok_or(Malformed::NoIdentity)
}

/// A message's outermost dictionary, from which each kind takes the keys it knows.
pub(crate) struct Keys<'a>(Vec<(Cow<'a, str>, Node<'a>)>);

impl<'a> Keys<'a> {
    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(k, _)| k == key)
    }

    pub(crate) fn find(&self, key: &str) -> Option<&Node<'a>> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, node)| node)
    }

    pub(crate) fn take(&mut self, key: &str) -> Option<Node<'a>> {
        let at = self.0.iter().position(|(k, _)| k == key)?;
        Some(self.0.remove(at).1)
    }

    /// A text that may be absent; an empty one counts as absent.
    fn id(&mut self, key: &'static str) -> Result<Option<String>, Malformed> {
        Ok(self.find_text(key)?.filter(|t| !t.is_empty()).map(Cow::into_owned))
    }

    pub(crate) fn find_text(&mut self, key: &'static str) -> Result<Option<Cow<'a, str>>, Malformed> {
        match self.take(key) {
            None => Ok(None),
            Some(Node::Text(text)) => Ok(Some(text)),
            Some(_) => Err(Malformed::WrongType(key)),
        }
    }

    pub(crate) fn text(&mut self, key: &'static str) -> Result<String, Malformed> {
        self.find_text(key)?.map(Cow::into_owned).ok_or(Malformed::MissingKey(key))
    }

    pub(crate) fn find_bytes(&mut self, key: &'static str) -> Result<Option<Vec<u8>>, Malformed> {
        match self.take(key) {
            None => Ok(None),
            Some(Node::Bytes(bytes)) => Ok(Some(bytes.into_owned())),
            Some(_) => Err(Malformed::WrongType(key)),
        }
    }

    pub(crate) fn find_bool(&mut self, key: &'static str) -> Result<bool, Malformed> {
        match self.take(key) {
            None => Ok(false),
            Some(Node::Bool(value)) => Ok(value),
            Some(_) => Err(Malformed::WrongType(key)),
        }
    }

    /// Checks the type of a text that stays among the fields.
    pub(crate) fn check_text(&self, key: &'static str) -> Result<(), Malformed> {
        match self.0.iter().find(|(k, _)| k == key) {
            None | Some((_, Node::Text(_))) => Ok(()),
            Some(_) => Err(Malformed::WrongType(key)),
        }
    }

    /// Everything that is left, as fields.
    pub(crate) fn into_fields(self) -> Result<Vec<Field>, Malformed> {
        let mut fields = Vec::with_capacity(self.0.len() + 16);
        flatten("", Node::Dict(self.0), &mut fields)?;
        Ok(fields)
    }

    /// The same, with the ids of `who` among them.
    pub(crate) fn into_fields_with(self, who: &Who) -> Result<Vec<Field>, Malformed> {
        let mut fields = self.into_fields()?;
        let ids = [
            ("UDID", &who.udid),
            ("EnrollmentID", &who.enrollment_id),
            ("EnrollmentUserID", &who.enrollment_user_id),
            ("UserID", &who.user_id),
            ("UserShortName", &who.user_short_name),
            ("UserLongName", &who.user_long_name),
        ];
        for (name, id) in ids {
            if let Some(id) = id {
                fields.push(Field { name: name.to_owned(), value: FieldValue::Text(id.clone()) });
            }
        }
        Ok(fields)
    }
}
