//! Signatures over an order's bytes.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{self, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use minicbor::{Decode, Encode};
use model::{Digest, KeyId, OrderId};
use zeroize::Zeroizing;

use crate::{Asserted, BytesError, Order, Passkey, PasskeyError, PersonKey, bytes};

/// SHA-256 (FIPS 180-4) of `data`.
#[must_use]
pub fn sha256(data: &[u8]) -> Digest {
    let mut out = [0u8; 32];
    for (to, from) in out.iter_mut().zip(digest::digest(&digest::SHA256, data).as_ref()) {
        *to = *from;
    }
    Digest(out)
}

/// A key's id: the first 16 bytes of the SHA-256 of its public bytes.
#[must_use]
pub fn key_id(public: &[u8]) -> KeyId {
    let mut out = [0u8; 16];
    for (to, from) in out.iter_mut().zip(sha256(public).0) {
        *to = from;
    }
    KeyId(out)
}

/// How a person's key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Scheme {
    /// Ed25519 (RFC 8032) over [`ORDER_CONTEXT`] followed by the order's bytes: the command line.
    #[n(1)]
    Ed25519,
    /// A passkey's assertion (WebAuthn) whose challenge is the SHA-256 of the order's bytes: the console.
    #[n(2)]
    Passkey,
}

impl Scheme {
    /// The signature was made where core's pages can't show one order and ask for another.
    #[must_use]
    pub fn is_outside_browser(self) -> bool {
        match self {
            Self::Ed25519 => true,
            Self::Passkey => false,
        }
    }
}

/// What stands before an order's bytes when Ed25519 signs them, so that no signature of another
/// kind can be taken for an order's.
pub const ORDER_CONTEXT: &[u8] = b"matron/order/1\0";

/// One person's signature.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct OrderSignature {
    /// Which key.
    #[n(0)]
    pub key: KeyId,
    /// How.
    #[n(1)]
    pub scheme: Scheme,
    /// Ed25519: 64 bytes. Passkey: a [`crate::Assertion`].
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub signature: Vec<u8>,
}

/// An order as it travels: the bytes that were signed, and the signatures over them. What is sealed
/// beside it travels beside it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SignedOrder {
    /// The encoded [`Order`], never encoded again.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub order: Vec<u8>,
    /// At least one.
    #[n(1)]
    pub signatures: Vec<OrderSignature>,
}

