//! Signing in by OpenID Connect: the authorization code flow with PKCE, for a session that reads masks and no more.
//!
//! What ties a sign-in to a browser are 32 random bytes in a cookie of its own: `state`, `nonce` and PKCE's verifier are
//! their hashes. So core keeps nothing of a sign-in that was begun, and nobody can fill its memory by beginning some.
//! The courier speaks to the provider; the token that it brings is judged here. Of the token only a keyed hash of the
//! subject is kept: no name, no address, no claim.

mod leads;
mod limits;
mod token;

use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ledger::Body;
use model::clock::{HOUR_MS, MINUTE_MS};
use model::{Digest, Group, Role, TimeMs};
use order::sha256;
use rpc::proto::{OidcKeysRequest, OidcMetadata, OidcMetadataRequest, OidcRedeemRequest};
use serde_json::Value;
use store::{OidcBegan, OidcSessionRecord, StoreError};
use tokio::sync::Mutex;

use crate::config::{OidcConfig, OidcRole};
use crate::room::{Room, asked};
use leads::leads_to_the_provider;
pub(crate) use limits::SignIns;
use order::session::{IDLE_MS, LIFE_MS};
use token::{Claims, Expected, Keys, Unfit, check};

/// One person has so many at once; the oldest ends first.
pub(crate) const MOST_OF_ONE: u32 = 20;
/// The courier gives a provider ten seconds, twice at most.
const PATIENCE: Duration = Duration::from_secs(25);
/// Keys are believed for so long, and asked for again no sooner than this; where none were had, than that.
const KEYS_KNOWN_MS: TimeMs = HOUR_MS;
const KEYS_AGAIN_MS: TimeMs = MINUTE_MS;
const NO_KEYS_MS: TimeMs = 10_000;
/// So many come back from the provider at once: each may wait for it.
pub(crate) const MOST_AT_ONCE: usize = 8;
/// An authorization code is some hundred characters; Entra ID's are near two thousand.
const MOST_CODE_BYTES: usize = 8 * 1024;

/// The bytes of a sign-in that was begun: the cookie's.
pub(crate) struct Begun([u8; 32]);

impl Begun {
    pub fn of(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    fn derived(&self, what: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(sha256(&[b"matron/oidc/1\0", what, b"\0", &self.0[..]].concat()).0)
    }

    fn state(&self) -> String {
        self.derived(b"state")
    }

    fn nonce(&self) -> String {
        self.derived(b"nonce")
    }

    /// 43 characters (RFC 7636, 4.1).
    fn verifier(&self) -> String {
        self.derived(b"verifier")
    }
}

/// What a browser came back with.
pub(crate) struct Back<'a> {
    pub begun: Begun,
    pub state: &'a str,
    pub code: Option<&'a str>,
    /// OAuth's error code.
    pub error: Option<&'a str>,
    /// RFC 9207.
    pub issuer: Option<&'a str>,
    /// SHA-256 of the session's secret to be.
    pub session: Digest,
}

/// Why nobody was signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotIn {
    /// It was begun in another browser, too long ago, or not at all.
    NotBegunHere,
    /// The provider said no; the person may have.
    Denied,
    /// The provider, or the courier, did not do its part.
    Provider,
    /// The provider refused the code: it was used before, ran out, or is none.
    Code,
    Unfit(Unfit),
    /// The token leaves the groups out (Entra ID, when there are too many).
    GroupsLeftOut,
    /// None of its claims has a role here.
    NoRole,
    /// A session or an API key has the hash that the new session was to have.
    Taken,
    /// This person signed in too often within the hour.
    TooOften,
    /// All of them did.
    TooMany,
    Store,
}

