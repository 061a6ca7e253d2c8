//! Profiles and device groups together: how a group's phones stand with a profile, whom an order for all of them would
//! name, and which profiles they hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::Path;
use axum::{Extension, Json};
use model::{DeviceGroupId, EnrolmentId, ProfileId, TimeMs};
use order::Order;
use serde::{Deserialize, Serialize};
use store::{DeviceGroupRecord, ProfileMember, StoreError};
use utoipa::{IntoParams, ToSchema};

use super::access::{Permit, SignedIn};
use super::device_groups::{DeviceGroupPhones, find_for, more_than_one_order_names};
use super::problem::{Problem, ProblemBody};
use super::profiles::MOST_PROFILES;
use super::shape::{Page, Params, id};
use crate::counted::soon;
use crate::room::Room;

/// How the phones that a device group holds at this moment stand with a profile. `phones` is the sum of `on_newest`, `asked`,
/// `older` and `without`.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ProfileMembers {
    #[schema(value_type = String)]
    device_group: DeviceGroupId,
    name: String,
    /// The profile's newest version.
    newest: u32,
    /// Enrolled phones in it.
    phones: u32,
    /// Said that they hold the newest version, and are asked for no other.
    on_newest: u32,
    /// Asked to hold the newest version, and may still answer.
    asked: u32,
    /// Of the others: phones that said that they hold this version. The newest is among them where another order is
    /// under way that takes it away.
    older: Vec<OlderVersion>,
    /// Of the others: phones that hold none.
    without: u32,
    /// So many an order to install the newest version would name.
    to_install: u32,
    /// So many an order to remove the profile would name.
    to_remove: u32,
    /// Asked to be without it, and may still answer.
    removing: u32,
    now_ms: TimeMs,
}

/// Phones on an older version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct OlderVersion {
    version: u32,
    phones: u32,
}

/// Whether an order that installs this version would name the phone.
fn lacks(m: &ProfileMember, newest: u32) -> bool {
    m.asked.unwrap_or(m.confirmed) != newest
}

/// Whether an order that removes the profile would name the phone.
fn holds(m: &ProfileMember) -> bool {
    m.asked.unwrap_or(m.confirmed) != 0
}

impl ProfileMembers {
    fn of(
        (device_group, name): (DeviceGroupId, String),
        newest: u32,
        all: &[ProfileMember],
        now_ms: TimeMs,
    ) -> Self {
        let count = |is: &dyn Fn(&ProfileMember) -> bool| {
            u32::try_from(all.iter().filter(|m| is(m)).count()).unwrap_or(u32::MAX)
        };
        let mut older: BTreeMap<u32, u32> = BTreeMap::new();
        for m in all.iter().filter(|m| lacks(m, newest) && m.confirmed > 0) {
            *older.entry(m.confirmed).or_default() += 1;
        }
        Self {
            device_group,
            name,
            newest,
            phones: count(&|_| true),
            on_newest: count(&|m| !lacks(m, newest) && m.confirmed == newest),
            asked: count(&|m| !lacks(m, newest) && m.confirmed != newest),
            older: older
                .into_iter()
                .rev()
                .map(|(version, phones)| OlderVersion { version, phones })
                .collect(),
            without: count(&|m| lacks(m, newest) && m.confirmed == 0),
            to_install: count(&|m| lacks(m, newest)),
            to_remove: count(&holds),
            removing: count(&|m| m.asked == Some(0)),
            now_ms,
        }
    }
}

/// What is asked for both of these routes.
struct Both {
    name: String,
    newest: u32,
    members: Vec<ProfileMember>,
}

async fn both(
    room: &Room,
    profile: ProfileId,
    group: DeviceGroupId,
    home: Option<String>,
    now_ms: TimeMs,
) -> Result<Both, Problem> {
    let read = room.store.read(move |v| {
        let Some(newest) = v.profile_versions(profile)?.first().map(|v| v.version) else {
            return Ok(Err("profile"));
        };
        let Some((found, _)) = find_for(v, group, home.as_deref(), now_ms)? else {
            return Ok(Err("device group"));
        };
        let most = u32::try_from(Order::MOST_TARGETS).unwrap_or(u32::MAX);
        let members =
            v.profile_members(profile, &found.members(now_ms), home.as_deref(), most.saturating_add(1))?;
        Ok(Ok(Both { name: found.saved.name.as_str().to_owned(), newest, members }))
    });
    let both = read.await?.map_err(Problem::not_found)?;
    if both.members.len() > Order::MOST_TARGETS { Err(more_than_one_order_names()) } else { Ok(both) }
}

#[utoipa::path(get, path = "/api/v1/profiles/{profile}/device-groups/{device_group}", params(
    ("profile" = String, Path, description = "a profile's id"),
    ("device_group" = String, Path, description = "a device group's id"),
), responses(
    (status = 200, body = ProfileMembers),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn get_profile_members(
    permit: Permit<SignedIn>,
    Extension(room): Extension<Arc<Room>>,
    Path((profile, group)): Path<(String, String)>,
) -> Result<Json<ProfileMembers>, Problem> {
    let (profile, group) = (id("profile", &profile)?, id("device group", &group)?);
    let now_ms = room.now_ms();
    let home = permit.actor().group().map(str::to_owned);
    let both = both(&room, profile, group, home, now_ms).await?;
    Ok(Json(ProfileMembers::of((group, both.name), both.newest, &both.members, now_ms)))
}

/// What an order would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum To {
    /// Install the newest version.
    #[default]
    Install,
    /// Remove the profile.
    Remove,
}

/// For which order.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PhonesTo {
    /// `install` (the default): phones that lack the newest version. `remove`: those that hold one, or were asked to.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    to: To,
}

