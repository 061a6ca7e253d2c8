//! What a browser brings of a passkey: keys, attestation objects, assertions.
#![no_main]
use libfuzzer_sys::fuzz_target;
use order::{Assertion, Passkey, registered_key};

fuzz_target!(|data: &[u8]| {
    // Whatever key is taken out of an attestation object is one that can be verified with.
    if let Ok(cose) = registered_key(data) {
        let key = Passkey { rp_id: "localhost".into(), origin: "http://localhost:8444".into(), cose };
        assert_eq!(Passkey::read(&order::encode(&key)).unwrap(), key);
    }
    if let Ok(key) = Passkey::read(data) {
        assert_eq!(order::encode(&key), data);
    }
    // A fixed key, and client data for this very challenge: still nobody signed.
    let challenge = order::sha256(b"an order");
    let Some((length, rest)) = data.split_first() else { return };
    let (authenticator_data, client_data) = rest.split_at(usize::from(*length).min(rest.len()));
    let mut cose = vec![0xa4, 1, 1, 3, 0x27, 0x20, 6, 0x21, 0x58, 32];
    cose.extend([7; 32]);
    let key = Passkey { rp_id: "localhost".into(), origin: "http://localhost:8444".into(), cose };
    let assertion = Assertion {
        authenticator_data: authenticator_data.to_vec(),
        client_data_json: client_data.to_vec(),
        signature: vec![0; 64],
    };
    assert!(key.verify(&order::encode(&assertion), &challenge).is_err());
    assert!(key.verify(data, &challenge).is_err());
});
