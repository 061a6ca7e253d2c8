//! Reading one content (a file, a member of an archive, a part of a file).
//!
//! Blocks come in, [`Findings`] come out. Memory is bounded whatever the size:
//! one block, one unfinished line of at most [`MAX_LINE_BYTES`], and findings
//! with caps of their own.

pub mod assets;
pub mod hits;
pub mod hours;
mod look;
pub mod prefilter;
mod reader;
pub mod roll;
mod sample;

use std::collections::{BTreeMap, BTreeSet};

pub use reader::{Progress, scan_reader};
pub use sample::{RawGap, Sample};

use assets::{Assets, SIGHT_BYTES, Sight};
use hits::{Hit, Hits, RAW_BYTES};
use prefilter::{Candidate, Prefilter};

use crate::finding::{Layout, NotAssessable, UnixMs};
use crate::fold::Target;
use crate::indicators::Indicators;
use crate::line::{self, Columns, FieldMap, Format, Layouts, Line};
use crate::moment::{Stamp, Zone};
use crate::rules::RuleSet;
use crate::sigma::Event;

/// Bytes read at a time.
pub const BLOCK_BYTES: usize = 256 * 1024;
/// Longest line that is held as one; of a longer one only the beginning is read.
pub const MAX_LINE_BYTES: usize = 1 << 20;
/// Unreadable places noted in one content.
const MAX_UNREADABLE: usize = 50;

/// What every scan needs; shared between threads.
#[derive(Debug)]
pub struct Setup {
    /// Rules.
    pub rules: RuleSet,
    /// First stage.
    pub prefilter: Prefilter,
    /// Indicators.
    pub indicators: Indicators,
    /// `--format`.
    pub format: Option<Format>,
    /// JSON's field map.
    pub fields: FieldMap,
    /// Zone for lines without an offset.
    pub zone: Zone,
    /// What is done with every line, for `--compare`.
    pub every: roll::Every,
}

/// What one content holds. Merged in order, it is the same however it was cut into segments.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Bytes read.
    pub bytes: u64,
    /// Line feeds, and a last line without one.
    pub lines: u64,
    /// Matched lines.
    pub hits: Hits,
    /// Static assets.
    pub assets: Assets,
    /// Sampled lines that were of a layout.
    pub layouts: BTreeMap<Layout, u64>,
    /// Sampled lines, and those of them that were a line of a log.
    pub sampled: (u64, u64),
    /// Sampled lines whose path is one of the appliance's (`/mifs`, `/mics`…).
    pub sampled_ours: u64,
    /// Sampled lines whose path is another product's, and not one that scanners look for EPMM with.
    pub sampled_theirs: u64,
    /// Sampled lines without an offset.
    pub sampled_zoneless: u64,
    /// Peers of sampled lines, at most [`MAX_PEERS`]; the second number counts those with a forwarded address.
    pub peers: BTreeMap<Vec<u8>, (u64, u64)>,
    /// Times.
    pub samples: Vec<Sample>,
    /// Long pauses.
    pub gaps: Vec<RawGap>,
    /// First time seen.
    pub first_ms: Option<UnixMs>,
    /// Last time seen.
    pub last_ms: Option<UnixMs>,
    /// Rules left open.
    pub open: BTreeSet<NotAssessable>,
    /// Lines of rules left open.
    pub open_lines: u64,
    /// Offsets and lines that could not be read, with why.
    pub unreadable: Vec<(u64, u64, String)>,
    /// Offsets (and lines) of blocks with NUL bytes.
    pub nul: Vec<(u64, u64)>,
    /// The content ends inside a line that can't be read.
    pub cut_end: bool,
    /// Lines by hour.
    pub hours: hours::Hours,
    /// Lines looked for in the other copy.
    pub sought: roll::ByHour,
    /// Headers that name columns.
    pub headers: u64,
    /// Hits of indicators: index of the indicator → number and first line.
    pub indicators: BTreeMap<usize, crate::indicators::Seen>,
}

/// Different peers counted.
pub const MAX_PEERS: usize = 4096;

