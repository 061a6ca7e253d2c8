//! Orders: carried to the vault, and listed.

use std::sync::Arc;

use axum::extract::{Path, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use model::{OrderId, PersonId, TimeMs};
use order::SignedOrder;
use order::limits::Hold;
use serde::{Deserialize, Serialize};
use store::{CommandFilter, CommandState, OrderRecord, OrderState, StoreError, View};
use utoipa::{IntoParams, ToSchema};

use super::access::{Commands, Permit, SignedIn};
use super::commands::Command;
use super::problem::{Problem, ProblemBody};
use super::shape::{Input, Page, Params, cursor_from, cursor_of, decode, encode, id, limit};
use crate::access::Actor;
use crate::room::Room;
use crate::submit::{NotDecided, OrderedCommand, submit};

/// An order as a person signed it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignedOrderBody {
    /// order::SignedOrder as CBOR, in base64.
    signed_order: String,
    /// What lies sealed beside it, in base64.
    sealed_arguments: Option<String>,
}

/// An accepted order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Accepted {
    #[schema(value_type = String)]
    order: OrderId,
    accepted: bool,
    /// Where it stands in the ledger.
    position: u64,
    /// Sealed to the order's answer key, in base64.
    sealed_answer: Option<String>,
    commands: Vec<OrderedCommand>,
    erasing: bool,
    /// It cools off: no phone is told before then, and it can be called back until then as if nothing had been.
    cools_until_ms: Option<i64>,
}

/// Lets few orders in at once, before their bodies are read.
pub(crate) async fn few_at_once(request: Request, next: Next) -> Response {
    let room = request.extensions().get::<Arc<Room>>().cloned();
    let place = room.as_ref().and_then(|room| room.order_places.try_acquire().ok());
    if place.is_none() {
        let detail = "many orders are under way; send the same order again in a moment";
        return Problem::new(http::StatusCode::SERVICE_UNAVAILABLE, "busy", detail).into_response();
    }
    next.run(request).await
}

#[utoipa::path(post, path = "/api/v1/orders", request_body = SignedOrderBody, responses(
    (status = 200, body = Accepted),
    (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "refused; see `refusal`"),
    (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "phones that are not supervised"),
    (status = 422, body = ProblemBody, content_type = "application/problem+json", description = "not an order's bytes"),
    (status = 503, body = ProblemBody, content_type = "application/problem+json", description = "the vault is away"),
))]
pub(crate) async fn submit_order(
    Extension(room): Extension<Arc<Room>>,
    Input(body): Input<SignedOrderBody>,
) -> Result<Json<Accepted>, Problem> {
    let signed = decode("signed_order", &body.signed_order)?;
    let sealed = match &body.sealed_arguments {
        Some(text) => decode("sealed_arguments", text)?,
        None => Vec::new(),
    };
    // It goes on if the caller hangs up: an order that was begun is brought to its end.
    let carried = tokio::spawn(async move { submit(&room, signed, sealed).await });
    let (decided, answer) = carried.await.unwrap_or(Err(NotDecided::Store(store::StoreError::Panicked)))?;
    if decided.refusal != 0 {
        let hold = decided.hold.map(Box::new);
        return Err(Problem { hold, misfits: decided.detail, ..Problem::refused(decided.refusal) });
    }
    Ok(Json(Accepted {
        order: decided.order,
        accepted: true,
        position: decided.position,
        sealed_answer: (!answer.is_empty()).then(|| encode(&answer)),
        commands: decided.commands,
        erasing: decided.erasing,
        cools_until_ms: decided.cools_until_ms,
    }))
}

/// An order in the list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Order {
    #[schema(value_type = String)]
    order: OrderId,
    kind: String,
    reason: String,
    #[schema(value_type = Option<String>)]
    signer: Option<PersonId>,
    #[schema(value_type = String)]
    state: OrderState,
    targets: u32,
    made_at_ms: i64,
    expires_at_ms: i64,
    received_at_ms: i64,
    decided_at_ms: Option<i64>,
    recalled_at_ms: Option<i64>,
    refusal: Option<u16>,
    cools_until_ms: Option<i64>,
    /// What stands in the way of one that waits for another signature.
    #[schema(value_type = Option<Object>)]
    hold: Option<Hold>,
    /// How many have signed it.
    signatures: usize,
}

/// An order with its commands (the first 200 phones; `/commands?order=` has them all).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OrderDetail {
    #[serde(flatten)]
    order: Order,
    commands: Vec<Command>,
}

