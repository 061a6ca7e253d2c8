//! What lists tell of the ledger's entries. An order may name 20,000 phones, and its entry is a megabyte: what a list says of a large one is
//! made once and kept, as it is followed or when it is first looked at, so that a page takes no longer for it. An entry never changes.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::ledger::{Body, Entry, Witness};
use model::Digest;
use serde_json::{Value, json};
use store::{LedgerAbout, LedgerFilter, LedgerRow, ListedRow, Store, StoreError, View};

use crate::api::summary;
use crate::room::Room;

/// An entry of more bytes is read and decoded once, for what is kept of it.
pub(crate) const LARGE_BYTES: u32 = 4_096;
/// A list gives so many of what an entry names.
const FIRST: usize = 20;
/// And so many characters of what it says in words.
const MOST_TOLD: usize = 1_000;
/// Of so many large entries it is kept, some kilobytes each.
const MOST: usize = 2_000;

/// What an entry says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Brief {
    /// `vault`, or `core` for what the vault could not check.
    pub witness: &'static str,
    pub kind: &'static str,
    pub told: String,
    pub summary: Value,
}

impl Brief {
    /// For a list.
    fn of(bytes: &[u8]) -> Self {
        Entry::decode(bytes).map_or_else(|_| Self::unreadable(), |e| Self::short(&e.body))
    }

    /// With all that it names.
    pub(crate) fn whole(bytes: &[u8]) -> Self {
        Entry::decode(bytes).map_or_else(|_| Self::unreadable(), |e| Self::with(&e.body, usize::MAX))
    }

    fn unreadable() -> Self {
        let told = "an entry that this version can't read".to_owned();
        Self { witness: "vault", kind: "unknown", told, summary: json!({}) }
    }

    fn short(body: &Body) -> Self {
        let mut brief = Self::with(body, FIRST);
        if let Some((at, _)) = brief.told.char_indices().nth(MOST_TOLD) {
            brief.told.truncate(at);
            brief.told.push('…');
        }
        brief
    }

    fn with(body: &Body, most: usize) -> Self {
        let witness = if body.witness() == Witness::Core { "core" } else { "vault" };
        let (kind, summary) = summary(body, most);
        Self { witness, kind, told: words::line(&words::entry::told(body)), summary }
    }
}

/// What is kept of large entries, by the digest of their bytes; the oldest that came goes first.
#[derive(Default)]
pub(crate) struct Briefs(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    briefs: HashMap<Digest, Arc<Brief>>,
    came: VecDeque<Digest>,
}

impl Briefs {
    fn find(&self, hash: Digest) -> Option<Arc<Brief>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).briefs.get(&hash).cloned()
    }

    /// What is kept of it, or is made of its bytes.
    pub(crate) fn get(&self, v: &View<'_>, row: &ListedRow) -> Result<Brief, StoreError> {
        if let Some(kept) = self.find(row.hash) {
            return Ok(Brief::clone(&kept));
        }
        let brief = match &row.entry {
            Some(bytes) => Brief::of(bytes),
            None => {
                let found = v.ledger_rows(row.index, 1)?.pop().filter(|r| r.index == row.index);
                Brief::of(&found.ok_or(StoreError::Damaged("an entry of the ledger"))?.entry)
            }
        };
        if row.bytes > LARGE_BYTES {
            self.keep(row.hash, brief.clone());
        }
        Ok(brief)
    }

    /// Keeps what lists tell of an entry that is followed, if it is a large one.
    pub(crate) fn take(&self, row: &LedgerRow, body: &Body) {
        if row.entry.len() > LARGE_BYTES as usize {
            self.keep(row.hash, Brief::short(body));
        }
    }

    fn keep(&self, hash: Digest, brief: Brief) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.briefs.insert(hash, Arc::new(brief)).is_none() {
            kept.came.push_back(hash);
        }
        if kept.came.len() > MOST
            && let Some(oldest) = kept.came.pop_front()
        {
            kept.briefs.remove(&oldest);
        }
    }
}

