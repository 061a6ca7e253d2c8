//! Fields of a phone's record, and which compartment each is sealed into.
//!
//! **Sealed unless listed**: [`classify`] knows the names that may stand in the clear; every name it
//! does not know is sealed into [`Compartment::Other`]. A field name is a path such as `IMEI`,
//! `SecurityInfo.PasscodePresent` or `ServiceSubscriptions.0.PhoneNumber`; its last segment decides.

use serde::{Deserialize, Serialize};

/// Where a sealed value lies. Each compartment has a key of its own.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    minicbor::Encode,
    minicbor::Decode,
)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum Compartment {
    /// Names, emails, device names, user ids.
    #[n(1)]
    Identity,
    /// Phone numbers.
    #[n(2)]
    Contact,
    /// IMEI, MEID, serial, UDID, ICCID, EID, hardware addresses.
    #[n(3)]
    Hardware,
    /// Push token and PushMagic; opened by courier alone.
    #[n(4)]
    Push,
    /// Unlock and bootstrap tokens, PINs, bypass codes.
    #[n(5)]
    Escrow,
    /// Where a lost phone is.
    #[n(6)]
    Location,
    /// Profile payloads with passwords, integration tokens.
    #[n(7)]
    Secret,
    /// Whatever else a phone says that is not on the list.
    #[n(8)]
    Other,
}

impl Compartment {
    /// Every compartment, in the order of its number.
    pub const ALL: [Compartment; 8] = [
        Self::Identity,
        Self::Contact,
        Self::Hardware,
        Self::Push,
        Self::Escrow,
        Self::Location,
        Self::Secret,
        Self::Other,
    ];

    /// The compartment's stable number (1 to 8).
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Identity => 1,
            Self::Contact => 2,
            Self::Hardware => 3,
            Self::Push => 4,
            Self::Escrow => 5,
            Self::Location => 6,
            Self::Secret => 7,
            Self::Other => 8,
        }
    }

    /// The compartment of that number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.number() == number)
    }

    /// The name used in routes, tables and documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Contact => "contact",
            Self::Hardware => "hardware",
            Self::Push => "push",
            Self::Escrow => "escrow",
            Self::Location => "location",
            Self::Secret => "secret",
            Self::Other => "other",
        }
    }
}

/// What may happen to a field of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldClass {
    /// On the allow-list: stored and shown as it is.
    Clear,
    /// Sealed where it enters.
    Sealed(Compartment),
}

/// Names that may stand in the clear: OS, model, battery, security posture, app identifiers, times, which
/// system update waits, which restrictions are in force.
/// Sorted, so that it can be searched.
const CLEAR: &[&str] = &[
    "AppAnalyticsEnabled",
    "AwaitingConfiguration",
    "BatteryLevel",
    "Build",
    "BuildVersion",
    "CellularTechnology",
    "DataRoamingEnabled",
    "DeferralsRemaining",
    "DeviceCapacity",
    "DiagnosticSubmissionEnabled",
    "DownloadPercentComplete",
    "EACSPreflight",
    "ErrorCode",
    "ErrorDomain",
    "FDE_Enabled",
    "HardwareEncryptionCaps",
    "Identifier",
    "IsActivationLockEnabled",
    "IsActivationLockSupported",
    "IsCloudBackupEnabled",
    "IsCritical",
    "IsDeviceLocatorServiceEnabled",
    "IsDoNotDisturbInEffect",
    "IsDownloaded",
    "IsMDMLostModeEnabled",
    "IsMajorOSUpdate",
    "IsMultiUser",
    "IsNetworkTethered",
    "IsRoaming",
    "IsSecurityResponse",
    "IsSupervised",
    "IsUserEnrollment",
    "LastCloudBackupDate",
    "Model",
    "ModelName",
    "ModemFirmwareVersion",
    "NextScheduledInstall",
    "OSVersion",
    "PasscodeCompliant",
    "PasscodeCompliantWithProfiles",
    "PasscodeLockGracePeriod",
    "PasscodeLockGracePeriodEnforced",
    "PasscodePresent",
    "PersonalHotspotEnabled",
    "ProductKey",
    "ProductName",
    "RestartRequired",
    "ShortVersion",
    "SoftwareUpdateDeviceID",
    "Status",
    "SupplementalBuildVersion",
    "SupplementalOSVersionExtra",
    "SupportsLostModeWithoutCellular",
    "TimeZone",
    "Topic",
    "Version",
    "VoiceRoamingEnabled",
    "allowAppInstallation",
    "allowCamera",
    "allowCloudBackup",
    "allowEraseContentAndSettings",
    "allowHostPairing",
    "allowOpenFromManagedToUnmanaged",
    "allowPasscodeModification",
    "allowScreenShot",
    "allowUIConfigurationProfileInstallation",
    "allowUSBRestrictedMode",
    "allowUntrustedTLSPrompt",
    "forceEncryptedBackup",
    "iTunesStoreAccountIsActive",
];

