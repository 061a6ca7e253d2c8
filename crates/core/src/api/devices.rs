//! Phones.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::Path;
use axum::{Extension, Json};
use model::{Compartment, DeviceGroupId, EnrolmentId, SealedRow};
use rpc::proto::{GrantUse, PhoneRow};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{
    AppRequest, AppRequestState, DeviceFilter, DeviceItem, DeviceSort, EnrolmentState, PushState, Slot,
    StoreError, View,
};
use utoipa::{IntoParams, ToSchema};

use super::access::{Devices, Permit};
use super::device_groups;
use super::problem::{Problem, ProblemBody};
use super::shape::{Page, Params, cursor_from, cursor_of, id, limit};
use crate::access::{Actor, Session};
use crate::checkin::ask_vault;
use crate::room::Room;

/// The holder's name, as the vault seals it for core to keep.
const HOLDER: &str = "Holder.Name";

/// Which phones, and how.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DevicesQuery {
    /// Of this home group.
    group: Option<String>,
    /// In this device group, by its id.
    device_group: Option<String>,
    /// invited, issued, authenticated, enrolled, checked_out, replaced or withdrawn.
    state: Option<String>,
    /// Supervised or not.
    supervised: Option<bool>,
    /// `17.5`, or `17` for all of 17.
    os_version: Option<String>,
    /// The `ProductName`, e.g. `iPhone14,5`.
    model: Option<String>,
    /// Not heard of for so many days.
    silent_for_days: Option<u32>,
    /// With, or without, open commands.
    pending: Option<bool>,
    /// `last_seen` or `enrolled`, newest first; by default as they were invited.
    sort: Option<String>,
    /// Open the holders' names of this page under the session's grant.
    #[serde(default)]
    names: bool,
    /// 1 to 200, by default 50.
    limit: Option<u32>,
    /// Where the page before ended.
    cursor: Option<String>,
}

/// A phone in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Device {
    #[schema(value_type = String)]
    enrolment: EnrolmentId,
    #[schema(value_type = String)]
    state: EnrolmentState,
    group: String,
    /// Only when names were asked for.
    holder: Option<String>,
    /// At most the last two characters of a number.
    masks: BTreeMap<String, String>,
    /// Fields that may stand in the clear.
    #[schema(value_type = Object)]
    clear: BTreeMap<String, Value>,
    supervised: Option<bool>,
    last_seen_ms: Option<i64>,
    enrolled_at_ms: Option<i64>,
    invited_at_ms: i64,
    pending_commands: u32,
    #[schema(value_type = String)]
    push: PushState,
}

/// An app on a phone.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeviceApp {
    identifier: String,
    version: String,
    short_version: String,
}

/// An app that an order installs or removes, as far as the phone has confirmed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ManagedApp {
    identifier: String,
    /// requested, installing, installed, removing, removed or failed.
    state: &'static str,
    /// Of a failure: Apple's word for it, or the error's domain and code.
    reason: Option<String>,
    requested_at_ms: i64,
    /// When the phone's own list last showed it there, or gone.
    confirmed_at_ms: Option<i64>,
}

impl From<AppRequest> for ManagedApp {
    fn from(a: AppRequest) -> Self {
        let state = match (a.state, a.wanted) {
            (AppRequestState::Requested, _) => "requested",
            (AppRequestState::UnderWay, true) => "installing",
            (AppRequestState::UnderWay, false) => "removing",
            (AppRequestState::Confirmed, true) => "installed",
            (AppRequestState::Confirmed, false) => "removed",
            (AppRequestState::Failed, _) => "failed",
        };
        let confirmed = a.state == AppRequestState::Confirmed;
        Self {
            identifier: a.identifier,
            state,
            reason: Some(a.reason).filter(|r| !r.is_empty()),
            requested_at_ms: a.requested_at_ms,
            confirmed_at_ms: confirmed.then_some(a.changed_at_ms),
        }
    }
}

/// When a phone last confirmed a kind of report.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeviceReport {
    kind: String,
    at_ms: i64,
}

/// A field that only an order or a grant opens.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SealedField {
    name: String,
    #[schema(value_type = String)]
    compartment: Compartment,
    mask: String,
    at_ms: i64,
}

/// One phone.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeviceDetail {
    #[serde(flatten)]
    device: Device,
    apps: Vec<DeviceApp>,
    managed_apps: Vec<ManagedApp>,
    /// How many users of a shared iPad have a channel of their own.
    user_channels: u32,
    reports: Vec<DeviceReport>,
    sealed_fields: Vec<SealedField>,
    #[schema(value_type = Option<String>)]
    replaced_by: Option<EnrolmentId>,
}

