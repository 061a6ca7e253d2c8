//! `matron drill`: what an intruder in each room could read and do, measured. A scratch house with simulated phones
//! and real load; then, room by room, a real program in the room's place: same sandbox, same descriptors, same
//! keys, free to do what it likes (crate `intruder`, which no crate of the product depends on). The drill believes
//! nothing that it says: records count by values that are known to be true, wiped phones by the phones.

mod fleet;
mod hooks;
mod occupy;
mod outside;
mod report;
mod rooms;
mod scratch;
mod standing;
mod truth;
mod verdict;

use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};

use anyhow::{Context, Result, bail};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use clap::{Args, ValueEnum};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

pub(crate) use scratch::ScratchFolder;

use report::RoomReport;

/// Puts a real intruder into each room of a scratch Matron, and counts what he gets.
#[derive(Debug, Clone, Args)]
pub(crate) struct DrillArgs {
    /// How many simulated phones are enrolled.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(20..=20_000))]
    phones: u32,
    /// Only these; may be given more than once. Without it: all.
    #[arg(long = "room", value_name = "ROOM")]
    rooms: Vec<Taking>,
    /// For how many seconds at least phones go on speaking to a room that is held.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Prints JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// The intruder's program (default: matron-intruder beside this one).
    #[arg(long, value_name = "FILE")]
    intruder: Option<PathBuf>,
    /// Where the scratch folder is made (default: the system's temporary folder).
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Overrides a key of the scratch house's configuration, to see what a wall is worth without it.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// This process was given the drill's own root key, by the one that was started.
    #[arg(long, hide = true)]
    root_key_made: bool,
}

/// What is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Taking {
    #[default]
    Door,
    Reader,
    Core,
    CoreWithGrants,
    Courier,
    Disk,
    Backup,
    Session,
}

impl Taking {
    /// In the order they are drilled: the door last of those that run, since it costs phones, and the disk once the
    /// house has stopped.
    const ALL: [Taking; 8] = [
        Self::Reader,
        Self::Courier,
        Self::Session,
        Self::Backup,
        Self::Core,
        Self::CoreWithGrants,
        Self::Door,
        Self::Disk,
    ];

    /// As the JSON calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Door => "door",
            Self::Reader => "reader",
            Self::Core => "core",
            Self::CoreWithGrants => "core_with_grants",
            Self::Courier => "courier",
            Self::Disk => "disk",
            Self::Backup => "backup",
            Self::Session => "session",
        }
    }
}

/// Where systemd says that it put a service's credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// The drill in a process of its own, which has a root key's credential as a service has it: outside the data folder,
/// named by the environment.
fn with_credential(args: &DrillArgs) -> Result<ExitCode> {
    let elsewhere = ScratchFolder::make(&args.dir.clone().unwrap_or_else(std::env::temp_dir))?;
    let mut secret = [0u8; 32];
    SystemRandom::new().fill(&mut secret).ok().context("no random numbers")?;
    std::fs::write(elsewhere.path().join(crate::root_key::CREDENTIAL), secret)?;
    let mut again = Command::new(std::env::current_exe()?);
    again.args(std::env::args_os().skip(1)).arg("--root-key-made").env(CREDENTIALS, elsewhere.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(until_over(again))?;
    Ok(ExitCode::from(status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(2)))
}

/// Waits for the drill. Told to end, it passes that on and waits all the same: what it made goes with it.
async fn until_over(mut drill: Command) -> Result<ExitStatus> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut child = drill.spawn()?;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(status?),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }
}

/// `matron drill`.
pub(crate) fn run(args: &DrillArgs) -> ExitCode {
    // Never the credential of a real house, which may stand in the environment: the intruder is handed it.
    if !args.root_key_made {
        return with_credential(args).unwrap_or_else(|e| {
            eprintln!("matron: the drill's root key could not be made: {e:#}");
            ExitCode::from(2)
        });
    }
    match drill(args) {
        Ok(rooms) => {
            let kept = rooms.iter().all(|r| r.broken.is_empty());
            if args.json {
                report::print_json(kept, &rooms);
            } else {
                report::print(kept, &rooms);
            }
            ExitCode::from(u8::from(!kept))
        }
        Err(e) => {
            eprintln!("matron: the drill could not be done, so it says nothing of the promises: {e:#}");
            ExitCode::from(2)
        }
    }
}

fn drill(args: &DrillArgs) -> Result<Vec<RoomReport>> {
    let intruder = match &args.intruder {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("matron-intruder"),
    };
    let intruder = std::path::absolute(intruder)?;
    if !intruder.is_file() {
        bail!(
            "there is no intruder at {}; it is no part of the package: build it with 'cargo build --release \
             -p intruder', or say where it is with --intruder",
            intruder.display()
        );
    }
    let parent = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let folder = ScratchFolder::make(&parent)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let wanted = |t: &Taking| args.rooms.is_empty() || args.rooms.contains(t);
    let takings: Vec<Taking> = Taking::ALL.into_iter().filter(wanted).collect();
    runtime.block_on(async {
        let mut scene = rooms::Scene::set(args, &folder, intruder).await.context("the scratch house")?;
        let mut reports = Vec::new();
        for taking in takings {
            eprintln!("drill: {}", taking.name());
            let report = scene.drill(taking).await;
            reports.push(report.with_context(|| format!("with the {} taken", taking.name()))?);
        }
        reports.sort_by_key(|r| r.room);
        Ok(reports)
    })
}
