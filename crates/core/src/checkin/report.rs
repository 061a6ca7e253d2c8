//! The command loop: what came of a command, and the next one.

use std::sync::Arc;

use ledger::Body;
use model::{CommandId, CommandKind, EnrolmentId, TimeMs};
use order::FreeQuery;
use rpc::proto::{Report, ReportStatus};
use store::{CommandState, EnrolmentState, ErrorLink, Offer, Slot, StoreError, Tx};

use super::delivery::{Given, give, pick};
use super::{ReplyTo, UNAVAILABLE};
use crate::apps;
use crate::fleet::Standing;
use crate::inventory::{Content, Kept};
use crate::profiles;
use crate::queries::queue_queries;
use crate::room::Room;
use crate::submit::clipped;

/// The longest error chain that is kept.
const MOST_ERRORS: usize = 16;
const LONGEST_DOMAIN_BYTES: usize = 200;

fn offer(standing: &Standing, now_ms: TimeMs) -> Offer {
    Offer { now_ms, deferred_until_ms: standing.offer_until_ms, after: 0 }
}

/// An Idle of a phone for which something waits.
pub(crate) fn idle(
    room: &Arc<Room>,
    enrolment: EnrolmentId,
    standing: Standing,
    now_ms: TimeMs,
    reply: ReplyTo,
) {
    let offer = offer(&standing, now_ms);
    let after = room.clone();
    room.store.write_then(
        move |tx| pick(tx, standing.slot, offer),
        move |out| match out {
            Ok(given) => give(&after, enrolment, standing.slot, offer, given, reply),
            Err(e) => failed(&after, &e, reply),
        },
    );
}

/// What a report said, ready to be written.
struct Said {
    status: ReportStatus,
    command: Option<CommandId>,
    errors: Vec<ErrorLink>,
    content: Option<Content>,
}

/// What writing it came to.
struct Written {
    given: Given,
    known: bool,
    word: bool,
    kept: Kept,
    supervised: Option<bool>,
    /// The phone confirmed that it erases itself: its enrolment is over.
    erased: bool,
}

/// Any other report.
pub(crate) fn report(
    room: &Arc<Room>,
    enrolment: EnrolmentId,
    standing: Standing,
    report: Report,
    now_ms: TimeMs,
    reply: ReplyTo,
) {
    let status = report.status();
    if status == ReportStatus::Unspecified {
        room.counters.unreadable.inc();
        return reply.plain(400);
    }
    let errors = report.errors.into_iter().take(MOST_ERRORS);
    let said = Said {
        status,
        command: rpc::command_id(&report.command).ok(),
        errors: errors
            .map(|e| ErrorLink { code: e.code, domain: clipped(&e.domain, LONGEST_DOMAIN_BYTES) })
            .collect(),
        content: report.content.and_then(|c| Content::of(c, &room.counters)),
    };
    let offer = offer(&standing, now_ms);
    let slot = standing.slot;
    let after = room.clone();
    let within = room.clone();
    room.store.write_then(
        move |tx| write(&within, tx, enrolment, &standing, &said, offer),
        move |out| match out {
            Ok(w) => {
                if !w.known {
                    after.counters.unknown_command.inc();
                }
                if w.word {
                    after.words_due.notify_one();
                }
                if w.kept.to_index {
                    after.index_due.notify_one();
                }
                if let Some(supervised) = w.supervised {
                    after.fleet.update(enrolment, |p| p.supervised = Some(supervised));
                }
                if w.known {
                    let c = &after.counters;
                    if w.kept.changed {
                        c.reports_changed.inc()
                    } else {
                        c.reports_unchanged.inc()
                    };
                }
                if w.erased {
                    after.fleet.update(enrolment, |p| {
                        p.state = EnrolmentState::CheckedOut;
                        p.waiting = false;
                    });
                }
                give(&after, enrolment, slot, offer, w.given, reply);
            }
            Err(e) => failed(&after, &e, reply),
        },
    );
}

