//! The loops that send.

use super::measure::Meter;
use super::script::Script;
use crate::http::Connection;
use crate::keys::KeyPool;
use crate::network::Network;
use crate::phone::{Phone, State, target};
use crate::talk::REPORT_TYPE;
use crate::{Failure, Fault, Step};
use http::Uri;
use model::Clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// After so many failures in a row, half a minute's, a phone gives up.
const MAX_FAILURES: u32 = 34;

/// How long a phone waits after so many failures in a row: 50 ms, 100 ms, … 1 s.
fn rest(failures: u32) -> Duration {
    Duration::from_millis((25u64 << failures.min(8)).min(1000))
}

/// How long after the end a phone may still wait for an answer.
const GRACE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// `Idle`, again and again.
    Idle,
    /// Until the queue is empty.
    Drain,
    /// A full handshake and one `Idle`, again and again.
    Cold,
    /// The same with session tickets.
    Resumed,
}

/// One phone with its connection.
pub(super) struct Lane {
    phone: Phone,
    script: Script,
    server: Uri,
    connection: Option<Connection>,
}

/// Phones without a connection yet; at most `count`, and only enrolled ones.
pub(super) fn unopened(phones: &mut Vec<Phone>, count: usize) -> Vec<Lane> {
    let (mut lanes, mut rest) = (Vec::new(), Vec::new());
    for phone in phones.drain(..) {
        let server = phone.identity.as_ref().map(|identity| identity.server.clone());
        match (server, Script::new(&phone)) {
            (Some(server), Ok(script)) if lanes.len() < count && phone.state() == State::Enrolled => {
                lanes.push(Lane { phone, script, server, connection: None });
            }
            _ => rest.push(phone),
        }
    }
    *phones = rest;
    lanes
}

/// The same with connections; `at_once` handshakes at a time.
pub(super) async fn open(
    phones: &mut Vec<Phone>,
    count: usize,
    at_once: usize,
    meter: &Arc<Meter>,
) -> Vec<Lane> {
    let mut waiting = unopened(phones, count).into_iter();
    let (mut opening, mut lanes) = (JoinSet::new(), Vec::new());
    loop {
        while opening.len() < at_once {
            let Some(mut lane) = waiting.next() else { break };
            opening.spawn(async move {
                let opened = lane.connect().await;
                (lane, opened)
            });
        }
        match opening.join_next().await {
            None => return lanes,
            Some(Ok((lane, opened))) => {
                if let Err(failure) = opened {
                    meter.error(failure.step.name(), failure.fault.to_string());
                }
                lanes.push(lane);
            }
            Some(Err(_)) => meter.error("own", "a phone's task died".to_owned()),
        }
    }
}

pub(super) fn close(lanes: Vec<Lane>, phones: &mut Vec<Phone>) {
    phones.extend(lanes.into_iter().map(|lane| lane.phone));
    phones.sort_by_key(Phone::index);
}

/// Lets all lanes run, for `limit` at most.
pub(super) async fn run(lanes: &mut Vec<Lane>, mode: Mode, limit: Duration, meter: &Arc<Meter>) {
    let end = Instant::now() + limit;
    let mut running = JoinSet::new();
    for mut lane in lanes.drain(..) {
        let meter = meter.clone();
        running.spawn(async move {
            let loops = lane.run(mode, end, &meter);
            if tokio::time::timeout(limit + GRACE, loops).await.is_err() {
                meter.error("timeout", Fault::Timeout.to_string());
                lane.connection = None;
            }
            lane
        });
    }
    while let Some(done) = running.join_next().await {
        match done {
            Ok(lane) => lanes.push(lane),
            Err(_) => meter.error("own", "a phone's task died".to_owned()),
        }
    }
}

impl Lane {
    async fn connect(&mut self) -> Result<(), Failure> {
        self.connection = Some(self.phone.connect().await?);
        Ok(())
    }

