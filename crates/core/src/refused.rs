//! What was turned away: since core started, for Prometheus, and in the last hour, for the page that people look at.

use std::sync::{Arc, Mutex, PoisonError};

use model::clock::MINUTE_MS;
use model::{Clock, TimeMs};
use prometheus_client::metrics::counter::Counter;

const MINUTES: usize = 60;

/// How many were turned away for one reason.
#[derive(Clone)]
pub(crate) struct Refused {
    counter: Counter,
    /// For each of the last 60 minutes that had any: which minute, and how many.
    minutes: Arc<Mutex<[(TimeMs, u64); MINUTES]>>,
    clock: Arc<dyn Clock>,
}

impl Refused {
    /// Counts by this clock, into that counter too.
    pub fn counting(counter: Counter, clock: Arc<dyn Clock>) -> Self {
        Self { counter, minutes: Arc::new(Mutex::new([(-1, 0); MINUTES])), clock }
    }

    /// One was turned away.
    pub fn inc(&self) {
        self.counter.inc();
        let minute = self.clock.now_ms().div_euclid(MINUTE_MS);
        let mut minutes = self.minutes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = place(minute).and_then(|at| minutes.get_mut(at)) else { return };
        let so_far = if place.0 == minute { place.1 } else { 0 };
        *place = (minute, so_far.saturating_add(1));
    }

    /// How many since core started.
    pub fn since_start(&self) -> u64 {
        self.counter.get()
    }

    /// How many in the last 60 minutes, to the minute.
    pub fn last_hour(&self) -> u64 {
        let minute = self.clock.now_ms().div_euclid(MINUTE_MS);
        let since = minute - TimeMs::try_from(MINUTES).unwrap_or_default();
        let minutes = self.minutes.lock().unwrap_or_else(PoisonError::into_inner);
        let within = minutes.iter().filter(|(at, _)| *at > since && *at <= minute);
        within.fold(0, |sum, (_, n)| sum.saturating_add(*n))
    }
}

fn place(minute: TimeMs) -> Option<usize> {
    usize::try_from(minute).ok().map(|m| m % MINUTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::clock::HandClock;

    #[test]
    fn what_was_refused_is_told_for_the_last_hour_and_since_the_start() {
        let clock = Arc::new(HandClock::at(1_795_564_800_000));
        let refused = Refused::counting(Counter::default(), clock.clone());
        let told = || (refused.since_start(), refused.last_hour());
        assert_eq!(told(), (0, 0));
        refused.inc();
        refused.inc();
        assert_eq!(told(), (2, 2));
        clock.advance(59 * MINUTE_MS);
        refused.inc();
        assert_eq!(told(), (3, 3));
        clock.advance(MINUTE_MS);
        assert_eq!(told(), (3, 1), "an hour ago is over");
        // The minute's place is another minute's by now.
        refused.inc();
        assert_eq!(told(), (4, 2));
        clock.advance(10 * 60 * MINUTE_MS);
        assert_eq!(told(), (4, 0));
    }
}