impl NotIn {
    /// Its word, for the log and the counter.
    pub fn word(self) -> &'static str {
        match self {
            Self::NotBegunHere => "not_begun_here",
            Self::Denied => "denied",
            Self::Provider => "provider",
            Self::Code => "code",
            Self::Unfit(unfit) => unfit.word(),
            Self::GroupsLeftOut => "groups_left_out",
            Self::NoRole => "no_role",
            Self::Taken => "taken",
            Self::TooOften => "too_often",
            Self::TooMany => "too_many",
            Self::Store => "store",
        }
    }
}

/// The provider's keys as they were had last, and when; and when they could not be had. By `passed_ms`: nobody sets it back.
#[derive(Default)]
pub(crate) struct KeysKept(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    known: Option<(Keys, TimeMs)>,
    failed_ms: Option<TimeMs>,
}

impl KeysKept {
    /// The keys, not older than an hour; `renewed`: not older than a minute.
    async fn get(&self, room: &Room, renewed: bool) -> Result<Keys, NotIn> {
        // Whoever comes meanwhile waits for the same answer.
        let mut kept = self.0.lock().await;
        let Kept { known, failed_ms } = &mut *kept;
        let now_ms = room.clock.passed_ms();
        let life_ms = if renewed { KEYS_AGAIN_MS } else { KEYS_KNOWN_MS };
        if let Some((keys, at_ms)) = known
            && now_ms < at_ms.saturating_add(life_ms)
        {
            return Ok(keys.clone());
        }
        // And does not wait in turn for a provider that is silent.
        if failed_ms.is_some_and(|at_ms| now_ms < at_ms.saturating_add(NO_KEYS_MS)) {
            return Err(NotIn::Provider);
        }
        let had = Self::asked_for(room).await;
        match &had {
            Ok(keys) => (*known, *failed_ms) = (Some((keys.clone(), now_ms)), None),
            Err(_) => *failed_ms = Some(room.clock.passed_ms()),
        }
        had
    }

    async fn asked_for(room: &Room) -> Result<Keys, NotIn> {
        let answer =
            async { asked("oidc_keys", PATIENCE, room.courier().await?.oidc_keys(OidcKeysRequest {})).await };
        let answer = answer.await.map_err(|_| NotIn::Provider)?;
        let read = Keys::read(&answer.jwks).filter(|_| answer.refused.is_empty());
        read.ok_or_else(|| {
            tracing::warn!(oidc.reason = answer.refused, "the provider's keys could not be had or read");
            NotIn::Provider
        })
    }
}

/// The provider's own words on where browsers go.
async fn metadata(room: &Room) -> Result<OidcMetadata, NotIn> {
    let answer = async {
        asked("oidc_metadata", PATIENCE, room.courier().await?.oidc_metadata(OidcMetadataRequest {})).await
    };
    let answer = answer.await.map_err(|_| NotIn::Provider)?;
    // The courier has told why in its own log.
    if answer.refused.is_empty() { Ok(answer) } else { Err(NotIn::Provider) }
}

/// Where a browser with this cookie goes to sign in.
pub(crate) async fn location(room: &Room, config: &OidcConfig, begun: &Begun) -> Result<String, NotIn> {
    let endpoint = metadata(room).await?.authorization_endpoint;
    // The courier has looked; a taken one would send people to a page that looks like the provider's.
    if !leads_to_the_provider(config, &endpoint) {
        tracing::error!(
            "the courier would have browsers sent to a host that is not the provider's (oidc.hosts)"
        );
        return Err(NotIn::Provider);
    }
    let challenge = URL_SAFE_NO_PAD.encode(sha256(begun.verifier().as_bytes()).0);
    let scope = std::iter::once("openid").chain(config.scopes.iter().map(String::as_str));
    let mut query = form_urlencoded::Serializer::new(String::new());
    query
        .append_pair("response_type", "code")
        .append_pair("client_id", &config.client_id)
        .append_pair("redirect_uri", &config.redirect_uri())
        .append_pair("scope", &scope.collect::<Vec<_>>().join(" "))
        .append_pair("state", &begun.state())
        .append_pair("nonce", &begun.nonce())
        .append_pair("code_challenge", &challenge)
        .append_pair("code_challenge_method", "S256");
    let joint = if endpoint.contains('?') { '&' } else { '?' };
    Ok(format!("{endpoint}{joint}{}", query.finish()))
}

