//! What simulated phones themselves cost: CPU of their own thread, with the small server of the tests on
//! another. Run with `cargo bench -p simulate`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)] // a bench may fail

#[path = "../tests/house/mod.rs"]
mod house;

use house::House;
use model::{CommandId, SystemClock};
use order::FreeQuery;
use rustix::time::{ClockId, clock_gettime};
use simulate::load::{self, LoadOptions};
use simulate::{Handset, KeyPool, Phone};
use std::sync::Arc;
use std::time::Instant;

const CONNECTIONS: usize = 8;

fn thread_cpu_us() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

fn main() {
    // `cargo test --benches` only wants to know that it builds.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let server = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        server.block_on(async {
            tell.send(House::start().await).unwrap();
            std::future::pending::<()>().await;
        });
    });
    let house = told.recv().unwrap();
    let phones = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    phones.block_on(run(&house));

    let began = Instant::now();
    KeyPool::made(20, 1).unwrap();
    println!("key            {:9.1} ms", began.elapsed().as_secs_f64() * 1e3 / 20.0);
    let began = Instant::now();
    for index in 0..10_000 {
        std::hint::black_box(Handset::of(1, index));
    }
    println!("handset        {:9.1} us", began.elapsed().as_secs_f64() * 1e6 / 10_000.0);
}

async fn run(house: &House) {
    let links: Vec<_> = (0..100).map(|_| house.invite().0).collect();
    let keys = KeyPool::made(4, 1).unwrap();
    let (report, mut phones) = load::enrol(links, 1, &house.network(), &keys, Arc::new(SystemClock), 4).await;
    println!("enrolments     {:9.0} /s, process CPU {:.0} us each", report.per_s, report.client_cpu_us);

    let options = LoadOptions { connections: CONNECTIONS, for_ms: 3000 };
    let before = thread_cpu_us();
    let report = load::idle(&mut phones, options).await;
    let each = (thread_cpu_us() - before) / report.operations as f64;
    println!("idle           {:9.0} /s, phones' CPU {each:.1} us each; {:?}", report.per_s, report.latency);

    let ids: Vec<_> = phones.iter().take(CONNECTIONS).filter_map(Phone::enrolment).collect();
    let mut spent = 0.0;
    let mut before = thread_cpu_us();
    let report = load::round_trips(&mut phones, options, async |round| {
        spent += if round > 0 { thread_cpu_us() - before } else { 0.0 };
        if round == 40 {
            return Err("enough");
        }
        for id in &ids {
            for n in 0..50u8 {
                let mut bytes = [n; 16];
                bytes[..4].copy_from_slice(&round.to_be_bytes());
                house.queue(*id, FreeQuery::DeviceInformation.bytes(CommandId(bytes)));
            }
        }
        before = thread_cpu_us();
        Ok(())
    })
    .await;
    let each = spent / report.operations as f64;
    println!("round trips    {:9.0} /s, phones' CPU {each:.1} us each; {:?}", report.per_s, report.latency);

    for (name, resume) in [("cold", false), ("cold resumed", true)] {
        let before = thread_cpu_us();
        let report = load::cold(&mut phones, LoadOptions { connections: 4, for_ms: 2000 }, resume).await;
        let each = (thread_cpu_us() - before) / report.operations as f64;
        println!("{name:14} {:9.0} /s, phones' CPU {each:.0} us each", report.per_s);
    }
}
