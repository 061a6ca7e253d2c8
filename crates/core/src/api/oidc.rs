//! Signing in by an OpenID provider, to read masks.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use aws_lc_rs::rand::SecureRandom;
use axum::extract::ConnectInfo;
use axum::{Extension, Json};
use http::StatusCode;
use model::Digest;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::access::{Permit, SignedIn, short};
use super::orders::not_held_to_a_group;
use super::problem::{Problem, ProblemBody};
use super::shape::{Input, Page, decode, encode};
use crate::config::OidcConfig;
use crate::oidc::{Back, Begun, NotIn, finish, location};
use crate::room::Room;

type Peer = Option<Extension<ConnectInfo<SocketAddr>>>;

/// Whether there is a provider.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Oidc {
    configured: bool,
}

#[utoipa::path(get, path = "/api/v1/oidc", responses((status = 200, body = Oidc)))]
pub(crate) async fn get_oidc(Extension(room): Extension<Arc<Room>>) -> Json<Oidc> {
    Json(Oidc { configured: room.config.oidc.is_some() })
}

fn configured(room: &Room) -> Result<&OidcConfig, Problem> {
    room.config.oidc.as_ref().ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "no OpenID provider is configured here (oidc.issuer)",
        )
    })
}

/// A sign-in that begins.
#[derive(Serialize, ToSchema)]
pub(crate) struct OidcBegun {
    /// 32 bytes in base64, for the browser that goes there to keep: it alone can end this sign-in.
    secret: String,
    /// Where it goes.
    location: String,
}

#[utoipa::path(post, path = "/api/v1/oidc/begin", responses(
    (status = 200, body = OidcBegun),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    (status = 429, body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn begin_oidc(
    Extension(room): Extension<Arc<Room>>,
    peer: Peer,
) -> Result<Json<OidcBegun>, Problem> {
    let config = configured(&room)?;
    may_try(&room, from(&peer))?;
    let mut secret = [0u8; 32];
    room.random.fill(&mut secret).map_err(|_| Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR))?;
    let location = location(&room, config, &Begun::of(secret)).await.map_err(|e| problem(&room, e))?;
    Ok(Json(OidcBegun { secret: encode(&secret), location }))
}

/// What a browser came back with from the provider.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OidcBack {
    /// As it was given when it began.
    secret: String,
    state: String,
    code: Option<String>,
    /// The provider's error code, where it gave one.
    error: Option<String>,
    /// The issuer, where the provider gave it (RFC 9207).
    iss: Option<String>,
    /// SHA-256 of the secret that the session is to have.
    #[schema(value_type = String)]
    session: Digest,
}

/// A session that reads masks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OidcSignedIn {
    role: String,
    group: Option<String>,
    expires_at_ms: i64,
}

#[utoipa::path(post, path = "/api/v1/oidc/finish", request_body = OidcBack, responses(
    (status = 200, body = OidcSignedIn),
    (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "code says which: oidc_no_role, oidc_groups_left_out, oidc_denied, oidc_not_begun_here, oidc_refused"),
    (status = 429, body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn finish_oidc(
    Extension(room): Extension<Arc<Room>>,
    peer: Peer,
    Input(back): Input<OidcBack>,
) -> Result<Json<OidcSignedIn>, Problem> {
    let config = configured(&room)?;
    let from = from(&peer);
    may_try(&room, from)?;
    let Ok(_place) = room.oidc_places.try_acquire() else {
        let detail = "many people are signing in just now; try again in a moment";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail));
    };
    let secret = decode("secret", &back.secret)?;
    let secret = secret.try_into().map_err(|_| Problem::unreadable("secret is not 32 bytes"))?;
    let back = Back {
        begun: Begun::of(secret),
        state: &back.state,
        code: back.code.as_deref(),
        error: back.error.as_deref(),
        issuer: back.iss.as_deref(),
        session: back.session,
    };
    let made = finish(&room, config, back).await.map_err(|e| {
        // Not whoever is known and has no role, nor all of them when the provider or a clock is out of order.
        let strange = matches!(e, NotIn::NotBegunHere | NotIn::Code);
        if let Some(from) = from.filter(|_| strange) {
            room.oidc_strangers.failed(from, Instant::now());
        }
        problem(&room, e)
    })?;
    room.counters.oidc("signed_in");
    tracing::info!(oidc.role = made.role, oidc.subject = short(made.subject), "signed in to read masks");
    Ok(Json(OidcSignedIn { role: made.role, group: made.group, expires_at_ms: made.expires_at_ms }))
}

