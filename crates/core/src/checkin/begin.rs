//! The beginning and the end of an enrolment: profile, certificate, `Authenticate`, `TokenUpdate`,
//! `CheckOut`.

use std::sync::Arc;

use ledger::Body;
use model::{EnrolmentId, TimeMs};
use order::AnswerClass;
use rpc::proto::core_reply::Answer;
use rpc::proto::{
    Authenticate, IssueAnswer, IssueRequest, ProfileAnswer, ProfileRequest, TokenUpdate, Warranted,
};
use store::{EnrolmentState, PushState};

use super::delivery::class_number;
use super::report::failed;
use super::{ReplyTo, UNAVAILABLE, ask_vault, phone_refused, refused_word};
use crate::fleet::Standing;
use crate::inventory::Fields;
use crate::queries::{INVENTORY, queue_queries};
use crate::room::Room;

/// The enrolment profile of an invitation link. It spends nothing, so a mail scanner may fetch it.
pub(crate) async fn profile(room: &Room, link: Vec<u8>, reply: ReplyTo) {
    if rpc::link_hash(&link).is_err() {
        return reply.plain(400);
    }
    let request = ProfileRequest { link };
    let asked = ask_vault(room, "profile", |mut v| async move { v.profile(request).await }).await;
    match asked {
        Ok(ProfileAnswer { refusal: 0, warrant, sealed_body }) => reply.send(Answer::Warranted(Warranted {
            warrant: warrant.into(),
            class: class_number(AnswerClass::EnrolmentProfile),
            status: 200,
            command: Vec::new().into(),
            body: sealed_body.into(),
            sealed: true,
        })),
        // Gone: used, withdrawn, run out, or never there. All look the same from outside.
        Ok(_) => reply.plain(410),
        Err(_) => {
            room.counters.unavailable.inc();
            reply.plain(UNAVAILABLE);
        }
    }
}

/// A certificate for what the reader sealed.
pub(crate) async fn scep(room: &Room, sealed: Vec<u8>, reply: ReplyTo) {
    let request = IssueRequest { sealed };
    let asked = ask_vault(room, "issue", |mut v| async move { v.issue(request).await }).await;
    let Ok(IssueAnswer { refusal, certificate, enrolment }) = asked else {
        room.counters.unavailable.inc();
        return reply.plain(UNAVAILABLE);
    };
    if refusal != 0 {
        return reply.send(Answer::ScepRefused(refusal));
    }
    // The phone may be back before the ledger's entry is: note it now. What is noted twice is once.
    if let Ok(enrolment) = rpc::enrolment_id(&enrolment)
        && let Some(slot) = room.fleet.slot(enrolment)
    {
        let now_ms = room.now_ms();
        match room.store.write(move |tx| tx.issue(slot, now_ms)).await {
            Ok(_) => room.fleet.update(enrolment, |p| {
                if p.state == EnrolmentState::Invited {
                    p.state = EnrolmentState::Issued;
                }
            }),
            Err(e) => {
                // The same request gets the same certificate, so the phone may try again.
                tracing::error!(store.error = %e, "a certificate could not be noted");
                return reply.plain(UNAVAILABLE);
            }
        }
    }
    reply.send(Answer::ScepIssued(certificate.into()));
}

/// A phone begins, or begins anew. Nothing is delivered to it before `TokenUpdate`.
pub(crate) fn authenticate(
    room: &Arc<Room>,
    enrolment: EnrolmentId,
    standing: Standing,
    tag: Vec<u8>,
    said: Authenticate,
    now_ms: TimeMs,
    reply: ReplyTo,
) {
    let fields = Fields::of(said.clear, said.sealed, &room.counters);
    let slot = standing.slot;
    let bound = tag.clone();
    let after = room.clone();
    room.store.write_then(
        move |tx| {
            // What memory said when it spoke may have changed since.
            if !tx.authenticate(slot, &tag, now_ms)? {
                return Ok(None);
            }
            let before = tx.find_by_tag(&tag, slot)?;
            if let Some(old) = &before {
                tx.end(old.slot, Some(enrolment), now_ms)?;
            }
            tx.forget_declaration_states(slot)?;
            for user in tx.user_channels(slot)? {
                tx.drop_user_channel(slot, &user, now_ms)?;
            }
            let to_index = fields.keep(tx, slot, "Authenticate", true, now_ms)?;
            let replaced = before.map(|b| b.enrolment);
            tx.say(&order::encode(&Body::Authenticated { enrolment, replaced }))?;
            Ok(Some((replaced, to_index)))
        },
        move |out| match out {
            Ok(None) => {
                after.counters.out_of_order.inc();
                reply.plain(400);
            }
            Ok(Some((replaced, to_index))) => {
                if let Some(old) = replaced {
                    after.fleet.update(old, |p| {
                        p.state = EnrolmentState::Replaced;
                        p.waiting = false;
                    });
                }
                after.fleet.update(enrolment, |p| {
                    p.state = EnrolmentState::Authenticated;
                    p.tag = Some(bound);
                    p.push = PushState::None;
                    p.waiting = false;
                });
                after.words_due.notify_one();
                if to_index {
                    after.index_due.notify_one();
                }
                reply.plain(200);
            }
            Err(e) => failed(&after, &e, reply),
        },
    );
}

