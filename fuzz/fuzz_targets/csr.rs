//! A certificate request: as it comes, and with arbitrary attributes rightly signed, since nothing
//! behind the signature's check is reached otherwise. The first byte chooses.
#![no_main]
use apple::x509::{Algorithms, P256Signer, PublicKey};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static KEY: LazyLock<P256Signer> = LazyLock::new(|| P256Signer::generate().expect("a key"));

fuzz_target!(|data: &[u8]| {
    let Some((mode, rest)) = data.split_first() else { return };
    let built;
    let der = if mode & 1 == 0 {
        rest
    } else {
        built = matron_fuzz::csr_with_attributes(&KEY, rest).expect("a signature");
        &built
    };
    let old = apple::csr::parse_with(der, Algorithms::AdmitOld);
    match apple::csr::parse(der) {
        Ok(csr) => {
            assert!(matches!(csr.key, PublicKey::Rsa { bits: 2048.. } | PublicKey::P256 | PublicKey::P384));
            assert!(csr.challenge.is_none_or(|c| c.len() <= apple::csr::MAX_CHALLENGE_BYTES));
            assert_eq!(old.expect("admitting more refuses no more").spki_der, csr.spki_der);
        }
        Err(_) if mode & 1 == 1 => assert!(old.is_err()),
        Err(_) => {}
    }
});
