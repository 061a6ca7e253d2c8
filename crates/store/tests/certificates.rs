//! Certificates and standing orders in the database: who is due, late, renewed, restored.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use model::{CommandId, Digest, EnrolmentId, LinkHash, OrderId, StandingTemplate, TimeMs};
use store::{
    CertificateState as S, NewCertificate, NewCommand, NewInvitation, RenewalWindow, Slot, StandingRecord,
    Store, StoreError, Tx,
};

const BEFORE_MS: TimeMs = 300;
const STANDING: OrderId = OrderId([9; 16]);

fn enrolment(n: u8) -> EnrolmentId {
    EnrolmentId([n; 16])
}

fn certificate(n: u8, not_after_ms: TimeMs) -> NewCertificate {
    NewCertificate { digest: Digest([n; 32]), not_after_ms, at_ms: 10 }
}

/// An enrolled phone whose certificate ends then.
fn enrolled(tx: &Tx<'_>, n: u8, not_after_ms: TimeMs) -> Result<Slot, StoreError> {
    let slot = tx.invite(&NewInvitation {
        enrolment: enrolment(n),
        link: LinkHash([n; 32]),
        group: "ward-7".into(),
        expires_at_ms: 1000,
        invited_at_ms: 1,
    })?;
    tx.issue(slot, 2)?;
    tx.authenticate(slot, &[n; 16], 3)?;
    tx.enrol(slot, 4, 1_000_000)?;
    assert!(tx.put_certificate(slot, &certificate(n, not_after_ms))?);
    Ok(slot)
}

fn open() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("core.db")).unwrap();
    (dir, store)
}

fn at(now_ms: TimeMs) -> RenewalWindow {
    RenewalWindow { now_ms, before_ms: BEFORE_MS }
}

async fn states(store: &Store, now_ms: TimeMs) -> Vec<(u8, S)> {
    let read = store.read(move |v| v.certificates(at(now_ms), None, None, None, 100));
    read.await.unwrap().into_iter().map(|c| (c.enrolment.0[0], c.state)).collect()
}

async fn due(store: &Store, now_ms: TimeMs, retry_ms: TimeMs) -> Vec<u8> {
    let read = store.read(move |v| v.certificates_due(at(now_ms), STANDING, retry_ms, 100));
    read.await.unwrap().into_iter().map(|(_, e)| e.0[0]).collect()
}

#[tokio::test]
async fn phones_stand_by_the_end_of_their_certificates_the_first_to_end_first() {
    let (_dir, store) = open();
    store
        .write(|tx| {
            for (n, ends) in [(1, 2000), (2, 1200), (3, 1000), (4, 1090), (5, 1250)] {
                let slot = enrolled(tx, n, ends)?;
                if n == 5 {
                    tx.asked_to_renew(slot, 990)?;
                }
            }
            Ok(())
        })
        .await
        .unwrap();
    let all = [(3, S::Expired), (4, S::Late), (2, S::Due), (5, S::Asked), (1, S::Ok)];
    assert_eq!(states(&store, 1000).await, all);
    let mut counted = store.read(|v| v.count_certificates(at(1000))).await.unwrap();
    counted.sort();
    assert_eq!(counted, [(S::Due, 1), (S::Asked, 1), (S::Late, 1), (S::Expired, 1)]);
    let late =
        store.read(|v| v.certificates(at(1000), Some(S::Late), Some("ward-7"), None, 9)).await.unwrap();
    assert_eq!(late.len(), 1);
    let page = |after| store.read(move |v| v.certificates(at(1000), None, None, after, 3));
    let first = page(None).await.unwrap();
    let second = page(first.last().map(|c| c.place)).await.unwrap();
    assert_eq!((first.len(), second.len()), (3, 2));
    // Whoever has run out can't be asked; whoever was asked just now is not asked again.
    assert_eq!(due(&store, 1000, 500).await, [4, 2]);
    assert_eq!(due(&store, 1000, 995).await, [4, 2, 5]);
    assert_eq!(store.read(|v| v.next_certificate_end(1300)).await.unwrap(), Some(2000));
}

