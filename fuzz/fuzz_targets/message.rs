//! What a phone sends: XML and binary property lists, every check-in and report.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = apple::message::parse(data);
});
