//! What the vault does by itself under standing orders, for certificates, profiles and phones' holders: asking it for one act, and
//! queueing what it answers. The vault decides.

use std::sync::Arc;

use model::{CommandId, EnrolmentId, TimeMs};
use order::Refusal;
use rpc::proto::{ActAnswer, ActRequest, SealedRow};
use store::{NewCommand, Slot, StandingRecord, StoreError, Tx};

use crate::checkin::{ask_vault, warrant_expiry};
use crate::room::Room;

/// Whether the vault may act under it now.
pub(crate) fn stands(s: &StandingRecord, now_ms: TimeMs) -> bool {
    s.ended_at_ms.is_none() && now_ms < s.expires_at_ms
}

/// What comes with an ask, beside the standing order and the phone.
#[derive(Default)]
pub(crate) struct Asking {
    /// The code of the holder's card, where a holder asks.
    pub holder_code: Option<String>,
    /// The saved version, where one is installed.
    pub profile: Option<SealedRow>,
    /// The command that is over at the phone, where a holder asks.
    pub over: Option<CommandId>,
}

/// Why the vault did not act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotActed {
    /// It can't be reached, or refuses for a reason that this build does not know.
    Away,
    Refused(Refusal),
}

/// Whether the vault would say so of any phone now, whatever the template.
pub(crate) fn is_of_all(refusal: Refusal) -> bool {
    matches!(
        refusal,
        Refusal::StandingCapReached
            | Refusal::NoSuchStanding
            | Refusal::LedgerUnavailable
            | Refusal::RestoredUnconfirmed
    )
}

/// Has the vault act for one phone.
pub(crate) async fn ask(
    room: &Room,
    standing: &StandingRecord,
    enrolment: EnrolmentId,
    asking: Asking,
) -> Result<ActAnswer, NotActed> {
    let request = ActRequest {
        standing: standing.order.0.to_vec(),
        enrolment: enrolment.0.to_vec(),
        holder_code: asking.holder_code,
        profile: asking.profile,
        over: asking.over.map(|c| c.0.to_vec()),
    };
    let asked = ask_vault(room, "act", |mut v| async move { v.act(request).await }).await;
    let answer = asked.map_err(|_| NotActed::Away)?;
    said(answer.refusal).map_or(Ok(answer), Err)
}

/// What a refusal's number says; `None`: it is none.
fn said(refusal: u32) -> Option<NotActed> {
    let known = u16::try_from(refusal).ok().and_then(Refusal::from_number);
    match (refusal, known) {
        (0, _) => None,
        (_, Some(refusal)) => Some(NotActed::Refused(refusal)),
        (_, None) => Some(NotActed::Away),
    }
}

/// Why what the vault made was not queued.
#[derive(Debug)]
pub(crate) enum NotQueued {
    /// The vault's answer brings no command with a warrant that can be read.
    NoCommand,
    Store(StoreError),
}

impl From<StoreError> for NotQueued {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

/// What an answer brings: the command, and its warrant with its end.
#[derive(Debug)]
struct Made {
    command: NewCommand,
    warrant: Vec<u8>,
    warrant_expires_at_ms: TimeMs,
}

fn made(standing: &StandingRecord, answer: ActAnswer, now_ms: TimeMs) -> Option<Made> {
    let bytes = answer.command?;
    let warrant = bytes.warrants.into_iter().next()?.warrant;
    Some(Made {
        warrant_expires_at_ms: warrant_expiry(&warrant)?,
        warrant,
        command: NewCommand {
            command: rpc::command_id(&bytes.command).ok()?,
            order: Some(standing.order),
            request_type: standing.template.command().request_type().to_owned(),
            query: None,
            body: bytes.body,
            sealed: bytes.sealed,
            created_at_ms: now_ms,
            expires_at_ms: answer.expires_at_ms,
        },
    })
}

/// One that is there already stays as it is; what waits of the same standing order for the same phone gives way to it.
fn put(tx: &Tx<'_>, slot: Slot, made: &Made, now_ms: TimeMs) -> Result<i64, StoreError> {
    let number = tx.put_command(&made.command)?;
    if let Some(standing) = made.command.order {
        tx.cancel_order_for(slot, standing, Some(number), now_ms)?;
    }
    tx.queue(slot, number, Some((&made.warrant, made.warrant_expires_at_ms)))?;
    Ok(number)
}

/// Keeps the command that the vault made under a standing order, for the phone to fetch, and what else is to be noted of
/// it. One that is there already stays as it is; what waits of the same standing order for the same phone gives way to it,
/// since the vault makes no more warrants for that.
pub(crate) async fn queue_act<T: Send + 'static>(
    room: &Arc<Room>,
    standing: &StandingRecord,
    (slot, enrolment): (Slot, EnrolmentId),
    answer: ActAnswer,
    note: impl FnOnce(&Tx<'_>, i64) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, NotQueued> {
    let now_ms = room.now_ms();
    let Some(made) = made(standing, answer, now_ms) else {
        tracing::error!(standing = %standing.order, enrolment.id = %enrolment, "the vault acted, and its answer brings no command");
        return Err(NotQueued::NoCommand);
    };
    let noted = room.store.write(move |tx| {
        let number = put(tx, slot, &made, now_ms)?;
        note(tx, number)
    });
    let noted = noted.await?;
    room.fleet.queued(&[enrolment], now_ms);
    Ok(noted)
}

#[cfg(test)]
mod tests {
    use model::{Digest, LinkHash, OrderId, StandingTemplate};
    use order::{AnswerClass, Ed25519Secret, SignedWarrant, Subject, Warrant};
    use rpc::proto::{CommandBytes, PhoneWarrant};
    use store::{NewInvitation, Store};

