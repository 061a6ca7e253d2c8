//! Notes what each entry of the ledger is about, so that it can be looked through.

use std::sync::Arc;
use std::time::Duration;

use ledger::{Body, Entry};
use model::{OrderId, PersonId};
use store::{LedgerAbout, LedgerFilter, LedgerRow, StoreError, Tx};

use crate::room::Room;

/// In the transaction in which the entry is applied.
pub(crate) fn note(tx: &Tx<'_>, row: &LedgerRow, body: &Body) -> Result<(), StoreError> {
    let named = body.about();
    let mut people = named.people;
    // The entry has the key, or the grant, of somebody.
    if let Some(key) = named.signer {
        people.extend(tx.person_of_key(key)?);
    }
    if let Some(grant) = named.grant {
        people.extend(grantee(tx, grant)?);
    }
    let about: Vec<LedgerAbout> = people
        .into_iter()
        .map(LedgerAbout::Person)
        .chain(named.enrolments.into_iter().map(LedgerAbout::Enrolment))
        .chain(named.orders.into_iter().map(LedgerAbout::Order))
        .collect();
    tx.note_ledger(row, body.kind(), &about, named.amount)
}

/// Who signed the order that made a grant.
fn grantee(tx: &Tx<'_>, grant: OrderId) -> Result<Option<PersonId>, StoreError> {
    let about = vec![LedgerAbout::Order(grant)];
    let rows = tx.ledger_found(&LedgerFilter { about, limit: 4, ..Default::default() })?;
    let signed = rows.iter().filter_map(|row| match Entry::decode(&row.entry).ok()?.body {
        Body::OrderAccepted { order, person, .. } if order == grant => Some(person),
        _ => None,
    });
    Ok(signed.take(1).next())
}

/// Notes what was followed before an upgrade, bit by bit, in turn.
pub(crate) async fn catch_up(room: Arc<Room>) {
    loop {
        match note_some(&room).await {
            Ok(true) => {}
            // What comes from now on is noted as it comes.
            Ok(false) => std::future::pending().await,
            Err(e) => {
                tracing::error!(store.error = %e, "the ledger's older entries could not be noted");
                tokio::time::sleep(Duration::from_secs(10)).await;
            }
        }
    }
}

async fn note_some(room: &Room) -> Result<bool, StoreError> {
    const AT_ONCE: u32 = 256;
    room.store
        .write(|tx| {
            let rows = tx.unnoted(AT_ONCE)?;
            for row in &rows {
                match Entry::decode(&row.entry) {
                    Ok(entry) => note(tx, row, &entry.body)?,
                    Err(_) => tx.note_ledger(row, "unknown", &[], 1)?,
                }
            }
            Ok(!rows.is_empty())
        })
        .await
}
