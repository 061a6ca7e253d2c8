//! The certificate that the phones' listener shows: it can be changed while connections go on, and a
//! bad one never takes the place of a good one.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use model::{Clock, Digest, SystemClock, TimeMs};
use order::Authority;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::Error;
use crate::install::{TLS_CERTIFICATE, read};
use crate::room::Config;
use crate::tls_keys::TlsKeys;

/// A chain with its key, checked to belong together and to be valid.
struct Current {
    certified: Arc<CertifiedKey>,
    not_after_ms: TimeMs,
}

/// What is shown to whoever connects.
pub(crate) struct Served {
    provider: Arc<CryptoProvider>,
    current: RwLock<Current>,
}

impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Served(sealed)")
    }
}

/// Why a certificate is not taken up; the one before stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotTaken {
    /// The key is of a kind that TLS can't use, or the certificate's is another one.
    #[error("key and certificate don't belong together: {0}")]
    Key(String),
    /// Its bytes are no certificate.
    #[error("the certificate can't be read")]
    Unreadable,
    /// Not yet or no longer.
    #[error(
        "the certificate is not valid now (its dates); give one that is, or look at this machine's clock"
    )]
    NotNow,
}

impl Served {
    /// Begins with this one.
    ///
    /// # Errors
    /// [`NotTaken`] says what is wrong with it.
    pub(crate) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        now_ms: TimeMs,
    ) -> Result<Arc<Self>, NotTaken> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let current = RwLock::new(checked(&provider, chain, key, now_ms)?);
        Ok(Arc::new(Self { provider, current }))
    }

    /// Shows this chain from the next handshake on.
    ///
    /// # Errors
    /// [`NotTaken`] says what is wrong with it; then nothing changes.
    pub(crate) fn take_up(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        now_ms: TimeMs,
    ) -> Result<TimeMs, NotTaken> {
        let new = checked(&self.provider, chain, key, now_ms)?;
        let not_after_ms = new.not_after_ms;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(not_after_ms)
    }

    /// Whether this chain and key could be shown, without showing them.
    ///
    /// # Errors
    /// [`NotTaken`] says what is wrong.
    pub(crate) fn fits(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        now_ms: TimeMs,
    ) -> Result<(), NotTaken> {
        checked(&self.provider, chain, key, now_ms).map(drop)
    }

    /// Whether this certificate is the one that is shown.
    pub(crate) fn shows(&self, own: &CertificateDer<'_>) -> bool {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.certified.cert.first().is_some_and(|shown| shown == own)
    }

    /// Until when the one that is shown is valid.
    pub(crate) fn not_after_ms(&self) -> TimeMs {
        self.current.read().unwrap_or_else(PoisonError::into_inner).not_after_ms
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).certified.clone())
    }
}

fn checked(
    provider: &CryptoProvider,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    now_ms: TimeMs,
) -> Result<Current, NotTaken> {
    let (not_before_ms, not_after_ms) =
        chain.first().and_then(|own| validity(own)).ok_or(NotTaken::Unreadable)?;
    if !(not_before_ms..=not_after_ms).contains(&now_ms) {
        return Err(NotTaken::NotNow);
    }
    let certified = CertifiedKey::from_der(chain, key, provider).map_err(|e| NotTaken::Key(e.to_string()))?;
    Ok(Current { certified: Arc::new(certified), not_after_ms })
}

/// From when to when a certificate is valid.
pub(crate) fn validity(certificate: &[u8]) -> Option<(TimeMs, TimeMs)> {
    let (rest, certificate) = X509Certificate::from_der(certificate).ok()?;
    let validity = certificate.validity();
    rest.is_empty().then(|| (validity.not_before.timestamp() * 1000, validity.not_after.timestamp() * 1000))
}

/// The operator's PEM files.
#[derive(Debug, Clone)]
pub(crate) struct PemFiles {
    certificate: PathBuf,
    key: PathBuf,
}

