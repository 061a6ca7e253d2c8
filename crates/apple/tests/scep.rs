//! Both ends of SCEP against each other, and the server against what no client would send.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests and benches may fail loudly"
)]

mod scep_house;

use apple::csr;
use apple::scep::client::{Answer, Request, open_ca_cert, open_cert_rep, pkcs_req};
use apple::scep::{
    self, Algorithms, ContentCipher, Context, FailInfo, MAX_REQUEST_BYTES, MessageType, Reason, request,
    response,
};
use apple::x509::{Certificate, Signer, SystemRandom};
use proptest::prelude::*;
use scep_house::{CHALLENGE, House, Phone};
use std::sync::LazyLock;

struct World {
    house: House,
    phone: Phone,
    csr: Vec<u8>,
    body: Vec<u8>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let (house, phone) = (House::new(), Phone::new());
    let csr = csr::build(&phone.key, "phone", Some(CHALLENGE)).unwrap();
    let body = pkcs_req(&asking(&house, &phone, &csr, ContentCipher::Aes256), &SystemRandom).unwrap();
    World { house, phone, csr, body }
});

fn asking<'a>(house: &'a House, phone: &'a Phone, csr: &'a [u8], cipher: ContentCipher) -> Request<'a> {
    Request {
        signer: &phone.key,
        signer_cert: &phone.cert,
        csr_der: csr,
        ra_cert: house.ra.cert_der(),
        transaction_id: "0123456789abcdef",
        sender_nonce: [9; 16],
        cipher,
    }
}

#[test]
fn a_request_is_opened_as_it_was_made_and_its_answer_too() {
    let world = &*WORLD;
    for cipher in [ContentCipher::Aes128, ContentCipher::Aes256] {
        let asked = asking(&world.house, &world.phone, &world.csr, cipher);
        let body = pkcs_req(&asked, &SystemRandom).unwrap();
        let opened = request::open(&body, &world.house.ra, Algorithms::Strong, &SystemRandom).unwrap();
        assert_eq!(*opened.csr_der, world.csr);
        assert_eq!(opened.message_type, MessageType::PkcsReq);
        assert!(opened.signed_by_same_key);
        assert_eq!(opened.csr.challenge.as_ref().unwrap().as_str(), CHALLENGE);
        assert_eq!(opened.context.transaction_id, asked.transaction_id);
        assert_eq!(opened.context.sender_nonce, asked.sender_nonce);
        assert_eq!(opened.context.requester_cert, world.phone.cert);
        assert_eq!(opened.context.cipher, cipher);
        assert!(!format!("{opened:?}").contains(CHALLENGE));

        let answer = world.house.answer(&body, Algorithms::Strong).unwrap();
        let issued = world.house.issue(world.phone.key.spki_der());
        let Answer::Issued(got) = open_cert_rep(&answer, &asked, &SystemRandom).unwrap() else {
            panic!("nothing was issued")
        };
        assert_eq!(got[1], world.house.ca_cert);
        // ECDSA signatures differ each time; all else is the template's.
        assert_eq!(Certificate::parse(&got[0]).unwrap().spki_der(), world.phone.key.spki_der());
        assert_eq!(
            Certificate::parse(&got[0]).unwrap().serial(),
            Certificate::parse(&issued).unwrap().serial()
        );
    }
}

#[test]
fn a_refusal_tells_the_phone_why() {
    let world = &*WORLD;
    let csr = csr::build(&world.phone.key, "phone", Some("another challenge")).unwrap();
    let asked = asking(&world.house, &world.phone, &csr, ContentCipher::Aes128);
    let body = pkcs_req(&asked, &SystemRandom).unwrap();
    let answer = world.house.answer(&body, Algorithms::Strong).unwrap();
    let got = open_cert_rep(&answer, &asked, &SystemRandom).unwrap();
    assert_eq!(got, Answer::Refused(Some(FailInfo::BadRequest)));
}

