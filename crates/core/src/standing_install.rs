//! Profiles that standing orders install by themselves: core says which phones are in the device group and lack that version
//! ([`Lacking`]), and carries what the vault makes of that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::clock::{DAY_MS, HOUR_MS};
use model::{EnrolmentId, Group, OrderId, SealedRow, StandingInstall, TimeMs};
use order::Refusal;
use store::{CommandState, Lacking, Slot, StandingRecord, StoreError, View};

use crate::acts::{self, Asking, NotActed, NotQueued, is_of_all, queue_act, stands};
use crate::room::Room;

/// How long a round waits for phones that come.
const ROUND: Duration = Duration::from_secs(10);
/// How long, while there are more phones than one round asks for.
const SOON: Duration = Duration::from_secs(1);
/// A phone for which the vault would not act is tried again after so long.
const REFUSED_MS: TimeMs = HOUR_MS;
/// How many phones one round asks for.
const AT_ONCE: u32 = 200;
/// A phone whose command ran out unanswered is asked again after so long, and after twice as long for each time in a row.
const AGAIN_MS: TimeMs = DAY_MS;
/// But never later than this.
const AGAIN_AT_LAST_MS: TimeMs = 32 * DAY_MS;

/// By what a phone lacks what the standing order installs.
fn lacking(s: &StandingRecord, install: &StandingInstall, now_ms: TimeMs) -> Lacking {
    Lacking {
        profile: install.profile,
        version: install.version,
        since_ms: s.made_at_ms,
        now_ms,
        pause_ms: AGAIN_MS,
        longest_pause_ms: AGAIN_AT_LAST_MS,
    }
}

/// Phones for which the vault would not act under a standing order, and when it said so.
type Refused = HashMap<(OrderId, EnrolmentId), TimeMs>;

/// Why a standing order that installs does nothing, though it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    DeviceGroupEnded,
    ProfileEnded,
    /// The version's content is not here, or is not what was saved.
    ContentLost,
    /// The vault judges the version otherwise than when it was shown.
    JudgedOtherwise,
}

impl Rest {
    /// The name used in routes.
    pub fn name(self) -> &'static str {
        match self {
            Self::DeviceGroupEnded => "device_group_ended",
            Self::ProfileEnded => "profile_ended",
            Self::ContentLost => "content_lost",
            Self::JudgedOtherwise => "judged_otherwise",
        }
    }

    /// That the vault would say so of any phone.
    fn of(refusal: Refusal) -> Option<Self> {
        match refusal {
            Refusal::NoSuchDeviceGroup => Some(Self::DeviceGroupEnded),
            Refusal::ProfileEnded => Some(Self::ProfileEnded),
            Refusal::SavedProfileLost => Some(Self::ContentLost),
            Refusal::ShownOtherwise | Refusal::BadProfile => Some(Self::JudgedOtherwise),
            _ => None,
        }
    }
}

/// Why the vault installed nothing when it was asked last. In memory: while a phone lacks something, each round asks again.
#[derive(Default)]
pub(crate) struct Rests(Mutex<HashMap<OrderId, Rest>>);

impl Rests {
    fn lock(&self) -> MutexGuard<'_, HashMap<OrderId, Rest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn said(&self, standing: OrderId, rest: Option<Rest>) {
        match rest {
            Some(rest) => self.lock().insert(standing, rest),
            None => self.lock().remove(&standing),
        };
    }

    /// Why this one, which stands, does nothing. `None`: it does what it is for, or is of another template.
    pub fn find(&self, v: &View<'_>, s: &StandingRecord) -> Result<Option<Rest>, StoreError> {
        let Some(of) = s.template.install() else { return Ok(None) };
        if v.find_profile_end(of.profile)?.is_some() {
            return Ok(Some(Rest::ProfileEnded));
        }
        if v.find_device_group(of.device_group)?.is_none() {
            return Ok(Some(Rest::DeviceGroupEnded));
        }
        if !v.has_profile_content(of.profile, of.version)? {
            return Ok(Some(Rest::ContentLost));
        }
        Ok(self.lock().get(&s.order).copied())
    }
}

/// How many that stand do nothing.
pub(crate) async fn count_resting(room: &Arc<Room>) -> Result<usize, StoreError> {
    let (known, now_ms) = (room.clone(), room.now_ms());
    let read = room.store.read(move |v| {
        let mut resting = 0;
        for s in v.standing_orders()?.iter().filter(|s| stands(s, now_ms)) {
            resting += usize::from(known.rests.find(v, s)?.is_some());
        }
        Ok(resting)
    });
    read.await
}

