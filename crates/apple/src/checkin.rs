//! The check-in messages, typed. Keys a message's type names are taken out of its `fields`; all the rest
//! the phone said stays in them. Source: `mdm/checkin/*.yaml`.

use crate::Malformed;
use crate::message::{Field, FieldValue, Keys, Who};

/// `Authenticate`: an enrolment begins anew. Queue cleared, nothing delivered before `TokenUpdate`.
#[derive(Debug, Clone, PartialEq)]
pub struct Authenticate {
    /// Who speaks.
    pub who: Who,
    /// `Topic`, the push certificate's.
    pub topic: String,
    /// All that the phone says of itself, the ids of `who` among it: `SerialNumber`, `IMEI`, `OSVersion`,
    /// and whatever isn't known here.
    pub fields: Vec<Field>,
}

impl Authenticate {
    pub(crate) fn read(who: Who, mut keys: Keys<'_>) -> Result<Self, Malformed> {
        for key in AUTHENTICATE_TEXTS {
            keys.check_text(key)?;
        }
        let topic = keys.text("Topic")?;
        let fields = keys.into_fields_with(&who)?;
        Ok(Self { who, topic, fields })
    }
}

/// The texts of `Authenticate` that must be texts if they are there; account-driven enrolment leaves
/// most of them out.
pub const AUTHENTICATE_TEXTS: [&str; 9] = [
    "DeviceName",
    "ModelName",
    "Model",
    "OSVersion",
    "BuildVersion",
    "ProductName",
    "SerialNumber",
    "IMEI",
    "MEID",
];

/// The secrets of `TokenUpdate`, and whether it can't do without. `PushMagic` is a text, the others data.
pub const TOKEN_UPDATE_SECRETS: [(&str, bool); 3] =
    [("Token", true), ("PushMagic", true), ("UnlockToken", false)];

/// `TokenUpdate`: where to push to; the enrolment is complete.
///
/// The secrets stand in `fields` (`Token`, `PushMagic`, `UnlockToken`), once, for whoever seals them;
/// the methods look them up.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenUpdate {
    /// Who speaks.
    pub who: Who,
    /// `Topic`, the push certificate's.
    pub topic: String,
    /// The phone waits in Setup Assistant.
    pub awaiting_configuration: bool,
    /// A Mac's user isn't at the console.
    pub not_on_console: bool,
    /// All else, the ids of `who` among it.
    pub fields: Vec<Field>,
}

impl TokenUpdate {
    pub(crate) fn read(who: Who, mut keys: Keys<'_>) -> Result<Self, Malformed> {
        keys.check_text("PushMagic")?;
        let topic = keys.text("Topic")?;
        let awaiting_configuration = keys.find_bool("AwaitingConfiguration")?;
        let not_on_console = keys.find_bool("NotOnConsole")?;
        let fields = keys.into_fields_with(&who)?;
        let update = Self { who, topic, awaiting_configuration, not_on_console, fields };
        for (key, required) in TOKEN_UPDATE_SECRETS {
            match update.find(key) {
                Some(FieldValue::Text(_)) if key == "PushMagic" => {}
                Some(FieldValue::Bytes(_)) if key != "PushMagic" => {}
                Some(_) => return Err(Malformed::WrongType(key)),
                None if update.fields.iter().any(|f| f.name.starts_with(key)) => {
                    return Err(Malformed::WrongType(key));
                }
                None if required => return Err(Malformed::MissingKey(key)),
                None => {}
            }
        }
        Ok(update)
    }

    fn find(&self, name: &str) -> Option<&FieldValue> {
        self.fields.iter().find(|f| f.name == name).map(|f| &f.value)
    }

    /// The push token, of any length, as it came.
    #[must_use]
    pub fn token(&self) -> &[u8] {
        self.find("Token").and_then(FieldValue::as_bytes).unwrap_or_default()
    }

    /// `PushMagic`.
    #[must_use]
    pub fn push_magic(&self) -> &str {
        self.find("PushMagic").and_then(FieldValue::as_text).unwrap_or_default()
    }

    /// The unlock token. `None` says nothing: a stored one stays.
    #[must_use]
    pub fn unlock_token(&self) -> Option<&[u8]> {
        self.find("UnlockToken").and_then(FieldValue::as_bytes)
    }
}

/// `CheckOut`: management was removed. Sent at best once, perhaps never.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckOut {
    /// Who speaks.
    pub who: Who,
    /// `Topic`, if it is there.
    pub topic: Option<String>,
    /// What else it says.
    pub fields: Vec<Field>,
}

impl CheckOut {
    pub(crate) fn read(who: Who, mut keys: Keys<'_>) -> Result<Self, Malformed> {
        let topic = keys.find_text("Topic")?.map(Into::into);
        Ok(Self { who, topic, fields: keys.into_fields()? })
    }
}

