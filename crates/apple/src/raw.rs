//! Raw commands: what Apple's schema has and no typed command here. The list is closed, and every key of
//! it is typed; whatever is not in it is refused by its name, so a raw command can't carry what a typed one
//! judges (a profile, an app, an erasure). Source: `mdm/commands/*.yaml` (iOS), against which the tests hold
//! this table.

use crate::plist_guard;
use crate::{Malformed, RawError};
use plist::{Dictionary, Value};

/// The largest raw command, in bytes of its property list.
pub const MAX_RAW_BYTES: usize = 1 << 20;
/// The longest text in one, in characters.
pub const MAX_TEXT_CHARS: usize = 4096;
/// The most items of an array.
pub const MAX_ITEMS: usize = 64;

/// Request types that destroy nothing, leave management in place and hand nothing to others. All others
/// count as erasure.
pub const MILD: &[&str] = &["DeviceConfigured", "StopMirroring", "UserConfigured"];

/// Which values a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `<string>`; one of these, where any are named.
    Text(&'static [&'static str]),
    /// `<integer>` in this range, both ends included.
    Integer(i64, i64),
    /// `<boolean>`
    Bool,
    /// `<data>`
    Data,
    /// `<array>` of dictionaries with these keys.
    Dictionaries(&'static [Key]),
}

/// A key of a command's dictionary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// The command can't do without.
    pub required: bool,
}

/// A request type with its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawCommand {
    /// Apple's `RequestType`.
    pub request_type: &'static str,
    /// Its keys beside `RequestType`.
    pub keys: &'static [Key],
}

const fn must(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, required: true }
}

const fn may(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, required: false }
}

const TEXT: Kind = Kind::Text(&[]);

/// Every raw command there is.
pub const COMMANDS: &[RawCommand] = &[
    RawCommand {
        request_type: "ApplyRedemptionCode",
        keys: &[must("Identifier", TEXT), must("RedemptionCode", TEXT)],
    },
    RawCommand { request_type: "ClearRestrictionsPassword", keys: &[] },
    RawCommand {
        request_type: "DeleteUser",
        keys: &[may("UserName", TEXT), may("ForceDeletion", Kind::Bool), may("DeleteAllUsers", Kind::Bool)],
    },
    RawCommand { request_type: "DeviceConfigured", keys: &[] },
    RawCommand {
        request_type: "InstallMedia",
        keys: &[
            may("iTunesStoreID", Kind::Integer(0, i64::MAX)),
            may("MediaURL", TEXT),
            must("MediaType", Kind::Text(&["Book"])),
            may("PersistentID", TEXT),
            may("Kind", Kind::Text(&["pdf", "epub", "ibooks"])),
            may("Version", TEXT),
            may("Author", TEXT),
            may("Title", TEXT),
        ],
    },
    RawCommand {
        request_type: "InstallProvisioningProfile",
        keys: &[must("ProvisioningProfile", Kind::Data)],
    },
    RawCommand {
        request_type: "InviteToProgram",
        keys: &[must("ProgramID", Kind::Text(&["com.apple.cloudvpp"])), must("InvitationURL", TEXT)],
    },
    RawCommand { request_type: "LogOutUser", keys: &[] },
    RawCommand { request_type: "RefreshCellularPlans", keys: &[must("eSIMServerURL", TEXT)] },
    RawCommand {
        request_type: "RemoveMedia",
        keys: &[
            must("MediaType", Kind::Text(&["Book"])),
            may("iTunesStoreID", TEXT),
            may("PersistentID", TEXT),
        ],
    },
    RawCommand { request_type: "RemoveProvisioningProfile", keys: &[must("UUID", TEXT)] },
    RawCommand {
        request_type: "RequestMirroring",
        keys: &[
            may("DestinationName", TEXT),
            may("DestinationDeviceID", TEXT),
            may("ScanTime", Kind::Integer(0, 3600)),
            may("Password", TEXT),
        ],
    },
    RawCommand { request_type: "RequestUnlockToken", keys: &[] },
    RawCommand {
        request_type: "ScheduleOSUpdate",
        keys: &[must(
            "Updates",
            Kind::Dictionaries(&[
                may("ProductKey", TEXT),
                may("ProductVersion", TEXT),
                must(
                    "InstallAction",
                    Kind::Text(&[
                        "Default",
                        "DownloadOnly",
                        "InstallASAP",
                        "NotifyOnly",
                        "InstallLater",
                        "InstallForceRestart",
                    ]),
                ),
                may("MaxUserDeferrals", Kind::Integer(0, 1000)),
                may("Priority", Kind::Text(&["Low", "High"])),
            ]),
        )],
    },
    RawCommand { request_type: "StopMirroring", keys: &[] },
    RawCommand { request_type: "UserConfigured", keys: &[] },
];

