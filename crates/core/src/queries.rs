//! Free queries: what core may ask phones without anybody's signature.

use std::sync::Arc;

use model::{CommandId, EnrolmentId, TimeMs};
use order::FreeQuery;
use store::{NewCommand, Slot, StoreError, Tx};
use tokio::sync::oneshot;

use crate::room::Room;

/// What is asked at the enrolment and then daily.
pub(crate) const INVENTORY: [FreeQuery; 5] = [
    FreeQuery::DeviceInformation,
    FreeQuery::SecurityInfo,
    FreeQuery::InstalledApplicationList,
    FreeQuery::ProfileList,
    FreeQuery::CertificateList,
];

/// Queues queries for phones, skipping a phone that has the same query open. Returns how many rows
/// were queued, and for which phones.
pub(crate) fn queue_queries(
    room: &Room,
    tx: &Tx<'_>,
    phones: &[(Slot, EnrolmentId)],
    queries: &[FreeQuery],
    now_ms: TimeMs,
) -> Result<(u64, Vec<EnrolmentId>), StoreError> {
    let mut queued = 0;
    let mut reached: Vec<EnrolmentId> = Vec::new();
    let life_ms = TimeMs::from(room.config.query_life_hours) * model::clock::HOUR_MS;
    for query in queries {
        let mut number = None;
        for (slot, enrolment) in phones {
            if tx.has_open_query(*slot, query.number())? {
                continue;
            }
            let number = match number {
                Some(n) => n,
                None => {
                    let command: CommandId = room.mint_command()?;
                    let new = NewCommand {
                        command,
                        order: None,
                        request_type: query.request_type().to_owned(),
                        query: Some(query.number()),
                        body: Vec::new(),
                        sealed: false,
                        created_at_ms: now_ms,
                        expires_at_ms: now_ms + life_ms,
                    };
                    *number.insert(tx.put_command(&new)?)
                }
            };
            if tx.queue(*slot, number, None)? {
                queued += 1;
                reached.push(*enrolment);
            }
        }
    }
    reached.sort_unstable();
    reached.dedup();
    Ok((queued, reached))
}

/// How many phones one write takes at most, so that check-ins are not held up.
pub(crate) const PHONES_AT_ONCE: usize = 250;

/// Queues queries for many phones, in small writes. Returns how many rows were queued.
pub(crate) async fn ask_phones(
    room: &Arc<Room>,
    phones: Vec<(Slot, EnrolmentId)>,
    queries: Vec<FreeQuery>,
) -> Result<u64, StoreError> {
    let mut total = 0;
    for chunk in phones.chunks(PHONES_AT_ONCE) {
        let (chunk, queries, within, after) = (chunk.to_vec(), queries.clone(), room.clone(), room.clone());
        let now_ms = room.now_ms();
        let (told, written) = oneshot::channel();
        // The phones are woken with the commit, whatever became of whoever asked.
        room.store.write_then(
            move |tx| queue_queries(&within, tx, &chunk, &queries, now_ms),
            move |out| {
                let queued = out.map(|(queued, reached)| {
                    after.fleet.queued(&reached, now_ms);
                    queued
                });
                let _ = told.send(queued);
            },
        );
        total += written.await.unwrap_or(Err(StoreError::Closed))?;
    }
    Ok(total)
}
