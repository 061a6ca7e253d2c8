//! `cargo bench -p vault`: the vault's room as core asks it, over its pair, with its ledger durable: how long one opening
//! under a grant takes, alone and among others, and how many of core's words become durable entries in a second.
//! The vault lies under the build's target directory; set `TMPDIR` to measure another disk.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use apple::x509::{P256Signer, RsaSigner, Signer as _};
use aws_lc_rs::rand::SystemRandom;
use ledger::Body;
use model::{Clock, CommandId, Compartment, Digest, EnrolmentId, Group, OrderId, Role, SystemClock};
use order::{
    Ed25519Secret, InviteAnswer, InviteSecrets, JoinSecrets, Order, OrderKind, SignedOrder, SignedStatement,
    X25519Public, encode, sha256,
};
use rpc::control::{RoomEvent, neighbours, pair};
use rpc::install::{CourierPublic, DoorPublic, ReaderPublic, VaultWants};
use rpc::proto;
use rpc::proto::vault_client::VaultClient;
use seal::{CompartmentPublic, KeyPairSecret, PublicKey, Sealer, to};
use tonic::transport::Channel;

const HOUR_MS: i64 = model::clock::HOUR_MS;
/// What two administrators may open together in an hour is 5,000.
const OPENINGS: usize = 1_600;
const SESSION: Digest = Digest([5; 32]);

/// The vault in this process, with the keys of the rooms around it.
struct House {
    client: VaultClient<Channel>,
    order_key: PublicKey,
    reader: KeyPairSecret,
    publics: Vec<CompartmentPublic>,
    answers: KeyPairSecret,
    orders: u8,
}

impl House {
    async fn order(&mut self, keys: &[&Ed25519Secret], kind: OrderKind, secrets: Option<&[u8]>) -> Vec<u8> {
        self.orders += 1;
        let (id, rng, now_ms) = (OrderId([self.orders; 16]), SystemRandom::new(), SystemClock.now_ms());
        let seal = |s| to::seal(&self.order_key, to::INFO_ORDER_ARGS, id.as_bytes(), s, &rng).unwrap();
        let sealed = secrets.map(seal).unwrap_or_default();
        let order = Order {
            version: Order::VERSION,
            id,
            kind,
            targets: vec![],
            reason: "measuring".into(),
            made_at_ms: now_ms,
            expires_at_ms: now_ms + HOUR_MS,
            answer_key: X25519Public(self.answers.public().0),
            sealed_digest: secrets.map(|_| sha256(&sealed)),
            outline: None,
        };
        let mut signed = SignedOrder::sign(&order, keys[0]);
        keys[1..].iter().for_each(|key| signed.add_signature(key));
        let submission = proto::Submission {
            signed_order: encode(&signed),
            sealed_arguments: sealed,
            ..Default::default()
        };
        let outcome = self.client.submit(submission).await.unwrap().into_inner();
        assert_eq!(outcome.refusal, 0);
        if outcome.sealed_answer.is_empty() {
            return Vec::new();
        }
        to::open(&self.answers, to::INFO_ORDER_ANSWER, id.as_bytes(), &outcome.sealed_answer)
            .unwrap()
            .to_vec()
    }
}

async fn house(dir: &std::path::Path) -> (House, Ed25519Secret) {
    let (rng, now_ms) = (SystemRandom::new(), SystemClock.now_ms());
    let make = || KeyPairSecret::generate(&rng).unwrap();
    let (reader, door, push) = (make(), make(), make());
    let (tls, ra) = (P256Signer::generate().unwrap(), RsaSigner::generate().unwrap());
    let wants = VaultWants {
        door: DoorPublic { tls_spki: tls.spki_der().to_vec(), delivery_key: door.public().0 },
        reader: ReaderPublic { ra_spki: ra.spki_der().to_vec(), sender_key: reader.public().0 },
        courier: CourierPublic { push_key: push.public().0 },
        tls_names: vec!["mdm.example.org".into()],
    };
    let installed = vault::prepare(dir, &wants, now_ms).unwrap();
    let config = vault::Config {
        data_dir: dir.into(),
        base_url: "https://mdm.example.org".into(),
        organization: "Example Hospital".into(),
        organization_phone: None,
        topic: "com.apple.mgmt.External.made-up".into(),
        unsigned_profiles: false,
        admit_old_algorithms: false,
        certificate_days: 730,
        sign_messages: false,
    };
    let (control, supervisor) = pair().unwrap();
    let (events, heard) = tokio::sync::mpsc::unbounded_channel();
    let (ours, theirs) = neighbours().unwrap();
    events.send(RoomEvent::Peer("core".into(), theirs.into())).unwrap();
    tokio::spawn(async move {
        vault::run(config, control, heard).await.unwrap();
        drop((supervisor, events));
    });
    let mut client = VaultClient::new(rpc::pair::channel(ours.into()).unwrap());
    let said = client.current_statement(proto::StatementRequest {}).await.unwrap().into_inner().signed;
    let signed: SignedStatement = order::decode(&said).unwrap();
    let statement = signed.verify(&installed.root_key, SystemClock.now_ms(), 0).unwrap();
    let public = |(compartment, key): &(Compartment, X25519Public)| CompartmentPublic {
        compartment: *compartment,
        epoch: statement.epoch,
        key: PublicKey(key.0),
    };
    let publics = statement.compartments.iter().map(public).collect();
    let order_key = PublicKey(statement.order_key.0);
    let seed: Digest = installed.first_token.split('-').nth(2).unwrap().parse().unwrap();
    let house = House { client, order_key, reader, publics, answers: make(), orders: 0 };
    (house, Ed25519Secret::from_seed(seed.0).unwrap())
}

