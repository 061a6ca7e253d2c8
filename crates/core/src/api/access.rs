//! Who may call a route, in its type.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::Method;
use http::header::AUTHORIZATION;
use http::request::Parts;
use model::{Digest, TimeMs};
use order::ApiScope;

use super::problem::Problem;
use crate::access::{Actor, Reader, SecretOf, Session};
use crate::holder::{Holder, is_held};
use crate::room::Room;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone; the reason why.
    Public(&'static str),
    /// A session, or an API key with this scope. One that was signed in by OpenID Connect reads, and changes nothing.
    Scope(ApiScope),
    /// A session that somebody's grant made.
    Session,
    /// The same, or to read one that was signed in by OpenID Connect.
    SignedIn,
    /// A phone's holder alone, with the code of the holder's card, and nobody else.
    Holder,
    /// A session of an administrator's or an engineer's, that their grant made.
    Runs,
    /// The same, or an API key with this scope.
    RunsOr(ApiScope),
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
    /// Whoever may only read may change this, since it is their own.
    const READERS_OWN: bool = false;
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
    /// A person who may sign, not a program.
    InSession = Access::Session;
    /// A person, not a program.
    SignedIn = Access::SignedIn;
    /// A phone's holder, for that phone.
    Holders = Access::Holder;
    /// Someone who runs the house.
    Runs = Access::Runs;
    /// The same, or a witness with its key.
    HandsBack = Access::RunsOr(ApiScope::Ledger);
);

/// The caller's own session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnSession;

impl Reach for OwnSession {
    const ACCESS: Access = Access::SignedIn;
    const READERS_OWN: bool = true;
}

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
            Actor::Reader(_) => Err(Problem::reads_only()),
            Actor::Holder(_) => Err(Problem::holders_only_their_own()),
            Actor::Key { .. } => Err(Problem::forbidden("this needs a session; an API key only reads masks")),
        }
    }
}

impl Permit<Holders> {
    /// The phone's holder.
    pub fn holder(&self) -> Result<&Holder, Problem> {
        match &self.0 {
            Actor::Holder(h) => Ok(h),
            _ => Err(Problem::for_holders()),
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
    if !scheme.eq_ignore_ascii_case("bearer") || secret.len() != 46 {
        return None;
    }
    let (hash, now_ms) = (order::sha256(secret.as_bytes()), room.now_ms());
    match secret.get(..3)? {
        "ms_" => room.access.find(SecretOf::Session, &hash, now_ms),
        "mk_" => room.access.find(SecretOf::Key, &hash, now_ms),
        "mh_" => held(room, &hash, now_ms).map(Actor::Holder),
        _ => None,
    }
}

/// A holder whose phone is still theirs.
fn held(room: &Room, hash: &Digest, now_ms: TimeMs) -> Option<Holder> {
    let holder = room.holders.find(hash, now_ms)?;
    if room.fleet.find(holder.enrolment()).is_some_and(|p| is_held(p.state)) {
        return Some(holder);
    }
    room.holders.end(hash);
    None
}

/// The first digits of a reader's subject, by which people and the log tell them apart.
pub(crate) fn short(subject: Digest) -> String {
    subject.to_string().chars().take(8).collect()
}

/// A page that asks for itself again says so: nobody is there for that.
const UNATTENDED: &str = "x-matron-unattended";

async fn keep_alive(room: &Room, reader: &Reader, headers: &http::HeaderMap) {
    if headers.contains_key(UNATTENDED) {
        return;
    }
    let hash = reader.hash();
    if let Some(idle_until_ms) = room.access.used(reader, room.now_ms()) {
        // Not kept, it only ends sooner after a restart.
        if let Err(e) = room.store.write(move |tx| tx.oidc_session_used(hash, idle_until_ms)).await {
            tracing::warn!(store.error = %e, "that a session was used could not be kept");
        }
    }
}

/// Stands before a route's handler and its extractors.
pub(crate) async fn guard<R: Reach>(mut request: Request, next: Next) -> Response {
    let Some(room) = request.extensions().get::<Arc<Room>>().cloned() else {
        return Problem::unauthorised().into_response();
    };
    let Some(actor) = authenticate(&room, request.headers()) else {
        room.counters.without_session.inc();
        return Problem::unauthorised().into_response();
    };
    // Deny by default, whatever the route is for: a holder has routes of their own, and they have nobody else.
    match (&actor, R::ACCESS) {
        (Actor::Holder(_), Access::Holder) => {}
        (Actor::Holder(_), _) => {
            room.counters.not_allowed.inc();
            return Problem::holders_only_their_own().into_response();
        }
        (_, Access::Holder) => {
            room.counters.not_allowed.inc();
            return Problem::for_holders().into_response();
        }
        _ => {}
    }
    if let Actor::Reader(reader) = &actor {
        // Deny by default, whatever the route is for: no change but of what is their own.
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let takes_a_grant = matches!(R::ACCESS, Access::Session | Access::Runs | Access::RunsOr(_));
        if takes_a_grant || !(reads || R::READERS_OWN) {
            room.counters.not_allowed.inc();
            return Problem::reads_only().into_response();
        }
        keep_alive(&room, reader, request.headers()).await;
    }
    let allowed = match R::ACCESS {
        Access::Public(_) => true,
        Access::Scope(scope) => actor.may_read(scope),
        Access::Session => matches!(actor, Actor::Person(_)),
        Access::SignedIn => matches!(actor, Actor::Person(_) | Actor::Reader(_)),
        Access::Holder => matches!(actor, Actor::Holder(_)),
        Access::Runs => actor.runs_the_house(),
        Access::RunsOr(scope) => match &actor {
            Actor::Key { .. } => actor.may_read(scope),
            _ => actor.runs_the_house(),
        },
    };
    if !allowed {
        room.counters.not_allowed.inc();
        let why = match &actor {
            Actor::Key { .. } => "this key's scopes do not cover it",
            _ => "this is an administrator's or an engineer's to do; ask one of them",
        };
        return Problem::forbidden(why).into_response();
    }
    let who = match &actor {
        Actor::Person(s) => Who(format!("person {}", s.person)),
        Actor::Reader(r) => Who(format!("reader {}", short(r.subject()))),
        Actor::Key { .. } => Who("api key".to_owned()),
        Actor::Holder(h) => Who(format!("holder of {}", h.enrolment())),
    };
    request.extensions_mut().insert(Permit::<R>(actor, PhantomData));
    let mut response = next.run(request).await;
    response.extensions_mut().insert(who);
    response
}

/// Who called, for the request's line in the log.
#[derive(Debug, Clone)]
pub(crate) struct Who(pub String);