impl Findings {
    /// Appends the next segment.
    pub fn append(&mut self, next: Self) {
        let before = self.lines;
        self.bytes += next.bytes;
        self.lines += next.lines;
        self.hits.append(next.hits, before);
        self.assets.append(next.assets, before);
        for (l, n) in next.layouts {
            *self.layouts.entry(l).or_default() += n;
        }
        self.sampled.0 += next.sampled.0;
        self.sampled.1 += next.sampled.1;
        self.sampled_ours += next.sampled_ours;
        self.sampled_theirs += next.sampled_theirs;
        self.sampled_zoneless += next.sampled_zoneless;
        for (p, (n, f)) in next.peers {
            self.peer(p, n, f);
        }
        sample::append(self, next.samples, next.gaps, before);
        self.first_ms = hits::earliest(self.first_ms, next.first_ms);
        self.last_ms = self.last_ms.max(next.last_ms);
        self.open.extend(next.open);
        self.open_lines += next.open_lines;
        self.unreadable.extend(next.unreadable.into_iter().map(|(o, l, w)| (o, l + before, w)));
        self.unreadable.truncate(MAX_UNREADABLE);
        self.nul.extend(next.nul.into_iter().map(|(o, l)| (o, l + before)));
        self.nul.truncate(MAX_UNREADABLE);
        self.cut_end = next.cut_end;
        for (hour, n) in next.hours {
            hours::add(&mut self.hours, hour, n);
        }
        roll::append(&mut self.sought, next.sought, before);
        self.headers += next.headers;
        for (i, mut seen) in next.indicators {
            seen.shift(before);
            self.indicators.entry(i).and_modify(|s| s.add(&seen)).or_insert(seen);
        }
    }

    fn peer(&mut self, peer: Vec<u8>, n: u64, forwarded: u64) {
        if self.peers.len() < MAX_PEERS || self.peers.contains_key(&peer) {
            let e = self.peers.entry(peer).or_default();
            e.0 += n;
            e.1 += forwarded;
        }
    }

    fn saw(&mut self, at: Option<UnixMs>) {
        self.first_ms = hits::earliest(self.first_ms, at);
        self.last_ms = self.last_ms.max(at);
    }
}

/// How a content's lines are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Lines of text.
    Text,
    /// A JSON object a line.
    Json,
    /// A JSON object a line, of which every one is looked at.
    JsonAudit,
}

/// Reads whole lines, block by block.
pub(crate) struct Scanner<'a> {
    setup: &'a Setup,
    json: bool,
    every_line: bool,
    low: Vec<u8>,
    candidates: Vec<Candidate>,
    sampler: sample::Sampler,
    noted: Vec<(u64, u64)>,
    columns: Option<Columns>,
    pub(crate) out: Findings,
}

/// What a part of a block is read with.
#[derive(Clone, Copy)]
struct Reader<'a> {
    setup: &'a Setup,
    json: bool,
    columns: Option<&'a Columns>,
}

