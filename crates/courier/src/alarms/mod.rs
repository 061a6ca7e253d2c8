//! The vault's alarms: read from its pipe, kept until delivered, sent where the configuration says.
//!
//! Core has no part in it. Each destination has a task of its own, so that one that is away delays no other; it gets
//! the alarms in their order, at least once each, under the same id at every try.

mod config;
mod kept;
mod message;
mod send;
mod smtp;

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::{Clock, SystemClock, TimeMs};
use rpc::alarm::{Alarm, AlarmKind, FRAME_BYTES};
use rpc::proto::{AlarmDestination, AlarmHealth};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use config::{AlarmsConfig, MailTls};
use kept::Kept;
use message::Message;
use send::{Delivered, Destination};

use crate::room::hold;
use crate::{Config, Error};

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// What can't be read is told once in so long.
const UNREADABLE_EVERY_MS: TimeMs = model::clock::MINUTE_MS;

/// How a destination is doing.
#[derive(Debug, Clone, Default)]
struct State {
    delivered: u64,
    last_delivered_at_ms: TimeMs,
    last_failed_at_ms: TimeMs,
    last_error: String,
}

struct Inside {
    kept: Kept,
    states: Vec<State>,
    connected: bool,
    unreadable_told_ms: Option<TimeMs>,
}

/// The courier's part in alarms.
pub(crate) struct Alarms {
    config: AlarmsConfig,
    destinations: Vec<Destination>,
    names: Vec<&'static str>,
    clock: Arc<dyn Clock>,
    inside: Mutex<Inside>,
    changed: watch::Sender<u64>,
}

fn pause(failures: u32) -> Duration {
    Duration::from_millis(500 << failures.min(10)).min(LONGEST_PAUSE)
}

impl Alarms {
    pub(crate) fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<Arc<Self>, Error> {
        config.alarms.check()?;
        let destinations = Destination::of(&config.alarms);
        let names: Vec<&'static str> = destinations.iter().map(|d| d.name()).collect();
        let inside = Inside {
            kept: Kept::open(&config.data_dir, &names),
            states: vec![State::default(); names.len()],
            connected: false,
            unreadable_told_ms: None,
        };
        let config = config.alarms.clone();
        let (inside, changed) = (Mutex::new(inside), watch::Sender::new(0));
        Ok(Arc::new(Self { config, destinations, names, clock, inside, changed }))
    }

    /// A task for each destination. They end with the set.
    pub(crate) fn start(self: &Arc<Self>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for (at, to) in self.destinations.iter().enumerate() {
            tasks.spawn(self.clone().deliver(at, *to));
        }
        tasks
    }

    /// Reads the vault's pipe until its end.
    pub(crate) async fn receive(self: Arc<Self>, end: OwnedFd) {
        let mut pipe = match Receiver::from_owned_fd(end) {
            Ok(pipe) => pipe,
            Err(error) => {
                tracing::error!(%error, "what was handed over as the vault's pipe is none");
                return;
            }
        };
        hold(&self.inside).connected = true;
        let mut frame = [0; FRAME_BYTES];
        loop {
            match pipe.read(&mut frame).await {
                Ok(0) => break,
                Ok(read) => match frame.get(..read).and_then(Alarm::from_frame) {
                    Some(alarm) => self.take(alarm),
                    None => self.unreadable(),
                },
                Err(error) => {
                    tracing::error!(%error, "the vault's pipe can't be read");
                    break;
                }
            }
        }
        hold(&self.inside).connected = false;
    }

    fn take(&self, alarm: Alarm) {
        tracing::warn!(alarm = alarm.kind.word(), count = alarm.count, "the vault raised an alarm");
        if self.names.is_empty() {
            return;
        }
        hold(&self.inside).kept.put(alarm, &self.names);
        self.changed.send_modify(|n| *n = n.wrapping_add(1));
    }

    fn unreadable(&self) {
        let passed_ms = self.clock.passed_ms();
        let mut inside = hold(&self.inside);
        if inside.unreadable_told_ms.is_some_and(|told_ms| passed_ms - told_ms < UNREADABLE_EVERY_MS) {
            return;
        }
        inside.unreadable_told_ms = Some(passed_ms);
        drop(inside);
        self.take(fresh(AlarmKind::Unreadable, self.clock.now_ms()));
    }

