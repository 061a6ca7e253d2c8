//! In the courier's place: it has the push compartment's key, the push certificate where there is one, a way out to
//! the configured ports, and the end of the alarms' pipe. It opens what core hands it, as it should, and keeps it.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::{Clock, Compartment, SystemClock};
use order::TrustedStatement;
use rpc::alarm::FRAME_BYTES;
use rpc::control::RoomEvent;
use rpc::pair::PeerIncoming;
use rpc::proto::courier_server::{Courier, CourierServer};
use rpc::proto::{
    self, AcmeAnswer, AcmeAsk, AcmeRenewRequest, AcmeRenewed, CourierHealth, CourierHealthRequest,
    PushOutcome, PushReply, PushRequest, PushResult, PushTarget,
};
use rpc::trust::Trust;
use seal::{CompartmentSecret, KeyPairSecret, Opener, PublicKey};
use tokio::io::AsyncReadExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use zeroize::Zeroizing;

use crate::everywhere::Acts;
use crate::{Outcome, Taken, tell};

struct Inside {
    secret: KeyPairSecret,
    statement: Arc<TrustedStatement>,
    /// Those that were handed over to be pushed.
    pushed: Mutex<HashSet<Vec<u8>>>,
}

pub(crate) async fn run(taken: Taken, acts: Acts) -> Outcome<()> {
    let Taken { told, mut events, .. } = taken;
    let secret: [u8; 32] = rpc::at_rest::read(&told.folder, "push.key")?.as_slice().try_into()?;
    let statement = Trust::open(&told.folder, &SystemClock)?.current(SystemClock.now_ms());
    let inside = Arc::new(Inside {
        secret: KeyPairSecret::from_bytes(Zeroizing::new(secret)),
        statement: statement.ok_or("no key statement is in force")?,
        pushed: Mutex::default(),
    });
    let (pairs, incoming) = PeerIncoming::new();
    let service =
        CourierServer::new(Room(inside.clone())).max_decoding_message_size(rpc::pair::LARGEST_MESSAGE_BYTES);
    tokio::spawn(rpc::pair::server().add_service(service).serve_with_incoming(incoming));
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(told.patience_s)).await;
        tell::done();
        tokio::time::sleep(crate::LAST_TALKS).await;
        tokio::task::spawn_blocking(move || acts.go_on());
    });
    loop {
        match events.recv().await {
            Some(RoomEvent::Peer(_, pair)) => pairs.renew(pair)?,
            Some(RoomEvent::Alarms(end)) => drop(tokio::spawn(keep_alarms(end))),
            Some(RoomEvent::Stop) | None => return Ok(()),
            Some(RoomEvent::Listener(..) | RoomEvent::MakeKey(..) | RoomEvent::KeyMade(..)) => {}
        }
    }
}

/// Reads alarms and sends none of them.
async fn keep_alarms(end: OwnedFd) {
    let Ok(mut pipe) = tokio::net::unix::pipe::Receiver::from_owned_fd(end) else { return };
    let mut frame = [0; FRAME_BYTES];
    while pipe.read_exact(&mut frame).await.is_ok() {
        tell::attempt("keep an alarm back", true, "nobody: the courier alone sends them");
    }
}

impl Inside {
    /// What this target says, if this key opens it.
    fn open(&self, target: &PushTarget) -> Option<Vec<u8>> {
        let phone = rpc::enrolment_id(&target.enrolment).ok()?;
        let row = rpc::row_from(target.token.clone()?).ok()?;
        let epoch = u32::from_be_bytes(row.wrapped_key.get(1..5)?.try_into().ok()?);
        let key = CompartmentSecret { compartment: Compartment::Push, epoch, key: self.secret.clone() };
        let mut opener = Opener::new(vec![key], vec![PublicKey(self.statement.reader_key.0)]);
        let token = opener.open(&phone, &row).ok()?.to_vec();
        tell::push_token(phone, &token);
        Some(token)
    }
}

struct Room(Arc<Inside>);

#[tonic::async_trait]
impl Courier for Room {
    async fn oidc_metadata(
        &self,
        _: Request<proto::OidcMetadataRequest>,
    ) -> Result<Response<proto::OidcMetadata>, Status> {
        Err(Status::failed_precondition("no OpenID provider is configured"))
    }

    async fn oidc_redeem(
        &self,
        _: Request<proto::OidcRedeemRequest>,
    ) -> Result<Response<proto::OidcRedeemed>, Status> {
        Err(Status::failed_precondition("no OpenID provider is configured"))
    }

    async fn oidc_keys(
        &self,
        _: Request<proto::OidcKeysRequest>,
    ) -> Result<Response<proto::OidcKeys>, Status> {
        Err(Status::failed_precondition("no OpenID provider is configured"))
    }

    async fn push(&self, request: Request<PushRequest>) -> Result<Response<PushReply>, Status> {
        let outcomes = request.into_inner().targets.into_iter().map(|target| {
            let opened = self.0.open(&target).is_some();
            self.0.pushed.lock().unwrap_or_else(PoisonError::into_inner).insert(target.enrolment.clone());
            tell::attempt("open the push token of a phone that is woken", opened, "nobody: that is its task");
            let result = PushResult::Accepted as i32;
            PushOutcome { enrolment: target.enrolment, result, ..PushOutcome::default() }
        });
        Ok(Response::new(PushReply { outcomes: outcomes.collect() }))
    }

    async fn believe(&self, _: Request<proto::Statement>) -> Result<Response<proto::Believed>, Status> {
        Ok(Response::new(proto::Believed { epoch: self.0.statement.epoch, refused: String::new() }))
    }

    async fn reseal(
        &self,
        _: Request<proto::ResealRequest>,
    ) -> Result<Response<proto::ResealAnswer>, Status> {
        Err(Status::unavailable("no key is made anew in a drill"))
    }

    async fn health(&self, _: Request<CourierHealthRequest>) -> Result<Response<CourierHealth>, Status> {
        Ok(Response::new(CourierHealth { configured: true, ..CourierHealth::default() }))
    }

    type AcmeStream = Pin<Box<ReceiverStream<Result<AcmeAsk, Status>>>>;

    async fn acme(&self, _: Request<Streaming<AcmeAnswer>>) -> Result<Response<Self::AcmeStream>, Status> {
        Err(Status::unavailable("no authority is configured"))
    }

    async fn acme_renew(&self, _: Request<AcmeRenewRequest>) -> Result<Response<AcmeRenewed>, Status> {
        Err(Status::unavailable("no authority is configured"))
    }
}
