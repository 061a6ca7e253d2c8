//! The vault's word that these bytes may go to this phone.

use minicbor::{Decode, Encode};
use model::{CommandId, Digest, EnrolmentId, LinkHash, TimeMs};

use crate::{BytesError, Ed25519Secret, bytes, sha256, signature::ed25519_fits};

/// Whom a warranted answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Subject {
    /// The phone whose certificate carries this enrolment id.
    #[n(1)]
    Enrolment(#[n(0)] EnrolmentId),
    /// Whoever comes with the invitation link of this hash.
    #[n(2)]
    Link(#[n(0)] LinkHash),
}

/// What kind of answer it is: it decides the route and the content type the door sends it with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum AnswerClass {
    /// A command on the server URL.
    #[n(1)]
    Command,
    /// The enrolment profile on the invitation link.
    #[n(2)]
    EnrolmentProfile,
    /// A reply to a declarative-management check-in, a 404 among them.
    #[n(3)]
    Declaration,
    /// A 401 or 403 that makes a phone drop its management.
    #[n(4)]
    Dismissal,
    /// An escrowed value that the phone asks back (`GetBootstrapToken`).
    #[n(5)]
    Escrow,
}

/// What the vault signs.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Warrant {
    /// Of this encoding; 1.
    #[n(0)]
    pub version: u8,
    /// For whom.
    #[n(1)]
    pub subject: Subject,
    /// What kind of answer.
    #[n(2)]
    pub class: AnswerClass,
    /// The HTTP status it goes out with.
    #[n(3)]
    pub status: u16,
    /// The command, when it is one.
    #[n(4)]
    pub command: Option<CommandId>,
    /// SHA-256 of the bytes as the phone receives them.
    #[n(5)]
    pub digest: Digest,
    /// A day after it was signed at most; signed again until its order expires or is recalled.
    #[n(6)]
    pub expires_at_ms: TimeMs,
}

impl Warrant {
    /// A warrant lives for a day.
    pub const LIFE_MS: TimeMs = model::clock::DAY_MS;
}

/// A warrant with the vault's signature.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SignedWarrant {
    /// The encoded [`Warrant`].
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub warrant: Vec<u8>,
    /// Ed25519 over [`WARRANT_CONTEXT`] and those bytes.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub signature: Vec<u8>,
}

/// What stands before a warrant's bytes when they are signed.
pub const WARRANT_CONTEXT: &[u8] = b"matron/warrant/1\0";

/// Why the door lets nothing out on this warrant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WarrantError {
    /// Its bytes are no warrant.
    #[error("the warrant can't be read")]
    Bytes(#[from] BytesError),
    /// Not signed by the warrant key of the statement in force.
    #[error("the warrant is not signed by the vault")]
    Forged,
    /// For another phone or link.
    #[error("the warrant is for another phone")]
    OtherSubject,
    /// For another class of answer.
    #[error("the warrant is for another class of answer")]
    OtherClass,
    /// For another status.
    #[error("the warrant is for another status")]
    OtherStatus,
    /// For another command.
    #[error("the warrant is for another command")]
    OtherCommand,
    /// For other bytes.
    #[error("the warrant is for other bytes")]
    OtherBytes,
    /// It has run out.
    #[error("the warrant has run out")]
    Expired,
}

/// What is about to leave, as the door sees it.
#[derive(Debug, Clone, Copy)]
pub struct WarrantedAnswer<'a> {
    /// Who is on the line, from the door's own hand.
    pub subject: Subject,
    /// The class that the route allows.
    pub class: AnswerClass,
    /// The status it would go out with.
    pub status: u16,
    /// The command id that core names.
    pub command: Option<CommandId>,
    /// The bytes, in the clear, as the phone would receive them.
    pub bytes: &'a [u8],
}

impl SignedWarrant {
    /// Encodes and signs.
    #[must_use]
    pub fn sign(warrant: &Warrant, key: &Ed25519Secret) -> Self {
        let warrant = bytes::encode(warrant);
        let signature = key.sign(&[WARRANT_CONTEXT, &warrant].concat());
        Self { warrant, signature }
    }

    /// Checks that `answer` is what the vault signed for, and returns the warrant.
    ///
    /// # Errors
    /// [`WarrantError`] names the first thing that does not hold.
    pub fn verify(
        &self,
        warrant_key: &[u8],
        now_ms: TimeMs,
        answer: &WarrantedAnswer<'_>,
    ) -> Result<Warrant, WarrantError> {
        if !ed25519_fits(warrant_key, WARRANT_CONTEXT, &self.warrant, &self.signature) {
            return Err(WarrantError::Forged);
        }
        let w: Warrant = bytes::decode(&self.warrant)?;
        if w.version != 1 {
            return Err(BytesError::Unreadable.into());
        }
        if w.subject != answer.subject {
            return Err(WarrantError::OtherSubject);
        }
        if w.class != answer.class {
            return Err(WarrantError::OtherClass);
        }
        if w.status != answer.status {
            return Err(WarrantError::OtherStatus);
        }
        if w.command != answer.command {
            return Err(WarrantError::OtherCommand);
        }
        if w.digest != sha256(answer.bytes) {
            return Err(WarrantError::OtherBytes);
        }
        if now_ms >= w.expires_at_ms {
            return Err(WarrantError::Expired);
        }
        Ok(w)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warrant_fits_one_phone_class_status_command_and_body_for_its_time() {
        let key = Ed25519Secret::from_seed([1; 32]).unwrap();
        let subject = Subject::Enrolment(EnrolmentId([1; 16]));
        let answer = WarrantedAnswer {
            subject,
            class: AnswerClass::Command,
            status: 200,
            command: Some(CommandId([2; 16])),
            bytes: b"body",
        };
        let warrant = Warrant {
            version: 1,
            subject,
            class: AnswerClass::Command,
            status: 200,
            command: Some(CommandId([2; 16])),
            digest: sha256(b"body"),
            expires_at_ms: 100,
        };
        let signed = SignedWarrant::sign(&warrant, &key);
        let check = |a: &WarrantedAnswer<'_>, now| signed.verify(&key.public(), now, a);
        assert!(check(&answer, 99).is_ok());
        assert_eq!(check(&answer, 100), Err(WarrantError::Expired));
        let other = Subject::Enrolment(EnrolmentId([3; 16]));
        assert_eq!(check(&WarrantedAnswer { subject: other, ..answer }, 0), Err(WarrantError::OtherSubject));
        let link = Subject::Link(LinkHash([1; 32]));
        assert_eq!(check(&WarrantedAnswer { subject: link, ..answer }, 0), Err(WarrantError::OtherSubject));
        let class = AnswerClass::Dismissal;
        assert_eq!(check(&WarrantedAnswer { class, ..answer }, 0), Err(WarrantError::OtherClass));
        assert_eq!(check(&WarrantedAnswer { status: 401, ..answer }, 0), Err(WarrantError::OtherStatus));
        assert_eq!(check(&WarrantedAnswer { command: None, ..answer }, 0), Err(WarrantError::OtherCommand));
        assert_eq!(check(&WarrantedAnswer { bytes: b"bodY", ..answer }, 0), Err(WarrantError::OtherBytes));
        let forger = Ed25519Secret::from_seed([2; 32]).unwrap();
        assert_eq!(signed.verify(&forger.public(), 0, &answer), Err(WarrantError::Forged));
    }
}
