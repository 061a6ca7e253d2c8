//! Apps that orders asked for, and what phones said of them since. A phone acknowledges an installation
//! before the app is there, so nothing counts as done before the phone's own list says so.

use model::{EnrolmentId, TimeMs};
use rusqlite::params;
use serde::{Deserialize, Serialize};

use crate::enrolment::numbered;
use crate::view::{coded, id};
use crate::{Slot, StoreError, Tx, View};

numbered!(
    /// Where an app that was asked for stands.
    AppRequestState {
        /// The phone has not answered yet.
        Requested = 0, "requested";
        /// The phone took the command; its list does not show the end of it yet.
        UnderWay = 1, "under_way";
        /// The phone's list shows it.
        Confirmed = 2, "confirmed";
        /// It came to nothing; the reason says why.
        Failed = 3, "failed";
    }
);

/// An app that an order asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppRequest {
    /// Its bundle identifier.
    pub identifier: String,
    /// To be there, or to be gone.
    pub wanted: bool,
    /// Where it stands.
    pub state: AppRequestState,
    /// Of a failure: Apple's word, or an error's domain and code.
    pub reason: String,
    /// When the order was carried out.
    pub requested_at_ms: TimeMs,
    /// When the phone last said something of it that counts.
    pub changed_at_ms: TimeMs,
}

/// The phone is asked again after a minute, two, four, … and each hour at most.
const LONGEST_WAIT_MS: TimeMs = model::clock::HOUR_MS;
/// After so many lists that don't show the end of it, it is given up: about a day.
const MOST_CHECKS: u32 = 30;
/// A phone that was asked for its list and says nothing is asked again after so long.
const ASK_AGAIN_MS: TimeMs = model::clock::HOUR_MS;

/// Apple's words for an installation that came to nothing (`application.managed.list.yaml`).
const FAILED: [&str; 6] =
    ["Failed", "UserRejected", "UpdateRejected", "ManagementRejected", "UserInstalledApp", "NeedsRedemption"];

/// What a list says of an app that was asked for. `None`: nothing that ends it.
fn judged(wanted: bool, status: Option<&str>) -> Option<(AppRequestState, String)> {
    match (wanted, status) {
        (true, Some("Managed")) | (false, None | Some("ManagedButUninstalled")) => {
            Some((AppRequestState::Confirmed, String::new()))
        }
        (true, Some(word)) if FAILED.contains(&word) => Some((AppRequestState::Failed, word.to_owned())),
        _ => None,
    }
}

/// How long until the phone is asked again.
fn wait_ms(checks: u32) -> TimeMs {
    (model::clock::MINUTE_MS << checks.min(6)).min(LONGEST_WAIT_MS)
}

impl View<'_> {
    /// The apps that orders asked for on a phone. One whose command ran out or was called back has failed;
    /// so has one whose command is forgotten and was never answered.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn app_requests(&self, slot: Slot) -> Result<Vec<AppRequest>, StoreError> {
        self.all(
            "SELECT a.identifier, a.wanted, CASE WHEN a.state = 0 AND COALESCE(q.state, 5) IN (5, 6) THEN 3 ELSE a.state END,
             CASE WHEN a.state = 0 AND COALESCE(q.state, 5) = 5 THEN 'expired' WHEN a.state = 0 AND q.state = 6
             THEN 'cancelled' ELSE a.reason END, a.requested_at_ms, a.changed_at_ms
             FROM app_requests a LEFT JOIN queue q ON q.slot = a.slot AND q.number = a.number
             WHERE a.slot = ?1 ORDER BY a.identifier",
            [slot.0],
            |r| {
                Ok(AppRequest {
                    identifier: r.get(0)?,
                    wanted: r.get(1)?,
                    state: coded(r, 2, AppRequestState::from_number)?,
                    reason: r.get(3)?,
                    requested_at_ms: r.get(4)?,
                    changed_at_ms: r.get(5)?,
                })
            },
        )
    }

    /// Phones that are to be asked for their list of managed apps; one stands there for each of its apps.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn app_checks_due(&self, now_ms: TimeMs, limit: u32) -> Result<Vec<(Slot, EnrolmentId)>, StoreError> {
        self.all(DUE, params![now_ms, limit], |r| Ok((Slot(r.get(0)?), id(r, 1)?)))
    }
}

pub(crate) const DUE: &str = "SELECT a.slot, e.enrolment FROM app_requests a INDEXED BY app_requests_due
    JOIN enrolments e ON e.slot = a.slot WHERE a.check_due_at_ms <= ?1 AND e.state = 3 LIMIT ?2";

