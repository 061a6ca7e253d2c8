//! The only SQL of the house: one API in the domain's words over the embedded database (SQLite, one
//! file). A PostgreSQL back end comes behind the same API.
//!
//! - **Writes** go through [`Store::write`] (or [`Store::write_then`] on the hot path): a closure over
//!   a [`Tx`], which one thread runs. Writes that wait together are committed together (WAL,
//!   `synchronous=FULL`), each in its own savepoint; nobody is answered before the commit.
//! - **Reads** go through [`Store::read`]: a closure over a [`View`] of what is committed, on a few
//!   connections of their own.
//!
//! What the store holds of a phone is sealed where it is personal; it has no key and never sees a
//! value. Only `core` uses it.

mod app_request;
mod certificate;
mod declarations;
mod deliveries;
mod device;
mod device_group;
mod enrolment;
mod error;
mod examine;
mod holder_card;
mod inventory;
mod ledger;
mod ledger_filter;
mod oidc;
mod orders;
mod overview;
mod people;
#[cfg(test)]
mod plan;
mod profile_members;
mod profiles;
mod queue;
mod reseal;
mod restore;
mod schema;
mod search;
mod tx;
mod user_channel;
mod view;
mod writer;

pub use app_request::{AppRequest, AppRequestState};
pub use certificate::{
    CertificateItem, CertificateState, NewCertificate, RenewalWindow, RenewedRecord, StandingRecord,
};
pub use declarations::{
    DeclarationState, DeclarationsKept, MOST_APPS_OF_ONE, NewSet, SetItem, StatusError, WantedDeclaration,
};
pub use deliveries::{DeliveryPlace, SealedDelivery};
pub use device::{DeviceFilter, DeviceItem, DeviceSort};
pub use device_group::{DeviceGroupRecord, Members, SavedDeviceGroup};
pub use enrolment::{EnrolmentRecord, EnrolmentState, Invitation, NewInvitation, PushState, Slot};
pub use error::StoreError;
pub use examine::{Examined, examine};
pub use holder_card::HolderCardRecord;
pub use inventory::{App, FieldSource, MOST_SEALED_OF_ONE, ReportKind, SealedNote, SealedUpdate};
pub use ledger::{LedgerRow, ListedRow, Position};
pub use ledger_filter::{LedgerAbout, LedgerDay, LedgerFilter};
pub use oidc::{OidcBegan, OidcSessionRecord};
pub use orders::{Decision, NewOrder, OrderRecord, OrderState};
pub use overview::GroupPhone;
pub use people::{ApiKeyRecord, PersonRecord, SessionRecord};
pub use profile_members::{Held, Lacking, ProfileMember};
pub use profiles::{PhoneProfile, PhoneProfileState, ProfileVersion, StaleProfile, VersionPhones};
pub use queue::{
    CommandFilter, CommandItem, CommandState, ErrorLink, Finished, NewCommand, Next, Offer, Progress,
    WarrantDue,
};
pub use reseal::StaleRow;
pub use restore::{copy, position};
pub use search::{EVERY_SLOT, IndexItem};
pub use tx::Tx;
pub use view::View;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use writer::Writer;

/// How many reading connections are kept.
const READERS: usize = 4;

/// The database. Cheap to clone; the last clone to go waits for the last write.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    path: PathBuf,
    writer: Writer,
    readers: Mutex<Vec<Connection>>,
    places: Arc<tokio::sync::Semaphore>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.0.path.display())
    }
}

fn open_error(path: &Path, e: &dyn std::fmt::Display) -> StoreError {
    StoreError::Open { path: path.to_owned(), why: e.to_string() }
}

