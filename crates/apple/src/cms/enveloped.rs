//! EnvelopedData (RFC 5652, section 6) with RSA key transport and CBC content encryption: what SCEP
//! uses, both ways.

use super::signed::{content_info, issuer_and_serial, names};
use super::{CmsError, ContentCipher};
use crate::x509::der::{self, Malformed, Tlv, only, seq, tag, tlv};
use crate::x509::verify::algorithm;
use crate::x509::{Algorithms, Certificate, PublicKey, Random, RsaSigner, X509Error, oid};
use aws_lc_rs::cipher::{
    AES_128, AES_256, Algorithm, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey,
    PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{Pkcs1PublicEncryptingKey, PublicEncryptingKey};
use zeroize::Zeroizing;

impl ContentCipher {
    fn named(content: &[u8]) -> Option<Self> {
        match content {
            oid::AES128_CBC => Some(Self::Aes128),
            oid::AES256_CBC => Some(Self::Aes256),
            oid::DES_EDE3_CBC => Some(Self::TripleDes),
            oid::DES_CBC => Some(Self::SingleDes),
            _ => None,
        }
    }

    fn oid(self) -> &'static [u8] {
        match self {
            Self::Aes128 => oid::AES128_CBC,
            Self::Aes256 => oid::AES256_CBC,
            Self::TripleDes => oid::DES_EDE3_CBC,
            Self::SingleDes => oid::DES_CBC,
        }
    }

    fn key_bytes(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes256 => 32,
            Self::TripleDes => 24,
            Self::SingleDes => 8,
        }
    }

    fn iv_bytes(self) -> usize {
        if self.is_strong() { 16 } else { 8 }
    }

    /// Is it taken without [`Algorithms::AdmitOld`]?
    fn is_strong(self) -> bool {
        matches!(self, Self::Aes128 | Self::Aes256)
    }

    #[allow(deprecated, reason = "DES for older phones and simulators, when the operator admits it")]
    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Aes128 => &AES_128,
            Self::Aes256 => &AES_256,
            Self::TripleDes => &aws_lc_rs::cipher::DES_EDE3_FOR_LEGACY_USE_ONLY,
            Self::SingleDes => &aws_lc_rs::cipher::DES_FOR_LEGACY_USE_ONLY,
        }
    }
}

/// How the content key was encrypted.
#[derive(Debug, Clone, Copy)]
enum KeyTransport {
    Pkcs1,
    Oaep { sha256: bool },
}

/// An envelope, read and not yet opened.
#[derive(Debug)]
pub(crate) struct Enveloped<'a> {
    transport: KeyTransport,
    encrypted_key: &'a [u8],
    /// How its content is encrypted.
    pub(crate) cipher: ContentCipher,
    iv: &'a [u8],
    ciphertext: Vec<u8>,
}

impl<'a> Enveloped<'a> {
    /// Reads a DER `ContentInfo` and finds the key that was encrypted to `recipient`.
    pub(crate) fn parse(
        der: &'a [u8],
        recipient: &Certificate<'_>,
        admit: Algorithms,
    ) -> Result<Self, CmsError> {
        let what = "it is no enveloped data";
        let mut data = content_info(der, oid::ENVELOPED_DATA, what)?.inside();
        data.expect(tag::INTEGER, what)?;
        data.optional(tag::context_constructed(0))?;
        let mut recipients = data.expect(tag::SET, "an envelope has no recipients")?.inside();
        let mut encrypted = data.expect(tag::SEQUENCE, "an envelope has no content")?.inside();
        let (transport, encrypted_key) = loop {
            if recipients.is_empty() {
                return Err(CmsError::Recipient);
            }
            let info = recipients.any()?;
            // Others than key transport are tagged.
            if info.tag == tag::SEQUENCE
                && let Some(found) = recipient_info(&info, recipient)?
            {
                break found;
            }
        };
        encrypted.expect(tag::OID, "encrypted content has no type")?;
        let (name, parameters) = algorithm(&mut encrypted, "encrypted content names no cipher")?;
        let cipher = ContentCipher::named(name).ok_or(CmsError::Algorithm)?;
        if !cipher.is_strong() && admit != Algorithms::AdmitOld {
            return Err(CmsError::Algorithm);
        }
        let iv = parameters.filter(|p| p.tag == tag::OCTET_STRING && p.body.len() == cipher.iv_bytes());
        let iv = iv.ok_or(Malformed("encrypted content has no initialisation vector"))?.body;
        let ciphertext = ciphertext(&encrypted.any()?)?;
        Ok(Self { transport, encrypted_key, cipher, iv, ciphertext })
    }

