//! What goes on beside the check-ins: core's words to the vault, index entries, key statements,
//! pushes, and upkeep.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::{EnrolmentId, TimeMs};
use rpc::proto::{
    CoreWords, IndexRequest, PhoneRow, PushOutcome, PushRequest, PushResult, PushTarget, Statement,
    StatementRequest, courier_client::CourierClient, door_client::DoorClient,
};
use seal::SearchField;
use store::{CommandState, PushState, Slot, StoreError};

use crate::checkin::{ask_vault, renew_warrants};
use crate::declarations;
use crate::queries::{INVENTORY, ask_phones};
use crate::room::{Room, asked};

/// Brings core's words to the vault, in order. They wait in the store until the vault has them.
pub(crate) async fn words(room: Arc<Room>) {
    loop {
        match say_some(&room).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(e) => tracing::error!(store.error = %e, "core's words could not be read"),
        }
        let _ = tokio::time::timeout(Duration::from_secs(5), room.words_due.notified()).await;
    }
}

async fn say_some(room: &Room) -> Result<bool, StoreError> {
    let words = room.store.read(|v| v.words(256)).await?;
    let Some(last) = words.last().map(|w| w.0) else { return Ok(false) };
    let (numbers, bodies) = words.into_iter().map(|(n, body)| (n.unsigned_abs(), body)).unzip();
    let bodies = CoreWords { bodies, numbers };
    if ask_vault(room, "witness", |mut v| async move { v.witness(bodies).await }).await.is_err() {
        return Ok(false);
    }
    room.store.write(move |tx| tx.said(last)).await?;
    Ok(true)
}

/// Has the vault make index entries for rows that changed. What is due lies in the store, so a crash
/// loses none of it.
pub(crate) async fn indexing(room: Arc<Room>) {
    loop {
        match index_some(&room).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(e) => tracing::error!(store.error = %e, "index entries could not be kept"),
        }
        let _ = tokio::time::timeout(Duration::from_secs(10), room.index_due.notified()).await;
    }
}

async fn index_some(room: &Room) -> Result<bool, StoreError> {
    let due = room.store.read(|v| v.index_due(256)).await?;
    if due.is_empty() {
        return Ok(false);
    }
    let rows = due.iter().map(|(_, enrolment, row)| PhoneRow {
        enrolment: enrolment.0.to_vec(),
        row: Some(rpc::row_to(row.clone())),
    });
    let request = IndexRequest { rows: rows.collect() };
    let Ok(answer) = ask_vault(room, "index", |mut v| async move { v.index(request).await }).await else {
        return Ok(false);
    };
    let mut found: BTreeMap<(Vec<u8>, String), Vec<Vec<u8>>> = BTreeMap::new();
    for e in answer.entries {
        found.entry((e.enrolment, e.name)).or_default().push([e.r, e.prf].concat());
    }
    room.store
        .write(move |tx| {
            for (slot, enrolment, row) in due {
                // A row that the vault can't read or that is no such value gets none, and is done.
                let entries = found.remove(&(enrolment.0.to_vec(), row.name.clone())).unwrap_or_default();
                let field = SearchField::of(&row.name).map_or("", SearchField::name);
                tx.put_index(field, slot, &row.name, &row.ciphertext, &entries)?;
            }
            Ok(true)
        })
        .await
}

/// How often the vault is asked for its statement. It makes a new one once a day; this often, since a clock
/// that jumps ends one at any moment, and without one no phone is served.
const STATEMENT_PERIOD: Duration = Duration::from_secs(10);

