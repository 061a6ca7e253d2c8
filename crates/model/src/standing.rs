//! Standing orders: what the vault may do by itself, for as long as a person's order stands.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::TimeMs;
use crate::clock::{DAY_MS, MINUTE_MS};

/// What a standing order lets the vault do: a fixed template, which leaves nothing to whoever asks but
/// the phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
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
}

impl StandingTemplate {
    /// The shortest time before the end.
    pub const SHORTEST_BEFORE_MS: TimeMs = MINUTE_MS;
    /// The longest.
    pub const LONGEST_BEFORE_MS: TimeMs = 365 * DAY_MS;
    /// What is suggested: a phone may be in a drawer for a while.
    pub const USUAL_BEFORE_MS: TimeMs = 60 * DAY_MS;
    /// The most acts an hour that a standing order may allow.
    pub const MOST_AN_HOUR: u32 = 20_000;
    /// The longest life of a standing order: a year longer than a certificate's usual two.
    pub const LONGEST_LIFE_MS: TimeMs = 1096 * DAY_MS;

    /// The name used in routes, tables and on the command line.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::RenewCertificates { .. } => "renew_certificates",
        }
    }

    /// Whether its arguments are in range.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        match self {
            Self::RenewCertificates { before_ms } => {
                (Self::SHORTEST_BEFORE_MS..=Self::LONGEST_BEFORE_MS).contains(before_ms)
            }
        }
    }
}
