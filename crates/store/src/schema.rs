//! The tables, version by version. A version once released is never edited: a change is a new one.
//!
//! A database goes forward only. Before it does, a copy of it is made beside it
//! (`core.db.schema-1` for one that had version 1); the way back is that copy and the older Matron.

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::StoreError;

const VERSIONS: &[&str] = &[
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
    include_str!("schema/4.sql"),
    include_str!("schema/5.sql"),
    include_str!("schema/6.sql"),
    include_str!("schema/7.sql"),
    include_str!("schema/8.sql"),
    include_str!("schema/9.sql"),
    include_str!("schema/10.sql"),
    include_str!("schema/11.sql"),
    include_str!("schema/12.sql"),
    include_str!("schema/13.sql"),
    include_str!("schema/14.sql"),
];

/// The newest version that this build knows.
pub(crate) fn newest() -> u32 {
    u32::try_from(VERSIONS.len()).unwrap_or(u32::MAX)
}

/// So many copies from before upgrades are kept.
const KEPT_COPIES: usize = 3;

/// Brings the database to the newest version.
pub(crate) fn migrate(c: &mut Connection, path: &Path) -> Result<(), StoreError> {
    migrate_to(VERSIONS, c, path)
}

fn migrate_to(versions: &[&str], c: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let found: u32 = c.query_row("PRAGMA user_version", [], |r| r.get(0))?;
    let known = u32::try_from(versions.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    if found == known {
        return Ok(());
    }
    if found > 0 {
        copy_before(c, path, found)?;
    }
    // All or nothing: no database is left between two releases.
    let tx = c.transaction()?;
    for (n, sql) in (1u32..).zip(versions).filter(|(n, _)| *n > found) {
        tx.execute_batch(sql)?;
        tx.pragma_update(None, "user_version", n)?;
    }
    tx.commit()?;
    Ok(())
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}

/// A whole, checked-in copy, in place before anything is changed.
fn copy_before(c: &Connection, path: &Path, found: u32) -> Result<(), StoreError> {
    let copy = beside(path, &format!(".schema-{found}"));
    let partial = beside(path, ".schema-partial");
    let refused = |why: String| StoreError::Copy { path: copy.clone(), why };
    let io = |e: std::io::Error| refused(e.to_string());
    if partial.exists() {
        std::fs::remove_file(&partial).map_err(io)?;
    }
    let Some(name) = partial.to_str() else { return Err(refused("its path is not UTF-8".into())) };
    c.execute("VACUUM INTO ?1", [name]).map_err(|e| refused(e.to_string()))?;
    std::fs::set_permissions(&partial, Permissions::from_mode(0o600)).map_err(io)?;
    File::open(&partial).and_then(|f| f.sync_all()).map_err(io)?;
    std::fs::rename(&partial, &copy).map_err(io)?;
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir).and_then(|d| d.sync_all()).map_err(io)?;
    prune(dir, path);
    Ok(())
}

