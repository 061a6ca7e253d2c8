//! The room at work: one stream with the door, answered call by call.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use apple::x509::Algorithms;
use aws_lc_rs::rand::SystemRandom;
use bytes::Bytes;
use model::{Clock, SystemClock};
use order::TrustedStatement;
use prost::Message as _;
use rpc::control::{ControlEnd, RoomEvent, ToSupervisor};
use rpc::pair::{LARGEST_MESSAGE_BYTES, PeerIncoming};
use rpc::proto::read_request::What as Asked;
use rpc::proto::reader_server::{Reader, ReaderServer};
use rpc::proto::{self, ReadReply, ReadRequest, read_reply::What};
use seal::{CompartmentPublic, PublicKey, Sealer};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::sync::{Semaphore, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::fields::Sealing;
use crate::keys::Keys;
use crate::reason::{Counters, Refusal};
use crate::{Config, Error, observe, scep};

/// Answers that wait for the door to take them.
const WAITING_REPLIES: usize = 512;
/// SCEP requests under way: each costs two RSA operations, so they go to threads of their own.
const SCEP_AT_ONCE: usize = 64;
/// Larger bodies are read on a thread of their own, so that the small ones don't wait behind them.
const INLINE_BODY_BYTES: usize = 64 << 10;
/// How long a stop waits for what is under way.
const DRAIN: Duration = Duration::from_secs(5);

/// Runs the room until it is told to stop: serves the door over each pair that comes in.
///
/// # Errors
/// [`Error`] when its folder is not usable, or the supervisor is gone.
pub async fn run(
    config: Config,
    control: ControlEnd,
    events: UnboundedReceiver<RoomEvent>,
) -> Result<(), Error> {
    run_with_clock(config, control, events, Arc::new(SystemClock)).await
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
    let keys = Keys::open(&config.data_dir, clock.now_ms())?;
    let (stop, stopped) = watch::channel(false);
    let room = Room(Arc::new(Inside {
        keys,
        clock,
        rng: SystemRandom::new(),
        admit: if config.admit_old_algorithms { Algorithms::AdmitOld } else { Algorithms::Strong },
        largest_body_bytes: config.largest_body_bytes.min(apple::message::MAX_MESSAGE_BYTES),
        sealing: Mutex::new(None),
        counters: Counters::default(),
        scep: Arc::new(Semaphore::new(SCEP_AT_ONCE)),
        stopped: stopped.clone(),
    }));
    let (pairs, incoming) = PeerIncoming::new();
    let service = ReaderServer::new(room.clone())
        .max_decoding_message_size(LARGEST_MESSAGE_BYTES)
        .max_encoding_message_size(LARGEST_MESSAGE_BYTES);
    let mut ended = stopped;
    let mut server = tokio::spawn(rpc::pair::server().add_service(service).serve_with_incoming_shutdown(
        incoming,
        async move {
            let _ = ended.wait_for(|s| *s).await;
        },
    ));
    control.send(&ToSupervisor::Ready, &[]).map_err(Error::Supervisor)?;
    tracing::info!("the reader serves");

    let mut minute = tokio::time::interval(Duration::from_secs(60));
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(RoomEvent::Peer(name, pair)) if name == "door" => {
                    if let Err(error) = pairs.renew(pair) {
                        tracing::error!(%error, "a pair with the door could not be used");
                    }
                }
                Some(RoomEvent::Peer(name, _)) => tracing::warn!(room = %name, "the reader has no such neighbour"),
                Some(RoomEvent::Listener(..)) => tracing::warn!("the reader takes no listener"),
                Some(RoomEvent::Stop) | None => break,
            },
            ended = &mut server => {
                return ended.map_err(|e| Error::Supervisor(std::io::Error::other(e)))?.map_err(Error::Serve);
            }
            _ = minute.tick() => room.0.log_counters(),
        }
    }
    stop.send_replace(true);
    if tokio::time::timeout(DRAIN, &mut server).await.is_err() {
        server.abort();
    }
    room.0.log_counters();
    Ok(())
}

#[derive(Clone)]
struct Room(Arc<Inside>);

struct Inside {
    keys: Keys,
    clock: Arc<dyn Clock>,
    rng: SystemRandom,
    admit: Algorithms,
    largest_body_bytes: usize,
    /// The sealer, and the statement it was made for.
    sealing: Mutex<Option<(Arc<TrustedStatement>, Sealer)>>,
    counters: Counters,
    scep: Arc<Semaphore>,
    stopped: watch::Receiver<bool>,
}

impl Inside {
    /// The statement in force, if it names this reader.
    fn statement(&self) -> Result<Arc<TrustedStatement>, Refusal> {
        let statement = self.keys.trust.current(self.clock.now_ms()).ok_or(Refusal::later("no_statement"))?;
        if statement.reader_key.0 != self.keys.sender.public().0 {
            return Err(Refusal::later("not_the_stated_reader"));
        }
        Ok(statement)
    }

