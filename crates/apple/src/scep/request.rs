//! Opening a `PKIOperation` request.

use super::{ContentCipher, Context, MAX_REQUEST_BYTES, MessageType, RaKey, Random, Reason, ScepError};
use crate::cms::signed::{SignedData, SignerInfo};
use crate::cms::{CmsError, enveloped::Enveloped, normalise};
use crate::csr::{self, Csr};
use crate::x509::der::{only, tag};
use crate::x509::{Algorithms, Certificate, Malformed, PublicKey, oid};
use std::fmt;
use zeroize::Zeroizing;

/// An opened request.
pub struct Opened {
    /// The certification request's bytes as received. They hold the challenge: seal them.
    pub csr_der: Zeroizing<Vec<u8>>,
    /// The same, read and verified.
    pub csr: Csr,
    /// First certificate or renewal.
    pub message_type: MessageType,
    /// Is the message signed by the key that is to be certified? RFC 8894 (section 2.3) says that it
    /// should, phones do so, some simulators don't.
    pub signed_by_same_key: bool,
    /// Transaction, nonce, requester's certificate, cipher: what the answer needs.
    pub context: Context,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("message_type", &self.message_type)
            .field("csr", &"sealed")
            .finish_non_exhaustive()
    }
}

/// Opens a request: BER to DER, signature by the certificate it carries, decryption with the RA's
/// key, the certification request inside and its signature.
///
/// The outer certificate is believed for what it proves by signing this message: possession of its
/// key. Its own (self-)signature proves no more and is not looked at. Nothing binds the envelope to
/// it: who captures one can send it on under another key, and gains a certificate whose key they
/// lack.
///
/// A key that can't be decrypted, or to the wrong length, gives the same answer as content that
/// can't: decryption goes on with a random key (RFC 3218, section 2.3.2). Everything that goes wrong
/// after that, up to the certification request's own signature, gives the sender the same answer too
/// ([`ScepError::fail_info`]), since CBC content could be altered by whoever captured it. What is
/// left is time: the library's RSA decryption returns a few microseconds earlier when padding is
/// bad, below the noise of the rooms between it and the network.
///
/// # Errors
/// [`ScepError`] says why and, if its sender could be believed, how to answer.
pub fn open(body: &[u8], ra: &RaKey, admit: Algorithms, rng: &dyn Random) -> Result<Opened, ScepError> {
    let unanswerable = |reason| ScepError { reason, answer: None };
    if body.len() > MAX_REQUEST_BYTES {
        return Err(unanswerable(Reason::TooLarge));
    }
    let der = normalise(body).map_err(|e| unanswerable(e.into()))?;
    let (envelope, message_type, mut context) = believe(&der, admit).map_err(unanswerable)?;
    match unseal(envelope, message_type, &mut context, ra, admit, rng) {
        Ok((csr_der, csr, message_type)) => {
            let requester = Certificate::parse(&context.requester_cert);
            let signed_by_same_key = requester.is_ok_and(|r| r.spki_der() == csr.spki_der);
            Ok(Opened { csr_der, csr, message_type, signed_by_same_key, context })
        }
        Err(reason) => Err(ScepError { reason, answer: Some(Box::new(context)) }),
    }
}