/// A signature was not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The order's bytes are no order.
    #[error(transparent)]
    Bytes(#[from] BytesError),
    /// No signature, or one that does not fit.
    #[error("the signature does not fit the order's bytes")]
    DoesNotFit,
    /// A passkey's assertion does not hold.
    #[error(transparent)]
    Passkey(#[from] PasskeyError),
    /// Its key is not registered.
    #[error("the key that signed is not registered")]
    UnknownKey,
}

/// An order whose signatures were checked; there is no other way to have one.
#[derive(Debug, Clone)]
pub struct VerifiedOrder {
    order: Order,
    digest: Digest,
    signers: Vec<KeyId>,
    signatures: Vec<OrderSignature>,
    asserted: Vec<(KeyId, Asserted)>,
}

impl VerifiedOrder {
    /// The order, decoded from the bytes that were signed.
    #[must_use]
    pub fn order(&self) -> &Order {
        &self.order
    }
    /// SHA-256 of the signed bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }
    /// The keys that signed, each once.
    #[must_use]
    pub fn signers(&self) -> &[KeyId] {
        &self.signers
    }
    /// The signatures, of each key once, in the order in which they came.
    #[must_use]
    pub fn signatures(&self) -> &[OrderSignature] {
        &self.signatures
    }
    /// What the passkeys among the signers said beside their signature, each once.
    #[must_use]
    pub fn asserted(&self) -> &[(KeyId, Asserted)] {
        &self.asserted
    }
    /// The order's id.
    #[must_use]
    pub fn id(&self) -> OrderId {
        self.order.id
    }
}

impl SignedOrder {
    /// The most signatures one order carries: each costs whoever checks them.
    pub const MOST_SIGNATURES: usize = 8;

    /// Encodes and signs `order`.
    #[must_use]
    pub fn sign(order: &Order, key: &Ed25519Secret) -> Self {
        let order = bytes::encode(order);
        let signature = key.sign(&[ORDER_CONTEXT, &order].concat());
        let signatures = vec![OrderSignature { key: key.id(), scheme: Scheme::Ed25519, signature }];
        Self { order, signatures }
    }

    /// One more signature over the very same bytes.
    pub fn add_signature(&mut self, key: &Ed25519Secret) {
        let signature = key.sign(&[ORDER_CONTEXT, &self.order].concat());
        self.signatures.push(OrderSignature { key: key.id(), scheme: Scheme::Ed25519, signature });
    }

    /// Decodes the signed bytes and checks every signature; `find_key` gives a registered key.
    ///
    /// # Errors
    /// [`SignatureError`]: unreadable, unknown key, or a signature that does not fit.
    pub fn verify(
        &self,
        find_key: impl Fn(KeyId, &Order) -> Option<PersonKey>,
    ) -> Result<VerifiedOrder, SignatureError> {
        if self.order.len() > Order::LARGEST_BYTES || self.signatures.len() > Self::MOST_SIGNATURES {
            return Err(BytesError::Unreadable.into());
        }
        let order: Order = bytes::decode(&self.order)?;
        if order.version != Order::VERSION {
            return Err(BytesError::Unreadable.into());
        }
        let signed = [ORDER_CONTEXT, &self.order].concat();
        let mut signers = Vec::new();
        let digest = sha256(&self.order);
        let mut signatures = Vec::new();
        let mut asserted = Vec::new();
        for s in &self.signatures {
            let key = find_key(s.key, &order).ok_or(SignatureError::UnknownKey)?;
            if key.scheme != s.scheme {
                return Err(SignatureError::DoesNotFit);
            }
            let said = match s.scheme {
                Scheme::Ed25519 => {
                    UnparsedPublicKey::new(&signature::ED25519, &key.public)
                        .verify(&signed, &s.signature)
                        .map_err(|_| SignatureError::DoesNotFit)?;
                    None
                }
                Scheme::Passkey => Some(Passkey::read(&key.public)?.verify(&s.signature, &digest)?),
            };
            if !signers.contains(&s.key) {
                signers.push(s.key);
                signatures.push(s.clone());
                asserted.extend(said.map(|said| (s.key, said)));
            }
        }
        if signers.is_empty() {
            return Err(SignatureError::DoesNotFit);
        }
        Ok(VerifiedOrder { digest, order, signers, signatures, asserted })
    }
}

/// An Ed25519 signing key, made from its 32-byte seed.
pub struct Ed25519Secret {
    pair: Ed25519KeyPair,
    seed: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for Ed25519Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ed25519Secret(sealed)")
    }
}

impl Ed25519Secret {
    /// The key of this seed. `None` when the library refuses it, which no 32-byte seed makes it do.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).ok()?;
        Some(Self { pair, seed: Zeroizing::new(seed) })
    }
    /// The seed, for the file it is kept in.
    #[must_use]
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }
    /// The public bytes (32).
    #[must_use]
    pub fn public(&self) -> Vec<u8> {
        self.pair.public_key().as_ref().to_vec()
    }
    /// The public key as an order carries it.
    #[must_use]
    pub fn person_key(&self) -> PersonKey {
        PersonKey { scheme: Scheme::Ed25519, public: self.public() }
    }
    /// Its id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        key_id(self.pair.public_key().as_ref())
    }
    /// The signature (64 bytes) over `message`.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }
}

