//! The one thread that decides. It takes all that waits, decides each thing against the state,
//! appends the entries of all of them with one `fdatasync`, and only then lets the answers go.
//!
//! When the ledger can't be written, nothing of that batch was promised to anyone: the answers say
//! so, and the room ends, so that its next start replays what is durable.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use ledger::{Body, Effect, FileLedger, LedgerReader, PersonKeys, Publisher};
use model::{Clock, DataSubject, Digest, EnrolmentId, TimeMs};
use order::SignedStatement;
use rpc::alarm::{Alarm, AlarmKind};
use seal::{Opener, Sealer};
use tokio::sync::{mpsc, oneshot, watch};

use crate::Error;
use crate::alarms::{Alarms, alarm};
use crate::keys::{Keys, open_persons};
use crate::room::Config;
use crate::state::{State, open_with_tree};
use crate::statement::state_keys;
use crate::tree::{self, Grown};

/// The most that is decided before one `fdatasync`.
const LARGEST_BATCH: usize = 512;

/// Nothing more is decided before it once the entries are about so large; the ledger takes 64 MiB.
const LARGEST_BATCH_BYTES: usize = 16 << 20;

/// At least what the entry takes when it is encoded.
fn size_of_entry(body: &Body) -> usize {
    1024 + match body {
        // A target is 17 bytes of the order, and at most 90 more in its effect.
        Body::OrderAccepted { bytes, effect, .. } => {
            let declared = match effect {
                Effect::DeclarationsSet { declarations, .. } => declarations.len() * 256,
                Effect::ServiceTokenSet { sealed, .. } => sealed.0.len(),
                // A payload's type and a key have 255 bytes at most; paths are held to far fewer keys.
                Effect::ProfileSaved { outline, because, .. } => {
                    let keys = outline.payloads.iter().map(|p| 300 + p.keys.len() * 160).sum::<usize>();
                    keys + outline.keys.len() * 160 + because.len() * 520
                }
                _ => 0,
            };
            bytes.0.len() * 7 + declared
        }
        Body::GrantUsed { opened, .. } => opened.iter().map(|(_, name)| name.len() + 24).sum(),
        Body::CertificateIssued { certificate, .. } | Body::ServerCertificateIssued { certificate } => {
            certificate.0.len()
        }
        _ => 0,
    }
}

/// Whom core's word is about, and whether a phone can make core say it again and again.
fn said_of(word: &Body) -> Option<(EnrolmentId, bool)> {
    match word {
        Body::Authenticated { enrolment, .. }
        | Body::TokenUpdated { enrolment }
        | Body::CheckedOut { enrolment }
        | Body::PhoneRefused { enrolment, .. }
        | Body::CertificateTaken { enrolment, .. } => Some((*enrolment, true)),
        // A command is finished once.
        Body::CommandFinished { enrolment, .. } => Some((*enrolment, false)),
        _ => None,
    }
}

/// How many repeatable words were written of each phone in this hour.
#[derive(Default)]
struct WordsSaid {
    hour: TimeMs,
    by_phone: HashMap<EnrolmentId, u32>,
    readers: u32,
}

impl WordsSaid {
    /// The most of one phone in an hour; an enrolment takes two.
    const MOST_AN_HOUR: u32 = 60;

    /// The most sign-ins by the OpenID provider in an hour, of all people: a hospital's morning.
    const MOST_READERS_AN_HOUR: u32 = 2_000;

    fn turn(&mut self, now_ms: TimeMs) {
        let hour = now_ms.div_euclid(model::clock::HOUR_MS);
        if hour != self.hour {
            *self = Self { hour, by_phone: HashMap::new(), readers: 0 };
        }
    }

    /// The same of sign-ins to read.
    fn one_more_reader(&mut self, now_ms: TimeMs) -> (bool, bool) {
        self.turn(now_ms);
        self.readers = self.readers.saturating_add(1);
        (self.readers <= Self::MOST_READERS_AN_HOUR, self.readers == Self::MOST_READERS_AN_HOUR + 1)
    }

