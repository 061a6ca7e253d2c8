//! The ledger as core followed it.

use std::sync::Arc;

use axum::extract::Path;
use axum::{Extension, Json};
use model::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{LedgerAbout, LedgerFilter, ListedRow, StoreError, View};
use utoipa::{IntoParams, ToSchema};

use super::access::{Ledger, Permit};
use super::devices::named;
use super::orders::not_held_to_a_group;
use super::problem::{Problem, ProblemBody};
use super::shape::{Page, Params, encode, id, limit};
use crate::briefs::{Brief, LARGE_BYTES};
use crate::room::Room;

/// An entry of the ledger.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LedgerEntry {
    index: u64,
    at_ms: i64,
    /// `vault`, or `core` for what the vault could not check.
    witness: &'static str,
    kind: &'static str,
    /// What it says, in words for people, without a full stop. In a list 1,000 characters of it at most.
    told: String,
    /// Closed fields; nothing personal. In a list the first 20 of what may be many (phones, fields, declarations, payloads): how many there are says
    /// the field beside it, `targets_count` beside `targets`.
    #[schema(value_type = Object)]
    summary: Value,
    /// SHA-256 of its bytes.
    #[schema(value_type = String)]
    hash: Digest,
    /// Its bytes, in base64. In a list where they are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<String>,
}

impl LedgerEntry {
    fn of(row: &ListedRow, brief: Brief, raw: bool) -> Self {
        let Brief { witness, kind, told, summary } = brief;
        let raw = row.entry.as_ref().filter(|_| raw).map(|bytes| encode(bytes));
        Self { index: row.index, at_ms: row.at_ms, witness, kind, told, summary, hash: row.hash, raw }
    }
}

/// How long the ledger is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Head {
    entries: u64,
    #[schema(value_type = String)]
    hash: Digest,
}

/// From where, and how many.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LedgerQuery {
    /// The first entry's index; 0 by default.
    from: Option<u64>,
    /// 1 to 200, by default 50.
    limit: Option<u32>,
    /// Where the page before ended.
    cursor: Option<String>,
    /// `oldest` first, which is the default, or `newest`.
    sort: Option<String>,
    /// Of this kind alone, by the word in `kind`.
    kind: Option<String>,
    /// About this person: they signed it, approved it, opened by it, or it is about them.
    person: Option<String>,
    /// About this phone: 32 digits, or the first 6 or more if no other begins so.
    enrolment: Option<String>,
    /// From this time on, and before that one.
    since_ms: Option<i64>,
    until_ms: Option<i64>,
    /// With each entry's bytes, for whoever checks or keeps them: of an order for 20,000 phones they are a megabyte.
    #[serde(default)]
    raw: bool,
}

impl LedgerQuery {
    /// What entries are to be about, the rarest first.
    async fn about(&self, permit: &Permit<Ledger>, room: &Room) -> Result<Vec<LedgerAbout>, Problem> {
        let mut about = Vec::new();
        if let Some(text) = &self.enrolment {
            about.push(LedgerAbout::Enrolment(named(room, permit.actor(), text).await?.enrolment));
        }
        if let Some(text) = &self.person {
            about.push(LedgerAbout::Person(id("person", text)?));
        }
        if let Some(word) = &self.kind {
            let known = ::ledger::KINDS.contains(&word.as_str());
            about.push(LedgerAbout::Kind(
                known.then(|| word.clone()).ok_or_else(|| Problem::bad("there is no such kind of entry"))?,
            ));
        }
        Ok(about)
    }
}

