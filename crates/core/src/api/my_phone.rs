//! What a phone's holder sees of it and has done to it, with the code of the holder's card.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::ConnectInfo;
use axum::{Extension, Json};
use http::StatusCode;
use ledger::{Body, Effect, Entry};
use model::clock::DAY_MS;
use model::{CommandKind, Compartment, Digest, StandingTemplate, TimeMs};
use order::HolderCode;
use serde::{Deserialize, Serialize};
use store::{
    CommandFilter, CommandItem, CommandState, DeviceItem, EnrolmentState, LedgerAbout, LedgerFilter,
    LedgerRow, StandingRecord, StoreError, View,
};
use tokio::time::Instant;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::access::{Holders, Permit};
use super::problem::{Problem, ProblemBody};
use super::shape::Input;
use crate::holder::{LIFE_MS, NotDone, act, in_force, is_held};
use crate::room::Room;

type Peer = Option<Extension<ConnectInfo<SocketAddr>>>;

/// So far back goes what was done to a phone.
const HISTORY_MS: TimeMs = 90 * DAY_MS;
/// The most commands that are looked through for it.
const MOST_ROWS: u32 = 500;
/// The most things that are told.
const MOST_TOLD: usize = 100;
/// The most of the ledger's entries of one kind that are read: one more than are told, which says that there was more.
const MOST_ENTRIES: u32 = 101;

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

/// Something that a holder may ask for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Asked {
    /// `yes`; `not_switched_on`: no standing order lets holders; `not_supervised`: the phone would refuse; `not_enrolled`.
    can: &'static str,
    /// `off`; `asked`: the phone has not said that it did it; `on`: it has; `failed`: it said no; `called_back`, `ran_out`.
    state: &'static str,
    asked_at_ms: Option<TimeMs>,
    /// When the phone said so.
    confirmed_at_ms: Option<TimeMs>,
}

/// Something that was done to the phone.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Done {
    at_ms: TimeMs,
    /// `command`, or `opened`: sealed values were read.
    what: &'static str,
    /// Of a command: Apple's `RequestType`.
    request_type: Option<String>,
    /// Of a command: queued, sent, not_now, acknowledged, error, expired or cancelled; null: it is not kept any more.
    #[schema(value_type = Option<String>)]
    state: Option<CommandState>,
    /// Of an opening: which kinds of value.
    #[schema(value_type = Vec<String>)]
    compartments: Vec<Compartment>,
    /// `holder`, `hospital` (somebody's order), or `matron` (by itself). Never who.
    by: &'static str,
}

/// What the hospital can see of a phone, as its holder is shown it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MyPhone {
    #[schema(value_type = String)]
    state: EnrolmentState,
    model: Option<String>,
    os_version: Option<String>,
    supervised: Option<bool>,
    last_seen_ms: Option<TimeMs>,
    enrolled_at_ms: Option<TimeMs>,
    passcode_present: Option<bool>,
    passcode_compliant: Option<bool>,
    /// Everything on it is encrypted (`HardwareEncryptionCaps` is 3).
    encrypted: Option<bool>,
    /// How many apps it said it has.
    apps: u32,
    lost_mode: Asked,
    ring: Asked,
    /// In the last 90 days, the newest first; routine questions are left out.
    done: Vec<Done>,
    /// There was more.
    more_done: bool,
    /// The number to call that the configuration has for lost phones.
    call: Option<String>,
    expires_at_ms: TimeMs,
    now_ms: TimeMs,
}

#[utoipa::path(get, path = "/api/v1/my-phone", responses(
    (status = 200, body = MyPhone),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn get_my_phone(
    permit: Permit<Holders>,
    Extension(room): Extension<Arc<Room>>,
) -> Result<Json<MyPhone>, Problem> {
    let holder = permit.holder()?.clone();
    let (enrolment, now_ms) = (holder.enrolment(), room.now_ms());
    let expires_at_ms = holder.expires_at_ms();
    let read = room.store.read(move |v| {
        let Some(item) = v.find_device(enrolment)? else { return Ok(None) };
        my_phone(v, &item, (expires_at_ms, now_ms)).map(Some)
    });
    let mut phone = read.await?.ok_or_else(|| Problem::not_found("phone"))?;
    phone.call.clone_from(&room.config.organization_phone);
    if let Some(p) = room.fleet.find(enrolment) {
        phone.last_seen_ms = (p.last_seen_ms > 0).then_some(p.last_seen_ms);
    }
    Ok(Json(phone))
}

