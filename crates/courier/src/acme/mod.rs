//! A public TLS certificate by ACME (RFC 8555, with renewal information of RFC 9773).
//!
//! The courier holds the account and speaks to the one authority that the configuration names. The
//! certificate's key is the door's: the courier asks the door, through core, for a request and for answers
//! to challenges, and brings the chain back. An order that was begun is kept and gone on with after a
//! crash; a try that failed is repeated later and later, never before the authority's `Retry-After`.

pub(crate) mod http;
mod kept;
mod probe;
mod schedule;
mod trying;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::{Clock, TimeMs};
use rpc::CallStream;
use rpc::proto::{AcmeAnswer, AcmeAsk, AcmeHealth, AcmeLook, acme_ask};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc};

use crate::room::hold;
use crate::{Error, config};
use kept::Progress;
pub use probe::{AcmeDirectory, probe_acme};
use schedule::{Suggested, Validity};

/// How long the door may take for a step.
const DOOR: Duration = Duration::from_secs(15);
/// The longest pause between two looks at what the door shows.
const LOOK_MS: TimeMs = 60_000;
/// When the door was not reached.
const AWAY: Duration = Duration::from_secs(3);

/// How a host is proved to be ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AcmeChallengeKind {
    /// RFC 8555, 8.3.
    #[serde(rename = "http-01")]
    Http01,
    /// RFC 8737.
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
}

/// The courier's part of the ACME configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcmeConfig {
    /// The authority's directory, `https://…`. The courier connects to its host and port, to no other.
    pub directory: String,
    /// An address for the authority's warnings, `mailto:…`.
    #[serde(default)]
    pub contact: Option<String>,
    /// The names that the certificate is for.
    pub hosts: Vec<String>,
    /// How they are proved.
    pub challenge: AcmeChallengeKind,
    /// PEM of roots that count beside the public ones for the directory's own TLS.
    #[serde(default)]
    pub trust_anchor: Option<PathBuf>,
}

impl AcmeConfig {
    /// Checks what can be checked without the network.
    ///
    /// # Errors
    /// [`Error::Config`] names the key.
    pub(crate) fn check(&self) -> Result<(), Error> {
        crate::https::authority_of(&self.directory)
            .map_err(|why| Error::Config { key: "acme.directory", why: why.to_owned() })?;
        if self.hosts.is_empty() {
            return Err(Error::Config { key: "acme.hosts", why: "must name a host".to_owned() });
        }
        Ok(())
    }
}

/// What health says.
#[derive(Debug, Default)]
struct Status {
    expires_at_ms: TimeMs,
    next_try_at_ms: TimeMs,
    account: String,
    caa_identities: Vec<String>,
    issued: u64,
}

/// The courier's side of ACME.
pub(crate) struct Acme {
    config: AcmeConfig,
    dir: PathBuf,
    clock: Arc<dyn Clock>,
    http: http::Http,
    door: CallStream<AcmeAsk, AcmeAnswer>,
    progress: Mutex<Progress>,
    status: Mutex<Status>,
    suggested: Mutex<Suggested>,
    /// Somebody wants a try now.
    asked: Notify,
}

/// Why a step of the door's was not taken.
#[derive(Debug, thiserror::Error)]
enum DoorSaid {
    #[error("the door is away")]
    Away,
    #[error("the door refused: {0}")]
    Refused(String),
}

impl Acme {
    /// # Errors
    /// When the trust anchor or what was kept can't be read.
    pub(crate) fn open(config: &config::Config, clock: Arc<dyn Clock>) -> Result<Option<Arc<Self>>, Error> {
        let Some(part) = config.acme.clone() else { return Ok(None) };
        let progress = Progress::read(&config.data_dir, &part.directory);
        let status = Status { account: kept::account_url(&config.data_dir, &part), ..Status::default() };
        Ok(Some(Arc::new(Self {
            http: http::Http::new(&part, clock.clone())?,
            config: part,
            dir: config.data_dir.clone(),
            clock,
            door: CallStream::new(DOOR),
            progress: Mutex::new(progress),
            status: Mutex::new(status),
            suggested: Mutex::default(),
            asked: Notify::new(),
        })))
    }

    /// Core carries from now on: what is asked goes into `out`.
    pub(crate) fn attach(&self, out: mpsc::Sender<AcmeAsk>) -> u64 {
        let generation = self.door.attach(out);
        self.asked.notify_one();
        generation
    }

    pub(crate) fn detach(&self, generation: u64) {
        self.door.detach(generation);
    }

    /// The room stops: the stream through core ends.
    pub(crate) fn hang_up(&self) {
        self.door.attach(mpsc::channel(1).0);
    }

