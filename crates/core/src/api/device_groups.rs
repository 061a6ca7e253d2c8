//! Device groups: which there are, whom each holds, and whom a rule would hold before anyone saves it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::Path;
use axum::{Extension, Json};
use model::{DeviceGroupDefinition, DeviceGroupId, EnrolmentId, OrderId, PersonId, RuleForm, TimeMs};
use order::Order;
use serde::{Deserialize, Serialize};
use store::{DeviceFilter, DeviceGroupRecord, Members, StoreError, View};
use utoipa::{IntoParams, ToSchema};

use super::access::{Devices, Permit};
use super::devices::{Device, device, freshen};
use super::problem::{Problem, ProblemBody};
use super::shape::{Page, Params, cursor_from, cursor_of, id, limit};
use crate::counted::for_a_moment;
use crate::room::Room;

/// A preview shows so many phones.
const PREVIEWED: u32 = 10;
/// How many phones a device group held, and when.
pub(crate) type Count = (u64, TimeMs);

/// A device group.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeviceGroup {
    #[schema(value_type = String)]
    device_group: DeviceGroupId,
    name: String,
    /// `rule` or `list`.
    kind: &'static str,
    /// `"list"`, or `{"rule": {"join": "all", "conditions": [{"os_below": "17.5"}, …]}}`.
    #[schema(value_type = Object)]
    definition: DeviceGroupDefinition,
    /// Enrolled phones in it, for someone who is held to a home group those of it. Absent when it was not asked for, or
    /// is being counted for the first time.
    phones: Option<u64>,
    counted_at_ms: Option<TimeMs>,
    /// Of a list: how many phones the order named, those that have left since among them.
    listed: Option<u32>,
    /// The order that saved it last; whoever changes it names this one.
    #[schema(value_type = String)]
    order: OrderId,
    #[schema(value_type = String)]
    saved_by: PersonId,
    saved_at_ms: TimeMs,
}

impl DeviceGroup {
    fn of(record: DeviceGroupRecord, held: bool, count: Option<Count>) -> Self {
        let DeviceGroupRecord { saved, listed, .. } = record;
        let is_list = saved.definition == DeviceGroupDefinition::List;
        Self {
            device_group: saved.group,
            name: saved.name.as_str().to_owned(),
            kind: saved.definition.kind(),
            definition: saved.definition,
            phones: count.map(|c| c.0),
            counted_at_ms: count.map(|c| c.1),
            listed: (is_list && !held).then_some(listed),
            order: saved.order,
            saved_by: saved.person,
            saved_at_ms: saved.saved_at_ms,
        }
    }
}

/// Which device groups.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeviceGroupsQuery {
    /// Count their phones.
    #[serde(default)]
    counts: bool,
    /// 1 to 200, by default 50.
    limit: Option<u32>,
    /// Where the page before ended.
    cursor: Option<String>,
}

/// Counts of all phones: those that are known, and what can be counted in a moment. The rest is counted on.
async fn counted(room: &Arc<Room>, groups: &[DeviceGroupRecord]) -> HashMap<OrderId, Count> {
    for_a_moment(count(room.clone(), groups.to_vec())).await;
    let orders = groups.iter().map(|g| g.saved.order);
    orders.filter_map(|o| Some((o, room.counts.device_groups.last(&o)?))).collect()
}

async fn count(room: Arc<Room>, groups: Vec<DeviceGroupRecord>) {
    for group in groups {
        let order = group.saved.order;
        let at_ms = room.now_ms();
        let count = room.store.read(move |v| Ok((v.count_members(&group.members(at_ms), None)?, at_ms)));
        if let Err(e) = room.counts.device_groups.get(order, count).await {
            tracing::warn!(store.error = %e, "the phones of a device group could not be counted");
            return;
        }
    }
}

/// The device group of that id. For someone who is held to a home group there is none without a phone of it.
pub(crate) fn find_for(
    v: &View<'_>,
    group: DeviceGroupId,
    home: Option<&str>,
    now_ms: TimeMs,
) -> Result<Option<(DeviceGroupRecord, Option<u64>)>, StoreError> {
    let Some(record) = v.find_device_group(group)? else { return Ok(None) };
    let Some(home) = home else { return Ok(Some((record, None))) };
    let own = v.count_members(&record.members(now_ms), Some(home))?;
    Ok((own > 0).then_some((record, Some(own))))
}

#[utoipa::path(get, path = "/api/v1/device-groups", params(DeviceGroupsQuery), responses(
    (status = 200, body = Page<DeviceGroup>),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn list_device_groups(
    permit: Permit<Devices>,
    Extension(room): Extension<Arc<Room>>,
    Params(q): Params<DeviceGroupsQuery>,
) -> Result<Json<Page<DeviceGroup>>, Problem> {
    let limit = limit(q.limit)?;
    let after = cursor_from(q.cursor.as_deref())?.map_or(0, |c| c.0);
    let mut records = room.store.read(move |v| v.device_groups(after, limit + 1)).await?;
    let more = records.len() > limit as usize;
    records.truncate(limit as usize);
    let next_cursor = records.last().filter(|_| more).map(|r| cursor_of((r.number, r.number)));
    let items = match permit.actor().group().map(str::to_owned) {
        Some(home) => own(&room, records, home).await?,
        None if q.counts => {
            let counts = counted(&room, &records).await;
            let count = |r: &DeviceGroupRecord| counts.get(&r.saved.order).copied();
            records.into_iter().map(|r| (count(&r), r)).map(|(c, r)| DeviceGroup::of(r, false, c)).collect()
        }
        None => records.into_iter().map(|r| DeviceGroup::of(r, false, None)).collect(),
    };
    Ok(Json(Page { items, next_cursor }))
}

