//! Commands that change a phone, typed. The vault alone turns them into bytes (crate `apple`).
//!
//! A command stands in two parts: [`Command`] goes into the order in the clear and into the ledger;
//! [`CommandSecrets`] (texts a person typed, profile bytes, PINs) is sealed to the vault first.
//! Source of the names: Apple's device-management schema, `mdm/commands/*.yaml`.

use serde::{Deserialize, Serialize};

use crate::app::{AppAttributes, AppSource};

/// Which command, without its arguments: the `RequestType`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, minicbor::Encode, minicbor::Decode,
)]
#[cbor(index_only)]
#[allow(missing_docs)]
pub enum CommandKind {
    #[n(1)]
    InstallProfile,
    #[n(2)]
    RemoveProfile,
    #[n(3)]
    DeviceLock,
    #[n(4)]
    ClearPasscode,
    #[n(5)]
    EraseDevice,
    #[n(6)]
    EnableLostMode,
    #[n(7)]
    DisableLostMode,
    #[n(8)]
    DeviceLocation,
    #[n(9)]
    PlayLostModeSound,
    #[n(10)]
    RestartDevice,
    #[n(11)]
    ShutDownDevice,
    #[n(12)]
    Settings,
    #[n(40)]
    DeclarativeManagement,
    #[n(13)]
    InstallApplication,
    #[n(14)]
    RemoveApplication,
    #[n(15)]
    ClearActivationLockBypassCode,
    #[n(16)]
    ManagedApplicationConfiguration,
    #[n(17)]
    ManagedApplicationFeedback,
    #[n(18)]
    ManagedApplicationAttributes,
    #[n(19)]
    ValidateApplications,
    /// Whatever else Apple's schema has; the order names its `RequestType`.
    #[n(20)]
    Raw,
}

impl CommandKind {
    /// Every kind.
    pub const ALL: [CommandKind; 21] = [
        Self::InstallProfile,
        Self::RemoveProfile,
        Self::DeviceLock,
        Self::ClearPasscode,
        Self::EraseDevice,
        Self::EnableLostMode,
        Self::DisableLostMode,
        Self::DeviceLocation,
        Self::PlayLostModeSound,
        Self::RestartDevice,
        Self::ShutDownDevice,
        Self::Settings,
        Self::DeclarativeManagement,
        Self::InstallApplication,
        Self::RemoveApplication,
        Self::ClearActivationLockBypassCode,
        Self::ManagedApplicationConfiguration,
        Self::ManagedApplicationFeedback,
        Self::ManagedApplicationAttributes,
        Self::ValidateApplications,
        Self::Raw,
    ];

    /// Apple's `RequestType`; of [`CommandKind::Raw`] see [`Command::request_type`].
    #[must_use]
    pub fn request_type(self) -> &'static str {
        match self {
            Self::InstallProfile => "InstallProfile",
            Self::RemoveProfile => "RemoveProfile",
            Self::DeviceLock => "DeviceLock",
            Self::ClearPasscode => "ClearPasscode",
            Self::EraseDevice => "EraseDevice",
            Self::EnableLostMode => "EnableLostMode",
            Self::DisableLostMode => "DisableLostMode",
            Self::DeviceLocation => "DeviceLocation",
            Self::PlayLostModeSound => "PlayLostModeSound",
            Self::RestartDevice => "RestartDevice",
            Self::ShutDownDevice => "ShutDownDevice",
            Self::Settings => "Settings",
            Self::DeclarativeManagement => "DeclarativeManagement",
            Self::InstallApplication => "InstallApplication",
            Self::RemoveApplication => "RemoveApplication",
            Self::ClearActivationLockBypassCode => "ClearActivationLockBypassCode",
            Self::ManagedApplicationConfiguration => "ManagedApplicationConfiguration",
            Self::ManagedApplicationFeedback => "ManagedApplicationFeedback",
            Self::ManagedApplicationAttributes => "ManagedApplicationAttributes",
            Self::ValidateApplications => "ValidateApplications",
            Self::Raw => "Raw",
        }
    }

    /// An unsupervised iPhone refuses it (`supervised: true` in Apple's schema).
    #[must_use]
    pub fn needs_supervision(self) -> bool {
        matches!(
            self,
            Self::EnableLostMode
                | Self::DisableLostMode
                | Self::DeviceLocation
                | Self::PlayLostModeSound
                | Self::RestartDevice
                | Self::ShutDownDevice
                | Self::ClearActivationLockBypassCode
        )
    }
}

