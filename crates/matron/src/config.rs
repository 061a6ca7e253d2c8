//! The configuration: a TOML file, then the environment, then flags; the last one wins. Every key
//! has a default, an unknown key is refused, and a value that can't work is refused by its name.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use backup::Recipients;
use serde::{Deserialize, Serialize};

use crate::Place;
use crate::rooms::Room;

/// The whole configuration, as the file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) base_url: String,
    pub(crate) organization: String,
    pub(crate) organization_phone: Option<String>,
    pub(crate) phones: Phones,
    pub(crate) administrators: Administrators,
    pub(crate) acme: Acme,
    pub(crate) alarms: Alarms,
    pub(crate) oidc: Oidc,
    pub(crate) push: Push,
    pub(crate) enrolment: Enrolment,
    pub(crate) inventory: Inventory,
    pub(crate) backup: Backup,
    pub(crate) log: Log,
    pub(crate) sandbox: Sandbox,
    pub(crate) vault: Vault,
}

/// Where the phones' TLS ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TlsEnds {
    Here,
    LoadBalancer,
}

/// The phones' listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Phones {
    pub(crate) listen: SocketAddr,
    pub(crate) tls_certificate: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    /// The CA of this house makes the certificate, and that is what is wanted.
    pub(crate) tls_own: bool,
    pub(crate) tls_reload_seconds: u32,
    /// `here` or `load_balancer`: where the phones' TLS ends.
    pub(crate) tls_ends: TlsEnds,
    /// PEM of the CA of the load balancer's own certificate.
    pub(crate) load_balancer_ca: Option<PathBuf>,
    /// Plain HTTP from a load balancer on an address that others reach.
    pub(crate) danger_plain_http: bool,
    /// Connections begin with a PROXY header, version 2.
    pub(crate) proxy_protocol: bool,
    /// Who may send one.
    pub(crate) proxy_from: Vec<door::Network>,
    pub(crate) largest_body_bytes: usize,
    pub(crate) body_timeout_ms: u64,
    pub(crate) idle_timeout_ms: u64,
    pub(crate) connections: usize,
}

/// The administrators' listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Administrators {
    pub(crate) listen: SocketAddr,
    pub(crate) tls_certificate: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    /// Plain HTTP on an address that others reach.
    pub(crate) danger_plain_http: bool,
}

/// A public certificate by ACME (RFC 8555).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Acme {
    pub(crate) directory: Option<String>,
    pub(crate) agree_to_terms: bool,
    pub(crate) contact: Option<String>,
    pub(crate) challenge: door::AcmeChallengeKind,
    pub(crate) hosts: Vec<String>,
    pub(crate) http_listen: SocketAddr,
    pub(crate) trust_anchor: Option<PathBuf>,
}

impl Default for Acme {
    fn default() -> Self {
        Self {
            directory: None,
            agree_to_terms: false,
            contact: None,
            challenge: door::AcmeChallengeKind::TlsAlpn01,
            hosts: Vec::new(),
            http_listen: SocketAddr::from(([0, 0, 0, 0], 80)),
            trust_anchor: None,
        }
    }
}

/// Where alarms go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Alarms {
    pub(crate) webhook_url: Option<String>,
    pub(crate) webhook_secret: Option<PathBuf>,
    pub(crate) syslog: Option<String>,
    pub(crate) syslog_certificate: Option<PathBuf>,
    pub(crate) syslog_key: Option<PathBuf>,
    pub(crate) email_relay: Option<String>,
    pub(crate) email_tls: Option<courier::MailTls>,
    pub(crate) email_from: Option<String>,
    pub(crate) email_to: Vec<String>,
    pub(crate) email_user: Option<String>,
    pub(crate) email_password: Option<PathBuf>,
    pub(crate) trust_anchor: Option<PathBuf>,
}

/// Signing in by OpenID Connect, to read masks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Oidc {
    /// None: people sign in with what signs orders alone.
    pub(crate) issuer: Option<String>,
    pub(crate) client_id: String,
    /// The file that holds the client's secret.
    pub(crate) client_secret: Option<PathBuf>,
    /// Where browsers reach the console, without a path.
    pub(crate) console_url: String,
    /// Beside the issuer's host, those that its metadata may lead to.
    pub(crate) hosts: Vec<String>,
    /// Beside `openid`.
    pub(crate) scopes: Vec<String>,
    pub(crate) trust_anchor: Option<PathBuf>,
    /// Who reads as what; the first line that fits counts.
    pub(crate) roles: Vec<core_room::OidcRole>,
}

