//! Where alarms go: in the configuration file alone.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::Error;
use crate::https::{Authority, authority_of};

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
    /// A relay that takes mail over TLS: `host` or `host:port` (465).
    pub email_relay: Option<String>,
    /// How TLS begins there; by default from the first byte on port 465, by `STARTTLS` on others.
    pub email_tls: Option<MailTls>,
    /// The address that mails are from.
    pub email_from: Option<String>,
    /// The addresses that they go to.
    pub email_to: Vec<String>,
    /// The name that the relay knows the house by, where it wants one.
    pub email_user: Option<String>,
    /// A file with the password to it.
    pub email_password: Option<PathBuf>,
    /// A trust anchor beside the public ones, PEM, for all destinations.
    pub trust_anchor: Option<PathBuf>,
}

/// How TLS begins with a relay. Without it no mail is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailTls {
    /// From the first byte (RFC 8314).
    Implicit,
    /// After `STARTTLS` (RFC 3207), or not at all.
    Starttls,
}

/// Where mail is handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relay {
    pub(super) authority: Authority,
    pub(super) mode: MailTls,
}

/// The most addresses that mails go to.
const MOST_ADDRESSES: usize = 20;
/// Where mail is taken over TLS from the first byte (RFC 8314).
const SUBMISSIONS_PORT: u16 = 465;

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
        self.relay().transpose()?;
        self.check_email()
    }

    fn check_email(&self) -> Result<(), Error> {
        let with_relay = self.email_relay.is_some();
        if with_relay != self.email_from.is_some() {
            return Err(bad("alarms.email_from", "and alarms.email_relay are given together, or neither"));
        }
        if with_relay == self.email_to.is_empty() || self.email_to.len() > MOST_ADDRESSES {
            return Err(bad("alarms.email_to", "has 1 to 20 addresses, and alarms.email_relay beside it"));
        }
        if self.email_tls.is_some() && !with_relay {
            return Err(bad("alarms.email_tls", "is set, but alarms.email_relay is not"));
        }
        if self.email_user.is_some() != self.email_password.is_some() {
            let why = "and alarms.email_user are given together, or neither";
            return Err(bad("alarms.email_password", why));
        }
        let printable = |user: &String| !user.is_empty() && user.bytes().all(|b| (b' '..=b'~').contains(&b));
        if self.email_user.as_ref().is_some_and(|user| !with_relay || !printable(user)) {
            return Err(bad("alarms.email_user", "must be plain ASCII, and alarms.email_relay beside it"));
        }
        let from = self.email_from.iter().map(|a| ("alarms.email_from", a));
        let to = self.email_to.iter().map(|a| ("alarms.email_to", a));
        match from.chain(to).find(|(_, address)| !is_address(address)) {
            Some((key, _)) => Err(bad(key, "must be an address such as alarms@example.org, in plain ASCII")),
            None => Ok(()),
        }
    }

    pub(super) fn webhook(&self) -> Option<Result<Authority, Error>> {
        let url = self.webhook_url.as_deref()?;
        Some(authority_of(url).map_err(|why| bad("alarms.webhook_url", why)))
    }

    pub(super) fn syslog_authority(&self) -> Option<Result<Authority, Error>> {
        let why = "must be a host and a port, such as siem.example.org:6514";
        let read = host_and_port(self.syslog.as_deref()?, 6514);
        Some(read.ok_or_else(|| bad("alarms.syslog", why)))
    }

    pub(super) fn relay(&self) -> Option<Result<Relay, Error>> {
        let why = "must be a host and a port, such as smtp.example.org:465";
        let read = host_and_port(self.email_relay.as_deref()?, SUBMISSIONS_PORT).map(|authority| {
            let usual =
                if authority.port == SUBMISSIONS_PORT { MailTls::Implicit } else { MailTls::Starttls };
            Relay { authority, mode: self.email_tls.unwrap_or(usual) }
        });
        Some(read.ok_or_else(|| bad("alarms.email_relay", why)))
    }

    /// The TCP ports of all destinations.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        let relay = self.relay().map(|r| r.map(|relay| relay.authority));
        [self.webhook(), self.syslog_authority(), relay]
            .into_iter()
            .flatten()
            .flatten()
            .map(|a| a.port)
            .collect()
    }

    /// The files that are read.
    #[must_use]
    pub fn files(&self) -> [&Option<PathBuf>; 5] {
        [
            &self.webhook_secret,
            &self.syslog_certificate,
            &self.syslog_key,
            &self.email_password,
            &self.trust_anchor,
        ]
    }
}