    pub(crate) fn answer(&self, answer: AcmeAnswer) {
        self.door.answer(answer.call, answer);
    }

    /// Begins a try now, unless the authority said to wait.
    pub(crate) fn renew(&self) -> Result<(), String> {
        let now_ms = self.clock.now_ms();
        let mut progress = hold(&self.progress);
        if progress.not_before_ms > now_ms {
            let s = (progress.not_before_ms - now_ms) / 1000;
            return Err(format!("the authority asked to wait; a try may begin in {s} s"));
        }
        progress.wanted = true;
        self.asked.notify_one();
        Ok(())
    }

    pub(crate) fn health(&self) -> AcmeHealth {
        let (progress, status) = (hold(&self.progress), hold(&self.status));
        AcmeHealth {
            directory: self.config.directory.clone(),
            hosts: self.config.hosts.clone(),
            challenge: match self.config.challenge {
                AcmeChallengeKind::Http01 => "http-01".to_owned(),
                AcmeChallengeKind::TlsAlpn01 => "tls-alpn-01".to_owned(),
            },
            account: status.account.clone(),
            caa_identities: status.caa_identities.clone(),
            expires_at_ms: status.expires_at_ms,
            next_try_at_ms: status.next_try_at_ms,
            failures: progress.failures,
            last_error: progress.last_error.clone(),
            issued: status.issued,
        }
    }

    async fn ask(&self, what: acme_ask::What) -> Result<AcmeAnswer, DoorSaid> {
        let answer = self.door.call(|call| AcmeAsk { call, what: Some(what) }).await;
        match answer {
            Ok(answer) if answer.away => Err(DoorSaid::Away),
            Ok(answer) if answer.refused.is_empty() => Ok(answer),
            Ok(answer) => Err(DoorSaid::Refused(trying::bounded(&answer.refused))),
            Err(_) => Err(DoorSaid::Away),
        }
    }

    /// Looks what is shown, renews it in time, and tries again what failed, for as long as the room runs.
    pub(crate) async fn keep(self: Arc<Self>) {
        loop {
            let pause = self.look_and_act().await;
            let _ = tokio::time::timeout(pause, self.asked.notified()).await;
        }
    }

    async fn look_and_act(&self) -> Duration {
        // Nobody carries yet: what is asked would only wait.
        if !self.door.is_attached() {
            return AWAY;
        }
        let Ok(answer) = self.ask(acme_ask::What::Look(AcmeLook {})).await else { return AWAY };
        let shown = Validity::read(&answer.shown, &self.config.hosts);
        hold(&self.status).expires_at_ms = shown.as_ref().map_or(0, |v| v.not_after_ms);
        let due_ms = match &shown {
            Some(validity) if validity.covers => {
                self.look_for_suggestion(&answer.shown).await;
                let suggested = hold(&self.suggested).at_ms(&answer.shown);
                validity.due_ms(suggested)
            }
            _ => 0,
        };
        let now_ms = self.clock.now_ms();
        let at_ms = hold(&self.progress).next_ms(due_ms);
        hold(&self.status).next_try_at_ms = at_ms.max(now_ms);
        if now_ms < at_ms {
            return pause(at_ms - now_ms);
        }
        self.try_and_tell(&answer.shown).await
    }

    async fn try_and_tell(&self, shown: &[u8]) -> Duration {
        let mut progress = hold(&self.progress).clone();
        progress.wanted = false;
        let tried = self.try_once(&mut progress, shown).await;
        let now_ms = self.clock.now_ms();
        match tried {
            Ok(()) => {
                progress = Progress::default();
                hold(&self.status).issued += 1;
                tracing::info!(acme.hosts = ?self.config.hosts, "the door has a new certificate by ACME");
            }
            // A neighbour is being started again: no fault of the authority's, and soon over.
            Err(failed) if failed.away => {
                progress.wanted = true;
                progress.keep(&self.dir, &self.config.directory);
                *hold(&self.progress) = progress;
                return AWAY;
            }
            Err(failed) => {
                progress.failed(&failed, now_ms, schedule::fraction());
                tracing::error!(
                    reason = %failed,
                    acme.failures = progress.failures,
                    acme.next_try_at_ms = progress.next_try_at_ms,
                    "no new certificate by ACME; the one that is shown stays"
                );
            }
        }
        progress.keep(&self.dir, &self.config.directory);
        *hold(&self.progress) = progress;
        // What is shown now, and when it is due, is looked at next.
        Duration::from_millis(200)
    }
}

fn pause(wait_ms: TimeMs) -> Duration {
    Duration::from_millis(wait_ms.clamp(200, LOOK_MS).unsigned_abs())
}
