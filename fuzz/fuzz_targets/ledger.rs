//! An entry of the ledger.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(entry) = ledger::Entry::decode(data) {
        assert_eq!(entry.encode().ok().as_deref(), Some(data));
    }
});
