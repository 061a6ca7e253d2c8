//! Profiles and device groups together: how a group's phones stand with a profile, whom an order for all of them would
//! name, and which profiles they hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::Path;
use axum::{Extension, Json};
use model::{DeviceGroupId, EnrolmentId, OrderId, ProfileId, TimeMs};
use order::Order;
use serde::{Deserialize, Serialize};
use store::{DeviceGroupRecord, Held, ProfileMember, ProfileVersion, Slot, StoreError, View};
use utoipa::{IntoParams, ToSchema};

use super::access::{Permit, SignedIn};
use super::device_groups::{DeviceGroupPhones, find_for, more_than_one_order_names};
use super::problem::{Problem, ProblemBody};
use super::profiles::MOST_PROFILES;
use super::shape::{Page, Params, id};
use crate::counted::if_soon;
use crate::room::Room;

/// How the phones that a device group holds stand with a profile.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProfileMembers {
    #[schema(value_type = String)]
    device_group: DeviceGroupId,
    name: String,
    /// The profile's newest version.
    newest: u32,
    /// Absent while they are counted for the first time: ask again in a moment.
    counted: Option<MembersCounted>,
    now_ms: TimeMs,
}

/// How they stood when they were counted. `phones` is the sum of `on_newest`, `asked`, `older` and `without`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct MembersCounted {
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
    /// The first 100 of those, to tick.
    #[schema(value_type = Vec<String>)]
    first_to_install: Vec<EnrolmentId>,
    /// So many an order to remove the profile would name.
    to_remove: u32,
    /// The first 100 of those, to tick.
    #[schema(value_type = Vec<String>)]
    first_to_remove: Vec<EnrolmentId>,
    /// Asked to be without it, and may still answer.
    removing: u32,
    /// When that was. Of one home group it is now; of all phones it may be a second ago, or longer where counting takes long.
    counted_at_ms: TimeMs,
}

/// Phones on an older version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct OlderVersion {
    version: u32,
    phones: u32,
}

/// By the profile, its newest version, and the order that saved the device group.
pub(crate) type MembersKey = (ProfileId, u32, OrderId);

/// So many phones are told by name.
const FIRST: usize = 100;

/// Whether an order that installs this version would name the phone.
fn lacks(m: &ProfileMember, newest: u32) -> bool {
    m.asked.unwrap_or(m.confirmed) != newest
}

/// Whether an order that removes the profile would name the phone.
fn holds(m: &ProfileMember) -> bool {
    m.asked.unwrap_or(m.confirmed) != 0
}

/// Counts phone by phone.
#[derive(Default)]
struct Tally {
    counted: MembersCounted,
    older: BTreeMap<u32, u32>,
    first_to_install: Vec<Slot>,
    first_to_remove: Vec<Slot>,
}

impl Tally {
    fn add(&mut self, m: &ProfileMember, newest: u32) {
        let s = &mut self.counted;
        s.phones += 1;
        if lacks(m, newest) {
            s.to_install += 1;
            if self.first_to_install.len() < FIRST {
                self.first_to_install.push(m.slot);
            }
            match m.confirmed {
                0 => s.without += 1,
                version => *self.older.entry(version).or_default() += 1,
            }
        } else if m.confirmed == newest {
            s.on_newest += 1;
        } else {
            s.asked += 1;
        }
        if holds(m) {
            s.to_remove += 1;
            if self.first_to_remove.len() < FIRST {
                self.first_to_remove.push(m.slot);
            }
        }
        s.removing += u32::from(m.asked == Some(0));
    }

    /// The newest of the older versions first.
    fn counted(self, v: &View<'_>, counted_at_ms: TimeMs) -> Result<MembersCounted, StoreError> {
        let older = self.older.into_iter().rev().map(|(version, phones)| OlderVersion { version, phones });
        Ok(MembersCounted {
            older: older.collect(),
            first_to_install: v.ids_of(&self.first_to_install)?,
            first_to_remove: v.ids_of(&self.first_to_remove)?,
            counted_at_ms,
            ..self.counted
        })
    }
}

