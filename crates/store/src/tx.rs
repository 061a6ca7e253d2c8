//! A write under way. Its methods stand beside the tables they change.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Deref;

use crate::{StoreError, View};

/// How many wrapped keys are remembered: a window is 60 s and there are eight compartments.
const REMEMBERED_KEYS: usize = 64;

/// Numbers of wrapped keys, so that most rows need no look-up. Forgotten whenever a write is taken
/// back, since it may hold a number that no longer exists.
#[derive(Default)]
pub(crate) struct Cache(RefCell<HashMap<Vec<u8>, i64>>);

impl Cache {
    pub(crate) fn forget(&self) {
        self.0.borrow_mut().clear();
    }
}

/// A write under way: everything done with it is kept together or not at all.
pub struct Tx<'a> {
    view: View<'a>,
    cache: &'a Cache,
}

impl<'a> Deref for Tx<'a> {
    type Target = View<'a>;
    fn deref(&self) -> &View<'a> {
        &self.view
    }
}

impl<'a> Tx<'a> {
    pub(crate) fn over(view: View<'a>, cache: &'a Cache) -> Self {
        Self { view, cache }
    }

    pub(crate) fn forget(&self) {
        self.cache.forget();
    }

    /// Runs one statement; how many rows it changed.
    pub(crate) fn run(&self, sql: &str, params: impl rusqlite::Params) -> Result<usize, StoreError> {
        Ok(self.prepare(sql)?.execute(params)?)
    }

    /// The number of a wrapped key, which is kept once.
    pub(crate) fn wrapped_key(&self, wrapped: &[u8]) -> Result<i64, StoreError> {
        if let Some(id) = self.cache.0.borrow().get(wrapped) {
            return Ok(*id);
        }
        let found = self.one("SELECT id FROM wrapped_keys WHERE wrapped = ?1", [wrapped], |r| r.get(0))?;
        let id = match found {
            Some(id) => id,
            None => {
                self.run("INSERT INTO wrapped_keys (wrapped) VALUES (?1)", [wrapped])?;
                self.connection().last_insert_rowid()
            }
        };
        let mut cache = self.cache.0.borrow_mut();
        if cache.len() >= REMEMBERED_KEYS {
            cache.clear();
        }
        cache.insert(wrapped.to_vec(), id);
        Ok(id)
    }
}