impl From<OrderRecord> for Order {
    fn from(o: OrderRecord) -> Self {
        let decided = o.outcome.and_then(|t| serde_json::from_str::<crate::submit::Decided>(&t).ok());
        Self {
            order: o.order,
            kind: o.kind,
            reason: o.reason,
            signer: o.signer,
            state: o.state,
            targets: o.targets,
            made_at_ms: o.made_at_ms,
            expires_at_ms: o.expires_at_ms,
            received_at_ms: o.received_at_ms,
            decided_at_ms: o.decided_at_ms,
            recalled_at_ms: o.recalled_at_ms,
            refusal: decided.map(|d| d.refusal).filter(|r| *r != 0),
            cools_until_ms: o.cools_until_ms,
            hold: o.hold.and_then(|h| order::decode(&h).ok()),
            signatures: order::decode::<SignedOrder>(&o.signed).map_or(0, |s| s.signatures.len()),
        }
    }
}

/// Which page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// 1 to 200, by default 50.
    pub limit: Option<u32>,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

#[utoipa::path(get, path = "/api/v1/orders", params(PageQuery), responses(
    (status = 200, body = Page<Order>),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn list_orders(
    permit: Permit<Commands>,
    Extension(room): Extension<Arc<Room>>,
    Params(q): Params<PageQuery>,
) -> Result<Json<Page<Order>>, Problem> {
    let limit = limit(q.limit)?;
    let before = cursor_from(q.cursor.as_deref())?.map_or(i64::MAX, |c| c.0);
    let held = Held::of(permit.actor());
    let (items, next) = room.store.read(move |v| page(v, before, limit, held.as_ref())).await?;
    let next_cursor = next.map(|number| cursor_of((number, 0)));
    Ok(Json(Page { items: items.into_iter().map(Order::from).collect(), next_cursor }))
}

/// Someone who is held to a group sees the orders they signed, and those that reached a phone of it.
struct Held {
    /// None: they sign none.
    person: Option<PersonId>,
    group: String,
}

impl Held {
    fn of(actor: &Actor) -> Option<Self> {
        match actor {
            Actor::Person(s) => s.group.clone().map(|group| Self { person: Some(s.person), group }),
            Actor::Reader(r) => r.group().map(|group| Self { person: None, group: group.to_owned() }),
            // No holder comes here: the guard is before.
            Actor::Key { .. } | Actor::Holder(_) => None,
        }
    }

    fn may_see(&self, v: &View<'_>, o: &OrderRecord) -> Result<bool, StoreError> {
        if self.person.is_some() && o.signer == self.person {
            return Ok(true);
        }
        let (order, group) = (Some(o.order), Some(self.group.clone()));
        Ok(!v.commands(&CommandFilter { order, group, limit: 1, ..CommandFilter::default() })?.is_empty())
    }
}

/// So many orders are looked through for one page at most, and so many at once.
const LOOKED_THROUGH: u32 = 1_000;
const LOOKED_AT_ONCE: u32 = 100;

/// A page of what may be seen, and where the next one begins.
fn page(
    v: &View<'_>,
    mut before: i64,
    limit: u32,
    held: Option<&Held>,
) -> Result<(Vec<OrderRecord>, Option<i64>), StoreError> {
    let mut items = Vec::new();
    // One who sees a few of many reads on in large steps.
    let step = if held.is_some() { LOOKED_AT_ONCE } else { limit };
    for _ in 0..LOOKED_THROUGH / LOOKED_AT_ONCE {
        let found = v.orders(before, step + 1)?;
        let (count, more) = (found.len().min(step as usize), found.len() > step as usize);
        for (n, o) in found.into_iter().take(step as usize).enumerate() {
            before = o.number;
            let seen = match held {
                None => true,
                Some(h) => h.may_see(v, &o)?,
            };
            if seen {
                items.push(o);
                if items.len() == limit as usize {
                    return Ok((items, (more || n + 1 < count).then_some(before)));
                }
            }
        }
        if !more {
            return Ok((items, None));
        }
    }
    Ok((items, Some(before)))
}

/// The most orders that are named where several are meant.
const LIKELY_MEANT: u32 = 8;

/// The first and the last id that begin so: 32 digits, or the first 6 or more.
fn bounds(text: &str) -> Option<(OrderId, OrderId)> {
    let digits = text.to_ascii_lowercase();
    let plain = (6..=32).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let filled = |with: char| format!("{digits}{}", with.to_string().repeat(32 - digits.len())).parse().ok();
    if plain { filled('0').zip(filled('f')) } else { None }
}