/// `UserAuthenticate`: a Mac's network user signs in. 410 declines.
#[derive(Clone, PartialEq)]
pub struct UserAuthenticate {
    /// Who speaks.
    pub who: Who,
    /// `DigestResponse`; absent or empty in the first of the two requests.
    pub digest_response: Option<String>,
    /// What else it says.
    pub fields: Vec<Field>,
}

impl UserAuthenticate {
    pub(crate) fn read(who: Who, mut keys: Keys<'_>) -> Result<Self, Malformed> {
        let digest_response = keys.find_text("DigestResponse")?.filter(|t| !t.is_empty()).map(Into::into);
        Ok(Self { who, digest_response, fields: keys.into_fields()? })
    }
}

/// `SetBootstrapToken`.
#[derive(Clone, PartialEq)]
pub struct SetBootstrapToken {
    /// Who speaks.
    pub who: Who,
    /// The token; `None` (absent or empty) clears the stored one.
    pub token: Option<Vec<u8>>,
    /// The device waits in Setup Assistant.
    pub awaiting_configuration: bool,
    /// What else it says.
    pub fields: Vec<Field>,
}

impl SetBootstrapToken {
    pub(crate) fn read(who: Who, mut keys: Keys<'_>) -> Result<Self, Malformed> {
        let token = keys.find_bytes("BootstrapToken")?.filter(|t| !t.is_empty());
        let awaiting_configuration = keys.find_bool("AwaitingConfiguration")?;
        Ok(Self { who, token, awaiting_configuration, fields: keys.into_fields()? })
    }
}

/// `GetBootstrapToken`: answer `BootstrapToken`, or an empty 200.
#[derive(Debug, Clone, PartialEq)]
pub struct GetBootstrapToken {
    /// Who speaks.
    pub who: Who,
    /// The device waits in Setup Assistant.
    pub awaiting_configuration: bool,
    /// What else it says.
    pub fields: Vec<Field>,
}

impl GetBootstrapToken {
    pub(crate) fn read(who: Who, mut keys: Keys<'_>) -> Result<Self, Malformed> {
        let awaiting_configuration = keys.find_bool("AwaitingConfiguration")?;
        Ok(Self { who, awaiting_configuration, fields: keys.into_fields()? })
    }
}

/// `GetToken`: answer `TokenData`.
#[derive(Debug, Clone, PartialEq)]
pub struct GetToken {
    /// Who speaks.
    pub who: Who,
    /// `TokenServiceType`, such as `com.apple.maid` or `com.apple.watch.pairing`.
    pub service_type: String,
    /// What else it says: `TokenParameters.…` name other devices.
    pub fields: Vec<Field>,
}

impl GetToken {
    pub(crate) fn read(who: Who, mut keys: Keys<'_>) -> Result<Self, Malformed> {
        let service_type = keys.text("TokenServiceType")?;
        Ok(Self { who, service_type, fields: keys.into_fields()? })
    }
}

/// `DeclarativeManagement`: one of four endpoints.
#[derive(Clone, PartialEq)]
pub struct DeclarativeManagement {
    /// Who speaks.
    pub who: Who,
    /// Which endpoint.
    pub endpoint: Endpoint,
    /// The JSON of a status report, not read here; at most the message's size.
    pub data: Option<Vec<u8>>,
    /// What else it says.
    pub fields: Vec<Field>,
}

/// An endpoint of declarative management.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `tokens`.
    Tokens,
    /// `declaration-items`.
    DeclarationItems,
    /// `status`.
    Status,
    /// `declaration/<kind>/<identifier>`.
    Declaration {
        /// `activation`, `asset`, `configuration` or `management`, as the phone says.
        kind: String,
        /// The declaration's identifier.
        identifier: String,
    },
}

impl Endpoint {
    /// At most this many octets in a kind or identifier.
    pub const MAX_PART_BYTES: usize = 64;

    fn read(text: &str) -> Option<Self> {
        Some(match text {
            "tokens" => Self::Tokens,
            "declaration-items" => Self::DeclarationItems,
            "status" => Self::Status,
            _ => {
                let (kind, identifier) = text.strip_prefix("declaration/")?.split_once('/')?;
                let fits = |part: &str| {
                    (1..=Self::MAX_PART_BYTES).contains(&part.len())
                        && !part.contains(|c: char| c == '/' || c.is_control())
                };
                if !fits(kind) || !fits(identifier) {
                    return None;
                }
                Self::Declaration { kind: kind.to_owned(), identifier: identifier.to_owned() }
            }
        })
    }
}

impl DeclarativeManagement {
    pub(crate) fn read(who: Who, mut keys: Keys<'_>) -> Result<Self, Malformed> {
        let endpoint = keys.text("Endpoint")?;
        let endpoint = Endpoint::read(&endpoint).ok_or(Malformed::WrongType("Endpoint"))?;
        let data = keys.find_bytes("Data")?;
        Ok(Self { who, endpoint, data, fields: keys.into_fields()? })
    }
}

macro_rules! sealed_debug {
    ($($name:ident),*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(sealed)"))
            }
        }
    )*};
}

sealed_debug!(UserAuthenticate, SetBootstrapToken, DeclarativeManagement);
