//! Looking at a database from outside, without changing it: for the operator's `matron doctor`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::view::View;
use crate::{EnrolmentState, StoreError, open_error, schema};

/// The most lines of SQLite's complaints that are kept.
const MOST_COMPLAINTS: usize = 5;

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// The schema's version in the file.
    pub schema: u32,
    /// The newest that this build knows; an older file is brought forward at the next start.
    pub newest_schema: u32,
    /// What `PRAGMA quick_check` complained of; empty when all is well.
    pub complaints: Vec<String>,
    /// Phones that hold a certificate, or are enrolled. 0 for an empty database.
    pub living_enrolments: u64,
    /// The file's size and its log's, together.
    pub size_bytes: u64,
}

/// Looks at the database at `path`. While a core runs (`running`) through a connection that only reads;
/// otherwise without making any file beside it: what SQLite's log still holds is looked at in a copy.
///
/// # Errors
/// [`StoreError::Open`] when it can't be read, [`StoreError::Refused`].
pub fn examine(path: &Path, running: bool) -> Result<Examined, StoreError> {
    let log = beside(path, "-wal");
    let size = |p: &Path| std::fs::metadata(p).map_or(0, |m| m.len());
    let size_bytes = size(path) + size(&log);
    let _copy;
    let c = if running {
        read_only(path)?
    } else if size(&log) == 0 {
        immutable(path)?
    } else {
        let copy = Copied::of(path, &log).map_err(|e| open_error(path, &e))?;
        let c = Connection::open(copy.0.join("copy.db")).map_err(|e| open_error(path, &e))?;
        _copy = copy;
        c
    };
    c.busy_timeout(Duration::from_secs(5))?;
    let schema: u32 = c.query_row("PRAGMA user_version", [], |r| r.get(0))?;
    let mut complaints = Vec::new();
    {
        let mut check = c.prepare("PRAGMA quick_check(5)")?;
        let mut rows = check.query([])?;
        while let Some(row) = rows.next()? {
            let line: String = row.get(0)?;
            if line != "ok" && complaints.len() < MOST_COMPLAINTS {
                complaints.push(line);
            }
        }
    }
    let mut living_enrolments = 0;
    if (1..=schema::newest()).contains(&schema) {
        for (state, n) in View::over(&c).count_by_state()? {
            if !state.is_over() && state != EnrolmentState::Invited {
                living_enrolments += n;
            }
        }
    }
    Ok(Examined { schema, newest_schema: schema::newest(), complaints, living_enrolments, size_bytes })
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn read_only(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).map_err(|e| open_error(path, &e))
}

/// No lock, no log, no shared memory: nobody else has it open.
fn immutable(path: &Path) -> Result<Connection, StoreError> {
    let name = path.to_str().ok_or_else(|| open_error(path, &"its path is not UTF-8"))?;
    let name = name.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(format!("file:{name}?immutable=1"), flags).map_err(|e| open_error(path, &e))
}

/// A copy in a folder of its own (0700), removed when dropped.
struct Copied(PathBuf);

impl Copied {
    fn of(path: &Path, log: &Path) -> std::io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let dir = std::env::temp_dir().join(format!("matron-doctor-{}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&dir)?;
        let copied = Self(dir);
        std::fs::copy(path, copied.0.join("copy.db"))?;
        std::fs::copy(log, copied.0.join("copy.db-wal"))?;
        Ok(copied)
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;

    fn names(dir: &Path) -> Vec<String> {
        let mut all: Vec<_> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        all.sort();
        all
    }

    #[test]
    fn looking_at_a_database_changes_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("core.db");
        let store = Store::open(&path).unwrap();
        let running = examine(&path, true).unwrap();
        assert_eq!(running.schema, running.newest_schema);
        assert!(running.complaints.is_empty() && running.living_enrolments == 0);
        drop(store);
        let before = names(dir.path());
        assert!(examine(&path, false).unwrap().complaints.is_empty());
        assert_eq!(names(dir.path()), before);
        // As a killed core leaves it: a log that was not brought home.
        let c = Connection::open(&path).unwrap();
        c.execute_batch(
            "PRAGMA wal_autocheckpoint=0; BEGIN; INSERT INTO outbox (body) VALUES (x'01'); COMMIT;",
        )
        .unwrap();
        let killed = dir.path().join("killed");
        std::fs::create_dir(&killed).unwrap();
        for name in ["core.db", "core.db-wal"] {
            std::fs::copy(dir.path().join(name), killed.join(name)).unwrap();
        }
        let log = std::fs::read(killed.join("core.db-wal")).unwrap();
        assert!(!log.is_empty());
        assert!(examine(&killed.join("core.db"), false).unwrap().complaints.is_empty());
        assert_eq!(std::fs::read(killed.join("core.db-wal")).unwrap(), log);
        assert_eq!(names(&killed), ["core.db", "core.db-wal"]);
    }

    #[test]
    fn a_damaged_database_is_complained_of_and_not_repaired() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("core.db");
        drop(Store::open(&path).unwrap());
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..].fill(0x5a);
        std::fs::write(&path, &bytes).unwrap();
        let seen = examine(&path, false);
        assert!(seen.as_ref().map_or(true, |e| !e.complaints.is_empty()), "{seen:?}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}
