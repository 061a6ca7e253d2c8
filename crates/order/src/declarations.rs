//! The vault's word for everything one phone may be told by declarative management.
//!
//! A phone asks at several endpoints (`tokens`, `declaration-items`, `declaration/<kind>/<id>`), and each
//! has another answer. One signature covers them all: a list of (endpoint, status, digest). So an answer
//! can't be given at another endpoint than the one it was signed for, and a phone with a hundred
//! declarations costs the vault one signature a day.

use minicbor::{Decode, Encode};
use model::{Digest, EnrolmentId, TimeMs};

use crate::{BytesError, Ed25519Secret, bytes, sha256, signature::ed25519_fits};

/// The hash by which an endpoint is named in a warrant: SHA-256 of the check-in's `Endpoint`.
#[must_use]
pub fn endpoint_hash(endpoint: &str) -> Digest {
    sha256(endpoint.as_bytes())
}

/// What may be answered at one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct DeclaredAnswer {
    /// [`endpoint_hash`] of the endpoint.
    #[n(0)]
    pub endpoint: Digest,
    /// 200, or 404 for a declaration that was taken away.
    #[n(1)]
    pub status: u16,
    /// SHA-256 of the bytes as the phone receives them; of no bytes with a 404.
    #[n(2)]
    pub digest: Digest,
}

/// What the vault signs for one phone.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct DeclarationsWarrant {
    /// Of this encoding; 1.
    #[n(0)]
    pub version: u8,
    /// For whom.
    #[n(1)]
    pub enrolment: EnrolmentId,
    /// The ledger's index of the newest order behind it.
    #[n(2)]
    pub position: u64,
    /// Each endpoint at most once.
    #[n(3)]
    pub answers: Vec<DeclaredAnswer>,
    /// A day after it was signed; signed again while the phone asks.
    #[n(4)]
    pub expires_at_ms: TimeMs,
}

impl DeclarationsWarrant {
    /// It lives for a day.
    pub const LIFE_MS: TimeMs = model::clock::DAY_MS;

    /// The answer at an endpoint.
    #[must_use]
    pub fn answer(&self, endpoint: &Digest) -> Option<&DeclaredAnswer> {
        self.answers.iter().find(|a| a.endpoint == *endpoint)
    }
}

/// The warrant with the vault's signature.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SignedDeclarations {
    /// The encoded [`DeclarationsWarrant`].
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub warrant: Vec<u8>,
    /// Ed25519 over [`DECLARATIONS_CONTEXT`] and those bytes.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub signature: Vec<u8>,
}

/// What stands before the warrant's bytes when they are signed: no other warrant is signed under it.
pub const DECLARATIONS_CONTEXT: &[u8] = b"matron/declarations/1\0";

/// Why the door lets nothing out on this warrant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeclarationsError {
    /// Its bytes are no warrant.
    #[error("the declarations' warrant can't be read")]
    Bytes(#[from] BytesError),
    /// Not signed by the warrant key of the statement in force.
    #[error("the declarations' warrant is not signed by the vault")]
    Forged,
    /// For another phone.
    #[error("the declarations' warrant is for another phone")]
    OtherPhone,
    /// It says nothing of the endpoint that the phone asked at.
    #[error("the declarations' warrant does not cover the endpoint that was asked")]
    OtherEndpoint,
    /// For another status.
    #[error("the declarations' warrant is for another status")]
    OtherStatus,
    /// For other bytes.
    #[error("the declarations' warrant is for other bytes")]
    OtherBytes,
    /// It has run out.
    #[error("the declarations' warrant has run out")]
    Expired,
}

/// What is about to leave, as the door sees it.
#[derive(Debug, Clone, Copy)]
pub struct DeclarationAnswer<'a> {
    /// Who is on the line, from the door's own hand.
    pub enrolment: EnrolmentId,
    /// [`endpoint_hash`] of what the phone asked for, by the reader's word and not core's.
    pub endpoint: Digest,
    /// The status it would go out with.
    pub status: u16,
    /// The bytes, in the clear, as the phone would receive them.
    pub bytes: &'a [u8],
}

impl SignedDeclarations {
    /// Encodes and signs.
    #[must_use]
    pub fn sign(warrant: &DeclarationsWarrant, key: &Ed25519Secret) -> Self {
        let warrant = bytes::encode(warrant);
        let signature = key.sign(&[DECLARATIONS_CONTEXT, &warrant].concat());
        Self { warrant, signature }
    }