impl Tx<'_> {
    /// An order asks for an app; what an earlier one asked of the same app counts no more.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn request_app(
        &self,
        slot: Slot,
        identifier: &str,
        wanted: bool,
        number: i64,
        at_ms: TimeMs,
    ) -> Result<(), StoreError> {
        self.run(
            "INSERT INTO app_requests (slot, identifier, wanted, state, number, reason, requested_at_ms,
             changed_at_ms) VALUES (?1, ?2, ?3, 0, ?4, '', ?5, ?5)
             ON CONFLICT (slot, identifier) DO UPDATE SET wanted = excluded.wanted, state = 0,
             number = excluded.number, reason = '', requested_at_ms = excluded.requested_at_ms,
             changed_at_ms = excluded.changed_at_ms, checks = 0, check_due_at_ms = NULL
             WHERE number <> excluded.number",
            params![slot.0, identifier, wanted, number, at_ms],
        )?;
        Ok(())
    }

    /// The phone answered the command. True: its list has to be asked for now.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn app_answered(
        &self,
        slot: Slot,
        number: i64,
        failed: Option<&str>,
        at_ms: TimeMs,
    ) -> Result<bool, StoreError> {
        let state = if failed.is_some() { AppRequestState::Failed } else { AppRequestState::UnderWay };
        let due = failed.is_none().then_some(at_ms + ASK_AGAIN_MS);
        let n = self.run(
            "UPDATE app_requests SET state = ?3, reason = ?4, changed_at_ms = ?5, checks = 0,
             check_due_at_ms = ?6 WHERE slot = ?1 AND number = ?2 AND state = 0",
            params![slot.0, number, state.number(), failed.unwrap_or_default(), at_ms, due],
        )?;
        Ok(n > 0 && failed.is_none())
    }

    /// The phone's whole list of managed apps: identifier and Apple's word.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn apps_listed(
        &self,
        slot: Slot,
        list: &[(String, String)],
        at_ms: TimeMs,
    ) -> Result<(), StoreError> {
        let open: Vec<(String, bool, i64, u32)> = self.all(
            "SELECT identifier, wanted, state, checks FROM app_requests WHERE slot = ?1 AND state IN (1, 2)",
            [slot.0],
            |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?)),
        )?;
        for (identifier, wanted, state, checks) in open {
            let status = list.iter().find(|(name, _)| *name == identifier).map(|(_, word)| word.as_str());
            let under_way = state == AppRequestState::UnderWay.number();
            let (state, reason) = match judged(wanted, status) {
                Some(end) => end,
                None if under_way && checks < MOST_CHECKS => {
                    self.run(
                        "UPDATE app_requests SET checks = checks + 1, check_due_at_ms = ?3
                         WHERE slot = ?1 AND identifier = ?2",
                        params![slot.0, identifier, at_ms + wait_ms(checks)],
                    )?;
                    continue;
                }
                None if under_way => (AppRequestState::Failed, "NotConfirmed".to_owned()),
                // It was there, and the phone says otherwise now; an update that is under way says nothing.
                None if wanted && matches!(status, None | Some("ManagedButUninstalled")) => {
                    (AppRequestState::Failed, "Removed".to_owned())
                }
                None => continue,
            };
            self.run(
                "UPDATE app_requests SET state = ?3, reason = ?4, changed_at_ms = ?5, check_due_at_ms = NULL
                 WHERE slot = ?1 AND identifier = ?2",
                params![slot.0, identifier, state.number(), reason, at_ms],
            )?;
        }
        Ok(())
    }

    /// The phones were asked for their lists.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn app_checks_asked(&self, slots: &[Slot], now_ms: TimeMs) -> Result<(), StoreError> {
        for slot in slots {
            self.run(
                "UPDATE app_requests SET check_due_at_ms = ?2 WHERE slot = ?1 AND check_due_at_ms <= ?3",
                params![slot.0, now_ms + ASK_AGAIN_MS, now_ms],
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_counts_as_there_or_gone_only_when_the_phones_list_says_so() {
        let state = |wanted, status| judged(wanted, status).map(|(state, _)| state);
        assert_eq!(state(true, Some("Managed")), Some(AppRequestState::Confirmed));
        for waits in [None, Some("Installing"), Some("Queued"), Some("Prompting"), Some("Unknown")] {
            assert_eq!(state(true, waits), None, "{waits:?}");
        }
        for word in FAILED {
            assert_eq!(judged(true, Some(word)), Some((AppRequestState::Failed, word.to_owned())));
        }
        assert_eq!(state(false, None), Some(AppRequestState::Confirmed));
        assert_eq!(state(false, Some("ManagedButUninstalled")), Some(AppRequestState::Confirmed));
        assert_eq!(state(false, Some("Managed")), None);
        assert_eq!((wait_ms(0), wait_ms(3), wait_ms(60)), (60_000, 480_000, 3_600_000));
    }
}
