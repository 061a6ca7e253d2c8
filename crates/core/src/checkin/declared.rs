//! Declarative management's own endpoints. Core looks up what the vault warranted for the phone; the door
//! checks that it fits the endpoint that was asked.

use std::sync::Arc;

use model::{EnrolmentId, TimeMs};
use order::{AnswerClass, DeclaredAnswer, Refusal, SignedDeclarations, endpoint_hash};
use rpc::proto::core_reply::Answer;
use rpc::proto::{DeclarationsAnswer, DeclarationsAsked, DeclarationsRequest, StatusReport, Warranted};
use store::{App, DeclarationState, DeclarationsKept, EnrolmentState, Slot, StatusError, StoreError, Tx};

use super::delivery::class_number;
use super::report::failed;
use super::{ReplyTo, UNAVAILABLE, ask_vault};
use crate::declarations::STATUS;
use crate::fleet::Standing;
use crate::inventory::Fields;
use crate::room::Room;

/// A warrant that runs out sooner is not handed to the door.
const WARRANT_MARGIN_MS: TimeMs = 60_000;
/// The most declarations, and errors, of one report that are kept.
const MOST_STATES: usize = 1024;
const LONGEST_WORD_BYTES: usize = 128;

/// A phone asks for tokens, items, or a declaration.
pub(crate) fn asked(
    room: &Arc<Room>,
    enrolment: EnrolmentId,
    standing: Standing,
    asked: DeclarationsAsked,
    now_ms: TimeMs,
    reply: ReplyTo,
) {
    if standing.state != EnrolmentState::Enrolled {
        return reply.plain(400);
    }
    let task_room = room.clone();
    room.tasks.spawn(async move {
        match answer(&task_room, enrolment, standing.slot, &asked.endpoint, now_ms).await {
            Ok(Some(answer)) => reply.send(answer),
            // Nothing was ever set for it, or nothing of that name.
            Ok(None) => reply.plain(400),
            Err(Cannot::Vault) => {
                task_room.counters.unavailable.inc();
                reply.plain(UNAVAILABLE);
            }
            Err(Cannot::Store(e)) => failed(&task_room, &e, reply),
        }
    });
}

/// Why there is no answer now.
enum Cannot {
    Vault,
    Store(StoreError),
}

