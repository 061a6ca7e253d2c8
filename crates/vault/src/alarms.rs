//! What the vault tells the courier past core: see [`rpc::alarm`].
//!
//! Nothing here waits. A kind that comes often is told one by one at first and then summed up, once a minute; what
//! finds no room in the pipe waits in a short list, and what finds no room there is counted and said with the next.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{Clock, TimeMs};
use rpc::alarm::{Alarm, AlarmKind, AlarmWriter};

/// Sums are told after so long.
const SUMMED_MS: TimeMs = model::clock::MINUTE_MS;
/// So many of a kind are told one by one in that time.
const ALONE: u32 = 10;
/// So many forged orders in that time are an alarm: a mistyped key is none.
const FORGED: u64 = 3;
/// The most that wait for room in the pipe.
const MOST_WAITING: usize = 64;

/// One kind in its present minute.
struct Lately {
    since_ms: TimeMs,
    told: u32,
    sum: Option<Alarm>,
}

struct Inside {
    writer: Option<AlarmWriter>,
    waiting: VecDeque<Alarm>,
    lost: u64,
    lately: BTreeMap<AlarmKind, Lately>,
}

/// The way to the courier.
pub(crate) struct Alarms {
    clock: Arc<dyn Clock>,
    inside: Mutex<Inside>,
}

/// A fresh alarm of this kind.
pub(crate) fn alarm(kind: AlarmKind, at_ms: TimeMs) -> Alarm {
    let mut id = [0; 16];
    // Without random numbers the vault does not live for long; an alarm without an id is still one.
    let _ = aws_lc_rs::rand::fill(&mut id);
    Alarm::new(id, kind, at_ms)
}

impl Alarms {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let inside = Inside { writer: None, waiting: VecDeque::new(), lost: 0, lately: BTreeMap::new() };
        Arc::new(Self { clock, inside: Mutex::new(inside) })
    }

    fn hold(&self) -> MutexGuard<'_, Inside> {
        // Whoever panicked in between left at worst one alarm untold.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on alarms go into this pipe.
    pub(crate) fn attach(&self, writer: AlarmWriter) {
        let mut inside = self.hold();
        inside.writer = Some(writer);
        inside.write();
    }

    /// Tells it, now or in this minute's sum.
    pub(crate) fn raise(&self, alarm: Alarm) {
        let passed_ms = self.clock.passed_ms();
        let mut inside = self.hold();
        inside.end_of_minute(alarm.kind, passed_ms);
        inside.take(alarm, passed_ms);
        inside.write();
    }

    /// To be called every second or so: what was summed up is told in time, and what waits is tried again.
    pub(crate) fn tick(&self) {
        let passed_ms = self.clock.passed_ms();
        let mut inside = self.hold();
        let kinds: Vec<AlarmKind> = inside.lately.keys().copied().collect();
        for kind in kinds {
            inside.end_of_minute(kind, passed_ms);
        }
        inside.write();
    }
}

impl Inside {
    fn end_of_minute(&mut self, kind: AlarmKind, passed_ms: TimeMs) {
        if self.lately.get(&kind).is_none_or(|l| passed_ms - l.since_ms < SUMMED_MS) {
            return;
        }
        let sum = self.lately.remove(&kind).and_then(|l| l.sum.map(|sum| (l.told, sum)));
        if let Some((told, sum)) = sum
            && (kind != AlarmKind::ForgedOrders || told > 0 || sum.count >= FORGED)
        {
            self.put(sum);
        }
    }

    fn take(&mut self, alarm: Alarm, passed_ms: TimeMs) {
        let kind = alarm.kind;
        let fresh = || Lately { since_ms: passed_ms, told: 0, sum: None };
        let lately = self.lately.entry(kind).or_insert_with(fresh);
        let sum = match lately.sum.take() {
            // Whom a sum is about is told only while it is the same.
            Some(sum) => Alarm {
                id: sum.id,
                count: sum.count.saturating_add(alarm.count),
                enrolment: sum.enrolment.filter(|e| alarm.enrolment == Some(*e)),
                person: sum.person.filter(|p| alarm.person == Some(*p)),
                order: sum.order.filter(|o| alarm.order == Some(*o)),
                refusal: sum.refusal.filter(|r| alarm.refusal == Some(*r)),
                ..alarm
            },
            None => alarm,
        };
        let now = match kind {
            AlarmKind::ForgedOrders => lately.told == 0 && sum.count >= FORGED,
            _ => lately.told < ALONE,
        };
        if now {
            lately.told += 1;
            self.put(sum);
        } else {
            lately.sum = Some(sum);
        }
    }

