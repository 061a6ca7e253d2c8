//! A large fleet for measuring: enrolments that the ledger knows are given the shape of a phone that
//! enrolled really. Through the store's own API, with core stopped; `matron bench` alone calls it.

use std::path::Path;
use std::sync::mpsc::channel;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use model::{CommandId, EnrolmentId, ProfileId, SealedRow, TimeMs};
use seal::SearchField;
use serde::Serialize;
use store::{App, CommandState, NewCommand, PushState, SealedUpdate, Slot, Store, StoreError, Tx, View};

use crate::{DATABASE_FILE, Error};

/// How many phones one write takes.
const AT_ONCE: usize = 250;
/// What the phones of the fleet run, in turn.
const OS_VERSIONS: [&str; 8] = ["16.7.10", "17.5.1", "17.6.1", "17.7", "18.0", "18.1", "18.1.1", "18.2"];
const MODELS: [&str; 5] = ["iPhone12,8", "iPhone13,2", "iPhone14,5", "iPhone14,6", "iPhone15,4"];
/// Every how many phones one is silent for a month.
const SILENT: usize = 50;

/// What was written.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Written {
    /// Phones.
    pub phones: u64,
    /// Fields in the clear, sealed rows, index entries, reports and apps.
    pub rows: u64,
    /// Finished commands in the queue.
    pub history: u64,
}

