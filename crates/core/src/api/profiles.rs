//! The library of profiles: what each version says in the clear, what is different between two, and which phones said
//! that they hold which.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::Path;
use axum::{Extension, Json};
use model::{Change, EnrolmentId, OrderId, Outline, PersonId, ProfileId, TimeMs};
use serde::{Deserialize, Serialize};
use store::{CommandState, PhoneProfileState, ProfileVersion, StoreError, VersionPhones, View};
use utoipa::{IntoParams, ToSchema};

use super::access::{Permit, SignedIn};
use super::problem::{Problem, ProblemBody};
use super::shape::{Page, Params, cursor_from, cursor_of, id, limit};
use crate::counted::soon;
use crate::room::Room;

/// The vault takes no more profiles than these.
pub(crate) const MOST_PROFILES: u32 = 500;

/// A version of a profile.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Version {
    version: u32,
    #[schema(value_type = String)]
    order: OrderId,
    /// Where it stands in the ledger.
    position: u64,
    saved_at_ms: i64,
    #[schema(value_type = String)]
    signer: PersonId,
    /// The profile's PayloadIdentifier.
    identifier: String,
    /// It came signed; by whom is told to whoever saved it, and nobody has vouched for the certificate.
    signed: bool,
    /// It counts as erasure.
    erasing: bool,
    /// The payloads' types, in order.
    payloads: Vec<String>,
    phones: Phones,
}

/// How many phones stand where with a version.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
pub(crate) struct Phones {
    /// Asked by their newest order, and not answered; those whose order ran out too.
    asked: u32,
    /// Said no.
    failed: u32,
    /// Said that it is installed, and nothing of another version since.
    confirmed: u32,
}

/// A profile of the library, with its newest version.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Profile {
    #[schema(value_type = String)]
    profile: ProfileId,
    newest: Version,
    /// Phones that said they hold any version.
    confirmed: u32,
    /// When phones were counted. Of one home group it is now; of all phones it may be a second ago, or longer where counting takes long.
    counted_at_ms: TimeMs,
}

/// A profile with its versions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProfileDetail {
    #[schema(value_type = String)]
    profile: ProfileId,
    /// The newest first.
    versions: Vec<Version>,
    /// Phones that were asked to be without it, and have not said that they are.
    removing: Phones,
    /// When phones were counted. Of one home group it is now; of all phones it may be a second ago, or longer where counting takes long.
    counted_at_ms: TimeMs,
    /// When it was taken out of the library; nothing of it is installed since.
    ended_at_ms: Option<i64>,
    /// The order that did.
    #[schema(value_type = Option<String>)]
    ended_by: Option<OrderId>,
}

/// What a version says.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VersionDetail {
    #[schema(value_type = String)]
    profile: ProfileId,
    version: Version,
    /// What of it stands in the clear.
    #[schema(value_type = Object)]
    outline: Outline,
    /// Why it counts as erasure: pairs of a payload's type and a key; `*` is a key that Apple's schema has not.
    #[schema(value_type = Vec<Vec<String>>)]
    because: Vec<(String, String)>,
    /// What was sealed of it is here, so that it can be installed.
    content: bool,
    /// The version with which it is compared.
    against: Option<u32>,
    /// What is different from that one.
    #[schema(value_type = Vec<Object>)]
    changes: Vec<Change>,
}

fn version(v: &ProfileVersion, counts: &HashMap<u32, VersionPhones>) -> Version {
    Version {
        version: v.version,
        order: v.order,
        position: v.position,
        saved_at_ms: v.saved_at_ms,
        signer: v.signer,
        identifier: v.identifier.clone(),
        signed: v.signed,
        erasing: v.erasing,
        payloads: outline(v).payloads.into_iter().map(|p| p.payload_type).collect(),
        phones: counts.get(&v.version).map(Phones::from).unwrap_or_default(),
    }
}

impl From<&VersionPhones> for Phones {
    fn from(v: &VersionPhones) -> Self {
        Self { asked: v.asked, failed: v.failed, confirmed: v.confirmed }
    }
}

fn outline(v: &ProfileVersion) -> Outline {
    order::decode(&v.outline).unwrap_or_default()
}

fn counts(
    v: &View<'_>,
    profile: ProfileId,
    group: Option<&str>,
) -> Result<HashMap<u32, VersionPhones>, StoreError> {
    Ok(v.profile_phone_counts(profile, group)?.into_iter().map(|c| (c.version, c)).collect())
}

/// How many phones stand where with a profile, by version, and when.
pub(crate) type ProfileCounts = Arc<(HashMap<u32, VersionPhones>, TimeMs)>;