/// Orders between these that may be seen, one more than are named at most. What may not be seen is not there: it makes
/// nothing ambiguous, and takes no other's place.
fn begin_so(
    v: &View<'_>,
    mut from: OrderId,
    to: OrderId,
    held: Option<&Held>,
) -> Result<Vec<OrderRecord>, StoreError> {
    let mut found = Vec::new();
    for _ in 0..LOOKED_THROUGH / LOOKED_AT_ONCE {
        let read = v.orders_between(from, to, LOOKED_AT_ONCE)?;
        let next = read.last().filter(|_| read.len() == LOOKED_AT_ONCE as usize).map(|o| after(o.order));
        for o in read {
            if held.map_or(Ok(true), |h| h.may_see(v, &o))? {
                found.push(o);
                if found.len() > LIKELY_MEANT as usize {
                    return Ok(found);
                }
            }
        }
        match next {
            Some(Some(next)) if next <= to => from = next,
            _ => break,
        }
    }
    Ok(found)
}

/// The next id.
fn after(id: OrderId) -> Option<OrderId> {
    u128::from_be_bytes(id.0).checked_add(1).map(|n| OrderId(n.to_be_bytes()))
}

fn ambiguous(found: &[OrderRecord]) -> Problem {
    let most = LIKELY_MEANT as usize;
    let named: Vec<String> = found.iter().take(most).map(|o| o.order.to_string()).collect();
    let more = if found.len() > most { " and more" } else { "" };
    let detail = format!("more than one order's id begins so: {}{more}; give more digits", named.join(", "));
    Problem::new(http::StatusCode::CONFLICT, "ambiguous", detail)
}

#[utoipa::path(get, path = "/api/v1/orders/{order}", params(
    ("order" = String, Path, description = "an order id, or its first 6 digits or more"),
), responses(
    (status = 200, body = OrderDetail),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "several orders' ids begin so; it names them"),
))]
pub(crate) async fn get_order(
    permit: Permit<Commands>,
    Extension(room): Extension<Arc<Room>>,
    Path(order): Path<String>,
) -> Result<Json<OrderDetail>, Problem> {
    let (from, to) = bounds(&order).ok_or_else(|| Problem::not_found("order"))?;
    let group = permit.actor().group().map(str::to_owned);
    let held = Held::of(permit.actor());
    let read = room.store.read(move |v| {
        let found = begin_so(v, from, to, held.as_ref())?;
        let commands = match found.as_slice() {
            [one] => {
                let order = Some(one.order);
                v.commands(&CommandFilter { order, group, limit: 200, ..CommandFilter::default() })?
            }
            _ => Vec::new(),
        };
        Ok((found, commands))
    });
    let (mut found, commands) = read.await?;
    if found.len() > 1 {
        return Err(ambiguous(&found));
    }
    let found = found.pop().ok_or_else(|| Problem::not_found("order"))?;
    let commands = commands.into_iter().map(|c| Command::from(c).beside(&room)).collect();
    Ok(Json(OrderDetail { order: found.into(), commands }))
}

/// What tells of phones of every group is not for someone who is held to one.
pub(crate) fn not_held_to_a_group<R>(permit: &Permit<R>) -> Result<(), Problem> {
    match permit.actor().group() {
        None => Ok(()),
        Some(_) => {
            Err(Problem::forbidden("this tells of every group; someone who is held to one does not see it"))
        }
    }
}

#[utoipa::path(get, path = "/api/v1/orders/pending", params(PageQuery), responses(
    (status = 200, body = Page<Order>, description = "those that wait for another signature, oldest first"),
    (status = 403, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn list_pending(
    permit: Permit<SignedIn>,
    Extension(room): Extension<Arc<Room>>,
    Params(q): Params<PageQuery>,
) -> Result<Json<Page<Order>>, Problem> {
    not_held_to_a_group(&permit)?;
    let limit = limit(q.limit)?;
    let after = cursor_from(q.cursor.as_deref())?.map_or(0, |c| c.0);
    let mut items = room.store.read(move |v| v.pending_orders(after, limit + 1)).await?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next_cursor = items.last().filter(|_| more).map(|o| cursor_of((o.number, 0)));
    Ok(Json(Page { items: items.into_iter().map(Order::from).collect(), next_cursor }))
}

/// How many phones stand where with what an order asks of them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Progress {
    queued: u32,
    sent: u32,
    not_now: u32,
    acknowledged: u32,
    error: u32,
    expired: u32,
    cancelled: u32,
}

impl From<store::Progress> for Progress {
    fn from(p: store::Progress) -> Self {
        Self {
            queued: p.of(CommandState::Queued),
            sent: p.of(CommandState::Sent),
            not_now: p.of(CommandState::NotNow),
            acknowledged: p.of(CommandState::Acknowledged),
            error: p.of(CommandState::Error),
            expired: p.of(CommandState::Expired),
            cancelled: p.of(CommandState::Cancelled),
        }
    }
}

