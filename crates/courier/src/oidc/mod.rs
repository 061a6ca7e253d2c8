//! The provider of OpenID Connect, for core: discovery, the code for an ID token, the provider's keys.
//!
//! Only here is the client's secret, and only to the hosts of the configuration is anything sent, whatever the provider's
//! metadata names. What comes back is handed on unread: core judges tokens. Codes, tokens and the secret reach no log.

mod metadata;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE};
use http::{HeaderValue, Request, StatusCode, response};
use http_body_util::Full;
use model::clock::HOUR_MS;
use model::{Clock, SystemClock, TimeMs};
use rpc::proto::{OidcKeys, OidcMetadata, OidcRedeemRequest, OidcRedeemed};
use rustls::ClientConfig;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::https::{self, Authority, authority_of, bounded};
use crate::room::hold;
use crate::{Error, config};
use metadata::{Metadata, NoToken, SecretGoes};

/// One request takes at most so long, and so much is read of its answer. An ID token with 200 groups is some 12 KB.
const PATIENCE: Duration = Duration::from_secs(10);
const MOST_BYTES: usize = 128 * 1024;
/// Metadata is believed for so long; that there was none, so long.
const KNOWN_MS: TimeMs = HOUR_MS;
const UNKNOWN_MS: TimeMs = 10_000;
const MOST_SECRET_BYTES: usize = 1024;

/// The courier's part of the configuration of signing in by OpenID Connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcConfig {
    /// The provider's issuer, `https://…`, exactly as its metadata has it.
    pub issuer: String,
    /// What the provider knows Matron as.
    pub client_id: String,
    /// The file that holds the client's secret; read anew each time, so it can be changed without a restart.
    pub client_secret: PathBuf,
    /// Hosts (`host` or `host:port`) beside the issuer's to which the provider's metadata may lead.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// PEM of roots that count beside the public ones for the provider's own TLS.
    #[serde(default)]
    pub trust_anchor: Option<PathBuf>,
}

impl OidcConfig {
    /// Checks what can be checked without the network.
    ///
    /// # Errors
    /// [`Error::Config`] names the key.
    pub fn check(&self) -> Result<(), Error> {
        let bad = |key, why: &str| Err(Error::Config { key, why: why.to_owned() });
        if self.client_id.is_empty() || self.client_id.len() > 256 {
            return bad("oidc.client_id", "must be the 1 to 256 characters that the provider gave Matron");
        }
        if self.issuer.contains(['?', '#']) {
            return bad("oidc.issuer", "must have no query");
        }
        self.allowed().map(drop)
    }

    /// Where anything may be sent.
    fn allowed(&self) -> Result<Vec<Authority>, Error> {
        let bad = |key, why: &str| Error::Config { key, why: why.to_owned() };
        let mut all = vec![authority_of(&self.issuer).map_err(|why| bad("oidc.issuer", why))?];
        for host in &self.hosts {
            let url = format!("https://{host}");
            let plain = !host.contains(['/', '?', '#']);
            let found = authority_of(&url).ok().filter(|a| plain && !a.host.is_empty());
            all.push(found.ok_or_else(|| {
                bad("oidc.hosts", "must be hosts such as login.example.org or login.example.org:8443")
            })?);
        }
        Ok(all)
    }

    /// The ports of the hosts that are connected to.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        self.allowed().unwrap_or_default().into_iter().map(|a| a.port).collect()
    }

    fn discovery(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'))
    }
}

/// Why something was not had, for the operator.
type Refused = String;

enum Kept {
    Nothing,
    Known(Arc<Metadata>, TimeMs),
    Refused(Refused, TimeMs),
}

/// The courier's side of it.
pub(crate) struct Oidc {
    config: OidcConfig,
    allowed: Vec<Authority>,
    tls: Arc<ClientConfig>,
    clock: Arc<dyn Clock>,
    kept: Mutex<Kept>,
}

impl Oidc {
    /// # Errors
    /// When the trust anchor can't be read.
    pub(crate) fn open(config: &config::Config, clock: Arc<dyn Clock>) -> Result<Option<Self>, Error> {
        config.oidc.clone().map(|part| Self::new(part, clock)).transpose()
    }

    fn new(config: OidcConfig, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let tls = https::client(config.trust_anchor.as_deref())?;
        Ok(Self { allowed: config.allowed()?, config, tls, clock, kept: Mutex::new(Kept::Nothing) })
    }

    /// Where browsers are sent.
    pub(crate) async fn metadata(&self) -> OidcMetadata {
        match self.discovered().await {
            Ok(m) => OidcMetadata {
                refused: String::new(),
                authorization_endpoint: m.authorization_endpoint.clone(),
                names_issuer: m.authorization_response_iss_parameter_supported,
            },
            Err(refused) => OidcMetadata { refused, ..OidcMetadata::default() },
        }
    }

