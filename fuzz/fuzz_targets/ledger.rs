//! An entry of the ledger: one meaning has one encoding, and what is read keeps the ranges.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(entry) = ledger::Entry::decode(data) {
        assert_eq!(entry.encode().ok().as_deref(), Some(data));
        assert_eq!(entry.witness, entry.body.witness());
        assert!(ledger::Entry::decode(&[data, &[0]].concat()).is_err());
        assert!(ledger::Entry::decode(&data[..data.len() - 1]).is_err());
    }
});
