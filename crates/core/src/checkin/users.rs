//! The user channel of shared iPads. Users sign in and out and have push tokens of their own; the device
//! alone is managed, so a user's channel is never given a command, and what it reports ends none.

use std::sync::Arc;

use model::{EnrolmentId, TimeMs};
use rpc::proto::TokenUpdate;
use rpc::proto::observed::What as Said;
use store::EnrolmentState;

use super::report::failed;
use super::{ReplyTo, escrow};
use crate::fleet::Standing;
use crate::inventory::Fields;
use crate::room::Room;

/// The most users of one device whose tokens are kept.
const MOST_USERS: usize = 64;

/// Answers what a user's channel says.
pub(crate) fn said(
    room: &Arc<Room>,
    enrolment: EnrolmentId,
    standing: Standing,
    user_tag: &[u8],
    said: Said,
    now_ms: TimeMs,
    reply: ReplyTo,
) {
    if user_tag.len() != 16 {
        room.counters.unreadable.inc();
        return reply.plain(400);
    }
    let hex: String = user_tag.iter().map(|b| format!("{b:02x}")).collect();
    let source = format!("UserChannel.{hex}");
    match said {
        // Declines: no user of ours is known by a password.
        Said::UserAuthenticate(_) => reply.plain(410),
        Said::TokenUpdate(t) => token_update(room, &standing, source, t, now_ms, reply),
        Said::CheckOut(_) => {
            let (slot, after) = (standing.slot, room.clone());
            room.store.write_then(
                move |tx| tx.drop_user_channel(slot, &source, now_ms),
                move |out| match out {
                    Ok(()) => reply.plain(200),
                    Err(e) => failed(&after, &e, reply),
                },
            );
        }
        // No command goes to a user, so there is nothing to report and nothing more to say.
        Said::Report(_) => reply.plain(200),
        Said::GetToken(t) => {
            tokio::spawn(escrow::get_token(room.clone(), enrolment, standing, t.service, reply));
        }
        _ => reply.plain(400),
    }
}

fn token_update(
    room: &Arc<Room>,
    standing: &Standing,
    source: String,
    said: TokenUpdate,
    now_ms: TimeMs,
    reply: ReplyTo,
) {
    if standing.state != EnrolmentState::Enrolled {
        room.counters.out_of_order.inc();
        return reply.plain(400);
    }
    let mut fields = Fields::of(Vec::new(), said.sealed, &room.counters);
    let own = format!("{source}.");
    fields.sealed.retain(|u| u.row.name.starts_with(&own));
    let (slot, after) = (standing.slot, room.clone());
    room.store.write_then(
        move |tx| {
            let known = tx.user_channels(slot)?;
            if known.len() >= MOST_USERS && !known.contains(&source) {
                return Ok(false);
            }
            fields.keep(tx, slot, &source, true, now_ms)?;
            Ok(true)
        },
        move |out| match out {
            Ok(true) => reply.plain(200),
            Ok(false) => {
                tracing::warn!(
                    users = MOST_USERS,
                    "a shared device has more users than are kept; one was turned away"
                );
                reply.plain(400);
            }
            Err(e) => failed(&after, &e, reply),
        },
    );
}