/// What fits, or `None` while entries from before an upgrade are still to be noted.
fn found(v: &View<'_>, q: &LedgerQuery, mut f: LedgerFilter) -> Result<Option<Vec<ListedRow>>, StoreError> {
    if !f.about.is_empty() && !v.is_all_noted()? {
        return Ok(None);
    }
    if let Some(at_ms) = q.since_ms {
        let Some(place) = v.ledger_place(at_ms)? else { return Ok(Some(Vec::new())) };
        f.from = f.from.max(place);
    }
    if let Some(place) = q.until_ms.map(|at_ms| v.ledger_place(at_ms)).transpose()?.flatten() {
        f.before = Some(f.before.map_or(place, |before| before.min(place)));
    }
    v.ledger_listed(&f, if q.raw { u32::MAX } else { LARGE_BYTES }).map(Some)
}

#[utoipa::path(get, path = "/api/v1/ledger", params(LedgerQuery), responses(
    (status = 200, body = Page<LedgerEntry>),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn list_ledger(
    permit: Permit<Ledger>,
    Extension(room): Extension<Arc<Room>>,
    Params(q): Params<LedgerQuery>,
) -> Result<Json<Page<LedgerEntry>>, Problem> {
    not_held_to_a_group(&permit)?;
    let limit = limit(q.limit)?;
    let newest_first = match q.sort.as_deref() {
        None | Some("oldest") => false,
        Some("newest") => true,
        Some(_) => return Err(Problem::bad("sort is oldest or newest")),
    };
    let cursor = q.cursor.as_ref().map(|c| c.parse::<u64>()).transpose();
    let cursor = cursor.map_err(|_| Problem::bad("the cursor is none that this list gave"))?;
    let about = q.about(&permit, &room).await?;
    let mut filter = LedgerFilter {
        about,
        from: q.from.unwrap_or(0),
        newest_first,
        limit: limit + 1,
        ..Default::default()
    };
    match cursor {
        Some(at) if newest_first => filter.before = Some(at),
        Some(at) => filter.from = at,
        None => {}
    }
    let of = room.clone();
    let read = room.store.read(move |v| {
        let Some(mut rows) = found(v, &q, filter)? else { return Ok(None) };
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let last = rows.last().filter(|_| more);
        let next_cursor = last.map(|r| if newest_first { r.index } else { r.index + 1 }.to_string());
        let item = |r| Ok(LedgerEntry::of(r, of.briefs.get(v, r)?, q.raw));
        let items = rows.iter().map(item).collect::<Result<_, StoreError>>()?;
        Ok(Some(Page { items, next_cursor }))
    });
    read.await?.map(Json).ok_or_else(|| {
        let detail = "after an upgrade the older entries are still being looked through; ask again in a minute, or \
                      without a filter";
        Problem::new(http::StatusCode::SERVICE_UNAVAILABLE, "not_yet_noted", detail)
    })
}

#[utoipa::path(get, path = "/api/v1/ledger/head", responses(
    (status = 200, body = Head),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn ledger_head(
    _permit: Permit<Ledger>,
    Extension(room): Extension<Arc<Room>>,
) -> Result<Json<Head>, Problem> {
    let at = room.store.read(|v| v.position()).await?;
    Ok(Json(Head { entries: at.entries, hash: at.hash }))
}

#[utoipa::path(get, path = "/api/v1/ledger/{index}", params(("index" = u64, Path, description = "the entry's place")), responses(
    (status = 200, body = LedgerEntry, description = "whole, with its bytes"),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn get_ledger_entry(
    permit: Permit<Ledger>,
    Extension(room): Extension<Arc<Room>>,
    Path(index): Path<String>,
) -> Result<Json<LedgerEntry>, Problem> {
    not_held_to_a_group(&permit)?;
    let index: u64 = index.parse().map_err(|_| Problem::not_found("entry"))?;
    let read = room.store.read(move |v| {
        let f = LedgerFilter { from: index, limit: 1, ..Default::default() };
        let row = v.ledger_listed(&f, u32::MAX)?.pop().filter(|r| r.index == index);
        Ok(row.map(|row| {
            let brief = Brief::whole(row.entry.as_deref().unwrap_or_default());
            LedgerEntry::of(&row, brief, true)
        }))
    });
    read.await?.map(Json).ok_or_else(|| Problem::not_found("entry"))
}
