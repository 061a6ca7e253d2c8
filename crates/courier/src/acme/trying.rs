//! One try: account, order, challenges, request, chain. Each step can be the first after a crash.

use std::time::Instant;

use bytes::Bytes;
use http::Request;
use instant_acme::{
    Account, AuthorizationStatus, BodyWrapper, CertificateIdentifier, ChallengeStatus, ChallengeType,
    HttpClient, Identifier, NewOrder, Order, OrderStatus,
};
use model::TimeMs;
use model::clock::{DAY_MS, HOUR_MS};
use rpc::proto::{AcmeChain, AcmeChallenge, AcmeMakeRequest, AcmeWithdraw, acme_ask};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;

use super::kept::{self, POLLING, Progress};
use super::{Acme, AcmeChallengeKind, DoorSaid};
use crate::room::hold;

/// The most of an authority's words that are kept.
const MOST_WORDS_CHARS: usize = 600;
/// More than any chain holds.
const MOST_CERTIFICATES: usize = 8;
const BAD_NONCE: &str = "urn:ietf:params:acme:error:badNonce";
const ALREADY_REPLACED: &str = "urn:ietf:params:acme:error:alreadyReplaced";

/// An authority's words, bounded, with nothing that would steer a terminal.
pub(super) fn bounded(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST_WORDS_CHARS).collect()
}

/// Why a try ended without a certificate.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(super) struct Failed {
    pub(super) why: String,
    /// No try before this; 0: nobody said so.
    pub(super) not_before_ms: TimeMs,
    /// The order may be gone on with.
    pub(super) keep_order: bool,
    /// The door or core was away.
    pub(super) away: bool,
}

impl Failed {
    pub(super) fn of(why: impl std::fmt::Display) -> Self {
        Self { why: why.to_string(), not_before_ms: 0, keep_order: false, away: false }
    }
}

impl From<DoorSaid> for Failed {
    fn from(said: DoorSaid) -> Self {
        let away = matches!(said, DoorSaid::Away);
        Self { keep_order: away, away, ..Self::of(said) }
    }
}

impl From<crate::Error> for Failed {
    fn from(error: crate::Error) -> Self {
        Self { keep_order: true, ..Self::of(error) }
    }
}

impl From<instant_acme::Error> for Failed {
    fn from(error: instant_acme::Error) -> Self {
        use instant_acme::Error as E;
        let why = match &error {
            // What the library says of an answer that is no problem document tells an operator little.
            E::Json(_) => "the authority's answer is not what RFC 8555 says; is acme.directory right?".into(),
            E::Timeout(_) => "the authority has not decided yet; it is asked again later".into(),
            other => other.to_string(),
        };
        // Its network or its time: the order is still good. Its word on the order: it is not.
        let keep_order = match &error {
            E::Api(problem) => {
                let busy = matches!(problem.status, Some(429 | 500..=599));
                busy || problem.r#type.as_deref() == Some(BAD_NONCE)
            }
            _ => true,
        };
        Self { keep_order, ..Self::of(why) }
    }
}

/// What of a directory's meta section instant-acme keeps to itself.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    caa_identities: Vec<String>,
    external_account_required: bool,
}

#[derive(Deserialize)]
struct Directory {
    #[serde(default)]
    meta: Meta,
}

impl Acme {
    pub(super) async fn try_once(&self, progress: &mut Progress, shown: &[u8]) -> Result<(), Failed> {
        self.http.take_wait_until_ms();
        let asked_at = (Instant::now(), self.clock.now_ms());
        let tried = self.steps(progress, shown, asked_at).await;
        let wait_until_ms = self.http.take_wait_until_ms();
        tried.map_err(|failed| Failed { not_before_ms: failed.not_before_ms.max(wait_until_ms), ..failed })
    }

