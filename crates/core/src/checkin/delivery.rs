//! The next command: a free query, whose bytes the door makes, or one with the vault's warrant.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{CommandId, EnrolmentId, OrderId, TimeMs};
use order::{AnswerClass, Refusal, SignedWarrant, Warrant};
use rpc::proto::core_reply::Answer;
use rpc::proto::{Free, Warranted, WarrantsAnswer, WarrantsRequest};
use store::{CommandState, Next, Offer, Slot, StoreError, Tx};

use super::{ReplyTo, ask_vault};
use crate::room::Room;

/// A warrant that runs out sooner is not handed to the door: it may be under way for a while.
const WARRANT_MARGIN_MS: TimeMs = 60_000;
/// Warrants that run out sooner are renewed while their commands wait.
const RENEW_BEFORE_MS: TimeMs = 6 * model::clock::HOUR_MS;
/// How many warrants one round renews.
const RENEW_AT_ONCE: u32 = 2000;

/// What a phone is given.
pub(crate) enum Given {
    /// Nothing now. `waiting`: something is open that can't be given yet.
    Nothing { waiting: bool },
    /// This.
    Command(Answer),
    /// This, once the vault has signed a fresh warrant.
    NeedsWarrant(Box<Next>),
}

/// The number of an answer's class on the wire.
pub(crate) fn class_number(class: AnswerClass) -> u32 {
    match class {
        AnswerClass::Command => 1,
        AnswerClass::EnrolmentProfile => 2,
        AnswerClass::Declaration => 3,
        AnswerClass::Dismissal => 4,
        AnswerClass::Escrow => 5,
    }
}

/// What a warrant says of itself; the door is the one that checks it.
fn claimed(signed: &[u8]) -> Option<Warrant> {
    let signed: SignedWarrant = order::decode(signed).ok()?;
    order::decode(&signed.warrant).ok()
}

/// When a warrant runs out, as it says itself.
pub(crate) fn warrant_expiry(signed: &[u8]) -> Option<TimeMs> {
    claimed(signed).map(|w| w.expires_at_ms)
}

/// Picks the next command and marks it as sent, within the write of what the phone said.
pub(crate) fn pick(tx: &Tx<'_>, slot: Slot, offer: Offer) -> Result<Given, StoreError> {
    let Some(next) = tx.next_command(slot, offer)? else {
        return Ok(Given::Nothing { waiting: tx.has_open(slot)? });
    };
    if let Some(query) = next.query {
        tx.mark_sent(slot, next.number, offer.now_ms)?;
        let free = Free { query: u32::from(query), command: next.command.0.to_vec() };
        return Ok(Given::Command(Answer::Free(free)));
    }
    match next.warrant {
        Some(ref w) if next.warrant_expires_at_ms > offer.now_ms + WARRANT_MARGIN_MS => {
            let warrant = w.clone();
            tx.mark_sent(slot, next.number, offer.now_ms)?;
            Ok(Given::Command(Answer::Warranted(warranted(next, warrant))))
        }
        _ => Ok(Given::NeedsWarrant(Box::new(next))),
    }
}

fn warranted(next: Next, warrant: Vec<u8>) -> Warranted {
    Warranted {
        warrant: warrant.into(),
        class: class_number(AnswerClass::Command),
        status: 200,
        command: next.command.0.to_vec().into(),
        body: next.body.into(),
        sealed: next.sealed,
    }
}

/// Answers the phone with what was picked; a missing warrant is fetched first.
pub(crate) fn give(
    room: &Arc<Room>,
    enrolment: EnrolmentId,
    slot: Slot,
    offer: Offer,
    given: Given,
    reply: ReplyTo,
) {
    match given {
        Given::Nothing { waiting } => {
            room.fleet.answered(enrolment, waiting, false, offer.now_ms);
            reply.plain(200);
        }
        Given::Command(answer) => {
            room.counters.commands_given.inc();
            room.fleet.answered(enrolment, true, true, offer.now_ms);
            reply.send(answer);
        }
        Given::NeedsWarrant(next) => {
            let task_room = room.clone();
            room.tasks
                .spawn(async move { fetch_and_give(task_room, enrolment, slot, offer, *next, reply).await });
        }
    }
}

