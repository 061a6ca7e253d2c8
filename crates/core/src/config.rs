//! Core's part of the configuration.

use std::path::PathBuf;

use model::{Group, Role};
use serde::{Deserialize, Serialize};

/// What the operator can set. Unknown keys are refused; everything but the folder has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Core's own folder: the database, the pinned root key, the newest key statement.
    pub data_dir: PathBuf,
    /// Where phones reach the door, e.g. `https://mdm.example.org`. Shown by the health page.
    #[serde(default)]
    pub base_url: String,
    /// Finished commands are forgotten after so many days.
    #[serde(default = "days_30")]
    pub history_days: u32,
    /// What a phone reported, and whose it was, is forgotten so many days after it left.
    #[serde(default = "days_90")]
    pub left_days: u32,
    /// An enrolled phone is asked for its inventory so often.
    #[serde(default = "hours_24")]
    pub inventory_interval_hours: u32,
    /// A free query that no phone fetched expires after so many hours.
    #[serde(default = "hours_168")]
    pub query_life_hours: u32,
    /// A command that a phone put off (NotNow) is offered again after so many minutes, and a push is
    /// sent for it then.
    #[serde(default = "minutes_15")]
    pub not_now_retry_minutes: u32,
    /// How long to wait before the second, third, … push while a command waits and the phone is
    /// silent; the last one repeats.
    #[serde(default = "back_off")]
    pub push_backoff_minutes: Vec<u32>,
    /// PEM certificate chain for the administrators' listener; plain HTTP when absent.
    #[serde(default)]
    pub admin_tls_cert: Option<PathBuf>,
    /// PEM private key that belongs to it.
    #[serde(default)]
    pub admin_tls_key: Option<PathBuf>,
    /// People of an OpenID provider sign in to read masks. None: nobody does.
    #[serde(default)]
    pub oidc: Option<OidcConfig>,
    /// The number to call that a lost phone shows; its holder is told it too.
    #[serde(default)]
    pub organization_phone: Option<String>,
}

/// Core's part of signing in by OpenID Connect. Where the provider is reached, and the client's secret, are the courier's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcConfig {
    /// The provider's issuer, exactly as its tokens have it.
    pub issuer: String,
    /// What the provider knows Matron as.
    pub client_id: String,
    /// Where browsers reach the console, such as `https://matron.example.org:8444`, without a path.
    pub console_url: String,
    /// Hosts (`host` or `host:port`) beside the issuer's to which the provider's metadata may lead browsers.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Asked for beside `openid`; some providers give groups for one.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Who reads as what. The first that fits counts.
    pub roles: Vec<OidcRole>,
}

/// One line of who reads as what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcRole {
    /// The claim's name (`groups`), or a path of names with dots between (`realm_access.roles`).
    pub claim: String,
    /// What it has to be, or one of its items has to be.
    pub value: String,
    /// `auditor`, `service_desk` or `ward_manager`.
    pub role: Role,
    /// A ward manager's group, and nobody else's.
    #[serde(default)]
    pub group: Option<String>,
}

/// What every ID token says of itself and of the sign-in (OpenID Connect Core 1.0, 2): no word on what somebody may read.
const OF_THE_TOKEN: [&str; 12] =
    ["iss", "sub", "aud", "azp", "exp", "iat", "nbf", "nonce", "jti", "auth_time", "at_hash", "c_hash"];

impl OidcConfig {
    /// Where the provider sends browsers back to.
    #[must_use]
    pub fn redirect_uri(&self) -> String {
        format!("{}/sign-in/oidc/done", self.console_url.trim_end_matches('/'))
    }

    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, why| Err(ConfigError { key, why });
        let url: http::Uri = match self.console_url.parse() {
            Ok(url) => url,
            Err(_) => return wrong("oidc.console_url", "give a URL such as https://matron.example.org:8444"),
        };
        // A browser keeps `__Host-` cookies of this machine's own plain HTTP; of no other's.
        let secure = match url.scheme_str() {
            Some("https") => true,
            Some("http") => url.host() == Some("localhost"),
            _ => false,
        };
        let bare = matches!(url.path(), "" | "/") && url.query().is_none();
        if !secure || !bare || url.authority().is_none_or(|a| a.as_str().contains('@')) {
            return wrong(
                "oidc.console_url",
                "give https, a host, no path, such as https://matron.example.org:8444",
            );
        }
        let is_scope =
            |s: &String| !s.is_empty() && s.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\".contains(&b));
        if self.scopes.len() > 10 || !self.scopes.iter().all(is_scope) {
            return wrong(
                "oidc.scopes",
                "give at most ten scopes without spaces; 'openid' is always asked for",
            );
        }
        if self.roles.is_empty() {
            return wrong("oidc.roles", "say who reads as what; without a line nobody has access");
        }
        for line in &self.roles {
            if line.claim.is_empty() || line.value.is_empty() {
                return wrong("oidc.roles", "each line takes a claim and a value");
            }
            if line.claim.split('.').next().is_some_and(|first| OF_THE_TOKEN.contains(&first)) {
                return wrong(
                    "oidc.roles",
                    "a claim such as sub, azp or nonce says nothing of what somebody may read; give one such as groups",
                );
            }
            let held = match line.role {
                Role::Auditor | Role::ServiceDesk => false,
                Role::WardManager => true,
                Role::Administrator | Role::Engineer => {
                    return wrong(
                        "oidc.roles",
                        "a role is auditor, service_desk or ward_manager: who signs in so only reads",
                    );
                }
            };
            if line.group.is_some() != held {
                return wrong("oidc.roles", "a ward_manager takes a group, and no other role does");
            }
            if line.group.as_deref().is_some_and(|g| Group::new(g).is_err()) {
                return wrong("oidc.roles", "a group is 1 to 64 of a-z, 0-9 and '-'");
            }
        }
        Ok(())
    }
}

