//! Whose log it is, told from sampled lines.

use super::Reader;
use crate::finding::{Layout, UnixMs};

/// Reads a sampled line; what the log looks like is told from these.
pub(super) fn look(reader: Reader<'_>, text: &[u8]) -> Option<LineLook> {
    let setup = reader.setup;
    let l = reader.parse(text)?;
    let path = crate::fold::without_authority(l.target.as_deref().unwrap_or_default());
    // Ordinary traffic of the appliance; what a scanner asks every server for says nothing.
    let begins = OURS.iter().any(|p| path.get(..p.len()).is_some_and(|s| s.eq_ignore_ascii_case(p)));
    let scanned = SCANNED.iter().any(|w| contains_folded(path, w));
    let ours = begins && !scanned;
    let theirs = path.starts_with(b"/") && !begins && !SOUGHT.iter().any(|w| contains_folded(path, w));
    Some(LineLook {
        at_ms: l.stamp.map(|s| setup.zone.utc_ms(s)),
        zoneless: l.stamp.is_some_and(|s| s.offset_s.is_none()),
        shown_twice: l.stamp.is_some_and(|s| setup.zone.shown_twice(s)),
        layout: l.layout,
        forwarded: l.forwarded.is_some(),
        peer: l.peer.map(|p| p.get(..64).unwrap_or(&p).to_vec()),
        ours,
        theirs,
        whole: l.status.is_some()
            || l.layout == Layout::EpmmRequest
            || l.layout == Layout::Custom
            || !l.extra.is_empty(),
    })
}

/// Where the appliance's own paths begin.
const OURS: &[&[u8]] = &[b"/mifs/", b"/mics/", b"/mi/", b"/status/status"];

/// What scanners ask any server for, under those too.
const SCANNED: &[&[u8]] = &[
    b"/api/v2",
    b"featureusage",
    b"403.jsp",
    b"mibasecss",
    b"/fob/",
    b"handlemessage",
    b"login.jsp",
    b"/.;/",
    b"yv66vg",
    b"%",
];

/// What a line of an excerpt about the appliance may hold without beginning with [`OURS`].
const SOUGHT: &[&[u8]] =
    &[b"mifs", b"mics", b"featureusage", b"403.jsp", b"mibasecss", b"/fob/", b"handlemessage", b"~!frp"];

fn contains_folded(path: &[u8], word: &[u8]) -> bool {
    path.windows(word.len()).any(|w| w.eq_ignore_ascii_case(word))
}

/// What a sampled line says about its log.
pub(super) struct LineLook {
    pub(super) at_ms: Option<UnixMs>,
    pub(super) zoneless: bool,
    pub(super) shown_twice: bool,
    pub(super) layout: Layout,
    pub(super) forwarded: bool,
    pub(super) peer: Option<Vec<u8>>,
    pub(super) ours: bool,
    pub(super) theirs: bool,
    pub(super) whole: bool,
}