/// Fetches warrants until something can be given. A command whose warrant can't be had now does not
/// stand in the way of those behind it.
async fn fetch_and_give(
    room: Arc<Room>,
    enrolment: EnrolmentId,
    slot: Slot,
    mut offer: Offer,
    mut next: Next,
    reply: ReplyTo,
) {
    loop {
        let (number, command) = (next.number, next.command);
        let fetched = match next.order {
            Some(order) => fetch(&room, order, &[enrolment]).await,
            None => Ok(Fetched::Ended(CommandState::Cancelled)),
        };
        let again = Offer { after: number, ..offer };
        let same = offer;
        let work = room.store.write(move |tx| match fetched {
            Ok(Fetched::Warrants(found)) => match fitting(&found, enrolment, command) {
                Some((warrant, expires_at_ms)) => {
                    tx.renew_warrant(slot, number, warrant, expires_at_ms)?;
                    Ok((pick(tx, slot, same)?, same))
                }
                None => {
                    tx.close(slot, number, CommandState::Cancelled, same.now_ms)?;
                    Ok((pick(tx, slot, again)?, again))
                }
            },
            Ok(Fetched::Ended(state)) => {
                tx.close(slot, number, state, same.now_ms)?;
                Ok((pick(tx, slot, again)?, again))
            }
            Err(rpc::Unavailable) => Ok((pick(tx, slot, again)?, again)),
        });
        match work.await {
            Ok((Given::NeedsWarrant(n), o)) => {
                // A fresh warrant that is as good as run out: go on behind it.
                offer = if n.number == number { Offer { after: number, ..o } } else { o };
                if n.number == number {
                    room.fleet.answered(enrolment, true, false, offer.now_ms);
                    return reply.plain(200);
                }
                next = *n;
            }
            Ok((given, o)) => {
                let given = match given {
                    // Something is open that could not be given.
                    Given::Nothing { .. } if o.after > 0 => Given::Nothing { waiting: true },
                    other => other,
                };
                return give(&room, enrolment, slot, o, given, reply);
            }
            Err(e) => {
                tracing::error!(store.error = %e, "a command could not be given");
                room.counters.unavailable.inc();
                return reply.plain(super::UNAVAILABLE);
            }
        }
    }
}

/// What the vault says to a request for warrants.
enum Fetched {
    Warrants(BTreeMap<EnrolmentId, (Vec<u8>, Warrant)>),
    /// The order no longer stands: its commands end so.
    Ended(CommandState),
}

/// The phone's warrant for this very command, and when it runs out. Another command's would be turned away by the door at
/// each check-in, with everything behind it: the vault remembers of a standing order the newest act for a phone alone.
fn fitting(
    found: &BTreeMap<EnrolmentId, (Vec<u8>, Warrant)>,
    enrolment: EnrolmentId,
    command: CommandId,
) -> Option<(&[u8], TimeMs)> {
    let (signed, warrant) = found.get(&enrolment)?;
    (warrant.command == Some(command)).then_some((signed, warrant.expires_at_ms))
}

async fn fetch(room: &Room, order: OrderId, enrolments: &[EnrolmentId]) -> Result<Fetched, rpc::Unavailable> {
    let request = WarrantsRequest {
        order: order.0.to_vec(),
        enrolments: enrolments.iter().map(|e| e.0.to_vec()).collect(),
    };
    let answer: WarrantsAnswer =
        ask_vault(room, "warrants", |mut v| async move { v.warrants(request).await }).await?;
    match u16::try_from(answer.refusal).ok().and_then(Refusal::from_number) {
        None if answer.refusal == 0 => {}
        // It will pass: the commands stay.
        Some(Refusal::LedgerUnavailable | Refusal::RestoredUnconfirmed | Refusal::CoolingOff) | None => {
            return Err(rpc::Unavailable);
        }
        Some(Refusal::Expired) => return Ok(Fetched::Ended(CommandState::Expired)),
        Some(_) => return Ok(Fetched::Ended(CommandState::Cancelled)),
    }
    let mut found = BTreeMap::new();
    for w in answer.warrants {
        if let (Ok(e), Some(claimed)) = (rpc::enrolment_id(&w.enrolment), claimed(&w.warrant)) {
            found.insert(e, (w.warrant, claimed));
        }
    }
    Ok(Fetched::Warrants(found))
}

/// Renews the warrants that would run out while their commands wait. Returns whether there is more.
pub(crate) async fn renew_warrants(room: &Arc<Room>) -> Result<bool, StoreError> {
    let now_ms = room.now_ms();
    let due =
        room.store.read(move |v| v.warrants_due(now_ms, now_ms + RENEW_BEFORE_MS, RENEW_AT_ONCE)).await?;
    let more = due.len() >= RENEW_AT_ONCE as usize;
    let mut by_order: BTreeMap<OrderId, Vec<store::WarrantDue>> = BTreeMap::new();
    for d in due {
        by_order.entry(d.order).or_default().push(d);
    }
    let mut renewed = 0;
    for (order, due) in by_order {
        let enrolments: Vec<EnrolmentId> = due.iter().map(|d| d.enrolment).collect();
        let Ok(fetched) = fetch(room, order, &enrolments).await else { return Ok(false) };
        renewed += due.len();
        room.store
            .write(move |tx| {
                for d in &due {
                    match &fetched {
                        Fetched::Warrants(found) => match fitting(found, d.enrolment, d.command) {
                            Some((w, expiry)) => tx.renew_warrant(d.slot, d.number, w, expiry)?,
                            None => tx.close(d.slot, d.number, CommandState::Cancelled, now_ms)?,
                        },
                        Fetched::Ended(state) => tx.close(d.slot, d.number, *state, now_ms)?,
                    }
                }
                Ok(())
            })
            .await?;
    }
    if renewed > 0 {
        tracing::info!(warrants = renewed, "warrants were renewed");
    }
    Ok(more)
}