fn from(peer: &Peer) -> Option<IpAddr> {
    peer.as_ref().map(|Extension(ConnectInfo(peer))| peer.ip())
}

fn may_try(room: &Room, from: Option<IpAddr>) -> Result<(), Problem> {
    if from.is_none_or(|from| room.oidc_strangers.may_try(from, Instant::now())) {
        return Ok(());
    }
    room.counters.strangers_held_up.inc();
    let detail = "too many sign-ins from your address failed; wait a minute, then try again";
    Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "held_up", detail))
}

/// Counts and logs why, and tells the person what to do.
fn problem(room: &Room, e: NotIn) -> Problem {
    room.counters.oidc(e.word());
    tracing::warn!(oidc.reason = e.word(), "nobody was signed in by the OpenID provider");
    let forbidden = |code, detail: &str| Problem::new(StatusCode::FORBIDDEN, code, detail);
    match e {
        NotIn::NoRole => forbidden(
            "oidc_no_role",
            "your account is known, but none of its groups may read here; ask whoever runs Matron to add one to oidc.roles",
        ),
        NotIn::GroupsLeftOut => forbidden(
            "oidc_groups_left_out",
            "your account is in more groups than the provider puts into its token; whoever runs the provider has to send only \
             the groups that are assigned to Matron",
        ),
        NotIn::Denied => forbidden(
            "oidc_denied",
            "the provider did not let you in, or you said no there; try again, or ask whoever runs the provider",
        ),
        NotIn::NotBegunHere => forbidden(
            "oidc_not_begun_here",
            "this sign-in was not begun in this browser, or too long ago; sign in again from Matron's own page",
        ),
        NotIn::Code | NotIn::Unfit(_) | NotIn::Taken => forbidden(
            "oidc_refused",
            "what the provider said of you was refused; try again, and if it stays so, tell whoever runs Matron: the log says why",
        ),
        NotIn::Provider => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "oidc_provider",
            "the provider does not answer as it should; try again in a minute, or sign in with a passkey. The log says more",
        ),
        NotIn::TooOften => Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "oidc_too_often",
            "your account signed in 20 times within an hour; wait until the first of them is an hour old, or use a session that stands",
        ),
        NotIn::TooMany => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "oidc_too_many",
            "more people signed in within the hour than Matron takes; wait a while, or sign in with a passkey",
        ),
        NotIn::Store => Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// Someone who is signed in to read masks. Who it is the provider knows.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OidcSession {
    /// SHA-256 of its secret: by this it can be ended.
    #[schema(value_type = String)]
    session: Digest,
    /// The same for all sign-ins of one person.
    subject: String,
    role: String,
    group: Option<String>,
    began_at_ms: i64,
    expires_at_ms: i64,
}

#[utoipa::path(get, path = "/api/v1/oidc/sessions", responses(
    (status = 200, body = Page<OidcSession>, description = "all that have not ended, the first to end first"),
    (status = 403, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn list_oidc_sessions(
    permit: Permit<SignedIn>,
    Extension(room): Extension<Arc<Room>>,
) -> Result<Json<Page<OidcSession>>, Problem> {
    not_held_to_a_group(&permit)?;
    let items = room.access.readers(room.now_ms()).into_iter().map(|r| OidcSession {
        session: r.hash,
        subject: short(r.subject),
        role: r.role,
        group: r.group,
        began_at_ms: r.began_at_ms,
        expires_at_ms: r.expires_at_ms,
    });
    Ok(Json(Page { items: items.collect(), next_cursor: None }))
}
