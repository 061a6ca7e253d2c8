//! A token by PKCS#11 (OASIS, v2.40 and v3.0), through the module that its maker gives.

use std::path::Path;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use rpc::hsm::{CaPublic, Publics, Start};
use zeroize::Zeroizing;

use crate::error::TokenError;

/// Beside the CA's key of a house without a token.
const CA_BITS: u64 = 3072;
/// What the rooms' secrets are derived from has so many bytes.
const SECRET_BYTES: u64 = 32;
/// The curve's object identifier, 1.3.101.112 (RFC 8410), and its name, which older tokens want (PKCS#11 v3.0, 2.3.10).
const ED25519: [&[u8]; 2] = [&[6, 3, 0x2b, 0x65, 0x70], b"\x13\x0cedwards25519"];
/// Before a room's name: what its secret is the HMAC of.
const AT_REST: &str = "matron/at-rest/1/";

/// Each mechanism that is used, and for what.
const MECHANISMS: [(MechanismType, &str, &str); 6] = [
    (MechanismType::ECC_EDWARDS_KEY_PAIR_GEN, "CKM_EC_EDWARDS_KEY_PAIR_GEN", "to make the root key"),
    (MechanismType::EDDSA, "CKM_EDDSA", "to sign with the root key"),
    (MechanismType::RSA_PKCS_KEY_PAIR_GEN, "CKM_RSA_PKCS_KEY_PAIR_GEN", "to make the CA's key"),
    (MechanismType::SHA256_RSA_PKCS, "CKM_SHA256_RSA_PKCS", "to sign certificates"),
    (
        MechanismType::GENERIC_SECRET_KEY_GEN,
        "CKM_GENERIC_SECRET_KEY_GEN",
        "to make what the rooms' keys are wrapped under",
    ),
    (MechanismType::SHA256_HMAC, "CKM_SHA256_HMAC", "to derive what a room's keys are wrapped under"),
];

/// An open token, with its user logged in.
pub struct Token {
    session: Session,
    slot: Slot,
    // Ends after the session.
    module: Pkcs11,
    label: String,
    keys: String,
}

/// Handles of the house's keys.
pub struct Keys {
    root: ObjectHandle,
    ca: ObjectHandle,
    at_rest: ObjectHandle,
    publics: Publics,
}