fn my_phone(
    v: &View<'_>,
    item: &DeviceItem,
    (expires_at_ms, now_ms): (TimeMs, TimeMs),
) -> Result<MyPhone, StoreError> {
    let clear: BTreeMap<String, serde_json::Value> = v
        .clear_fields(item.slot)?
        .into_iter()
        .filter_map(|(name, value)| Some((name, serde_json::from_str(&value).ok()?)))
        .collect();
    let is = |name: &str| clear.get(name).and_then(serde_json::Value::as_bool);
    let text = |name: &str| clear.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
    let standing = v.standing_orders()?;
    let can = |template| match (item.state, item.supervised, in_force(&standing, template, now_ms)) {
        (state, ..) if state != EnrolmentState::Enrolled => "not_enrolled",
        (_, Some(false), _) => "not_supervised",
        (_, _, None) => "not_switched_on",
        _ => "yes",
    };
    let commands = commands(v, item, now_ms)?;
    let reported = is("IsMDMLostModeEnabled");
    let reports = v.reports(item.slot)?;
    let reported_ms = reports.iter().find(|r| r.kind == "DeviceInformation").map(|r| r.at_ms);
    let lost_mode = lost_mode(&commands, reported.zip(reported_ms), can(StandingTemplate::HolderLostMode));
    let ring = commands.iter().find(|c| c.request_type == CommandKind::PlayLostModeSound.request_type());
    let ring = Asked {
        can: can(StandingTemplate::HolderRings),
        state: ring.map_or("off", |c| asked_state(c.state)),
        asked_at_ms: ring.map(|c| c.created_at_ms),
        confirmed_at_ms: ring.and_then(confirmed),
    };
    let mut done = orders(v, item, (&commands, &standing), now_ms)?;
    done.extend(openings(v, item, now_ms)?);
    done.sort_by_key(|d| std::cmp::Reverse(d.at_ms));
    let more_done = done.len() > MOST_TOLD;
    done.truncate(MOST_TOLD);
    let encryption = clear.get("SecurityInfo.HardwareEncryptionCaps").and_then(serde_json::Value::as_i64);
    Ok(MyPhone {
        state: item.state,
        model: text("ProductName"),
        os_version: text("OSVersion"),
        supervised: item.supervised,
        last_seen_ms: (item.last_seen_at_ms > 0).then_some(item.last_seen_at_ms),
        enrolled_at_ms: (item.enrolled_at_ms > 0).then_some(item.enrolled_at_ms),
        passcode_present: is("SecurityInfo.PasscodePresent"),
        passcode_compliant: is("SecurityInfo.PasscodeCompliant"),
        encrypted: encryption.map(|caps| caps == 3),
        apps: u32::try_from(v.apps(item.slot)?.len()).unwrap_or(u32::MAX),
        lost_mode,
        ring,
        done,
        more_done,
        call: None,
        expires_at_ms,
        now_ms,
    })
}

/// What orders asked of the phone, as far as it is kept, the newest first.
fn commands(v: &View<'_>, item: &DeviceItem, now_ms: TimeMs) -> Result<Vec<CommandItem>, StoreError> {
    let (slot, ordered, limit) = (Some(item.slot), true, MOST_ROWS);
    let mut found = v.commands(&CommandFilter { slot, ordered, limit, ..CommandFilter::default() })?;
    found.retain(|c| c.created_at_ms >= now_ms - HISTORY_MS);
    Ok(found)
}

