//! The push certificate: read, checked, taken up anew when its file changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use model::TimeMs;
use model::clock::DAY_MS;
use rpc::trust::write_file;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::config::topic_fits;
use crate::{Config, Error};

const TOPIC_FILE: &str = "topic";
/// attributeType userid, 0.9.2342.19200300.100.1.1 (RFC 4519): an MDM certificate's topic.
const USER_ID: &str = "0.9.2342.19200300.100.1.1";

/// A certificate that may be used, ready for a connection.
pub(crate) struct Identity {
    pub topic: String,
    pub expires_at_ms: TimeMs,
    pub tls: Arc<ClientConfig>,
}

/// What a file looked like when it was last read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    modified: Option<SystemTime>,
    bytes: u64,
    inode: u64,
}

/// Keeps the certificate in use.
pub(crate) struct Identities {
    certificate: Option<PathBuf>,
    key: PathBuf,
    anchor: Option<PathBuf>,
    data_dir: PathBuf,
    /// What the operator set, which overrules the kept one.
    configured_topic: Option<String>,
    current: Option<Arc<Identity>>,
    looks: Option<[Option<Look>; 2]>,
    /// Why the newest file is not used.
    refused: Option<String>,
    warned_days: Option<i64>,
}

impl Identities {
    pub fn new(config: &Config) -> Self {
        Self {
            key: config.push_key.clone().or_else(|| config.push_certificate.clone()).unwrap_or_default(),
            certificate: config.push_certificate.clone(),
            anchor: config.trust_anchor.clone(),
            data_dir: config.data_dir.clone(),
            configured_topic: config.topic.clone(),
            current: None,
            looks: None,
            refused: None,
            warned_days: None,
        }
    }

    /// Whether a certificate is configured at all.
    pub fn is_configured(&self) -> bool {
        self.certificate.is_some()
    }

    /// The certificate in use.
    pub fn current(&self) -> Option<Arc<Identity>> {
        self.current.clone()
    }

    /// Why the newest file is not used, if it is not.
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// Looks at the files, and takes up what changed. A certificate that can't be used leaves the old one
    /// in use, and is looked at again next time: a key often arrives a moment after its certificate.
    pub fn refresh(&mut self, now_ms: TimeMs) {
        let Some(certificate) = self.certificate.clone() else { return };
        let looks = [look(&certificate), look(&self.key)];
        if self.looks == Some(looks) && self.refused.is_none() {
            return;
        }
        let loaded = self.load(&certificate).and_then(|new| {
            let good = self.current.as_ref().is_some_and(|old| old.expires_at_ms >= now_ms);
            if good && new.expires_at_ms < now_ms {
                return Err(bad(&certificate, "it has run out already; the one before it serves on"));
            }
            Ok(new)
        });
        match loaded {
            Ok(identity) => {
                tracing::info!(
                    push.topic = %identity.topic,
                    push.expires_at_ms = identity.expires_at_ms,
                    renewed = self.current.is_some(),
                    "the push certificate is in use"
                );
                self.current = Some(Arc::new(identity));
                self.refused = None;
                self.warned_days = None;
            }
            Err(error) => {
                let why = error.to_string();
                if self.refused.as_ref() != Some(&why) {
                    tracing::error!(%error, kept = self.current.is_some(), "the push certificate was not taken up");
                }
                self.refused = Some(why);
            }
        }
        self.looks = Some(looks);
    }

    /// Reads the files once; keeps and logs nothing.
    pub fn once(&self) -> Result<Identity, Error> {
        let certificate = self
            .certificate
            .as_deref()
            .ok_or_else(|| Error::Config { key: "push_certificate", why: "is not set".to_owned() })?;
        self.load(certificate)
    }

