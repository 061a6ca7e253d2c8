//! The key that the door made for its own TLS: made anew when an order says so. The one before is shown until the vault has
//! certified the new one, and then destroyed.

use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use rpc::key_ring::KeyRing;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use crate::Error;
use crate::install::TLS_KEY;

/// A new key, PKCS#8.
pub(crate) fn fresh() -> io::Result<Zeroizing<Vec<u8>>> {
    let made = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).and_then(|pair| pair.to_pkcs8v1());
    let made = made.map_err(|_| io::Error::other("no TLS key could be made"))?;
    Ok(Zeroizing::new(made.as_ref().to_vec()))
}

/// The public half (SubjectPublicKeyInfo) of a key.
fn spki_of(pkcs8: &[u8]) -> io::Result<Vec<u8>> {
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8)
        .map_err(|_| io::Error::other("a key in it is no P-256 key"))?;
    let spki = pair.public_key().as_der().map_err(|_| io::Error::other("a key has no public half"))?;
    Ok(spki.as_ref().to_vec())
}

/// The door's own TLS keys.
pub(crate) struct TlsKeys(Mutex<KeyRing>);

impl TlsKeys {
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        let bad = |e: io::Error| Error::files("TLS key", &dir.join(TLS_KEY), e);
        let keys = Self(Mutex::new(KeyRing::open(dir, TLS_KEY).map_err(bad)?));
        keys.newest().map_err(bad)?;
        Ok(keys)
    }

    fn ring(&self) -> std::sync::MutexGuard<'_, KeyRing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The public half of the newest.
    pub(crate) fn newest(&self) -> io::Result<Vec<u8>> {
        let ring = self.ring();
        let (_, newest) = ring.newest_first().next().ok_or_else(|| io::Error::other("it is empty"))?;
        spki_of(newest)
    }

    /// The key of an order's number, made if it is not there; its public half.
    pub(crate) fn make(&self, number: u32) -> io::Result<Vec<u8>> {
        spki_of(&self.ring().make(number, fresh)?)
    }

    /// The key (PKCS#8) that a certificate is for.
    pub(crate) fn of(&self, certificate: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let ring = self.ring();
        let is_it = |key: &[u8]| spki_of(key).is_ok_and(|spki| spki == certificate.public_key().raw);
        ring.newest_first().find(|(_, key)| is_it(key)).map(|(_, key)| Zeroizing::new(key.to_vec()))
    }

    /// Destroys the keys before the one that a certificate is for.
    pub(crate) fn destroy_before(&self, certificate: &[u8]) -> io::Result<usize> {
        let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Ok(0) };
        let mut ring = self.ring();
        let is_it = |key: &[u8]| spki_of(key).is_ok_and(|spki| spki == certificate.public_key().raw);
        let number = ring.newest_first().find(|(_, key)| is_it(key)).map(|(number, _)| number);
        number.map_or(Ok(0), |number| ring.destroy_before(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair as RcgenPair};
    use rustls::pki_types::PrivatePkcs8KeyDer;

    fn certificate(pkcs8: &[u8]) -> Vec<u8> {
        let key = PrivatePkcs8KeyDer::from(pkcs8.to_vec());
        let pair = RcgenPair::from_pkcs8_der_and_sign_algo(&key, &rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        CertificateParams::new(vec![]).unwrap().self_signed(&pair).unwrap().der().to_vec()
    }

    #[test]
    fn a_new_tls_key_waits_beside_the_one_that_is_shown_until_its_certificate_is_there() {
        let dir = tempfile::tempdir().unwrap();
        crate::prepare(dir.path()).unwrap();
        let keys = TlsKeys::open(dir.path()).unwrap();
        let first = rpc::at_rest::read(dir.path(), TLS_KEY).unwrap();
        let shown = certificate(&first);
        let new = keys.make(2).unwrap();
        assert_eq!(keys.make(2).unwrap(), new, "asked again");
        assert_eq!(TlsKeys::open(dir.path()).unwrap().newest().unwrap(), new);
        assert_eq!(keys.of(&shown).unwrap().as_slice(), first.as_slice(), "the one that is shown goes on");
        assert_eq!(keys.destroy_before(&shown).unwrap(), 0);
        let made = KeyRing::open(dir.path(), TLS_KEY).unwrap();
        let of_new = certificate(made.newest_first().next().unwrap().1);
        assert_eq!(keys.destroy_before(&of_new).unwrap(), 1);
        let file = std::fs::read(dir.path().join(TLS_KEY)).unwrap();
        assert!(!file.windows(first.len()).any(|w| w == first.as_slice()));
        assert!(keys.of(&shown).is_none() && keys.of(&of_new).is_some());
    }
}
