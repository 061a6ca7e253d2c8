//! What core keeps in memory of every phone, so that one that checks in with nothing to do costs no
//! query. It is changed by what was committed, in the order of the commits; at a start it is read
//! from the store.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::{Digest, EnrolmentId, TimeMs};
use store::{EnrolmentRecord, EnrolmentState, PushState, RenewedRecord, Slot};

/// A phone's last-seen time is written once it is so much newer than the written one.
const SEEN_COARSE_MS: TimeMs = 30_000;
/// A phone turned away for the same reason goes into the ledger once in this time.
const REFUSAL_PAUSE_MS: TimeMs = model::clock::HOUR_MS;

/// A phone, as the check-in path needs it.
#[derive(Debug, Clone)]
pub(crate) struct Phone {
    pub slot: Slot,
    pub state: EnrolmentState,
    pub tag: Option<Vec<u8>>,
    pub push: PushState,
    pub supervised: Option<bool>,
    /// A command is open for it.
    pub waiting: bool,
    pub last_seen_ms: TimeMs,
    written_seen_ms: TimeMs,
    dirty: bool,
    /// Its last status was NotNow: it will come by itself when it can.
    last_not_now: bool,
    /// Commands put off at or before then are offered in the conversation under way.
    offer_until_ms: TimeMs,
    pushed_at_ms: TimeMs,
    push_attempts: usize,
    /// Something new was queued: it is pushed even if it spoke a moment ago.
    push_now: bool,
    /// When it is pushed next; 0: not at all.
    push_at_ms: TimeMs,
    refused_at_ms: TimeMs,
    /// Only where it has had more than one certificate.
    renewed: Option<Box<RenewedRecord>>,
}

impl Phone {
    fn of(r: EnrolmentRecord) -> Self {
        Self {
            slot: r.slot,
            state: r.state,
            tag: r.udid_tag,
            push: r.push,
            supervised: r.supervised,
            waiting: r.waiting,
            last_seen_ms: r.last_seen_at_ms,
            written_seen_ms: r.last_seen_at_ms,
            dirty: false,
            last_not_now: false,
            offer_until_ms: 0,
            pushed_at_ms: 0,
            push_attempts: 0,
            push_now: false,
            push_at_ms: 0,
            refused_at_ms: 0,
            renewed: None,
        }
    }
}

/// What the certificate that a phone shows means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// The one that it is known to use, or one of which nothing else is known.
    InUse,
    /// Its newest one, for the first time.
    First(Digest),
    /// The one it used before, not long after it was retired: it was restored from a backup.
    Restored(Digest),
    /// The one it used before, long after.
    Retired,
}

/// So long after its retirement a certificate still lets its phone in, to renew anew: a phone that was
/// restored from a backup has no other.
const RESTORE_GRACE_MS: TimeMs = 14 * model::clock::DAY_MS;

impl Phone {
    fn shows(&self, certificate: &[u8], now_ms: TimeMs) -> Shown {
        let (Some(known), Ok(shown)) = (self.renewed.as_deref(), Digest::try_from(certificate)) else {
            return Shown::InUse;
        };
        match known.retired {
            _ if shown == known.used => Shown::InUse,
            _ if shown == known.newest => Shown::First(shown),
            Some((retired, at_ms)) if shown == retired => {
                if now_ms < at_ms + RESTORE_GRACE_MS {
                    Shown::Restored(shown)
                } else {
                    Shown::Retired
                }
            }
            _ => Shown::InUse,
        }
    }
}

impl Phone {
    /// Once in a while: the ledger is not a phone's to fill.
    fn may_tell_refusal(&mut self, now_ms: TimeMs) -> bool {
        let tell = now_ms - self.refused_at_ms >= REFUSAL_PAUSE_MS;
        if tell {
            self.refused_at_ms = now_ms;
        }
        tell
    }
}

/// What a status from the phone means for what it may be offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoke {
    /// It begins a conversation.
    Idle,
    /// It put a command off.
    NotNow,
    /// Any other message of the phone's own.
    Other,
    /// A message of one of its users, which says nothing of what the phone put off.
    User,
}

/// How a phone stands as it speaks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    pub slot: Slot,
    pub state: EnrolmentState,
    pub waiting: bool,
    pub offer_until_ms: TimeMs,
    pub shown: Shown,
}

/// Why a phone is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TurnedAway {
    /// No such enrolment, or it is over.
    NotOurs,
    /// It shows a certificate that was retired long ago. `tell`: the ledger hears of it now.
    RetiredCertificate { tell: bool },
    /// Another phone's tag under this enrolment. `tell`: the ledger hears of it now.
    OtherPhone { slot: Slot, tell: bool },
}