impl PemFiles {
    /// The files that the configuration names, if it names any.
    pub(crate) fn of(config: &Config) -> Option<Self> {
        let (certificate, key) = (config.tls_certificate.clone()?, config.tls_key.clone()?);
        Some(Self { certificate, key })
    }

    fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
        Ok((pem_chain(&self.certificate)?, pem_key(&self.key)?))
    }

    /// What both files hold, as one number.
    fn digest(&self) -> Option<(Digest, Digest)> {
        let of = |path: &Path| std::fs::read(path).ok().map(|bytes| order::sha256(&bytes));
        Some((of(&self.certificate)?, of(&self.key)?))
    }
}

/// What is shown from the start on: the operator's certificate, or the one that our CA made.
pub(crate) fn open(config: &Config, authorities: &[Authority]) -> Result<Arc<Served>, Error> {
    let now_ms = SystemClock.now_ms();
    if let Some(files) = PemFiles::of(config) {
        let (chain, key) = files.read()?;
        let bad = |e: NotTaken| {
            Error::files("TLS certificate (phones.tls_certificate, phones.tls_key)", &files.certificate, e)
        };
        return Served::new(chain, key, now_ms).map_err(bad);
    }
    if config.acme.is_some()
        && let Some((chain, key)) = crate::acme::kept(&config.data_dir)
    {
        match Served::new(chain, key, now_ms) {
            Ok(served) => return Ok(served),
            Err(why) => {
                tracing::error!(reason = %why, "the certificate by ACME can't be shown; the house's own is");
            }
        }
    }
    let (chain, key) = house_made(&config.data_dir, authorities)?;
    Served::new(chain, key, now_ms)
        .map_err(|e| Error::files("own TLS certificate", &config.data_dir.join(TLS_CERTIFICATE), e))
}

/// The certificate that our CA made, and its key. While an older CA counts the chain leads to it too, for phones that know
/// that one alone.
pub(crate) fn house_made(
    dir: &Path,
    authorities: &[Authority],
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let own = CertificateDer::from(read(dir, TLS_CERTIFICATE)?.to_vec());
    let key = TlsKeys::open(dir)?.of(&own);
    let key = key.ok_or_else(|| {
        Error::files(
            "own TLS certificate",
            &dir.join(TLS_CERTIFICATE),
            "it is for another key than the door's",
        )
    })?;
    let key = PrivateKeyDer::try_from(key.to_vec()).map_err(|e| Error::Tls(e.to_owned()))?;
    let successors = authorities.iter().filter_map(|ca| ca.successor.as_ref());
    let newest = authorities.first().map(|ca| &ca.certificate);
    let mut chain: Vec<_> = successors.map(|der| CertificateDer::from(der.clone())).collect();
    if chain.is_empty() {
        chain.extend(newest.map(|der| CertificateDer::from(der.clone())));
    }
    chain.insert(0, own);
    Ok((chain, key))
}

/// Looks at the operator's files again and again, and takes up what changed in them. Bad ones are
/// refused with what is wrong, once, and the certificate before goes on being shown.
pub(crate) async fn watch(served: Arc<Served>, files: PemFiles, period: Duration, refused: impl Fn()) {
    let look = |files: PemFiles| tokio::task::spawn_blocking(move || files.digest());
    let mut seen = look(files.clone()).await.ok().flatten();
    let mut ticks = tokio::time::interval(period.max(Duration::from_millis(100)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // Absent for a moment: a file is being replaced.
        let Some(found) = look(files.clone()).await.ok().flatten() else { continue };
        if seen == Some(found) {
            continue;
        }
        seen = Some(found);
        match take_up(&served, &files) {
            Ok(not_after_ms) => {
                tracing::info!(tls.not_after_ms = not_after_ms, "a new TLS certificate is shown from now on");
            }
            Err(why) => {
                refused();
                tracing::error!(
                    reason = %why,
                    "the new TLS certificate was not taken up; the one before goes on being shown"
                );
            }
        }
    }
}

fn take_up(served: &Served, files: &PemFiles) -> Result<TimeMs, Error> {
    let (chain, key) = files.read()?;
    let bad =
        |e| Error::files("TLS certificate (phones.tls_certificate, phones.tls_key)", &files.certificate, e);
    served.take_up(chain, key, SystemClock.now_ms()).map_err(bad)
}

pub(crate) fn pem_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let bad = |e: &dyn std::fmt::Display| Error::files("TLS certificate (phones.tls_certificate)", path, e);
    let certificates = CertificateDer::pem_file_iter(path).map_err(|e| bad(&e))?;
    let chain: Vec<_> = certificates.collect::<Result<_, _>>().map_err(|e| bad(&e))?;
    if chain.is_empty() { Err(bad(&"it holds no certificate")) } else { Ok(chain) }
}