    /// The provider's keys, as they are now.
    pub(crate) async fn keys(&self) -> OidcKeys {
        let keys = async {
            let m = self.discovered().await?;
            self.get(&m.jwks_uri, "its keys").await
        };
        match keys.await {
            Ok(jwks) => OidcKeys { refused: String::new(), jwks: jwks.into() },
            Err(refused) => OidcKeys { refused, jwks: Vec::new() },
        }
    }

    /// The ID token for a code.
    pub(crate) async fn redeem(&self, asked: OidcRedeemRequest) -> OidcRedeemed {
        match self.try_redeem(asked).await {
            Ok(id_token) => OidcRedeemed { id_token, ..OidcRedeemed::default() },
            Err(NoToken { why, code_refused }) => {
                tracing::warn!(oidc.reason = why, "the provider gave no ID token");
                OidcRedeemed { refused: why, id_token: String::new(), code_refused }
            }
        }
    }

    async fn discovered(&self) -> Result<Arc<Metadata>, Refused> {
        // Not the time of day: set back, it would hold on to a refusal.
        let now_ms = self.clock.passed_ms();
        match &*hold(&self.kept) {
            Kept::Known(m, until_ms) if now_ms < *until_ms => return Ok(m.clone()),
            Kept::Refused(why, until_ms) if now_ms < *until_ms => return Err(why.clone()),
            _ => {}
        }
        let read = self.get(&self.config.discovery(), "its metadata").await;
        let read = read.and_then(|body| Metadata::read(&body, &self.config.issuer, &self.allowed));
        let (kept, answer) = match read {
            Ok(m) => {
                let m = Arc::new(m);
                (Kept::Known(m.clone(), now_ms + KNOWN_MS), Ok(m))
            }
            Err(why) => {
                tracing::warn!(oidc.issuer = self.config.issuer, oidc.reason = why, "no OpenID provider");
                (Kept::Refused(why.clone(), self.clock.passed_ms() + UNKNOWN_MS), Err(why))
            }
        };
        *hold(&self.kept) = kept;
        answer
    }

    async fn get(&self, url: &str, what: &str) -> Result<Bytes, Refused> {
        let request = Request::get(url).header(ACCEPT, "application/json").body(Full::default());
        let (head, body) = self.send(request.map_err(|e| e.to_string())?).await?;
        if head.status == StatusCode::OK {
            Ok(body)
        } else {
            Err(format!("the provider answers {} when asked for {what}", head.status.as_u16()))
        }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<(response::Parts, Bytes), Refused> {
        let url = request.uri().to_string();
        let to = authority_of(&url).ok().and_then(|to| self.allowed.iter().find(|a| **a == to));
        let to = to.ok_or_else(|| metadata::elsewhere("an address", &url))?;
        let sent = tokio::time::timeout(PATIENCE, https::send(&self.tls, to, request, MOST_BYTES)).await;
        sent.map_err(|_| format!("{} did not answer within {} seconds", to.host, PATIENCE.as_secs()))?
            .map_err(|e| bounded(&format!("{}: {e}", to.host)))
    }

    async fn try_redeem(&self, asked: OidcRedeemRequest) -> Result<String, NoToken> {
        let m = self.discovered().await?;
        let (head, body) = self.send(self.redeeming(&m, &asked)?).await?;
        metadata::id_token(head.status, &body)
    }

    /// The token request (OpenID Connect Core 1.0, 3.1.3.1).
    fn redeeming(&self, m: &Metadata, asked: &OidcRedeemRequest) -> Result<Request<Full<Bytes>>, Refused> {
        let secret = self.secret()?;
        let mut request = Request::post(&m.token_endpoint)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json");
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", &asked.code)
            .append_pair("redirect_uri", &asked.redirect_uri)
            .append_pair("code_verifier", &asked.verifier);
        match m.secret_goes()? {
            // RFC 6749, 2.3.1: both are form-encoded first.
            SecretGoes::InHeader => {
                let encoded = |s: &str| form_urlencoded::byte_serialize(s.as_bytes()).collect::<String>();
                let pair =
                    Zeroizing::new(format!("{}:{}", encoded(&self.config.client_id), encoded(&secret)));
                let value = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
                let value = HeaderValue::try_from(value.as_str());
                let mut value = value.map_err(|_| "the client's secret can't be sent".to_owned())?;
                value.set_sensitive(true);
                request = request.header(AUTHORIZATION, value);
            }
            SecretGoes::InForm => {
                form.append_pair("client_id", &self.config.client_id).append_pair("client_secret", &secret);
            }
        }
        request.body(Full::new(Bytes::from(form.finish()))).map_err(|e| e.to_string())
    }

    /// How far the provider's clock is ahead, by the time in its answer.
    async fn ahead_s(&self) -> Option<i64> {
        let request = Request::get(self.config.discovery()).body(Full::default()).ok()?;
        let (head, _) = self.send(request).await.ok()?;
        let at = httpdate::parse_http_date(head.headers.get(DATE)?.to_str().ok()?).ok()?;
        let at_s = i64::try_from(at.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs()).ok()?;
        Some(at_s - self.clock.now_ms() / 1000)
    }

    fn secret(&self) -> Result<Zeroizing<String>, Refused> {
        let path = &self.config.client_secret;
        let text = std::fs::read_to_string(path).map(Zeroizing::new);
        let text = text.map_err(|e| format!("the client's secret {}: {e}", path.display()))?;
        match text.trim() {
            secret if (1..=MOST_SECRET_BYTES).contains(&secret.len()) => {
                Ok(Zeroizing::new(secret.to_owned()))
            }
            _ => Err(format!("the client's secret {} is empty or longer than 1024 bytes", path.display())),
        }
    }
}

/// What a provider says of itself, for the operator's commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcProvider {
    /// How many keys it signs with.
    pub keys: usize,
    /// Its own clock's difference from this host's, in seconds, where its answer tells the time.
    pub ahead_s: Option<i64>,
}