/// What orders asked of the phone in the last 90 days, as the ledger has it: core forgets finished commands sooner.
fn orders(
    v: &View<'_>,
    item: &DeviceItem,
    (commands, standing): (&[CommandItem], &[StandingRecord]),
    now_ms: TimeMs,
) -> Result<Vec<Done>, StoreError> {
    let mut out = Vec::new();
    for kind in ["commanded", "declarations_set", "standing_used"] {
        for (at_ms, body) in entries(v, item, kind, now_ms)? {
            let (command, kind, by) = match body {
                Body::OrderAccepted {
                    effect: Effect::Commanded { command, kind, per_phone, .. }, ..
                } => {
                    let own = per_phone.iter().find(|(e, ..)| *e == item.enrolment).map(|(_, c, _)| *c);
                    (own.unwrap_or(command), kind, "hospital")
                }
                Body::OrderAccepted { effect: Effect::DeclarationsSet { command, .. }, .. } => {
                    (command, CommandKind::DeclarativeManagement, "hospital")
                }
                Body::StandingUsed { standing: under, command, .. } => {
                    let template = standing.iter().find(|s| s.order == under).map(|s| &s.template);
                    match template {
                        Some(StandingTemplate::HolderLostMode) => {
                            (command, CommandKind::EnableLostMode, "holder")
                        }
                        Some(StandingTemplate::HolderRings) => {
                            (command, CommandKind::PlayLostModeSound, "holder")
                        }
                        Some(
                            StandingTemplate::RenewCertificates { .. }
                            | StandingTemplate::InstallSaved { .. },
                        )
                        | None => (command, CommandKind::InstallProfile, "matron"),
                    }
                }
                _ => continue,
            };
            let kept = commands.iter().find(|c| c.command == command);
            out.push(Done {
                at_ms,
                what: "command",
                request_type: Some(
                    kept.map_or_else(|| kind.request_type().to_owned(), |c| c.request_type.clone()),
                ),
                state: kept.map(|c| c.state),
                compartments: Vec::new(),
                by,
            });
        }
    }
    Ok(out)
}

/// The ledger's entries of that kind about the phone in the last 90 days, the newest first.
fn entries(
    v: &View<'_>,
    item: &DeviceItem,
    kind: &str,
    now_ms: TimeMs,
) -> Result<Vec<(TimeMs, Body)>, StoreError> {
    // By place, before anything is loaded: an open page asks every few seconds.
    let Some(from) = v.ledger_place(now_ms - HISTORY_MS)? else { return Ok(Vec::new()) };
    let found = v.ledger_found(&LedgerFilter {
        about: vec![LedgerAbout::Enrolment(item.enrolment), LedgerAbout::Kind(kind.into())],
        from,
        newest_first: true,
        limit: MOST_ENTRIES,
        ..LedgerFilter::default()
    })?;
    let read = |r: LedgerRow| {
        let entry = Entry::decode(&r.entry).map_err(|_| StoreError::Damaged("ledger entry"))?;
        Ok((r.at_ms, entry.body))
    };
    found.into_iter().map(read).collect()
}

/// When sealed values of the phone were read in the last 90 days, and of which kinds.
fn openings(v: &View<'_>, item: &DeviceItem, now_ms: TimeMs) -> Result<Vec<Done>, StoreError> {
    let kinds: BTreeMap<String, Compartment> =
        v.sealed_notes(item.slot)?.into_iter().map(|n| (n.name, n.compartment)).collect();
    let mut out = Vec::new();
    for kind in ["opened", "grant_used"] {
        for (at_ms, body) in entries(v, item, kind, now_ms)? {
            let fields = match body {
                Body::OrderAccepted { effect: Effect::Opened { fields }, .. } => fields,
                Body::GrantUsed { opened, .. } => opened,
                _ => continue,
            };
            let own = fields.into_iter().filter(|(e, _)| *e == item.enrolment);
            let of = |(_, name): (_, String)| kinds.get(&name).copied().unwrap_or(Compartment::Other);
            let mut compartments: Vec<Compartment> = own.map(of).collect();
            compartments.sort_unstable_by_key(|c| c.number());
            compartments.dedup();
            out.push(Done {
                at_ms,
                what: "opened",
                request_type: None,
                state: None,
                compartments,
                by: "hospital",
            });
        }
    }
    Ok(out)
}

fn confirmed(c: &CommandItem) -> Option<TimeMs> {
    c.done_at_ms.filter(|_| c.state == CommandState::Acknowledged)
}