impl Token {
    /// Loads the module, finds the token, logs in: once.
    ///
    /// # Errors
    /// [`TokenError`]; of [`TokenError::Pin`] the caller has to see to it that it is not tried again.
    pub fn open(start: &Start, pin: &Zeroizing<String>) -> Result<Self, TokenError> {
        let (module, slot) = Self::find_slot(start)?;
        let label = start.token.clone();
        let call = |what| move |e: Error| call(&start.token, what, &e);
        let session = module.open_rw_session(slot).map_err(call("opening a session"))?;
        let pin = AuthPin::new(pin.as_str().into());
        match session.login(UserType::User, Some(&pin)) {
            Ok(()) => {}
            Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinLenRange | RvError::PinInvalid, _)) => {
                return Err(TokenError::Pin(label));
            }
            Err(Error::Pkcs11(RvError::PinLocked, _)) => return Err(TokenError::Locked(label)),
            Err(e) => return Err(call("logging in")(e)),
        }
        Ok(Self { session, slot, module, label, keys: start.keys.clone() })
    }

    /// Whether it is there, can do what is needed, and would take a PIN; without giving one.
    ///
    /// # Errors
    /// [`TokenError`]: what is wrong.
    pub fn look(start: &Start) -> Result<(), TokenError> {
        Self::find_slot(start).map(|_| ())
    }

    fn find_slot(start: &Start) -> Result<(Pkcs11, Slot), TokenError> {
        let label = start.token.clone();
        let call = |what| move |e: Error| call(&start.token, what, &e);
        let module = load(&start.module)?;
        let mut of_that_label = Vec::new();
        let mut seen = Vec::new();
        for slot in module.get_slots_with_initialized_token().map_err(call("looking for it"))? {
            let Ok(info) = module.get_token_info(slot) else { continue };
            if info.label() == label {
                of_that_label.push((slot, info));
            } else {
                seen.push(format!("'{}'", info.label()));
            }
        }
        if of_that_label.len() > 1 {
            return Err(TokenError::SeveralTokens(of_that_label.len(), label));
        }
        let Some((slot, info)) = of_that_label.pop() else {
            let seen = if seen.is_empty() { "none".to_owned() } else { seen.join(", ") };
            return Err(TokenError::NoToken { label, seen });
        };
        lacks(&module, slot, &label)?;
        if info.user_pin_locked() {
            return Err(TokenError::Locked(label));
        }
        if info.user_pin_final_try() {
            return Err(TokenError::FinalTry(label));
        }
        Ok((module, slot))
    }

    /// Whether the token is still there, with the root key on it: a module may remember what it said of a token.
    #[must_use]
    pub fn is_there(&self) -> bool {
        let [root, ..] = self.names();
        self.module.get_token_info(self.slot).is_ok_and(|info| info.label() == self.label)
            && self.find_any(&root).is_ok_and(|key| key.is_some())
    }

    /// Looks that none of the house's keys is there yet.
    ///
    /// # Errors
    /// [`TokenError::KeyThere`] among others.
    pub fn none_there(&self) -> Result<(), TokenError> {
        for key in self.names() {
            if self.find_any(&key)?.is_some() {
                return Err(TokenError::KeyThere { label: self.label.clone(), key });
            }
        }
        Ok(())
    }

    /// Finds the house's keys.
    ///
    /// # Errors
    /// [`TokenError`]: they are not there, or not such as can't leave the token.
    pub fn keys(&self) -> Result<Keys, TokenError> {
        let [root_name, ca_name, at_rest_name] = &self.names();
        let root = self.secret(root_name, ObjectClass::PRIVATE_KEY, KeyType::EC_EDWARDS)?;
        let ca = self.secret(ca_name, ObjectClass::PRIVATE_KEY, KeyType::RSA)?;
        let at_rest = self.secret(at_rest_name, ObjectClass::SECRET_KEY, KeyType::GENERIC_SECRET)?;
        let publics = self.publics(root_name, ca_name)?;
        Ok(Keys { root, ca, at_rest, publics })
    }

    /// Signs with the root key.
    ///
    /// # Errors
    /// When the token does not.
    pub fn sign_root(&self, keys: &Keys, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        let mechanism = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure));
        self.sign(&mechanism, keys.root, message, "signing with the root key")
    }

    /// Signs with the CA's key.
    ///
    /// # Errors
    /// When the token does not.
    pub fn sign_ca(&self, keys: &Keys, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        self.sign(&Mechanism::Sha256RsaPkcs, keys.ca, message, "signing a certificate")
    }

    /// Finds a later CA's key; `make`: makes it first if it is not there. One of that number can only be this house's:
    /// it is asked for again where the vault was killed before it had noted it.
    ///
    /// # Errors
    /// [`TokenError`]: it is not there, or can't be made, or is not such as can't leave the token.
    pub fn later_ca(&self, number: u32, make: bool) -> Result<(ObjectHandle, CaPublic), TokenError> {
        let name = format!("{}-ca-{number}", self.keys);
        if make && self.find_any(&name)?.is_none() {
            self.make_ca(&name)?;
        }
        let handle = self.secret(&name, ObjectClass::PRIVATE_KEY, KeyType::RSA)?;
        Ok((handle, self.ca_public(&name)?))
    }

    /// Signs with a later CA's key.
    ///
    /// # Errors
    /// When the token does not.
    pub fn sign_later_ca(&self, ca: ObjectHandle, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        self.sign(&Mechanism::Sha256RsaPkcs, ca, message, "signing a certificate")
    }

    /// Finds a root key that took the installation's place; `make`: makes it first if it is not there, as with a later CA.
    ///
    /// # Errors
    /// As [`Token::later_ca`].
    pub fn later_root(&self, number: u32, make: bool) -> Result<(ObjectHandle, [u8; 32]), TokenError> {
        let name = format!("{}-root-{number}", self.keys);
        if make && self.find_any(&name)?.is_none() {
            self.make_root(&name)?;
        }
        let handle = self.secret(&name, ObjectClass::PRIVATE_KEY, KeyType::EC_EDWARDS)?;
        Ok((handle, self.root_public(&name)?))
    }

    /// Signs with a later root key.
    ///
    /// # Errors
    /// When the token does not.
    pub fn sign_later_root(&self, root: ObjectHandle, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        let mechanism = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure));
        self.sign(&mechanism, root, message, "signing with the root key")
    }

    /// What a room's files are wrapped under: 32 bytes.
    ///
    /// # Errors
    /// When the token does not derive it.
    pub fn secret_of(&self, keys: &Keys, room: &str) -> Result<Zeroizing<Vec<u8>>, TokenError> {
        let text = format!("{AT_REST}{room}");
        self.sign(&Mechanism::Sha256Hmac, keys.at_rest, text.as_bytes(), "deriving a room's secret")
            .map(Zeroizing::new)
    }

    fn sign(
        &self,
        mechanism: &Mechanism<'_>,
        key: ObjectHandle,
        message: &[u8],
        what: &'static str,
    ) -> Result<Vec<u8>, TokenError> {
        self.session.sign(mechanism, key, message).map_err(|e| call(&self.label, what, &e))
    }

    fn names(&self) -> [String; 3] {
        ["root", "ca", "at-rest"].map(|of| format!("{}-{of}", self.keys))
    }

    fn find(&self, template: &[Attribute]) -> Result<Vec<ObjectHandle>, TokenError> {
        self.session.find_objects(template).map_err(|e| call(&self.label, "looking for a key", &e))
    }

    fn find_any(&self, name: &str) -> Result<Option<ObjectHandle>, TokenError> {
        let found = self.find(&[Attribute::Token(true), Attribute::Label(name.into())])?;
        Ok(found.first().copied())
    }

    /// A private or secret key, which can't leave the token.
    fn secret(&self, name: &str, class: ObjectClass, kind: KeyType) -> Result<ObjectHandle, TokenError> {
        let template = [
            Attribute::Token(true),
            Attribute::Class(class),
            Attribute::KeyType(kind),
            Attribute::Label(name.into()),
        ];
        let unfit = |why| TokenError::Unfit { label: self.label.clone(), key: name.to_owned(), why };
        let key = match self.find(&template)?.as_slice() {
            [] => return Err(TokenError::NoKey { label: self.label.clone(), key: name.to_owned() }),
            [one] => *one,
            _ => return Err(unfit("is there more than once")),
        };
        let (mut sensitive, mut kept) = (false, false);
        let wanted = [
            AttributeType::Sensitive,
            AttributeType::Extractable,
            AttributeType::AlwaysSensitive,
            AttributeType::NeverExtractable,
            AttributeType::Local,
        ];
        let said = self.session.get_attributes(key, &wanted);
        for attribute in said.map_err(|e| call(&self.label, "looking at a key", &e))? {
            match attribute {
                Attribute::Sensitive(yes) => sensitive = yes,
                Attribute::Extractable(yes) => kept = !yes,
                Attribute::AlwaysSensitive(false) | Attribute::NeverExtractable(false) => {
                    return Err(unfit("could be read or copied once"));
                }
                Attribute::Local(false) => return Err(unfit("was brought there from elsewhere")),
                _ => {}
            }
        }
        match (sensitive, kept) {
            (true, true) => Ok(key),
            _ => Err(unfit("can be read or copied")),
        }
    }

    /// Makes those of the house's keys that are not there.
    ///
    /// # Errors
    /// When the token does not.
    pub fn make_missing(&self) -> Result<(), TokenError> {
        let failed = |what| move |e: Error| call(&self.label, what, &e);
        let [root, ca, at_rest] = &self.names();
        if self.find_any(root)?.is_none() {
            self.make_root(root)?;
        }
        if self.find_any(ca)?.is_none() {
            self.make_ca(ca)?;
        }
        if self.find_any(at_rest)?.is_none() {
            let mut template = held(at_rest);
            template.push(Attribute::KeyType(KeyType::GENERIC_SECRET));
            template.push(Attribute::ValueLen(SECRET_BYTES.into()));
            let made = self.session.generate_key(&Mechanism::GenericSecretKeyGen, &template);
            made.map_err(failed("making what the rooms' keys are wrapped under"))?;
        }
        Ok(())
    }

    fn make_root(&self, name: &str) -> Result<(), TokenError> {
        let with = |curve: &[u8]| {
            let mut template = public(name);
            template.push(Attribute::EcParams(curve.to_vec()));
            self.session.generate_key_pair(&Mechanism::EccEdwardsKeyPairGen, &template, &held(name))
        };
        let [by_number, by_name] = ED25519;
        let made = with(by_number).or_else(|_| with(by_name));
        made.map(drop).map_err(|e| call(&self.label, "making the root key", &e))
    }

    fn make_ca(&self, name: &str) -> Result<(), TokenError> {
        let mut template = public(name);
        template.push(Attribute::ModulusBits(CA_BITS.into()));
        template.push(Attribute::PublicExponent(vec![1, 0, 1]));
        let made = self.session.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &template, &held(name));
        made.map(drop).map_err(|e| call(&self.label, "making the CA's key", &e))
    }

    fn ca_public(&self, name: &str) -> Result<CaPublic, TokenError> {
        let template = [
            Attribute::Token(true),
            Attribute::Class(ObjectClass::PUBLIC_KEY),
            Attribute::Label(name.into()),
        ];
        let none = || TokenError::NoKey { label: self.label.clone(), key: format!("{name} (public)") };
        let key = self.find(&template)?.first().copied().ok_or_else(none)?;
        let said = self.session.get_attributes(key, &[AttributeType::Modulus, AttributeType::PublicExponent]);
        let mut out = CaPublic { modulus: Vec::new(), exponent: Vec::new() };
        for attribute in said.map_err(|e| call(&self.label, "reading a public key", &e))? {
            match attribute {
                Attribute::Modulus(modulus) => out.modulus = magnitude(modulus),
                Attribute::PublicExponent(exponent) => out.exponent = magnitude(exponent),
                _ => {}
            }
        }
        Ok(out)
    }

    fn publics(&self, root: &str, ca: &str) -> Result<Publics, TokenError> {
        let CaPublic { modulus: ca_modulus, exponent: ca_exponent } = self.ca_public(ca)?;
        Ok(Publics { root: self.root_public(root)?, ca_modulus, ca_exponent })
    }

    fn root_public(&self, name: &str) -> Result<[u8; 32], TokenError> {
        let template = [
            Attribute::Token(true),
            Attribute::Class(ObjectClass::PUBLIC_KEY),
            Attribute::Label(name.into()),
        ];
        let none = || TokenError::NoKey { label: self.label.clone(), key: format!("{name} (public)") };
        let key = self.find(&template)?.first().copied().ok_or_else(none)?;
        let said = self.session.get_attributes(key, &[AttributeType::EcPoint]);
        let said = said.map_err(|e| call(&self.label, "reading a public key", &e))?;
        let point = said.iter().find_map(|a| if let Attribute::EcPoint(p) = a { point_of(p) } else { None });
        point.ok_or_else(|| TokenError::Unfit {
            label: self.label.clone(),
            key: name.to_owned(),
            why: "is no Ed25519 key",
        })
    }
}

