//! What lies in core's folder: the database is the intruder's to read.

use std::fmt::Write as _;
use std::path::Path;

use model::{Clock, EnrolmentId, KeyId, ProfileId, SealedRow, SystemClock, TimeMs};
use order::SignedOrder;
use seal::SearchField;
use store::{Next, Offer, SessionRecord, Slot, StandingRecord, Store, StoreError, View};

use crate::told::Told;
use crate::{Outcome, tell};

/// Where everything that can be read is put down, for the drill to look through. In the own folder.
pub(crate) const LOOT_FILE: &str = "intruder.loot";

/// An index entry with whose it is.
pub(crate) type Indexed = (Slot, Vec<u8>);

/// What was found.
pub(crate) struct Loot {
    pub(crate) phones: Vec<(Slot, EnrolmentId)>,
    pub(crate) rows: Vec<(EnrolmentId, SealedRow)>,
    pub(crate) sessions: Vec<SessionRecord>,
    pub(crate) keys: Vec<KeyId>,
    pub(crate) orders: Vec<SignedOrder>,
    /// Commands that wait, with real warrants.
    pub(crate) warranted: Vec<(EnrolmentId, Next)>,
    pub(crate) standing: Vec<StandingRecord>,
    /// What is sealed of the library's newest versions.
    pub(crate) contents: Vec<(ProfileId, u32, SealedRow)>,
    pub(crate) index: Vec<Indexed>,
    in_the_clear: String,
}

impl Loot {
    pub(crate) fn take(folder: &Path) -> Outcome<Self> {
        let store = Store::open(&folder.join("core.db"))?;
        let now_ms = SystemClock.now_ms();
        Ok(store.read_now(|v| Self::of(v, now_ms))?)
    }

    fn of(v: &View<'_>, now_ms: TimeMs) -> Result<Self, StoreError> {
        let phones: Vec<(Slot, EnrolmentId)> =
            v.live_enrolments()?.into_iter().map(|r| (r.slot, r.enrolment)).collect();
        let (mut rows, mut warranted, mut in_the_clear) = (Vec::new(), Vec::new(), String::new());
        for (slot, enrolment) in &phones {
            for note in v.sealed_notes(*slot)? {
                let _ = writeln!(in_the_clear, "{enrolment} {} {}", note.name, note.mask);
                rows.extend(v.find_sealed(*slot, &note.name)?.map(|row| (*enrolment, row)));
            }
            for (name, value) in v.clear_fields(*slot)? {
                let _ = writeln!(in_the_clear, "{enrolment} {name} {value}");
            }
            let any = Offer { now_ms, deferred_until_ms: now_ms, after: -1 };
            let next = v.next_command(*slot, any)?;
            warranted.extend(next.filter(|n| n.warrant.is_some()).map(|n| (*enrolment, n)));
        }
        let orders = v.orders(i64::MAX, 10_000)?;
        for o in &orders {
            let _ = writeln!(in_the_clear, "{} {} {}", o.order, o.kind, o.reason);
        }
        let mut contents = Vec::new();
        for of in v.profiles(1_000)? {
            let row = v.find_profile_content(of.profile, of.version)?;
            contents.extend(row.map(|row| (of.profile, of.version, row)));
        }
        let mut index = Vec::new();
        for field in SearchField::ALL {
            v.scan_index(field.name(), store::EVERY_SLOT, |slot, _, entry| {
                index.push((slot, entry.to_vec()))
            })?;
        }
        Ok(Self {
            rows,
            sessions: v.sessions(now_ms)?,
            keys: v.people(None, 1_000)?.into_iter().flat_map(|p| p.keys).collect(),
            orders: orders.iter().filter_map(|o| order::decode(&o.signed).ok()).collect(),
            warranted,
            standing: v.standing_orders()?,
            contents,
            index,
            in_the_clear,
            phones,
        })
    }

    /// Puts down what is readable, and says what equal values show.
    pub(crate) fn tell(&self, told: &Told) -> Outcome<()> {
        std::fs::write(told.folder.join(LOOT_FILE), &self.in_the_clear)?;
        tell::attempt("read the database", false, format!("sealed ({} rows)", self.rows.len()));
        let mut seen = std::collections::HashSet::new();
        let equal = self.index.iter().filter(|(_, entry)| !seen.insert(entry.as_slice())).count();
        tell::attempt(
            "find equal values by equal index entries",
            equal > 0,
            format!("salts ({} entries)", self.index.len()),
        );
        let mut seen = std::collections::HashSet::new();
        let tags = self.rows.iter().filter(|(_, r)| !r.change_tag.is_empty());
        let equal = tags.filter(|(_, r)| !seen.insert(r.change_tag.as_slice())).count();
        tell::attempt("find equal values by equal change tags", equal > 0, "keyed tags of each phone's own");
        Ok(())
    }
}
