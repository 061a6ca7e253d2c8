//! The room at work: core asks, the courier opens and sends.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{Clock, KeyName, SteadyClock, SystemClock, TimeMs};
use rpc::control::{ControlEnd, RoomEvent, ToSupervisor};
use rpc::pair::{LARGEST_MESSAGE_BYTES, PeerIncoming};
use rpc::proto::courier_server::{Courier, CourierServer};
use rpc::proto::{
    self, AcmeAnswer, AcmeAsk, AcmeRenewRequest, AcmeRenewed, CourierHealth, CourierHealthRequest,
    PushOutcome, PushReply, PushRequest, PushResult, PushTarget,
};
use rpc::trust::Trust;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::acme::Acme;
use crate::alarms::Alarms;
use crate::apns::{Apns, Sent};
use crate::identity::{Identities, Identity};
use crate::oidc::Oidc;
use crate::opening::{Opened, Opening};
use crate::{Config, Error};

/// How long a stop waits for pushes under way; Apple answers within a second.
const DRAIN: Duration = Duration::from_secs(10);
/// When nothing can be sent for want of a statement or a certificate.
const NOT_READY_MS: u64 = 60_000;

/// Runs the room until it is told to stop: serves core over each pair that comes in.
///
/// # Errors
/// [`Error`] when the configuration or the folder is not usable, or the supervisor is gone. A push
/// certificate that can't be used is no error: health says so, and it is looked at again.
pub async fn run(
    config: Config,
    control: ControlEnd,
    events: UnboundedReceiver<RoomEvent>,
) -> Result<(), Error> {
    run_with_clock(config, control, events, Arc::new(SteadyClock::new(SystemClock))).await
}

/// [`run`], by a clock that the caller moves.
///
/// # Errors
/// As [`run`].
pub async fn run_with_clock(
    config: Config,
    control: ControlEnd,
    mut events: UnboundedReceiver<RoomEvent>,
    clock: Arc<dyn Clock>,
) -> Result<(), Error> {
    config.check()?;
    let trust = Trust::open(&config.data_dir, &*clock).map_err(|source| Error::File {
        path: config.data_dir.join("root.pub"),
        verb: "read",
        source,
    })?;
    let acme = Acme::open(&config, clock.clone())?;
    let oidc = Oidc::open(&config, clock.clone())?;
    let alarms = Alarms::open(&config, clock.clone())?;
    let mut tasks = alarms.start();
    let keeping = acme.clone().map(|acme| tokio::spawn(acme.keep()));
    let room = Room(Arc::new(Inside {
        trust,
        clock,
        acme,
        oidc,
        alarms: alarms.clone(),
        opening: Mutex::new(Opening::new(&config.data_dir)?),
        identities: Mutex::new(Identities::new(&config)),
        apns: Apns::new(config.endpoint()?, config.expiration_days, config.at_once),
        accepted: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        last_error: Mutex::new(String::new()),
    }));
    room.0.look_at_certificate();
    room.0.follow_statement();

    let (pairs, incoming) = PeerIncoming::new();
    let service = CourierServer::new(room.clone()).max_decoding_message_size(LARGEST_MESSAGE_BYTES);
    let (stop, mut stopped) = watch::channel(false);
    let mut server = tokio::spawn(rpc::pair::server().add_service(service).serve_with_incoming_shutdown(
        incoming,
        async move {
            let _ = stopped.wait_for(|s| *s).await;
        },
    ));
    control.send(&ToSupervisor::Ready, &[]).map_err(Error::Supervisor)?;
    tracing::info!("the courier serves");

    let mut poll = tokio::time::interval(Duration::from_secs(u64::from(config.certificate_poll_s)));
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(RoomEvent::Peer(name, pair)) if name == "core" => {
                    if let Err(error) = pairs.renew(pair) {
                        tracing::error!(%error, "a pair with core could not be used");
                    }
                }
                Some(RoomEvent::Alarms(end)) => {
                    tasks.spawn(alarms.clone().receive(end));
                }
                Some(RoomEvent::Peer(name, _)) => tracing::warn!(room = %name, "the courier has no such neighbour"),
                Some(RoomEvent::MakeKey(KeyName::Push, number)) => match hold(&room.0.opening).make(number) {
                    Ok(public) => {
                        let made = rpc::control::key_made(KeyName::Push, number, &public.0);
                        let _ = control.send(&made, &[]);
                    }
                    Err(error) => tracing::error!(%error, "a push key can't be made; it is asked for again"),
                },
                Some(RoomEvent::MakeKey(key, _) | RoomEvent::KeyMade(key, ..)) => {
                    tracing::warn!(key = key.name(), "that key is not the courier's to make");
                }
                Some(RoomEvent::Listener(..)) => tracing::warn!("the courier takes no listener"),
                Some(RoomEvent::Stop) | None => break,
            },
            ended = &mut server => {
                return ended.map_err(|e| Error::Supervisor(std::io::Error::other(e)))?.map_err(Error::Serve);
            }
            _ = poll.tick() => room.0.look_at_certificate(),
        }
    }
    if let Some(keeping) = keeping {
        keeping.abort();
    }
    if let Some(acme) = &room.0.acme {
        acme.hang_up();
    }
    stop.send_replace(true);
    if tokio::time::timeout(DRAIN, &mut server).await.is_err() {
        server.abort();
    }
    Ok(())
}

