use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use proptest::prelude::*;

use super::*;

/// Made by Chromium 156 with its virtual authenticator, on 28 November 2026, for the site
/// `http://localhost:8444` and the SHA-256 of `an order`.
const CHROMIUM_ATTESTATION: &str = "a363666d74646e6f6e656761747453746d74a068617574684461746158a449960de5880e8c687434170f6476605b8fe4aeb9a28632c7995cf3ba831d97634500000001010203040506070801020304050607080020a5651bd3158589c95557b9deef15800ee808549882b51e8c54b5e3a67982da3fa50102032620012158209e24e55cbdd6dcfd3b9c4cf7e604c5e8a97deef5f5379d8fd18438e71de227ce225820b5c9ccc2ba9de8630335bf328ecbb52fcf545e223c09a0b4fabed8821057d566";
const CHROMIUM_AUTHENTICATOR_DATA: &str =
    "49960de5880e8c687434170f6476605b8fe4aeb9a28632c7995cf3ba831d97630500000002";
const CHROMIUM_CLIENT_DATA: &str = "{\"type\":\"webauthn.get\",\"challenge\":\"zW9r65GawSgATaEGf-sQBwBtDFxEG9nJBh4CbfgZ80g\",\"origin\":\"http://localhost:8444\",\"crossOrigin\":false}";
const CHROMIUM_SIGNATURE: &str = "3046022100ef7ec7f3f1849d459eb080fbb3b568137761f0b72633cd3cd86ee582fdbe4fe6022100c980d6752ec80c57b620b82a87c0b056178d118097f571c2d67e888723649d53";

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|c| u8::from_str_radix(std::str::from_utf8(c).unwrap(), 16).unwrap())
        .collect()
}

fn site(cose: Vec<u8>) -> Passkey {
    Passkey { rp_id: "localhost".into(), origin: "http://localhost:8444".into(), cose }
}

fn chromium() -> (Passkey, Assertion) {
    let assertion = Assertion {
        authenticator_data: unhex(CHROMIUM_AUTHENTICATOR_DATA),
        client_data_json: CHROMIUM_CLIENT_DATA.into(),
        signature: unhex(CHROMIUM_SIGNATURE),
    };
    (site(registered_key(&unhex(CHROMIUM_ATTESTATION)).unwrap()), assertion)
}

/// A software authenticator.
enum Authenticator {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Authenticator {
    fn p256() -> Self {
        let made = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        Self::P256(made)
    }

    fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::from_seed_unchecked(&[3; 32]).unwrap())
    }

    fn passkey(&self) -> Passkey {
        site(write_cose(&match self {
            Self::P256(k) => Public::P256(k.public_key().as_ref().try_into().unwrap()),
            Self::Ed25519(k) => Public::Ed25519(k.public_key().as_ref().try_into().unwrap()),
        }))
    }

    fn sign(&self, authenticator_data: &[u8], client_data: &str) -> Vec<u8> {
        let signed = [authenticator_data, &sha256(client_data.as_bytes()).0].concat();
        let signature = match self {
            Self::P256(k) => k.sign(&SystemRandom::new(), &signed).unwrap().as_ref().to_vec(),
            Self::Ed25519(k) => k.sign(&signed).as_ref().to_vec(),
        };
        bytes::encode(&Assertion {
            authenticator_data: authenticator_data.to_vec(),
            client_data_json: client_data.as_bytes().to_vec(),
            signature,
        })
    }
}

fn authenticator_data(rp_id: &str, flags: u8, count: u32) -> Vec<u8> {
    [&sha256(rp_id.as_bytes()).0[..], &[flags], &count.to_be_bytes()].concat()
}

fn client_data(ceremony: &str, challenge: &Digest, origin: &str, more: &str) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(challenge.0);
    format!(r#"{{"type":"{ceremony}","challenge":"{challenge}","origin":"{origin}"{more}}}"#)
}

