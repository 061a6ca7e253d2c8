//! The five rooms as processes of this binary, and their one-shot children of the first start.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum;
use model::{Clock, SystemClock};
use rpc::control::{ControlEnd, Entered, RoomEvent, ToRoom, ToSupervisor, introduced};
use rpc::install::{Installed, VaultWants};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::UnboundedReceiver;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// A room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub(crate) enum Room {
    Door,
    Reader,
    Core,
    Vault,
    Courier,
}

impl Room {
    /// In the order they are started.
    pub(crate) const ALL: [Room; 5] = [Self::Vault, Self::Courier, Self::Reader, Self::Core, Self::Door];

    /// Who talks to whom.
    pub(crate) const PAIRS: [(Room, Room); 4] = [
        (Self::Door, Self::Reader),
        (Self::Door, Self::Core),
        (Self::Core, Self::Vault),
        (Self::Core, Self::Courier),
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Door => "door",
            Self::Reader => "reader",
            Self::Core => "core",
            Self::Vault => "vault",
            Self::Courier => "courier",
        }
    }

    /// As the sandbox calls it.
    pub(crate) fn held_as(self) -> sandbox::Room {
        match self {
            Self::Door => sandbox::Room::Door,
            Self::Reader => sandbox::Room::Reader,
            Self::Core => sandbox::Room::Core,
            Self::Vault => sandbox::Room::Vault,
            Self::Courier => sandbox::Room::Courier,
        }
    }
}

/// A step of the first start, or of a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// Makes the room's keys and says their public halves.
    Keys,
    /// Takes what the room has to trust.
    Trust,
    /// Looks at the room's restored folder, and takes note that it was restored.
    Restored,
    /// Core: says a sealed row of its database, for a rehearsal.
    TestRecord,
    /// Vault: tries its keys on that row.
    TryRecord,
}

impl Step {
    /// As the command line has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Trust => "trust",
            Self::Restored => "restored",
            Self::TestRecord => "test-record",
            Self::TryRecord => "try-record",
        }
    }
}

/// What a room is started with: its own part of the configuration, and how to log.
#[derive(Debug, Deserialize)]
pub(crate) struct Started<C> {
    pub(crate) room: C,
    pub(crate) log: crate::config::Log,
    /// Standard error leads into systemd's journal.
    pub(crate) journal: bool,
    /// What the kernel lets it do.
    pub(crate) sandbox: sandbox::Allowed,
}

fn log(room: Room, log: &crate::config::Log, journal: bool) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_new(&log.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match (log.json, journal) {
        (true, _) => lines.json().flatten_event(true).init(),
        (false, false) => lines.with_ansi(false).init(),
        (false, true) => lines
            .with_ansi(false)
            .event_format(JournalLines(Format::default().without_time().with_level(false)))
            .init(),
    }
    tracing::debug!(room = room.name(), pid = std::process::id(), "a room starts");
}

/// Lines for the journal: the priority of sd-daemon(3) before each, no time (the journal has its own).
///
/// Through standard error rather than the journal's own socket: a room that may make no socket keeps
/// its log.
struct JournalLines(Format<Full, ()>);

impl<S, N> FormatEvent<S, N> for JournalLines
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> std::fmt::Result {
        let priority = match *event.metadata().level() {
            tracing::Level::ERROR => 3,
            tracing::Level::WARN => 4,
            tracing::Level::INFO => 6,
            _ => 7,
        };
        write!(writer, "<{priority}>")?;
        self.0.format_event(context, writer, event)
    }
}

/// Runs a room; standard input is its control pair.
pub(crate) fn run(room: Room) -> Result<()> {
    match room {
        Room::Door => enter_and(room, 2, door::back_up, door::run),
        Room::Reader => enter_and(room, 1, reader::back_up, reader::run),
        Room::Core => {
            // The zone's files are out of its reach once it has closed itself in.
            words::read_time_zone();
            enter_and(room, 2, core_room::back_up, |config, control, events| {
                core_room::run(config, control, events, console::front)
            })
        }
        Room::Vault => enter_and(room, 1, vault::back_up, vault::run),
        Room::Courier => enter_and(room, 1, courier::back_up, courier::run),
    }
}

