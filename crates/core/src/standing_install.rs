//! Profiles that standing orders install by themselves: core says which phones are in the device group and were not asked for that
//! version, and carries what the vault makes of that.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use model::clock::HOUR_MS;
use model::{EnrolmentId, OrderId, SealedRow, StandingInstall, TimeMs};
use order::Refusal;
use store::{CommandState, Slot, StandingRecord, StoreError};

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

/// Phones for which the vault would not act under a standing order, and when it said so.
type Refused = HashMap<(OrderId, EnrolmentId), TimeMs>;

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
        let (of, made_at_ms) = (install.clone(), standing.made_at_ms);
        let read = room.store.read(move |v| {
            let Some(group) = v.find_device_group(of.device_group)? else { return Ok(None) };
            let home = of.home.as_ref().map(|g| g.as_str());
            let what = (of.profile, of.version);
            let members = group.members(now_ms);
            let phones = v.members_without(what, made_at_ms, &members, home, at_once)?;
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
    let answer = match acts::ask(room, standing, enrolment, asking).await {
        Ok(answer) => answer,
        Err(NotActed::Away | NotActed::Refused(Refusal::NoSuchDeviceGroup | Refusal::ProfileEnded)) => {
            return Ok(Asked::NotNow);
        }
        Err(NotActed::Refused(refusal)) if is_of_all(refusal) => return Ok(Asked::NotNow),
        // No phone's fault: the next round says it again.
        Err(NotActed::Refused(
            refusal @ (Refusal::SavedProfileLost | Refusal::ShownOtherwise | Refusal::BadProfile),
        )) => {
            tracing::warn!(standing = %standing.order, refusal = refusal.number(), "the vault does not install what this standing order installs");
            return Ok(Asked::NotNow);
        }
        Err(NotActed::Refused(refusal)) => {
            tracing::warn!(enrolment.id = %enrolment, refusal = refusal.number(), "the vault installs no profile by itself on this phone");
            return Ok(Asked::Refused);
        }
    };
    let (now_ms, profile, version) = (room.now_ms(), install.profile, install.version);
    let (order, made_at_ms) = (standing.order, standing.made_at_ms);
    let queued = queue_act(room, standing, (slot, enrolment), answer, move |tx, number| {
        // The phone left, somebody ordered otherwise or the standing order ended while the vault was asked; or the
        // vault gave the command of before, which is over at the phone.
        let stands = tx.standing_orders()?.iter().any(|s| s.order == order && stands(s, now_ms));
        let goes = stands && tx.lacks_profile(slot, (profile, version), made_at_ms)?;
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
