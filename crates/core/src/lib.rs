//! The room with the database and the rules: everything one can ask of Matron, once.
//!
//! - **Check-ins**: core dials the door, which asks what to answer each phone. A phone that is idle
//!   with nothing waiting is answered from memory; all else is one write, answered after the commit.
//! - **Orders** go to the vault, which decides; core follows the vault's ledger, keeps the bytes and
//!   warrants that come of an order, and delivers them.
//! - **Administrators** reach it on a listener of their own: the HTTP API under `/api/v1`.
//! - **Beside that**: pushes through the courier, core's words to the ledger, index entries for
//!   search, inventories, expiry, history.
//!
//! Core holds no key that opens or signs. What it keeps of a person is sealed; what a grant opens
//! passes through one response and is dropped with it.

mod access;
mod acme;
mod acts;
mod api;
mod apps;
mod back_up;
mod briefs;
pub mod bulk;
mod checkin;
mod config;
mod cosigned;
mod counted;
mod counters;
mod declarations;
mod deliveries;
mod error;
mod fleet;
mod follow;
mod followed_tree;
mod holder;
mod inventory;
mod keys;
mod noting;
mod oidc;
mod profiles;
mod queries;
mod refused;
mod renewal;
mod room;
mod standing_install;
mod submit;
mod tasks;

pub use api::{Access, Front, RouteInfo, routes};
pub use back_up::{BACKED_UP, back_up, find_test_row, restored};
pub use config::{Config, ConfigError, OidcConfig, OidcRole};
pub use error::Error;
pub use store::Examined;

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use model::{Clock, SteadyClock, SystemClock, TimeMs};
use room::{Following, Room};
use rpc::control::{ControlEnd, RoomEvent, ToSupervisor};
use rpc::pair::PeerSlot;
use rpc::trust::Trust;
use store::Store;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;

/// The database's name in core's folder.
pub const DATABASE_FILE: &str = "core.db";

/// Looks at core's database from outside and changes nothing; see [`store::examine`].
///
/// # Errors
/// Why it can't be read, in words for the operator.
pub fn examine(path: &Path, running: bool) -> Result<Examined, store::StoreError> {
    store::examine(path, running)
}

/// Takes what core has to trust: the root key and the first key statement.
///
/// # Errors
/// When core's folder can't be written.
pub fn install(dir: &Path, installed: &rpc::install::Installed) -> std::io::Result<()> {
    Trust::install(dir, &installed.root_key, &installed.statement)
}

/// Runs the room until the supervisor says stop. `front` is what stands before the API (the console).
///
/// # Errors
/// [`Error`] says what stops it.
pub async fn run(
    config: Config,
    control: ControlEnd,
    events: UnboundedReceiver<RoomEvent>,
    front: Front,
) -> Result<(), Error> {
    run_by(config, Arc::new(SteadyClock::new(SystemClock)), control, events, front).await
}

/// [`run`] by another clock.
///
/// # Errors
/// [`Error`] says what stops it.
pub async fn run_by(
    config: Config,
    clock: Arc<dyn Clock>,
    control: ControlEnd,
    mut events: UnboundedReceiver<RoomEvent>,
    front: Front,
) -> Result<(), Error> {
    config.check()?;
    let tls = api::tls(&config)?;
    let room = open(config, clock)?;
    oidc::end_unconfigured(&room).await?;
    let mut tasks = JoinSet::new();
    let doors = tokio::spawn(checkin::serve_doors(room.clone()));
    tasks.spawn(follow::follow(room.clone()));
    tasks.spawn(tasks::words(room.clone()));
    tasks.spawn(tasks::indexing(room.clone()));
    tasks.spawn(tasks::statements(room.clone()));
    tasks.spawn(acme::carry(room.clone()));
    tasks.spawn(tasks::pushes(room.clone()));
    tasks.spawn(renewal::renewals(room.clone()));
    tasks.spawn(standing_install::installs(room.clone()));
    tasks.spawn(tasks::upkeep(room.clone()));
    tasks.spawn(submit::take_up(room.clone()));
    tasks.spawn(submit::cooled(room.clone()));
    tasks.spawn(keys::keep(room.clone()));
    tasks.spawn(noting::catch_up(room.clone()));
    tasks.spawn(briefs::warm(room.clone()));
    let mut listeners = JoinSet::new();
    control.send(&ToSupervisor::Ready, &[]).map_err(Error::Supervisor)?;
    let ended = loop {
        let event = tokio::select! {
            event = events.recv() => event,
            Some(task) = tasks.join_next() => {
                tracing::error!(task.panicked = task.is_err(), "a task of core ended; core starts anew");
                break Err(Error::TaskEnded);
            }
        };
        match event {
            Some(RoomEvent::Peer(name, pair)) => {
                let slot = match name.as_str() {
                    "door" => &room.door,
                    "vault" => &room.vault,
                    "courier" => &room.courier,
                    _ => continue,
                };
                if let Err(e) = slot.renew(pair) {
                    tracing::error!(peer.name = name, error = %e, "a pair can't be used");
                }
            }
            Some(RoomEvent::Listener(name, tcp)) if name == "administrators" => {
                let stopping = room.stopping.subscribe();
                listeners.spawn(api::serve(room.clone(), tcp, tls.clone(), front, stopping));
            }
            Some(RoomEvent::Listener(..)) => {}
            Some(RoomEvent::MakeKey(key, _) | RoomEvent::KeyMade(key, ..)) => {
                tracing::warn!(key = key.name(), "core has no key");
            }
            Some(RoomEvent::Alarms(_)) => tracing::warn!("the pipe for alarms is not the core's"),
            Some(RoomEvent::Stop) | None => break Ok(()),
        }
    };
    room.stopping.send_replace(true);
    while listeners.join_next().await.is_some() {}
    let _ = doors.await;
    tasks.shutdown().await;
    tasks::flush_seen(&room).await?;
    // Whatever was submitted before this is on the disk once it is.
    room.store.write(|_| Ok(())).await?;
    ended
}

