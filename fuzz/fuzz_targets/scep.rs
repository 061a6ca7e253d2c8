//! A SCEP message: as it comes; with an arbitrary envelope rightly signed; with arbitrary bytes rightly
//! enveloped and signed. The first byte chooses.
#![no_main]
use apple::scep::{Context, SealedRequest, decode_get_message, request::open};
use apple::x509::{Algorithms, SystemRandom};
use libfuzzer_sys::fuzz_target;
use matron_fuzz::Scep;
use std::sync::LazyLock;

static SCEP: LazyLock<Scep> = LazyLock::new(|| Scep::generate().expect("keys"));

fuzz_target!(|data: &[u8]| {
    let Some((mode, rest)) = data.split_first() else { return };
    let admit = if mode & 4 == 0 { Algorithms::AdmitOld } else { Algorithms::Strong };
    let open = |body: &[u8]| open(body, &SCEP.ra, admit, &SystemRandom);
    match mode & 3 {
        0 => {
            if let Err(e) = open(rest) {
                let _ = (e.to_string(), e.fail_info());
            }
            if let Ok(text) = std::str::from_utf8(rest) {
                let _ = decode_get_message(text);
            }
        }
        1 => {
            // Signed rightly, so whatever the envelope is, there is someone to answer.
            let body = SCEP.signed(rest).expect("signed");
            let error = open(&body).expect_err("not to this key");
            if body.len() > apple::scep::MAX_REQUEST_BYTES {
                return;
            }
            let context = error.answer.as_ref().expect("its sender is believed");
            assert_eq!(Context::from_bytes(&context.to_bytes()).as_ref(), Some(context.as_ref()));
        }
        2 => {
            let opened = open(&SCEP.request(rest).expect("a request"));
            let csr = apple::csr::parse_with(rest, admit);
            assert_eq!(opened.is_ok(), csr.is_ok());
        }
        _ => {
            if let Some(sealed) = SealedRequest::from_bytes(rest) {
                let again = SealedRequest::from_bytes(&sealed.to_bytes()).expect("what was written");
                assert!(again.csr == sealed.csr && again.challenge == sealed.challenge);
            }
            if let Some(context) = Context::from_bytes(rest) {
                assert_eq!(Context::from_bytes(&context.to_bytes()), Some(context));
            }
        }
    }
});
