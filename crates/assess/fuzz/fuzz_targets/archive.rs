//! Any bytes as what a user gives: sniffed, unpacked, walked, scanned.
#![no_main]
use assess::cli::run_words;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = data;
    let words = ["assess", "--quiet", "--max-unpacked", "1000000", "-"].map(Into::into);
    let code = run_words(words, &mut input, &mut std::io::sink(), &mut std::io::sink());
    assert!(matches!(code, 0 | 3 | 10..=13));
});
