//! The door's very first start: a TLS key and a delivery key in its own folder.

use std::fs;
use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use rpc::at_rest;
use rpc::install::{DoorPublic, Installed};
use rpc::trust::{Trust, write_file};
use seal::KeyPairSecret;
use zeroize::Zeroizing;

use crate::Error;
use crate::delivery::Delivery;
use crate::tls_keys::{self, TlsKeys};

pub(crate) const TLS_KEY: &str = "tls.key.der";
pub(crate) const TLS_CERTIFICATE: &str = "tls.cert.der";
pub(crate) const CA_CERTIFICATE: &str = "ca.cert.der";
pub(crate) const DELIVERY_KEY: &str = "delivery.key";

/// Makes the door's keys, unless they are there, and says their public halves.
///
/// # Errors
/// When the folder can't be written, or a key in it can't be read.
pub fn prepare(dir: &Path) -> Result<DoorPublic, Error> {
    fs::create_dir_all(dir).map_err(|e| Error::files("folder", dir, e))?;
    if !dir.join(TLS_KEY).exists() {
        let pkcs8 = tls_keys::fresh().map_err(|e| Error::Tls(e.to_string()))?;
        write(dir, TLS_KEY, &pkcs8)?;
    }
    if !dir.join(DELIVERY_KEY).exists() {
        let key = KeyPairSecret::generate(&SystemRandom::new())
            .map_err(|_| Error::Tls("no random numbers".into()))?;
        write(dir, DELIVERY_KEY, key.secret_bytes())?;
    }
    let tls_spki =
        TlsKeys::open(dir)?.newest().map_err(|e| Error::files("TLS key", &dir.join(TLS_KEY), e))?;
    Ok(DoorPublic {
        tls_spki,
        delivery_key: Delivery::open(dir)?.keys().first().map(|k| k.public().0).unwrap_or_default(),
    })
}

/// Pins the root key and keeps the certificates that the vault made.
///
/// # Errors
/// When the folder can't be written.
pub fn install(dir: &Path, installed: &Installed) -> Result<(), Error> {
    write(dir, TLS_CERTIFICATE, &installed.tls_certificate)?;
    write(dir, CA_CERTIFICATE, &installed.ca_certificate)?;
    Trust::install(dir, &installed.root_key, &installed.statement)
        .map_err(|e| Error::files("pinned root key", dir, e))
}

pub(crate) fn write(dir: &Path, name: &'static str, content: &[u8]) -> Result<(), Error> {
    let written = match is_secret(name) {
        true => at_rest::write(dir, name, content),
        false => write_file(dir, name, content, true),
    };
    written.map_err(|e| Error::files(name, &dir.join(name), e))
}

/// The names of keys say that they are keys.
fn is_secret(name: &str) -> bool {
    name.split('.').any(|word| word == "key")
}

pub(crate) fn read(dir: &Path, name: &'static str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let path = dir.join(name);
    let found = match is_secret(name) {
        true => at_rest::read(dir, name),
        false => fs::read(&path).map(Zeroizing::new),
    };
    found.map_err(|e| Error::files(name, &path, e))
}
