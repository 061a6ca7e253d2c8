//! A core with neighbours that are fakes over real socket pairs, speaking the same `.proto` walls.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod http;
pub mod phone;
pub mod vault;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::clock::HandClock;
use model::{Clock, EnrolmentId, TimeMs};
use order::Ed25519Secret;
use rpc::CallStream;
use rpc::control::RoomEvent;
use rpc::pair::PeerIncoming;
use rpc::proto::courier_server::{Courier, CourierServer};
use rpc::proto::door_server::{Door, DoorServer};
use rpc::proto::vault_server::VaultServer;
use rpc::proto::{self, CoreReply, CoreRequest};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use vault::FakeVault;

/// 2026-11-25.
pub const START_MS: TimeMs = 1_795_564_800_000;

/// The door's side of the stream.
#[derive(Clone)]
pub struct FakeDoor(pub Arc<CallStream<CoreRequest, CoreReply>>);

#[tonic::async_trait]
impl Door for FakeDoor {
    type CheckInsStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<CoreRequest, Status>> + Send>>;

    async fn check_ins(
        &self,
        request: Request<Streaming<CoreReply>>,
    ) -> Result<Response<Self::CheckInsStream>, Status> {
        let (tx, rx) = mpsc::channel(256);
        let generation = self.0.attach(tx);
        let calls = self.0.clone();
        let mut replies = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(reply)) = replies.message().await {
                calls.answer(reply.call, reply);
            }
            calls.detach(generation);
        });
        Ok(Response::new(Box::pin(tokio_stream::StreamExt::map(ReceiverStream::new(rx), Ok))))
    }

    async fn believe(&self, _: Request<proto::Statement>) -> Result<Response<proto::Believed>, Status> {
        Ok(Response::new(proto::Believed { epoch: 1, refused: String::new() }))
    }

    async fn acme(&self, _: Request<proto::AcmeAsk>) -> Result<Response<proto::AcmeAnswer>, Status> {
        Err(Status::failed_precondition("no certificate by ACME is configured"))
    }

    async fn reseal(
        &self,
        _: Request<proto::DeliveryResealRequest>,
    ) -> Result<Response<proto::DeliveryResealAnswer>, Status> {
        Ok(Response::new(proto::DeliveryResealAnswer::default()))
    }

    async fn counters(
        &self,
        _: Request<proto::CountersRequest>,
    ) -> Result<Response<proto::CountersReply>, Status> {
        Ok(Response::new(proto::CountersReply::default()))
    }
}

/// What the courier brings of an OpenID provider.
#[derive(Default)]
pub struct Provider {
    pub metadata: proto::OidcMetadata,
    pub gives: proto::OidcRedeemed,
    pub jwks: Vec<u8>,
    pub redeemed: Vec<proto::OidcRedeemRequest>,
    pub keys_asked: u32,
}

/// Notes whom it was told to wake.
#[derive(Clone, Default)]
pub struct FakeCourier {
    pub provider: Arc<Mutex<Provider>>,
    pub pushed: Arc<Mutex<Vec<EnrolmentId>>>,
    pub answers: Arc<Mutex<BTreeMap<EnrolmentId, proto::PushResult>>>,
}

#[tonic::async_trait]
impl Courier for FakeCourier {
    type AcmeStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<proto::AcmeAsk, Status>> + Send>>;

    async fn acme(
        &self,
        _: Request<Streaming<proto::AcmeAnswer>>,
    ) -> Result<Response<Self::AcmeStream>, Status> {
        Err(Status::failed_precondition("no certificate by ACME is configured"))
    }

    async fn acme_renew(
        &self,
        _: Request<proto::AcmeRenewRequest>,
    ) -> Result<Response<proto::AcmeRenewed>, Status> {
        Ok(Response::new(proto::AcmeRenewed { refused: "no certificate by ACME is configured".into() }))
    }

    async fn oidc_metadata(
        &self,
        _: Request<proto::OidcMetadataRequest>,
    ) -> Result<Response<proto::OidcMetadata>, Status> {
        Ok(Response::new(self.provider.lock().unwrap().metadata.clone()))
    }

