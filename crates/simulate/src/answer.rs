//! What a phone answers to a command, and what the command does to it.
//!
//! Source of keys and types: Apple's schema, `mdm/commands/*.yaml`. Error codes: `MCMDMErrorDomain` and
//! `MCProfileErrorDomain` as phones report them.

mod act;
mod device;
mod lists;

pub(crate) use act::read_profile;

use crate::handset::Handset;
use crate::report::{Status, error_chain};
use plist::{Dictionary, Value};

/// Apple's codes in `MCMDMErrorDomain`.
pub(crate) mod code {
    pub(crate) const NOT_AUTHORIZED: i64 = 12007;
    pub(crate) const MALFORMED_REQUEST: i64 = 12008;
    pub(crate) const PROFILE_REPLACEMENT: i64 = 12009;
    pub(crate) const PROFILE_NOT_MANAGED: i64 = 12013;
    pub(crate) const INVALID_REQUEST_TYPE: i64 = 12021;
    pub(crate) const NOT_SUPERVISED: i64 = 12064;
    pub(crate) const NOT_IN_LOST_MODE: i64 = 12067;
    pub(crate) const PASSCODE_NOT_CLEARED: i64 = 12078;
}

/// A profile on the phone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Installed {
    pub(crate) identifier: String,
    pub(crate) uuid: String,
    pub(crate) display_name: Option<String>,
    pub(crate) organization: Option<String>,
    /// Type, identifier, UUID of each payload.
    pub(crate) payloads: Vec<(String, String, String)>,
}

/// What changes about a phone while it lives.
#[derive(Debug, Clone, Default)]
pub(crate) struct Life {
    pub(crate) passcode: bool,
    pub(crate) locked: bool,
    pub(crate) lost_mode: bool,
    pub(crate) device_name: Option<Box<str>>,
    pub(crate) time_zone: Option<Box<str>>,
    pub(crate) roaming: Option<bool>,
    pub(crate) voice_roaming: Option<bool>,
    pub(crate) hotspot: Option<bool>,
    /// By how many hundredths the battery differs from the handset's.
    pub(crate) drained: u8,
    /// Installed by management, the enrolment profile first.
    pub(crate) profiles: Vec<Installed>,
}

/// What a phone knows of itself besides.
pub(crate) struct Own<'a> {
    pub(crate) handset: &'a Handset,
    pub(crate) seed: u64,
    pub(crate) index: u32,
    pub(crate) certificate: &'a [u8],
    pub(crate) roots: Vec<&'a [u8]>,
    pub(crate) unlock_token: &'a [u8],
}

/// What a command leads to once it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// The conversation goes on.
    Go,
    /// Everything is gone, the certificate too.
    Erased,
    /// It is switched off, until somebody switches it on.
    Off,
    /// It starts again, and comes back by itself.
    Restart,
    /// Management was removed: `CheckOut`.
    Leave,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reply {
    pub(crate) status: Status,
    pub(crate) content: Dictionary,
    pub(crate) after: After,
}

impl Reply {
    fn done(content: Dictionary) -> Self {
        Self { status: Status::Acknowledged, content, after: After::Go }
    }

    fn ok() -> Self {
        Self::done(Dictionary::new())
    }

    fn then(after: After) -> Self {
        Self { after, ..Self::ok() }
    }

    fn list(key: &str, items: Vec<Value>) -> Self {
        let mut content = Dictionary::new();
        content.insert(key.to_owned(), Value::Array(items));
        Self::done(content)
    }

    fn failed(status: Status, chain: Value) -> Self {
        let mut content = Dictionary::new();
        content.insert("ErrorChain".to_owned(), chain);
        Self { status, content, after: After::Go }
    }

    fn error(code: i64, description: &str) -> Self {
        Self::failed(Status::Error, error_chain(code, "MCMDMErrorDomain", description))
    }

    fn malformed(description: &str) -> Self {
        Self::failed(
            Status::CommandFormatError,
            error_chain(code::MALFORMED_REQUEST, "MCMDMErrorDomain", description),
        )
    }
}

/// Obeys one command.
pub(crate) fn answer(own: &Own<'_>, life: &mut Life, request_type: &str, command: &Dictionary) -> Reply {
    match request_type {
        "DeviceInformation" => device::information(own, life, command),
        "SecurityInfo" => device::security(own, life),
        "InstalledApplicationList" => lists::apps(own, command),
        "ManagedApplicationList" => lists::managed_apps(own, command),
        "ProfileList" => lists::profiles(life),
        "CertificateList" => lists::certificates(own),
        "ProvisioningProfileList" => Reply::list("ProvisioningProfileList", Vec::new()),
        "ManagedMediaList" => Reply::list("Books", Vec::new()),
        "AvailableOSUpdates" => lists::updates(own),
        "OSUpdateStatus" => Reply::list("OSUpdateStatus", Vec::new()),
        "InstallProfile" => act::install_profile(life, command),
        "RemoveProfile" => act::remove_profile(life, command),
        "DeviceLock" => act::lock(life, command),
        "ClearPasscode" => act::clear_passcode(own, life, command),
        "EraseDevice" => Reply::then(After::Erased),
        "EnableLostMode" => act::enable_lost_mode(own, life, command),
        "DisableLostMode" => act::disable_lost_mode(own, life),
        "DeviceLocation" => act::location(own, life),
        "PlayLostModeSound" => act::play_sound(own, life),
        "RestartDevice" => act::if_supervised(own, || Reply::then(After::Restart)),
        "ShutDownDevice" => act::if_supervised(own, || Reply::then(After::Off)),
        "Settings" => act::settings(own, life, command),
        // UserList among them: it is for shared iPads and Macs.
        _ => Reply::error(code::INVALID_REQUEST_TYPE, "The request type isn't valid on this device."),
    }
}

/// Commands that a phone whose screen is locked puts off.
pub(crate) fn may_be_put_off(request_type: &str) -> bool {
    matches!(
        request_type,
        "InstallProfile"
            | "RemoveProfile"
            | "InstalledApplicationList"
            | "ProfileList"
            | "CertificateList"
            | "Settings"
    )
}
