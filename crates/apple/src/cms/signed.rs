//! SignedData (RFC 5652, section 5): read, verified, built.

use super::CmsError;
use crate::x509::der::{self, Tlv, only, seq, set_of, tag, tlv};
use crate::x509::verify::{Hash, algorithm};
use crate::x509::{
    Algorithms, Certificate, Malformed, PublicKey, SignatureAlgorithm, Signer, X509Error, oid,
};

/// How many certificates a message may carry.
const MAX_CERTIFICATES: usize = 32;

/// A SignedData, read and not yet believed.
#[derive(Debug)]
pub(crate) struct SignedData<'a> {
    /// The OID of what is signed.
    pub(crate) content_type: &'a [u8],
    /// What is signed, if it is inside.
    pub(crate) content: Option<&'a [u8]>,
    /// The certificates it carries, DER.
    pub(crate) certificates: Vec<&'a [u8]>,
    signers: Vec<SignerInfo<'a>>,
}

/// One signature.
#[derive(Debug)]
pub(crate) struct SignerInfo<'a> {
    id: Tlv<'a>,
    digest_algorithm: &'a [u8],
    attributes: Option<Tlv<'a>>,
    signature_algorithm: &'a [u8],
    signature: &'a [u8],
}

/// The content of a `ContentInfo` of this type.
pub(crate) fn content_info<'a>(der: &'a [u8], kind: &[u8], what: &'static str) -> Result<Tlv<'a>, Malformed> {
    let mut info = only(der, tag::SEQUENCE, what)?.inside();
    if info.expect(tag::OID, what)?.body != kind {
        return Err(Malformed(what));
    }
    let explicit = info.expect(tag::context_constructed(0), what)?;
    info.finish(what)?;
    only(explicit.body, tag::SEQUENCE, what)
}

impl<'a> SignedData<'a> {
    /// Reads a DER `ContentInfo`.
    pub(crate) fn parse(der: &'a [u8]) -> Result<Self, Malformed> {
        let what = "it is no signed data";
        let mut data = content_info(der, oid::SIGNED_DATA, what)?.inside();
        data.expect(tag::INTEGER, what)?;
        data.expect(tag::SET, "signed data names no digest algorithms")?;
        let mut encapsulated = data.expect(tag::SEQUENCE, "signed data has no content info")?.inside();
        let content_type = encapsulated.expect(tag::OID, "signed data has no content type")?.body;
        let content = match encapsulated.optional(tag::context_constructed(0))? {
            Some(explicit) => {
                Some(only(explicit.body, tag::OCTET_STRING, "signed content is no octets")?.body)
            }
            None => None,
        };
        encapsulated.finish("signed data's content is malformed")?;
        let mut certificates = Vec::new();
        if let Some(set) = data.optional(tag::context_constructed(0))? {
            let mut all = set.inside();
            while !all.is_empty() {
                let choice = all.any()?;
                // Attribute certificates and other choices are of no use here.
                if choice.tag == tag::SEQUENCE {
                    certificates.push(choice.full);
                }
                if certificates.len() > MAX_CERTIFICATES {
                    return Err(Malformed("signed data has too many certificates"));
                }
            }
        }
        data.optional(tag::context_constructed(1))?;
        let mut infos = data.expect(tag::SET, "signed data has no signers")?.inside();
        data.finish("signed data has trailing elements")?;
        let mut signers = Vec::new();
        while !infos.is_empty() {
            signers.push(SignerInfo::parse(infos.expect(tag::SEQUENCE, "a signer is malformed")?)?);
            if signers.len() > 8 {
                return Err(Malformed("signed data has too many signers"));
            }
        }
        Ok(Self { content_type, content, certificates, signers })
    }

    /// Verifies that the one signer signed `content`, and gives the signature with its certificate.
    pub(crate) fn verify(
        &self,
        content: &[u8],
        admit: Algorithms,
    ) -> Result<(&SignerInfo<'a>, Certificate<'a>), CmsError> {
        let [signer] = self.signers.as_slice() else {
            return Err(CmsError::Signer("there is not exactly one"));
        };
        let certificate = self
            .certificates
            .iter()
            .filter_map(|der| Certificate::parse(der).ok())
            .find(|cert| signer.is_named(cert))
            .ok_or(CmsError::Signer("its certificate is not in the message"))?;
        signer.verify(self.content_type, content, &certificate, admit)?;
        Ok((signer, certificate))
    }
}

