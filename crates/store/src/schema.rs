//! The tables, version by version. A version once released is never edited: a change is a new one.

use std::path::Path;

use rusqlite::Connection;

use crate::StoreError;

const VERSIONS: &[&str] = &[include_str!("schema/1.sql")];

/// Brings the database to the newest version.
pub(crate) fn migrate(c: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let found: u32 = c.query_row("PRAGMA user_version", [], |r| r.get(0))?;
    let known = u32::try_from(VERSIONS.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    for (n, sql) in (1u32..).zip(VERSIONS).filter(|(n, _)| *n > found) {
        let tx = c.transaction()?;
        tx.execute_batch(sql)?;
        tx.pragma_update(None, "user_version", n)?;
        tx.commit()?;
    }
    Ok(())
}
