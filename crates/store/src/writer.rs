//! One thread writes. Writes that wait together are committed together: each runs in a savepoint of
//! its own, so that one that fails takes nothing of its neighbours with it, and none is answered
//! before the commit is on the disk.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::watch;

use crate::tx::Tx;
use crate::{StoreError, View};

/// The most writes in one commit.
const LARGEST_GROUP: usize = 512;

trait Job: Send {
    /// Runs within the transaction; false: take it back.
    fn run(&mut self, tx: &Tx<'_>) -> bool;
    /// After the commit, or with why there was none.
    fn finish(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Write<F, G, T> {
    work: Option<F>,
    then: G,
    out: Option<Result<T, StoreError>>,
}

impl<F, G, T> Job for Write<F, G, T>
where
    F: FnOnce(&Tx<'_>) -> Result<T, StoreError> + Send,
    G: FnOnce(Result<T, StoreError>) + Send,
    T: Send,
{
    fn run(&mut self, tx: &Tx<'_>) -> bool {
        let Some(work) = self.work.take() else { return false };
        let out = catch_unwind(AssertUnwindSafe(|| work(tx))).unwrap_or(Err(StoreError::Panicked));
        let good = out.is_ok();
        self.out = Some(out);
        good
    }

    fn finish(self: Box<Self>, committed: Result<(), StoreError>) {
        let out = match (committed, self.out) {
            (_, Some(Err(e))) | (Err(e), _) => Err(e),
            (Ok(()), Some(Ok(v))) => Ok(v),
            (Ok(()), None) => Err(StoreError::Closed),
        };
        (self.then)(out);
    }
}

/// The queue to the writing thread.
pub(crate) struct Writer {
    jobs: Option<Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
    trouble: Trouble,
    commits: watch::Sender<u64>,
}

/// Why the last commit failed; empty once one succeeded.
type Trouble = Arc<Mutex<Option<StoreError>>>;

impl Writer {
    pub(crate) fn start(connection: Connection) -> Result<Self, std::io::Error> {
        let (jobs, rx) = channel();
        let trouble = Trouble::default();
        let note = trouble.clone();
        let commits = watch::Sender::new(0);
        let committed = commits.clone();
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || work(connection, &rx, &note, &committed))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), trouble, commits })
    }

    pub(crate) fn trouble(&self) -> Option<StoreError> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn commits(&self) -> watch::Receiver<u64> {
        self.commits.subscribe()
    }

    pub(crate) fn submit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
        then: impl FnOnce(Result<T, StoreError>) + Send + 'static,
    ) {
        let job: Box<dyn Job> = Box::new(Write { work: Some(work), then, out: None });
        match &self.jobs {
            Some(jobs) => {
                if let Err(back) = jobs.send(job) {
                    back.0.finish(Err(StoreError::Closed));
                }
            }
            None => job.finish(Err(StoreError::Closed)),
        }
    }
}

impl Drop for Writer {
    /// Waits until everything that was submitted is on the disk.
    fn drop(&mut self) {
        self.jobs.take();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

fn work(
    connection: Connection,
    jobs: &Receiver<Box<dyn Job>>,
    trouble: &Trouble,
    commits: &watch::Sender<u64>,
) {
    let cache = crate::tx::Cache::default();
    while let Ok(first) = jobs.recv() {
        let mut group = vec![first];
        let tx = Tx::over(View::over(&connection), &cache);
        let committed = commit_group(&connection, &tx, &mut group, jobs);
        *trouble.lock().unwrap_or_else(PoisonError::into_inner) = committed.clone().err();
        if committed.is_ok() {
            commits.send_modify(|n| *n += 1);
        }
        if let Err(e) = &committed {
            tracing::error!(store.error = %e, store.writes = group.len(), "a commit failed; nothing of it was kept");
            cache.forget();
            if !connection.is_autocommit() {
                let _ = connection.execute_batch("ROLLBACK");
            }
        }
        for job in group {
            let result = committed.clone();
            // A panic in what follows a commit must not stop the only writer.
            if catch_unwind(AssertUnwindSafe(|| job.finish(result))).is_err() {
                tracing::error!("what follows a write panicked");
            }
        }
    }
    let _ = connection.execute_batch("PRAGMA optimize");
    if let Err((_, e)) = connection.close() {
        tracing::error!(store.error = %e, "the database did not close cleanly");
    }
}

fn commit_group(
    connection: &Connection,
    tx: &Tx<'_>,
    group: &mut Vec<Box<dyn Job>>,
    jobs: &Receiver<Box<dyn Job>>,
) -> Result<(), StoreError> {
    let say = |sql: &str| -> Result<(), StoreError> {
        connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    };
    say("BEGIN IMMEDIATE")?;
    let mut done = 0;
    loop {
        while let Some(job) = group.get_mut(done) {
            say("SAVEPOINT one")?;
            if !job.run(tx) {
                // A full or failing disk makes SQLite take the whole transaction back by itself.
                if connection.is_autocommit() {
                    return Err(StoreError::Disk("the transaction was taken back".into()));
                }
                say("ROLLBACK TO one")?;
                tx.forget();
            }
            say("RELEASE one")?;
            done += 1;
        }
        if group.len() >= LARGEST_GROUP {
            break;
        }
        match jobs.try_recv() {
            Ok(job) => group.push(job),
            Err(_) => break,
        }
    }
    say("COMMIT")
}
