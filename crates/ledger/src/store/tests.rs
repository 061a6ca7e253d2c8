use super::*;
use crate::disk::faulty::{Fault, FaultyDisk};
use crate::entry::tests::bodies;
use crate::error::{Damage, EntryError};
use crate::{replay, verify};
use model::{Digest, EnrolmentId};
use std::fs;
use tempfile::TempDir;

type Switch = Arc<Mutex<Option<Fault>>>;

fn phone(n: u8) -> Body {
    Body::CheckedOut { enrolment: EnrolmentId([n; 16]) }
}

fn log(dir: &TempDir) -> PathBuf {
    dir.path().join(FILE_NAME)
}

/// A ledger of three batches: 1, 3 and 2 entries. Returns each batch's offset and the file's end.
fn three_batches(dir: &TempDir) -> Vec<u64> {
    let mut ledger = FileLedger::open(dir.path()).unwrap();
    let mut at = vec![ledger.end];
    for batch in [vec![phone(0)], vec![phone(1), phone(2), phone(3)], vec![phone(4), phone(5)]] {
        ledger.append_batch(batch, 5).unwrap();
        at.push(ledger.end);
    }
    at
}

fn set_mark(file: &mut [u8], end: u64) {
    let at = MARK_OFFSET as usize;
    let mark = mark(end);
    file[at..at + mark.len()].copy_from_slice(&mark);
}

