//! What a phone's holder sees of it and has done to it, with the code of the holder's card.

mod done;
pub(crate) mod seen;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ConnectInfo;
use axum::{Extension, Json};
use http::StatusCode;
use model::{Digest, StandingTemplate, TimeMs};
use order::HolderCode;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::access::{Holders, Permit};
use super::problem::{Problem, ProblemBody};
use super::shape::Input;
use crate::holder::{LIFE_MS, NotDone, act, is_held};
use crate::room::Room;

type Peer = Option<Extension<ConnectInfo<SocketAddr>>>;

/// A holder signs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HolderSignIn {
    /// As it stands on the card; capitals, hyphens and spaces don't count.
    code: String,
    /// SHA-256 of the secret that the session is to have: `mh_` and 32 random bytes in base64url.
    #[schema(value_type = String)]
    session: Digest,
}

/// A holder's session.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HolderSignedIn {
    expires_at_ms: TimeMs,
}

#[utoipa::path(post, path = "/api/v1/my-phone/session", request_body = HolderSignIn, responses(
    (status = 200, body = HolderSignedIn),
    (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "the same for a wrong code, an old one and an unknown one"),
    (status = 429, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn begin_my_phone(
    Extension(room): Extension<Arc<Room>>,
    peer: Peer,
    Input(asked): Input<HolderSignIn>,
) -> Result<Json<HolderSignedIn>, Problem> {
    let from = peer.map(|Extension(ConnectInfo(peer))| peer.ip());
    let typed = Zeroizing::new(asked.code);
    let code = HolderCode::read(&typed);
    let found = match &code {
        Some(code) => {
            let hash = code.hash();
            room.store.read(move |v| v.find_holder_card(hash)).await?
        }
        None => None,
    };
    let held = found.filter(|c| room.fleet.find(c.enrolment).is_some_and(|p| is_held(p.state)));
    let now_ms = room.now_ms();
    let (Some(code), Some(card)) = (code, held) else {
        // Only wrong ones wait: a ward's computers often come from one address, and 100 bits are not guessed.
        if from.is_some_and(|from| !room.holder_strangers.may_try(from, Instant::now())) {
            room.counters.holder("held_up");
            let detail = "this code opens no phone's page, and too many from your address were wrong: wait a minute, look at it once more";
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "held_up", detail));
        }
        if let Some(from) = from {
            room.holder_strangers.failed(from, Instant::now());
        }
        room.counters.holder("refused");
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "wrong_code",
            "this code opens no phone's page: look at it once more, or ask the service desk for a new card",
        ));
    };
    let hash = code.hash();
    if !room.holders.begin(asked.session, card.enrolment, code, now_ms) {
        return Err(Problem::unreadable("session is that of another one; mint a new secret"));
    }
    // Another card may have come in between.
    if room.store.read(move |v| v.find_holder_card(hash)).await?.is_none() {
        room.holders.end(&asked.session);
    }
    room.counters.holder("signed_in");
    tracing::info!(enrolment.id = %card.enrolment, "a phone's holder signed in");
    Ok(Json(HolderSignedIn { expires_at_ms: now_ms + LIFE_MS }))
}

#[utoipa::path(delete, path = "/api/v1/my-phone/session", responses(
    (status = 204, description = "its secret is worth nothing from now on, and the code is forgotten"),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn end_my_phone(
    permit: Permit<Holders>,
    Extension(room): Extension<Arc<Room>>,
) -> Result<StatusCode, Problem> {
    room.holders.end(&permit.holder()?.hash());
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(post, path = "/api/v1/my-phone/lost-mode", responses(
    (status = 204, description = "asked of the phone; what it confirms stands under /api/v1/my-phone"),
    (status = 403, body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "code says which: not_switched_on, not_supervised, not_enrolled"),
))]
pub(crate) async fn lose_my_phone(
    permit: Permit<Holders>,
    Extension(room): Extension<Arc<Room>>,
) -> Result<StatusCode, Problem> {
    done(&room, &permit, StandingTemplate::HolderLostMode).await
}

#[utoipa::path(post, path = "/api/v1/my-phone/ring", responses(
    (status = 204, description = "asked of the phone, which rings in lost mode alone"),
    (status = 403, body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "code says which: not_switched_on, not_supervised, not_enrolled"),
))]
pub(crate) async fn ring_my_phone(
    permit: Permit<Holders>,
    Extension(room): Extension<Arc<Room>>,
) -> Result<StatusCode, Problem> {
    done(&room, &permit, StandingTemplate::HolderRings).await
}

async fn done(
    room: &Arc<Room>,
    permit: &Permit<Holders>,
    template: StandingTemplate,
) -> Result<StatusCode, Problem> {
    let acted = act(room, permit.holder()?, template).await;
    room.counters.holder(match &acted {
        Ok(()) => "acted",
        Err(_) => "not_acted",
    });
    acted.map_err(problem)?;
    Ok(StatusCode::NO_CONTENT)
}

fn problem(e: NotDone) -> Problem {
    let conflict = |code, detail: &str| Problem::new(StatusCode::CONFLICT, code, detail);
    match e {
        NotDone::NotSwitchedOn => conflict(
            "not_switched_on",
            "the hospital has not switched this on for holders; call the service desk, which can do it",
        ),
        NotDone::NotEnrolled => {
            conflict("not_enrolled", "the phone is not under management; call the service desk")
        }
        NotDone::NotSupervised => conflict(
            "not_supervised",
            "this phone is set up so that it can't be put in lost mode; call the service desk",
        ),
        NotDone::SignedOut => Problem::unauthorised(),
        NotDone::Refused(refusal) => Problem::refused(refusal.number()),
        NotDone::VaultAway => Problem::vault_away(),
        NotDone::Store(e) => e.into(),
    }
}