    async fn steps(
        &self,
        progress: &mut Progress,
        shown: &[u8],
        asked_at: (Instant, TimeMs),
    ) -> Result<(), Failed> {
        let account = self.account().await?;
        let mut order = self.order(&account, progress, shown).await?;
        if order.state().status == OrderStatus::Pending {
            let proved = self.prove(&mut order, asked_at).await;
            let _ = self.ask(acme_ask::What::Withdraw(AcmeWithdraw {})).await;
            proved?;
        }
        if order.state().status == OrderStatus::Ready {
            let request = self.ask(acme_ask::What::MakeRequest(AcmeMakeRequest {})).await?.request;
            order.finalize_csr(&request).await?;
        }
        let pem = order.poll_certificate(&POLLING).await.map_err(|e| later(e, asked_at))?;
        let certificates = CertificateDer::pem_slice_iter(pem.as_bytes())
            .take(MOST_CERTIFICATES + 1)
            .map(|c| c.map(|c| c.to_vec()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| Failed::of("the authority's chain is not PEM"))?;
        self.ask(acme_ask::What::Chain(AcmeChain { certificates })).await?;
        Ok(())
    }

    /// The account at the authority: found again, or made with the key that is kept.
    async fn account(&self) -> Result<Account, Failed> {
        let directory = self.config.directory.clone();
        let meta = self.meta().await?;
        let unknown = kept::account(&self.dir, &directory).is_none();
        if meta.external_account_required && unknown {
            return Err(Failed::of(
                "the authority wants an external account binding, which Matron can't give",
            ));
        }
        let fits = |name: &String| {
            name.len() <= 253 && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
        };
        let identities = meta.caa_identities.into_iter().filter(fits).take(8);
        hold(&self.status).caa_identities = identities.collect();
        let pkcs8 = kept::account_key(&self.dir)?;
        let builder = Account::builder_with_http(Box::new(self.http.clone()));
        let contact = self.config.contact.clone();
        let known = match kept::account(&self.dir, &directory) {
            Some(known) => {
                let key = rustls::pki_types::PrivatePkcs8KeyDer::from(pkcs8.to_vec());
                let account = builder.from_parts(known.url.clone(), key, directory.clone()).await?;
                if known.contact == contact {
                    return Ok(account);
                }
                account
            }
            // The same key gets the same account (RFC 8555, 7.3.1), so a crash before it is kept costs none.
            None => builder.create_from_key(kept::key_of(&pkcs8)?, directory.clone()).await?.0,
        };
        let contacts: Vec<&str> = contact.as_deref().into_iter().collect();
        if !contacts.is_empty() || !unknown {
            known.update_contacts(&contacts).await?;
        }
        let account = kept::Account { directory, url: known.id().to_owned(), contact: contact.clone() };
        kept::keep_account(&self.dir, &account)?;
        hold(&self.status).account = account.url;
        Ok(known)
    }

    async fn meta(&self) -> Result<Meta, Failed> {
        let request = Request::builder()
            .uri(&self.config.directory)
            .header(http::header::USER_AGENT, concat!("matron/", env!("CARGO_PKG_VERSION")))
            .body(BodyWrapper::<Bytes>::default())
            .map_err(Failed::of)?;
        let mut answer = self.http.request(request).await?;
        let status = answer.parts.status;
        let body = answer.body.into_bytes().await.map_err(Failed::of)?;
        if !status.is_success() {
            let why = format!("the authority's directory answers {status}");
            return Err(Failed { keep_order: true, ..Failed::of(why) });
        }
        match serde_json::from_slice::<Directory>(&body) {
            Ok(directory) => Ok(directory.meta),
            Err(_) => Err(Failed::of("acme.directory does not lead to an ACME directory")),
        }
    }

    /// The order under way, or a new one; kept before anything is done about it.
    async fn order(&self, account: &Account, progress: &mut Progress, shown: &[u8]) -> Result<Order, Failed> {
        if let Some(url) = progress.order.clone() {
            match account.order(url).await {
                Ok(mut order) => match order.state().status {
                    OrderStatus::Invalid => progress.order = None,
                    _ => return Ok(order),
                },
                // Run out or forgotten: begun anew.
                Err(instant_acme::Error::Api(_)) => progress.order = None,
                Err(e) => return Err(e.into()),
            }
        }
        let hosts: Vec<Identifier> = self.config.hosts.iter().cloned().map(Identifier::Dns).collect();
        let shown = CertificateDer::from(shown);
        let replaced =
            hold(&self.suggested).at_ms(&shown).and_then(|_| CertificateIdentifier::try_from(&shown).ok());
        let made = match replaced {
            Some(replaced) => match account.new_order(&NewOrder::new(&hosts).replaces(replaced)).await {
                Err(instant_acme::Error::Api(p)) if p.r#type.as_deref() == Some(ALREADY_REPLACED) => {
                    account.new_order(&NewOrder::new(&hosts)).await
                }
                made => made,
            },
            None => account.new_order(&NewOrder::new(&hosts)).await,
        };
        let order = made?;
        progress.order = Some(order.url().to_owned());
        progress.keep(&self.dir, &self.config.directory);
        Ok(order)
    }