    /// Whether one more is written, and whether this is the first that is not.
    fn one_more(&mut self, enrolment: EnrolmentId, now_ms: TimeMs) -> (bool, bool) {
        self.turn(now_ms);
        let said = self.by_phone.entry(enrolment).or_default();
        *said = said.saturating_add(1);
        (*said <= Self::MOST_AN_HOUR, *said == Self::MOST_AN_HOUR + 1)
    }
}

/// All that deciding needs.
pub(crate) struct Chamber {
    pub(crate) config: Config,
    pub(crate) keys: Keys,
    pub(crate) state: State,
    pub(crate) people_keys: PersonKeys,
    pub(crate) opener: Opener,
    pub(crate) sealer: Sealer,
    pub(crate) rng: SystemRandom,
    pub(crate) now_ms: TimeMs,
    /// The last certificate that the door was given anew, and the one that it follows.
    pub(crate) server_renewed: Option<(Digest, Vec<u8>)>,
    /// Where and why what was just refused does not fit, in words of Apple's schema; for whoever ordered it.
    pub(crate) detail: Option<String>,
    clock: Arc<dyn Clock>,
    /// The log says once that the clock is behind.
    clock_told: bool,
    /// `passed_ms` of the clock when it was last looked at.
    ticked_ms: TimeMs,
    pub(crate) ledger: FileLedger,
    /// Until the thread that keeps the tree takes it.
    pub(crate) publisher: Option<Publisher>,
    /// To that thread: what is durable.
    tree: Option<std::sync::mpsc::Sender<Grown>>,
    pending: Vec<(Body, Option<u64>)>,
    pending_bytes: usize,
    /// Whose keys are destroyed once that is durable.
    erasing: Vec<DataSubject>,
    /// Keys are to be made or destroyed once that is durable.
    keys_due: bool,
    /// What is written next says that another root key signs.
    pub(crate) root_due: bool,
    /// The epoch for which services' tokens were looked through, in this life of the room.
    pub(crate) tokens_sealed_for: u32,
    failed: Option<Error>,
    words_said: WordsSaid,
    pub(crate) alarms: Arc<Alarms>,
    /// Told once this batch is durable.
    pending_alarms: Vec<Alarm>,
    /// In which hour each standing order's cap was told of last.
    pub(crate) cap_told: HashMap<model::OrderId, i64>,
    statement: Option<(TimeMs, SignedStatement)>,
    /// Which keys rooms are to make, as far as it is durable.
    awaited: watch::Sender<Awaited>,
}

/// What the supervisor is told of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Awaited {
    /// Keys that rooms are to make, with their numbers.
    pub(crate) keys: Vec<(model::KeyName, u32)>,
    /// The certificates of the CAs that count.
    pub(crate) authorities: Vec<Vec<u8>>,
}

impl Awaited {
    fn of(keys: &Keys, state: &State) -> Self {
        Self { keys: state.rotations.awaited(), authorities: keys.ca_certificates() }
    }
}

type Release = Box<dyn FnOnce(bool) + Send>;
type Job = Box<dyn FnOnce(&mut Chamber) -> Release + Send>;

/// The way to the chamber, for the room's service.
#[derive(Clone)]
pub(crate) struct Door {
    jobs: mpsc::Sender<Job>,
    pub(crate) durable: watch::Receiver<u64>,
    pub(crate) checkpoint: watch::Receiver<tree::Newest>,
    pub(crate) awaited: watch::Receiver<Awaited>,
    pub(crate) reader: LedgerReader,
}

/// The ledger could not be written, or the chamber has ended.
pub(crate) struct NotDurable;

impl Door {
    /// Decides something; the answer is given once the entries it made are durable.
    pub(crate) async fn decide<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Chamber) -> T + Send + 'static,
    ) -> Result<T, NotDurable> {
        let (tx, rx) = oneshot::channel();
        let job: Job = Box::new(move |chamber| {
            let answer = job(chamber);
            Box::new(move |durable| {
                if durable {
                    let _ = tx.send(answer);
                }
            })
        });
        self.jobs.send(job).await.map_err(|_| NotDurable)?;
        rx.await.map_err(|_| NotDurable)
    }
}

