//! The store through its own API.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use model::{CommandId, Compartment, Digest, EnrolmentId, LinkHash, OrderId, SealedRow};
use store::{
    App, CommandFilter, CommandState, DeviceFilter, DeviceSort, EnrolmentState, ErrorLink, LedgerRow,
    NewCommand, NewInvitation, Offer, SealedUpdate, Slot, Store, StoreError, Tx,
};

fn open() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("core.db")).unwrap();
    (dir, store)
}

fn enrolment(n: u8) -> EnrolmentId {
    EnrolmentId([n; 16])
}

fn invite(tx: &Tx<'_>, n: u8) -> Result<Slot, StoreError> {
    tx.invite(&NewInvitation {
        enrolment: enrolment(n),
        link: LinkHash([n; 32]),
        group: format!("ward-{}", n % 2),
        expires_at_ms: 1000,
        invited_at_ms: 1,
    })
}

fn query(n: u8, expires_at_ms: i64) -> NewCommand {
    NewCommand {
        command: CommandId([n; 16]),
        order: None,
        request_type: "DeviceInformation".into(),
        query: Some(1),
        body: vec![],
        sealed: false,
        created_at_ms: 5,
        expires_at_ms,
    }
}

fn warranted(n: u8) -> NewCommand {
    NewCommand {
        order: Some(OrderId([n; 16])),
        request_type: "DeviceLock".into(),
        query: None,
        body: b"bytes".to_vec(),
        ..query(n, 10_000)
    }
}

fn row(name: &str, tag: u8, wrapped: u8) -> SealedUpdate {
    SealedUpdate {
        row: SealedRow {
            name: name.into(),
            compartment: Compartment::Hardware,
            wrapped_key: vec![wrapped; 100],
            ciphertext: vec![tag; 40],
            mask: "•••23".into(),
            change_tag: vec![tag; 16],
        },
        indexed: true,
    }
}

const NOW: Offer = Offer { now_ms: 100, deferred_until_ms: 0, after: 0 };

#[tokio::test]
async fn a_write_that_fails_takes_nothing_of_its_neighbours_with_it() {
    let (_dir, store) = open();
    let good = store.write(|tx| invite(tx, 1));
    let bad = store.write(|tx| {
        invite(tx, 2)?;
        Err::<(), _>(StoreError::Damaged("test"))
    });
    let panics = store.write(|tx| -> Result<(), StoreError> {
        invite(tx, 3)?;
        panic!("a write that panics")
    });
    let last = store.write(|tx| invite(tx, 4));
    let (a, b, c, d) = tokio::join!(good, bad, panics, last);
    assert!(a.is_ok() && d.is_ok());
    assert!(matches!(b, Err(StoreError::Damaged("test"))));
    assert!(matches!(c, Err(StoreError::Panicked)));
    let ids: Vec<_> =
        store.read(|v| v.live_enrolments()).await.unwrap().into_iter().map(|e| e.enrolment).collect();
    assert_eq!(ids, [enrolment(1), enrolment(4)]);
}

#[tokio::test]
async fn what_was_answered_is_on_the_disk_even_if_nothing_is_closed() {
    let (dir, store) = open();
    store.write(|tx| invite(tx, 1)).await.unwrap();
    // As kill -9 leaves it: the files as they lie, with no checkpoint and no close.
    let copy = tempfile::tempdir().unwrap();
    for name in ["core.db", "core.db-wal"] {
        std::fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
    }
    let again = Store::open(&copy.path().join("core.db")).unwrap();
    assert!(again.read(|v| v.find_enrolment(enrolment(1))).await.unwrap().is_some());
}

#[tokio::test]
async fn a_database_of_a_newer_matron_is_refused_and_left_alone() {
    let (dir, store) = open();
    drop(store);
    let path = dir.path().join("core.db");
    let c = rusqlite::Connection::open(&path).unwrap();
    c.pragma_update(None, "user_version", 999).unwrap();
    drop(c);
    assert!(matches!(Store::open(&path), Err(StoreError::Newer { found: 999, .. })));
}

