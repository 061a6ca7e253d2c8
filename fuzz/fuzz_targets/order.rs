//! Orders, warrants and key statements: strict, and one reading of each.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(order) = order::decode::<order::Order>(data) {
        assert_eq!(order::encode(&order), data);
    }
    let _ = order::decode::<order::SignedOrder>(data).map(|s| s.verify(|_, _| None));
    let _ = order::decode::<order::SignedWarrant>(data);
    let _ = order::decode::<order::SignedStatement>(data);
});