/// How a room writes its part of a backup.
type BackUp<C> = fn(&C, &backup::Request, File) -> Result<backup::Made, backup::BackupError>;

/// Writes a part, and says what came of it.
fn back_up_as_asked<C>(
    config: &C,
    request: serde_json::Value,
    out: File,
    back_up: BackUp<C>,
) -> ToSupervisor {
    let made = serde_json::from_value(request)
        .map_err(|e| e.to_string())
        .and_then(|request| back_up(config, &request, out).map_err(|e| e.to_string()))
        .and_then(|made| serde_json::to_value(made).map_err(|e| e.to_string()));
    match made {
        Ok(made) => ToSupervisor::BackedUp { made, refused: String::new() },
        Err(refused) => ToSupervisor::BackedUp { made: serde_json::Value::Null, refused },
    }
}

/// Writes a room's part while the house does not run; standard input is a control pair.
pub(crate) fn back_up(room: Room) -> Result<()> {
    match room {
        Room::Door => back_up_once(room, door::back_up),
        Room::Reader => back_up_once(room, reader::back_up),
        Room::Core => back_up_once(room, core_room::back_up),
        Room::Vault => back_up_once(room, vault::back_up),
        Room::Courier => back_up_once(room, courier::back_up),
    }
}

fn back_up_once<C: DeserializeOwned>(room: Room, back_up: BackUp<C>) -> Result<()> {
    let control = ControlEnd::from_stdin()?;
    let by_hand = "this is started by 'matron backup', not by hand";
    let Some((ToRoom::Start { config }, handed)) = control.receive()? else { bail!(by_hand) };
    let started: Started<C> = serde_json::from_value(config)?;
    unlock(room, handed)?;
    sandbox::enter(room.held_as(), &started.sandbox)?;
    let Some((ToRoom::BackUp { request }, mut out)) = control.receive()? else { bail!(by_hand) };
    let out = File::from(out.pop().context(by_hand)?);
    control.send(&back_up_as_asked(&started.room, request, out, back_up), &[])?;
    Ok(())
}

fn enter_and<C, E, F>(
    room: Room,
    threads: usize,
    back_up: BackUp<C>,
    run: impl FnOnce(C, ControlEnd, UnboundedReceiver<RoomEvent>) -> F,
) -> Result<()>
where
    C: DeserializeOwned + Clone + Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
    F: Future<Output = Result<(), E>>,
{
    let mut introduced = introduced::<Started<C>>().context("this is a room of Matron")?;
    log(room, &introduced.config.log, introduced.config.journal);
    let unlocked = rpc::at_rest::unlock(room.name(), introduced.root_key.take());
    unlocked.and_then(|()| rpc::hsm::connect(introduced.hsm.take())).inspect_err(|e| {
        let _ = introduced.control.send(&ToSupervisor::Failed { why: e.to_string() }, &[]);
    })?;
    // Before there is a second thread, and before a neighbour or a listener is handed in.
    let held = sandbox::enter(room.held_as(), &introduced.config.sandbox).inspect_err(|e| {
        let _ = introduced.control.send(&ToSupervisor::Failed { why: e.to_string() }, &[]);
    })?;
    tracing::info!(
        room = room.name(),
        sandbox.filters = held.filters,
        sandbox.landlock = held.landlock,
        sandbox.memory_locked = held.memory_locked,
        "the kernel holds the room"
    );
    let Entered { config: started, control, events, mut pings, mut backups } = introduced.enter()?;
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    let runtime = builder.enable_all().build()?;
    let (complain, alive) = (control.try_clone()?, control.try_clone()?);
    // Among the room's own tasks: when they get no turn, neither does this.
    runtime.spawn(async move {
        while pings.recv().await.is_some() {
            let _ = alive.send(&ToSupervisor::Alive, &[]);
        }
    });
    let (of_backups, said) = (started.room.clone(), control.try_clone()?);
    runtime.spawn(async move {
        while let Some((request, out)) = backups.recv().await {
            let config = of_backups.clone();
            // It reads files from end to end: the room goes on with its work.
            let part = move || back_up_as_asked(&config, request, out, back_up);
            if let Ok(answer) = tokio::task::spawn_blocking(part).await {
                let _ = said.send(&answer, &[]);
            }
        }
    });
    let done = runtime.block_on(run(started.room, control, events));
    // What still runs in the background holds nothing that was promised.
    runtime.shutdown_background();
    done.map_err(|e| {
        let why = with_causes(&e);
        let _ = complain.send(&ToSupervisor::Failed { why: why.clone() }, &[]);
        anyhow!(why).context(format!("the {}", room.name()))
    })
}

