//! Any bytes as a line of a log, in every layout and under arbitrary columns, through all rules.
#![no_main]
use std::sync::LazyLock;

use assess::fold::{Target, inert};
use assess::line::{Columns, FieldMap, Layouts};
use assess::rules::RuleSet;
use assess::sigma::Event;
use libfuzzer_sys::fuzz_target;

/// Compiled once: its patterns cost more than a line does.
static RULES: LazyLock<RuleSet> = LazyLock::new(|| RuleSet::embedded().unwrap());
static FIELDS: LazyLock<FieldMap> = LazyLock::new(FieldMap::default);

fuzz_target!(|data: &[u8]| {
    // A header, if there is one, and a line.
    let (header, data) = match data.iter().position(|b| *b == b'\n') {
        Some(end) => (data.get(..end).unwrap_or_default(), data.get(end + 1..).unwrap_or_default()),
        None => (&[][..], data),
    };
    let columns = Columns::read(header);
    let layouts = Layouts { format: None, fields: &FIELDS, columns: columns.as_ref() };
    let stamp = layouts.stamp_of(data);
    let Some(line) = layouts.parse(data) else { return };
    // The quick way and the whole one agree where both find a time.
    if let (Some(quick), Some(whole), true) = (stamp, line.stamp, columns.is_none()) {
        assert_eq!(quick, whole);
    }
    let target = Target::fold(line.target.as_deref().unwrap_or_default());
    let _ = RULES.judge(&Event { line: &line, target: &target, raw: data });
    assert!(inert(data).chars().all(|c| !c.is_control()));
});
