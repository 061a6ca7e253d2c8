//! Who may call a route, in its type.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::AUTHORIZATION;
use http::request::Parts;
use order::ApiScope;

use super::problem::Problem;
use crate::access::{Actor, Session};
use crate::room::Room;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone; the reason why.
    Public(&'static str),
    /// A session, or an API key with this scope.
    Scope(ApiScope),
    /// A session.
    Session,
}

/// A route of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteInfo {
    /// The HTTP method.
    pub method: &'static str,
    /// The path's template, such as `/api/v1/devices/{enrolment}`.
    pub path: String,
    /// Who may call it.
    pub access: Access,
}

/// Whom a route reaches.
pub(crate) trait Reach: Send + Sync + 'static {
    const ACCESS: Access;
}

macro_rules! reach {
    ($($(#[$doc:meta])* $name:ident = $access:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub(crate) struct $name;
        impl Reach for $name {
            const ACCESS: Access = $access;
        }
    )*};
}

reach!(
    /// Phones with their masks.
    Devices = Access::Scope(ApiScope::Devices);
    /// Commands and orders.
    Commands = Access::Scope(ApiScope::Commands);
    /// The ledger.
    Ledger = Access::Scope(ApiScope::Ledger);
    /// Metrics and health.
    Metrics = Access::Scope(ApiScope::Metrics);
    /// A person, not a program.
    InSession = Access::Session;
);

/// Proof that the guard of `R` let the caller in. A handler that takes one can't be reached without.
#[derive(Debug)]
pub(crate) struct Permit<R>(Actor, PhantomData<R>);

impl<R> Clone for Permit<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<R> Permit<R> {
    /// Who calls.
    pub fn actor(&self) -> &Actor {
        &self.0
    }

    /// The session, when it is a person.
    pub fn session(&self) -> Result<&Session, Problem> {
        match &self.0 {
            Actor::Person(s) => Ok(s),
            Actor::Key { .. } => Err(Problem::forbidden("this needs a session; an API key only reads masks")),
        }
    }
}

impl<R: Reach, S: Sync> FromRequestParts<S> for Permit<R> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // Without its guard a route lets nobody in.
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::unauthorised)
    }
}

fn authenticate(room: &Room, parts: &http::HeaderMap) -> Option<Actor> {
    let mut given = parts.get_all(AUTHORIZATION).iter();
    let text = given.next()?.to_str().ok()?;
    // Two credentials are none.
    if given.next().is_some() {
        return None;
    }
    let (scheme, secret) = text.split_once(' ')?;
    let well_formed = secret.len() == 46 && (secret.starts_with("ms_") || secret.starts_with("mk_"));
    if !scheme.eq_ignore_ascii_case("bearer") || !well_formed {
        return None;
    }
    room.access.find(&order::sha256(secret.as_bytes()), room.now_ms())
}

/// Stands before a route's handler and its extractors.
pub(crate) async fn guard<R: Reach>(mut request: Request, next: Next) -> Response {
    let Some(room) = request.extensions().get::<Arc<Room>>().cloned() else {
        return Problem::unauthorised().into_response();
    };
    let Some(actor) = authenticate(&room, request.headers()) else {
        room.counters.requests_refused.inc();
        return Problem::unauthorised().into_response();
    };
    let allowed = match R::ACCESS {
        Access::Public(_) => true,
        Access::Scope(scope) => actor.may_read(scope),
        Access::Session => matches!(actor, Actor::Person(_)),
    };
    if !allowed {
        room.counters.requests_refused.inc();
        return Problem::forbidden("this key's scopes do not cover it").into_response();
    }
    let who = match &actor {
        Actor::Person(s) => Who(format!("person {}", s.person)),
        Actor::Key { .. } => Who("api key".to_owned()),
    };
    request.extensions_mut().insert(Permit::<R>(actor, PhantomData));
    let mut response = next.run(request).await;
    response.extensions_mut().insert(who);
    response
}

/// Who called, for the request's line in the log.
#[derive(Debug, Clone)]
pub(crate) struct Who(pub String);
