//! Counting and timing.

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The longest latency that is told apart from longer ones.
const MAX_LATENCY_US: u64 = 60_000_000;
/// Kinds of errors that are kept apart.
const MAX_KINDS: usize = 32;

/// Latencies in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct Latency {
    /// Arithmetic mean.
    pub mean_us: f64,
    /// Median.
    pub p50_us: u64,
    /// 90 of 100 are faster.
    pub p90_us: u64,
    /// 99 of 100 are faster.
    pub p99_us: u64,
    /// 999 of 1,000 are faster.
    pub p999_us: u64,
    /// The slowest.
    pub max_us: u64,
}

/// What a load came to.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct LoadReport {
    /// Which load.
    pub name: &'static str,
    /// Connections, or enrolments at once.
    pub connections: usize,
    /// What was counted: idle check-ins, round trips, enrolments.
    pub operations: u64,
    /// Requests that were answered well and are not what was counted.
    pub others: u64,
    /// Handshakes that a session ticket made short.
    pub resumed: u64,
    /// Requests, connections or enrolments that failed.
    pub errors: u64,
    /// The same by kind.
    pub error_kinds: BTreeMap<&'static str, u64>,
    /// The first error of each kind, in words.
    pub examples: BTreeMap<&'static str, String>,
    /// How long was measured, in seconds.
    pub seconds: f64,
    /// Operations a second.
    pub per_s: f64,
    /// From sending to having the answer; of operations only.
    pub latency: Latency,
    /// CPU time of this process while it measured, in seconds.
    pub client_cpu_s: f64,
    /// The same an operation, in microseconds.
    pub client_cpu_us: f64,
}

pub(super) struct Meter {
    operations: AtomicU64,
    others: AtomicU64,
    resumed: AtomicU64,
    latencies: Mutex<Option<Histogram<u64>>>,
    errors: Mutex<BTreeMap<&'static str, (u64, String)>>,
    spent: Mutex<Spent>,
}

#[derive(Default)]
struct Spent {
    since: Option<(Instant, Duration)>,
    wall: Duration,
    cpu: Duration,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn process_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

impl Meter {
    pub(super) fn new() -> Self {
        Self {
            operations: AtomicU64::new(0),
            others: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
            latencies: Mutex::new(Histogram::new_with_bounds(1, MAX_LATENCY_US, 3).ok()),
            errors: Mutex::new(BTreeMap::new()),
            spent: Mutex::new(Spent::default()),
        }
    }

    pub(super) fn start(&self) {
        lock(&self.spent).since = Some((Instant::now(), process_cpu()));
    }

    pub(super) fn stop(&self) {
        let mut spent = lock(&self.spent);
        if let Some((wall, cpu)) = spent.since.take() {
            spent.wall += wall.elapsed();
            spent.cpu += process_cpu().saturating_sub(cpu);
        }
    }

    /// How long the clock has run.
    pub(super) fn ran(&self) -> Duration {
        let spent = lock(&self.spent);
        spent.wall + spent.since.map_or(Duration::ZERO, |(wall, _)| wall.elapsed())
    }

    pub(super) fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    pub(super) fn operation(&self, took: Duration) {
        self.operations.fetch_add(1, Ordering::Relaxed);
        if let Some(histogram) = lock(&self.latencies).as_mut() {
            histogram.saturating_record(u64::try_from(took.as_micros()).unwrap_or(MAX_LATENCY_US).max(1));
        }
    }

    pub(super) fn other(&self) {
        self.others.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn resumed(&self) {
        self.resumed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn error(&self, kind: &'static str, example: String) {
        let mut errors = lock(&self.errors);
        if errors.len() < MAX_KINDS || errors.contains_key(kind) {
            errors.entry(kind).or_insert((0, example)).0 += 1;
        }
    }

    pub(super) fn report(&self, name: &'static str, connections: usize) -> LoadReport {
        let operations = self.operations();
        let errors = lock(&self.errors);
        let spent = lock(&self.spent);
        let (seconds, client_cpu_s) = (spent.wall.as_secs_f64(), spent.cpu.as_secs_f64());
        let per = |total: f64, n: f64| if n > 0.0 { total / n } else { 0.0 };
        let latency = lock(&self.latencies).as_ref().map_or_else(Latency::default, |h| Latency {
            mean_us: h.mean(),
            p50_us: h.value_at_quantile(0.5),
            p90_us: h.value_at_quantile(0.9),
            p99_us: h.value_at_quantile(0.99),
            p999_us: h.value_at_quantile(0.999),
            max_us: h.max(),
        });
        LoadReport {
            name,
            connections,
            operations,
            others: self.others.load(Ordering::Relaxed),
            resumed: self.resumed.load(Ordering::Relaxed),
            errors: errors.values().map(|(n, _)| n).sum(),
            error_kinds: errors.iter().map(|(kind, (n, _))| (*kind, *n)).collect(),
            examples: errors.iter().map(|(kind, (_, example))| (*kind, example.clone())).collect(),
            seconds,
            per_s: per(operations as f64, seconds),
            latency,
            client_cpu_s,
            client_cpu_us: per(client_cpu_s * 1e6, operations as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_counts_only_while_the_clock_runs() {
        let meter = Meter::new();
        meter.start();
        for took_us in [100, 200, 300, 400] {
            meter.operation(Duration::from_micros(took_us));
        }
        meter.other();
        meter.error("io", "first".to_owned());
        meter.error("io", "second".to_owned());
        std::thread::sleep(Duration::from_millis(20));
        meter.stop();
        let ran = meter.ran();
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(meter.ran(), ran);
        let report = meter.report("test", 1);
        assert_eq!((report.operations, report.others, report.errors), (4, 1, 2));
        assert_eq!(report.examples["io"], "first");
        assert!(report.per_s > 0.0 && report.per_s <= 200.0);
        assert_eq!((report.latency.p50_us, report.latency.max_us), (200, 400));
        assert!(serde_json::to_string(&report).unwrap().contains("\"p99_us\":400"));
    }
}
