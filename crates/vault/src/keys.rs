//! The vault's key file. One file, mode 0600, in the vault's own folder; written once at the
//! installation. Whoever reads it has the house.

use std::fs;
use std::path::Path;

use apple::x509::{P256Signer, Signer, signer_from_pkcs8};
use minicbor::{Decode, Encode};
use order::Ed25519Secret;
use seal::{CompartmentPublic, CompartmentSecret, IndexKey, KeyPairSecret, PublicKey};
use zeroize::Zeroizing;

use crate::Error;
use crate::derive::DeriveKey;

pub(crate) const KEY_FILE: &str = "keys.cbor";

/// The file's content.
#[derive(Encode, Decode)]
pub(crate) struct KeyFile {
    #[n(0)]
    pub(crate) version: u8,
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) root_seed: [u8; 32],
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) warrant_seed: [u8; 32],
    #[n(3)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) ca_pkcs8: Vec<u8>,
    #[n(4)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) profile_signer_pkcs8: Vec<u8>,
    #[n(5)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) ca_certificate: Vec<u8>,
    #[n(6)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) ra_certificate: Vec<u8>,
    #[n(7)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) profile_signer_certificate: Vec<u8>,
    #[n(8)]
    pub(crate) order_key: KeyPairSecret,
    #[n(9)]
    pub(crate) sender_key: KeyPairSecret,
    #[n(10)]
    pub(crate) compartments: Vec<CompartmentSecret>,
    #[n(11)]
    pub(crate) index_key: IndexKey,
    #[n(12)]
    pub(crate) derive_key: DeriveKey,
    #[n(13)]
    pub(crate) epoch: u32,
    #[n(14)]
    pub(crate) reader_key: PublicKey,
    #[n(15)]
    pub(crate) delivery_key: PublicKey,
    #[n(16)]
    pub(crate) push_key: PublicKey,
}

/// The keys, ready to use.
pub(crate) struct Keys {
    pub(crate) root: Ed25519Secret,
    pub(crate) warrant: Ed25519Secret,
    pub(crate) ca: Box<dyn Signer>,
    pub(crate) profile_signer: P256Signer,
    pub(crate) file: KeyFile,
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        use zeroize::Zeroize;
        self.root_seed.zeroize();
        self.warrant_seed.zeroize();
        self.ca_pkcs8.zeroize();
        self.profile_signer_pkcs8.zeroize();
    }
}

impl Keys {
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(KEY_FILE);
        let bytes = Zeroizing::new(fs::read(&path).map_err(|e| Error::files("key file", &path, e))?);
        let unreadable = || Error::KeyFile(path.display().to_string());
        let file: KeyFile = minicbor::decode(&bytes).map_err(|_| unreadable())?;
        if file.version != 1 {
            return Err(unreadable());
        }
        Ok(Self {
            root: Ed25519Secret::from_seed(file.root_seed).ok_or_else(unreadable)?,
            warrant: Ed25519Secret::from_seed(file.warrant_seed).ok_or_else(unreadable)?,
            ca: signer_from_pkcs8(&file.ca_pkcs8)?,
            profile_signer: P256Signer::from_pkcs8(&file.profile_signer_pkcs8)?,
            file,
        })
    }

    /// The public half of every compartment's key that the vault itself holds.
    pub(crate) fn compartment_publics(&self) -> Vec<CompartmentPublic> {
        self.file.compartments.iter().map(CompartmentSecret::public).collect()
    }
}