fn asked_state(state: CommandState) -> &'static str {
    match state {
        CommandState::Queued | CommandState::Sent | CommandState::NotNow => "asked",
        CommandState::Acknowledged => "on",
        CommandState::Error => "failed",
        CommandState::Expired => "ran_out",
        CommandState::Cancelled => "called_back",
    }
}

/// By the newest command that turns it on or off, and by what the phone itself reported later.
/// `commands`: the newest first; `reported`: what the phone said of itself, and when.
fn lost_mode(commands: &[CommandItem], reported: Option<(bool, TimeMs)>, can: &'static str) -> Asked {
    let (on, off) = (CommandKind::EnableLostMode.request_type(), CommandKind::DisableLostMode.request_type());
    let newest = commands
        .iter()
        .find(|c| c.request_type == on || (c.request_type == off && c.state == CommandState::Acknowledged));
    let mut asked = Asked { can, state: "off", asked_at_ms: None, confirmed_at_ms: None };
    if let Some(c) = newest.filter(|c| c.request_type == on) {
        (asked.state, asked.asked_at_ms) = (asked_state(c.state), Some(c.created_at_ms));
        asked.confirmed_at_ms = confirmed(c);
    }
    let since_ms = newest.and_then(|c| c.done_at_ms.or(Some(c.created_at_ms))).unwrap_or(0);
    match reported.filter(|(_, at_ms)| *at_ms > since_ms) {
        Some((true, at_ms)) => {
            asked.state = "on";
            asked.confirmed_at_ms = asked.confirmed_at_ms.or(Some(at_ms));
        }
        Some((false, _)) if asked.state == "on" => asked.state = "off",
        _ => {}
    }
    asked
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
    done(&room, &permit, StandingTemplate::HolderLostMode, CommandKind::EnableLostMode).await
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
    done(&room, &permit, StandingTemplate::HolderRings, CommandKind::PlayLostModeSound).await
}

async fn done(
    room: &Arc<Room>,
    permit: &Permit<Holders>,
    template: StandingTemplate,
    command: CommandKind,
) -> Result<StatusCode, Problem> {
    let acted = act(room, permit.holder()?, template, command).await;
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

#[cfg(test)]
mod tests {
    use super::*;
    use model::{CommandId, EnrolmentId, OrderId};

    fn command(
        kind: CommandKind,
        at_ms: TimeMs,
        state: CommandState,
        done_at_ms: Option<TimeMs>,
    ) -> CommandItem {
        CommandItem {
            place: (1, 1),
            command: CommandId([1; 16]),
            enrolment: EnrolmentId([1; 16]),
            order: Some(OrderId([1; 16])),
            request_type: kind.request_type().into(),
            state,
            created_at_ms: at_ms,
            sent_at_ms: None,
            done_at_ms,
            not_now_count: 0,
            expires_at_ms: 1000,
            errors: vec![],
        }
    }

    #[test]
    fn lost_mode_is_on_when_the_phone_said_so_and_not_before() {
        use CommandKind::{DisableLostMode as Off, EnableLostMode as On};
        use CommandState::{Acknowledged, Error, Queued};
        let state = |commands: &[CommandItem], reported| lost_mode(commands, reported, "yes").state;
        assert_eq!(state(&[], None), "off");
        assert_eq!(state(&[command(On, 10, Queued, None)], None), "asked");
        assert_eq!(state(&[command(On, 10, Queued, None)], Some((false, 5))), "asked");
        assert_eq!(state(&[command(On, 10, Error, Some(11))], None), "failed");
        let on = command(On, 10, Acknowledged, Some(12));
        assert_eq!(lost_mode(std::slice::from_ref(&on), None, "yes").confirmed_at_ms, Some(12));
        assert_eq!(state(std::slice::from_ref(&on), Some((false, 11))), "on", "an older report says nothing");
        assert_eq!(state(std::slice::from_ref(&on), Some((false, 13))), "off");
        assert_eq!(state(&[command(Off, 20, Acknowledged, Some(21)), on.clone()], None), "off");
        assert_eq!(state(&[command(Off, 20, Queued, None), on], None), "on", "it is not off yet");
        assert_eq!(state(&[], Some((true, 5))), "on", "whoever turned it on");
    }
}
