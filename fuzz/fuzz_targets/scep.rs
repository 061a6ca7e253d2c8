//! A SCEP message, opened with a fixed RA key.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    use std::sync::LazyLock;
    static RA: LazyLock<Option<apple::scep::RaKey>> = LazyLock::new(|| {
        let ca = apple::x509::P256Signer::generate().ok()?;
        let window = apple::x509::Window { not_before_ms: 0, not_after_ms: 4_000_000_000_000 };
        let root = apple::x509::ca_certificate(&ca, "fuzz", [1; 16], window).ok()?;
        let key = apple::x509::RsaSigner::generate().ok()?;
        use apple::x509::Signer;
        let window = apple::x509::Window { not_before_ms: 0, not_after_ms: 3_000_000_000_000 };
        let cert = apple::x509::ra_certificate(&root, &ca, key.spki_der(), [2; 16], window).ok()?;
        apple::scep::RaKey::new(key, cert).ok()
    });
    if let Some(ra) = RA.as_ref() {
        let admit = apple::x509::Algorithms::AdmitOld;
        let _ = apple::scep::request::open(data, ra, admit, &apple::x509::SystemRandom);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = apple::scep::decode_get_message(text);
    }
});
