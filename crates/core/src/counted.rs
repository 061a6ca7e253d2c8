//! Counts over all phones. They walk the whole house beside the check-ins, so each is good for so many times what it took, one is
//! counted at a time, and who asks meanwhile gets the one before.

use std::collections::HashMap;
use std::fmt::Display;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Counting may take a twentieth of a reader's time, however many look.
const GOOD_FOR: u32 = 20;
/// So long an answer waits for a new count; what takes longer is told with the next one. A page takes 50 ms at most, asks for its counts
/// at the same time, and takes up to 22 ms beside them (docs/performance.md).
const PATIENCE: Duration = Duration::from_millis(20);
/// More counts than that are of what is no more.
const MOST: usize = 1_000;

/// What was counted last, by what it is a count of.
pub(crate) struct Counted<K, V> {
    known: Mutex<HashMap<K, Known<V>>>,
    /// Since when somebody waits for a count that is under way.
    waited: Mutex<HashMap<K, Instant>>,
    counting: tokio::sync::Mutex<()>,
    at_most: Duration,
}

struct Known<V> {
    count: V,
    good_until: Instant,
}

impl<K: Eq + Hash + Clone, V: Clone> Counted<K, V> {
    /// Counts that are good for `at_most` so long.
    pub(crate) fn new(at_most: Duration) -> Self {
        Self {
            known: Mutex::default(),
            waited: Mutex::default(),
            counting: tokio::sync::Mutex::default(),
            at_most,
        }
    }

    fn find(&self, key: &K, at: Option<Instant>) -> Option<V> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(key).filter(|k| at.is_none_or(|at| at < k.good_until)).map(|k| k.count.clone())
    }

    /// The count as it was last, however old.
    pub(crate) fn last(&self, key: &K) -> Option<V> {
        self.find(key, None)
    }

    /// Until when to wait for a new count: whoever comes while it is under way waits for the rest of that time alone, so that a page that
    /// asks for it twice waits once.
    fn waits_until(&self, key: &K) -> Instant {
        let mut waited = self.waited.lock().unwrap_or_else(PoisonError::into_inner);
        *waited.entry(key.clone()).or_insert_with(Instant::now) + PATIENCE
    }

    /// A count that is good, made by `count` where none is.
    pub(crate) async fn get<E>(&self, key: K, count: impl Future<Output = Result<V, E>>) -> Result<V, E> {
        let made = self.make(key.clone(), count).await;
        self.waited.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        made
    }

    async fn make<E>(&self, key: K, count: impl Future<Output = Result<V, E>>) -> Result<V, E> {
        if let Some(good) = self.find(&key, Some(Instant::now())) {
            return Ok(good);
        }
        let _alone = self.counting.lock().await;
        // Somebody else counted it meanwhile.
        if let Some(good) = self.find(&key, Some(Instant::now())) {
            return Ok(good);
        }
        let began = Instant::now();
        let new = count.await?;
        let good_until = Instant::now() + good_for(began.elapsed(), self.at_most);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST && !known.contains_key(&key) {
            known.clear();
        }
        known.insert(key, Known { count: new.clone(), good_until });
        Ok(new)
    }
}

fn good_for(took: Duration, at_most: Duration) -> Duration {
    took.saturating_mul(GOOD_FOR).min(at_most)
}

/// Waits for counts for as long as an answer waits; they are counted on by themselves.
pub(crate) async fn for_a_moment(counts: impl Future<Output = ()> + Send + 'static) {
    let _ = tokio::time::timeout(PATIENCE, tokio::spawn(counts)).await;
}

/// A count that is good or was made in a moment; else the one before, or, where there is none, none. It is counted on by itself.
pub(crate) async fn if_soon<K, V, E, F>(
    counted: &Arc<Counted<K, V>>,
    key: K,
    count: F,
) -> Result<Option<V>, E>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + 'static,
    E: Display + Send + 'static,
    F: Future<Output = Result<V, E>> + Send + 'static,
{
    if let Some(good) = counted.find(&key, Some(Instant::now())) {
        return Ok(Some(good));
    }
    let (before, until) = (counted.last(&key), counted.waits_until(&key));
    let mut task = tokio::spawn({
        let counted = counted.clone();
        async move { counted.get(key, count).await }
    });
    match tokio::time::timeout_at(until, &mut task).await {
        Ok(Ok(made)) => made.map(Some),
        Ok(Err(_)) => Ok(before),
        Err(_) => {
            // Nobody else hears how it ends.
            tokio::spawn(async move {
                if let Ok(Err(e)) = task.await {
                    tracing::warn!(store.error = %e, "what was counted on could not be counted");
                }
            });
            Ok(before)
        }
    }
}