/// A phone can be reached from now on; at the first time its inventory is asked for.
pub(crate) fn token_update(
    room: &Arc<Room>,
    enrolment: EnrolmentId,
    standing: Standing,
    said: TokenUpdate,
    now_ms: TimeMs,
    reply: ReplyTo,
) {
    if !matches!(standing.state, EnrolmentState::Authenticated | EnrolmentState::Enrolled) {
        room.counters.out_of_order.inc();
        if room.fleet.may_tell_refusal(enrolment, now_ms) {
            refused_word(room, enrolment, phone_refused::TOKEN_BEFORE_AUTHENTICATE);
        }
        return reply.plain(400);
    }
    // What is absent (an UnlockToken) keeps what is stored, so the rows are not taken as a whole.
    let fields = Fields::of(said.clear, said.sealed, &room.counters);
    let slot = standing.slot;
    let due_ms = room.inventory_due_ms(enrolment, now_ms);
    let after = room.clone();
    let within = room.clone();
    room.store.write_then(
        move |tx| {
            let first = match tx.find_enrolment(enrolment)?.map(|e| e.state) {
                Some(EnrolmentState::Authenticated) => true,
                Some(EnrolmentState::Enrolled) => false,
                // It left in this moment.
                _ => return Ok(None),
            };
            let to_index = fields.keep(tx, slot, "TokenUpdate", false, now_ms)?;
            tx.set_push(slot, PushState::Ok)?;
            if first {
                tx.enrol(slot, now_ms, due_ms)?;
                tx.say(&order::encode(&Body::TokenUpdated { enrolment }))?;
                queue_queries(&within, tx, &[(slot, enrolment)], &INVENTORY, now_ms)?;
            }
            Ok(Some((first, to_index)))
        },
        move |out| match out {
            Ok(None) => {
                after.counters.out_of_order.inc();
                reply.plain(400);
            }
            Ok(Some((first, to_index))) => {
                after.fleet.update(enrolment, |p| {
                    p.state = EnrolmentState::Enrolled;
                    p.push = PushState::Ok;
                });
                // With a new token it can be woken for what waits.
                if first || standing.waiting {
                    after.fleet.queued(&[enrolment], now_ms);
                }
                if first {
                    after.words_due.notify_one();
                }
                if to_index {
                    after.index_due.notify_one();
                }
                reply.plain(200);
            }
            Err(e) => failed(&after, &e, reply),
        },
    );
}

/// A phone leaves.
pub(crate) fn check_out(
    room: &Arc<Room>,
    enrolment: EnrolmentId,
    standing: Standing,
    now_ms: TimeMs,
    reply: ReplyTo,
) {
    let after = room.clone();
    room.store.write_then(
        move |tx| {
            let ended = tx.end(standing.slot, None, now_ms)?;
            if ended {
                tx.say(&order::encode(&Body::CheckedOut { enrolment }))?;
            }
            Ok(ended)
        },
        move |out| match out {
            Ok(ended) => {
                if ended {
                    after.fleet.update(enrolment, |p| {
                        p.state = EnrolmentState::CheckedOut;
                        p.waiting = false;
                    });
                }
                after.words_due.notify_one();
                reply.plain(200);
            }
            Err(e) => failed(&after, &e, reply),
        },
    );
}
