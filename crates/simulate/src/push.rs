//! Where pushes come from: Apple's service, or a stand-in.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::UnboundedSender;

/// Delivers pushes to phones. The binary adapts to it whatever stands in for Apple's push service.
pub trait PushSource: Send + Sync {
    /// From now on, every notification for `token` goes to `wake`. Called once a phone, after its
    /// `TokenUpdate`.
    fn subscribe(&self, token: &[u8], wake: Wake);
}

/// Wakes one phone.
#[derive(Debug, Clone)]
pub struct Wake {
    pub(crate) slot: usize,
    pub(crate) push_magic: Box<str>,
    pub(crate) to: UnboundedSender<usize>,
}

impl Wake {
    /// A notification came that names this `PushMagic` (`{"mdm": "…"}`). False if it isn't the phone's, which
    /// then ignores it, or if the fleet is over.
    #[must_use]
    pub fn ring(&self, push_magic: &str) -> bool {
        push_magic == &*self.push_magic && self.to.send(self.slot).is_ok()
    }
}

/// A [`PushSource`] that is told of every notification, whoever it is for: what a stand-in with one stream
/// for all needs, and tests.
#[derive(Default)]
pub struct Pushes(Mutex<HashMap<Vec<u8>, Wake>>);

impl fmt::Debug for Pushes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pushes({} phones)", self.wakes().len())
    }
}

impl Pushes {
    /// A notification came for this push token. False if no phone has the token, or it isn't the phone's
    /// `PushMagic`.
    #[must_use]
    pub fn deliver(&self, token: &[u8], push_magic: &str) -> bool {
        self.wakes().get(token).is_some_and(|wake| wake.ring(push_magic))
    }

    fn wakes(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Wake>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PushSource for Pushes {
    fn subscribe(&self, token: &[u8], wake: Wake) {
        self.wakes().insert(token.to_vec(), wake);
    }
}