fn pem_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_file(path).map_err(|e| Error::files("TLS key (phones.tls_key)", path, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    /// A self-signed certificate that ends with this year, as PEM, with its key.
    fn made(until_year: i32) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["mdm.example.org".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until_year, 12, 31);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    const NOW_MS: TimeMs = 1_795_000_000_000;

    fn read_pem(certificate: &str, key: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).map(Result::unwrap).collect();
        (chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
    }

    #[test]
    fn a_bad_certificate_never_takes_the_place_of_a_good_one() {
        let (good, key) = made(2040);
        let (chain, read_key) = read_pem(&good, &key);
        let served = Served::new(chain.clone(), read_key, NOW_MS).unwrap();
        let until = served.not_after_ms();
        let refused =
            |(chain, key): (Vec<_>, PrivateKeyDer<'static>)| served.take_up(chain, key, NOW_MS).unwrap_err();
        let (other, other_key) = made(2050);
        assert!(matches!(refused(read_pem(&good, &other_key)), NotTaken::Key(_)));
        let (old, old_key) = made(2021);
        assert_eq!(refused(read_pem(&old, &old_key)), NotTaken::NotNow);
        assert_eq!(refused((vec![], read_pem(&good, &key).1)), NotTaken::Unreadable);
        assert_eq!(refused((vec![vec![0x30, 0].into()], read_pem(&good, &key).1)), NotTaken::Unreadable);
        assert_eq!(served.not_after_ms(), until);
        let (chain, key) = read_pem(&other, &other_key);
        let taken = served.take_up(chain, key, NOW_MS).unwrap();
        assert!(taken > until);
        assert_eq!(served.not_after_ms(), taken);
    }

    #[tokio::test]
    async fn files_that_change_are_taken_up_and_bad_ones_are_counted_and_left() {
        let dir = tempfile::tempdir().unwrap();
        let count = Arc::new(AtomicU64::new(0));
        let refused = || count.load(Ordering::Relaxed);
        let counted = count.clone();
        let files = PemFiles { certificate: dir.path().join("c.pem"), key: dir.path().join("k.pem") };
        let put = |(c, k): (String, String)| {
            std::fs::write(&files.certificate, c).unwrap();
            std::fs::write(&files.key, k).unwrap();
        };
        put(made(2040));
        let (chain, key) = files.read().unwrap();
        let served = Served::new(chain, key, SystemClock.now_ms()).unwrap();
        let first = served.not_after_ms();
        let period = Duration::from_millis(100);
        let on_refusal = move || {
            counted.fetch_add(1, Ordering::Relaxed);
        };
        let watching = tokio::spawn(watch(served.clone(), files.clone(), period, on_refusal));
        // The watch has looked once before it changes.
        tokio::time::sleep(Duration::from_millis(300)).await;
        std::fs::write(&files.certificate, "no certificate").unwrap();
        while refused() == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(served.not_after_ms(), first);
        put(made(2050));
        while served.not_after_ms() == first {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        watching.abort();
    }
}
