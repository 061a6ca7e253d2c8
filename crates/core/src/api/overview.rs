//! The fleet at a glance.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Json};
use model::TimeMs;
use model::clock::DAY_MS;
use serde::Serialize;
use store::{EnrolmentState, LedgerDay};
use utoipa::ToSchema;

use super::access::{Metrics, Permit};
use super::problem::{Problem, ProblemBody};
use crate::room::Room;

/// So many days are told one by one.
const DAYS: i64 = 30;

/// A page that is open asks once more when this is over.
pub(crate) const GOOD_AT_MOST: Duration = Duration::from_secs(1);

/// How the phones are, counted. For someone who is held to a group: that group's.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Overview {
    /// The group that is counted; absent: all.
    group: Option<String>,
    /// Enrolments by state.
    enrolments: BTreeMap<&'static str, u64>,
    /// Enrolled phones that were not heard of for 7 days, and for 30.
    silent_7_days: u64,
    silent_30_days: u64,
    /// Enrolled phones in lost mode, by their own word.
    lost: u64,
    /// Enrolled phones that say that their passcode does not comply.
    passcode_not_compliant: u64,
    /// Phones that say of a declaration that it is not valid.
    declarations_invalid: u64,
    /// Enrolled phones by their certificate: `due`, `asked`, `late`, `expired`. Absent for a group.
    certificates: Option<BTreeMap<&'static str, u64>>,
    /// Commands that are not answered, and those of them that were put off. Absent for a group.
    open_commands: Option<u64>,
    deferred_commands: Option<u64>,
    /// The last 30 days (UTC), the oldest first, today among them. Absent for a group.
    days: Option<Vec<Day>>,
    now_ms: TimeMs,
}

/// What the ledger says of a day.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Day {
    /// Its beginning.
    from_ms: TimeMs,
    /// Phones that enrolled.
    enrolled: u64,
    /// Phones that left.
    left: u64,
    /// Records that were opened.
    opened: u64,
    /// Phones that were commanded by orders, once for each order.
    commanded: u64,
    /// Orders that were refused.
    refused: u64,
}

fn days(rows: &[LedgerDay], now_ms: TimeMs) -> Vec<Day> {
    let today = now_ms.div_euclid(DAY_MS);
    let mut days: Vec<Day> =
        (today - DAYS + 1..=today).map(|day| Day { from_ms: day * DAY_MS, ..Day::default() }).collect();
    for row in rows {
        let Some(day) = days.iter_mut().find(|d| d.from_ms == row.day * DAY_MS) else { continue };
        match row.kind.as_str() {
            "token_updated" => day.enrolled += row.entries,
            "checked_out" => day.left += row.entries,
            "opened" | "grant_used" => day.opened += row.amount,
            "commanded" | "declarations_set" => day.commanded += row.amount,
            "order_refused" => day.refused += row.entries,
            _ => {}
        }
    }
    days
}

#[utoipa::path(get, path = "/api/v1/overview", responses(
    (status = 200, body = Overview),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn overview(
    permit: Permit<Metrics>,
    Extension(room): Extension<Arc<Room>>,
) -> Result<Json<Overview>, Problem> {
    let now_ms = room.now_ms();
    let Some(group) = permit.actor().group().map(str::to_owned) else {
        let counting = async {
            let mut out = flagged(&room, None, now_ms).await?;
            whole(&room, &mut out, now_ms).await?;
            Ok(out)
        };
        return room.counts.overview.get((), counting).await.map(Json);
    };
    let mut out = flagged(&room, Some(group.clone()), now_ms).await?;
    for phone in room.store.read(move |v| v.group_phones(&group)).await? {
        *out.enrolments.entry(phone.state.name()).or_default() += 1;
        if phone.state == EnrolmentState::Enrolled {
            let silent_ms = now_ms - phone.last_seen_at_ms;
            out.silent_7_days += u64::from(silent_ms >= 7 * DAY_MS);
            out.silent_30_days += u64::from(silent_ms >= 30 * DAY_MS);
        }
    }
    Ok(Json(out))
}

/// What is counted alike for a group and for all.
async fn flagged(room: &Room, group: Option<String>, now_ms: TimeMs) -> Result<Overview, Problem> {
    let of = group.clone();
    let read = room.store.read(move |v| {
        let g = of.as_deref();
        Ok((v.count_lost(g)?, v.count_without_passcode(g)?, v.count_invalid_declarations(g)?))
    });
    let (lost, passcode_not_compliant, declarations_invalid) = read.await?;
    Ok(Overview {
        group,
        enrolments: BTreeMap::new(),
        silent_7_days: 0,
        silent_30_days: 0,
        lost,
        passcode_not_compliant,
        declarations_invalid,
        certificates: None,
        open_commands: None,
        deferred_commands: None,
        days: None,
        now_ms,
    })
}

async fn whole(room: &Room, out: &mut Overview, now_ms: TimeMs) -> Result<(), Problem> {
    let since_ms = now_ms - DAYS * DAY_MS;
    let read = room.store.read(move |v| Ok((v.count_by_state()?, v.count_open()?, v.ledger_days(since_ms)?)));
    let (states, (open, deferred), rows) = read.await?;
    out.enrolments = states.into_iter().map(|(s, n)| (s.name(), n)).collect();
    [out.silent_7_days, out.silent_30_days] =
        room.fleet.count_silent([now_ms - 7 * DAY_MS, now_ms - 30 * DAY_MS]);
    let counted = crate::renewal::counted(room).await?;
    out.certificates = Some(counted.states.iter().map(|(s, n)| (s.name(), *n)).collect());
    (out.open_commands, out.deferred_commands) = (Some(open), Some(deferred));
    out.days = Some(days(&rows, now_ms));
    Ok(())
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn the_last_day_is_today_and_days_without_an_entry_are_there_too() {
        let now_ms = 20_000 * DAY_MS + 5;
        let row = |day, kind: &str, entries, amount| LedgerDay { day, kind: kind.into(), entries, amount };
        let rows = [
            row(20_000, "opened", 2, 3),
            row(20_000, "grant_used", 1, 4),
            row(19_971, "token_updated", 5, 5),
            row(19_970, "token_updated", 9, 9),
            row(20_000, "keys_stated", 1, 1),
        ];
        let days = days(&rows, now_ms);
        assert_eq!(days.len(), 30);
        assert_eq!(days[29], Day { from_ms: 20_000 * DAY_MS, opened: 7, ..Day::default() });
        assert_eq!(days[0], Day { from_ms: 19_971 * DAY_MS, enrolled: 5, ..Day::default() });
        assert_eq!(days.iter().map(|d| d.enrolled).sum::<u64>(), 5);
    }
}
