//! The phones' certificates, who is late with renewing, and the standing orders.

use std::sync::Arc;

use axum::{Extension, Json};
use model::{EnrolmentId, OrderId, StandingInstall};
use serde::{Deserialize, Serialize};
use store::CertificateState;
use utoipa::{IntoParams, ToSchema};

use super::access::{Devices, Permit, SignedIn};
use super::problem::{Problem, ProblemBody};
use super::shape::{Page, Params, cursor_from, cursor_of, limit};
use crate::acts::stands;
use crate::renewal::{in_force, window};
use crate::room::Room;
use crate::standing_install::Rest;

/// Which phones.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CertificatesQuery {
    /// ok, due, asked, late or expired.
    state: Option<String>,
    /// Of this group.
    group: Option<String>,
    /// 1 to 200, by default 50.
    limit: Option<u32>,
    /// Where the page before ended.
    cursor: Option<String>,
}

/// A phone and its certificate.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Certificate {
    #[schema(value_type = String)]
    enrolment: EnrolmentId,
    group: String,
    /// `ok`; `due`: not asked yet; `asked`; `late`: in the last third of the time for it; `expired`: the phone
    /// can't connect any more, invite its holder again.
    state: &'static str,
    /// When the certificate that the phone uses ends.
    not_after_ms: i64,
    asked_at_ms: Option<i64>,
    /// It was given a new certificate and has not come with it yet.
    under_way: bool,
    last_seen_ms: Option<i64>,
}

#[utoipa::path(get, path = "/api/v1/certificates", params(CertificatesQuery), responses(
    (status = 200, body = Page<Certificate>),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn list_certificates(
    permit: Permit<Devices>,
    Extension(room): Extension<Arc<Room>>,
    Params(q): Params<CertificatesQuery>,
) -> Result<Json<Page<Certificate>>, Problem> {
    let limit = limit(q.limit)?;
    let after = cursor_from(q.cursor.as_deref())?;
    let state = match q.state.as_deref() {
        None => None,
        Some(word) => {
            let state = CertificateState::from_name(word);
            Some(state.ok_or_else(|| Problem::bad("state is ok, due, asked, late or expired"))?)
        }
    };
    let group = match permit.actor().group() {
        Some(own) if q.group.as_deref().is_some_and(|g| g != own) => {
            return Err(Problem::forbidden("your role reaches your own group's phones"));
        }
        Some(own) => Some(own.to_owned()),
        None => q.group,
    };
    let now_ms = room.now_ms();
    let read = room.store.read(move |v| {
        let standing = in_force(&v.standing_orders()?, now_ms);
        v.certificates(window(standing.as_ref(), now_ms), state, group.as_deref(), after, limit + 1)
    });
    let mut found = read.await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next_cursor = found.last().filter(|_| more).map(|c| cursor_of(c.place));
    let items = found.into_iter().map(|c| {
        let seen_ms = room.fleet.find(c.enrolment).map_or(c.last_seen_at_ms, |p| p.last_seen_ms);
        Certificate {
            enrolment: c.enrolment,
            group: c.group,
            state: c.state.name(),
            not_after_ms: c.not_after_ms,
            asked_at_ms: c.asked_at_ms,
            under_way: c.under_way,
            last_seen_ms: (seen_ms > 0).then_some(seen_ms),
        }
    });
    Ok(Json(Page { items: items.collect(), next_cursor }))
}

/// What the vault may do by itself.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StandingOrder {
    #[schema(value_type = String)]
    order: OrderId,
    template: &'static str,
    /// How long before its end a certificate is due, of the template that renews them.
    before_ms: Option<i64>,
    /// Of the template that installs: the profile, its version and identifier, the device group and its name, and the home group that
    /// it is held to.
    #[schema(value_type = Option<Object>)]
    install: Option<StandingInstall>,
    cap_an_hour: u32,
    /// `stands`, `ended` or `expired`.
    state: &'static str,
    /// Of one that stands and installs nothing, why: `device_group_ended`, `profile_ended`, `content_lost`, or `judged_otherwise`: the vault
    /// judges the version otherwise than when it was shown.
    rests: Option<&'static str>,
    made_at_ms: i64,
    expires_at_ms: i64,
    ended_at_ms: Option<i64>,
    uses: u64,
    used_at_ms: Option<i64>,
}

#[utoipa::path(get, path = "/api/v1/standing", responses(
    (status = 200, body = Page<StandingOrder>),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn list_standing(
    permit: Permit<SignedIn>,
    Extension(room): Extension<Arc<Room>>,
) -> Result<Json<Page<StandingOrder>>, Problem> {
    let now_ms = room.now_ms();
    let known = room.clone();
    let read = room.store.read(move |v| {
        let with_rest = |s: store::StandingRecord| match stands(&s, now_ms) {
            true => Ok((known.rests.find(v, &s)?, s)),
            false => Ok((None, s)),
        };
        v.standing_orders()?.into_iter().map(with_rest).collect::<Result<Vec<_>, store::StoreError>>()
    });
    let all = read.await?;
    // One that installs tells of a device group and a home group, which may not be theirs who are held to one.
    let held = permit.actor().group().map(str::to_owned);
    let seen = |s: &store::StandingRecord| match (&held, s.template.install()) {
        (Some(group), Some(install)) => install.home.as_ref().is_some_and(|home| home.as_str() == group),
        _ => true,
    };
    let items = all.into_iter().filter(|(_, s)| seen(s)).map(|(rest, s)| {
        let state = match s.ended_at_ms {
            Some(_) => "ended",
            None if now_ms >= s.expires_at_ms => "expired",
            None => "stands",
        };
        StandingOrder {
            order: s.order,
            template: s.template.name(),
            before_ms: s.template.before_ms(),
            install: s.template.install().cloned(),
            cap_an_hour: s.cap_an_hour,
            state,
            rests: rest.map(Rest::name),
            made_at_ms: s.made_at_ms,
            expires_at_ms: s.expires_at_ms,
            ended_at_ms: s.ended_at_ms,
            uses: s.uses,
            used_at_ms: s.used_at_ms,
        }
    });
    Ok(Json(Page { items: items.collect(), next_cursor: None }))
}
