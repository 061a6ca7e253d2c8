//! Where alarms go: in the configuration file alone.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::Error;
use crate::acme::http::{Authority, authority_of};

/// The shortest secret in bytes, as Standard Webhooks has it.
const LEAST_SECRET_BYTES: usize = 24;

/// What the operator sets. Each destination is there or not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlarmsConfig {
    /// The name under which this house sends.
    pub sender: String,
    /// An `https` URL that takes JSON by POST.
    pub webhook_url: Option<String>,
    /// A file with the secret that signs what is posted: base64 of at least 24 bytes, `whsec_` before it or not.
    pub webhook_secret: Option<PathBuf>,
    /// A collector of syslog over TLS (RFC 5425): `host` or `host:port` (6514).
    pub syslog: Option<String>,
    /// The certificate that is shown to it, PEM.
    pub syslog_certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub syslog_key: Option<PathBuf>,
    /// A trust anchor beside the public ones, PEM, for all destinations.
    pub trust_anchor: Option<PathBuf>,
}

fn bad(key: &'static str, why: impl Into<String>) -> Error {
    Error::Config { key, why: why.into() }
}

impl AlarmsConfig {
    /// Checks what can be checked without the network or the files.
    ///
    /// # Errors
    /// [`Error::Config`] names the key.
    pub fn check(&self) -> Result<(), Error> {
        if self.webhook_url.is_some() != self.webhook_secret.is_some() {
            return Err(bad(
                "alarms.webhook_secret",
                "and alarms.webhook_url are given together, or neither",
            ));
        }
        if self.syslog_certificate.is_some() != self.syslog_key.is_some() {
            return Err(bad(
                "alarms.syslog_key",
                "and alarms.syslog_certificate are given together, or neither",
            ));
        }
        self.webhook().transpose()?;
        self.syslog_authority().transpose()?;
        Ok(())
    }

    pub(super) fn webhook(&self) -> Option<Result<Authority, Error>> {
        let url = self.webhook_url.as_deref()?;
        Some(authority_of(url).map_err(|why| bad("alarms.webhook_url", why)))
    }

    pub(super) fn syslog_authority(&self) -> Option<Result<Authority, Error>> {
        let text = self.syslog.as_deref()?;
        let wrong = || bad("alarms.syslog", "must be a host and a port, such as siem.example.org:6514");
        let read = || {
            let authority: http::uri::Authority = text.parse().map_err(|_| wrong())?;
            if text.contains('@') || authority.host().is_empty() {
                return Err(wrong());
            }
            let host = authority.host().trim_matches(['[', ']']).to_owned();
            Ok(Authority { host, port: authority.port_u16().unwrap_or(6514) })
        };
        Some(read())
    }

    /// The TCP ports of all destinations.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        [self.webhook(), self.syslog_authority()].into_iter().flatten().flatten().map(|a| a.port).collect()
    }

    /// The files that are read.
    #[must_use]
    pub fn files(&self) -> [&Option<PathBuf>; 4] {
        [&self.webhook_secret, &self.syslog_certificate, &self.syslog_key, &self.trust_anchor]
    }
}

/// The webhook's secret, read anew each time: it can be changed without a restart.
pub(super) fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?);
    let text = text.trim();
    let wrong = || {
        format!(
            "{}: no base64 of {LEAST_SECRET_BYTES} bytes or more; make one with 'openssl rand -base64 32'",
            path.display()
        )
    };
    let secret = STANDARD.decode(text.strip_prefix("whsec_").unwrap_or(text)).map_err(|_| wrong())?;
    let secret = Zeroizing::new(secret);
    if secret.len() < LEAST_SECRET_BYTES { Err(wrong()) } else { Ok(secret) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_about_a_destination_is_refused_by_the_name_of_its_key() {
        let some = |text: &str| Some(text.to_owned());
        let file = || Some(PathBuf::from("/x"));
        for (config, key) in [
            (
                AlarmsConfig { webhook_url: some("https://a.example.org"), ..Default::default() },
                "webhook_secret",
            ),
            (
                AlarmsConfig {
                    webhook_url: some("http://a.example.org"),
                    webhook_secret: file(),
                    ..Default::default()
                },
                "webhook_url",
            ),
            (AlarmsConfig { syslog: some("https://a.example.org"), ..Default::default() }, "alarms.syslog"),
            (AlarmsConfig { syslog_key: file(), ..Default::default() }, "syslog_key"),
        ] {
            let said = config.check().unwrap_err().to_string();
            assert!(said.contains(key), "{said}");
        }
    }

    #[test]
    fn the_ports_are_those_of_the_destinations() {
        let config = AlarmsConfig {
            webhook_url: Some("https://hooks.example.org/x".into()),
            webhook_secret: Some("/x".into()),
            syslog: Some("[2001:db8::1]:7000".into()),
            ..AlarmsConfig::default()
        };
        assert_eq!(config.ports(), [443, 7000]);
        assert_eq!(config.syslog_authority().unwrap().unwrap().host, "2001:db8::1");
        assert!(AlarmsConfig::default().ports().is_empty());
    }

    #[test]
    fn a_short_secret_is_none() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "c2hvcnQ=\n").unwrap();
        assert!(read_secret(&path).unwrap_err().contains("openssl rand"));
        std::fs::write(&path, format!("whsec_{}\n", STANDARD.encode([7; 32]))).unwrap();
        assert_eq!(read_secret(&path).unwrap().as_slice(), [7; 32]);
    }
}