    fn sealing(&self) -> MutexGuard<'_, Option<(Arc<TrustedStatement>, Sealer)>> {
        // A sealer that was left in the middle of a field is as good as before it.
        self.sealing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn device(&self, enrolment: &[u8], device: &proto::DeviceBody) -> Result<What, Refusal> {
        if device.body.len() > self.largest_body_bytes {
            return Err(Refusal::too_large("too_large"));
        }
        let enrolment = rpc::enrolment_id(enrolment).map_err(|_| Refusal::bad("no_enrolment"))?;
        let statement = self.statement()?;
        let mut sealing = self.sealing();
        let (of, sealer) = match &mut *sealing {
            Some(current) if Arc::ptr_eq(&current.0, &statement) => current,
            stale => stale.insert((statement.clone(), self.sealer(&statement))),
        };
        debug_assert!(Arc::ptr_eq(of, &statement));
        let observed = observe::observe(
            &device.body,
            &mut Sealing {
                sealer,
                tags: &self.keys.tags,
                rng: &self.rng,
                enrolment,
                now_ms: self.clock.now_ms(),
            },
        )?;
        self.counters.count(observe::kind(&observed));
        Ok(What::Observed(Bytes::from(observed.encode_to_vec())))
    }

    /// A sealer to the compartments' keys of this statement, whose epoch they carry.
    fn sealer(&self, statement: &TrustedStatement) -> Sealer {
        let keys = statement.compartments.iter().map(|(compartment, key)| CompartmentPublic {
            compartment: *compartment,
            epoch: statement.epoch,
            key: PublicKey(key.0),
        });
        Sealer::new(self.keys.sender.clone(), keys.collect())
    }

    fn answer(&self, request: &ReadRequest) -> ReadReply {
        let asked =
            |order_key| scep::Asked { keys: &self.keys, order_key, admit: self.admit, rng: &self.rng };
        let order_key = || self.statement().map(|s| PublicKey(s.order_key.0));
        let what = match &request.what {
            Some(Asked::Device(device)) => self.device(&request.enrolment, device),
            Some(Asked::Scep(query)) => {
                self.counters.count("scep_query");
                scep::query(query, &asked(order_key()))
            }
            Some(Asked::ScepAnswer(answer)) => {
                self.counters.count("scep_answer");
                scep::answer(answer, &asked(order_key()))
            }
            None => Err(Refusal::bad("unknown_request")),
        };
        self.reply(request.call, what)
    }

    fn reply(&self, call: u64, what: Result<What, Refusal>) -> ReadReply {
        let what = what.unwrap_or_else(|refusal| {
            self.counters.count(refusal.reason);
            tracing::debug!(refused.status = refusal.status, refused.reason = refusal.reason, "refused");
            What::Refused(refusal.into())
        });
        ReadReply { call, what: Some(what) }
    }

    fn log_counters(&self) {
        let counts = self.counters.all();
        if !counts.is_empty() {
            tracing::info!(counts = ?counts, "reader counters since the start");
        }
    }
}

/// Whether a request is worth a thread of its own.
fn is_heavy(request: &ReadRequest) -> bool {
    match &request.what {
        Some(Asked::Device(device)) => device.body.len() > INLINE_BODY_BYTES,
        Some(Asked::Scep(query)) => {
            matches!(query.operation(), proto::ScepOperation::PkiGet | proto::ScepOperation::PkiPost)
        }
        Some(Asked::ScepAnswer(_)) => true,
        None => false,
    }
}

async fn serve(
    room: Arc<Inside>,
    mut requests: Streaming<ReadRequest>,
    replies: mpsc::Sender<Result<ReadReply, Status>>,
) {
    let mut stopped = room.stopped.clone();
    loop {
        let request = tokio::select! {
            request = requests.message() => request,
            _ = stopped.wait_for(|s| *s) => return,
        };
        let request = match request {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(status) => {
                tracing::info!(code = ?status.code(), "the door's stream ended");
                return;
            }
        };
        if !is_heavy(&request) {
            if replies.send(Ok(room.answer(&request))).await.is_err() {
                return;
            }
            continue;
        }
        let Ok(permit) = room.scep.clone().try_acquire_owned() else {
            let busy = room.reply(request.call, Err(Refusal::later("busy")));
            if replies.send(Ok(busy)).await.is_err() {
                return;
            }
            continue;
        };
        let (room, replies) = (room.clone(), replies.clone());
        tokio::task::spawn_blocking(move || {
            let reply = room.answer(&request);
            drop(permit);
            let _ = replies.blocking_send(Ok(reply));
        });
    }
}

#[tonic::async_trait]
impl Reader for Room {
    type ReadStream = Pin<Box<ReceiverStream<Result<ReadReply, Status>>>>;

    async fn read(
        &self,
        request: Request<Streaming<ReadRequest>>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let (replies, stream) = mpsc::channel(WAITING_REPLIES);
        tokio::spawn(serve(self.0.clone(), request.into_inner(), replies));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn believe(&self, request: Request<proto::Statement>) -> Result<Response<proto::Believed>, Status> {
        let inside = &self.0;
        let now_ms = inside.clock.now_ms();
        let believed = inside.keys.trust.believe(request.get_ref(), now_ms);
        if let Some(statement) = inside.keys.trust.current(now_ms) {
            if statement.reader_key.0 != inside.keys.sender.public().0 {
                tracing::error!(
                    "the key statement names another reader's key; nothing is read until it names this one's"
                );
            }
            if statement.ra_fingerprint != order::sha256(inside.keys.ra.cert_der()) {
                tracing::error!("the key statement names another RA certificate than this room's");
            }
        }
        Ok(Response::new(believed))
    }
}
