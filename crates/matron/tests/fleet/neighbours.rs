//! A neighbour that is in other hands: whatever it says over its pair, it neither stops a room nor opens anything.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rpc::proto;
use testkit::alone::Alone;

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// No flood takes a room beyond this: a message is 16 MiB at most, and few are under way at once.
const MOST_MEMORY_BYTES: u64 = 512 << 20;

/// Numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// A message in Protobuf's form, of fields that some wall has.
    fn message(&mut self, depth: u8) -> Vec<u8> {
        const FIELDS: [u8; 12] = [1, 2, 3, 4, 5, 6, 7, 20, 21, 30, 40, 50];
        let mut out = Vec::new();
        for _ in 0..self.next() % 8 {
            let field = u64::from(FIELDS[(self.next() % 12) as usize]);
            if self.next().is_multiple_of(3) {
                varint(&mut out, field << 3);
                let number = if self.next().is_multiple_of(2) { self.next() % 8 } else { self.next() };
                varint(&mut out, number);
            } else {
                varint(&mut out, field << 3 | 2);
                let content = match self.next() % 5 {
                    0 if depth > 0 => self.message(depth - 1),
                    1 => self.bytes(16),
                    2 => self.bytes(32),
                    3 => Vec::new(),
                    _ => {
                        let length = (self.next() % 300) as usize;
                        self.bytes(length)
                    }
                };
                varint(&mut out, content.len() as u64);
                out.extend(content);
            }
        }
        out
    }
}

fn varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// gRPC's framing of a message.
fn grpc(message: &[u8]) -> Vec<u8> {
    [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

/// HTTP/2 that is none, or too much of it. `begin` is what the side has to say first.
fn wire(begin: &[u8], dice: &mut Dice) -> Vec<(&'static str, Vec<u8>)> {
    // :method POST, :scheme http, :path /, :authority x
    let head = [0x83, 0x86, 0x84, 0x41, 1, b'x'];
    let settings = frame(4, 0, 0, &[]);
    let hello = [begin, &settings].concat();
    let with = |rest: Vec<u8>| [&hello[..], &rest].concat();
    let streams = |n: u32| (0..n).map(|i| i * 2 + 1);
    vec![
        ("nothing", Vec::new()),
        ("half a beginning", begin[..begin.len() / 2].to_vec()),
        ("noise", dice.bytes(256 << 10)),
        ("noise behind a right beginning", with(dice.bytes(256 << 10))),
        ("a frame of 16 MiB", with([&[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1][..], &vec![0; 1 << 20]].concat())),
        ("settings without end", with(settings.repeat(50_000))),
        ("pings without end", with(frame(6, 0, 0, &[7; 8]).repeat(50_000))),
        (
            "streams begun and reset",
            with(
                streams(20_000)
                    .flat_map(|s| [frame(1, 4, s, &head), frame(3, 0, s, &[0, 0, 0, 8])].concat())
                    .collect(),
            ),
        ),
        (
            "streams begun and never ended",
            with(streams(20_000).flat_map(|s| frame(1, 4, s, &head)).collect()),
        ),
        (
            "headers that go on without end",
            with([frame(1, 0, 1, &head), frame(9, 0, 1, &[0x40, 1, b'a', 1, b'b']).repeat(50_000)].concat()),
        ),
        ("data on no stream", with(frame(0, 0, 77, &[0; 1000]))),
        ("windows beyond their bound", with(frame(8, 0, 0, &[0x7f, 0xff, 0xff, 0xff]).repeat(10))),
        ("a header table of four gigabytes", with(frame(4, 0, 0, &[0, 1, 0xff, 0xff, 0xff, 0xff]))),
        ("good-byes", with(frame(7, 0, 0, &[0; 8]).repeat(1000))),
    ]
}

/// Says it, whatever the room answers, and hangs up.
fn say(pair: &UnixStream, bytes: &[u8]) {
    pair.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    pair.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let hearing = pair.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut sink = vec![0; 64 << 10];
            while matches!((&hearing).read(&mut sink), Ok(1..)) {}
        });
        let _ = (&*pair).write_all(bytes);
    });
}

type Sender = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

