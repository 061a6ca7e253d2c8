//! What stops the vault. What it refuses is no error: see `order::Refusal`.

use ledger::LedgerError;

/// The vault can't start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operator's: its folder or key file.
    #[error("the vault's {what} at {path}: {source}")]
    Files {
        /// Which file or folder.
        what: &'static str,
        /// Where.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The operator's: the key file is there but not what it should be.
    #[error("the vault's key file {0} can't be read; restore it from a backup, the ledger needs it")]
    KeyFile(String),
    /// The operator's: no token was handed in, and the keys are on one.
    #[error(
        "this house's root key and CA are on a PKCS#11 token, and none is configured; set vault.root_key = \"pkcs11\" \
         with the token that it was made with"
    )]
    NoToken,
    /// The operator's: a token was handed in, and the keys are in the key file.
    #[error(
        "this house's root key and CA are in its key file, not on a PKCS#11 token, and what was in a file is brought to \
         no token; set vault.root_key back to what it was, or make a new house"
    )]
    NotOnToken,
    /// The operator's: another token.
    #[error(
        "the token's key is not the one of this house's CA certificate; give the token that the house was made with, \
         or a copy of it"
    )]
    OtherToken,
    /// The token did not sign.
    #[error("the token: {0}")]
    Token(std::io::Error),
    /// The ledger.
    #[error("the vault's ledger: {0}")]
    Ledger(#[from] LedgerError),
    /// The ledger belongs to other keys.
    #[error(
        "the ledger tells of other root keys than the key file does; they don't belong together: restore both from one backup"
    )]
    ForeignLedger,
    /// The operator's: what was restored does not belong together.
    #[error("the restored vault: {0}; take another backup")]
    Restore(String),
    /// Ours: a key or certificate could not be made.
    #[error("a key or certificate could not be made: {0}")]
    Making(String),
    /// Ours or the host's: the pairs or the control pair.
    #[error("the vault's wall: {0}")]
    Wall(String),
}

impl Error {
    pub(crate) fn files(what: &'static str, path: &std::path::Path, source: std::io::Error) -> Self {
        Self::Files { what, path: path.display().to_string(), source }
    }
}

impl From<apple::x509::X509Error> for Error {
    fn from(e: apple::x509::X509Error) -> Self {
        Self::Making(e.to_string())
    }
}

impl From<seal::SealError> for Error {
    fn from(e: seal::SealError) -> Self {
        Self::Making(e.to_string())
    }
}