/// Verifies the outer signature and reads the header: from here on there is someone to answer.
fn believe(der: &[u8], admit: Algorithms) -> Result<(&[u8], u32, Context), Reason> {
    let message = SignedData::parse(der)?;
    if message.content_type != oid::DATA {
        return Err(Reason::Malformed("its content is not data"));
    }
    let envelope = message.content.ok_or(Reason::Malformed("it has no content"))?;
    let (signer, certificate) = message.verify(envelope, admit).map_err(|e| match e {
        CmsError::Algorithm => Reason::Algorithm("its signature"),
        other => other.into(),
    })?;
    if !PublicKey::from_spki(certificate.spki_der()).is_ok_and(PublicKey::is_rsa) {
        return Err(Reason::Signer("an answer can be encrypted to RSA keys only"));
    }
    let transaction_id = printable(signer, 7)?.ok_or(Reason::Malformed("it has no transaction id"))?;
    let message_type = printable(signer, 2)?.and_then(|t| t.parse().ok());
    let message_type = message_type.ok_or(Reason::Malformed("it has no message type"))?;
    let nonce = signer.attribute(&oid::scep(5))?.filter(|n| n.tag == tag::OCTET_STRING);
    let nonce = nonce.map(|n| n.body).filter(|n| (1..=64).contains(&n.len()));
    let context = Context {
        transaction_id,
        sender_nonce: nonce.ok_or(Reason::Malformed("it has no sender nonce"))?.to_vec(),
        requester_cert: certificate.as_der().to_vec(),
        cipher: ContentCipher::Aes128,
    };
    Ok((envelope, message_type, context))
}

/// A signed attribute of 1 to 128 printable characters.
fn printable(signer: &SignerInfo<'_>, id: u8) -> Result<Option<String>, Malformed> {
    const BAD: Malformed = Malformed("a SCEP attribute is no short text");
    let Some(value) = signer.attribute(&oid::scep(id))? else { return Ok(None) };
    let text = std::str::from_utf8(value.body).map_err(|_| BAD)?;
    let string = matches!(value.tag, tag::PRINTABLE | tag::UTF8 | tag::IA5);
    let sound = (1..=128).contains(&text.len()) && text.bytes().all(|c| (0x20..0x7f).contains(&c));
    if string && sound { Ok(Some(text.to_owned())) } else { Err(BAD) }
}

fn unseal(
    envelope: &[u8],
    message_type: u32,
    context: &mut Context,
    ra: &RaKey,
    admit: Algorithms,
    rng: &dyn Random,
) -> Result<(Zeroizing<Vec<u8>>, Csr, MessageType), Reason> {
    let message_type = match message_type {
        17 => MessageType::RenewalReq,
        19 => MessageType::PkcsReq,
        other => return Err(Reason::MessageType(other)),
    };
    // The envelope is an octet string's content, so it was not normalised with the rest.
    let envelope = normalise(envelope)?;
    let envelope = Enveloped::parse(&envelope, &Certificate::parse(&ra.cert_der)?, admit)?;
    context.cipher = envelope.cipher;
    let plain = envelope.open(&ra.signer, rng)?.ok_or(Reason::Decryption)?;
    only(&plain, tag::SEQUENCE, "no sequence").map_err(|_| Reason::Decryption)?;
    let csr = csr::parse_with(&plain, admit)?;
    Ok((plain, csr, message_type))
}

#[cfg(test)]
mod tests {
    use super::super::{ContentCipher, FailInfo};
    use super::*;
    use crate::cms::enveloped::seal;
    use crate::cms::signed::{Content, attribute, sign};
    use crate::x509::der::{octets, tlv};
    use crate::x509::{
        P256Signer, RsaSigner, Signer, SystemRandom, Window, ca_certificate, ra_certificate,
        self_signed_request_certificate,
    };
    use std::sync::LazyLock;

    const WINDOW: Window = Window { not_before_ms: 0, not_after_ms: 1_000_000 };

    struct World {
        ra: RaKey,
        key: RsaSigner,
        cert: Vec<u8>,
        csr: Vec<u8>,
    }

    static WORLD: LazyLock<World> = LazyLock::new(|| {
        let ca = P256Signer::generate().unwrap();
        let ca_cert = ca_certificate(&ca, "CA", [1; 16], WINDOW).unwrap();
        let ra = RsaSigner::generate().unwrap();
        let ra_cert = ra_certificate(&ca_cert, &ca, ra.spki_der(), [2; 16], WINDOW).unwrap();
        let key = RsaSigner::generate().unwrap();
        let cert = self_signed_request_certificate(&key, "phone", [3; 16], WINDOW).unwrap();
        let csr = csr::build(&key, "phone", Some("made up")).unwrap();
        World { ra: RaKey::new(ra, ra_cert).unwrap(), key, cert, csr }
    });