/// Keeps the newest key statement, and hands it to door and courier: at the start, again and again, and to
/// each that was started anew.
pub(crate) async fn statements(room: Arc<Room>) {
    let mut vaults = room.vault.changes();
    let mut doors = room.door.changes();
    let mut couriers = room.courier.changes();
    let mut fetch = true;
    loop {
        let mut fetched = true;
        if fetch {
            fetched = fetch_statement(&room).await;
        }
        let door = doors.borrow_and_update().clone();
        let courier = couriers.borrow_and_update().clone();
        hand_on(&room, door, courier).await;
        let pause = if fetched { STATEMENT_PERIOD } else { Duration::from_secs(5) };
        fetch = tokio::select! {
            c = vaults.changed() => { if c.is_err() { return } true }
            c = doors.changed() => { if c.is_err() { return } !fetched }
            c = couriers.changed() => { if c.is_err() { return } !fetched }
            () = room.statement_due.notified() => true,
            () = tokio::time::sleep(pause) => true,
        };
    }
}

pub(crate) async fn fetch_statement(room: &Room) -> bool {
    let asked =
        ask_vault(room, "statement", |mut v| async move { v.current_statement(StatementRequest {}).await });
    let Ok(statement) = asked.await else { return false };
    let believed = room.trust.believe(&statement, &*room.clock);
    if !believed.refused.is_empty() {
        tracing::error!(reason = believed.refused, "the vault's key statement is not believed");
        return false;
    }
    room.statement.send_replace(Some(statement.signed));
    true
}

async fn hand_on(
    room: &Room,
    door: Option<tonic::transport::Channel>,
    courier: Option<tonic::transport::Channel>,
) {
    let Some(signed) = room.statement.borrow().clone() else { return };
    let patience = Duration::from_secs(5);
    if let Some(channel) = door {
        let mut door = DoorClient::new(channel);
        let said = asked("believe", patience, door.believe(Statement { signed: signed.clone() })).await;
        if let Ok(b) = &said {
            room.door_epoch.store(b.epoch, std::sync::atomic::Ordering::Relaxed);
        }
        if said.is_ok_and(|b| !b.refused.is_empty()) {
            tracing::error!("the door does not believe the key statement");
        }
    }
    if let Some(channel) = courier {
        let mut courier = CourierClient::new(channel);
        let said = asked("believe", patience, courier.believe(Statement { signed })).await;
        if said.is_ok_and(|b| !b.refused.is_empty()) {
            tracing::error!("the courier does not believe the key statement");
        }
    }
}

/// How many commands that ran out are looked for at once.
const EXPIRE_AT_ONCE: u32 = 5000;
/// How often warrants are asked for in a minute at most.
const ROUNDS_A_MINUTE: usize = 50;

/// How many phones one call to the courier names.
const PUSHES_AT_ONCE: usize = 200;
/// A push that the courier could not take is tried again after so long.
const COURIER_AWAY_MS: TimeMs = 15_000;
/// With no push certificate configured there is little use in asking often.
const NOT_CONFIGURED_MS: TimeMs = 10 * model::clock::MINUTE_MS;

/// Wakes phones for which something waits.
pub(crate) async fn pushes(room: Arc<Room>) {
    loop {
        let now_ms = room.now_ms();
        let (due, next) = room.fleet.due_pushes(now_ms, PUSHES_AT_ONCE);
        if due.is_empty() {
            let wait_ms = next.map_or(60_000, |at| (at - now_ms).clamp(10, 60_000));
            let wait = Duration::from_millis(u64::try_from(wait_ms).unwrap_or(1000));
            let _ = tokio::time::timeout(wait, room.fleet.push_due.notified()).await;
            continue;
        }
        if let Err(e) = push(&room, due, now_ms).await {
            tracing::error!(store.error = %e, "phones could not be pushed");
        }
    }
}