#[derive(Clone)]
struct Room(Arc<Inside>);

struct Inside {
    trust: Trust,
    clock: Arc<dyn Clock>,
    acme: Option<Arc<Acme>>,
    oidc: Option<Oidc>,
    alarms: Arc<Alarms>,
    opening: Mutex<Opening>,
    identities: Mutex<Identities>,
    apns: Apns,
    accepted: AtomicU64,
    failed: AtomicU64,
    last_error: Mutex<String>,
}

pub(crate) fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each holder leaves it whole: a panic in between can't be.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What became of one target, before or after Apple was asked.
struct Came {
    result: PushResult,
    reason: String,
    retry_after_ms: u64,
}

impl Came {
    fn now(result: PushResult, reason: &str) -> Self {
        Self { result, reason: reason.to_owned(), retry_after_ms: 0 }
    }

    fn later(reason: &str) -> Self {
        Self { result: PushResult::Later, reason: reason.to_owned(), retry_after_ms: NOT_READY_MS }
    }
}

impl From<Sent> for Came {
    fn from(sent: Sent) -> Self {
        let (result, reason, retry_after_ms) = match sent {
            Sent::Accepted => (PushResult::Accepted, String::new(), 0),
            Sent::Unregistered { reason } => (PushResult::Unregistered, reason, 0),
            Sent::Later { reason, retry_after_ms } => (PushResult::Later, reason, retry_after_ms),
            Sent::Refused { reason } => (PushResult::Refused, reason, 0),
        };
        Self { result, reason, retry_after_ms }
    }
}

impl Inside {
    fn oidc(&self) -> Result<&Oidc, Status> {
        self.oidc.as_ref().ok_or_else(|| Status::failed_precondition("no OpenID provider is configured"))
    }

    fn look_at_certificate(&self) {
        let now_ms = self.clock.now_ms();
        let mut identities = hold(&self.identities);
        identities.refresh(now_ms);
        identities.warning(now_ms);
    }

    /// What all pushes of a request need, or what is to be said of each of them.
    fn identity(&self, now_ms: TimeMs) -> Result<Arc<Identity>, Came> {
        let identities = hold(&self.identities);
        match identities.current() {
            Some(identity) if identity.expires_at_ms < now_ms => Err(Came::later("CertificateExpired")),
            Some(identity) => Ok(identity),
            None if identities.is_configured() => Err(Came::later("CertificateUnusable")),
            None => Err(Came::now(PushResult::NotConfigured, "NoCertificate")),
        }
    }

    /// Older keys go once a statement says that nothing is under them.
    fn follow_statement(&self) {
        if let Some(statement) = self.trust.current(self.clock.now_ms()) {
            hold(&self.opening).follow(&statement);
        }
    }

    fn open(&self, target: PushTarget, now_ms: TimeMs) -> Result<Opened, Came> {
        let statement = self.trust.current(now_ms).ok_or_else(|| Came::later("NoStatement"))?;
        hold(&self.opening)
            .open(target, &statement)
            .ok_or_else(|| Came::now(PushResult::Unreadable, "DoesNotOpen"))
    }

    async fn push(self: Arc<Self>, target: PushTarget) -> Came {
        let now_ms = self.clock.now_ms();
        let opened = self.identity(now_ms).and_then(|identity| Ok((self.open(target, now_ms)?, identity)));
        match opened {
            Ok((opened, identity)) => self.apns.send(&identity, &opened, now_ms).await.into(),
            Err(came) => came,
        }
    }

    fn remember(&self, came: &Came) {
        match came.result {
            PushResult::Accepted => {
                self.accepted.fetch_add(1, Ordering::Relaxed);
            }
            // A phone that is gone is no failure of the push.
            PushResult::Unregistered | PushResult::NotConfigured => {}
            _ => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                hold(&self.last_error).clone_from(&came.reason);
            }
        }
    }
}

type Asks = Pin<Box<dyn tokio_stream::Stream<Item = Result<AcmeAsk, Status>> + Send>>;

#[tonic::async_trait]
impl Courier for Room {
    type AcmeStream = Asks;