    /// Decrypts the content. None for *any* failure, after the same work: with a key that can't be
    /// decrypted or has the wrong length, it goes on with a random one (RFC 3218, section 2.3.2).
    pub(crate) fn open(
        self,
        recipient: &RsaSigner,
        rng: &dyn Random,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, X509Error> {
        let mut key = Zeroizing::new([0u8; 32]);
        rng.fill(key.as_mut())?;
        let decrypted = match self.transport {
            KeyTransport::Pkcs1 => recipient.decrypt_pkcs1(self.encrypted_key),
            KeyTransport::Oaep { sha256 } => recipient.decrypt_oaep(self.encrypted_key, sha256),
        };
        let key = key.get_mut(..self.cipher.key_bytes()).unwrap_or_default();
        if let Some(decrypted) = decrypted.filter(|k| k.len() == key.len()) {
            key.copy_from_slice(&decrypted);
        }
        Ok(decrypt(self.cipher, key, self.iv, self.ciphertext))
    }
}

fn recipient_info<'a>(
    info: &Tlv<'a>,
    recipient: &Certificate<'_>,
) -> Result<Option<(KeyTransport, &'a [u8])>, CmsError> {
    let what = "a recipient is malformed";
    let mut inside = info.inside();
    inside.expect(tag::INTEGER, what)?;
    if !names(&inside.any()?, recipient) {
        return Ok(None);
    }
    let (name, parameters) = algorithm(&mut inside, what)?;
    let encrypted_key = inside.expect(tag::OCTET_STRING, what)?.body;
    inside.finish(what)?;
    let transport = match name {
        oid::RSA => KeyTransport::Pkcs1,
        oid::RSA_OAEP => oaep(parameters)?,
        _ => return Err(CmsError::Algorithm),
    };
    Ok(Some((transport, encrypted_key)))
}

/// `RSAES-OAEP-params` (RFC 4055, section 4.1): SHA-1 or SHA-256, for hash and mask alike, no label.
fn oaep(parameters: Option<Tlv<'_>>) -> Result<KeyTransport, CmsError> {
    let what = "OAEP parameters are malformed";
    let Some(parameters) = parameters else { return Ok(KeyTransport::Oaep { sha256: false }) };
    let mut inside = only(parameters.full, tag::SEQUENCE, what)?.inside();
    let mut hash = oid::SHA1;
    let mut mask_hash = oid::SHA1;
    if let Some(explicit) = inside.optional(tag::context_constructed(0))? {
        hash = algorithm(&mut explicit.inside(), what)?.0;
    }
    if let Some(explicit) = inside.optional(tag::context_constructed(1))? {
        let (mask, parameters) = algorithm(&mut explicit.inside(), what)?;
        let inner = parameters.filter(|_| mask == oid::MGF1).ok_or(CmsError::Algorithm)?;
        mask_hash = algorithm(&mut der::Reader::new(inner.full), what)?.0;
    }
    if let Some(explicit) = inside.optional(tag::context_constructed(2))? {
        let (source, label) = algorithm(&mut explicit.inside(), what)?;
        if source != oid::P_SPECIFIED || label.is_some_and(|l| !l.body.is_empty()) {
            return Err(CmsError::Algorithm);
        }
    }
    inside.finish(what)?;
    match (hash, mask_hash) {
        (oid::SHA1, oid::SHA1) => Ok(KeyTransport::Oaep { sha256: false }),
        (oid::SHA256, oid::SHA256) => Ok(KeyTransport::Oaep { sha256: true }),
        _ => Err(CmsError::Algorithm),
    }
}

/// `[0] IMPLICIT OCTET STRING`, which BER may cut into pieces (already DER inside, see `ber`).
fn ciphertext(content: &Tlv<'_>) -> Result<Vec<u8>, Malformed> {
    const WHAT: &str = "encrypted content is malformed";
    if content.tag == tag::context(0) {
        return Ok(content.body.to_vec());
    }
    if content.tag != tag::context_constructed(0) {
        return Err(Malformed(WHAT));
    }
    let mut pieces = content.inside();
    let mut all = Vec::with_capacity(content.body.len());
    while !pieces.is_empty() {
        all.extend_from_slice(pieces.expect(tag::OCTET_STRING, WHAT)?.body);
    }
    Ok(all)
}

