//! Renewal of the phones' certificates under a standing order: who is due, asking the vault, having it queued
//! ([`crate::acts`]). The vault decides; core chooses only the order in which phones come, the first to end first.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ledger::{Body, Effect, Entry};
use model::clock::{DAY_MS, MINUTE_MS};
use model::{EnrolmentId, StandingTemplate, TimeMs};
use order::Refusal;
use rpc::proto::FollowRequest;
use store::{CertificateState, NewCertificate, RenewalWindow, Slot, StandingRecord, StoreError, Tx};

use crate::acts::{self, Asking, NotActed, NotQueued, is_of_all, queue_act, stands};
use crate::follow::Remember;
use crate::room::{NO_BREACH, Room};

/// A phone that was asked and has not renewed is asked again after so long.
const ASK_AGAIN_MS: TimeMs = DAY_MS;
/// How long a round waits when the vault is away or this hour's cap is spent.
const NOT_NOW_MS: TimeMs = 10_000;
/// A phone that is not due by the vault's record is asked about again after so long.
const NOT_DUE_MS: TimeMs = model::clock::HOUR_MS;
/// How many phones one round asks.
const AT_ONCE: u32 = 200;

/// How the fleet stands with its certificates.
pub(crate) struct Renewal {
    pub states: Vec<(CertificateState, u64)>,
    /// The standing order that is in force.
    pub standing: Option<StandingRecord>,
}

/// The standing order that renews certificates now: of several the one that renews earliest.
pub(crate) fn in_force(all: &[StandingRecord], now_ms: TimeMs) -> Option<StandingRecord> {
    let renews = |s: &&StandingRecord| stands(s, now_ms) && s.template.before_ms().is_some();
    all.iter().filter(renews).max_by_key(|s| s.template.before_ms()).cloned()
}

/// What states are told by: the standing order's own time, or the usual one while none stands.
pub(crate) fn window(standing: Option<&StandingRecord>, now_ms: TimeMs) -> RenewalWindow {
    RenewalWindow {
        now_ms,
        before_ms: standing.and_then(|s| s.template.before_ms()).unwrap_or(StandingTemplate::USUAL_BEFORE_MS),
    }
}

/// Counts who is late.
pub(crate) async fn counted(room: &Room) -> Result<Renewal, StoreError> {
    let now_ms = room.now_ms();
    room.store
        .read(move |v| {
            let standing = in_force(&v.standing_orders()?, now_ms);
            Ok(Renewal { states: v.count_certificates(window(standing.as_ref(), now_ms))?, standing })
        })
        .await
}

/// What the ledger says of certificates and standing orders.
pub(crate) fn project(
    tx: &Tx<'_>,
    at_ms: TimeMs,
    body: &Body,
    not_after_ms: TimeMs,
    remembered: &mut Vec<Remember>,
) -> Result<(), StoreError> {
    match body {
        Body::CertificateIssued { enrolment, certificate, .. } => {
            let Some(e) = tx.find_enrolment(*enrolment)? else { return Ok(()) };
            let new = NewCertificate { digest: order::sha256(&certificate.0), not_after_ms, at_ms };
            tx.put_certificate(e.slot, &new)?;
            if let Some(known) = tx.find_renewed(e.slot, *enrolment)? {
                remembered.push(Remember::Certificates(known));
            }
            remembered.push(Remember::RenewalDue);
        }
        // That the phone was asked is noted with its command: an answer that was lost is asked for again.
        Body::StandingUsed { standing, .. } => tx.standing_used(*standing, at_ms)?,
        Body::OrderAccepted { order, effect, .. } => match effect {
            Effect::StandingMade { template, cap_an_hour, expires_at_ms } => {
                tx.put_standing(&StandingRecord {
                    order: *order,
                    template: template.clone(),
                    cap_an_hour: *cap_an_hour,
                    made_at_ms: at_ms,
                    expires_at_ms: *expires_at_ms,
                    ended_at_ms: None,
                    uses: 0,
                    used_at_ms: None,
                })?;
                remembered.push(Remember::RenewalDue);
            }
            Effect::StandingEnded { order } => tx.end_standing(*order, at_ms)?,
            // After what was before has ended: see `follow::project`.
            Effect::BreachAssumed { reissues_an_hour, expires_at_ms, .. } => {
                let withdrawn = tx.breached(at_ms)?;
                tx.drop_holder_cards()?;
                remembered.push(Remember::Restored);
                remembered.extend(withdrawn.into_iter().map(Remember::Withdrawn));
                let before_ms = StandingTemplate::USUAL_BEFORE_MS;
                tx.put_standing(&StandingRecord {
                    order: *order,
                    template: StandingTemplate::RenewCertificates { before_ms },
                    cap_an_hour: *reissues_an_hour,
                    made_at_ms: at_ms,
                    expires_at_ms: *expires_at_ms,
                    ended_at_ms: None,
                    uses: 0,
                    used_at_ms: None,
                })?;
                remembered.push(Remember::KeysRotated);
            }
            _ => {}
        },
        _ => {}
    }
    Ok(())
}

