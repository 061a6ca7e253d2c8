//! `Mdm-Signature`: a phone signs its messages when its enrolment profile says `SignMessage`.

use crate::Fault;
use crate::keys::PhoneKey;
use apple::cms;
use apple::x509::RsaSigner;
use base64::Engine as _;
use model::Clock as _;

/// A phone's key and certificate, ready to sign bodies.
pub(crate) struct MessageSigner {
    key: RsaSigner,
    certificate: Vec<u8>,
}

impl std::fmt::Debug for MessageSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MessageSigner(sealed)")
    }
}

impl MessageSigner {
    pub(crate) fn new(key: &PhoneKey, certificate: &[u8]) -> Result<Self, Fault> {
        Ok(Self { key: key.signer()?, certificate: certificate.to_vec() })
    }

    /// The header's value for this body. Some systems sign the time too: here those whose certificate's last
    /// byte is even.
    pub(crate) fn header(&self, body: &[u8]) -> Result<String, Fault> {
        let timed = self.certificate.last().is_some_and(|b| b % 2 == 0);
        let time = timed.then(|| model::SystemClock.now_ms());
        let signed =
            cms::sign_detached(body, &self.key, &[&self.certificate], time).map_err(Fault::Signature)?;
        Ok(base64::engine::general_purpose::STANDARD.encode(signed))
    }
}