fn days_90() -> u32 {
    90
}
fn days_30() -> u32 {
    30
}
fn hours_24() -> u32 {
    24
}
fn hours_168() -> u32 {
    168
}
fn minutes_15() -> u32 {
    15
}
fn back_off() -> Vec<u32> {
    vec![2, 10, 60, 1440]
}

/// A value of the configuration was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("core.{key}: {why}")]
pub struct ConfigError {
    /// The key.
    pub key: &'static str,
    /// What is wrong with it and what would do.
    pub why: &'static str,
}

impl Config {
    /// A configuration with nothing but defaults.
    #[must_use]
    pub fn at(data_dir: PathBuf) -> Self {
        Self {
            data_dir,
            base_url: String::new(),
            history_days: days_30(),
            left_days: days_90(),
            inventory_interval_hours: hours_24(),
            query_life_hours: hours_168(),
            not_now_retry_minutes: minutes_15(),
            push_backoff_minutes: back_off(),
            admin_tls_cert: None,
            admin_tls_key: None,
            oidc: None,
            organization_phone: None,
        }
    }

    /// Checks what types alone don't.
    ///
    /// # Errors
    /// [`ConfigError`] names the key and says why.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, why| Err(ConfigError { key, why });
        if !(1..=3650).contains(&self.history_days) {
            return wrong("history_days", "give 1 to 3650 days");
        }
        if !(1..=3650).contains(&self.left_days) {
            return wrong("left_days", "give 1 to 3650 days");
        }
        if !(1..=720).contains(&self.inventory_interval_hours) {
            return wrong("inventory_interval_hours", "give 1 to 720 hours");
        }
        if !(1..=720).contains(&self.query_life_hours) {
            return wrong("query_life_hours", "give 1 to 720 hours");
        }
        if !(1..=1440).contains(&self.not_now_retry_minutes) {
            return wrong("not_now_retry_minutes", "give 1 to 1440 minutes");
        }
        if self.push_backoff_minutes.is_empty()
            || self.push_backoff_minutes.iter().any(|m| !(1..=10_080).contains(m))
        {
            return wrong("push_backoff_minutes", "give at least one number from 1 to 10080");
        }
        if self.admin_tls_cert.is_some() != self.admin_tls_key.is_some() {
            return wrong("admin_tls_cert", "give both admin_tls_cert and admin_tls_key, or neither");
        }
        self.oidc.as_ref().map_or(Ok(()), OidcConfig::check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_alone_is_a_configuration_and_an_unknown_key_is_none() {
        let c: Config = serde_json::from_str(r#"{"data_dir":"/tmp/core"}"#).unwrap();
        assert_eq!(c, Config::at("/tmp/core".into()));
        assert!(c.check().is_ok());
        let e = serde_json::from_str::<Config>(r#"{"data_dir":"/tmp","histroy_days":3}"#).unwrap_err();
        assert!(e.to_string().contains("histroy_days"));
    }

    #[test]
    fn a_value_out_of_range_is_refused_by_its_key() {
        let c = Config { history_days: 0, ..Config::at("/tmp".into()) };
        assert!(c.check().unwrap_err().to_string().starts_with("core.history_days"));
        let c = Config { admin_tls_cert: Some("a.pem".into()), ..Config::at("/tmp".into()) };
        assert!(c.check().is_err());
        let c = Config { push_backoff_minutes: vec![], ..Config::at("/tmp".into()) };
        assert!(c.check().is_err());
    }

    #[test]
    fn who_signs_in_by_oidc_reads_as_one_of_three_roles_and_no_other() {
        let line = |role, group: Option<&str>| OidcRole {
            claim: "groups".into(),
            value: "x".into(),
            role,
            group: group.map(str::to_owned),
        };
        let with = |roles: Vec<OidcRole>, console_url: &str| {
            let oidc = OidcConfig {
                issuer: "https://id.example.org".into(),
                client_id: "matron".into(),
                console_url: console_url.into(),
                hosts: vec![],
                scopes: vec!["groups".into()],
                roles,
            };
            Config { oidc: Some(oidc), ..Config::at("/tmp".into()) }.check()
        };
        let desk = || vec![line(Role::ServiceDesk, None)];
        assert!(with(desk(), "https://matron.example.org:8444").is_ok());
        assert!(with(vec![line(Role::WardManager, Some("ward-7"))], "http://localhost:8444/").is_ok());
        for roles in [
            vec![],
            vec![line(Role::Administrator, None)],
            vec![line(Role::Engineer, None)],
            vec![line(Role::WardManager, None)],
            vec![line(Role::Auditor, Some("ward-7"))],
            vec![line(Role::WardManager, Some("Ward 7"))],
        ] {
            assert_eq!(with(roles, "https://matron.example.org").unwrap_err().key, "oidc.roles");
        }
        for claim in ["sub", "azp", "nonce", "iss.x"] {
            let line = OidcRole { claim: claim.into(), ..line(Role::Auditor, None) };
            assert_eq!(
                with(vec![line], "https://matron.example.org").unwrap_err().key,
                "oidc.roles",
                "{claim}"
            );
        }
        for url in
            ["http://matron.example.org", "https://matron.example.org/x", "matron", "https://a@b.example.org"]
        {
            assert_eq!(with(desk(), url).unwrap_err().key, "oidc.console_url", "{url}");
        }
    }
}
