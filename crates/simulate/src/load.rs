//! Closed-loop load for `matron bench`: each connection sends its next request when the last was answered.
//!
//! Everything runs on the runtime of the caller. Give it one thread (`tokio` current-thread) and a process
//! of its own: then `client_cpu_s` is the phones' share and nothing else.

mod drive;
mod measure;
mod script;

pub use measure::{Latency, LoadReport};

use crate::keys::KeyPool;
use crate::network::Network;
use crate::{Fault, Phone};
use drive::Mode;
use measure::Meter;
use model::Clock;
use std::sync::Arc;
use std::time::Duration;

/// How many handshakes are under way at once while connections are opened.
const OPENING: usize = 32;

/// How long phones may take to do what is left when time is up.
const LEFTOVERS: Duration = Duration::from_secs(30);

/// Makes room for so many connections: raises this process's limit of open files as far as it may.
///
/// # Errors
/// [`Fault::State`] if the hard limit allows fewer; the operator raises it (`ulimit -Hn`).
pub fn allow_connections(count: usize) -> Result<(), Fault> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // The runtime, the terminal, a log.
    let needed = count as u64 + 64;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if limit.maximum.is_some_and(|maximum| maximum < needed) {
        return Err(Fault::State("the system allows too few open files; raise the limit with ulimit -Hn"));
    }
    let raised = Rlimit { current: Some(needed), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).map_err(|e| Fault::Io(e.into()))
}

/// How much load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadOptions {
    /// Kept connections, one a phone; no more than there are phones.
    pub connections: usize,
    /// How long to measure.
    pub for_ms: u64,
}

/// Idle check-ins on kept connections: a phone reports `Idle`, the server has nothing for it.
///
/// A command that comes all the same is answered, and not counted. The phones given come back in `phones`.
pub async fn idle(phones: &mut Vec<Phone>, options: LoadOptions) -> LoadReport {
    let meter = Arc::new(Meter::new());
    let mut lanes = drive::open(phones, options.connections, OPENING, &meter).await;
    meter.start();
    drive::run(&mut lanes, Mode::Idle, Duration::from_millis(options.for_ms), &meter).await;
    meter.stop();
    let report = meter.report("idle", lanes.len());
    drive::close(lanes, phones);
    report
}

/// Check-ins with a handshake each: full ones, or with session tickets where `resume`. One that brings a
/// command counts as well; the command is left where it is.
pub async fn cold(phones: &mut Vec<Phone>, options: LoadOptions, resume: bool) -> LoadReport {
    let meter = Arc::new(Meter::new());
    let mut lanes = drive::unopened(phones, options.connections);
    meter.start();
    let mode = if resume { Mode::Resumed } else { Mode::Cold };
    drive::run(&mut lanes, mode, Duration::from_millis(options.for_ms), &meter).await;
    meter.stop();
    let report = meter.report(if resume { "cold_resumed" } else { "cold" }, lanes.len());
    drive::close(lanes, phones);
    report
}

/// Command round trips on kept connections: a report acknowledges one command, and its answer brings the
/// next. Only those are counted; the last report of a queue is in [`LoadReport::others`].
///
/// Commands must wait for the phones. In rounds: `refill(round)` queues some for every phone (the free
/// queries, say), unmeasured; then the clock runs while all phones empty their queues. It ends when the
/// clock has run for `for_ms`, when a refill fails, or when a round brought nothing.
pub async fn round_trips<E: std::fmt::Display>(
    phones: &mut Vec<Phone>,
    options: LoadOptions,
    mut refill: impl AsyncFnMut(u32) -> Result<(), E>,
) -> LoadReport {
    let meter = Arc::new(Meter::new());
    let mut lanes = drive::open(phones, options.connections, OPENING, &meter).await;
    let limit = Duration::from_millis(options.for_ms);
    let mut round = 0;
    while meter.ran() < limit {
        if let Err(error) = refill(round).await {
            meter.error("refill", error.to_string());
            break;
        }
        let before = meter.operations();
        meter.start();
        drive::run(&mut lanes, Mode::Drain, limit.saturating_sub(meter.ran()), &meter).await;
        meter.stop();
        if meter.operations() == before {
            meter.error("refill", "a round brought no command".to_owned());
            break;
        }
        round += 1;
    }
    let report = meter.report("round_trips", lanes.len());
    // What the end of time left in the queues is done too, so that the next load finds them empty.
    drive::run(&mut lanes, Mode::Drain, LEFTOVERS, &Arc::new(Meter::new())).await;
    drive::close(lanes, phones);
    report
}

/// Enrolments: each from the link to `TokenUpdate`, `at_once` of them under way. Phone `i` takes link `i`.
///
/// Give it keys made beforehand ([`KeyPool::made`]), or the making of keys is what is measured. Gives the
/// phones that enrolled.
pub async fn enrol(
    links: Vec<String>,
    seed: u64,
    network: &Network,
    keys: &KeyPool,
    clock: Arc<dyn Clock>,
    at_once: usize,
) -> (LoadReport, Vec<Phone>) {
    let meter = Arc::new(Meter::new());
    meter.start();
    let phones = drive::enrol(links, seed, network, keys, clock, at_once, &meter).await;
    meter.stop();
    (meter.report("enrolments", at_once), phones)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_is_raised_or_refused_by_name() {
        allow_connections(100).unwrap();
        let hard = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
        if let Some(hard) = hard {
            assert!(matches!(allow_connections(usize::try_from(hard).unwrap()), Err(Fault::State(_))));
        }
    }
}