fn decrypt(cipher: ContentCipher, key: &[u8], iv: &[u8], ciphertext: Vec<u8>) -> Option<Zeroizing<Vec<u8>>> {
    let context = if cipher.is_strong() {
        DecryptionContext::Iv128(FixedLength::from(<&[u8; 16]>::try_from(iv).ok()?))
    } else {
        DecryptionContext::Iv64(FixedLength::from(<&[u8; 8]>::try_from(iv).ok()?))
    };
    let key = UnboundCipherKey::new(cipher.algorithm(), key).ok()?;
    let mut buffer = Zeroizing::new(ciphertext);
    let len = PaddedBlockDecryptingKey::cbc_pkcs7(key).ok()?.decrypt(&mut buffer, context).ok()?.len();
    buffer.truncate(len);
    Some(buffer)
}

/// Encrypts `content` (of type `data`) to an RSA certificate: RSAES-PKCS1-v1_5, which every SCEP
/// client reads, and `cipher`. DER.
pub(crate) fn seal(
    content: &[u8],
    recipient: &Certificate<'_>,
    cipher: ContentCipher,
    rng: &dyn Random,
) -> Result<Vec<u8>, CmsError> {
    const FAILED: CmsError = CmsError::Recipient;
    if !PublicKey::from_spki(recipient.spki_der()).map_err(|_| FAILED)?.is_rsa() {
        return Err(FAILED);
    }
    let mut key = Zeroizing::new(vec![0u8; cipher.key_bytes()]);
    rng.fill(&mut key)?;
    let mut iv = [0u8; 16];
    let iv = iv.get_mut(..cipher.iv_bytes()).unwrap_or_default();
    rng.fill(iv)?;

    let context = if cipher.is_strong() {
        EncryptionContext::Iv128(FixedLength::from(<&[u8; 16]>::try_from(&*iv).map_err(|_| FAILED)?))
    } else {
        EncryptionContext::Iv64(FixedLength::from(<&[u8; 8]>::try_from(&*iv).map_err(|_| FAILED)?))
    };
    let unbound = UnboundCipherKey::new(cipher.algorithm(), &key).map_err(|_| FAILED)?;
    let mut ciphertext = content.to_vec();
    PaddedBlockEncryptingKey::cbc_pkcs7(unbound)
        .and_then(|k| k.less_safe_encrypt(&mut ciphertext, context))
        .map_err(|_| FAILED)?;

    let public = PublicEncryptingKey::from_der(recipient.spki_der()).map_err(|_| FAILED)?;
    let public = Pkcs1PublicEncryptingKey::new(public).map_err(|_| FAILED)?;
    let mut encrypted_key = vec![0; public.ciphertext_size()];
    public.encrypt(&key, &mut encrypted_key).map_err(|_| FAILED)?;

    let info = seq(&[
        &der::unsigned(&[]),
        &issuer_and_serial(recipient),
        &der::algorithm(oid::RSA, true),
        &der::octets(&encrypted_key),
    ]);
    let encrypted = seq(&[
        &der::oid(oid::DATA),
        &seq(&[&der::oid(cipher.oid()), &der::octets(iv)]),
        &tlv(tag::context(0), &[&ciphertext]),
    ]);
    let data = seq(&[&der::unsigned(&[]), &tlv(tag::SET, &[&info]), &encrypted]);
    Ok(seq(&[&der::oid(oid::ENVELOPED_DATA), &der::context(0, &[&data])]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::{Signer, SystemRandom, Window, ca_certificate, self_signed_request_certificate};
    use std::sync::LazyLock;

    static KEY: LazyLock<(RsaSigner, Vec<u8>)> = LazyLock::new(|| {
        let key = RsaSigner::generate().unwrap();
        let window = Window { not_before_ms: 0, not_after_ms: 1000 };
        // The template does not matter, but for the key identifier that it has.
        let cert = ca_certificate(&key, "recipient", [7; 16], window).unwrap();
        (key, cert)
    });

    fn sealed(cipher: ContentCipher) -> Vec<u8> {
        seal(b"a made-up content", &Certificate::parse(&KEY.1).unwrap(), cipher, &SystemRandom).unwrap()
    }

    #[test]
    fn every_cipher_opens_what_it_sealed() {
        let certificate = Certificate::parse(&KEY.1).unwrap();
        for cipher in
            [ContentCipher::Aes128, ContentCipher::Aes256, ContentCipher::TripleDes, ContentCipher::SingleDes]
        {
            let bytes = sealed(cipher);
            let envelope = Enveloped::parse(&bytes, &certificate, Algorithms::AdmitOld).unwrap();
            assert_eq!(envelope.cipher, cipher);
            let plain = envelope.open(&KEY.0, &SystemRandom).unwrap().unwrap();
            assert_eq!(plain.as_slice(), b"a made-up content");
        }
    }

    #[test]
    fn triple_and_single_des_are_refused_unless_admitted() {
        let certificate = Certificate::parse(&KEY.1).unwrap();
        for cipher in [ContentCipher::TripleDes, ContentCipher::SingleDes] {
            let bytes = sealed(cipher);
            let parsed = Enveloped::parse(&bytes, &certificate, Algorithms::Strong);
            assert_eq!(parsed.unwrap_err(), CmsError::Algorithm);
        }
    }

    #[test]
    fn a_key_that_cannot_be_decrypted_gives_none_and_no_error() {
        let certificate = Certificate::parse(&KEY.1).unwrap();
        let bytes = sealed(ContentCipher::Aes128);
        let mut envelope = Enveloped::parse(&bytes, &certificate, Algorithms::Strong).unwrap();
        let mangled = vec![0x5a; envelope.encrypted_key.len()];
        envelope.encrypted_key = &mangled;
        // The random key unpads by chance once in 256: then the content is garbage, not the secret.
        let opened = envelope.open(&KEY.0, &SystemRandom).unwrap();
        assert!(opened.is_none_or(|plain| plain.as_slice() != b"a made-up content"));
    }

    #[test]
    fn an_envelope_for_someone_else_is_refused() {
        let other = RsaSigner::generate().unwrap();
        let window = Window { not_before_ms: 0, not_after_ms: 1000 };
        let cert = self_signed_request_certificate(&other, "someone else", [8; 16], window).unwrap();
        assert_ne!(other.spki_der(), KEY.0.spki_der());
        let bytes = sealed(ContentCipher::Aes128);
        let parsed = Enveloped::parse(&bytes, &Certificate::parse(&cert).unwrap(), Algorithms::Strong);
        assert_eq!(parsed.unwrap_err(), CmsError::Recipient);
    }

    #[test]
    fn envelopes_of_openssl_are_opened_in_der_and_ber_with_either_padding() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let pem = |der: &[u8]| {
            use base64::Engine as _;
            let text = base64::engine::general_purpose::STANDARD.encode(der);
            format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
        };
        std::fs::write(file("recipient.pem"), pem(&KEY.1)).unwrap();
        let content = b"a made-up content".repeat(1000);
        std::fs::write(file("content"), &content).unwrap();
        let oaep = "-keyopt rsa_padding_mode:oaep";
        let oaep_sha256 = format!("{oaep} -keyopt rsa_oaep_md:sha256");
        let mixed = format!("{oaep_sha256} -keyopt rsa_mgf1_md:sha1");
        for (options, accepted) in [
            ("-aes256", true),
            ("-aes128 -stream", true),
            ("-des3 -keyid", true),
            (&format!("-aes128 -recip recipient.pem {oaep}"), true),
            (&format!("-aes256 -stream -recip recipient.pem {oaep_sha256}"), true),
            (&format!("-aes256 -recip recipient.pem {mixed}"), false),
            ("-camellia128", false),
        ] {
            let mut openssl = std::process::Command::new("openssl");
            openssl
                .current_dir(folder.path())
                .args("cms -encrypt -binary -in content -outform DER -out out".split(' '));
            openssl.args(options.split(' '));
            if !options.contains("-recip") {
                openssl.arg("recipient.pem");
            }
            let Ok(output) = openssl.output() else {
                skipped::not_installed("openssl");
                return;
            };
            assert!(output.status.success(), "{options}: {}", String::from_utf8_lossy(&output.stderr));
            let der = super::super::normalise(&std::fs::read(file("out")).unwrap()).unwrap();
            let parsed = Enveloped::parse(&der, &Certificate::parse(&KEY.1).unwrap(), Algorithms::AdmitOld);
            if accepted {
                let plain = parsed.unwrap().open(&KEY.0, &SystemRandom).unwrap().unwrap();
                assert_eq!(*plain, content, "{options}");
            } else {
                assert_eq!(parsed.unwrap_err(), CmsError::Algorithm, "{options}");
            }
        }
    }
}