impl Chamber {
    /// Opens the vault's folder: keys, ledger, the people's keys.
    pub(crate) fn open(dir: &Path, config: Config, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let keys = Keys::open(dir)?;
        let roots = keys.roots()?;
        let (ledger, state, mut publisher) = open_with_tree(dir, &roots)?;
        if !state.is_of(&keys)? {
            return Err(Error::ForeignLedger);
        }
        let alarms = Alarms::new(clock.clone());
        if let Some(cut) = ledger.cut() {
            alarms.raise(alarm(AlarmKind::LedgerCut, clock.now_ms()));
            tracing::warn!(
                bytes = cut.bytes,
                index = cut.index,
                "the ledger ended in a torn entry that nobody was told of; it was cut off"
            );
        }
        let mut keys = keys;
        // Ordered before a crash, and perhaps not done.
        keys.settle(dir, &state.rotations, &SystemRandom::new())?;
        keys.roots()?.into_iter().skip(roots.len()).for_each(|root| publisher.succeed(root));
        let (opener, sealer) = (keys.opener(), keys.sealer());
        let mut people_keys = open_persons(dir)?;
        // Ordered before a crash, and perhaps not done.
        for subject in &state.erased {
            people_keys.erase((*subject).into())?;
        }
        let (clock_ms, ticked_ms) = (clock.now_ms(), clock.passed_ms());
        let mut state = state;
        let now_ms = state.time_ms(clock_ms, clock_ms);
        let (awaited, _) = watch::channel(Awaited::of(&keys, &state));
        if state.unconfirmed.is_some() {
            alarms.raise(alarm(AlarmKind::RestoredUnconfirmed, now_ms));
        }
        let mut chamber = Self {
            config,
            keys,
            state,
            people_keys,
            opener,
            sealer,
            rng: SystemRandom::new(),
            now_ms,
            server_renewed: None,
            detail: None,
            clock,
            clock_told: false,
            ticked_ms,
            ledger,
            publisher: Some(publisher),
            tree: None,
            pending: Vec::new(),
            pending_bytes: 0,
            erasing: Vec::new(),
            keys_due: false,
            tokens_sealed_for: 0,
            failed: None,
            words_said: WordsSaid::default(),
            alarms,
            pending_alarms: Vec::new(),
            cap_told: HashMap::new(),
            root_due: false,
            statement: None,
            awaited,
        };
        // Made, and not said before a crash.
        if chamber.say_successions() {
            chamber.flush()?;
        }
        Ok(chamber)
    }

    /// An alarm that is told once this batch is durable; the caller adds to it what it is about.
    // It is pushed a line above.
    #[allow(clippy::indexing_slicing)]
    pub(crate) fn alarm(&mut self, kind: AlarmKind) -> &mut Alarm {
        let at = self.pending_alarms.len();
        self.pending_alarms.push(alarm(kind, self.now_ms));
        &mut self.pending_alarms[at]
    }

    /// Writes an entry with this batch, and takes it into the state at once. Returns its index.
    pub(crate) fn record(&mut self, body: Body) -> u64 {
        self.record_word(body, None)
    }

    fn record_word(&mut self, body: Body, word: Option<u64>) -> u64 {
        let index = self.state.entries;
        self.pending_bytes += size_of_entry(&body);
        self.state.apply(&body, self.now_ms);
        if let Some(number) = word {
            self.state.hear(number, &body);
        }
        if let Body::OrderAccepted { effect: Effect::PersonErased { subject }, .. } = &body {
            self.erasing.push(*subject);
        }
        let effect = if let Body::OrderAccepted { effect, .. } = &body { Some(effect) } else { None };
        self.keys_due |= matches!(
            body,
            Body::KeysDestroyed { .. } | Body::RoomKeyTaken { .. } | Body::ServerCertificateIssued { .. }
        ) || matches!(
            effect,
            Some(Effect::KeysRotated { .. } | Effect::BreachAssumed { .. } | Effect::OlderCaEnded { .. })
        );
        self.pending.push((body, word));
        index
    }

