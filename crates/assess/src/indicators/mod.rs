//! Public indicators: addresses, URLs, hashes, names, agents; ours and the user's.
//!
//! Indicators age, and addresses and agents are borrowed: each keeps its date
//! and source, and an address alone never says more than "probed".

mod read;

use std::collections::HashMap;
use std::path::Path;

pub use read::ReadReport;

use crate::finding::{IndicatorKind, UnixMs};
use crate::line::Line;
use crate::sigma::Event;

/// Most indicators kept.
pub const MAX_INDICATORS: usize = 200_000;
/// With more texts than this to search for, every line is looked at instead.
const MAX_LITERALS: usize = 2_000;

/// One indicator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indicator {
    /// What it is.
    pub kind: IndicatorKind,
    /// Its value as published (trimmed).
    pub value: String,
    /// Who published it.
    pub source: String,
    /// When.
    pub dated_ms: Option<UnixMs>,
}

/// All indicators, with an index by value in lower case.
#[derive(Debug, Default)]
pub struct Indicators {
    /// In the order they were read.
    pub list: Vec<Indicator>,
    by_value: HashMap<(IndicatorKind, String), usize>,
    kinds: [bool; 5],
}

/// (value, source, date) of the addresses that are built in.
const ADDRESSES: &[(&str, &str, UnixMs)] = &[
    ("77.221.158.154", "Wiz, May 2025", 1_747_699_200_000),
    ("193.24.123.42", "GreyNoise, February 2026", 1_770_681_600_000),
];
/// SHA-256 of files, with their source and date.
const HASHES: &[(&str, &str, UnixMs)] = &[
    (
        "c1f60ca5a5f7b94ab7122718a44b46de16c69d22c2eb62ce2948cab14bc78d50",
        "CISA MAR-251126",
        1_758_153_600_000,
    ),
    (
        "065c1c2fb17ba1c3f882bead409215df612673cd455698768ed71412f9190ba3",
        "CISA MAR-251126",
        1_758_153_600_000,
    ),
    (
        "b1b1cf33b8d3da35293d6b74c378f0cd9452a4351e26d07c896c4d9a8257ef89",
        "CISA MAR-251126",
        1_758_153_600_000,
    ),
    (
        "b618057de9a8bba95440f23b9cf6374cc66f2acd127b3d478684b22d8f11e00b",
        "CISA MAR-251126",
        1_758_153_600_000,
    ),
    (
        "df501b238854d6579cafebeba82581a728e89ed1f6cd0da54c79ef4eb6f4f9fd",
        "CISA MAR-251126",
        1_758_153_600_000,
    ),
    (
        "097b051c9c9138ada0d2a9fb4dfe463d358299d4bd0e81a1db2f69f32578747a",
        "public analyses of the 403.jsp loader, February 2026 (second-hand)",
        1_770_076_800_000,
    ),
];

impl Indicators {
    /// Those that are built in.
    pub fn builtin() -> Self {
        let mut out = Self::default();
        let all = ADDRESSES
            .iter()
            .map(|a| (IndicatorKind::Address, a))
            .chain(HASHES.iter().map(|h| (IndicatorKind::FileHash, h)));
        for (kind, (value, source, dated)) in all {
            out.add(Indicator {
                kind,
                value: (*value).to_owned(),
                source: (*source).to_owned(),
                dated_ms: Some(*dated),
            });
        }
        out
    }

    /// Reads a STIX 2.1, MISP JSON or CSV file.
    pub fn add_file(&mut self, path: &Path) -> std::io::Result<ReadReport> {
        read::file(self, path)
    }

    /// Adds one; a value that is known keeps its first entry. False when full.
    pub fn add(&mut self, i: Indicator) -> bool {
        let key = (i.kind, i.value.to_ascii_lowercase());
        if self.by_value.contains_key(&key) {
            return true;
        }
        if self.list.len() >= MAX_INDICATORS {
            return false;
        }
        let slot = match i.kind {
            IndicatorKind::Address => 0,
            IndicatorKind::Url => 1,
            IndicatorKind::Domain => 2,
            IndicatorKind::UserAgent => 3,
            _ => 4,
        };
        if let Some(k) = self.kinds.get_mut(slot) {
            *k = true;
        }
        self.by_value.insert(key, self.list.len());
        self.list.push(i);
        true
    }