impl Keys {
    /// The public halves.
    #[must_use]
    pub fn publics(&self) -> &Publics {
        &self.publics
    }
}

/// What a key that signs is made with: it stays on the token.
fn held(name: &str) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Label(name.into()),
        Attribute::Id(name.into()),
    ]
}

fn public(name: &str) -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Verify(true),
        Attribute::Label(name.into()),
        Attribute::Id(name.into()),
    ]
}

fn call(label: &str, what: &'static str, e: &Error) -> TokenError {
    TokenError::Call { label: label.to_owned(), what, why: e.to_string() }
}

fn load(path: &Path) -> Result<Pkcs11, TokenError> {
    let failed = |e: Error| TokenError::Module { path: path.display().to_string(), why: e.to_string() };
    let module = Pkcs11::new(path).map_err(failed)?;
    // One thread alone speaks to it, and the sandbox is closed while there is one.
    let flags = CInitializeFlags::OS_LOCKING_OK | CInitializeFlags::LIBRARY_CANT_CREATE_OS_THREADS;
    match module.initialize(CInitializeArgs::new(flags)) {
        // Some have to make threads and say so; whether they do is seen at the sandbox.
        Err(Error::Pkcs11(RvError::NeedToCreateThreads, _)) => {
            module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).map_err(failed)?;
        }
        other => other.map_err(failed)?,
    }
    Ok(module)
}

