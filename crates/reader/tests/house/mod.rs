//! Stands for all neighbours of the reader: the vault's keys and statement, the door's questions.

#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use apple::x509::{P256Signer, Window, ca_certificate, ra_certificate};
use aws_lc_rs::rand::SystemRandom;
use model::clock::{DAY_MS, HandClock};
use model::{Clock, Compartment, EnrolmentId, SystemClock};
use order::{Ed25519Secret, KeyStatement, SignedStatement, X25519Public};
use prost::Message;
use reader::Config;
use rpc::control::{RoomEvent, ToSupervisor};
use rpc::install::Installed;
use rpc::proto::read_reply::What;
use rpc::proto::read_request::What as Asked;
use rpc::proto::reader_client::ReaderClient;
use rpc::proto::{DeviceBody, Observed, ReadReply, ReadRequest, SealedRow, Statement};
use seal::{CompartmentSecret, KeyPairSecret, Opener, PublicKey};
use tokio::sync::mpsc::{Sender, UnboundedSender, channel, unbounded_channel};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

pub const PHONE: EnrolmentId = EnrolmentId([1; 16]);

pub struct House {
    pub dir: tempfile::TempDir,
    pub clock: Arc<HandClock>,
    pub root: Ed25519Secret,
    pub compartments: Vec<CompartmentSecret>,
    pub order_key: KeyPairSecret,
    pub reader_key: [u8; 32],
    pub ca: (P256Signer, Vec<u8>),
    pub ra_certificate: Vec<u8>,
    pub config: Config,
}

pub struct Running {
    pub events: UnboundedSender<RoomEvent>,
    pub room: JoinHandle<Result<(), reader::Error>>,
    pub door: ReaderClient<Channel>,
    pub requests: Sender<ReadRequest>,
    pub replies: Streaming<ReadReply>,
    next: u64,
}

impl House {
    pub fn new() -> Self {
        let rng = SystemRandom::new();
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("reader");
        let public = reader::prepare(&home).unwrap();
        // Certificates tell whole seconds.
        let now_ms = SystemClock.now_ms() / 1000 * 1000;
        let window = Window { not_before_ms: now_ms - DAY_MS, not_after_ms: now_ms + 365 * DAY_MS };
        let ca = P256Signer::generate().unwrap();
        let ca_der = ca_certificate(&ca, "Matron test CA", [1; 16], window).unwrap();
        let ra_certificate = ra_certificate(&ca_der, &ca, &public.ra_spki, [2; 16], window).unwrap();
        let house = Self {
            clock: Arc::new(HandClock::at(now_ms)),
            root: Ed25519Secret::from_seed([7; 32]).unwrap(),
            compartments: Compartment::ALL
                .iter()
                .map(|c| CompartmentSecret::generate(*c, 1, &rng).unwrap())
                .collect(),
            order_key: KeyPairSecret::generate(&rng).unwrap(),
            reader_key: public.sender_key,
            ca: (ca, ca_der),
            ra_certificate,
            config: Config::new(&home),
            dir,
        };
        reader::install(&home, &house.installed(house.statement(1, public.sender_key))).unwrap();
        house
    }

    pub fn home(&self) -> PathBuf {
        self.config.data_dir.clone()
    }

    pub fn installed(&self, statement: Vec<u8>) -> Installed {
        Installed {
            root_key: self.root.public().try_into().unwrap(),
            ca_certificate: self.ca.1.clone(),
            tls_certificate: vec![],
            ra_certificate: self.ra_certificate.clone(),
            statement,
            first_token: String::new(),
        }
    }

    pub fn statement(&self, epoch: u32, reader_key: [u8; 32]) -> Vec<u8> {
        self.statement_with(epoch, reader_key, |_| {})
    }

    /// With something changed before it is signed.
    pub fn statement_with(
        &self,
        epoch: u32,
        reader_key: [u8; 32],
        change: impl FnOnce(&mut KeyStatement),
    ) -> Vec<u8> {
        let mut statement = KeyStatement {
            version: 1,
            epoch,
            made_at_ms: self.clock.now_ms(),
            expires_at_ms: self.clock.now_ms() + 2 * DAY_MS,
            warrant_key: vec![1; 32],
            order_key: X25519Public(self.order_key.public().0),
            delivery_key: X25519Public([3; 32]),
            compartments: self
                .compartments
                .iter()
                .map(|c| (c.compartment, X25519Public(c.key.public().0)))
                .collect(),
            reader_key: X25519Public(reader_key),
            vault_sender_key: X25519Public([6; 32]),
            ca_fingerprint: order::sha256(&self.ca.1),
            ra_fingerprint: order::sha256(&self.ra_certificate),
            older_needed: None,
            older_readers: None,
            ra_certificate: None,
            authorities: None,
        };
        change(&mut statement);
        order::encode(&SignedStatement::sign(&statement, &self.root))
    }

