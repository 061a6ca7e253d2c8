//! Opening a `PKIOperation` request.

use super::{Algorithms, Context, MessageType, RaKey, Random, Reason, ScepError};
use crate::csr::Csr;
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
/// A wrong key encryption is indistinguishable from a wrong content encryption: decryption goes on
/// with a random key (RFC 3218, section 2.3.2).
///
/// # Errors
/// [`ScepError`] says why and, if its sender could be believed, how to answer.
pub fn open(body: &[u8], ra: &RaKey, admit: Algorithms, rng: &dyn Random) -> Result<Opened, ScepError> {
    let _ = (body, ra, admit, rng);
    Err(ScepError { reason: Reason::Decryption, answer: None })
}