    /// Texts to search lines for, in lower case; `None` when there are too many.
    pub fn literals(&self) -> Option<Vec<String>> {
        let mut out: Vec<String> = self
            .list
            .iter()
            .filter_map(|i| match i.kind {
                IndicatorKind::Address | IndicatorKind::Domain | IndicatorKind::UserAgent => {
                    Some(i.value.to_ascii_lowercase())
                }
                // A URL stands in a log as its path, possibly with odd slashes: take its longest piece.
                IndicatorKind::Url => i
                    .value
                    .split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-' | '_'))
                    .max_by_key(|p| p.len())
                    .map(str::to_ascii_lowercase),
                IndicatorKind::FileHash | IndicatorKind::FileName => None,
            })
            .filter(|l| l.len() >= 3)
            .collect();
        out.sort();
        out.dedup();
        (out.len() <= MAX_LITERALS).then_some(out)
    }

    fn find(&self, kind: IndicatorKind, value: &[u8]) -> Option<usize> {
        let v = std::str::from_utf8(value).ok()?.to_ascii_lowercase();
        self.by_value.get(&(kind, v)).copied()
    }

    /// Indices of those that a line holds, sorted.
    pub fn of_line(&self, e: &Event<'_>) -> Vec<usize> {
        let mut out = Vec::new();
        let [addresses, urls, domains, agents, _] = self.kinds;
        if addresses {
            out.extend(e.line.peer.as_deref().and_then(|p| self.find(IndicatorKind::Address, p)));
            for f in e.line.forwarded.as_deref().into_iter().flat_map(|f| f.split(|b| *b == b',')) {
                out.extend(self.find(IndicatorKind::Address, crate::line::without_port(f.trim_ascii())));
            }
        }
        if let Some(t) = e.line.target.as_deref().filter(|_| urls) {
            out.extend(self.find(IndicatorKind::Url, t));
            out.extend(self.find(IndicatorKind::Url, &e.target.stem));
        }
        if let Some(r) = e.line.referer.as_deref().filter(|_| urls || domains) {
            out.extend(self.find(IndicatorKind::Url, r));
            if let Some(host) = host(r) {
                out.extend(self.find(IndicatorKind::Domain, host));
            }
        }
        if let Some(a) = e.line.agent.as_deref().filter(|_| agents) {
            out.extend(self.find(IndicatorKind::UserAgent, a));
        }
        out.sort_unstable();
        out.dedup();
        out
    }

    /// A file hash (any case) or exact name or path.
    pub fn of_file(&self, hash: Option<&str>, path: &[u8]) -> Vec<usize> {
        let mut out: Vec<usize> =
            hash.and_then(|h| self.find(IndicatorKind::FileHash, h.as_bytes())).into_iter().collect();
        out.extend(self.find(IndicatorKind::FileName, path));
        out.extend(path.rsplit(|b| *b == b'/').next().and_then(|n| self.find(IndicatorKind::FileName, n)));
        out.sort_unstable();
        out.dedup();
        out
    }
}

fn host(url: &[u8]) -> Option<&[u8]> {
    let at = memchr::memmem::find(url, b"://")?;
    let rest = url.get(at + 3..)?;
    let end = rest.iter().position(|b| matches!(b, b'/' | b':' | b'?')).unwrap_or(rest.len());
    rest.get(..end)
}

/// Where an indicator was seen first, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Lines.
    pub lines: u64,
    /// First time.
    pub first_ms: Option<UnixMs>,
    /// Last time.
    pub last_ms: Option<UnixMs>,
    /// Offset of the first line.
    pub offset: u64,
    /// Its number.
    pub line: u64,
    /// Its bytes, at most 1 KiB.
    pub raw: Vec<u8>,
    /// The client.
    pub client: String,
}

impl Seen {
    pub(crate) fn one(at_ms: Option<UnixMs>, offset: u64, line: u64, raw: &[u8], parsed: &Line<'_>) -> Self {
        let client = parsed.client().0.unwrap_or(b"-");
        Self {
            lines: 1,
            first_ms: at_ms,
            last_ms: at_ms,
            offset,
            line,
            raw: raw.get(..1024).unwrap_or(raw).to_vec(),
            client: crate::fold::inert(client.get(..64).unwrap_or(client)),
        }
    }

    pub(crate) fn shift(&mut self, lines: u64) {
        self.line += lines;
    }

    pub(crate) fn add(&mut self, o: &Self) {
        self.lines += o.lines;
        self.first_ms = crate::scan::hits::earliest(self.first_ms, o.first_ms);
        self.last_ms = self.last_ms.max(o.last_ms);
    }
}