    pub async fn start(&self) -> Running {
        // The room gets the sending end; what it says is read from the other.
        let (control, supervisor) = rpc::control::pair().unwrap();
        let (events, seen) = unbounded_channel();
        let clock: Arc<dyn Clock> = self.clock.clone();
        let room = tokio::spawn(reader::run_with_clock(self.config.clone(), control, seen, clock));
        let said = tokio::task::spawn_blocking(move || {
            let mut packet = [0; 4096];
            let bytes = UnixStream::from(supervisor).read(&mut packet).unwrap();
            serde_json::from_slice::<ToSupervisor>(&packet[..bytes]).unwrap()
        });
        assert_eq!(said.await.unwrap(), ToSupervisor::Ready);
        let (door, requests, replies) = door(&events).await;
        Running { events, room, door, requests, replies, next: 1 }
    }

    /// Opens every row of an observation as the vault (and courier) would: name → value.
    pub fn open(&self, rows: &[SealedRow]) -> BTreeMap<String, Vec<u8>> {
        let mut opener = Opener::new(self.compartments.clone(), vec![PublicKey(self.reader_key)]);
        rows.iter()
            .map(|row| {
                let row = rpc::row_from(row.clone()).unwrap();
                (row.name.clone(), opener.open(&PHONE, &row).unwrap().to_vec())
            })
            .collect()
    }
}

async fn door(
    events: &UnboundedSender<RoomEvent>,
) -> (ReaderClient<Channel>, Sender<ReadRequest>, Streaming<ReadReply>) {
    let (a, b) = rpc::control::neighbours().unwrap();
    events.send(RoomEvent::Peer("door".into(), b.into())).unwrap();
    let mut door = ReaderClient::new(rpc::pair::channel(a.into()).unwrap())
        .max_decoding_message_size(rpc::pair::LARGEST_MESSAGE_BYTES)
        .max_encoding_message_size(rpc::pair::LARGEST_MESSAGE_BYTES);
    let (requests, outgoing) = channel(64);
    let replies = door.read(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
    (door, requests, replies)
}

impl Running {
    /// The door was restarted: a fresh pair, a fresh stream.
    pub async fn restart_door(&mut self) {
        (self.door, self.requests, self.replies) = door(&self.events).await;
    }

    pub async fn ask(&mut self, enrolment: &[u8], what: Asked) -> What {
        self.reply(enrolment, what).await.what.unwrap()
    }

    /// The whole reply.
    pub async fn reply(&mut self, enrolment: &[u8], what: Asked) -> ReadReply {
        self.next += 1;
        let request = ReadRequest { call: self.next, enrolment: enrolment.to_vec().into(), what: Some(what) };
        self.requests.send(request).await.unwrap();
        let reply =
            tokio::time::timeout(Duration::from_secs(20), self.replies.message()).await.unwrap().unwrap();
        let reply = reply.unwrap();
        assert_eq!(reply.call, self.next);
        reply
    }

    pub async fn device(&mut self, body: impl Into<Vec<u8>>) -> What {
        let body = body.into().into();
        let content_type = "application/x-apple-aspen-mdm".to_owned();
        self.ask(&PHONE.0, Asked::Device(DeviceBody { content_type, body, ..DeviceBody::default() })).await
    }

    /// The observation and its very bytes.
    pub async fn observed(&mut self, body: impl Into<Vec<u8>>) -> (Observed, Vec<u8>) {
        match self.device(body).await {
            What::Observed(bytes) => (Observed::decode(&*bytes).unwrap(), bytes.to_vec()),
            other => panic!("not observed: {other:?}"),
        }
    }

    pub async fn refused(&mut self, body: impl Into<Vec<u8>>) -> (u32, String) {
        refusal(self.device(body).await)
    }

    pub async fn believe(&mut self, signed: Vec<u8>) -> rpc::proto::Believed {
        self.door.believe(Statement { signed }).await.unwrap().into_inner()
    }

    pub async fn stop(self) {
        self.events.send(RoomEvent::Stop).unwrap();
        tokio::time::timeout(Duration::from_secs(5), self.room).await.unwrap().unwrap().unwrap();
    }
}

pub fn refusal(what: What) -> (u32, String) {
    match what {
        What::Refused(refused) => {
            assert!(reader::REASONS.contains(&refused.reason.as_str()), "{}", refused.reason);
            (refused.status, refused.reason)
        }
        other => panic!("not refused: {other:?}"),
    }
}

/// An XML property list around the inside of its outermost dictionary.
pub fn plist(inside: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
         \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n<plist version=\"1.0\"><dict>{inside}</dict></plist>"
    )
}

pub const UDID: &str = "00008110-000A1B2C3D4E5F60";

/// Text keys and values as plist pairs.
pub fn texts(pairs: &[(&str, &str)]) -> String {
    pairs.iter().map(|(k, v)| format!("<key>{k}</key><string>{v}</string>")).collect()
}