/// An error with what caused it, each said once: some say their cause themselves.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let causes = std::iter::successors(error.source(), |e| e.source());
    for cause in causes.map(ToString::to_string) {
        if !said.contains(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    said
}

/// Takes what the supervisor handed over, before the sandbox.
fn unlock(room: Room, handed: Vec<OwnedFd>) -> Result<()> {
    let mut handed = handed.into_iter();
    rpc::at_rest::unlock(room.name(), handed.next().map(File::from))?;
    Ok(rpc::hsm::connect(handed.next())?)
}

/// One step of a room's installation: JSON in the control pair's first message and on standard output, public material
/// alone. Held as the room will be: in its folder.
pub(crate) fn install(room: Room, step: Step, dir: &Path, without: &[sandbox::Layer]) -> Result<()> {
    let Some((ToRoom::Start { config: input }, handed)) = ControlEnd::from_stdin()?.receive()? else {
        bail!("this is started by 'matron serve' or 'matron restore', not by hand");
    };
    unlock(room, handed)?;
    let allowed = sandbox::Allowed { without: without.to_vec(), ..sandbox::Allowed::only(dir) };
    sandbox::enter(room.held_as(), &allowed)?;
    let said = match (room, step) {
        (Room::Door, Step::Keys) => serde_json::to_string(&door::prepare(dir)?)?,
        (Room::Reader, Step::Keys) => serde_json::to_string(&reader::prepare(dir)?)?,
        (Room::Courier, Step::Keys) => serde_json::to_string(&courier::prepare(dir)?)?,
        (Room::Vault, Step::Keys) => {
            let wants: VaultWants = serde_json::from_value(input)?;
            serde_json::to_string(&vault::prepare(dir, &wants, SystemClock.now_ms())?)?
        }
        (Room::Core, Step::Keys) => {
            std::fs::create_dir_all(dir)?;
            String::new()
        }
        (Room::Door, Step::Trust) => {
            door::install(dir, &serde_json::from_value::<Installed>(input)?).map(|()| String::new())?
        }
        (Room::Reader, Step::Trust) => {
            reader::install(dir, &serde_json::from_value::<Installed>(input)?).map(|()| String::new())?
        }
        (Room::Courier, Step::Trust) => {
            courier::install(dir, &serde_json::from_value::<Installed>(input)?).map(|()| String::new())?
        }
        (Room::Core, Step::Trust) => {
            core_room::install(dir, &serde_json::from_value::<Installed>(input)?).map(|()| String::new())?
        }
        (Room::Vault, Step::Trust) => bail!("the vault made what the others trust"),
        (Room::Core, Step::Restored) => {
            serde_json::to_string(&core_room::restored(dir, SystemClock.now_ms())?)?
        }
        (Room::Vault, Step::Restored) => serde_json::to_string(&vault::restored(
            dir,
            &serde_json::from_value(input)?,
            SystemClock.now_ms(),
        )?)?,
        (Room::Core, Step::TestRecord) => {
            let found = core_room::find_test_row(dir)?;
            serde_json::to_string(&found.map(|(enrolment, row)| vault::TestRecord {
                enrolment,
                name: row.name,
                compartment: u32::from(row.compartment.number()),
                wrapped_key: row.wrapped_key,
                ciphertext: row.ciphertext,
                mask: row.mask,
                names_of: u64::MAX,
            }))?
        }
        (Room::Vault, Step::TryRecord) => {
            serde_json::to_string(&vault::try_record(dir, &serde_json::from_value(input)?)?)?
        }
        (_, Step::Restored | Step::TestRecord | Step::TryRecord) => {
            bail!("the {} has no such step", room.name())
        }
    };
    println!("{said}");
    Ok(())
}
