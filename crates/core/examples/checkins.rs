//! How fast core answers check-ins, and what CPU it takes for one: a door's stream over a real socket
//! pair, a real database with `synchronous=FULL`. Run it with `--release`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../tests/house/mod.rs"]
mod house;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use house::phone::{Phone, clear};
use house::vault::{FakeVault, sealed};
use house::{House, START_MS};
use model::{CommandId, Compartment, EnrolmentId, LinkHash};
use rpc::proto::core_reply::Answer;
use rpc::proto::{ReportContent, ReportStatus};
use store::{NewCommand, NewInvitation, Store};

const PHONES: u32 = 2_000;
const COMMANDS: u32 = 60;
const AT_ONCE: usize = 512;

fn enrolment(n: u32) -> EnrolmentId {
    let mut id = [7; 16];
    id[..4].copy_from_slice(&n.to_be_bytes());
    EnrolmentId(id)
}

fn command(n: u32) -> CommandId {
    let mut id = [9; 16];
    id[..4].copy_from_slice(&n.to_be_bytes());
    CommandId(id)
}

/// As large as a phone's answer is; `n` is what changed.
fn content(n: u32) -> ReportContent {
    let mut tag = vec![1; 16];
    tag[..4].copy_from_slice(&n.to_be_bytes());
    let sealed_row = |i: u32| {
        let value = if i == 0 { format!("+4477009{n:05}") } else { format!("made up {i}") };
        rpc::row_to(sealed(&format!("Field{i}"), Compartment::Other, &value))
    };
    ReportContent {
        kind: "DeviceInformation".into(),
        change_tag: tag,
        clear: (0..20).map(|i| clear(&format!("Item{i}.Version"), "\"17.5\"")).collect(),
        sealed: (0..14).map(sealed_row).collect(),
        apps: vec![],
    }
}

/// CPU seconds of each thread name.
fn cpu() -> BTreeMap<String, f64> {
    let mut out = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        let Some((head, rest)) = stat.rsplit_once(')') else { continue };
        let name = head.split_once('(').map_or("", |n| n.1).to_owned();
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        *out.entry(name).or_default() += ticks / 100.0;
    }
    out
}

fn fill(dir: &std::path::Path) {
    let store = Store::open(&dir.join(core_room::DATABASE_FILE)).unwrap();
    let done = std::sync::mpsc::channel();
    for chunk in 0..PHONES / 100 {
        let tell = done.0.clone();
        store.write_then(
            move |tx| {
                for n in chunk * 100..(chunk + 1) * 100 {
                    let slot = tx.invite(&NewInvitation {
                        enrolment: enrolment(n),
                        link: LinkHash([1; 32]),
                        group: "ward-7".into(),
                        expires_at_ms: START_MS + 1,
                        invited_at_ms: START_MS,
                    })?;
                    tx.authenticate(slot, &enrolment(n).0, START_MS)?;
                    tx.enrol(slot, START_MS, i64::MAX)?;
                }
                Ok(())
            },
            move |out| tell.send(out).unwrap(),
        );
        done.1.recv().unwrap().unwrap();
    }
}

fn queue(dir: &std::path::Path, from: u32) {
    let store = Store::open(&dir.join(core_room::DATABASE_FILE)).unwrap();
    let done = std::sync::mpsc::channel();
    for c in from..from + COMMANDS {
        let tell = done.0.clone();
        store.write_then(
            move |tx| {
                let number = tx.put_command(&NewCommand {
                    command: command(c),
                    order: None,
                    request_type: "DeviceInformation".into(),
                    query: Some(1),
                    body: vec![],
                    sealed: false,
                    created_at_ms: START_MS,
                    expires_at_ms: i64::MAX,
                })?;
                for n in 0..PHONES {
                    let slot = tx.find_enrolment(enrolment(n))?.unwrap().slot;
                    tx.queue(slot, number, None)?;
                }
                Ok(())
            },
            move |out| tell.send(out).unwrap(),
        );
        done.1.recv().unwrap().unwrap();
    }
}