fn good() -> (Vec<u8>, String, Digest) {
    let challenge = sha256(b"an order");
    let data = authenticator_data("localhost", USER_PRESENT | USER_VERIFIED, 7);
    (
        data,
        client_data("webauthn.get", &challenge, "http://localhost:8444", r#","crossOrigin":false"#),
        challenge,
    )
}

#[test]
fn what_chromium_signed_verifies_with_the_key_that_it_registered() {
    let (key, assertion) = chromium();
    let asserted = key.verify(&bytes::encode(&assertion), &sha256(b"an order")).unwrap();
    assert_eq!(asserted, Asserted { sign_count: 2, backup_eligible: false });
    assert_eq!(Passkey::read(&bytes::encode(&key)).unwrap(), key);
}

#[test]
fn a_passkeys_signature_over_one_order_is_none_over_another() {
    let (key, assertion) = chromium();
    let refused = key.verify(&bytes::encode(&assertion), &sha256(b"another order"));
    assert_eq!(refused, Err(PasskeyError::OtherChallenge));
}

#[test]
fn both_algorithms_verify_and_neither_takes_the_others_signature() {
    let (data, client, challenge) = good();
    let (p256, ed25519) = (Authenticator::p256(), Authenticator::ed25519());
    for (mine, other) in [(&p256, &ed25519), (&ed25519, &p256)] {
        let signed = mine.sign(&data, &client);
        assert_eq!(mine.passkey().verify(&signed, &challenge).unwrap().sign_count, 7);
        assert_eq!(other.passkey().verify(&signed, &challenge), Err(PasskeyError::DoesNotFit));
    }
}

#[test]
fn another_site_a_frame_and_another_ceremony_are_refused() {
    let key = Authenticator::p256();
    let (data, _, challenge) = good();
    let here = "http://localhost:8444";
    let verify = |data: &[u8], client: &str| key.passkey().verify(&key.sign(data, client), &challenge);
    let client = |origin: &str, more: &str| client_data("webauthn.get", &challenge, origin, more);
    assert!(verify(&data, &client(here, "")).is_ok());
    assert!(verify(&data, &client(here, r#","to":"come""#)).is_ok());
    for (client, why) in [
        (client("http://localhost:8445", ""), PasskeyError::OtherSite),
        (client("https://localhost:8444", ""), PasskeyError::OtherSite),
        (client(here, r#","crossOrigin":true"#), PasskeyError::OtherSite),
        (client(here, r#","topOrigin":"http://localhost:8444""#), PasskeyError::OtherSite),
        (client(here, r#","origin":"http://localhost:8444""#), PasskeyError::ClientData),
        (client_data("webauthn.create", &challenge, here, ""), PasskeyError::ClientData),
        (client_data("webauthn.get", &sha256(b"x"), here, ""), PasskeyError::OtherChallenge),
    ] {
        assert_eq!(verify(&data, &client), Err(why), "{client}");
    }
    let other = authenticator_data("example.org", USER_PRESENT | USER_VERIFIED, 7);
    assert_eq!(verify(&other, &client(here, "")), Err(PasskeyError::OtherSite));
}

#[test]
fn without_a_touch_and_a_verified_person_nothing_is_signed() {
    let key = Authenticator::p256();
    let (_, client, challenge) = good();
    for flags in 0..=u8::MAX {
        let verified =
            key.passkey().verify(&key.sign(&authenticator_data("localhost", flags, 1), &client), &challenge);
        let both = flags & USER_PRESENT != 0 && flags & USER_VERIFIED != 0;
        assert_eq!(verified.is_ok(), both && flags & (NEW_KEY | EXTENSIONS) == 0, "{flags:#x}");
    }
    // Extensions are passed over, but have to be there when their flag is.
    let mut data = authenticator_data("localhost", USER_PRESENT | USER_VERIFIED | EXTENSIONS, 1);
    data.push(0xa0);
    assert!(key.passkey().verify(&key.sign(&data, &client), &challenge).is_ok());
    data[32] &= !EXTENSIONS;
    assert_eq!(key.passkey().verify(&key.sign(&data, &client), &challenge), Err(PasskeyError::ClientData));
}

#[test]
fn one_bit_turned_anywhere_in_an_assertion_is_refused() {
    let (key, assertion) = chromium();
    let challenge = sha256(b"an order");
    for part in 0..3 {
        let length =
            [&assertion.authenticator_data, &assertion.client_data_json, &assertion.signature][part].len();
        for bit in 0..length * 8 {
            let mut bad = assertion.clone();
            let bytes_of = [&mut bad.authenticator_data, &mut bad.client_data_json, &mut bad.signature]
                .into_iter()
                .nth(part);
            bytes_of.unwrap()[bit / 8] ^= 1 << (bit % 8);
            assert!(key.verify(&bytes::encode(&bad), &challenge).is_err(), "part {part}, bit {bit}");
        }
    }
}

#[test]
fn a_key_signs_for_its_own_site_and_over_tls_alone() {
    let cose = Authenticator::ed25519().passkey().cose;
    let read = |rp_id: &str, origin: &str| {
        let key = Passkey { rp_id: rp_id.into(), origin: origin.into(), cose: cose.clone() };
        Passkey::read(&bytes::encode(&key)).map(drop)
    };
    assert_eq!(read("matron.example.org", "https://matron.example.org"), Ok(()));
    assert_eq!(read("matron.example.org", "https://matron.example.org:8444"), Ok(()));
    assert_eq!(read("localhost", "http://localhost:8444"), Ok(()));
    for (rp_id, origin) in [
        ("matron.example.org", "http://matron.example.org"),
        ("matron.example.org", "https://example.org"),
        ("matron.example.org", "https://matron.example.org.example.com"),
        ("matron.example.org", "https://matron.example.org:8444/console"),
        ("matron.example.org", "https://matron.example.org:"),
        ("", "https://"),
        ("Matron", "https://Matron"),
    ] {
        assert_eq!(read(rp_id, origin), Err(PasskeyError::Site), "{rp_id} {origin}");
    }
}

#[test]
fn a_key_is_written_in_one_way_alone() {
    let cose = Authenticator::p256().passkey().cose;
    assert!(Passkey::read(&bytes::encode(&site(cose.clone()))).is_ok());
    // Longer forms of the same numbers, other orders, other algorithms, something added.
    let mut longer = cose.clone();
    longer.splice(1..2, [0x18, 0x01]);
    let mut rs256 = cose.clone();
    rs256[4] = 0x27;
    let mut added = cose.clone();
    added.push(0);
    let mut cut = cose.clone();
    cut.pop();
    for bad in [longer, rs256, added, cut, Vec::new(), vec![0xa0], vec![0xff; 77]] {
        assert_eq!(Passkey::read(&bytes::encode(&site(bad))), Err(PasskeyError::Key));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(data in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = registered_key(&data);
        let _ = Passkey::read(&data);
        let _ = chromium().0.verify(&data, &Digest([0; 32]));
    }

    #[test]
    fn an_attestation_object_of_which_a_byte_differs_is_read_or_refused(
        at in 0..CHROMIUM_ATTESTATION.len() / 2, byte: u8,
    ) {
        let mut object = unhex(CHROMIUM_ATTESTATION);
        object[at] = byte;
        if let Ok(cose) = registered_key(&object) {
            prop_assert!(public_key(&cose).is_ok());
        }
    }
}
