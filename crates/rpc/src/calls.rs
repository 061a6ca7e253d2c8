//! Many calls over one bidirectional stream: the check-in path does not pay for a stream a call.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

/// The neighbour is gone or did not answer in time; nothing is known of the call's effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the neighbouring room is not there or did not answer in time")]
pub struct Unavailable;

/// One side of a stream that calls and is answered. Requests and answers carry a call number.
pub struct CallStream<Req, Rep> {
    next: AtomicU64,
    pending: Mutex<HashMap<u64, oneshot::Sender<Rep>>>,
    outbound: watch::Sender<Option<mpsc::Sender<Req>>>,
    generation: AtomicU64,
    patience: Duration,
}

impl<Req, Rep> CallStream<Req, Rep> {
    /// A stream that is not attached yet. `patience`: how long a call waits for an attachment, and
    /// then again for its answer.
    #[must_use]
    pub fn new(patience: Duration) -> Self {
        Self {
            next: AtomicU64::new(1),
            pending: Mutex::new(HashMap::new()),
            outbound: watch::Sender::new(None),
            generation: AtomicU64::new(0),
            patience,
        }
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Rep>>> {
        // A panic while the map was held can't leave it half-changed: each use is one operation.
        self.pending.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Requests go out on `outbound` from now on; whoever waits for an answer from the stream
    /// before is told that it won't come. Returns a number for [`Self::detach`].
    pub fn attach(&self, outbound: mpsc::Sender<Req>) -> u64 {
        let generation = self.generation.fetch_add(1, Ordering::SeqCst) + 1;
        self.pending().clear();
        self.outbound.send_replace(Some(outbound));
        generation
    }

    /// The stream of that attachment ended.
    pub fn detach(&self, generation: u64) {
        if self.generation.load(Ordering::SeqCst) == generation {
            self.outbound.send_replace(None);
            self.pending().clear();
        }
    }

    /// Whether a neighbour is attached now.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.outbound.borrow().is_some()
    }

    /// An answer came in.
    pub fn answer(&self, call: u64, answer: Rep) {
        if let Some(waiting) = self.pending().remove(&call) {
            // Whoever asked may have given up.
            let _ = waiting.send(answer);
        }
    }

    /// Sends the request that `make` builds around its call number, and waits for the answer.
    ///
    /// # Errors
    /// [`Unavailable`] when there is no neighbour, it goes away, or patience runs out.
    pub async fn call(&self, make: impl FnOnce(u64) -> Req) -> Result<Rep, Unavailable> {
        let now = self.outbound.borrow().clone();
        let outbound = match now {
            Some(o) => o,
            None => {
                let mut seen = self.outbound.subscribe();
                let waited = tokio::time::timeout(self.patience, seen.wait_for(Option::is_some)).await;
                match waited {
                    Ok(Ok(o)) => o.clone().ok_or(Unavailable)?,
                    _ => return Err(Unavailable),
                }
            }
        };
        let call = self.next.fetch_add(1, Ordering::Relaxed);
        let (tx, rx) = oneshot::channel();
        self.pending().insert(call, tx);
        // Also when the caller gives up: nothing is kept for an answer that nobody waits for.
        let _waiting = Waiting { calls: self, call };
        let asked = async {
            // A neighbour that takes nothing in is as good as one that does not answer.
            outbound.send(make(call)).await.map_err(|_| Unavailable)?;
            rx.await.map_err(|_| Unavailable)
        };
        tokio::time::timeout(self.patience, asked).await.unwrap_or(Err(Unavailable))
    }
}

/// A call that waits for its answer.
struct Waiting<'a, Req, Rep> {
    calls: &'a CallStream<Req, Rep>,
    call: u64,
}

impl<Req, Rep> Drop for Waiting<'_, Req, Rep> {
    fn drop(&mut self) {
        self.calls.pending().remove(&self.call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn answers_find_their_calls_in_any_order() {
        let calls = Arc::new(CallStream::<(u64, u8), u8>::new(Duration::from_secs(5)));
        let (tx, mut rx) = mpsc::channel(8);
        calls.attach(tx);
        let a = tokio::spawn({
            let c = calls.clone();
            async move { c.call(|n| (n, 1)).await }
        });
        let first = rx.recv().await.unwrap();
        let b = tokio::spawn({
            let c = calls.clone();
            async move { c.call(|n| (n, 2)).await }
        });
        let second = rx.recv().await.unwrap();
        calls.answer(second.0, second.1 * 10);
        calls.answer(first.0, first.1 * 10);
        assert_eq!((a.await.unwrap(), b.await.unwrap()), (Ok(10), Ok(20)));
    }

    #[tokio::test]
    async fn a_call_in_flight_is_told_when_its_neighbour_is_replaced() {
        let calls = Arc::new(CallStream::<u64, u8>::new(Duration::from_secs(5)));
        let (tx, mut rx) = mpsc::channel(8);
        calls.attach(tx);
        let a = tokio::spawn({
            let c = calls.clone();
            async move { c.call(|n| n).await }
        });
        rx.recv().await.unwrap();
        let (tx, _rx) = mpsc::channel(8);
        calls.attach(tx);
        assert_eq!(a.await.unwrap(), Err(Unavailable));
    }

    #[tokio::test]
    async fn a_neighbour_that_takes_nothing_in_holds_no_call_longer_than_patience() {
        let calls = Arc::new(CallStream::<u64, u8>::new(Duration::from_millis(50)));
        let (tx, _rx) = mpsc::channel(1);
        calls.attach(tx);
        let all: Vec<_> = (0..3)
            .map(|_| {
                let c = calls.clone();
                tokio::spawn(async move { c.call(|n| n).await })
            })
            .collect();
        for call in all {
            let answered = tokio::time::timeout(Duration::from_secs(5), call).await.unwrap();
            assert_eq!(answered.unwrap(), Err(Unavailable));
        }
        assert!(calls.pending().is_empty());
    }

    #[tokio::test]
    async fn a_caller_that_gives_up_leaves_nothing_behind() {
        let calls = CallStream::<u64, u8>::new(Duration::from_secs(5));
        let (tx, _rx) = mpsc::channel(8);
        calls.attach(tx);
        let given_up = tokio::time::timeout(Duration::from_millis(20), calls.call(|n| n)).await;
        assert!(given_up.is_err());
        assert!(calls.pending().is_empty());
    }

    #[tokio::test]
    async fn a_call_without_a_neighbour_waits_for_one_and_then_gives_up() {
        let calls = CallStream::<u64, u8>::new(Duration::from_millis(20));
        assert_eq!(calls.call(|n| n).await, Err(Unavailable));
    }
}
