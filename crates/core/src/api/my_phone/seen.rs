//! What a phone's holder sees of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::{Extension, Json};
use model::clock::DAY_MS;
use model::{CommandKind, StandingTemplate, TimeMs};
use serde::Serialize;
use store::{CommandFilter, CommandItem, CommandState, DeviceItem, EnrolmentState, StoreError, View};
use utoipa::ToSchema;

use super::super::access::{Holders, Permit};
use super::super::problem::{Problem, ProblemBody};
use super::done::{Done, MOST_TOLD, done};
use crate::holder::in_force;
use crate::room::Room;

/// So far back goes what was done to a phone.
const HISTORY_MS: TimeMs = 90 * DAY_MS;
/// The most commands that are looked through for it.
const MOST_ROWS: u32 = 500;

/// Something that a holder may ask for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HolderAsked {
    /// `yes`; `not_switched_on`: no standing order lets holders; `not_supervised`: the phone would refuse; `not_enrolled`.
    can: &'static str,
    /// `off`; `asked`: the phone has not said that it did it; `on`: it has; `failed`: it said no; `called_back`, `ran_out`.
    state: &'static str,
    asked_at_ms: Option<TimeMs>,
    /// When the phone said so.
    confirmed_at_ms: Option<TimeMs>,
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
    lost_mode: HolderAsked,
    ring: HolderAsked,
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
    let since_ms = now_ms - HISTORY_MS;
    let commands = commands(v, item, since_ms)?;
    let reported = is("IsMDMLostModeEnabled");
    let reported_ms = v.reported_at_ms(item.slot, "DeviceInformation")?;
    let lost_mode = lost_mode(&commands, reported.zip(reported_ms), can(StandingTemplate::HolderLostMode));
    let ring = commands.iter().find(|c| c.request_type == CommandKind::PlayLostModeSound.request_type());
    let ring = HolderAsked {
        can: can(StandingTemplate::HolderRings),
        state: ring.map_or("off", |c| asked_state(c.state)),
        asked_at_ms: ring.map(|c| c.created_at_ms),
        confirmed_at_ms: ring.and_then(confirmed),
    };
    let mut done = done(v, item, (&commands, &standing), since_ms)?;
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
        apps: u32::try_from(v.count_apps(item.slot)?).unwrap_or(u32::MAX),
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
fn commands(v: &View<'_>, item: &DeviceItem, since_ms: TimeMs) -> Result<Vec<CommandItem>, StoreError> {
    let (slot, ordered, limit) = (Some(item.slot), true, MOST_ROWS);
    let mut found = v.commands(&CommandFilter { slot, ordered, limit, ..CommandFilter::default() })?;
    found.retain(|c| c.created_at_ms >= since_ms);
    Ok(found)
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
fn lost_mode(commands: &[CommandItem], reported: Option<(bool, TimeMs)>, can: &'static str) -> HolderAsked {
    let (on, off) = (CommandKind::EnableLostMode.request_type(), CommandKind::DisableLostMode.request_type());
    let newest = commands
        .iter()
        .find(|c| c.request_type == on || (c.request_type == off && c.state == CommandState::Acknowledged));
    let mut asked = HolderAsked { can, state: "off", asked_at_ms: None, confirmed_at_ms: None };
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