async fn push(room: &Arc<Room>, due: Vec<(EnrolmentId, Slot)>, now_ms: TimeMs) -> Result<(), StoreError> {
    let asked_for = due.clone();
    let (targets, mut tokens) = room
        .store
        .read(move |v| {
            let (mut targets, mut tokens) = (Vec::with_capacity(asked_for.len()), BTreeMap::new());
            for (enrolment, slot) in asked_for {
                if let (Some(token), Some(magic)) =
                    (v.find_sealed(slot, "Token")?, v.find_sealed(slot, "PushMagic")?)
                {
                    tokens.insert(enrolment, token.ciphertext.clone());
                    targets.push(PushTarget {
                        enrolment: enrolment.0.to_vec(),
                        token: Some(rpc::row_to(token)),
                        magic: Some(rpc::row_to(magic)),
                    });
                }
            }
            Ok((targets, tokens))
        })
        .await?;
    let outcomes = match room.courier().await {
        Ok(mut courier) => {
            let request = PushRequest { targets };
            asked("push", Duration::from_secs(60), courier.push(request)).await
        }
        Err(away) => Err(away),
    };
    let Ok(reply) = outcomes else {
        for (enrolment, _) in due {
            room.fleet.push_again(enrolment, now_ms + COURIER_AWAY_MS);
        }
        return Ok(());
    };
    for outcome in reply.outcomes {
        let Ok(enrolment) = rpc::enrolment_id(&outcome.enrolment) else { continue };
        pushed(room, enrolment, tokens.remove(&enrolment), &outcome, now_ms).await?;
    }
    Ok(())
}

/// What Apple said of the push to that token, as it lies sealed.
async fn pushed(
    room: &Arc<Room>,
    enrolment: EnrolmentId,
    token: Option<Vec<u8>>,
    outcome: &PushOutcome,
    now_ms: TimeMs,
) -> Result<(), StoreError> {
    let again = |after_ms| room.fleet.push_again(enrolment, now_ms + after_ms);
    if outcome.result() == PushResult::Accepted {
        room.counters.pushes_accepted.inc();
        return Ok(());
    }
    room.counters.pushes_failed.inc();
    match outcome.result() {
        PushResult::Unregistered => {
            if let Some(slot) = room.fleet.slot(enrolment) {
                // A token that came while Apple was asked is another one, of which it said nothing.
                let gone = room.store.write(move |tx| {
                    let pushed = tx.find_sealed(slot, "Token")?.map(|row| row.ciphertext) == token;
                    if pushed {
                        tx.set_push(slot, PushState::Unregistered)?;
                    }
                    Ok(pushed)
                });
                if !gone.await? {
                    again(0);
                    return Ok(());
                }
                room.fleet.update(enrolment, |p| p.push = PushState::Unregistered);
            }
            tracing::info!(enrolment.id = %enrolment, "Apple no longer knows the phone's push token");
        }
        PushResult::Later => {
            let after_ms = TimeMs::try_from(outcome.retry_after_ms).unwrap_or(0);
            again(after_ms.clamp(30_000, model::clock::DAY_MS));
        }
        PushResult::NotConfigured => again(NOT_CONFIGURED_MS),
        _ => {
            tracing::warn!(enrolment.id = %enrolment, push.result = ?outcome.result(), "a push was refused");
            again(model::clock::DAY_MS);
        }
    }
    Ok(())
}

/// Flushes last-seen times, asks for inventories that are due, expires, renews warrants, forgets.
pub(crate) async fn upkeep(room: Arc<Room>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(5));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for n in 0_u64.. {
        ticks.tick().await;
        // Before whatever may fail: holders' codes lie in these.
        room.holders.drop_expired(room.now_ms());
        let mut done = flush_seen(&room).await;
        if n % 12 == 0 && done.is_ok() {
            done = every_minute(&room).await;
        }
        if n % 720 == 0 && done.is_ok() {
            done = every_hour(&room).await;
        }
        if let Err(e) = done {
            tracing::error!(store.error = %e, "upkeep could not be done; trying again");
        }
    }
}

/// Writes the last-seen times that wait.
pub(crate) async fn flush_seen(room: &Room) -> Result<(), StoreError> {
    let seen = room.fleet.take_seen();
    for chunk in seen.chunks(500) {
        let chunk = chunk.to_vec();
        room.store.write(move |tx| tx.seen(&chunk)).await?;
    }
    Ok(())
}