    /// Has the door answer for each host, and waits until the authority has looked.
    async fn prove(&self, order: &mut Order, asked_at: (Instant, TimeMs)) -> Result<(), Failed> {
        let (wanted, kind) = match self.config.challenge {
            AcmeChallengeKind::Http01 => (ChallengeType::Http01, 1),
            AcmeChallengeKind::TlsAlpn01 => (ChallengeType::TlsAlpn01, 2),
        };
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            let host = match authorization.identifier().identifier {
                Identifier::Dns(host) => host.clone(),
                _ => return Err(Failed::of("the authority asks about something that is no host")),
            };
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                _ => break,
            }
            let Some(mut challenge) = authorization.challenge(wanted.clone()) else {
                let why = format!("the authority does not offer {} for {host}", self.health().challenge);
                return Err(Failed::of(why));
            };
            let challenged = AcmeChallenge {
                host,
                kind,
                token: challenge.token.clone(),
                key_authorization: challenge.key_authorization().as_str().to_owned(),
            };
            self.ask(acme_ask::What::Challenge(challenged)).await?;
            if challenge.status == ChallengeStatus::Pending {
                challenge.set_ready().await?;
            }
        }
        match order.poll_ready(&POLLING).await {
            Ok(OrderStatus::Ready) => Ok(()),
            Ok(_) | Err(instant_acme::Error::Api(_)) => Err(self.why_invalid(order).await),
            Err(e) => Err(later(e, asked_at)),
        }
    }

    /// What the authority saw when it looked.
    async fn why_invalid(&self, order: &mut Order) -> Failed {
        let mut words = order.state().error.as_ref().map(|e| vec![e.to_string()]).unwrap_or_default();
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            if authorization.refresh().await.is_err() {
                break;
            }
            words.extend(authorization.challenges.iter().filter_map(|c| Some(c.error.as_ref()?.to_string())));
        }
        let why = bounded(&words.join("; "));
        Failed::of(format!("the authority did not accept the proof ({}): {why}", self.health().challenge))
    }

    /// Asks the authority when it would have this certificate renewed (RFC 9773), if it is time to ask.
    pub(super) async fn look_for_suggestion(&self, shown: &[u8]) {
        let now_ms = self.clock.now_ms();
        let known = kept::account(&self.dir, &self.config.directory);
        let (true, Some(_)) = (hold(&self.suggested).is_due(shown, now_ms), known) else { return };
        let (mut at_ms, mut again_ms) = (None, DAY_MS);
        let certificate = CertificateDer::from(shown);
        if let Ok(account) = self.account().await
            && let Ok(id) = CertificateIdentifier::try_from(&certificate)
        {
            match account.renewal_info(&id).await {
                Ok((info, again)) => {
                    let window = info.suggested_window;
                    let start_ms = window.start.unix_timestamp().saturating_mul(1000);
                    let end_ms = window.end.unix_timestamp().saturating_mul(1000);
                    let length_ms = end_ms.saturating_sub(start_ms).max(0) as f64;
                    at_ms = Some(start_ms + (length_ms * super::schedule::fraction()) as TimeMs);
                    let again = TimeMs::try_from(again.as_millis()).unwrap_or(DAY_MS);
                    again_ms = again.clamp(60_000, DAY_MS);
                }
                Err(instant_acme::Error::Unsupported(_)) => {}
                Err(error) => {
                    tracing::warn!(%error, "the authority does not say when to renew");
                    again_ms = HOUR_MS;
                }
            }
        } else {
            again_ms = HOUR_MS;
        }
        hold(&self.suggested).remember(shown, at_ms, now_ms + again_ms);
    }
}

/// An authority that needs longer than a try waits says when to come again, in the machine's own time.
fn later(error: instant_acme::Error, asked_at: (Instant, TimeMs)) -> Failed {
    let until_ms = match &error {
        instant_acme::Error::Timeout(Some(next)) => {
            let wait = next.saturating_duration_since(asked_at.0);
            asked_at.1.saturating_add(TimeMs::try_from(wait.as_millis()).unwrap_or(HOUR_MS))
        }
        _ => 0,
    };
    Failed { not_before_ms: until_ms, ..Failed::from(error) }
}