impl<'a> Reader<'a> {
    fn layouts(&self) -> Layouts<'a> {
        Layouts { format: self.setup.format.as_ref(), fields: &self.setup.fields, columns: self.columns }
    }

    fn parse<'l>(&self, text: &'l [u8]) -> Option<Line<'l>> {
        self.layouts().parse(trim_json(text, self.json))
    }

    fn stamp_of(&self, text: &[u8]) -> Option<Stamp> {
        let text = trim_json(text, self.json);
        if self.json { self.layouts().parse(text)?.stamp } else { self.layouts().stamp_of(text) }
    }
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(setup: &'a Setup, mode: Mode) -> Self {
        Self {
            setup,
            json: mode != Mode::Text,
            every_line: mode == Mode::JsonAudit,
            low: Vec::with_capacity(BLOCK_BYTES * 2),
            candidates: Vec::new(),
            sampler: sample::Sampler::default(),
            noted: Vec::new(),
            columns: None,
            out: Findings::default(),
        }
    }

    /// What was found since the last call; what comes next is another segment, under these columns.
    pub(crate) fn segment(&mut self, columns: Option<Columns>) -> Findings {
        self.sampler = sample::Sampler::default();
        self.columns = columns;
        std::mem::take(&mut self.out)
    }

    /// Scans `block`, which is whole lines (the last may lack its line feed) beginning at `offset`.
    pub(crate) fn block(&mut self, block: &[u8], offset: u64) {
        if block.is_empty() {
            return;
        }
        let nul = prefilter::lower(block, &mut self.low);
        if nul && self.out.nul.len() < MAX_UNREADABLE {
            let at = memchr::memchr(0, block).unwrap_or(0);
            let line = self.out.lines + count_lines(block.get(..at).unwrap_or_default()) + 1;
            self.out.nul.push((offset + at as u64, line));
        }
        let mut candidates = std::mem::take(&mut self.candidates);
        let how = prefilter::Look { escapes: self.json, every_line: self.every_line };
        let assets = &mut self.out.assets;
        self.setup.prefilter.candidates(block, &self.low, how, |p| assets.known(p), &mut candidates);
        // A header changes how the lines behind it are read: they are a part of their own.
        let is_header = |c: &&Candidate| block.get(c.start..c.end).is_some_and(line::is_header);
        let headers: Vec<usize> = if self.json {
            Vec::new()
        } else {
            candidates.iter().filter(is_header).map(|c| c.start).collect()
        };
        let (mut from, mut first) = (0, 0);
        for header in headers {
            let next = candidates.partition_point(|c| c.start < header);
            self.part(block, from..header, candidates.get(first..next).unwrap_or_default(), offset);
            self.columns = Columns::read_at(block, header);
            self.out.headers += 1;
            (from, first) = (header, next + 1);
        }
        self.part(block, from..block.len(), candidates.get(first..).unwrap_or_default(), offset);
        self.candidates = candidates;
    }

    /// Scans the lines of `block` that stand in `range`.
    fn part(
        &mut self,
        block: &[u8],
        range: std::ops::Range<usize>,
        candidates: &[Candidate],
        block_offset: u64,
    ) {
        let part = block.get(range.clone()).unwrap_or_default();
        if part.is_empty() {
            return;
        }
        let columns = self.columns.take();
        let reader = Reader { setup: self.setup, json: self.json, columns: columns.as_ref() };
        let mut counted = range.start;
        let mut line_no = self.out.lines;
        for c in candidates {
            let text = block.get(c.start..c.end).unwrap_or_default();
            if let Some((from, to)) = c.asset
                && self.low.get(from..to).is_some_and(|p| self.out.assets.known(p))
            {
                continue;
            }
            line_no += count_lines(block.get(counted..c.start).unwrap_or_default());
            counted = c.start;
            let low = std::mem::take(&mut self.low);
            let plain = if c.hidden { None } else { low.get(c.literal..c.end) };
            self.line(reader, text, plain, block_offset + c.start as u64, line_no + 1);
            self.low = low;
        }
        let offset = block_offset + range.start as u64;
        let before = self.out.lines;
        let rest = block.get(counted..range.end).unwrap_or_default();
        let lines = line_no - before + count_lines(rest) + u64::from(!part.ends_with(b"\n"));
        self.out.lines += lines;
        hours::block(reader, &mut self.out.hours, part, lines);
        self.every(reader, part, offset, before);
        self.out.bytes += part.len() as u64;
        sample::block(reader, &mut self.sampler, &mut self.out, part, offset, (before, before + lines));
        self.columns = columns;
    }

    /// Notes every line, or looks whether it was noted.
    fn every(&mut self, reader: Reader<'_>, block: &[u8], offset: u64, lines_before: u64) {
        if matches!(self.setup.every, roll::Every::Pass) {
            return;
        }
        let (mut at, mut number) = (0u64, lines_before);
        for whole in block.split_inclusive(|b| *b == b'\n') {
            number += 1;
            let text = trim_json(whole.strip_suffix(b"\n").unwrap_or(whole), self.json);
            if let Some(l) = reader.parse(text) {
                let at_ms = l.stamp.map(|s| self.setup.zone.utc_ms(s));
                match &self.setup.every {
                    roll::Every::Pass => {}
                    roll::Every::Note(_) => self.noted.extend(roll::noted(&l, at_ms)),
                    roll::Every::Check(r) => {
                        roll::seek(r, &mut self.out.sought, &l, at_ms, (number, offset + at, text));
                    }
                }
            }
            at += whole.len() as u64;
        }
        if let roll::Every::Note(r) = &self.setup.every {
            r.lock().unwrap_or_else(std::sync::PoisonError::into_inner).add(&mut self.noted);
        }
    }

    /// A line that is longer than any: its beginning is read, the rest is named.
    pub(crate) fn long_line(&mut self, beginning: &[u8], offset: u64, bytes: u64) {
        let line = self.out.lines + 1;
        let columns = self.columns.take();
        let reader = Reader { setup: self.setup, json: self.json, columns: columns.as_ref() };
        self.line(reader, beginning, None, offset, line);
        self.columns = columns;
        if self.out.unreadable.len() < MAX_UNREADABLE {
            let why = format!("a line of {bytes} bytes; its first {} were read", beginning.len());
            self.out.unreadable.push((offset, line, why));
        }
        self.out.lines += 1;
        self.out.bytes += bytes;
    }

    /// `plain`: the line in lower case, from its first literal on, if no letter of it is hidden.
    fn line(&mut self, reader: Reader<'_>, text: &[u8], plain: Option<&[u8]>, offset: u64, number: u64) {
        let text = trim_json(text, self.json);
        let Some(parsed) = reader.parse(text) else { return };
        let target = Target::fold(parsed.target.as_deref().unwrap_or_default());
        let event = Event { line: &parsed, target: &target, raw: text };
        let at_ms = parsed.stamp.map(|s| self.setup.zone.utc_ms(s));
        self.indicators(&event, at_ms, offset, number);
        if target.stem.starts_with(b"/mifs/") && !target.stem.ends_with(b".jsp") {
            self.asset(&event, at_ms, offset, number);
        }
        let j = match plain {
            Some(low) => self.setup.rules.judge_plain(&event, low),
            None => self.setup.rules.judge(&event),
        };
        if !j.unknown.is_empty() {
            self.out.open_lines += 1;
            for r in &j.unknown {
                self.out.open.extend(self.setup.rules.not_assessable(*r, &parsed));
            }
        }
        let Some(rule) = j.primary else { return };
        let grade = self.setup.rules.grade(rule);
        if grade == crate::finding::Grade::NoTrace && parsed.extra.is_empty() {
            // A scanner's label alone, without anything that it asked for.
            return;
        }
        self.out.saw(at_ms);
        let (client, via) = parsed.client();
        self.out.hits.push(Hit {
            line: number,
            offset,
            raw: text.get(..RAW_BYTES).unwrap_or(text).to_vec(),
            cut: text.len() > RAW_BYTES,
            at_ms,
            zone_assumed: parsed.stamp.is_some_and(|s| s.offset_s.is_none()),
            layout: parsed.layout,
            client: address(client),
            via: via.map(|v| address(Some(v))),
            method: parsed.method.as_deref().map(<[u8]>::to_vec),
            path: target.stem.get(..1024).unwrap_or(&target.stem).to_vec(),
            query_key: digest(&target.query),
            status: parsed.status,
            bytes: parsed.bytes,
            agent: parsed.agent.as_deref().map(|a| a.get(..512).unwrap_or(a).to_vec()),
            user: parsed.user.as_deref().map(<[u8]>::to_vec),
            rule,
            grade,
            others: j.matched.into_iter().filter(|r| *r != rule).collect(),
            deeper: target.deeper,
        });
    }

    fn indicators(&mut self, event: &Event<'_>, at_ms: Option<UnixMs>, offset: u64, number: u64) {
        for i in self.setup.indicators.of_line(event) {
            let seen = crate::indicators::Seen::one(at_ms, offset, number, event.raw, event.line);
            self.out.indicators.entry(i).and_modify(|s| s.add(&seen)).or_insert(seen);
        }
    }

    fn asset(&mut self, event: &Event<'_>, at_ms: Option<UnixMs>, offset: u64, number: u64) {
        let stem = &event.target.stem;
        if !prefilter::is_asset(stem) {
            return;
        }
        let (client, via) = event.line.client();
        self.out.assets.push(
            stem,
            Sight {
                line: number,
                offset,
                at_ms,
                zone_assumed: event.line.stamp.is_some_and(|s| s.offset_s.is_none()),
                client: address(client),
                via: via.map(|v| address(Some(v))),
                get: event.line.method.as_deref().is_some_and(|m| m.eq_ignore_ascii_case(b"GET")),
                status: event.line.status,
                bytes: event.line.bytes,
                raw: event.raw.get(..SIGHT_BYTES).unwrap_or(event.raw).to_vec(),
            },
        );
    }
}

/// An address as text: inert, at most 64 characters.
fn address(a: Option<&[u8]>) -> String {
    let a = a.unwrap_or(b"-");
    crate::fold::inert(a.get(..64).unwrap_or(a))
}

/// A digest that tells different texts apart.
fn digest<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> u64 {
    // FNV-1a: stable between runs and versions, which a keyed hash isn't.
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

fn count_lines(b: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', b).count() as u64
}

/// A member of a JSON array stands on its line between brackets and commas.
fn trim_json(text: &[u8], json: bool) -> &[u8] {
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    if !json {
        return text;
    }
    let t = text.trim_ascii();
    let t = t.strip_prefix(b"[").unwrap_or(t).trim_ascii_start();
    let t = t.strip_prefix(b",").unwrap_or(t).trim_ascii_start();
    let t = if t.ends_with(b"}]") { t.strip_suffix(b"]").unwrap_or(t) } else { t };
    t.strip_suffix(b",").unwrap_or(t).trim_ascii_end()
}
