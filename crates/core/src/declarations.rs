//! Declarative management beside the check-ins: what follows from the ledger, and what phones tell by
//! themselves so that they need not be asked.

use std::collections::HashSet;

use ledger::{Body, Effect};
use model::{EnrolmentId, TimeMs};
use order::FreeQuery;
use store::{LedgerRow, NewSet, ReportKind, SetItem, Slot, StoreError, Tx};

use crate::room::Room;

/// Where a status report's fields stand.
pub(crate) const STATUS: &str = "Status";

/// The query that a status subscription makes needless, but for what else it tells: it is asked once in
/// [`COVERED_EVERY_MS`].
pub(crate) const COVERED: FreeQuery = FreeQuery::SecurityInfo;
const COVERED_EVERY_MS: TimeMs = 7 * model::clock::DAY_MS;
/// The items that cover it.
const COVERING: [&str; 2] = ["passcode.is-compliant", "passcode.is-present"];
/// A phone that subscribed reports everything about once a day, whatever changes.
const STATUS_FRESH_MS: TimeMs = 2 * model::clock::DAY_MS;

/// Takes a set in as the ledger says it.
pub(crate) fn project(tx: &Tx<'_>, row: &LedgerRow, body: &Body) -> Result<(), StoreError> {
    let Body::OrderAccepted { order, effect, .. } = body else { return Ok(()) };
    let Effect::DeclarationsSet { set, declarations, targets, .. } = effect else { return Ok(()) };
    let items = declarations.iter().map(|d| SetItem {
        kind: d.kind.name().to_owned(),
        identifier: d.identifier.as_str().to_owned(),
        declared_type: d.declared_type.clone(),
        token: d.token,
        digest: d.answer_digest,
        in_force: d.in_force,
    });
    let set = NewSet {
        order: *order,
        position: row.index,
        name: set.as_str().to_owned(),
        at_ms: row.at_ms,
        items: items.collect(),
    };
    let mut slots = Vec::with_capacity(targets.len());
    for target in targets {
        slots.extend(tx.find_enrolment(*target)?.map(|e| e.slot));
    }
    tx.put_set(&set, &slots)
}

/// Which of these phones tell by status reports what [`COVERED`] would ask, and were asked the rest of it
/// not long ago.
pub(crate) async fn told_by_status(
    room: &Room,
    phones: &[(Slot, EnrolmentId)],
    now_ms: TimeMs,
) -> Result<HashSet<Slot>, StoreError> {
    let slots: Vec<Slot> = phones.iter().map(|p| p.0).collect();
    let read = room.store.read(move |v| {
        let mut told = HashSet::new();
        for slot in slots {
            let reports = v.reports(slot)?;
            if is_recent(&reports, now_ms) && covers(&v.clear_fields(slot)?) {
                told.insert(slot);
            }
        }
        Ok(told)
    });
    read.await
}

/// Whether the phone reported by itself of late, and was asked not long ago.
fn is_recent(reports: &[ReportKind], now_ms: TimeMs) -> bool {
    let within = |kind: &str, ms: TimeMs| {
        reports.iter().any(|r| r.kind == kind && now_ms.saturating_sub(r.at_ms) < ms)
    };
    within(STATUS, STATUS_FRESH_MS) && within(COVERED.request_type(), COVERED_EVERY_MS)
}

/// Whether its reports tell what [`COVERED`] would be asked for.
fn covers(clear: &[(String, String)]) -> bool {
    COVERING.iter().all(|item| clear.iter().any(|(name, _)| name == item))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::clock::DAY_MS;

    #[test]
    fn a_phone_that_tells_by_itself_is_asked_weekly_and_one_that_fell_silent_daily_again() {
        let reports = |status_days: i64, asked_days: i64| {
            let at = |kind: &str, days| ReportKind { kind: kind.into(), at_ms: 100 * DAY_MS - days * DAY_MS };
            [at(STATUS, status_days), at("SecurityInfo", asked_days)]
        };
        let now_ms = 100 * DAY_MS;
        assert!(is_recent(&reports(0, 1), now_ms) && is_recent(&reports(1, 6), now_ms));
        assert!(!is_recent(&reports(0, 7), now_ms), "a week is over");
        assert!(!is_recent(&reports(2, 1), now_ms), "it fell silent");
        assert!(!is_recent(&reports(0, 1)[..1], now_ms), "never asked");
        let clear =
            |names: &[&str]| names.iter().map(|n| ((*n).to_owned(), "true".to_owned())).collect::<Vec<_>>();
        assert!(covers(&clear(&["passcode.is-compliant", "passcode.is-present", "OSVersion"])));
        assert!(!covers(&clear(&["passcode.is-compliant", "OSVersion"])));
        assert!(!covers(&[]));
    }
}
