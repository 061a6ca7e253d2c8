//! The door's walls: it asks the reader over one stream, serves core over another, and takes key
//! statements from core for both of them.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::{Clock, SteadyClock, SystemClock};
use rpc::CallStream;
use rpc::authorities::Authorities;
use rpc::pair::{self, PeerSlot};
use rpc::proto::door_server::Door;
use rpc::proto::reader_client::ReaderClient;
use rpc::proto::{
    AcmeAnswer, AcmeAsk, Believed, CoreReply, CoreRequest, Counter, CountersReply, CountersRequest,
    DeliveryResealAnswer, DeliveryResealRequest, ReadReply, ReadRequest, Statement,
};
use rpc::trust::Trust;
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::acme::Acme;
use crate::counters::Counters;
use crate::delivery::Delivery;
use crate::gather::{Crowd, Gathered};
use crate::served::Served;
use crate::tls_keys::TlsKeys;

/// How many calls wait on a stream before callers have to.
const IN_FLIGHT: usize = 1024;

/// What the door knows of its neighbours.
pub(crate) struct Walls {
    pub(crate) reader: CallStream<ReadRequest, ReadReply>,
    pub(crate) core: CallStream<CoreRequest, CoreReply>,
    pub(crate) reader_slot: PeerSlot,
    pub(crate) trust: Trust,
    pub(crate) delivery: Delivery,
    /// The CAs that count.
    pub(crate) authorities: Arc<Authorities>,
    /// The keys of the certificate that the house makes for the door.
    pub(crate) tls: TlsKeys,
    /// A CA came or went, or there is another key for the door's own certificate.
    pub(crate) house_changed: watch::Sender<u64>,
    /// By which warrants and statements run out: setting the host's clock back prolongs none.
    pub(crate) clock: SteadyClock<SystemClock>,
    pub(crate) counters: Counters,
    pub(crate) crowd: Crowd,
    served: Arc<Served>,
    acme: Option<Acme>,
    statement: Mutex<Option<Statement>>,
}

/// What the door holds.
pub(crate) struct Held {
    pub(crate) trust: Trust,
    pub(crate) delivery: Delivery,
    pub(crate) authorities: Arc<Authorities>,
    pub(crate) tls: TlsKeys,
    pub(crate) clock: SteadyClock<SystemClock>,
}

impl Walls {
    pub(crate) fn new(
        Held { trust, delivery, authorities, tls, clock }: Held,
        patience: Duration,
        served: Arc<Served>,
        acme: Option<Acme>,
    ) -> Arc<Self> {
        Arc::new(Self {
            reader: CallStream::new(patience),
            core: CallStream::new(patience),
            reader_slot: PeerSlot::default(),
            trust,
            delivery,
            authorities,
            tls,
            house_changed: watch::channel(0).0,
            clock,
            counters: Counters::default(),
            crowd: Crowd::default(),
            served,
            acme,
            statement: Mutex::new(None),
        })
    }

    fn client(channel: tonic::transport::Channel) -> ReaderClient<tonic::transport::Channel> {
        ReaderClient::new(channel)
            .max_decoding_message_size(pair::LARGEST_MESSAGE_BYTES)
            .max_encoding_message_size(pair::LARGEST_MESSAGE_BYTES)
    }

