//! The vault's key file. One file, mode 0600, in the vault's own folder; written at the
//! installation, and whole again at each rotation. Whoever reads it has the house;
//! so it is wrapped where the root key comes from elsewhere than the disk ([`rpc::at_rest`]).

use std::path::Path;

use apple::x509::{self, Certificate, P256Signer, Signer, Window, signer_from_pkcs8};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use ledger::{Opaque, PersonCover, PersonKeys};
use minicbor::{Decode, Encode};
use model::clock::DAY_MS;
use model::{Compartment, KeyName, TimeMs};
use order::Ed25519Secret;
use order::root::SignedSuccession;
use rpc::at_rest;
use rpc::hsm::{Hsm, of_this_process};
use seal::{
    CompartmentPublic, CompartmentSecret, IndexKey, KeyPairSecret, OpenError, Opener, PublicKey, Sealer, to,
};
use zeroize::Zeroizing;

use crate::Error;
use crate::derive::DeriveKey;
use crate::on_token::{CaOnToken, RootKey};
use crate::rotation::{Made, Rotations};

pub(crate) const KEY_FILE: &str = "keys.cbor";
/// The version of a key file since the first rotation.
const ROTATED: u8 = 2;
/// And of one without root and CA keys, which are on a token: `root_seed` is zero, `ca_pkcs8` empty.
pub(crate) const ON_TOKEN: u8 = 3;

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
    /// Since the first rotation: older keys, for as long as something is under them. Older keys of compartments stand
    /// in `compartments`, each with the epoch from which it served.
    #[n(17)]
    pub(crate) retired: Option<Retired>,
    /// CAs before the newest whose certificates still count, the oldest first. Their keys are gone.
    #[n(18)]
    pub(crate) older_cas: Option<Vec<OlderCa>>,
    /// The certificates of all CAs before the newest, those that ended too, the oldest first.
    #[n(19)]
    pub(crate) former_cas: Option<Vec<Opaque>>,
    /// Where the CA's key is on a token: its number there, if it is not the installation's.
    #[n(20)]
    pub(crate) ca_on_token: Option<u32>,
    /// The public half (SubjectPublicKeyInfo) of the door's own TLS key; houses of before learn it at its first rotation.
    #[n(21)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) tls_spki: Option<Vec<u8>>,
    /// Certificates of the profiles' signer by later CAs, by the epochs that began with them, ascending.
    #[n(22)]
    pub(crate) later_profile_signers: Option<Vec<(u32, Opaque, Opaque)>>,
    /// From the installation's root key to the one that is here, once there was another. The keys before are gone.
    #[n(23)]
    pub(crate) successions: Option<Vec<SignedSuccession>>,
    /// Where the root key is on a token: its number there, if it is not the installation's.
    #[n(24)]
    pub(crate) root_on_token: Option<u32>,
}

/// A CA before the newest.
#[derive(Encode, Decode)]
pub(crate) struct OlderCa {
    /// The epoch that began without it.
    #[n(0)]
    pub(crate) until: u32,
    /// Its certificate (DER).
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) certificate: Vec<u8>,
    /// The next CA's key, certified by it (DER).
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) successor: Vec<u8>,
}

/// Older keys that are still needed, each with the epoch that began without it.
#[derive(Default, Encode, Decode)]
pub(crate) struct Retired {
    /// The public halves of keys with which the vault proved itself: their secret halves are gone at once.
    #[n(0)]
    pub(crate) senders: Vec<(u32, PublicKey)>,
    /// Keys to which orders' arguments and services' tokens were sealed.
    #[n(1)]
    pub(crate) orders: Vec<(u32, KeyPairSecret)>,
    /// The installation's key for links. The UUIDs of payloads that phones hold were derived with it, and a phone takes
    /// a profile for its own by them; they are no secret.
    #[n(2)]
    pub(crate) first_links: Option<DeriveKey>,
    /// The public halves of keys with which the reader proved itself.
    #[n(3)]
    pub(crate) readers: Option<Vec<(u32, PublicKey)>>,
}