    fn text(id: u8, text: &str) -> Vec<u8> {
        attribute(&oid::scep(id), &tlv(tag::PRINTABLE, &[text.as_bytes()]))
    }

    fn header(message_type: &str) -> Vec<Vec<u8>> {
        vec![text(2, message_type), text(7, "transaction"), attribute(&oid::scep(5), &octets(&[5; 16]))]
    }

    fn envelope() -> Vec<u8> {
        let ra = Certificate::parse(WORLD.ra.cert_der()).unwrap();
        seal(&WORLD.csr, &ra, ContentCipher::Aes128, &SystemRandom).unwrap()
    }

    fn signed(envelope: &[u8], attributes: Vec<Vec<u8>>) -> Vec<u8> {
        sign(Content::Attached(envelope), &WORLD.key, &[&WORLD.cert], attributes).unwrap()
    }

    fn opened(body: &[u8]) -> Result<Opened, ScepError> {
        open(body, &WORLD.ra, Algorithms::Strong, &SystemRandom)
    }

    #[test]
    fn message_types_that_are_not_supported_are_bad_requests() {
        assert_eq!(opened(&signed(&envelope(), header("19"))).unwrap().message_type, MessageType::PkcsReq);
        assert_eq!(opened(&signed(&envelope(), header("17"))).unwrap().message_type, MessageType::RenewalReq);
        for other in ["20", "21", "22", "3", "4294967295"] {
            let error = opened(&signed(&envelope(), header(other))).unwrap_err();
            assert_eq!(error.fail_info(), FailInfo::BadRequest);
            assert_eq!(error.answer.unwrap().transaction_id, "transaction");
        }
    }

    #[test]
    fn a_header_that_is_incomplete_or_unsound_can_not_be_answered() {
        let mut without_nonce = header("19");
        without_nonce.pop();
        let mut twice = header("19");
        twice.push(text(7, "another"));
        let unprintable = vec![text(2, "19"), text(7, "a\nb"), attribute(&oid::scep(5), &octets(&[5; 16]))];
        let long =
            vec![text(2, "19"), text(7, &"a".repeat(129)), attribute(&oid::scep(5), &octets(&[5; 16]))];
        for bad in [without_nonce, twice, unprintable, long, header("nineteen"), header("-1"), vec![]] {
            let error = opened(&signed(&envelope(), bad)).unwrap_err();
            assert!(matches!(error.reason, Reason::Malformed(_)), "{error}");
            assert!(error.answer.is_none());
        }
    }

    #[test]
    fn a_wrong_key_and_wrong_content_are_told_alike() {
        let envelope = envelope();
        let position = |part: &[u8]| envelope.windows(part.len()).position(|w| w == part).unwrap();
        // The encrypted key follows the recipient's algorithm; the ciphertext ends the message.
        let key_at = position(oid::RSA) + oid::RSA.len() + 40;
        for at in [key_at, envelope.len() - 1, envelope.len() - 40, envelope.len() - 200] {
            for flip in [1, 0x80] {
                let mut mangled = envelope.clone();
                mangled[at] ^= flip;
                let error = opened(&signed(&mangled, header("19"))).unwrap_err();
                assert_eq!(error.fail_info(), FailInfo::BadMessageCheck, "{error}");
                assert!(error.answer.is_some());
            }
        }
    }

    #[test]
    fn a_requester_to_whom_no_answer_could_be_encrypted_is_refused() {
        let key = P256Signer::generate().unwrap();
        let cert = self_signed_request_certificate(&key, "phone", [3; 16], WINDOW).unwrap();
        let body = sign(Content::Attached(&envelope()), &key, &[&cert], header("19")).unwrap();
        let error = opened(&body).unwrap_err();
        assert!(matches!(error.reason, Reason::Signer(_)), "{error}");
    }
}
