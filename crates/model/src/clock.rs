//! Time as the house tells it: milliseconds since 1970-01-01T00:00:00Z. A room is given its clock,
//! so that tests can move it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
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

    /// Someone who is believed says that it is `at_ms` already. Only a [`SteadyClock`] takes note.
    fn not_before(&self, _at_ms: TimeMs) {}
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

/// A clock that was set back by no more than this is not followed: what had run out stays run out. One
/// that is set back by more is: it was perhaps wrong before.
pub const SET_BACK_MS: TimeMs = DAY_MS;

/// A clock that setting another one back does not set back (by up to [`SET_BACK_MS`], while the process lives).
#[derive(Debug, Default)]
pub struct SteadyClock<C> {
    clock: C,
    /// What was shown last, and `passed_ms` of the clock at that moment.
    last: Mutex<Option<(TimeMs, TimeMs)>>,
}

impl<C: Clock> SteadyClock<C> {
    /// Begins with what `clock` shows when it is first asked.
    pub fn new(clock: C) -> Self {
        Self { clock, last: Mutex::new(None) }
    }

    fn show(&self, at_least_ms: Option<TimeMs>) -> TimeMs {
        // Two numbers, written together: no panic elsewhere leaves them half done.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (clock_ms, passed_ms) = (self.clock.now_ms(), self.clock.passed_ms());
        let steady_ms = last.map(|(shown_ms, then_ms)| shown_ms + (passed_ms - then_ms));
        let likely = |at_ms: &TimeMs| (clock_ms..=clock_ms + SET_BACK_MS).contains(at_ms);
        let now_ms = steady_ms.into_iter().chain(at_least_ms).filter(likely).fold(clock_ms, TimeMs::max);
        *last = Some((now_ms, passed_ms));
        now_ms
    }
}

impl<C: Clock> Clock for SteadyClock<C> {
    fn now_ms(&self) -> TimeMs {
        self.show(None)
    }

    fn passed_ms(&self) -> TimeMs {
        self.clock.passed_ms()
    }

    fn not_before(&self, at_ms: TimeMs) {
        self.show(Some(at_ms));
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

    fn not_before(&self, at_ms: TimeMs) {
        (**self).not_before(at_ms);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_steady_clock_goes_on_when_the_hosts_is_set_back_by_up_to_a_day() {
        let hand = Arc::new(HandClock::at(10 * DAY_MS));
        let steady = SteadyClock::new(hand.clone());
        assert_eq!(steady.now_ms(), 10 * DAY_MS);
        hand.advance(-12 * HOUR_MS);
        assert_eq!(steady.now_ms(), 10 * DAY_MS);
        hand.advance(HOUR_MS);
        assert_eq!(steady.now_ms(), 10 * DAY_MS + HOUR_MS);
        hand.advance(13 * HOUR_MS);
        assert_eq!(steady.now_ms(), 10 * DAY_MS + 14 * HOUR_MS);
    }

    #[test]
    fn a_steady_clock_follows_one_that_was_years_ahead_and_is_put_right() {
        let hand = Arc::new(HandClock::at(3650 * DAY_MS));
        let steady = SteadyClock::new(hand.clone());
        assert_eq!(steady.now_ms(), 3650 * DAY_MS);
        hand.advance(-3000 * DAY_MS);
        assert_eq!(steady.now_ms(), 650 * DAY_MS);
    }

    #[test]
    fn a_steady_clock_takes_the_word_that_it_is_later_for_up_to_a_day() {
        let hand = Arc::new(HandClock::at(DAY_MS));
        let steady = SteadyClock::new(hand.clone());
        steady.not_before(DAY_MS + HOUR_MS);
        assert_eq!(steady.now_ms(), DAY_MS + HOUR_MS);
        steady.not_before(9 * DAY_MS);
        assert_eq!(steady.now_ms(), DAY_MS + HOUR_MS, "a word that is days off says nothing");
    }
}
