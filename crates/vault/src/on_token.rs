//! The root key and the CA's: in the key file, or on a PKCS#11 token, where they were made and which they can't leave.
//! The vault then asks another process to sign ([`rpc::hsm`]).

use apple::x509::{SignatureAlgorithm, Signer, X509Error, rsa_spki};
use order::Ed25519Secret;
use rpc::hsm::{CaPublic, Hsm, of_this_process};

use crate::Error;

/// The root key.
pub(crate) enum RootKey {
    /// Its seed stands in the key file.
    InFile(Ed25519Secret),
    /// It is on the token.
    OnToken {
        hsm: &'static Hsm,
        /// Of one that took the installation's place: its number, by which the token finds it, and the public half.
        later: Option<(u32, [u8; 32])>,
    },
}

impl RootKey {
    /// The 32 public bytes.
    pub(crate) fn public(&self) -> Vec<u8> {
        match self {
            Self::InFile(key) => key.public(),
            Self::OnToken { hsm, later } => later.map_or(hsm.publics().root, |(_, public)| public).to_vec(),
        }
    }

    /// The signature (64 bytes).
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        match self {
            Self::InFile(key) => Ok(key.sign(message)),
            Self::OnToken { hsm, later: None } => hsm.sign_root(message).map_err(Error::Token),
            Self::OnToken { hsm, later: Some((number, public)) } => {
                hsm.sign_later_root(*number, public, message).map_err(Error::Token)
            }
        }
    }

    /// The same for who takes a signature alone: none is one that nobody believes, and the log says why.
    pub(crate) fn sign_or_none(&self, message: &[u8]) -> Vec<u8> {
        self.sign(message).unwrap_or_else(|e| {
            tracing::error!(error = %e, "the root key did not sign");
            Vec::new()
        })
    }

    /// One on the token that took the installation's place; `make`: made first if it is not there.
    pub(crate) fn later(hsm: &'static Hsm, number: u32, make: bool) -> Result<Self, Error> {
        let public = hsm.later_root(number, make).map_err(Error::Token)?;
        Ok(Self::OnToken { hsm, later: Some((number, public)) })
    }

    /// A second handle on the same key.
    pub(crate) fn again(&self) -> Option<Self> {
        match self {
            Self::InFile(key) => Ed25519Secret::from_seed(*key.seed()).map(Self::InFile),
            Self::OnToken { hsm, later } => Some(Self::OnToken { hsm, later: *later }),
        }
    }
}

/// A CA's key on the token.
pub(crate) struct CaOnToken {
    hsm: &'static Hsm,
    /// Of a later CA: its number, by which the token finds the key, and the public half.
    later: Option<(u32, CaPublic)>,
    spki_der: Vec<u8>,
}

impl CaOnToken {
    /// The installation's.
    pub(crate) fn of(hsm: &'static Hsm) -> Self {
        let of = hsm.publics();
        Self { hsm, later: None, spki_der: rsa_spki(&of.ca_modulus, &of.ca_exponent) }
    }

    /// A later one; `make`: made first if it is not there.
    pub(crate) fn later(hsm: &'static Hsm, number: u32, make: bool) -> Result<Self, Error> {
        let public = hsm.later_ca(number, make).map_err(Error::Token)?;
        let spki_der = rsa_spki(&public.modulus, &public.exponent);
        Ok(Self { hsm, later: Some((number, public)), spki_der })
    }

    /// Of this process's token, if it has one.
    pub(crate) fn find() -> Option<Self> {
        of_this_process().map(Self::of)
    }
}

impl Signer for CaOnToken {
    fn spki_der(&self) -> &[u8] {
        &self.spki_der
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::RsaPkcs1Sha256
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, X509Error> {
        let signed = match &self.later {
            None => self.hsm.sign_ca(message),
            Some((number, public)) => self.hsm.sign_later_ca(*number, public, message),
        };
        signed.map_err(|e| {
            tracing::error!(error = %e, "the CA's key did not sign");
            X509Error::Signing
        })
    }
}
