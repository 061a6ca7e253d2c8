//! Times, layouts and peers, from samples; pauses, exactly.
//!
//! The first 256 KiB of a content are looked at line by line, the rest at the
//! first and last line of each block. When two neighbouring samples lie an hour
//! or more apart, every line between them is read, so that no pause of an hour
//! is missed while time runs forwards between the samples.

use super::look::look;
use super::{BLOCK_BYTES, Findings, Reader};
use crate::finding::UnixMs;

/// Shortest pause that is noted.
pub const GAP_MS: i64 = 3_600_000;
/// Bytes at a content's start that are read line by line.
const DENSE_BYTES: u64 = 256 * 1024;
/// Samples kept; beyond them every second one goes.
const MAX_SAMPLES: usize = 200_000;
/// Pauses kept.
const MAX_GAPS: usize = 20_000;

/// A time at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Time.
    pub at_ms: UnixMs,
    /// Offset of the line.
    pub offset: u64,
    /// Its number.
    pub line: u64,
    /// The clock showed this time twice that night.
    pub twice: bool,
}

/// A pause between two neighbouring lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawGap {
    /// Last line before.
    pub from_ms: UnixMs,
    /// First line after.
    pub to_ms: UnixMs,
    /// Offset of the first line after.
    pub offset: u64,
    /// Its number.
    pub line: u64,
}

#[derive(Debug, Default)]
pub(super) struct Sampler {
    last: Option<Sample>,
}

/// Samples a block of whole lines; before it stand the first, behind it the second number of lines.
pub(super) fn block(
    reader: Reader<'_>,
    state: &mut Sampler,
    out: &mut Findings,
    block: &[u8],
    offset: u64,
    (before, behind): (u64, u64),
) {
    let mut at = 0;
    let mut line = before;
    let mut dense = offset < DENSE_BYTES;
    let last_start = last_line_start(block);
    let mut previous_in_block: Option<(usize, u64)> = None;
    loop {
        let end = block.get(at..).and_then(|b| memchr::memchr(b'\n', b)).map_or(block.len(), |i| at + i);
        line += 1;
        let text = block.get(at..end).unwrap_or_default();
        if let Some(s) = one(reader, out, text, offset + at as u64, line) {
            if let (Some(p), Some((from, from_line))) = (state.last, previous_in_block)
                && !dense
                && s.at_ms - p.at_ms >= GAP_MS
            {
                drill(reader, out, block, (from, at), offset, from_line, p.at_ms);
            } else {
                gap(out, state.last, s);
            }
            state.last = Some(s);
            push(out, s);
            previous_in_block = Some((at, line));
        }
        if at >= last_start {
            break;
        }
        dense = offset + (end as u64) < DENSE_BYTES;
        if dense {
            at = end + 1;
        } else {
            line = behind - 1;
            at = last_start;
        }
    }
}

fn last_line_start(block: &[u8]) -> usize {
    let body = block.strip_suffix(b"\n").unwrap_or(block);
    memchr::memrchr(b'\n', body).map_or(0, |i| i + 1)
}

fn one(reader: Reader<'_>, out: &mut Findings, text: &[u8], offset: u64, line: u64) -> Option<Sample> {
    out.sampled.0 += 1;
    let Some(l) = look(reader, text) else {
        out.cut_end = !text.trim_ascii().is_empty();
        return None;
    };
    out.cut_end = !l.whole;
    out.sampled.1 += 1;
    out.sampled_ours += u64::from(l.ours);
    out.sampled_theirs += u64::from(l.theirs);
    out.sampled_zoneless += u64::from(l.zoneless);
    *out.layouts.entry(l.layout).or_default() += 1;
    if let Some(p) = l.peer {
        out.peer(p, 1, u64::from(l.forwarded));
    }
    let at_ms = l.at_ms?;
    out.saw(Some(at_ms));
    Some(Sample { at_ms, offset, line, twice: l.shown_twice })
}

fn gap(out: &mut Findings, last: Option<Sample>, s: Sample) {
    if let Some(p) = last
        && s.at_ms - p.at_ms >= GAP_MS
        && out.gaps.len() < MAX_GAPS
    {
        out.gaps.push(RawGap { from_ms: p.at_ms, to_ms: s.at_ms, offset: s.offset, line: s.line });
    }
}

/// Reads every line between two samples of a block.
fn drill(
    reader: Reader<'_>,
    out: &mut Findings,
    block: &[u8],
    (from, to): (usize, usize),
    offset: u64,
    from_line: u64,
    from_ms: UnixMs,
) {
    let mut before = from_ms;
    let mut at = from;
    let mut line = from_line;
    while at <= to {
        let end = block.get(at..).and_then(|b| memchr::memchr(b'\n', b)).map_or(block.len(), |i| at + i);
        let stamp = reader.stamp_of(block.get(at..end).unwrap_or_default());
        if let Some(ms) = stamp.map(|s| reader.setup.zone.utc_ms(s)) {
            if ms - before >= GAP_MS && out.gaps.len() < MAX_GAPS {
                out.gaps.push(RawGap { from_ms: before, to_ms: ms, offset: offset + at as u64, line });
            }
            // A straggler with an older time must not look like the end of a pause.
            before = before.max(ms);
        }
        at = end + 1;
        line += 1;
    }
}

fn push(out: &mut Findings, s: Sample) {
    out.samples.push(s);
    if out.samples.len() > MAX_SAMPLES {
        let mut n = 0;
        out.samples.retain(|_| {
            n += 1;
            n % 2 == 1
        });
    }
}

/// Joins the samples of the next segment, and looks at the pause between the two.
pub(super) fn append(out: &mut Findings, samples: Vec<Sample>, gaps: Vec<RawGap>, lines_before: u64) {
    if let (Some(last), Some(first)) = (out.samples.last().copied(), samples.first()) {
        gap(out, Some(last), Sample { line: first.line + lines_before, ..*first });
    }
    for g in gaps {
        if out.gaps.len() < MAX_GAPS {
            out.gaps.push(RawGap { line: g.line + lines_before, ..g });
        }
    }
    for s in samples {
        push(out, Sample { line: s.line + lines_before, ..s });
    }
}

const _: () = assert!(DENSE_BYTES as usize <= BLOCK_BYTES, "the dense part fits the first block");