/// Makes a session of what a browser came back with.
pub(crate) async fn finish(
    room: &Room,
    config: &OidcConfig,
    back: Back<'_>,
) -> Result<OidcSessionRecord, NotIn> {
    let own = back.begun.state();
    verify_slices_are_equal(own.as_bytes(), back.state.as_bytes()).map_err(|_| NotIn::NotBegunHere)?;
    let metadata = metadata(room).await?;
    let issuer_fits = match back.issuer {
        Some(issuer) => issuer == config.issuer,
        None => !metadata.names_issuer,
    };
    if !issuer_fits {
        return Err(NotIn::Unfit(Unfit::Issuer));
    }
    if let Some(error) = back.error {
        return Err(answered_with(error));
    }
    let code = back.code.filter(|c| (1..=MOST_CODE_BYTES).contains(&c.len())).ok_or(NotIn::Code)?;
    let redeem = OidcRedeemRequest {
        code: code.to_owned(),
        verifier: back.begun.verifier(),
        redirect_uri: config.redirect_uri(),
    };
    let redeemed = async { asked("oidc_redeem", PATIENCE, room.courier().await?.oidc_redeem(redeem)).await };
    let redeemed = redeemed.await.map_err(|_| NotIn::Provider)?;
    if !redeemed.refused.is_empty() {
        return Err(if redeemed.code_refused { NotIn::Code } else { NotIn::Provider });
    }
    let claims = judged(room, config, &redeemed.id_token, &back.begun.nonce()).await?;
    let (role, group) = role(&claims, &config.roles)?;
    let subject = [config.issuer.as_bytes(), b"\0", claims.subject().as_bytes()].concat();
    let now_ms = room.now_ms();
    let mut key = [0u8; 32];
    aws_lc_rs::rand::SecureRandom::fill(&room.random, &mut key).map_err(|_| NotIn::Store)?;
    let sign_ins = room.oidc_sign_ins.clone();
    let made = room.store.write(move |tx| {
        // Made at the first sign-in: without the database nobody can try names against what the ledger has.
        let key = tx.oidc_key(key)?;
        let made = OidcSessionRecord {
            hash: back.session,
            subject: keyed(&key, &subject),
            role: role.name().to_owned(),
            group: group.as_ref().map(|g| g.as_str().to_owned()),
            began_at_ms: now_ms,
            idle_until_ms: now_ms + IDLE_MS,
            expires_at_ms: now_ms + LIFE_MS,
        };
        if let Err(why) = sign_ins.one_more(made.subject, now_ms) {
            return Ok(Err(why));
        }
        let OidcBegan::Ended(ended) = tx.put_oidc_session(&made, MOST_OF_ONE)? else {
            return Ok(Err(NotIn::Taken));
        };
        // The vault knows it then too, so that an order can end it.
        tx.say(&order::encode(&Body::OidcSignedIn {
            session: made.hash,
            subject: made.subject,
            role,
            group,
            expires_at_ms: made.expires_at_ms,
        }))?;
        Ok(Ok((made, ended)))
    });
    let not_kept = |e| {
        tracing::error!(store.error = %e, "a session could not be kept");
        NotIn::Store
    };
    let (made, ended) = made.await.map_err(not_kept)??;
    room.words_due.notify_one();
    ended.iter().for_each(|hash| room.access.end_reader(hash));
    let hash = made.hash;
    room.access.put_oidc_session(made.clone());
    // An order or a breach may have ended it before it stood in the table.
    if !room.store.read(move |v| v.has_oidc_session(hash)).await.is_ok_and(|stands| stands) {
        room.access.end_reader(&hash);
        return Err(NotIn::Store);
    }
    Ok(made)
}

