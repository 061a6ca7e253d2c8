//! Check-ins that leave for the reader a few at a time while many phones arrive at once. A handshake takes the door so
//! long that what the phone says after it comes alone, and wakes the reader and core for itself: that cost a tenth of
//! what a handshake does (docs/performance.md, "Where a cold check-in's time goes").

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};
use tokio_stream::Stream;

/// How long the first of them waits for others.
const PAUSE: Duration = Duration::from_millis(1);
/// So many handshakes under way are a crowd. Whoever begins them and says nothing slows others by the pause alone.
const MANY: usize = 2;

/// The handshakes that are under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crowd(Arc<AtomicUsize>);

/// One of them, until it is dropped.
pub(crate) struct OfCrowd(Crowd);

impl Crowd {
    pub(crate) fn enter(&self) -> OfCrowd {
        self.0.fetch_add(1, Ordering::Relaxed);
        OfCrowd(self.clone())
    }

    fn is_there(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= MANY
    }
}

impl Drop for OfCrowd {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream whose items rest before each run of them while there is a crowd.
pub(crate) struct Gathered<S> {
    items: S,
    crowd: Crowd,
    state: State,
    pause: Pin<Box<Sleep>>,
}

enum State {
    /// What is there is passed on.
    Flowing,
    /// Nothing was there; whoever wakes it brings the first of a run.
    Dry,
    /// The first of a run waits for others.
    Pausing,
}

impl<S> Gathered<S> {
    pub(crate) fn new(items: S, crowd: Crowd) -> Self {
        Self { items, crowd, state: State::Flowing, pause: Box::pin(sleep(Duration::ZERO)) }
    }
}

impl<S: Stream + Unpin> Stream for Gathered<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.get_mut();
        loop {
            match this.state {
                State::Flowing => {
                    let item = Pin::new(&mut this.items).poll_next(cx);
                    if item.is_pending() {
                        this.state = State::Dry;
                    }
                    return item;
                }
                State::Dry if this.crowd.is_there() => {
                    this.pause.as_mut().reset(Instant::now() + PAUSE);
                    this.state = State::Pausing;
                }
                State::Dry => this.state = State::Flowing,
                State::Pausing => {
                    ready!(this.pause.as_mut().poll(cx));
                    this.state = State::Flowing;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc::channel;
    use tokio_stream::StreamExt as _;
    use tokio_stream::wrappers::ReceiverStream;

    fn now(items: &mut Gathered<ReceiverStream<u8>>) -> Option<u8> {
        match Pin::new(items).poll_next(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(item) => item,
            Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn in_a_crowd_the_first_check_in_of_a_run_waits_for_others_and_else_leaves_at_once() {
        let (tx, rx) = channel(8);
        let crowd = Crowd::default();
        let mut items = Gathered::new(ReceiverStream::new(rx), crowd.clone());
        let few: Vec<_> = (1..MANY).map(|_| crowd.enter()).collect();
        assert_eq!(now(&mut items), None);
        tx.send(1).await.unwrap();
        assert_eq!(now(&mut items), Some(1), "a few are no crowd");
        assert_eq!(now(&mut items), None);

        let one_more = crowd.enter();
        tx.send(2).await.unwrap();
        assert_eq!(now(&mut items), None, "it waits");
        tx.send(3).await.unwrap();
        assert_eq!(items.next().await, Some(2));
        assert_eq!(now(&mut items), Some(3), "and they leave together");
        assert_eq!(now(&mut items), None);

        drop(one_more);
        tx.send(4).await.unwrap();
        assert_eq!(now(&mut items), Some(4));
        drop((tx, few));
        assert_eq!(items.next().await, None, "the end comes through");
    }
}
