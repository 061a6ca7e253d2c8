//! The ledger looked through: by whom and what entries are about, by time, and how many a day there were.

use model::clock::DAY_MS;
use model::{EnrolmentId, OrderId, PersonId, TimeMs};
use rusqlite::{Row, ToSql, named_params, params};

use crate::ledger::{LedgerRow, ListedRow, ledger_row, listed_row, signed};
use crate::{StoreError, Tx, View};

/// Something that entries can be about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerAbout {
    /// A kind, by its word.
    Kind(String),
    /// A person who signs.
    Person(PersonId),
    /// A phone.
    Enrolment(EnrolmentId),
    /// An order.
    Order(OrderId),
}

impl LedgerAbout {
    fn key(&self) -> Vec<u8> {
        let (letter, rest) = match self {
            Self::Kind(word) => (b'k', word.as_bytes()),
            Self::Person(id) => (b'p', id.as_bytes()),
            Self::Enrolment(id) => (b'e', id.as_bytes()),
            Self::Order(id) => (b'o', id.as_bytes()),
        };
        [&[letter], rest].concat()
    }
}

/// Which entries.
#[derive(Debug, Clone, Default)]
pub struct LedgerFilter {
    /// About all of these, at most three; the rarest first, since its index is walked.
    pub about: Vec<LedgerAbout>,
    /// Of those, entries of any of these kinds, by their words; empty: of all. Without `about` it says nothing.
    pub kinds: Vec<&'static str>,
    /// From this place on.
    pub from: u64,
    /// Up to this place, which is not among them.
    pub before: Option<u64>,
    /// The newest first.
    pub newest_first: bool,
    /// How many at most.
    pub limit: u32,
}

impl LedgerFilter {
    /// `entry`: what is asked for of an entry's bytes.
    fn sql(&self, entry: &str) -> String {
        let descending = if self.newest_first { "DESC" } else { "ASC" };
        if self.about.is_empty() {
            return format!(
                "SELECT i.number, i.at_ms, i.hash, {entry} FROM ledger_items i WHERE i.number >= :from AND i.number < :before
                 ORDER BY i.number {descending} LIMIT :limit"
            );
        }
        let too = |n: usize| {
            format!(
                "AND EXISTS (SELECT 1 FROM ledger_about b WHERE b.about = :about{n} AND b.number = a.number)"
            )
        };
        let more: String = (1..self.about.len()).map(too).collect();
        let any = if self.kinds.is_empty() {
            String::new()
        } else {
            let kinds: Vec<String> = (0..self.kinds.len()).map(|n| format!(":kind{n}")).collect();
            format!(
                "AND EXISTS (SELECT 1 FROM ledger_about k WHERE k.about IN ({}) AND k.number = a.number)",
                kinds.join(", ")
            )
        };
        format!(
            "SELECT i.number, i.at_ms, i.hash, {entry} FROM ledger_about a
             CROSS JOIN ledger_items i ON i.number = a.number
             WHERE a.about = :about0 AND a.number >= :from AND a.number < :before {more} {any}
             ORDER BY a.number {descending} LIMIT :limit"
        )
    }
}

/// How many entries of a kind a day had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerDay {
    /// Days since 1970 (UTC).
    pub day: i64,
    /// The kind's word.
    pub kind: String,
    /// Entries.
    pub entries: u64,
    /// Phones or records that they speak of.
    pub amount: u64,
}