impl<'a> SignerInfo<'a> {
    fn parse(info: Tlv<'a>) -> Result<Self, Malformed> {
        let mut inside = info.inside();
        inside.expect(tag::INTEGER, "a signer has no version")?;
        let id = inside.any()?;
        let (digest_algorithm, _) = algorithm(&mut inside, "a signer names no digest algorithm")?;
        let attributes = inside.optional(tag::context_constructed(0))?;
        let (signature_algorithm, _) = algorithm(&mut inside, "a signer names no signature algorithm")?;
        let signature = inside.expect(tag::OCTET_STRING, "a signer has no signature")?.body;
        inside.optional(tag::context_constructed(1))?;
        inside.finish("a signer has trailing elements")?;
        Ok(Self { id, digest_algorithm, attributes, signature_algorithm, signature })
    }

    /// Does the signer's identifier mean this certificate?
    fn is_named(&self, certificate: &Certificate<'_>) -> bool {
        names(&self.id, certificate)
    }

    /// The one value of a signed attribute; refused if it is there twice or has several values.
    pub(crate) fn attribute(&self, id: &[u8]) -> Result<Option<Tlv<'a>>, Malformed> {
        let what = "signed attributes are malformed";
        let Some(attributes) = self.attributes else { return Ok(None) };
        let mut all = attributes.inside();
        let mut found = None;
        while !all.is_empty() {
            let mut attribute = all.expect(tag::SEQUENCE, what)?.inside();
            let name = attribute.expect(tag::OID, what)?;
            let values = attribute.expect(tag::SET, what)?;
            if name.body == id {
                let mut values = values.inside();
                let value = values.any()?;
                if !values.is_empty() || found.is_some() {
                    return Err(Malformed("a signed attribute has several values"));
                }
                found = Some(value);
            }
        }
        Ok(found)
    }

    fn verify(
        &self,
        content_type: &[u8],
        content: &[u8],
        certificate: &Certificate<'_>,
        admit: Algorithms,
    ) -> Result<(), CmsError> {
        let hash = Hash::from_oid(self.digest_algorithm).filter(|h| h.admitted(admit));
        let hash = hash.ok_or(CmsError::Algorithm)?;
        let spki = certificate.spki_der();
        let key = PublicKey::from_spki(spki).map_err(|e| match e {
            X509Error::PublicKey(why) => CmsError::Signer(why),
            other => CmsError::Own(other),
        })?;
        if !self.signature_fits(key, hash) {
            return Err(CmsError::Algorithm);
        }
        let Some(attributes) = self.attributes else {
            // RFC 5652, 5.3: attributes may be missing for plain data alone.
            let signed = content_type == oid::DATA && key.verifies(spki, hash, content, self.signature);
            return if signed { Ok(()) } else { Err(CmsError::Signature) };
        };
        let signed_type = self.attribute(oid::CONTENT_TYPE)?.ok_or(Malformed("no content type is signed"))?;
        let signed_digest = self.attribute(oid::MESSAGE_DIGEST)?.ok_or(Malformed("no digest is signed"))?;
        if signed_type.body != content_type || signed_digest.body != hash.digest(content).as_ref() {
            return Err(CmsError::Signature);
        }
        // RFC 5652, 5.4: signed as a SET OF, carried as [0].
        let message = tlv(tag::SET, &[attributes.body]);
        if key.verifies(spki, hash, &message, self.signature) { Ok(()) } else { Err(CmsError::Signature) }
    }

    fn signature_fits(&self, key: PublicKey, hash: Hash) -> bool {
        if key.is_rsa() {
            match self.signature_algorithm {
                oid::RSA => true,
                oid::SHA1_WITH_RSA => hash == Hash::Sha1,
                oid::SHA256_WITH_RSA => hash == Hash::Sha256,
                oid::SHA384_WITH_RSA => hash == Hash::Sha384,
                oid::SHA512_WITH_RSA => hash == Hash::Sha512,
                _ => false,
            }
        } else {
            match self.signature_algorithm {
                oid::ECDSA_SHA256 => hash == Hash::Sha256,
                oid::ECDSA_SHA384 => hash == Hash::Sha384,
                oid::ECDSA_SHA512 => hash == Hash::Sha512,
                _ => false,
            }
        }
    }
}

