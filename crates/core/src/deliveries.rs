//! What waits for phones sealed to an older key of the door's: the door seals it again to its newest.
//!
//! Core can't tell to which key something is sealed, so all of it is shown to the door, which leaves alone what is as it
//! should be. A crash in between costs looking again and nothing else.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::Digest;
use order::{SignedWarrant, Warrant};
use rpc::pair::LARGEST_MESSAGE_BYTES;
use rpc::proto::door_client::DoorClient;
use rpc::proto::{DeliveryResealAnswer, DeliveryResealRequest, SealedDelivery as Shown};
use store::{DeliveryPlace, SealedDelivery, StoreError};

use crate::room::{Room, asked};

/// How many one call brings.
const AT_ONCE: u32 = 50;
const PATIENCE: Duration = Duration::from_secs(30);

/// Goes through all of it once. Answers whether all of it is sealed to the newest key; what could not be shown to the
/// door is not.
pub(crate) async fn seal_again(room: &Arc<Room>) -> Result<bool, StoreError> {
    let mut left = room.store.read(|v| v.count_deliveries()).await?;
    room.deliveries_left.store(left, Ordering::Relaxed);
    let (mut after, mut whole, mut resealed) = (None, true, 0);
    loop {
        let found = room.store.read(move |v| v.deliveries(after, AT_ONCE)).await?;
        let Some(last) = found.last() else { break };
        after = Some(last.place);
        let read = found.len() as u64;
        let (shown, bodies): (Vec<SealedDelivery>, Vec<Shown>) =
            found.into_iter().filter_map(|d| Some((shown(&d)?, d))).map(|(s, d)| (d, s)).unzip();
        // A command without a warrant: it gets one soon, and is shown then.
        whole &= shown.len() as u64 == read;
        let Ok(answer) = ask_door(room, bodies).await else { return Ok(false) };
        for at in &answer.lost {
            if let Some(d) = usize::try_from(*at).ok().and_then(|at| shown.get(at)) {
                tracing::warn!(place = ?d.place, "what waits for a phone opens with no key of the door's");
            }
        }
        resealed += answer.bodies.len();
        put(room, shown, answer).await?;
        left = left.saturating_sub(read);
        room.deliveries_left.store(left, Ordering::Relaxed);
    }
    if resealed > 0 {
        tracing::info!(bodies = resealed, "what waits for phones was sealed again to the door's newest key");
    }
    Ok(whole)
}

/// As the door wants to see it: with the digest of what is in it.
fn shown(d: &SealedDelivery) -> Option<Shown> {
    let digest: Digest = match &d.place {
        DeliveryPlace::Declaration(digest) => *digest,
        DeliveryPlace::Command(_) => {
            let signed: SignedWarrant = order::decode(d.warrant.as_deref()?).ok()?;
            order::decode::<Warrant>(&signed.warrant).ok()?.digest
        }
    };
    Some(Shown { digest: digest.0.to_vec(), sealed: d.sealed.clone() })
}

async fn ask_door(room: &Room, bodies: Vec<Shown>) -> Result<DeliveryResealAnswer, rpc::Unavailable> {
    let channel = room.door.channel(PATIENCE).await?;
    let mut door = DoorClient::new(channel)
        .max_decoding_message_size(LARGEST_MESSAGE_BYTES)
        .max_encoding_message_size(LARGEST_MESSAGE_BYTES);
    asked("reseal", PATIENCE, door.reseal(DeliveryResealRequest { bodies })).await
}

async fn put(
    room: &Room,
    shown: Vec<SealedDelivery>,
    answer: DeliveryResealAnswer,
) -> Result<(), StoreError> {
    if answer.bodies.is_empty() {
        return Ok(());
    }
    room.store
        .write(move |tx| {
            for again in &answer.bodies {
                if let Some(was) = usize::try_from(again.at).ok().and_then(|at| shown.get(at)) {
                    tx.put_delivery(was, &again.sealed)?;
                }
            }
            Ok(())
        })
        .await
}
