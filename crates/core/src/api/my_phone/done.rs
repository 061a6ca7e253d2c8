//! What was done to a phone, as its holder is told it: orders, and openings of what is kept sealed.

use std::collections::BTreeMap;

use ledger::{Body, Effect, Entry};
use model::{CommandId, CommandKind, Compartment, EnrolmentId, OrderId, StandingTemplate, TimeMs};
use serde::Serialize;
use store::{
    CommandItem, CommandState, DeviceItem, LedgerAbout, LedgerFilter, LedgerRow, StandingRecord, StoreError,
    View,
};
use utoipa::ToSchema;

/// The most things that are told.
pub(super) const MOST_TOLD: usize = 100;
/// The most of the ledger's entries that are read: one more than are told, which says that there was more.
const MOST_ENTRIES: u32 = 101;
/// The kinds of entries that are told.
const KINDS: [&str; 5] = ["commanded", "declarations_set", "standing_used", "opened", "grant_used"];

/// Something that was done to the phone.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Done {
    at_ms: TimeMs,
    /// `command`, or `opened`: sealed values were read.
    what: &'static str,
    /// Of a command: Apple's `RequestType`.
    request_type: Option<String>,
    /// Of a command: queued, sent, not_now, acknowledged, error, expired or cancelled; null: it is not kept any more.
    #[schema(value_type = Option<String>)]
    state: Option<CommandState>,
    /// Of an opening: which kinds of value.
    #[schema(value_type = Vec<String>)]
    compartments: Vec<Compartment>,
    /// `holder`, `hospital` (somebody's order), or `matron` (by itself). Never who.
    by: &'static str,
}

/// What was done to the phone since then, the newest first, by the ledger: core forgets finished commands sooner. At most one more than
/// [`MOST_TOLD`].
pub(super) fn done(
    v: &View<'_>,
    item: &DeviceItem,
    (commands, standing): (&[CommandItem], &[StandingRecord]),
    since_ms: TimeMs,
) -> Result<Vec<Done>, StoreError> {
    // By place, before anything is loaded: an open page asks every few seconds.
    let Some(from) = v.ledger_place(since_ms)? else { return Ok(Vec::new()) };
    let found = v.ledger_found(&LedgerFilter {
        about: vec![LedgerAbout::Enrolment(item.enrolment)],
        kinds: KINDS.to_vec(),
        from,
        newest_first: true,
        limit: MOST_ENTRIES,
        ..LedgerFilter::default()
    })?;
    let notes = v.sealed_notes(item.slot)?;
    let kinds: BTreeMap<String, Compartment> = notes.into_iter().map(|n| (n.name, n.compartment)).collect();
    let told = |row: LedgerRow| {
        let entry = Entry::decode(&row.entry).map_err(|_| StoreError::Damaged("ledger entry"))?;
        Ok(match entry.body {
            Body::OrderAccepted { effect: Effect::Opened { fields }, .. }
            | Body::GrantUsed { opened: fields, .. } => Some(opening(row.at_ms, item, fields, &kinds)),
            body => asked_for(body, item, standing).map(|asked| command(row.at_ms, asked, commands)),
        })
    };
    found.into_iter().map(told).filter_map(Result::transpose).collect()
}

type Asked = (CommandId, CommandKind, &'static str);

/// Which command an entry asks of the phone, of which kind, and who did.
fn asked_for(body: Body, item: &DeviceItem, standing: &[StandingRecord]) -> Option<Asked> {
    Some(match body {
        Body::OrderAccepted { effect: Effect::Commanded { command, kind, per_phone, .. }, .. } => {
            let own = per_phone.iter().find(|(e, ..)| *e == item.enrolment).map(|(_, c, _)| *c);
            (own.unwrap_or(command), kind, "hospital")
        }
        Body::OrderAccepted { effect: Effect::DeclarationsSet { command, .. }, .. } => {
            (command, CommandKind::DeclarativeManagement, "hospital")
        }
        Body::StandingUsed { standing: under, command, .. } => {
            let (kind, by) = under_standing(under, standing);
            (command, kind, by)
        }
        _ => return None,
    })
}

fn under_standing(under: OrderId, standing: &[StandingRecord]) -> (CommandKind, &'static str) {
    let template = standing.iter().find(|s| s.order == under).map(|s| &s.template);
    let by = if template.is_some_and(StandingTemplate::is_holders) { "holder" } else { "matron" };
    (template.map_or(CommandKind::InstallProfile, StandingTemplate::command), by)
}

fn command(at_ms: TimeMs, (command, kind, by): Asked, commands: &[CommandItem]) -> Done {
    let kept = commands.iter().find(|c| c.command == command);
    let request_type = kept.map_or_else(|| kind.request_type().to_owned(), |c| c.request_type.clone());
    Done {
        at_ms,
        what: "command",
        request_type: Some(request_type),
        state: kept.map(|c| c.state),
        compartments: Vec::new(),
        by,
    }
}

/// When sealed values of the phone were read, and of which kinds.
fn opening(
    at_ms: TimeMs,
    item: &DeviceItem,
    fields: Vec<(EnrolmentId, String)>,
    kinds: &BTreeMap<String, Compartment>,
) -> Done {
    let own = fields.into_iter().filter(|(e, _)| *e == item.enrolment);
    let of = |(_, name): (_, String)| kinds.get(&name).copied().unwrap_or(Compartment::Other);
    let mut compartments: Vec<Compartment> = own.map(of).collect();
    compartments.sort_unstable_by_key(|c| c.number());
    compartments.dedup();
    Done { at_ms, what: "opened", request_type: None, state: None, compartments, by: "hospital" }
}
