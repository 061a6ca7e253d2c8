//! Many phones: enrolled and kept going by one loop. A phone at rest has no task and no connection.

mod options;

pub use options::{FleetOptions, Invited, Living, Progress};

use crate::dice::Dice;
use crate::enrol::ProfileTrust;
use crate::phone::{Phone, State};
use crate::push::Wake;
use crate::summary::Summary;
use crate::talk::{Ending, Talk, Temper};
use crate::{Failure, Fault};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How often a phone comes back by itself before [`Living::Settle`] lets it be.
const MAX_RETURNS: u32 = 20;

/// Fleets up to this size keep their TLS keys and session tickets at hand, some 10 KB a phone, so that a
/// phone that comes back costs both ends no full handshake.
const TICKETS_UP_TO: usize = 5_000;

/// Enrols phones and lets them live. Ends when [`Living`] says so, or on `stop`.
///
/// Never fails as a whole: what went wrong is in the [`Summary`]. The phones come back in the order of
/// their invitations, for whatever comes next.
pub async fn run_fleet(
    invited: Vec<Invited>,
    options: FleetOptions,
    progress: impl Fn(Progress<'_>),
) -> (Summary, Vec<Phone>) {
    let seed = options.seed;
    let new = invited.into_iter().map(|one| (Phone::new(seed, one.index), one.link)).collect();
    let mut fleet = Fleet::new(new, options);
    fleet.run(&progress).await;
    fleet.end()
}

/// Lets phones live on that were enrolled before ([`crate::kept`]); else as [`run_fleet`].
///
/// The network of the options counts for nothing here: each phone has its own.
pub async fn resume_fleet(
    phones: Vec<Phone>,
    options: FleetOptions,
    progress: impl Fn(Progress<'_>),
) -> (Summary, Vec<Phone>) {
    let mut fleet = Fleet::new(phones.into_iter().map(|phone| (phone, String::new())).collect(), options);
    fleet.subscribe_all();
    fleet.run(&progress).await;
    fleet.end()
}

/// A phone at rest or at work (then None), and what is known of it.
struct Slot {
    index: u32,
    phone: Option<Phone>,
    link: String,
    failures: u32,
    returns: u32,
    /// Waits in `ready` already.
    queued: bool,
    pushed: bool,
    silent_until: Option<Instant>,
}

enum Outcome {
    Enrolled(Option<ProfileTrust>, Option<Result<Talk, Failure>>),
    NotEnrolled(Failure),
    Talked(Result<Talk, Failure>),
}

struct Fleet {
    options: Arc<FleetOptions>,
    slots: Vec<Slot>,
    ready: VecDeque<usize>,
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    busy: JoinSet<(usize, Phone, Outcome)>,
    pushes: (mpsc::UnboundedSender<usize>, mpsc::UnboundedReceiver<usize>),
    dice: Dice,
    summary: Summary,
}

impl Fleet {
    fn new(phones: Vec<(Phone, String)>, options: FleetOptions) -> Self {
        // Without a link, a new phone has nowhere to go; erased ones and the like have nothing to do.
        let able = |phone: &Phone, link: &str| match phone.state() {
            State::New => !link.is_empty(),
            state => state == State::Enrolled,
        };
        let slots: Vec<_> = phones
            .into_iter()
            .map(|(phone, link)| Slot {
                index: phone.index(),
                queued: able(&phone, &link),
                phone: Some(phone),
                link,
                failures: 0,
                returns: 0,
                pushed: false,
                silent_until: None,
            })
            .collect();
        Self {
            ready: slots.iter().zip(0..).filter(|(slot, _)| slot.queued).map(|(_, at)| at).collect(),
            summary: Summary {
                phones: slots.len() as u64,
                enrolled: slots.iter().filter(|slot| slot.link.is_empty()).count() as u64,
                ..Summary::default()
            },
            dice: Dice::of(options.seed, 0, 20),
            options: Arc::new(options),
            slots,
            timers: BinaryHeap::new(),
            busy: JoinSet::new(),
            pushes: mpsc::unbounded_channel(),
        }
    }

    fn subscribe_all(&mut self) {
        for (at, slot) in self.slots.iter().enumerate() {
            if let Some(phone) = slot.phone.as_ref().filter(|phone| phone.state() == State::Enrolled) {
                self.subscribe(at, phone);
            }
        }
    }

    fn subscribe(&self, at: usize, phone: &Phone) {
        if let Some(source) = &self.options.pushes {
            let wake = Wake { slot: at, push_magic: phone.push_magic().into(), to: self.pushes.0.clone() };
            source.subscribe(&phone.push_token(), wake);
        }
    }

    async fn run(&mut self, progress: &impl Fn(Progress<'_>)) {
        let mut stop = self.options.stop.clone();
        let over = match self.options.living {
            Living::Live { for_ms: Some(ms), .. } => Some(Instant::now() + Duration::from_millis(ms)),
            _ => None,
        };
        let mut stopping = false;
        loop {
            if !stopping {
                self.start_ready();
            }
            let lives = matches!(self.options.living, Living::Live { .. });
            let waiting = !self.timers.is_empty() || !self.ready.is_empty() || lives;
            if self.busy.is_empty() && (stopping || !waiting) {
                return;
            }
            let timer = self.timers.peek().map(|Reverse((at, _))| *at).filter(|_| !stopping);
            tokio::select! {
                Some(done) = self.busy.join_next(), if !self.busy.is_empty() => self.done(done.ok(), progress),
                Some(slot) = self.pushes.1.recv(), if !stopping => self.push(slot),
                () = tokio::time::sleep_until(timer.unwrap_or_else(Instant::now)), if timer.is_some() => self.ring(),
                () = tokio::time::sleep_until(over.unwrap_or_else(Instant::now)), if over.is_some() && !stopping => {
                    stopping = true;
                }
                () = told(&mut stop), if !stopping => stopping = true,
            }
        }
    }

    fn start_ready(&mut self) {
        while self.busy.len() < self.options.at_once.max(1) {
            let Some(at) = self.ready.pop_front() else { return };
            let Some(slot) = self.slots.get_mut(at) else { continue };
            slot.queued = false;
            let Some(phone) = slot.phone.take() else { continue };
            let pushed = std::mem::take(&mut slot.pushed);
            if phone.state() == State::New {
                self.busy.spawn(enrol(at, phone, slot.link.clone(), self.options.clone()));
            } else {
                if pushed {
                    self.summary.pushed += 1;
                }
                self.busy.spawn(talk(at, phone, self.options.temper));
            }
        }
    }

    fn done(&mut self, done: Option<(usize, Phone, Outcome)>, progress: &impl Fn(Progress<'_>)) {
        let Some((at, mut phone, outcome)) = done else {
            self.summary.failure(&Fault::Own("a phone's task died").at(crate::Step::Conversation));
            return;
        };
        if self.slots.len() > TICKETS_UP_TO {
            phone.rest();
        }
        let index = phone.index();
        let enrolment = phone.enrolment();
        if matches!(outcome, Outcome::Enrolled(..)) {
            self.subscribe(at, &phone);
        }
        if let Some(slot) = self.slots.get_mut(at) {
            slot.phone = Some(phone);
        }
        match outcome {
            Outcome::Enrolled(trust, first) => {
                self.summary.enrolled += 1;
                self.summary.profile(trust);
                if let Some(slot) = self.slots.get_mut(at) {
                    slot.failures = 0;
                    slot.link = String::new();
                }
                progress(Progress::Enrolled { index, enrolment });
                if let Some(first) = first {
                    self.talked(at, index, first, progress);
                }
            }
            Outcome::NotEnrolled(failure) => self.not_enrolled(at, index, &failure, progress),
            Outcome::Talked(result) => self.talked(at, index, result, progress),
        }
        // A push came while it was busy.
        if self.slots.get(at).is_some_and(|slot| slot.pushed) {
            self.queue(at);
        }
    }

    fn not_enrolled(&mut self, at: usize, index: u32, failure: &Failure, progress: &impl Fn(Progress<'_>)) {
        self.summary.failure(failure);
        let tries = self.options.tries;
        let Some(slot) = self.slots.get_mut(at) else { return };
        slot.failures += 1;
        if slot.failures < tries && passing(&failure.fault) {
            self.summary.enrolment_retries += 1;
            let after_ms = back_off_ms(slot.failures);
            self.wake_after(at, after_ms);
            progress(Progress::Retried { index, failure });
        } else {
            slot.link = String::new();
            self.summary.not_enrolled += 1;
            progress(Progress::NotEnrolled { index, failure });
        }
    }

    fn talked(
        &mut self,
        at: usize,
        index: u32,
        result: Result<Talk, Failure>,
        progress: &impl Fn(Progress<'_>),
    ) {
        let options = self.options.clone();
        let Some(slot) = self.slots.get_mut(at) else { return };
        let poll_ms = match options.living {
            Living::Live { poll_ms, .. } => Some(poll_ms),
            Living::EnrolOnly | Living::Settle => None,
        };
        let after_ms = match &result {
            Ok(talk) => {
                slot.failures = 0;
                self.summary.talk(talk);
                match talk.ending {
                    Ending::PutOff | Ending::Restarting
                        if poll_ms.is_some() || slot.returns < MAX_RETURNS =>
                    {
                        slot.returns += 1;
                        Some(options.return_ms)
                    }
                    Ending::Quiet | Ending::PutOff | Ending::Restarting => poll_ms,
                    Ending::Off | Ending::Erased | Ending::CheckedOut | Ending::Dropped => None,
                }
            }
            Err(failure) => {
                slot.failures += 1;
                let again = poll_ms.is_some() || slot.failures < options.tries;
                let after_ms = again.then(|| back_off_ms(slot.failures));
                self.summary.failure(failure);
                after_ms
            }
        };
        if let Some(after_ms) = after_ms {
            self.wake_after(at, after_ms);
        }
        match &result {
            Ok(talk) => progress(Progress::Conversed { index, talk }),
            Err(failure) => progress(Progress::BrokeOff { index, failure }),
        }
    }

    /// Wakes a phone after about that time: spread, so that a fleet doesn't beat as one.
    fn wake_after(&mut self, at: usize, after_ms: u64) {
        let spread_ms = after_ms - after_ms / 4 + self.dice.below(after_ms / 2 + 1);
        self.timers.push(Reverse((Instant::now() + Duration::from_millis(spread_ms), at)));
    }

    fn push(&mut self, at: usize) {
        if let Some(slot) = self.slots.get_mut(at) {
            if slot.silent_until.is_some_and(|until| Instant::now() < until) {
                return;
            }
            slot.pushed = true;
            if slot.phone.is_some() {
                self.wake(at);
            }
        }
    }

    fn ring(&mut self) {
        let now = Instant::now();
        while self.timers.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            if let Some(Reverse((_, at))) = self.timers.pop() {
                self.wake(at);
            }
        }
    }

    /// A phone wakes, unless this is when it goes silent.
    fn wake(&mut self, at: usize) {
        let Living::Live { .. } = self.options.living else { return self.queue(at) };
        let enrolled =
            self.slots.get(at).and_then(|s| s.phone.as_ref()).map(Phone::state) == Some(State::Enrolled);
        if !enrolled || !self.dice.per_mille(self.options.silent_per_mille) {
            return self.queue(at);
        }
        self.summary.silences += 1;
        if let Some(slot) = self.slots.get_mut(at) {
            slot.pushed = false;
            slot.silent_until = Some(Instant::now() + Duration::from_millis(self.options.silent_ms));
        }
        self.wake_after(at, self.options.silent_ms + self.options.silent_ms / 2);
    }

    fn queue(&mut self, at: usize) {
        let Some(slot) = self.slots.get_mut(at) else { return };
        let able = slot.phone.as_ref().is_some_and(|p| matches!(p.state(), State::New | State::Enrolled));
        if able && !slot.queued {
            slot.queued = true;
            self.ready.push_back(at);
        }
    }

    fn end(mut self) -> (Summary, Vec<Phone>) {
        let phones: Vec<_> = self
            .slots
            .into_iter()
            .map(|slot| slot.phone.unwrap_or_else(|| Phone::new(self.options.seed, slot.index)))
            .collect();
        for phone in &phones {
            self.summary.state(phone.state());
        }
        (self.summary, phones)
    }
}

/// Resolves when told to stop; never if nobody can.
async fn told(stop: &mut Option<watch::Receiver<bool>>) {
    if let Some(stop) = stop
        && stop.wait_for(|stop| *stop).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// May it go better next time?
fn passing(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Io(_)
            | Fault::Ended
            | Fault::Timeout
            | Fault::Http(_)
            | Fault::Tls(_)
            | Fault::Status(500..=599)
    )
}

/// 0.5 s, 1 s, 2 s, … half a minute at most.
fn back_off_ms(failures: u32) -> u64 {
    (250u64 << failures.min(7)).min(30_000)
}

async fn enrol(
    at: usize,
    mut phone: Phone,
    link: String,
    options: Arc<FleetOptions>,
) -> (usize, Phone, Outcome) {
    match phone.enrol(&link, &options.network, &options.keys, &*options.clock).await {
        Err(failure) => (at, phone, Outcome::NotEnrolled(failure)),
        Ok(enrolled) if options.living == Living::EnrolOnly => {
            (at, phone, Outcome::Enrolled(enrolled.profile, None))
        }
        Ok(mut enrolled) => {
            let talk = phone.converse(&mut enrolled.connection, options.temper).await;
            (at, phone, Outcome::Enrolled(enrolled.profile, Some(talk)))
        }
    }
}

async fn talk(at: usize, mut phone: Phone, temper: Temper) -> (usize, Phone, Outcome) {
    let result = converse(&mut phone, temper).await;
    (at, phone, Outcome::Talked(result))
}

async fn converse(phone: &mut Phone, temper: Temper) -> Result<Talk, Failure> {
    let mut connection = phone.connect().await?;
    phone.converse(&mut connection, temper).await
}