    /// Keeps a stream to the newest reader, for as long as the door runs.
    pub(crate) async fn keep_reader(self: Arc<Self>) {
        let mut changes = self.reader_slot.changes();
        loop {
            let channel = changes.borrow_and_update().clone();
            if let Some(channel) = channel
                && let Err(e) = self.read_until_it_ends(channel).await
            {
                tracing::warn!(reason = %e, "the stream to the reader ended");
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    async fn read_until_it_ends(&self, channel: tonic::transport::Channel) -> Result<(), Status> {
        let mut client = Self::client(channel);
        let known = self.statement.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        if let Some(statement) = known {
            client.believe(statement).await?;
        }
        let (tx, rx) = mpsc::channel(IN_FLIGHT);
        let asked = Gathered::new(ReceiverStream::new(rx), self.crowd.clone());
        let mut answers = client.read(asked).await?.into_inner();
        let generation = self.reader.attach(tx);
        let ended = loop {
            match answers.next().await {
                Some(Ok(answer)) => self.reader.answer(answer.call, answer),
                Some(Err(e)) => break Err(e),
                None => break Ok(()),
            }
        };
        self.reader.detach(generation);
        ended
    }

    async fn believe_both(&self, statement: Statement) -> Believed {
        let believed = self.trust.believe(&statement, &self.clock);
        if !believed.refused.is_empty() {
            return believed;
        }
        if let Some(statement) = self.trust.current(self.clock.now_ms()) {
            self.delivery.follow(&statement);
            self.authorities.follow(&statement);
            // Each new statement: the vault may know a key now that the door waits to have certified.
            self.house_changed.send_modify(|n| *n += 1);
        }
        let held = self.statement.lock();
        *held.unwrap_or_else(std::sync::PoisonError::into_inner) = Some(statement.clone());
        // A reader that is away is told when it is back.
        let Ok(channel) = self.reader_slot.channel(Duration::from_secs(1)).await else { return believed };
        match Self::client(channel).believe(statement).await {
            Ok(answer) => answer.into_inner(),
            // It goes by an older one for now, so both do: older keys are destroyed by this word.
            Err(e) => {
                tracing::warn!(rpc.code = ?e.code(), "the reader did not take the key statement");
                Believed::default()
            }
        }
    }
}

/// The door as core sees it.
pub(crate) struct DoorService(pub(crate) Arc<Walls>);

#[tonic::async_trait]
impl Door for DoorService {
    type CheckInsStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<CoreRequest, Status>> + Send>>;

    async fn check_ins(
        &self,
        request: Request<Streaming<CoreReply>>,
    ) -> Result<Response<Self::CheckInsStream>, Status> {
        let (tx, rx) = mpsc::channel(IN_FLIGHT);
        let walls = self.0.clone();
        let generation = walls.core.attach(tx);
        let mut answers = request.into_inner();
        tokio::spawn(async move {
            while let Some(Ok(answer)) = answers.next().await {
                walls.core.answer(answer.call, answer);
            }
            walls.core.detach(generation);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(rx).map(Ok))))
    }

    async fn believe(&self, request: Request<Statement>) -> Result<Response<Believed>, Status> {
        Ok(Response::new(self.0.believe_both(request.into_inner()).await))
    }

    async fn acme(&self, request: Request<AcmeAsk>) -> Result<Response<AcmeAnswer>, Status> {
        // Makes keys and writes files: not on the threads of the connections.
        let walls = self.0.clone();
        let step = move || Acme::take(walls.acme.as_ref(), request.into_inner(), SystemClock.now_ms());
        let done = tokio::task::spawn_blocking(step).await;
        done.map(Response::new).map_err(|_| Status::internal("the step was not taken"))
    }

    async fn reseal(
        &self,
        request: Request<DeliveryResealRequest>,
    ) -> Result<Response<DeliveryResealAnswer>, Status> {
        let walls = self.0.clone();
        let statement = walls.trust.current(walls.clock.now_ms());
        let statement = statement.ok_or_else(|| Status::unavailable("no key statement is in force"))?;
        let seal = move || walls.delivery.reseal(request.get_ref(), &statement);
        let done = tokio::task::spawn_blocking(seal).await;
        let answer = done.map_err(|_| Status::internal("nothing was sealed"))?;
        answer.map(Response::new).ok_or_else(|| Status::unavailable("the stated delivery key is not here"))
    }

    async fn counters(&self, _: Request<CountersRequest>) -> Result<Response<CountersReply>, Status> {
        let mut counters = self.0.counters.read();
        counters.push(Counter {
            name: "tls_certificate_expires_at_ms".to_owned(),
            value: u64::try_from(self.0.served.not_after_ms()).unwrap_or(0),
        });
        Ok(Response::new(CountersReply { counters }))
    }
}
