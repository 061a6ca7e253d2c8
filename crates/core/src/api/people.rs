//! Invitations that are open, and the people who sign orders. Names are sealed; here are only ids.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::{Extension, Json};
use model::{Digest, EnrolmentId, KeyId, PersonId};
use order::ApiScope;
use serde::Serialize;
use store::Slot;
use utoipa::ToSchema;

use super::access::{Devices, Permit, SignedIn};
use super::orders::{PageQuery, not_held_to_a_group};
use super::problem::{Problem, ProblemBody};
use super::shape::{Page, Params, cursor_from, cursor_of, id, limit};
use crate::access::scope_bit;
use crate::room::Room;

/// An invitation that no phone has used.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Invitation {
    #[schema(value_type = String)]
    enrolment: EnrolmentId,
    group: String,
    invited_at_ms: i64,
    expires_at_ms: i64,
    expired: bool,
}

#[utoipa::path(get, path = "/api/v1/invitations", params(PageQuery), responses(
    (status = 200, body = Page<Invitation>),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn list_invitations(
    permit: Permit<Devices>,
    Extension(room): Extension<Arc<Room>>,
    Params(q): Params<PageQuery>,
) -> Result<Json<Page<Invitation>>, Problem> {
    let limit = limit(q.limit)?;
    let after = Slot(cursor_from(q.cursor.as_deref())?.map_or(0, |c| c.0));
    let group = permit.actor().group().map(str::to_owned);
    let mut found = room.store.read(move |v| v.invitations(after, group.as_deref(), limit + 1)).await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next_cursor = found.last().filter(|_| more).map(|i| cursor_of((i.slot.0, 0)));
    let now_ms = room.now_ms();
    let items = found.into_iter().map(|i| Invitation {
        enrolment: i.enrolment,
        group: i.group,
        invited_at_ms: i.invited_at_ms,
        expires_at_ms: i.expires_at_ms,
        expired: i.expires_at_ms <= now_ms,
    });
    Ok(Json(Page { items: items.collect(), next_cursor }))
}

/// Someone who signs, or signed, orders.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Person {
    #[schema(value_type = String)]
    person: PersonId,
    role: String,
    group: Option<String>,
    #[schema(value_type = Vec<String>)]
    keys: Vec<KeyId>,
    /// Those of them that are passkeys.
    #[schema(value_type = Vec<String>)]
    passkeys: Vec<KeyId>,
    joined_at_ms: i64,
    removed_at_ms: Option<i64>,
}

#[utoipa::path(get, path = "/api/v1/people", params(PageQuery), responses(
    (status = 200, body = Page<Person>),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn list_people(
    _permit: Permit<SignedIn>,
    Extension(room): Extension<Arc<Room>>,
    Params(q): Params<PageQuery>,
) -> Result<Json<Page<Person>>, Problem> {
    let limit = limit(q.limit)?;
    let after = q.cursor.as_deref().map(|c| id::<PersonId>("person", c)).transpose()?;
    let (mut found, passkeys) =
        room.store.read(move |v| Ok((v.people(after, limit + 1)?, v.passkeys()?))).await?;
    let passkeys: BTreeSet<KeyId> = passkeys.into_iter().map(|p| p.0).collect();
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next_cursor = found.last().filter(|_| more).map(|p| p.person.to_string());
    let items = found.into_iter().map(|p| Person {
        person: p.person,
        role: p.role,
        group: p.group,
        passkeys: p.keys.iter().copied().filter(|k| passkeys.contains(k)).collect(),
        keys: p.keys,
        joined_at_ms: p.joined_at_ms,
        removed_at_ms: p.removed_at_ms,
    });
    Ok(Json(Page { items: items.collect(), next_cursor }))
}

/// A program's read-only key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApiKey {
    /// SHA-256 of it.
    #[schema(value_type = String)]
    hash: Digest,
    /// What it is for.
    label: String,
    /// What it reads.
    #[schema(value_type = Vec<String>)]
    scopes: Vec<ApiScope>,
    expires_at_ms: i64,
}

#[utoipa::path(get, path = "/api/v1/api-keys", responses(
    (status = 200, body = Page<ApiKey>, description = "all that have not run out, the first to end first"),
    (status = 403, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn list_api_keys(
    permit: Permit<SignedIn>,
    Extension(room): Extension<Arc<Room>>,
) -> Result<Json<Page<ApiKey>>, Problem> {
    const SCOPES: [ApiScope; 4] =
        [ApiScope::Devices, ApiScope::Commands, ApiScope::Ledger, ApiScope::Metrics];
    not_held_to_a_group(&permit)?;
    let items = room.access.keys(room.now_ms()).into_iter().map(|k| ApiKey {
        hash: k.hash,
        label: k.label,
        scopes: SCOPES.into_iter().filter(|s| k.scopes & scope_bit(*s) != 0).collect(),
        expires_at_ms: k.expires_at_ms,
    });
    Ok(Json(Page { items: items.collect(), next_cursor: None }))
}