/// With these bytes for a ledger, opening and verifying name this entry and place and change nothing.
fn assert_refused(dir: &TempDir, bytes: &[u8], first: u64, at: u64) {
    fs::write(log(dir), bytes).unwrap();
    for result in [FileLedger::open(dir.path()).map(drop), verify(dir.path()).map(drop)] {
        match result {
            Err(LedgerError::Corrupt { index, offset, .. }) => assert_eq!((index, offset), (first, at)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(fs::read(log(dir)).unwrap(), bytes, "nothing was changed");
}

fn with_switch(dir: &TempDir) -> (FileLedger, Switch) {
    let switch = Switch::default();
    let ledger = FileLedger::open_with(dir.path(), FaultyDisk::wrap(&switch), |_| {}).unwrap();
    (ledger, switch)
}

#[test]
fn what_was_appended_is_there_after_opening_again() {
    let dir = TempDir::new().unwrap();
    let mut written = Vec::new();
    {
        let mut ledger = FileLedger::open(dir.path()).unwrap();
        assert_eq!((ledger.head(), ledger.entries()), (None, 0));
        written.extend(ledger.append_batch(bodies(), 1).unwrap());
        written.extend(ledger.append_batch(vec![phone(1)], 2).unwrap());
        assert_eq!(ledger.head(), written.last().map(|r| r.position));
    }
    let mut replayed = Vec::new();
    let ledger = FileLedger::open_replaying(dir.path(), |r| replayed.push(r.clone())).unwrap();
    assert_eq!(replayed, written);
    assert_eq!(ledger.cut(), None);
    assert_eq!(ledger.head(), written.last().map(|r| r.position));
    let report = verify(dir.path()).unwrap();
    assert_eq!((report.entries, report.head, report.tail_bytes), (ledger.entries(), ledger.head(), 0));
    assert_eq!((report.first_at_ms, report.last_at_ms), (Some(1), Some(2)));
}

#[test]
fn each_entry_names_the_hash_of_the_one_before_across_batches() {
    let dir = TempDir::new().unwrap();
    three_batches(&dir);
    let mut previous = NO_PREVIOUS;
    let report = replay(dir.path(), |r| {
        assert_eq!(r.entry.previous, previous);
        assert_eq!(r.position.hash, sha256(&r.bytes));
        previous = r.position.hash;
    });
    assert_eq!(report.unwrap().entries, 6);
}

#[test]
fn a_write_that_was_lost_before_the_disk_leaves_the_ledger_as_it_was() {
    let dir = TempDir::new().unwrap();
    three_batches(&dir);
    let (mut ledger, switch) = with_switch(&dir);
    let head = ledger.head();
    *switch.lock().unwrap() = Some(Fault::LostBefore);
    assert!(matches!(ledger.append_batch(vec![phone(9)], 1), Err(LedgerError::Io { .. })));
    *switch.lock().unwrap() = None;
    assert!(matches!(ledger.append_batch(vec![phone(9)], 1), Err(LedgerError::Halted)));
    assert_eq!(ledger.reader().entries(), 6);
    drop(ledger);
    let mut ledger = FileLedger::open(dir.path()).unwrap();
    assert_eq!((ledger.head(), ledger.cut()), (head, None));
    assert_eq!(ledger.append_batch(vec![phone(9)], 1).unwrap()[0].position.index, 6);
}

#[test]
fn a_sync_that_failed_after_the_write_is_not_acknowledged_and_found_whole_when_opened_again() {
    let dir = TempDir::new().unwrap();
    three_batches(&dir);
    let (mut ledger, switch) = with_switch(&dir);
    *switch.lock().unwrap() = Some(Fault::LostAfter);
    assert!(matches!(ledger.append_batch(vec![phone(9), phone(10)], 1), Err(LedgerError::Io { .. })));
    assert_eq!(ledger.entries(), 6);
    assert_eq!(ledger.reader().read_from(0).unwrap().count(), 6);
    *switch.lock().unwrap() = None;
    assert!(matches!(ledger.append_batch(vec![phone(9)], 1), Err(LedgerError::Halted)));
    drop(ledger);
    let mut ledger = FileLedger::open(dir.path()).unwrap();
    assert_eq!((ledger.entries(), ledger.cut()), (8, None));
    ledger.append_batch(vec![phone(11)], 1).unwrap();
    assert_eq!(verify(dir.path()).unwrap().entries, 9);
}

#[test]
fn a_write_torn_at_any_byte_is_cut_whole_and_kept_beside() {
    let dir = TempDir::new().unwrap();
    let end = three_batches(&dir)[3];
    let batch = || vec![phone(9), phone(10), phone(11)];
    let frame_bytes = {
        let dir = TempDir::new().unwrap();
        three_batches(&dir);
        FileLedger::open(dir.path()).unwrap().append_batch(batch(), 1).unwrap();
        usize::try_from(fs::metadata(log(&dir)).unwrap().len() - end).unwrap()
    };
    for torn in 0..=frame_bytes {
        let (mut ledger, switch) = with_switch(&dir);
        *switch.lock().unwrap() = Some(Fault::TornAt(torn));
        assert!(ledger.append_batch(batch(), 1).is_err());
        drop(ledger);
        if torn < frame_bytes {
            assert_eq!(verify(dir.path()).unwrap().tail_bytes, torn as u64);
        }
        let ledger = FileLedger::open(dir.path()).unwrap();
        if torn == frame_bytes {
            assert_eq!(ledger.entries(), 9, "the whole frame was written");
            continue;
        }
        assert_eq!(ledger.entries(), 6, "torn at {torn}");
        assert_eq!(fs::metadata(log(&dir)).unwrap().len(), end);
        match ledger.cut() {
            None => assert_eq!(torn, 0),
            Some(cut) => {
                assert_eq!((cut.index, cut.offset, cut.bytes), (6, end, torn as u64));
                assert_eq!(fs::read(&cut.kept_in).unwrap().len(), torn);
            }
        }
    }
}

#[test]
fn a_last_write_of_which_only_later_pages_reached_the_disk_is_cut() {
    let dir = TempDir::new().unwrap();
    let at = three_batches(&dir);
    let mut whole = fs::read(log(&dir)).unwrap();
    let (last, end) = (at[2] as usize, at[3] as usize);
    set_mark(&mut whole, at[2]);
    // The head missing, all of it missing, a hole within.
    for hole in [last..last + 32, last..end, last + 50..last + 60] {
        let mut bytes = whole.clone();
        bytes[hole].fill(0);
        fs::write(log(&dir), &bytes).unwrap();
        let ledger = FileLedger::open(dir.path()).unwrap();
        assert_eq!(ledger.entries(), 4);
        assert_eq!(ledger.cut().map(|c| (c.index, c.bytes)), Some((4, (end - last) as u64)));
    }
}

#[test]
fn an_acknowledged_end_that_is_damaged_or_missing_is_refused_and_not_cut() {
    let dir = TempDir::new().unwrap();
    let at = three_batches(&dir);
    let whole = fs::read(log(&dir)).unwrap();
    let (last, end) = (at[2] as usize, at[3] as usize);
    for byte in last..end {
        let mut bytes = whole.clone();
        bytes[byte] ^= 1;
        assert_refused(&dir, &bytes, 4, at[2]);
    }
    for shorter in last..end {
        assert_refused(&dir, &whole[..shorter], 4, at[2]);
    }
    assert_refused(&dir, &whole[..at[1] as usize], 1, at[1]);
    // A mark that is damaged itself says nothing, and the rest is right.
    for byte in 16..64 {
        let mut bytes = whole.clone();
        bytes[byte] ^= 1;
        fs::write(log(&dir), &bytes).unwrap();
        assert_eq!(FileLedger::open(dir.path()).unwrap().entries(), 6);
    }
}

#[test]
fn damage_at_any_byte_before_the_last_batch_is_refused_and_nothing_is_changed() {
    let dir = TempDir::new().unwrap();
    let at = three_batches(&dir);
    let whole = fs::read(log(&dir)).unwrap();
    for (byte, without_mark) in (at[0]..at[2]).flat_map(|b| [(b, false), (b, true)]) {
        let mut bytes = whole.clone();
        if without_mark {
            set_mark(&mut bytes, 0);
        }
        bytes[byte as usize] ^= 0x10;
        let (batch, first) = if byte < at[1] { (at[0], 0) } else { (at[1], 1) };
        assert_refused(&dir, &bytes, first, batch);
    }
    let message = FileLedger::open(dir.path()).unwrap_err().to_string();
    assert!(message.contains("entry 1 at byte") && message.contains("Restore this file"), "{message}");
}

#[test]
fn an_entry_rewritten_with_right_checks_breaks_the_chain_at_the_next_one() {
    let dir = TempDir::new().unwrap();
    let at = three_batches(&dir);
    let whole = fs::read(log(&dir)).unwrap();
    let mut first = None;
    replay(dir.path(), |r| {
        first.get_or_insert_with(|| r.entry.clone());
    })
    .unwrap();
    let forged = Entry { body: phone(77), ..first.unwrap() }.encode().unwrap();
    let frame = frame(0, [forged.as_slice()].into_iter()).unwrap();
    assert_eq!(frame.len() as u64, at[1] - at[0]);
    let mut bytes = whole;
    bytes[at[0] as usize..at[1] as usize].copy_from_slice(&frame);
    fs::write(log(&dir), &bytes).unwrap();
    let expected = (1, at[1], Damage::Chain);
    for result in [FileLedger::open(dir.path()).map(drop), verify(dir.path()).map(drop)] {
        match result {
            Err(LedgerError::Corrupt { index, offset, why, .. }) => {
                assert_eq!((index, offset, why), expected)
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_batch_that_was_taken_out_or_put_in_twice_is_found() {
    let dir = TempDir::new().unwrap();
    let at = three_batches(&dir);
    let whole = fs::read(log(&dir)).unwrap();
    let part = |n: usize| whole[at[n] as usize..at[n + 1] as usize].to_vec();
    let header = whole[..at[0] as usize].to_vec();
    for (parts, wrong) in [(vec![0, 2], 1), (vec![0, 1, 1, 2], 4), (vec![1, 0, 2], 0)] {
        let bytes = [header.clone(), parts.into_iter().flat_map(part).collect()].concat();
        fs::write(log(&dir), &bytes).unwrap();
        match FileLedger::open(dir.path()) {
            Err(LedgerError::Corrupt { index, why: Damage::Index, .. }) => assert_eq!(index, wrong),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_body_that_can_not_be_written_harms_nothing() {
    let dir = TempDir::new().unwrap();
    let mut ledger = FileLedger::open(dir.path()).unwrap();
    let huge = || Body::CertificateIssued {
        enrolment: EnrolmentId([1; 16]),
        key_digest: Digest([0; 32]),
        certificate: crate::Opaque(vec![0; crate::entry::MAX_ENTRY_BYTES]),
    };
    let refused = ledger.append_batch(vec![phone(1), huge()], 1);
    assert!(matches!(refused, Err(LedgerError::Entry(EntryError::TooLarge { .. }))));
    assert!(matches!(ledger.append_batch(vec![], 1), Err(LedgerError::BatchSize)));
    assert_eq!(ledger.append_batch(vec![phone(2)], 1).unwrap()[0].position.index, 0);
}

#[test]
fn a_reader_begins_anywhere_and_goes_on_as_the_ledger_grows() {
    let dir = TempDir::new().unwrap();
    let mut ledger = FileLedger::open(dir.path()).unwrap();
    let reader = ledger.reader();
    let mut follow = reader.read_from(0).unwrap();
    assert!(follow.next().is_none());
    for n in 0..60 {
        ledger.append_batch(vec![phone(n); 50], i64::from(n)).unwrap();
    }
    let all: Vec<_> = follow.by_ref().map(Result::unwrap).collect();
    assert_eq!(all.len(), 3000);
    assert!(all.iter().zip(0..).all(|(r, n)| r.position.index == n));
    ledger.append_batch(vec![phone(1)], 61).unwrap();
    assert_eq!(follow.next().unwrap().unwrap().position.index, 3000);
    assert!(follow.next().is_none());

    drop(ledger);
    let ledger = FileLedger::open(dir.path()).unwrap();
    for from in [0, 1, 49, 50, 1023, 1024, 1050, 2999, 3000] {
        let tail: Vec<_> = ledger.reader().read_from(from).unwrap().map(Result::unwrap).collect();
        assert_eq!(tail.first().map(|r| r.position.index), Some(from));
        assert_eq!(tail.len() as u64, 3001 - from);
    }
    assert_eq!(ledger.reader().read_from(3001).unwrap().count(), 0);
    assert_eq!(ledger.reader().read_from(u64::MAX).unwrap().count(), 0);
}

#[test]
fn a_reader_on_another_thread_sees_each_entry_once_in_order_and_none_that_is_not_durable() {
    let dir = TempDir::new().unwrap();
    let mut ledger = FileLedger::open(dir.path()).unwrap();
    let reader = ledger.reader();
    let following = std::thread::spawn(move || {
        let mut follow = reader.read_from(0).unwrap();
        let mut seen = 0;
        while seen < 900 {
            for record in follow.by_ref().map(Result::unwrap) {
                assert_eq!(record.position.index, seen);
                seen += 1;
                assert!(seen <= reader.entries());
            }
            std::thread::yield_now();
        }
    });
    for n in 0..30 {
        ledger.append_batch(vec![phone(n); 30], 1).unwrap();
    }
    following.join().unwrap();
}

#[test]
fn a_second_process_is_kept_out_and_another_file_is_left_alone() {
    let dir = TempDir::new().unwrap();
    let ledger = FileLedger::open(dir.path()).unwrap();
    assert!(matches!(FileLedger::open(dir.path()), Err(LedgerError::InUse { .. })));
    drop(ledger);
    for foreign in ["not a ledger at all", "short", "matron ledger 2\nmore"] {
        fs::write(log(&dir), foreign).unwrap();
        assert!(matches!(FileLedger::open(dir.path()), Err(LedgerError::NotOurs { .. })), "{foreign}");
        assert_eq!(fs::read(log(&dir)).unwrap(), foreign.as_bytes());
    }
}

#[test]
fn a_ledger_whose_making_was_cut_short_is_made_anew() {
    let dir = TempDir::new().unwrap();
    for part in [&b""[..], b"matron", &FILE_MAGIC[..], &[0; 64]] {
        fs::write(log(&dir), part).unwrap();
        assert_eq!(FileLedger::open(dir.path()).unwrap().entries(), 0);
        let made = fs::read(log(&dir)).unwrap();
        assert!(made.len() == HEADER_BYTES && made.starts_with(FILE_MAGIC));
    }
}

#[test]
fn the_ledger_is_for_its_own_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().unwrap();
    let home = dir.path().join("vault").join("ledger");
    drop(FileLedger::open(&home).unwrap());
    let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&home), mode(&home.join(FILE_NAME))), (0o700, 0o600));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn no_file_makes_opening_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        let dir = TempDir::new().unwrap();
        // Heads that look right get further than random bytes would.
        let mut magic = FILE_MAGIC.to_vec();
        magic.resize(HEADER_BYTES, 0);
        magic.extend(b"MLB1\0\0\0".iter().copied().chain(bytes));
        fs::write(log(&dir), magic).unwrap();
        let _ = verify(dir.path());
        if let Ok(ledger) = FileLedger::open(dir.path()) {
            proptest::prop_assert_eq!(ledger.entries(), 0);
        }
    }
}
