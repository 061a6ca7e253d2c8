//! Which lines a copy holds, in eight bytes a line, to find those that the other copy lacks.
//!
//! A line is known by its method, target and second, so that the same request is the same in any
//! layout. What is kept of it is 36 bits of a digest and 28 bits of the time: two different lines of
//! the same five seconds look alike once in some thousand million pairs. When there are more lines
//! than [`MAX_LINES`], only those whose digest is even are kept, then every fourth, and so on: memory
//! never grows, and every hour is still looked at.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::finding::UnixMs;
use crate::line::Line;

/// Lines kept at most; 8 bytes each.
const MAX_LINES: usize = 12_000_000;
/// Bits of the time, in seconds (eight and a half years, then it begins anew).
const TIME_BITS: u32 = 28;
/// The two copies may differ by this much in time.
const SAME_S: u64 = 2;
/// Longest part of a missing line that is kept.
const RAW_BYTES: usize = 1024;
const HOUR_MS: i64 = 3_600_000;

/// What a scan does with every line.
#[derive(Debug, Default)]
pub enum Every {
    /// Nothing: lines without interest are never parsed.
    #[default]
    Pass,
    /// Notes it.
    Note(Mutex<Roll>),
    /// Looks whether it was noted.
    Check(Roll),
}

/// Lines of one copy.
#[derive(Debug)]
pub struct Roll {
    /// Most that is kept.
    most: usize,
    keys: Vec<u64>,
    /// Kept are lines whose digest ends in so many zero bits.
    thinned: u32,
    /// Lines noted, also those not kept.
    pub lines: u64,
}

impl Default for Roll {
    fn default() -> Self {
        Self { most: MAX_LINES, keys: Vec::new(), thinned: 0, lines: 0 }
    }
}

/// Lines of one hour that were looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sought {
    /// Lines looked for.
    pub lines: u64,
    /// Those that were not noted.
    pub missing: u64,
    /// The first of them: line number, offset, the line, whether it was cut, its time.
    pub first: Option<(u64, u64, Vec<u8>, bool, UnixMs)>,
}

/// Lines looked for, by hour of Unix time.
pub type ByHour = BTreeMap<i64, Sought>;

/// The digest and the time of a line; `None` without a request or a time.
fn key(line: &Line<'_>, at_ms: Option<UnixMs>) -> Option<(u64, u64)> {
    let (target, second) = (line.target.as_deref()?, at_ms?.div_euclid(1000));
    let method = line.method.as_deref().unwrap_or_default();
    // Mixed, so that all bits are good.
    let h = super::digest(method.iter().chain(b" ").chain(target));
    let h = (h ^ (h >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let time = u64::try_from(second).unwrap_or(0) & ((1 << TIME_BITS) - 1);
    Some((h >> TIME_BITS, time))
}

impl Every {
    /// A roll that is still empty.
    pub fn note() -> Self {
        Self::Note(Mutex::new(Roll::default()))
    }

    /// From noting to checking.
    pub fn turn(self) -> Self {
        match self {
            Self::Note(roll) => {
                let mut roll = roll.into_inner().unwrap_or_else(PoisonError::into_inner);
                roll.keys.sort_unstable();
                Self::Check(roll)
            }
            other => other,
        }
    }

    /// The finished roll.
    pub fn roll(&self) -> Option<&Roll> {
        match self {
            Self::Check(r) => Some(r),
            _ => None,
        }
    }
}

impl Roll {
    /// Adds the lines of a block, and empties `lines`.
    pub(super) fn add(&mut self, lines: &mut Vec<(u64, u64)>) {
        self.lines += lines.len() as u64;
        if self.keys.capacity() == 0 {
            // Asked for at once: a list that grows is held twice while it moves. Untouched, it costs nothing.
            self.keys.reserve_exact(self.most + 1);
        }
        for (digest, time) in lines.drain(..) {
            if self.keeps(digest) {
                self.keys.push((digest << TIME_BITS) | time);
            }
            if self.keys.len() > self.most {
                self.thinned += 1;
                let mask = (1u64 << self.thinned) - 1;
                self.keys.retain(|k| (k >> TIME_BITS) & mask == 0);
            }
        }
    }

    fn keeps(&self, digest: u64) -> bool {
        digest & ((1 << self.thinned) - 1) == 0
    }

    /// One line in so many is compared.
    pub fn one_in(&self) -> u64 {
        1 << self.thinned
    }

    fn holds(&self, digest: u64, time: u64) -> bool {
        let at = |t: u64| (digest << TIME_BITS) | t;
        let from = self.keys.partition_point(|k| *k < at(time.saturating_sub(SAME_S)));
        self.keys.get(from).is_some_and(|k| *k <= at((time + SAME_S).min((1 << TIME_BITS) - 1)))
    }
}

/// A line as it is noted.
pub(super) fn noted(line: &Line<'_>, at_ms: Option<UnixMs>) -> Option<(u64, u64)> {
    key(line, at_ms)
}

/// Looks for a line, and counts it.
pub(super) fn seek(
    roll: &Roll,
    out: &mut ByHour,
    line: &Line<'_>,
    at_ms: Option<UnixMs>,
    (number, offset, raw): (u64, u64, &[u8]),
) {
    let (Some((digest, time)), Some(at)) = (key(line, at_ms), at_ms) else { return };
    if !roll.keeps(digest) {
        return;
    }
    let hour = out.entry(at.div_euclid(HOUR_MS)).or_default();
    hour.lines += 1;
    if !roll.holds(digest, time) {
        hour.missing += 1;
        if hour.first.is_none() {
            let kept = raw.get(..RAW_BYTES).unwrap_or(raw).to_vec();
            hour.first = Some((number, offset, kept, raw.len() > RAW_BYTES, at));
        }
    }
}

/// Appends those of the next segment, whose line numbers begin after `before`.
pub(super) fn append(out: &mut ByHour, next: ByHour, before: u64) {
    for (hour, s) in next {
        let e = out.entry(hour).or_default();
        e.lines += s.lines;
        e.missing += s.missing;
        if e.first.is_none() {
            e.first = s.first.map(|(n, o, raw, cut, at)| (n + before, o, raw, cut, at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_known_within_two_seconds_and_however_many_there_are_memory_is_bounded() {
        let mut roll = Roll { most: 600_000, ..Roll::default() };
        let digests = |n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> TIME_BITS;
        for from in (0..700_000u64).step_by(1000) {
            roll.add(&mut (from..from + 1000).map(|n| (digests(n), n / 100)).collect());
        }
        roll.keys.sort_unstable();
        assert!(roll.keys.len() <= 600_000);
        assert_eq!((roll.one_in(), roll.lines), (2, 700_000));
        let kept: Vec<u64> = (0..700_000).filter(|n| roll.keeps(digests(*n))).step_by(97).collect();
        assert!(kept.len() > 1000);
        for n in kept {
            assert!(
                roll.holds(digests(n), n / 100 + 2) && roll.holds(digests(n), (n / 100).saturating_sub(2))
            );
            assert!(!roll.holds(digests(n), n / 100 + 3));
            assert!(!roll.holds(digests(n) ^ 2, n / 100), "another line of the same second");
        }
    }
}
