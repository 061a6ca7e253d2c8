//! From what the reader sealed to what the store keeps. The reader classifies; core checks once more
//! that nothing stands in the clear that is not on the list.

use model::{FieldClass, TimeMs, classify};
use rpc::proto::{ClearField, ReportContent, SealedRow as ProtoRow};
use seal::SearchField;
use store::{App, SealedUpdate, Slot, StoreError, Tx};

use crate::counters::Counters;

/// The most fields of one message.
const MOST_FIELDS: usize = 4096;
/// The most apps of one report.
const MOST_APPS: usize = 4096;
const LONGEST_NAME_BYTES: usize = 256;
const LONGEST_CLEAR_BYTES: usize = 4096;

/// A message's fields, as the store takes them.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    pub clear: Vec<(String, String)>,
    pub sealed: Vec<SealedUpdate>,
}

impl Fields {
    /// Takes over what is well-formed; a clear field that is not on the list is left out and counted.
    pub fn of(clear: Vec<ClearField>, sealed: Vec<ProtoRow>, counters: &Counters) -> Self {
        let mut out = Self::default();
        for f in clear.into_iter().take(MOST_FIELDS) {
            let fits = f.name.len() <= LONGEST_NAME_BYTES && f.value.len() <= LONGEST_CLEAR_BYTES;
            if !fits || classify(&f.name) != FieldClass::Clear {
                counters.unlisted_clear_field.inc();
                continue;
            }
            out.clear.push((f.name, f.value));
        }
        for row in sealed.into_iter().take(MOST_FIELDS) {
            if row.name.is_empty() || row.name.len() > LONGEST_NAME_BYTES || row.mask.len() > 64 {
                counters.unreadable.inc();
                continue;
            }
            if let Ok(row) = rpc::row_from(row) {
                let indexed = SearchField::of(&row.name).is_some();
                out.sealed.push(SealedUpdate { row, indexed });
            }
        }
        out
    }

    pub fn text(&self, name: &str) -> Option<String> {
        let (_, value) = self.clear.iter().find(|(n, _)| n == name)?;
        serde_json::from_str::<String>(value).ok()
    }

    fn truth(&self, name: &str) -> Option<bool> {
        let (_, value) = self.clear.iter().find(|(n, _)| n == name)?;
        serde_json::from_str::<bool>(value).ok()
    }

    /// Whether it says that the phone is (un)supervised.
    pub fn supervised(&self) -> Option<bool> {
        self.truth("IsSupervised")
    }

    /// Keeps the fields under `source`. True when the vault has index entries to make.
    pub fn keep(
        &self,
        tx: &Tx<'_>,
        slot: Slot,
        source: &str,
        whole: bool,
        at_ms: TimeMs,
    ) -> Result<bool, StoreError> {
        tx.put_clear(slot, source, &self.clear, whole, at_ms)?;
        let written = tx.put_sealed(slot, source, &self.sealed, whole, at_ms)?;
        let (os, model) = (self.text("OSVersion"), self.text("ProductName"));
        let supervised = self.supervised();
        if os.is_some() || model.is_some() || supervised.is_some() {
            tx.describe(slot, supervised, os.as_deref(), model.as_deref())?;
        }
        Ok(written > 0 && self.sealed.iter().any(|s| s.indexed))
    }
}

/// A report's content, ready for the store.
#[derive(Debug)]
pub(crate) struct Content {
    pub kind: String,
    pub change_tag: Vec<u8>,
    pub fields: Fields,
    pub apps: Vec<App>,
    /// Of managed apps: Apple's word for where they stand.
    pub statuses: Vec<(String, String)>,
}

/// What keeping a report came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Kept {
    pub changed: bool,
    pub to_index: bool,
}

impl Content {
    /// `None` when it has no kind: there is nothing to keep.
    pub fn of(c: ReportContent, counters: &Counters) -> Option<Self> {
        if c.kind.is_empty() || c.kind.len() > 64 {
            return None;
        }
        let apps = c.apps.into_iter().take(MOST_APPS);
        let fits = |a: &rpc::proto::App| {
            a.identifier.len() + a.version.len() + a.short_version.len() + a.status.len()
                <= LONGEST_CLEAR_BYTES
        };
        let apps: Vec<_> = apps.filter(fits).collect();
        let said = apps.iter().filter(|a| !a.status.is_empty());
        let statuses = said.map(|a| (a.identifier.clone(), a.status.clone())).collect();
        Some(Self {
            fields: Fields::of(c.clear, c.sealed, counters),
            statuses,
            apps: apps
                .into_iter()
                .map(|a| App { identifier: a.identifier, version: a.version, short_version: a.short_version })
                .collect(),
            kind: c.kind,
            change_tag: c.change_tag,
        })
    }

    /// Keeps it, unless the phone's last report of the kind carried the same tag.
    pub fn keep(&self, tx: &Tx<'_>, slot: Slot, at_ms: TimeMs) -> Result<Kept, StoreError> {
        if !self.change_tag.is_empty() && tx.same_report(slot, &self.kind, &self.change_tag, at_ms)? {
            return Ok(Kept::default());
        }
        // What has no kind of its own comes from many commands: one says nothing of what another told.
        let whole = self.kind != "Other";
        let to_index = self.fields.keep(tx, slot, &self.kind, whole, at_ms)?;
        if !self.apps.is_empty() || self.kind.ends_with("ApplicationList") {
            tx.put_apps(slot, &self.kind, &self.apps)?;
        }
        tx.put_report(slot, &self.kind, &self.change_tag, at_ms)?;
        Ok(Kept { changed: true, to_index })
    }
}
