//! The supervisor: holds no key, binds the listeners, starts the rooms, hands each the descriptors
//! it needs, starts again what died, and lets everything finish at the end.

mod backups;
pub(crate) mod drilled;
mod ending;
mod first_start;
mod room_keys;
mod systemd;
mod token;
mod users;

pub(crate) use first_start::one_shot;
pub(crate) use users::of as owner_to_be;

use std::collections::HashMap;
use std::io::Write;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rpc::alarm;
use rpc::control::{ControlEnd, ToRoom, ToSupervisor, neighbours, pair};
use rpc::hsm::Make;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::Place;
use crate::config::Config;
use crate::rooms::Room;
use crate::root_key::Unlocking;

/// How long rooms may take to finish what is under way.
const DRAIN: Duration = Duration::from_secs(12);
/// How long rooms whose supervisor was killed are waited for: they finish what is under way too.
const ORPHANS: Duration = Duration::from_secs(30);
/// The longest pause before a room that keeps dying is started again.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The most characters of a room's last words that are shown.
const MOST_SHOWN_CHARS: usize = 2000;
/// The most messages one life of a room may send: it says that it is ready, and why it ends; and once a
/// backup that it is asked for.
const MOST_SAID: usize = 16;

/// How often a room is asked whether it is alive.
const PING: Duration = Duration::from_secs(2);
/// A room that has not answered for so long is ended and started again. Long: a machine that is out of
/// breath must not lose rooms to its own supervisor.
const HUNG: Duration = Duration::from_secs(20);

/// How long the last words of a room that has ended are waited for.
const LAST_WORDS: Duration = Duration::from_secs(1);

enum Event {
    Said(Room, u64, ToSupervisor),
    Died(Room, u64, String),
    StartAgain(Room),
    /// A room is to write its part of a backup into this file.
    AskPart(Room, serde_json::Value, std::fs::File),
    BackupEnded(crate::backups::Name, Result<()>),
    /// What the token's process says, and at last that it has ended; of which life of it.
    TokenSaid(u64, Option<rpc::hsm::ToSupervisor>),
    /// The token was to be opened again.
    TokenOpened(Result<crate::pkcs11::Process>),
    /// A drill puts a program into a room's place, or the room itself again.
    Take(Room, Option<drilled::Taken>),
    /// A drill is over.
    End,
}

struct Living {
    control: ControlEnd,
    generation: u64,
    started: Instant,
    ready: bool,
    /// When it last answered, in milliseconds since it was started.
    answered_ms: Arc<AtomicU64>,
    /// How many messages it may send in this life.
    may_say: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
}