async fn dial(pair: UnixStream) -> Sender {
    pair.set_nonblocking(true).unwrap();
    let io = TokioIo::new(tokio::net::UnixStream::from_std(pair).unwrap());
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// A call with this body. What comes back is read for a moment and is nobody's.
async fn call(sender: &mut Sender, path: &str, body: Vec<u8>) {
    let request = http::Request::post(format!("http://pair.invalid{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    let asked = async {
        if let Ok(answer) = sender.send_request(request).await {
            let _ = answer.into_body().collect().await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_millis(200), asked).await;
}

/// The calls of a wall, as its contract lists them.
fn methods(contract: &str, service: &str) -> Vec<String> {
    let rpc = |line: &str| Some(line.trim().strip_prefix("rpc ")?.split('(').next()?.to_owned());
    let all: Vec<String> = contract.lines().filter_map(rpc).collect();
    assert!(!all.is_empty());
    all.into_iter().map(|m| format!("/matron.v1.{service}/{m}")).collect()
}

/// What can be wrong with the body of a call.
fn bodies(dice: &mut Dice) -> Vec<Vec<u8>> {
    let mut all = vec![
        Vec::new(),
        vec![0],
        grpc(&[]),
        // Longer than is said, shorter than is said, by far.
        vec![0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3],
        [grpc(&[]), vec![9; 1000]].concat(),
        // Compressed, as nothing here is; a flag that there is not.
        vec![1, 0, 0, 0, 1, 0],
        vec![7, 0, 0, 0, 1, 0],
        // Beyond the bound.
        grpc(&vec![0; (16 << 20) + 1]),
        // A field that nests without end.
        grpc(&[0x0a; 60_000]),
        // Many in one call.
        (0..2_000).flat_map(|_| grpc(&dice.message(2))).collect(),
        (0..2_000).flat_map(|_| grpc(&[])).collect(),
    ];
    all.extend((0..10).map(|_| grpc(&dice.bytes(500))));
    all.extend((0..30).map(|_| grpc(&dice.message(3))));
    all
}

/// A stopped house whose rooms can be started one by one.
fn stopped() -> House {
    let mut house = House::start(env!("CARGO_BIN_EXE_matron"), &[]).unwrap();
    house.stop().unwrap();
    house
}

fn start(house: &House, room: &str, listener: Option<(&str, &TcpListener)>) -> Alone {
    Alone::start(Path::new(env!("CARGO_BIN_EXE_matron")), house, room, listener).unwrap()
}

/// Everything that can be said to a room that serves this neighbour.
async fn besiege(room: &mut Alone, neighbour: &str, calls: &[String]) {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for (what, bytes) in wire(PREFACE, &mut dice) {
        let pair = room.meet(neighbour).unwrap();
        tokio::task::spawn_blocking(move || say(&pair, &bytes)).await.unwrap();
        assert!(room.is_alive(), "{neighbour}: {what}");
    }
    for path in calls.iter().map(String::as_str).chain(["/", "/matron.v1.Nobody/Nothing"]) {
        let mut sender = dial(room.meet(neighbour).unwrap()).await;
        for body in bodies(&mut dice) {
            if sender.ready().await.is_err() {
                sender = dial(room.meet(neighbour).unwrap()).await;
            }
            call(&mut sender, path, body).await;
        }
        assert!(room.is_alive(), "{neighbour}: {path}");
    }
    assert!(room.most_memory_bytes() < MOST_MEMORY_BYTES, "{} MiB", room.most_memory_bytes() >> 20);
    println!("{neighbour}: at most {} MiB", room.most_memory_bytes() >> 20);
}

fn channel(room: &Alone, neighbour: &str) -> tonic::transport::Channel {
    rpc::pair::channel(room.meet(neighbour).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_core_says_to_the_vault_it_serves_on_and_its_ledger_has_no_entry_more() {
    let house = stopped();
    let mut vault = start(&house, "vault", None);
    let mut client = proto::vault_client::VaultClient::new(channel(&vault, "core"));
    client.current_statement(proto::StatementRequest {}).await.unwrap();
    let before = client.health(proto::VaultHealthRequest {}).await.unwrap().into_inner();
    let calls = methods(include_str!("../../../rpc/proto/vault.proto"), "Vault");
    besiege(&mut vault, "core", &calls).await;
    // Over the first pair, and over a fresh one.
    let fresh = proto::vault_client::VaultClient::new(channel(&vault, "core"));
    for mut client in [client, fresh] {
        let after = client.health(proto::VaultHealthRequest {}).await.unwrap().into_inner();
        assert_eq!(after.entries, before.entries);
        assert!(after.refused_orders > before.refused_orders, "none of it came as far as an order");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_that_is_asked_for_entries_beyond_its_ledger_raises_the_alarm_of_an_older_one() {
    use rpc::alarm::{Alarm, AlarmKind, FRAME_BYTES};
    let house = stopped();
    let vault = start(&house, "vault", None);
    let mut pipe = std::fs::File::from(vault.alarms().unwrap());
    let mut client = proto::vault_client::VaultClient::new(channel(&vault, "core"));
    let health = client.health(proto::VaultHealthRequest {}).await.unwrap().into_inner();
    // What there is may be asked for; core has no alarm from that.
    client.follow(proto::FollowRequest { from: health.entries }).await.unwrap();
    let refused = client.follow(proto::FollowRequest { from: health.entries + 1 }).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::OutOfRange);
    let mut frame = [0; FRAME_BYTES];
    until("an alarm", || std::future::ready(matches!((&pipe).read(&mut frame), Ok(FRAME_BYTES)))).await;
    assert_eq!(Alarm::from_frame(&frame).unwrap().kind, AlarmKind::LedgerOlder);
    assert!(pipe.read(&mut frame).is_err(), "one alarm");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_core_says_to_the_courier_it_serves_on() {
    let house = stopped();
    let mut courier = start(&house, "courier", None);
    let calls = methods(include_str!("../../../rpc/proto/courier.proto"), "Courier");
    besiege(&mut courier, "core", &calls).await;
    let mut client = proto::courier_client::CourierClient::new(channel(&courier, "core"));
    client.health(proto::CourierHealthRequest {}).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_door_says_to_the_reader_it_reads_on() {
    let house = stopped();
    let mut reader = start(&house, "reader", None);
    let calls = methods(include_str!("../../../rpc/proto/reader.proto"), "Reader");
    besiege(&mut reader, "door", &calls).await;
    let mut client = proto::reader_client::ReaderClient::new(channel(&reader, "door"));
    let caps = proto::ScepQuery { operation: proto::ScepOperation::CaCaps.into(), ..Default::default() };
    let asked = proto::ReadRequest {
        call: 5,
        what: Some(proto::read_request::What::Scep(caps)),
        ..Default::default()
    };
    let mut answers = client.read(tokio_stream::iter([asked])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    assert_eq!(answer.call, 5);
    assert!(matches!(answer.what, Some(proto::read_reply::What::ScepBody(_))), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_core_says_to_the_door_it_serves_on() {
    let house = stopped();
    let phones = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut door = start(&house, "door", Some(("phones", &phones)));
    let calls = methods(include_str!("../../../rpc/proto/door.proto"), "Door");
    besiege(&mut door, "core", &calls).await;
    serve_hostile(&mut door, "reader").await;
    let mut client = proto::door_client::DoorClient::new(channel(&door, "core"));
    let counters = client.counters(proto::CountersRequest {}).await.unwrap().into_inner().counters;
    assert!(!counters.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_door_vault_and_courier_say_to_core_it_serves_on_and_follows_nothing_of_it() {
    let house = stopped();
    let administrators = TcpListener::bind("127.0.0.1:0").unwrap();
    let followed = |house: &House| {
        let db = rusqlite::Connection::open(house.data().join("rooms/core/core.db")).unwrap();
        db.query_row("SELECT count(*) FROM ledger_items", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    let before = followed(&house);
    let mut core = start(&house, "core", Some(("administrators", &administrators)));
    for neighbour in ["door", "vault", "courier"] {
        serve_hostile(&mut core, neighbour).await;
        let at = administrators.local_addr().unwrap();
        let answer = tokio::task::spawn_blocking(move || {
            let mut tcp = std::net::TcpStream::connect(at).unwrap();
            tcp.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            tcp.write_all(b"GET /api/v1/health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                .unwrap();
            let mut answer = [0; 12];
            tcp.read_exact(&mut answer).unwrap();
            answer
        });
        assert_eq!(&answer.await.unwrap(), b"HTTP/1.1 401", "{neighbour}");
    }
    drop(core);
    assert_eq!(followed(&house), before);
}

/// Everything that can be answered to a room that asks this neighbour.
async fn serve_hostile(room: &mut Alone, neighbour: &str) {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    for (what, bytes) in wire(b"", &mut dice) {
        let pair = room.meet(neighbour).unwrap();
        tokio::task::spawn_blocking(move || say(&pair, &bytes)).await.unwrap();
        assert!(room.is_alive(), "{neighbour}: {what}");
    }
    for body in bodies(&mut dice) {
        let pair = room.meet(neighbour).unwrap();
        pair.set_nonblocking(true).unwrap();
        let io = TokioIo::new(tokio::net::UnixStream::from_std(pair).unwrap());
        let body = Bytes::from(body);
        let service = service_fn(move |_: http::Request<hyper::body::Incoming>| {
            let body = body.clone();
            async move {
                let answer = http::Response::builder().header("content-type", "application/grpc");
                Ok::<_, Infallible>(answer.body(Full::new(body)).unwrap())
            }
        });
        let serving =
            hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service);
        // In a task of its own: h2 asserts, in debug builds, that a connection that is dropped has no open stream
        // (hyperium/h2#907), and this one may.
        let mut serving = tokio::spawn(serving);
        if tokio::time::timeout(Duration::from_millis(200), &mut serving).await.is_err() {
            serving.abort();
            let _ = serving.await;
        }
        assert!(room.is_alive(), "{neighbour}");
    }
    assert!(room.most_memory_bytes() < MOST_MEMORY_BYTES, "{} MiB", room.most_memory_bytes() >> 20);
    println!("answers of {neighbour}: at most {} MiB", room.most_memory_bytes() >> 20);
}