/// Whether `signature` is `public`'s over `context ‖ message`.
pub(crate) fn ed25519_fits(public: &[u8], context: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let signed = [context, message].concat();
    UnparsedPublicKey::new(&signature::ED25519, public).verify(&signed, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OrderKind, X25519Public};
    use model::{EnrolmentId, Group};
    use proptest::prelude::*;

    fn key(n: u8) -> Ed25519Secret {
        Ed25519Secret::from_seed([n; 32]).unwrap()
    }

    fn order() -> Order {
        Order {
            version: 1,
            id: OrderId([7; 16]),
            kind: OrderKind::Invite { group: Group::new("ward-7").unwrap(), valid_ms: 1000 },
            targets: vec![EnrolmentId([1; 16])],
            reason: "new starter".into(),
            made_at_ms: 1,
            expires_at_ms: 2,
            answer_key: X25519Public([9; 32]),
            sealed_digest: None,
            outline: None,
        }
    }

    fn known(k: &Ed25519Secret) -> impl Fn(KeyId, &Order) -> Option<PersonKey> + '_ {
        move |id, _| (id == k.id()).then(|| k.person_key())
    }

    #[test]
    fn a_signed_order_verifies_and_decodes_to_itself() {
        let k = key(1);
        let signed = SignedOrder::sign(&order(), &k);
        let v = signed.verify(known(&k)).unwrap();
        assert_eq!(v.order(), &order());
        assert_eq!(v.signers(), [k.id()]);
    }

    #[test]
    fn an_order_altered_in_any_byte_is_refused() {
        let k = key(1);
        let signed = SignedOrder::sign(&order(), &k);
        for i in 0..signed.order.len() {
            let mut bad = signed.clone();
            bad.order[i] ^= 1;
            assert!(bad.verify(known(&k)).is_err(), "byte {i}");
        }
    }

    #[test]
    fn an_order_with_a_field_too_many_is_refused() {
        let k = key(1);
        let whole = Order { sealed_digest: Some(Digest([3; 32])), ..order() };
        // As it was written before there were outlines.
        let written = bytes::encode(&whole);
        assert_eq!(written[0], 0x89);
        for more in [&[0xf6][..], &[0xf6, 0x01]] {
            let mut bytes = written.clone();
            bytes[0] += u8::try_from(more.len()).unwrap();
            bytes.extend_from_slice(more);
            let signature = k.sign(&[ORDER_CONTEXT, &bytes].concat());
            let signed = SignedOrder {
                order: bytes,
                signatures: vec![OrderSignature { key: k.id(), scheme: Scheme::Ed25519, signature }],
            };
            assert_eq!(signed.verify(known(&k)).unwrap_err(), BytesError::NotCanonical.into());
        }
    }

    #[test]
    fn an_order_says_in_its_signed_bytes_what_lies_sealed_beside_it() {
        let k = key(1);
        let told = |version: &str| model::OutlinedDeclaration {
            identifier: model::DeclarationId::new("os").unwrap(),
            declared_type: "com.apple.configuration.softwareupdate.enforcement.specific".into(),
            in_force: true,
            keys: vec![model::OutlinedKey {
                path: "TargetOSVersion".into(),
                value: model::OutlinedValue::Text(version.into()),
            }],
        };
        let outline = |version| {
            let declarations = vec![told(version)];
            Some(model::SealedOutline::Declarations(model::SetOutline { declarations, left_out: 0 }))
        };
        let signed = SignedOrder::sign(&Order { outline: outline("18.1"), ..order() }, &k);
        assert_eq!(signed.verify(known(&k)).unwrap().order().outline, outline("18.1"));
        let other = bytes::encode(&Order { outline: outline("17.0"), ..order() });
        let swapped = SignedOrder { order: other, ..signed };
        assert_eq!(swapped.verify(known(&k)).unwrap_err(), SignatureError::DoesNotFit);
    }

    #[test]
    fn an_unknown_signer_and_an_order_without_signature_are_refused() {
        let signed = SignedOrder::sign(&order(), &key(1));
        assert_eq!(signed.verify(known(&key(2))).unwrap_err(), SignatureError::UnknownKey);
        let bare = SignedOrder { signatures: vec![], ..signed };
        assert_eq!(bare.verify(known(&key(1))).unwrap_err(), SignatureError::DoesNotFit);
    }

    #[test]
    fn an_order_too_long_or_with_too_many_signatures_is_refused_before_any_is_checked() {
        let k = key(1);
        let never = |_: KeyId, _: &Order| -> Option<PersonKey> { panic!("a key was looked for") };
        let unreadable: SignatureError = BytesError::Unreadable.into();
        let long = Order { reason: "x".repeat(Order::LARGEST_BYTES), ..order() };
        assert_eq!(SignedOrder::sign(&long, &k).verify(never).unwrap_err(), unreadable);
        let mut many = SignedOrder::sign(&order(), &k);
        many.signatures = vec![many.signatures[0].clone(); SignedOrder::MOST_SIGNATURES + 1];
        assert_eq!(many.verify(never).unwrap_err(), unreadable);
        let most = Order { targets: vec![EnrolmentId([1; 16]); Order::MOST_TARGETS], ..order() };
        assert!(SignedOrder::sign(&most, &k).verify(known(&k)).is_ok());
    }

    proptest! {
        #[test]
        fn decoding_any_bytes_never_panics(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = bytes::decode::<Order>(&data);
            let _ = bytes::decode::<SignedOrder>(&data);
            let _ = bytes::decode::<crate::SignedWarrant>(&data);
            let _ = bytes::decode::<crate::SignedStatement>(&data);
        }
    }
}
