//! Sessions that were signed in by an OpenID provider: core's word, which the vault keeps to have them ended.

use ledger::Body;

use super::*;

fn word(n: u8, at_ms: i64) -> Body {
    Body::OidcSignedIn {
        session: Digest([n; 32]),
        subject: Digest([9; 32]),
        role: Role::Auditor,
        group: None,
        expires_at_ms: at_ms + 8 * HOUR_MS,
    }
}

#[test]
fn a_session_that_only_reads_is_ended_by_an_administrators_order_and_opens_nothing() {
    let (mut house, key) = House::joined();
    let desk = house.person(&key, 60, Role::ServiceDesk, None);
    let end = |house: &mut House, key: &Ed25519Secret, n: u8| {
        let (signed, sealed) =
            house.order(key, OrderKind::EndSession { session: Digest([n; 32]) }, vec![], None);
        house.submit(&signed, &sealed, vec![]).refusal
    };
    assert_eq!(end(&mut house, &key, 1), Some(Refusal::GrantExhausted), "nobody said that there is one");
    house.durable(|c| c.witness(vec![(word(1, NOW_MS), 1), (word(2, NOW_MS), 2)]));
    let entries = house.chamber.state.entries;
    house.durable(|c| c.witness(vec![(word(1, NOW_MS), 1), (word(2, NOW_MS), 2)]));
    assert_eq!(house.chamber.state.entries, entries, "a word that comes again is written once");
    // It is no grant: nobody's search or opening is paid by it, and no grant takes its place.
    assert!(house.chamber.state.sessions.is_empty());
    let grant = OrderKind::Grant {
        session: Digest([1; 32]),
        records: 0,
        searches: 0,
        compartments: vec![],
        valid_ms: HOUR_MS,
    };
    let (signed, sealed) = house.order(&key, grant, vec![], None);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, Some(Refusal::BadArgument));
    assert_eq!(end(&mut house, &desk, 1), Some(Refusal::RoleNotAllowed));
    let mut house = house.restart();
    assert_eq!(end(&mut house, &key, 1), None);
    assert_eq!(end(&mut house, &key, 1), Some(Refusal::GrantExhausted), "it has ended");
    assert!(house.chamber.state.readers.contains_key(&Digest([2; 32])));
}

#[test]
fn sign_ins_beyond_the_cap_are_not_written() {
    let (mut house, _) = House::joined();
    let before = house.chamber.state.entries;
    let words = |from: u64| {
        let all = from..from + 1_500;
        all.map(|n| {
            let mut body = word(1, NOW_MS);
            if let Body::OidcSignedIn { session, .. } = &mut body {
                session.0[..8].copy_from_slice(&n.to_be_bytes());
            }
            (body, n)
        })
        .collect()
    };
    house.durable(|c| c.witness(words(1)));
    house.durable(|c| c.witness(words(1_501)));
    assert_eq!(house.chamber.state.entries - before, 2_000);
    house.clock.advance(HOUR_MS);
    house.durable(|c| c.witness(words(3_001)));
    assert_eq!(house.chamber.state.entries - before, 3_500);
}
