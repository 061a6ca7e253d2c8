//! How many lines each hour has, without parsing them all: where an hour ends in a block is found by
//! halving, since time runs forwards in a log.

use std::collections::BTreeMap;

use super::Reader;

const HOUR_MS: i64 = 3_600_000;
/// Hours kept of one content (eleven years).
const MAX_HOURS: usize = 100_000;
/// Lines parsed of one block; in a block where time jumps about, the rest goes to the hour before.
const MAX_LOOKS: u32 = 4_096;
/// Lines looked at in a row to find one with a time.
const MAX_TRIES: u32 = 8;

/// Lines by hour of Unix time, UTC.
pub type Hours = BTreeMap<i64, u64>;

/// Adds `n` lines to an hour.
pub(super) fn add(hours: &mut Hours, hour: i64, n: u64) {
    if n > 0 && (hours.len() < MAX_HOURS || hours.contains_key(&hour)) {
        *hours.entry(hour).or_default() += n;
    }
}

/// Counts the `lines` lines of a block.
pub(super) fn block(reader: Reader<'_>, hours: &mut Hours, block: &[u8], lines: u64) {
    let mut look = Look { reader, block, left: MAX_LOOKS };
    let Some(first) = look.from(0) else { return };
    let last = look.last().unwrap_or(first);
    look.split(hours, (0, first), (block.len(), last), Some(lines));
}

struct Look<'a> {
    reader: Reader<'a>,
    block: &'a [u8],
    left: u32,
}

impl Look<'_> {
    fn hour(&mut self, start: usize) -> (Option<i64>, usize) {
        self.left = self.left.saturating_sub(1);
        let rest = self.block.get(start..).unwrap_or_default();
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let stamp = self.reader.stamp_of(rest.get(..end).unwrap_or_default());
        (stamp.map(|s| self.reader.setup.zone.utc_ms(s).div_euclid(HOUR_MS)), start + end + 1)
    }

    /// The hour of the first line with a time from `start` on.
    fn from(&mut self, mut start: usize) -> Option<i64> {
        for _ in 0..MAX_TRIES {
            if start >= self.block.len() {
                return None;
            }
            match self.hour(start) {
                (Some(h), _) => return Some(h),
                (None, next) => start = next,
            }
        }
        None
    }

    fn last(&mut self) -> Option<i64> {
        let mut end = self.block.len();
        for _ in 0..MAX_TRIES {
            let body = self.block.get(..end)?;
            let body = body.strip_suffix(b"\n").unwrap_or(body);
            let start = memchr::memrchr(b'\n', body).map_or(0, |i| i + 1);
            if let (Some(h), _) = self.hour(start) {
                return Some(h);
            }
            if start == 0 {
                return None;
            }
            end = start;
        }
        None
    }

    /// Counts the lines that begin in `a..b`; the hour of the first line is `first`, of the last `last`.
    fn split(
        &mut self,
        hours: &mut Hours,
        (a, first): (usize, i64),
        (b, last): (usize, i64),
        known: Option<u64>,
    ) {
        let part = self.block.get(a..b).unwrap_or_default();
        if part.is_empty() {
            return;
        }
        let count = || {
            known.unwrap_or_else(|| {
                memchr::memchr_iter(b'\n', part).count() as u64 + u64::from(!part.ends_with(b"\n"))
            })
        };
        if first == last || self.left == 0 {
            return add(hours, first, count());
        }
        // The line that begins behind the middle.
        let half = part.len() / 2;
        let middle = part.get(half..).and_then(|p| memchr::memchr(b'\n', p)).map_or(b, |i| a + half + i + 1);
        if middle >= b {
            // A long last line, or the last of two: cut before it instead.
            let body = part.strip_suffix(b"\n").unwrap_or(part);
            let Some(cut) = memchr::memrchr(b'\n', body).map(|i| a + i + 1) else {
                return add(hours, first, count());
            };
            let before = self.before(a, cut).unwrap_or(first);
            self.split(hours, (a, first), (cut, before), None);
            return self.split(hours, (cut, last), (b, last), None);
        }
        let before = self.before(a, middle).unwrap_or(first);
        let behind = self.from(middle).unwrap_or(last);
        self.split(hours, (a, first), (middle, before), None);
        self.split(hours, (middle, behind), (b, last), None);
    }

    /// The hour of the line that ends at `end`.
    fn before(&mut self, a: usize, end: usize) -> Option<i64> {
        let body = self.block.get(a..end)?;
        let body = body.strip_suffix(b"\n").unwrap_or(body);
        let start = memchr::memrchr(b'\n', body).map_or(a, |i| a + i + 1);
        self.hour(start).0
    }
}
