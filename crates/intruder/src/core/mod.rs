//! In core's place: it has the database, the way to the vault, to the door and to the courier, and the
//! administrators' listener. It would like to read, to wipe, and to be an administrator.

mod courier;
mod desk;
mod door;
mod forged;
mod grants;
mod loot;
mod standing;
mod vault;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use model::{Clock, Digest, SystemClock};
use order::{Ed25519Secret, TrustedStatement};
use rpc::control::RoomEvent;
use rpc::pair::{LARGEST_MESSAGE_BYTES, channel};
use rpc::proto::vault_client::VaultClient;
use rpc::trust::Trust;
use tokio::sync::{Mutex, watch};
use tonic::transport::Channel;

use crate::everywhere::Acts;
use crate::told::Told;
use crate::{Outcome, Taken, tell};
pub(crate) use loot::Loot;

/// What the intruder has in core.
pub(crate) struct Core {
    pub(crate) told: Told,
    pub(crate) loot: Loot,
    pub(crate) statement: Arc<TrustedStatement>,
    /// A key of the intruder's own.
    pub(crate) key: Ed25519Secret,
    pub(crate) rng: SystemRandom,
    /// Hashes of sessions, with the order that made each: from the database, and of who signed in meanwhile.
    pub(crate) sessions: Mutex<Vec<Digest>>,
    /// Grants as people signed them meanwhile.
    pub(crate) harvested: Mutex<Vec<order::SignedOrder>>,
    pub(crate) signed_in: watch::Sender<usize>,
    /// Forms of answers that phones have yet to be tried with.
    pub(crate) forms_left: watch::Sender<usize>,
}

pub(crate) type Vault = VaultClient<Channel>;

pub(crate) fn random<const N: usize>(rng: &SystemRandom) -> [u8; N] {
    let mut out = [0; N];
    let _ = rng.fill(&mut out);
    out
}

pub(crate) async fn run(taken: Taken, acts: Acts) -> Outcome<()> {
    let Taken { told, mut events, .. } = taken;
    let trust = Trust::open(&told.folder, &SystemClock)?;
    let statement = trust.current(SystemClock.now_ms()).ok_or("no key statement is in force")?;
    let loot = Loot::take(&told.folder)?;
    loot.tell(&told)?;
    let rng = SystemRandom::new();
    let key = Ed25519Secret::from_seed(random(&rng)).ok_or("no key")?;
    let core = Arc::new(Core {
        sessions: Mutex::new(loot.sessions.iter().map(|s| s.hash).collect()),
        harvested: Mutex::default(),
        signed_in: watch::Sender::new(0),
        forms_left: watch::Sender::new(door::FORMS),
        told,
        loot,
        statement,
        key,
        rng,
    });
    let (to_vault, mut vaults) = watch::channel(None::<Vault>);
    let trying = tokio::spawn({
        let core = core.clone();
        async move {
            let vault = match vaults.wait_for(Option::is_some).await {
                Ok(vault) => vault.clone(),
                Err(_) => None,
            };
            if let Some(vault) = vault {
                core.try_the_vault(vault.clone()).await;
                core.wait_for_phones().await;
                core.use_grants(vault).await;
            }
            tell::done();
            tokio::time::sleep(crate::LAST_TALKS).await;
            tokio::task::spawn_blocking(move || acts.go_on());
        }
    });
    loop {
        match events.recv().await {
            Some(RoomEvent::Peer(name, pair)) => match name.as_str() {
                "vault" => {
                    let client =
                        VaultClient::new(channel(pair)?).max_decoding_message_size(LARGEST_MESSAGE_BYTES);
                    to_vault.send_replace(Some(client));
                }
                "door" => drop(tokio::spawn(core.clone().answer_phones(channel(pair)?))),
                "courier" => drop(tokio::spawn(core.clone().try_the_courier(channel(pair)?))),
                _ => {}
            },
            Some(RoomEvent::Listener(_, listener)) => {
                drop(tokio::spawn(desk::serve(core.clone(), listener, to_vault.subscribe())))
            }
            Some(RoomEvent::Stop) | None => break,
            Some(_) => {}
        }
    }
    trying.abort();
    Ok(())
}

impl Core {
    /// Until each form of answer was tried on a phone, or no more phones come.
    async fn wait_for_phones(&self) {
        let mut left = self.forms_left.subscribe();
        let patience = Duration::from_secs(self.told.patience_s);
        let _ = tokio::time::timeout(patience, left.wait_for(|n| *n == 0)).await;
    }
}
