//! Time as the house tells it: milliseconds since 1970-01-01T00:00:00Z. A room is given its clock,
//! so that tests can move it.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch, UTC.
pub type TimeMs = i64;

/// One minute in milliseconds.
pub const MINUTE_MS: TimeMs = 60_000;
/// One hour in milliseconds.
pub const HOUR_MS: TimeMs = 60 * MINUTE_MS;
/// One day in milliseconds.
pub const DAY_MS: TimeMs = 24 * HOUR_MS;

/// Where a room reads the time.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now_ms(&self) -> TimeMs;

    /// How much time has passed since some moment, whatever anyone does to the clock.
    fn passed_ms(&self) -> TimeMs;
}

/// The host's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> TimeMs {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| TimeMs::try_from(d.as_millis()).unwrap_or(TimeMs::MAX))
    }

    fn passed_ms(&self) -> TimeMs {
        static SINCE: LazyLock<Instant> = LazyLock::new(Instant::now);
        TimeMs::try_from(SINCE.elapsed().as_millis()).unwrap_or(TimeMs::MAX)
    }
}

/// A clock that tests move by hand.
#[derive(Debug, Default)]
pub struct HandClock {
    now: AtomicI64,
    passed: AtomicI64,
}

impl HandClock {
    /// A clock that shows `now_ms` until it is moved.
    #[must_use]
    pub fn at(now_ms: TimeMs) -> Self {
        Self { now: AtomicI64::new(now_ms), passed: AtomicI64::new(0) }
    }

    /// Moves the clock by `by_ms`. Forwards time passes; backwards it was set back.
    pub fn advance(&self, by_ms: TimeMs) {
        self.now.fetch_add(by_ms, Ordering::SeqCst);
        self.passed.fetch_add(by_ms.max(0), Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now_ms(&self) -> TimeMs {
        self.now.load(Ordering::SeqCst)
    }

    fn passed_ms(&self) -> TimeMs {
        self.passed.load(Ordering::SeqCst)
    }
}

impl<C: Clock> Clock for std::sync::Arc<C> {
    fn now_ms(&self) -> TimeMs {
        (**self).now_ms()
    }

    fn passed_ms(&self) -> TimeMs {
        (**self).passed_ms()
    }
}