    async fn oidc_redeem(
        &self,
        request: Request<proto::OidcRedeemRequest>,
    ) -> Result<Response<proto::OidcRedeemed>, Status> {
        let mut provider = self.provider.lock().unwrap();
        provider.redeemed.push(request.into_inner());
        Ok(Response::new(provider.gives.clone()))
    }

    async fn oidc_keys(
        &self,
        _: Request<proto::OidcKeysRequest>,
    ) -> Result<Response<proto::OidcKeys>, Status> {
        let mut provider = self.provider.lock().unwrap();
        provider.keys_asked += 1;
        // A provider without keys can't be reached.
        if provider.jwks.is_empty() {
            return Ok(Response::new(proto::OidcKeys { refused: "no answer".into(), jwks: vec![] }));
        }
        Ok(Response::new(proto::OidcKeys { refused: String::new(), jwks: provider.jwks.clone() }))
    }

    async fn push(&self, request: Request<proto::PushRequest>) -> Result<Response<proto::PushReply>, Status> {
        let mut outcomes = Vec::new();
        for t in request.into_inner().targets {
            let enrolment = rpc::enrolment_id(&t.enrolment).unwrap();
            assert!(t.token.is_some() && t.magic.is_some());
            self.pushed.lock().unwrap().push(enrolment);
            let result = self.answers.lock().unwrap().get(&enrolment).copied();
            outcomes.push(proto::PushOutcome {
                enrolment: t.enrolment,
                result: result.unwrap_or(proto::PushResult::Accepted) as i32,
                reason: String::new(),
                retry_after_ms: 0,
            });
        }
        Ok(Response::new(proto::PushReply { outcomes }))
    }

    async fn believe(&self, _: Request<proto::Statement>) -> Result<Response<proto::Believed>, Status> {
        Ok(Response::new(proto::Believed { epoch: 1, refused: String::new() }))
    }

    async fn reseal(
        &self,
        _: Request<proto::ResealRequest>,
    ) -> Result<Response<proto::ResealAnswer>, Status> {
        Ok(Response::new(proto::ResealAnswer::default()))
    }

    async fn health(
        &self,
        _: Request<proto::CourierHealthRequest>,
    ) -> Result<Response<proto::CourierHealth>, Status> {
        Ok(Response::new(proto::CourierHealth { configured: true, ..Default::default() }))
    }
}

/// A provider's people read here.
pub fn oidc() -> core_room::OidcConfig {
    let line = |value: &str, role, group: Option<&str>| core_room::OidcRole {
        claim: "groups".into(),
        value: value.into(),
        role,
        group: group.map(str::to_owned),
    };
    core_room::OidcConfig {
        issuer: "https://id.example.org/ward".into(),
        client_id: "matron".into(),
        console_url: "https://matron.example.org".into(),
        hosts: vec![],
        scopes: vec!["groups".into()],
        roles: vec![
            line("audit", model::Role::Auditor, None),
            line("ward-7-leads", model::Role::WardManager, Some("ward-7")),
        ],
    }
}

/// A running core and its neighbours.
pub struct House {
    pub dir: PathBuf,
    _temp: Option<tempfile::TempDir>,
    pub clock: Arc<HandClock>,
    pub calls: Arc<CallStream<CoreRequest, CoreReply>>,
    pub vault: FakeVault,
    pub courier: FakeCourier,
    pub api: SocketAddr,
    events: mpsc::UnboundedSender<RoomEvent>,
    core: tokio::task::JoinHandle<Result<(), core_room::Error>>,
    _control: std::os::fd::OwnedFd,
    vault_server: Option<tokio::task::JoinHandle<()>>,
}

pub fn root() -> Ed25519Secret {
    Ed25519Secret::from_seed([1; 32]).unwrap()
}

