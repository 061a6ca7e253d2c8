//! What core does about the vault's keys: hands rows under older keys to the vault and keeps what comes back, has
//! search entries made anew, and says when nothing is left.
//!
//! How far it has come stands in the rows themselves, so a crash anywhere loses nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::{Compartment, KeyName, TimeMs};
use rpc::pair::LARGEST_MESSAGE_BYTES;
use rpc::proto::courier_client::CourierClient;
use rpc::proto::{
    KeyState, KeysAnswer, KeysRequest, NothingLeftRequest, PhoneRow, ResealAnswer, ResealRequest,
};
use store::{StaleRow, StoreError};

use crate::checkin::ask_vault;
use crate::deliveries;
use crate::room::{NO_BREACH, Room, asked};

/// How long another room may take for one call.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many rows one call brings: their fields may be large.
const AT_ONCE: u32 = 200;
/// How often it is looked whether something is to be done.
const PERIOD: Duration = Duration::from_secs(5);
/// So long after a rotation an answer of before may still come in: index entries and warrants under the older key.
const LATE_MS: TimeMs = 15_000;

/// What was done in this life of the room.
#[derive(Default)]
struct Done {
    /// Keys and epochs for which everything was marked at once, and once more when nothing late can come any more.
    first: BTreeSet<(KeyName, u32)>,
    again: BTreeSet<(KeyName, u32)>,
    /// What is sealed to the door was looked through for this epoch, when nothing late could come any more.
    delivered: Option<u32>,
}

/// Keeps on for as long as the room runs.
pub(crate) async fn keep(room: Arc<Room>) {
    let mut done = Done::default();
    loop {
        match once(&room, &mut done).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(e) => tracing::error!(store.error = %e, "rows could not be sealed again; trying again"),
        }
        let _ = tokio::time::timeout(PERIOD, room.keys_due.notified()).await;
    }
}

/// How the vault says that its keys stand.
pub(crate) async fn ask(room: &Room) -> Result<KeysAnswer, rpc::Unavailable> {
    ask_vault(room, "keys", |mut v| async move { v.keys(KeysRequest {}).await }).await
}

pub(crate) fn name_of(state: &KeyState) -> Option<KeyName> {
    u8::try_from(state.key).ok().and_then(KeyName::from_number)
}

/// One round. Answers whether there is more to do at once.
async fn once(room: &Arc<Room>, done: &mut Done) -> Result<bool, StoreError> {
    let Ok(answer) = ask(room).await else { return Ok(false) };
    // Since when phones are to have other certificates: after a breach, and where there is a newer CA.
    let breach = answer.breach.as_ref().filter(|b| b.phones_left > 0).map_or(NO_BREACH, |b| b.at_ms);
    let of_ca = |k: &&KeyState| name_of(k) == Some(KeyName::Ca) && k.phones_left > 0;
    let newer_ca = answer.keys.iter().find(of_ca).map_or(NO_BREACH, |k| k.rotated_at_ms);
    let breach = breach.max(newer_ca);
    if room.breach_ms.swap(breach, Ordering::Relaxed) != breach {
        room.renewal_due.notify_one();
    }
    let mut more = false;
    for state in &answer.keys {
        let Some(key) = name_of(state) else { continue };
        if key == KeyName::Warrant && state.epoch > 1 {
            late_warrants(room, state, done).await?;
        }
        if state.old_before == 0 {
            continue;
        }
        match key.compartment() {
            Some(compartment) => more |= reseal(room, key, compartment, state.old_before).await?,
            None if key == KeyName::Index => index_anew(room, state, done).await?,
            None if key == KeyName::Delivery => deliver(room, state, done).await?,
            // The vault counts for itself; door and reader have to know the newest CA first.
            None if key == KeyName::Ca
                && state.phones_left == 0
                && room.door_epoch.load(Ordering::Relaxed) >= state.old_before =>
            {
                nothing_left(room, KeyName::Ca, state.old_before).await;
            }
            None => {}
        }
    }
    Ok(more)
}

/// Warrants of before that came in after the rotation was followed are dropped too.
async fn late_warrants(room: &Room, state: &KeyState, done: &mut Done) -> Result<(), StoreError> {
    let since_ms = room.now_ms() - state.made_at_ms;
    if !(LATE_MS..=4 * LATE_MS).contains(&since_ms) || !done.again.insert((KeyName::Warrant, state.epoch)) {
        return Ok(());
    }
    room.store.write(|tx| tx.drop_warrants()).await
}

