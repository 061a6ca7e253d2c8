//! Reading a certificate: the parts that Matron looks at, each still as received.

use super::der::{Malformed, Reader, Tlv, only, tag};
use super::verify::signature_scheme;
use super::{Algorithms, PublicKey, ServerName, X509Error, oid, read_time};
use model::clock::TimeMs;

/// A parsed X.509 certificate that borrows its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Certificate<'a> {
    der: &'a [u8],
    tbs: &'a [u8],
    serial: Tlv<'a>,
    issuer: &'a [u8],
    not_before_ms: TimeMs,
    not_after_ms: TimeMs,
    subject: Tlv<'a>,
    spki: &'a [u8],
    extensions: Option<Tlv<'a>>,
    signature_algorithm: Tlv<'a>,
    signature: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Reads one certificate, with nothing after it. Its signature is not checked here.
    ///
    /// # Errors
    /// [`X509Error::Malformed`] names the element that could not be read.
    pub fn parse(der: &'a [u8]) -> Result<Self, X509Error> {
        let mut outer = only(der, tag::SEQUENCE, "a certificate is not one sequence")?.inside();
        let tbs = outer.expect(tag::SEQUENCE, "a certificate has no body")?;
        let signature_algorithm = outer.expect(tag::SEQUENCE, "a certificate has no signature algorithm")?;
        let signature = outer.expect(tag::BIT_STRING, "a certificate has no signature")?.whole_bits()?;
        outer.finish("a certificate has trailing elements")?;

        let mut body = tbs.inside();
        body.optional(tag::context_constructed(0))?;
        let serial = body.expect(tag::INTEGER, "a certificate has no serial number")?;
        let inner_algorithm = body.expect(tag::SEQUENCE, "a certificate has no inner algorithm")?;
        if inner_algorithm.full != signature_algorithm.full {
            return Err(Malformed("a certificate names two signature algorithms").into());
        }
        let issuer = body.expect(tag::SEQUENCE, "a certificate has no issuer")?.full;
        let mut validity = body.expect(tag::SEQUENCE, "a certificate has no validity")?.inside();
        let not_before_ms = read_time(&validity.any()?)?;
        let not_after_ms = read_time(&validity.any()?)?;
        let subject = body.expect(tag::SEQUENCE, "a certificate has no subject")?;
        let spki = body.expect(tag::SEQUENCE, "a certificate has no public key")?.full;
        body.optional(tag::context(1))?;
        body.optional(tag::context(2))?;
        let extensions = match body.optional(tag::context_constructed(3))? {
            Some(outer) => Some(only(outer.body, tag::SEQUENCE, "a certificate's extensions are malformed")?),
            None => None,
        };
        body.finish("a certificate's body has trailing elements")?;
        Ok(Self {
            der,
            tbs: tbs.full,
            serial,
            issuer,
            not_before_ms,
            not_after_ms,
            subject,
            spki,
            extensions,
            signature_algorithm,
            signature,
        })
    }

    /// The whole certificate, DER.
    #[must_use]
    pub fn as_der(&self) -> &'a [u8] {
        self.der
    }

    /// The issuer's name, DER.
    #[must_use]
    pub fn issuer_der(&self) -> &'a [u8] {
        self.issuer
    }

    /// The subject's name, DER.
    #[must_use]
    pub fn subject_der(&self) -> &'a [u8] {
        self.subject.full
    }

    /// The serial number's content octets, big-endian two's complement.
    #[must_use]
    pub fn serial(&self) -> &'a [u8] {
        self.serial.body
    }

    /// The serial number, DER INTEGER.
    pub(crate) fn serial_der(&self) -> &'a [u8] {
        self.serial.full
    }

    /// The public key, DER `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki_der(&self) -> &'a [u8] {
        self.spki
    }

    /// Valid from, inclusive.
    #[must_use]
    pub fn not_before_ms(&self) -> TimeMs {
        self.not_before_ms
    }

    /// Valid until, inclusive (whole seconds).
    #[must_use]
    pub fn not_after_ms(&self) -> TimeMs {
        self.not_after_ms
    }

    /// The first common name of the subject, if it is readable text.
    #[must_use]
    pub fn common_name(&self) -> Option<&'a str> {
        self.named(oid::COMMON_NAME)
    }

    /// The first organization of the subject, if it is readable text.
    #[must_use]
    pub fn organization(&self) -> Option<&'a str> {
        self.named(oid::ORGANIZATION)
    }

    fn named(&self, id: &[u8]) -> Option<&'a str> {
        let mut sets = self.subject.inside();
        while let Ok(set) = sets.expect(tag::SET, "a name is malformed") {
            let mut attribute = set.inside().any().ok()?.inside();
            if attribute.any().ok()?.body == id {
                return std::str::from_utf8(attribute.any().ok()?.body).ok();
            }
        }
        None
    }

    /// The content of an extension's `extnValue`, and whether it is critical.
    fn extension(&self, id: &[u8]) -> Result<Option<(&'a [u8], bool)>, Malformed> {
        let what = "a certificate's extension is malformed";
        let mut all = self.extensions.map_or(Reader::new(&[]), |e| e.inside());
        while !all.is_empty() {
            let mut one = all.expect(tag::SEQUENCE, what)?.inside();
            let name = one.expect(tag::OID, what)?;
            let critical = one.optional(tag::BOOLEAN)?.is_some_and(|b| b.body != [0]);
            let value = one.expect(tag::OCTET_STRING, what)?;
            if name.body == id {
                return Ok(Some((value.body, critical)));
            }
        }
        Ok(None)
    }

    /// The subject key identifier, if it has one.
    #[must_use]
    pub fn subject_key_id(&self) -> Option<&'a [u8]> {
        let (value, _) = self.extension(oid::SUBJECT_KEY_ID).ok()??;
        only(value, tag::OCTET_STRING, "a key identifier is malformed").ok().map(|id| id.body)
    }

    /// Do its basic constraints say that it is a CA?
    #[must_use]
    pub fn is_ca(&self) -> bool {
        let read = || -> Option<bool> {
            let (value, _) = self.extension(oid::BASIC_CONSTRAINTS).ok()??;
            let mut inside = only(value, tag::SEQUENCE, "basic constraints are malformed").ok()?.inside();
            Some(inside.optional(tag::BOOLEAN).ok()??.body == [0xff])
        };
        read().unwrap_or(false)
    }

    /// The names of a TLS server's certificate: those of its subject alternative name. None when its purpose
    /// is another, or it has no name that is a host name or an address.
    #[must_use]
    pub fn server_names(&self) -> Option<Vec<ServerName>> {
        let what = "a certificate's purposes are malformed";
        let (purposes, _) = self.extension(oid::EXT_KEY_USAGE).ok()??;
        let mut purposes = only(purposes, tag::SEQUENCE, what).ok()?.inside();
        let mut serves = false;
        while !purposes.is_empty() {
            serves |= purposes.expect(tag::OID, what).ok()?.body == oid::SERVER_AUTH;
        }
        let (names, _) = self.extension(oid::SUBJECT_ALT_NAME).ok()??;
        let mut names = only(names, tag::SEQUENCE, what).ok()?.inside();
        let mut found = Vec::new();
        while !names.is_empty() {
            let name = names.any().ok()?;
            found.push(match name.tag {
                t if t == tag::context(2) => ServerName::Dns(std::str::from_utf8(name.body).ok()?.to_owned()),
                t if t == tag::context(7) => ServerName::Ip(address(name.body)?),
                _ => return None,
            });
        }
        (serves && !found.is_empty()).then_some(found)
    }

    /// Whether `issuer` issued this one: its name, and a signature that its key verifies.
    #[must_use]
    pub fn is_issued_by(&self, issuer: &Certificate<'_>) -> bool {
        self.issuer_der() == issuer.subject_der() && self.is_signed_by(issuer.spki_der())
    }

    /// Does the key in `issuer_spki_der` verify this certificate's signature? Strong algorithms only.
    /// Says nothing of names, times or revocation.
    #[must_use]
    pub fn is_signed_by(&self, issuer_spki_der: &[u8]) -> bool {
        let Ok(key) = PublicKey::from_spki(issuer_spki_der) else { return false };
        match signature_scheme(&self.signature_algorithm) {
            Ok(Some((hash, rsa))) if rsa == key.is_rsa() && hash.admitted(Algorithms::Strong) => {
                key.verifies(issuer_spki_der, hash, self.tbs, self.signature)
            }
            _ => false,
        }
    }
}

/// 4 or 16 octets.
fn address(octets: &[u8]) -> Option<std::net::IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(Into::into);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(Into::into)).ok()
}
