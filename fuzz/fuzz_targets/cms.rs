//! Signed messages and the certificates they carry.
#![no_main]
use apple::x509::{Algorithms, Certificate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let strong = apple::cms::unwrap_signed(data);
    if let Ok(content) = strong {
        assert!(content.len() <= data.len());
    }
    if let Ok(cert) = apple::cms::verify_detached(data, b"content", Algorithms::AdmitOld) {
        assert!(Certificate::parse(&cert).is_ok());
    }
    for cert in apple::scep::client::open_ca_cert(data).unwrap_or_default() {
        look(&cert);
    }
    look(data);
});

fn look(der: &[u8]) {
    let Ok(cert) = Certificate::parse(der) else { return };
    assert_eq!(cert.as_der(), der);
    let _ = (cert.not_before_ms(), cert.not_after_ms(), cert.common_name(), cert.subject_key_id());
    let _ = (cert.is_ca(), cert.serial(), cert.subject_der(), cert.is_signed_by(cert.spki_der()));
}