/// Seals rows of a compartment again, a few at a time. Answers whether there are more.
async fn reseal(
    room: &Arc<Room>,
    key: KeyName,
    compartment: Compartment,
    before: u32,
) -> Result<bool, StoreError> {
    let mut from = 0;
    let mut resealed = 0;
    loop {
        let rows = room.store.read(move |v| v.stale_rows(compartment, before, from, AT_ONCE)).await?;
        let Some(last) = rows.last() else { break };
        let last = last.place;
        let request = ResealRequest {
            rows: rows
                .iter()
                .map(|s| PhoneRow {
                    enrolment: s.enrolment.0.to_vec(),
                    row: Some(rpc::row_to(s.row.clone())),
                })
                .collect(),
        };
        let Ok(answer) = ask_to_reseal(room, key, request).await else { return Ok(false) };
        if answer.refusal != 0 {
            tracing::info!(
                refusal = answer.refusal,
                "the vault seals no more again for now; it goes on later"
            );
            return Ok(false);
        }
        let (pairs, lost) = pairs(&rows, answer);
        for (enrolment, name) in lost {
            let room_name = key.made_by().unwrap_or("vault");
            tracing::warn!(enrolment.id = %enrolment, field = name, room.name = room_name, "a row opens with no key of the room's");
        }
        let changed = pairs.len();
        room.store
            .write(move |tx| {
                for (was, is) in &pairs {
                    tx.put_resealed(was.slot, &was.row, is)?;
                }
                Ok(())
            })
            .await?;
        resealed += changed;
        // What changed is found no more; what can't be opened is passed over.
        from = if changed == 0 { last + 1 } else { from };
        if changed > 0 {
            // Check-ins go first.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    if compartment == Compartment::Secret {
        match reseal_profiles(room, before).await? {
            Some(n) => resealed += n,
            None => return Ok(false),
        }
    }
    if resealed > 0 {
        tracing::info!(key = key.name(), rows = resealed, "rows were sealed again");
        return Ok(true);
    }
    if room.door_epoch.load(Ordering::Relaxed) >= before {
        nothing_left(room, key, before).await;
    }
    Ok(false)
}

/// The library's versions, one at a time: each may be as large as a message. Answers how many were sealed again; nothing
/// when the vault does no more for now.
async fn reseal_profiles(room: &Arc<Room>, before: u32) -> Result<Option<usize>, StoreError> {
    let (mut behind, mut resealed) = (0, 0);
    while let Some(was) = room.store.read(move |v| v.stale_profile(before, behind)).await? {
        behind = was.number;
        let row = PhoneRow {
            enrolment: order::profile_place(&was.profile).0.to_vec(),
            row: Some(rpc::row_to(was.row.clone())),
        };
        let request = ResealRequest { rows: vec![row] };
        let Ok(answer) = ask_to_reseal(room, KeyName::Secret, request).await else { return Ok(None) };
        if answer.refusal != 0 {
            return Ok(None);
        }
        let is = answer.rows.into_iter().next().and_then(|r| rpc::row_from(r.row?).ok());
        match is.filter(|is| is.name == was.row.name && is.compartment == was.row.compartment) {
            Some(is) => {
                room.store.write(move |tx| tx.put_resealed_profile(&was, &is)).await?;
                resealed += 1;
            }
            None => {
                tracing::warn!(profile.id = %was.profile, field = was.row.name, "a saved version opens with no key of the vault's");
            }
        }
    }
    Ok(Some(resealed))
}

/// The room that has the key of these rows seals them again.
async fn ask_to_reseal(
    room: &Room,
    key: KeyName,
    request: ResealRequest,
) -> Result<ResealAnswer, rpc::Unavailable> {
    if key.made_by().is_none() {
        return ask_vault(room, "reseal", |mut v| async move { v.reseal(request).await }).await;
    }
    let channel = room.courier.channel(PATIENCE).await?;
    let mut courier = CourierClient::new(channel)
        .max_decoding_message_size(LARGEST_MESSAGE_BYTES)
        .max_encoding_message_size(LARGEST_MESSAGE_BYTES);
    asked("reseal", PATIENCE, courier.reseal(request)).await
}

/// What is sealed to the door's older key is sealed again by the door.
async fn deliver(room: &Arc<Room>, state: &KeyState, done: &mut Done) -> Result<(), StoreError> {
    let before = state.old_before;
    // By an older statement the door takes everything for sealed to the newest key.
    if room.door_epoch.load(Ordering::Relaxed) < before {
        return Ok(());
    }
    let late = room.now_ms() - state.rotated_at_ms >= LATE_MS;
    if done.delivered != Some(before) && deliveries::seal_again(room).await? && late {
        done.delivered = Some(before);
    }
    if done.delivered == Some(before) {
        nothing_left(room, KeyName::Delivery, before).await;
    }
    Ok(())
}

type Pairs = Vec<(StaleRow, model::SealedRow)>;

/// The rows that came back beside those they were made of, and which rows could not be opened.
fn pairs(rows: &[StaleRow], answer: rpc::proto::ResealAnswer) -> (Pairs, Vec<(model::EnrolmentId, String)>) {
    let at = |n: u32| usize::try_from(n).ok().and_then(|n| rows.get(n));
    let pair = |r: rpc::proto::ResealedRow| {
        let was = at(r.at)?;
        let is = rpc::row_from(r.row?).ok()?;
        (was.row.name == is.name && was.row.compartment == is.compartment).then(|| (was.clone(), is))
    };
    let lost = answer.lost.iter().filter_map(|n| at(*n)).map(|s| (s.enrolment, s.row.name.clone())).collect();
    (answer.rows.into_iter().filter_map(pair).collect(), lost)
}

/// Search entries under the older index key are made anew from the rows.
async fn index_anew(room: &Arc<Room>, state: &KeyState, done: &mut Done) -> Result<(), StoreError> {
    let key = (KeyName::Index, state.old_before);
    let late = room.now_ms() - state.rotated_at_ms >= LATE_MS;
    if done.first.insert(key) || (late && done.again.insert(key)) {
        let rows = room.store.write(|tx| tx.index_anew()).await?;
        tracing::info!(rows, "search entries are made anew");
        room.index_due.notify_one();
        return Ok(());
    }
    if late && done.again.contains(&key) && room.store.read(|v| v.count_index_due()).await? == 0 {
        nothing_left(room, KeyName::Index, state.old_before).await;
    }
    Ok(())
}

/// Says that nothing is left; the vault may want it a little later.
async fn nothing_left(room: &Room, key: KeyName, before: u32) {
    let request = NothingLeftRequest { key: key.number().into(), before };
    let _ = ask_vault(room, "nothing_left", |mut v| async move { v.nothing_left(request).await }).await;
}