/// The keys, ready to use.
pub(crate) struct Keys {
    pub(crate) root: RootKey,
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
        let bytes = at_rest::read(dir, KEY_FILE).map_err(|e| Error::files("key file", &path, e))?;
        let unreadable = || Error::KeyFile(path.display().to_string());
        let file: KeyFile = minicbor::decode(&bytes).map_err(|_| unreadable())?;
        let (root, ca) = match (file.version, of_this_process()) {
            (1..=ROTATED, None) => {
                let root = RootKey::InFile(Ed25519Secret::from_seed(file.root_seed).ok_or_else(unreadable)?);
                (root, signer_from_pkcs8(&file.ca_pkcs8)?)
            }
            (ON_TOKEN, Some(hsm)) => on_token(hsm, &file)?,
            (1..=ROTATED, Some(_)) => return Err(Error::NotOnToken),
            (ON_TOKEN, None) => return Err(Error::NoToken),
            _ => return Err(unreadable()),
        };
        Ok(Self {
            root,
            warrant: Ed25519Secret::from_seed(file.warrant_seed).ok_or_else(unreadable)?,
            ca,
            profile_signer: P256Signer::from_pkcs8(&file.profile_signer_pkcs8)?,
            file,
        })
    }

    /// The public half of every compartment's newest key that the vault itself holds, of the present epoch: whoever
    /// seals names the epoch of the statement that it goes by.
    pub(crate) fn compartment_publics(&self) -> Vec<CompartmentPublic> {
        let epoch = self.file.epoch;
        let newest = Compartment::ALL.into_iter().filter_map(|c| self.serving(c, epoch));
        newest.map(|s| CompartmentPublic { epoch, ..s.public() }).collect()
    }

    /// The key of a compartment that served in an epoch, if it is still there.
    fn serving(&self, compartment: Compartment, epoch: u32) -> Option<&CompartmentSecret> {
        let of = self.file.compartments.iter().filter(|s| s.compartment == compartment && s.epoch <= epoch);
        of.max_by_key(|s| s.epoch)
    }

    /// Opens what was sealed in this epoch and before, as far as keys of then are there.
    pub(crate) fn opener(&self) -> Opener {
        let mut secrets = Vec::new();
        for epoch in 1..=self.file.epoch {
            let of = |c| self.serving(c, epoch).map(|s| CompartmentSecret { epoch, ..s.clone() });
            secrets.extend(Compartment::ALL.into_iter().filter_map(of));
        }
        let mut senders = vec![self.file.reader_key, self.file.sender_key.public()];
        senders.extend(self.file.retired.iter().flat_map(|r| r.senders.iter().map(|(_, key)| *key)));
        senders.extend(self.older_readers());
        Opener::new(secrets, senders)
    }

    /// Seals under the newest keys.
    pub(crate) fn sealer(&self) -> Sealer {
        Sealer::new(self.file.sender_key.clone(), self.compartment_publics())
    }

    /// Keys with which the reader proved itself before, while rows of then are left.
    pub(crate) fn older_readers(&self) -> impl Iterator<Item = PublicKey> {
        let readers = self.file.retired.iter().flat_map(|r| r.readers.iter().flatten());
        readers.map(|(_, key)| *key)
    }

    /// What the UUIDs of payloads are derived with.
    pub(crate) fn payload_key(&self) -> &DeriveKey {
        self.file.retired.as_ref().and_then(|r| r.first_links.as_ref()).unwrap_or(&self.file.derive_key)
    }

    /// The key that orders' arguments are sealed to, and older ones.
    pub(crate) fn order_keys(&self) -> impl Iterator<Item = &KeyPairSecret> {
        let retired = self.file.retired.iter().flat_map(|r| r.orders.iter().rev().map(|(_, key)| key));
        std::iter::once(&self.file.order_key).chain(retired)
    }

    /// Opens what was sealed to the vault.
    pub(crate) fn open_order(
        &self,
        info: &[u8],
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let opened = self.order_keys().find_map(|key| to::open(key, info, aad, sealed).ok());
        opened.ok_or(OpenError::DoesNotOpen)
    }

    /// Opens what the reader sealed to the vault.
    pub(crate) fn open_from_reader(
        &self,
        info: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        // One that was sealed a moment before the reader went by its newest key is as good.
        let readers: Vec<_> = std::iter::once(self.file.reader_key).chain(self.older_readers()).collect();
        let by = |key| readers.iter().find_map(|reader| to::open_auth(key, reader, info, b"", sealed).ok());
        let opened = self.order_keys().find_map(by);
        opened.ok_or(OpenError::DoesNotOpen)
    }

    /// Makes the keys what the ledger says of them: those that were ordered to be made anew are, and those under which
    /// nothing is left are gone. Whole or not at all, and again after a crash. Answers whether anything changed.
    pub(crate) fn settle(&mut self, dir: &Path, said: &Rotations, rng: &SystemRandom) -> Result<bool, Error> {
        let mut changed = false;
        for (epoch, made) in said.after(self.file.epoch) {
            match made {
                Made::Own(keys, at_ms) => {
                    keys.iter().try_for_each(|key| self.make_anew(*key, epoch, *at_ms, rng))?;
                }
                Made::Room(key, public, at_ms) => self.take(*key, public, epoch, *at_ms, rng)?,
            }
            self.file.epoch = epoch;
            self.file.version = self.file.version.max(ROTATED);
            changed = true;
        }
        changed |= self.drop_unneeded(said);
        if changed {
            let bytes = Zeroizing::new(order::encode(&self.file));
            at_rest::write(dir, KEY_FILE, &bytes)
                .map_err(|e| Error::files("key file", &dir.join(KEY_FILE), e))?;
        }
        Ok(changed)
    }

    fn make_anew(
        &mut self,
        key: KeyName,
        epoch: u32,
        at_ms: TimeMs,
        rng: &SystemRandom,
    ) -> Result<(), Error> {
        // A room's own comes later.
        if key.made_by().is_some() {
            return Ok(());
        }
        if key == KeyName::Ca {
            return self.make_ca_anew(epoch, at_ms, rng);
        }
        if key == KeyName::Root {
            return self.make_root_anew(epoch, at_ms, rng);
        }
        let file = &mut self.file;
        if let Some(compartment) = key.compartment() {
            file.compartments.push(CompartmentSecret::generate(compartment, epoch, rng)?);
        }
        match key {
            KeyName::Index => file.index_key = IndexKey::generate(rng)?,
            KeyName::Warrant => {
                file.warrant_seed = random(rng)?;
                self.warrant = Ed25519Secret::from_seed(file.warrant_seed)
                    .ok_or_else(|| Error::Making("a warrant key".into()))?;
            }
            KeyName::Orders => {
                let before = std::mem::replace(&mut file.order_key, KeyPairSecret::generate(rng)?);
                file.retired.get_or_insert_default().orders.push((epoch, before));
            }
            KeyName::VaultSender => {
                let before = std::mem::replace(&mut file.sender_key, KeyPairSecret::generate(rng)?);
                file.retired.get_or_insert_default().senders.push((epoch, before.public()));
            }
            KeyName::Links => {
                let before = std::mem::replace(&mut file.derive_key, DeriveKey(random(rng)?));
                file.retired.get_or_insert_default().first_links.get_or_insert(before);
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether these bytes can be the public half of a room's new key.
    pub(crate) fn fits(&self, key: KeyName, public: &[u8]) -> Result<(), &'static str> {
        let stated = match key {
            KeyName::Push => self.file.push_key,
            KeyName::Delivery => self.file.delivery_key,
            KeyName::ReaderSender => self.file.reader_key,
            // Nothing but the token's or the disk's failure can then stop its certificate.
            KeyName::ScepRa => {
                return match x509::PublicKey::from_spki(public) {
                    Ok(key) if key.is_rsa() => Ok(()),
                    _ => Err("it is no RSA key of 2048 bits or more"),
                };
            }
            KeyName::Tls => {
                return match x509::PublicKey::from_spki(public) {
                    Ok(x509::PublicKey::P256) if self.file.tls_spki.as_deref() == Some(public) => {
                        Err("it is the one before")
                    }
                    Ok(x509::PublicKey::P256) => Ok(()),
                    _ => Err("it is no P-256 key"),
                };
            }
            // Not a public half, for there is none: what says which key it is.
            KeyName::ChangeTags => {
                return if public.len() == 32 { Ok(()) } else { Err("it has not 32 bytes") };
            }
            _ => return Err("it is the vault's own"),
        };
        match <[u8; 32]>::try_from(public) {
            Ok(new) if new != stated.0 => Ok(()),
            Ok(_) => Err("it is the one before"),
            Err(_) => Err("it has not 32 bytes"),
        }
    }

    /// States a room's new key from now on. It was looked at before the ledger had it.
    fn take(
        &mut self,
        key: KeyName,
        public: &[u8],
        epoch: u32,
        at_ms: TimeMs,
        rng: &SystemRandom,
    ) -> Result<(), Error> {
        let file = &mut self.file;
        if key == KeyName::ScepRa {
            let ca_ends_ms = Certificate::parse(&file.ca_certificate)?.not_after_ms();
            let window = Window { not_before_ms: at_ms - DAY_MS, not_after_ms: ca_ends_ms - DAY_MS };
            let (ca, serial) = (&file.ca_certificate, random(rng)?);
            file.ra_certificate = x509::ra_certificate(ca, self.ca.as_ref(), public, serial, window)?;
            return Ok(());
        }
        // Nobody but the reader needs to know it.
        if key == KeyName::ChangeTags {
            return Ok(());
        }
        if key == KeyName::Tls {
            file.tls_spki = Some(public.to_vec());
            return Ok(());
        }
        let new = <[u8; 32]>::try_from(public).map(PublicKey);
        let new = new.map_err(|_| Error::Making(format!("the statement of the key '{}'", key.name())))?;
        match key {
            KeyName::Push => file.push_key = new,
            KeyName::Delivery => file.delivery_key = new,
            KeyName::ReaderSender => {
                let before = std::mem::replace(&mut file.reader_key, new);
                let retired = file.retired.get_or_insert_default();
                retired.readers.get_or_insert_default().push((epoch, before));
            }
            _ => {}
        }
        Ok(())
    }

    /// Drops older keys that the ledger says are destroyed. A ledger from a backup may not know of a rotation that these
    /// keys had: what served before that one is kept until the ledger has a later one.
    fn drop_unneeded(&mut self, said: &Rotations) -> bool {
        let gone = |key: KeyName, until: u32| said.old(key).is_none() && said.made_in(key) >= until;
        let mut changed = false;
        for compartment in Compartment::ALL {
            let Some(key) = KeyName::of(compartment) else { continue };
            let epochs: Vec<u32> = self
                .file
                .compartments
                .iter()
                .filter(|s| s.compartment == compartment)
                .map(|s| s.epoch)
                .collect();
            let next = |epoch: u32| epochs.iter().copied().filter(|e| *e > epoch).min();
            let before = self.file.compartments.len();
            self.file.compartments.retain(|s| {
                s.compartment != compartment || next(s.epoch).is_none_or(|until| !gone(key, until))
            });
            changed |= self.file.compartments.len() != before;
        }
        if let Some(older) = &mut self.file.older_cas {
            let before = older.len();
            older.retain(|ca| !gone(KeyName::Ca, ca.until));
            changed |= older.len() != before;
        }
        if let Some(retired) = &mut self.file.retired {
            let before = retired.senders.len() + retired.orders.len();
            retired
                .senders
                .retain(|(until, _)| said.rows_wait() || said.made_in(KeyName::VaultSender) < *until);
            retired.orders.retain(|(until, _)| !gone(KeyName::Orders, *until));
            changed |= retired.senders.len() + retired.orders.len() != before;
            if let Some(readers) = &mut retired.readers {
                let before = readers.len();
                let made_in = said.made_in(KeyName::ReaderSender);
                readers.retain(|(until, _)| said.any_rows_wait() || made_in < *until);
                changed |= readers.len() != before;
            }
        }
        changed
    }
}

/// Root key and CA of a house that has them on a token; the CA's key has to be its certificate's. The root key is the
/// ledger's, which is looked at where the ledger is.
fn on_token(hsm: &'static Hsm, file: &KeyFile) -> Result<(RootKey, Box<dyn Signer>), Error> {
    let ca = match file.ca_on_token {
        None => CaOnToken::of(hsm),
        Some(number) => CaOnToken::later(hsm, number, false)?,
    };
    if Certificate::parse(&file.ca_certificate)?.spki_der() != ca.spki_der() {
        return Err(Error::OtherToken);
    }
    let root = match file.root_on_token {
        None => RootKey::OnToken { hsm, later: None },
        Some(number) => RootKey::later(hsm, number, false)?,
    };
    let led_to = file.successions.iter().flatten().filter_map(SignedSuccession::open).next_back();
    if led_to.is_some_and(|s| s.next.as_slice() != root.public()) {
        return Err(Error::OtherToken);
    }
    Ok((root, Box::new(ca)))
}

pub(crate) fn random<const N: usize>(rng: &dyn SecureRandom) -> Result<[u8; N], Error> {
    let mut out = [0u8; N];
    rng.fill(&mut out).map_err(|_| Error::Making("no random numbers".into()))?;
    Ok(out)
}

/// The persons' keys, covered by a key of the vault's where the root key comes from elsewhere.
pub(crate) fn open_persons(dir: &Path) -> Result<PersonKeys, Error> {
    Ok(PersonKeys::load_covered(dir, persons_cover(dir)?)?)
}

/// What the persons' keys are covered with, if they are.
pub(crate) fn persons_cover(dir: &Path) -> Result<Option<PersonCover>, Error> {
    let key = at_rest::derived("persons").map_err(|e| Error::files("persons' keys", dir, e))?;
    Ok(key.map(PersonCover::new))
}