struct Supervisor {
    config: Config,
    unlocking: Unlocking,
    token: token::Watched,
    rooms_dir: PathBuf,
    listeners: HashMap<Room, Vec<(&'static str, TcpListener)>>,
    /// The ends of the pipe for alarms: where the courier reads, where the vault writes. One pipe for all their
    /// lives, so that what stands in it waits for a courier that is away.
    alarms: HashMap<Room, OwnedFd>,
    living: HashMap<Room, Living>,
    was_ready: HashMap<Room, bool>,
    failures: HashMap<Room, u32>,
    generation: u64,
    /// Standard error leads into the journal.
    journal: bool,
    backup: Option<backups::UnderWay>,
    /// Empty but in a drill.
    taken: HashMap<Room, drilled::Taken>,
    /// What the vault said last of keys that rooms are to make.
    wanted: room_keys::Wanted,
    /// In a drill deaths are meant.
    quiet: bool,
    events: mpsc::UnboundedSender<Event>,
}

/// `matron serve`.
pub(crate) fn serve(place: &Place) -> Result<()> {
    let config = Config::read(place)?;
    let data = std::path::absolute(&place.data).context("the data folder")?;
    std::fs::create_dir_all(&data).with_context(|| format!("the data folder {}", data.display()))?;
    sandbox::keep_descriptors();
    let _lock = lock(&data)?;
    hold(&config)?;
    look_for_a_restore(&data)?;
    let _ = std::fs::remove_file(data.join(crate::backups::REQUEST_FILE));
    let handed = systemd::handed_sockets()?;
    let phones = listener(handed.phones, "phones", config.phones.listen)?;
    let administrators = listener(handed.administrators, "administrators", config.administrators.listen)?;
    let acme = match config.acme_listen() {
        Some(at) => Some(listener(handed.acme, "acme", at)?),
        None => None,
    };
    let rooms_dir = data.join("rooms");
    if !rooms_dir.exists() {
        if systemd::to_journal() {
            bail!(
                "{}: there is no Matron in this folder yet, and what makes one says a secret that must not \
                 stand in a log; as this service's user run 'matron init' in a terminal, then start again",
                data.display()
            );
        }
        make(&config, &data)?;
    }
    crate::pkcs11::made(&data)?;
    let unlocking = Unlocking::open(&config, &data, Make::No)?;
    users::give(&config, &data)?;
    allow_connections(config.phones.connections);
    println!("phones          {} (as {})", phones.local_addr()?, config.base_url);
    println!("administrators  {}", administrators.local_addr()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listeners = listeners(phones, administrators, acme);
    let house = (config, unlocking, rooms_dir);
    runtime.block_on(supervise(house, listeners, mpsc::unbounded_channel(), None))
}

/// `matron init`: makes what a first `serve` would make, and serves nothing.
pub(crate) fn init(place: &Place) -> Result<()> {
    let config = Config::read(place)?;
    let data = std::path::absolute(&place.data).context("the data folder")?;
    std::fs::create_dir_all(&data).with_context(|| format!("the data folder {}", data.display()))?;
    let _lock = lock(&data)?;
    look_for_a_restore(&data)?;
    if data.join("rooms").exists() {
        bail!("{}: there is a Matron in this folder already; nothing was changed", data.display());
    }
    make(&config, &data)?;
    users::give(&config, &data)
}

/// What the kernel has to be able to do for the rooms, said before anything is made; and the supervisor's own part.
fn hold(config: &Config) -> Result<()> {
    sandbox::check(&config.sandbox.danger_without)?;
    sandbox::close_to_others()?;
    let without: Vec<&str> = config.sandbox.danger_without.iter().map(|l| l.name()).collect();
    if !without.is_empty() {
        eprintln!(
            "matron: sandbox.danger_without: the rooms run without {}; who takes one is not held to it",
            without.join(", ")
        );
    }
    Ok(())
}

fn make(config: &Config, data: &Path) -> Result<()> {
    first_start::install(config, data, |token| {
        println!("A new Matron was made in {}.", data.display());
        println!("The first administrator joins with this token, once; it is shown here and kept nowhere:");
        println!("\n    {token}\n");
        println!("    matron admin join --token <token> --name '<your name>'\n");
    })
}

/// The socket that was handed over, or one bound at the configured address.
fn listener(handed: Option<TcpListener>, what: &str, at: std::net::SocketAddr) -> Result<TcpListener> {
    match handed {
        Some(socket) => Ok(socket),
        None => TcpListener::bind(at).with_context(|| {
            format!("{what}.listen: the {what}' listener can't be bound at {at}; is another program there?")
        }),
    }
}

/// Each connection is a descriptor: raises the limit that the rooms inherit as far as the system lets.
fn allow_connections(connections: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(1024);
    if limit.current.is_none_or(|now| now >= wanted) {
        return;
    }
    let current = limit.maximum.map_or(wanted, |most| most.min(wanted));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..limit });
    if raised.is_err() || current < wanted {
        eprintln!(
            "matron: phones.connections: the system lets a room have {current} open files, and {connections} \
             connections need {wanted}; raise the hard limit (ulimit -Hn, LimitNOFILE=)"
        );
    }
}

/// This program's file, also when an upgrade has replaced it: a room that is started again must speak as
/// its neighbours do.
pub(crate) fn this_program() -> Result<PathBuf> {
    let path = std::env::current_exe().context("the path of this program")?;
    Ok(if path.exists() { path } else { PathBuf::from("/proc/self/exe") })
}