/// Request types that have a command or query of their own, and which.
pub const TYPED: &[(&str, &str)] = &[
    ("ActivationLockBypassCode", "matron devices query --what ActivationLockBypassCode"),
    ("AvailableOSUpdates", "matron devices query --what AvailableOSUpdates"),
    ("CertificateList", "matron devices query --what CertificateList"),
    ("ClearActivationLockBypassCode", "matron devices clear-bypass-code"),
    ("ClearPasscode", "matron devices clear-passcode"),
    ("DeclarativeManagement", "matron declarations"),
    ("DeviceInformation", "matron devices query --what DeviceInformation"),
    ("DeviceLocation", "matron devices lost-mode locate"),
    ("DeviceLock", "matron devices lock"),
    ("DisableLostMode", "matron devices lost-mode off"),
    ("EnableLostMode", "matron devices lost-mode on"),
    ("EraseDevice", "matron devices erase"),
    ("InstallApplication", "matron devices install-app"),
    ("InstallProfile", "matron devices install-profile"),
    ("InstalledApplicationList", "matron devices query --what InstalledApplicationList"),
    ("ManagedApplicationAttributes", "matron devices app-report attributes"),
    ("ManagedApplicationConfiguration", "matron devices app-report configuration"),
    ("ManagedApplicationFeedback", "matron devices app-report feedback"),
    ("ManagedApplicationList", "matron devices query --what ManagedApplicationList"),
    ("ManagedMediaList", "matron devices query --what ManagedMediaList"),
    ("OSUpdateStatus", "matron devices query --what OSUpdateStatus"),
    ("PlayLostModeSound", "matron devices lost-mode ring"),
    ("ProfileList", "matron devices query --what ProfileList"),
    ("ProvisioningProfileList", "matron devices query --what ProvisioningProfileList"),
    ("RemoveApplication", "matron devices remove-app"),
    ("RemoveProfile", "matron devices remove-profile"),
    ("RestartDevice", "matron devices restart"),
    ("Restrictions", "matron devices query --what Restrictions"),
    ("SecurityInfo", "matron devices query --what SecurityInfo"),
    ("Settings", "matron devices settings"),
    ("ShutDownDevice", "matron devices shutdown"),
    ("UserList", "matron devices query --what UserList"),
    ("ValidateApplications", "matron devices validate-apps"),
];

/// Reads a raw command: a property list whose outermost value is the `Command` dictionary. Gives its
/// `RequestType` and the dictionary, once every key of it was checked.
///
/// # Errors
/// [`RawError`] names the key.
pub fn read(bytes: &[u8]) -> Result<(&'static str, Dictionary), RawError> {
    let value = plist_guard::parse(bytes, MAX_RAW_BYTES).map_err(RawError::Unreadable)?;
    let dictionary = value.into_dictionary().ok_or(RawError::Unreadable(Malformed::NotADictionary))?;
    let named = dictionary.get("RequestType").and_then(Value::as_string).ok_or(RawError::NoRequestType)?;
    let command = find(named)?;
    check("", command.keys, &dictionary, &["RequestType"])?;
    Ok((command.request_type, dictionary))
}

/// The raw command of that `RequestType`.
///
/// # Errors
/// [`RawError::HasItsOwnCommand`] or [`RawError::UnknownRequestType`].
pub fn find(request_type: &str) -> Result<&'static RawCommand, RawError> {
    if let Some((_, instead)) = TYPED.iter().find(|(typed, _)| *typed == request_type) {
        return Err(RawError::HasItsOwnCommand { request_type: request_type.to_owned(), instead });
    }
    let found = COMMANDS.iter().find(|c| c.request_type == request_type);
    found.ok_or_else(|| RawError::UnknownRequestType(printable(request_type)))
}

fn check(at: &str, keys: &[Key], dictionary: &Dictionary, besides: &[&str]) -> Result<(), RawError> {
    for (name, value) in dictionary {
        if besides.contains(&name.as_str()) {
            continue;
        }
        let Some(key) = keys.iter().find(|k| k.name == name) else {
            return Err(RawError::UnknownKey(printable(&format!("{at}{name}"))));
        };
        check_value(&format!("{at}{}", key.name), key.kind, value)?;
    }
    match keys.iter().find(|k| k.required && !dictionary.contains_key(k.name)) {
        Some(missing) => Err(RawError::MissingKey(format!("{at}{}", missing.name))),
        None => Ok(()),
    }
}

