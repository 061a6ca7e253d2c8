//! Orders: carried to the vault, and listed.

use std::sync::Arc;

use axum::extract::{Path, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use model::{OrderId, PersonId};
use serde::{Deserialize, Serialize};
use store::{CommandFilter, OrderRecord, OrderState};
use utoipa::{IntoParams, ToSchema};

use super::access::{Commands, Permit};
use super::commands::Command;
use super::problem::{Problem, ProblemBody};
use super::shape::{Input, Page, Params, cursor_from, cursor_of, decode, encode, id, limit};
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
        return Err(Problem::refused(decided.refusal));
    }
    Ok(Json(Accepted {
        order: decided.order,
        accepted: true,
        position: decided.position,
        sealed_answer: (!answer.is_empty()).then(|| encode(&answer)),
        commands: decided.commands,
        erasing: decided.erasing,
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
    _permit: Permit<Commands>,
    Extension(room): Extension<Arc<Room>>,
    Params(q): Params<PageQuery>,
) -> Result<Json<Page<Order>>, Problem> {
    let limit = limit(q.limit)?;
    let before = cursor_from(q.cursor.as_deref())?.map_or(i64::MAX, |c| c.0);
    let mut items = room.store.read(move |v| v.orders(before, limit + 1)).await?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next_cursor = items.last().filter(|_| more).map(|o| cursor_of((o.number, 0)));
    Ok(Json(Page { items: items.into_iter().map(Order::from).collect(), next_cursor }))
}

#[utoipa::path(get, path = "/api/v1/orders/{order}", params(
    ("order" = String, Path, description = "an order id"),
), responses(
    (status = 200, body = OrderDetail),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn get_order(
    permit: Permit<Commands>,
    Extension(room): Extension<Arc<Room>>,
    Path(order): Path<String>,
) -> Result<Json<OrderDetail>, Problem> {
    let order: OrderId = id("order", &order)?;
    let group = permit.actor().group().map(str::to_owned);
    let read = room.store.read(move |v| {
        let filter = CommandFilter { order: Some(order), group, limit: 200, ..CommandFilter::default() };
        Ok((v.find_order(order)?, v.commands(&filter)?))
    });
    let (found, commands) = read.await?;
    let found = found.ok_or_else(|| Problem::not_found("order"))?;
    let commands = commands.into_iter().map(Command::from).collect();
    Ok(Json(OrderDetail { order: found.into(), commands }))
}