#[test]
fn an_answer_to_another_request_is_not_believed() {
    let world = &*WORLD;
    let answer = world.house.answer(&world.body, Algorithms::Strong).unwrap();
    let asked = asking(&world.house, &world.phone, &world.csr, ContentCipher::Aes256);
    assert!(open_cert_rep(&answer, &asked, &SystemRandom).is_ok());
    let other = Request { sender_nonce: [8; 16], ..asked };
    assert!(open_cert_rep(&answer, &other, &SystemRandom).is_err());
    let other = Request { transaction_id: "another", ..asked };
    assert!(open_cert_rep(&answer, &other, &SystemRandom).is_err());
    let elsewhere = House::new();
    let other = Request { ra_cert: elsewhere.ra.cert_der(), ..asked };
    assert!(open_cert_rep(&answer, &other, &SystemRandom).is_err());
}

#[test]
fn a_request_signed_by_another_key_is_answered_to_that_key_and_marked() {
    let world = &*WORLD;
    let other = Phone::new();
    let asked = asking(&world.house, &other, &world.csr, ContentCipher::Aes128);
    let body = pkcs_req(&asked, &SystemRandom).unwrap();
    let opened = request::open(&body, &world.house.ra, Algorithms::Strong, &SystemRandom).unwrap();
    assert!(!opened.signed_by_same_key);
    let answer = world.house.answer(&body, Algorithms::Strong).unwrap();
    let Answer::Issued(got) = open_cert_rep(&answer, &asked, &SystemRandom).unwrap() else {
        panic!("nothing was issued")
    };
    assert_eq!(Certificate::parse(&got[0]).unwrap().spki_der(), world.phone.key.spki_der());
}

#[test]
fn every_failure_to_decrypt_looks_the_same_to_the_sender() {
    let world = &*WORLD;
    let garbage = [0x30, 0x03, 0x02, 0x01, 0x05];
    let mut altered = world.csr.clone();
    *altered.last_mut().unwrap() ^= 1;
    for content in [&garbage[..], b"no sequence at all", b"", &altered] {
        let asked = asking(&world.house, &world.phone, content, ContentCipher::Aes128);
        let body = pkcs_req(&asked, &SystemRandom).unwrap();
        let error = request::open(&body, &world.house.ra, Algorithms::Strong, &SystemRandom).unwrap_err();
        assert_eq!(error.fail_info(), FailInfo::BadMessageCheck, "{error}");
    }
}

#[test]
fn des_is_refused_with_bad_alg_unless_admitted() {
    let world = &*WORLD;
    for cipher in [ContentCipher::TripleDes, ContentCipher::SingleDes] {
        let asked = asking(&world.house, &world.phone, &world.csr, cipher);
        let body = pkcs_req(&asked, &SystemRandom).unwrap();
        let error = request::open(&body, &world.house.ra, Algorithms::Strong, &SystemRandom).unwrap_err();
        assert_eq!(error.fail_info(), FailInfo::BadAlg);
        let opened = request::open(&body, &world.house.ra, Algorithms::AdmitOld, &SystemRandom).unwrap();
        assert_eq!(opened.context.cipher, cipher);
        let answer = world.house.answer(&body, Algorithms::AdmitOld).unwrap();
        assert!(matches!(open_cert_rep(&answer, &asked, &SystemRandom), Ok(Answer::Issued(_))));
    }
}

#[test]
fn a_request_over_the_bound_is_refused_unread() {
    let body = vec![0x30; MAX_REQUEST_BYTES + 1];
    let error = request::open(&body, &WORLD.house.ra, Algorithms::Strong, &SystemRandom).unwrap_err();
    assert_eq!(error.reason, Reason::TooLarge);
    assert!(error.answer.is_none());
}

#[test]
fn the_ca_certificate_answer_holds_the_ra_and_the_ca() {
    let house = &WORLD.house;
    let answer = scep::ca_cert(house.ra.cert_der(), &house.ca_cert);
    assert_eq!(open_ca_cert(&answer).unwrap(), [house.ra.cert_der(), &house.ca_cert]);
}

