//! What runs out and when, and who cosigned: parts of how the house is.

use model::TimeMs;
use model::clock::{DAY_MS, HOUR_MS};
use serde::Serialize;
use utoipa::ToSchema;

use super::health::{CourierState, DoorState, RenewalState};
use crate::cosigned;
use crate::room::Room;

/// A standing order that runs out sooner is warned of.
pub(super) const STANDING_SOON_MS: TimeMs = 60 * DAY_MS;
/// The door's certificate that runs out sooner is warned of.
pub(super) const DOOR_SOON_MS: TimeMs = 21 * DAY_MS;
/// The push certificate.
const PUSH_SOON_MS: TimeMs = 60 * DAY_MS;
/// The vault renews its statement long before.
const STATEMENT_SOON_MS: TimeMs = 12 * HOUR_MS;

/// Something that runs out.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct EndingState {
    /// `key_statement`, `tls_certificate`, `push_certificate` or `standing_renewal`.
    what: &'static str,
    ends_at_ms: Option<TimeMs>,
    /// `fine`, `soon`, `ended`, `none`, or `unknown` when whoever knows does not answer.
    state: &'static str,
}

impl EndingState {
    fn of(
        what: &'static str,
        ends_at_ms: Option<TimeMs>,
        known: bool,
        soon_ms: TimeMs,
        now_ms: TimeMs,
    ) -> Self {
        let state = match ends_at_ms {
            None if !known => "unknown",
            None => "none",
            Some(at_ms) if at_ms <= now_ms => "ended",
            Some(at_ms) if at_ms - now_ms < soon_ms => "soon",
            Some(_) => "fine",
        };
        Self { what, ends_at_ms, state }
    }
}

/// Everything that runs out.
pub(super) fn endings(
    statement_ends_ms: Option<TimeMs>,
    renewal: &RenewalState,
    door: &DoorState,
    courier: &CourierState,
    now_ms: TimeMs,
) -> Vec<EndingState> {
    let tls_ms = door.certificate_ends_ms();
    let push_ms = courier.certificate_expires_at_ms;
    let standing_ms = renewal.standing_expires_at_ms;
    vec![
        EndingState::of("key_statement", statement_ends_ms, true, STATEMENT_SOON_MS, now_ms),
        EndingState::of("tls_certificate", tls_ms, door.answers, DOOR_SOON_MS, now_ms),
        EndingState::of("push_certificate", push_ms, courier.answers, PUSH_SOON_MS, now_ms),
        EndingState::of("standing_renewal", standing_ms, true, STANDING_SOON_MS, now_ms),
    ]
}

/// What witnesses handed back. Core has no witness's key and checks no cosignature.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WitnessState {
    /// Of how many entries the newest cosigned checkpoint is.
    entries: u64,
    cosigned: Vec<CosignedBy>,
}

/// A line under that checkpoint.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CosignedBy {
    name: String,
    /// As the line says it.
    at_ms: Option<TimeMs>,
}

impl WitnessState {
    pub(super) fn of(room: &Room) -> Option<Self> {
        let (entries, lines) = cosigned::told(room)?;
        let cosigned = lines.into_iter().map(|(name, at_ms)| CosignedBy { name, at_ms }).collect();
        Some(Self { entries, cosigned })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_ends_soon_is_absent_or_not_known_is_told_apart() {
        let state = |ends, known| EndingState::of("tls_certificate", ends, known, DAY_MS, 1_000).state;
        assert_eq!(state(Some(1_000), true), "ended");
        assert_eq!(state(Some(1_000 + DAY_MS - 1), true), "soon");
        assert_eq!(state(Some(1_000 + DAY_MS), true), "fine");
        assert_eq!(state(None, true), "none");
        assert_eq!(state(None, false), "unknown");
    }
}
