//! An order on its way: kept, carried to the vault, followed, carried out.

use std::sync::Arc;
use std::time::Duration;

use model::{Command, CommandId, EnrolmentId, KeyId, OrderId, TimeMs};
use order::limits::Hold;
use order::{Order, OrderKind, Refusal, SignedOrder};
use rpc::proto::{CommandBytes, Outcome, PhoneRow, Submission};
use serde::{Deserialize, Serialize};
use store::{Decision, NewCommand, NewOrder, OrderRecord, OrderState, StoreError, Tx};

use crate::apps;
use crate::checkin::{ask_vault, warrant_expiry};
use crate::profiles;
use crate::room::Room;

/// How long an answer waits until the ledger was followed up to the order.
const FOLLOW_PATIENCE: Duration = Duration::from_secs(10);

/// What is kept undecided while the vault is away: nobody has checked the signatures yet.
const MOST_UNDECIDED: u64 = 500;
const MOST_UNDECIDED_BYTES: u64 = 64 * 1024 * 1024;

/// What is kept while it waits for another signature: in all, and first signed by one key.
const MOST_PENDING: u64 = 500;
const MOST_PENDING_OF_ONE: u64 = 50;
const MOST_PENDING_BYTES: u64 = 64 * 1024 * 1024;

/// The vault may have accepted an order in its last moment: it is taken for one that ran out so long afterwards.
const OVER_AFTER_MS: TimeMs = model::clock::MINUTE_MS;

/// The longest word of the vault's about what does not fit.
const LONGEST_DETAIL_BYTES: usize = 4096;

/// A command that an order made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct OrderedCommand {
    /// Its id.
    #[schema(value_type = String)]
    pub command: CommandId,
    /// How many phones it goes to.
    pub targets: u32,
}

/// How an order was decided, as it is kept and given again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Decided {
    pub order: OrderId,
    /// 0: accepted.
    pub refusal: u16,
    pub position: u64,
    pub commands: Vec<OrderedCommand>,
    pub erasing: bool,
    /// No phone is told before then.
    #[serde(default)]
    pub cools_until_ms: Option<TimeMs>,
    /// What stood in the way, where it was a limit.
    #[serde(default)]
    pub hold: Option<Hold>,
    /// Where and why the content does not fit.
    #[serde(default)]
    pub detail: Option<String>,
}

/// Why there is no decision.
#[derive(Debug, Clone)]
pub(crate) enum NotDecided {
    /// The bytes are no order.
    Unreadable,
    /// These phones are not supervised.
    NeedsSupervision(Vec<EnrolmentId>),
    /// The vault is away; the order is kept and goes to it as soon as it is back.
    VaultAway,
    /// The vault is away; the order waits with the signatures that it had before.
    VaultAwayForSignature,
    /// Too many orders wait for the vault already; this one was not kept.
    TooManyWait,
    /// Too many orders wait for another signature already; this one was not kept.
    TooManyPending,
    /// Ours.
    Store(StoreError),
}

