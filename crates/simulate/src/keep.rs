//! A fleet that lives on after its process ended: one file, for its owner alone, since the phones' private
//! keys are in it.

use crate::Fault;
use crate::answer::Life;
use crate::keys::PhoneKey;
use crate::network::{Network, https};
use crate::phone::{Identity, Phone, State};
use aws_lc_rs::digest;
use model::{CommandId, EnrolmentId};
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use zeroize::Zeroizing;

/// The largest file that is read, in bytes: some 200,000 phones.
const MAX_FILE_BYTES: u64 = 1 << 30;
const VERSION: u32 = 1;

#[derive(minicbor::Encode, minicbor::Decode)]
struct Kept {
    #[n(0)]
    version: u32,
    #[n(1)]
    phones: Vec<KeptPhone>,
    /// Keys, PKCS#8; phones under load share some.
    #[n(2)]
    keys: Vec<KeptBytes>,
    /// Roots that phones trust, DER.
    #[n(3)]
    roots: Vec<KeptBytes>,
}

#[derive(minicbor::Encode, minicbor::Decode, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
#[cbor(transparent)]
struct KeptBytes(
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    Vec<u8>,
);

#[derive(minicbor::Encode, minicbor::Decode)]
struct KeptPhone {
    #[n(0)]
    seed: u64,
    #[n(1)]
    index: u32,
    #[n(2)]
    state: State,
    #[n(3)]
    life: Life,
    #[n(4)]
    conversations: u32,
    #[n(5)]
    token_due: bool,
    #[n(6)]
    confirmed: Vec<CommandId>,
    /// Of an enrolment that broke off.
    #[n(7)]
    key: Option<u32>,
    #[n(8)]
    identity: Option<KeptIdentity>,
}

#[derive(minicbor::Encode, minicbor::Decode)]
struct KeptIdentity {
    #[n(0)]
    key: u32,
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    certificate: Vec<u8>,
    #[n(2)]
    enrolment: Option<EnrolmentId>,
    #[n(3)]
    authenticated: bool,
    #[n(4)]
    server: String,
    #[n(5)]
    check_in: String,
    #[n(6)]
    topic: String,
    #[n(7)]
    roots: Vec<u32>,
    #[n(8)]
    sign_messages: Option<bool>,
}

/// Byte strings, each once.
#[derive(Default)]
struct Table {
    known: HashMap<[u8; 32], u32>,
    all: Vec<KeptBytes>,
}

impl Table {
    fn put(&mut self, bytes: &[u8]) -> u32 {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        if let Some(at) = self.known.get(&hash) {
            return *at;
        }
        let at = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.known.insert(hash, at);
        self.all.push(KeptBytes(bytes.to_vec()));
        at
    }
}

/// Writes phones to a file, whole or not at all; only its owner may read it.
///
/// # Errors
/// [`Fault::Io`]; [`Fault::Own`] if they can't be encoded.
pub fn keep(phones: &[Phone], file: &Path) -> Result<(), Fault> {
    let (mut keys, mut roots) = (Table::default(), Table::default());
    let phones = phones
        .iter()
        .map(|phone| KeptPhone {
            seed: phone.seed,
            index: phone.index,
            state: phone.state,
            life: phone.life.clone(),
            conversations: phone.conversations,
            token_due: phone.token_due,
            confirmed: phone.confirmed.iter().copied().collect(),
            key: phone.key.as_ref().map(|key| keys.put(key.pkcs8())),
            identity: phone.identity.as_deref().map(|identity| KeptIdentity {
                key: keys.put(identity.key.pkcs8()),
                certificate: identity.certificate.to_vec(),
                enrolment: identity.enrolment,
                authenticated: identity.authenticated,
                server: identity.server.to_string(),
                check_in: identity.check_in.to_string(),
                topic: identity.topic.to_string(),
                roots: identity.network.anchors().map(|der| roots.put(der)).collect(),
                sign_messages: identity.sign_messages.then_some(true),
            }),
        })
        .collect();
    let kept = Kept { version: VERSION, phones, keys: keys.all, roots: roots.all };
    let bytes =
        Zeroizing::new(minicbor::to_vec(&kept).map_err(|_| Fault::Own("a fleet couldn't be encoded"))?);

    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    // A left-over of a process that was killed.
    let _ = std::fs::remove_file(&beside);
    let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    new.write_all(&bytes)?;
    new.sync_all()?;
    std::fs::rename(&beside, file)?;
    Ok(())
}

