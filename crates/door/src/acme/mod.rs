//! A public certificate by ACME (RFC 8555): the door makes the key and keeps it, answers whoever
//! validates, and takes up a chain that fits. The courier asks for each step, core carries it; neither is
//! believed: a chain has to lead to a trusted root, for these hosts, now, and for the key that waits for it.

mod answers;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::TimeMs;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rpc::proto::{AcmeAnswer, AcmeAsk, AcmeChain, AcmeChallenge, acme_ask};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::Error;
use crate::install::{read, write};
use crate::served::{NotTaken, Served};
pub(crate) use answers::{ACME_TLS, Answers, Shown, serve_http01};

/// The chain that is shown, DER after DER; its key; the key that waits for a chain.
const CHAIN: &str = "acme.chain.der";
const KEY: &str = "acme.key.der";
const NEXT_KEY: &str = "acme.next.key.der";
/// The account whose challenges are answered: whoever came first (RFC 8555, 8.1).
const THUMBPRINT: &str = "acme.thumbprint";
/// The most a chain may hold.
const MOST_CERTIFICATES: usize = 8;
const LARGEST_CERTIFICATE_BYTES: usize = 16 * 1024;

/// How whoever asks for the certificate proves that the host is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AcmeChallengeKind {
    /// RFC 8555, 8.3: a file by plain HTTP on port 80.
    #[serde(rename = "http-01")]
    Http01,
    /// RFC 8737: a certificate of its own in a handshake on port 443.
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
}

/// The door's part of the ACME configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcmeConfig {
    /// The names that the certificate is for.
    pub hosts: Vec<String>,
    /// How they are proved.
    pub challenge: AcmeChallengeKind,
    /// PEM of roots that count beside the public ones: a hospital's own authority, a stand-in.
    pub trust_anchor: Option<PathBuf>,
}