    async fn deliver(self: Arc<Self>, at: usize, to: Destination) {
        let mut changed = self.changed.subscribe();
        let mut failures = 0u32;
        loop {
            changed.borrow_and_update();
            let next = hold(&self.inside).kept.next(to.name());
            let Some((number, alarm)) = next else {
                if changed.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let message = Message { alarm, sender: self.config.sender.clone() };
            let sent = to.send(&self.config, &message, self.clock.now_ms()).await;
            let now_ms = self.clock.now_ms();
            let failed = {
                let mut inside = hold(&self.inside);
                if sent.is_ok() {
                    inside.kept.delivered(number, to.name());
                }
                if let Some(state) = inside.states.get_mut(at) {
                    match &sent {
                        Ok(delivered) => {
                            state.delivered += 1;
                            state.last_delivered_at_ms = now_ms;
                            state.last_error.clear();
                            if let Delivered::ToSome(why) = delivered {
                                tracing::error!(destination = to.name(), reason = %why, "an alarm did not go to everybody");
                                state.last_failed_at_ms = now_ms;
                                state.last_error.clone_from(why);
                            }
                        }
                        Err(why) => {
                            state.last_failed_at_ms = now_ms;
                            state.last_error.clone_from(why);
                        }
                    }
                }
                sent.err()
            };
            match failed {
                None => failures = 0,
                Some(why) => {
                    tracing::error!(destination = to.name(), reason = %why, "an alarm was not delivered; it is tried again");
                    tokio::time::sleep(pause(failures)).await;
                    failures = failures.saturating_add(1);
                }
            }
        }
    }

    pub(crate) fn health(&self) -> AlarmHealth {
        let inside = hold(&self.inside);
        let of = |(name, state): (&&'static str, &State)| AlarmDestination {
            name: (*name).to_owned(),
            delivered: state.delivered,
            waiting: inside.kept.waiting(name),
            last_delivered_at_ms: state.last_delivered_at_ms,
            last_failed_at_ms: state.last_failed_at_ms,
            last_error: state.last_error.clone(),
        };
        let destinations = self.names.iter().zip(&inside.states).map(of).collect();
        AlarmHealth { destinations, lost: inside.kept.lost, connected: inside.connected }
    }
}

fn fresh(kind: AlarmKind, now_ms: TimeMs) -> Alarm {
    let mut id = [0; 16];
    // An alarm without an id is still one.
    let _ = aws_lc_rs::rand::fill(&mut id);
    Alarm::new(id, kind, now_ms)
}

/// Sends a test alarm to each destination from this process, and says what came of it.
pub async fn probe_alarms(config: &AlarmsConfig) -> Vec<(&'static str, Result<(), String>)> {
    let now_ms = SystemClock.now_ms();
    let message = Message { alarm: fresh(AlarmKind::Test, now_ms), sender: config.sender.clone() };
    let mut out = Vec::new();
    for to in Destination::of(config) {
        let sent = match to.send(config, &message, now_ms).await {
            Ok(Delivered::ToAll) => Ok(()),
            Ok(Delivered::ToSome(why)) | Err(why) => Err(why),
        };
        out.push((to.name(), sent));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::clock::HandClock;
    use std::fs::File;
    use std::io::Write;

    #[tokio::test]
    async fn what_is_no_alarm_is_told_of_once_and_what_follows_is_read() {
        let dir = tempfile::TempDir::new().unwrap();
        // A port that nobody listens on: nothing is delivered.
        let alarms = AlarmsConfig { syslog: Some("127.0.0.1:1".into()), ..AlarmsConfig::default() };
        let config = Config { alarms, ..Config::new(dir.path()) };
        let alarms = Alarms::open(&config, Arc::new(HandClock::at(9))).unwrap();
        let (read, write) = rpc::alarm::pipe().unwrap();
        let mut write = File::from(write);
        for _ in 0..3 {
            write.write_all(&[0xff; FRAME_BYTES]).unwrap();
        }
        let real = Alarm::new([1; 16], AlarmKind::KeyAdded, 7);
        write.write_all(&real.to_frame()).unwrap();
        drop(write);
        alarms.clone().receive(read).await;
        let kinds: Vec<AlarmKind> = {
            let mut inside = hold(&alarms.inside);
            std::iter::from_fn(|| {
                let (number, alarm) = inside.kept.next("syslog")?;
                inside.kept.delivered(number, "syslog");
                Some(alarm.kind)
            })
            .collect()
        };
        assert_eq!(kinds, [AlarmKind::Unreadable, AlarmKind::KeyAdded]);
        assert!(!alarms.health().connected);
    }

    #[test]
    fn the_pause_grows_to_a_minute() {
        assert_eq!(pause(0), Duration::from_millis(500));
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }
}
