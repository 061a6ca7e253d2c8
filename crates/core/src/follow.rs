//! Core follows the vault's ledger: every entry is applied once, in one transaction with its place,
//! after its hash was found to continue the one before.

use std::sync::Arc;
use std::time::Duration;

use ledger::{Body, Effect, Entry};
use model::{DataSubject, Digest, EnrolmentId, KeyName, TimeMs};
use order::Refusal;
use rpc::proto::vault_client::VaultClient;
use rpc::proto::{CheckpointsRequest, FollowRequest, IndexRow, LedgerItem, PhoneRow, VaultHealthRequest};
use seal::SearchField;
use store::{
    ApiKeyRecord, EnrolmentState, LedgerRow, NewInvitation, Position, RenewedRecord, SavedDeviceGroup,
    SealedUpdate, SessionRecord, Slot, StoreError, Tx,
};
use tokio::sync::mpsc;
use tonic::transport::Channel;

use crate::access::compartment_bits;
use crate::declarations;
use crate::followed_tree::FollowedTree;
use crate::noting;
use crate::profiles;
use crate::renewal;
use crate::room::{Following, Room, VAULT_PATIENCE, asked};

/// What the vault hands over of an invitation's holder.
const HOLDER_ROWS: [&str; 2] = ["Holder.Name", "Holder.Email"];
/// How many entries one write applies.
const AT_ONCE: usize = 256;