/// A device group and the profile's newest version: what both of these routes begin with.
fn found(
    v: &View<'_>,
    (profile, group): (ProfileId, DeviceGroupId),
    home: Option<&str>,
    now_ms: TimeMs,
) -> Result<Result<(u32, DeviceGroupRecord), &'static str>, StoreError> {
    let Some(newest) = v.newest_profile_version(profile)? else { return Ok(Err("profile")) };
    let group = find_for(v, group, home, now_ms)?;
    Ok(group.map(|(group, _)| (newest, group)).ok_or("device group"))
}

async fn stand(
    room: Arc<Room>,
    (profile, newest): (ProfileId, u32),
    group: DeviceGroupRecord,
    home: Option<String>,
) -> Result<Arc<MembersCounted>, StoreError> {
    let now_ms = room.now_ms();
    let read = room.store.read(move |v| {
        let mut tally = Tally::default();
        let members = v.member_slots(&group.members(now_ms), home.as_deref())?;
        v.stand_with(profile, &members, |m| tally.add(&m, newest))?;
        tally.counted(v, now_ms)
    });
    Ok(Arc::new(read.await?))
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
    let of = home.clone();
    let read = room.store.read(move |v| found(v, (profile, group), of.as_deref(), now_ms));
    let (newest, found) = read.await?.map_err(Problem::not_found)?;
    let (name, order) = (found.saved.name.as_str().to_owned(), found.saved.order);
    let all = home.is_none();
    let count = stand(room.clone(), (profile, newest), found, home);
    // Of all phones a count may be a second old; of a home group it is made anew.
    let counted = if all {
        if_soon(&room.counts.members, (profile, newest, order), count).await?
    } else {
        Some(count.await?)
    };
    let counted = counted.map(|c| MembersCounted::clone(&c));
    Ok(Json(ProfileMembers { device_group: group, name, newest, counted, now_ms }))
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

/// The phones that an order would name.
struct Named {
    to: To,
    newest: u32,
    slots: Vec<Slot>,
}

impl Named {
    fn add(&mut self, m: &ProfileMember) {
        let is = match self.to {
            To::Install => lacks(m, self.newest),
            To::Remove => holds(m),
        };
        // One more than an order names says that there are too many.
        if is && self.slots.len() <= Order::MOST_TARGETS {
            self.slots.push(m.slot);
        }
    }

    fn all(self) -> Result<Vec<Slot>, Problem> {
        if self.slots.len() <= Order::MOST_TARGETS {
            return Ok(self.slots);
        }
        Err(more_than_one_order_names(match self.to {
            To::Install => "more phones of the device group lack it",
            To::Remove => "more phones of the device group hold it",
        }))
    }
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
    let read = room.store.read(move |v| {
        let (newest, found) = match found(v, (profile, group), home.as_deref(), now_ms)? {
            Ok(found) => found,
            Err(what) => return Ok(Err(Problem::not_found(what))),
        };
        let members = v.member_slots(&found.members(now_ms), home.as_deref())?;
        let mut named = Named { to: q.to, newest, slots: Vec::new() };
        v.stand_with(profile, &members, |m| named.add(&m))?;
        Ok(match named.all() {
            Ok(slots) => Ok(v.ids_of(&slots)?),
            Err(too_many) => Err(too_many),
        })
    });
    Ok(Json(DeviceGroupPhones::of(read.await??, now_ms)))
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
    /// Absent while they are counted for the first time: ask again in a moment.
    counted: Option<MemberCounts>,
}

/// How many phones of a device group hold a profile, and when they were counted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MemberCounts {
    /// Phones that hold the newest version.
    on_newest: u64,
    /// Those that hold an older one.
    older: u64,
    /// Those that hold none.
    without: u64,
    /// Of one home group it is now; of all phones it may be a second ago, or longer where counting takes long.
    counted_at_ms: TimeMs,
}

/// How many phones a device group held, of each profile and version how many of them said that they hold it, and when.
pub(crate) type Counts = Arc<(u64, Held, TimeMs)>;

async fn count(
    room: Arc<Room>,
    group: DeviceGroupRecord,
    home: Option<String>,
    now_ms: TimeMs,
) -> Result<Counts, StoreError> {
    let read = room.store.read(move |v| {
        let members = v.member_slots(&group.members(now_ms), home.as_deref())?;
        Ok((members.len() as u64, v.profiles_held(&members)?, now_ms))
    });
    Ok(Arc::new(read.await?))
}

