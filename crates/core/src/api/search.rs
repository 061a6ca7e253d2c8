//! Search through the salted index: the term is sealed to the vault, which gives the tokens that the
//! session's grant pays for.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use axum::{Extension, Json};
use rpc::proto::GrantUse;
use seal::{IndexEntry, Scanner, SearchField, SearchToken};
use serde::{Deserialize, Serialize};
use store::{EVERY_SLOT, Slot, StoreError, View};
use utoipa::ToSchema;

use super::access::{InSession, Permit};
use super::devices::{Device, device, freshen};
use super::problem::{Problem, ProblemBody};
use super::shape::{Input, decode};
use crate::checkin::ask_vault;
use crate::room::Room;

/// The most phones one search shows.
const MOST_FOUND: usize = 200;

/// A search.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Search {
    /// order::SearchSecrets as CBOR, sealed to the vault's order key, in base64.
    sealed_search: String,
}

/// What was found, and what is left of the grant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Found {
    items: Vec<Device>,
    records_left: u32,
    searches_left: u32,
}

#[utoipa::path(post, path = "/api/v1/search", request_body = Search, responses(
    (status = 200, body = Found),
    (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "the grant does not pay for it"),
))]
pub(crate) async fn search(
    permit: Permit<InSession>,
    Extension(room): Extension<Arc<Room>>,
    Input(search): Input<Search>,
) -> Result<Json<Found>, Problem> {
    let session = permit.session()?;
    let sealed_search = decode("sealed_search", &search.sealed_search)?;
    if sealed_search.is_empty() {
        return Err(Problem::unreadable("sealed_search is empty"));
    }
    let used = GrantUse { session: session.hash.0.to_vec(), open: Vec::new(), sealed_search };
    let answer = ask_vault(&room, "use_grant", |mut v| async move { v.use_grant(used).await }).await?;
    if answer.refusal != 0 {
        return Err(Problem::held(answer.refusal, &answer.hold));
    }
    let tokens = answer.tokens.iter().map(|t| {
        let bytes: [u8; 32] = t.as_slice().try_into().ok()?;
        SearchToken::from_bytes(bytes).scanner().ok()
    });
    let tokens: Vec<Scanner> = tokens.collect::<Option<_>>().ok_or_else(Problem::vault_away)?;
    // The vault names the kind of field, or the paths that carry such entries.
    let fields = answer.names.iter().filter_map(|n| SearchField::from_name(n).or_else(|| SearchField::of(n)));
    let fields: Vec<SearchField> = fields.collect();
    let group = session.group.clone();
    // Reading the entries is most of a search: two readers share it.
    let middle = room.store.read(|v| v.middle_slot()).await?;
    let wanted = Arc::new((fields, tokens));
    let half = |slots: Range<Slot>| {
        let wanted = wanted.clone();
        room.store.read(move |v| matching(v, &wanted.0, &wanted.1, slots))
    };
    let (mut found, rest) = tokio::try_join!(half(Slot(0)..middle), half(middle..EVERY_SLOT.end))?;
    found.extend(rest);
    let read = room.store.read(move |v| {
        let mut devices = Vec::new();
        for enrolment in v.ids_of(&found)? {
            let Some(item) = v.find_device(enrolment)? else { continue };
            if group.as_ref().is_none_or(|g| *g == item.group) && devices.len() < MOST_FOUND {
                devices.push(device(v, &item)?);
            }
        }
        Ok(devices)
    });
    let mut items = read.await?;
    freshen(&room, &mut items);
    Ok(Json(Found { items, records_left: answer.records_left, searches_left: answer.searches_left }))
}

/// Of the phones in `slots`, those of which one field has an entry for every token.
fn matching(
    v: &View<'_>,
    fields: &[SearchField],
    tokens: &[Scanner],
    slots: Range<Slot>,
) -> Result<Vec<Slot>, StoreError> {
    if tokens.is_empty() || tokens.len() > 64 {
        return Ok(Vec::new());
    }
    let every = u64::MAX >> (64 - tokens.len());
    let mut met: HashMap<(Slot, String), u64> = HashMap::new();
    let mut seen = Vec::new();
    for field in fields {
        if seen.contains(field) {
            continue;
        }
        seen.push(*field);
        v.scan_index(field.name(), slots.clone(), |slot, name, bytes| {
            let Some(entry) = IndexEntry::from_bytes(bytes) else { return };
            for (n, token) in tokens.iter().enumerate() {
                if token.matches(&entry) {
                    *met.entry((slot, name.to_owned())).or_default() |= 1 << n;
                }
            }
        })?;
    }
    let mut slots: Vec<Slot> = met.into_iter().filter(|(_, m)| *m == every).map(|((s, _), _)| s).collect();
    slots.sort_unstable();
    slots.dedup();
    Ok(slots)
}
