//! How the house's keys stand, and what a breach that was assumed has left to do.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::{Extension, Json};
use model::{Compartment, KeyName};
use serde::Serialize;
use utoipa::ToSchema;

use super::access::{Permit, SignedIn};
use super::problem::{Problem, ProblemBody};
use crate::keys::{ask, name_of};
use crate::room::Room;

/// A key that an order makes anew.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Key {
    name: &'static str,
    /// The room that holds it.
    held_by: &'static str,
    /// Since which epoch it serves.
    epoch: u32,
    /// When it was made; absent: at the installation.
    made_at_ms: Option<i64>,
    /// `in_force`; `resealing`: rows or search entries are still under an older one; `kept`: an older one is kept until
    /// what was sealed to it has run out; `reissuing`: phones still use a certificate of an older CA; `certifying`: the door
    /// shows the older one until the newest is certified; `awaited`: the room that holds it has not made the new one yet.
    state: &'static str,
    /// How many rows, entries, waiting bodies or phones are left under older ones.
    left: u64,
}

/// A breach that was assumed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BreachLeft {
    at_ms: i64,
    /// Where it stands in the ledger.
    position: u64,
    /// Phones whose certificate is from before.
    phones: u64,
    /// Administrators' keys that signed it and have to be replaced.
    signers: u64,
    /// People whose keys ended: they are added anew or removed.
    people_without_key: u64,
    /// Rows, search entries and what waits for phones under older keys.
    rows: u64,
    /// Door and reader go by the new keys.
    rooms_follow: bool,
    /// Nothing of all that is left.
    done: bool,
}

/// The house's keys.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Keys {
    epoch: u32,
    keys: Vec<Key>,
    breach: Option<BreachLeft>,
}

#[utoipa::path(get, path = "/api/v1/keys", responses(
    (status = 200, body = Keys),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn get_keys(
    _permit: Permit<SignedIn>,
    Extension(room): Extension<Arc<Room>>,
) -> Result<Json<Keys>, Problem> {
    let answer = ask(&room).await?;
    let mut keys = Vec::new();
    for state in &answer.keys {
        let Some(name) = name_of(state) else { continue };
        let before = state.old_before;
        let left = match (before, name.compartment()) {
            (0, _) => 0,
            (_, Some(Compartment::Secret)) => {
                let counted = move |v: &store::View<'_>| {
                    Ok(v.count_stale(Compartment::Secret, before)? + v.count_stale_profiles(before)?)
                };
                room.store.read(counted).await?
            }
            (_, Some(c)) => room.store.read(move |v| v.count_stale(c, before)).await?,
            (_, None) if name == KeyName::Index => room.store.read(|v| v.count_index_due()).await?,
            (_, None) if name == KeyName::Delivery => room.deliveries_left.load(Ordering::Relaxed),
            (_, None) if name == KeyName::Ca => state.phones_left,
            _ => 0,
        };
        keys.push(Key {
            name: name.name(),
            epoch: state.epoch,
            made_at_ms: (state.made_at_ms != 0).then_some(state.made_at_ms),
            held_by: name.made_by().unwrap_or("vault"),
            state: match (before, name) {
                _ if state.awaited => "awaited",
                (0, _) => "in_force",
                (_, KeyName::Orders | KeyName::ScepRa) => "kept",
                (_, KeyName::Ca) => "reissuing",
                (_, KeyName::Tls) => "certifying",
                _ => "resealing",
            },
            left,
        });
    }
    let rows = keys.iter().filter(|k| k.name != KeyName::Ca.name()).map(|k| k.left).sum();
    let resealed = keys.iter().all(|k| k.state == "in_force");
    let rooms_follow = room.door_epoch.load(Ordering::Relaxed) >= answer.epoch;
    let breach = answer.breach.map(|b| BreachLeft {
        at_ms: b.at_ms,
        position: b.position,
        phones: b.phones_left,
        signers: b.signers_left,
        people_without_key: b.people_without_key,
        rows,
        rooms_follow,
        done: b.phones_left == 0
            && b.signers_left == 0
            && b.people_without_key == 0
            && resealed
            && rooms_follow,
    });
    Ok(Json(Keys { epoch: answer.epoch, keys, breach }))
}
