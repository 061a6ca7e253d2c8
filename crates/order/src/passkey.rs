//! Passkeys: a browser's signature over an order (W3C Web Authentication Level 3, §7.2).
//!
//! webauthn-rs makes its challenges itself; here the challenge **is** the SHA-256 of the order's bytes, so
//! that the authenticator signs the order and not a session. What is left to check is a page of code over
//! AWS-LC: two algorithms, no attestation, no extension that means anything to us.

use aws_lc_rs::signature::{self, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use minicbor::{Decode, Encode};
use model::Digest;
use serde::Deserialize;

use crate::{BytesError, bytes, sha256};

/// A passkey's public half with the site that it signs for. As CBOR it is what stands in
/// [`crate::PersonKey::public`], so whoever verifies, years later too, needs nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Passkey {
    /// The relying party's id: a host name without scheme and port.
    #[n(0)]
    pub rp_id: String,
    /// The console's origin, for example `https://matron.example.org:8444`.
    #[n(1)]
    pub origin: String,
    /// The public key as COSE (RFC 9053): ES256 on P-256, or EdDSA on Ed25519, in CTAP2's canonical form.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub cose: Vec<u8>,
}

/// What a browser returns of `navigator.credentials.get`. As CBOR it stands in
/// [`crate::OrderSignature::signature`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Assertion {
    /// `authenticatorData` (§6.1).
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub authenticator_data: Vec<u8>,
    /// `clientDataJSON` (§5.8.1).
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub client_data_json: Vec<u8>,
    /// Over `authenticator_data` ‖ SHA-256(`client_data_json`). ES256: DER; EdDSA: 64 bytes.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub signature: Vec<u8>,
}

/// What an assertion that holds says beside that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asserted {
    /// How often the authenticator has signed, by its own count. Always 0 where it keeps none, as passkeys
    /// that are synchronised do. One that does not rise comes from a copy (§6.1.1).
    pub sign_count: u32,
    /// It may lie on more than one device.
    pub backup_eligible: bool,
}

/// Why an assertion does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasskeyError {
    /// The key's or the assertion's bytes.
    #[error(transparent)]
    Bytes(#[from] BytesError),
    /// A key of another kind, or not in canonical form.
    #[error("the passkey is neither ES256 on P-256 nor EdDSA on Ed25519 in canonical COSE")]
    Key,
    /// A site that is not the key's own, or one without TLS.
    #[error("the passkey's origin is not its relying party's, by https")]
    Site,
    /// The browser's words are unreadable, or of another ceremony.
    #[error("the browser's client data is not that of an assertion")]
    ClientData,
    /// Another order was signed.
    #[error("the passkey signed something else")]
    OtherChallenge,
    /// Another site asked.
    #[error("the passkey signed for another site")]
    OtherSite,
    /// Nobody touched the authenticator, or it did not check who did.
    #[error("the passkey did not verify the person")]
    Unverified,
    /// The signature.
    #[error("the passkey's signature does not fit")]
    DoesNotFit,
}

/// Most bytes of `clientDataJSON`: browsers write some 200.
const MOST_CLIENT_DATA: usize = 4096;
/// Most bytes of `authenticatorData`: 37, and what extensions add.
const MOST_AUTHENTICATOR_DATA: usize = 1024;
/// SHA-256 of the relying party's id, flags, count.
const AUTHENTICATOR_DATA: usize = 37;

/// §6.1: the person touched it; it verified the person; the key may be on several devices; a new key follows;
/// extensions follow.
const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
const BACKUP_ELIGIBLE: u8 = 0x08;
const NEW_KEY: u8 = 0x40;
const EXTENSIONS: u8 = 0x80;

/// `CollectedClientData`. Others may be added to it (§5.8.1: "a limited verification algorithm"); of those that
/// decide something each may stand once.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientData<'a> {
    #[serde(borrow, rename = "type")]
    ceremony: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    challenge: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    origin: std::borrow::Cow<'a, str>,
    #[serde(default)]
    cross_origin: bool,
    #[serde(borrow, default)]
    top_origin: Option<std::borrow::Cow<'a, str>>,
}

/// A public key out of COSE.
enum Public {
    /// SEC1, uncompressed.
    P256([u8; 65]),
    Ed25519([u8; 32]),
}

impl Assertion {
    /// The authenticator's own count, unchecked. `None` when the data is too short for one.
    #[must_use]
    pub fn sign_count(&self) -> Option<u32> {
        let count = self.authenticator_data.get(33..AUTHENTICATOR_DATA)?;
        Some(u32::from_be_bytes(count.try_into().ok()?))
    }
}

