//! The PROXY protocol's header, version 2, and the ranges of addresses that may send one.
#![no_main]
use libfuzzer_sys::fuzz_target;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fuzz_target!(|data: &[u8]| {
    // Half of the inputs get behind the signature by themselves.
    let with_signature;
    let bytes = match data.split_first() {
        Some((n, rest)) if n % 2 == 0 => {
            with_signature = [SIGNATURE, rest].concat();
            &with_signature[..]
        }
        _ => data,
    };
    let mut left = bytes;
    let Poll::Ready(found) = pin!(door::read_proxy_header(&mut left)).poll(&mut Context::from_waker(Waker::noop()))
    else {
        panic!("a slice never waits");
    };
    if let Ok(source) = found {
        // Exactly the header is taken: what follows is TLS's.
        let taken = bytes.len() - left.len();
        let announced = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
        assert!(bytes.starts_with(SIGNATURE) && bytes[12] >> 4 == 2);
        assert!(taken == 16 + announced && announced <= 1024);
        // A health check speaks for nobody.
        assert!(source.is_none() || bytes[12] & 0x0f == 1);
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(network) = text.parse::<door::Network>()
    {
        assert_eq!(String::from(network).parse(), Ok(network));
    }
});