    /// What it says, unchecked: for whoever looks an answer up, never for whoever lets one out.
    ///
    /// # Errors
    /// [`BytesError`] when it can't be read.
    pub fn claimed(&self) -> Result<DeclarationsWarrant, BytesError> {
        bytes::decode(&self.warrant)
    }

    /// Checks that `answer` is what the vault signed for.
    ///
    /// # Errors
    /// [`DeclarationsError`] names the first thing that does not hold.
    pub fn verify(
        &self,
        warrant_key: &[u8],
        now_ms: TimeMs,
        answer: &DeclarationAnswer<'_>,
    ) -> Result<(), DeclarationsError> {
        if !ed25519_fits(warrant_key, DECLARATIONS_CONTEXT, &self.warrant, &self.signature) {
            return Err(DeclarationsError::Forged);
        }
        let w: DeclarationsWarrant = bytes::decode(&self.warrant)?;
        if w.version != 1 {
            return Err(BytesError::Unreadable.into());
        }
        if w.enrolment != answer.enrolment {
            return Err(DeclarationsError::OtherPhone);
        }
        let signed = w.answer(&answer.endpoint).ok_or(DeclarationsError::OtherEndpoint)?;
        if signed.status != answer.status {
            return Err(DeclarationsError::OtherStatus);
        }
        if signed.digest != sha256(answer.bytes) {
            return Err(DeclarationsError::OtherBytes);
        }
        if now_ms >= w.expires_at_ms {
            return Err(DeclarationsError::Expired);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declarations_warrant_fits_one_phone_endpoint_status_and_body_for_its_time() {
        let key = Ed25519Secret::from_seed([1; 32]).unwrap();
        let phone = EnrolmentId([1; 16]);
        let entry = |endpoint: &str, status, body: &[u8]| DeclaredAnswer {
            endpoint: endpoint_hash(endpoint),
            status,
            digest: sha256(body),
        };
        let warrant = DeclarationsWarrant {
            version: 1,
            enrolment: phone,
            position: 7,
            answers: vec![
                entry("tokens", 200, b"t"),
                entry("declaration/asset/a", 200, b"a"),
                entry("declaration/asset/gone", 404, b""),
            ],
            expires_at_ms: 100,
        };
        let signed = SignedDeclarations::sign(&warrant, &key);
        let check = |enrolment, endpoint: &str, status, bytes: &[u8], now| {
            let answer = DeclarationAnswer { enrolment, endpoint: endpoint_hash(endpoint), status, bytes };
            signed.verify(&key.public(), now, &answer)
        };
        assert_eq!(check(phone, "tokens", 200, b"t", 99), Ok(()));
        assert_eq!(check(phone, "declaration/asset/gone", 404, b"", 99), Ok(()));
        assert_eq!(check(phone, "tokens", 200, b"t", 100), Err(DeclarationsError::Expired));
        assert_eq!(check(EnrolmentId([2; 16]), "tokens", 200, b"t", 0), Err(DeclarationsError::OtherPhone));
        assert_eq!(check(phone, "tokens", 200, b"a", 0), Err(DeclarationsError::OtherBytes));
        assert_eq!(check(phone, "declaration/asset/a", 200, b"t", 0), Err(DeclarationsError::OtherBytes));
        assert_eq!(check(phone, "declaration/asset/a", 404, b"", 0), Err(DeclarationsError::OtherStatus));
        assert_eq!(check(phone, "declaration/asset/b", 404, b"", 0), Err(DeclarationsError::OtherEndpoint));
        let forger = Ed25519Secret::from_seed([2; 32]).unwrap();
        let answer = DeclarationAnswer {
            enrolment: phone,
            endpoint: endpoint_hash("tokens"),
            status: 200,
            bytes: b"t",
        };
        assert_eq!(signed.verify(&forger.public(), 0, &answer), Err(DeclarationsError::Forged));
        // Not even with the right key does a command's warrant pass for one, or the other way round.
        let other = crate::SignedWarrant { warrant: signed.warrant.clone(), signature: signed.signature };
        let posing = SignedDeclarations { warrant: other.warrant, signature: key.sign(&signed.warrant) };
        assert_eq!(posing.verify(&key.public(), 0, &answer), Err(DeclarationsError::Forged));
    }
}
