//! Any bytes as a line of a log, in every layout, through all rules.
#![no_main]
use std::sync::LazyLock;

use assess::fold::{Target, inert};
use assess::line::{FieldMap, parse};
use assess::rules::RuleSet;
use assess::sigma::Event;
use libfuzzer_sys::fuzz_target;

/// Compiled once: its patterns cost more than a line does.
static RULES: LazyLock<RuleSet> = LazyLock::new(|| RuleSet::embedded().unwrap());
static FIELDS: LazyLock<FieldMap> = LazyLock::new(FieldMap::default);

fuzz_target!(|data: &[u8]| {
    let Some(line) = parse(data, None, &FIELDS) else { return };
    let target = Target::fold(line.target.as_deref().unwrap_or_default());
    let _ = RULES.judge(&Event { line: &line, target: &target, raw: data });
    assert!(inert(data).chars().all(|c| !c.is_control()));
});
