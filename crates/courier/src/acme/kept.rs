//! What of ACME lies in the courier's folder: the account's key (0600) and URL, and the order under way.

use std::fs;
use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use instant_acme::{Key, RetryPolicy};
use model::TimeMs;
use rpc::at_rest;
use rpc::trust::write_file;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::AcmeConfig;
use super::schedule;
use super::trying::Failed;
use crate::Error;

const ACCOUNT_KEY: &str = "acme.account.key";
const ACCOUNT: &str = "acme.account.json";
const PROGRESS: &str = "acme.progress.json";

/// How long one try waits for the authority before it is left for later.
pub(super) const POLLING: RetryPolicy =
    RetryPolicy::new().timeout(std::time::Duration::from_secs(120)).backoff(1.5);

/// An account that an authority knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) directory: String,
    pub(super) url: String,
    /// What the authority was last told.
    pub(super) contact: Option<String>,
}

/// The account's private key, made at the first use. It outlives a change of the directory.
pub(super) fn account_key(dir: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let path = dir.join(ACCOUNT_KEY);
    let file = |verb| {
        let path = path.clone();
        move |source| Error::File { path, verb, source }
    };
    if !path.exists() {
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| Error::Keys("the system gave no random bytes".into()))?;
        at_rest::write(dir, ACCOUNT_KEY, made.as_ref()).map_err(file("written"))?;
    }
    at_rest::read(dir, ACCOUNT_KEY).map_err(file("read"))
}

/// The same as instant-acme takes it.
pub(super) fn key_of(pkcs8: &[u8]) -> Result<(Key, PrivateKeyDer<'static>), instant_acme::Error> {
    let key = Key::from_pkcs8_der(PrivatePkcs8KeyDer::from(pkcs8))?;
    Ok((key, PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pkcs8.to_vec()))))
}

/// The account at this directory, if there is one.
pub(super) fn account(dir: &Path, directory: &str) -> Option<Account> {
    let account: Account = serde_json::from_slice(&fs::read(dir.join(ACCOUNT)).ok()?).ok()?;
    (account.directory == directory).then_some(account)
}

/// Its URL, for the health page; empty before there is one.
pub(super) fn account_url(dir: &Path, config: &AcmeConfig) -> String {
    account(dir, &config.directory).map(|a| a.url).unwrap_or_default()
}

pub(super) fn keep_account(dir: &Path, account: &Account) -> Result<(), Error> {
    let text = serde_json::to_vec(account).unwrap_or_default();
    write_file(dir, ACCOUNT, &text, true).map_err(|source| Error::File {
        path: dir.join(ACCOUNT),
        verb: "written",
        source,
    })
}

/// How far it has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Progress {
    /// The directory that all of this is about.
    directory: String,
    /// The order under way, to be gone on with.
    pub(super) order: Option<String>,
    /// Tries that failed in a row, why the last one did, and when the next is due.
    pub(super) failures: u32,
    pub(super) last_error: String,
    pub(super) next_try_at_ms: TimeMs,
    /// The authority's word: no try before this.
    pub(super) not_before_ms: TimeMs,
    /// Somebody asked for a try now.
    pub(super) wanted: bool,
}

impl Progress {
    /// What was kept about this directory. A file that can't be read is as good as none: then an order is
    /// begun anew.
    pub(super) fn read(dir: &Path, directory: &str) -> Self {
        let kept = fs::read(dir.join(PROGRESS)).ok().and_then(|b| serde_json::from_slice::<Self>(&b).ok());
        kept.filter(|p| p.directory == directory).unwrap_or_default()
    }

    pub(super) fn keep(&mut self, dir: &Path, directory: &str) {
        directory.clone_into(&mut self.directory);
        let text = serde_json::to_vec(self).unwrap_or_default();
        if let Err(error) = write_file(dir, PROGRESS, &text, true) {
            tracing::error!(%error, "how far the certificate's order has come could not be kept");
        }
    }

    /// When the next try is due, for a certificate that is due at `due_ms`.
    pub(super) fn next_ms(&self, due_ms: TimeMs) -> TimeMs {
        let at_ms = match self.failures {
            _ if self.wanted => 0,
            // An order that was begun is gone on with, due or not.
            0 if self.order.is_some() => 0,
            0 => due_ms,
            _ => self.next_try_at_ms,
        };
        at_ms.max(self.not_before_ms)
    }

    pub(super) fn failed(&mut self, why: &Failed, now_ms: TimeMs, fraction: f64) {
        self.failures = self.failures.saturating_add(1);
        self.last_error = super::trying::bounded(&why.to_string());
        self.not_before_ms = why.not_before_ms;
        let pause_ms = schedule::pause_ms(self.failures, fraction);
        self.next_try_at_ms = (now_ms + pause_ms).max(why.not_before_ms);
        if !why.keep_order {
            self.order = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const DIRECTORY: &str = "https://acme.example.org/directory";

    #[test]
    fn the_accounts_key_is_made_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let first = account_key(dir.path()).unwrap();
        assert_eq!(account_key(dir.path()).unwrap(), first);
        assert!(key_of(&first).is_ok());
        let mode = fs::metadata(dir.path().join(ACCOUNT_KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn an_order_under_way_is_found_again_for_its_own_directory_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut progress =
            Progress { order: Some("https://acme.example.org/order/1".into()), ..Default::default() };
        progress.keep(dir.path(), DIRECTORY);
        assert_eq!(Progress::read(dir.path(), DIRECTORY), progress);
        assert_eq!(Progress::read(dir.path(), "https://acme.example.net/"), Progress::default());
        fs::write(dir.path().join(PROGRESS), b"{\"order\":").unwrap();
        assert_eq!(Progress::read(dir.path(), DIRECTORY), Progress::default());
    }

    #[test]
    fn a_failed_try_is_repeated_later_and_never_before_the_authority_allows() {
        let mut progress = Progress { order: Some("o".into()), ..Default::default() };
        assert_eq!(progress.next_ms(5), 0);
        progress.order = None;
        assert_eq!(progress.next_ms(5), 5);
        progress.order = Some("o".into());
        let failed = |not_before_ms, keep_order| Failed { not_before_ms, keep_order, ..Failed::of("x") };
        progress.failed(&failed(0, true), 1000, 0.5);
        assert_eq!((progress.failures, progress.order.is_some()), (1, true));
        assert_eq!(progress.next_ms(5), 61_000);
        progress.failed(&failed(900_000, false), 1000, 0.5);
        assert_eq!((progress.next_ms(5), progress.order.is_some()), (900_000, false));
        progress.wanted = true;
        assert_eq!(progress.next_ms(5), 900_000);
        progress.not_before_ms = 0;
        assert_eq!(progress.next_ms(5), 0);
    }
}