fn open(config: Config, clock: Arc<dyn Clock>) -> Result<Arc<Room>, Error> {
    let not_installed = |source| Error::NotInstalled { path: config.data_dir.clone(), source };
    let trust = Trust::open(&config.data_dir, &*clock).map_err(not_installed)?;
    let now_ms = clock.now_ms();
    let store = Store::open(&config.data_dir.join(DATABASE_FILE))?;
    let (phones, renewed, people, sessions, readers, keys, at) = store.read_now(|v| {
        Ok((
            v.live_enrolments()?,
            v.renewed()?,
            v.people(None, u32::MAX)?,
            v.sessions(now_ms)?,
            v.oidc_sessions(now_ms)?,
            v.api_keys(now_ms)?,
            v.position()?,
        ))
    })?;
    let backoff_ms =
        config.push_backoff_minutes.iter().map(|m| TimeMs::from(*m) * model::clock::MINUTE_MS).collect();
    let retry_ms = TimeMs::from(config.not_now_retry_minutes) * model::clock::MINUTE_MS;
    let fleet = fleet::Fleet::new(phones, retry_ms, backoff_ms);
    renewed.into_iter().for_each(|known| fleet.know_certificates(known));
    fleet.schedule_all(now_ms);
    // A statement that was kept; the vault's next one will come.
    let kept = std::fs::read(config.data_dir.join("statement.cbor")).ok();
    let sign_ins = oidc::SignIns::known(readers.iter().map(|r| (r.began_at_ms, r.subject)));
    Ok(Arc::new(Room {
        access: access::AccessTable::new(people, sessions, readers, keys),
        counters: counters::Counters::new(&clock),
        random: SystemRandom::new(),
        door: PeerSlot::default(),
        vault: PeerSlot::default(),
        courier: PeerSlot::default(),
        followed: watch::Sender::new(at.entries),
        following: watch::Sender::new(Following::Waiting),
        checkpoint: watch::Sender::new(None),
        statement: watch::Sender::new(kept),
        stopping: watch::Sender::new(false),
        order_places: Semaphore::new(api::MOST_ORDERS_AT_ONCE),
        strangers: api::Strangers::default(),
        oidc_strangers: api::Strangers::default(),
        holder_strangers: api::Strangers::default(),
        rests: standing_install::Rests::default(),
        holders: holder::Holders::default(),
        oidc_sign_ins: Arc::new(sign_ins),
        oidc_keys: oidc::KeysKept::default(),
        oidc_places: Semaphore::new(oidc::MOST_AT_ONCE),
        counts: api::Counts::default(),
        briefs: Arc::default(),
        cosigned: std::sync::Mutex::new(()),
        door_epoch: std::sync::atomic::AtomicU32::new(0),
        deliveries_left: std::sync::atomic::AtomicU64::new(0),
        breach_ms: std::sync::atomic::AtomicI64::new(room::NO_BREACH),
        statement_due: Notify::new(),
        keys_due: Notify::new(),
        words_due: Notify::new(),
        index_due: Notify::new(),
        renewal_due: Notify::new(),
        cooling_due: Notify::new(),
        undecided: Notify::new(),
        tasks: tokio::runtime::Handle::current(),
        config,
        clock,
        store,
        fleet,
        trust,
    }))
}
