//! Certificates that change: a phone that comes with a renewed one, or with a retired one; and the door's own.

use std::sync::Arc;

use ledger::Body;
use model::{EnrolmentId, TimeMs};
use rpc::proto::ServerCertificate;
use rpc::proto::core_reply::Answer;

use super::{ReplyTo, UNAVAILABLE, ask_vault};
use crate::fleet::{Shown, Standing};
use crate::room::Room;

/// Takes note of the certificate that a phone shows, if it is not the one that it is known to use. The phone's
/// own message goes on meanwhile.
pub(crate) fn shown(room: &Arc<Room>, enrolment: EnrolmentId, standing: &Standing, now_ms: TimeMs) {
    let slot = standing.slot;
    let (certificate, restored) = match standing.shown {
        Shown::First(c) => (c, false),
        Shown::Restored(c) => (c, true),
        Shown::InUse | Shown::Retired => return,
    };
    let after = room.clone();
    room.store.write_then(
        move |tx| {
            let changed = if restored {
                tx.restore_certificate(slot, certificate)?
            } else {
                let taken = tx.take_certificate(slot, certificate, now_ms)?;
                if taken {
                    tx.say(&order::encode(&Body::CertificateTaken { enrolment, certificate }))?;
                }
                taken
            };
            Ok((changed, tx.find_renewed(slot, enrolment)?))
        },
        move |out| match out {
            Ok((changed, known)) => {
                if let Some(known) = known {
                    after.fleet.know_certificates(known);
                }
                if !changed {
                    return;
                }
                if restored {
                    tracing::warn!(enrolment.id = %enrolment, "a phone came back with the certificate it had before its renewal; it is asked to renew again");
                    after.renewal_due.notify_one();
                } else {
                    tracing::info!(enrolment.id = %enrolment, "a phone uses its renewed certificate");
                    after.words_due.notify_one();
                }
            }
            // It comes with it again.
            Err(e) => tracing::error!(store.error = %e, "a renewed certificate could not be noted"),
        },
    );
}

/// The door's own certificate is due: the vault makes it anew.
pub(crate) async fn doors_own(room: &Room, certificate: Vec<u8>, reply: ReplyTo) {
    let request = ServerCertificate { certificate };
    match ask_vault(room, "renew_server", |mut v| async move { v.renew_server(request).await }).await {
        Ok(made) if made.refusal == 0 => reply.send(Answer::OwnCertificate(made.certificate.into())),
        Ok(refused) => {
            tracing::warn!(refusal = refused.refusal, "the vault does not renew the door's certificate");
            reply.plain(400);
        }
        Err(_) => reply.plain(UNAVAILABLE),
    }
}