#[test]
fn an_answer_can_be_made_from_a_context_that_travelled() {
    let world = &*WORLD;
    let opened = request::open(&world.body, &world.house.ra, Algorithms::Strong, &SystemRandom).unwrap();
    let bytes = opened.context.to_bytes();
    let context = Context::from_bytes(&bytes).unwrap();
    assert_eq!(context, opened.context);
    assert!(Context::from_bytes(&bytes[..bytes.len() - 1]).is_none());
    assert!(Context::from_bytes(&[&bytes[..], &[0]].concat()).is_none());
    let answer = response::failure(&context, FailInfo::BadTime, &world.house.ra, &SystemRandom).unwrap();
    let asked = asking(&world.house, &world.phone, &world.csr, ContentCipher::Aes256);
    let got = open_cert_rep(&answer, &asked, &SystemRandom).unwrap();
    assert_eq!(got, Answer::Refused(Some(FailInfo::BadTime)));
}

#[test]
fn an_ra_key_with_another_keys_certificate_is_refused() {
    let key = apple::x509::RsaSigner::generate().unwrap();
    assert!(scep::RaKey::new(key, WORLD.house.ra.cert_der().to_vec()).is_err());
}

#[test]
fn a_get_message_is_decoded_whatever_became_of_its_base64() {
    let bytes = [0xfb, 0xff, 0xfe, 0x3e, 0x3f];
    for text in ["+//+Pj8=", " //+Pj8=", "-__-Pj8", "%2B%2F%2F%2BPj8%3D", "+//+\r\nPj8", "%2b//%2BPj%0A8"] {
        assert_eq!(scep::decode_get_message(text).unwrap(), bytes, "{text}");
    }
    for bad in ["+//+Pj8!", "%2", "%zz", "Pj8=é", "A"] {
        assert!(matches!(scep::decode_get_message(bad), Err(Reason::Malformed(_))), "{bad}");
    }
    let large = "A".repeat(MAX_REQUEST_BYTES * 2);
    assert_eq!(scep::decode_get_message(&large), Err(Reason::TooLarge));
    assert_eq!(scep::decode_get_message(&large.repeat(3)), Err(Reason::TooLarge));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_are_no_request(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(request::open(&bytes, &WORLD.house.ra, Algorithms::AdmitOld, &SystemRandom).is_err());
    }

    #[test]
    fn a_mutated_request_asks_for_nothing_else(
        at in any::<prop::sample::Index>(),
        flip in 1u8..,
        cut in any::<prop::sample::Index>(),
    ) {
        let world = &*WORLD;
        let mut bytes = world.body.clone();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        // What nothing signs (a digest list, the throw-away certificate's own signature) may change.
        if let Ok(opened) = request::open(&bytes, &world.house.ra, Algorithms::Strong, &SystemRandom) {
            prop_assert_eq!(&*opened.csr_der, &world.csr);
            prop_assert_eq!(opened.context.transaction_id, "0123456789abcdef");
            prop_assert_eq!(opened.context.sender_nonce, [9; 16]);
        }
        let cut = &world.body[..cut.index(world.body.len())];
        prop_assert!(request::open(cut, &world.house.ra, Algorithms::Strong, &SystemRandom).is_err());
    }

    #[test]
    fn a_mutated_answer_is_no_other_answer(at in any::<prop::sample::Index>(), flip in 1u8..) {
        let world = &*WORLD;
        let asked = asking(&world.house, &world.phone, &world.csr, ContentCipher::Aes256);
        let mut bytes = world.house.answer(&world.body, Algorithms::Strong).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        if let Ok(answer) = open_cert_rep(&bytes, &asked, &SystemRandom) {
            let Answer::Issued(got) = answer else { panic!("the answer changed its meaning") };
            prop_assert_eq!(&got[1], &world.house.ca_cert);
        }
    }

    #[test]
    fn decoding_any_text_never_panics(text in "\\PC{0,200}") {
        let _ = scep::decode_get_message(&text);
    }

    #[test]
    fn reading_any_bytes_as_a_certificate_never_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..256),
        at in any::<prop::sample::Index>(),
        flip in any::<u8>(),
    ) {
        let mut mutated = WORLD.house.ca_cert.clone();
        let at = at.index(mutated.len());
        mutated[at] ^= flip;
        for der in [&bytes, &mutated] {
            if let Ok(cert) = Certificate::parse(der) {
                let _ = (cert.common_name(), cert.is_ca(), cert.subject_key_id());
                let _ = cert.is_signed_by(WORLD.house.ca.spki_der());
            }
        }
    }
}
