//! Standing orders: what the vault may do by itself, for as long as a person's order stands.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::clock::{DAY_MS, MINUTE_MS};
use crate::{CommandKind, DeviceGroupId, DeviceGroupName, Digest, Group, ProfileId, TimeMs};

/// What a standing order lets the vault do: a fixed template, which leaves nothing to whoever asks but
/// the phone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
pub enum StandingTemplate {
    /// Ask a phone to renew its certificate, with its own enrolment profile, once the certificate has
    /// less than `before_ms` left.
    #[n(1)]
    RenewCertificates {
        /// How long before its end a certificate is due.
        #[n(0)]
        before_ms: TimeMs,
    },
    /// Put a phone in lost mode when its holder asks, by the code of the holder's card. The text on the screen is fixed.
    #[n(2)]
    HolderLostMode,
    /// Make a phone that is in lost mode ring when its holder asks, by the code of the holder's card.
    #[n(3)]
    HolderRings,
    /// Install a mild version of a saved profile on phones that are in a device group and lack it, also those that come later.
    #[n(4)]
    InstallSaved {
        /// Which, and on which.
        #[n(0)]
        install: Box<StandingInstall>,
    },
}

/// What is installed by itself, and on which phones.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
pub struct StandingInstall {
    /// Which profile of the library.
    #[n(0)]
    pub profile: ProfileId,
    /// Which of its versions: 1, 2, …
    #[n(1)]
    pub version: u32,
    /// Its `PayloadIdentifier`, as it was shown.
    #[n(2)]
    pub identifier: String,
    /// All that was shown of it: the vault installs nothing else.
    #[n(3)]
    pub shown: Digest,
    /// The device group. Whom its rule holds is core's word.
    #[n(4)]
    pub device_group: DeviceGroupId,
    /// What that was called when this was signed.
    #[n(5)]
    pub name: DeviceGroupName,
    /// Phones of this home group alone: the vault holds it to that.
    #[n(6)]
    pub home: Option<Group>,
}

impl StandingTemplate {
    /// The shortest time before the end.
    pub const SHORTEST_BEFORE_MS: TimeMs = MINUTE_MS;
    /// The longest.
    pub const LONGEST_BEFORE_MS: TimeMs = 365 * DAY_MS;
    /// What is suggested: a phone may be in a drawer for a while.
    pub const USUAL_BEFORE_MS: TimeMs = 60 * DAY_MS;
    /// The most acts an hour that a standing order may allow; of some templates fewer ([`Self::most_an_hour`]).
    pub const MOST_AN_HOUR: u32 = 20_000;
    /// How many are suggested where a phone's holder asks for lost mode, and for ringing.
    pub const USUAL_HOLDERS_AN_HOUR: (u32, u32) = (20, 100);
    /// The longest life of a standing order: a year longer than a certificate's usual two.
    pub const LONGEST_LIFE_MS: TimeMs = 1096 * DAY_MS;

    /// The name used in routes, tables and on the command line.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::RenewCertificates { .. } => "renew_certificates",
            Self::HolderLostMode => "holder_lost_mode",
            Self::HolderRings => "holder_rings",
            Self::InstallSaved { .. } => "install_saved",
        }
    }

    /// The command that an act of it is.
    #[must_use]
    pub fn command(&self) -> CommandKind {
        match self {
            Self::RenewCertificates { .. } | Self::InstallSaved { .. } => CommandKind::InstallProfile,
            Self::HolderLostMode => CommandKind::EnableLostMode,
            Self::HolderRings => CommandKind::PlayLostModeSound,
        }
    }

    /// How long before its end a certificate is due, of the template that renews them.
    #[must_use]
    pub fn before_ms(&self) -> Option<TimeMs> {
        match self {
            Self::RenewCertificates { before_ms } => Some(*before_ms),
            Self::HolderLostMode | Self::HolderRings | Self::InstallSaved { .. } => None,
        }
    }

    /// What is installed by itself, of the template that installs.
    #[must_use]
    pub fn install(&self) -> Option<&StandingInstall> {
        match self {
            Self::InstallSaved { install } => Some(install),
            _ => None,
        }
    }

    /// Whether the phone's holder has to ask for it, with the code of the card.
    #[must_use]
    pub fn is_holders(&self) -> bool {
        matches!(self, Self::HolderLostMode | Self::HolderRings)
    }

    /// The most acts an hour that an order of this template may allow: what stops people working is bounded closely.
    #[must_use]
    pub fn most_an_hour(&self) -> u32 {
        match self {
            Self::RenewCertificates { .. } => Self::MOST_AN_HOUR,
            Self::HolderLostMode => 200,
            Self::HolderRings | Self::InstallSaved { .. } => 1_000,
        }
    }

    /// Whether its arguments are in range.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        match self {
            Self::RenewCertificates { before_ms } => {
                (Self::SHORTEST_BEFORE_MS..=Self::LONGEST_BEFORE_MS).contains(before_ms)
            }
            Self::HolderLostMode | Self::HolderRings => true,
            Self::InstallSaved { install } => install.version > 0 && install.identifier.len() <= 1024,
        }
    }
}