/// Names that are sealed into a compartment of their own rather than `other`.
fn compartment_of(last: &str) -> Option<Compartment> {
    Some(match last {
        "DeviceName"
        | "UserName"
        | "FullName"
        | "Email"
        | "EmailAddress"
        | "UserID"
        | "UserShortName"
        | "UserLongName"
        | "EnrollmentUserID"
        | "ManagedAppleID"
        | "AppleID"
        | "HostName"
        | "LocalHostName"
        | "iTunesStoreAccountHash"
        | "PushUserName"
        | "Name" => Compartment::Identity,
        "PhoneNumber" | "CurrentPhoneNumber" => Compartment::Contact,
        "IMEI"
        | "MEID"
        | "SerialNumber"
        | "UDID"
        | "EnrollmentID"
        | "ICCID"
        | "EID"
        | "WiFiMAC"
        | "BluetoothMAC"
        | "EthernetMAC"
        | "EthernetMACs"
        | "EASDeviceIdentifier"
        | "ProvisioningUDID" => Compartment::Hardware,
        "Token" | "PushMagic" => Compartment::Push,
        "UnlockToken"
        | "BootstrapToken"
        | "PIN"
        | "ActivationLockBypassCode"
        | "BypassCode"
        | "PasscodeKey" => Compartment::Escrow,
        "Latitude" | "Longitude" | "Altitude" | "Speed" | "Course" | "HorizontalAccuracy"
        | "VerticalAccuracy" | "Timestamp" => Compartment::Location,
        "Payload" | "Password" | "Challenge" => Compartment::Secret,
        _ => return None,
    })
}

/// Items of declarative management's status that may stand in the clear, by their whole path (Apple's
/// schema, `declarative/status/*.yaml`). Sorted.
const STATUS_CLEAR: &[&str] = &[
    "device.model.family",
    "device.model.identifier",
    "device.model.marketing-name",
    "device.model.number",
    "device.operating-system.build-version",
    "device.operating-system.family",
    "device.operating-system.marketing-name",
    "device.operating-system.supplemental.build-version",
    "device.operating-system.supplemental.extra-version",
    "device.operating-system.version",
    "device.power.battery-health",
    "passcode.is-compliant",
    "passcode.is-present",
    "softwareupdate.beta-enrollment",
    "softwareupdate.device-id",
    "softwareupdate.failure-reason.count",
    "softwareupdate.failure-reason.reason",
    "softwareupdate.failure-reason.timestamp",
    "softwareupdate.install-reason.declaration-id",
    "softwareupdate.install-state",
    "softwareupdate.pending-version.build-version",
    "softwareupdate.pending-version.os-version",
];

/// Every name that may stand in the clear, of status items the whole path.
pub fn clear_names() -> impl Iterator<Item = &'static str> {
    CLEAR.iter().chain(STATUS_CLEAR).copied()
}

