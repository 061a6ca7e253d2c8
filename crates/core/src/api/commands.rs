//! Commands and their state, and free queries.

use std::sync::Arc;

use axum::extract::Path;
use axum::{Extension, Json};
use http::StatusCode;
use model::{CommandId, EnrolmentId, OrderId, Role};
use order::FreeQuery;
use serde::{Deserialize, Serialize};
use store::{CommandFilter, CommandItem, CommandState, EnrolmentState, ErrorLink, PushState};
use utoipa::{IntoParams, ToSchema};

use super::access::{Commands, InSession, Permit};
use super::devices::named;
use super::problem::{Problem, ProblemBody};
use super::shape::{Input, Page, Params, cursor_from, cursor_of, id, limit};
use crate::queries::ask_phones;
use crate::room::Room;

/// The most phones one request names, and the most commands it asks about.
const MOST_PHONES: usize = 20_000;

/// One link of Apple's error chain.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CommandError {
    code: i64,
    domain: String,
}

/// A command to one phone.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Command {
    #[schema(value_type = String)]
    pub(super) command: CommandId,
    #[schema(value_type = String)]
    pub(super) enrolment: EnrolmentId,
    #[schema(value_type = Option<String>)]
    order: Option<OrderId>,
    request_type: String,
    #[schema(value_type = String)]
    state: CommandState,
    created_at_ms: i64,
    sent_at_ms: Option<i64>,
    done_at_ms: Option<i64>,
    errors: Vec<CommandError>,
    not_now_count: u32,
    expires_at_ms: i64,
    /// When its phone was last heard of.
    phone_last_seen_ms: Option<i64>,
    /// Whether its phone can be woken.
    #[schema(value_type = Option<String>)]
    phone_push: Option<PushState>,
}

impl Command {
    /// What is known of its phone now.
    pub(super) fn beside(mut self, room: &Room) -> Self {
        if let Some(p) = room.fleet.find(self.enrolment) {
            self.phone_last_seen_ms = (p.last_seen_ms > 0).then_some(p.last_seen_ms);
            self.phone_push = Some(p.push);
        }
        self
    }
}

impl From<CommandItem> for Command {
    fn from(c: CommandItem) -> Self {
        let link = |e: ErrorLink| CommandError { code: e.code, domain: e.domain };
        Self {
            command: c.command,
            enrolment: c.enrolment,
            order: c.order,
            request_type: c.request_type,
            state: c.state,
            created_at_ms: c.created_at_ms,
            sent_at_ms: c.sent_at_ms,
            done_at_ms: c.done_at_ms,
            errors: c.errors.into_iter().map(link).collect(),
            not_now_count: c.not_now_count,
            expires_at_ms: c.expires_at_ms,
            phone_last_seen_ms: None,
            phone_push: None,
        }
    }
}

/// A command at all its phones (one order has one command id for all of them). The first phone's
/// state stands at the top as well.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CommandDetail {
    #[serde(flatten)]
    first: Command,
    phones: Vec<Command>,
}

/// Which commands.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CommandsQuery {
    /// queued, sent, not_now, acknowledged, error, expired or cancelled.
    state: Option<String>,
    /// Of this order.
    order: Option<String>,
    /// To this phone.
    enrolment: Option<String>,
    /// 1 to 200, by default 50.
    limit: Option<u32>,
    /// Where the page before ended.
    cursor: Option<String>,
}

async fn page(
    room: &Room,
    permit: &Permit<Commands>,
    q: CommandsQuery,
) -> Result<Json<Page<Command>>, Problem> {
    let limit = limit(q.limit)?;
    let state = match q.state.as_deref() {
        None => None,
        Some(s) => {
            Some(CommandState::from_name(s).ok_or_else(|| Problem::bad("state is none of its words"))?)
        }
    };
    let slot = match q.enrolment.as_deref() {
        None => None,
        Some(e) => Some(named(room, permit.actor(), e).await?.slot),
    };
    let order = q.order.as_deref().map(|o| id::<OrderId>("order", o)).transpose()?;
    let group = permit.actor().group().map(str::to_owned);
    let after = cursor_from(q.cursor.as_deref())?;
    let filter = CommandFilter { slot, order, state, group, ordered: false, after, limit: limit + 1 };
    let mut items = room.store.read(move |v| v.commands(&filter)).await?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next_cursor = items.last().filter(|_| more).map(|i| cursor_of(i.place));
    let items = items.into_iter().map(|c| Command::from(c).beside(room)).collect();
    Ok(Json(Page { items, next_cursor }))
}

#[utoipa::path(get, path = "/api/v1/commands", params(CommandsQuery), responses(
    (status = 200, body = Page<Command>),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn list_commands(
    permit: Permit<Commands>,
    Extension(room): Extension<Arc<Room>>,
    Params(q): Params<CommandsQuery>,
) -> Result<Json<Page<Command>>, Problem> {
    page(&room, &permit, q).await
}

