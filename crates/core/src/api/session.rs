//! The caller's own session, and when to look again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use model::{Compartment, Digest, PersonId, TimeMs};
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::access::{OwnSession, Permit, SignedIn};
use super::problem::{Problem, ProblemBody};
use crate::access::{Actor, SecretOf};
use crate::room::Room;

/// Changes are told of at most so often.
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// Something is said at least so often, so that a connection that is gone is noticed.
const SILENT_AT_MOST: Duration = Duration::from_secs(20);
/// A stream ends by itself; whoever comes back shows that the session still stands.
const LONGEST_STREAM: Duration = Duration::from_secs(300);

/// Who calls.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Session {
    /// Who signs orders; null: nobody, this session only reads masks.
    #[schema(value_type = Option<String>)]
    person: Option<PersonId>,
    /// `grant`: an order that was signed. `oidc`: an OpenID provider's word.
    signed_in_by: &'static str,
    role: &'static str,
    /// The group the role is held to.
    group: Option<String>,
    /// SHA-256 of the session's secret: searches are sealed with it.
    #[schema(value_type = String)]
    session: Digest,
    /// What its grant opens.
    #[schema(value_type = Vec<String>)]
    compartments: Vec<Compartment>,
    expires_at_ms: TimeMs,
    /// The server's clock.
    now_ms: TimeMs,
}

fn hash_of<R>(permit: &Permit<R>) -> Result<Digest, Problem> {
    match permit.actor() {
        Actor::Reader(r) => Ok(r.hash()),
        _ => permit.session().map(|s| s.hash),
    }
}

#[utoipa::path(get, path = "/api/v1/session", responses(
    (status = 200, body = Session),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn get_session(
    permit: Permit<OwnSession>,
    Extension(room): Extension<Arc<Room>>,
) -> Result<Json<Session>, Problem> {
    if let Actor::Reader(r) = permit.actor() {
        return Ok(Json(Session {
            person: None,
            signed_in_by: "oidc",
            role: r.role().name(),
            group: r.group().map(str::to_owned),
            session: r.hash(),
            compartments: Vec::new(),
            expires_at_ms: r.ends_at_ms(),
            now_ms: room.now_ms(),
        }));
    }
    let s = permit.session()?;
    Ok(Json(Session {
        person: Some(s.person),
        signed_in_by: "grant",
        role: s.role.name(),
        group: s.group.clone(),
        session: s.hash,
        compartments: Compartment::ALL.into_iter().filter(|c| s.covers(*c)).collect(),
        expires_at_ms: s.expires_at_ms,
        now_ms: room.now_ms(),
    }))
}

#[utoipa::path(delete, path = "/api/v1/session", responses(
    (status = 204, description = "its secret is worth nothing from now on; its grant is not spent further"),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn end_session(
    permit: Permit<OwnSession>,
    Extension(room): Extension<Arc<Room>>,
) -> Result<StatusCode, Problem> {
    let hash = hash_of(&permit)?;
    if matches!(permit.actor(), Actor::Reader(_)) {
        room.store.write(move |tx| tx.end_oidc_session(hash)).await?;
        room.access.end_reader(&hash);
    } else {
        room.store.write(move |tx| tx.end_session(hash)).await?;
        room.access.end_session(&hash);
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Server-sent events: `changed` whenever something was committed, a second apart at least. They say nothing of what it
/// is; whoever listens asks again.
#[utoipa::path(get, path = "/api/v1/changes", responses(
    (status = 200, content_type = "text/event-stream", description = "events `changed`, for five minutes at most"),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn changes(
    permit: Permit<SignedIn>,
    Extension(room): Extension<Arc<Room>>,
) -> Result<Response, Problem> {
    let hash = hash_of(&permit)?;
    let ends = Instant::now() + LONGEST_STREAM;
    let (tx, rx) = tokio::sync::mpsc::channel::<Result<Bytes, Infallible>>(1);
    let (mut commits, mut stopping) = (room.store.commits(), room.stopping.subscribe());
    tokio::spawn(async move {
        let mut say = Bytes::from_static(b": open\n\n");
        loop {
            let said = tokio::select! {
                said = tx.send(Ok(say)) => said,
                // Someone who does not read is not waited for.
                () = tokio::time::sleep_until(ends) => return,
                _ = stopping.changed() => return,
            };
            if said.is_err() || Instant::now() >= ends {
                return;
            }
            tokio::time::sleep(TOLD_EVERY).await;
            // Whoever signed out, or was put out, is told nothing more.
            if room.access.find(SecretOf::Session, &hash, room.now_ms()).is_none() {
                return;
            }
            say = tokio::select! {
                changed = commits.changed() => match changed {
                    Ok(()) => Bytes::from_static(b"event: changed\ndata:\n\n"),
                    Err(_) => return,
                },
                () = tokio::time::sleep(SILENT_AT_MOST) => Bytes::from_static(b": still here\n\n"),
                _ = stopping.changed() => return,
                () = tx.closed() => return,
            };
        }
    });
    let body = Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(rx));
    let mut response = body.into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Ok(response)
}
