//! Apps that were ordered: acknowledged is not installed, so the phone's own list is asked for until it shows
//! the end of it, or it is given up.

use std::sync::Arc;

use model::Command;
use order::FreeQuery;
use store::{ErrorLink, Slot, StoreError};

use crate::queries::ask_phones;
use crate::room::Room;

/// How many phones one round asks.
const AT_ONCE: u32 = 500;

/// The app that a command is about, and whether it shall be there.
pub(crate) fn wanted(command: &Command) -> Option<(&str, bool)> {
    match command {
        Command::InstallApplication { identifier, .. } => Some((identifier, true)),
        Command::RemoveApplication { identifier } => Some((identifier, false)),
        _ => None,
    }
}

/// Whether a command of that `RequestType` is about an app.
pub(crate) fn is_about_an_app(request_type: &str) -> bool {
    matches!(request_type, "InstallApplication" | "RemoveApplication")
}

/// Why a phone refused, in a word: the outermost error's domain and code.
pub(crate) fn reason(errors: &[ErrorLink]) -> String {
    errors.first().map_or_else(|| "Error".to_owned(), |e| format!("{} {}", e.domain, e.code))
}

/// Asks phones for their lists of managed apps where one is due.
pub(crate) async fn check(room: &Arc<Room>) -> Result<(), StoreError> {
    let now_ms = room.now_ms();
    let mut due = room.store.read(move |v| v.app_checks_due(now_ms, AT_ONCE)).await?;
    due.sort_unstable_by_key(|(slot, _)| slot.0);
    due.dedup_by_key(|(slot, _)| slot.0);
    if due.is_empty() {
        return Ok(());
    }
    let slots: Vec<Slot> = due.iter().map(|(slot, _)| *slot).collect();
    ask_phones(room, due, vec![FreeQuery::ManagedApplicationList]).await?;
    room.store.write(move |tx| tx.app_checks_asked(&slots, now_ms)).await
}