/// The same, but that the first count of all is waited for.
pub(crate) async fn soon<K, V, E, F>(counted: &Arc<Counted<K, V>>, key: K, count: F) -> Result<V, E>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + 'static,
    E: Display + Send + 'static,
    F: Future<Output = Result<V, E>> + Send + 'static,
{
    let Some(before) = counted.last(&key) else { return counted.get(key, count).await };
    Ok(if_soon(counted, key, count).await?.unwrap_or(before))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::sync::Semaphore;

    #[test]
    fn a_count_is_good_for_twenty_times_what_it_took_and_no_longer_than_was_set() {
        let ms = Duration::from_millis;
        assert_eq!(good_for(ms(10), ms(1_000)), ms(200));
        assert_eq!(good_for(ms(80), ms(1_000)), ms(1_000));
        assert_eq!(good_for(Duration::MAX, Duration::MAX), Duration::MAX);
    }

    #[tokio::test]
    async fn one_counts_however_many_ask_and_what_takes_long_is_told_with_the_next_answer() {
        let made = Arc::new(AtomicU32::new(0));
        let gate = Arc::new(Semaphore::new(1));
        let count = || {
            let (made, gate) = (made.clone(), gate.clone());
            async move {
                gate.acquire().await.unwrap().forget();
                Ok::<_, String>(made.fetch_add(1, Ordering::SeqCst) + 1)
            }
        };
        let good = Arc::new(Counted::new(Duration::from_secs(600)));
        // Long enough to be good while the others come.
        let slow = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            count().await
        };
        assert_eq!(
            tokio::join!(good.get(1, slow), good.get(1, count()), good.get(1, count())),
            (Ok(1), Ok(1), Ok(1))
        );
        // Never good: each is made anew, and this one does not come to an end.
        let old = Arc::new(Counted::new(Duration::ZERO));
        gate.add_permits(1);
        assert_eq!(soon(&old, 1, count()).await, Ok(2), "the first is waited for");
        assert_eq!(soon(&old, 1, count()).await, Ok(2), "the one before is told meanwhile");
        gate.add_permits(1);
        while old.last(&1) == Some(2) {
            tokio::task::yield_now().await;
        }
        assert_eq!(old.last(&1), Some(3), "and it is counted on");
        // Whoever asks again while it is counted waits for the rest of the time alone.
        let began = Instant::now();
        assert_eq!(if_soon(&old, 1, count()).await, Ok(Some(3)));
        assert!(began.elapsed() >= PATIENCE);
        let until = old.waits_until(&1);
        assert!(until <= Instant::now(), "that time is over");
        gate.add_permits(1);
        while old.last(&1) == Some(3) {
            tokio::task::yield_now().await;
        }
        // Of what was never counted nothing is told yet, where nobody wants to wait.
        assert_eq!(if_soon(&old, 2, count()).await, Ok(None));
        gate.add_permits(1);
        while old.last(&2).is_none() {
            tokio::task::yield_now().await;
        }
        gate.add_permits(1);
        assert_eq!(if_soon(&old, 2, count()).await, Ok(Some(6)), "what is made in a moment is told");
        assert_eq!(if_soon(&old, 2, async { Err("no disk".to_owned()) }).await, Err("no disk".to_owned()));
        for_a_moment(std::future::pending()).await;
    }

    #[tokio::test]
    async fn more_counts_than_are_kept_begin_anew() {
        let counted = Counted::new(Duration::from_secs(600));
        for n in 0..=MOST {
            assert_eq!(counted.get(n, async { Ok::<_, String>(n) }).await, Ok(n));
        }
        assert_eq!((counted.last(&0), counted.last(&MOST)), (None, Some(MOST)));
    }
}