    async fn acme(&self, request: Request<Streaming<AcmeAnswer>>) -> Result<Response<Asks>, Status> {
        let Some(acme) = self.0.acme.clone() else {
            return Err(Status::failed_precondition("no certificate by ACME is configured"));
        };
        let (tx, rx) = mpsc::channel(4);
        let generation = acme.attach(tx);
        let mut answers = request.into_inner();
        tokio::spawn(async move {
            while let Some(Ok(answer)) = answers.next().await {
                acme.answer(answer);
            }
            acme.detach(generation);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(rx).map(Ok))))
    }

    async fn acme_renew(&self, _: Request<AcmeRenewRequest>) -> Result<Response<AcmeRenewed>, Status> {
        let refused = match &self.0.acme {
            Some(acme) => acme.renew().err().unwrap_or_default(),
            None => "no certificate by ACME is configured".to_owned(),
        };
        Ok(Response::new(AcmeRenewed { refused }))
    }

    async fn oidc_metadata(
        &self,
        _: Request<proto::OidcMetadataRequest>,
    ) -> Result<Response<proto::OidcMetadata>, Status> {
        Ok(Response::new(self.0.oidc()?.metadata().await))
    }

    async fn oidc_redeem(
        &self,
        request: Request<proto::OidcRedeemRequest>,
    ) -> Result<Response<proto::OidcRedeemed>, Status> {
        Ok(Response::new(self.0.oidc()?.redeem(request.into_inner()).await))
    }

    async fn oidc_keys(
        &self,
        _: Request<proto::OidcKeysRequest>,
    ) -> Result<Response<proto::OidcKeys>, Status> {
        Ok(Response::new(self.0.oidc()?.keys().await))
    }

    async fn push(&self, request: Request<PushRequest>) -> Result<Response<PushReply>, Status> {
        let mut targets = request.into_inner().targets;
        let mut outcomes: Vec<PushOutcome> = targets
            .iter_mut()
            .map(|t| PushOutcome { enrolment: t.enrolment.clone(), ..PushOutcome::default() })
            .collect();
        let mut under_way = JoinSet::new();
        for (at, target) in targets.into_iter().enumerate() {
            let room = self.0.clone();
            under_way.spawn(async move { (at, room.push(target).await) });
        }
        let (mut accepted, mut others) = (0u64, 0u64);
        while let Some(done) = under_way.join_next().await {
            let Ok((at, came)) = done else { continue };
            self.0.remember(&came);
            if came.result == PushResult::Accepted {
                accepted += 1
            } else {
                others += 1
            }
            if let Some(outcome) = outcomes.get_mut(at) {
                outcome.set_result(came.result);
                outcome.reason = came.reason;
                outcome.retry_after_ms = came.retry_after_ms;
            }
        }
        tracing::info!(push.accepted = accepted, push.others = others, "pushed");
        Ok(Response::new(PushReply { outcomes }))
    }

    async fn believe(&self, request: Request<proto::Statement>) -> Result<Response<proto::Believed>, Status> {
        let believed = self.0.trust.believe(request.get_ref(), &*self.0.clock);
        self.0.follow_statement();
        Ok(Response::new(believed))
    }

    async fn reseal(
        &self,
        request: Request<proto::ResealRequest>,
    ) -> Result<Response<proto::ResealAnswer>, Status> {
        let now_ms = self.0.clock.now_ms();
        let statement = self.0.trust.current(now_ms);
        let statement = statement.ok_or_else(|| Status::unavailable("no key statement is in force"))?;
        let answer = hold(&self.0.opening).reseal(request.into_inner(), &statement, now_ms);
        Ok(Response::new(answer))
    }

    async fn health(&self, _: Request<CourierHealthRequest>) -> Result<Response<CourierHealth>, Status> {
        let mut identities = hold(&self.0.identities);
        let mut words: Vec<String> = identities.refused().map(str::to_owned).into_iter().collect();
        words.extend(identities.warning(self.0.clock.now_ms()));
        let last = hold(&self.0.last_error).clone();
        if !last.is_empty() {
            words.push(last);
        }
        let current = identities.current();
        Ok(Response::new(CourierHealth {
            configured: identities.is_configured(),
            topic: current.as_ref().map(|i| i.topic.clone()).unwrap_or_default(),
            certificate_expires_at_ms: current.map(|i| i.expires_at_ms).unwrap_or_default(),
            accepted: self.0.accepted.load(Ordering::Relaxed),
            failed: self.0.failed.load(Ordering::Relaxed),
            last_error: words.join("; "),
            acme: self.0.acme.as_ref().map(|acme| acme.health()),
            alarms: Some(self.0.alarms.health()),
        }))
    }
}
