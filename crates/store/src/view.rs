//! What is committed. Its methods stand beside the tables they read.

use rusqlite::types::FromSql;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Row, ToSql};

use crate::StoreError;

/// A reader's look at the database.
pub struct View<'a>(&'a Connection);

impl<'a> View<'a> {
    pub(crate) fn over(connection: &'a Connection) -> Self {
        Self(connection)
    }

    pub(crate) fn connection(&self) -> &Connection {
        self.0
    }

    /// A statement, planned once for as long as the connection lives. All SQL but pragmas goes through
    /// here, so that a test can read every plan.
    pub(crate) fn prepare(&self, sql: &str) -> rusqlite::Result<CachedStatement<'_>> {
        #[cfg(test)]
        crate::plan::note(sql);
        self.0.prepare_cached(sql)
    }

    /// At most one row.
    pub(crate) fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        Ok(self.prepare(sql)?.query_row(params, read).optional()?)
    }

    /// All rows.
    pub(crate) fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.prepare(sql)?;
        let rows = statement.query_map(params, read)?;
        Ok(rows.collect::<Result<Vec<_>, _>>()?)
    }

    /// All rows of a statement that names some of these parameters.
    pub(crate) fn named<T>(
        &self,
        sql: &str,
        params: &[(&str, &dyn ToSql)],
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.prepare(sql)?;
        let mut used: Vec<(&str, &dyn ToSql)> = Vec::new();
        for (name, value) in params {
            if statement.parameter_index(name)?.is_some() {
                used.push((name, *value));
            }
        }
        let rows = statement.query_map(used.as_slice(), read)?;
        Ok(rows.collect::<Result<Vec<_>, _>>()?)
    }

    /// A number that is always there.
    pub(crate) fn count(&self, sql: &str, params: impl Params) -> Result<u64, StoreError> {
        let n: i64 = self.prepare(sql)?.query_row(params, |r| r.get(0))?;
        Ok(u64::try_from(n).unwrap_or(0))
    }
}

/// Reads an id or a digest out of a BLOB column.
pub(crate) fn id<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: for<'b> TryFrom<&'b [u8]>,
{
    let bytes = row.get_ref(column)?.as_blob()?;
    T::try_from(bytes).map_err(|_| damaged(column))
}

/// The same where it may be absent.
pub(crate) fn optional_id<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>>
where
    T: for<'b> TryFrom<&'b [u8]>,
{
    match row.get_ref(column)?.as_blob_or_null()? {
        Some(bytes) => T::try_from(bytes).map(Some).map_err(|_| damaged(column)),
        None => Ok(None),
    }
}

/// Reads a number and what it stands for.
pub(crate) fn coded<N: FromSql, T>(
    row: &Row<'_>,
    column: usize,
    of: impl FnOnce(N) -> Option<T>,
) -> rusqlite::Result<T> {
    of(row.get(column)?).ok_or_else(|| damaged(column))
}

pub(crate) fn damaged(column: usize) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnType(column, String::new(), rusqlite::types::Type::Blob)
}
