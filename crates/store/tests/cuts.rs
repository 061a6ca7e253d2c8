//! The fault table of the database: its log (WAL) is cut at any byte, or loses a sector, as when the
//! power goes. What was answered and is on the disk is there; a write is there whole or not at all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;

use model::{EnrolmentId, LinkHash};
use store::{NewInvitation, Store};

const WRITES: u8 = 8;
/// Of each write; it is many pages of the log.
const ROWS: u8 = 20;

fn invitation(write: u8, row: u8) -> NewInvitation {
    let mut id = [write; 16];
    id[1] = row;
    NewInvitation {
        enrolment: EnrolmentId(id),
        link: LinkHash([row; 32]),
        group: "x".repeat(200),
        expires_at_ms: 1000,
        invited_at_ms: 1,
    }
}

async fn write(store: &Store, n: u8) {
    store
        .write(move |tx| {
            for row in 0..ROWS {
                tx.invite(&invitation(n, row))?;
            }
            Ok(())
        })
        .await
        .unwrap();
}

async fn rows(path: &Path) -> u64 {
    let store = Store::open(path).unwrap();
    store.read(|v| Ok(v.count_by_state()?.iter().map(|(_, n)| n).sum())).await.unwrap()
}

/// The files of a database, and how long its log was when each write was answered.
struct Recorded {
    main: Vec<u8>,
    log: Vec<u8>,
    ends: Vec<usize>,
}

async fn recorded() -> Recorded {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("core.db");
    // The first start's own pages go into the main file.
    drop(Store::open(&path).unwrap());
    let store = Store::open(&path).unwrap();
    let log = dir.path().join("core.db-wal");
    let mut ends = Vec::new();
    for n in 0..WRITES {
        write(&store, n).await;
        ends.push(usize::try_from(std::fs::metadata(&log).unwrap().len()).unwrap());
    }
    let files = Recorded { main: std::fs::read(&path).unwrap(), log: std::fs::read(&log).unwrap(), ends };
    drop(store);
    files
}

impl Recorded {
    /// How many rows are there when the log is `log`.
    async fn rows_with(&self, log: &[u8]) -> u64 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("core.db");
        std::fs::write(&path, &self.main).unwrap();
        std::fs::write(dir.path().join("core.db-wal"), log).unwrap();
        let found = rows(&path).await;
        // And it can be written again.
        let store = Store::open(&path).unwrap();
        write(&store, WRITES).await;
        found
    }

    fn whole_writes(&self, bytes: usize) -> u64 {
        u64::try_from(self.ends.iter().filter(|end| **end <= bytes).count()).unwrap() * u64::from(ROWS)
    }
}

#[tokio::test]
async fn a_log_cut_at_any_byte_holds_every_whole_write_before_the_cut_and_no_half_one() {
    let recorded = recorded().await;
    assert!(recorded.ends.windows(2).all(|w| w[0] < w[1]), "{:?}", recorded.ends);
    let mut cuts: Vec<usize> = (0..recorded.log.len()).step_by(2999).collect();
    for end in &recorded.ends {
        // Lost before, torn, lost after.
        cuts.extend([end.saturating_sub(1), *end, end + 1, end + 100]);
    }
    for cut in cuts {
        let cut = cut.min(recorded.log.len());
        let found = recorded.rows_with(&recorded.log[..cut]).await;
        assert_eq!(found, recorded.whole_writes(cut), "the log cut at {cut} of {}", recorded.log.len());
    }
}

#[tokio::test]
async fn a_sector_that_never_reached_the_disk_takes_its_write_and_what_followed_and_nothing_before() {
    let recorded = recorded().await;
    for (n, end) in recorded.ends.iter().enumerate() {
        let begin = if n == 0 { 0 } else { recorded.ends[n - 1] };
        let middle = (begin + end) / 2 / 512 * 512;
        let mut log = recorded.log.clone();
        // What lay on the disk before.
        log[middle..middle + 512].fill(0xa5);
        let found = recorded.rows_with(&log).await;
        assert_eq!(found, u64::try_from(n).unwrap() * u64::from(ROWS), "a hole at {middle}");
    }
}