/// Kinds of which an entry can be large.
const LARGE_KINDS: [&str; 6] = [
    "commanded",
    "declarations_set",
    "device_group_saved",
    "grant_used",
    "holder_cards_made",
    "profile_saved",
];
/// Of each so many of the newest are looked at after a start.
const LOOKED_AT: u32 = 200;

/// After a start: the large ones among the newest entries of each kind, so that nobody who looks waits for them.
pub(crate) async fn warm(room: Arc<Room>) {
    for kind in LARGE_KINDS {
        if let Err(e) = look_ahead(&room.store, &room.briefs, kind).await {
            tracing::warn!(store.error = %e, "the ledger's large entries could not be looked at ahead");
        }
    }
    // What comes from now on is kept as it comes.
    std::future::pending().await
}

async fn look_ahead(store: &Store, briefs: &Arc<Briefs>, kind: &'static str) -> Result<(), StoreError> {
    let filter = LedgerFilter {
        about: vec![LedgerAbout::Kind(kind.to_owned())],
        newest_first: true,
        limit: LOOKED_AT,
        ..Default::default()
    };
    let newest = store.read(move |v| v.ledger_listed(&filter, 0)).await?;
    for row in newest.into_iter().filter(|r| r.bytes > LARGE_BYTES) {
        let briefs = briefs.clone();
        store.read(move |v| briefs.get(v, &row)).await?;
        // Check-ins go first.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::ledger::entry::ENTRY_VERSION;
    use ::ledger::{Effect, Opaque};
    use model::{Command, CommandId, CommandKind, EnrolmentId, KeyId, OrderId, PersonId};
    use order::{Order, OrderKind, X25519Public, sha256};

    fn phones(n: u32) -> Vec<EnrolmentId> {
        let id = |n: u32| EnrolmentId(u128::from(n).to_be_bytes());
        (0..n).map(id).collect()
    }

    /// An order to lock so many phones, as the vault writes it.
    fn locks(n: u32) -> Body {
        let order = Order {
            version: Order::VERSION,
            id: OrderId([1; 16]),
            kind: OrderKind::Command { command: Command::DeviceLock },
            targets: phones(n),
            reason: "made up".into(),
            made_at_ms: 1,
            expires_at_ms: 2,
            answer_key: X25519Public([0; 32]),
            sealed_digest: None,
            outline: None,
        };
        let bytes = order::encode(&order);
        Body::OrderAccepted {
            order: order.id,
            digest: sha256(&bytes),
            signer: KeyId([2; 16]),
            person: PersonId([3; 16]),
            bytes: Opaque(bytes),
            signature: Opaque(vec![0; 64]),
            effect: Effect::Commanded {
                command: CommandId([7; 16]),
                kind: CommandKind::DeviceLock,
                answer_digest: Digest([8; 32]),
                erasing: false,
                targets: order.targets,
                expires_at_ms: 2,
                per_phone: vec![],
            },
            counted: None,
        }
    }

    fn row(index: u64, body: &Body) -> LedgerRow {
        let entry = Entry {
            version: ENTRY_VERSION,
            index,
            at_ms: 1,
            previous: Digest([0; 32]),
            witness: body.witness(),
            body: body.clone(),
            word: None,
        };
        let bytes = entry.encode().unwrap();
        LedgerRow { index, at_ms: 1, hash: sha256(&bytes), entry: bytes }
    }

    fn listed(row: &LedgerRow, entry: Option<Vec<u8>>) -> ListedRow {
        let bytes = u32::try_from(row.entry.len()).unwrap();
        ListedRow { index: row.index, at_ms: row.at_ms, hash: row.hash, bytes, entry }
    }

    #[test]
    fn a_list_tells_the_first_that_an_entry_names_and_how_many_and_by_itself_it_is_told_whole() {
        let body = locks(20_000);
        let brief = Brief::short(&body);
        let effect = &brief.summary["effect"];
        assert_eq!((brief.witness, brief.kind), ("vault", "commanded"));
        assert_eq!(effect["targets"], json!(phones(20)));
        assert_eq!(effect["targets_count"], 20_000);
        assert!(brief.told.contains("to 20000 phones"), "{}", brief.told);
        assert!(brief.summary.to_string().len() < 2_000, "what is kept is small");
        let whole = Brief::whole(&row(0, &body).entry);
        assert_eq!(whole.summary["effect"]["targets"].as_array().unwrap().len(), 20_000);
        assert_eq!(whole.told, brief.told);
        // What is not many is the same either way.
        let few = locks(20);
        assert_eq!(Brief::short(&few), Brief::whole(&row(0, &few).entry));
        assert_eq!(Brief::of(b"no entry"), Brief::unreadable());
    }

    #[test]
    fn a_large_entry_is_read_once_whoever_brought_it_and_a_small_one_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("core.db")).unwrap();
        let (large, small) = (locks(200), locks(1));
        let (large_row, small_row) = (row(0, &large), row(1, &small));
        let told = |briefs: &Briefs, row: &ListedRow| store.read_now(|v| briefs.get(v, row));
        // Followed: the database, which does not have it, is not asked.
        let briefs = Briefs::default();
        briefs.take(&large_row, &large);
        briefs.take(&small_row, &small);
        assert_eq!(told(&briefs, &listed(&large_row, None)).unwrap(), Brief::short(&large));
        assert!(told(&briefs, &listed(&small_row, None)).is_err(), "it was not kept, and is not there");
        // Looked at.
        let briefs = Briefs::default();
        assert!(told(&briefs, &listed(&large_row, None)).is_err());
        for entry in [Some(large_row.entry.clone()), None] {
            assert_eq!(told(&briefs, &listed(&large_row, entry)).unwrap(), Brief::short(&large));
        }
        let small = Brief::short(&small);
        assert_eq!(told(&briefs, &listed(&small_row, Some(small_row.entry.clone()))).unwrap(), small);
        assert!(briefs.find(small_row.hash).is_none());
    }

    #[tokio::test]
    async fn after_a_start_the_newest_large_entries_of_a_kind_are_looked_at_ahead_and_no_small_one_is() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("core.db")).unwrap();
        let rows = [row(0, &locks(200)), row(1, &locks(1)), row(2, &locks(300))];
        let put = rows.clone();
        let written = store.write(move |tx| {
            for row in &put {
                tx.put_ledger_row(row)?;
                tx.note_ledger(row.index, &[LedgerAbout::Kind("commanded".to_owned())])?;
            }
            Ok(())
        });
        written.await.unwrap();
        let briefs = Arc::default();
        look_ahead(&store, &briefs, "holder_cards_made").await.unwrap();
        assert!(rows.iter().all(|r| briefs.find(r.hash).is_none()), "another kind");
        look_ahead(&store, &briefs, "commanded").await.unwrap();
        let kept = rows
            .each_ref()
            .map(|r| briefs.find(r.hash).map(|b| b.summary["effect"]["targets_count"].clone()));
        assert_eq!(kept, [Some(json!(200)), None, Some(json!(300))]);
    }

    #[test]
    fn each_kind_that_is_looked_at_ahead_is_one_of_the_ledgers() {
        assert!(LARGE_KINDS.iter().all(|kind| ::ledger::KINDS.contains(kind)));
    }

    #[test]
    fn the_oldest_that_came_goes_first_when_more_than_are_kept_have_come() {
        let briefs = Briefs::default();
        let hash = |n: usize| sha256(&n.to_be_bytes());
        for n in 0..=MOST {
            briefs.keep(hash(n), Brief::unreadable());
            briefs.keep(hash(n), Brief::unreadable());
        }
        let kept = |n| briefs.find(hash(n)).is_some();
        assert_eq!([kept(0), kept(1), kept(MOST)], [false, true, true]);
    }
}