/// Those with phones of this home group, counted within it.
async fn own(
    room: &Room,
    records: Vec<DeviceGroupRecord>,
    home: String,
) -> Result<Vec<DeviceGroup>, Problem> {
    let now_ms = room.now_ms();
    let read = room.store.read(move |v| {
        let mut items = Vec::new();
        for r in records {
            let own = v.count_members(&r.members(now_ms), Some(&home))?;
            if own > 0 {
                items.push(DeviceGroup::of(r, true, Some((own, now_ms))));
            }
        }
        Ok(items)
    });
    Ok(read.await?)
}

#[utoipa::path(get, path = "/api/v1/device-groups/{device_group}", params(
    ("device_group" = String, Path, description = "its id; its phones: /api/v1/devices?device_group="),
), responses(
    (status = 200, body = DeviceGroup),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn get_device_group(
    permit: Permit<Devices>,
    Extension(room): Extension<Arc<Room>>,
    Path(group): Path<String>,
) -> Result<Json<DeviceGroup>, Problem> {
    let group: DeviceGroupId = id("device group", &group)?;
    let home = permit.actor().group().map(str::to_owned);
    let (held, now_ms) = (home.is_some(), room.now_ms());
    let found = room.store.read(move |v| find_for(v, group, home.as_deref(), now_ms)).await?;
    let (record, own) = found.ok_or_else(|| Problem::not_found("device group"))?;
    let count = match own {
        Some(own) => Some((own, now_ms)),
        None => counted(&room, std::slice::from_ref(&record)).await.remove(&record.saved.order),
    };
    Ok(Json(DeviceGroup::of(record, held, count)))
}

/// The phones that a device group holds at this moment.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeviceGroupPhones {
    /// Enrolment ids, as an order's list of phones has them.
    #[schema(value_type = Vec<String>)]
    phones: Vec<EnrolmentId>,
    now_ms: TimeMs,
}

impl DeviceGroupPhones {
    pub(crate) fn of(phones: Vec<EnrolmentId>, now_ms: TimeMs) -> Self {
        Self { phones, now_ms }
    }
}

/// More than an order names. `whom`: of which there are more.
pub(crate) fn more_than_one_order_names(whom: &str) -> Problem {
    let why = format!("{whom} than one order names (20,000); narrow its rule");
    Problem::new(http::StatusCode::CONFLICT, "too_many_phones", why)
}

#[utoipa::path(get, path = "/api/v1/device-groups/{device_group}/phones", params(
    ("device_group" = String, Path, description = "its id"),
), responses(
    (status = 200, body = DeviceGroupPhones),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn device_group_phones(
    permit: Permit<Devices>,
    Extension(room): Extension<Arc<Room>>,
    Path(group): Path<String>,
) -> Result<Json<DeviceGroupPhones>, Problem> {
    let group: DeviceGroupId = id("device group", &group)?;
    let home = permit.actor().group().map(str::to_owned);
    let now_ms = room.now_ms();
    let read = room.store.read(move |v| {
        let Some((found, _)) = find_for(v, group, home.as_deref(), now_ms)? else { return Ok(None) };
        let most = u32::try_from(Order::MOST_TARGETS).unwrap_or(u32::MAX);
        v.members(&found.members(now_ms), home.as_deref(), most.saturating_add(1)).map(Some)
    });
    let phones = read.await?.ok_or_else(|| Problem::not_found("device group"))?;
    if phones.len() > Order::MOST_TARGETS {
        return Err(more_than_one_order_names("the device group holds more phones"));
    }
    Ok(Json(DeviceGroupPhones { phones, now_ms }))
}

/// Whom a rule would hold now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Preview {
    /// As an order would have it.
    #[schema(value_type = Object)]
    definition: DeviceGroupDefinition,
    phones: u64,
    /// The first of them.
    items: Vec<Device>,
}

#[utoipa::path(get, path = "/api/v1/device-groups/preview", params(
    ("join" = Option<String>, Query, description = "`all` conditions (the default) or `any` of them"),
    ("os_below" = Option<String>, Query, description = "an older system than this, e.g. 17.5"),
    ("os_at_least" = Option<String>, Query, description = "this system or a newer one"),
    ("model" = Option<String>, Query, description = "product names, with spaces between"),
    ("home_group" = Option<String>, Query, description = "home groups, with spaces between"),
    ("silent_for_days" = Option<String>, Query, description = "not heard of for so many days, 1 to 3650"),
    ("supervised" = Option<String>, Query, description = "true or false"),
    ("passcode_compliant" = Option<String>, Query, description = "true or false"),
    ("lost" = Option<String>, Query, description = "true or false"),
    ("data_protected" = Option<String>, Query, description = "true or false"),
), responses(
    (status = 200, body = Preview),
    (status = 400, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn preview_device_group(
    permit: Permit<Devices>,
    Extension(room): Extension<Arc<Room>>,
    Params(form): Params<RuleForm>,
) -> Result<Json<Preview>, Problem> {
    let rule = form.rule().map_err(|e| Problem::bad(e.to_string()))?;
    let home = permit.actor().group().map(str::to_owned);
    let members = Members::of_rule(rule.clone(), room.now_ms());
    let read = room.store.read(move |v| {
        let phones = v.count_members(&members, home.as_deref())?;
        let filter = DeviceFilter {
            group: home,
            device_group: Some(members),
            limit: PREVIEWED,
            ..DeviceFilter::default()
        };
        let items = v.devices(&filter)?.iter().map(|i| device(v, i)).collect::<Result<Vec<_>, _>>()?;
        Ok((phones, items))
    });
    let (phones, mut items) = read.await?;
    freshen(&room, &mut items);
    Ok(Json(Preview { definition: DeviceGroupDefinition::Rule(rule), phones, items }))
}