/// Reads the provider's metadata and keys; no code or secret is sent.
///
/// # Errors
/// [`Error`] when the configuration can't be used. Inside: why the provider can't, in words.
pub async fn probe_oidc(part: &OidcConfig) -> Result<Result<OidcProvider, String>, Error> {
    part.check()?;
    let oidc = Oidc::new(part.clone(), Arc::new(SystemClock))?;
    if let Err(why) = oidc.secret() {
        return Ok(Err(why));
    }
    let keys = oidc.keys().await;
    if !keys.refused.is_empty() {
        return Ok(Err(keys.refused));
    }
    let found = metadata::count_keys(&keys.jwks);
    let ahead_s = oidc.ahead_s().await;
    Ok(found.map(|keys| OidcProvider { keys, ahead_s }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part() -> OidcConfig {
        OidcConfig {
            issuer: "https://id.example.org/realms/ward".into(),
            client_id: "matron".into(),
            client_secret: "/nowhere/secret".into(),
            hosts: vec!["login.example.org:8443".into()],
            trust_anchor: None,
        }
    }

    #[test]
    fn a_mistake_about_the_provider_is_refused_by_the_name_of_its_key() {
        assert!(part().check().is_ok());
        assert_eq!(part().ports(), [443, 8443]);
        let with = |change: fn(&mut OidcConfig)| {
            let mut part = part();
            change(&mut part);
            part.check().unwrap_err().to_string()
        };
        assert!(with(|c| c.issuer = "http://id.example.org".into()).contains("oidc.issuer"));
        assert!(with(|c| c.issuer = "https://id.example.org/?x".into()).contains("oidc.issuer"));
        assert!(with(|c| c.issuer = "https://a@id.example.org".into()).contains("oidc.issuer"));
        assert!(with(|c| c.client_id = String::new()).contains("oidc.client_id"));
        for host in ["https://login.example.org", "a@login.example.org", "login.example.org/x", ""] {
            let part = OidcConfig { hosts: vec![host.into()], ..part() };
            assert!(part.check().unwrap_err().to_string().contains("oidc.hosts"), "{host}");
        }
    }

    #[tokio::test]
    async fn nothing_is_sent_to_a_host_that_the_configuration_does_not_name() {
        let oidc = Oidc::new(part(), Arc::new(SystemClock)).unwrap();
        for url in [
            "https://elsewhere.example.org/keys",
            "https://id.example.org:8443/keys",
            "http://id.example.org/keys",
            "https://id.example.org@elsewhere.example.org/keys",
        ] {
            let why = oidc.get(url, "its keys").await.unwrap_err();
            assert!(why.contains("nothing was sent there"), "{url}: {why}");
        }
    }

    #[test]
    fn an_empty_or_absent_secret_is_told_by_its_path_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let oidc =
            Oidc::new(OidcConfig { client_secret: path.clone(), ..part() }, Arc::new(SystemClock)).unwrap();
        assert!(oidc.secret().unwrap_err().contains("secret"));
        std::fs::write(&path, "  \n").unwrap();
        assert!(oidc.secret().unwrap_err().contains("empty"));
        std::fs::write(&path, "made-up\n").unwrap();
        assert_eq!(oidc.secret().unwrap().as_str(), "made-up");
    }
}
