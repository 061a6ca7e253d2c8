//! A push certificate request as a vendor's tool wrote it: as it comes, and as a property list that is
//! encoded here. The first byte chooses.
#![no_main]
use apple::push_request::{MAX_REQUEST_BYTES, PushRequest};
use libfuzzer_sys::fuzz_target;

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |w, b| w << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for n in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * n)) as usize & 63];
            out.push(if n > chunk.len() { b'=' } else { digit });
        }
    }
    out
}

fuzz_target!(|data: &[u8]| {
    let Some((mode, rest)) = data.split_first() else { return };
    let text = if mode & 1 == 0 { rest.to_vec() } else { base64(rest) };
    let Ok(read) = PushRequest::parse(&text) else { return };
    assert!(text.len() <= MAX_REQUEST_BYTES && (1..=8).contains(&read.chain.len()));
    let _ = read.verify();
    let again = PushRequest::parse(read.to_text().expect("it was read").as_bytes());
    // What is written anew may be longer than what is read, by its white space and names alone.
    assert!(again.is_err() || again.as_ref() == Ok(&read));
});