/// Apple's push service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Push {
    pub(crate) topic: String,
    pub(crate) endpoint: String,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) trust_anchor: Option<PathBuf>,
    pub(crate) expiration_days: u32,
    pub(crate) backoff_minutes: Vec<u32>,
    pub(crate) not_now_retry_minutes: u32,
}

/// Enrolment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Enrolment {
    /// Serve profiles without a signature.
    pub(crate) unsigned_profiles: bool,
    /// Admit SHA-1 and 3DES from older phones and simulators.
    pub(crate) admit_old_algorithms: bool,
    /// How long a phone's certificate lives.
    pub(crate) certificate_days: u32,
}

/// Inventory and history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Inventory {
    pub(crate) interval_hours: u32,
    pub(crate) history_days: u32,
    pub(crate) left_days: u32,
    pub(crate) query_life_hours: u32,
}

/// Backups.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Backup {
    /// To whom backups are encrypted: public keys of age (`age1…`), whose secret halves are kept elsewhere.
    pub(crate) recipients: Vec<String>,
}

/// Logging, to standard error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    /// As `RUST_LOG` has it: `info`, `warn,door=debug`, …
    pub(crate) filter: String,
    /// One JSON object a line.
    pub(crate) json: bool,
}

/// What the kernel holds the rooms to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sandbox {
    /// Layers that are not put in force.
    pub(crate) danger_without: Vec<sandbox::Layer>,
    /// The courier resolves names over UDP, where no TCP port 53 is reachable.
    pub(crate) dns_over_udp: bool,
    /// Started as root, each room runs as a user of its own: this and the room's name.
    pub(crate) user_prefix: Option<String>,
}

/// Where the root key is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RootKey {
    /// In a file of the vault's folder, beside the data.
    #[default]
    File,
    /// Every room's keys are wrapped under a credential that systemd hands to the service.
    Credential,
    /// Root key and CA are on a PKCS#11 token, and what wraps every room's keys is derived there.
    Pkcs11,
}

/// The vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Vault {
    pub(crate) root_key: RootKey,
    /// The shared library that the token's maker gives.
    pub(crate) pkcs11_module: Option<PathBuf>,
    /// The token's label.
    pub(crate) pkcs11_token: Option<String>,
    /// Absent: systemd's credential `matron-pkcs11-pin`.
    pub(crate) pkcs11_pin_file: Option<PathBuf>,
    /// What the labels of this house's keys on the token begin with.
    pub(crate) pkcs11_keys: String,
    /// The one folder that the module reads and writes.
    pub(crate) pkcs11_folder: Option<PathBuf>,
    /// `NAME=value`: what the module finds in its environment, which is empty else.
    pub(crate) pkcs11_environment: Vec<String>,
    /// The token's process runs without filters and rules on files: for modules that speak to a network, to USB, or
    /// have threads.
    pub(crate) pkcs11_danger_unheld: bool,
}

impl Default for Vault {
    fn default() -> Self {
        Self {
            root_key: RootKey::default(),
            pkcs11_module: None,
            pkcs11_token: None,
            pkcs11_pin_file: None,
            pkcs11_keys: "matron".into(),
            pkcs11_folder: None,
            pkcs11_environment: Vec::new(),
            pkcs11_danger_unheld: false,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            base_url: "https://localhost:8443".into(),
            organization: "This hospital".into(),
            organization_phone: None,
            phones: Phones::default(),
            administrators: Administrators::default(),
            acme: Acme::default(),
            alarms: Alarms::default(),
            oidc: Oidc::default(),
            push: Push::default(),
            enrolment: Enrolment::default(),
            inventory: Inventory::default(),
            backup: Backup::default(),
            log: Log::default(),
            sandbox: Sandbox::default(),
            vault: Vault::default(),
        }
    }
}