/// Does a signer's or recipient's identifier mean this certificate?
pub(crate) fn names(id: &Tlv<'_>, certificate: &Certificate<'_>) -> bool {
    if id.tag == tag::context(0) {
        return certificate.subject_key_id() == Some(id.body);
    }
    let mut inside = id.inside();
    let issuer = inside.any();
    let serial = inside.any();
    id.tag == tag::SEQUENCE
        && issuer.is_ok_and(|i| i.full == certificate.issuer_der())
        && serial.is_ok_and(|s| s.full == certificate.serial_der())
}

/// `issuerAndSerialNumber` of a certificate.
pub(crate) fn issuer_and_serial(certificate: &Certificate<'_>) -> Vec<u8> {
    seq(&[certificate.issuer_der(), certificate.serial_der()])
}

/// An `Attribute` with one value.
pub(crate) fn attribute(id: &[u8], value: &[u8]) -> Vec<u8> {
    seq(&[&der::oid(id), &tlv(tag::SET, &[value])])
}

/// Whether the content travels inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content<'a> {
    /// It does.
    Attached(&'a [u8]),
    /// It travels by itself.
    Detached(&'a [u8]),
    /// There is none; an empty one is signed (a SCEP refusal).
    Absent,
}

/// Signs, with SHA-256, content of type `data`. `certificates` begins with the signer's.
pub(crate) fn sign(
    content: Content<'_>,
    signer: &dyn Signer,
    certificates: &[&[u8]],
    mut attributes: Vec<Vec<u8>>,
) -> Result<Vec<u8>, CmsError> {
    let own = certificates.first().ok_or(CmsError::Signer("its certificate is missing"))?;
    let own = Certificate::parse(own)?;
    if own.spki_der() != signer.spki_der() {
        return Err(CmsError::Signer("the first certificate is another key's"));
    }
    let (bytes, encapsulated) = match content {
        Content::Attached(bytes) => (bytes, der::context(0, &[&der::octets(bytes)])),
        Content::Detached(bytes) => (bytes, Vec::new()),
        Content::Absent => (&[][..], Vec::new()),
    };
    let digest = Hash::Sha256.digest(bytes);
    attributes.push(attribute(oid::CONTENT_TYPE, &der::oid(oid::DATA)));
    attributes.push(attribute(oid::MESSAGE_DIGEST, &der::octets(digest.as_ref())));
    let attributes = set_of(&attributes);
    let signature = signer.sign(&attributes)?;
    let attributes = only(&attributes, tag::SET, "attributes")?.body;
    let digest_algorithm = der::algorithm(oid::SHA256, true);
    let signature_algorithm = match signer.algorithm() {
        SignatureAlgorithm::EcdsaP256Sha256 => der::algorithm(oid::ECDSA_SHA256, false),
        SignatureAlgorithm::RsaPkcs1Sha256 => der::algorithm(oid::RSA, true),
    };
    let info = seq(&[
        &der::unsigned(&[1]),
        &issuer_and_serial(&own),
        &digest_algorithm,
        &der::context(0, &[attributes]),
        &signature_algorithm,
        &der::octets(&signature),
    ]);
    Ok(signed_data(&[&digest_algorithm], &encapsulated, certificates, &[&info]))
}

/// A message of certificates alone, in the order given (the first one is who it is about).
pub(crate) fn certificates_only(certificates: &[&[u8]]) -> Vec<u8> {
    signed_data(&[], &[], certificates, &[])
}

fn signed_data(digests: &[&[u8]], encapsulated: &[u8], certificates: &[&[u8]], signers: &[&[u8]]) -> Vec<u8> {
    let data = seq(&[
        &der::unsigned(&[1]),
        &tlv(tag::SET, digests),
        &seq(&[&der::oid(oid::DATA), encapsulated]),
        &der::context(0, certificates),
        &tlv(tag::SET, signers),
    ]);
    seq(&[&der::oid(oid::SIGNED_DATA), &der::context(0, &[&data])])
}