/// The provider's error code (RFC 6749, 4.1.2.1; OpenID Connect Core 1.0, 3.1.2.6): somebody said no, or it is not as it should be.
fn answered_with(error: &str) -> NotIn {
    if matches!(error, "access_denied" | "consent_required" | "login_required" | "interaction_required") {
        return NotIn::Denied;
    }
    let plain = (1..=60).contains(&error.len()) && error.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let error = if plain { error } else { "one that can't be shown" };
    tracing::warn!(oidc.error = error, "the provider answered a sign-in with an error");
    NotIn::Provider
}

/// Ends the sessions whose role no line of the configuration gives any more.
pub(crate) async fn end_unconfigured(room: &Room) -> Result<(), StoreError> {
    let lines = room.config.oidc.as_ref().map(|o| o.roles.as_slice()).unwrap_or_default();
    let given = |r: &OidcSessionRecord| lines.iter().any(|l| l.role.name() == r.role && l.group == r.group);
    let over: Vec<_> =
        room.access.readers(room.now_ms()).into_iter().filter(|r| !given(r)).map(|r| r.hash).collect();
    if over.is_empty() {
        return Ok(());
    }
    tracing::info!(oidc.sessions = over.len(), "sessions ended: oidc.roles gives their role no more");
    over.iter().for_each(|hash| room.access.end_reader(hash));
    room.store.write(move |tx| over.iter().try_for_each(|hash| tx.end_oidc_session(*hash))).await
}

fn keyed(key: &[u8; 32], subject: &[u8]) -> Digest {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
    let tag = aws_lc_rs::hmac::sign(&key, subject);
    Digest(tag.as_ref().try_into().unwrap_or_default())
}

/// Judges the token; a key that is not known may be a new one, so the provider is asked once more.
async fn judged(room: &Room, config: &OidcConfig, token: &str, nonce: &str) -> Result<Claims, NotIn> {
    let now_ms = room.now_ms();
    let expected = Expected { issuer: &config.issuer, client_id: &config.client_id, nonce, now_ms };
    let keys = room.oidc_keys.get(room, false).await?;
    match check(token, &keys, &expected) {
        Err(Unfit::UnknownKey) => {
            let keys = room.oidc_keys.get(room, true).await?;
            check(token, &keys, &expected)
        }
        judged => judged,
    }
    .map_err(NotIn::Unfit)
}

/// What the claims' owner reads as: the first line that fits.
fn role(claims: &Claims, lines: &[OidcRole]) -> Result<(Role, Option<Group>), NotIn> {
    let is = |found: &Value, wanted: &str| match found {
        Value::String(one) => one == wanted,
        Value::Array(many) => many.iter().any(|v| v.as_str() == Some(wanted)),
        _ => false,
    };
    let found = lines.iter().find(|l| claims.get(&l.claim).is_some_and(|v| is(v, &l.value)));
    match found {
        Some(line) => {
            let group = line.group.as_deref().and_then(|g| Group::new(g).ok());
            // A ward manager without a group would read every group's: the configuration's check refuses it.
            if line.role == Role::WardManager && group.is_none() {
                return Err(NotIn::NoRole);
            }
            Ok((line.role, group))
        }
        // OpenID Connect Core 1.0, 5.6.2: the claim is elsewhere, where it takes an access token to get it.
        None if lines.iter().any(|l| claims.get("_claim_names").and_then(|n| n.get(&l.claim)).is_some()) => {
            Err(NotIn::GroupsLeftOut)
        }
        None => Err(NotIn::NoRole),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_no_is_a_no_and_the_providers_other_errors_are_its_own() {
        for error in ["access_denied", "consent_required", "login_required", "interaction_required"] {
            assert_eq!(answered_with(error), NotIn::Denied, "{error}");
        }
        for error in
            ["invalid_scope", "unauthorized_client", "server_error", "temporarily_unavailable", "", "Ada <x>"]
        {
            assert_eq!(answered_with(error), NotIn::Provider, "{error}");
        }
    }
}