/// Asks the vault for each phone that lacks what is to be there, for as long as the room runs.
pub(crate) async fn installs(room: Arc<Room>) {
    let mut refused = Refused::new();
    loop {
        let wait = match once(&room, &mut refused).await {
            Ok(true) => SOON,
            Ok(false) => ROUND,
            Err(e) => {
                tracing::error!(store.error = %e, "profiles could not be installed by themselves; trying again");
                ROUND
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// One round. True: there are more phones.
async fn once(room: &Arc<Room>, refused: &mut Refused) -> Result<bool, StoreError> {
    let now_ms = room.now_ms();
    refused.retain(|_, at_ms| (0..REFUSED_MS).contains(&(now_ms - *at_ms)));
    let all = room.store.read(|v| v.standing_orders()).await?;
    let mut more = false;
    for standing in all.into_iter().filter(|s| stands(s, now_ms)) {
        let Some(install) = standing.template.install().cloned() else { continue };
        let at_once = AT_ONCE.saturating_add(u32::try_from(refused.len()).unwrap_or(u32::MAX));
        let (of, what) = (install.clone(), lacking(&standing, &install, now_ms));
        let read = room.store.read(move |v| {
            let Some(group) = v.find_device_group(of.device_group)? else { return Ok(None) };
            let home = of.home.as_ref().map(|g| g.as_str());
            let members = group.members(now_ms);
            let phones = v.members_without(&what, &members, home, at_once)?;
            // Mostly nobody lacks it.
            if phones.is_empty() {
                return Ok(None);
            }
            Ok(v.find_profile_content(of.profile, of.version)?.map(|row| (row, phones)))
        });
        let Some((row, phones)) = read.await? else { continue };
        let many = phones.len() >= at_once as usize;
        let mut goes_on = true;
        for (slot, enrolment) in phones {
            if refused.contains_key(&(standing.order, enrolment)) {
                continue;
            }
            match ask(room, &standing, &install, &row, (slot, enrolment)).await? {
                Asked::Noted => {}
                Asked::Refused => drop(refused.insert((standing.order, enrolment), now_ms)),
                Asked::NotNow => {
                    goes_on = false;
                    break;
                }
            }
        }
        more |= many && goes_on;
    }
    Ok(more)
}

/// What became of asking for one phone.
enum Asked {
    Noted,
    /// The vault would not, for this phone.
    Refused,
    /// There is no use in going on now.
    NotNow,
}

async fn ask(
    room: &Arc<Room>,
    standing: &StandingRecord,
    install: &StandingInstall,
    row: &SealedRow,
    (slot, enrolment): (Slot, EnrolmentId),
) -> Result<Asked, StoreError> {
    let asking = Asking { profile: Some(rpc::row_to(row.clone())), ..Asking::default() };
    let asked = acts::ask(room, standing, enrolment, asking).await;
    match &asked {
        Ok(_) => room.rests.said(standing.order, None),
        Err(NotActed::Refused(refusal)) => {
            if let rest @ Some(_) = Rest::of(*refusal) {
                room.rests.said(standing.order, rest);
            }
        }
        Err(NotActed::Away) => {}
    }
    let answer = match asked {
        Ok(answer) => answer,
        Err(NotActed::Away) => return Ok(Asked::NotNow),
        Err(NotActed::Refused(refusal)) if is_of_all(refusal) => return Ok(Asked::NotNow),
        // No phone's fault: the next round says it again.
        Err(NotActed::Refused(refusal)) if Rest::of(refusal).is_some() => {
            tracing::warn!(standing = %standing.order, refusal = refusal.number(), "the vault does not install what this standing order installs");
            return Ok(Asked::NotNow);
        }
        Err(NotActed::Refused(refusal)) => {
            tracing::warn!(enrolment.id = %enrolment, refusal = refusal.number(), "the vault installs no profile by itself on this phone");
            return Ok(Asked::Refused);
        }
    };
    let (now_ms, profile, version) = (room.now_ms(), install.profile, install.version);
    let (order, what) = (standing.order, lacking(standing, install, now_ms));
    let (group, home) = (install.device_group, install.home.clone());
    let queued = queue_act(room, standing, (slot, enrolment), answer, move |tx, number| {
        // The phone left, somebody ordered otherwise or the standing order ended while the vault was asked; or the
        // vault gave the command of before, which is over at the phone.
        let stands = tx.standing_orders()?.iter().any(|s| s.order == order && stands(s, now_ms));
        let members = tx.find_device_group(group)?.filter(|_| stands).map(|g| g.members(now_ms));
        let goes = match members {
            Some(members) => tx.lacks_profile(slot, &what, &members, home.as_ref().map(Group::as_str))?,
            None => false,
        };
        if goes && tx.is_queued(slot, number)? {
            tx.put_profile_command(number, profile, version)?;
            tx.ask_profile(slot, profile, version, number, now_ms)?;
            return Ok(Asked::Noted);
        }
        tx.close(slot, number, CommandState::Cancelled, now_ms)?;
        Ok(Asked::Refused)
    });
    match queued.await {
        Ok(asked) => Ok(asked),
        Err(NotQueued::Store(e)) => Err(e),
        Err(NotQueued::NoCommand) => Ok(Asked::Refused),
    }
}
