//! What `seal` makes is HPKE as RFC 9180 writes it: opened here step by step with AWS-LC's X25519,
//! HMAC and AES-GCM, and none of the code that sealed it.

#![allow(clippy::unwrap_used)]

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use aws_lc_rs::rand::SystemRandom;
use model::{Compartment, EnrolmentId};
use seal::to::{INFO_ORDER_ARGS, INFO_SCEP, seal, seal_auth};
use seal::{CompartmentSecret, KeyPairSecret, PublicKey, Sealer};

/// DHKEM(X25519, HKDF-SHA256), and with HKDF-SHA256 and AES-256-GCM (RFC 9180, section 7).
const KEM: &[u8] = b"KEM\x00\x20";
const SUITE: &[u8] = b"HPKE\x00\x20\x00\x01\x00\x02";

fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
    sign(&Key::new(HMAC_SHA256, key), data).as_ref().to_vec()
}

fn labeled_extract(suite: &[u8], salt: &[u8], label: &[u8], ikm: &[u8]) -> Vec<u8> {
    hmac(salt, &[b"HPKE-v1", suite, label, ikm].concat())
}

fn labeled_expand(suite: &[u8], prk: &[u8], label: &[u8], info: &[u8], length: u8) -> Vec<u8> {
    let mut out = hmac(prk, &[&[0, length], &b"HPKE-v1"[..], suite, label, info, &[1]].concat());
    out.truncate(length.into());
    out
}

fn dh(secret: &KeyPairSecret, public: &[u8]) -> Vec<u8> {
    let secret = PrivateKey::from_private_key(&X25519, secret.secret_bytes()).unwrap();
    agree(&secret, UnparsedPublicKey::new(&X25519, public), (), |s| Ok(s.to_vec())).unwrap()
}

/// `OpenBase` and `OpenAuth` of RFC 9180, section 6.1.
fn open(
    secret: &KeyPairSecret,
    sender: Option<PublicKey>,
    info: &[u8],
    aad: &[u8],
    enc_and_ct: &[u8],
) -> Vec<u8> {
    let (enc, ct) = enc_and_ct.split_at(32);
    let (mut shared, mut context) = (dh(secret, enc), [enc, &secret.public().0].concat());
    if let Some(sender) = sender {
        shared.extend(dh(secret, &sender.0));
        context.extend(sender.0);
    }
    let prk = labeled_extract(KEM, b"", b"eae_prk", &shared);
    let shared = labeled_expand(KEM, &prk, b"shared_secret", &context, 32);

    let mut schedule = vec![if sender.is_some() { 2 } else { 0 }];
    schedule.extend(labeled_extract(SUITE, b"", b"psk_id_hash", b""));
    schedule.extend(labeled_extract(SUITE, b"", b"info_hash", info));
    let secret = labeled_extract(SUITE, &shared, b"secret", b"");
    let key = labeled_expand(SUITE, &secret, b"key", &schedule, 32);
    let nonce = labeled_expand(SUITE, &secret, b"base_nonce", &schedule, 12);

    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap());
    let mut value = ct.to_vec();
    let nonce = Nonce::try_assume_unique_for_key(&nonce).unwrap();
    key.open_in_place(nonce, Aad::from(aad), &mut value).unwrap().to_vec()
}

fn pair() -> KeyPairSecret {
    KeyPairSecret::generate(&SystemRandom::new()).unwrap()
}

#[test]
fn a_message_is_base_mode() {
    let vault = pair();
    let sealed = seal(&vault.public(), INFO_ORDER_ARGS, b"order", b"a name", &SystemRandom::new()).unwrap();
    assert_eq!(sealed[0], 1);
    assert_eq!(open(&vault, None, INFO_ORDER_ARGS, b"order", &sealed[1..]), b"a name");
}

#[test]
fn a_message_that_names_its_sender_is_auth_mode() {
    let (vault, reader, rng) = (pair(), pair(), SystemRandom::new());
    let sealed = seal_auth(&reader, &vault.public(), INFO_SCEP, b"id", b"csr", &rng).unwrap();
    assert_eq!(open(&vault, Some(reader.public()), INFO_SCEP, b"id", &sealed[1..]), b"csr");
}

#[test]
fn a_field_is_aes_256_gcm_under_a_window_key_in_auth_mode() {
    let (rng, reader, phone) = (SystemRandom::new(), pair(), EnrolmentId([7; 16]));
    let secret = CompartmentSecret::generate(Compartment::Contact, 0x0102, &rng).unwrap();
    let mut sealer = Sealer::new(reader.clone(), vec![secret.public()]);
    let value = b"+447700900123";
    let row = sealer
        .seal(&rng, 0, &phone, "PhoneNumber", Compartment::Contact, value, String::new(), vec![])
        .unwrap();

    let (head, body) = row.wrapped_key.split_at(21);
    assert_eq!(head, [&[1, 0, 0, 1, 2], &reader.public().id()[..]].concat());
    let key = open(&secret.key, Some(reader.public()), b"matron/window/1\x02", head, body);

    let (nonce, sealed) = row.ciphertext.split_at(12);
    let aad = [b"matron/field/1", &[7; 16][..], &[0, 11], b"PhoneNumber", &[1]].concat();
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap());
    let mut opened = sealed.to_vec();
    let nonce = Nonce::try_assume_unique_for_key(nonce).unwrap();
    assert_eq!(key.open_in_place(nonce, Aad::from(aad), &mut opened).unwrap(), value);
}