    use super::*;

    const PHONE: EnrolmentId = EnrolmentId([7; 16]);

    fn standing(n: u8, template: StandingTemplate) -> StandingRecord {
        StandingRecord {
            order: OrderId([n; 16]),
            template,
            cap_an_hour: 1,
            made_at_ms: 0,
            expires_at_ms: 100,
            ended_at_ms: None,
            uses: 0,
            used_at_ms: None,
        }
    }

    fn renews(n: u8) -> StandingRecord {
        standing(n, StandingTemplate::RenewCertificates { before_ms: 1 })
    }

    /// What the vault answers when it made that command.
    fn answer(n: u8) -> ActAnswer {
        let command = CommandId([n; 16]);
        let warrant = Warrant {
            version: 1,
            subject: Subject::Enrolment(PHONE),
            class: AnswerClass::Command,
            status: 200,
            command: Some(command),
            digest: Digest([n; 32]),
            expires_at_ms: 60,
        };
        let key = Ed25519Secret::from_seed([2; 32]).unwrap();
        let warrant = order::encode(&SignedWarrant::sign(&warrant, &key));
        let warrants = vec![PhoneWarrant { enrolment: PHONE.0.to_vec(), warrant }];
        let command = CommandBytes { command: command.0.to_vec(), warrants, sealed: true, body: vec![n] };
        ActAnswer { refusal: 0, position: 5, command: Some(command), expires_at_ms: 90 }
    }

    #[test]
    fn a_standing_order_stands_until_it_ends_or_its_time_is_over() {
        let one = renews(1);
        assert!(stands(&one, 99) && !stands(&one, 100));
        assert!(!stands(&StandingRecord { ended_at_ms: Some(5), ..one }, 50));
    }

    #[test]
    fn a_refusal_that_this_build_does_not_know_is_as_a_vault_that_is_away() {
        assert_eq!(said(0), None);
        assert_eq!(said(u32::MAX), Some(NotActed::Away));
        for refusal in Refusal::ALL {
            assert_eq!(said(refusal.number().into()), Some(NotActed::Refused(refusal)));
        }
        assert!(is_of_all(Refusal::StandingCapReached) && !is_of_all(Refusal::UnknownEnrolment));
    }

    #[test]
    fn an_answer_is_queued_only_with_a_command_and_a_warrant_that_can_be_read() {
        for (template, request_type) in [
            (StandingTemplate::RenewCertificates { before_ms: 1 }, "InstallProfile"),
            (StandingTemplate::HolderLostMode, "EnableLostMode"),
            (StandingTemplate::HolderRings, "PlayLostModeSound"),
        ] {
            let made = made(&standing(1, template), answer(3), 10).unwrap();
            assert_eq!((made.command.request_type.as_str(), made.warrant_expires_at_ms), (request_type, 60));
            assert_eq!((made.command.order, made.command.expires_at_ms), (Some(OrderId([1; 16])), 90));
        }
        let without = |change: fn(&mut CommandBytes)| {
            let mut answer = answer(3);
            change(answer.command.as_mut().unwrap());
            made(&renews(1), answer, 10)
        };
        assert!(made(&renews(1), ActAnswer { command: None, ..answer(3) }, 10).is_none());
        assert!(without(|c| c.warrants.clear()).is_none());
        assert!(without(|c| c.warrants[0].warrant.truncate(10)).is_none());
        assert!(without(|c| c.command.truncate(10)).is_none());
    }

    #[tokio::test]
    async fn the_same_command_again_stays_as_it_is_and_another_takes_the_place_of_its_own_orders_alone() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("core.db")).unwrap();
        let invitation = NewInvitation {
            enrolment: PHONE,
            link: LinkHash([7; 32]),
            group: "ward-7".into(),
            expires_at_ms: 1000,
            invited_at_ms: 1,
        };
        let slot = store.write(move |tx| tx.invite(&invitation)).await.unwrap();
        let put = async |order: u8, command: u8| {
            let made = made(&renews(order), answer(command), 10).unwrap();
            store.write(move |tx| put(tx, slot, &made, 10)).await.unwrap()
        };
        let (one, others) = (put(1, 3).await, put(2, 4).await);
        assert_eq!(put(1, 3).await, one);
        let waits = |number| store.read_now(|v| v.is_queued(slot, number)).unwrap();
        assert!(waits(one) && waits(others));
        let next = put(1, 5).await;
        assert_eq!([one, next, others].map(waits), [false, true, true]);
        put(1, 3).await;
        assert!(!waits(one), "what is over does not begin anew");
    }
}
