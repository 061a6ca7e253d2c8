//! Courier against the push stand-in, over a real pair with a stand-in for core.

// Tests may fail loudly; clippy knows as tests only what stands under #[test].
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use courier::Config;
use model::clock::{DAY_MS, HandClock};
use model::{Clock, Compartment, Digest, EnrolmentId, KeyName, SystemClock};
use order::{Ed25519Secret, KeyStatement, SignedStatement, X25519Public};
use rpc::control::{ControlEnd, RoomEvent, ToSupervisor};
use rpc::install::Installed;
use rpc::proto::courier_client::CourierClient;
use rpc::proto::{
    CourierHealth, CourierHealthRequest, PhoneRow, PushOutcome, PushRequest, PushResult, PushTarget,
    ResealRequest, Statement,
};
use seal::{CompartmentPublic, KeyPairSecret, PublicKey, Sealer};
use testkit::apns::Server;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tonic::transport::Channel;

const PHONE: EnrolmentId = EnrolmentId([1; 16]);
const TOKEN: [u8; 32] = [0xab; 32];

fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// Stands for all neighbours: the vault's statement, the reader's seal, core's questions.
struct House {
    dir: tempfile::TempDir,
    clock: Arc<HandClock>,
    root: Ed25519Secret,
    reader: KeyPairSecret,
    push_key: [u8; 32],
    config: Config,
}

/// Where what the room says is read.
struct Supervisor(Arc<ControlEnd>);

impl Supervisor {
    async fn hears(&self) -> ToSupervisor {
        let end = self.0.clone();
        tokio::task::spawn_blocking(move || end.receive().unwrap().unwrap().0).await.unwrap()
    }
}

struct Running {
    supervisor: Supervisor,
    events: UnboundedSender<RoomEvent>,
    room: JoinHandle<Result<(), courier::Error>>,
    core: CourierClient<Channel>,
}

impl House {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("courier");
        let push_key = courier::prepare(&home).unwrap().push_key;
        let house = Self {
            clock: Arc::new(HandClock::at(SystemClock.now_ms())),
            root: Ed25519Secret::from_seed([7; 32]).unwrap(),
            reader: KeyPairSecret::generate(&SystemRandom::new()).unwrap(),
            push_key,
            config: Config { certificate_poll_s: 1, ..Config::new(&home) },
            dir,
        };
        let installed = Installed {
            root_key: house.root.public().try_into().unwrap(),
            ca_certificate: vec![],
            tls_certificate: vec![],
            ra_certificate: vec![],
            statement: house.statement(1, &house.reader),
            first_token: String::new(),
        };
        courier::install(&home, &installed).unwrap();
        house
    }

    fn statement(&self, epoch: u32, reader: &KeyPairSecret) -> Vec<u8> {
        self.statement_of(epoch, reader, self.push_key, None)
    }

    fn statement_of(
        &self,
        epoch: u32,
        reader: &KeyPairSecret,
        push_key: [u8; 32],
        older_needed: Option<Vec<KeyName>>,
    ) -> Vec<u8> {
        self.statement_by(epoch, reader, push_key, older_needed, None)
    }

    fn statement_by(
        &self,
        epoch: u32,
        reader: &KeyPairSecret,
        push_key: [u8; 32],
        older_needed: Option<Vec<KeyName>>,
        older_readers: Option<Vec<X25519Public>>,
    ) -> Vec<u8> {
        let statement = KeyStatement {
            version: 1,
            epoch,
            made_at_ms: self.clock.now_ms(),
            expires_at_ms: self.clock.now_ms() + 400 * DAY_MS,
            warrant_key: vec![1; 32],
            order_key: X25519Public([2; 32]),
            delivery_key: X25519Public([3; 32]),
            compartments: vec![(Compartment::Push, X25519Public(push_key))],
            reader_key: X25519Public(reader.public().0),
            vault_sender_key: X25519Public([6; 32]),
            ca_fingerprint: Digest([7; 32]),
            ra_fingerprint: Digest([8; 32]),
            older_needed,
            older_readers,
            ra_certificate: None,
            authorities: None,
        };
        order::encode(&SignedStatement::sign(&statement, &self.root))
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Configured for this stand-in.
    fn for_apns(mut self, apns: &Server) -> Self {
        self.config.endpoint = apns.url();
        self.config.push_certificate = Some(self.file("push.pem", &apns.push_cert_pem));
        self.config.push_key = Some(self.file("push.key", &apns.push_key_pem));
        self.config.trust_anchor = Some(self.file("anchor.pem", &apns.ca_pem));
        self
    }

    async fn start(&self) -> Running {
        // The room gets the sending end; what it says is read from the other.
        let (control, supervisor) = rpc::control::pair().unwrap();
        let (events, seen) = unbounded_channel();
        let config = self.config.clone();
        let clock: Arc<dyn Clock> = self.clock.clone();
        let room = tokio::spawn(courier::run_with_clock(config, control, seen, clock));
        let core = core_of(&events);
        let supervisor = Supervisor(Arc::new(ControlEnd::of(supervisor)));
        assert_eq!(supervisor.hears().await, ToSupervisor::Ready);
        Running { events, room, core, supervisor }
    }

    fn sealed(
        &self,
        sender: &KeyPairSecret,
        epoch: u32,
        phone: EnrolmentId,
        token: &[u8],
        magic: &str,
    ) -> PushTarget {
        let rng = SystemRandom::new();
        let to = CompartmentPublic { compartment: Compartment::Push, epoch, key: PublicKey(self.push_key) };
        let mut sealer = Sealer::new(sender.clone(), vec![to]);
        let mut row = |name: &str, value: &[u8]| {
            let now_ms = self.clock.now_ms();
            let sealed =
                sealer.seal(&rng, now_ms, &phone, name, Compartment::Push, value, String::new(), vec![]);
            Some(rpc::row_to(sealed.unwrap()))
        };
        PushTarget {
            enrolment: phone.as_bytes().to_vec(),
            token: row("Token", token),
            magic: row("PushMagic", magic.as_bytes()),
        }
    }

    fn target(&self, token: &[u8], magic: &str) -> PushTarget {
        self.sealed(&self.reader, 1, PHONE, token, magic)
    }
}