pub(crate) async fn every_minute(room: &Arc<Room>) -> Result<(), StoreError> {
    let now_ms = room.now_ms();
    let due = room.store.read(move |v| v.inventory_due(now_ms, 1000)).await?;
    if !due.is_empty() {
        let told = declarations::told_by_status(room, &due, now_ms).await?;
        let (told, others): (Vec<_>, Vec<_>) = due.iter().copied().partition(|(slot, _)| told.contains(slot));
        ask_phones(room, others, INVENTORY.to_vec()).await?;
        let left = INVENTORY.into_iter().filter(|q| *q != declarations::COVERED);
        ask_phones(room, told, left.collect()).await?;
        for chunk in due.chunks(250) {
            let next: Vec<(Slot, TimeMs)> =
                chunk.iter().map(|(slot, e)| (*slot, room.inventory_due_ms(*e, now_ms))).collect();
            room.store
                .write(move |tx| next.into_iter().try_for_each(|(slot, at)| tx.set_inventory_due(slot, at)))
                .await?;
        }
    }
    crate::apps::check(room).await?;
    crate::submit::end_pending(room).await?;
    expire(room, now_ms).await?;
    // Whatever is wrong with what comes back: the minute's other work goes on.
    for _ in 0..ROUNDS_A_MINUTE {
        if !renew_warrants(room).await? {
            break;
        }
    }
    count(room).await
}

/// Open commands that ran out become expired.
async fn expire(room: &Room, now_ms: TimeMs) -> Result<(), StoreError> {
    loop {
        let over = room.store.read(move |v| v.ran_out(now_ms, EXPIRE_AT_ONCE)).await?;
        let more = over.len() >= EXPIRE_AT_ONCE as usize;
        for chunk in over.chunks(500) {
            let chunk = chunk.to_vec();
            let close = move |tx: &store::Tx<'_>| {
                let mut each = chunk.into_iter();
                each.try_for_each(|(slot, number)| tx.close(slot, number, CommandState::Expired, now_ms))
            };
            room.store.write(close).await?;
        }
        if !more {
            return Ok(());
        }
    }
}

/// Sets the gauges.
pub(crate) async fn count(room: &Room) -> Result<(), StoreError> {
    let (states, open, words) =
        room.store.read(|v| Ok((v.count_by_state()?, v.count_open()?, v.count_words()?))).await?;
    let gauge = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    room.counters.set_enrolments(&states);
    let renewal = crate::renewal::counted(room).await?;
    room.counters.set_certificates(&renewal.states);
    room.counters.standing_orders.set(i64::from(renewal.standing.is_some()));
    room.counters.open_commands.set(gauge(open.0));
    room.counters.deferred_commands.set(gauge(open.1));
    room.counters.words_waiting.set(gauge(words));
    Ok(())
}

async fn every_hour(room: &Arc<Room>) -> Result<(), StoreError> {
    let now_ms = room.now_ms();
    let before_ms = now_ms - TimeMs::from(room.config.history_days) * model::clock::DAY_MS;
    while room.store.write(move |tx| tx.forget_history(before_ms, 500)).await? > 0 {
        // Check-ins go first.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let left_ms = now_ms - TimeMs::from(room.config.left_days) * model::clock::DAY_MS;
    loop {
        let left = room.store.read(move |v| v.left_before(left_ms, 50)).await?;
        if left.is_empty() {
            break;
        }
        tracing::info!(phones = left.len(), "what phones reported that left long ago is forgotten");
        room.store.write(move |tx| left.into_iter().try_for_each(|slot| tx.forget_reported(slot))).await?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while room.store.write(|tx| tx.drop_unused_keys(500)).await? > 0 {}
    let day_ago_ms = now_ms - model::clock::DAY_MS;
    while room.store.write(move |tx| tx.drop_unused_sets(500, day_ago_ms)).await? > 0 {}
    room.access.drop_expired(now_ms);
    room.store
        .write(move |tx| {
            tx.drop_expired_access(now_ms)?;
            tx.drop_expired_oidc(now_ms)
        })
        .await
}
