//! Tokens that phones give into keeping and ask back. Core keeps the sealed row and carries sealed bytes;
//! the vault alone makes an answer of them, for that phone alone.

use std::sync::Arc;

use model::{EnrolmentId, TimeMs};
use order::{AnswerClass, Refusal};
use rpc::proto::core_reply::Answer;
use rpc::proto::give_back_request::What;
use rpc::proto::{GiveBackAnswer, GiveBackRequest, SetBootstrapToken, Warranted};
use store::EnrolmentState;

use super::delivery::class_number;
use super::report::failed;
use super::{ReplyTo, UNAVAILABLE, ask_vault};
use crate::fleet::Standing;
use crate::inventory::Fields;
use crate::room::Room;

/// The row's name, and what the message is kept under.
const TOKEN: &str = "BootstrapToken";
const SOURCE: &str = "SetBootstrapToken";

/// Whether the phone is so far that something is kept for it.
fn begun(standing: &Standing) -> bool {
    matches!(standing.state, EnrolmentState::Authenticated | EnrolmentState::Enrolled)
}

/// Keeps a phone's bootstrap token; an empty one clears what was kept.
pub(crate) fn set_bootstrap_token(
    room: &Arc<Room>,
    standing: &Standing,
    said: SetBootstrapToken,
    now_ms: TimeMs,
    reply: ReplyTo,
) {
    if !begun(standing) {
        room.counters.out_of_order.inc();
        return reply.plain(400);
    }
    let mut fields = Fields::of(Vec::new(), said.sealed, &room.counters);
    fields.sealed.retain(|u| u.row.name == TOKEN);
    let (slot, after) = (standing.slot, room.clone());
    room.store.write_then(
        move |tx| fields.keep(tx, slot, SOURCE, true, now_ms),
        // A 200 says that it is kept, so it leaves after the commit.
        move |out| match out {
            Ok(_) => reply.plain(200),
            Err(e) => failed(&after, &e, reply),
        },
    );
}

/// A phone asks its bootstrap token back; an empty 200 when there is none.
pub(crate) async fn get_bootstrap_token(
    room: Arc<Room>,
    enrolment: EnrolmentId,
    standing: Standing,
    reply: ReplyTo,
) {
    if !begun(&standing) {
        room.counters.out_of_order.inc();
        return reply.plain(400);
    }
    let slot = standing.slot;
    match room.store.read(move |v| v.find_sealed(slot, TOKEN)).await {
        Ok(Some(row)) => give_back(&room, enrolment, What::BootstrapToken(rpc::row_to(row)), reply).await,
        Ok(None) => reply.plain(200),
        Err(e) => failed(&room, &e, reply),
    }
}

/// A phone asks for a service's token; 400 when none is kept.
pub(crate) async fn get_token(
    room: Arc<Room>,
    enrolment: EnrolmentId,
    standing: Standing,
    service: String,
    reply: ReplyTo,
) {
    if !begun(&standing) {
        room.counters.out_of_order.inc();
        return reply.plain(400);
    }
    give_back(&room, enrolment, What::Service(service), reply).await;
}

async fn give_back(room: &Room, enrolment: EnrolmentId, what: What, reply: ReplyTo) {
    let request = GiveBackRequest { enrolment: enrolment.0.to_vec(), what: Some(what) };
    let asked = ask_vault(room, "give_back", |mut v| async move { v.give_back(request).await }).await;
    let Ok(GiveBackAnswer { refusal, warrant, sealed_body }) = asked else {
        room.counters.unavailable.inc();
        return reply.plain(UNAVAILABLE);
    };
    match u16::try_from(refusal).ok().and_then(Refusal::from_number) {
        None if refusal == 0 => reply.send(Answer::Warranted(Warranted {
            warrant: warrant.into(),
            class: class_number(AnswerClass::Escrow),
            status: 200,
            command: Vec::new().into(),
            body: sealed_body.into(),
            sealed: true,
        })),
        // They pass.
        Some(Refusal::AskedTooOften | Refusal::LedgerUnavailable | Refusal::RestoredUnconfirmed) => {
            tracing::warn!(enrolment.id = %enrolment, refusal, "the vault does not give this phone what it asks back now");
            reply.plain(UNAVAILABLE);
        }
        _ => {
            tracing::info!(enrolment.id = %enrolment, refusal, "a phone asked for a token that it can't be given");
            reply.plain(400);
        }
    }
}