impl Passkey {
    /// Reads [`crate::PersonKey::public`], and that the key in it is one that can be verified, for a site that a
    /// browser would let sign: `https`, or this very machine, by the relying party's own name.
    ///
    /// # Errors
    /// [`PasskeyError::Bytes`], [`PasskeyError::Key`] or [`PasskeyError::Site`].
    pub fn read(public: &[u8]) -> Result<Self, PasskeyError> {
        let key: Self = bytes::decode(public)?;
        public_key(&key.cose)?;
        if key.is_for_its_own_site() { Ok(key) } else { Err(PasskeyError::Site) }
    }

    fn is_for_its_own_site(&self) -> bool {
        let local = self.rp_id == "localhost";
        let address = self
            .origin
            .strip_prefix("https://")
            .or_else(|| self.origin.strip_prefix("http://").filter(|_| local));
        let Some(address) = address else { return false };
        let (host, port) = match address.split_once(':') {
            Some((host, port)) => (host, port.parse::<u16>().is_ok()),
            None => (address, true),
        };
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
        port && host == self.rp_id && !host.is_empty() && host.len() <= 253 && host.bytes().all(plain)
    }

    /// Checks an assertion whose challenge has to be `challenge`, the SHA-256 of an order's bytes.
    ///
    /// The person has to have been verified by the authenticator (a PIN or a finger), and the site has to be the
    /// key's own, not framed by another.
    ///
    /// # Errors
    /// [`PasskeyError`] says what does not hold.
    pub fn verify(&self, assertion: &[u8], challenge: &Digest) -> Result<Asserted, PasskeyError> {
        let a: Assertion = bytes::decode(assertion)?;
        if a.client_data_json.len() > MOST_CLIENT_DATA || a.authenticator_data.len() > MOST_AUTHENTICATOR_DATA
        {
            return Err(PasskeyError::ClientData);
        }
        let client: ClientData<'_> =
            serde_json::from_slice(&a.client_data_json).map_err(|_| PasskeyError::ClientData)?;
        if client.ceremony != "webauthn.get" {
            return Err(PasskeyError::ClientData);
        }
        if client.challenge != URL_SAFE_NO_PAD.encode(challenge.0) {
            return Err(PasskeyError::OtherChallenge);
        }
        if client.origin != self.origin || client.cross_origin || client.top_origin.is_some() {
            return Err(PasskeyError::OtherSite);
        }
        let asserted = self.read_authenticator_data(&a.authenticator_data)?;
        let signed = [a.authenticator_data.as_slice(), &sha256(&a.client_data_json).0].concat();
        let fits = match public_key(&self.cose)? {
            Public::P256(key) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_ASN1, key).verify(&signed, &a.signature)
            }
            Public::Ed25519(key) => {
                UnparsedPublicKey::new(&signature::ED25519, key).verify(&signed, &a.signature)
            }
        };
        fits.map_err(|_| PasskeyError::DoesNotFit)?;
        Ok(asserted)
    }

    fn read_authenticator_data(&self, data: &[u8]) -> Result<Asserted, PasskeyError> {
        let (head, extensions) =
            data.split_first_chunk::<AUTHENTICATOR_DATA>().ok_or(PasskeyError::ClientData)?;
        let (rp_id_hash, rest) = head.split_at(32);
        let [flags, count @ ..] = rest else { return Err(PasskeyError::ClientData) };
        if rp_id_hash != sha256(self.rp_id.as_bytes()).0 {
            return Err(PasskeyError::OtherSite);
        }
        // An assertion brings no new key; what follows then is extensions, of which none means anything here.
        if flags & NEW_KEY != 0 || (flags & EXTENSIONS == 0) != extensions.is_empty() {
            return Err(PasskeyError::ClientData);
        }
        if flags & USER_PRESENT == 0 || flags & USER_VERIFIED == 0 {
            return Err(PasskeyError::Unverified);
        }
        let sign_count = count.try_into().map(u32::from_be_bytes).map_err(|_| PasskeyError::ClientData)?;
        Ok(Asserted { sign_count, backup_eligible: flags & BACKUP_ELIGIBLE != 0 })
    }
}

/// COSE's labels (RFC 9052 §7, RFC 9053 §7): key type, algorithm; curve, x, y.
const KTY: i64 = 1;
const ALG: i64 = 3;
const CRV: i64 = -1;
const X: i64 = -2;
const Y: i64 = -3;