#[utoipa::path(get, path = "/api/v1/profiles/{profile}/device-groups/{device_group}/phones", params(
    ("profile" = String, Path, description = "a profile's id"),
    ("device_group" = String, Path, description = "a device group's id"),
    PhonesTo,
), responses(
    (status = 200, body = DeviceGroupPhones, description = "those that an order would name"),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn profile_member_phones(
    permit: Permit<SignedIn>,
    Extension(room): Extension<Arc<Room>>,
    Path((profile, group)): Path<(String, String)>,
    Params(q): Params<PhonesTo>,
) -> Result<Json<DeviceGroupPhones>, Problem> {
    let (profile, group) = (id("profile", &profile)?, id("device group", &group)?);
    let now_ms = room.now_ms();
    let home = permit.actor().group().map(str::to_owned);
    let both = both(&room, profile, group, home, now_ms).await?;
    let named = |m: &&ProfileMember| match q.to {
        To::Install => lacks(m, both.newest),
        To::Remove => holds(m),
    };
    let phones: Vec<EnrolmentId> = both.members.iter().filter(named).map(|m| m.enrolment).collect();
    Ok(Json(DeviceGroupPhones::of(phones, now_ms)))
}

/// How a device group's phones stand with a profile, by their own word alone.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MemberProfile {
    #[schema(value_type = String)]
    profile: ProfileId,
    /// The profile's PayloadIdentifier.
    identifier: String,
    /// Its newest version.
    newest: u32,
    /// That counts as erasure.
    erasing: bool,
    /// Phones that hold the newest version.
    on_newest: u64,
    /// Those that hold an older one.
    older: u64,
    /// Those that hold none.
    without: u64,
}

/// How many phones a device group holds, and of each profile and version how many of them said that they hold it.
pub(crate) type Counts = Arc<(u64, BTreeMap<(ProfileId, u32), u64>)>;

async fn count(
    room: Arc<Room>,
    group: DeviceGroupRecord,
    home: Option<String>,
    now_ms: TimeMs,
) -> Result<Counts, StoreError> {
    let read = room.store.read(move |v| {
        let members = group.members(now_ms);
        Ok((v.count_members(&members, home.as_deref())?, v.profiles_of_members(&members, home.as_deref())?))
    });
    Ok(Arc::new(read.await?))
}

#[utoipa::path(get, path = "/api/v1/device-groups/{device_group}/profiles", params(
    ("device_group" = String, Path, description = "a device group's id"),
), responses(
    (status = 200, body = Page<MemberProfile>, description = "all of the library, by identifier"),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn list_member_profiles(
    permit: Permit<SignedIn>,
    Extension(room): Extension<Arc<Room>>,
    Path(group): Path<String>,
) -> Result<Json<Page<MemberProfile>>, Problem> {
    let group: DeviceGroupId = id("device group", &group)?;
    let home = permit.actor().group().map(str::to_owned);
    let now_ms = room.now_ms();
    let of = home.clone();
    let read = room.store.read(move |v| {
        Ok(find_for(v, group, of.as_deref(), now_ms)?.map(|(found, _)| (found, v.profiles(MOST_PROFILES))))
    });
    let (found, profiles) = read.await?.ok_or_else(|| Problem::not_found("device group"))?;
    let order = found.saved.order;
    let count = count(room.clone(), found, home.clone(), now_ms);
    // Of all phones a count may be a second old; of a home group it is made anew.
    let counted =
        if home.is_none() { soon(&room.counts.profiles_of, order, count).await? } else { count.await? };
    let (phones, counts) = (counted.0, &counted.1);
    let mut items: Vec<MemberProfile> = profiles?
        .into_iter()
        .map(|p| {
            let of = counts.range((p.profile, 0)..=(p.profile, u32::MAX));
            let all: u64 = of.map(|(_, n)| n).sum();
            let on_newest = counts.get(&(p.profile, p.version)).copied().unwrap_or(0);
            MemberProfile {
                profile: p.profile,
                identifier: p.identifier,
                newest: p.version,
                erasing: p.erasing,
                on_newest,
                older: all - on_newest,
                without: phones.saturating_sub(all),
            }
        })
        .collect();
    items.sort_by(|a, b| a.identifier.cmp(&b.identifier));
    Ok(Json(Page { items, next_cursor: None }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(n: u8, confirmed: u32, asked: Option<u32>) -> ProfileMember {
        ProfileMember { enrolment: EnrolmentId([n; 16]), confirmed, asked }
    }

    #[test]
    fn whoever_has_the_newest_version_or_may_still_say_so_is_left_out_and_each_phone_is_counted_once() {
        let all = [
            member(1, 3, None),
            member(2, 2, Some(3)),
            member(3, 0, Some(3)),
            member(4, 2, None),
            member(5, 1, None),
            member(6, 1, Some(2)),
            member(7, 0, None),
            // It has the newest, and another order takes that away.
            member(8, 3, Some(0)),
            member(9, 3, Some(1)),
        ];
        let told = ProfileMembers::of((DeviceGroupId([1; 16]), "Ward".into()), 3, &all, 5);
        assert_eq!((told.phones, told.on_newest, told.asked, told.without), (9, 1, 2, 1));
        let older: Vec<_> = told.older.iter().map(|o| (o.version, o.phones)).collect();
        assert_eq!(older, [(3, 2), (2, 1), (1, 2)]);
        assert_eq!((told.to_install, told.to_remove, told.removing), (6, 7, 1));
        assert_eq!(
            told.on_newest + told.asked + told.without + older.iter().map(|o| o.1).sum::<u32>(),
            told.phones
        );
    }
}