fn percentile(sorted: &[Duration], of: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * of) as usize].as_secs_f64() * 1000.0
}

/// What the disk takes by itself for the same: so many bytes appended to a file, and `fdatasync`.
fn disk_alone(dir: &std::path::Path, bytes: u64) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(dir.join("alone")).unwrap();
    let one = vec![7; usize::try_from(bytes).unwrap()];
    let mut took: Vec<Duration> = (0..OPENINGS)
        .map(|_| {
            let at = Instant::now();
            file.write_all(&one).unwrap();
            file.sync_data().unwrap();
            at.elapsed()
        })
        .collect();
    took.sort_unstable();
    println!(
        "the disk alone, {bytes} bytes: {:.2} ms (median), {:.2} ms (99th percentile), {:.2} ms (slowest)",
        percentile(&took, 0.5),
        percentile(&took, 0.99),
        percentile(&took, 1.0)
    );
}

/// Opens the row so often, so many calls under way at once.
async fn openings(house: &House, row: &proto::PhoneRow, at_once: usize) {
    let begun = Instant::now();
    let callers = (0..at_once).map(|_| {
        let (mut client, row) = (house.client.clone(), row.clone());
        tokio::spawn(async move {
            let mut took = Vec::new();
            for _ in 0..OPENINGS / at_once {
                let used = proto::GrantUse {
                    session: SESSION.0.to_vec(),
                    open: vec![row.clone()],
                    sealed_search: vec![],
                };
                let at = Instant::now();
                let answer = client.use_grant(used).await.unwrap().into_inner();
                took.push(at.elapsed());
                assert_eq!((answer.refusal, answer.opened.len()), (0, 1));
            }
            took
        })
    });
    let mut took = Vec::new();
    for caller in callers.collect::<Vec<_>>() {
        took.extend(caller.await.unwrap());
    }
    let rate = took.len() as f64 / begun.elapsed().as_secs_f64();
    took.sort_unstable();
    println!(
        "an opening, {at_once:>2} at once: {:.2} ms (median), {:.2} ms (99th percentile), {:.2} ms (slowest), {rate:.0}/s",
        percentile(&took, 0.5),
        percentile(&took, 0.99),
        percentile(&took, 1.0)
    );
}

/// Core's words, a thousand a call as core brings them, so many calls under way at once.
async fn words(house: &House, phone: EnrolmentId, at_once: u64) {
    const WORDS: u64 = 1_000;
    const CALLS: u64 = 20;
    let begun = Instant::now();
    let callers = (0..at_once).map(|caller| {
        let mut client = house.client.clone();
        tokio::spawn(async move {
            for call in 0..CALLS {
                let first = ((at_once * 100 + caller) * CALLS + call) * WORDS;
                let numbers: Vec<u64> = (first..first + WORDS).collect();
                let word = |n: &u64| {
                    let mut command = [0; 16];
                    command[..8].copy_from_slice(&n.to_be_bytes());
                    encode(&Body::CommandFinished {
                        enrolment: phone,
                        command: CommandId(command),
                        status: 2,
                    })
                };
                let bodies = numbers.iter().map(word).collect();
                client.witness(proto::CoreWords { bodies, numbers }).await.unwrap();
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let entries = at_once * CALLS * WORDS;
    let rate = entries as f64 / begun.elapsed().as_secs_f64();
    println!("core's words, 1,000 a call, {at_once} at once: {rate:.0} durable entries/s");
}

fn main() {
    let at = std::env::var("TMPDIR").unwrap_or(env!("CARGO_TARGET_TMPDIR").to_owned());
    let dir = tempfile::TempDir::new_in(at).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut house, token) = house(dir.path()).await;
        let [ada, ben] = [[42; 32], [43; 32]].map(|seed| Ed25519Secret::from_seed(seed).unwrap());
        let name = |name: &str| encode(&JoinSecrets { name: name.into() });
        house
            .order(&[&token], OrderKind::JoinFirst { key: ada.person_key() }, Some(&name("Ada Example")))
            .await;
        let kind = OrderKind::AddPerson { key: ben.person_key(), role: Role::Administrator, group: None };
        house.order(&[&ada], kind, Some(&name("Ben Example"))).await;
        let kind = OrderKind::Invite { group: Group::new("ward-7").unwrap(), valid_ms: HOUR_MS };
        let invited = InviteSecrets { name: "Grace Example".into(), email: "grace@example.org".into() };
        let answer = house.order(&[&ada], kind, Some(&encode(&invited))).await;
        let phone = order::decode::<InviteAnswer>(&answer).unwrap().enrolment;
        let kind = OrderKind::Grant {
            session: SESSION,
            records: 5_000,
            searches: 0,
            compartments: vec![Compartment::Identity],
            valid_ms: HOUR_MS,
        };
        house.order(&[&ada, &ben], kind, None).await;
        let mut sealer = Sealer::new(house.reader.clone(), house.publics.clone());
        let row = sealer.seal(
            &SystemRandom::new(),
            SystemClock.now_ms(),
            &phone,
            "DeviceName",
            Compartment::Identity,
            b"a made-up phone",
            String::new(),
            vec![],
        );
        let row = proto::PhoneRow { enrolment: phone.0.to_vec(), row: Some(rpc::row_to(row.unwrap())) };
        let ledger = || dir.path().join(ledger::FILE_NAME).metadata().unwrap().len();
        let before = ledger();
        openings(&house, &row, 1).await;
        let bytes = (ledger() - before) / OPENINGS as u64;
        disk_alone(dir.path(), bytes);
        openings(&house, &row, 1).await;
        disk_alone(dir.path(), bytes);
        openings(&house, &row, 16).await;
        for at_once in [1, 4] {
            words(&house, phone, at_once).await;
        }
    });
}