/// The class of an item of declarative management's status, by its whole path.
#[must_use]
pub fn classify_status(path: &str) -> FieldClass {
    if STATUS_CLEAR.binary_search(&path).is_ok() {
        return FieldClass::Clear;
    }
    FieldClass::Sealed(match path.split('.').next() {
        Some("account") => Compartment::Identity,
        Some("device") if path.starts_with("device.identifier.") => Compartment::Hardware,
        _ => Compartment::Other,
    })
}

/// The class of the field `name`; only its last path segment that is not a number counts.
#[must_use]
pub fn classify(name: &str) -> FieldClass {
    if STATUS_CLEAR.binary_search(&name).is_ok() {
        return FieldClass::Clear;
    }
    let last = name.rsplit('.').find(|s| !s.bytes().all(|b| b.is_ascii_digit())).unwrap_or(name);
    if let Some(c) = compartment_of(last) {
        return FieldClass::Sealed(c);
    }
    if CLEAR.binary_search(&last).is_ok() {
        return FieldClass::Clear;
    }
    FieldClass::Sealed(Compartment::Other)
}

/// A sealed value as it travels and is stored: nothing in it can be read without the compartment's
/// key. The associated data (enrolment id, name, version) is rebuilt by whoever opens it, so a row
/// that was moved to another phone or another field does not open.
#[derive(Clone, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct SealedRow {
    /// The field's path, e.g. `IMEI`.
    #[n(0)]
    pub name: String,
    /// Which key opens it.
    #[n(1)]
    pub compartment: Compartment,
    /// The window's data key, wrapped for the compartment (HPKE Auth mode, RFC 9180): see `seal`.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub wrapped_key: Vec<u8>,
    /// nonce (12) ‖ AES-256-GCM ciphertext ‖ tag (16).
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    pub ciphertext: Vec<u8>,
    /// At most the last two characters of a number, nothing of a name; empty when nothing is shown.
    #[n(4)]
    pub mask: String,
    /// Keyed digest of enrolment id, name and value: equal when this phone's value did not change.
    /// Empty when it is not used.
    #[n(5)]
    #[cbor(with = "minicbor::bytes")]
    pub change_tag: Vec<u8>,
}

impl std::fmt::Debug for SealedRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealedRow({}, sealed)", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allow_list_is_sorted_so_that_it_can_be_searched() {
        assert!(CLEAR.is_sorted());
    }

    #[test]
    fn an_unknown_field_is_sealed() {
        assert_eq!(classify("SomethingNewInOS27"), FieldClass::Sealed(Compartment::Other));
        assert_eq!(classify(""), FieldClass::Sealed(Compartment::Other));
    }

    #[test]
    fn personal_fields_are_sealed_wherever_they_stand() {
        assert_eq!(classify("IMEI"), FieldClass::Sealed(Compartment::Hardware));
        assert_eq!(classify("ServiceSubscriptions.0.PhoneNumber"), FieldClass::Sealed(Compartment::Contact));
        assert_eq!(classify("EthernetMACs.1"), FieldClass::Sealed(Compartment::Hardware));
        assert_eq!(classify("SecurityInfo.PasscodePresent"), FieldClass::Clear);
    }

    #[test]
    fn a_status_item_is_clear_by_its_whole_path_alone() {
        assert!(STATUS_CLEAR.is_sorted());
        assert_eq!(classify("device.operating-system.version"), FieldClass::Clear);
        assert_eq!(classify_status("softwareupdate.install-state"), FieldClass::Clear);
        for sealed in ["x.device.operating-system.version", "device.operating-system.version.x", "version"] {
            assert_eq!(classify_status(sealed), FieldClass::Sealed(Compartment::Other), "{sealed}");
            assert_ne!(classify(sealed), FieldClass::Clear, "{sealed}");
        }
        let sealed = |path: &str, c| assert_eq!(classify_status(path), FieldClass::Sealed(c), "{path}");
        sealed("device.identifier.serial-number", Compartment::Hardware);
        sealed("account.list.mail.incoming", Compartment::Identity);
    }

    #[test]
    fn no_clear_name_is_also_sealed() {
        for name in CLEAR {
            assert_eq!(compartment_of(name), None, "{name}");
        }
    }
}