/// What a room says for the operator's terminal: a line of bounded length that steers nothing, neither the cursor nor
/// the direction of writing.
fn shown(text: &str) -> String {
    words::line(&text.chars().take(MOST_SHOWN_CHARS).collect::<String>())
}

/// One Matron a data folder. The rooms inherit the lock with its descriptor, so that it is free when
/// the last of them has ended: those of a supervisor that was killed are waited for.
fn lock(data: &Path) -> Result<std::fs::File> {
    use rustix::fs::{FlockOperation, flock};
    let path = data.join("lock");
    let writing = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let mut written = writing.with_context(|| format!("the lock {}", path.display()))?;
    // What the rooms inherit can't be written through.
    let file = std::fs::File::open(&path).with_context(|| format!("the lock {}", path.display()))?;
    let until = Instant::now() + ORPHANS;
    let mut told = false;
    while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let supervisor = std::fs::read_to_string(&path).unwrap_or_default();
        if supervisor.is_empty() || Path::new("/proc").join(&supervisor).exists() {
            let process =
                if supervisor.is_empty() { String::new() } else { format!(" (process {supervisor})") };
            bail!(
                "another 'matron serve' runs on {}, or a backup or restore works there{process}; stop it or let it \
                 end, then start again",
                data.display()
            );
        }
        if Instant::now() > until {
            bail!(
                "rooms of an earlier Matron still run on {} though their supervisor is gone; 'fuser -v {}' shows which, \
                 end them, then start again",
                data.display(),
                path.display()
            );
        }
        if !told {
            told = true;
            println!("rooms of an earlier Matron are still ending; waiting for them");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    written.set_len(0)?;
    written.write_all(std::process::id().to_string().as_bytes())?;
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty())?;
    Ok(file)
}

/// The same lock, if nobody has it: for what works on a house that does not run.
pub(crate) fn try_lock(data: &Path) -> Result<Option<std::fs::File>> {
    use rustix::fs::{FlockOperation, flock};
    let path = data.join("lock");
    let open = std::fs::OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
    let mut file = open.with_context(|| format!("the lock {}", path.display()))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(None);
    }
    // A start meanwhile says who has it, and does not wait for rooms that are long gone.
    file.set_len(0)?;
    file.write_all(std::process::id().to_string().as_bytes())?;
    Ok(Some(file))
}

/// Refuses to begin a new house where a restore was not finished, and clears up after one that was.
fn look_for_a_restore(data: &Path) -> Result<()> {
    let work = data.join("restore.unfinished");
    if !work.exists() {
        return Ok(());
    }
    if !data.join("rooms").exists() {
        bail!(
            "{}: a restore into this folder was not finished; run 'matron restore' again, or remove {}",
            data.display(),
            work.display()
        );
    }
    std::fs::remove_dir_all(&work).with_context(|| format!("{}", work.display()))
}

/// What each room is handed of the sockets that listen.
fn listeners(
    phones: TcpListener,
    administrators: TcpListener,
    acme: Option<TcpListener>,
) -> HashMap<Room, Vec<(&'static str, TcpListener)>> {
    let mut of_door = vec![("phones", phones)];
    of_door.extend(acme.map(|acme| ("acme", acme)));
    HashMap::from([(Room::Door, of_door), (Room::Core, vec![("administrators", administrators)])])
}

