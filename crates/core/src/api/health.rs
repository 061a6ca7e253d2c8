//! How the house is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::header::CONTENT_TYPE;
use rpc::proto::door_client::DoorClient;
use rpc::proto::{CountersRequest, CourierHealthRequest, VaultHealthRequest};
use serde::Serialize;
use utoipa::ToSchema;

use super::access::{Metrics, Permit};
use super::endings::{DOOR_SOON_MS, EndingState, STANDING_SOON_MS, WitnessState, endings};
use super::orders::not_held_to_a_group;
use super::problem::{Problem, ProblemBody};
use super::shape::encode;
use super::tls_certificate::AcmeState;
use crate::room::{Following, Room, asked};

const PATIENCE: Duration = Duration::from_secs(2);

#[utoipa::path(get, path = "/healthz", responses((status = 200, body = String, content_type = "text/plain")))]
pub(crate) async fn healthz() -> &'static str {
    "ok"
}

/// The keys that count today, under the vault's root key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatementBody {
    /// order::SignedStatement as CBOR, in base64.
    statement: String,
    /// 32 bytes, in base64. Compare it with what you were given when you joined.
    root_key: String,
}

#[utoipa::path(get, path = "/api/v1/statement", responses(
    (status = 200, body = StatementBody),
    (status = 503, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn statement(Extension(room): Extension<Arc<Room>>) -> Result<Json<StatementBody>, Problem> {
    let signed = room.statement.borrow().clone().ok_or_else(Problem::vault_away)?;
    Ok(Json(StatementBody { statement: encode(&signed), root_key: encode(&room.trust.root()) }))
}

#[utoipa::path(get, path = "/api/v1/openapi.json", responses(
    (status = 200, body = Object, content_type = "application/json"),
))]
pub(crate) async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], super::document()).into_response()
}

/// The vault, as core sees it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VaultState {
    answers: bool,
    entries: u64,
    refused_orders: u64,
    ledger: String,
    /// `waiting`, `following`, or why its ledger is no longer followed.
    following: String,
    /// The house was restored from a backup, and administrators have yet to confirm it.
    #[serde(skip_serializing_if = "Option::is_none")]
    restored: Option<UnconfirmedRestore>,
}

/// A restore that waits for administrators: nothing is opened or commanded meanwhile.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UnconfirmedRestore {
    /// SHA-256 of the backup's manifest.
    #[schema(value_type = String)]
    manifest: model::Digest,
    made_at_ms: i64,
    /// How many entries the backup's ledger had.
    entries: u64,
    /// Where the restore stands in the ledger.
    position: u64,
    /// How many administrators have to confirm the same, and how many have confirmed.
    needed: u32,
    confirmed: u32,
}

/// The courier.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct CourierState {
    pub(super) answers: bool,
    configured: bool,
    topic: String,
    pub(super) certificate_expires_at_ms: Option<i64>,
    accepted: u64,
    failed: u64,
    last_error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    acme: Option<AcmeState>,
    alarms: AlarmState,
}

/// How alarms are delivered. They never pass core; this is the courier's word of it.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct AlarmState {
    /// Whether the courier has the vault's pipe.
    connected: bool,
    /// Alarms that found no room.
    lost: u64,
    destinations: Vec<AlarmDestination>,
}

/// Where alarms go.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct AlarmDestination {
    /// `webhook`, `syslog` or `email`.
    name: String,
    delivered: u64,
    waiting: u64,
    last_delivered_at_ms: Option<i64>,
    last_failed_at_ms: Option<i64>,
    /// Why the newest try failed; empty when it did not.
    last_error: String,
}

impl AlarmState {
    fn of(health: rpc::proto::AlarmHealth) -> Self {
        let destinations = health.destinations.into_iter().map(|d| AlarmDestination {
            name: d.name,
            delivered: d.delivered,
            waiting: d.waiting,
            last_delivered_at_ms: Some(d.last_delivered_at_ms).filter(|t| *t > 0),
            last_failed_at_ms: Some(d.last_failed_at_ms).filter(|t| *t > 0),
            last_error: d.last_error,
        });
        Self { connected: health.connected, lost: health.lost, destinations: destinations.collect() }
    }