/// Why a step is not taken.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("no certificate by ACME is configured")]
    NotConfigured,
    #[error("this is no step of ACME that the door knows")]
    Unknown,
    #[error("the host or the kind of challenge is not the configured one")]
    OtherHostOrKind,
    #[error("the token or the key authorization is not of RFC 8555's form")]
    Malformed,
    #[error(
        "the challenge is of another ACME account than the one that the door remembers; if you made a new \
         account, remove the file acme.thumbprint in the door's folder"
    )]
    OtherAccount,
    #[error("the chain is empty or too large")]
    Size,
    #[error("the chain does not lead from a certificate for {0} to a trusted root: {1}")]
    Untrusted(String, rustls::Error),
    #[error("no key waits for this chain; ask for a new request")]
    NoKeyWaits,
    #[error("{0}")]
    NotTaken(#[from] NotTaken),
    #[error("the key, the request or the answer could not be made: {0}")]
    Making(String),
    #[error("{0}")]
    Files(#[from] Error),
}

/// The door's side of ACME.
pub(crate) struct Acme {
    config: AcmeConfig,
    dir: PathBuf,
    verifier: Arc<WebPkiServerVerifier>,
    served: Arc<Served>,
    pub(crate) answers: Arc<Answers>,
    /// One step at a time: they share files.
    step: Mutex<()>,
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The certificate that was taken up last, with its key. A take-up that was cut short is finished.
pub(crate) fn kept(dir: &std::path::Path) -> Option<Identity> {
    let bytes = read(dir, CHAIN).ok()?;
    let (mut chain, mut rest) = (Vec::new(), &bytes[..]);
    while !rest.is_empty() {
        let (after, _) = X509Certificate::from_der(rest).ok()?;
        let own = rest.get(..rest.len() - after.len())?;
        chain.push(CertificateDer::from(own.to_vec()));
        rest = after;
    }
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let fits = |name| {
        let key = PrivateKeyDer::try_from(read(dir, name).ok()?.to_vec()).ok()?;
        CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider).is_ok().then_some(key)
    };
    let key = match fits(KEY) {
        Some(key) => key,
        None => {
            let key = fits(NEXT_KEY)?;
            std::fs::rename(dir.join(NEXT_KEY), dir.join(KEY)).ok()?;
            key
        }
    };
    Some((chain, key))
}

impl Acme {
    /// # Errors
    /// When the trust anchor can't be read.
    pub(crate) fn open(config: AcmeConfig, dir: PathBuf, served: Arc<Served>) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        if let Some(anchor) = &config.trust_anchor {
            let bad = |e: String| Error::files("trust anchor (acme.trust_anchor)", anchor, e);
            for own in CertificateDer::pem_file_iter(anchor).map_err(|e| bad(e.to_string()))? {
                roots.add(own.map_err(|e| bad(e.to_string()))?).map_err(|e| bad(e.to_string()))?;
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|e| Error::Tls(e.to_string()))?;
        let answers = Arc::new(Answers::default());
        Ok(Self { config, dir, verifier, served, answers, step: Mutex::new(()) })
    }

    /// Takes one step, or says why not.
    pub(crate) fn take(acme: Option<&Self>, ask: AcmeAsk, now_ms: TimeMs) -> AcmeAnswer {
        let call = ask.call;
        let done = acme.ok_or(Refused::NotConfigured).and_then(|acme| acme.step(ask.what, now_ms));
        match done {
            Ok(answer) => AcmeAnswer { call, ..answer },
            Err(why) => {
                tracing::warn!(reason = %why, "a step of ACME was refused");
                AcmeAnswer { call, refused: why.to_string(), ..AcmeAnswer::default() }
            }
        }
    }

    fn step(&self, what: Option<acme_ask::What>, now_ms: TimeMs) -> Result<AcmeAnswer, Refused> {
        let _one = self.step.lock().unwrap_or_else(PoisonError::into_inner);
        let nothing = AcmeAnswer::default();
        match what.ok_or(Refused::Unknown)? {
            acme_ask::What::Look(_) => Ok(AcmeAnswer { shown: self.shown(), ..nothing }),
            acme_ask::What::Challenge(challenge) => self.challenge(challenge, now_ms).map(|()| nothing),
            acme_ask::What::Withdraw(_) => {
                self.answers.withdraw();
                Ok(nothing)
            }
            acme_ask::What::MakeRequest(_) => Ok(AcmeAnswer { request: self.request()?, ..nothing }),
            acme_ask::What::Chain(chain) => {
                self.take_up(chain, now_ms)?;
                Ok(AcmeAnswer { shown: self.shown(), ..nothing })
            }
        }
    }

    /// The certificate by ACME that is shown now; empty when another is.
    fn shown(&self) -> Vec<u8> {
        let own = kept(&self.dir).and_then(|(chain, _)| chain.into_iter().next());
        own.filter(|own| self.served.shows(own)).map(|own| own.to_vec()).unwrap_or_default()
    }

    fn challenge(&self, c: AcmeChallenge, now_ms: TimeMs) -> Result<(), Refused> {
        let kind = match c.kind {
            1 => AcmeChallengeKind::Http01,
            2 => AcmeChallengeKind::TlsAlpn01,
            _ => return Err(Refused::OtherHostOrKind),
        };
        if kind != self.config.challenge || !self.config.hosts.contains(&c.host) {
            return Err(Refused::OtherHostOrKind);
        }
        let thumbprint = answers::thumbprint(&c.token, &c.key_authorization).ok_or(Refused::Malformed)?;
        match read(&self.dir, THUMBPRINT) {
            Ok(known) if known.as_slice() == thumbprint.as_bytes() => {}
            Ok(_) => return Err(Refused::OtherAccount),
            Err(_) if !self.dir.join(THUMBPRINT).exists() => {
                write(&self.dir, THUMBPRINT, thumbprint.as_bytes())?;
            }
            Err(e) => return Err(e.into()),
        }
        self.answers.add(kind, &c.host, &c.token, &c.key_authorization, now_ms).map_err(Refused::Making)
    }

    /// A request for the key that waits; there is a new key once a chain was taken up for the last.
    fn request(&self) -> Result<Vec<u8>, Refused> {
        let making = |e: rcgen::Error| Refused::Making(e.to_string());
        // Finishes a take-up that was cut short: its key is in use, so it does not wait any more.
        let _ = kept(&self.dir);
        let key = if self.dir.join(NEXT_KEY).exists() {
            let bytes = read(&self.dir, NEXT_KEY)?;
            KeyPair::try_from(bytes.as_slice()).map_err(making)?
        } else {
            let key = KeyPair::generate().map_err(making)?;
            write(&self.dir, NEXT_KEY, key.serialized_der())?;
            key
        };
        let mut wanted = CertificateParams::new(self.config.hosts.clone()).map_err(making)?;
        wanted.distinguished_name = DistinguishedName::new();
        Ok(wanted.serialize_request(&key).map_err(making)?.der().to_vec())
    }

    fn take_up(&self, chain: AcmeChain, now_ms: TimeMs) -> Result<(), Refused> {
        let small = |c: &Vec<u8>| c.len() <= LARGEST_CERTIFICATE_BYTES;
        if chain.certificates.len() > MOST_CERTIFICATES || !chain.certificates.iter().all(small) {
            return Err(Refused::Size);
        }
        let chain: Vec<_> = chain.certificates.into_iter().map(CertificateDer::from).collect();
        let (own, between) = chain.split_first().ok_or(Refused::Size)?;
        let now =
            UnixTime::since_unix_epoch(Duration::from_millis(u64::try_from(now_ms).unwrap_or_default()));
        for host in &self.config.hosts {
            let untrusted = |e| Refused::Untrusted(host.clone(), e);
            let name = ServerName::try_from(host.as_str())
                .map_err(|e| untrusted(rustls::Error::General(e.to_string())))?;
            self.verifier.verify_server_cert(own, between, &name, &[], now).map_err(untrusted)?;
        }
        if self.served.shows(own) {
            return Ok(());
        }
        let key = read(&self.dir, NEXT_KEY).map_err(|_| Refused::NoKeyWaits)?;
        let key = PrivateKeyDer::try_from(key.to_vec()).map_err(|e| Refused::Making(e.to_owned()))?;
        self.served.fits(chain.clone(), key.clone_key(), now_ms)?;
        let all: Vec<u8> = chain.iter().flat_map(|c| c.iter().copied()).collect();
        write(&self.dir, CHAIN, &all)?;
        std::fs::rename(self.dir.join(NEXT_KEY), self.dir.join(KEY))
            .map_err(|e| Error::files("ACME key", &self.dir.join(KEY), e))?;
        let not_after_ms = self.served.take_up(chain, key, now_ms)?;
        tracing::info!(tls.not_after_ms = not_after_ms, "a new TLS certificate by ACME is shown from now on");
        Ok(())
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