#[utoipa::path(get, path = "/api/v1/devices/{enrolment}/commands", params(
    ("enrolment" = String, Path, description = "an enrolment id, or its first 6 digits or more"),
    CommandsQuery,
), responses(
    (status = 200, body = Page<Command>),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn list_device_commands(
    permit: Permit<Commands>,
    Extension(room): Extension<Arc<Room>>,
    Path(enrolment): Path<String>,
    Params(q): Params<CommandsQuery>,
) -> Result<Json<Page<Command>>, Problem> {
    page(&room, &permit, CommandsQuery { enrolment: Some(enrolment), ..q }).await
}

#[utoipa::path(get, path = "/api/v1/commands/{command}", params(
    ("command" = String, Path, description = "a command's UUID"),
), responses(
    (status = 200, body = CommandDetail),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn get_command(
    permit: Permit<Commands>,
    Extension(room): Extension<Arc<Room>>,
    Path(command): Path<String>,
) -> Result<Json<CommandDetail>, Problem> {
    let command: CommandId = id("command", &command)?;
    let group = permit.actor().group().map(str::to_owned);
    let most = u32::try_from(MOST_PHONES).unwrap_or(u32::MAX);
    let read = room.store.read(move |v| {
        let mut items = v.command_items(command, most)?;
        if let Some(group) = group {
            let mut own = Vec::new();
            for i in items {
                if v.find_device(i.enrolment)?.is_some_and(|d| d.group == group) {
                    own.push(i);
                }
            }
            items = own;
        }
        Ok(items)
    });
    let items = read.await?;
    let Some(first) = items.first().cloned() else { return Err(Problem::not_found("command")) };
    let phones = items.into_iter().map(Command::from).collect();
    Ok(Json(CommandDetail { first: first.into(), phones }))
}

/// Free queries to be asked.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ask {
    /// `DeviceInformation`, `SecurityInfo`, `InstalledApplicationList`, …
    queries: Vec<String>,
    /// These phones; null: every enrolled one.
    #[schema(value_type = Option<Vec<String>>)]
    targets: Option<Vec<EnrolmentId>>,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Asked {
    /// How many were queued; a phone that has the same query waiting already is left out.
    queued: u64,
}

#[utoipa::path(post, path = "/api/v1/queries", request_body = Ask, responses(
    (status = 202, body = Asked),
    (status = 403, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn ask(
    permit: Permit<InSession>,
    Extension(room): Extension<Arc<Room>>,
    Input(ask): Input<Ask>,
) -> Result<(StatusCode, Json<Asked>), Problem> {
    let session = permit.session()?;
    if session.role == Role::Auditor {
        return Err(Problem::forbidden("an auditor reads; another role asks phones"));
    }
    if ask.queries.is_empty() || ask.queries.len() > FreeQuery::ALL.len() {
        return Err(Problem::bad("name one query or more, each once"));
    }
    let queries = ask.queries.iter().map(|q| FreeQuery::from_request_type(q));
    let queries = queries.collect::<Option<Vec<_>>>().ok_or_else(|| {
        Problem::bad("a query is not on the list of read-only ones; what changes a phone takes an order")
    })?;
    if ask.targets.as_ref().is_some_and(|t| t.len() > MOST_PHONES) {
        return Err(Problem::bad("name at most 20000 phones"));
    }
    let group = session.group.clone();
    let read = room.store.read(move |v| {
        let mut phones = Vec::new();
        let mut unknown = None;
        match ask.targets {
            Some(targets) => {
                for t in targets {
                    match v.find_device(t)? {
                        Some(d)
                            if d.state == EnrolmentState::Enrolled
                                && group.as_ref().is_none_or(|g| *g == d.group) =>
                        {
                            phones.push((d.slot, t));
                        }
                        _ => unknown = unknown.or(Some(t)),
                    }
                }
            }
            None => {
                for e in v.live_enrolments()? {
                    let own = match &group {
                        Some(g) => v.group_of(e.slot)?.is_some_and(|of| of == *g),
                        None => true,
                    };
                    if e.state == EnrolmentState::Enrolled && own {
                        phones.push((e.slot, e.enrolment));
                    }
                }
            }
        }
        Ok((phones, unknown))
    });
    let (phones, unknown) = read.await?;
    if let Some(t) = unknown {
        let detail = "a phone named is not enrolled; nothing was queued";
        let problem = Problem::new(StatusCode::NOT_FOUND, "not_enrolled", detail);
        return Err(Problem { enrolments: vec![t.to_string()], ..problem });
    }
    // Once begun it goes on, also when the caller hangs up.
    let asking = tokio::spawn(async move { ask_phones(&room, phones, queries).await });
    let queued = asking.await.map_err(|_| store::StoreError::Panicked)??;
    Ok((StatusCode::ACCEPTED, Json(Asked { queued })))
}
