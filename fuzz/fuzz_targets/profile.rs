//! A profile that an administrator uploads, and its judgement.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = apple::profile::inspect(data);
    let _ = apple::harm::judge(data);
    if let Ok(again) = apple::profile::rewritten(data) {
        // What is sent is what was judged.
        assert_eq!(apple::harm::judge(data).is_ok(), apple::harm::judge(&again).is_ok());
    }
});
