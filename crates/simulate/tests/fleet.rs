//! Many phones at once, and load, against a small server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // tests may fail loudly

mod house;

use house::{House, Trouble};
use model::{CommandId, SystemClock};
use order::FreeQuery;
use simulate::load::{self, LoadOptions};
use simulate::{FleetOptions, Invited, KeyPool, Living, Phone, Progress, Pushes, State, Temper, run_fleet};
use std::cell::Cell;
use std::sync::Arc;

const SEED: u64 = 23;

fn invite(house: &House, n: u32) -> Vec<Invited> {
    (0..n).map(|index| Invited { link: house.invite().0, index }).collect()
}

fn options(house: &House) -> FleetOptions {
    FleetOptions {
        keys: KeyPool::made(2, 2).unwrap(),
        at_once: 4,
        return_ms: 20,
        temper: Temper::obliging(),
        ..FleetOptions::new(SEED, house.network())
    }
}

#[tokio::test]
async fn a_fleet_enrols_obeys_and_settles() {
    let house = House::start().await;
    let invited = invite(&house, 12);
    let enrolled = Cell::new(0);
    let (summary, phones) = run_fleet(invited, options(&house), |progress| {
        if let Progress::Enrolled { enrolment, .. } = progress {
            assert!(enrolment.is_some());
            enrolled.set(enrolled.get() + 1);
        }
    })
    .await;
    assert_eq!((summary.phones, summary.enrolled, summary.not_enrolled, enrolled.get()), (12, 12, 0, 12));
    assert_eq!(summary.failed(), 0, "{summary}");
    assert_eq!(summary.profiles["verified"], 12);
    assert!(phones.iter().zip(0..).all(|(p, i)| p.state() == State::Enrolled && p.index() == i));
    assert!(summary.to_string().starts_with("12 of 12 phones enrolled"));
    serde_json::to_string(&summary).unwrap();
}

#[tokio::test]
async fn a_server_that_is_away_for_a_moment_costs_retries_and_no_phone() {
    let house = House::start().await;
    let invited = invite(&house, 4);
    *house.trouble.lock().unwrap() = Trouble { status: Some((503, 6)), ..Trouble::default() };
    let (summary, phones) = run_fleet(invited, options(&house), |_| {}).await;
    assert_eq!(summary.enrolled, 4, "{summary}");
    assert_eq!(summary.failed(), 6);
    assert!(phones.iter().all(|p| p.state() == State::Enrolled));
}

#[tokio::test]
async fn phones_that_cannot_enrol_are_counted_by_step_and_the_others_go_on() {
    let house = House::start().await;
    let mut invited = invite(&house, 2);
    let unknown = "https://mdm.example.org/enrol/ffffffffffffffffffffffffffffffff".to_owned();
    invited.push(Invited { link: unknown, index: 9 });
    assert!(!format!("{invited:?}").contains("https"));
    let (summary, phones) = run_fleet(invited, options(&house), |_| {}).await;
    assert_eq!((summary.enrolled, summary.not_enrolled, summary.enrolment_retries), (2, 1, 0));
    assert_eq!(summary.failures["profile"]["status_410"], 1);
    assert_eq!(phones[2].state(), State::New);
}

#[tokio::test]
async fn a_closing_server_is_talked_to_on_new_connections() {
    let house = House::start().await;
    house.trouble.lock().unwrap().close = true;
    let (link, id) = house.invite();
    for (n, query) in FreeQuery::ALL.into_iter().enumerate() {
        house.queue(id, query.bytes(CommandId([n as u8 + 1; 16])));
    }
    let (summary, _) = run_fleet(vec![Invited { link, index: 0 }], options(&house), |_| {}).await;
    assert_eq!((summary.enrolled, summary.failed()), (1, 0), "{summary}");
    assert_eq!(
        summary.commands_with("Acknowledged") + summary.commands_with("Error"),
        FreeQuery::ALL.len() as u64
    );
}