    /// The key statement in force, renewed when half its life is over.
    pub(crate) fn statement(&mut self) -> SignedStatement {
        let renew_after = crate::statement::LIFE_MS / 2;
        if let Some((made_at_ms, s)) = &self.statement
            && (*made_at_ms..*made_at_ms + renew_after).contains(&self.now_ms)
        {
            return s.clone();
        }
        let s = match state_keys(&self.keys, &self.state.rotations, self.now_ms) {
            Ok(s) => s,
            Err(e) => {
                // What is answered now does not leave, since the batch is not written.
                self.stop(e);
                return SignedStatement { statement: Vec::new(), signature: Vec::new(), successions: None };
            }
        };
        let statement_digest = order::sha256(&order::encode(&s));
        self.record(Body::KeysStated { epoch: self.keys.file.epoch, statement_digest });
        self.statement = Some((self.now_ms, s.clone()));
        s
    }

    /// Looks at the clock: everything in a batch is decided at one moment.
    pub(crate) fn tick(&mut self) {
        let clock_ms = self.clock.now_ms();
        let passed_ms = self.clock.passed_ms();
        let now_ms = self.state.time_ms(clock_ms, self.now_ms + (passed_ms - self.ticked_ms));
        // A few milliseconds are the two clocks' rounding.
        let behind = now_ms > clock_ms + 1000 || clock_ms < self.now_ms - model::clock::DAY_MS;
        if behind && !self.clock_told {
            tracing::warn!(
                clock.behind_ms = self.now_ms - clock_ms,
                "the clock was set back; it prolongs nothing"
            );
            self.alarm(AlarmKind::ClockSetBack);
        }
        self.clock_told = behind;
        self.ticked_ms = passed_ms;
        self.now_ms = now_ms;
    }

    /// A file that an order needed could not be written. The order is not decided: nothing of this
    /// batch is promised to anyone, and the room ends, so that its next start finds out what is there.
    pub(crate) fn fail(&mut self, e: ledger::LedgerError) -> order::Refusal {
        if matches!(e, ledger::LedgerError::Erased) {
            return order::Refusal::CannotOpen;
        }
        tracing::error!(error = %e, "the persons' keys can't be written; the vault stops");
        self.stop(e.into());
        order::Refusal::LedgerUnavailable
    }

    /// The room ends with this batch, of which nothing is written or answered.
    pub(crate) fn stop(&mut self, e: Error) {
        self.failed = Some(e);
    }

    /// Writes core's words down, each once by its number: those about enrolments that the vault knows, and
    /// of what a phone can repeat at will no more than so many an hour. Returns where the last one stands.
    pub(crate) fn witness(&mut self, words: Vec<(Body, u64)>) -> u64 {
        let mut position = self.state.entries.saturating_sub(1);
        for (word, number) in words {
            // Core had no answer the last time, or could not note it.
            if self.state.was_heard(number, &word) {
                continue;
            }
            if matches!(word, Body::OidcSignedIn { .. }) {
                let (written, first_not) = self.words_said.one_more_reader(self.now_ms);
                if first_not {
                    self.alarm(AlarmKind::WordsCapped);
                }
                if written {
                    position = self.record_word(word, Some(number));
                }
                continue;
            }
            let Some((enrolment, repeatable)) = said_of(&word) else { continue };
            if !self.state.enrolments.contains_key(&enrolment) {
                tracing::warn!(enrolment = %enrolment, "core's word of an unknown enrolment was not written");
                continue;
            }
            let (written, first_not) = match repeatable {
                true => self.words_said.one_more(enrolment, self.now_ms),
                false => (true, false),
            };
            if first_not {
                self.alarm(AlarmKind::WordsCapped).enrolment = Some(enrolment);
            }
            if written {
                position = self.record_word(word, Some(number));
            }
        }
        position
    }