struct Measured {
    name: &'static str,
    done: u64,
    seconds: f64,
    core_us: f64,
    writer_us: f64,
}

async fn measure<F: Future<Output = u64>>(name: &'static str, work: impl FnOnce() -> F) -> Measured {
    let (before, began) = (cpu(), Instant::now());
    let done = work().await;
    let (seconds, after) = (began.elapsed().as_secs_f64(), cpu());
    let took = |thread: &str| {
        let of = |m: &BTreeMap<String, f64>| m.get(thread).copied().unwrap_or(0.0);
        (of(&after) - of(&before)) * 1e6 / done as f64
    };
    Measured { name, done, seconds, core_us: took("core"), writer_us: took("store-writer") }
}

async fn each_phone<F: Future<Output = u64> + Send + 'static>(work: impl Fn(u32) -> F) -> u64 {
    let places = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..PHONES {
        let (place, phone) = (places.clone().acquire_owned().await.unwrap(), work(n));
        tasks.spawn(async move {
            let _place = place;
            phone.await
        });
    }
    let mut total = 0;
    while let Some(n) = tasks.join_next().await {
        total += n.unwrap();
    }
    total
}

async fn idles(house: Arc<House>) -> u64 {
    let done = Arc::new(AtomicU64::new(0));
    let until = Instant::now() + Duration::from_secs(5);
    let phones = (0..AT_ONCE as u32).map(|n| {
        let (house, done) = (house.clone(), done.clone());
        tokio::spawn(async move {
            let phone = Phone::of(enrolment(n));
            while Instant::now() < until {
                assert_eq!(house.idle(&phone).await, Answer::Plain(200));
                done.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    for p in phones.collect::<Vec<_>>() {
        p.await.unwrap();
    }
    done.load(Ordering::Relaxed)
}

/// Each answer of a phone, durable, with the next command in the reply.
async fn round_trips(house: Arc<House>, change: bool) -> u64 {
    each_phone(|n| {
        let house = house.clone();
        async move {
            let phone = Phone::of(enrolment(n));
            let mut done = 0;
            let mut next = house.idle(&phone).await;
            while let Answer::Free(free) = next {
                let command = rpc::command_id(&free.command).ok();
                let said = content(if change { done } else { 0 });
                next = house.reports(&phone, ReportStatus::Acknowledged, command, Some(said)).await;
                done += 1;
            }
            assert_eq!(next, Answer::Plain(200));
            u64::from(done)
        }
    })
    .await
}

fn main() {
    let runtime = |name: &str| {
        let mut b = tokio::runtime::Builder::new_multi_thread();
        b.worker_threads(1).enable_all().thread_name(name).build().unwrap()
    };
    let (core, door) = (runtime("core"), runtime("door"));
    let temp = tempfile::tempdir().unwrap();
    fill(temp.path());
    let mut all = vec![];
    // A core of its own for each, since what waits is read at the start.
    for (n, name) in
        ["idle", "round trip, nothing changed", "round trip, one field changed"].into_iter().enumerate()
    {
        if n > 0 {
            queue(temp.path(), n as u32 * COMMANDS);
        }
        all.push(door.block_on(async {
            let dir = temp.path().to_owned();
            let house = Arc::new(House::start_on(core.handle(), dir, FakeVault::new(), false).await);
            house.idle(&Phone::of(enrolment(0))).await;
            let work = house.clone();
            let m = match n {
                0 => measure(name, || idles(work)).await,
                _ => measure(name, || round_trips(work, n == 2)).await,
            };
            let Ok(house) = Arc::try_unwrap(house) else { panic!("still in use") };
            house.stop().await;
            m
        }));
    }
    println!("{:<32}{:>10}{:>12}{:>14}{:>16}", "", "calls", "per second", "core, µs CPU", "writer, µs CPU");
    for m in all {
        let rate = m.done as f64 / m.seconds;
        println!("{:<32}{:>10}{:>12.0}{:>14.1}{:>16.1}", m.name, m.done, rate, m.core_us, m.writer_us);
    }
}