impl House {
    pub async fn start() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().to_owned();
        let mut house = Self::start_in(dir, FakeVault::new(), true).await;
        house._temp = Some(temp);
        house
    }

    /// Over a data folder and a vault that are there already.
    pub async fn start_in(dir: PathBuf, vault: FakeVault, with_vault: bool) -> Self {
        Self::start_on(&tokio::runtime::Handle::current(), dir, vault, with_vault).await
    }

    /// With core in a runtime of its own.
    pub async fn start_on(
        core: &tokio::runtime::Handle,
        dir: PathBuf,
        vault: FakeVault,
        with_vault: bool,
    ) -> Self {
        Self::start_by(Arc::new(HandClock::at(START_MS)), core, dir, vault, with_vault).await
    }

    /// By a clock that went on.
    pub async fn start_by(
        clock: Arc<HandClock>,
        core: &tokio::runtime::Handle,
        dir: PathBuf,
        vault: FakeVault,
        with_vault: bool,
    ) -> Self {
        if !dir.join("root.pub").exists() {
            let installed = rpc::install::Installed {
                root_key: root().public().try_into().unwrap(),
                ca_certificate: vec![],
                tls_certificate: vec![],
                ra_certificate: vec![],
                statement: vault.statement(),
                first_token: String::new(),
            };
            core_room::install(&dir, &installed).unwrap();
        }
        let (control, kept) = rpc::control::pair().unwrap();
        let (events, rx) = mpsc::unbounded_channel();
        let config = core_room::Config { oidc: Some(oidc()), ..core_room::Config::at(dir.clone()) };
        let core = core.spawn(core_room::run_by(config, clock.clone(), control, rx, |api, _, _| api));

        let door = FakeDoor(Arc::new(CallStream::new(Duration::from_secs(20))));
        let calls = door.0.clone();
        let (incoming, stream) = PeerIncoming::new();
        tokio::spawn(rpc::pair::server().add_service(DoorServer::new(door)).serve_with_incoming(stream));
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        incoming.renew(ours).unwrap();
        events.send(RoomEvent::Peer("door".into(), theirs)).unwrap();
        std::mem::forget(incoming);

        let courier = FakeCourier::default();
        let (incoming, stream) = PeerIncoming::new();
        let served = CourierServer::new(courier.clone());
        tokio::spawn(rpc::pair::server().add_service(served).serve_with_incoming(stream));
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        incoming.renew(ours).unwrap();
        events.send(RoomEvent::Peer("courier".into(), theirs)).unwrap();
        std::mem::forget(incoming);

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let api = listener.local_addr().unwrap();
        events.send(RoomEvent::Listener("administrators".into(), listener)).unwrap();
        let mut house = Self {
            dir,
            _temp: None,
            clock,
            calls,
            vault,
            courier,
            api,
            events,
            core,
            _control: kept,
            vault_server: None,
        };
        if with_vault {
            house.vault_comes();
        }
        house
    }

    /// The vault (re)starts, with a fresh pair.
    pub fn vault_comes(&mut self) {
        let (incoming, stream) = PeerIncoming::new();
        let served = VaultServer::new(self.vault.clone());
        self.vault_server = Some(tokio::spawn(async move {
            let _ = rpc::pair::server().add_service(served).serve_with_incoming(stream).await;
        }));
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        self.vault.cut(ours.try_clone().unwrap());
        incoming.renew(ours).unwrap();
        self.events.send(RoomEvent::Peer("vault".into(), theirs)).unwrap();
        std::mem::forget(incoming);
    }

    /// The vault dies.
    pub async fn vault_dies(&mut self) {
        self.vault.die();
        if let Some(server) = self.vault_server.take() {
            server.abort();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    pub fn now_ms(&self) -> TimeMs {
        self.clock.now_ms()
    }

    /// Stops the room in order.
    pub async fn stop(self) {
        self.events.send(RoomEvent::Stop).unwrap();
        self.core.await.unwrap().unwrap();
    }

    /// The database as it lies on the disk at this moment, as kill -9 would leave it.
    pub fn copy_database(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        for name in ["core.db", "core.db-wal", "root.pub", "statement.cbor"] {
            let _ = std::fs::copy(self.dir.join(name), copy.path().join(name));
        }
        copy
    }
}

/// Waits until `holds`, or fails after ten seconds.
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    for _ in 0..500 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {what}");
}