async fn supervise(
    (config, unlocking, rooms_dir): (Config, Unlocking, PathBuf),
    listeners: HashMap<Room, Vec<(&'static str, TcpListener)>>,
    (tx, mut events): (mpsc::UnboundedSender<Event>, mpsc::UnboundedReceiver<Event>),
    drill: Option<std::sync::mpsc::Sender<()>>,
) -> Result<()> {
    let (read, write) = alarm::pipe().context("the pipe for alarms")?;
    let mut supervisor = Supervisor {
        config,
        unlocking,
        token: token::Watched::default(),
        rooms_dir,
        listeners,
        alarms: HashMap::from([(Room::Courier, read), (Room::Vault, write)]),
        living: HashMap::new(),
        was_ready: HashMap::new(),
        failures: HashMap::new(),
        generation: 0,
        journal: systemd::to_journal(),
        backup: None,
        taken: HashMap::new(),
        wanted: room_keys::Wanted::default(),
        quiet: drill.is_some(),
        events: tx,
    };
    supervisor.watch_token()?;
    for room in Room::ALL {
        supervisor.start(room)?;
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut told = false;
    let mut ping = tokio::time::interval(PING);
    ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut sign_of_life = systemd::sign_of_life().map(tokio::time::interval);
    loop {
        tokio::select! {
            Some(event) = events.recv() => match event {
                Event::End => break,
                other => supervisor.take(other)?,
            },
            _ = ping.tick() => {
                supervisor.ping();
                supervisor.look_for_a_backup_request();
                supervisor.ask_for_keys();
            }
            () = tick(&mut sign_of_life) => systemd::alive(),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
        if !told && Room::ALL.iter().all(|r| supervisor.was_ready.contains_key(r)) {
            told = true;
            match &drill {
                Some(drill) => drop(drill.send(())),
                None => println!("ready"),
            }
            systemd::ready();
        }
    }
    systemd::stopping();
    if drill.is_none() {
        println!("stopping: what is under way is finished first");
    }
    supervisor.stop(&mut events).await;
    if drill.is_none() {
        println!("stopped");
    }
    Ok(())
}

fn since(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The next tick, or never.
async fn tick(interval: &mut Option<tokio::time::Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}

impl Supervisor {
    /// A warning of the supervisor's own, on standard error.
    fn warn(&self, text: &str) {
        if self.quiet {
            return;
        }
        let priority = if self.journal { "<4>" } else { "" };
        eprintln!("{priority}matron: {text}");
    }

    fn start(&mut self, room: Room) -> Result<()> {
        let handed = self.unlocking.handed_to(room)?;
        let (control, theirs) = pair().context("a control pair")?;
        let taken = self.taken.get(&room);
        let program = taken.map_or_else(this_program, |t| Ok(t.program.clone()))?;
        let mut command = Command::new(program);
        if let Some((uid, gid)) = users::of(&self.rooms_dir.join(room.name()))? {
            command.uid(uid).gid(gid);
        }
        let child = command
            .args(["room", room.name()])
            .env_clear()
            .envs(std::env::var_os("RUST_BACKTRACE").map(|v| ("RUST_BACKTRACE", v)))
            .envs(self.config.resolver_of(room))
            .stdin(Stdio::from(theirs))
            .stdout(taken.map_or_else(|| Ok(Stdio::null()), drilled::Taken::standard_output)?)
            // A Ctrl-C in the terminal is the supervisor's: it tells the rooms in their order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("the {} could not be started", room.name()))?;
        self.generation += 1;
        let generation = self.generation;
        let start = serde_json::json!({
            "room": self.config.of(room, &self.rooms_dir)?,
            "log": self.config.log,
            "journal": self.journal,
            "sandbox": self.config.allowed(room, &self.rooms_dir),
        });
        // A room that has died meanwhile takes nothing; why it did comes as an event.
        let _ = control.send(&ToRoom::Start { config: start }, &handed);
        for (name, listener) in self.listeners.get(&room).into_iter().flatten() {
            let handed = OwnedFd::from(listener.try_clone()?);
            let _ = control.send(&ToRoom::Listener { name: (*name).to_owned() }, &[handed]);
        }
        if let Some(end) = self.alarms.get(&room) {
            let _ = control.send(&ToRoom::Alarms, &[end.try_clone()?]);
        }
        let started = Instant::now();
        let answered_ms = Arc::new(AtomicU64::new(0));
        let may_say = Arc::new(AtomicUsize::new(MOST_SAID));
        let heard =
            self.listen_to(room, generation, &control, started, (answered_ms.clone(), may_say.clone()))?;
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(wait_for(child, room, generation, stopped, heard, self.events.clone()));
        let living =
            Living { control, generation, started, ready: false, answered_ms, may_say, stop: Some(stop) };
        self.living.insert(room, living);
        for (a, b) in Room::PAIRS {
            if a == room || b == room {
                self.introduce(a, b);
            }
        }
        Ok(())
    }

    /// Gives two living neighbours a fresh pair. One that has just died gets its own when it is back.
    fn introduce(&self, a: Room, b: Room) {
        let (Some(one), Some(other)) = (self.living.get(&a), self.living.get(&b)) else { return };
        let Ok((one_end, other_end)) = neighbours() else { return };
        let _ = one.control.send(&ToRoom::Peer { room: b.name().into() }, &[one_end]);
        let _ = other.control.send(&ToRoom::Peer { room: a.name().into() }, &[other_end]);
    }

    /// Reads what a room says on a thread of its own. What it gives ends when there is no more to hear.
    fn listen_to(
        &self,
        room: Room,
        generation: u64,
        control: &ControlEnd,
        started: Instant,
        (answered_ms, may_say): (Arc<AtomicU64>, Arc<AtomicUsize>),
    ) -> Result<oneshot::Receiver<()>> {
        let (control, events) = (control.try_clone()?, self.events.clone());
        let (hearing, heard) = oneshot::channel();
        let wanted = (room == Room::Vault).then(|| self.wanted.clone());
        std::thread::Builder::new().name(format!("from {}", room.name())).spawn(move || {
            let _ends_with_this_thread = hearing;
            let mut said = 0;
            while said < may_say.load(Ordering::Relaxed) {
                match control.receive::<ToSupervisor>() {
                    Ok(Some((ToSupervisor::Alive, _))) => {
                        answered_ms.store(since(started), Ordering::Relaxed)
                    }
                    // The newest word alone counts, so it is no use to say much.
                    Ok(Some((ToSupervisor::KeysWanted { keys, authorities }, _))) if wanted.is_some() => {
                        wanted.iter().for_each(|w| w.put(&keys, authorities.clone()));
                    }
                    Ok(Some((other, _))) => {
                        said += 1;
                        if events.send(Event::Said(room, generation, other)).is_err() {
                            return;
                        }
                    }
                    Ok(None) | Err(_) => return,
                }
            }
        })?;
        Ok(heard)
    }

    /// Asks each room whether it is alive, and ends those that have not said so for long.
    fn ping(&mut self) {
        self.ping_token();
        let mut hung = Vec::new();
        for (room, living) in self.living.iter_mut().filter(|(_, l)| l.ready) {
            // A full pair says the same as no answer.
            let _ = living.control.send(&ToRoom::Ping, &[]);
            let silent_ms = since(living.started).saturating_sub(living.answered_ms.load(Ordering::Relaxed));
            if silent_ms > u64::try_from(HUNG.as_millis()).unwrap_or(u64::MAX)
                && let Some(stop) = living.stop.take()
            {
                let _ = stop.send(());
                hung.push(*room);
            }
        }
        for room in hung {
            self.warn(&format!("the {} has not answered for {} s; it is ended", room.name(), HUNG.as_secs()));
        }
    }

    fn take(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Said(room, generation, ToSupervisor::Ready) => {
                if let Some(l) = self.living.get_mut(&room).filter(|l| l.generation == generation) {
                    l.ready = true;
                    l.answered_ms.store(since(l.started), Ordering::Relaxed);
                    self.was_ready.insert(room, true);
                }
                if Room::ALL.iter().all(|r| self.living.get(r).is_some_and(|l| l.ready)) {
                    systemd::status("all five rooms are up");
                }
            }
            Event::Said(_, _, ToSupervisor::Alive | ToSupervisor::KeysWanted { .. }) => {}
            Event::Said(room, generation, ToSupervisor::KeyMade { key, number, public }) => {
                if self.living.get(&room).is_some_and(|l| l.generation == generation) {
                    self.key_made(room, key, number, public);
                }
            }
            Event::Said(room, generation, said @ ToSupervisor::BackedUp { .. }) => {
                if self.living.get(&room).is_some_and(|l| l.generation == generation) {
                    self.part_said(room, said);
                }
            }
            Event::Take(room, taken) => self.put_in_place(room, taken),
            Event::End => {}
            Event::AskPart(room, request, out) => self.ask_part(room, request, out),
            Event::BackupEnded(name, done) => self.backup_ended(&name, done),
            Event::Said(room, _, ToSupervisor::Failed { why }) => {
                let why = shown(&why);
                if !self.was_ready.contains_key(&room) {
                    bail!("the {} can't start: {why}", room.name());
                }
                self.warn(&format!("the {} stopped: {why}", room.name()));
            }
            Event::Died(room, generation, how) => {
                let Some(l) = self.living.get(&room).filter(|l| l.generation == generation) else {
                    return Ok(());
                };
                let lived = l.started.elapsed();
                let ready = l.ready;
                self.living.remove(&room);
                self.part_answered(room, Err(anyhow::anyhow!("it died meanwhile")));
                if !self.was_ready.contains_key(&room) {
                    bail!("the {} ended before it was ready ({how}); see its lines above", room.name());
                }
                let failures = self.failures.entry(room).or_default();
                *failures = if ready && lived > Duration::from_secs(30) { 0 } else { *failures + 1 };
                let pause = Duration::from_millis(50 << (*failures).min(10)).min(LONGEST_PAUSE);
                self.warn(&format!("the {} died ({how}); it is started again", room.name()));
                systemd::status(&format!("the {} died and is started again", room.name()));
                let events = self.events.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(pause).await;
                    let _ = events.send(Event::StartAgain(room));
                });
            }
            Event::TokenSaid(life, said) => self.token_said(life, said),
            Event::TokenOpened(opened) => self.token_opened(opened)?,
            Event::StartAgain(room) if self.waits_for_token(room) => {}
            Event::StartAgain(room) => {
                if let Err(e) = self.start(room) {
                    self.warn(&format!("{e:#}; trying again"));
                    let events = self.events.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(LONGEST_PAUSE).await;
                        let _ = events.send(Event::StartAgain(room));
                    });
                }
            }
        }
        Ok(())
    }

    /// From its next start on, which is at once, a room is another program, or itself again.
    fn put_in_place(&mut self, room: Room, taken: Option<drilled::Taken>) {
        match taken {
            Some(taken) => self.taken.insert(room, taken),
            None => self.taken.remove(&room),
        };
        self.failures.remove(&room);
        if let Some(stop) = self.living.get_mut(&room).and_then(|l| l.stop.take()) {
            let _ = stop.send(());
        }
    }

    /// Door first, so that no new request comes in; the vault last, so that none is left undecided.
    async fn stop(&mut self, events: &mut mpsc::UnboundedReceiver<Event>) {
        let until = tokio::time::Instant::now() + DRAIN;
        for room in [Room::Door, Room::Reader, Room::Core, Room::Courier, Room::Vault] {
            let Some(living) = self.living.get_mut(&room) else { continue };
            let _ = living.control.send(&ToRoom::Stop, &[]);
            let living = &mut self.living;
            let ended = async {
                while living.contains_key(&room) {
                    match events.recv().await {
                        // Whichever it was: one that has ended by itself is not waited for in its turn.
                        Some(Event::Died(r, g, _)) if living.get(&r).is_some_and(|l| l.generation == g) => {
                            living.remove(&r);
                        }
                        Some(_) => {}
                        None => return,
                    }
                }
            };
            if tokio::time::timeout_at(until, ended).await.is_err() {
                self.warn(&format!("the {} did not finish in time and was ended", room.name()));
                if let Some(stop) = self.living.get_mut(&room).and_then(|l| l.stop.take()) {
                    let _ = stop.send(());
                }
            }
        }
        // Those who were ended by force are gone when their handles are.
        self.living.clear();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn wait_for(
    mut child: Child,
    room: Room,
    generation: u64,
    stopped: oneshot::Receiver<()>,
    heard: oneshot::Receiver<()>,
    events: mpsc::UnboundedSender<Event>,
) {
    let forced = async {
        if stopped.await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let how = tokio::select! {
        status = child.wait() => match status {
            Ok(status) => ending::ending(status),
            Err(e) => e.to_string(),
        },
        () = forced => {
            let _ = child.kill().await;
            "killed".into()
        }
    };
    // Why it ended is told before that it has; another that holds its end of the pair delays nobody.
    let _ = tokio::time::timeout(LAST_WORDS, heard).await;
    let _ = events.send(Event::Died(room, generation, how));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rooms_last_words_steer_no_terminal_and_end() {
        let marks = "\u{200e}\u{200f}\u{61c}\u{202a}\u{202e}\u{2066}\u{2069}";
        let said = shown(&format!("why\u{1b}]0;x\u{7}\n{marks}{}", "y".repeat(10_000)));
        assert!(!said.chars().any(|c| c.is_control() || marks.contains(c)), "{}", said.escape_unicode());
        assert_eq!(said.chars().count(), MOST_SHOWN_CHARS);
    }

    #[test]
    fn a_start_while_a_backup_or_a_restore_works_on_the_folder_is_told_so_at_once() {
        let dir = std::env::temp_dir().join(format!("matron-lock-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        // What a supervisor that was killed left.
        std::fs::write(dir.join("lock"), "999999999").unwrap();
        let held = try_lock(&dir).unwrap().unwrap();
        assert!(try_lock(&dir).unwrap().is_none());
        let begun = Instant::now();
        let said = lock(&dir).unwrap_err().to_string();
        assert!(said.contains(&format!("process {}", std::process::id())), "{said}");
        assert!(begun.elapsed() < ORPHANS / 2);
        drop(held);
        assert!(lock(&dir).is_ok());
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[tokio::test]
    async fn a_room_that_ended_before_its_turn_is_not_waited_for_at_the_stop() {
        let (tx, mut events) = mpsc::unbounded_channel();
        let mut supervisor = Supervisor {
            config: Config::default(),
            unlocking: Unlocking::Beside,
            token: token::Watched::default(),
            rooms_dir: PathBuf::new(),
            listeners: HashMap::new(),
            alarms: HashMap::new(),
            living: HashMap::new(),
            was_ready: HashMap::new(),
            failures: HashMap::new(),
            generation: 5,
            journal: false,
            backup: None,
            taken: HashMap::new(),
            wanted: room_keys::Wanted::default(),
            quiet: false,
            events: tx.clone(),
        };
        for (generation, room) in (1..).zip(Room::ALL) {
            let (control, _theirs) = pair().unwrap();
            let living = Living {
                control,
                generation,
                started: Instant::now(),
                ready: true,
                answered_ms: Arc::default(),
                may_say: Arc::default(),
                stop: None,
            };
            supervisor.living.insert(room, living);
            tx.send(Event::Died(room, generation, "exit status: 0".into())).ok().unwrap();
        }
        let stopped = tokio::time::timeout(Duration::from_secs(5), supervisor.stop(&mut events)).await;
        assert!(stopped.is_ok());
    }

    #[tokio::test]
    async fn that_a_room_has_ended_is_told_after_what_it_said_of_why() {
        let (events, mut told) = mpsc::unbounded_channel();
        let (_stop, stopped) = oneshot::channel();
        let (hearing, heard) = oneshot::channel();
        let child = Command::new("true").spawn().unwrap();
        let waiting = tokio::spawn(wait_for(child, Room::Reader, 1, stopped, heard, events.clone()));
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(told.try_recv().is_err());
        events.send(Event::Said(Room::Reader, 1, ToSupervisor::Failed { why: "why".into() })).ok().unwrap();
        drop(hearing);
        waiting.await.unwrap();
        assert!(matches!(told.recv().await, Some(Event::Said(..))));
        assert!(matches!(told.recv().await, Some(Event::Died(..))));
    }
}
