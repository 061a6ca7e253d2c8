//! Apps that the hospital manages: where one comes from, and what may be asked of it.
//! Source: Apple's `mdm/commands/application.install.yaml` and `settings.yaml`.

use serde::{Deserialize, Serialize};

/// Where an app comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, minicbor::Encode, minicbor::Decode)]
#[serde(rename_all = "snake_case")]
pub enum AppSource {
    /// An in-house app: the `https` address of its manifest (a property list that names the package).
    #[n(1)]
    Manifest {
        /// The address.
        #[n(0)]
        url: String,
    },
    /// The App Store's number of it (`iTunesStoreID`).
    #[n(2)]
    Store {
        /// The number.
        #[n(0)]
        id: u32,
        /// Licensed by volume purchase (`PurchaseMethod` 1): no store account is asked for.
        #[n(1)]
        licensed: bool,
    },
}

/// What a managed app is like (`ApplicationAttributes`). What is `None` is left out, which takes it away.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, minicbor::Encode, minicbor::Decode,
)]
pub struct AppAttributes {
    /// `VPNUUID`: its traffic goes through this VPN.
    #[n(0)]
    pub vpn_uuid: Option<String>,
    /// `Removable`: false keeps the user from deleting it (iOS 14 and later).
    #[n(1)]
    pub removable: Option<bool>,
    /// `TapToPayScreenLock`.
    #[n(2)]
    pub tap_to_pay_screen_lock: Option<bool>,
}

/// Longest bundle identifier that is taken, in bytes.
pub const LONGEST_APP_IDENTIFIER_BYTES: usize = 155;

/// Whether a text looks like a bundle identifier: letters, digits, hyphens and dots, as Apple says of
/// `CFBundleIdentifier`; an underscore is seen too.
#[must_use]
pub fn is_app_identifier(text: &str) -> bool {
    (1..=LONGEST_APP_IDENTIFIER_BYTES).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_identifier_has_no_room_for_anything_else() {
        assert!(is_app_identifier("org.example.ward-pager_2"));
        for bad in ["", "org.example pager", "org/example", "örg.example", &"a".repeat(156)] {
            assert!(!is_app_identifier(bad), "{bad}");
        }
    }
}
