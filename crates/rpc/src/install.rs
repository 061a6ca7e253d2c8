//! The very first start: a one-shot child of each room makes that room's keys in that room's own
//! folder and says its public halves; the vault's child certifies them; each room's second child
//! takes what it has to trust. Only public material crosses, as one JSON line on standard output
//! and input.

use serde::{Deserialize, Serialize};

/// What the door's child says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoorPublic {
    /// SubjectPublicKeyInfo (DER) of the TLS key; the vault certifies it unless PEM files are configured.
    pub tls_spki: Vec<u8>,
    /// X25519; secrets for a phone are sealed to it.
    pub delivery_key: [u8; 32],
}

/// What the reader's child says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReaderPublic {
    /// SubjectPublicKeyInfo (DER) of the SCEP RA's RSA key.
    pub ra_spki: Vec<u8>,
    /// X25519; the reader proves itself by it when it seals.
    pub sender_key: [u8; 32],
}

/// What the courier's child says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CourierPublic {
    /// X25519 of the push compartment.
    pub push_key: [u8; 32],
}

/// What the vault's child reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VaultWants {
    /// The door's public halves.
    pub door: DoorPublic,
    /// The reader's.
    pub reader: ReaderPublic,
    /// The courier's.
    pub courier: CourierPublic,
    /// Names and addresses the door's TLS certificate is for.
    pub tls_names: Vec<String>,
}

/// What the vault's child says, and what every other room's second child reads.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// Ed25519; pinned by every room.
    pub root_key: [u8; 32],
    /// DER.
    pub ca_certificate: Vec<u8>,
    /// DER, for the door's key, by the CA.
    pub tls_certificate: Vec<u8>,
    /// DER, for the reader's RSA key, by the CA.
    pub ra_certificate: Vec<u8>,
    /// The first order::SignedStatement as CBOR.
    pub statement: Vec<u8>,
    /// The one-time token for the first administrator, for the operator's eyes alone: printed, never
    /// kept. The supervisor blanks it before it hands this on.
    pub first_token: String,
}

impl std::fmt::Debug for Installed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Installed").field("first_token", &"sealed").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_token_is_not_shown() {
        let installed = Installed {
            root_key: [1; 32],
            ca_certificate: vec![],
            tls_certificate: vec![],
            ra_certificate: vec![],
            statement: vec![],
            first_token: "matron-join-0123".into(),
        };
        assert!(!format!("{installed:?}").contains("0123"));
    }
}
