//! What can go wrong. No variant carries a value: names of fields at most.

use model::Compartment;

/// Sealing, opening and their neighbours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Ours: no public key was given for this compartment.
    #[error("no key for compartment {}", .0.name())]
    NoCompartment(Compartment),
    /// The sender's: the value or its name is larger than a field may be.
    #[error("a field of {bytes} bytes is larger than the {limit} a sealed field may have")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit it passed.
        limit: usize,
    },
    /// The operator's: a public key is no point of X25519 that can be sealed to.
    #[error("the recipient's public key can't be sealed to")]
    BadPublicKey,
    /// The host's: the system gave no random bytes.
    #[error("the system gave no random bytes")]
    Randomness,
    /// Ours: the cipher refused (it never does within the sizes that are checked).
    #[error("the cipher refused")]
    Cipher,
}

/// Why something sealed did not open. Which of the inner reasons it was is not told: a stranger who
/// can try values learns nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The sender's: it has not the shape of anything sealed.
    #[error("not a sealed value of this version")]
    Malformed,
    /// Ours: sealed for a compartment or an epoch whose secret is not here.
    #[error("no key for compartment {} of epoch {epoch}", compartment.name())]
    NoKey {
        /// The compartment it names.
        compartment: Compartment,
        /// The epoch it names.
        epoch: u32,
    },
    /// The sender's: sealed by a key that is not trusted.
    #[error("sealed by a sender that is not trusted")]
    UnknownSender,
    /// It was altered, moved to another phone or field, or sealed for someone else.
    #[error("the sealed value does not open: it was altered, moved, or meant for another key")]
    DoesNotOpen,
}
