//! Free queries: what the door asks a phone by itself, with bytes it makes from this enum. They
//! only read; the answers are sealed like everything a phone says.

use minicbor::{Decode, Encode};
use model::CommandId;
use serde::{Deserialize, Serialize};

/// A read-only command that needs no warrant. Source: Apple's `mdm/commands/*.yaml`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Encode, Decode,
)]
#[cbor(index_only)]
#[allow(missing_docs)]
pub enum FreeQuery {
    #[n(1)]
    DeviceInformation,
    #[n(2)]
    SecurityInfo,
    #[n(3)]
    InstalledApplicationList,
    #[n(4)]
    ManagedApplicationList,
    #[n(5)]
    ProfileList,
    #[n(6)]
    CertificateList,
    #[n(7)]
    ProvisioningProfileList,
    #[n(8)]
    AvailableOSUpdates,
    #[n(9)]
    OSUpdateStatus,
    #[n(10)]
    UserList,
    #[n(11)]
    ManagedMediaList,
    #[n(12)]
    ActivationLockBypassCode,
    #[n(13)]
    Restrictions,
}

/// What `DeviceInformation` asks for.
const DEVICE_INFORMATION: &[&str] = &[
    "UDID",
    "DeviceName",
    "OSVersion",
    "SupplementalOSVersionExtra",
    "BuildVersion",
    "SupplementalBuildVersion",
    "ModelName",
    "Model",
    "ProductName",
    "SerialNumber",
    "DeviceCapacity",
    "AvailableDeviceCapacity",
    "BatteryLevel",
    "CellularTechnology",
    "ModemFirmwareVersion",
    "IsSupervised",
    "IsDeviceLocatorServiceEnabled",
    "IsActivationLockEnabled",
    "IsDoNotDisturbInEffect",
    "IsMDMLostModeEnabled",
    "IsCloudBackupEnabled",
    "LastCloudBackupDate",
    "EASDeviceIdentifier",
    "ServiceSubscriptions",
    "IMEI",
    "MEID",
    "ICCID",
    "EID",
    "PhoneNumber",
    "WiFiMAC",
    "BluetoothMAC",
    "EthernetMACs",
    "DataRoamingEnabled",
    "VoiceRoamingEnabled",
    "PersonalHotspotEnabled",
    "IsRoaming",
    "CurrentCarrierNetwork",
    "CurrentMCC",
    "CurrentMNC",
    "SubscriberCarrierNetwork",
    "iTunesStoreAccountIsActive",
    "iTunesStoreAccountHash",
    "AppAnalyticsEnabled",
    "DiagnosticSubmissionEnabled",
    "IsMultiUser",
    "IsNetworkTethered",
    "TimeZone",
];

impl FreeQuery {
    /// Every free query.
    pub const ALL: [FreeQuery; 13] = [
        Self::DeviceInformation,
        Self::SecurityInfo,
        Self::InstalledApplicationList,
        Self::ManagedApplicationList,
        Self::ProfileList,
        Self::CertificateList,
        Self::ProvisioningProfileList,
        Self::AvailableOSUpdates,
        Self::OSUpdateStatus,
        Self::UserList,
        Self::ManagedMediaList,
        Self::ActivationLockBypassCode,
        Self::Restrictions,
    ];

    /// Its stable number on the wire and in the database.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8 + 1
    }

    /// The query of that number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|q| q.number() == number)
    }

    /// Apple's `RequestType`, and the name on the command line and in the API.
    #[must_use]
    pub fn request_type(self) -> &'static str {
        match self {
            Self::DeviceInformation => "DeviceInformation",
            Self::SecurityInfo => "SecurityInfo",
            Self::InstalledApplicationList => "InstalledApplicationList",
            Self::ManagedApplicationList => "ManagedApplicationList",
            Self::ProfileList => "ProfileList",
            Self::CertificateList => "CertificateList",
            Self::ProvisioningProfileList => "ProvisioningProfileList",
            Self::AvailableOSUpdates => "AvailableOSUpdates",
            Self::OSUpdateStatus => "OSUpdateStatus",
            Self::UserList => "UserList",
            Self::ManagedMediaList => "ManagedMediaList",
            Self::ActivationLockBypassCode => "ActivationLockBypassCode",
            Self::Restrictions => "Restrictions",
        }
    }

    /// The query of that request type.
    #[must_use]
    pub fn from_request_type(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|q| q.request_type() == name)
    }

    /// The command's bytes (XML plist), made from nothing but this enum and the id.
    #[must_use]
    pub fn bytes(self, id: CommandId) -> Vec<u8> {
        let mut out = String::with_capacity(2048);
        out.push_str(concat!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n",
            "<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" ",
            "\"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n",
            "<plist version=\"1.0\"><dict><key>CommandUUID</key><string>"
        ));
        out.push_str(&id.to_string());
        out.push_str("</string><key>Command</key><dict><key>RequestType</key><string>");
        out.push_str(self.request_type());
        out.push_str("</string>");
        if self == Self::DeviceInformation {
            out.push_str("<key>Queries</key><array>");
            for q in DEVICE_INFORMATION {
                out.push_str("<string>");
                out.push_str(q);
                out.push_str("</string>");
            }
            out.push_str("</array>");
        }
        out.push_str("</dict></dict></plist>\n");
        out.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_lead_back_to_the_query() {
        for (i, q) in FreeQuery::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(q.number()), i + 1);
            assert_eq!(FreeQuery::from_number(q.number()), Some(q));
            assert_eq!(FreeQuery::from_request_type(q.request_type()), Some(q));
        }
        assert_eq!(FreeQuery::from_number(0), None);
        assert_eq!(FreeQuery::from_request_type("EraseDevice"), None);
    }
}
