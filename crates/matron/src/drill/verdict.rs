//! What was promised, held against what was counted.

use super::Taking;
use super::occupy::Tally;
use super::report::RoomReport;

/// What an intruder gets that nobody promised he would not: it stands in SECURITY.md.
const EXPECTED: [(Taking, &str); 13] = [
    (Taking::Reader, "keep the certificate of a phone that enrols meanwhile"),
    (Taking::Door, "fetch the profile of a link that passes"),
    (Taking::Door, "take the certificate that a passing link is for"),
    (Taking::Session, "erase a phone with the stolen key within its budget"),
    (Taking::Courier, "keep an alarm back"),
    (Taking::Courier, "open the push token of a phone that is woken"),
    (Taking::Core, "have a mild profile installed within a standing order's cap"),
    (Taking::CoreWithGrants, "have a mild profile installed within a standing order's cap"),
    (Taking::CoreWithGrants, "open a record within a live grant"),
    (Taking::CoreWithGrants, "search within a live grant"),
    (Taking::Session, "open a name within the grant"),
    (Taking::Backup, "read the files"),
    (Taking::Disk, "read the files"),
];

/// Fewer attempts than this in a room are no drill.
const FEWEST: u64 = 5;

/// Fills in what was broken.
pub(crate) fn judge(r: &mut RoomReport) {
    let mut broken = Vec::new();
    let mut must = |holds: bool, sentence: String| {
        if !holds {
            broken.push(sentence);
        }
    };
    let read = r.records_read;
    match r.room {
        Taking::CoreWithGrants | Taking::Session => {
            must(
                read <= r.records_paid_for,
                format!("{read} records were read, and {} were paid for", r.records_paid_for),
            );
            must(
                r.records_in_ledger >= read,
                format!("{read} records were read, and the ledger has {}", r.records_in_ledger),
            );
        }
        _ => must(read == 0, format!("{read} stored records were read")),
    }
    match r.room {
        Taking::Door => must(
            r.phones_wiped <= r.phones_connected,
            format!("{} phones were wiped, and {} connected", r.phones_wiped, r.phones_connected),
        ),
        _ => {
            must(
                r.phones_wiped == 0,
                format!("{} phones were wiped that nobody ordered erased", r.phones_wiped),
            );
            must(r.phones_dropped == 0, format!("{} phones dropped their management", r.phones_dropped));
        }
    }
    must(
        r.phones_harmed_later == 0,
        format!(
            "{} phones were wiped or dropped that never spoke to whoever held the room",
            r.phones_harmed_later
        ),
    );
    must(
        r.phones_wiped_by_key <= r.phones_paid_for,
        format!(
            "a stolen key erased {} phones, and may {} an hour",
            r.phones_wiped_by_key, r.phones_paid_for
        ),
    );
    if r.room == Taking::Courier {
        must(
            r.push_tokens_read <= r.phones_pushed,
            format!(
                "{} push tokens were read, and {} phones were to be woken",
                r.push_tokens_read, r.phones_pushed
            ),
        );
    }
    must(
        r.certificates_taken <= r.phones_enrolling,
        format!(
            "{} certificates were taken, and {} phones enrolled",
            r.certificates_taken, r.phones_enrolling
        ),
    );
    must(
        r.installed_beyond_cap == 0,
        format!(
            "{} phones had a profile installed beyond what a standing order allows",
            r.installed_beyond_cap
        ),
    );
    if matches!(r.room, Taking::Core | Taking::CoreWithGrants) {
        must(r.alarm_ms.is_some(), "forged orders raised no alarm".into());
    }
    if r.certificates_taken > 0 {
        must(r.alarm_ms.is_some(), "a challenge that was spent twice raised no alarm".into());
    }
    for (attempt, Tally { got, tried, .. }) in &r.attempts {
        let expected = EXPECTED.iter().any(|(room, name)| *room == r.room && name == attempt);
        must(*got == 0 || expected, format!("{got} of {tried} attempts to {attempt} succeeded"));
    }
    let tried: u64 = r.attempts.values().map(|t| t.tried).sum();
    must(tried >= FEWEST, format!("only {tried} attempts were made, so nothing was tried"));
    r.broken.append(&mut broken);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn report(room: Taking) -> RoomReport {
        let attempts = BTreeMap::from([("x".to_owned(), Tally { tried: 10, ..Tally::default() })]);
        RoomReport { attempts, alarm_ms: Some(1), ..RoomReport::of(room, 100) }
    }

    fn broken(r: RoomReport) -> usize {
        let mut r = r;
        judge(&mut r);
        r.broken.len()
    }

    #[test]
    fn one_record_one_wiped_phone_or_one_open_wall_breaks_the_promise() {
        for room in Taking::ALL {
            assert_eq!(broken(report(room)), 0, "{room:?}");
            assert!(broken(RoomReport { records_read: 1, ..report(room) }) > 0, "{room:?}");
            assert!(broken(RoomReport { phones_wiped: 1, ..report(room) }) > 0, "{room:?}");
            assert!(broken(RoomReport { phones_harmed_later: 1, ..report(room) }) > 0, "{room:?}");
            assert!(broken(RoomReport { installed_beyond_cap: 1, ..report(room) }) > 0, "{room:?}");
            let robbed = RoomReport { certificates_taken: 1, phones_enrolling: 1, ..report(room) };
            assert_eq!(broken(robbed.clone()), 0, "{room:?}");
            assert!(broken(RoomReport { alarm_ms: None, ..robbed }) > 0, "{room:?}");
            let mut open = report(room);
            open.attempts
                .insert("read another room's file".into(), Tally { tried: 1, got: 1, ..Tally::default() });
            assert!(broken(open) > 0, "{room:?}");
            assert!(
                broken(RoomReport { attempts: BTreeMap::new(), ..report(room) }) > 0,
                "{room:?}: nothing tried"
            );
        }
    }

    #[test]
    fn a_grant_is_kept_only_where_it_paid_and_the_ledger_says_so() {
        let read = RoomReport {
            records_read: 5,
            records_paid_for: 5,
            records_in_ledger: 5,
            ..report(Taking::CoreWithGrants)
        };
        assert_eq!(broken(read.clone()), 0);
        assert_eq!(broken(RoomReport { records_paid_for: 4, ..read.clone() }), 1);
        assert_eq!(broken(RoomReport { records_in_ledger: 4, ..read.clone() }), 1);
        assert_eq!(broken(RoomReport { alarm_ms: None, ..read }), 1);
    }

    #[test]
    fn the_doors_are_the_phones_that_connect_and_no_others() {
        let door = RoomReport { phones_wiped: 3, phones_connected: 3, ..report(Taking::Door) };
        assert_eq!(broken(door.clone()), 0);
        assert_eq!(broken(RoomReport { phones_connected: 2, ..door }), 1);
        let key = RoomReport { phones_wiped_by_key: 3, phones_paid_for: 3, ..report(Taking::Session) };
        assert_eq!(broken(key.clone()), 0);
        assert_eq!(broken(RoomReport { phones_wiped_by_key: 4, ..key }), 1);
    }
}