#[tokio::test]
async fn a_push_with_the_right_magic_wakes_a_phone_and_another_does_not() {
    let house = House::start().await;
    let (link, id) = house.invite();
    let pushes = Arc::new(Pushes::default());
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let options = FleetOptions {
        living: Living::Live { poll_ms: 3_600_000, for_ms: Some(20_000) },
        pushes: Some(pushes.clone()),
        stop: Some(stopped),
        ..options(&house)
    };
    let talks = Cell::new(0);
    let ring = |magic: &str| {
        let (token, _) = house.push(id).unwrap();
        pushes.deliver(&token, magic)
    };
    let (summary, _) = run_fleet(vec![Invited { link, index: 0 }], options, |progress| match progress {
        Progress::Conversed { .. } if talks.get() == 0 => {
            talks.set(1);
            house.queue(id, FreeQuery::SecurityInfo.bytes(CommandId([5; 16])));
            assert!(!ring("another magic"));
            assert!(ring(&house.push(id).unwrap().1));
        }
        Progress::Conversed { talk, .. } => {
            assert_eq!(talk.commands, [("SecurityInfo".to_owned(), "Acknowledged")]);
            talks.set(2);
            stop.send(true).unwrap();
        }
        _ => {}
    })
    .await;
    assert_eq!((talks.get(), summary.pushed, summary.conversations), (2, 1, 2));
}

#[tokio::test]
async fn phones_poll_by_themselves_go_silent_and_come_back() {
    let house = House::start().await;
    let options = FleetOptions {
        living: Living::Live { poll_ms: 20, for_ms: Some(1500) },
        silent_per_mille: 300,
        silent_ms: 50,
        temper: Temper { not_now_per_mille: 300 },
        ..options(&house)
    };
    let (summary, _) = run_fleet(invite(&house, 3), options, |_| {}).await;
    assert!(summary.conversations > 10 && summary.silences > 0, "{summary}");
    assert_eq!(summary.failed(), 0, "{summary}");
}

async fn enrolled(house: &House, n: usize) -> Vec<Phone> {
    let links = (0..n).map(|_| house.invite().0).collect();
    let keys = KeyPool::made(1, 1).unwrap();
    let (report, phones) = load::enrol(links, SEED, &house.network(), &keys, Arc::new(SystemClock), 2).await;
    assert_eq!((report.operations, report.errors, phones.len()), (n as u64, 0, n), "{report:?}");
    assert!(report.per_s > 0.0 && report.latency.p50_us > 0);
    phones
}

#[tokio::test]
async fn idle_load_counts_what_the_server_heard() {
    let house = House::start().await;
    let mut phones = enrolled(&house, 3).await;
    let before = house.heard.lock().unwrap().len();
    let report = load::idle(&mut phones, LoadOptions { connections: 2, for_ms: 300 }).await;
    assert_eq!((report.errors, report.others, report.connections), (0, 0, 2), "{report:?}");
    assert_eq!(report.operations, (house.heard.lock().unwrap().len() - before) as u64);
    assert!(report.operations > 20 && report.client_cpu_s > 0.0, "{report:?}");
    assert_eq!(phones.len(), 3);
}

#[tokio::test]
async fn cold_load_makes_a_handshake_each_and_tickets_make_it_short() {
    let house = House::start().await;
    let mut phones = enrolled(&house, 1).await;
    let options = LoadOptions { connections: 1, for_ms: 300 };
    let full = load::cold(&mut phones, options, false).await;
    assert!(full.operations > 3 && full.errors == 0 && full.resumed == 0, "{full:?}");
    let short = load::cold(&mut phones, options, true).await;
    assert!(short.resumed + 1 >= short.operations && short.errors == 0, "{short:?}");
}