fn counts_of(p: &ProfileVersion, counts: &Counts) -> MemberCounts {
    let (phones, held, counted_at_ms) = &**counts;
    let all: u64 = held.range((p.profile, 0)..=(p.profile, u32::MAX)).map(|(_, n)| n).sum();
    let on_newest = held.get(&(p.profile, p.version)).copied().unwrap_or(0);
    MemberCounts {
        on_newest,
        older: all - on_newest,
        without: phones.saturating_sub(all),
        counted_at_ms: *counted_at_ms,
    }
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
    let (order, all) = (found.saved.order, home.is_none());
    let count = count(room.clone(), found, home, now_ms);
    // Of all phones a count may be a second old; of a home group it is made anew.
    let counts =
        if all { if_soon(&room.counts.profiles_of, order, count).await? } else { Some(count.await?) };
    let mut items: Vec<MemberProfile> = profiles?
        .into_iter()
        .map(|p| MemberProfile {
            counted: counts.as_ref().map(|c| counts_of(&p, c)),
            profile: p.profile,
            identifier: p.identifier,
            newest: p.version,
            erasing: p.erasing,
        })
        .collect();
    items.sort_by(|a, b| a.identifier.cmp(&b.identifier));
    Ok(Json(Page { items, next_cursor: None }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(n: i64, confirmed: u32, asked: Option<u32>) -> ProfileMember {
        ProfileMember { slot: Slot(n), confirmed, asked }
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
        let mut tally = Tally::default();
        all.iter().for_each(|m| tally.add(m, 3));
        let told = &tally.counted;
        assert_eq!((told.phones, told.on_newest, told.asked, told.without), (9, 1, 2, 1));
        assert_eq!(tally.older, BTreeMap::from([(3, 2), (2, 1), (1, 2)]));
        assert_eq!((told.to_install, told.to_remove, told.removing), (6, 7, 1));
        assert_eq!(
            told.on_newest + told.asked + told.without + tally.older.values().sum::<u32>(),
            told.phones
        );
        let slots = |of: &[Slot]| of.iter().map(|s| s.0).collect::<Vec<_>>();
        assert_eq!(slots(&tally.first_to_install), [4, 5, 6, 7, 8, 9]);
        assert_eq!(slots(&tally.first_to_remove), [1, 2, 3, 4, 5, 6, 9]);
    }

    #[test]
    fn of_a_group_of_any_size_an_order_names_exactly_those_it_is_for_or_too_many_are_refused() {
        let named = |to, members: &mut dyn Iterator<Item = ProfileMember>| {
            let mut named = Named { to, newest: 2, slots: Vec::new() };
            members.for_each(|m| named.add(&m));
            named.all().map_err(|p| format!("{p:?}"))
        };
        // Every second of 40,000 has the newest version.
        let half = |n: i64| member(n, if n % 2 == 0 { 2 } else { 1 }, None);
        let lack = named(To::Install, &mut (1..=40_000).map(half)).unwrap();
        assert_eq!((lack.len(), lack.first(), lack.last()), (20_000, Some(&Slot(1)), Some(&Slot(39_999))));
        let one_more = named(To::Install, &mut (1..=40_001).map(half)).unwrap_err();
        assert!(
            one_more.contains("too_many_phones") && one_more.contains("lack it than one order names"),
            "{one_more}"
        );
        let hold = named(To::Remove, &mut (1..=40_000).map(half)).unwrap_err();
        assert!(hold.contains("hold it than one order names (20,000)"), "{hold}");
    }

    #[test]
    fn the_first_hundred_are_told_by_name_and_all_are_counted() {
        let mut tally = Tally::default();
        (1..=250).for_each(|n| tally.add(&member(n, 1, None), 2));
        assert_eq!((tally.counted.to_install, tally.counted.to_remove), (250, 250));
        for first in [&tally.first_to_install, &tally.first_to_remove] {
            assert_eq!((first.len(), first.last()), (100, Some(&Slot(100))));
        }
    }
}
