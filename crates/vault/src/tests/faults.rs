//! What leaves the vault when the disk fails under it: nothing that the ledger does not have.

use std::io;
use std::sync::Mutex;

use ledger::disk::{Disk, FileDisk};
use ledger::{Body, Effect, FileLedger};

use super::*;
use crate::chamber::{NotDurable, start};

/// What becomes of the next write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Nothing of it reaches the disk.
    LostBefore,
    /// So many bytes of it do.
    TornAt(usize),
    /// All of it does, and nobody is told.
    LostAfter,
}

/// A disk that fails once it is told to.
struct Failing {
    disk: FileDisk,
    next: Arc<Mutex<Option<Fault>>>,
}

impl Disk for Failing {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match *self.next.lock().unwrap() {
            Some(Fault::LostBefore) => Err(io::Error::other("lost")),
            Some(Fault::TornAt(at)) => {
                self.disk.write_at(offset, &bytes[..at.min(bytes.len())])?;
                Err(io::Error::other("torn"))
            }
            Some(Fault::LostAfter) | None => self.disk.write_at(offset, bytes),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.sync()?;
        match *self.next.lock().unwrap() {
            None => Ok(()),
            Some(_) => Err(io::Error::other("not acknowledged")),
        }
    }
}

/// Openings that stand in the ledger's file at this moment.
fn openings(dir: &TempDir) -> usize {
    let mut found = 0;
    ledger::replay(dir.path(), |r| {
        found += usize::from(matches!(
            &r.entry.body,
            Body::GrantUsed { .. } | Body::OrderAccepted { effect: Effect::Opened { .. }, .. }
        ));
    })
    .unwrap();
    found
}

const SESSION: Digest = Digest([5; 32]);
const RECORDS: u32 = 3;

/// One opening by grant, one by order, over a disk that fails at it: whether each left the vault, and how many stood in
/// the file when it did.
fn opened_over(fault: Option<Fault>, by_order: bool) -> (bool, usize, u32) {
    let (mut house, key) = House::joined();
    let phone = house.enrolled(&key, "P", "ward-7");
    let compartments = vec![Compartment::Identity];
    let kind =
        OrderKind::Grant { session: SESSION, records: RECORDS, searches: 0, compartments, valid_ms: HOUR_MS };
    let (signed, sealed) = house.order(&key, kind, vec![], None);
    assert_eq!(house.submit(&signed, &sealed, vec![]).refusal, None);
    let rows = vec![(phone, house.row(phone, "DeviceName", Compartment::Identity, b"a phone"))];
    let (open, _) =
        house.order(&key, OrderKind::Open { fields: vec!["DeviceName".into()] }, vec![phone], None);
    // The statement of the start is written before.
    house.durable(|c| c.statement());

    let House { dir, clock, mut chamber, .. } = house;
    let next = Arc::new(Mutex::new(None));
    let elsewhere = TempDir::new().unwrap();
    chamber.ledger = FileLedger::open(elsewhere.path()).unwrap();
    let failing = Arc::clone(&next);
    let disk = |file| Box::new(Failing { disk: FileDisk(file), next: failing }) as Box<dyn Disk>;
    chamber.ledger = FileLedger::open_with(dir.path(), disk, |_| {}).unwrap();
    let (door, ended) = start(chamber).unwrap();
    *next.lock().unwrap() = fault;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let left = runtime.block_on(async {
        let left: Result<bool, NotDurable> = if by_order {
            let submitted = Submitted { signed: encode(&open), rows, ..Submitted::default() };
            door.decide(move |c| c.submit(&submitted)).await.map(|o| !o.sealed_answer.is_empty())
        } else {
            door.decide(move |c| c.use_grant(&SESSION, &rows, b"")).await.map(|used| used.is_ok())
        };
        left.unwrap_or(false)
    });
    let stood = if left { openings(&dir) } else { 0 };
    // The vault goes on, or it has ended and is started again.
    drop(door);
    assert_eq!(runtime.block_on(ended).unwrap().is_ok(), fault.is_none());
    let chamber = Chamber::open(dir.path(), config(&dir), Arc::new(clock)).unwrap();
    let records_left = chamber.state.sessions[&SESSION].records_left;
    assert_eq!(RECORDS - records_left + u32::from(by_order) * openings(&dir) as u32, openings(&dir) as u32);
    (left, stood, records_left)
}

#[test]
fn no_opening_leaves_the_vault_without_its_entry_and_no_spent_record_comes_back_whatever_becomes_of_the_write()
 {
    for by_order in [false, true] {
        let spent = u32::from(!by_order);
        assert_eq!(opened_over(None, by_order), (true, 1, RECORDS - spent));
        assert_eq!(opened_over(Some(Fault::LostBefore), by_order), (false, 0, RECORDS));
        for at in [0, 1, 31, 33, 90] {
            assert_eq!(opened_over(Some(Fault::TornAt(at)), by_order), (false, 0, RECORDS), "torn at {at}");
        }
        // It is there, and nobody had it: spent all the same.
        assert_eq!(opened_over(Some(Fault::LostAfter), by_order), (false, 0, RECORDS - spent));
    }
}