#[tokio::test]
async fn the_oldest_due_command_comes_first_and_one_put_off_is_in_nobodys_way() {
    let (_dir, store) = open();
    let next = |offer| {
        let store = store.clone();
        async move { store.read(move |v| v.next_command(Slot(1), offer)).await.unwrap().map(|n| n.command.0[0]) }
    };
    store
        .write(|tx| {
            let slot = invite(tx, 1)?;
            for n in [1, 2, 3] {
                let number = tx.put_command(&query(n, if n == 3 { 50 } else { 10_000 }))?;
                assert!(tx.queue(slot, number, None)?);
                assert!(!tx.queue(slot, number, None)?);
            }
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(next(NOW).await, Some(1));
    store.write(|tx| tx.mark_sent(Slot(1), 1, 101)).await.unwrap();
    assert_eq!(next(NOW).await, Some(1), "a reply that was lost is given again");
    assert!(store.write(|tx| tx.defer(Slot(1), CommandId([1; 16]), 102)).await.unwrap());
    assert_eq!(next(NOW).await, Some(2));
    assert_eq!(next(Offer { deferred_until_ms: 102, ..NOW }).await, Some(1));
    assert!(!store.write(|tx| tx.defer(Slot(1), CommandId([2; 16]), 102)).await.unwrap(), "never sent");
    let ran_out = store.read(|v| v.ran_out(100, 10)).await.unwrap();
    assert_eq!(ran_out, [(Slot(1), 3)]);
}

#[tokio::test]
async fn an_answer_is_kept_once_and_an_unknown_one_not_at_all() {
    let (_dir, store) = open();
    store
        .write(|tx| {
            let slot = invite(tx, 1)?;
            let number = tx.put_command(&warranted(7))?;
            tx.queue(slot, number, Some((b"warrant", 500)))?;
            Ok(())
        })
        .await
        .unwrap();
    let finish = |state, n: u8| {
        let errors = vec![ErrorLink { code: 12021, domain: "MCMDMErrorDomain".into() }];
        store.write(move |tx| tx.finish(Slot(1), CommandId([n; 16]), state, &errors, 9))
    };
    assert_eq!(finish(CommandState::Error, 7).await.unwrap(), None, "it was never given");
    store.write(|tx| tx.mark_sent(Slot(1), 1, 8)).await.unwrap();
    let first = finish(CommandState::Error, 7).await.unwrap().unwrap();
    assert!(first.warranted && first.was_open);
    assert!(!finish(CommandState::Acknowledged, 7).await.unwrap().unwrap().was_open);
    assert_eq!(finish(CommandState::Error, 9).await.unwrap(), None);
    let items = store.read(|v| v.command_items(CommandId([7; 16]), 10)).await.unwrap();
    assert_eq!(items[0].state, CommandState::Error);
    assert_eq!(items[0].errors[0].code, 12021);
}

#[tokio::test]
async fn an_answer_to_a_command_that_was_recalled_after_it_went_out_is_what_happened() {
    let (_dir, store) = open();
    store
        .write(|tx| {
            let slot = invite(tx, 1)?;
            let number = tx.put_command(&warranted(7))?;
            tx.queue(slot, number, None)?;
            tx.mark_sent(slot, number, 2)?;
            tx.recall_order(OrderId([7; 16]), 3)?;
            assert!(!tx.has_open(slot)?);
            let done = tx.finish(slot, CommandId([7; 16]), CommandState::Acknowledged, &[], 4)?;
            assert!(done.is_some_and(|d| d.was_open));
            Ok(())
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_row_that_did_not_change_is_not_written_and_one_that_is_gone_is_dropped() {
    let (_dir, store) = open();
    let put = |rows: Vec<SealedUpdate>, at| {
        store.write(move |tx| tx.put_sealed(Slot(1), "DeviceInformation", &rows, true, at))
    };
    store.write(|tx| invite(tx, 1)).await.unwrap();
    assert_eq!(put(vec![row("IMEI", 1, 1), row("ICCID", 2, 1)], 5).await.unwrap(), 2);
    assert_eq!(put(vec![row("IMEI", 1, 9), row("ICCID", 3, 9)], 6).await.unwrap(), 1);
    let notes = store.read(|v| v.sealed_notes(Slot(1))).await.unwrap();
    assert_eq!(
        notes.iter().map(|n| (n.name.as_str(), n.at_ms)).collect::<Vec<_>>(),
        [("ICCID", 6), ("IMEI", 5)]
    );
    assert_eq!(put(vec![row("IMEI", 1, 9)], 7).await.unwrap(), 0);
    assert!(store.read(|v| v.find_sealed(Slot(1), "ICCID")).await.unwrap().is_none());
    let kept = store.read(|v| v.find_sealed(Slot(1), "IMEI")).await.unwrap().unwrap();
    assert_eq!(kept, row("IMEI", 1, 1).row);
    assert_eq!(store.write(|tx| tx.drop_unused_keys(10)).await.unwrap(), 1);
}

#[tokio::test]
async fn index_entries_of_a_row_that_changed_meanwhile_are_not_kept() {
    let (_dir, store) = open();
    store
        .write(|tx| {
            let slot = invite(tx, 1)?;
            tx.put_sealed(slot, "x", &[row("IMEI", 1, 1)], false, 1)?;
            assert_eq!(tx.index_due(10)?.len(), 1);
            assert!(!tx.put_index("imei", slot, "IMEI", &[9; 40], &[vec![1; 32]])?);
            assert!(tx.put_index("imei", slot, "IMEI", &[1; 40], &[vec![1; 32], vec![2; 32]])?);
            assert!(tx.index_due(10)?.is_empty());
            let mut seen = 0;
            tx.scan_index("imei", store::EVERY_SLOT, |_, _, _| seen += 1)?;
            assert_eq!(seen, 2);
            tx.put_sealed(slot, "x", &[], true, 2)?;
            tx.scan_index("imei", store::EVERY_SLOT, |_, _, _| seen += 1)?;
            assert_eq!(seen, 2);
            Ok(())
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_report_with_the_same_tag_only_notes_the_time() {
    let (_dir, store) = open();
    store
        .write(|tx| {
            let slot = invite(tx, 1)?;
            assert!(!tx.same_report(slot, "SecurityInfo", &[1; 16], 5)?);
            tx.put_report(slot, "SecurityInfo", &[1; 16], 5)?;
            assert!(tx.same_report(slot, "SecurityInfo", &[1; 16], 6)?);
            assert!(!tx.same_report(slot, "SecurityInfo", &[2; 16], 7)?);
            assert_eq!(tx.reports(slot)?[0].at_ms, 6);
            let app = App {
                identifier: "org.example.app".into(),
                version: "1".into(),
                short_version: "1.0".into(),
            };
            tx.put_apps(slot, "InstalledApplicationList", &[app.clone(), app.clone()])?;
            assert_eq!((tx.apps(slot)?.len(), tx.count_apps(slot)?), (1, 1));
            let other = App { identifier: "org.example.other".into(), ..app.clone() };
            tx.put_apps(slot, "StatusReport", &[App { version: "2".into(), ..app }, other])?;
            assert_eq!(tx.count_apps(slot)?, 2, "one that stands in two lists counts once");
            assert_eq!(tx.reported_at_ms(slot, "SecurityInfo")?, Some(6));
            assert_eq!(tx.reported_at_ms(slot, "DeviceInformation")?, None);
            Ok(())
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn pages_of_devices_meet_every_phone_once_in_each_order() {
    let (_dir, store) = open();
    store
        .write(|tx| {
            for n in 1..=7 {
                let slot = invite(tx, n)?;
                if n > 2 {
                    tx.authenticate(slot, &[n; 16], i64::from(n % 3))?;
                    tx.enrol(slot, i64::from(n % 3), 5000)?;
                    tx.describe(slot, Some(n % 2 == 0), Some("17.5"), Some("iPhone14,5"))?;
                }
            }
            Ok(())
        })
        .await
        .unwrap();
    for sort in [DeviceSort::Invited, DeviceSort::LastSeen, DeviceSort::Enrolled] {
        let mut after = None;
        let mut met = Vec::new();
        loop {
            let f = DeviceFilter { sort, after, limit: 2, ..DeviceFilter::default() };
            let page = store.read(move |v| v.devices(&f)).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.place);
            met.extend(page.iter().map(|d| d.enrolment));
        }
        met.sort();
        met.dedup();
        assert_eq!(met.len(), 7, "{sort:?}");
    }
    let f = DeviceFilter {
        os_version: Some("17".into()),
        supervised: Some(true),
        group: Some("ward-0".into()),
        state: Some(EnrolmentState::Enrolled),
        limit: 50,
        ..DeviceFilter::default()
    };
    assert_eq!(store.read(move |v| v.devices(&f)).await.unwrap().len(), 2);
}

#[tokio::test]
async fn how_far_an_order_has_come_counts_each_phone_once_and_of_a_group_its_own_alone() {
    let (_dir, store) = open();
    store
        .write(|tx| {
            for n in 1..=5 {
                let slot = invite(tx, n)?;
                let number = tx.put_command(&warranted(7))?;
                tx.queue(slot, number, None)?;
                let other = tx.put_command(&warranted(8))?;
                tx.queue(slot, other, None)?;
                if n > 2 {
                    tx.mark_sent(slot, number, 1)?;
                }
                if n > 3 {
                    tx.finish(slot, CommandId([7; 16]), CommandState::Acknowledged, &[], 2)?;
                }
            }
            Ok(())
        })
        .await
        .unwrap();
    let of = |order: u8, group: Option<&'static str>| {
        store.read(move |v| v.order_progress(OrderId([order; 16]), group))
    };
    let all = of(7, None).await.unwrap();
    let counted = [CommandState::Queued, CommandState::Sent, CommandState::Acknowledged].map(|s| all.of(s));
    assert_eq!((counted, all.open()), ([2, 1, 2], 3));
    let own = of(7, Some("ward-0")).await.unwrap();
    assert_eq!((own.of(CommandState::Queued), own.of(CommandState::Acknowledged)), (1, 1));
    assert_eq!(of(9, None).await.unwrap().open(), 0);
}

#[tokio::test]
async fn pages_of_commands_meet_every_one_once() {
    let (_dir, store) = open();
    store
        .write(|tx| {
            for n in 1..=4 {
                let slot = invite(tx, n)?;
                for c in 1..=3 {
                    let number = tx.put_command(&warranted(c))?;
                    tx.queue(slot, number, None)?;
                    tx.mark_sent(slot, number, 1)?;
                    if c == 3 {
                        tx.finish(slot, CommandId([3; 16]), CommandState::Error, &[], 2)?;
                    }
                }
            }
            Ok(())
        })
        .await
        .unwrap();
    let count = |f: CommandFilter| {
        let store = store.clone();
        async move {
            let mut met = Vec::new();
            let mut after = None;
            loop {
                let f = CommandFilter { after, limit: 2, ..f.clone() };
                let page = store.read(move |v| v.commands(&f)).await.unwrap();
                let Some(last) = page.last() else { break };
                after = Some(last.place);
                met.extend(page.iter().map(|c| c.place));
            }
            let n = met.len();
            met.sort_unstable();
            met.dedup();
            assert_eq!(met.len(), n, "a command came twice");
            n
        }
    };
    assert_eq!(count(CommandFilter::default()).await, 12);
    assert_eq!(count(CommandFilter { state: Some(CommandState::Sent), ..Default::default() }).await, 8);
    assert_eq!(count(CommandFilter { state: Some(CommandState::Error), ..Default::default() }).await, 4);
    assert_eq!(count(CommandFilter { order: Some(OrderId([2; 16])), ..Default::default() }).await, 4);
    assert_eq!(count(CommandFilter { slot: Some(Slot(2)), ..Default::default() }).await, 3);
    assert_eq!(count(CommandFilter { group: Some("ward-1".into()), ..Default::default() }).await, 6);
}

#[tokio::test]
async fn history_is_forgotten_but_nothing_that_is_open() {
    let (_dir, store) = open();
    store
        .write(|tx| {
            let slot = invite(tx, 1)?;
            for n in [1, 2] {
                let number = tx.put_command(&query(n, 10))?;
                tx.queue(slot, number, None)?;
                tx.mark_sent(slot, number, 6)?;
            }
            tx.finish(slot, CommandId([1; 16]), CommandState::Acknowledged, &[], 7)?;
            assert_eq!(tx.forget_history(1000, 100)?, 2);
            assert_eq!(tx.forget_history(1000, 100)?, 0);
            assert!(tx.has_open(slot)?);
            Ok(())
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_ledger_entry_is_applied_once() {
    let (_dir, store) = open();
    let item = LedgerRow { index: 0, at_ms: 1, hash: Digest([1; 32]), entry: vec![1] };
    let again = item.clone();
    store.write(move |tx| tx.put_ledger_row(&item)).await.unwrap();
    assert!(store.write(move |tx| tx.put_ledger_row(&again)).await.is_err());
    assert_eq!(store.read(|v| v.position()).await.unwrap().entries, 1);
}

#[tokio::test]
async fn a_words_number_is_never_given_twice_though_the_outbox_ran_empty() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("core.db");
    let mut last = 0;
    for _ in 0..3 {
        let store = store::Store::open(&path).unwrap();
        for word in [&b"one"[..], b"two"] {
            store.write(move |tx| tx.say(word)).await.unwrap();
            let words = store.read(|v| v.words(10)).await.unwrap();
            assert_eq!(words.len(), 1, "what the vault has is not said again");
            assert!(words[0].0 > last, "{} after {last}", words[0].0);
            last = words[0].0;
            store.write(move |tx| tx.said(last)).await.unwrap();
            assert_eq!(store.read(|v| v.count_words()).await.unwrap(), 0);
        }
    }
}

#[tokio::test]
async fn an_orders_newest_command_for_a_phone_ends_those_before_it_and_no_other_orders_or_phones() {
    let (_dir, store) = open();
    let queued = |v: &store::View<'_>| v.commands(&CommandFilter { limit: 9, ..CommandFilter::default() });
    store
        .write(|tx| {
            let (one, two) = (invite(tx, 1)?, invite(tx, 2)?);
            let number = |n, order| tx.put_command(&NewCommand { order, ..warranted(n) });
            let (own, other) = (Some(OrderId([1; 16])), Some(OrderId([2; 16])));
            let (old, others, newest) = (number(7, own)?, number(8, other)?, number(9, own)?);
            for (slot, number) in [(one, old), (one, others), (one, newest), (two, old)] {
                tx.queue(slot, number, None)?;
            }
            assert_eq!(tx.cancel_order_for(one, OrderId([1; 16]), Some(newest), 600)?, 1);
            Ok(())
        })
        .await
        .unwrap();
    let found = store.read(queued).await.unwrap();
    let ended: Vec<_> = found.iter().filter(|c| c.state == CommandState::Cancelled).collect();
    assert_eq!((found.len(), ended.len(), ended[0].command), (4, 1, CommandId([7; 16])));
    store.write(|tx| tx.cancel_order_for(Slot(1), OrderId([1; 16]), None, 700)).await.unwrap();
    let left = store.read(queued).await.unwrap();
    assert_eq!(left.iter().filter(|c| c.state.is_open()).count(), 2);
}

#[tokio::test]
async fn a_warrant_that_lasts_as_long_as_its_order_is_not_asked_for_again() {
    let (_dir, store) = open();
    let due = |now_ms| store.read(move |v| Ok(v.warrants_due(now_ms, now_ms + 5_000, 10)?.len()));
    store
        .write(|tx| {
            let slot = invite(tx, 1)?;
            let number = tx.put_command(&warranted(7))?;
            tx.queue(slot, number, Some((b"warrant", 6_000)))?;
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(due(500).await.unwrap(), 0, "it lasts");
    assert_eq!(due(4_000).await.unwrap(), 1, "it ends before the order does");
    store.write(|tx| tx.renew_warrant(Slot(1), 1, b"another", 10_000)).await.unwrap();
    assert_eq!(due(6_000).await.unwrap(), 0, "it ends with the order");
}

#[tokio::test]
async fn what_phones_begin_and_end_is_judged_by_what_is_kept_of_them() {
    let (_dir, store) = open();
    let state = |n| store.read(move |v| Ok(v.find_enrolment(enrolment(n))?.unwrap().state));
    let begins = |slot: i64, tag: u8| store.write(move |tx| tx.authenticate(Slot(slot), &[tag; 16], 5));
    let ends = |slot: i64, by| store.write(move |tx| tx.end(Slot(slot), by, 6));
    store.write(|tx| (1..=2).try_for_each(|n| invite(tx, n).map(drop))).await.unwrap();
    store.write(|tx| tx.withdraw(Slot(1), 2)).await.unwrap();
    assert!(!begins(1, 1).await.unwrap(), "an invitation that was taken back stays so");
    assert_eq!(state(1).await.unwrap(), EnrolmentState::Withdrawn);

    assert!(begins(2, 2).await.unwrap() && begins(2, 2).await.unwrap());
    assert!(!begins(2, 3).await.unwrap(), "another phone's tag is not bound in the first one's place");
    assert!(ends(2, Some(enrolment(9))).await.unwrap());
    assert!(!ends(2, None).await.unwrap(), "one that was replaced does not leave again");
    assert_eq!(state(2).await.unwrap(), EnrolmentState::Replaced);
    assert!(!begins(2, 2).await.unwrap());
}

#[tokio::test]
async fn a_phone_that_left_is_not_asked_for_its_apps_and_an_order_that_nobody_answered_has_failed() {
    let (_dir, store) = open();
    let app = |slot: i64| store.read(move |v| Ok(v.app_requests(Slot(slot))?.remove(0)));
    let due = || store.read(|v| Ok(v.app_checks_due(i64::MAX, 10)?.len()));
    store
        .write(|tx| {
            for n in [1, 2] {
                let slot = invite(tx, n)?;
                tx.authenticate(slot, &[n; 16], 2)?;
                tx.enrol(slot, 3, 1000)?;
                let number = tx.put_command(&warranted(n))?;
                tx.queue(slot, number, Some((b"warrant", 6_000)))?;
                tx.request_app(slot, "org.example.rota", true, number, 5)?;
            }
            tx.app_answered(Slot(1), 1, None, 6)?;
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(due().await.unwrap(), 1);
    store.write(|tx| tx.end(Slot(1), None, 7)).await.unwrap();
    assert_eq!(due().await.unwrap(), 0);

    store.write(|tx| tx.close(Slot(2), 2, CommandState::Expired, 8)).await.unwrap();
    let failed = app(2).await.unwrap();
    assert_eq!((failed.state, failed.reason.as_str()), (store::AppRequestState::Failed, "expired"));
    store.write(|tx| tx.forget_history(20_000, 100)).await.unwrap();
    assert_eq!(app(2).await.unwrap(), failed, "also when its command is forgotten");
}

#[tokio::test]
async fn a_last_seen_time_that_lay_ahead_is_set_right() {
    let (_dir, store) = open();
    store.write(|tx| invite(tx, 1).map(drop)).await.unwrap();
    for at_ms in [1_000_000, 500] {
        store.write(move |tx| tx.seen(&[(Slot(1), at_ms)])).await.unwrap();
        let found = store.read(|v| v.find_enrolment(enrolment(1))).await.unwrap().unwrap();
        assert_eq!(found.last_seen_at_ms, at_ms);
    }
}

#[tokio::test]
async fn reads_that_nobody_waits_for_any_more_keep_their_places() {
    let (_dir, store) = open();
    let (begun, mut began) = tokio::sync::mpsc::unbounded_channel();
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Arc::new(std::sync::Mutex::new(gate));
    // More than there are places; each is given up once it reads.
    let mut reading = 0;
    loop {
        let (begun, gate) = (begun.clone(), gate.clone());
        let read = store.read(move |_| {
            begun.send(()).unwrap();
            let _ = gate.lock().unwrap().recv();
            Ok(())
        });
        let asked = tokio::time::timeout(std::time::Duration::from_millis(300), read);
        assert!(asked.await.is_err());
        if began.try_recv().is_err() {
            break;
        }
        reading += 1;
        assert!(reading < 100, "a place is given back while its thread still reads");
    }
    drop(go);
    store.read(|_| Ok(())).await.unwrap();
}

#[tokio::test]
async fn a_phone_that_names_ever_new_things_in_parts_comes_to_an_end_and_keeps_what_it_has() {
    let (_dir, store) = open();
    let part = |n: usize| -> Vec<SealedUpdate> {
        (0..2048).map(|i| row(&format!("users.list.{}", n * 2048 + i), 1, 1)).collect()
    };
    let put =
        |rows: Vec<SealedUpdate>| store.write(move |tx| tx.put_sealed(Slot(1), "status", &rows, false, 5));
    store.write(|tx| invite(tx, 1).map(drop)).await.unwrap();
    for n in 0..4 {
        assert_eq!(put(part(n)).await.unwrap(), 2048);
    }
    assert_eq!(put(part(4)).await.unwrap(), 0, "no more");
    assert_eq!(put(vec![row("users.list.7", 2, 1)]).await.unwrap(), 1, "what is there may change");
    let app = |n: u32| App {
        identifier: format!("org.example.{n}"),
        version: "1".into(),
        short_version: "1".into(),
    };
    let most = store::MOST_APPS_OF_ONE;
    store
        .write(move |tx| (0..=most).try_for_each(|n| tx.change_app(Slot(1), "status", &app(n), false)))
        .await
        .unwrap();
    let there = store.read(|v| v.apps(Slot(1))).await.unwrap();
    assert_eq!(there.len(), most as usize);
}

#[tokio::test]
async fn what_a_phone_reported_is_forgotten_some_time_after_it_left_but_its_escrow() {
    let (dir, store) = open();
    let escrow = SealedUpdate {
        row: SealedRow { compartment: Compartment::Escrow, ..row("UnlockToken", 1, 1).row },
        indexed: false,
    };
    store
        .write(move |tx| {
            for n in [1, 2] {
                let slot = invite(tx, n)?;
                tx.authenticate(slot, &[n; 16], 2)?;
                tx.put_sealed(slot, "x", &[row("IMEI", 1, 1), escrow.clone()], true, 3)?;
                tx.put_clear(slot, "x", &[("IsMDMLostModeEnabled".into(), "true".into())], true, 3)?;
                let app =
                    App { identifier: "org.example".into(), version: "1".into(), short_version: "1".into() };
                tx.put_apps(slot, "x", &[app])?;
            }
            tx.end(Slot(1), None, 100)
        })
        .await
        .unwrap();
    let left = |before_ms| store.read(move |v| v.left_before(before_ms, 10));
    assert!(left(100).await.unwrap().is_empty());
    assert_eq!(left(101).await.unwrap(), [Slot(1)]);
    store.write(|tx| tx.forget_reported(Slot(1))).await.unwrap();
    assert!(left(101).await.unwrap().is_empty(), "it is done once");
    let kept = |slot: i64| {
        store.read(move |v| {
            let sealed = |name| Ok::<_, StoreError>(v.find_sealed(Slot(slot), name)?.is_some());
            Ok((
                sealed("IMEI")?,
                sealed("UnlockToken")?,
                v.apps(Slot(slot))?.len(),
                v.clear_fields(Slot(slot))?.len(),
            ))
        })
    };
    assert_eq!(kept(1).await.unwrap(), (false, true, 0, 0));
    let columns = rusqlite::Connection::open(dir.path().join("core.db")).unwrap();
    let lost = |slot: i64| {
        let sql = "SELECT said_lost FROM enrolments WHERE slot = ?1";
        columns.query_row(sql, [slot], |r| r.get::<_, Option<String>>(0)).unwrap()
    };
    assert_eq!((lost(1), lost(2)), (None, Some("true".into())), "what rules ask of too");
    assert_eq!(kept(2).await.unwrap(), (true, true, 1, 1));
}

#[tokio::test]
async fn what_was_ordered_is_found_behind_any_number_of_questions() {
    let (_dir, store) = open();
    store
        .write(|tx| {
            let slot = invite(tx, 1)?;
            for new in std::iter::once(warranted(1)).chain((2..60).map(|n| query(n, 10_000))) {
                let number = tx.put_command(&new)?;
                tx.queue(slot, number, None)?;
            }
            Ok(())
        })
        .await
        .unwrap();
    let found = |ordered| {
        let filter = CommandFilter { slot: Some(Slot(1)), ordered, limit: 5, ..CommandFilter::default() };
        store.read(move |v| Ok(v.commands(&filter)?.iter().map(|c| c.command.0[0]).collect::<Vec<_>>()))
    };
    assert_eq!(found(true).await.unwrap(), [1]);
    assert_eq!(found(false).await.unwrap(), [59, 58, 57, 56, 55]);
}
