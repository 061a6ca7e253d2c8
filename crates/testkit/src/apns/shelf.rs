//! What is kept: one notification a token, and who waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{Clock, TimeMs};
use tokio::sync::Notify;

/// A push as a phone gets it.
#[derive(Clone, PartialEq, Eq)]
pub struct Notification {
    /// The value of `mdm`.
    pub push_magic: String,
    /// The topic it was sent under.
    pub topic: String,
    /// `apns-id`.
    pub id: String,
    /// When it is forgotten; 0: it was for a phone that is on, or nobody.
    pub expires_at_ms: TimeMs,
}

impl std::fmt::Debug for Notification {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Notification({}, sealed)", self.id)
    }
}

/// How often each thing happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that finished their handshake.
    pub connections: u64,
    /// Requests taken (200).
    pub accepted: u64,
    /// Accepted ones that replaced one that still waited.
    pub coalesced: u64,
    /// Handed to a phone.
    pub delivered: u64,
    /// Forgotten, because they expired before a phone asked.
    pub expired: u64,
    /// Answered other than 200.
    pub refused: u64,
}

#[derive(Default)]
struct Slot {
    waiting: Option<Notification>,
    bell: Arc<Notify>,
    listeners: usize,
    /// Answered 410 since then.
    gone_since_ms: Option<TimeMs>,
    bad: bool,
}

#[derive(Default)]
struct Kept {
    slots: HashMap<Vec<u8>, Slot>,
    counts: Counts,
    throttled: (u64, u64),
    outage: bool,
    delay: std::time::Duration,
}

/// Why a push is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Not {
    Gone { since_ms: TimeMs },
    Bad,
    Throttled { retry_after_s: u64 },
    Outage,
}

/// The shelf; shared by the server and whoever holds it.
#[derive(Clone)]
pub(crate) struct Shelf {
    kept: Arc<Mutex<Kept>>,
    clock: Arc<dyn Clock>,
}

impl Shelf {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { kept: Arc::default(), clock }
    }

    pub fn now_ms(&self) -> TimeMs {
        self.clock.now_ms()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a push, or says why not.
    pub fn take(&self, token: &[u8], notification: Notification) -> Result<(), Not> {
        let mut kept = self.kept();
        let kept = &mut *kept;
        if kept.outage {
            return Err(Not::Outage);
        }
        if let (left @ 1.., retry_after_s) = kept.throttled {
            kept.throttled = (left - 1, retry_after_s);
            return Err(Not::Throttled { retry_after_s });
        }
        let slot = kept.slots.entry(token.to_vec()).or_default();
        if let Some(since_ms) = slot.gone_since_ms {
            return Err(Not::Gone { since_ms });
        }
        if slot.bad {
            return Err(Not::Bad);
        }
        kept.counts.accepted += 1;
        if notification.expires_at_ms == 0 && slot.listeners == 0 {
            kept.counts.expired += 1;
            return Ok(());
        }
        if slot.waiting.replace(notification).is_some() {
            kept.counts.coalesced += 1;
        }
        slot.bell.notify_one();
        Ok(())
    }

    /// The notification that waits for this token, unless it expired.
    fn fetch(&self, token: &[u8]) -> Option<Notification> {
        let now_ms = self.now_ms();
        let mut kept = self.kept();
        let found = kept.slots.get_mut(token)?.waiting.take()?;
        if found.expires_at_ms != 0 && found.expires_at_ms <= now_ms {
            kept.counts.expired += 1;
            return None;
        }
        kept.counts.delivered += 1;
        Some(found)
    }

    pub fn subscribe(&self, token: &[u8]) -> Subscription {
        let mut kept = self.kept();
        let slot = kept.slots.entry(token.to_vec()).or_default();
        slot.listeners += 1;
        Subscription { shelf: self.clone(), token: token.to_vec(), bell: slot.bell.clone() }
    }

    pub fn set_gone(&self, token: &[u8], gone: bool) {
        let since_ms = gone.then(|| self.now_ms());
        self.kept().slots.entry(token.to_vec()).or_default().gone_since_ms = since_ms;
    }

    pub fn set_bad(&self, token: &[u8], bad: bool) {
        self.kept().slots.entry(token.to_vec()).or_default().bad = bad;
    }

    pub fn throttle(&self, requests: u64, retry_after_s: u64) {
        self.kept().throttled = (requests, retry_after_s);
    }

    pub fn set_outage(&self, outage: bool) {
        self.kept().outage = outage;
    }

    pub fn set_delay(&self, delay: std::time::Duration) {
        self.kept().delay = delay;
    }

    pub fn delay(&self) -> std::time::Duration {
        self.kept().delay
    }

    pub fn waiting(&self, token: &[u8]) -> Option<Notification> {
        self.kept().slots.get(token)?.waiting.clone()
    }

    pub fn counts(&self) -> Counts {
        self.kept().counts
    }

    pub fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.kept().counts);
    }
}

/// A phone that is on and listens for pushes to its token.
pub struct Subscription {
    shelf: Shelf,
    token: Vec<u8>,
    bell: Arc<Notify>,
}

impl Subscription {
    /// The next push, at once when one waits. Pushes that came meanwhile are one, as at Apple.
    pub async fn next(&mut self) -> Notification {
        loop {
            if let Some(found) = self.shelf.fetch(&self.token) {
                return found;
            }
            self.bell.notified().await;
        }
    }

    /// The same as a stream, which never ends.
    pub fn into_stream(self) -> impl futures_util::Stream<Item = Notification> + Send + use<> {
        futures_util::stream::unfold(self, |mut phone| async move { Some((phone.next().await, phone)) })
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(slot) = self.shelf.kept().slots.get_mut(&self.token) {
            slot.listeners = slot.listeners.saturating_sub(1);
        }
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Subscription(sealed)")
    }
}
