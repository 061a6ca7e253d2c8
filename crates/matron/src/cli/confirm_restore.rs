//! Confirming that the house was restored from a backup.

use clap::Args;
use model::{Digest, PersonId, TimeMs};
use order::OrderKind;
use serde::Deserialize;
use serde_json::json;

use super::desk::{Desk, shaped};
use super::failure::{Result, failed};
use super::place::{self, Beside, Draft};
use super::{people, show};

#[derive(Debug, Args)]
pub(crate) struct ConfirmRestore {
    /// People who were removed since the backup was made, and are removed again with it: their ids, or
    /// the first digits. Every administrator who confirms has to name the same.
    #[arg(long, value_name = "PERSON")]
    without: Vec<String>,
    /// Why.
    #[arg(long)]
    reason: Option<String>,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Deserialize)]
struct Health {
    vault: Vault,
}

#[derive(Deserialize)]
struct Vault {
    answers: bool,
    restored: Option<Restored>,
}

#[derive(Deserialize)]
struct Restored {
    manifest: Digest,
    made_at_ms: TimeMs,
    entries: u64,
    position: u64,
    needed: u32,
    confirmed: u32,
}

fn restored(desk: &Desk) -> Result<Option<Restored>> {
    let health: Health = shaped(&desk.get("/api/v1/health")?)?;
    if !health.vault.answers {
        return Err(failed("the vault does not answer; try again"));
    }
    Ok(health.vault.restored)
}

pub(crate) fn run(desk: &Desk, c: ConfirmRestore) -> Result<()> {
    let Some(r) = restored(desk)? else {
        return Err(failed("there is no restore to confirm: this house goes by its own ledger"));
    };
    let mut without: Vec<PersonId> =
        c.without.iter().map(|w| people::find(desk, w)).collect::<Result<_>>()?;
    without.sort_unstable();
    without.dedup();
    let beside = Beside {
        warnings: vec![
            format!(
                "What was decided after {} is missing: removed people are back unless you name them with \
                 --without; ended standing orders stand again ('matron standing list'; end them before you \
                 confirm); commands that phones had not carried out are called back and have to be ordered again; \
                 phones that enrolled since have to be invited again",
                show::time(r.made_at_ms)
            ),
            format!(
                "The backup's ledger had {}; the restore is entry {}",
                show::count(r.entries, "entry"),
                r.position
            ),
        ],
        ..Beside::default()
    };
    let kind = OrderKind::ConfirmRestore { manifest: r.manifest, made_at_ms: r.made_at_ms, without };
    let reason = place::reason(c.reason)?;
    let placed = Draft::new(kind, &reason).beside(beside).place(desk, c.yes)?;
    let left = restored(desk)?;
    if desk.reach.json {
        let said = json!({ "order": placed.order, "complete": left.is_none(), "needed": r.needed });
        return show::print_json(&said);
    }
    match left {
        None => show::print("The restore is confirmed: orders are carried out again.\n"),
        Some(now) => show::print(&format!(
            "Confirmed by {} of {} ({} before). Another administrator runs 'matron confirm-restore' too.\n",
            now.confirmed, now.needed, r.confirmed
        )),
    }
}
