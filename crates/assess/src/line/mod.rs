//! One line of a log, in whatever layout, as borrowed fields.

mod balancer;
mod columns;
mod format;
mod json;
mod text;

use std::borrow::Cow;

pub use columns::{Columns, HEADER_LITERAL, is_header};
pub use format::Format;
pub use json::{FieldMap, parse as parse_json};
pub use text::{is_address, parse as parse_text, stamp_of};

use crate::finding::Layout;
use crate::moment::Stamp;

/// Fields of a line. What a layout doesn't have is `None`; `-` is `None` too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Layout it was read as.
    pub layout: Layout,
    /// Time.
    pub stamp: Option<Stamp>,
    /// The peer, without a port.
    pub peer: Option<Cow<'a, [u8]>>,
    /// Addresses that a proxy passed on, as they stand (`client, proxy1`).
    pub forwarded: Option<Cow<'a, [u8]>>,
    /// Method.
    pub method: Option<Cow<'a, [u8]>>,
    /// Request target, with the log's own escapes (`\"`, `\xNN`) undone.
    pub target: Option<Cow<'a, [u8]>>,
    /// Status.
    pub status: Option<u16>,
    /// Bytes of the answer; `-` counts as 0 where the layout has the field.
    pub bytes: Option<u64>,
    /// Referrer.
    pub referer: Option<Cow<'a, [u8]>>,
    /// User agent.
    pub agent: Option<Cow<'a, [u8]>>,
    /// Authenticated user.
    pub user: Option<Cow<'a, [u8]>>,
    /// Further named text (JSON fields such as `action`), for rules.
    pub extra: Vec<(String, Vec<u8>)>,
}

impl Line<'_> {
    /// A line with nothing in it yet.
    pub fn empty(layout: Layout) -> Self {
        Self {
            layout,
            stamp: None,
            peer: None,
            forwarded: None,
            method: None,
            target: None,
            status: None,
            bytes: None,
            referer: None,
            agent: None,
            user: None,
            extra: Vec::new(),
        }
    }

    /// The client: the first address that a proxy passed on, else the peer.
    /// The second value is the peer when it differs.
    pub fn client(&self) -> (Option<&[u8]>, Option<&[u8]>) {
        let peer = self.peer.as_deref();
        let passed_on = self.forwarded.as_deref().and_then(|f| {
            f.split(|b| *b == b',').map(<[u8]>::trim_ascii).map(without_port).find(|a| is_address(a))
        });
        match passed_on {
            Some(a) if Some(a) != peer => (Some(a), peer),
            _ => (peer, None),
        }
    }
}

/// Can this layout ever hold the field?
pub fn layout_has(layout: Layout, field: Field) -> bool {
    match layout {
        Layout::EpmmRequest => field != Field::Status,
        Layout::Common => !matches!(field, Field::Agent | Field::Referer),
        _ => true,
    }
}

/// Fields that a layout may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// Status.
    Status,
    /// User agent.
    Agent,
    /// Referrer.
    Referer,
}

/// `203.0.113.7:58224` → `203.0.113.7`; `[2001:db8::1]:443` → `2001:db8::1`.
pub fn without_port(token: &[u8]) -> &[u8] {
    if let Some(inner) = token.strip_prefix(b"[") {
        return inner.split(|b| *b == b']').next().unwrap_or(inner);
    }
    let mut parts = token.rsplitn(2, |b| *b == b':');
    let (Some(port), Some(host)) = (parts.next(), parts.next()) else { return token };
    let is_port = !port.is_empty() && port.len() <= 5 && port.iter().all(u8::is_ascii_digit);
    if is_port && is_address(host) && (!host.contains(&b':') || !is_address(token) || full_v6(host)) {
        host
    } else {
        token
    }
}

/// Eight groups: then a ninth is a port.
fn full_v6(host: &[u8]) -> bool {
    host.iter().filter(|b| **b == b':').count() == 7
}

/// What a line may be read with.
#[derive(Clone, Copy, Debug)]
pub struct Layouts<'a> {
    /// `--format`.
    pub format: Option<&'a Format>,
    /// JSON's field map.
    pub fields: &'a FieldMap,
    /// Columns that a header above the line named.
    pub columns: Option<&'a Columns>,
}

impl Layouts<'_> {
    /// Parses one line: the custom format first, then a header's columns, JSON if it looks so, else text.
    pub fn parse<'l>(&self, bytes: &'l [u8]) -> Option<Line<'l>> {
        if let Some(line) = self.format.and_then(|f| f.parse(bytes)) {
            return Some(line);
        }
        if let Some(line) = self.columns.and_then(|c| c.parse(bytes)) {
            return Some(line);
        }
        let trimmed = bytes.trim_ascii_start();
        if trimmed.first() == Some(&b'{') {
            return parse_json(trimmed, self.fields);
        }
        columns::guess(bytes).or_else(|| parse_text(bytes))
    }

    /// Only the time of a line of text.
    pub fn stamp_of(&self, bytes: &[u8]) -> Option<Stamp> {
        if self.format.is_some() {
            return self.parse(bytes).and_then(|l| l.stamp);
        }
        // In the order of `parse`: a time that a client sent, further behind, is not the line's.
        self.columns
            .and_then(|c| c.stamp_of(bytes))
            .or_else(|| columns::guess(bytes)?.stamp)
            .or_else(|| stamp_of(bytes).map(|(s, _)| s))
    }
}