#[derive(Default)]
struct Inner {
    phones: HashMap<EnrolmentId, Phone>,
    dirty: Vec<EnrolmentId>,
    pushes: BinaryHeap<Reverse<(TimeMs, EnrolmentId)>>,
}

/// Every phone.
pub(crate) struct Fleet {
    inner: Mutex<Inner>,
    /// Tells the pushing task that something is due sooner than it thinks.
    pub push_due: tokio::sync::Notify,
    not_now_retry_ms: TimeMs,
    backoff_ms: Vec<TimeMs>,
}

impl Fleet {
    pub fn new(records: Vec<EnrolmentRecord>, not_now_retry_ms: TimeMs, backoff_ms: Vec<TimeMs>) -> Self {
        let mut inner = Inner::default();
        for r in records {
            inner.phones.insert(r.enrolment, Phone::of(r));
        }
        Self { inner: Mutex::new(inner), push_due: tokio::sync::Notify::new(), not_now_retry_ms, backoff_ms }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn backoff(&self, attempt: usize) -> TimeMs {
        let last = self.backoff_ms.last().copied().unwrap_or(model::clock::DAY_MS);
        self.backoff_ms.get(attempt).copied().unwrap_or(last)
    }

    pub fn find(&self, enrolment: EnrolmentId) -> Option<Phone> {
        self.lock().phones.get(&enrolment).cloned()
    }

    /// Whether the ledger hears now that this phone was turned away.
    pub fn may_tell_refusal(&self, enrolment: EnrolmentId, now_ms: TimeMs) -> bool {
        self.lock().phones.get_mut(&enrolment).is_some_and(|p| p.may_tell_refusal(now_ms))
    }

    pub fn slot(&self, enrolment: EnrolmentId) -> Option<Slot> {
        self.lock().phones.get(&enrolment).map(|p| p.slot)
    }

    /// A phone speaks: who it is, and what it may be offered. With no tag bound yet any tag will do
    /// (`Authenticate` binds it).
    pub fn speak(
        &self,
        enrolment: EnrolmentId,
        tag: &[u8],
        certificate: &[u8],
        spoke: Spoke,
        now_ms: TimeMs,
    ) -> Result<Standing, TurnedAway> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let p = inner.phones.get_mut(&enrolment).ok_or(TurnedAway::NotOurs)?;
        if p.state.is_over() || p.state == EnrolmentState::Invited {
            return Err(TurnedAway::NotOurs);
        }
        if p.tag.as_ref().is_some_and(|t| t != tag) {
            let tell = p.may_tell_refusal(now_ms);
            return Err(TurnedAway::OtherPhone { slot: p.slot, tell });
        }
        let shown = p.shows(certificate, now_ms);
        if shown == Shown::Retired {
            return Err(TurnedAway::RetiredCertificate { tell: p.may_tell_refusal(now_ms) });
        }
        p.last_seen_ms = now_ms;
        // Also where a clock that ran ahead had written a time yet to come.
        if !p.dirty && !(0..SEEN_COARSE_MS).contains(&(now_ms - p.written_seen_ms)) {
            p.dirty = true;
            inner.dirty.push(enrolment);
        }
        match spoke {
            Spoke::Idle => {
                // Before this millisecond, so that what is put off in it is not offered again in it.
                p.offer_until_ms = if p.last_not_now || p.pushed_at_ms > 0 {
                    now_ms - 1
                } else {
                    now_ms - self.not_now_retry_ms
                };
                p.last_not_now = false;
                p.pushed_at_ms = 0;
                p.push_attempts = 0;
            }
            Spoke::NotNow => p.last_not_now = true,
            Spoke::Other => p.last_not_now = false,
            Spoke::User => {}
        }
        Ok(Standing {
            slot: p.slot,
            state: p.state,
            waiting: p.waiting,
            offer_until_ms: p.offer_until_ms,
            shown,
        })
    }