    fn warnings(&self) -> impl Iterator<Item = String> {
        self.destinations.iter().filter(|d| !d.last_error.is_empty()).map(|d| {
            format!(
                "alarms don't reach the {} ({} waiting): {}; see 'matron doctor --alarms'",
                d.name, d.waiting, d.last_error
            )
        })
    }
}

/// The door and, behind it, the reader.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct DoorState {
    pub(super) answers: bool,
    counters: BTreeMap<String, u64>,
}

impl DoorState {
    pub(super) fn certificate_ends_ms(&self) -> Option<i64> {
        self.counters.get("tls_certificate_expires_at_ms").and_then(|t| i64::try_from(*t).ok())
    }
}

/// The house at a glance.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`, or `degraded` when a room does not answer, the ledger is not followed, the database keeps
    /// nothing, or the last try for a certificate by ACME failed.
    status: &'static str,
    version: &'static str,
    base_url: String,
    vault: VaultState,
    door: DoorState,
    courier: CourierState,
    /// Why the database could not keep the last write; empty when it could.
    database: String,
    statement_expires_at_ms: Option<i64>,
    ledger_followed: u64,
    /// Enrolments by state.
    enrolments: BTreeMap<&'static str, u64>,
    open_commands: u64,
    deferred_commands: u64,
    /// Core's words that the vault has yet to write down.
    words_waiting: u64,
    renewal: RenewalState,
    /// What runs out.
    endings: Vec<EndingState>,
    /// What witnesses handed back; absent before one did.
    witness: Option<WitnessState>,
    /// What was turned away, by why; each that was at all since core started.
    refused: Vec<RefusedCount>,
    /// What an operator should look at, in words.
    warnings: Vec<String>,
}

/// How many were turned away for one reason.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RefusedCount {
    /// As in the metrics `matron_core_api_refused_total` and `matron_core_phones_refused_total`.
    what: &'static str,
    since_start: u64,
    /// In the last 60 minutes.
    last_hour: u64,
}

/// What was turned away at all.
fn refused(room: &Room) -> Vec<RefusedCount> {
    let counted = room.counters.refused().into_iter().map(|(what, n)| RefusedCount {
        what,
        since_start: n.since_start(),
        last_hour: n.last_hour(),
    });
    counted.filter(|c| c.since_start > 0).collect()
}

/// How the phones stand with their certificates.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct RenewalState {
    /// The standing order that renews them.
    #[schema(value_type = Option<String>)]
    standing: Option<model::OrderId>,
    pub(super) standing_expires_at_ms: Option<i64>,
    /// Enrolled phones: `due`, `asked`, `late`, `expired`.
    phones: BTreeMap<&'static str, u64>,
}

/// What an operator should look at.
fn warnings(renewal: &RenewalState, door: &DoorState, phones: u64, now_ms: i64) -> Vec<String> {
    let mut out = Vec::new();
    match renewal.standing_expires_at_ms {
        None if phones > 0 => out.push(
            "no standing order renews the phones' certificates: an administrator signs one with \
             'matron standing make'"
                .to_owned(),
        ),
        Some(at_ms) if at_ms - now_ms < STANDING_SOON_MS => out.push(
            "the standing order that renews certificates runs out soon: sign a new one with 'matron standing make'"
                .to_owned(),
        ),
        _ => {}
    }
    let of = |state| renewal.phones.get(state).copied().unwrap_or(0);
    if of("late") + of("expired") > 0 {
        out.push(format!(
            "{} phones are late with their certificate and {} have run out: see 'matron certificates'",
            of("late"),
            of("expired")
        ));
    }
    if door.certificate_ends_ms().is_some_and(|at_ms| at_ms - now_ms < DOOR_SOON_MS) {
        out.push("the phones' TLS certificate runs out soon, and phones trust no other".to_owned());
    }
    out
}

/// How many days before its end the push certificate is warned of, the last first.
const PUSH_SOON_DAYS: [i64; 3] = [7, 30, 60];