    fn load(&self, certificate: &Path) -> Result<Identity, Error> {
        let chain = certificates(certificate)?;
        let first = chain.first().ok_or_else(|| bad(certificate, "it holds no PEM certificate"))?;
        let (topic, expires_at_ms) = read_certificate(first).map_err(|why| bad(certificate, &why))?;
        let expected = self.expected_topic()?;
        if let Some(expected) = &expected
            && *expected != topic
        {
            let why = format!(
                "its topic is {topic}, but phones are enrolled under {expected}: renew the old certificate \
                 under the same Apple ID instead of making a new one (or set courier.topic, and enrol all \
                 phones anew)"
            );
            return Err(bad(certificate, &why));
        }
        let key = read(&self.key)?;
        let key = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|_| bad(&self.key, "it holds no PEM private key without a passphrase"))?;
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        if let Some(anchor) = &self.anchor {
            for own in certificates(anchor)? {
                roots.add(own).map_err(|_| bad(anchor, "it holds a certificate that can't be trusted"))?;
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| bad(certificate, &e.to_string()))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(|_| bad(&self.key, "it is not the key of the push certificate"))?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        if expected.is_none() {
            write_file(&self.data_dir, TOPIC_FILE, topic.as_bytes(), false).map_err(|source| {
                Error::File { path: self.data_dir.join(TOPIC_FILE), verb: "written", source }
            })?;
        }
        Ok(Identity { topic, expires_at_ms, tls: Arc::new(tls) })
    }

    /// The topic that a certificate must have: the operator's word, or what was used first.
    fn expected_topic(&self) -> Result<Option<String>, Error> {
        if let Some(topic) = &self.configured_topic {
            return Ok(Some(topic.clone()));
        }
        let path = self.data_dir.join(TOPIC_FILE);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::File { path, verb: "read", source }),
        }
    }

    /// What health says of the certificate's end, and once for each threshold the log: 60, 30 and 7 days
    /// before it.
    pub fn warning(&mut self, now_ms: TimeMs) -> Option<String> {
        let identity = self.current.as_ref()?;
        let left_ms = identity.expires_at_ms - now_ms;
        let days = left_ms.div_euclid(DAY_MS);
        let threshold = [0, 7, 30, 60].into_iter().find(|t| days < *t)?;
        let text = if left_ms < 0 {
            "the push certificate has run out: no phone can be woken until it is renewed under the same Apple ID"
                .to_owned()
        } else {
            format!("the push certificate runs out in {days} days: renew it under the same Apple ID")
        };
        if self.warned_days != Some(threshold) {
            self.warned_days = Some(threshold);
            tracing::warn!(push.days_left = days, "{text}");
        }
        Some(text)
    }
}

fn look(path: &Path) -> Option<Look> {
    use std::os::unix::fs::MetadataExt;
    let m = fs::metadata(path).ok()?;
    Some(Look { modified: m.modified().ok(), bytes: m.len(), inode: m.ino() })
}

fn bad(path: &Path, why: &str) -> Error {
    Error::BadFile { path: path.to_owned(), why: why.to_owned() }
}

fn read(path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, Error> {
    fs::read(path).map(zeroize::Zeroizing::new).map_err(|source| Error::File {
        path: path.to_owned(),
        verb: "read",
        source,
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| bad(path, "it is no PEM file of certificates"))
}

/// The topic and the end of a certificate.
fn read_certificate(der: &[u8]) -> Result<(String, TimeMs), String> {
    let (_, certificate) =
        x509_parser::parse_x509_certificate(der).map_err(|_| "its certificate can't be read".to_owned())?;
    let topic = certificate
        .subject()
        .iter_attributes()
        .find(|a| a.attr_type().to_id_string() == USER_ID)
        .and_then(|a| a.as_str().ok())
        .ok_or("its subject has no UID: that is no MDM push certificate")?;
    if !topic_fits(topic) {
        return Err("its subject's UID is no MDM topic (com.apple.mgmt.…)".to_owned());
    }
    Ok((topic.to_owned(), certificate.validity().not_after.timestamp().saturating_mul(1000)))
}
