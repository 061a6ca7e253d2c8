//! `matron bench`: how fast, and what it costs. A scratch house on this machine, real TLS with client
//! certificates on kept connections, SQLite with `synchronous=FULL`; phones and rooms share the cores.

pub(crate) mod admin;
pub(crate) mod backup;
pub(crate) mod bare;
mod compare;
mod large;
mod pages;
mod sandbox_cost;
mod scratch;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use compare::{Compared, beside_bare};
use large::Large;
use model::{Command, Duty, EnrolmentId, Setting, SystemClock};
use order::OrderKind;
use serde::Serialize;
use simulate::load::{self, LoadOptions, LoadReport};
use simulate::{KeyPool, Network, Phone};

use admin::Admin;
use scratch::Scratch;

/// Measures a scratch Matron on this machine.
#[derive(Debug, Clone, Args)]
pub(crate) struct BenchArgs {
    /// How many phones enrol and speak.
    #[arg(long, default_value_t = 1000)]
    phones: u32,
    /// How many are enrolled in all: those beyond the ones that speak are written in bulk.
    #[arg(long, default_value_t = 0)]
    enrolled: u64,
    /// With --enrolled: how many finished commands each of those has in the queue.
    #[arg(long, default_value_t = 10)]
    history: u32,
    /// How many of them keep a connection at once.
    #[arg(long, default_value_t = 128)]
    connections: usize,
    /// How long each load is measured.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Prints JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Where the scratch house's folder is made (default: the system's temporary folder).
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Without seccomp and Landlock, to see what they cost.
    #[arg(long)]
    without_sandbox: bool,
    /// Instead of all else: idle check-ins by turns in two houses, one with the sandbox and one without.
    #[arg(long, conflicts_with_all = ["without_sandbox", "enrolled"])]
    sandbox_cost: bool,
}

const WITHOUT_SANDBOX: &str = r#"sandbox.danger_without=["seccomp", "landlock"]"#;

/// Queries of one refill; each phone gets all of them.
const QUERIES: [&str; 5] =
    ["SecurityInfo", "ProfileList", "CertificateList", "ManagedApplicationList", "DeviceInformation"];

/// So many orders at once for the phones, each for all of them.
const ORDERS: usize = 8;

/// One load, with what each room spent on it.
#[derive(Debug, Serialize)]
struct Measured {
    #[serde(flatten)]
    load: LoadReport,
    /// CPU time an operation, in microseconds, by process.
    cpu_us: BTreeMap<String, f64>,
}

/// All figures.
#[derive(Debug, Serialize)]
struct Figures {
    idle_per_s: f64,
    round_trips_per_s: f64,
    warranted_per_s: f64,
    enrolments_per_s: f64,
    cold_per_s: f64,
    cold_share_of_rustls: f64,
    idle_share_of_echo: f64,
    peak_rss_mb: f64,
    /// Of an idle check-in, by room.
    cpu_us: BTreeMap<String, f64>,
    peak_rss_mb_by_room: BTreeMap<String, f64>,
    idle: Measured,
    round_trips: Measured,
    warranted: Measured,
    enrolments: Measured,
    /// A full handshake for each check-in; beside bare rustls.
    cold: Compared,
    /// Idle check-ins beside bare rustls and hyper.
    idle_beside_echo: Compared,
    phones: u32,
    /// Whether the kernel held the rooms to their tasks.
    sandbox: bool,
    /// With --enrolled.
    large: Option<Large>,
    release_build: bool,
}

/// Runs a load and shares out the rooms' CPU time over its operations.
async fn measured(house: &Scratch, load: impl Future<Output = LoadReport>) -> Result<Measured> {
    let before = house.cpu_us();
    let load = load.await;
    let after = house.cpu_us();
    if load.operations == 0 {
        bail!("'{}' came to nothing: {:?}", load.name, load.examples);
    }
    let share = |(room, used): (String, u64)| {
        let spent = used.saturating_sub(before.get(&room).copied().unwrap_or(0));
        (room, spent as f64 / load.operations as f64)
    };
    let mut cpu_us: BTreeMap<String, f64> = after.into_iter().map(share).collect();
    cpu_us.insert("phones".into(), load.client_cpu_us);
    Ok(Measured { load, cpu_us })
}