fn check_value(at: &str, kind: Kind, value: &Value) -> Result<(), RawError> {
    let wrong = |must_be| Err(RawError::WrongType { key: at.to_owned(), must_be });
    let fits = match (kind, value) {
        (Kind::Text(allowed), Value::String(text)) => {
            (allowed.is_empty() || allowed.contains(&text.as_str()))
                && text.chars().count() <= MAX_TEXT_CHARS
                && !text.contains(char::is_control)
        }
        (Kind::Integer(min, max), Value::Integer(i)) => {
            i.as_signed().is_some_and(|i| (min..=max).contains(&i))
        }
        (Kind::Bool, Value::Boolean(_)) | (Kind::Data, Value::Data(_)) => true,
        (Kind::Dictionaries(keys), Value::Array(items)) => {
            if items.is_empty() || items.len() > MAX_ITEMS {
                return Err(RawError::BadValue(at.to_owned()));
            }
            for (i, item) in items.iter().enumerate() {
                let Value::Dictionary(item) = item else { return wrong("an array of dictionaries") };
                check(&format!("{at}.{i}."), keys, item, &[])?;
            }
            true
        }
        (Kind::Text(_), _) => return wrong("a string"),
        (Kind::Integer(..), _) => return wrong("an integer"),
        (Kind::Bool, _) => return wrong("true or false"),
        (Kind::Data, _) => return wrong("data"),
        (Kind::Dictionaries(_), _) => return wrong("an array of dictionaries"),
    };
    if fits { Ok(()) } else { Err(RawError::BadValue(at.to_owned())) }
}

/// A word that a file's author chose, made fit to be shown.
fn printable(word: &str) -> String {
    word.chars().take(64).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(inner: &str) -> Vec<u8> {
        format!("<plist version=\"1.0\"><dict>{inner}</dict></plist>").into_bytes()
    }

    fn request(request_type: &str, inner: &str) -> Vec<u8> {
        file(&format!("<key>RequestType</key><string>{request_type}</string>{inner}"))
    }

    #[test]
    fn a_raw_command_fits_its_table_or_is_refused_by_the_keys_name() {
        let why = |request_type: &str, inner: &str| read(&request(request_type, inner)).unwrap_err();
        assert_eq!(read(&request("StopMirroring", "")).unwrap().0, "StopMirroring");
        assert_eq!(why("StopMirroring", "<key>Why</key><true/>"), RawError::UnknownKey("Why".into()));
        assert_eq!(why("RemoveProvisioningProfile", ""), RawError::MissingKey("UUID".into()));
        assert_eq!(
            why("RemoveProvisioningProfile", "<key>UUID</key><integer>1</integer>"),
            RawError::WrongType { key: "UUID".into(), must_be: "a string" }
        );
        let update = |inner: &str| format!("<key>Updates</key><array><dict>{inner}</dict></array>");
        let action = "<key>InstallAction</key><string>InstallASAP</string>";
        assert!(read(&request("ScheduleOSUpdate", &update(action))).is_ok());
        assert_eq!(
            why("ScheduleOSUpdate", &update("")),
            RawError::MissingKey("Updates.0.InstallAction".into())
        );
        assert_eq!(
            why("ScheduleOSUpdate", &update("<key>InstallAction</key><string>Wipe</string>")),
            RawError::BadValue("Updates.0.InstallAction".into())
        );
        assert_eq!(
            why("ScheduleOSUpdate", "<key>Updates</key><array/>"),
            RawError::BadValue("Updates".into())
        );
        assert_eq!(why("Wipe\u{202E}Me", ""), RawError::UnknownRequestType("Wipe?Me".into()));
        assert_eq!(read(&file("<key>Payload</key><data/>")).unwrap_err(), RawError::NoRequestType);
        assert_eq!(read(b"<array/>").unwrap_err(), RawError::Unreadable(Malformed::NotADictionary));
    }

    #[test]
    fn what_has_a_command_of_its_own_never_passes_as_a_raw_one() {
        for (typed, instead) in TYPED {
            let refused = read(&request(typed, "")).unwrap_err();
            assert!(matches!(&refused, RawError::HasItsOwnCommand { .. }), "{typed}");
            assert!(refused.to_string().contains(instead));
            assert!(COMMANDS.iter().all(|c| c.request_type != *typed), "{typed}");
        }
    }

    #[test]
    fn which_raw_commands_need_supervision_is_said_of_commands_there_are() {
        for name in model::command::RAW_SUPERVISED.iter().chain(MILD) {
            assert!(COMMANDS.iter().any(|c| c.request_type == *name), "{name}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn arbitrary_keys_and_values_are_refused_or_fit_and_never_panic(
            which in 0..COMMANDS.len(), key in "[A-Za-z]{1,12}", value in "[a-z<>/&;]{0,20}", at: u16, byte: u8,
        ) {
            let command = COMMANDS[which];
            let own = command.keys.first().map_or(key.as_str(), |k| k.name);
            let inner = format!("<key>{own}</key><string>{}</string>", value.replace(['<', '&', '>'], ""));
            let mut bytes = request(command.request_type, &inner);
            let len = bytes.len();
            if let Ok((request_type, dictionary)) = read(&bytes) {
                prop_assert_eq!(request_type, command.request_type);
                prop_assert!(dictionary.len() <= command.keys.len() + 1);
            }
            bytes[usize::from(at) % len] = byte;
            let _ = read(&bytes);
        }
    }
}