/// An order that still does something to phones, or will.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UnderWay {
    #[serde(flatten)]
    order: Order,
    progress: Progress,
}

/// An order whose commands some phone has not answered for good, or that cools off.
fn under_way(
    v: &View<'_>,
    o: OrderRecord,
    group: Option<&str>,
    now_ms: TimeMs,
) -> Result<Option<UnderWay>, StoreError> {
    let live = matches!(o.state, OrderState::Accepted | OrderState::CoolingOff)
        && o.recalled_at_ms.is_none()
        && o.expires_at_ms > now_ms
        && o.targets > 0;
    if !live {
        return Ok(None);
    }
    let progress = v.order_progress(o.order, group)?;
    let open = o.state == OrderState::CoolingOff || progress.open() > 0;
    Ok(open.then(|| UnderWay { order: o.into(), progress: progress.into() }))
}

/// The most orders that cool off that are told at once; what erases more than a few phones is ordered less often.
const MOST_COOLING: u32 = 1_000;

/// Which of those under way.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnderWayQuery {
    /// 1 to 200, by default 50.
    limit: Option<u32>,
    /// Where the page before ended.
    cursor: Option<String>,
    /// Those alone that cool off, all of them, those that end first in front.
    cooling: Option<bool>,
}

#[utoipa::path(get, path = "/api/v1/orders/under_way", params(UnderWayQuery), responses(
    (status = 200, body = Page<UnderWay>, description = "those that cool off, and those whose commands not every phone has answered, newest first"),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn list_under_way(
    permit: Permit<Commands>,
    Extension(room): Extension<Arc<Room>>,
    Params(q): Params<UnderWayQuery>,
) -> Result<Json<Page<UnderWay>>, Problem> {
    let cooling = q.cooling.unwrap_or(false);
    let limit = limit(q.limit)? as usize;
    let mut before = cursor_from(q.cursor.as_deref())?.map_or(i64::MAX, |c| c.0);
    let held = Held::of(permit.actor());
    let (group, now_ms) = (permit.actor().group().map(str::to_owned), room.now_ms());
    let read = room.store.read(move |v| {
        let mut items = Vec::new();
        let seen = |o: &OrderRecord| held.as_ref().map_or(Ok(true), |h| h.may_see(v, o));
        if cooling {
            for o in v.cooling_orders(MOST_COOLING)? {
                if seen(&o)? {
                    items.extend(under_way(v, o, group.as_deref(), now_ms)?);
                }
            }
            return Ok((items, None));
        }
        for _ in 0..LOOKED_THROUGH / 100 {
            let found = v.orders(before, 100)?;
            if found.is_empty() {
                return Ok((items, None));
            }
            for o in found {
                before = o.number;
                if !seen(&o)? {
                    continue;
                }
                items.extend(under_way(v, o, group.as_deref(), now_ms)?);
                if items.len() == limit {
                    return Ok((items, Some(before)));
                }
            }
        }
        Ok((items, Some(before)))
    });
    let (items, next) = read.await?;
    Ok(Json(Page { items, next_cursor: next.map(|number| cursor_of((number, 0))) }))
}

/// An order as it was signed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignedBytes {
    /// order::SignedOrder as CBOR, in base64: the very bytes that were signed, with the signatures so far. What
    /// lies sealed beside it stays here.
    signed_order: String,
    #[schema(value_type = String)]
    state: OrderState,
}

#[utoipa::path(get, path = "/api/v1/orders/{order}/signed", params(
    ("order" = String, Path, description = "an order id"),
), responses(
    (status = 200, body = SignedBytes),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn get_signed(
    permit: Permit<SignedIn>,
    Extension(room): Extension<Arc<Room>>,
    Path(order): Path<String>,
) -> Result<Json<SignedBytes>, Problem> {
    not_held_to_a_group(&permit)?;
    let order: OrderId = id("order", &order)?;
    let found = room.store.read(move |v| v.find_order(order)).await?;
    let found = found.ok_or_else(|| Problem::not_found("order"))?;
    Ok(Json(SignedBytes { signed_order: encode(&found.signed), state: found.state }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_found_by_six_digits_or_more_and_by_nothing_else() {
        let id: OrderId = "ab".repeat(16).parse().unwrap();
        for good in ["ababab", "ABABABA", &"ab".repeat(16)] {
            let (from, to) = bounds(good).unwrap();
            assert!(from <= id && id <= to, "{good}");
        }
        let (from, to) = bounds("ababac").unwrap();
        assert!(!(from <= id && id <= to));
        for bad in ["", "ababa", "ababag", &"ab".repeat(17), "ab%2fab", "äbabab"] {
            assert_eq!(bounds(bad), None, "{bad}");
        }
    }
}
