//! What phones say, as the door passes it on. Core dials the door; the door asks and core answers, on
//! one long stream. An idle phone with nothing waiting is answered from memory; everything else is
//! one write, and its answer leaves after the commit.

mod begin;
mod declared;
mod delivery;
mod escrow;
mod renewal;
mod report;
mod users;

pub(crate) use delivery::{renew_warrants, warrant_expiry};

use std::sync::Arc;
use std::time::Duration;

use ledger::{Body, RefusalCode};
use model::EnrolmentId;
use prost::Message;
use rpc::pair::LARGEST_MESSAGE_BYTES;
use rpc::proto::core_reply::Answer;
use rpc::proto::core_request::What;
use rpc::proto::observed::What as Said;
use rpc::proto::{CoreReply, CoreRequest, Observed, ReportStatus, door_client::DoorClient};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;

use crate::fleet::{Spoke, TurnedAway};
use crate::room::{Room, VAULT_PATIENCE, asked};

/// The most calls of the door that are under way at once; beyond them the stream is not read.
const MOST_UNDER_WAY: usize = 8192;

/// Core's own reasons in a `PhoneRefused` entry; the vault's table ends below 1000.
pub(crate) mod phone_refused {
    /// Another phone's tag came under this enrolment's certificate.
    pub const OTHER_PHONE: u16 = 1001;
    /// `TokenUpdate` came before `Authenticate`.
    pub const TOKEN_BEFORE_AUTHENTICATE: u16 = 1002;
    /// A certificate that was retired after a renewal.
    pub const RETIRED_CERTIFICATE: u16 = 1003;
}

/// Where an answer goes.
pub(crate) struct ReplyTo {
    call: u64,
    to: mpsc::UnboundedSender<CoreReply>,
    _place: OwnedSemaphorePermit,
}

impl ReplyTo {
    pub fn send(self, answer: Answer) {
        // When the stream is gone the door has told the phone 503 already.
        let _ = self.to.send(CoreReply { call: self.call, answer: Some(answer) });
    }

    pub fn plain(self, status: u32) {
        self.send(Answer::Plain(status));
    }
}