#[tokio::test]
async fn a_phone_with_an_open_command_of_the_standing_order_is_not_asked_twice() {
    let (_dir, store) = open();
    store
        .write(|tx| {
            let slot = enrolled(tx, 1, 1100)?;
            let number = tx.put_command(&NewCommand {
                command: CommandId([1; 16]),
                order: Some(STANDING),
                request_type: "InstallProfile".into(),
                query: None,
                body: vec![1],
                sealed: true,
                created_at_ms: 1000,
                expires_at_ms: 5000,
            })?;
            tx.queue(slot, number, None)?;
            Ok(())
        })
        .await
        .unwrap();
    assert!(due(&store, 1000, 999).await.is_empty());
    let made = StandingRecord {
        order: STANDING,
        template: StandingTemplate::RenewCertificates { before_ms: BEFORE_MS },
        cap_an_hour: 5,
        made_at_ms: 1,
        expires_at_ms: 9000,
        ended_at_ms: None,
        uses: 0,
        used_at_ms: None,
    };
    let put = made.clone();
    store.write(move |tx| tx.put_standing(&put)).await.unwrap();
    store.write(|tx| tx.standing_used(STANDING, 1000)).await.unwrap();
    // Its end calls back what it asked.
    store.write(|tx| tx.end_standing(STANDING, 1001)).await.unwrap();
    let ended = StandingRecord { ended_at_ms: Some(1001), uses: 1, used_at_ms: Some(1000), ..made };
    assert_eq!(store.read(|v| v.standing_orders()).await.unwrap(), [ended]);
    assert_eq!(due(&store, 1002, 1001).await, [1]);
}

#[tokio::test]
async fn a_renewed_certificate_retires_the_one_before_once_it_is_used_and_a_restored_one_counts_again() {
    let (_dir, store) = open();
    let slot = store.write(|tx| enrolled(tx, 1, 1100)).await.unwrap();
    let (old, new) = (Digest([1; 32]), Digest([2; 32]));
    let known = || store.read(move |v| v.find_renewed(slot, enrolment(1)));
    assert_eq!(known().await.unwrap(), None, "one certificate: nothing to compare");
    assert!(!store.write(move |tx| tx.put_certificate(slot, &certificate(1, 1100))).await.unwrap());
    let renewed = NewCertificate { at_ms: 1000, ..certificate(2, 9000) };
    assert!(store.write(move |tx| tx.put_certificate(slot, &renewed)).await.unwrap());
    let found = known().await.unwrap().unwrap();
    assert_eq!((found.used, found.newest, found.retired), (old, new, None));
    // Given and not yet used: the end that counts is the old one's, and it is left alone for a while.
    assert_eq!(states(&store, 1000).await, [(1, S::Late)]);
    assert!(due(&store, 1000, 900).await.is_empty());
    assert_eq!(due(&store, 1000, 1001).await, [1], "its installation failed");

    assert!(store.write(move |tx| tx.take_certificate(slot, new, 1010)).await.unwrap());
    assert!(!store.write(move |tx| tx.take_certificate(slot, new, 1020)).await.unwrap(), "once");
    let found = known().await.unwrap().unwrap();
    assert_eq!((found.used, found.retired), (new, Some((old, 1010))));
    assert_eq!(states(&store, 1020).await, [(1, S::Ok)]);

    assert!(store.write(move |tx| tx.restore_certificate(slot, old)).await.unwrap());
    assert_eq!(states(&store, 1020).await, [(1, S::Late)]);
    let third = NewCertificate { at_ms: 1030, ..certificate(3, 9500) };
    store.write(move |tx| tx.put_certificate(slot, &third)).await.unwrap();
    assert!(store.write(|tx| tx.take_certificate(Slot(1), Digest([3; 32]), 1040)).await.unwrap());
    let found = known().await.unwrap().unwrap();
    assert_eq!(found.retired, Some((old, 1010)), "it was retired before, and its days go on");
    assert_eq!(store.read(|v| v.renewed()).await.unwrap(), [found]);
}

#[tokio::test]
async fn a_database_of_before_the_table_is_filled_once_and_nothing_in_it_is_turned_back() {
    let (_dir, store) = open();
    assert!(!store.read(|v| v.lacks_certificates()).await.unwrap());
    store
        .write(|tx| {
            let slot = tx.invite(&NewInvitation {
                enrolment: enrolment(7),
                link: LinkHash([7; 32]),
                group: "ward-7".into(),
                expires_at_ms: 1000,
                invited_at_ms: 1,
            })?;
            tx.issue(slot, 2)
        })
        .await
        .unwrap();
    assert!(store.read(|v| v.lacks_certificates()).await.unwrap());
    let fill = |c: NewCertificate| store.write(move |tx| tx.fill_certificate(Slot(1), &c));
    fill(certificate(1, 1100)).await.unwrap();
    fill(certificate(2, 9000)).await.unwrap();
    assert!(!store.read(|v| v.lacks_certificates()).await.unwrap());
    assert_eq!(store.read(|v| v.find_renewed(Slot(1), enrolment(7))).await.unwrap(), None);
}
