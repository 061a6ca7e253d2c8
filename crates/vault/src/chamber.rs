//! The one thread that decides. It takes all that waits, decides each thing against the state,
//! appends the entries of all of them with one `fdatasync`, and only then lets the answers go.
//!
//! When the ledger can't be written, nothing of that batch was promised to anyone: the answers say
//! so, and the room ends, so that its next start replays what is durable.

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use ledger::{Body, FileLedger, LedgerReader, PersonKeys};
use model::{Clock, Compartment, TimeMs};
use order::SignedStatement;
use seal::{CompartmentPublic, Opener, Sealer};
use tokio::sync::{mpsc, oneshot, watch};

use crate::Error;
use crate::keys::Keys;
use crate::room::Config;
use crate::state::{State, open_ledger};
use crate::statement::state_keys;

/// The most that is decided before one `fdatasync`.
const LARGEST_BATCH: usize = 512;

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
    clock: Arc<dyn Clock>,
    ledger: FileLedger,
    pending: Vec<Body>,
    statement: Option<(TimeMs, SignedStatement)>,
}

type Release = Box<dyn FnOnce(bool) + Send>;
type Job = Box<dyn FnOnce(&mut Chamber) -> Release + Send>;

/// The way to the chamber, for the room's service.
#[derive(Clone)]
pub(crate) struct Door {
    jobs: mpsc::Sender<Job>,
    pub(crate) durable: watch::Receiver<u64>,
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
        let (ledger, state) = open_ledger(dir)?;
        if state.root_key.map(|k| k.0.to_vec()) != Some(keys.root.public()) {
            return Err(Error::ForeignLedger);
        }
        if let Some(cut) = ledger.cut() {
            tracing::warn!(
                bytes = cut.bytes,
                index = cut.index,
                "the ledger ended in a torn entry that nobody was told of; it was cut off"
            );
        }
        let senders = vec![keys.file.reader_key, keys.file.sender_key.public()];
        let opener = Opener::new(keys.file.compartments.clone(), senders);
        let mut publics: Vec<CompartmentPublic> = keys.compartment_publics();
        publics.push(CompartmentPublic { compartment: Compartment::Push, epoch: 1, key: keys.file.push_key });
        let sealer = Sealer::new(keys.file.sender_key.clone(), publics);
        let people_keys = PersonKeys::load(dir)?;
        let now_ms = clock.now_ms();
        Ok(Self {
            config,
            keys,
            state,
            people_keys,
            opener,
            sealer,
            rng: SystemRandom::new(),
            now_ms,
            clock,
            ledger,
            pending: Vec::new(),
            statement: None,
        })
    }

    /// Writes an entry with this batch, and takes it into the state at once. Returns its index.
    pub(crate) fn record(&mut self, body: Body) -> u64 {
        let index = self.state.entries;
        self.state.apply(&body);
        self.pending.push(body);
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
        let s = state_keys(&self.keys, self.now_ms);
        let statement_digest = order::sha256(&order::encode(&s));
        self.record(Body::KeysStated { epoch: self.keys.file.epoch, statement_digest });
        self.statement = Some((self.now_ms, s.clone()));
        s
    }

    /// Looks at the clock: everything in a batch is decided at one moment.
    pub(crate) fn tick(&mut self) {
        self.now_ms = self.clock.now_ms();
    }

    /// Makes durable what was recorded since.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        let pending = std::mem::take(&mut self.pending);
        if !pending.is_empty() {
            self.ledger.append_batch(pending, self.now_ms)?;
        }
        Ok(())
    }

    /// Serves jobs until every door is gone, or the ledger fails.
    fn serve(mut self, mut jobs: mpsc::Receiver<Job>, durable: &watch::Sender<u64>) -> Result<(), Error> {
        let mut releases: Vec<Release> = Vec::with_capacity(LARGEST_BATCH);
        while let Some(first) = jobs.blocking_recv() {
            self.tick();
            releases.push(first(&mut self));
            while releases.len() < LARGEST_BATCH {
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
pub(crate) fn start(chamber: Chamber) -> Result<(Door, oneshot::Receiver<Result<(), Error>>), Error> {
    let (jobs, waiting) = mpsc::channel::<Job>(1024);
    let (tx, durable) = watch::channel(chamber.ledger.entries());
    let reader = chamber.ledger.reader();
    let (ended_tx, ended) = oneshot::channel();
    std::thread::Builder::new()
        .name("chamber".into())
        .spawn(move || {
            let _ = ended_tx.send(chamber.serve(waiting, &tx));
        })
        .map_err(|e| Error::Wall(e.to_string()))?;
    Ok((Door { jobs, durable, reader }, ended))
}