impl Store {
    /// Opens the database at `path`, creating or migrating it.
    ///
    /// # Errors
    /// [`StoreError::Open`] when the file can't be used, [`StoreError::Newer`] when a newer Matron
    /// wrote it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mut c = Connection::open(path).map_err(|e| open_error(path, &e))?;
        c.busy_timeout(Duration::from_secs(5))?;
        // SQLite would open it for reading alone, and every write would fail for as long as it is open.
        if c.is_readonly(rusqlite::MAIN_DB)? {
            return Err(open_error(path, &"its disk or the file can't be written"));
        }
        c.execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY;
             PRAGMA cache_size=-65536; PRAGMA wal_autocheckpoint=4000; PRAGMA secure_delete=OFF;",
        )
        .map_err(|e| open_error(path, &e))?;
        settle(&c).map_err(|e| open_error(path, &e))?;
        schema::migrate(&mut c, path)?;
        let readers = (0..READERS).map(|_| reader(path)).collect::<Result<Vec<_>, _>>()?;
        let writer = Writer::start(c).map_err(|e| open_error(path, &e))?;
        let places = Arc::new(tokio::sync::Semaphore::new(READERS));
        Ok(Self(Arc::new(Inner { path: path.to_owned(), writer, readers: Mutex::new(readers), places })))
    }

    /// Why the last commit failed. `None`: it succeeded, or there was none yet.
    #[must_use]
    pub fn trouble(&self) -> Option<StoreError> {
        self.0.writer.trouble()
    }

    /// Counts the commits since the start, for whoever waits for something new.
    #[must_use]
    pub fn commits(&self) -> tokio::sync::watch::Receiver<u64> {
        self.0.writer.commits()
    }

    /// Runs `work` in a transaction and answers once it is on the disk.
    ///
    /// # Errors
    /// What `work` answers, or why it could not be committed: then nothing of it was kept.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (tx, rx) = tokio::sync::oneshot::channel();
        self.0.writer.submit(work, move |out| {
            let _ = tx.send(out);
        });
        rx.await.unwrap_or(Err(StoreError::Closed))
    }

    /// The same without a task that waits: `then` is called on the writing thread after the commit, in
    /// the order of the writes. It must not block.
    pub fn write_then<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
        then: impl FnOnce(Result<T, StoreError>) + Send + 'static,
    ) {
        self.0.writer.submit(work, then);
    }

    /// Runs `work` on what is committed.
    ///
    /// # Errors
    /// What `work` answers.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&View<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = self.0.clone();
        let place = inner.places.clone().acquire_owned().await.map_err(|_| StoreError::Closed)?;
        // Whoever asked may be gone: the place is taken for as long as its thread reads.
        let read = move || {
            let _place = place;
            inner.read(work)
        };
        tokio::task::spawn_blocking(read).await.map_err(|_| StoreError::Panicked)?
    }

    /// [`Store::read`] for where blocking is allowed (the start of the room).
    ///
    /// # Errors
    /// What `work` answers.
    pub fn read_now<T>(
        &self,
        work: impl FnOnce(&View<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.0.read(work)
    }
}

impl Inner {
    fn read<T>(&self, work: impl FnOnce(&View<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let kept = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let c = match kept {
            Some(c) => c,
            None => reader(&self.path)?,
        };
        // One snapshot for all that `work` reads.
        c.execute_batch("BEGIN")?;
        let out = work(&View::over(&c));
        c.execute_batch("COMMIT")?;
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(c);
        out
    }
}

/// How many statements a connection keeps prepared: all that the store has, with room to spare.
const KEPT_STATEMENTS: usize = 256;

/// What every connection has in common.
fn settle(c: &Connection) -> rusqlite::Result<()> {
    // Plans never depend on what is bound. Without it SQLite plans a statement anew whenever a value is
    // bound that the planner has looked at: more than half of the writing thread's time went there.
    c.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    c.set_prepared_statement_cache_capacity(KEPT_STATEMENTS);
    Ok(())
}

fn reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let c = Connection::open_with_flags(path, flags).map_err(|e| open_error(path, &e))?;
    c.busy_timeout(Duration::from_secs(5))?;
    settle(&c).map_err(|e| open_error(path, &e))?;
    Ok(c)
}
