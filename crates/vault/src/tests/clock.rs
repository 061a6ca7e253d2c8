//! A clock that is set back, and one that ran ahead.

use super::*;

const SESSION: Digest = Digest([5; 32]);

/// A house with a phone, and a grant of nine records that lives for an hour.
fn granted() -> (House, Ed25519Secret, EnrolmentId) {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "P", "ward-7");
    let compartments = vec![Compartment::Identity];
    let kind =
        OrderKind::Grant { session: SESSION, records: 9, searches: 0, compartments, valid_ms: HOUR_MS };
    let (signed, sealed) = house.order(&key, kind, vec![], None);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
    (house, key, phone)
}

/// Opens one record under the grant; gives how many are left.
fn open(house: &mut House, phone: EnrolmentId) -> Result<u32, Refusal> {
    let row = (phone, house.row(phone, "DeviceName", Compartment::Identity, b"a phone"));
    house.durable(|c| c.use_grant(&SESSION, &[row], b"")).map(|used| used.records_left)
}

#[test]
fn a_clock_set_back_brings_no_grant_back_that_had_run_out_also_over_a_restart() {
    let (mut house, key, phone) = granted();
    assert_eq!(open(&mut house, phone), Ok(8));
    house.clock.advance(HOUR_MS + MINUTE_MS);
    assert_eq!(open(&mut house, phone), Err(Refusal::GrantExhausted));
    // An entry that says how late it was.
    house.person(&key, 7, Role::Auditor, None);
    house.clock.advance(-2 * HOUR_MS);
    assert_eq!(open(&mut house, phone), Err(Refusal::GrantExhausted));
    assert_eq!(open(&mut house.restart(), phone), Err(Refusal::GrantExhausted));
}

#[test]
fn a_clock_set_back_prolongs_no_grant() {
    let (mut house, _, phone) = granted();
    house.clock.advance(-12 * HOUR_MS);
    assert_eq!(open(&mut house, phone), Ok(8));
    house.clock.advance(HOUR_MS + MINUTE_MS);
    assert_eq!(open(&mut house, phone), Err(Refusal::GrantExhausted));
}

#[test]
fn a_clock_that_ran_ten_years_ahead_ends_sessions_and_stops_nobody_afterwards() {
    let (mut house, key, phone) = granted();
    house.clock.advance(3650 * DAY_MS);
    house.durable(|c| c.statement());
    house.clock.advance(-3650 * DAY_MS);
    assert_eq!(open(&mut house, phone), Err(Refusal::GrantExhausted));
    assert!(!house.restart().invite(&key, "Q", "ward-7").link_secret.is_empty());
}