fn host_and_port(text: &str, usual: u16) -> Option<Authority> {
    let authority: http::uri::Authority = text.parse().ok()?;
    if text.contains('@') || authority.host().is_empty() {
        return None;
    }
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    Some(Authority { host, port: authority.port_u16().unwrap_or(usual) })
}

/// Whether it is a host's name: letters, digits and hyphens between dots.
pub(super) fn is_domain(text: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// Whether it is an address that can stand in a command and a header as it is: RFC 5321's `Dot-string`, no quotes.
fn is_address(text: &str) -> bool {
    let atom = |a: &str| {
        !a.is_empty() && a.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b))
    };
    text.split_once('@')
        .is_some_and(|(local, domain)| local.len() <= 64 && local.split('.').all(atom) && is_domain(domain))
}

/// The relay's password, read anew each time; a line's end after it is not part of it.
pub(super) fn read_password(path: &Path) -> Result<Zeroizing<String>, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let text = Zeroizing::new(text);
    let password = Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned());
    if password.is_empty() || password.contains(['\0', '\r', '\n']) {
        return Err(format!("{}: no password in one line", path.display()));
    }
    Ok(password)
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
            (AlarmsConfig { email_relay: some("smtp.example.org"), ..Default::default() }, "email_from"),
            (AlarmsConfig { email_to: vec!["a@example.org".into()], ..Default::default() }, "email_to"),
            (AlarmsConfig { email_tls: Some(MailTls::Implicit), ..Default::default() }, "email_tls"),
            (AlarmsConfig { email_to: vec![], ..by_mail() }, "email_to"),
            (AlarmsConfig { email_to: vec!["a@example.org\r\nDATA".into()], ..by_mail() }, "email_to"),
            (AlarmsConfig { email_from: some("Alarms <a@example.org>"), ..by_mail() }, "email_from"),
            (AlarmsConfig { email_relay: some("https://smtp.example.org"), ..by_mail() }, "email_relay"),
            (AlarmsConfig { email_user: some("a"), ..by_mail() }, "email_password"),
            (AlarmsConfig { email_user: some("a\0b"), email_password: file(), ..by_mail() }, "email_user"),
        ] {
            let said = config.check().unwrap_err().to_string();
            assert!(said.contains(key), "{said}");
        }
    }

    fn by_mail() -> AlarmsConfig {
        AlarmsConfig {
            email_relay: Some("smtp.example.org".into()),
            email_from: Some("matron@example.org".into()),
            email_to: vec!["on-call@example.org".into()],
            ..AlarmsConfig::default()
        }
    }

    #[test]
    fn mail_is_handed_over_by_tls_from_the_first_byte_on_465_and_by_starttls_elsewhere_unless_it_is_said() {
        let mode = |relay: &str, tls| {
            let config = AlarmsConfig { email_relay: Some(relay.into()), email_tls: tls, ..by_mail() };
            config.check().unwrap();
            let relay = config.relay().unwrap().unwrap();
            assert_eq!(config.ports(), [relay.authority.port]);
            (relay.authority.port, relay.mode)
        };
        assert_eq!(mode("smtp.example.org", None), (465, MailTls::Implicit));
        assert_eq!(mode("smtp.example.org:587", None), (587, MailTls::Starttls));
        assert_eq!(mode("192.0.2.1:2465", Some(MailTls::Implicit)), (2465, MailTls::Implicit));
        assert_eq!(mode("smtp.example.org", Some(MailTls::Starttls)), (465, MailTls::Starttls));
    }

    #[test]
    fn an_address_is_one_that_stands_in_a_command_as_it_is() {
        for good in ["a@b", "on-call.wards+x@mail.example.org", "o'n@example.org"] {
            assert!(is_address(good), "{good}");
        }
        for bad in [
            "", "a", "@b", "a@", "a@@b", "a b@c", ".a@b", "a..b@c", "a@b..c", "a@-b", "a@b>", "\"a\"@b",
            "ä@b",
        ] {
            assert!(!is_address(bad), "{bad}");
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
