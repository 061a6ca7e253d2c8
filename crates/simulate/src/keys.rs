//! RSA keys for phones. Making one takes some 100 ms of a core, so it happens on threads of its own, and
//! load tests may share a few among many phones.

use crate::Fault;
use apple::x509::RsaSigner;
use rustls::sign::SigningKey;
use rustls_pki_types::PrivateKeyDer;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use zeroize::Zeroizing;

/// A phone's private key.
#[derive(Clone)]
pub struct PhoneKey(Arc<Inner>);

struct Inner {
    pkcs8: Zeroizing<Vec<u8>>,
    /// Read once for TLS when many phones share it; a fleet's own keys are read at each connection, since
    /// a read key takes five times the memory.
    shared: Option<Arc<dyn SigningKey>>,
}

impl fmt::Debug for PhoneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PhoneKey(sealed)")
    }
}

impl PhoneKey {
    /// Makes an RSA-2048 key; some 100 ms of CPU.
    ///
    /// # Errors
    /// [`Fault::Key`].
    pub fn make() -> Result<Self, Fault> {
        let pkcs8 = RsaSigner::generate()?.to_pkcs8()?;
        Ok(Self(Arc::new(Inner { pkcs8, shared: None })))
    }

    fn make_shared() -> Result<Self, Fault> {
        let key = Self::make()?;
        let shared = Some(key.read()?);
        Ok(Self(Arc::new(Inner { pkcs8: key.0.pkcs8.clone(), shared })))
    }

    /// The key as it is kept.
    pub(crate) fn pkcs8(&self) -> &[u8] {
        &self.0.pkcs8
    }

    /// A key that was kept; `shared` if many phones have it.
    pub(crate) fn kept(pkcs8: &[u8], shared: bool) -> Result<Self, Fault> {
        let key = Self(Arc::new(Inner { pkcs8: Zeroizing::new(pkcs8.to_vec()), shared: None }));
        // Also shows that it is one.
        let read = key.read()?;
        Ok(if shared {
            Self(Arc::new(Inner { pkcs8: key.0.pkcs8.clone(), shared: Some(read) }))
        } else {
            key
        })
    }

    /// The key as SCEP needs it.
    pub(crate) fn signer(&self) -> Result<RsaSigner, Fault> {
        Ok(RsaSigner::from_pkcs8(&self.0.pkcs8)?)
    }

    /// The key as TLS needs it.
    pub(crate) fn tls(&self) -> Result<Arc<dyn SigningKey>, Fault> {
        match &self.0.shared {
            Some(key) => Ok(key.clone()),
            None => self.read(),
        }
    }

    fn read(&self) -> Result<Arc<dyn SigningKey>, Fault> {
        let der = PrivateKeyDer::Pkcs8(self.0.pkcs8.to_vec().into());
        Ok(rustls::crypto::aws_lc_rs::sign::any_supported_type(&der)?)
    }
}

/// Where phones get their keys.
#[derive(Debug, Clone)]
pub struct KeyPool(Arc<Pool>);

#[derive(Debug)]
enum Pool {
    Fresh,
    Made { keys: Vec<PhoneKey>, next: AtomicUsize },
}

impl KeyPool {
    /// A key of its own for each phone, made when it is needed.
    #[must_use]
    pub fn fresh() -> Self {
        Self(Arc::new(Pool::Fresh))
    }

    /// Makes `count` keys beforehand, on `threads` threads; phones take them in turn and, when there are
    /// more phones than keys, share them. For load tests: there the phones' own work should not count.
    ///
    /// Blocks until all are made (about 100 ms of CPU a key).
    ///
    /// # Errors
    /// [`Fault::State`] for no key at all; [`Fault::Key`]; [`Fault::Own`] if a thread died.
    pub fn made(count: usize, threads: usize) -> Result<Self, Fault> {
        if count == 0 {
            return Err(Fault::State("a pool needs at least one key"));
        }
        let threads = threads.clamp(1, count);
        let left = AtomicUsize::new(count);
        let take = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok();
        let keys = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|_| {
                    scope.spawn(|| {
                        let mut keys = Vec::new();
                        while take() {
                            keys.push(PhoneKey::make_shared()?);
                        }
                        Ok::<_, Fault>(keys)
                    })
                })
                .collect();
            let mut all = Vec::with_capacity(count);
            for worker in workers {
                all.extend(worker.join().map_err(|_| Fault::Own("a thread that makes keys died"))??);
            }
            Ok::<_, Fault>(all)
        })?;
        Ok(Self(Arc::new(Pool::Made { keys, next: AtomicUsize::new(0) })))
    }

    /// The next phone's key.
    ///
    /// # Errors
    /// As [`PhoneKey::make`]; [`Fault::Own`] if the thread died.
    pub async fn take(&self) -> Result<PhoneKey, Fault> {
        if let Pool::Made { keys, next } = &*self.0 {
            let turn = next.fetch_add(1, Ordering::Relaxed).checked_rem(keys.len()).unwrap_or(0);
            return keys.get(turn).cloned().ok_or(Fault::Own("the key pool is empty"));
        }
        tokio::task::spawn_blocking(PhoneKey::make)
            .await
            .map_err(|_| Fault::Own("a thread that makes keys died"))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apple::x509::Signer as _;

    #[tokio::test]
    async fn a_pool_hands_out_its_keys_in_turn_and_then_again() {
        let pool = KeyPool::made(2, 2).unwrap();
        let mut spki = Vec::new();
        for _ in 0..3 {
            let key = pool.take().await.unwrap();
            key.tls().unwrap();
            spki.push(key.signer().unwrap().spki_der().to_vec());
        }
        assert_ne!(spki[0], spki[1]);
        assert_eq!(spki[0], spki[2]);
        assert!(KeyPool::made(0, 1).is_err());
        assert_eq!(format!("{:?}", PhoneKey::make().unwrap()), "PhoneKey(sealed)");
    }
}