impl Default for Phones {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8443)),
            tls_certificate: None,
            tls_key: None,
            tls_own: false,
            tls_reload_seconds: 10,
            tls_ends: TlsEnds::Here,
            load_balancer_ca: None,
            danger_plain_http: false,
            proxy_protocol: false,
            proxy_from: Vec::new(),
            largest_body_bytes: 4 << 20,
            body_timeout_ms: 30_000,
            idle_timeout_ms: 120_000,
            connections: 20_000,
        }
    }
}

impl Default for Administrators {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8444)),
            tls_certificate: None,
            tls_key: None,
            danger_plain_http: false,
        }
    }
}

impl Default for Push {
    fn default() -> Self {
        Self {
            topic: "com.apple.mgmt.External.matron-without-push".into(),
            endpoint: "https://api.push.apple.com:443".into(),
            certificate: None,
            key: None,
            trust_anchor: None,
            expiration_days: 7,
            backoff_minutes: vec![2, 10, 60, 1440],
            not_now_retry_minutes: 15,
        }
    }
}

impl Default for Enrolment {
    fn default() -> Self {
        Self { unsigned_profiles: false, admit_old_algorithms: false, certificate_days: 730 }
    }
}
impl Default for Inventory {
    fn default() -> Self {
        Self { interval_hours: 24, history_days: 30, left_days: 90, query_life_hours: 168 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".into(), json: false }
    }
}

/// The environment variable of a key: `phones.listen` is `MATRON_PHONES_LISTEN`.
fn variable_of(key: &str) -> String {
    format!("MATRON_{}", key.replace('.', "_").to_uppercase())
}

/// Every key, in the order of the file.
fn keys() -> Result<Vec<String>> {
    let mut out = Vec::new();
    let all = serde_json::to_value(Config::default())?;
    for (name, value) in all.as_object().into_iter().flatten() {
        match value.as_object() {
            Some(section) => out.extend(section.keys().map(|k| format!("{name}.{k}"))),
            None => out.push(name.clone()),
        }
    }
    Ok(out)
}

/// Puts `text` at `key`, as the type that TOML would read it as, or as a string.
fn put(table: &mut toml::Table, key: &str, text: &str) -> Result<()> {
    let read = format!("v = {text}").parse::<toml::Table>().ok().and_then(|mut t| t.remove("v"));
    let value = match read {
        Some(v @ (toml::Value::Integer(_) | toml::Value::Boolean(_) | toml::Value::Array(_))) => v,
        _ => toml::Value::String(text.trim_matches('"').to_owned()),
    };
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((section, key)) => {
            let entry = table.entry(section).or_insert_with(|| toml::Table::new().into());
            let Some(section_table) = entry.as_table_mut() else {
                bail!("'{section}' is a section of the configuration, not a value");
            };
            section_table.insert(key.to_owned(), value);
        }
    }
    Ok(())
}