/// Reads phones that [`keep`] wrote. They trust what they trusted, and what `network` says besides; they dial
/// as `network` says.
///
/// # Errors
/// [`Fault::Io`]; [`Fault::Kept`] for a file that [`keep`] didn't write, or another version of it did.
pub fn kept(file: &Path, network: &Network) -> Result<Vec<Phone>, Fault> {
    const BAD: Fault = Fault::Kept("it can't be read");
    let mut bytes = Zeroizing::new(Vec::new());
    std::fs::File::open(file)?.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    // The version first: what follows may be of any shape.
    let mut head = minicbor::Decoder::new(&bytes);
    if head.array().is_err() || head.u32().map_err(|_| BAD)? != VERSION {
        return Err(Fault::Kept("it is none, or another version's"));
    }
    let kept: Kept = minicbor::decode(&bytes).map_err(|_| BAD)?;

    let mut uses = vec![0u32; kept.keys.len()];
    for at in kept.phones.iter().filter_map(|phone| phone.identity.as_ref()).map(|identity| identity.key) {
        *uses.get_mut(at as usize).ok_or(BAD)? += 1;
    }
    let keys = kept.keys.iter().zip(uses).map(|(key, uses)| PhoneKey::kept(&key.0, uses > 1));
    let keys = keys.collect::<Result<Vec<_>, _>>().map_err(|_| BAD)?;
    let key = |at: u32| keys.get(at as usize).cloned().ok_or(BAD);

    let mut networks: HashMap<Vec<u32>, Network> = HashMap::new();
    let mut phones = Vec::with_capacity(kept.phones.len());
    for phone in kept.phones {
        let identity = match phone.identity {
            None => None,
            Some(identity) => {
                let network = match networks.get(&identity.roots) {
                    Some(network) => network.clone(),
                    None => {
                        let of = |at: &u32| kept.roots.get(*at as usize).map(|der| der.0.to_vec()).ok_or(BAD);
                        let roots = identity.roots.iter().map(of).collect::<Result<Vec<_>, _>>()?;
                        let network = network.and_trusting(&roots).map_err(|_| BAD)?;
                        networks.entry(identity.roots).or_insert(network).clone()
                    }
                };
                Some(Box::new(Identity {
                    key: key(identity.key)?,
                    certificate: identity.certificate.into(),
                    enrolment: identity.enrolment,
                    authenticated: identity.authenticated,
                    server: https(&identity.server).map_err(|_| BAD)?,
                    check_in: https(&identity.check_in).map_err(|_| BAD)?,
                    topic: identity.topic.into(),
                    network,
                    tls: None,
                    sign_messages: identity.sign_messages.unwrap_or(false),
                }))
            }
        };
        phones.push(Phone {
            seed: phone.seed,
            index: phone.index,
            state: phone.state,
            key: phone.key.map(key).transpose()?,
            identity,
            life: phone.life,
            conversations: phone.conversations,
            token_due: phone.token_due,
            confirmed: phone.confirmed.into(),
        });
    }
    Ok(phones)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::PermissionsExt;

    fn network() -> Network {
        let ca = apple::x509::P256Signer::generate().unwrap();
        let window = apple::x509::Window { not_before_ms: 0, not_after_ms: 4_000_000_000_000 };
        Network::trusting(&apple::x509::ca_certificate(&ca, "CA", [1; 16], window).unwrap()).unwrap()
    }

    fn enrolled(index: u32, key: &PhoneKey, network: &Network) -> Phone {
        let mut phone = Phone::new(1, index);
        phone.state = State::Enrolled;
        phone.life.lost_mode = true;
        phone.identity = Some(Box::new(Identity {
            key: key.clone(),
            certificate: vec![1, 2, 3].into(),
            enrolment: Some(EnrolmentId([5; 16])),
            authenticated: true,
            server: https("https://mdm.example.org:8443/mdm").unwrap(),
            check_in: https("https://mdm.example.org:8443/mdm").unwrap(),
            topic: "com.apple.mgmt.test".into(),
            network: network.clone(),
            tls: None,
            sign_messages: false,
        }));
        phone
    }

    #[test]
    fn a_kept_fleet_comes_back_as_it_was_and_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("fleet");
        let (network, other) = (network(), super::tests::network());
        let key = PhoneKey::make().unwrap();
        let phones = [enrolled(0, &key, &network), enrolled(1, &key, &network), Phone::new(1, 2)];
        keep(&phones, &file).unwrap();
        keep(&phones, &file).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        // One key, one root, however many phones.
        assert!(std::fs::metadata(&file).unwrap().len() < 4000);

        let back = kept(&file, &other).unwrap();
        assert_eq!(back.len(), 3);
        for (a, b) in phones.iter().zip(&back) {
            assert_eq!(
                (a.index, a.state, &a.life, a.enrolment()),
                (b.index, b.state, &b.life, b.enrolment())
            );
        }
        let identity = back[0].identity.as_deref().unwrap();
        assert_eq!(identity.key.pkcs8(), key.pkcs8());
        assert_eq!(identity.network.anchors().count(), 2);
        assert!(matches!(kept(&dir.path().join("none"), &other), Err(Fault::Io(_))));
    }

    #[test]
    fn another_version_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("fleet");
        let kept_by_others = Kept { version: 2, phones: vec![], keys: vec![], roots: vec![] };
        std::fs::write(&file, minicbor::to_vec(&kept_by_others).unwrap()).unwrap();
        let error = kept(&file, &network()).unwrap_err();
        assert!(error.to_string().contains("another version"), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_damaged_file_is_refused_or_read_but_never_a_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("fleet");
            keep(&[Phone::new(1, 1), Phone::new(1, 2)], &file).unwrap();
            let mut bytes = std::fs::read(&file).unwrap();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            std::fs::write(&file, &bytes).unwrap();
            let network = network();
            let _ = kept(&file, &network);
            bytes.truncate(at);
            std::fs::write(&file, &bytes).unwrap();
            prop_assert!(kept(&file, &network).is_err());
        }
    }
}