/// How long what is under way may take once the room is to stop.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves one door after the other, as fresh pairs come in, until the room stops.
pub(crate) async fn serve_doors(room: Arc<Room>) {
    let mut changes = room.door.changes();
    let mut stopping = room.stopping.subscribe();
    loop {
        let channel = changes.borrow_and_update().clone();
        let served = async {
            match channel {
                Some(channel) => {
                    if let Err(e) = serve_door(&room, channel, room.stopping.subscribe()).await {
                        tracing::warn!(rpc.code = ?e.code(), "the door's stream ended");
                    }
                }
                None => {
                    let _ = room.stopping.subscribe().wait_for(|s| *s).await;
                }
            }
        };
        tokio::select! {
            () = served => {
                if *stopping.borrow() {
                    return;
                }
                tokio::select! {
                    changed = changes.changed() => if changed.is_err() { return },
                    _ = stopping.changed() => return,
                }
            }
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}

async fn serve_door(
    room: &Arc<Room>,
    channel: Channel,
    mut stopping: watch::Receiver<bool>,
) -> Result<(), tonic::Status> {
    let mut client = DoorClient::new(channel)
        .max_decoding_message_size(LARGEST_MESSAGE_BYTES)
        .max_encoding_message_size(LARGEST_MESSAGE_BYTES);
    let (to, replies) = mpsc::unbounded_channel();
    let places = Arc::new(Semaphore::new(MOST_UNDER_WAY));
    let mut requests = client.check_ins(UnboundedReceiverStream::new(replies)).await?.into_inner();
    tracing::info!("the door's stream is open");
    loop {
        let request = tokio::select! {
            biased;
            request = requests.message() => request?,
            _ = stopping.changed() => break,
        };
        let Some(request) = request else { return Ok(()) };
        let Ok(place) = places.clone().acquire_owned().await else { return Ok(()) };
        let reply = ReplyTo { call: request.call, to: to.clone(), _place: place };
        handle(room, request, reply);
    }
    // What was taken in is answered; the answers leave with the stream.
    let all = u32::try_from(MOST_UNDER_WAY).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(DRAIN, places.acquire_many(all)).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    Ok(())
}

/// Answers one request of the door; what takes time goes on by itself.
pub(crate) fn handle(room: &Arc<Room>, request: CoreRequest, reply: ReplyTo) {
    match request.what {
        Some(What::Observed(bytes)) => match rpc::enrolment_id(&request.enrolment) {
            Ok(enrolment) => observed(room, enrolment, &request.certificate, &bytes, reply),
            Err(_) => reply.plain(400),
        },
        Some(What::Profile(link)) => {
            room.counters.profile.inc();
            let room = room.clone();
            tokio::spawn(async move { begin::profile(&room, link.to_vec(), reply).await });
        }
        Some(What::Scep(sealed)) => {
            room.counters.scep.inc();
            let room = room.clone();
            tokio::spawn(async move { begin::scep(&room, sealed.to_vec(), reply).await });
        }
        Some(What::OwnCertificate(current)) => {
            let room = room.clone();
            tokio::spawn(async move { renewal::doors_own(&room, current.to_vec(), reply).await });
        }
        None => {
            room.counters.unreadable.inc();
            reply.plain(400);
        }
    }
}

fn observed(room: &Arc<Room>, enrolment: EnrolmentId, certificate: &[u8], bytes: &[u8], reply: ReplyTo) {
    let Ok(Observed { udid_tag, user_channel, user_tag, what: Some(said) }) = Observed::decode(bytes) else {
        room.counters.unreadable.inc();
        return reply.plain(400);
    };
    if udid_tag.len() != 16 {
        room.counters.unreadable.inc();
        return reply.plain(400);
    }
    let now_ms = room.now_ms();
    let spoke = match &said {
        // Whatever a user says, it is not what the device's queue waits for.
        _ if user_channel => Spoke::User,
        Said::Report(r) if r.status == ReportStatus::Idle as i32 => Spoke::Idle,
        Said::Report(r) if r.status == ReportStatus::NotNow as i32 => Spoke::NotNow,
        _ => Spoke::Other,
    };
    let standing = match room.fleet.speak(enrolment, &udid_tag, certificate, spoke, now_ms) {
        Ok(standing) => standing,
        Err(why) => {
            turn_away(room, enrolment, why);
            return reply.plain(400);
        }
    };
    renewal::shown(room, enrolment, &standing, now_ms);
    if user_channel {
        room.counters.other.inc();
        return users::said(room, enrolment, standing, &user_tag, said, now_ms, reply);
    }
    match said {
        Said::Report(_) if spoke == Spoke::Idle => {
            room.counters.idle.inc();
            if standing.waiting {
                report::idle(room, enrolment, standing, now_ms, reply);
            } else {
                reply.plain(200);
            }
        }
        Said::Report(r) => {
            room.counters.report.inc();
            report::report(room, enrolment, standing, r, now_ms, reply);
        }
        Said::Authenticate(a) => {
            room.counters.authenticate.inc();
            begin::authenticate(room, enrolment, standing, udid_tag, a, now_ms, reply);
        }
        Said::TokenUpdate(t) => {
            room.counters.token_update.inc();
            begin::token_update(room, enrolment, standing, t, now_ms, reply);
        }
        Said::CheckOut(_) => {
            room.counters.check_out.inc();
            begin::check_out(room, enrolment, standing, now_ms, reply);
        }
        Said::UserAuthenticate(_) => reply.plain(410),
        Said::DeclarationsAsked(asked) => {
            room.counters.declarations_asked.inc();
            declared::asked(room, enrolment, standing, asked, now_ms, reply);
        }
        Said::StatusReport(report) => {
            room.counters.status_report.inc();
            declared::status(room, standing, report, now_ms, reply);
        }
        Said::SetBootstrapToken(t) => {
            room.counters.escrow.inc();
            escrow::set_bootstrap_token(room, &standing, t, now_ms, reply);
        }
        Said::GetBootstrapToken(_) => {
            room.counters.escrow.inc();
            tokio::spawn(escrow::get_bootstrap_token(room.clone(), enrolment, standing, reply));
        }
        Said::GetToken(t) => {
            room.counters.escrow.inc();
            tokio::spawn(escrow::get_token(room.clone(), enrolment, standing, t.service, reply));
        }
        Said::Other(_) => {
            room.counters.other.inc();
            reply.plain(200);
        }
    }
}

fn turn_away(room: &Arc<Room>, enrolment: EnrolmentId, why: TurnedAway) {
    match why {
        TurnedAway::NotOurs => {
            room.counters.not_ours.inc();
            tracing::info!(enrolment.id = %enrolment, "a phone that is not enrolled was turned away");
        }
        TurnedAway::RetiredCertificate { tell } => {
            room.counters.retired_certificate.inc();
            if tell {
                tracing::warn!(enrolment.id = %enrolment, "a phone came with a certificate that was retired; invite its holder again");
                refused_word(room, enrolment, phone_refused::RETIRED_CERTIFICATE);
            }
        }
        TurnedAway::OtherPhone { tell, .. } => {
            room.counters.other_phone.inc();
            if tell {
                tracing::warn!(enrolment.id = %enrolment, "another phone came with this enrolment's certificate");
                refused_word(room, enrolment, phone_refused::OTHER_PHONE);
            }
        }
    }
}

/// Tells the ledger that a phone was turned away.
fn refused_word(room: &Arc<Room>, enrolment: EnrolmentId, reason: u16) {
    let word = order::encode(&Body::PhoneRefused { enrolment, reason: RefusalCode(reason) });
    let room = room.clone();
    room.clone().store.write_then(
        move |tx| tx.say(&word),
        move |out| match out {
            Ok(()) => room.words_due.notify_one(),
            Err(e) => tracing::error!(store.error = %e, "a refusal could not be noted"),
        },
    );
}

/// A status that says: the rules are fine, the house is not.
const UNAVAILABLE: u32 = 503;

pub(crate) async fn ask_vault<T, F>(
    room: &Room,
    what: &'static str,
    call: impl FnOnce(rpc::proto::vault_client::VaultClient<Channel>) -> F,
) -> Result<T, rpc::Unavailable>
where
    F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
{
    let vault = room.vault().await?;
    asked(what, VAULT_PATIENCE, call(vault)).await
}
