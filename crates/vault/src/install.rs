//! The vault's very first start.

use std::fs;
use std::path::Path;

use apple::x509::{self, P256Signer, RsaSigner, ServerName, Signer, Window};
use aws_lc_rs::rand::SystemRandom;
use ledger::{Body, FileLedger, SigningPublicKey};
use model::{Compartment, TimeMs, clock::DAY_MS};
use order::{Ed25519Secret, encode, sha256};
use rpc::install::{Installed, VaultWants};
use seal::{CompartmentSecret, IndexKey, KeyPairSecret, PublicKey};
use zeroize::Zeroizing;

use crate::Error;
use crate::authority::{CA_LIFE_MS, CA_NAME};
use crate::derive::DeriveKey;
use crate::keys::{KEY_FILE, KeyFile, Keys, ON_TOKEN, random};
use crate::on_token::CaOnToken;
use crate::rotation::Rotations;
use crate::server::TLS_LIFE_MS;
use crate::state::open_ledger;
use crate::statement::state_keys;

/// Makes the vault's keys, the CA, the other rooms' certificates, the first key statement, and the
/// ledger with its first entries. The answer carries the one-time token of the first administrator,
/// which is kept nowhere.
///
/// # Errors
/// [`Error::Files`] when the folder can't be written, or holds a key file already.
pub fn prepare(dir: &Path, wants: &VaultWants, now_ms: TimeMs) -> Result<Installed, Error> {
    let path = dir.join(KEY_FILE);
    fs::create_dir_all(dir).map_err(|e| Error::files("folder", dir, e))?;
    if path.exists() {
        let there = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
        return Err(Error::files("key file", &path, there));
    }
    let rng = SystemRandom::new();
    let file = make_keys(wants, now_ms, &rng)?;
    let bytes = Zeroizing::new(encode(&file));
    // The keys first: a ledger without its keys is lost, keys without a ledger are made again.
    rpc::at_rest::write(dir, KEY_FILE, &bytes).map_err(|e| Error::files("key file", &path, e))?;
    let keys = Keys::open(dir)?;

    let tls_window = Window { not_before_ms: now_ms - DAY_MS, not_after_ms: now_ms + TLS_LIFE_MS };
    let names: Vec<ServerName> = wants.tls_names.iter().map(|n| server_name(n)).collect();
    let tls_certificate = x509::server_certificate(
        &keys.file.ca_certificate,
        keys.ca.as_ref(),
        &wants.door.tls_spki,
        &names,
        random(&rng)?,
        tls_window,
    )?;

    let token_seed = Zeroizing::new(random::<32>(&rng)?);
    let token_key = Ed25519Secret::from_seed(*token_seed).ok_or(Error::Making("the token".into()))?;
    let statement = encode(&state_keys(&keys, &Rotations::default(), now_ms)?);
    let root_key = public32(keys.root.public())?;
    let (mut ledger, _) = open_ledger(dir)?;
    append_first(&mut ledger, root_key, public32(token_key.public())?, keys.file.epoch, &statement, now_ms)?;

    Ok(Installed {
        root_key,
        ca_certificate: keys.file.ca_certificate.clone(),
        tls_certificate,
        ra_certificate: keys.file.ra_certificate.clone(),
        statement,
        first_token: first_token(&token_seed, &root_key),
    })
}

fn append_first(
    ledger: &mut FileLedger,
    root_key: [u8; 32],
    token_key: [u8; 32],
    epoch: u32,
    statement: &[u8],
    now_ms: TimeMs,
) -> Result<(), Error> {
    let genesis =
        Body::Genesis { root_key: SigningPublicKey(root_key), first_token_key: SigningPublicKey(token_key) };
    let stated = Body::KeysStated { epoch, statement_digest: sha256(statement) };
    ledger.append_batch(vec![genesis, stated], now_ms)?;
    Ok(())
}

fn public32(key: Vec<u8>) -> Result<[u8; 32], Error> {
    key.try_into().map_err(|_| Error::Making("an Ed25519 key".into()))
}

/// `matron-join-` and 64 hexadecimal digits of the seed, then 16 of the root key's fingerprint.
fn first_token(seed: &[u8; 32], root_key: &[u8; 32]) -> String {
    let fingerprint = sha256(root_key).to_string();
    let seed: String = seed.iter().map(|b| format!("{b:02x}")).collect();
    format!("matron-join-{seed}-{}", fingerprint.get(..16).unwrap_or_default())
}

fn server_name(name: &str) -> ServerName {
    name.parse().map_or_else(|_| ServerName::Dns(name.to_owned()), ServerName::Ip)
}

fn make_keys(wants: &VaultWants, now_ms: TimeMs, rng: &SystemRandom) -> Result<KeyFile, Error> {
    // RSA, because SCEP clients of the Go family encrypt to every certificate of GetCACert. Where there is a token, this
    // key and the root key were made on it, and the file holds neither.
    let (version, ca, ca_pkcs8): (u8, Box<dyn Signer>, Vec<u8>) = match CaOnToken::find() {
        Some(ca) => (ON_TOKEN, Box::new(ca), Vec::new()),
        None => {
            let ca = RsaSigner::generate_for_ca()?;
            let pkcs8 = ca.to_pkcs8()?.to_vec();
            (1, Box::new(ca), pkcs8)
        }
    };
    let ca = ca.as_ref();
    let profile_signer = P256Signer::generate()?;
    let long = Window { not_before_ms: now_ms - DAY_MS, not_after_ms: now_ms + CA_LIFE_MS };
    let ca_certificate = x509::ca_certificate(ca, CA_NAME, random(rng)?, long)?;
    let under = Window { not_before_ms: now_ms - DAY_MS, not_after_ms: now_ms + CA_LIFE_MS - DAY_MS };
    let ra_certificate =
        x509::ra_certificate(&ca_certificate, ca, &wants.reader.ra_spki, random(rng)?, under)?;
    let profile_signer_certificate = x509::profile_signer_certificate(
        &ca_certificate,
        ca,
        profile_signer.spki_der(),
        random(rng)?,
        under,
    )?;
    let compartments = Compartment::ALL
        .into_iter()
        .filter(|c| *c != Compartment::Push)
        .map(|c| CompartmentSecret::generate(c, 1, rng))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(KeyFile {
        version,
        root_seed: if version == ON_TOKEN { [0; 32] } else { random(rng)? },
        warrant_seed: random(rng)?,
        ca_pkcs8,
        profile_signer_pkcs8: profile_signer.to_pkcs8()?.to_vec(),
        ca_certificate,
        ra_certificate,
        profile_signer_certificate,
        order_key: KeyPairSecret::generate(rng)?,
        sender_key: KeyPairSecret::generate(rng)?,
        compartments,
        index_key: IndexKey::generate(rng)?,
        derive_key: DeriveKey(random(rng)?),
        epoch: 1,
        reader_key: PublicKey(wants.reader.sender_key),
        delivery_key: PublicKey(wants.door.delivery_key),
        push_key: PublicKey(wants.courier.push_key),
        retired: None,
        older_cas: None,
        former_cas: None,
        ca_on_token: None,
        tls_spki: Some(wants.door.tls_spki.clone()),
        later_profile_signers: None,
        successions: None,
        root_on_token: None,
    })
}