/// What to do about the push certificate, if anything.
fn push_warning(courier: &CourierState, phones: u64, now_ms: i64) -> Option<String> {
    if courier.answers && !courier.configured && phones > 0 {
        return Some(
            "no push certificate is configured, so phones are not woken: 'matron push csr' begins".into(),
        );
    }
    let left = (courier.certificate_expires_at_ms? - now_ms).div_euclid(model::clock::DAY_MS);
    let renew = "renew it under the same Apple ID ('matron push csr')";
    if left < 0 {
        return Some(format!("the push certificate has run out and no phone can be woken: {renew}"));
    }
    let within = PUSH_SOON_DAYS.into_iter().find(|days| left < *days)?;
    let hurry = if within == 7 { "; then no phone can be woken" } else { "" };
    Some(format!("the push certificate runs out within {within} days ({left} left){hurry}: {renew}"))
}

#[utoipa::path(get, path = "/api/v1/health", responses(
    (status = 200, body = Health),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "held to a group"),
))]
pub(crate) async fn health(
    permit: Permit<Metrics>,
    Extension(room): Extension<Arc<Room>>,
) -> Result<Json<Health>, Problem> {
    not_held_to_a_group(&permit)?;
    let (vault, door, courier) = tokio::join!(vault(&room), door(&room), courier(&room));
    let read = room.store.read(|v| Ok((v.count_by_state()?, v.count_open()?, v.count_words()?)));
    let (states, (open_commands, deferred_commands), words_waiting) = read.await?;
    let now_ms = room.now_ms();
    let counted = crate::renewal::counted(&room).await?;
    let renewal = RenewalState {
        standing: counted.standing.as_ref().map(|s| s.order),
        standing_expires_at_ms: counted.standing.map(|s| s.expires_at_ms),
        phones: counted.states.iter().map(|(s, n)| (s.name(), *n)).collect(),
    };
    let enrolled = states.iter().find(|(s, _)| *s == store::EnrolmentState::Enrolled).map_or(0, |s| s.1);
    let mut warnings = warnings(&renewal, &door, enrolled, now_ms);
    warnings.extend(push_warning(&courier, enrolled, now_ms));
    if let Some(r) = &vault.restored {
        warnings.push(format!(
            "the house was restored from a backup; nothing is opened or commanded until {} administrator(s) confirm \
             it with 'matron confirm-restore' ({} did)",
            r.needed, r.confirmed
        ));
    }
    let resting = crate::standing_install::count_resting(&room).await?;
    if resting > 0 {
        warnings.push(format!(
            "{resting} standing order(s) that install a profile do nothing: 'matron standing list' says why"
        ));
    }
    let database = room.store.trouble().map(|e| e.to_string()).unwrap_or_default();
    warnings.extend(courier.acme.as_ref().and_then(AcmeState::warning));
    warnings.extend(courier.alarms.warnings());
    let certified = courier.acme.as_ref().is_none_or(|acme| acme.failures == 0);
    let statement_ends_ms = room.trust.current(now_ms).map(|s| s.expires_at_ms);
    let endings = endings(statement_ends_ms, &renewal, &door, &courier, now_ms);
    let good = database.is_empty()
        && certified
        && vault.answers
        && door.answers
        && courier.answers
        && vault.following == "following";
    Ok(Json(Health {
        status: if good { "ok" } else { "degraded" },
        version: env!("CARGO_PKG_VERSION"),
        base_url: room.config.base_url.clone(),
        vault,
        door,
        courier,
        database,
        statement_expires_at_ms: statement_ends_ms,
        ledger_followed: *room.followed.borrow(),
        enrolments: states.into_iter().map(|(s, n)| (s.name(), n)).collect(),
        open_commands,
        deferred_commands,
        words_waiting,
        renewal,
        endings,
        witness: WitnessState::of(&room),
        refused: refused(&room),
        warnings,
    }))
}