    /// Makes durable what was recorded since, and then tells of it.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        let alarms = std::mem::take(&mut self.pending_alarms);
        let written = self.write_down();
        match &written {
            Ok(()) => alarms.into_iter().for_each(|a| self.alarms.raise(a)),
            // What the others told of has not happened.
            Err(_) => self.alarms.raise(alarm(AlarmKind::LedgerUnwritable, self.now_ms)),
        }
        written
    }

    fn write_down(&mut self) -> Result<(), Error> {
        let pending = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        if let Some(e) = self.failed.take() {
            return Err(e);
        }
        if !pending.is_empty() {
            let records = self.ledger.append_words(pending, self.now_ms)?;
            let root = std::mem::take(&mut self.root_due).then(|| self.keys.root.again()).flatten();
            if let Some(tree) = &self.tree {
                // That thread ends after this one; were it gone, the next start would catch up.
                let _ = tree.send(Grown { positions: records.iter().map(|r| r.position).collect(), root });
            }
        }
        for subject in std::mem::take(&mut self.erasing) {
            self.people_keys.erase(subject.into())?;
        }
        if std::mem::take(&mut self.keys_due) {
            let dir = self.config.data_dir.clone();
            if self.keys.settle(&dir, &self.state.rotations, &self.rng)? {
                (self.opener, self.sealer) = (self.keys.opener(), self.keys.sealer());
            }
            // It says which older keys of the rooms are needed, too.
            self.statement = None;
            self.awaited.send_replace(Awaited::of(&self.keys, &self.state));
            // The new key signs nothing over a ledger that does not lead to it.
            if self.say_successions() {
                return self.write_down();
            }
        }
        Ok(())
    }

    /// Serves jobs until every door is gone, or the ledger fails.
    fn serve(mut self, mut jobs: mpsc::Receiver<Job>, durable: &watch::Sender<u64>) -> Result<(), Error> {
        let mut releases: Vec<Release> = Vec::with_capacity(LARGEST_BATCH);
        while let Some(first) = jobs.blocking_recv() {
            self.tick();
            self.keep_keys();
            releases.push(first(&mut self));
            // What comes after a rotation is decided with the new keys.
            while releases.len() < LARGEST_BATCH && self.pending_bytes < LARGEST_BATCH_BYTES && !self.keys_due
            {
                let Ok(next) = jobs.try_recv() else { break };
                releases.push(next(&mut self));
            }
            let written = self.flush();
            let ok = written.is_ok();
            if ok {
                durable.send_replace(self.ledger.entries());
            }
            for release in releases.drain(..) {
                release(ok);
            }
            if let Err(e) = written {
                tracing::error!(error = %e, "the ledger can't be written; the vault stops");
                return Err(e);
            }
        }
        Ok(())
    }
}

/// Starts the chamber on a thread of its own. The receiver tells how it ended.
pub(crate) fn start(mut chamber: Chamber) -> Result<(Door, oneshot::Receiver<Result<(), Error>>), Error> {
    let (jobs, waiting) = mpsc::channel::<Job>(1024);
    let (tx, durable) = watch::channel(chamber.ledger.entries());
    let reader = chamber.ledger.reader();
    let (ended_tx, ended) = oneshot::channel();
    let (newest, checkpoint) = watch::channel(None);
    let awaited = chamber.awaited.subscribe();
    let root = chamber.keys.root.again();
    if let (Some(mut publisher), Some(root)) = (chamber.publisher.take(), root) {
        // What was written between opening and now: nothing, but for who decides without this thread.
        for record in reader.read_from(publisher.size())? {
            let _ = publisher.push(&record?.position);
        }
        let (positions, taken) = std::sync::mpsc::channel();
        chamber.tree = Some(positions);
        std::thread::Builder::new()
            .name("tree".into())
            .spawn(move || tree::keep(publisher, root, &taken, &newest))
            .map_err(|e| Error::Wall(e.to_string()))?;
    }
    std::thread::Builder::new()
        .name("chamber".into())
        .spawn(move || {
            let _ = ended_tx.send(chamber.serve(waiting, &tx));
        })
        .map_err(|e| Error::Wall(e.to_string()))?;
    Ok((Door { jobs, durable, checkpoint, awaited, reader }, ended))
}