fn write(
    room: &Room,
    tx: &Tx<'_>,
    enrolment: EnrolmentId,
    standing: &Standing,
    said: &Said,
    offer: Offer,
) -> Result<Written, StoreError> {
    let slot = standing.slot;
    let mut out = Written {
        given: Given::Nothing { waiting: false },
        known: false,
        word: false,
        kept: Kept::default(),
        supervised: None,
        erased: false,
    };
    let end = match said.status {
        ReportStatus::Acknowledged => Some(CommandState::Acknowledged),
        ReportStatus::Error | ReportStatus::CommandFormatError => Some(CommandState::Error),
        _ => None,
    };
    match (said.command, end) {
        (Some(command), Some(end)) => {
            if let Some(done) = tx.finish(slot, command, end, &said.errors, offer.now_ms)? {
                out.known = true;
                if done.warranted && done.was_open {
                    let status = u8::try_from(said.status as i32).unwrap_or(0);
                    tx.say(&order::encode(&Body::CommandFinished { enrolment, command, status }))?;
                    out.word = true;
                }
                out.erased = done.was_open
                    && done.warranted
                    && end == CommandState::Acknowledged
                    && done.request_type == "EraseDevice";
                if done.was_open && done.warranted && apps::is_about_an_app(&done.request_type) {
                    let why = (end == CommandState::Error).then(|| apps::reason(&said.errors));
                    if tx.app_answered(slot, done.number, why.as_deref(), offer.now_ms)? {
                        let list = [FreeQuery::ManagedApplicationList];
                        queue_queries(room, tx, &[(slot, enrolment)], &list, offer.now_ms)?;
                    }
                }
                if done.was_open && done.warranted && profiles::is_about_one(&done.request_type) {
                    let did = end == CommandState::Acknowledged;
                    tx.profile_answered(slot, done.number, did, offer.now_ms)?;
                }
                if done.was_open && end == CommandState::Acknowledged && changes_lost_mode(&done.request_type)
                {
                    // Lists and the overview go by what the phone says of itself, so it is asked at once.
                    let information = [FreeQuery::DeviceInformation];
                    queue_queries(room, tx, &[(slot, enrolment)], &information, offer.now_ms)?;
                }
                // What a phone says unasked, or twice, is not kept.
                if done.was_open
                    && let Some(content) = &said.content
                {
                    if end == CommandState::Acknowledged {
                        out.kept = content.keep(tx, slot, offer.now_ms)?;
                        out.supervised = content.fields.supervised();
                        if content.kind == FreeQuery::ManagedApplicationList.request_type() {
                            tx.apps_listed(slot, &content.statuses, offer.now_ms)?;
                        }
                        if out.supervised == Some(true) && bypass_code_wanted(tx, enrolment, slot, offer)? {
                            let code = [FreeQuery::ActivationLockBypassCode];
                            queue_queries(room, tx, &[(slot, enrolment)], &code, offer.now_ms)?;
                        }
                    } else {
                        content.fields.keep(tx, slot, "ErrorChain", false, offer.now_ms)?;
                    }
                }
            }
        }
        (Some(command), None) => out.known = tx.defer(slot, command, offer.now_ms)?,
        (None, _) => {}
    }
    if out.erased {
        tx.end(slot, None, offer.now_ms)?;
    } else {
        out.given = pick(tx, slot, offer)?;
    }
    Ok(out)
}

/// Whether a command that was done changes whether the phone is in lost mode.
fn changes_lost_mode(request_type: &str) -> bool {
    [CommandKind::EnableLostMode, CommandKind::DisableLostMode]
        .iter()
        .any(|c| c.request_type() == request_type)
}

/// A supervised phone tells its Activation Lock bypass code for 15 days (Apple's
/// `device.activationlock.bypasscode.yaml`); whoever lacks it then can't unlock the phone of someone who left.
fn bypass_code_wanted(
    tx: &Tx<'_>,
    enrolment: EnrolmentId,
    slot: Slot,
    offer: Offer,
) -> Result<bool, StoreError> {
    const TOLD_FOR_MS: TimeMs = 15 * model::clock::DAY_MS;
    if tx.find_sealed(slot, "ActivationLockBypassCode")?.is_some() {
        return Ok(false);
    }
    let device = tx.find_device(enrolment)?;
    Ok(device.is_some_and(|d| offer.now_ms - d.enrolled_at_ms < TOLD_FOR_MS))
}

pub(crate) fn failed(room: &Room, e: &StoreError, reply: ReplyTo) {
    tracing::error!(store.error = %e, "a message could not be written");
    room.counters.unavailable.inc();
    reply.plain(UNAVAILABLE);
}