impl From<StoreError> for NotDecided {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

type Result<T, E = NotDecided> = std::result::Result<T, E>;

fn decode(signed: &[u8]) -> Result<(SignedOrder, Order)> {
    let signed: SignedOrder = order::decode(signed).map_err(|_| NotDecided::Unreadable)?;
    let order: Order = order::decode(&signed.order).map_err(|_| NotDecided::Unreadable)?;
    if order.version != Order::VERSION || order.targets.len() > Order::MOST_TARGETS {
        return Err(NotDecided::Unreadable);
    }
    Ok((signed, order))
}

/// Takes an order through to its decision; one that was decided before gets the same decision. The
/// second half is the answer, sealed to the order's key.
pub(crate) async fn submit(room: &Arc<Room>, signed: Vec<u8>, sealed: Vec<u8>) -> Result<(Decided, Vec<u8>)> {
    let (bytes, order) = decode(&signed)?;
    let digest = order::sha256(&bytes.order);
    let id = order.id;
    let known = room.store.read(move |v| v.find_order(id)).await?;
    if let Some(known) = &known {
        if known.digest != digest {
            return Ok((refused(id, Refusal::IdReused), Vec::new()));
        }
        if let Some(decided) = recorded(known) {
            return Ok(decided);
        }
        // Whoever brings a signature need not bring the sealed arguments: they lie here.
        let all = merged(&known.signed, &bytes)?;
        let decided = decide(room, &order, digest, all, known.sealed.clone()).await;
        return match decided {
            Err(NotDecided::VaultAway) if known.state == OrderState::Pending => {
                Err(NotDecided::VaultAwayForSignature)
            }
            other => other,
        };
    } else {
        needs_supervision(room, &order)?;
        let size_bytes = (signed.len() + sealed.len()) as u64;
        let (orders, bytes) = room.store.read(|v| v.undecided_size()).await?;
        if orders >= MOST_UNDECIDED || bytes + size_bytes > MOST_UNDECIDED_BYTES {
            return Err(NotDecided::TooManyWait);
        }
        let new = NewOrder {
            order: id,
            digest,
            kind: order.kind.name().to_owned(),
            reason: clipped(&order.reason, Order::LONGEST_REASON_BYTES),
            targets: u32::try_from(order.targets.len()).unwrap_or(u32::MAX),
            made_at_ms: order.made_at_ms,
            expires_at_ms: order.expires_at_ms,
            received_at_ms: room.now_ms(),
            signed: signed.clone(),
            sealed: sealed.clone(),
        };
        if !room.store.write(move |tx| tx.receive_order(&new)).await? {
            // Another came with the same id in this moment: it may be this one, or may not.
            return Box::pin(submit(room, signed, sealed)).await;
        }
    }
    decide(room, &order, digest, signed, sealed).await
}

/// A text cut to so many bytes, between two characters.
pub(crate) fn clipped(text: &str, most_bytes: usize) -> String {
    let mut end = most_bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

fn refused(order: OrderId, refusal: Refusal) -> Decided {
    Decided {
        order,
        refusal: refusal.number(),
        position: 0,
        commands: Vec::new(),
        erasing: false,
        cools_until_ms: None,
        hold: None,
        detail: None,
    }
}

/// The order that waits, with the signatures that came now. One that the vault does not know spoils this try
/// alone: what is kept has only those that it knows.
fn merged(kept: &[u8], came: &SignedOrder) -> Result<Vec<u8>> {
    let mut all: SignedOrder = order::decode(kept).map_err(|_| NotDecided::Unreadable)?;
    for s in &came.signatures {
        if !all.signatures.iter().any(|known| known.key == s.key) {
            all.signatures.push(s.clone());
        }
    }
    Ok(order::encode(&all))
}

fn recorded(known: &OrderRecord) -> Option<(Decided, Vec<u8>)> {
    let decided = serde_json::from_str(known.outcome.as_deref()?).ok()?;
    Some((decided, known.answer.clone().unwrap_or_default()))
}

/// Says before anything is sent which phones would refuse the command. A phone that has not yet said
/// whether it is supervised is given the benefit of the doubt.
fn needs_supervision(room: &Room, order: &Order) -> Result<()> {
    let OrderKind::Command { command } = &order.kind else { return Ok(()) };
    if !command.needs_supervision() {
        return Ok(());
    }
    let without = |e: &EnrolmentId| room.fleet.find(*e).is_some_and(|p| p.supervised == Some(false));
    let phones: Vec<EnrolmentId> = order.targets.iter().filter(|e| without(e)).copied().collect();
    if phones.is_empty() { Ok(()) } else { Err(NotDecided::NeedsSupervision(phones)) }
}

/// The sealed rows that the vault needs for the order.
async fn rows_for(room: &Room, order: &Order) -> Result<Vec<PhoneRow>> {
    let names: Vec<String> = match &order.kind {
        OrderKind::Open { fields } => fields.clone(),
        OrderKind::Command { command: Command::ClearPasscode } => vec!["UnlockToken".to_owned()],
        _ => return Ok(Vec::new()),
    };
    let slots: Vec<_> = order.targets.iter().filter_map(|e| Some((*e, room.fleet.slot(*e)?))).collect();
    let read = room.store.read(move |v| {
        let mut rows = Vec::new();
        for (enrolment, slot) in slots {
            for name in &names {
                if let Some(row) = v.find_sealed(slot, name)? {
                    rows.push(PhoneRow { enrolment: enrolment.0.to_vec(), row: Some(rpc::row_to(row)) });
                }
            }
        }
        Ok(rows)
    });
    Ok(read.await?)
}

/// The saved version that the vault needs for the order.
async fn profile_for(room: &Room, order: &Order) -> Result<Option<rpc::proto::SealedRow>> {
    let kind = order.kind.clone();
    let read = room.store.read(move |v| match kind {
        OrderKind::InstallSaved { profile, version, .. } => v.find_profile_content(profile, version),
        // With which it is compared.
        OrderKind::SaveProfile { profile } => v.newest_profile_content(profile),
        _ => Ok(None),
    });
    Ok(read.await?.map(rpc::row_to))
}

async fn decide(
    room: &Arc<Room>,
    order: &Order,
    digest: model::Digest,
    signed_order: Vec<u8>,
    sealed_arguments: Vec<u8>,
) -> Result<(Decided, Vec<u8>)> {
    let rows = rows_for(room, order).await?;
    let profile = profile_for(room, order).await?;
    let submission = Submission { signed_order, sealed_arguments, rows, profile };
    let signed = submission.signed_order.clone();
    let asked = ask_vault(room, "submit", |mut v| async move { v.submit(submission).await }).await;
    let Ok(outcome) = asked else { return Err(NotDecided::VaultAway) };
    let refusal = u16::try_from(outcome.refusal).unwrap_or(u16::MAX);
    let id = order.id;
    match Refusal::from_number(refusal) {
        Some(Refusal::LedgerUnavailable) => return Err(NotDecided::VaultAway),
        // Nothing that nobody signed stays with us.
        Some(
            r @ (Refusal::Unreadable | Refusal::BadSignature | Refusal::UnknownSigner | Refusal::IdReused),
        ) => {
            room.counters.orders_refused.inc();
            if r != Refusal::IdReused {
                room.counters.forged_orders.inc();
            }
            room.store.write(move |tx| tx.drop_undecided(id, digest)).await?;
            return Ok((refused(id, r), Vec::new()));
        }
        Some(r @ (Refusal::NeedsSignatures | Refusal::ApprovedBudgetSpent)) => {
            return hold(room, id, digest, signed, r, outcome.hold).await;
        }
        Some(Refusal::PasskeyCopied) => room.counters.copied_passkeys.inc(),
        _ => {}
    }
    if refusal == 0 {
        let mut followed = room.followed.subscribe();
        let up_to = followed.wait_for(|n| *n > outcome.position);
        if tokio::time::timeout(FOLLOW_PATIENCE, up_to).await.is_err() {
            tracing::warn!(order.id = %id, "the ledger was not followed up to the order in time");
        }
    }
    carry_out(room, order, signed, outcome, refusal).await
}

/// Keeps an order that the vault did not decide, for someone else to sign.
async fn hold(
    room: &Arc<Room>,
    id: OrderId,
    digest: model::Digest,
    signed: Vec<u8>,
    refusal: Refusal,
    hold: Vec<u8>,
) -> Result<(Decided, Vec<u8>)> {
    let bytes: SignedOrder = order::decode(&signed).map_err(|_| NotDecided::Unreadable)?;
    let by = bytes.signatures.first().map_or(KeyId([0; 16]), |s| s.key);
    let told: Option<Hold> = order::decode(&hold).ok();
    room.counters.orders_refused.inc();
    let kept = room
        .store
        .write(move |tx| {
            let waits = tx.find_order(id)?.is_some_and(|o| o.state == OrderState::Pending);
            let (all, of_key, size_bytes) = tx.pending_size(by)?;
            let full = all >= MOST_PENDING
                || of_key >= MOST_PENDING_OF_ONE
                || size_bytes + signed.len() as u64 > MOST_PENDING_BYTES;
            if full && !waits {
                tx.drop_undecided(id, digest)?;
                return Ok(false);
            }
            tx.hold_order(id, &signed, by, &hold)?;
            Ok(true)
        })
        .await?;
    if !kept {
        return Err(NotDecided::TooManyPending);
    }
    Ok((Decided { hold: told, ..refused(id, refusal) }, Vec::new()))
}

async fn carry_out(
    room: &Arc<Room>,
    order: &Order,
    signed: Vec<u8>,
    outcome: Outcome,
    refusal: u16,
) -> Result<(Decided, Vec<u8>)> {
    let now_ms = room.now_ms();
    let accepted = refusal == 0;
    let commands = outcome.commands.iter().filter_map(|c| {
        let targets = u32::try_from(c.warrants.len()).unwrap_or(u32::MAX);
        Some(OrderedCommand { command: rpc::command_id(&c.command).ok()?, targets })
    });
    let cools_until_ms = (outcome.cools_until_ms > 0).then_some(outcome.cools_until_ms);
    let decided = Decided {
        order: order.id,
        refusal,
        position: outcome.position,
        commands: if accepted { commands.collect() } else { Vec::new() },
        erasing: outcome.erasing,
        cools_until_ms,
        hold: order::decode(&outcome.hold).ok(),
        detail: (!outcome.detail.is_empty()).then(|| clipped(&outcome.detail, LONGEST_DETAIL_BYTES)),
    };
    let json = serde_json::to_string(&decided).map_err(|e| StoreError::Refused(e.to_string()))?;
    let decision = Decision {
        state: match (accepted, cools_until_ms) {
            (true, Some(_)) => OrderState::CoolingOff,
            (true, None) => OrderState::Accepted,
            (false, _) => OrderState::Refused,
        },
        decided_at_ms: now_ms,
        outcome: json,
        answer: outcome.sealed_answer.clone(),
        cools_until_ms,
        signed: Some(signed),
    };
    if cools_until_ms.is_some() {
        room.cooling_due.notify_one();
    }
    let (id, expires_at_ms) = (order.id, order.expires_at_ms);
    let request_type = match &order.kind {
        OrderKind::Command { command } => command.request_type().to_owned(),
        OrderKind::InstallSaved { .. } => model::CommandKind::InstallProfile.request_type().to_owned(),
        OrderKind::SetDeclarations { .. } => {
            model::CommandKind::DeclarativeManagement.request_type().to_owned()
        }
        _ => String::new(),
    };
    let app = match &order.kind {
        OrderKind::Command { command } => apps::wanted(command).map(|(app, there)| (app.to_owned(), there)),
        _ => None,
    };
    let kind = order.kind.clone();
    let content = outcome.profile.filter(|_| accepted).and_then(|row| rpc::row_from(row).ok());
    let bodies = if accepted { outcome.declarations } else { Vec::new() };
    let made = if accepted { outcome.commands } else { Vec::new() };
    let reached = room
        .store
        .write(move |tx| {
            tx.decide_order(id, &decision)?;
            for body in &bodies {
                if let Ok(digest) = rpc::digest(&body.digest) {
                    tx.put_declaration_body(&digest, &body.sealed_body, now_ms)?;
                }
            }
            if let Some(content) = &content {
                tx.put_profile_content(id, content)?;
            }
            let about = About { app: app.clone(), profiles: profiles::wanted(tx, &kind)? };
            // An order that was called back before we had its commands is not carried out.
            if tx.find_order(id)?.is_some_and(|o| o.recalled_at_ms.is_some()) {
                return Ok(Vec::new());
            }
            let mut reached = Vec::new();
            for c in made {
                let new = |command| NewCommand {
                    command,
                    order: Some(id),
                    request_type: request_type.clone(),
                    query: None,
                    body: c.body.clone(),
                    sealed: c.sealed,
                    created_at_ms: now_ms,
                    expires_at_ms,
                };
                insert(tx, &c, new, &about, &mut reached)?;
            }
            Ok(reached)
        })
        .await?;
    if accepted {
        room.counters.orders_accepted.inc()
    } else {
        room.counters.orders_refused.inc()
    };
    room.fleet.queued(&reached, now_ms);
    Ok((decided, outcome.sealed_answer))
}

/// What a phone's answer to a command will say something of.
struct About {
    app: Option<(String, bool)>,
    /// Versions to hold; 0: to be without.
    profiles: Vec<(model::ProfileId, u32)>,
}

fn insert(
    tx: &Tx<'_>,
    c: &CommandBytes,
    new: impl FnOnce(CommandId) -> NewCommand,
    about: &About,
    reached: &mut Vec<EnrolmentId>,
) -> std::result::Result<(), StoreError> {
    let Ok(command) = rpc::command_id(&c.command) else { return Ok(()) };
    let new = new(command);
    let number = tx.put_command(&new)?;
    for (profile, version) in &about.profiles {
        tx.put_profile_command(number, *profile, *version)?;
    }
    for w in &c.warrants {
        let (Ok(enrolment), Some(expiry)) = (rpc::enrolment_id(&w.enrolment), warrant_expiry(&w.warrant))
        else {
            continue;
        };
        let Some(e) = tx.find_enrolment(enrolment)?.filter(|e| !e.state.is_over()) else { continue };
        if tx.queue(e.slot, number, Some((&w.warrant, expiry)))? {
            if let Some((identifier, there)) = &about.app {
                tx.request_app(e.slot, identifier, *there, number, new.created_at_ms)?;
            }
            for (profile, version) in &about.profiles {
                tx.ask_profile(e.slot, *profile, *version, number, new.created_at_ms)?;
            }
            reached.push(enrolment);
        }
    }
    Ok(())
}

/// Takes up what was received and not decided, after a crash or when the vault is back.
pub(crate) async fn take_up(room: Arc<Room>) {
    let mut vaults = room.vault.changes();
    loop {
        match room.store.read(|v| v.undecided_orders(100)).await {
            Ok(orders) => {
                for known in orders {
                    // Whoever brought it may be waiting at this moment; the vault decides it once.
                    if room.now_ms() - known.received_at_ms < 5_000 && *room.followed.borrow() > 0 {
                        continue;
                    }
                    let Ok((_, order)) = decode(&known.signed) else { continue };
                    let taken = decide(&room, &order, known.digest, known.signed, known.sealed).await;
                    tracing::info!(order.id = %order.id, order.decided = taken.is_ok(), "an order was taken up");
                }
            }
            Err(e) => tracing::error!(store.error = %e, "undecided orders can't be read"),
        }
        let sooner = async {
            tokio::select! {
                _ = vaults.changed() => {}
                () = room.undecided.notified() => {}
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(30), sooner).await;
    }
}

/// Brings orders to the vault again once their cooling-off has ended: then it signs for them. One that was
/// called back gets nothing.
pub(crate) async fn cooled(room: Arc<Room>) {
    loop {
        let wait = match cooled_now(&room).await {
            Ok(next_ms) => next_ms.map_or(60_000, |at_ms| (at_ms - room.now_ms()).clamp(200, 60_000)),
            Err(e) => {
                tracing::error!(store.error = %e, "orders that cooled off can't be read");
                5_000
            }
        };
        let wait = Duration::from_millis(u64::try_from(wait).unwrap_or(5_000));
        let _ = tokio::time::timeout(wait, room.cooling_due.notified()).await;
    }
}

async fn cooled_now(room: &Arc<Room>) -> std::result::Result<Option<TimeMs>, StoreError> {
    let now_ms = room.now_ms();
    let due = room.store.read(move |v| v.cooled_orders(now_ms, 20)).await?;
    for known in due {
        let Ok((_, order)) = decode(&known.signed) else { continue };
        let done = decide(room, &order, known.digest, known.signed, known.sealed).await;
        match done {
            Ok((d, _)) if d.cools_until_ms.is_none() => {
                tracing::info!(order.id = %order.id, "an order's cooling-off has ended");
            }
            // The vault is away, or its clock is behind ours.
            _ => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
    room.store.read(|v| v.next_cooled_ms()).await
}

/// Ends the orders that ran out while they waited for a signature.
pub(crate) async fn end_pending(room: &Room) -> std::result::Result<(), StoreError> {
    let now_ms = room.now_ms();
    let over = room.store.read(move |v| v.pending_over(now_ms - OVER_AFTER_MS)).await?;
    if over.is_empty() {
        return Ok(());
    }
    room.store
        .write(move |tx| over.into_iter().try_for_each(|id| end_waiting(tx, id, Refusal::Expired, now_ms)))
        .await
}

/// Refuses an order for good that waited for a signature; any other is left as it is.
pub(crate) fn end_waiting(
    tx: &Tx<'_>,
    id: OrderId,
    refusal: Refusal,
    decided_at_ms: TimeMs,
) -> std::result::Result<(), StoreError> {
    if tx.find_order(id)?.is_none_or(|o| o.state != OrderState::Pending) {
        return Ok(());
    }
    let outcome =
        serde_json::to_string(&refused(id, refusal)).map_err(|e| StoreError::Refused(e.to_string()))?;
    let (state, answer) = (OrderState::Refused, Vec::new());
    let d = Decision { state, decided_at_ms, outcome, answer, cools_until_ms: None, signed: None };
    tx.decide_order(id, &d)
}
