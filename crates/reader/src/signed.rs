//! `Mdm-Signature`: who signed a message, where a load balancer ends the phones' TLS.
//!
//! The header holds a detached CMS signature over the body, byte for byte as it came, in base64; content that
//! the signature carries itself counts for nothing. Source: Apple, MDM `SignMessage`. A signature has no
//! number that is good once, so a message that somebody captured can be sent again. Where the phone signs the
//! time too (iOS and tvOS were seen to, macOS not) it can be for a day; see SECURITY.md.

use apple::cms;
use apple::x509::{Algorithms, Certificate};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::{Digest, EnrolmentId, TimeMs};
use order::Authority;

use crate::reason::Refusal;

/// The longest header that is read; Apple's are about 2 KB.
const LARGEST_HEADER_BYTES: usize = 16 << 10;
/// How far a signed time may lie from now: clocks are off, and no warrant lives longer.
const SIGNED_WITHIN_MS: TimeMs = model::clock::DAY_MS;

/// Who signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signer {
    pub enrolment: EnrolmentId,
    /// SHA-256 of the certificate.
    pub certificate: Digest,
}

/// Verifies the header over the body, and its certificate under one of our CAs that count.
pub(crate) fn signer(
    header: &[u8],
    body: &[u8],
    authorities: &[Authority],
    now_ms: TimeMs,
    admit: Algorithms,
) -> Result<Signer, Refusal> {
    let unreadable = Refusal::bad("signature_unreadable");
    if header.len() > LARGEST_HEADER_BYTES {
        return Err(unreadable);
    }
    let message = STANDARD.decode(header).map_err(|_| unreadable)?;
    let found = cms::verify_detached_when(&message, body, admit).map_err(|e| match e {
        cms::CmsError::Malformed(_) | cms::CmsError::TooLarge => unreadable,
        _ => Refusal::bad("signature_wrong"),
    })?;
    let certificate = Certificate::parse(&found.certificate_der).map_err(|_| unreadable)?;
    let issued = |ca: &Certificate<'_>| certificate.is_issued_by(ca);
    let ours = authorities.iter().any(|ca| Certificate::parse(&ca.certificate).is_ok_and(|ca| issued(&ca)));
    // Our CA certifies others too: the door, the RA, the profiles' signer.
    let of_a_phone = certificate.organization() == Some("Matron device");
    let enrolment = certificate.common_name().filter(|_| ours && of_a_phone).and_then(|n| n.parse().ok());
    let enrolment: EnrolmentId = enrolment.ok_or(Refusal::bad("signature_of_a_stranger"))?;
    if !(certificate.not_before_ms()..=certificate.not_after_ms()).contains(&now_ms) {
        return Err(Refusal::bad("signature_certificate_dates"));
    }
    let off = |at_ms: TimeMs| now_ms.saturating_sub(at_ms).saturating_abs() > SIGNED_WITHIN_MS;
    if found.signing_time_ms.is_some_and(off) {
        return Err(Refusal::bad("signature_time"));
    }
    Ok(Signer { enrolment, certificate: order::sha256(&found.certificate_der) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use apple::x509::{
        P256Signer, Signer as _, Window, ca_certificate, device_certificate, profile_signer_certificate,
    };
    use model::clock::DAY_MS;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    const NOW_MS: TimeMs = 1_790_000_000_000;
    const PHONE: EnrolmentId = EnrolmentId([0x5a; 16]);
    const BODY: &[u8] = b"<plist version=\"1.0\"><dict><key>Status</key><string>Idle</string></dict></plist>";

    struct House {
        ca: P256Signer,
        ca_der: Vec<u8>,
        phone: P256Signer,
        certificate: Vec<u8>,
    }

    fn house() -> House {
        let ca = P256Signer::generate().unwrap();
        let long = Window { not_before_ms: NOW_MS - DAY_MS, not_after_ms: NOW_MS + 3650 * DAY_MS };
        let ca_der = ca_certificate(&ca, "Matron CA", [1; 16], long).unwrap();
        let phone = P256Signer::generate().unwrap();
        let window = Window { not_before_ms: NOW_MS - DAY_MS, not_after_ms: NOW_MS + 30 * DAY_MS };
        let certificate =
            device_certificate(&ca_der, &ca, phone.spki_der(), &PHONE, [2; 16], window).unwrap();
        House { ca, ca_der, phone, certificate }
    }

    fn authority(h: &House) -> Authority {
        Authority { certificate: h.ca_der.clone(), successor: None }
    }

    #[test]
    fn a_phone_of_an_older_ca_is_one_while_that_ca_counts_and_then_a_stranger() {
        let newer = house();
        let good = header(&HOUSE, BODY, None);
        let by =
            |cas: &[Authority]| signer(&good, BODY, cas, NOW_MS, Algorithms::Strong).map_err(|r| r.reason);
        assert!(by(&[authority(&newer), authority(&HOUSE)]).is_ok());
        assert_eq!(by(&[authority(&newer)]), Err("signature_of_a_stranger"));
    }

    static HOUSE: LazyLock<House> = LazyLock::new(house);

    fn header(h: &House, body: &[u8], at_ms: Option<TimeMs>) -> Vec<u8> {
        STANDARD.encode(cms::sign_detached(body, &h.phone, &[&h.certificate], at_ms).unwrap()).into()
    }

    fn read(header: &[u8], body: &[u8], now_ms: TimeMs) -> Result<Signer, &'static str> {
        signer(header, body, &[authority(&HOUSE)], now_ms, Algorithms::Strong).map_err(|r| {
            assert_eq!(r.status, 400);
            r.reason
        })
    }

    #[test]
    fn a_message_is_its_signers_whatever_else_is_said() {
        let expected = Signer { enrolment: PHONE, certificate: order::sha256(&HOUSE.certificate) };
        for at_ms in [None, Some(NOW_MS), Some(NOW_MS - DAY_MS), Some(NOW_MS + DAY_MS)] {
            assert_eq!(read(&header(&HOUSE, BODY, at_ms), BODY, NOW_MS), Ok(expected));
        }
    }

    #[test]
    fn a_signature_over_another_body_or_with_one_of_its_own_is_refused() {
        let good = header(&HOUSE, BODY, None);
        assert_eq!(read(&good, b"<plist/>", NOW_MS), Err("signature_wrong"));
        // What it carries is ignored: it has to be over the body that came.
        let embedded = cms::sign_attached(b"<plist/>", &HOUSE.phone, &[&HOUSE.certificate], NOW_MS).unwrap();
        assert_eq!(read(STANDARD.encode(&embedded).as_bytes(), BODY, NOW_MS), Err("signature_wrong"));
        let embedded = cms::sign_attached(BODY, &HOUSE.phone, &[&HOUSE.certificate], NOW_MS).unwrap();
        assert!(read(STANDARD.encode(&embedded).as_bytes(), BODY, NOW_MS).is_ok());
    }

    #[test]
    fn a_foreign_ca_and_our_cas_other_certificates_are_strangers() {
        let other = house();
        assert_eq!(read(&header(&other, BODY, None), BODY, NOW_MS), Err("signature_of_a_stranger"));
        let window = Window { not_before_ms: NOW_MS - DAY_MS, not_after_ms: NOW_MS + 30 * DAY_MS };
        let profiles = P256Signer::generate().unwrap();
        let spki = profiles.spki_der();
        let certificate =
            profile_signer_certificate(&HOUSE.ca_der, &HOUSE.ca, spki, [3; 16], window).unwrap();
        let signed = cms::sign_detached(BODY, &profiles, &[&certificate], None).unwrap();
        assert_eq!(read(STANDARD.encode(signed).as_bytes(), BODY, NOW_MS), Err("signature_of_a_stranger"));
    }

    #[test]
    fn an_expired_certificate_and_a_time_long_ago_are_refused() {
        let end_ms = NOW_MS + 30 * DAY_MS;
        let good = header(&HOUSE, BODY, None);
        assert!(read(&good, BODY, end_ms).is_ok());
        assert_eq!(read(&good, BODY, end_ms + 1000), Err("signature_certificate_dates"));
        assert_eq!(read(&good, BODY, NOW_MS - 2 * DAY_MS), Err("signature_certificate_dates"));
        let timed = header(&HOUSE, BODY, Some(NOW_MS));
        assert_eq!(read(&timed, BODY, NOW_MS + DAY_MS + 1000), Err("signature_time"));
        let ahead = header(&HOUSE, BODY, Some(NOW_MS + 2 * DAY_MS));
        assert_eq!(read(&ahead, BODY, NOW_MS), Err("signature_time"));
    }

    #[test]
    fn a_header_that_is_no_signature_is_refused() {
        let endless = "A".repeat(LARGEST_HEADER_BYTES + 4);
        for bad in ["", "?", "AAAA", "MIIB", &endless] {
            assert_eq!(read(bad.as_bytes(), BODY, NOW_MS), Err("signature_unreadable"), "{}", bad.len());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn a_changed_byte_never_makes_another_phone_of_it(at in any::<prop::sample::Index>(), flip in 1u8..) {
            let message = cms::sign_detached(BODY, &HOUSE.phone, &[&HOUSE.certificate], Some(NOW_MS)).unwrap();
            let mut bytes = message;
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            if let Ok(found) = read(STANDARD.encode(&bytes).as_bytes(), BODY, NOW_MS) {
                prop_assert_eq!(found.enrolment, PHONE);
            }
        }
    }
}
