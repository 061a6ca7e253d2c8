//! What several targets share: DER written by hand, so that a target can put arbitrary bytes where only
//! a signature's owner could, and so reach the code behind a signature check.

use apple::x509::{P256Signer, RsaSigner, Signer, Window};

/// One DER element.
pub fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let len: usize = parts.iter().map(|p| p.len()).sum();
    let mut out = vec![tag];
    if len < 0x80 {
        out.push(len as u8);
    } else {
        let octets = len.to_be_bytes();
        let octets = &octets[octets.iter().take_while(|b| **b == 0).count()..];
        out.push(0x80 | octets.len() as u8);
        out.extend_from_slice(octets);
    }
    parts.iter().for_each(|p| out.extend_from_slice(p));
    out
}

fn oid(body: &[u8]) -> Vec<u8> {
    tlv(0x06, &[body])
}

fn attribute(id: &[u8], value: &[u8]) -> Vec<u8> {
    tlv(0x30, &[&oid(id), &tlv(0x31, &[value])])
}

/// A certification request of `key` whose attributes are `attributes`, whatever they are, rightly signed.
pub fn csr_with_attributes(key: &P256Signer, attributes: &[u8]) -> Option<Vec<u8>> {
    const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
    let subject = tlv(0x30, &[]);
    let info = tlv(0x30, &[&tlv(0x02, &[&[0]]), &subject, key.spki_der(), &tlv(0xa0, &[attributes])]);
    let signature = tlv(0x03, &[&[0], &key.sign(&info).ok()?]);
    Some(tlv(0x30, &[&info, &tlv(0x30, &[&oid(ECDSA_SHA256)]), &signature]))
}

/// Both ends of SCEP, with keys made anew in each process and certificates whose names stay the same.
pub struct Scep {
    pub ra: apple::scep::RaKey,
    pub phone: RsaSigner,
    pub phone_cert: Vec<u8>,
}

impl Scep {
    pub fn generate() -> Option<Self> {
        let window = Window { not_before_ms: 0, not_after_ms: 4_000_000_000_000 };
        let inside = Window { not_before_ms: 0, not_after_ms: 3_000_000_000_000 };
        let ca = P256Signer::generate().ok()?;
        let root = apple::x509::ca_certificate(&ca, "fuzz", [1; 16], window).ok()?;
        let key = RsaSigner::generate().ok()?;
        let cert = apple::x509::ra_certificate(&root, &ca, key.spki_der(), [2; 16], inside).ok()?;
        let phone = RsaSigner::generate().ok()?;
        let phone_cert =
            apple::x509::self_signed_request_certificate(&phone, "fuzz phone", [3; 16], inside).ok()?;
        Some(Self { ra: apple::scep::RaKey::new(key, cert).ok()?, phone, phone_cert })
    }

    /// A request that carries `csr` encrypted, as a phone makes it.
    pub fn request(&self, csr: &[u8]) -> Option<Vec<u8>> {
        let request = apple::scep::client::Request {
            signer: &self.phone,
            signer_cert: &self.phone_cert,
            csr_der: csr,
            ra_cert: self.ra.cert_der(),
            transaction_id: "1",
            sender_nonce: [4; 16],
            cipher: apple::scep::ContentCipher::Aes128,
        };
        apple::scep::client::pkcs_req(&request, &apple::x509::SystemRandom).ok()
    }

    /// A request that carries `envelope`, whatever it is, rightly signed by the phone.
    pub fn signed(&self, envelope: &[u8]) -> Option<Vec<u8>> {
        const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
        const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
        const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03];
        const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];
        const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
        const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
        let scep = |id| [&[0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x45, 0x01, 0x09][..], &[id]].concat();
        let algorithm = |id| tlv(0x30, &[&oid(id), &[5, 0]]);
        let attributes = [
            attribute(CONTENT_TYPE, &oid(DATA)),
            attribute(MESSAGE_DIGEST, &tlv(0x04, &[&order::sha256(envelope).0])),
            attribute(&scep(2), &tlv(0x13, &[b"19"])),
            attribute(&scep(5), &tlv(0x04, &[&[4; 16]])),
            attribute(&scep(7), &tlv(0x13, &[b"1"])),
        ]
        .concat();
        let signature = self.phone.sign(&tlv(0x31, &[&attributes])).ok()?;
        let certificate = apple::x509::Certificate::parse(&self.phone_cert).ok()?;
        let serial = tlv(0x02, &[certificate.serial()]);
        let signer = tlv(
            0x30,
            &[
                &tlv(0x02, &[&[1]]),
                &tlv(0x30, &[certificate.issuer_der(), &serial]),
                &algorithm(SHA256),
                &tlv(0xa0, &[&attributes]),
                &algorithm(RSA),
                &tlv(0x04, &[&signature]),
            ],
        );
        let data = tlv(
            0x30,
            &[
                &tlv(0x02, &[&[1]]),
                &tlv(0x31, &[&algorithm(SHA256)]),
                &tlv(0x30, &[&oid(DATA), &tlv(0xa0, &[&tlv(0x04, &[envelope])])]),
                &tlv(0xa0, &[&self.phone_cert]),
                &tlv(0x31, &[&signer]),
            ],
        );
        Some(tlv(0x30, &[&oid(SIGNED_DATA), &tlv(0xa0, &[&data])]))
    }
}