fn some_time(at_ms: i64) -> Option<i64> {
    (at_ms > 0).then_some(at_ms)
}

/// A phone with what may be shown of it.
pub(crate) fn device(v: &View<'_>, item: &DeviceItem) -> Result<Device, StoreError> {
    let notes = v.sealed_notes(item.slot)?;
    let masks = notes.into_iter().filter(|n| !n.mask.is_empty()).map(|n| (n.name, n.mask));
    let clear = v.clear_fields(item.slot)?.into_iter();
    let clear = clear.filter_map(|(name, value)| Some((name, serde_json::from_str(&value).ok()?)));
    Ok(Device {
        enrolment: item.enrolment,
        state: item.state,
        group: item.group.clone(),
        holder: None,
        masks: masks.collect(),
        clear: clear.collect(),
        supervised: item.supervised,
        last_seen_ms: some_time(item.last_seen_at_ms),
        enrolled_at_ms: some_time(item.enrolled_at_ms),
        invited_at_ms: item.invited_at_ms,
        pending_commands: item.pending_commands,
        push: item.push,
    })
}

/// Last-seen times are newer in memory than in the store.
pub(crate) fn freshen(room: &Room, devices: &mut [Device]) {
    for d in devices {
        if let Some(p) = room.fleet.find(d.enrolment) {
            d.last_seen_ms = some_time(p.last_seen_ms);
        }
    }
}

