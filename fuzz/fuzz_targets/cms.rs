//! Signed messages.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = apple::cms::unwrap_signed(data);
});
