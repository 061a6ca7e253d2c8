//! Notes what each entry of the ledger is about, so that it can be looked through.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ledger::{Body, Effect, Entry};
use model::clock::DAY_MS;
use model::{OrderId, PersonId};
use store::{LedgerAbout, LedgerDay, LedgerFilter, LedgerRow, StoreError, Tx};

use crate::room::Room;

/// What a batch of entries adds to its days, written once for all of them.
#[derive(Default)]
pub(crate) struct Days(BTreeMap<(i64, &'static str), (u64, u64)>);

impl Days {
    pub fn write(self, tx: &Tx<'_>) -> Result<(), StoreError> {
        for ((day, kind), (entries, amount)) in self.0 {
            tx.count_ledger_day(&LedgerDay { day, kind: kind.to_owned(), entries, amount })?;
        }
        Ok(())
    }
}

/// In the transaction in which the entry is applied. Gives how many notes that made.
pub(crate) fn note(tx: &Tx<'_>, row: &LedgerRow, body: &Body, days: &mut Days) -> Result<usize, StoreError> {
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
        .chain([LedgerAbout::Kind(body.kind().to_owned())])
        .collect();
    tx.note_ledger(row.index, &about)?;
    let (entries, amount) = days.0.entry((row.at_ms.div_euclid(DAY_MS), body.kind())).or_default();
    *entries += 1;
    *amount += u64::from(named.amount);
    Ok(about.len())
}

/// Who signed the order that made a grant: core carried it, or the ledger tells (the grant of another core's time).
fn grantee(tx: &Tx<'_>, grant: OrderId) -> Result<Option<PersonId>, StoreError> {
    if let Some(person) = tx.find_order(grant)?.and_then(|o| o.signer) {
        return Ok(Some(person));
    }
    // It was perhaps held and refused some times before.
    const TRIES: u32 = 64;
    let about = vec![LedgerAbout::Order(grant)];
    let rows = tx.ledger_found(&LedgerFilter { about, limit: TRIES, ..Default::default() })?;
    let mut signed = rows.iter().filter_map(|row| match Entry::decode(&row.entry).ok()?.body {
        Body::OrderAccepted { order, person, .. } if order == grant => Some(person),
        _ => None,
    });
    Ok(signed.next())
}

/// Notes what was followed before an upgrade, bit by bit, in turn.
pub(crate) async fn catch_up(room: Arc<Room>) {
    loop {
        match note_some(&room).await {
            // Check-ins go first.
            Ok(true) => tokio::time::sleep(Duration::from_millis(5)).await,
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
    // An entry may speak of 20,000 phones, and check-ins wait for the same writer.
    const NOTES_AT_ONCE: usize = 2_000;
    room.store
        .write(|tx| {
            let (mut days, mut notes, mut last) = (Days::default(), 0, None);
            for row in &tx.unnoted(AT_ONCE)? {
                if let Ok(entry) = Entry::decode(&row.entry) {
                    notes += note(tx, row, &entry.body, &mut days)?;
                    keep_passkey(tx, &entry.body)?;
                }
                last = Some(row.index);
                if notes >= NOTES_AT_ONCE {
                    break;
                }
            }
            days.write(tx)?;
            let Some(last) = last else { return Ok(false) };
            tx.noted_up_to(last)?;
            Ok(true)
        })
        .await
}

/// Who joined by a passkey before core kept those.
fn keep_passkey(tx: &Tx<'_>, body: &Body) -> Result<(), StoreError> {
    match body {
        Body::OrderAccepted {
            effect:
                Effect::PasskeyJoined { key_id, passkey, .. } | Effect::PasskeyAdded { key_id, passkey, .. },
            ..
        } => tx.keep_passkey(*key_id, &passkey.0),
        _ => Ok(()),
    }
}
