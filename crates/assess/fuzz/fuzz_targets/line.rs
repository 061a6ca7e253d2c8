//! Any bytes as a line of a log, in every layout, through all rules.
#![no_main]
use assess::fold::{Target, inert};
use assess::line::{FieldMap, parse};
use assess::sigma::Event;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(line) = parse(data, None, &FieldMap::default()) else { return };
    let target = Target::fold(line.target.as_deref().unwrap_or_default());
    let rules = assess::rules::RuleSet::embedded().unwrap();
    let _ = rules.judge(&Event { line: &line, target: &target, raw: data });
    assert!(inert(data).chars().all(|c| !c.is_control()));
});