impl From<StoreError> for Cannot {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

async fn answer(
    room: &Arc<Room>,
    enrolment: EnrolmentId,
    slot: Slot,
    endpoint: &str,
    now_ms: TimeMs,
) -> Result<Option<Answer>, Cannot> {
    let kept = room.store.read(move |v| v.find_declarations(slot)).await?;
    let kept = match kept.filter(|k| k.expires_at_ms > now_ms + WARRANT_MARGIN_MS) {
        Some(kept) => kept,
        None => match fetch(room, enrolment, slot).await? {
            Some(kept) => kept,
            None => return Ok(None),
        },
    };
    let Some(warranted) = warranted_at(&kept.warrant, endpoint) else { return Ok(None) };
    let (body, sealed) = match endpoint {
        "tokens" => (kept.tokens, false),
        "declaration-items" => (kept.items, false),
        _ if warranted.status == 404 => (Vec::new(), false),
        _ => {
            let digest = warranted.digest;
            match room.store.read(move |v| v.find_declaration_body(&digest)).await? {
                Some(body) => (body, true),
                // The ledger tells of a set a moment before its bodies are kept: the phone comes again.
                None => return Err(Cannot::Vault),
            }
        }
    };
    Ok(Some(Answer::Warranted(Warranted {
        warrant: kept.warrant.into(),
        class: class_number(AnswerClass::Declaration),
        status: u32::from(warranted.status),
        command: Vec::new().into(),
        body: body.into(),
        sealed,
    })))
}

fn warranted_at(warrant: &[u8], endpoint: &str) -> Option<DeclaredAnswer> {
    let signed: SignedDeclarations = order::decode(warrant).ok()?;
    signed.claimed().ok()?.answer(&endpoint_hash(endpoint)).copied()
}

/// Has the vault sign for this phone, and keeps it for the day. `None`: nothing was ever set for it.
async fn fetch(
    room: &Arc<Room>,
    enrolment: EnrolmentId,
    slot: Slot,
) -> Result<Option<DeclarationsKept>, Cannot> {
    let request = DeclarationsRequest { enrolments: vec![enrolment.0.to_vec()] };
    let asked = ask_vault(room, "declarations", |mut v| async move { v.declarations(request).await });
    let DeclarationsAnswer { refusal, phones } = asked.await.map_err(|_| Cannot::Vault)?;
    if refusal == u32::from(Refusal::RestoredUnconfirmed.number()) {
        return Err(Cannot::Vault);
    }
    if refusal != 0 {
        return Ok(None);
    }
    let phone = phones.into_iter().next().ok_or(Cannot::Vault)?;
    let claimed = order::decode::<SignedDeclarations>(&phone.warrant)
        .and_then(|s| s.claimed())
        .map_err(|_| Cannot::Vault)?;
    let kept = DeclarationsKept {
        warrant: phone.warrant,
        position: claimed.position,
        tokens: phone.tokens,
        items: phone.items,
        expires_at_ms: claimed.expires_at_ms,
    };
    let keep = kept.clone();
    room.store.write(move |tx| tx.keep_declarations(slot, &keep)).await?;
    Ok(Some(kept))
}

/// A phone reports on itself.
pub(crate) fn status(
    room: &Arc<Room>,
    standing: Standing,
    report: StatusReport,
    now_ms: TimeMs,
    reply: ReplyTo,
) {
    if standing.state != EnrolmentState::Enrolled {
        return reply.plain(400);
    }
    let said = Said::of(report, room, now_ms);
    let slot = standing.slot;
    let after = room.clone();
    room.store.write_then(
        move |tx| said.keep(tx, slot, now_ms),
        move |out| match out {
            Ok(()) => reply.plain(200),
            Err(e) => failed(&after, &e, reply),
        },
    );
}

/// A status report, ready for the store.
struct Said {
    full: bool,
    fields: Fields,
    removed: Vec<String>,
    apps: Vec<(App, bool)>,
    states: Option<Vec<DeclarationState>>,
    errors: Vec<StatusError>,
}

fn words(reasons: Vec<String>) -> Vec<String> {
    let fits =
        |w: &String| !w.is_empty() && w.len() <= LONGEST_WORD_BYTES && !w.contains(char::is_whitespace);
    reasons.into_iter().filter(fits).take(16).collect()
}

impl Said {
    fn of(report: StatusReport, room: &Room, now_ms: TimeMs) -> Self {
        let short = |text: &str| !text.is_empty() && text.len() <= LONGEST_WORD_BYTES;
        let states = report.declarations.into_iter().take(MOST_STATES);
        let states = states.filter(|s| short(&s.identifier) && short(&s.kind)).map(|s| DeclarationState {
            kind: s.kind,
            identifier: s.identifier,
            token: s.token,
            active: s.active,
            valid: u8::try_from(s.valid).unwrap_or(0),
            reasons: words(s.reasons),
            at_ms: now_ms,
        });
        let apps = report.apps.into_iter().take(MOST_STATES).filter_map(|a| Some((a.app?, a.removed)));
        let errors = report.errors.into_iter().take(MOST_STATES).filter(|e| short(&e.item));
        Self {
            full: report.full,
            states: report.declared.then(|| states.collect()),
            apps: apps
                .filter(|(a, _)| short(&a.identifier) && a.version.len() + a.short_version.len() <= 4096)
                .map(|(a, removed)| {
                    let app =
                        App { identifier: a.identifier, version: a.version, short_version: a.short_version };
                    (app, removed)
                })
                .collect(),
            removed: report.removed,
            errors: errors.map(|e| StatusError { item: e.item, reasons: words(e.reasons) }).collect(),
            fields: Fields::of(report.clear, report.sealed, &room.counters),
        }
    }

    fn keep(&self, tx: &Tx<'_>, slot: Slot, now_ms: TimeMs) -> Result<(), StoreError> {
        tx.put_clear(slot, STATUS, &self.fields.clear, self.full, now_ms)?;
        tx.put_sealed(slot, STATUS, &self.fields.sealed, self.full, now_ms)?;
        for name in &self.removed {
            tx.drop_sealed_from(slot, STATUS, name)?;
        }
        let (os, model) = (
            self.fields.text("device.operating-system.version"),
            self.fields.text("device.model.identifier"),
        );
        if os.is_some() || model.is_some() {
            tx.describe(slot, None, os.as_deref(), model.as_deref())?;
        }
        if self.full {
            let there: Vec<App> = self.apps.iter().filter(|a| !a.1).map(|a| a.0.clone()).collect();
            tx.put_apps(slot, STATUS, &there)?;
        } else {
            for (app, removed) in &self.apps {
                tx.change_app(slot, STATUS, app, *removed)?;
            }
        }
        if let Some(states) = &self.states {
            tx.put_declaration_states(slot, states)?;
        }
        for (name, _) in &self.fields.clear {
            tx.drop_status_error(slot, name)?;
        }
        tx.put_status_errors(slot, &self.errors, self.full, now_ms)?;
        tx.put_report(slot, STATUS, &[], now_ms)
    }
}