impl View<'_> {
    /// Entries that fit.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn ledger_found(&self, f: &LedgerFilter) -> Result<Vec<LedgerRow>, StoreError> {
        self.fitting(f, "i.entry", 0, ledger_row)
    }

    /// The same, without the bytes of those that have more than `largest_bytes`: what one entry takes then does not depend on how many
    /// phones it names.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn ledger_listed(&self, f: &LedgerFilter, largest_bytes: u32) -> Result<Vec<ListedRow>, StoreError> {
        // The length stands at the row's beginning: SQLite reads what follows for the others alone.
        let entry = "CASE WHEN length(i.entry) <= :largest THEN i.entry END, length(i.entry)";
        self.fitting(f, entry, largest_bytes, listed_row)
    }

    fn fitting<T>(
        &self,
        f: &LedgerFilter,
        entry: &str,
        largest_bytes: u32,
        read: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let key = |n: usize| f.about.get(n).map(LedgerAbout::key);
        let kinds: Vec<(String, Vec<u8>)> = (0..)
            .zip(&f.kinds)
            .map(|(n, kind): (usize, _)| (format!(":kind{n}"), LedgerAbout::Kind((*kind).to_owned()).key()))
            .collect();
        let (keys, from) = ([key(0), key(1), key(2)], signed(f.from));
        let before = f.before.map_or(i64::MAX, signed);
        let [about0, about1, about2] = &keys;
        let mut values = named_params! {
            ":about0": about0, ":about1": about1, ":about2": about2, ":from": from, ":before": before,
            ":limit": f.limit, ":largest": largest_bytes,
        }
        .to_vec();
        values.extend(kinds.iter().map(|(name, key)| (name.as_str(), key as &dyn ToSql)));
        self.named(&f.sql(entry), &values, read)
    }

    /// The place of the first entry of that time or later; `None` when there is none. Entries' times never go back (the
    /// vault sees to that), so it is looked for by halves.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn ledger_place(&self, at_ms: TimeMs) -> Result<Option<u64>, StoreError> {
        let end = self.one(
            "SELECT number + 1 FROM ledger_items ORDER BY number DESC LIMIT 1",
            [],
            crate::ledger::index,
        )?;
        let (mut low, mut high) = (0, end.unwrap_or(0));
        let end = high;
        while low < high {
            let middle = low + (high - low) / 2;
            let at: Option<TimeMs> =
                self.one("SELECT at_ms FROM ledger_items WHERE number = ?1", [signed(middle)], |r| r.get(0))?;
            if at.is_some_and(|at| at < at_ms) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok((low < end).then_some(low))
    }

    /// The first entry about that, such as the order that made a grant.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn find_ledger_row(&self, about: &LedgerAbout) -> Result<Option<LedgerRow>, StoreError> {
        let f = LedgerFilter { about: vec![about.clone()], limit: 1, ..Default::default() };
        Ok(self.ledger_found(&f)?.pop())
    }

    /// How many entries of each kind each day had, from that day on.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn ledger_days(&self, since_ms: TimeMs) -> Result<Vec<LedgerDay>, StoreError> {
        self.all(
            "SELECT day, kind, entries, amount FROM ledger_days WHERE day >= ?1 ORDER BY day, kind",
            [since_ms.div_euclid(DAY_MS)],
            |r| {
                let (entries, amount): (i64, i64) = (r.get(2)?, r.get(3)?);
                let unsigned = |n: i64| u64::try_from(n).unwrap_or(0);
                let (day, kind) = (r.get(0)?, r.get(1)?);
                Ok(LedgerDay { day, kind, entries: unsigned(entries), amount: unsigned(amount) })
            },
        )
    }

    /// Entries that are still to be noted.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn unnoted(&self, limit: u32) -> Result<Vec<LedgerRow>, StoreError> {
        self.all(
            "SELECT i.number, i.at_ms, i.hash, i.entry FROM ledger_unnoted u
             CROSS JOIN ledger_items i ON i.number = u.number ORDER BY u.number LIMIT ?1",
            [limit],
            ledger_row,
        )
    }

    /// Whether none is left of those.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn is_all_noted(&self) -> Result<bool, StoreError> {
        Ok(self.one("SELECT 1 FROM ledger_unnoted LIMIT 1", [], |_| Ok(()))?.is_none())
    }
}