async fn vault(room: &Room) -> VaultState {
    let following = match &*room.following.borrow() {
        Following::Waiting => "waiting".to_owned(),
        Following::UpToDate => "following".to_owned(),
        Following::Refused(why) => (*why).to_owned(),
    };
    let mut state = VaultState {
        answers: false,
        entries: 0,
        refused_orders: 0,
        ledger: String::new(),
        following,
        restored: None,
    };
    let asked = async { asked("health", PATIENCE, room.vault().await?.health(VaultHealthRequest {})).await };
    if let Ok(Ok(h)) = tokio::time::timeout(PATIENCE, asked).await {
        state.answers = true;
        state.entries = h.entries;
        state.refused_orders = h.refused_orders;
        state.ledger = h.ledger;
        state.restored = h.restored.and_then(|r| {
            let (made_at_ms, entries, position) = (r.made_at_ms, r.entries, r.position);
            let manifest = rpc::digest(&r.manifest).ok()?;
            Some(UnconfirmedRestore {
                manifest,
                made_at_ms,
                entries,
                position,
                needed: r.needed,
                confirmed: r.confirmed,
            })
        });
    }
    state
}

async fn door(room: &Room) -> DoorState {
    let asked = async {
        let mut door = DoorClient::new(room.door.channel(PATIENCE).await?);
        asked("counters", PATIENCE, door.counters(CountersRequest {})).await
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(c)) => {
            DoorState { answers: true, counters: c.counters.into_iter().map(|c| (c.name, c.value)).collect() }
        }
        _ => DoorState::default(),
    }
}

async fn courier(room: &Room) -> CourierState {
    let asked =
        async { asked("health", PATIENCE, room.courier().await?.health(CourierHealthRequest {})).await };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(c)) => CourierState {
            answers: true,
            configured: c.configured,
            topic: c.topic,
            certificate_expires_at_ms: Some(c.certificate_expires_at_ms).filter(|t| *t > 0),
            accepted: c.accepted,
            failed: c.failed,
            last_error: c.last_error,
            acme: c.acme.map(AcmeState::of),
            alarms: c.alarms.map(AlarmState::of).unwrap_or_default(),
        },
        _ => CourierState::default(),
    }
}

#[utoipa::path(get, path = "/metrics", responses(
    (status = 200, body = String, content_type = "application/openmetrics-text"),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 403, body = ProblemBody, content_type = "application/problem+json", description = "held to a group"),
))]
pub(crate) async fn metrics(
    permit: Permit<Metrics>,
    Extension(room): Extension<Arc<Room>>,
) -> Result<Response, Problem> {
    not_held_to_a_group(&permit)?;
    crate::tasks::count(&room).await?;
    let (door, courier) = tokio::join!(door(&room), courier(&room));
    if let Some(until_ms) = door.certificate_ends_ms() {
        room.counters.certificate_ends.set(until_ms / 1000);
    }
    let push_ends_ms = courier.certificate_expires_at_ms.unwrap_or_default();
    room.counters.push_certificate_expires.set(push_ends_ms.div_euclid(1000));
    let failures = courier.acme.map_or(0, |acme| acme.failures);
    room.counters.acme_failures.set(i64::from(failures));
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(CONTENT_TYPE, kind)], room.counters.text()).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::clock::DAY_MS;

    #[test]
    fn a_push_certificate_is_warned_of_60_30_and_7_days_before_its_end() {
        let now_ms = 1_800_000_000_000;
        let with = |days: i64| CourierState {
            answers: true,
            configured: true,
            certificate_expires_at_ms: Some(now_ms + days * DAY_MS),
            ..CourierState::default()
        };
        let said = |days| push_warning(&with(days), 1, now_ms).unwrap_or_default();
        assert_eq!(said(60), "");
        assert!(said(59).contains("within 60 days (59 left)") && said(29).contains("within 30 days"));
        assert!(said(6).contains("within 7 days") && said(6).contains("no phone can be woken"));
        assert!(said(-1).contains("has run out"));
        let none = CourierState { answers: true, ..CourierState::default() };
        assert!(push_warning(&none, 1, now_ms).unwrap().contains("matron push csr"));
        assert_eq!(push_warning(&none, 0, now_ms), None);
        assert_eq!(push_warning(&CourierState::default(), 1, now_ms), None);
    }
}