/// `matron bench`.
pub(crate) fn bench(args: &BenchArgs) -> Result<()> {
    let parent = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let dir = parent.join(format!("matron-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).with_context(|| format!("the scratch folder {}", dir.display()))?;
    load::allow_connections(args.connections).map_err(|e| anyhow::anyhow!("{e}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if args.sandbox_cost {
        let done = sandbox_cost::measure(args, &dir, &runtime);
        let _ = std::fs::remove_dir_all(&dir);
        return done;
    }
    let recipient = backup::recipient(&dir)?;
    let mut settings = vec![recipient.clone()];
    settings.extend(args.without_sandbox.then(|| WITHOUT_SANDBOX.to_owned()));
    let done =
        Scratch::start(&dir, settings).and_then(|house| runtime.block_on(run(args, house, &recipient)));
    let _ = std::fs::remove_dir_all(&dir);
    let figures = done?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        print(&figures);
    }
    Ok(())
}

fn say(text: &str) {
    eprintln!("bench: {text}");
}

/// An administrator, and a fleet that enrolled over the network.
async fn enrolled(args: &BenchArgs, house: &Scratch) -> Result<(Admin, Vec<Phone>, Measured)> {
    let admin = Admin::join(&house.administrators.to_string(), &house.token).await?;
    let anchors = std::fs::read(house.ca_pem())?;
    let network = Network::trusting(&anchors).map_err(|e| anyhow::anyhow!("{e}"))?;

    // One signature is good for less than what is measured here.
    admin.lift(&[Duty::Invite, Duty::Configure, Duty::Search]).await?;
    say(&format!("inviting {} people", args.phones));
    let mut links = Vec::new();
    for person in simulate::people(1, args.phones) {
        links.push(admin.invite(&person.name, &person.email).await?);
    }
    say("making the phones' keys beforehand");
    let keys = KeyPool::made(args.phones.min(64) as usize, 2).map_err(|e| anyhow::anyhow!("{e}"))?;
    say("enrolling");
    let mut phones = Vec::new();
    let enrolling = async {
        let (report, enrolled) = load::enrol(links, 1, &network, &keys, Arc::new(SystemClock), 16).await;
        phones = enrolled;
        report
    };
    let enrolments = measured(house, enrolling).await?;
    say("answering the first inventory, unmeasured");
    drain(&mut phones, args.connections).await;
    Ok((admin, phones, enrolments))
}

async fn run(args: &BenchArgs, mut house: Scratch, recipient: &str) -> Result<Figures> {
    let (mut admin, mut phones, enrolments) = enrolled(args, &house).await?;
    let options = |seconds: u64| LoadOptions { connections: args.connections, for_ms: seconds * 1000 };
    let mut large = None;
    if args.enrolled > u64::from(args.phones) {
        let (again, made) =
            large::around(house, &mut admin, &phones, args.enrolled, args.history, recipient).await?;
        (house, large) = (again, Some(made));
    }
    let house = &house;
    say("idle check-ins");
    load::idle(&mut phones, options(1)).await;
    let idle = measured(house, load::idle(&mut phones, options(args.seconds))).await?;

    say("command round trips");
    let busy: Vec<EnrolmentId> = phones.iter().take(args.connections).filter_map(Phone::enrolment).collect();
    let round_trips = {
        let refill = async |_round: u32| -> Result<()> { admin.ask(&QUERIES, &busy).await.map(drop) };
        measured(house, load::round_trips(&mut phones, options(args.seconds), refill)).await?
    };

    say("warranted commands");
    let warranted = {
        // Mild, and the same each time: what is measured is the way of an order, not its effect.
        let setting = Command::Settings { items: vec![Setting::DataRoaming { enabled: false }] };
        let refill = async |_round: u32| -> Result<()> {
            for _ in 0..ORDERS {
                let kind = OrderKind::Command { command: setting.clone() };
                admin.order(kind, busy.clone(), None).await?;
            }
            Ok(())
        };
        measured(house, load::round_trips(&mut phones, options(args.seconds), refill)).await?
    };

    say("cold check-ins, beside bare rustls");
    let cold = beside_bare(house, &mut phones, args.connections.min(32), args.seconds, true).await?;
    say("idle check-ins, beside bare rustls and hyper");
    let beside = beside_bare(house, &mut phones, args.connections, args.seconds, false).await?;

    let rss = house.peak_rss_bytes();
    let mb = |bytes: u64| bytes as f64 / 1_048_576.0;
    Ok(Figures {
        idle_per_s: idle.load.per_s,
        round_trips_per_s: round_trips.load.per_s,
        warranted_per_s: warranted.load.per_s,
        enrolments_per_s: enrolments.load.per_s,
        cold_per_s: cold.house.per_s,
        cold_share_of_rustls: cold.share,
        idle_share_of_echo: beside.share,
        peak_rss_mb: mb(rss.values().sum()),
        cpu_us: idle.cpu_us.clone(),
        peak_rss_mb_by_room: rss.into_iter().map(|(room, bytes)| (room, mb(bytes))).collect(),
        idle,
        round_trips,
        warranted,
        enrolments,
        cold,
        idle_beside_echo: beside,
        phones: args.phones,
        sandbox: !args.without_sandbox,
        large,
        release_build: !cfg!(debug_assertions),
    })
}

/// Lets every phone answer what waits for it.
async fn drain(phones: &mut Vec<Phone>, connections: usize) {
    let options = LoadOptions { connections, for_ms: 60_000 };
    let mut rounds = 0;
    while rounds < phones.len() {
        // One lap over the next phones; those that answered go to the end of the line.
        let nothing =
            async |round: u32| -> Result<(), String> { if round == 0 { Ok(()) } else { Err("done".into()) } };
        load::round_trips(phones, options, nothing).await;
        let by = connections.min(phones.len()).max(1);
        phones.rotate_left(by);
        rounds += by;
    }
}

fn print(f: &Figures) {
    println!(
        "Matron bench: {} phones, {} connections, TLS with client certificates, SQLite FULL",
        f.phones, f.idle.load.connections
    );
    if !f.release_build {
        println!("NOTE: a debug build; figures count only from 'cargo build --release'");
    }
    if !f.sandbox {
        println!("NOTE: without the sandbox");
    }
    println!();
    let loads = [
        (&f.idle, "idle check-ins"),
        (&f.round_trips, "command round trips"),
        (&f.warranted, "warranted commands"),
        (&f.enrolments, "enrolments"),
    ];
    let row = |what: &str, per_s: f64, p50_us: u64, p99_us: u64, errors: u64| {
        println!("{what:<22}{per_s:>10.0}/s   p50 {p50_us:>6} µs   p99 {p99_us:>7} µs   errors {errors}");
    };
    for (m, what) in loads {
        row(what, m.load.per_s, m.load.latency.p50_us, m.load.latency.p99_us, m.load.errors);
    }
    for (c, what, bare) in [
        (&f.cold, "cold check-ins", "bare rustls"),
        (&f.idle_beside_echo, "idle, by turns", "bare rustls + hyper"),
    ] {
        row(what, c.house.per_s, c.house.p50_us, c.house.p99_us, c.house.errors);
        row(&format!("  {bare}"), c.bare.per_s, c.bare.p50_us, c.bare.p99_us, c.bare.errors);
        println!("  share {:.2}", c.share);
    }
    println!("\nCPU an operation, µs");
    println!(
        "{:<12}{:>10}{:>12}{:>12}{:>12}{:>10}{:>10}",
        "", "idle", "round trip", "warranted", "enrolment", "cold", "peak MB"
    );
    for room in ["door", "reader", "core", "vault", "courier", "supervisor", "phones"] {
        let of = |m: &BTreeMap<String, f64>| m.get(room).copied().unwrap_or(0.0);
        let mb = f.peak_rss_mb_by_room.get(room).map(|mb| format!("{mb:.0}")).unwrap_or_default();
        println!(
            "{room:<12}{:>10.1}{:>12.1}{:>12.1}{:>12.0}{:>10.0}{mb:>10}",
            of(&f.idle.cpu_us),
            of(&f.round_trips.cpu_us),
            of(&f.warranted.cpu_us),
            of(&f.enrolments.cpu_us),
            of(&f.cold.house.cpu_us),
        );
    }
    let bare = |c: &Compared| c.bare.cpu_us.get("bare").copied().unwrap_or(0.0);
    println!("{:<12}{:>10.1}{:>46.0}", "bare server", bare(&f.idle_beside_echo), bare(&f.cold));
    println!("{:<12}{:>66.0}", "together", f.peak_rss_mb);
    if let Some(large) = &f.large {
        large.print();
    }
    for (m, _) in loads {
        for (kind, example) in &m.load.examples {
            println!("{}: {kind}: {example}", m.load.name);
        }
    }
}