impl Config {
    /// Reads the configuration of a place and checks it.
    pub(crate) fn read(place: &Place) -> Result<Self> {
        let mut table = match &place.config {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("the configuration file {}", path.display()))?;
                text.parse::<toml::Table>()
                    .with_context(|| format!("the configuration file {}", path.display()))?
            }
            None => toml::Table::new(),
        };
        for key in keys()? {
            if let Ok(value) = std::env::var(variable_of(&key)) {
                put(&mut table, &key, &value)?;
            }
        }
        for pair in &place.set {
            let Some((key, value)) = pair.split_once('=') else {
                bail!("--set takes KEY=VALUE, for example phones.listen=0.0.0.0:8443; got '{pair}'");
            };
            put(&mut table, key.trim(), value.trim())?;
        }
        let read: std::result::Result<Self, toml::de::Error> = table.try_into();
        let config = read.map_err(|e| {
            let said = e.to_string();
            let example = said
                .contains("socket address")
                .then_some("; give an address and a port, such as 0.0.0.0:8443");
            anyhow::anyhow!("the configuration: {}{}", said.trim_end(), example.unwrap_or_default())
        })?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let host = self.base_url.strip_prefix("https://").unwrap_or_default();
        if host.is_empty() || host.contains('/') || host.contains(char::is_whitespace) {
            bail!(
                "base_url: phones need https and a host, without a path, for example https://mdm.example.org"
            );
        }
        let name = self.organization.trim();
        if name.is_empty() || name.chars().count() > 60 {
            bail!("organization: 1 to 60 characters; phones show it");
        }
        if let Some(number) = &self.organization_phone {
            let digits = number.chars().filter(char::is_ascii_digit).count();
            let plain = number.chars().all(|c| c.is_ascii_digit() || "+ ()-".contains(c));
            if !plain || !(3..=15).contains(&digits) || number.len() > 30 {
                bail!(
                    "organization_phone: the number to call that a lost phone shows, 3 to 15 digits with + ( ) - and \
                     spaces, for example '+44 20 7946 0123'"
                );
            }
        }
        if !self.push.topic.starts_with("com.apple.mgmt.") {
            bail!("push.topic: Apple's topics begin with com.apple.mgmt. (the push certificate's UID)");
        }
        if self.vault.root_key == RootKey::Pkcs11 {
            self.vault.check_pkcs11()?;
        }
        if self.push.certificate.is_some() != self.push.key.is_some() {
            bail!("push.certificate: give push.certificate and push.key together, or neither");
        }
        if self.phones.tls_certificate.is_some() != self.phones.tls_key.is_some() {
            bail!("phones.tls_certificate: give phones.tls_certificate and phones.tls_key together");
        }
        if self.phones.tls_own && (self.phones.tls_certificate.is_some() || self.acme.directory.is_some()) {
            bail!(
                "phones.tls_own: phones.tls_certificate or acme.directory is set too; take one of them out"
            );
        }
        let admin_tls = self.administrators.tls_certificate.is_some();
        if admin_tls != self.administrators.tls_key.is_some() {
            bail!("administrators.tls_certificate: give it and administrators.tls_key together");
        }
        let a = &self.administrators;
        if !a.listen.ip().is_loopback() && !admin_tls && !a.danger_plain_http {
            bail!(
                "administrators.listen: {} is reachable by others and would speak plain HTTP; give \
                 administrators.tls_certificate and tls_key, keep it on 127.0.0.1, or accept it with \
                 administrators.danger_plain_http = true",
                a.listen
            );
        }
        if self.phones.listen == a.listen && a.listen.port() != 0 {
            bail!("administrators.listen: the phones' listener is there already ({})", a.listen);
        }
        if !(1024..=16 << 20).contains(&self.phones.largest_body_bytes) {
            bail!("phones.largest_body_bytes: 1024 to 16777216");
        }
        let p = &self.phones;
        if p.proxy_protocol == p.proxy_from.is_empty() {
            bail!(
                "phones.proxy_from: with phones.proxy_protocol = true name the load balancer's addresses, for \
                 example [\"10.0.0.0/8\"]; without it leave them out"
            );
        }
        if p.tls_ends == TlsEnds::Here && (p.load_balancer_ca.is_some() || p.danger_plain_http) {
            bail!(
                "phones.tls_ends: load_balancer_ca and danger_plain_http are for \"load_balancer\"; where TLS ends \
                 here, phones show their own certificates"
            );
        }
        let plain = p.tls_ends == TlsEnds::LoadBalancer && p.load_balancer_ca.is_none();
        if plain && !p.listen.ip().is_loopback() && !p.danger_plain_http {
            bail!(
                "phones.listen: {} would take plain HTTP from whoever reaches it; give phones.load_balancer_ca \
                 (the CA of the certificate that the load balancer shows), listen on 127.0.0.1, or accept it \
                 with phones.danger_plain_http = true",
                p.listen
            );
        }
        if !(1..=86_400).contains(&self.phones.tls_reload_seconds) {
            bail!("phones.tls_reload_seconds: 1 to 86400");
        }
        if !(1..=1_000_000).contains(&self.phones.connections) {
            bail!("phones.connections: 1 to 1000000");
        }
        if !(1..=1825).contains(&self.enrolment.certificate_days) {
            bail!("enrolment.certificate_days: 1 to 1825");
        }
        if !(1..=30).contains(&self.push.expiration_days) {
            bail!("push.expiration_days: 1 to 30");
        }
        for (key, path) in [
            ("phones.tls_certificate", &self.phones.tls_certificate),
            ("phones.tls_key", &self.phones.tls_key),
            ("phones.load_balancer_ca", &self.phones.load_balancer_ca),
            ("administrators.tls_certificate", &a.tls_certificate),
            ("administrators.tls_key", &a.tls_key),
            ("push.certificate", &self.push.certificate),
            ("push.key", &self.push.key),
            ("push.trust_anchor", &self.push.trust_anchor),
            ("acme.trust_anchor", &self.acme.trust_anchor),
            ("alarms.webhook_secret", &self.alarms.webhook_secret),
            ("alarms.syslog_certificate", &self.alarms.syslog_certificate),
            ("alarms.syslog_key", &self.alarms.syslog_key),
            ("alarms.email_password", &self.alarms.email_password),
            ("alarms.trust_anchor", &self.alarms.trust_anchor),
            ("oidc.client_secret", &self.oidc.client_secret),
            ("oidc.trust_anchor", &self.oidc.trust_anchor),
        ] {
            if let Some(path) = path
                && !path.is_file()
            {
                bail!("{key}: there is no file {}", path.display());
            }
        }
        if !self.backup.recipients.is_empty() {
            Recipients::parse(&self.backup.recipients)?;
        }
        self.check_acme()?;
        self.check_oidc()?;
        self.alarms().check()?;
        self.core(Path::new("")).check()?;
        Ok(())
    }

    fn check_acme(&self) -> Result<()> {
        let acme = &self.acme;
        if acme.directory.is_none() {
            return Ok(());
        }
        if !acme.agree_to_terms {
            bail!(
                "acme.agree_to_terms: an account needs your consent to the authority's terms of service; read \
                 them and set acme.agree_to_terms = true"
            );
        }
        if self.phones.tls_certificate.is_some() {
            bail!(
                "acme.directory: phones.tls_certificate is set too; the phones' listener shows one of them"
            );
        }
        if self.phones.tls_ends == TlsEnds::LoadBalancer {
            bail!(
                "acme.directory: TLS ends at the load balancer (phones.tls_ends), which has to get its own"
            );
        }
        if acme.contact.as_ref().is_some_and(|c| !c.starts_with("mailto:") || !c.contains('@')) {
            bail!("acme.contact: write it as mailto:name@example.org");
        }
        for host in self.acme_hosts() {
            let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
            let address = host.parse::<std::net::IpAddr>().is_ok();
            if host.is_empty() || host.len() > 253 || address || !host.bytes().all(fits) {
                bail!(
                    "acme.hosts: '{host}' is no host name in small letters; addresses get no certificate by ACME"
                );
            }
        }
        self.courier(Path::new("")).check().context("acme")
    }

    fn check_oidc(&self) -> Result<()> {
        let oidc = &self.oidc;
        if oidc.issuer.is_none() {
            if *oidc != Oidc::default() {
                bail!(
                    "oidc.issuer: the other keys of [oidc] are set; give the provider's issuer, or take them out"
                );
            }
            return Ok(());
        }
        if oidc.client_secret.is_none() {
            bail!("oidc.client_secret: name the file that holds the secret that the provider gave Matron");
        }
        self.courier(Path::new("")).check().context("oidc")
    }

    /// The courier's part of [oidc].
    pub(crate) fn oidc(&self) -> Option<courier::OidcConfig> {
        Some(courier::OidcConfig {
            issuer: self.oidc.issuer.clone()?,
            client_id: self.oidc.client_id.clone(),
            client_secret: self.oidc.client_secret.clone()?,
            hosts: self.oidc.hosts.clone(),
            trust_anchor: self.oidc.trust_anchor.clone(),
        })
    }

    /// The names that the certificate by ACME is for.
    fn acme_hosts(&self) -> Vec<String> {
        match self.acme.hosts.as_slice() {
            [] => self.tls_names().into_iter().take(1).map(|name| name.to_ascii_lowercase()).collect(),
            hosts => hosts.to_vec(),
        }
    }

    /// Where http-01 is answered, if it is.
    pub(crate) fn acme_listen(&self) -> Option<SocketAddr> {
        let http = self.acme.challenge == door::AcmeChallengeKind::Http01;
        (http && self.acme.directory.is_some()).then_some(self.acme.http_listen)
    }

    /// The names and addresses that the door's own TLS certificate is for.
    pub(crate) fn tls_names(&self) -> Vec<String> {
        let host = self.base_url.trim_start_matches("https://");
        let host = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        let host = host.trim_matches(['[', ']']);
        let mut names = vec![host.to_owned()];
        if host == "localhost" {
            names.push("127.0.0.1".into());
        }
        names
    }

    /// A room's part, as its process reads it.
    pub(crate) fn of(&self, room: Room, rooms_dir: &Path) -> Result<serde_json::Value> {
        Ok(match room {
            Room::Door => serde_json::to_value(self.door(rooms_dir))?,
            Room::Reader => serde_json::to_value(self.reader(rooms_dir))?,
            Room::Core => serde_json::to_value(self.core(rooms_dir))?,
            Room::Vault => serde_json::to_value(self.vault(rooms_dir))?,
            Room::Courier => serde_json::to_value(self.courier(rooms_dir))?,
        })
    }

    pub(crate) fn door(&self, dir: &Path) -> door::Config {
        door::Config {
            data_dir: dir.join("door"),
            tls_certificate: self.phones.tls_certificate.clone(),
            tls_key: self.phones.tls_key.clone(),
            tls_reload_ms: u64::from(self.phones.tls_reload_seconds) * 1000,
            tls_ends: match self.phones.tls_ends {
                TlsEnds::Here => door::TlsEnds::Here,
                TlsEnds::LoadBalancer => {
                    door::TlsEnds::LoadBalancer { ca: self.phones.load_balancer_ca.clone() }
                }
            },
            proxy_from: self.phones.proxy_protocol.then(|| self.phones.proxy_from.clone()),
            largest_body_bytes: self.phones.largest_body_bytes,
            body_timeout_ms: self.phones.body_timeout_ms,
            idle_timeout_ms: self.phones.idle_timeout_ms,
            connections: self.phones.connections,
            acme: self.acme.directory.as_ref().map(|_| door::AcmeConfig {
                hosts: self.acme_hosts(),
                challenge: self.acme.challenge,
                trust_anchor: self.acme.trust_anchor.clone(),
            }),
        }
    }

    pub(crate) fn reader(&self, dir: &Path) -> reader::Config {
        reader::Config {
            admit_old_algorithms: self.enrolment.admit_old_algorithms,
            largest_body_bytes: self.phones.largest_body_bytes,
            ..reader::Config::new(dir.join("reader"))
        }
    }

    pub(crate) fn core(&self, dir: &Path) -> core_room::Config {
        core_room::Config {
            base_url: self.base_url.clone(),
            history_days: self.inventory.history_days,
            left_days: self.inventory.left_days,
            inventory_interval_hours: self.inventory.interval_hours,
            query_life_hours: self.inventory.query_life_hours,
            not_now_retry_minutes: self.push.not_now_retry_minutes,
            push_backoff_minutes: self.push.backoff_minutes.clone(),
            admin_tls_cert: self.administrators.tls_certificate.clone(),
            admin_tls_key: self.administrators.tls_key.clone(),
            oidc: self.oidc.issuer.as_ref().map(|issuer| core_room::OidcConfig {
                issuer: issuer.clone(),
                client_id: self.oidc.client_id.clone(),
                console_url: self.oidc.console_url.clone(),
                hosts: self.oidc.hosts.clone(),
                scopes: self.oidc.scopes.clone(),
                roles: self.oidc.roles.clone(),
            }),
            organization_phone: self.organization_phone.clone(),
            ..core_room::Config::at(dir.join("core"))
        }
    }

    pub(crate) fn vault(&self, dir: &Path) -> vault::Config {
        vault::Config {
            data_dir: dir.join("vault"),
            base_url: self.base_url.clone(),
            organization: self.organization.clone(),
            organization_phone: self.organization_phone.clone(),
            topic: self.push.topic.clone(),
            unsigned_profiles: self.enrolment.unsigned_profiles,
            admit_old_algorithms: self.enrolment.admit_old_algorithms,
            certificate_days: self.enrolment.certificate_days,
            sign_messages: self.phones.tls_ends == TlsEnds::LoadBalancer,
        }
    }

    /// Where alarms go, for the courier.
    pub(crate) fn alarms(&self) -> courier::AlarmsConfig {
        let a = &self.alarms;
        courier::AlarmsConfig {
            sender: self.tls_names().into_iter().next().unwrap_or_default(),
            webhook_url: a.webhook_url.clone(),
            webhook_secret: a.webhook_secret.clone(),
            syslog: a.syslog.clone(),
            syslog_certificate: a.syslog_certificate.clone(),
            syslog_key: a.syslog_key.clone(),
            email_relay: a.email_relay.clone(),
            email_tls: a.email_tls,
            email_from: a.email_from.clone(),
            email_to: a.email_to.clone(),
            email_user: a.email_user.clone(),
            email_password: a.email_password.clone(),
            trust_anchor: a.trust_anchor.clone(),
        }
    }

    pub(crate) fn courier(&self, dir: &Path) -> courier::Config {
        courier::Config {
            endpoint: self.push.endpoint.clone(),
            push_certificate: self.push.certificate.clone(),
            push_key: self.push.key.clone(),
            trust_anchor: self.push.trust_anchor.clone(),
            topic: Some(self.push.topic.clone()),
            expiration_days: self.push.expiration_days,
            acme: self.acme.directory.clone().map(|directory| courier::AcmeConfig {
                directory,
                contact: self.acme.contact.clone(),
                hosts: self.acme_hosts(),
                challenge: match self.acme.challenge {
                    door::AcmeChallengeKind::Http01 => courier::AcmeChallengeKind::Http01,
                    door::AcmeChallengeKind::TlsAlpn01 => courier::AcmeChallengeKind::TlsAlpn01,
                },
                trust_anchor: self.acme.trust_anchor.clone(),
            }),
            alarms: self.alarms(),
            oidc: self.oidc(),
            ..courier::Config::new(dir.join("courier"))
        }
    }
}

