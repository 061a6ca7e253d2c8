//! The room at work: one stream with the door, answered call by call.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use model::{Clock, SteadyClock, SystemClock};
use rpc::control::{ControlEnd, RoomEvent, ToSupervisor};
use rpc::pair::{LARGEST_MESSAGE_BYTES, PeerIncoming};
use rpc::proto::reader_server::{Reader, ReaderServer};
use rpc::proto::{self, ReadReply, ReadRequest};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::sync::{Semaphore, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::{Config, Desk, Error};

/// Answers that wait for the door to take them.
const WAITING_REPLIES: usize = 512;
/// Requests under way on threads of their own, so that the small ones don't wait behind them: SCEP (an RSA
/// operation each) and large bodies.
const HEAVY_AT_ONCE: usize = 64;
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
    let desk = Desk::open(&config, clock)?;
    let (stop, stopped) = watch::channel(false);
    let room = Room(Arc::new(Inside {
        desk,
        heavy: Arc::new(Semaphore::new(HEAVY_AT_ONCE)),
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
                Some(RoomEvent::MakeKey(key, number)) => {
                    let (room, control) = (room.0.clone(), control.try_clone().map_err(Error::Supervisor)?);
                    // An RSA key takes a while, and phones go on.
                    tokio::task::spawn_blocking(move || match room.desk.make_key(key, number) {
                        Ok(public) => {
                            let _ = control.send(&rpc::control::key_made(key, number, &public), &[]);
                        }
                        Err(error) => {
                            tracing::error!(key = key.name(), %error, "a key can't be made; it is asked for again");
                        }
                    });
                }
                Some(RoomEvent::KeyMade(key, ..)) => {
                    tracing::warn!(key = key.name(), "the reader waits for nobody's key");
                }
                Some(RoomEvent::Listener(..)) => tracing::warn!("the reader takes no listener"),
                Some(RoomEvent::Alarms(_)) => tracing::warn!("the pipe for alarms is not the reader's"),
                Some(RoomEvent::Stop) | None => break,
            },
            ended = &mut server => {
                return ended.map_err(|e| Error::Supervisor(std::io::Error::other(e)))?.map_err(Error::Serve);
            }
            _ = minute.tick() => room.0.desk.log_counters(),
        }
    }
    stop.send_replace(true);
    if tokio::time::timeout(DRAIN, &mut server).await.is_err() {
        server.abort();
    }
    room.0.desk.log_counters();
    Ok(())
}

#[derive(Clone)]
struct Room(Arc<Inside>);

struct Inside {
    desk: Desk,
    heavy: Arc<Semaphore>,
    stopped: watch::Receiver<bool>,
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
        if !Desk::is_heavy(&request) {
            if replies.send(Ok(room.desk.answer(&request))).await.is_err() {
                return;
            }
            continue;
        }
        let Ok(permit) = room.heavy.clone().try_acquire_owned() else {
            let busy = room.desk.busy(request.call);
            if replies.send(Ok(busy)).await.is_err() {
                return;
            }
            continue;
        };
        let (room, replies) = (room.clone(), replies.clone());
        tokio::task::spawn_blocking(move || {
            let reply = room.desk.answer(&request);
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
        let believed = self.0.desk.believe(request.get_ref());
        Ok(Response::new(believed))
    }
}