fn lacks(module: &Pkcs11, slot: Slot, label: &str) -> Result<(), TokenError> {
    let has = module.get_mechanism_list(slot).map_err(|e| call(label, "asking what it can do", &e))?;
    let missing: Vec<String> = MECHANISMS
        .iter()
        .filter(|(mechanism, _, _)| !has.contains(mechanism))
        .map(|(_, name, what)| format!("{name} ({what})"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(TokenError::Lacks { label: label.to_owned(), missing: missing.join(", ") })
}

/// The 32 bytes of a CKA_EC_POINT: as an OCTET STRING (PKCS#11 v2.40), or as they are (v3.0, 6.3.5).
fn point_of(said: &[u8]) -> Option<[u8; 32]> {
    said.strip_prefix(&[4, 32]).unwrap_or(said).try_into().ok()
}

/// Without leading zeros.
fn magnitude(number: Vec<u8>) -> Vec<u8> {
    number.into_iter().skip_while(|b| *b == 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_read_in_both_of_its_forms_and_no_other() {
        let point = [7; 32];
        assert_eq!(point_of(&point), Some(point));
        assert_eq!(point_of(&[[4, 32].as_slice(), &point].concat()), Some(point));
        for bad in [&point[1..], &[4, 32], &[], &[[4, 31].as_slice(), &point].concat()] {
            assert_eq!(point_of(bad), None);
        }
    }

    #[test]
    fn a_number_has_no_leading_zeros() {
        assert_eq!(magnitude(vec![0, 0, 1, 0, 1]), [1, 0, 1]);
        assert_eq!(magnitude(vec![1, 0, 1]), [1, 0, 1]);
    }
}
