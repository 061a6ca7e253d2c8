//! The ledger's tree beside the ledger, on a thread of its own: what was made durable is taken in, and
//! at most once a second a checkpoint over it is signed. Nobody waits for it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use ledger::{Position, Publisher};
use tokio::sync::watch;

use crate::on_token::RootKey;

/// Checkpoints are at least this far apart.
const APART: Duration = Duration::from_secs(1);
/// After a failure it is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// The newest checkpoint on the disk, as text.
pub(crate) type Newest = Option<Arc<str>>;

/// Keeps the tree until nothing more can come.
pub(crate) fn keep(
    mut publisher: Publisher,
    root: &RootKey,
    durable: &Receiver<Vec<Position>>,
    newest: &watch::Sender<Newest>,
) {
    let mut failing = false;
    loop {
        let done = publish(&mut publisher, root, newest, &mut failing);
        let published = Instant::now();
        let pause = if done { APART } else { AGAIN };
        if done {
            let Ok(positions) = durable.recv() else { return };
            take(&mut publisher, &positions);
        }
        loop {
            let left = pause.saturating_sub(published.elapsed());
            match durable.recv_timeout(left) {
                Ok(positions) => take(&mut publisher, &positions),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    publish(&mut publisher, root, newest, &mut failing);
                    return;
                }
            }
        }
    }
}

fn take(publisher: &mut Publisher, positions: &[Position]) {
    for position in positions {
        // A tile that can't be written waits in memory; publishing tries it again and says so.
        let _ = publisher.push(position);
    }
}

fn publish(
    publisher: &mut Publisher,
    root: &RootKey,
    newest: &watch::Sender<Newest>,
    failing: &mut bool,
) -> bool {
    match publisher.publish(|message| root.sign_or_none(message)) {
        Ok(signed) => {
            let note = signed.map(|s| Arc::from(s.note().to_string()));
            newest.send_if_modified(|before| {
                let changed = *before != note;
                *before = note;
                changed
            });
            *failing = false;
            true
        }
        Err(e) => {
            if !*failing {
                tracing::error!(error = %e, "the ledger's tree can't be written; no newer checkpoint is signed until it can");
            }
            *failing = true;
            false
        }
    }
}