/// Why following stopped.
pub(crate) enum Stop {
    /// The vault is gone; it may come back.
    Away,
    /// The ledger is not the one that was followed before.
    Refused(&'static str),
    Store(StoreError),
}

impl From<StoreError> for Stop {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

/// Follows for as long as the room runs. A ledger that went back is not followed; a vault that was
/// started anew is looked at again.
pub(crate) async fn follow(room: Arc<Room>) {
    let mut vaults = room.vault.changes();
    let mut tree = FollowedTree::open(&room);
    loop {
        vaults.mark_unchanged();
        match follow_once(&room, &mut tree).await {
            Stop::Away => {
                let _ = tokio::time::timeout(Duration::from_secs(1), vaults.changed()).await;
            }
            Stop::Store(e) => {
                tracing::error!(store.error = %e, "the ledger could not be applied; trying again");
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
            Stop::Refused(why) => {
                tracing::error!(
                    ledger.reason = why,
                    "the vault's ledger is not the one that was followed: nothing more of it is applied. \
                     Restore the vault's newest backup, or ask who changed it"
                );
                room.following.send_replace(Following::Refused(why));
                if vaults.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn follow_once(room: &Arc<Room>, tree: &mut FollowedTree) -> Stop {
    match try_follow(room, tree).await {
        Ok(never) => never,
        Err(stop) => stop,
    }
}

/// The vault can't know that its ledger went back, and it alone raises alarms: asked for entries that it does not have,
/// it does.
async fn tell_the_vault(vault: &mut VaultClient<Channel>) {
    let _ = tokio::time::timeout(VAULT_PATIENCE, vault.follow(FollowRequest { from: u64::MAX })).await;
}

/// What the vault says of its ledger.
enum Heard {
    Item(LedgerItem),
    Checkpoint(String),
}

async fn try_follow(room: &Arc<Room>, tree: &mut FollowedTree) -> Result<Stop, Stop> {
    let mut at = room.store.read(|v| v.position()).await?;
    let mut vault = room.vault_to_follow().await.map_err(|_| Stop::Away)?;
    let health = vault.health(VaultHealthRequest {});
    let health = asked("health", Duration::from_secs(10), health).await.map_err(|_| Stop::Away)?;
    if health.entries < at.entries {
        tell_the_vault(&mut vault).await;
        return Err(Stop::Refused("it is shorter than what was followed"));
    }
    // The last one that is known comes again, to see that it is still the same.
    let known = at.entries > 0;
    let from = at.entries.saturating_sub(1);
    let mut stream = match vault.follow(FollowRequest { from }).await {
        Ok(s) => s.into_inner(),
        Err(s) if s.code() == tonic::Code::OutOfRange => {
            return Err(Stop::Refused("it is shorter than what was followed"));
        }
        Err(_) => return Err(Stop::Away),
    };
    if known {
        let item = stream.message().await.ok().flatten().ok_or(Stop::Away)?;
        if item.index != from || order::sha256(&item.entry) != at.hash {
            tell_the_vault(&mut vault).await;
            return Err(Stop::Refused("its newest known entry is another one"));
        }
    }
    let mut checkpoints =
        vault.checkpoints(CheckpointsRequest {}).await.map_err(|_| Stop::Away)?.into_inner();
    let (tx, mut rx) = mpsc::channel(AT_ONCE * 2);
    // Each task ends with its stream, or once nobody takes what it hears.
    let to = tx.clone();
    tokio::spawn(async move {
        while let Ok(Some(checkpoint)) = checkpoints.message().await {
            if to.send(Heard::Checkpoint(checkpoint.note)).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Ok(Some(item)) = stream.message().await {
            if tx.send(Heard::Item(item)).await.is_err() {
                return;
            }
        }
    });
    room.following.send_replace(Following::UpToDate);
    room.followed.send_replace(at.entries);
    let mut heard = Vec::with_capacity(AT_ONCE);
    loop {
        if rx.recv_many(&mut heard, AT_ONCE).await == 0 {
            return Err(Stop::Away);
        }
        let mut items = Vec::with_capacity(heard.len());
        let mut newest = None;
        for h in heard.drain(..) {
            match h {
                Heard::Item(item) => items.push(item),
                Heard::Checkpoint(note) => newest = Some(note),
            }
        }
        if !items.is_empty() {
            at = apply(room, at, items).await?;
            room.followed.send_replace(at.entries);
        }
        match newest {
            Some(note) => tree.take(room, &note, at.entries).await?,
            None => tree.catch_up(room, at.entries).await?,
        }
        room.counters.ledger_entries.set(i64::try_from(at.entries).unwrap_or(i64::MAX));
    }
}

/// An entry that was checked against the one before.
struct Checked {
    row: LedgerRow,
    body: Body,
    rows: Vec<PhoneRow>,
    entries: Vec<IndexRow>,
    not_after_ms: TimeMs,
}

fn check(at: &mut Position, item: LedgerItem) -> Result<Checked, Stop> {
    let entry = Entry::decode(&item.entry).map_err(|_| Stop::Refused("an entry can't be read"))?;
    if item.index != at.entries || entry.index != at.entries {
        return Err(Stop::Refused("an entry is out of turn"));
    }
    if entry.previous != at.hash {
        return Err(Stop::Refused("an entry does not continue the one before"));
    }
    let hash: Digest = order::sha256(&item.entry);
    *at = Position { entries: at.entries + 1, hash };
    Ok(Checked {
        row: LedgerRow { index: entry.index, at_ms: entry.at_ms, hash, entry: item.entry },
        body: entry.body,
        rows: item.rows,
        entries: item.entries,
        not_after_ms: item.not_after_ms,
    })
}

async fn apply(room: &Arc<Room>, mut at: Position, items: Vec<LedgerItem>) -> Result<Position, Stop> {
    let checked = items.into_iter().map(|i| check(&mut at, i)).collect::<Result<Vec<_>, _>>()?;
    checked.iter().for_each(|c| room.briefs.take(&c.row, &c.body));
    let remembered = room
        .store
        .write(move |tx| {
            let (mut remembered, mut days) = (Vec::new(), noting::Days::default());
            for item in checked {
                tx.put_ledger_row(&item.row)?;
                noting::note(tx, &item.row, &item.body, &mut days)?;
                renewal::project(tx, item.row.at_ms, &item.body, item.not_after_ms, &mut remembered)?;
                declarations::project(tx, &item.row, &item.body)?;
                profiles::project(tx, &item.row, &item.body)?;
                project(tx, item.row.at_ms, item.body, item.rows, &item.entries, &mut remembered)?;
            }
            days.write(tx)?;
            Ok(remembered)
        })
        .await?;
    for r in remembered {
        remember(room, r);
    }
    Ok(at)
}

/// What core's memory learns from an entry, once it is on the disk.
pub(crate) enum Remember {
    Enrolment(EnrolmentId, Slot),
    Issued(EnrolmentId),
    Withdrawn(EnrolmentId),
    Person(model::PersonId, model::Role, Option<String>),
    PersonLeft(model::PersonId),
    Session(SessionRecord),
    SessionEnded(Digest),
    Key(ApiKeyRecord),
    KeyEnded(Digest),
    Certificates(RenewedRecord),
    Restored,
    RenewalDue,
    KeysRotated,
    Undecided,
    /// The phone's holder's card, by its code's hash; none: it has none that is good.
    HolderCard(EnrolmentId, Option<Digest>),
}

fn remember(room: &Room, r: Remember) {
    match r {
        Remember::Enrolment(enrolment, slot) => room.fleet.add(enrolment, slot),
        Remember::Issued(enrolment) => room.fleet.update(enrolment, |p| {
            if p.state == EnrolmentState::Invited {
                p.state = EnrolmentState::Issued;
            }
        }),
        Remember::Withdrawn(enrolment) => {
            room.fleet.update(enrolment, |p| p.state = EnrolmentState::Withdrawn);
        }
        Remember::Person(person, role, group) => room.access.put_person(person, role, group),
        Remember::PersonLeft(person) => room.access.remove_person(person),
        Remember::Session(s) => room.access.put_session(s),
        Remember::SessionEnded(hash) => room.access.end_session(&hash),
        Remember::Key(k) => room.access.put_key(k),
        Remember::KeyEnded(hash) => room.access.end_key(&hash),
        Remember::Restored => {
            room.access.end_all();
            room.holders.end_all();
        }
        Remember::HolderCard(enrolment, card) => room.holders.card_is(enrolment, card),
        Remember::Certificates(known) => room.fleet.know_certificates(known),
        Remember::RenewalDue => room.renewal_due.notify_one(),
        Remember::KeysRotated => {
            room.statement_due.notify_one();
            room.keys_due.notify_one();
        }
        Remember::Undecided => room.undecided.notify_one(),
    }
}

fn project(
    tx: &Tx<'_>,
    at_ms: TimeMs,
    body: Body,
    rows: Vec<PhoneRow>,
    entries: &[IndexRow],
    remembered: &mut Vec<Remember>,
) -> Result<(), StoreError> {
    match body {
        Body::OrderAccepted { order, person, effect, .. } => {
            tx.signed_by(order, person)?;
            if tx.ask_again(order)? {
                remembered.push(Remember::Undecided);
            }
            project_effect(tx, at_ms, order, person, effect, remembered)?;
        }
        Body::OrderRefused { order: Some(order), .. } => {
            if tx.ask_again(order)? {
                remembered.push(Remember::Undecided);
            }
        }
        Body::CertificateIssued { enrolment, .. } => {
            if let Some(e) = tx.find_enrolment(enrolment)?
                && tx.issue(e.slot, at_ms)?
            {
                remembered.push(Remember::Issued(enrolment));
            }
        }
        Body::Restored { .. } => {
            let withdrawn = tx.restored(at_ms)?;
            remembered.push(Remember::Restored);
            remembered.extend(withdrawn.into_iter().map(Remember::Withdrawn));
        }
        // There is a new statement.
        Body::RoomKeyTaken { .. } | Body::KeysDestroyed { .. } | Body::RootSucceeded { .. } => {
            remembered.push(Remember::KeysRotated);
        }
        // Nothing of core's follows from these; what phones said core knew first.
        Body::Genesis { .. }
        | Body::OrderRefused { order: None, .. }
        | Body::KeysStated { .. }
        | Body::GrantUsed { .. }
        | Body::CertificateRefused { .. }
        | Body::Authenticated { .. }
        | Body::TokenUpdated { .. }
        | Body::CheckedOut { .. }
        | Body::CommandFinished { .. }
        | Body::PhoneRefused { .. }
        | Body::CertificateTaken { .. }
        | Body::OidcSignedIn { .. }
        | Body::StandingUsed { .. }
        | Body::GivenBack { .. }
        | Body::OrderHeld { .. }
        | Body::Resealed { .. }
        | Body::ServiceTokenResealed { .. }
        | Body::ServerCertificateIssued { .. } => {}
    }
    keep_rows(tx, at_ms, rows, entries)
}

fn join(
    tx: &Tx<'_>,
    at_ms: TimeMs,
    (person, role, group): (model::PersonId, model::Role, Option<model::Group>),
    key: model::KeyId,
    passkey: Option<&[u8]>,
) -> Result<Option<String>, StoreError> {
    let group = group.map(|g| g.as_str().to_owned());
    tx.put_person(person, role.name(), group.as_deref(), at_ms)?;
    tx.put_person_key(person, key, passkey, at_ms)?;
    Ok(group)
}

fn project_effect(
    tx: &Tx<'_>,
    at_ms: TimeMs,
    order: model::OrderId,
    person: model::PersonId,
    effect: Effect,
    remembered: &mut Vec<Remember>,
) -> Result<(), StoreError> {
    match effect {
        Effect::PersonJoined { person, role, group, key_id, .. } => {
            let group = join(tx, at_ms, (person, role, group), key_id, None)?;
            remembered.push(Remember::Person(person, role, group));
        }
        Effect::PasskeyJoined { person, role, group, key_id, passkey, .. } => {
            let group = join(tx, at_ms, (person, role, group), key_id, Some(&passkey.0))?;
            remembered.push(Remember::Person(person, role, group));
        }
        Effect::PersonKeyAdded { person, key_id, .. } => tx.put_person_key(person, key_id, None, at_ms)?,
        Effect::PasskeyAdded { person, key_id, passkey } => {
            tx.put_person_key(person, key_id, Some(&passkey.0), at_ms)?;
        }
        Effect::PersonRemoved { person } => {
            tx.remove_person(person, at_ms)?;
            remembered.push(Remember::PersonLeft(person));
        }
        Effect::Invited { enrolment, link, group, expires_at_ms, card, .. } => {
            let group = group.as_str().to_owned();
            let slot =
                tx.invite(&NewInvitation { enrolment, link, group, expires_at_ms, invited_at_ms: at_ms })?;
            if let Some(card) = card {
                tx.put_holder_card(slot, card, at_ms)?;
            }
            remembered.push(Remember::Enrolment(enrolment, slot));
        }
        Effect::InvitationWithdrawn { enrolment } => {
            if let Some(e) = tx.find_enrolment(enrolment)?
                && tx.withdraw(e.slot, at_ms)?
            {
                remembered.push(Remember::Withdrawn(enrolment));
            }
        }
        Effect::Granted { session, records, searches, compartments, expires_at_ms } => {
            let compartments = compartment_bits(&compartments);
            let s = SessionRecord {
                hash: session,
                order,
                person,
                records,
                searches,
                compartments,
                expires_at_ms,
            };
            tx.put_session(&s)?;
            remembered.push(Remember::Session(s));
        }
        Effect::Recalled { order } => tx.recall_order(order, at_ms)?,
        Effect::Rejected { order } => crate::submit::end_waiting(tx, order, Refusal::Rejected, at_ms)?,
        Effect::ApiKeyMade { hash, scopes, expires_at_ms, label } => {
            let k = ApiKeyRecord { hash, scopes, label, expires_at_ms };
            tx.put_api_key(&k)?;
            remembered.push(Remember::Key(k));
        }
        Effect::ApiKeyRevoked { hash } => {
            tx.end_api_key(hash)?;
            remembered.push(Remember::KeyEnded(hash));
        }
        Effect::SessionEnded { session } => {
            tx.end_session(session)?;
            tx.end_oidc_session(session)?;
            remembered.push(Remember::SessionEnded(session));
        }
        Effect::RestoreConfirmed { complete, without, .. } => {
            for person in without.into_iter().filter(|_| complete) {
                tx.remove_person(person, at_ms)?;
                remembered.push(Remember::PersonLeft(person));
            }
        }
        Effect::PersonErased { subject: DataSubject::Holder(enrolment) } => {
            if let Some(e) = tx.find_enrolment(enrolment)? {
                HOLDER_ROWS.iter().try_for_each(|name| tx.drop_sealed(e.slot, name))?;
                tx.drop_holder_card(e.slot)?;
                card_changes(tx, e.slot, at_ms)?;
                remembered.push(Remember::HolderCard(enrolment, None));
            }
        }
        Effect::HolderCardsMade { cards } => {
            for (enrolment, card) in cards {
                if let Some(e) = tx.find_enrolment(enrolment)? {
                    tx.put_holder_card(e.slot, card, at_ms)?;
                    card_changes(tx, e.slot, at_ms)?;
                    remembered.push(Remember::HolderCard(enrolment, Some(card)));
                }
            }
        }
        // Core has no name of those who sign.
        Effect::PersonErased { subject: DataSubject::Person(_) } => {}
        // A command's bytes and warrants come with the order's outcome.
        Effect::Opened { .. } | Effect::Commanded { .. } | Effect::ServiceTokenSet { .. } => {}
        Effect::KeysRotated { keys, .. } => {
            if keys.contains(&KeyName::Warrant) {
                tx.drop_warrants()?;
            }
            remembered.push(Remember::KeysRotated);
        }
        Effect::OlderCaEnded { .. } => remembered.push(Remember::KeysRotated),
        Effect::PersonKeyEnded { key_id, .. } => tx.end_person_key(key_id)?,
        Effect::DeviceGroupSaved { group, name, definition, phones } => {
            let mut slots = Vec::with_capacity(phones.len());
            for phone in phones {
                slots.extend(tx.find_enrolment(phone)?.map(|e| e.slot));
            }
            let saved = SavedDeviceGroup { group, name, definition, order, person, saved_at_ms: at_ms };
            tx.save_device_group(&saved, &slots)?;
        }
        Effect::DeviceGroupEnded { group } => tx.end_device_group(group)?,
        // See `renewal::project`. The signers' keys alone are left.
        Effect::BreachAssumed { signers, .. } => tx.end_person_keys_but(&signers)?,
        // The vault's own table; it is asked for it.
        Effect::LimitSet { .. } => {}
        // See `renewal::project`.
        Effect::StandingMade { .. } | Effect::StandingEnded { .. } => {}
        // Taken in by `profiles::project`.
        Effect::ProfileSaved { .. } | Effect::ProfileEnded { .. } => {}
        // Taken in by `declarations::project`; its bytes come with the order's outcome.
        Effect::DeclarationsSet { .. } => {}
    }
    Ok(())
}

/// What was asked for with the card of before, and the phone has not done yet, is called back.
fn card_changes(tx: &Tx<'_>, slot: Slot, at_ms: TimeMs) -> Result<(), StoreError> {
    let standing = tx.standing_orders()?;
    for standing in standing.iter().filter(|s| s.template.is_holders()) {
        tx.cancel_order_for(slot, standing.order, None, at_ms)?;
    }
    Ok(())
}

/// The sealed rows that come with an entry, and their index entries.
fn keep_rows(
    tx: &Tx<'_>,
    at_ms: TimeMs,
    rows: Vec<PhoneRow>,
    entries: &[IndexRow],
) -> Result<(), StoreError> {
    for row in rows {
        let Ok((enrolment, row)) = rpc::phone_row(row) else { continue };
        let Some(e) = tx.find_enrolment(enrolment)? else { continue };
        let (name, ciphertext) = (row.name.clone(), row.ciphertext.clone());
        tx.put_sealed(e.slot, "ledger", &[SealedUpdate { row, indexed: false }], false, at_ms)?;
        let Some(field) = SearchField::of(&name) else { continue };
        let of_row = entries.iter().filter(|i| i.name == name && i.enrolment == enrolment.0);
        let found: Vec<Vec<u8>> = of_row.map(|i| [i.r.as_slice(), i.prf.as_slice()].concat()).collect();
        tx.put_index(field.name(), e.slot, &name, &ciphertext, &found)?;
    }
    Ok(())
}