    /// After a commit: whether a command is (still) open, and whether one was given just now.
    pub fn answered(&self, enrolment: EnrolmentId, waiting: bool, given: bool, now_ms: TimeMs) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let Some(p) = inner.phones.get_mut(&enrolment) else { return };
        p.waiting = waiting;
        if !waiting {
            p.push_at_ms = 0;
            return;
        }
        // What is there waits for the phone to come again, or was put off. An entry that is there
        // already is looked at when its time comes.
        if p.push_at_ms <= now_ms {
            let wait = if given { self.backoff(0) } else { self.not_now_retry_ms };
            p.push_at_ms = now_ms + wait;
            inner.pushes.push(Reverse((p.push_at_ms, enrolment)));
        }
    }

    /// Commands were queued for these phones: they are pushed at once.
    pub fn queued(&self, enrolments: &[EnrolmentId], now_ms: TimeMs) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        for enrolment in enrolments {
            let Some(p) = inner.phones.get_mut(enrolment) else { continue };
            p.waiting = true;
            p.push_attempts = 0;
            p.push_now = true;
            p.push_at_ms = now_ms;
            inner.pushes.push(Reverse((now_ms, *enrolment)));
        }
        self.push_due.notify_one();
    }

    /// Every phone for which something waits is pushed once after a start.
    pub fn schedule_all(&self, now_ms: TimeMs) {
        let waiting: Vec<EnrolmentId> =
            self.lock().phones.iter().filter(|(_, p)| p.waiting).map(|(e, _)| *e).collect();
        self.queued(&waiting, now_ms);
    }

    /// Phones to be pushed now, and when to look again.
    pub fn due_pushes(&self, now_ms: TimeMs, most: usize) -> (Vec<(EnrolmentId, Slot)>, Option<TimeMs>) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let mut due = Vec::new();
        while let Some(Reverse((at, enrolment))) = inner.pushes.peek().copied() {
            if at > now_ms || due.len() >= most {
                break;
            }
            inner.pushes.pop();
            let Some(p) = inner.phones.get_mut(&enrolment) else { continue };
            if p.push_at_ms != at || !p.waiting {
                continue;
            }
            if p.push != PushState::Ok || p.state != EnrolmentState::Enrolled {
                p.push_at_ms = 0;
                continue;
            }
            // It spoke since this was scheduled: silence is counted from there.
            // Never from a time yet to come, which a clock running ahead may have left.
            let quiet_until = p.last_seen_ms.min(now_ms) + self.backoff(0);
            if !std::mem::take(&mut p.push_now) && quiet_until > now_ms {
                p.push_at_ms = quiet_until;
                inner.pushes.push(Reverse((quiet_until, enrolment)));
                continue;
            }
            p.pushed_at_ms = now_ms;
            p.push_attempts += 1;
            p.push_at_ms = now_ms + self.backoff(p.push_attempts - 1);
            inner.pushes.push(Reverse((p.push_at_ms, enrolment)));
            due.push((enrolment, p.slot));
        }
        (due, inner.pushes.peek().map(|r| r.0.0))
    }

    /// A push that did not go out is tried again then.
    pub fn push_again(&self, enrolment: EnrolmentId, at_ms: TimeMs) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let Some(p) = inner.phones.get_mut(&enrolment) else { return };
        p.push_at_ms = at_ms;
        p.push_now = true;
        p.push_attempts = p.push_attempts.saturating_sub(1);
        p.pushed_at_ms = 0;
        inner.pushes.push(Reverse((at_ms, enrolment)));
    }

    /// Takes in what the store says of a phone now (after it was committed).
    pub fn update(&self, enrolment: EnrolmentId, change: impl FnOnce(&mut Phone)) {
        if let Some(p) = self.lock().phones.get_mut(&enrolment) {
            change(p);
        }
    }

    /// Which certificates of a phone are known.
    pub fn know_certificates(&self, known: RenewedRecord) {
        self.update(known.enrolment, |p| p.renewed = Some(Box::new(known)));
    }

    /// A new enrolment.
    pub fn add(&self, enrolment: EnrolmentId, slot: Slot) {
        let record = EnrolmentRecord {
            slot,
            enrolment,
            state: EnrolmentState::Invited,
            udid_tag: None,
            push: PushState::None,
            last_seen_at_ms: 0,
            waiting: false,
            supervised: None,
        };
        self.lock().phones.entry(enrolment).or_insert_with(|| Phone::of(record));
    }

    /// How many enrolled phones were not heard of since each of these times.
    pub fn count_silent(&self, since_ms: [TimeMs; 2]) -> [u64; 2] {
        let inner = self.lock();
        let enrolled = inner.phones.values().filter(|p| p.state == EnrolmentState::Enrolled);
        enrolled.fold([0; 2], |[a, b], p| {
            let silent = |since| u64::from(p.last_seen_ms < since);
            [a + silent(since_ms[0]), b + silent(since_ms[1])]
        })
    }

    /// Last-seen times that want writing.
    pub fn take_seen(&self) -> Vec<(Slot, TimeMs)> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let mut out = Vec::with_capacity(inner.dirty.len());
        for enrolment in inner.dirty.drain(..) {
            if let Some(p) = inner.phones.get_mut(&enrolment) {
                p.dirty = false;
                p.written_seen_ms = p.last_seen_ms;
                out.push((p.slot, p.last_seen_ms));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const E: EnrolmentId = EnrolmentId([1; 16]);

    fn fleet(waiting: bool) -> Fleet {
        let r = EnrolmentRecord {
            slot: Slot(1),
            enrolment: E,
            state: EnrolmentState::Enrolled,
            udid_tag: Some(vec![7; 16]),
            push: PushState::Ok,
            last_seen_at_ms: 0,
            waiting,
            supervised: None,
        };
        Fleet::new(vec![r], 900_000, vec![120_000, 600_000])
    }

    #[test]
    fn a_phone_with_another_tag_is_turned_away_and_told_of_once_an_hour() {
        let f = fleet(false);
        let other = |now| f.speak(E, &[8; 16], &[], Spoke::Idle, now).unwrap_err();
        assert_eq!(other(4_000_000), TurnedAway::OtherPhone { slot: Slot(1), tell: true });
        assert_eq!(other(4_000_001), TurnedAway::OtherPhone { slot: Slot(1), tell: false });
        assert_eq!(other(8_000_000), TurnedAway::OtherPhone { slot: Slot(1), tell: true });
        assert!(f.speak(EnrolmentId([9; 16]), &[7; 16], &[], Spoke::Idle, 1).is_err());
        assert!(f.speak(E, &[7; 16], &[], Spoke::Idle, 1).is_ok());
    }

    #[test]
    fn a_retired_certificate_lets_its_phone_in_for_a_while_and_then_no_more() {
        let f = fleet(false);
        let shows = |n: u8, now| f.speak(E, &[7; 16], &[n; 32], Spoke::Idle, now).map(|s| s.shown);
        let (old, new) = (Digest([1; 32]), Digest([2; 32]));
        assert_eq!(shows(1, 0), Ok(Shown::InUse), "one certificate, nothing to compare");
        let under_way = RenewedRecord { enrolment: E, used: old, newest: new, retired: None };
        f.know_certificates(under_way);
        assert_eq!(shows(1, 0), Ok(Shown::InUse), "the old one is good until the new one was used");
        assert_eq!(shows(2, 0), Ok(Shown::First(new)));
        f.know_certificates(RenewedRecord { used: new, retired: Some((old, 1000)), ..under_way });
        assert_eq!(shows(2, 2000), Ok(Shown::InUse));
        assert_eq!(shows(1, 2000), Ok(Shown::Restored(old)));
        let later = 1000 + RESTORE_GRACE_MS;
        assert_eq!(shows(1, later), Err(TurnedAway::RetiredCertificate { tell: true }));
        assert_eq!(shows(2, later), Ok(Shown::InUse));
        // Bytes that are no digest say nothing.
        assert_eq!(f.speak(E, &[7; 16], &[1, 2], Spoke::Idle, later).map(|s| s.shown), Ok(Shown::InUse));
    }

    #[test]
    fn a_silent_phone_is_pushed_again_with_growing_pauses() {
        let f = fleet(true);
        f.queued(&[E], 1000);
        let at = |now| f.due_pushes(now, 10).0.len();
        assert_eq!(at(1000), 1);
        assert_eq!(at(1000 + 119_999), 0);
        assert_eq!(at(1000 + 120_000), 1);
        assert_eq!(at(1000 + 120_000 + 599_999), 0);
        assert_eq!(at(1000 + 720_000), 1);
        f.answered(E, false, false, 800_000);
        assert_eq!(at(100_000_000), 0, "nothing waits any more");
    }

    #[test]
    fn a_phone_that_put_a_command_off_is_pushed_after_the_retry_time_once_it_says_something_else() {
        let f = fleet(true);
        f.speak(E, &[7; 16], &[], Spoke::NotNow, 1000).unwrap();
        f.speak(E, &[7; 16], &[], Spoke::Other, 1001).unwrap();
        f.answered(E, true, false, 1001);
        assert!(f.due_pushes(900_000, 10).0.is_empty());
        assert_eq!(f.due_pushes(901_001, 10).0.len(), 1);
        // The push makes what was put off due in the conversation it begins.
        let s = f.speak(E, &[7; 16], &[], Spoke::Idle, 902_000).unwrap();
        assert!(s.offer_until_ms >= 1000);
    }

    #[test]
    fn what_was_put_off_is_offered_when_the_phone_comes_by_itself_after_not_now() {
        let f = fleet(true);
        f.speak(E, &[7; 16], &[], Spoke::NotNow, 1000).unwrap();
        assert_eq!(f.speak(E, &[7; 16], &[], Spoke::Idle, 2000).unwrap().offer_until_ms, 1999);
        assert!(f.speak(E, &[7; 16], &[], Spoke::Idle, 3000).unwrap().offer_until_ms < 1000);
    }

    #[test]
    fn last_seen_is_written_coarsely() {
        let f = fleet(false);
        f.speak(E, &[7; 16], &[], Spoke::Idle, 100_000).unwrap();
        f.speak(E, &[7; 16], &[], Spoke::Idle, 100_500).unwrap();
        assert_eq!(f.take_seen(), [(Slot(1), 100_500)]);
        f.speak(E, &[7; 16], &[], Spoke::Idle, 101_000).unwrap();
        assert!(f.take_seen().is_empty());
    }
}