/// Fills a database of before the certificates' table from the vault's ledger. False: the vault is away.
async fn fill(room: &Arc<Room>) -> Result<bool, StoreError> {
    if !room.store.read(|v| v.lacks_certificates()).await? {
        return Ok(true);
    }
    let up_to = *room.followed.borrow();
    let Ok(mut vault) = room.vault().await else { return Ok(false) };
    let Ok(items) = vault.follow(FollowRequest { from: 0 }).await else { return Ok(false) };
    let mut items = items.into_inner();
    // Newer ones come by the usual way.
    for _ in 0..up_to {
        let Ok(Some(item)) = items.message().await else { return Ok(false) };
        let Ok(entry) = Entry::decode(&item.entry) else { continue };
        let Body::CertificateIssued { enrolment, certificate, .. } = entry.body else { continue };
        let digest = order::sha256(&certificate.0);
        let new = NewCertificate { digest, not_after_ms: item.not_after_ms, at_ms: entry.at_ms };
        room.store
            .write(move |tx| match tx.find_enrolment(enrolment)? {
                Some(e) => tx.fill_certificate(e.slot, &new),
                None => Ok(()),
            })
            .await?;
    }
    tracing::info!("the certificates of before this version were read from the ledger");
    Ok(true)
}

/// Asks phones to renew, for as long as the room runs.
pub(crate) async fn renewals(room: Arc<Room>) {
    while !matches!(fill(&room).await, Ok(true)) {
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    let mut refused = HashMap::new();
    loop {
        let wait_ms = match once(&room, &mut refused).await {
            Ok(wait_ms) => wait_ms,
            Err(e) => {
                tracing::error!(store.error = %e, "phones could not be asked to renew; trying again");
                MINUTE_MS
            }
        };
        let wait = Duration::from_millis(u64::try_from(wait_ms).unwrap_or(1000));
        let _ = tokio::time::timeout(wait, room.renewal_due.notified()).await;
    }
}

/// One round. Returns how long there is nothing to do. `refused`: phones of which the vault said that they are not due, and
/// when; they leave the next rounds to others.
async fn once(room: &Arc<Room>, refused: &mut HashMap<EnrolmentId, TimeMs>) -> Result<TimeMs, StoreError> {
    let now_ms = room.now_ms();
    refused.retain(|_, at_ms| (0..NOT_DUE_MS).contains(&(now_ms - *at_ms)));
    let at_once = AT_ONCE.saturating_add(u32::try_from(refused.len()).unwrap_or(u32::MAX));
    let breach_ms = room.breach_ms.load(Ordering::Relaxed);
    let passed_over: HashSet<EnrolmentId> = refused.keys().copied().collect();
    let read = room.store.read(move |v| {
        let Some(standing) = in_force(&v.standing_orders()?, now_ms) else { return Ok(None) };
        let w = window(Some(&standing), now_ms);
        let retry_ms = now_ms - ASK_AGAIN_MS;
        let mut due = v.certificates_due(w, standing.order, retry_ms, at_once)?;
        // One that the vault refused for now keeps no other waiting.
        if due.iter().all(|(_, e)| passed_over.contains(e)) && breach_ms != NO_BREACH {
            due = v.certificates_from_before((now_ms, breach_ms), standing.order, retry_ms, at_once)?;
        }
        let next = v.next_certificate_end(now_ms + w.before_ms)?.map(|end_ms| end_ms - w.before_ms);
        Ok(Some((standing, due, next)))
    });
    let Some((standing, due, next)) = read.await? else { return Ok(MINUTE_MS) };
    let more = due.len() >= at_once as usize;
    for (slot, enrolment) in due {
        if refused.contains_key(&enrolment) {
            continue;
        }
        match ask(room, &standing, slot, enrolment).await? {
            Asked::Noted => {}
            Asked::NotDue => {
                refused.insert(enrolment, now_ms);
            }
            Asked::NotNow => return Ok(NOT_NOW_MS),
        }
    }
    let wait_ms = next.map_or(MINUTE_MS, |at_ms| at_ms - room.now_ms());
    Ok(if more { 1000 } else { wait_ms.clamp(1000, MINUTE_MS) })
}

/// What became of asking for one phone.
enum Asked {
    Noted,
    /// The vault's own record of this phone says otherwise.
    NotDue,
    /// There is no use in going on now.
    NotNow,
}

async fn ask(
    room: &Arc<Room>,
    standing: &StandingRecord,
    slot: Slot,
    enrolment: EnrolmentId,
) -> Result<Asked, StoreError> {
    let answer = match acts::ask(room, standing, enrolment, Asking::default()).await {
        Ok(answer) => answer,
        Err(NotActed::Refused(Refusal::StandingCapReached)) => {
            tracing::info!(
                "the standing order has done what it may in this hour; the other phones come in the next"
            );
            return Ok(Asked::NotNow);
        }
        Err(NotActed::Away) => return Ok(Asked::NotNow),
        Err(NotActed::Refused(refusal)) if is_of_all(refusal) => return Ok(Asked::NotNow),
        Err(NotActed::Refused(refusal)) => {
            tracing::warn!(enrolment.id = %enrolment, refusal = refusal.number(), "the vault does not ask this phone to renew");
            return Ok(Asked::NotDue);
        }
    };
    let now_ms = room.now_ms();
    let note = move |tx: &Tx<'_>, _| tx.asked_to_renew(slot, now_ms);
    match queue_act(room, standing, (slot, enrolment), answer, note).await {
        Ok(()) => Ok(Asked::Noted),
        Err(NotQueued::Store(e)) => Err(e),
        // Others may be luckier; this one is asked about again in an hour.
        Err(NotQueued::NoCommand) => Ok(Asked::NotDue),
    }
}
