//! Any bytes as a request target.
#![no_main]
use assess::fold::Target;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let t = Target::fold(data);
    assert!(t.stem.len() <= data.len() + 1 && t.stem.starts_with(b"/"));
    assert!(!t.stem.windows(2).any(|w| w == b"//"));
});
