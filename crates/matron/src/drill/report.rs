//! The drill's outcome: a table for people, JSON for programs.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, ContentArrangement, Table};
use serde::{Serialize, Serializer};
use serde_json::json;

use super::Taking;
use super::occupy::Tally;

/// What came of one taking.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct RoomReport {
    #[serde(serialize_with = "name")]
    pub(crate) room: Taking,
    /// Phones of which something true was shown that they did not say themselves meanwhile.
    pub(crate) records_read: u64,
    pub(crate) records_total: u64,
    /// Phones that obeyed an order to erase that nobody signed.
    pub(crate) phones_wiped: u64,
    /// What the ledger has of that time.
    pub(crate) ledger_entries: u64,
    /// From the first refused forgery to the alarm at a receiver; null where none is due.
    pub(crate) alarm_ms: Option<u64>,
    /// What live grants paid for.
    pub(crate) records_paid_for: u64,
    /// How many phones' openings stand in the ledger.
    pub(crate) records_in_ledger: u64,
    /// Phones that connected meanwhile.
    pub(crate) phones_connected: u64,
    /// Of those, how many said something true to whoever held the room.
    pub(crate) phones_heard: u64,
    /// Phones that a stolen key of an administrator's had erased, and how many it may without a second signature.
    pub(crate) phones_wiped_by_key: u64,
    pub(crate) phones_paid_for: u64,
    /// Phones that were wiped or dropped their management only when the room had been given back, or that never spoke
    /// to whoever held it.
    pub(crate) phones_harmed_later: u64,
    /// That dropped their management.
    pub(crate) phones_dropped: u64,
    pub(crate) push_tokens_read: u64,
    /// Phones that the courier was to wake meanwhile.
    pub(crate) phones_pushed: u64,
    /// Certificates of phones that enrolled meanwhile, for a key of the intruder's.
    pub(crate) certificates_taken: u64,
    pub(crate) phones_enrolling: u64,
    /// Commands that the vault made under standing orders that install, within the cap of the one that reaches these phones.
    pub(crate) installed_within_cap: u64,
    /// Beyond it, or on phones of another group.
    pub(crate) installed_beyond_cap: u64,
    pub(crate) attempts: BTreeMap<String, Tally>,
    /// What the table adds in words.
    pub(crate) notes: Vec<String>,
    /// Promises that were not kept.
    pub(crate) broken: Vec<String>,
}

fn name<S: Serializer>(taking: &Taking, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(taking.name())
}

impl RoomReport {
    pub(crate) fn of(room: Taking, records_total: u64) -> Self {
        Self { room, records_total, ..Self::default() }
    }
}

/// What is taken, in the table's words.
fn taken(room: Taking) -> &'static str {
    match room {
        Taking::Door => "door",
        Taking::Reader => "reader",
        Taking::Core => "core, no live grant",
        Taking::CoreWithGrants => "core, live grants",
        Taking::Courier => "courier",
        Taking::Disk => "stolen disk",
        Taking::Backup => "stolen backup",
        Taking::Session => "an administrator's session",
    }
}

pub(crate) fn print_json(kept: bool, rooms: &[RoomReport]) {
    println!("{}", json!({ "promises_kept": kept, "rooms": rooms }));
}

pub(crate) fn print(kept: bool, rooms: &[RoomReport]) {
    let mut table = Table::new();
    table
        .load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header([
        "taken",
        "records read",
        "phones wiped",
        "in the ledger",
        "alarm after",
        "beside that",
    ]);
    for r in rooms {
        let read = match r.records_paid_for {
            0 => format!("{} of {}", r.records_read, r.records_total),
            paid => format!("{} of {} ({paid} paid for)", r.records_read, r.records_total),
        };
        let wiped = match r.room {
            Taking::Door => format!("{} ({} connected)", r.phones_wiped, r.phones_connected),
            _ => r.phones_wiped.to_string(),
        };
        let alarm = r.alarm_ms.map_or_else(|| "–".to_owned(), |ms| format!("{ms} ms"));
        let tried: u64 = r.attempts.values().map(|t| t.tried).sum();
        let mut beside = vec![format!("{tried} attempts")];
        beside.extend(r.notes.iter().cloned());
        table.add_row([
            taken(r.room).to_owned(),
            read,
            wiped,
            format!("{} entries", r.ledger_entries),
            alarm,
            beside.join("; "),
        ]);
    }
    for n in 1..=4 {
        table.column_mut(n).into_iter().for_each(|c| c.set_cell_alignment(CellAlignment::Right));
    }
    println!("{table}");
    println!("Not drilled: a taken vault, and root on the host, are everything (SECURITY.md).");
    if kept {
        println!("All promises were kept.");
    }
    for r in rooms {
        r.broken.iter().for_each(|b| println!("BROKEN  {}: {b}", taken(r.room)));
    }
}
