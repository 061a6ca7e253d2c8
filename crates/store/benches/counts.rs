//! `cargo bench -p store --bench counts`: what counting over 100,000 phones takes: whom a device group of all of them holds, and how
//! they stand with a profile. Each look is on one reader, after a write, as in a house where phones check in; the median and the slowest
//! of several. The database lies under the build's target directory; set `TMPDIR` to measure another disk.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use model::{CommandId, Condition, DeviceGroupRule, EnrolmentId, Join, LinkHash, ProfileId};
use store::{CommandState, Members, NewCommand, NewInvitation, Slot, Store, StoreError, Tx, View};
use tempfile::TempDir;

const PHONES: u32 = 100_000;
const AT_ONCE: u32 = 1_000;
const LOOKS: usize = 21;
const OS_VERSIONS: [&str; 8] = ["16.7.10", "17.5.1", "17.6.1", "17.7", "18.0", "18.1", "18.1.1", "18.2"];
/// Nine phones in ten have this one.
const HELD: ProfileId = ProfileId([7; 16]);
/// All of them were asked for this one, and may still answer.
const ASKED: ProfileId = ProfileId([8; 16]);

fn id(n: u32) -> [u8; 16] {
    let mut id = [9; 16];
    id[..4].copy_from_slice(&n.wrapping_mul(0x9e37_79b1).to_be_bytes());
    id[4..8].copy_from_slice(&n.to_be_bytes());
    id
}

fn command(tx: &Tx<'_>, n: u32, profile: ProfileId) -> Result<(CommandId, i64), StoreError> {
    let command = CommandId(id(n));
    let number = tx.put_command(&NewCommand {
        command,
        order: None,
        request_type: "InstallProfile".into(),
        query: None,
        body: vec![1],
        sealed: false,
        created_at_ms: 1,
        expires_at_ms: 1_000_000,
    })?;
    tx.put_profile_command(number, profile, 1)?;
    Ok((command, number))
}

fn phone(
    tx: &Tx<'_>,
    n: u32,
    (command, held): (CommandId, i64),
    (_, asked): (CommandId, i64),
) -> Result<Slot, StoreError> {
    let mut link = [0; 32];
    link[..16].copy_from_slice(&id(n));
    let slot = tx.invite(&NewInvitation {
        enrolment: EnrolmentId(id(n)),
        link: LinkHash(link),
        group: format!("ward-{}", n % 200),
        expires_at_ms: 1_000,
        invited_at_ms: 1,
    })?;
    tx.issue(slot, 2)?;
    tx.authenticate(slot, &id(n), 3)?;
    tx.enrol(slot, 4, 5)?;
    tx.describe(
        slot,
        Some(n.is_multiple_of(2)),
        Some(OS_VERSIONS[n as usize % OS_VERSIONS.len()]),
        Some("iPhone14,5"),
    )?;
    if !n.is_multiple_of(10) {
        tx.queue(slot, held, Some((&[1], 1_000_000)))?;
        tx.ask_profile(slot, HELD, 1, held, 5)?;
        tx.mark_sent(slot, held, 5)?;
        tx.finish(slot, command, CommandState::Acknowledged, &[], 6)?;
        tx.profile_answered(slot, held, true, 6)?;
    }
    tx.queue(slot, asked, Some((&[1], 1_000_000)))?;
    tx.ask_profile(slot, ASKED, 1, asked, 7)?;
    Ok(slot)
}

async fn filled(store: &Store) {
    let (held, asked) = store
        .write(|tx| Ok((command(tx, u32::MAX, HELD)?, command(tx, u32::MAX - 1, ASKED)?)))
        .await
        .unwrap();
    for first in (0..PHONES).step_by(AT_ONCE as usize) {
        store
            .write(move |tx| (first..first + AT_ONCE).try_for_each(|n| phone(tx, n, held, asked).map(drop)))
            .await
            .unwrap();
    }
}

async fn looked(store: &Store, what: &str, look: fn(&View<'_>) -> Result<u64, StoreError>) {
    let mut times = Vec::new();
    let mut found = 0;
    for n in 0..LOOKS {
        let slot = Slot(i64::try_from(n).unwrap() + 1);
        store.write(move |tx| tx.describe(slot, Some(true), Some("18.1"), None)).await.unwrap();
        let began = Instant::now();
        found = store.read(look).await.unwrap();
        times.push(began.elapsed());
    }
    times.sort();
    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    println!(
        "{what:<58}{:>8.1} ms, slowest {:>6.1}, found {found}",
        ms(times[LOOKS / 2]),
        ms(times[LOOKS - 1])
    );
}

/// A device group that all of them are in.
fn all() -> Members {
    let conditions = vec![Condition::OsAtLeast("1".parse().unwrap())];
    Members::of_rule(DeviceGroupRule { join: Join::All, conditions }, 5)
}

fn stand(v: &View<'_>, profile: ProfileId) -> Result<u64, StoreError> {
    let mut n = 0;
    v.stand_with(profile, &v.member_slots(&all(), None)?, |m| {
        n += u64::from(m.confirmed + m.asked.unwrap_or(0))
    })?;
    Ok(n)
}

fn main() {
    let dir =
        TempDir::new_in(std::env::var("TMPDIR").unwrap_or(env!("CARGO_TARGET_TMPDIR").to_owned())).unwrap();
    let store = Store::open(&dir.path().join("core.db")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let began = Instant::now();
        filled(&store).await;
        println!("{PHONES} phones written in {:.1} s", began.elapsed().as_secs_f64());
        looked(&store, "a device group's phones, counted", |v| v.count_members(&all(), None)).await;
        looked(&store, "a device group's phones, all of them", |v| {
            Ok(v.member_slots(&all(), None)?.len() as u64)
        })
        .await;
        looked(&store, "which profiles they hold", |v| {
            Ok(v.profiles_held(&v.member_slots(&all(), None)?)?.values().sum())
        })
        .await;
        looked(&store, "how they stand with a profile that 9 in 10 hold", |v| stand(v, HELD)).await;
        looked(&store, "how they stand with a profile that all were asked for", |v| stand(v, ASKED)).await;
        looked(&store, "a profile's phones by version, 9 in 10 hold it", |v| {
            Ok(v.profile_phone_counts(HELD, None)?.iter().map(|c| u64::from(c.confirmed)).sum())
        })
        .await;
        looked(&store, "a profile's phones by version, all were asked for it", |v| {
            Ok(v.profile_phone_counts(ASKED, None)?.iter().map(|c| u64::from(c.asked)).sum())
        })
        .await;
    });
}