fn word<T>(
    what: &'static str,
    text: Option<&str>,
    of: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Problem> {
    match text {
        None => Ok(None),
        Some(t) => of(t).map(Some).ok_or_else(|| Problem::bad(format!("{what} is none of its words"))),
    }
}

#[utoipa::path(get, path = "/api/v1/devices", params(DevicesQuery), responses(
    (status = 200, body = Page<Device>),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn list_devices(
    permit: Permit<Devices>,
    Extension(room): Extension<Arc<Room>>,
    Params(q): Params<DevicesQuery>,
) -> Result<Json<Page<Device>>, Problem> {
    let names = if q.names { Some(opens_names(&permit)?.clone()) } else { None };
    let limit = limit(q.limit)?;
    let group = match permit.actor().group() {
        // Someone who is held to a group sees that group alone.
        Some(own) if q.group.as_deref().is_some_and(|g| g != own) => {
            return Err(Problem::forbidden("your role reaches your own group's phones"));
        }
        Some(own) => Some(own.to_owned()),
        None => q.group,
    };
    let device_group: Option<DeviceGroupId> =
        q.device_group.as_deref().map(|g| id("device group", g)).transpose()?;
    let now_ms = room.now_ms();
    let mut filter = DeviceFilter {
        group,
        state: word("state", q.state.as_deref(), EnrolmentState::from_name)?,
        supervised: q.supervised,
        os_version: q.os_version,
        model: q.model,
        silent_since_ms: q.silent_for_days.map(|d| now_ms - i64::from(d) * model::clock::DAY_MS),
        pending: q.pending,
        device_group: None,
        sort: word("sort", q.sort.as_deref(), |s| match s {
            "last_seen" => Some(DeviceSort::LastSeen),
            "enrolled" => Some(DeviceSort::Enrolled),
            _ => None,
        })?
        .unwrap_or_default(),
        after: cursor_from(q.cursor.as_deref())?,
        limit: limit + 1,
    };
    let (with_names, home) = (names.is_some(), permit.actor().group().map(str::to_owned));
    let read = room.store.read(move |v| {
        if let Some(group) = device_group {
            let Some((found, _)) = device_groups::find_for(v, group, home.as_deref(), now_ms)? else {
                return Ok(None);
            };
            filter.device_group = Some(found.members(now_ms));
        }
        let mut items = v.devices(&filter)?;
        let more = items.len() > limit as usize;
        items.truncate(limit as usize);
        let next = items.last().filter(|_| more).map(|i| cursor_of(i.place));
        let devices = items.iter().map(|i| device(v, i)).collect::<Result<Vec<_>, _>>()?;
        let rows =
            if with_names { holder_rows(v, items.iter().map(|i| (i.enrolment, i.slot)))? } else { vec![] };
        Ok(Some((devices, rows, next)))
    });
    let (mut items, rows, next_cursor) = read.await?.ok_or_else(|| Problem::not_found("device group"))?;
    freshen(&room, &mut items);
    if let Some(session) = names {
        let mut found = open_names(&room, &session, rows).await?;
        for d in &mut items {
            d.holder = found.remove(&d.enrolment);
        }
    }
    Ok(Json(Page { items, next_cursor }))
}

fn opens_names(permit: &Permit<Devices>) -> Result<&Session, Problem> {
    let session = permit.session()?;
    if session.covers(Compartment::Identity) {
        Ok(session)
    } else {
        Err(Problem::forbidden("this session's grant does not cover names; sign in with one that does"))
    }
}

fn holder_rows(
    v: &View<'_>,
    phones: impl Iterator<Item = (EnrolmentId, Slot)>,
) -> Result<Vec<(EnrolmentId, SealedRow)>, StoreError> {
    let mut rows = Vec::new();
    for (enrolment, slot) in phones {
        if let Some(row) = v.find_sealed(slot, HOLDER)? {
            rows.push((enrolment, row));
        }
    }
    Ok(rows)
}

/// Opens names under the session's grant. They go into one response and nowhere else.
async fn open_names(
    room: &Room,
    session: &Session,
    rows: Vec<(EnrolmentId, SealedRow)>,
) -> Result<BTreeMap<EnrolmentId, String>, Problem> {
    if rows.is_empty() {
        return Ok(BTreeMap::new());
    }
    let open = rows
        .into_iter()
        .map(|(e, row)| PhoneRow { enrolment: e.0.to_vec(), row: Some(rpc::row_to(row)) })
        .collect();
    let used = GrantUse { session: session.hash.0.to_vec(), open, sealed_search: Vec::new() };
    let answer = ask_vault(room, "use_grant", |mut v| async move { v.use_grant(used).await }).await?;
    if answer.refusal != 0 {
        return Err(Problem::held(answer.refusal, &answer.hold));
    }
    let opened = answer
        .opened
        .into_iter()
        .filter_map(|o| Some((rpc::enrolment_id(&o.enrolment).ok()?, String::from_utf8(o.value).ok()?)));
    Ok(opened.collect())
}

/// The enrolment that a path names: all 32 digits, or the first 6 or more if no other begins so.
pub(crate) async fn named(room: &Room, actor: &Actor, text: &str) -> Result<DeviceItem, Problem> {
    let digits: String = text.to_ascii_lowercase();
    let plain = (6..=32).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if !plain {
        return Err(Problem::not_found("device"));
    }
    let bound = |fill: &str| -> Option<EnrolmentId> {
        let mut full = digits.clone();
        while full.len() < 32 {
            full.push_str(fill);
        }
        full.parse().ok()
    };
    let (Some(from), Some(to)) = (bound("0"), bound("f")) else { return Err(Problem::not_found("device")) };
    let found = room
        .store
        .read(move |v| {
            let ids = v.enrolments_by_prefix(from.0, to.0)?;
            match ids.as_slice() {
                [one] => Ok((v.find_device(*one)?, false)),
                [] => Ok((None, false)),
                _ => Ok((None, true)),
            }
        })
        .await?;
    match found {
        (_, true) => Err(Problem::new(
            http::StatusCode::CONFLICT,
            "ambiguous",
            "more than one enrolment begins so; give more digits",
        )),
        // Outside one's group there is nothing.
        (Some(d), _) if actor.group().is_none_or(|g| g == d.group) => Ok(d),
        _ => Err(Problem::not_found("device")),
    }
}

#[utoipa::path(get, path = "/api/v1/devices/{enrolment}", params(
    ("enrolment" = String, Path, description = "an enrolment id, or its first 6 digits or more"),
), responses(
    (status = 200, body = DeviceDetail),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn get_device(
    permit: Permit<Devices>,
    Extension(room): Extension<Arc<Room>>,
    Path(enrolment): Path<String>,
) -> Result<Json<DeviceDetail>, Problem> {
    let item = named(&room, permit.actor(), &enrolment).await?;
    let read = room.store.read(move |v| {
        let apps = v.apps(item.slot)?.into_iter();
        let notes = v.sealed_notes(item.slot)?.into_iter();
        Ok(DeviceDetail {
            device: device(v, &item)?,
            apps: apps
                .map(|a| DeviceApp {
                    identifier: a.identifier,
                    version: a.version,
                    short_version: a.short_version,
                })
                .collect(),
            managed_apps: v.app_requests(item.slot)?.into_iter().map(ManagedApp::from).collect(),
            user_channels: u32::try_from(v.user_channels(item.slot)?.len()).unwrap_or(u32::MAX),
            reports: v
                .reports(item.slot)?
                .into_iter()
                .map(|r| DeviceReport { kind: r.kind, at_ms: r.at_ms })
                .collect(),
            sealed_fields: notes
                .map(|n| SealedField {
                    name: n.name,
                    compartment: n.compartment,
                    mask: n.mask,
                    at_ms: n.at_ms,
                })
                .collect(),
            replaced_by: item.replaced_by,
        })
    });
    let mut detail = read.await?;
    freshen(&room, std::slice::from_mut(&mut detail.device));
    Ok(Json(detail))
}
