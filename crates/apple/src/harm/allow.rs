//! The list of mild payload types and keys, with the values that are still mild. Names and types are
//! Apple's (`mdm/profiles/*.yaml`), checked against it in the tests; what is mild is our judgement, and
//! each entry that could surprise says why.

use super::Why;
use plist::Value;

/// Which values of a key are mild.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Either truth value.
    Bool,
    /// This truth value alone.
    Exactly(bool),
    /// A whole number in this range, both ends included.
    Integer(i64, i64),
    /// A text of so many characters, without control characters (line ends excepted).
    Text(usize, usize),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// `https://host…` without a user name or password, at most 2048 characters.
    HttpsUrl,
    /// Data of at most so many bytes.
    Data(usize),
    /// Judged by itself elsewhere: the array of payloads.
    Payloads,
}

impl Rule {
    /// Whether `value` is mild under this rule.
    ///
    /// # Errors
    /// [`Why::WrongType`] or [`Why::OutOfRange`].
    pub(super) fn allows(self, value: &Value) -> Result<(), Why> {
        let fits = match (self, value) {
            (Self::Bool, Value::Boolean(_)) | (Self::Payloads, Value::Array(_)) => true,
            (Self::Exactly(only), Value::Boolean(b)) => *b == only,
            (Self::Integer(min, max), Value::Integer(i)) => {
                i.as_signed().is_some_and(|i| (min..=max).contains(&i))
            }
            (Self::Text(min, max), Value::String(text)) => {
                (min..=max).contains(&text.chars().count())
                    && !text.contains(|c: char| c.is_control() && c != '\n')
            }
            (Self::OneOf(texts), Value::String(text)) => texts.contains(&text.as_str()),
            (Self::HttpsUrl, Value::String(url)) => is_plain_https(url),
            (Self::Data(max), Value::Data(data)) => data.len() <= max,
            _ => return Err(Why::WrongType),
        };
        if fits { Ok(()) } else { Err(Why::OutOfRange) }
    }
}

/// A user name before the host would make one host look like another.
pub(crate) fn is_plain_https(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("https://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    url.len() <= 2048
        && url.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
        && !host.is_empty()
        && !authority.contains('@')
}

/// A payload type that can be mild.
pub(super) struct MildPayload {
    pub(super) payload_type: &'static str,
    /// Keys without which it isn't: their default, or their absence, is not mild.
    pub(super) required: &'static [&'static str],
    pub(super) keys: &'static [(&'static str, Rule)],
}

impl MildPayload {
    pub(super) fn find(payload_type: &str) -> Option<&'static Self> {
        MILD_PAYLOADS.iter().find(|p| p.payload_type == payload_type)
    }
}

/// Every key that can be mild: payload type (`Configuration` for the profile itself, `*` for any payload),
/// key, and the values that are. For documents, and for people who wonder.
pub fn mild_keys() -> impl Iterator<Item = (&'static str, &'static str, Rule)> {
    let top = TOP_LEVEL_KEYS.iter().map(|(key, rule)| ("Configuration", *key, *rule));
    let common = COMMON_KEYS.iter().map(|(key, rule)| ("*", *key, *rule));
    let own =
        MILD_PAYLOADS.iter().flat_map(|p| p.keys.iter().map(|(key, rule)| (p.payload_type, *key, *rule)));
    top.chain(common).chain(own)
}

const IDENTIFIER: Rule = Rule::Text(1, 255);
const LABEL: Rule = Rule::Text(0, 1000);

/// The profile's own keys. Not listed: a removal date or passcode, encryption, consent texts.
pub(super) const TOP_LEVEL_KEYS: &[(&str, Rule)] = &[
    ("PayloadContent", Rule::Payloads),
    ("PayloadDescription", LABEL),
    ("PayloadDisplayName", LABEL),
    ("PayloadIdentifier", IDENTIFIER),
    ("PayloadOrganization", LABEL),
    // What management installs, the user can't remove anyway.
    ("PayloadRemovalDisallowed", Rule::Bool),
    ("PayloadType", Rule::OneOf(&["Configuration"])),
    ("PayloadUUID", Rule::Text(1, 64)),
    ("PayloadVersion", Rule::Integer(1, 1)),
    // Any, or iPhone and iPad.
    ("TargetDeviceType", Rule::Integer(0, 1)),
];

/// Keys of every payload.
pub(super) const COMMON_KEYS: &[(&str, Rule)] = &[
    ("PayloadDescription", LABEL),
    ("PayloadDisplayName", LABEL),
    ("PayloadIdentifier", IDENTIFIER),
    ("PayloadOrganization", LABEL),
    ("PayloadType", IDENTIFIER),
    ("PayloadUUID", Rule::Text(1, 64)),
    ("PayloadVersion", Rule::Integer(1, 1)),
];

