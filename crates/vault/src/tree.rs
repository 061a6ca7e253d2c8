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

/// What was made durable.
pub(crate) struct Grown {
    pub(crate) positions: Vec<Position>,
    /// The root key from these entries on, where they say that it took the other's place.
    pub(crate) root: Option<RootKey>,
}

/// Keeps the tree until nothing more can come.
pub(crate) fn keep(
    mut publisher: Publisher,
    mut root: RootKey,
    durable: &Receiver<Grown>,
    newest: &watch::Sender<Newest>,
) {
    let mut failing = false;
    loop {
        let done = publish(&mut publisher, &root, newest, &mut failing);
        let published = Instant::now();
        let pause = if done { APART } else { AGAIN };
        if done {
            let Ok(grown) = durable.recv() else { return };
            take(&mut publisher, &mut root, grown);
        }
        loop {
            let left = pause.saturating_sub(published.elapsed());
            match durable.recv_timeout(left) {
                Ok(grown) => take(&mut publisher, &mut root, grown),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    publish(&mut publisher, &root, newest, &mut failing);
                    return;
                }
            }
        }
    }
}

fn take(publisher: &mut Publisher, signs: &mut RootKey, grown: Grown) {
    for position in &grown.positions {
        // A tile that can't be written waits in memory; publishing tries it again and says so.
        let _ = publisher.push(position);
    }
    if let Some(root) = grown.root {
        if let Ok(public) = root.public().try_into() {
            publisher.succeed(public);
        }
        *signs = root;
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
