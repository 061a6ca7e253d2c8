//! What to do with a fleet, and what it tells while it does.

use crate::Failure;
use crate::keys::KeyPool;
use crate::network::Network;
use crate::push::PushSource;
use crate::talk::{Talk, Temper};
use model::{Clock, EnrolmentId, SystemClock};
use std::fmt;
use std::sync::Arc;
use tokio::sync::watch;

/// An invitation and the phone that is to use it.
#[derive(Clone, PartialEq, Eq)]
pub struct Invited {
    /// The link, `https://…`; a bearer secret.
    pub link: String,
    /// Which phone of the fleet, so that it fits [`crate::people()`].
    pub index: u32,
}

impl fmt::Debug for Invited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invited(phone {}, sealed)", self.index)
    }
}

/// How long phones live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Living {
    /// They enrol, and that's all.
    EnrolOnly,
    /// They enrol and obey what waits for them, until each has nothing more to do.
    Settle,
    /// They go on: each wakes on a push, and by itself after `poll_ms`.
    Live {
        /// How long a phone rests before it asks by itself.
        poll_ms: u64,
        /// After this time it's over; None: only when told to stop.
        for_ms: Option<u64>,
    },
}

/// What to do with a fleet.
#[derive(Clone)]
pub struct FleetOptions {
    /// Where all made-up content comes from.
    pub seed: u64,
    /// Whom to trust, where to dial.
    pub network: Network,
    /// Where keys come from.
    pub keys: KeyPool,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How many phones are connected at once, at most.
    pub at_once: usize,
    /// How often enrolment, or a conversation, is tried before the phone gives up for now.
    pub tries: u32,
    /// How obliging they are.
    pub temper: Temper,
    /// How long they live.
    pub living: Living,
    /// Of a thousand times a phone wakes, how often it goes silent instead (only in [`Living::Live`]).
    pub silent_per_mille: u16,
    /// How long it then stays silent, pushes or not.
    pub silent_ms: u64,
    /// When a phone comes back by itself after `NotNow` or a restart.
    pub return_ms: u64,
    /// Where pushes come from.
    pub pushes: Option<Arc<dyn PushSource>>,
    /// Becomes true when it is time to stop: conversations under way end first.
    pub stop: Option<watch::Receiver<bool>>,
}

impl FleetOptions {
    /// Sensible ones: 32 phones at once, a key each, some `NotNow`, until each has nothing more to do.
    #[must_use]
    pub fn new(seed: u64, network: Network) -> Self {
        Self {
            seed,
            network,
            keys: KeyPool::fresh(),
            clock: Arc::new(SystemClock),
            at_once: 32,
            tries: 5,
            temper: Temper::default(),
            living: Living::Settle,
            silent_per_mille: 0,
            silent_ms: 60_000,
            return_ms: 2_000,
            pushes: None,
            stop: None,
        }
    }
}

impl fmt::Debug for FleetOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetOptions")
            .field("seed", &self.seed)
            .field("living", &self.living)
            .finish_non_exhaustive()
    }
}

/// What just happened, for a progress bar.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A phone is enrolled.
    Enrolled {
        /// Which phone.
        index: u32,
        /// What its certificate calls it.
        enrolment: Option<EnrolmentId>,
    },
    /// An enrolment failed and is tried again later.
    Retried {
        /// Which phone.
        index: u32,
        /// Why.
        failure: &'a Failure,
    },
    /// A phone gave up enrolling.
    NotEnrolled {
        /// Which phone.
        index: u32,
        /// Why.
        failure: &'a Failure,
    },
    /// A conversation ended.
    Conversed {
        /// Which phone.
        index: u32,
        /// What was said.
        talk: &'a Talk,
    },
    /// A conversation broke off; the phone comes back later.
    BrokeOff {
        /// Which phone.
        index: u32,
        /// Why.
        failure: &'a Failure,
    },
}