pub(super) const MILD_PAYLOADS: &[MildPayload] = &[
    // A network with a password of its own. Not listed: open or WEP networks (and `Any`, the default,
    // which joins them), proxies, enterprise authentication with what it trusts, hotspots, captive bypass.
    MildPayload {
        payload_type: "com.apple.wifi.managed",
        required: &["SSID_STR", "EncryptionType", "Password"],
        keys: &[
            ("AutoJoin", Rule::Bool),
            ("DisableAssociationMACRandomization", Rule::Bool),
            ("EncryptionType", Rule::OneOf(&["WPA", "WPA2", "WPA3"])),
            ("HIDDEN_NETWORK", Rule::Bool),
            ("Password", Rule::Text(8, 63)),
            ("ProxyType", Rule::OneOf(&["None"])),
            ("SSID_STR", Rule::Text(1, 32)),
        ],
    },
    // A link on the home screen. Full screen shows no address: anyone's page could pose as the hospital's.
    MildPayload {
        payload_type: "com.apple.webClip.managed",
        required: &["URL", "Label"],
        keys: &[
            ("FullScreen", Rule::Exactly(false)),
            ("Icon", Rule::Data(1 << 20)),
            ("IsRemovable", Rule::Bool),
            ("Label", Rule::Text(1, 64)),
            ("Precomposed", Rule::Bool),
            ("URL", Rule::HttpsUrl),
        ],
    },
    // A passcode policy that people can meet. Fewer than six attempts erase by accident; zero days or
    // minutes, long histories and lengths that nobody can remember lock people out.
    MildPayload {
        payload_type: "com.apple.mobiledevice.passwordpolicy",
        required: &[],
        keys: &[
            ("allowSimple", Rule::Bool),
            ("forcePIN", Rule::Bool),
            ("maxFailedAttempts", Rule::Integer(6, 11)),
            ("maxGracePeriod", Rule::Integer(0, 15)),
            ("maxInactivity", Rule::Integer(1, 15)),
            ("maxPINAgeInDays", Rule::Integer(30, 730)),
            ("minComplexChars", Rule::Integer(0, 2)),
            ("minLength", Rule::Integer(0, 10)),
            ("pinHistory", Rule::Integer(1, 24)),
            ("requireAlphanumeric", Rule::Bool),
        ],
    },
    // Whom to return the phone to.
    MildPayload {
        payload_type: "com.apple.shareddeviceconfiguration",
        required: &[],
        keys: &[("AssetTagInformation", Rule::Text(1, 200)), ("LockScreenFootnote", Rule::Text(1, 200))],
    },
    // Restrictions that only keep data in, each in its protective direction alone. None takes away an app,
    // a network, updates, backups or a way to unlock.
    MildPayload {
        payload_type: "com.apple.applicationaccess",
        required: &[],
        keys: &[
            ("allowAirPrintCredentialsStorage", Rule::Exactly(false)),
            ("allowApplePersonalizedAdvertising", Rule::Exactly(false)),
            ("allowAssistantWhileLocked", Rule::Exactly(false)),
            ("allowDiagnosticSubmission", Rule::Exactly(false)),
            ("allowEnterpriseAppTrust", Rule::Exactly(false)),
            ("allowLockScreenNotificationsView", Rule::Exactly(false)),
            ("allowLockScreenTodayView", Rule::Exactly(false)),
            ("allowManagedToWriteUnmanagedContacts", Rule::Exactly(false)),
            ("allowPasswordProximityRequests", Rule::Exactly(false)),
            ("allowPasswordSharing", Rule::Exactly(false)),
            ("allowUnmanagedToReadManagedContacts", Rule::Exactly(false)),
            ("allowUntrustedTLSPrompt", Rule::Exactly(false)),
            ("forceAirDropUnmanaged", Rule::Exactly(true)),
            ("forceAuthenticationBeforeAutoFill", Rule::Exactly(true)),
            ("forceAutomaticDateAndTime", Rule::Exactly(true)),
            ("forceEncryptedBackup", Rule::Exactly(true)),
            ("forceLimitAdTracking", Rule::Exactly(true)),
            ("forceOnDeviceOnlyDictation", Rule::Exactly(true)),
            ("forceOnDeviceOnlyTranslation", Rule::Exactly(true)),
            ("safariForceFraudWarning", Rule::Exactly(true)),
        ],
    },
];