/// `matron config check`.
pub(crate) fn check(place: &Place) -> Result<()> {
    let config = Config::read(place)?;
    println!("The configuration is fine.");
    println!("  phones          {} (as {})", config.phones.listen, config.base_url);
    println!("  administrators  {}", config.administrators.listen);
    let push = if config.push.certificate.is_some() { "configured" } else { "no certificate yet" };
    println!("  push            {push}");
    println!("  data            {}", place.data.display());
    Ok(())
}

/// `matron config show`.
pub(crate) fn show(place: &Place) -> Result<()> {
    print!("{}", toml::to_string_pretty(&Config::read(place)?)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(set: &[&str]) -> Place {
        Place { data: "x".into(), config: None, set: set.iter().map(|s| (*s).to_owned()).collect() }
    }

    #[test]
    fn the_defaults_are_a_valid_configuration() {
        assert_eq!(Config::read(&place(&[])).unwrap(), Config::default());
    }

    #[test]
    fn a_flag_sets_a_key_of_any_type() {
        let c = Config::read(&place(&[
            "phones.listen=192.0.2.1:443",
            "phones.connections=7",
            "enrolment.unsigned_profiles=true",
            "push.backoff_minutes=[1, 2]",
            "base_url=https://mdm.example.org",
        ]))
        .unwrap();
        assert_eq!(c.phones.listen.to_string(), "192.0.2.1:443");
        assert_eq!(c.phones.connections, 7);
        assert!(c.enrolment.unsigned_profiles);
        assert_eq!(c.push.backoff_minutes, [1, 2]);
        assert_eq!(c.tls_names(), ["mdm.example.org"]);
    }

    #[test]
    fn a_mistake_is_refused_by_the_name_of_its_key() {
        for (set, key) in [
            ("phones.lisen=1", "lisen"),
            ("phones.listen=nowhere", "listen"),
            ("base_url=http://mdm.example.org", "base_url"),
            ("administrators.listen=192.0.2.1:8444", "administrators.listen"),
            ("push.topic=org.example", "push.topic"),
            ("push.certificate=/nowhere.pem", "push.certificate"),
            ("inventory.history_days=0", "history_days"),
            ("inventory.left_days=0", "left_days"),
            ("acme.directory=https://acme.example.org/d", "acme.agree_to_terms"),
            ("acme.challenge=dns-01", "challenge"),
            ("backup.recipients=[\"age1made-up\"]", "backup.recipients"),
            ("alarms.webhook_url=https://hooks.example.org", "alarms.webhook_secret"),
            ("alarms.syslog_key=/nowhere.pem", "alarms.syslog_key"),
            ("alarms.email_relay=smtp.example.org", "alarms.email_from"),
        ] {
            let e = format!("{:#}", Config::read(&place(&[set])).unwrap_err());
            assert!(e.contains(key), "{set}: {e}");
        }
    }

    #[test]
    fn plain_http_from_a_load_balancer_needs_loopback_or_a_danger_key() {
        let read = |set: &[&str]| Config::read(&place(set)).map_err(|e| format!("{e:#}"));
        let behind = "phones.tls_ends=load_balancer";
        assert!(read(&[behind]).unwrap_err().contains("phones.danger_plain_http"));
        assert!(read(&[behind, "phones.listen=127.0.0.1:8443"]).is_ok());
        assert!(read(&[behind, "phones.danger_plain_http=true"]).is_ok());
        assert!(read(&["phones.danger_plain_http=true"]).unwrap_err().contains("phones.tls_ends"));
        assert!(read(&["phones.tls_ends=proxy"]).is_err());
    }

    #[test]
    fn who_may_send_a_proxy_header_is_named_with_it() {
        let read = |set: &[&str]| Config::read(&place(set)).map_err(|e| format!("{e:#}"));
        let on = "phones.proxy_protocol=true";
        assert!(read(&[on]).unwrap_err().contains("phones.proxy_from"));
        let c = read(&[on, "phones.proxy_from=[\"10.0.0.0/8\", \"2001:db8::7\"]"]).unwrap();
        assert_eq!(c.phones.proxy_from.len(), 2);
        assert_eq!(c.door(Path::new("x")).proxy_from.map(|p| p.len()), Some(2));
        assert!(read(&["phones.proxy_from=[\"10.0.0.0/8\"]"]).is_err());
        assert!(read(&[on, "phones.proxy_from=[\"everyone\"]"]).unwrap_err().contains("10.0.0.0/8"));
    }

    #[test]
    fn a_mistake_about_acme_is_refused_by_the_name_of_its_key() {
        let good = ["acme.directory=https://acme.example.org/d", "acme.agree_to_terms=true"];
        let with = |more: &str| Config::read(&place(&[good[0], good[1], more]));
        assert_eq!(with("base_url=https://MDM.example.org").unwrap().acme_hosts(), ["mdm.example.org"]);
        assert!(with("base_url=https://mdm.example.org").unwrap().acme_listen().is_none());
        assert_eq!(with("acme.challenge=http-01").unwrap().acme_listen().unwrap().port(), 80);
        for (set, key) in [
            ("base_url=https://192.0.2.7", "acme.hosts"),
            ("acme.hosts=[\"*.example.org\"]", "acme.hosts"),
            ("acme.contact=ops@example.org", "acme.contact"),
            ("acme.directory=http://acme.example.org/d", "acme.directory"),
            ("acme.trust_anchor=/nowhere.pem", "acme.trust_anchor"),
        ] {
            let e = format!("{:#}", with(set).unwrap_err());
            assert!(e.contains(key), "{set}: {e}");
        }
        let behind = ["phones.tls_ends=load_balancer", "phones.listen=127.0.0.1:8443"];
        let e = Config::read(&place(&[good[0], good[1], behind[0], behind[1]])).unwrap_err();
        assert!(format!("{e:#}").contains("tls_ends"), "{e:#}");
    }

    #[test]
    fn the_tls_certificate_is_for_the_host_of_the_base_url() {
        let names = |url: &str| Config { base_url: url.into(), ..Config::default() }.tls_names();
        assert_eq!(names("https://localhost:8443"), ["localhost", "127.0.0.1"]);
        assert_eq!(names("https://192.0.2.7:8443"), ["192.0.2.7"]);
        assert_eq!(names("https://[2001:db8::1]:8443"), ["2001:db8::1"]);
    }
}
