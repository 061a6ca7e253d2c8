//! The courier's part of the configuration: the only place where its destinations stand.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::acme::AcmeConfig;
use crate::alarms::AlarmsConfig;
use crate::oidc::OidcConfig;

/// What the operator sets. Every key but the folder has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The courier's own folder: its key, the pinned root key, the topic in use.
    pub data_dir: PathBuf,
    /// Apple's push service, `https://host[:port]` (default `https://api.push.apple.com:443`; Apple also
    /// listens on port 2197 where 443 is closed).
    #[serde(default = "endpoint")]
    pub endpoint: String,
    /// The MDM push certificate, PEM, with the chain after it if there is one. None: nothing is pushed.
    #[serde(default)]
    pub push_certificate: Option<PathBuf>,
    /// Its private key, PEM, not encrypted. None: it stands in the certificate's file.
    #[serde(default)]
    pub push_key: Option<PathBuf>,
    /// A trust anchor beside the public ones, PEM: a stand-in's, or an inspecting proxy's.
    #[serde(default)]
    pub trust_anchor: Option<PathBuf>,
    /// The topic that phones are enrolled under. None: the first certificate's, kept from then on.
    #[serde(default)]
    pub topic: Option<String>,
    /// How long Apple keeps a push for a phone that is off, in days (7; 1 to 30).
    #[serde(default = "expiration_days")]
    pub expiration_days: u32,
    /// How many pushes are under way at once (100; 1 to 1000).
    #[serde(default = "at_once")]
    pub at_once: u32,
    /// How often the certificate's file is looked at, in seconds (30; 1 to 3600).
    #[serde(default = "certificate_poll_s")]
    pub certificate_poll_s: u32,
    /// A public TLS certificate by ACME. None: the courier speaks to no authority.
    #[serde(default)]
    pub acme: Option<AcmeConfig>,
    /// The provider by which people sign in to read masks. None: nobody does.
    #[serde(default)]
    pub oidc: Option<OidcConfig>,
    /// Where alarms go. Nothing set: into the log alone.
    #[serde(default)]
    pub alarms: AlarmsConfig,
}

fn endpoint() -> String {
    "https://api.push.apple.com:443".to_owned()
}

fn expiration_days() -> u32 {
    7
}

fn at_once() -> u32 {
    100
}

fn certificate_poll_s() -> u32 {
    30
}

/// Where to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub host: String,
    pub port: u16,
    /// As HTTP/2's `:authority` wants it.
    pub authority: String,
}

impl Config {
    /// The defaults, in this folder: no certificate, so nothing is pushed.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            endpoint: endpoint(),
            push_certificate: None,
            push_key: None,
            trust_anchor: None,
            topic: None,
            expiration_days: expiration_days(),
            at_once: at_once(),
            certificate_poll_s: certificate_poll_s(),
            acme: None,
            oidc: None,
            alarms: AlarmsConfig::default(),
        }
    }

    /// Checks what can be checked without the network or the files.
    ///
    /// # Errors
    /// [`Error::Config`] names the key.
    pub fn check(&self) -> Result<(), Error> {
        let within = |key, value: u32, most: u32| {
            if (1..=most).contains(&value) {
                Ok(())
            } else {
                Err(Error::Config { key, why: format!("must be 1 to {most}") })
            }
        };
        within("expiration_days", self.expiration_days, 30)?;
        within("at_once", self.at_once, 1000)?;
        within("certificate_poll_s", self.certificate_poll_s, 3600)?;
        if self.push_certificate.is_none() && self.push_key.is_some() {
            let why = "is set, but push_certificate is not".to_owned();
            return Err(Error::Config { key: "push_key", why });
        }
        if let Some(topic) = &self.topic
            && !topic_fits(topic)
        {
            let why = "must look like com.apple.mgmt.External.<id>".to_owned();
            return Err(Error::Config { key: "topic", why });
        }
        if let Some(acme) = &self.acme {
            acme.check()?;
        }
        if let Some(oidc) = &self.oidc {
            oidc.check()?;
        }
        self.alarms.check()?;
        self.endpoint().map(drop)
    }

    pub(crate) fn endpoint(&self) -> Result<Endpoint, Error> {
        let bad = |why: &str| Error::Config { key: "endpoint", why: why.to_owned() };
        let uri: http::Uri =
            self.endpoint.parse().map_err(|_| bad("must be a URL such as https://host:443"))?;
        if uri.scheme_str() != Some("https") {
            return Err(bad("must begin with https://"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(bad("must have no path: the courier adds Apple's"));
        }
        let authority = uri.authority().ok_or_else(|| bad("must name a host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("must have no user name"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Endpoint { host, port: authority.port_u16().unwrap_or(443), authority: authority.to_string() })
    }
}

/// Whether it looks like an MDM push topic.
pub(crate) fn topic_fits(topic: &str) -> bool {
    topic.starts_with("com.apple.mgmt.")
        && topic.len() <= 256
        && topic.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_apple_and_an_unknown_key_is_refused() {
        let config: Config = serde_json::from_str(r#"{"data_dir":"/x"}"#).unwrap();
        assert_eq!(config, Config::new("/x"));
        let endpoint = config.endpoint().unwrap();
        assert_eq!((endpoint.host.as_str(), endpoint.port), ("api.push.apple.com", 443));
        assert!(serde_json::from_str::<Config>(r#"{"data_dir":"/x","endpint":"https://x"}"#).is_err());
    }

    #[test]
    fn a_mistake_is_refused_with_the_keys_name() {
        let with = |change: fn(&mut Config)| {
            let mut config = Config::new("/x");
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert!(with(|c| c.endpoint = "http://192.0.2.1".into()).contains("endpoint"));
        assert!(with(|c| c.endpoint = "https://a@192.0.2.1".into()).contains("endpoint"));
        assert!(with(|c| c.endpoint = "https://192.0.2.1/3/device".into()).contains("endpoint"));
        assert!(with(|c| c.expiration_days = 0).contains("expiration_days"));
        assert!(with(|c| c.at_once = 1001).contains("at_once"));
        assert!(with(|c| c.topic = Some("com.example".into())).contains("topic"));
        assert!(with(|c| c.push_key = Some("/k".into())).contains("push_key"));
    }

    #[test]
    fn an_ipv6_endpoint_keeps_its_brackets_in_the_authority_alone() {
        let config = Config { endpoint: "https://[2001:db8::1]:2197".into(), ..Config::new("/x") };
        let endpoint = config.endpoint().unwrap();
        assert_eq!(endpoint.host, "2001:db8::1");
        assert_eq!(endpoint.authority, "[2001:db8::1]:2197");
    }
}