/// What one phone said, as it lies in the store.
struct Shape {
    clear: Vec<(String, String)>,
    sealed: Vec<SealedRow>,
    apps: Vec<App>,
    reports: Vec<String>,
    /// Field, row, how many entries, and how long one is.
    entries: Vec<(&'static str, String, usize, usize)>,
}

const SOURCE: &str = "DeviceInformation";

impl Shape {
    fn of(v: &View<'_>, slot: Slot) -> Result<Self, StoreError> {
        let mut sealed = Vec::new();
        // The holder's rows came with the ledger's entry.
        for note in v.sealed_notes(slot)?.iter().filter(|n| !n.name.starts_with("Holder.")) {
            sealed.extend(v.find_sealed(slot, &note.name)?);
        }
        let mut entries: Vec<(&'static str, String, usize, usize)> = Vec::new();
        for field in SearchField::ALL {
            v.scan_index(field.name(), store::EVERY_SLOT, |s, name, bytes| {
                if s != slot || name.starts_with("Holder.") {
                    return;
                }
                match entries.last_mut() {
                    Some(last) if last.0 == field.name() && last.1 == name => last.2 += 1,
                    _ => entries.push((field.name(), name.to_owned(), 1, bytes.len())),
                }
            })?;
        }
        Ok(Self {
            clear: v.clear_fields(slot)?,
            sealed,
            apps: v.apps(slot)?,
            reports: v.reports(slot)?.into_iter().map(|r| r.kind).collect(),
            entries,
        })
    }

    fn write(
        &self,
        tx: &Tx<'_>,
        slot: Slot,
        n: usize,
        now_ms: TimeMs,
        dice: &Dice,
    ) -> Result<u64, StoreError> {
        let seen_ms = if n.is_multiple_of(SILENT) { now_ms - 30 * model::clock::DAY_MS } else { now_ms };
        tx.authenticate(slot, &dice.bytes(16)?, seen_ms)?;
        tx.enrol(slot, seen_ms, now_ms + model::clock::DAY_MS)?;
        tx.set_push(slot, PushState::Ok)?;
        let os = OS_VERSIONS.get(n % OS_VERSIONS.len()).copied();
        let model = MODELS.get(n % MODELS.len()).copied();
        tx.describe(slot, Some(n.is_multiple_of(2)), os, model)?;
        tx.put_clear(slot, SOURCE, &self.clear, false, seen_ms)?;
        let mut updates = Vec::with_capacity(self.sealed.len());
        for row in &self.sealed {
            let mut row = row.clone();
            // As long as a real one; under the same window's key, as many rows are.
            row.ciphertext = dice.bytes(row.ciphertext.len())?;
            row.change_tag = dice.bytes(row.change_tag.len())?;
            updates.push(SealedUpdate { row, indexed: false });
        }
        tx.put_sealed(slot, SOURCE, &updates, false, seen_ms)?;
        let mut rows = self.clear.len() + self.sealed.len() + self.apps.len() + self.reports.len();
        for (field, name, count, length) in &self.entries {
            let Some(update) = updates.iter().find(|u| u.row.name == *name) else { continue };
            let made = (0..*count).map(|_| dice.bytes(*length)).collect::<Result<Vec<_>, _>>()?;
            tx.put_index(field, slot, name, &update.row.ciphertext, &made)?;
            rows += count;
        }
        for kind in &self.reports {
            tx.put_report(slot, kind, &dice.bytes(16)?, seen_ms)?;
        }
        tx.put_apps(slot, "InstalledApplicationList", &self.apps)?;
        Ok(rows as u64)
    }
}

struct Dice(SystemRandom);

impl Dice {
    fn bytes(&self, length: usize) -> Result<Vec<u8>, StoreError> {
        let mut out = vec![0; length];
        self.0.fill(&mut out).map_err(|_| StoreError::Refused("no random numbers".into()))?;
        Ok(out)
    }
}

fn write<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (tx, rx) = channel();
    store.write_then(work, move |out| {
        let _ = tx.send(out);
    });
    rx.recv().unwrap_or(Err(StoreError::Closed))
}

/// Gives the enrolments `to`, which core has followed, what the phone `like` said, and each `history`
/// finished commands; but for one in ten, the first of them installed version 1 of `profile`. Sealed values and index entries are random bytes of the real ones' lengths: they
/// take the same room and the same scan, and open for nobody.
///
/// # Errors
/// When core runs on that folder, the database refuses, or an enrolment is not there.
pub fn copy_phone(
    data_dir: &Path,
    like: EnrolmentId,
    to: &[EnrolmentId],
    (history, profile): (u32, ProfileId),
    now_ms: TimeMs,
) -> Result<Written, Error> {
    let store = Store::open(&data_dir.join(DATABASE_FILE))?;
    let shape = store.read_now(|v| {
        let slot = v.find_enrolment(like)?.ok_or(StoreError::Damaged("the phone to be copied"))?.slot;
        Shape::of(v, slot)
    })?;
    let shape = std::sync::Arc::new(shape);
    let mut written = Written::default();
    let numbers = write(&store, move |tx| {
        let dice = Dice(SystemRandom::new());
        let mut numbers = Vec::new();
        for n in 0..history {
            let mut id = [0; 16];
            id.copy_from_slice(&dice.bytes(16)?);
            let made_ms = now_ms - TimeMs::from(history - n) * model::clock::HOUR_MS;
            let command = CommandId(id);
            numbers.push((
                tx.put_command(&NewCommand {
                    command,
                    order: None,
                    request_type: "DeviceInformation".into(),
                    query: Some(1),
                    body: Vec::new(),
                    sealed: false,
                    created_at_ms: made_ms,
                    expires_at_ms: now_ms + model::clock::DAY_MS,
                })?,
                command,
                made_ms,
            ));
        }
        Ok(numbers)
    })?;
    let numbers = std::sync::Arc::new(numbers);
    for (chunk_number, chunk) in to.chunks(AT_ONCE).enumerate() {
        let (chunk, shape, numbers) = (chunk.to_vec(), shape.clone(), numbers.clone());
        let added = write(&store, move |tx| {
            let dice = Dice(SystemRandom::new());
            let mut added = Written::default();
            for (n, enrolment) in (chunk_number * AT_ONCE..).zip(&chunk) {
                let record = tx.find_enrolment(*enrolment)?;
                let slot = record.ok_or(StoreError::Damaged("an enrolment of the ledger"))?.slot;
                added.rows += shape.write(tx, slot, n, now_ms, &dice)?;
                if let Some((number, _, at_ms)) = numbers.first().filter(|_| !n.is_multiple_of(10)) {
                    tx.put_profile_command(*number, profile, 1)?;
                    tx.ask_profile(slot, profile, 1, *number, *at_ms)?;
                    tx.profile_answered(slot, *number, true, *at_ms + 1)?;
                }
                for (number, command, at_ms) in numbers.iter() {
                    tx.queue(slot, *number, None)?;
                    tx.mark_sent(slot, *number, *at_ms)?;
                    // One in a hundred went wrong.
                    let state = if n % 100 == 7 { CommandState::Error } else { CommandState::Acknowledged };
                    tx.finish(slot, *command, state, &[], *at_ms + 1)?;
                    added.history += 1;
                }
                added.phones += 1;
            }
            Ok(added)
        })?;
        written.phones += added.phones;
        written.rows += added.rows;
        written.history += added.history;
    }
    Ok(written)
}