impl Tx<'_> {
    /// Notes what an entry is about.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn note_ledger(&self, number: u64, about: &[LedgerAbout]) -> Result<(), StoreError> {
        for one in about {
            self.run(
                "INSERT OR IGNORE INTO ledger_about (about, number) VALUES (?1, ?2)",
                params![one.key(), signed(number)],
            )?;
        }
        Ok(())
    }

    /// Counts entries to their day.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn count_ledger_day(&self, day: &LedgerDay) -> Result<(), StoreError> {
        self.run(
            "INSERT INTO ledger_days (day, kind, entries, amount) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (day, kind) DO UPDATE SET entries = entries + excluded.entries,
                 amount = amount + excluded.amount",
            params![day.day, day.kind, signed(day.entries), signed(day.amount)],
        )?;
        Ok(())
    }

    /// Entries up to this place are noted; see [`View::unnoted`].
    ///
    /// # Errors
    /// When the database refuses.
    pub fn noted_up_to(&self, number: u64) -> Result<(), StoreError> {
        self.run("DELETE FROM ledger_unnoted WHERE number <= ?1", [signed(number)])?;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use model::Digest;

    fn row(index: u64, at_ms: TimeMs) -> LedgerRow {
        LedgerRow { index, at_ms, hash: Digest([1; 32]), entry: vec![7] }
    }

    #[tokio::test]
    async fn the_ledger_is_found_by_kind_person_phone_and_time_in_both_directions() {
        let dir = tempfile::tempdir().unwrap();
        let store = crate::Store::open(&dir.path().join("core.db")).unwrap();
        let (ada, phone) =
            (LedgerAbout::Person(PersonId([1; 16])), LedgerAbout::Enrolment(EnrolmentId([2; 16])));
        let (about_ada, about_both) = (vec![ada.clone()], vec![ada.clone(), phone.clone()]);
        store
            .write(move |tx| {
                for n in 0..10_u64 {
                    let r = row(n, i64::try_from(n).unwrap() * DAY_MS / 2);
                    tx.put_ledger_row(&r)?;
                    let kind = if n % 2 == 0 { "opened" } else { "commanded" };
                    let about = if n < 5 { &about_ada } else { &about_both };
                    tx.note_ledger(n, &[&about[..], &[LedgerAbout::Kind(kind.into())]].concat())?;
                    let day = r.at_ms.div_euclid(DAY_MS);
                    tx.count_ledger_day(&LedgerDay { day, kind: kind.into(), entries: 1, amount: 3 })?;
                }
                Ok(())
            })
            .await
            .unwrap();
        let found = |f: LedgerFilter| {
            let store = &store;
            async move {
                let rows = store.read(move |v| v.ledger_found(&f)).await.unwrap();
                rows.into_iter().map(|r| r.index).collect::<Vec<_>>()
            }
        };
        let all = LedgerFilter { limit: 50, ..Default::default() };
        let kind = LedgerAbout::Kind("opened".into());
        assert_eq!(found(LedgerFilter { limit: 3, newest_first: true, ..all.clone() }).await, [9, 8, 7]);
        assert_eq!(
            found(LedgerFilter { about: vec![phone.clone()], from: 6, ..all.clone() }).await,
            [6, 7, 8, 9]
        );
        let both = LedgerFilter {
            about: vec![phone, ada, kind],
            newest_first: true,
            before: Some(8),
            ..all.clone()
        };
        assert_eq!(found(both).await, [6]);
        let newest = |kinds: Vec<&'static str>, limit| LedgerFilter {
            about: vec![LedgerAbout::Enrolment(EnrolmentId([2; 16]))],
            kinds,
            newest_first: true,
            limit,
            ..Default::default()
        };
        assert_eq!(found(newest(vec!["opened", "commanded"], 3)).await, [9, 8, 7]);
        assert_eq!(found(newest(vec!["opened", "grant_used"], 50)).await, [8, 6]);
        assert!(found(newest(vec!["grant_used"], 50)).await.is_empty());
        let place = |at_ms| store.read(move |v| v.ledger_place(at_ms));
        assert_eq!(place(DAY_MS + 1).await.unwrap(), Some(3));
        assert_eq!(place(i64::MAX).await.unwrap(), None);
        let days = store.read(|v| v.ledger_days(4 * DAY_MS)).await.unwrap();
        let told: Vec<_> = days.iter().map(|d| (d.day, d.kind.as_str(), d.entries, d.amount)).collect();
        assert_eq!(told, [(4, "commanded", 1, 3), (4, "opened", 1, 3)]);
        // Their bytes are left out where they are more.
        let f = LedgerFilter { about: vec![LedgerAbout::Kind("opened".into())], limit: 2, ..all };
        let listed = |largest| store.read_now(|v| v.ledger_listed(&f, largest)).unwrap();
        let told = |r: &ListedRow| (r.index, r.at_ms, r.bytes, r.entry.clone());
        assert_eq!(
            listed(1).iter().map(told).collect::<Vec<_>>(),
            [(0, 0, 1, Some(vec![7])), (2, DAY_MS, 1, Some(vec![7])),]
        );
        assert_eq!(listed(0).iter().map(told).collect::<Vec<_>>(), [(0, 0, 1, None), (2, DAY_MS, 1, None)]);
        assert!(store.read(|v| v.is_all_noted()).await.unwrap());
    }
}
