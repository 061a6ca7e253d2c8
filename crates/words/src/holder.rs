//! What was done to a phone, as its holder reads it.

/// A command by its `RequestType`, as something that was asked of the phone.
#[must_use]
pub fn done_to_phone(request_type: &str) -> String {
    match request_type {
        "EnableLostMode" => "Lost mode turned on",
        "DisableLostMode" => "Lost mode ended",
        "PlayLostModeSound" => "Made to ring",
        "DeviceLocation" => "Asked where it is",
        "DeviceLock" => "Screen locked",
        "ClearPasscode" => "Passcode removed",
        "EraseDevice" => "Everything deleted",
        "InstallProfile" => "Settings installed",
        "RemoveProfile" => "Settings removed",
        "InstallApplication" => "App installed",
        "RemoveApplication" => "App removed",
        "RestartDevice" => "Restarted",
        "ShutDownDevice" => "Switched off",
        "Settings" => "Settings changed",
        "DeclarativeManagement" => "Asked to look at the hospital's rules for it",
        other => return format!("Asked something else ({})", crate::line(other)),
    }
    .to_owned()
}

/// That sealed values were opened, by their compartments' names.
#[must_use]
pub fn opened_of_holder<T: AsRef<str>>(compartments: &[T]) -> String {
    let of = |name: &str| match name {
        "identity" => "a name or email address",
        "contact" => "the phone number",
        "hardware" => "a number of the device",
        "escrow" => "a key that unlocks the phone",
        "location" => "where it was",
        "secret" => "a password of its settings",
        "push" => "the address by which it is woken",
        _ => "something else that it reported",
    };
    let names: Vec<_> = compartments.iter().map(|c| of(c.as_ref())).collect();
    format!("Somebody read {}", if names.is_empty() { "a sealed value".to_owned() } else { names.join(", ") })
}

/// What the hospital can see of a phone without opening anything, as its holder reads it, and the names of the fields
/// that each line stands for; of a name that ends with a star, all that begin so.
pub const SEEN: &[(&str, &[&str])] = &[
    ("which model it is", &["Model", "ModelName", "ProductName", "IsMultiUser", "device.model.*"]),
    (
        "its system: version, which updates wait or failed, and when they are due",
        &[
            "OSVersion",
            "Build",
            "BuildVersion",
            "SupplementalBuildVersion",
            "SupplementalOSVersionExtra",
            "ModemFirmwareVersion",
            "ProductKey",
            "DeferralsRemaining",
            "DownloadPercentComplete",
            "IsCritical",
            "IsDownloaded",
            "IsMajorOSUpdate",
            "IsSecurityResponse",
            "NextScheduledInstall",
            "RestartRequired",
            "SoftwareUpdateDeviceID",
            "Status",
            "ErrorCode",
            "ErrorDomain",
            "device.operating-system.*",
            "softwareupdate.*",
        ],
    ),
    ("its battery and its storage", &["BatteryLevel", "DeviceCapacity", "device.power.*"]),
    (
        "whether it has a passcode, whether that is strong enough, and how soon it is asked for",
        &[
            "PasscodeCompliant",
            "PasscodeCompliantWithProfiles",
            "PasscodeLockGracePeriod",
            "PasscodeLockGracePeriodEnforced",
            "PasscodePresent",
            "passcode.*",
        ],
    ),
    ("whether it is encrypted", &["HardwareEncryptionCaps", "FDE_Enabled"]),
    ("its time zone", &["TimeZone"]),
    (
        "its kind of mobile network, whether it is abroad (roaming) or may be, and whether its personal hotspot is on",
        &[
            "CellularTechnology",
            "DataRoamingEnabled",
            "VoiceRoamingEnabled",
            "IsRoaming",
            "IsNetworkTethered",
            "PersonalHotspotEnabled",
        ],
    ),
    (
        "whether it is backed up to iCloud, and when it last was",
        &["IsCloudBackupEnabled", "LastCloudBackupDate"],
    ),
    (
        "whether Find My, the Activation Lock and Do Not Disturb are on",
        &[
            "IsDeviceLocatorServiceEnabled",
            "IsActivationLockEnabled",
            "IsActivationLockSupported",
            "IsDoNotDisturbInEffect",
        ],
    ),
    ("whether somebody is signed in to the App Store", &["iTunesStoreAccountIsActive"]),
    (
        "whether it sends diagnostics to Apple and to makers of apps",
        &["AppAnalyticsEnabled", "DiagnosticSubmissionEnabled"],
    ),
    (
        "how it is managed, whether it is in lost mode, and whether it is ready to be deleted",
        &[
            "IsSupervised",
            "IsUserEnrollment",
            "AwaitingConfiguration",
            "IsMDMLostModeEnabled",
            "SupportsLostModeWithoutCellular",
            "Topic",
            "EACSPreflight",
        ],
    ),
    ("what the hospital's settings allow and forbid on it", &["allow*", "force*"]),
    (
        "its apps, those that you installed too: their names and versions, nothing that is in them",
        &["Identifier", "Version", "ShortVersion"],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_phone_reports_in_the_clear_stands_in_a_line_that_its_holder_reads() {
        let stands = |name: &str, of: &str| match of.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == of,
        };
        for name in model::clear_names() {
            let lines = SEEN.iter().filter(|(_, names)| names.iter().any(|of| stands(name, of))).count();
            assert_eq!(lines, 1, "{name}");
        }
        for of in SEEN.iter().flat_map(|(_, names)| *names) {
            assert!(model::clear_names().any(|name| stands(name, of)), "{of} is not in the clear");
        }
    }

    #[test]
    fn every_kind_of_command_and_every_compartment_has_words_for_a_holder() {
        for kind in model::CommandKind::ALL.into_iter().filter(|k| !k.request_type().starts_with("Managed")) {
            let told = done_to_phone(kind.request_type());
            let other = told.starts_with("Asked something else");
            assert_eq!(
                other,
                matches!(
                    kind.request_type(),
                    "Raw" | "ClearActivationLockBypassCode" | "ValidateApplications"
                ),
                "{told}"
            );
        }
        for compartment in model::Compartment::ALL {
            let told = opened_of_holder(&[compartment.name()]);
            assert_eq!(
                told.ends_with("something else that it reported"),
                compartment == model::Compartment::Other
            );
        }
        assert_eq!(
            opened_of_holder(&["contact", "hardware"]),
            "Somebody read the phone number, a number of the device"
        );
    }
}