/// A command's open arguments. Everything that a person typed freely is in [`CommandSecrets`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, minicbor::Encode, minicbor::Decode)]
#[serde(tag = "kind")]
pub enum Command {
    /// Installs the profile in [`CommandSecrets::profile`].
    #[n(1)]
    InstallProfile,
    /// Removes the profile with this `PayloadIdentifier`.
    #[n(2)]
    RemoveProfile {
        /// The profile's top-level `PayloadIdentifier`.
        #[n(0)]
        identifier: String,
    },
    /// Locks the screen; a message and a number may stand on it ([`CommandSecrets`]).
    #[n(3)]
    DeviceLock,
    /// Removes the passcode; needs the phone's unlock token, which the vault opens from `escrow`.
    #[n(4)]
    ClearPasscode,
    /// Erases everything on the phone.
    #[n(5)]
    EraseDevice {
        /// `PreserveDataPlan`: keep an eSIM.
        #[n(0)]
        preserve_data_plan: bool,
        /// `DisallowProximitySetup`.
        #[n(1)]
        disallow_proximity_setup: bool,
    },
    /// Lost mode: the phone shows the message and number of [`CommandSecrets`] and nothing else.
    #[n(6)]
    EnableLostMode,
    /// Ends lost mode.
    #[n(7)]
    DisableLostMode,
    /// Asks where the phone is; only in lost mode.
    #[n(8)]
    DeviceLocation,
    /// Makes it ring; only in lost mode.
    #[n(9)]
    PlayLostModeSound,
    /// Restarts the phone.
    #[n(10)]
    RestartDevice {
        /// `NotifyUser`.
        #[n(0)]
        notify_user: bool,
    },
    /// Switches it off.
    #[n(11)]
    ShutDownDevice,
    /// Changes settings.
    #[n(12)]
    Settings {
        /// The settings, applied in this order.
        #[n(0)]
        items: Vec<Setting>,
    },
    /// Turns declarative management on, or has the phone look for new declarations. Without `Data`: the
    /// phone then asks for the tokens itself, so one command's bytes serve every phone.
    #[n(40)]
    DeclarativeManagement,
    /// Installs an app, or updates it. A phone acknowledges before the app is there.
    /// [`CommandSecrets::app_configuration`] holds its settings, when it gets any.
    #[n(13)]
    InstallApplication {
        /// Its bundle identifier: by it the installation is confirmed. It is not sent.
        #[n(0)]
        identifier: String,
        /// Where it comes from.
        #[n(1)]
        source: AppSource,
        /// It goes when management goes (`ManagementFlags` 1).
        #[n(2)]
        remove_with_management: bool,
        /// Its data stay out of backups (`ManagementFlags` 4).
        #[n(3)]
        no_backup: bool,
        /// An app that the user installed becomes a managed one (`ChangeManagementState`).
        #[n(4)]
        take_over: bool,
    },
    /// Removes a managed app, with its data.
    #[n(14)]
    RemoveApplication {
        /// Its bundle identifier.
        #[n(0)]
        identifier: String,
    },
    /// Makes the phone forget its Activation Lock bypass code, so that it makes another.
    #[n(15)]
    ClearActivationLockBypassCode,
    /// Asks for managed apps' settings; the answer is sealed into `secret`.
    #[n(16)]
    ManagedApplicationConfiguration {
        /// Of these apps.
        #[n(0)]
        identifiers: Vec<String>,
    },
    /// Asks for what managed apps have to tell; the answer is sealed into `secret`.
    #[n(17)]
    ManagedApplicationFeedback {
        /// Of these apps.
        #[n(0)]
        identifiers: Vec<String>,
        /// The apps' feedback is deleted once it was read.
        #[n(1)]
        delete_feedback: bool,
    },
    /// Asks for managed apps' attributes.
    #[n(18)]
    ManagedApplicationAttributes {
        /// Of these apps.
        #[n(0)]
        identifiers: Vec<String>,
    },
    /// Has the phone check the provisioning profiles of in-house apps anew; none named: of all managed ones.
    #[n(19)]
    ValidateApplications {
        /// Of these apps.
        #[n(0)]
        identifiers: Vec<String>,
    },
    /// A command that has no type here: its dictionary is [`CommandSecrets::raw`].
    #[n(20)]
    Raw {
        /// The `RequestType` that the dictionary must carry.
        #[n(0)]
        request_type: String,
    },
}

/// `RequestType`s of raw commands that an unsupervised iPhone refuses.
pub const RAW_SUPERVISED: &[&str] = &[
    "ClearRestrictionsPassword",
    "DeviceConfigured",
    "RequestUnlockToken",
    "ScheduleOSUpdate",
    "StopMirroring",
    "UserConfigured",
];

impl Command {
    /// Apple's `RequestType`.
    #[must_use]
    pub fn request_type(&self) -> &str {
        match self {
            Self::Raw { request_type } => request_type,
            _ => self.kind().request_type(),
        }
    }

    /// An unsupervised iPhone refuses it, or a part of it.
    #[must_use]
    pub fn needs_supervision(&self) -> bool {
        match self {
            Self::Settings { items } => items.iter().any(Setting::needs_supervision),
            Self::Raw { request_type } => RAW_SUPERVISED.contains(&request_type.as_str()),
            _ => self.kind().needs_supervision(),
        }
    }

