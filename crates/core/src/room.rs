//! What the room's tasks share.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64};
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use model::{Clock, CommandId, EnrolmentId, TimeMs};
use rpc::Unavailable;
use rpc::pair::{LARGEST_MESSAGE_BYTES, PeerSlot};
use rpc::proto::courier_client::CourierClient;
use rpc::proto::vault_client::VaultClient;
use rpc::trust::Trust;
use store::{Store, StoreError};
use tokio::sync::{Notify, Semaphore, watch};
use tonic::transport::Channel;

use crate::Config;
use crate::access::AccessTable;
use crate::counters::Counters;
use crate::fleet::Fleet;

/// How long a call to the vault may take.
pub(crate) const VAULT_PATIENCE: Duration = Duration::from_secs(10);

/// How the following of the vault's ledger stands, for the health page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Following {
    /// The vault has not been reached yet.
    Waiting,
    /// It is followed.
    UpToDate,
    /// It went back or was rewritten: nothing more is applied, and an operator has to look.
    Refused(&'static str),
}

/// No breach has anything left for phones.
pub(crate) const NO_BREACH: TimeMs = TimeMs::MIN;

pub(crate) struct Room {
    pub config: Config,
    pub clock: Arc<dyn Clock>,
    pub random: SystemRandom,
    pub store: Store,
    pub fleet: Fleet,
    pub trust: Trust,
    pub access: AccessTable,
    pub counters: Counters,
    pub door: PeerSlot,
    pub vault: PeerSlot,
    pub courier: PeerSlot,
    /// How many ledger entries were applied.
    pub followed: watch::Sender<u64>,
    pub following: watch::Sender<Following>,
    /// The ledger's newest checkpoint that fits what was followed.
    pub checkpoint: watch::Sender<Option<Arc<ledger::SignedCheckpoint>>>,
    /// The newest statement as it was signed.
    pub statement: watch::Sender<Option<Vec<u8>>>,
    /// Held while the cosigned checkpoint's file changes.
    pub cosigned: std::sync::Mutex<()>,
    /// The epoch of the statement that door and reader go by, as far as they said.
    pub door_epoch: AtomicU32,
    /// How much of what is sealed to the door was not looked at yet, while its key is made anew.
    pub deliveries_left: AtomicU64,
    /// When the breach was assumed that phones still get new certificates for; [`NO_BREACH`]: none.
    pub breach_ms: AtomicI64,
    /// A statement is newer than the one that was fetched last.
    pub statement_due: Notify,
    /// Keys were made anew.
    pub keys_due: Notify,
    pub words_due: Notify,
    pub index_due: Notify,
    /// Someone may be due for renewal sooner than was thought.
    pub renewal_due: Notify,
    /// An order cools off that may be over sooner than was thought.
    pub cooling_due: Notify,
    /// An order of which the vault alone knows how it was decided.
    pub undecided: Notify,
    /// The room is about to stop: finish what is under way.
    pub stopping: watch::Sender<bool>,
    /// Orders under way at once: they may be large, and who sends one is not known yet.
    pub order_places: Semaphore,
    /// Who lately had signatures tried that nobody made.
    pub strangers: crate::api::Strangers,
    /// Who lately came back from the OpenID provider without having begun. Apart: passkeys don't wait for it.
    pub oidc_strangers: crate::api::Strangers,
    /// Who lately gave codes of no holder's card.
    pub holder_strangers: crate::api::Strangers,
    /// Why standing orders that install do nothing, as the vault said last.
    pub rests: crate::standing_install::Rests,
    /// Phones' holders who are signed in.
    pub holders: crate::holder::Holders,
    /// Who signed in by it within the hour.
    pub oidc_sign_ins: Arc<crate::oidc::SignIns>,
    /// The OpenID provider's keys, as they were had last.
    pub oidc_keys: crate::oidc::KeysKept,
    /// Sign-ins that wait for it at once.
    pub oidc_places: Semaphore,
    /// What was counted over all phones, as it was counted last.
    pub counts: crate::api::Counts,
    /// What lists tell of the ledger's large entries.
    pub briefs: Arc<crate::briefs::Briefs>,
    /// Where tasks begun from the writing thread run.
    pub tasks: tokio::runtime::Handle,
}

impl Room {
    pub fn now_ms(&self) -> TimeMs {
        self.clock.now_ms()
    }

    /// A fresh command id, in the shape of a random UUID (RFC 9562, version 4).
    pub fn mint_command(&self) -> Result<CommandId, StoreError> {
        let mut id = [0u8; 16];
        self.random
            .fill(&mut id)
            .map_err(|_| StoreError::Refused("the system gave no random bytes".into()))?;
        let [_, _, _, _, _, _, version, _, variant, ..] = &mut id;
        *version = *version & 0x0f | 0x40;
        *variant = *variant & 0x3f | 0x80;
        Ok(CommandId(id))
    }

    /// When a phone is next asked for its inventory: an interval ahead, spread by its id so that a
    /// fleet does not answer in one minute.
    pub fn inventory_due_ms(&self, enrolment: EnrolmentId, now_ms: TimeMs) -> TimeMs {
        let interval_ms = TimeMs::from(self.config.inventory_interval_hours) * model::clock::HOUR_MS;
        let spread = enrolment.0.iter().fold(0, |n: TimeMs, b| (n * 31 + TimeMs::from(*b)) % 1000);
        now_ms + interval_ms - interval_ms / 10 * spread / 1000
    }

    /// A client over the newest pair with the vault. A vault whose ledger went back gets nothing to
    /// decide: what it would spend was perhaps spent before.
    pub async fn vault(&self) -> Result<VaultClient<Channel>, Unavailable> {
        if matches!(*self.following.borrow(), Following::Refused(_)) {
            return Err(Unavailable);
        }
        self.vault_to_follow().await
    }

    /// The same, to look at its ledger.
    pub async fn vault_to_follow(&self) -> Result<VaultClient<Channel>, Unavailable> {
        let channel = self.vault.channel(Duration::from_secs(2)).await?;
        Ok(VaultClient::new(channel)
            .max_decoding_message_size(LARGEST_MESSAGE_BYTES)
            .max_encoding_message_size(LARGEST_MESSAGE_BYTES))
    }

    /// A client over the newest pair with the courier.
    pub async fn courier(&self) -> Result<CourierClient<Channel>, Unavailable> {
        let channel = self.courier.channel(Duration::from_secs(2)).await?;
        Ok(CourierClient::new(channel).max_decoding_message_size(LARGEST_MESSAGE_BYTES))
    }
}

/// Waits for a neighbour's answer, no longer than `patience`; what went wrong is logged without any
/// of its content.
pub(crate) async fn asked<T>(
    what: &'static str,
    patience: Duration,
    answer: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, Unavailable> {
    match tokio::time::timeout(patience, answer).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => {
            tracing::warn!(rpc.call = what, rpc.code = ?status.code(), "a neighbour did not answer");
            Err(Unavailable)
        }
        Err(_) => {
            tracing::warn!(rpc.call = what, "a neighbour did not answer in time");
            Err(Unavailable)
        }
    }
}