fn core_of(events: &UnboundedSender<RoomEvent>) -> CourierClient<Channel> {
    let (a, b) = rpc::control::neighbours().unwrap();
    events.send(RoomEvent::Peer("core".into(), b.into())).unwrap();
    CourierClient::new(rpc::pair::channel(a.into()).unwrap())
}

impl Running {
    async fn push(&mut self, targets: Vec<PushTarget>) -> Vec<PushOutcome> {
        self.core.push(PushRequest { targets }).await.unwrap().into_inner().outcomes
    }

    async fn push_one(&mut self, target: PushTarget) -> PushOutcome {
        self.push(vec![target]).await.remove(0)
    }

    async fn health(&mut self) -> CourierHealth {
        self.core.health(CourierHealthRequest {}).await.unwrap().into_inner()
    }

    /// Waits until health says so.
    async fn until(&mut self, what: impl Fn(&CourierHealth) -> bool) -> CourierHealth {
        for _ in 0..100 {
            let health = self.health().await;
            if what(&health) {
                return health;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("health never said so: {:?}", self.health().await);
    }

    async fn stop(self) {
        self.events.send(RoomEvent::Stop).unwrap();
        tokio::time::timeout(Duration::from_secs(5), self.room).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_push_wakes_the_phone_that_waits_for_its_token() {
    let apns = Server::start(loopback()).await.unwrap();
    let house = House::new().for_apns(&apns);
    let mut courier = house.start().await;
    let mut phone = apns.subscribe(&TOKEN);
    let outcome = courier.push_one(house.target(&TOKEN, "made-up \"magic\"")).await;
    assert_eq!((outcome.result(), outcome.enrolment.as_slice()), (PushResult::Accepted, &PHONE.0[..]));
    let woken = tokio::time::timeout(Duration::from_secs(5), phone.next()).await.unwrap();
    assert_eq!(woken.push_magic, "made-up \"magic\"");
    assert_eq!(woken.topic, apns.topic);
    let life_ms = woken.expires_at_ms - house.clock.now_ms();
    assert!((6 * DAY_MS..=7 * DAY_MS).contains(&life_ms), "{life_ms}");
    let health = courier.health().await;
    assert_eq!((health.configured, health.topic.as_str()), (true, apns.topic.as_str()));
    assert_eq!((health.accepted, health.failed, health.last_error.as_str()), (1, 0, ""));
    courier.stop().await;
}

#[tokio::test]
async fn a_token_of_any_length_arrives_as_it_was_sealed() {
    let apns = Server::start(loopback()).await.unwrap();
    let house = House::new().for_apns(&apns);
    let mut courier = house.start().await;
    for bytes in [1, 31, 32, 33, 100, 1999] {
        let token: Vec<u8> = (0..bytes).map(|n| (n % 251) as u8).collect();
        let outcome = courier.push_one(house.target(&token, "m")).await;
        assert_eq!(outcome.result(), PushResult::Accepted, "{bytes}: {}", outcome.reason);
        assert!(apns.waiting(&token).is_some(), "{bytes}");
    }
    for bytes in [0, 5000] {
        let outcome = courier.push_one(house.target(&vec![1; bytes], "m")).await;
        assert_eq!((outcome.result(), outcome.reason.as_str()), (PushResult::Refused, "BadDeviceToken"));
    }
    courier.stop().await;
}

#[tokio::test]
async fn pushes_for_a_phone_that_is_off_are_one_and_are_forgotten_when_they_expire() {
    let clock = Arc::new(HandClock::at(SystemClock.now_ms()));
    let apns = Server::start_with_clock(loopback(), clock.clone()).await.unwrap();
    let house = House::new().for_apns(&apns);
    let mut courier = house.start().await;
    for magic in ["first", "second", "third"] {
        assert_eq!(courier.push_one(house.target(&TOKEN, magic)).await.result(), PushResult::Accepted);
    }
    assert_eq!(apns.counts().coalesced, 2);
    clock.advance(6 * DAY_MS);
    let mut phone = apns.subscribe(&TOKEN);
    assert_eq!(phone.next().await.push_magic, "third");

    assert_eq!(courier.push_one(house.target(&[2; 8], "late")).await.result(), PushResult::Accepted);
    clock.advance(8 * DAY_MS);
    let mut phone = apns.subscribe(&[2; 8]);
    assert!(tokio::time::timeout(Duration::from_millis(200), phone.next()).await.is_err());
    assert_eq!(apns.counts().expired, 1);
    courier.stop().await;
}

#[tokio::test]
async fn what_apple_refuses_is_told_apart() {
    let apns = Server::start(loopback()).await.unwrap();
    let house = House::new().for_apns(&apns);
    let mut courier = house.start().await;
    let told = |o: &PushOutcome| (o.result(), o.reason.clone(), o.retry_after_ms);

    apns.set_gone(&TOKEN, true);
    let gone = courier.push_one(house.target(&TOKEN, "m")).await;
    assert_eq!(told(&gone), (PushResult::Unregistered, "Unregistered".into(), 0));
    apns.set_gone(&TOKEN, false);

    apns.set_bad(&TOKEN, true);
    let bad = courier.push_one(house.target(&TOKEN, "m")).await;
    assert_eq!(told(&bad), (PushResult::Refused, "BadDeviceToken".into(), 0));
    apns.set_bad(&TOKEN, false);

    apns.throttle(1, 7);
    let throttled = courier.push_one(house.target(&TOKEN, "m")).await;
    assert_eq!(told(&throttled), (PushResult::Later, "TooManyRequests".into(), 7000));

    apns.set_outage(true);
    let out = courier.push_one(house.target(&TOKEN, "m")).await;
    assert_eq!(told(&out), (PushResult::Later, "ServiceUnavailable".into(), 60_000));
    apns.set_outage(false);

    let large = courier.push_one(house.target(&TOKEN, &"m".repeat(5000))).await;
    assert_eq!(told(&large), (PushResult::Refused, "PayloadTooLarge".into(), 0));
    assert_eq!(courier.push_one(house.target(&TOKEN, "m")).await.result(), PushResult::Accepted);
    let health = courier.health().await;
    assert_eq!((health.accepted, health.failed), (1, 4));
    assert_eq!(apns.counts().connections, 1);
    courier.stop().await;
}

#[tokio::test]
async fn many_pushes_go_over_one_connection_and_each_target_gets_its_own_outcome() {
    let apns = Server::start(loopback()).await.unwrap();
    let house = House::new().for_apns(&apns);
    let mut courier = house.start().await;
    apns.set_gone(&[7, 7], true);
    let targets: Vec<PushTarget> = (0..300u16)
        .map(|n| {
            let token = if n == 77 { vec![7, 7] } else { n.to_be_bytes().repeat(16) };
            house.sealed(&house.reader, 1, EnrolmentId([(n % 256) as u8; 16]), &token, "m")
        })
        .collect();
    let asked: Vec<_> = targets.iter().map(|t| t.enrolment.clone()).collect();
    let outcomes = courier.push(targets).await;
    assert_eq!(outcomes.iter().map(|o| o.enrolment.clone()).collect::<Vec<_>>(), asked);
    for (n, outcome) in outcomes.iter().enumerate() {
        let expected = if n == 77 { PushResult::Unregistered } else { PushResult::Accepted };
        assert_eq!(outcome.result(), expected, "{n}");
    }
    assert_eq!((apns.counts().connections, apns.counts().accepted), (1, 299));
    courier.stop().await;
}

#[tokio::test]
async fn a_connection_that_apple_ends_is_made_anew() {
    let apns = Server::start(loopback()).await.unwrap();
    let house = House::new().for_apns(&apns);
    let mut courier = house.start().await;
    for _ in 0..5 {
        assert_eq!(courier.push_one(house.target(&TOKEN, "m")).await.result(), PushResult::Accepted);
        apns.hang_up();
    }
    assert_eq!(apns.counts().accepted, 5);
    courier.stop().await;
}

#[tokio::test]
async fn while_apple_is_away_pushes_are_for_later_and_one_attempt_serves_them_all() {
    let apns = Server::start(loopback()).await.unwrap();
    let (addr, house) = (apns.addr, House::new().for_apns(&apns));
    drop(apns);
    // The listener goes with the stand-in's task, a moment later.
    while tokio::net::TcpStream::connect(addr).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut courier = house.start().await;
    let outcomes = courier.push((0..50).map(|_| house.target(&TOKEN, "m")).collect()).await;
    for outcome in &outcomes {
        assert_eq!((outcome.result(), outcome.reason.as_str()), (PushResult::Later, "NoConnection"));
        assert!((1..=60_000).contains(&outcome.retry_after_ms));
    }
    assert_eq!(courier.health().await.last_error, "NoConnection");
    courier.stop().await;
}

#[tokio::test]
async fn a_client_certificate_that_apple_does_not_know_is_for_later_not_a_dead_phone() {
    let apns = Server::start(loopback()).await.unwrap();
    let stranger = Server::start(loopback()).await.unwrap();
    let house = House::new().for_apns(&apns);
    house.file("push.pem", &stranger.push_cert_pem);
    house.file("push.key", &stranger.push_key_pem);
    let mut courier = house.start().await;
    assert_eq!(courier.push_one(house.target(&TOKEN, "m")).await.result(), PushResult::Later);
    assert_eq!(apns.counts().accepted, 0);
    courier.stop().await;
}

#[tokio::test]
async fn a_server_that_the_trust_anchors_do_not_know_gets_no_token() {
    let apns = Server::start(loopback()).await.unwrap();
    let house = House::new().for_apns(&apns);
    let other = Server::start(loopback()).await.unwrap();
    house.file("anchor.pem", &other.ca_pem);
    let mut courier = house.start().await;
    assert_eq!(courier.push_one(house.target(&TOKEN, "m")).await.result(), PushResult::Later);
    assert_eq!(apns.counts().connections, 0);
    courier.stop().await;
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_up_without_a_restart() {
    let apns = Server::start(loopback()).await.unwrap();
    let house = House::new().for_apns(&apns);
    let mut courier = house.start().await;
    let before = courier.health().await.certificate_expires_at_ms;
    let until_ms = (SystemClock.now_ms() + 700 * DAY_MS) / 1000 * 1000;
    let renewed = apns.issue(&apns.topic, until_ms).unwrap();
    // The certificate arrives a while before its key: the old one serves on.
    house.file("push.pem", &renewed.cert_pem);
    let half = courier.until(|h| h.last_error.contains("not the key")).await;
    assert_eq!(half.certificate_expires_at_ms, before);
    assert_eq!(courier.push_one(house.target(&TOKEN, "m")).await.result(), PushResult::Accepted);
    house.file("push.key", &renewed.key_pem);
    let after = courier.until(|h| h.certificate_expires_at_ms == until_ms).await;
    assert_eq!(after.last_error, "");
    assert_eq!(courier.push_one(house.target(&TOKEN, "m")).await.result(), PushResult::Accepted);
    assert_eq!(apns.counts().connections, 2);
    courier.stop().await;
}

#[tokio::test]
async fn a_certificate_with_another_topic_is_refused_while_running_and_after_a_restart() {
    let apns = Server::start(loopback()).await.unwrap();
    let house = House::new().for_apns(&apns);
    let mut courier = house.start().await;
    let other = apns.issue("com.apple.mgmt.External.another", SystemClock.now_ms() + 300 * DAY_MS).unwrap();
    house.file("push.pem", &other.cert_pem);
    house.file("push.key", &other.key_pem);
    let health =
        courier.until(|h| h.last_error.contains("its topic is com.apple.mgmt.External.another")).await;
    assert_eq!(health.topic, apns.topic);
    assert_eq!(courier.push_one(house.target(&TOKEN, "m")).await.result(), PushResult::Accepted);
    courier.stop().await;

    let mut courier = house.start().await;
    let outcome = courier.push_one(house.target(&TOKEN, "m")).await;
    assert_eq!((outcome.result(), outcome.reason.as_str()), (PushResult::Later, "CertificateUnusable"));
    assert!(courier.health().await.last_error.contains("its topic is"));
    courier.stop().await;

    let mut house = house;
    house.config.topic = Some("com.apple.mgmt.External.another".into());
    let mut courier = house.start().await;
    assert_eq!(courier.push_one(house.target(&TOKEN, "m")).await.result(), PushResult::Accepted);
    courier.stop().await;
}

#[tokio::test]
async fn health_warns_before_the_certificate_runs_out_and_nothing_is_pushed_after() {
    let apns = Server::start(loopback()).await.unwrap();
    let house = House::new().for_apns(&apns);
    let mut courier = house.start().await;
    house.clock.advance(365 * DAY_MS - 61 * DAY_MS);
    assert_eq!(courier.health().await.last_error, "");
    house.clock.advance(2 * DAY_MS);
    assert!(courier.health().await.last_error.contains("runs out in 5"), "59 or 58 days");
    house.clock.advance(53 * DAY_MS);
    assert!(courier.health().await.last_error.contains("renew it under the same Apple ID"));
    house.clock.advance(10 * DAY_MS);
    assert!(courier.health().await.last_error.contains("has run out"));
    let outcome = courier.push_one(house.target(&TOKEN, "m")).await;
    assert_eq!((outcome.result(), outcome.reason.as_str()), (PushResult::Later, "CertificateExpired"));
    courier.stop().await;
}

#[tokio::test]
async fn without_a_certificate_core_is_told_so() {
    let house = House::new();
    let mut courier = house.start().await;
    let outcome = courier.push_one(house.target(&TOKEN, "m")).await;
    assert_eq!(outcome.result(), PushResult::NotConfigured);
    let health = courier.health().await;
    assert_eq!((health.configured, health.failed, health.last_error.as_str()), (false, 0, ""));
    courier.stop().await;
}

#[tokio::test]
async fn rows_that_were_moved_swapped_or_sealed_by_a_stranger_wake_nobody() {
    let apns = Server::start(loopback()).await.unwrap();
    let house = House::new().for_apns(&apns);
    let mut courier = house.start().await;
    let good = || house.target(&TOKEN, "m");
    let stranger = KeyPairSecret::generate(&SystemRandom::new()).unwrap();
    let bad = vec![
        PushTarget { enrolment: vec![2; 16], ..good() },
        PushTarget { enrolment: vec![], ..good() },
        PushTarget { token: good().magic, magic: good().token, ..good() },
        PushTarget { token: None, ..good() },
        house.sealed(&stranger, 1, PHONE, &TOKEN, "m"),
        // An epoch that the vault has not stated yet.
        house.sealed(&house.reader, 2, PHONE, &TOKEN, "m"),
        PushTarget {
            token: good().token.map(|t| rpc::proto::SealedRow { wrapped_key: vec![1, 0], ..t }),
            ..good()
        },
    ];
    for (n, outcome) in courier.push(bad).await.iter().enumerate() {
        assert_eq!(outcome.result(), PushResult::Unreadable, "{n}");
    }
    assert_eq!(apns.counts().connections, 0);
    courier.stop().await;
}

#[tokio::test]
async fn rows_of_an_older_epoch_still_open_after_the_vault_states_a_new_one() {
    let apns = Server::start(loopback()).await.unwrap();
    let house = House::new().for_apns(&apns);
    let mut courier = house.start().await;
    assert_eq!(courier.push_one(house.target(&TOKEN, "m")).await.result(), PushResult::Accepted);
    let signed = house.statement(2, &house.reader);
    assert_eq!(courier.core.believe(Statement { signed }).await.unwrap().into_inner().epoch, 2);
    let newer = house.sealed(&house.reader, 2, PHONE, &TOKEN, "m");
    for outcome in courier.push(vec![newer, house.target(&TOKEN, "m")]).await {
        assert_eq!(outcome.result(), PushResult::Accepted);
    }
    // Older statements are not believed again.
    let signed = house.statement(1, &house.reader);
    assert_ne!(courier.core.believe(Statement { signed }).await.unwrap().into_inner().refused, "");
    courier.stop().await;
}

#[tokio::test]
async fn a_restarted_core_is_served_over_a_fresh_pair() {
    let apns = Server::start(loopback()).await.unwrap();
    let house = House::new().for_apns(&apns);
    let mut courier = house.start().await;
    assert_eq!(courier.push_one(house.target(&TOKEN, "m")).await.result(), PushResult::Accepted);
    courier.core = core_of(&courier.events);
    assert_eq!(courier.push_one(house.target(&TOKEN, "m")).await.result(), PushResult::Accepted);
    assert_eq!(courier.health().await.accepted, 2);
    courier.stop().await;
}

#[tokio::test]
async fn a_push_under_way_is_finished_before_the_room_stops() {
    let apns = Server::start(loopback()).await.unwrap();
    let house = House::new().for_apns(&apns);
    let courier = house.start().await;
    apns.set_delay(Duration::from_millis(500));
    let mut core = courier.core.clone();
    let targets = vec![house.target(&TOKEN, "m")];
    let pushing = tokio::spawn(async move { core.push(PushRequest { targets }).await });
    while apns.counts().connections == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    courier.stop().await;
    let outcome = pushing.await.unwrap().unwrap().into_inner().outcomes.remove(0);
    assert_eq!(outcome.result(), PushResult::Accepted);
    assert_eq!(apns.counts().accepted, 1);
}

/// The rows of a target as core keeps them.
fn rows(target: &PushTarget) -> Vec<PhoneRow> {
    let row = |row: &Option<rpc::proto::SealedRow>| PhoneRow {
        enrolment: target.enrolment.clone(),
        row: row.clone(),
    };
    vec![row(&target.token), row(&target.magic)]
}

#[tokio::test]
async fn tokens_are_sealed_again_to_a_new_push_key_and_then_the_older_one_is_gone() {
    let apns = Server::start(loopback()).await.unwrap();
    let house = House::new().for_apns(&apns);
    let file = house.config.data_dir.join("push.key");
    let first = std::fs::read(&file).unwrap();
    let target = house.target(&TOKEN, "magic");
    let mut courier = house.start().await;
    courier.until(|h| h.configured && h.last_error.is_empty()).await;
    // Asked twice, and once more after a restart, it is the same key.
    let mut made = Vec::new();
    for _ in 0..2 {
        courier.events.send(RoomEvent::MakeKey(KeyName::Push, 2)).unwrap();
        made.push(courier.supervisor.hears().await);
    }
    courier.stop().await;
    let mut courier = house.start().await;
    courier.events.send(RoomEvent::MakeKey(KeyName::Push, 2)).unwrap();
    made.push(courier.supervisor.hears().await);
    assert!(made.iter().all(|m| *m == made[0]), "{made:?}");
    let ToSupervisor::KeyMade { public, number: 2, .. } = made.remove(0) else { panic!("no key") };
    let public: [u8; 32] = public.try_into().unwrap();
    assert_ne!(public, house.push_key);
    // It is not stated yet: everything is as it was, and nothing is sealed again.
    let answer = courier.core.reseal(ResealRequest { rows: rows(&target) }).await.unwrap().into_inner();
    assert_eq!((answer.rows.len(), answer.lost.len()), (0, 0));
    let needed = Some(vec![KeyName::Push]);
    let signed = house.statement_of(3, &house.reader, public, needed);
    assert_eq!(courier.core.believe(Statement { signed }).await.unwrap().into_inner().epoch, 3);
    assert_eq!(courier.push_one(target.clone()).await.result(), PushResult::Accepted, "the older key serves");
    let forged = house.sealed(&KeyPairSecret::generate(&SystemRandom::new()).unwrap(), 1, PHONE, b"x", "y");
    let asked = ResealRequest { rows: [rows(&target), rows(&forged)].concat() };
    let answer = courier.core.reseal(asked).await.unwrap().into_inner();
    assert_eq!(answer.lost, [2, 3], "what the reader did not seal");
    let again: Vec<_> = answer.rows.into_iter().map(|r| r.row).collect();
    let again =
        PushTarget { enrolment: target.enrolment.clone(), token: again[0].clone(), magic: again[1].clone() };
    assert_ne!(again.token, target.token);
    let twice = ResealRequest { rows: rows(&again) };
    assert_eq!(courier.core.reseal(twice).await.unwrap().into_inner().rows.len(), 0);
    assert_eq!(courier.push_one(again.clone()).await.result(), PushResult::Accepted);
    assert!(std::fs::read(&file).unwrap().windows(32).any(|w| w == first));
    let signed = house.statement_of(3, &house.reader, public, None);
    courier.core.believe(Statement { signed }).await.unwrap();
    assert!(!std::fs::read(&file).unwrap().windows(32).any(|w| w == first));
    assert_eq!(courier.push_one(again.clone()).await.result(), PushResult::Accepted);
    assert_eq!(courier.push_one(target).await.result(), PushResult::Unreadable);
    courier.stop().await;
    let mut courier = house.start().await;
    courier.until(|h| h.configured).await;
    assert_eq!(courier.push_one(again).await.result(), PushResult::Accepted, "over a restart too");
    courier.stop().await;
}

#[tokio::test]
async fn what_the_courier_could_not_destroy_before_it_was_killed_is_destroyed_at_its_next_start() {
    let house = House::new();
    let file = house.config.data_dir.join("push.key");
    let first = std::fs::read(&file).unwrap();
    let mut courier = house.start().await;
    courier.events.send(RoomEvent::MakeKey(KeyName::Push, 2)).unwrap();
    let ToSupervisor::KeyMade { public, .. } = courier.supervisor.hears().await else { panic!("no key") };
    let public: [u8; 32] = public.try_into().unwrap();
    let both = std::fs::read(&file).unwrap();
    // The statement is kept, the keys are as they were: killed between the two.
    let signed = house.statement_of(3, &house.reader, public, None);
    courier.core.believe(Statement { signed }).await.unwrap();
    courier.stop().await;
    std::fs::write(&file, &both).unwrap();
    let mut courier = house.start().await;
    courier.health().await;
    courier.stop().await;
    let after = std::fs::read(&file).unwrap();
    assert!(!after.windows(32).any(|w| w == first) && after.len() < both.len());
}

#[tokio::test]
async fn tokens_that_an_older_reader_sealed_open_while_the_statement_names_it() {
    let apns = Server::start(loopback()).await.unwrap();
    let house = House::new().for_apns(&apns);
    let target = house.target(&TOKEN, "magic");
    let mut courier = house.start().await;
    courier.until(|h| h.configured && h.last_error.is_empty()).await;
    let new = KeyPairSecret::generate(&SystemRandom::new()).unwrap();
    let older = Some(vec![X25519Public(house.reader.public().0)]);
    let signed = house.statement_by(2, &new, house.push_key, None, older);
    courier.core.believe(Statement { signed }).await.unwrap();
    assert_eq!(courier.push_one(target.clone()).await.result(), PushResult::Accepted);
    let asked = ResealRequest { rows: rows(&target) };
    let again = courier.core.reseal(asked).await.unwrap().into_inner();
    assert_eq!((again.rows.len(), again.lost.len()), (2, 0));
    let signed = house.statement(2, &new);
    courier.core.believe(Statement { signed }).await.unwrap();
    assert_eq!(courier.push_one(target).await.result(), PushResult::Unreadable);
    let mut rows = again.rows.into_iter().map(|r| r.row);
    let again =
        PushTarget { enrolment: PHONE.0.to_vec(), token: rows.next().unwrap(), magic: rows.next().unwrap() };
    assert_eq!(courier.push_one(again).await.result(), PushResult::Accepted);
    courier.stop().await;
}
