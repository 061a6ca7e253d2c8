//! What a SCEP request says, as reader seals it to the vault: both halves decode this type.

use std::fmt;
use zeroize::Zeroizing;

/// A certification request and its challenge together, so that one can't be sent with another's.
/// CBOR map by [`SealedRequest::to_bytes`]; secret, hence sealed before it crosses a wall.
pub struct SealedRequest {
    /// The certification request, DER, as received (and verified by reader; the vault verifies it again).
    pub csr: Zeroizing<Vec<u8>>,
    /// The `challengePassword` in it; empty when there was none.
    pub challenge: Zeroizing<String>,
}

#[derive(minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
struct Wire<'a> {
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    csr: &'a [u8],
    #[n(1)]
    challenge: &'a str,
}

impl SealedRequest {
    /// Writes it as CBOR; wiped when dropped.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let wire = Wire { csr: &self.csr, challenge: &self.challenge };
        // Enough room at once: a vector that grows leaves copies of the secret behind.
        let mut out = Zeroizing::new(Vec::with_capacity(self.csr.len() + self.challenge.len() + 32));
        // A vector takes every byte; were it not so, nothing decodes from none.
        if minicbor::encode(&wire, &mut *out).is_err() {
            out.clear();
        }
        out
    }

    /// Reads what [`SealedRequest::to_bytes`] wrote; `None` for anything else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut decoder = minicbor::Decoder::new(bytes);
        let wire: Wire<'_> = decoder.decode().ok()?;
        if decoder.position() != bytes.len() {
            return None;
        }
        Some(Self {
            csr: Zeroizing::new(wire.csr.to_vec()),
            challenge: Zeroizing::new(wire.challenge.to_owned()),
        })
    }
}

impl fmt::Debug for SealedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedRequest(sealed)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_reads_back_what_it_writes_and_nothing_else() {
        let request = SealedRequest {
            csr: Zeroizing::new(vec![0x30, 0x03, 1, 2, 3]),
            challenge: Zeroizing::new("made up".into()),
        };
        let bytes = request.to_bytes();
        let back = SealedRequest::from_bytes(&bytes).unwrap();
        assert_eq!((back.csr, back.challenge), (request.csr, request.challenge));
        assert!(SealedRequest::from_bytes(&[&bytes[..], &[0]].concat()).is_none());
        for cut in 0..bytes.len() {
            assert!(SealedRequest::from_bytes(&bytes[..cut]).is_none(), "{cut}");
        }
    }

    #[test]
    fn debug_shows_nothing() {
        let request = SealedRequest { csr: Zeroizing::default(), challenge: Zeroizing::default() };
        assert_eq!(format!("{request:?}"), "SealedRequest(sealed)");
    }
}