    /// The log has what is told, not each of a flood.
    fn put(&mut self, alarm: Alarm) {
        tracing::warn!(alarm = alarm.kind.word(), count = alarm.count, "an alarm");
        if self.waiting.len() < MOST_WAITING {
            self.waiting.push_back(alarm);
        } else {
            self.lost = self.lost.saturating_add(1);
        }
    }

    fn write(&mut self) {
        let Some(writer) = &mut self.writer else { return };
        while let Some(mut alarm) = self.waiting.front().cloned() {
            alarm.lost_before = self.lost;
            if !writer.write(&alarm) {
                return;
            }
            self.lost = 0;
            self.waiting.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::clock::HandClock;
    use rpc::alarm::{FRAME_BYTES, pipe};
    use std::fs::File;
    use std::io::Read;

    struct Courier(File);

    impl Courier {
        fn read(&mut self) -> Vec<Alarm> {
            let mut frame = [0; FRAME_BYTES];
            let mut out = Vec::new();
            while let Ok(FRAME_BYTES) = self.0.read(&mut frame) {
                out.push(Alarm::from_frame(&frame).unwrap());
            }
            out
        }
    }

    fn made() -> (Arc<HandClock>, Arc<Alarms>, Courier) {
        let clock = Arc::new(HandClock::at(1_000));
        let alarms = Alarms::new(clock.clone());
        let (read, write) = pipe().unwrap();
        alarms.attach(AlarmWriter::new(write));
        (clock, alarms, Courier(File::from(read)))
    }

    #[test]
    fn a_flood_of_one_kind_is_told_ten_times_and_then_as_one_sum_a_minute() {
        let (clock, alarms, mut courier) = made();
        for _ in 0..1_000 {
            alarms.raise(alarm(AlarmKind::ChallengeReused, 1));
        }
        assert_eq!(courier.read().len(), 10);
        alarms.tick();
        assert_eq!(courier.read(), []);
        clock.advance(SUMMED_MS);
        alarms.tick();
        let sums = courier.read();
        assert_eq!(sums.iter().map(|a| a.count).collect::<Vec<_>>(), [990]);
        alarms.raise(alarm(AlarmKind::ChallengeReused, 1));
        assert_eq!(courier.read().len(), 1);
    }

    #[test]
    fn two_forged_orders_in_a_minute_are_no_alarm_and_the_third_is() {
        let (clock, alarms, mut courier) = made();
        for _ in 0..2 {
            alarms.raise(alarm(AlarmKind::ForgedOrders, 1));
        }
        clock.advance(SUMMED_MS);
        alarms.tick();
        assert_eq!(courier.read(), []);
        for _ in 0..10_000 {
            alarms.raise(alarm(AlarmKind::ForgedOrders, 1));
        }
        assert_eq!(courier.read().iter().map(|a| a.count).collect::<Vec<_>>(), [FORGED]);
        clock.advance(SUMMED_MS);
        alarms.tick();
        assert_eq!(courier.read().iter().map(|a| a.count).collect::<Vec<_>>(), [10_000 - FORGED]);
    }

    #[test]
    fn a_full_pipe_holds_nothing_up_and_what_was_lost_is_counted_in_the_next() {
        let (clock, alarms, mut courier) = made();
        let mut raised = 0;
        for _ in 0..60 {
            for kind in AlarmKind::ALL.iter().filter(|k| **k != AlarmKind::ForgedOrders) {
                for _ in 0..ALONE {
                    alarms.raise(alarm(*kind, 1));
                    raised += 1;
                }
            }
            clock.advance(SUMMED_MS);
        }
        let mut read = Vec::new();
        loop {
            let some = courier.read();
            if some.is_empty() {
                break;
            }
            read.extend(some);
            alarms.tick();
        }
        let lost: u64 = read.iter().map(|a| a.lost_before).sum();
        assert!(lost > 1_000, "{lost}");
        assert_eq!(u64::try_from(read.len()).unwrap() + lost, raised);
    }

    #[test]
    fn what_is_raised_before_there_is_a_pipe_is_told_when_there_is() {
        let alarms = Alarms::new(Arc::new(HandClock::at(1)));
        alarms.raise(alarm(AlarmKind::RestoredUnconfirmed, 7));
        let (read, write) = pipe().unwrap();
        alarms.attach(AlarmWriter::new(write));
        let read = Courier(File::from(read)).read();
        assert_eq!(
            read.iter().map(|a| (a.kind, a.at_ms)).collect::<Vec<_>>(),
            [(AlarmKind::RestoredUnconfirmed, 7)]
        );
    }
}