/// Of all phones a count may be a second old; of a home group it is made anew.
async fn counted(
    room: &Arc<Room>,
    profile: ProfileId,
    group: Option<String>,
) -> Result<ProfileCounts, StoreError> {
    let (of, all, now_ms) = (room.clone(), group.is_none(), room.now_ms());
    let count = async move {
        let counts = of.store.read(move |v| counts(v, profile, group.as_deref())).await?;
        Ok(Arc::new((counts, now_ms)))
    };
    if all { soon(&room.counts.profile, profile, count).await } else { count.await }
}

/// How many phones stand where, by profile and version, and when.
pub(crate) type Counts = Arc<(HashMap<ProfileId, HashMap<u32, VersionPhones>>, TimeMs)>;

async fn room_counts(
    room: Arc<Room>,
    profiles: Vec<ProfileId>,
    group: Option<String>,
) -> Result<Counts, StoreError> {
    let now_ms = room.now_ms();
    let read = room.store.read(move |v| {
        let of = |p: ProfileId| Ok((p, counts(v, p, group.as_deref())?));
        profiles.into_iter().map(of).collect::<Result<HashMap<_, _>, StoreError>>()
    });
    Ok(Arc::new((read.await?, now_ms)))
}

/// Which profiles.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ProfilesQuery {
    /// Those that were taken out of the library, instead of those that are in it.
    #[serde(default)]
    ended: bool,
}

#[utoipa::path(get, path = "/api/v1/profiles", params(ProfilesQuery), responses(
    (status = 200, body = Page<Profile>, description = "all of them, by identifier"),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn list_profiles(
    permit: Permit<SignedIn>,
    Extension(room): Extension<Arc<Room>>,
    Params(q): Params<ProfilesQuery>,
) -> Result<Json<Page<Profile>>, Problem> {
    let group = permit.actor().group().map(str::to_owned);
    let read =
        move |v: &View<'_>| if q.ended { v.ended_profiles(MOST_PROFILES) } else { v.profiles(MOST_PROFILES) };
    let newest = room.store.read(read).await?;
    let ids: Vec<ProfileId> = newest.iter().map(|p| p.profile).collect();
    let count = room_counts(room.clone(), ids, group.clone());
    // Of all phones a count may be a second old; of a home group it is made anew.
    let counts =
        if group.is_none() { soon(&room.counts.profiles, q.ended, count).await? } else { count.await? };
    let (counts, counted_at_ms) = (&counts.0, counts.1);
    let none = HashMap::new();
    let mut items: Vec<Profile> = newest
        .into_iter()
        .map(|newest| {
            let counts = counts.get(&newest.profile).unwrap_or(&none);
            let confirmed = counts.values().map(|c| c.confirmed).sum();
            Profile { profile: newest.profile, newest: version(&newest, counts), confirmed, counted_at_ms }
        })
        .collect();
    items.sort_by(|a, b| a.newest.identifier.cmp(&b.newest.identifier));
    Ok(Json(Page { items, next_cursor: None }))
}

#[utoipa::path(get, path = "/api/v1/profiles/{profile}", params(
    ("profile" = String, Path, description = "a profile's id"),
), responses(
    (status = 200, body = ProfileDetail),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn get_profile(
    permit: Permit<SignedIn>,
    Extension(room): Extension<Arc<Room>>,
    Path(profile): Path<String>,
) -> Result<Json<ProfileDetail>, Problem> {
    let profile: ProfileId = id("profile", &profile)?;
    let group = permit.actor().group().map(str::to_owned);
    let read = room.store.read(move |v| Ok((v.profile_versions(profile)?, v.find_profile_end(profile)?)));
    let (versions, end) = read.await?;
    if versions.is_empty() {
        return Err(Problem::not_found("profile"));
    }
    let counted = counted(&room, profile, group).await?;
    let (counts, counted_at_ms) = (&counted.0, counted.1);
    let versions = versions.iter().map(|v| version(v, counts)).collect();
    let removing = counts.get(&0).map(Phones::from).unwrap_or_default();
    let (ended_by, ended_at_ms) = end.unzip();
    Ok(Json(ProfileDetail { profile, versions, removing, counted_at_ms, ended_at_ms, ended_by }))
}

/// With what a version is compared.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Against {
    /// An older version; by default the one before.
    against: Option<u32>,
}