/// Keeps the newest copies. One that can't be removed is left; it harms nothing.
fn prune(dir: &Path, path: &Path) {
    let Some(stem) = path.file_name().and_then(|n| n.to_str()).map(|n| format!("{n}.schema-")) else {
        return;
    };
    let mut copies: Vec<(u32, PathBuf)> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| Some((e.file_name().to_str()?.strip_prefix(&stem)?.parse().ok()?, e.path())))
        .collect();
    copies.sort_unstable_by(|a, b| b.cmp(a));
    for (_, old) in copies.into_iter().skip(KEPT_COPIES) {
        let _ = std::fs::remove_file(old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = include_str!("schema/1.sql");

    fn at_version_1(dir: &Path) -> PathBuf {
        let path = dir.join("core.db");
        let mut c = Connection::open(&path).unwrap();
        c.pragma_update(None, "journal_mode", "WAL").unwrap();
        migrate_to(&[FIRST], &mut c, &path).unwrap();
        c.execute("INSERT INTO outbox (body) VALUES (x'01'), (x'02')", []).unwrap();
        path
    }

    fn outbox(path: &Path) -> u32 {
        Connection::open(path).unwrap().query_row("SELECT count(*) FROM outbox", [], |r| r.get(0)).unwrap()
    }

    fn version(path: &Path) -> u32 {
        Connection::open(path).unwrap().query_row("PRAGMA user_version", [], |r| r.get(0)).unwrap()
    }

    #[test]
    fn an_upgrade_leaves_a_whole_copy_of_what_was_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = at_version_1(dir.path());
        let mut c = Connection::open(&path).unwrap();
        migrate_to(&[FIRST, "ALTER TABLE outbox ADD COLUMN more TEXT"], &mut c, &path).unwrap();
        drop(c);
        assert_eq!((version(&path), outbox(&path)), (2, 2));
        let copy = dir.path().join("core.db.schema-1");
        assert_eq!((version(&copy), outbox(&copy)), (1, 2));
        assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn versions_that_phones_reported_before_an_upgrade_have_the_numbers_that_they_would_get_now() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("core.db");
        let mut c = Connection::open(&path).unwrap();
        migrate_to(&VERSIONS[..8], &mut c, &path).unwrap();
        let texts = ["17", "17.5", "17.5.1", "16.4.1 (a)", "18.1.1.2", "99999.5", "17.", "9.3", "x17", ""];
        for (n, text) in (1u8..).zip(texts) {
            c.execute(
                "INSERT INTO enrolments (enrolment, state, home, link, link_expires_at_ms, invited_at_ms, os_version)
                 VALUES (?1, 3, 'ward-7', x'00', 1, 1, ?2)",
                (vec![n; 16], text),
            )
            .unwrap();
        }
        migrate_to(&VERSIONS[..9], &mut c, &path).unwrap();
        for text in texts {
            let number: Option<i64> = c
                .query_row("SELECT os_number FROM enrolments WHERE os_version = ?1", [text], |r| r.get(0))
                .unwrap();
            assert_eq!(number, model::OsVersion::reported(text).map(|v| v.number()), "{text:?}");
        }
    }

    #[test]
    fn an_upgrade_that_fails_changes_nothing_and_can_be_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = at_version_1(dir.path());
        let half = ["DELETE FROM outbox", "ALTER TABLE there_is_none ADD COLUMN x TEXT"];
        for _ in 0..2 {
            let mut c = Connection::open(&path).unwrap();
            let refused = migrate_to(&[FIRST, half[0], half[1]], &mut c, &path);
            assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
            drop(c);
            assert_eq!((version(&path), outbox(&path)), (1, 2));
        }
        // What a killed copy leaves is in nobody's way.
        std::fs::write(dir.path().join("core.db.schema-partial"), b"half a copy").unwrap();
        let mut c = Connection::open(&path).unwrap();
        migrate_to(&[FIRST, half[0]], &mut c, &path).unwrap();
        assert!(!dir.path().join("core.db.schema-partial").exists());
    }

    #[test]
    fn without_a_copy_there_is_no_upgrade() {
        let dir = tempfile::tempdir().unwrap();
        let path = at_version_1(dir.path());
        // A folder stands where the copy would be renamed to.
        std::fs::create_dir_all(dir.path().join("core.db.schema-1/x")).unwrap();
        let mut c = Connection::open(&path).unwrap();
        let refused = migrate_to(&[FIRST, "DELETE FROM outbox"], &mut c, &path).unwrap_err();
        assert!(refused.to_string().contains("core.db.schema-1"), "{refused}");
        drop(c);
        assert_eq!((version(&path), outbox(&path)), (1, 2));
    }

    #[test]
    fn a_newer_database_is_refused_with_both_versions_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = at_version_1(dir.path());
        let mut c = Connection::open(&path).unwrap();
        c.pragma_update(None, "user_version", 9).unwrap();
        let refused = migrate_to(&[FIRST], &mut c, &path).unwrap_err().to_string();
        assert!(refused.contains("version 9") && refused.contains("up to 1"), "{refused}");
        drop(c);
        assert_eq!((version(&path), outbox(&path)), (9, 2));
    }

    #[test]
    fn three_copies_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = at_version_1(dir.path());
        let mut versions = vec![FIRST];
        for _ in 0..5 {
            versions.push("UPDATE outbox SET body = x'03'");
            let mut c = Connection::open(&path).unwrap();
            migrate_to(&versions, &mut c, &path).unwrap();
        }
        let mut left: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        left.retain(|n| n.contains("schema-"));
        left.sort();
        assert_eq!(left, ["core.db.schema-3", "core.db.schema-4", "core.db.schema-5"]);
    }
}