    async fn run(&mut self, mode: Mode, end: Instant, meter: &Meter) {
        let mut failures = 0;
        while Instant::now() < end && failures < MAX_FAILURES {
            let went = match mode {
                Mode::Idle => self.idle(meter).await,
                Mode::Drain => match self.drain(end, meter).await {
                    Ok(()) => return,
                    failed => failed,
                },
                Mode::Cold => self.cold(false, meter).await,
                Mode::Resumed => self.cold(true, meter).await,
            };
            match went {
                Ok(()) => failures = 0,
                Err(failure) => {
                    failures += 1;
                    self.connection = None;
                    meter.error(failure.fault.kind(), failure.to_string());
                    tokio::time::sleep(rest(failures).min(end.saturating_duration_since(Instant::now())))
                        .await;
                }
            }
        }
        if failures >= MAX_FAILURES {
            meter.error("gave_up", "a phone gave up after half a minute of failures".to_owned());
        }
    }

    /// Sends a body on the kept connection, or a new one; gives the command that came.
    async fn send(&mut self, what: What<'_>) -> Result<Vec<u8>, Failure> {
        if !self.connection.as_ref().is_some_and(Connection::usable) {
            self.connect().await?;
        }
        let Some(connection) = &mut self.connection else {
            return Err(Fault::Own("a connection was lost").at(Step::Connect));
        };
        let exchange = async {
            let body = match what {
                What::Idle => self.script.idle(),
                What::ReportOn(command) => self.script.report(&mut self.phone, command)?,
            };
            connection.exchange("PUT", target(&self.server), Some(REPORT_TYPE), body).await
        };
        let answer = exchange.await.map_err(|f| f.at(Step::Conversation))?;
        match answer.status {
            200 => Ok(answer.body),
            status => Err(Fault::Status(status).at(Step::Conversation)),
        }
    }

    async fn idle(&mut self, meter: &Meter) -> Result<(), Failure> {
        let sent = Instant::now();
        let mut command = self.send(What::Idle).await?;
        if command.is_empty() {
            meter.operation(sent.elapsed());
        }
        while !command.is_empty() {
            meter.other();
            command = self.send(What::ReportOn(&command)).await?;
        }
        Ok(())
    }

    async fn drain(&mut self, end: Instant, meter: &Meter) -> Result<(), Failure> {
        let mut command = self.send(What::Idle).await?;
        meter.other();
        while !command.is_empty() && Instant::now() < end {
            let sent = Instant::now();
            command = self.send(What::ReportOn(&command)).await?;
            if command.is_empty() { meter.other() } else { meter.operation(sent.elapsed()) }
        }
        Ok(())
    }

    async fn cold(&mut self, resume: bool, meter: &Meter) -> Result<(), Failure> {
        self.connection = None;
        if !resume {
            self.phone.rest();
        }
        let sent = Instant::now();
        self.send(What::Idle).await?;
        meter.operation(sent.elapsed());
        if self.connection.as_ref().is_some_and(Connection::resumed) {
            meter.resumed();
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum What<'a> {
    Idle,
    ReportOn(&'a [u8]),
}

pub(super) async fn enrol(
    links: Vec<String>,
    seed: u64,
    network: &Network,
    keys: &KeyPool,
    clock: Arc<dyn Clock>,
    at_once: usize,
    meter: &Arc<Meter>,
) -> Vec<Phone> {
    let (links, next) = (Arc::new(links), Arc::new(AtomicUsize::new(0)));
    let mut running = JoinSet::new();
    for _ in 0..at_once.clamp(1, links.len().max(1)) {
        let (links, next, network, keys) = (links.clone(), next.clone(), network.clone(), keys.clone());
        let (clock, meter) = (clock.clone(), meter.clone());
        running.spawn(async move {
            let mut phones = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(link) = links.get(at) else { return phones };
                let mut phone = Phone::new(seed, u32::try_from(at).unwrap_or(u32::MAX));
                let began = Instant::now();
                match phone.enrol(link, &network, &keys, &*clock).await {
                    Ok(_) => {
                        meter.operation(began.elapsed());
                        phone.rest();
                        phones.push(phone);
                    }
                    Err(failure) => meter.error(failure.step.name(), failure.fault.to_string()),
                }
            }
        });
    }
    let mut phones = Vec::new();
    while let Some(done) = running.join_next().await {
        match done {
            Ok(some) => phones.extend(some),
            Err(_) => meter.error("own", "a phone's task died".to_owned()),
        }
    }
    phones.sort_by_key(Phone::index);
    phones
}