    /// Which command this is.
    #[must_use]
    pub fn kind(&self) -> CommandKind {
        match self {
            Self::InstallProfile => CommandKind::InstallProfile,
            Self::RemoveProfile { .. } => CommandKind::RemoveProfile,
            Self::DeviceLock => CommandKind::DeviceLock,
            Self::ClearPasscode => CommandKind::ClearPasscode,
            Self::EraseDevice { .. } => CommandKind::EraseDevice,
            Self::EnableLostMode => CommandKind::EnableLostMode,
            Self::DisableLostMode => CommandKind::DisableLostMode,
            Self::DeviceLocation => CommandKind::DeviceLocation,
            Self::PlayLostModeSound => CommandKind::PlayLostModeSound,
            Self::RestartDevice { .. } => CommandKind::RestartDevice,
            Self::ShutDownDevice => CommandKind::ShutDownDevice,
            Self::Settings { .. } => CommandKind::Settings,
            Self::DeclarativeManagement => CommandKind::DeclarativeManagement,
            Self::InstallApplication { .. } => CommandKind::InstallApplication,
            Self::RemoveApplication { .. } => CommandKind::RemoveApplication,
            Self::ClearActivationLockBypassCode => CommandKind::ClearActivationLockBypassCode,
            Self::ManagedApplicationConfiguration { .. } => CommandKind::ManagedApplicationConfiguration,
            Self::ManagedApplicationFeedback { .. } => CommandKind::ManagedApplicationFeedback,
            Self::ManagedApplicationAttributes { .. } => CommandKind::ManagedApplicationAttributes,
            Self::ValidateApplications { .. } => CommandKind::ValidateApplications,
            Self::Raw { .. } => CommandKind::Raw,
        }
    }
}

/// One item of the `Settings` command (`mdm/commands/settings.yaml`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, minicbor::Encode, minicbor::Decode)]
#[serde(tag = "item")]
pub enum Setting {
    /// `Bluetooth`; needs supervision.
    #[n(1)]
    Bluetooth {
        /// On or off.
        #[n(0)]
        enabled: bool,
    },
    /// `DataRoaming`.
    #[n(2)]
    DataRoaming {
        /// On or off.
        #[n(0)]
        enabled: bool,
    },
    /// `VoiceRoaming`.
    #[n(3)]
    VoiceRoaming {
        /// On or off.
        #[n(0)]
        enabled: bool,
    },
    /// `PersonalHotspot`.
    #[n(4)]
    PersonalHotspot {
        /// On or off.
        #[n(0)]
        enabled: bool,
    },
    /// `DeviceName`: the name itself is in [`CommandSecrets::device_name`]; needs supervision.
    #[n(5)]
    DeviceName,
    /// `TimeZone`, an IANA name; needs supervision.
    #[n(6)]
    TimeZone {
        /// For example `Europe/London`.
        #[n(0)]
        name: String,
    },
    /// `ApplicationConfiguration`: a managed app's settings are [`CommandSecrets::app_configuration`]; without
    /// them, those it has are taken away. One app a command.
    #[n(7)]
    ApplicationConfiguration {
        /// The app's bundle identifier.
        #[n(0)]
        identifier: String,
    },
    /// `ApplicationAttributes`: what a managed app is like from now on.
    #[n(8)]
    ApplicationAttributes {
        /// The app's bundle identifier.
        #[n(0)]
        identifier: String,
        /// Its attributes, all of them.
        #[n(1)]
        attributes: AppAttributes,
    },
}

impl Setting {
    /// An unsupervised iPhone refuses it.
    #[must_use]
    pub fn needs_supervision(&self) -> bool {
        matches!(self, Self::Bluetooth { .. } | Self::DeviceName | Self::TimeZone { .. })
    }
}

/// The sealed half of a command. Its encoding is sealed to the vault; its digest stands in the order.
#[derive(Clone, Default, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct CommandSecrets {
    /// `InstallProfile`: the `.mobileconfig` as the person gave it.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub profile: Option<Vec<u8>>,
    /// `DeviceLock`, `EnableLostMode`: the text on the screen.
    #[n(1)]
    pub message: Option<String>,
    /// `DeviceLock`, `EnableLostMode`: the number to call.
    #[n(2)]
    pub phone_number: Option<String>,
    /// `EnableLostMode`: the small print.
    #[n(3)]
    pub footnote: Option<String>,
    /// `DeviceLock`, `EraseDevice` of a Mac: six digits. Refused with every command for a phone.
    #[n(4)]
    pub pin: Option<String>,
    /// `Settings` with `DeviceName`.
    #[n(5)]
    pub device_name: Option<String>,
    /// An order that destroys: the holder's name as the person typed it, compared with the invitation's.
    #[n(6)]
    pub holder_name: Option<String>,
    /// `InstallApplication`, `Settings` with `ApplicationConfiguration`: a property list whose outermost
    /// value is the dictionary that the app reads.
    #[n(7)]
    #[cbor(with = "minicbor::bytes")]
    pub app_configuration: Option<Vec<u8>>,
    /// `Raw`: a property list, the `Command` dictionary.
    #[n(8)]
    #[cbor(with = "minicbor::bytes")]
    pub raw: Option<Vec<u8>>,
}

impl std::fmt::Debug for CommandSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CommandSecrets(sealed)")
    }
}