/// The key in `cose`, which has to be written exactly as CTAP2's canonical CBOR writes it: one key, one id.
fn public_key(cose: &[u8]) -> Result<Public, PasskeyError> {
    let found = read_cose(cose).ok_or(PasskeyError::Key)?;
    if write_cose(&found) == cose { Ok(found) } else { Err(PasskeyError::Key) }
}

fn read_cose(cose: &[u8]) -> Option<Public> {
    let mut d = minicbor::Decoder::new(cose);
    let entries = d.map().ok()??;
    let (mut kty, mut alg, mut crv, mut x, mut y) = (None, None, None, None, None);
    for _ in 0..entries.min(8) {
        match d.i64().ok()? {
            KTY => kty = d.i64().ok(),
            ALG => alg = d.i64().ok(),
            CRV => crv = d.i64().ok(),
            X => x = <[u8; 32]>::try_from(d.bytes().ok()?).ok(),
            Y => y = <[u8; 32]>::try_from(d.bytes().ok()?).ok(),
            _ => return None,
        }
    }
    match (kty?, alg?, crv?) {
        // EC2, ES256, P-256.
        (2, -7, 1) => {
            let mut point = [4; 65];
            point.iter_mut().skip(1).zip(x?.iter().chain(&y?)).for_each(|(to, from)| *to = *from);
            Some(Public::P256(point))
        }
        // OKP, EdDSA, Ed25519.
        (1, -8, 6) if y.is_none() => Some(Public::Ed25519(x?)),
        _ => None,
    }
}

fn write_cose(key: &Public) -> Vec<u8> {
    let mut out = Vec::with_capacity(80);
    let mut e = minicbor::Encoder::new(&mut out);
    // Writing to a Vec can't fail.
    let _ = match key {
        Public::P256(point) => {
            let (x, y) = point.split_at(33);
            let x = x.get(1..).unwrap_or_default();
            head(&mut e, 5, (2, -7, 1)).and_then(|e| e.i64(X)?.bytes(x)?.i64(Y)?.bytes(y)).map(drop)
        }
        Public::Ed25519(x) => head(&mut e, 4, (1, -8, 6)).and_then(|e| e.i64(X)?.bytes(x)).map(drop),
    };
    out
}

type Encoding<'a, 'v> =
    Result<&'a mut minicbor::Encoder<&'v mut Vec<u8>>, minicbor::encode::Error<std::convert::Infallible>>;

fn head<'a, 'v>(
    e: &'a mut minicbor::Encoder<&'v mut Vec<u8>>,
    entries: u64,
    (kty, alg, crv): (i64, i64, i64),
) -> Encoding<'a, 'v> {
    e.map(entries)?.i64(KTY)?.i64(kty)?.i64(ALG)?.i64(alg)?.i64(CRV)?.i64(crv)
}

/// The public key in COSE out of what a browser returns of `navigator.credentials.create`: an attestation object
/// (§6.5.4). The attestation itself is not looked at: which make of authenticator it is decides nothing here.
///
/// # Errors
/// [`PasskeyError::ClientData`] when it holds no new key, [`PasskeyError::Key`] when that is of another kind.
pub fn registered_key(attestation_object: &[u8]) -> Result<Vec<u8>, PasskeyError> {
    let data = authenticator_data_of(attestation_object).ok_or(PasskeyError::ClientData)?;
    let flags = data.get(32).copied().unwrap_or_default();
    if flags & NEW_KEY == 0 || flags & USER_VERIFIED == 0 {
        return Err(PasskeyError::ClientData);
    }
    // AAGUID (16), length of the credential id (2), the id, the key.
    let rest = data.get(AUTHENTICATOR_DATA + 16..).unwrap_or_default();
    let (length, rest) = rest.split_first_chunk::<2>().ok_or(PasskeyError::ClientData)?;
    let key = rest.get(usize::from(u16::from_be_bytes(*length))..).ok_or(PasskeyError::ClientData)?;
    let found = read_cose(key).ok_or(PasskeyError::Key)?;
    let cose = write_cose(&found);
    if key.starts_with(&cose) { Ok(cose) } else { Err(PasskeyError::Key) }
}

fn authenticator_data_of(attestation_object: &[u8]) -> Option<Vec<u8>> {
    let mut d = minicbor::Decoder::new(attestation_object);
    for _ in 0..d.map().ok()??.min(8) {
        if d.str().ok()? == "authData" {
            return Some(d.bytes().ok()?.to_vec());
        }
        d.skip().ok()?;
    }
    None
}

#[cfg(test)]
mod tests;
