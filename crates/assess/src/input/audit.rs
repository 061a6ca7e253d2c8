//! EPMM's audit export: CSV whose columns are told from its header.

use std::borrow::Cow;
use std::io::{self, Read};

use crate::finding::Layout;
use crate::fold::{Target, inert};
use crate::line::{Line, is_address};
use crate::moment;
use crate::scan::hits::{Hit, RAW_BYTES};
use crate::scan::{Findings, Setup};
use crate::sigma::Event;

/// Reads the export; a fault ends it, with what was read until then.
pub(super) fn read(setup: &Setup, reader: &mut dyn Read) -> (Findings, Option<io::Error>) {
    let mut out = Findings::default();
    let mut rows = csv::ReaderBuilder::new().has_headers(true).flexible(true).from_reader(reader);
    let names: Vec<String> = match rows.byte_headers() {
        Ok(h) => h.iter().map(|n| String::from_utf8_lossy(n).trim().to_ascii_lowercase()).collect(),
        Err(e) => return (out, Some(io::Error::other(e.to_string()))),
    };
    out.lines = 1;
    let find = |words: &[&str]| {
        words
            .iter()
            .find_map(|w| names.iter().position(|n| n == w))
            .or_else(|| words.iter().find_map(|w| names.iter().position(|n| n.contains(w))))
    };
    let action = find(&["action", "event type", "operation"]);
    let who = find(&["performed by", "actor", "requested by", "user", "admin", "subject"]);
    let when = find(&["date", "time", "performed on", "timestamp"]);
    let from = find(&["ip address", "client ip", "source ip", "ip"]);
    let detail = find(&["details", "detail", "message", "description", "object", "target"]);
    let mut record = csv::ByteRecord::new();
    loop {
        match rows.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => return (out, None),
            Err(e) => return (out, Some(io::Error::other(e.to_string()))),
        }
        out.lines += 1;
        out.sampled.0 += 1;
        let offset = record.position().map_or(0, csv::Position::byte);
        out.bytes = offset;
        let cell = |i: Option<usize>| i.and_then(|i| record.get(i)).filter(|c| !c.is_empty());
        let mut line = Line::empty(Layout::EpmmAudit);
        let time = cell(when).map(<[u8]>::trim_ascii);
        line.stamp = time.and_then(|t| {
            moment::iso(t)
                .or_else(|| moment::epmm(t))
                .or_else(|| moment::apache(t))
                .or_else(|| std::str::from_utf8(t).ok()?.parse().ok().and_then(moment::unix))
        });
        line.user = cell(who).map(|u| Cow::Owned(u.to_vec()));
        line.peer = cell(from).filter(|a| is_address(a)).map(|a| Cow::Owned(a.to_vec()));
        let mut text = cell(action).unwrap_or_default().to_vec();
        if let Some(d) = cell(detail) {
            text.push(b' ');
            text.extend_from_slice(d);
        }
        if line.stamp.is_some() {
            out.sampled.1 += 1;
            out.sampled_zoneless += u64::from(line.stamp.is_some_and(|s| s.offset_s.is_none()));
        }
        *out.layouts.entry(Layout::EpmmAudit).or_default() += 1;
        line.extra.push(("action".into(), text));
        let at_ms = line.stamp.map(|s| setup.zone.utc_ms(s));
        out.first_ms = crate::scan::hits::earliest(out.first_ms, at_ms);
        out.last_ms = out.last_ms.max(at_ms);
        let raw: Vec<u8> = record.iter().collect::<Vec<_>>().join(&b","[..]);
        let target = Target::default();
        let j = setup.rules.judge(&Event { line: &line, target: &target, raw: &raw });
        let Some(rule) = j.primary else { continue };
        out.hits.push(Hit {
            line: record.position().map_or(out.lines, csv::Position::line),
            offset,
            cut: raw.len() > RAW_BYTES,
            raw: raw.get(..RAW_BYTES).unwrap_or(&raw).to_vec(),
            at_ms,
            zone_assumed: line.stamp.is_some_and(|s| s.offset_s.is_none()),
            layout: Layout::EpmmAudit,
            client: line.peer.as_deref().map_or_else(|| "-".into(), inert),
            via: None,
            method: None,
            path: Vec::new(),
            query_key: 0,
            status: None,
            bytes: None,
            agent: None,
            user: line.user.as_deref().map(<[u8]>::to_vec),
            rule,
            grade: setup.rules.grade(rule),
            others: j.matched.into_iter().filter(|r| *r != rule).collect(),
            deeper: false,
        });
    }
}