#[utoipa::path(get, path = "/api/v1/profiles/{profile}/versions/{version}", params(
    ("profile" = String, Path, description = "a profile's id"),
    ("version" = u32, Path, description = "1, 2, …"),
    Against,
), responses(
    (status = 200, body = VersionDetail),
    (status = 400, body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn get_version(
    permit: Permit<SignedIn>,
    Extension(room): Extension<Arc<Room>>,
    Path((profile, number)): Path<(String, String)>,
    Params(q): Params<Against>,
) -> Result<Json<VersionDetail>, Problem> {
    let profile: ProfileId = id("profile", &profile)?;
    let number: u32 = id("version", &number)?;
    if q.against.is_some_and(|a| a == 0 || a >= number) {
        return Err(Problem::bad(
            "a version is compared with an older one: against is 1 or more, and less than it",
        ));
    }
    let group = permit.actor().group().map(str::to_owned);
    let unknown = || Problem::not_found("version of that profile");
    if !room.store.read(move |v| v.has_profile_version(profile, number)).await? {
        return Err(unknown());
    }
    let counts = counted(&room, profile, group).await?;
    let read = room.store.read(move |v| {
        let versions = v.profile_versions(profile)?;
        let content = v.has_profile_content(profile, number)?;
        // Compared here, where nobody else's request waits for it.
        Ok(detail(profile, number, q.against, &versions, &counts.0, content))
    });
    read.await?.map(Json).ok_or_else(unknown)
}

fn detail(
    profile: ProfileId,
    number: u32,
    against: Option<u32>,
    versions: &[ProfileVersion],
    counts: &HashMap<u32, VersionPhones>,
    content: bool,
) -> Option<VersionDetail> {
    let find = |n: u32| versions.iter().find(|v| v.version == n);
    let found = find(number)?;
    let against = against.or(number.checked_sub(1)).filter(|n| *n > 0);
    let now = outline(found);
    let changes = match against.and_then(find) {
        Some(older) => {
            let mut between: Vec<Outline> = versions
                .iter()
                .filter(|v| v.version > older.version && v.version < number)
                .map(outline)
                .collect();
            between.reverse();
            now.since(&between).changes(&outline(older))
        }
        None => Vec::new(),
    };
    Some(VersionDetail {
        profile,
        version: version(found, counts),
        outline: now,
        because: order::decode(&found.because).unwrap_or_default(),
        content,
        against,
        changes,
    })
}

/// A phone that a profile was ordered for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProfilePhone {
    #[schema(value_type = String)]
    enrolment: EnrolmentId,
    /// The version it was last asked to hold; 0: to be without the profile.
    version: u32,
    asked_at_ms: i64,
    /// How it answered: asked, done or failed.
    #[schema(value_type = String)]
    state: PhoneProfileState,
    /// How the command stands, while it is known.
    #[schema(value_type = Option<String>)]
    command: Option<CommandState>,
    /// The version that it said it had installed; 0: none.
    confirmed: u32,
    confirmed_at_ms: Option<i64>,
}

/// Which page.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PhonesQuery {
    /// 1 to 200, by default 50.
    limit: Option<u32>,
    /// Where the page before ended.
    cursor: Option<String>,
}

#[utoipa::path(get, path = "/api/v1/profiles/{profile}/phones", params(
    ("profile" = String, Path, description = "a profile's id"),
    PhonesQuery,
), responses(
    (status = 200, body = Page<ProfilePhone>),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn list_profile_phones(
    permit: Permit<SignedIn>,
    Extension(room): Extension<Arc<Room>>,
    Path(profile): Path<String>,
    Params(q): Params<PhonesQuery>,
) -> Result<Json<Page<ProfilePhone>>, Problem> {
    let profile: ProfileId = id("profile", &profile)?;
    let limit = limit(q.limit)?;
    let behind = cursor_from(q.cursor.as_deref())?.map_or(-1, |c| c.0);
    let group = permit.actor().group().map(str::to_owned);
    let read = room.store.read(move |v| {
        if v.profile_versions(profile)?.is_empty() {
            return Ok(None);
        }
        v.profile_phones(profile, group.as_deref(), behind, limit + 1).map(Some)
    });
    let mut items = read.await?.ok_or_else(|| Problem::not_found("profile"))?;
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    let next_cursor = items.last().filter(|_| more).map(|p| cursor_of((p.slot.0, 0)));
    let items = items
        .into_iter()
        .map(|p| ProfilePhone {
            enrolment: p.enrolment,
            version: p.version,
            asked_at_ms: p.asked_at_ms,
            state: p.state,
            command: p.command,
            confirmed: p.confirmed,
            confirmed_at_ms: p.confirmed_at_ms,
        })
        .collect();
    Ok(Json(Page { items, next_cursor }))
}