#[tokio::test]
async fn round_trips_are_reports_that_bring_the_next_command() {
    let house = House::start().await;
    let mut phones = enrolled(&house, 2).await;
    let ids: Vec<_> = phones.iter().filter_map(Phone::enrolment).collect();
    let options = LoadOptions { connections: 2, for_ms: 60_000 };
    let report = load::round_trips(&mut phones, options, async |round| {
        if round == 2 {
            return Err("enough");
        }
        for id in &ids {
            for (n, query) in FreeQuery::ALL.into_iter().enumerate() {
                house.queue(
                    *id,
                    query.bytes(CommandId([round as u8, n as u8, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7])),
                );
            }
        }
        Ok(())
    })
    .await;
    // So many commands a phone and round: all reports but the last bring another; each round begins with Idle.
    let all = FreeQuery::ALL.len() as u64;
    assert_eq!((report.operations, report.others), (2 * 2 * (all - 1), 2 * 2 * 2), "{report:?}");
    assert_eq!(report.error_kinds["refill"], 1);
    assert!(
        ids.iter()
            .all(|id| house.reports(*id).iter().filter(|r| r.command_id.is_some()).count() as u64 == 2 * all)
    );
}

#[tokio::test]
async fn load_on_a_server_that_refuses_counts_errors_and_ends() {
    let house = House::start().await;
    let mut phones = enrolled(&house, 1).await;
    house.trouble.lock().unwrap().status = Some((503, u32::MAX));
    let report = load::idle(&mut phones, LoadOptions { connections: 1, for_ms: 300 }).await;
    assert!(report.operations == 0 && report.error_kinds["status_503"] > 1, "{report:?}");
}

#[tokio::test]
async fn load_goes_on_when_the_server_comes_back() {
    let house = House::start().await;
    let mut phones = enrolled(&house, 1).await;
    house.trouble.lock().unwrap().status = Some((503, 4));
    let report = load::idle(&mut phones, LoadOptions { connections: 1, for_ms: 2000 }).await;
    assert!(report.error_kinds["status_503"] == 4 && report.errors == 4, "{report:?}");
    assert!(report.operations > 20, "{report:?}");
}

#[tokio::test]
async fn a_kept_fleet_is_resumed_with_its_certificates_and_pushes() {
    let house = House::start().await;
    let (summary, phones) = run_fleet(invite(&house, 3), options(&house), |_| {}).await;
    assert_eq!(summary.enrolled, 3);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("fleet");
    simulate::keep(&phones, &file).unwrap();
    drop(phones);

    let phones = simulate::kept(&file, &house.network()).unwrap();
    let ids: Vec<_> = phones.iter().filter_map(Phone::enrolment).collect();
    for id in &ids {
        house.queue(*id, FreeQuery::SecurityInfo.bytes(CommandId([8; 16])));
    }
    let pushes = Arc::new(Pushes::default());
    let options = FleetOptions { pushes: Some(pushes.clone()), ..options(&house) };
    let (summary, phones) = simulate::resume_fleet(phones, options, |_| {}).await;
    assert_eq!(
        (summary.phones, summary.enrolled, summary.commands_with("Acknowledged")),
        (3, 3, 3),
        "{summary}"
    );
    assert_eq!(format!("{pushes:?}"), "Pushes(3 phones)");
    assert!(phones.iter().all(|p| p.state() == State::Enrolled));
}

#[tokio::test]
async fn round_trips_leave_no_command_behind_when_time_is_up() {
    let house = House::start().await;
    let mut phones = enrolled(&house, 2).await;
    let ids: Vec<_> = phones.iter().filter_map(Phone::enrolment).collect();
    load::round_trips(&mut phones, LoadOptions { connections: 2, for_ms: 1 }, async |_| {
        for id in &ids {
            for n in 0..40 {
                house.queue(*id, FreeQuery::DeviceInformation.bytes(CommandId([n + 1; 16])));
            }
        }
        Ok::<_, String>(())
    })
    .await;
    for id in ids {
        assert_eq!(house.reports(id).iter().filter(|r| r.command_id.is_some()).count(), 40);
    }
}
