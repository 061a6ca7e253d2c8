//! What a phone should hold of declarations, and what it says it holds.

use std::sync::Arc;

use axum::extract::Path;
use axum::{Extension, Json};
use model::{Digest, OrderId};
use serde::Serialize;
use store::{DeclarationState, StatusError, StoreError, View, WantedDeclaration};
use utoipa::ToSchema;

use super::access::{Devices, Permit};
use super::devices::named;
use super::problem::{Problem, ProblemBody};
use crate::declarations::STATUS;
use crate::room::Room;

/// How a declaration stands between what was ordered and what the phone says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// The phone has said nothing of this content yet.
    Waiting,
    /// The phone holds this very content and says that it is valid and, if it was put into force, active.
    Confirmed,
    /// The phone holds it and has not looked at it, or not put it into force.
    NotActive,
    /// The phone holds it and can't use it; the reasons say why.
    Invalid,
}

/// A declaration that the phone should hold.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Declaration {
    /// The set it belongs to.
    set: String,
    /// The order that set it.
    #[schema(value_type = String)]
    order: OrderId,
    /// When.
    set_at_ms: i64,
    /// activation, asset, configuration or management.
    kind: String,
    identifier: String,
    #[serde(rename = "type")]
    declared_type: String,
    /// Its ServerToken.
    #[schema(value_type = String)]
    token: Digest,
    /// An activation puts it into force.
    in_force: bool,
    standing: Standing,
    /// Apple's codes, when the phone gives any.
    reasons: Vec<String>,
    /// When the phone last said so.
    said_at_ms: Option<i64>,
}

/// A declaration that the phone holds although no set has it any more.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeftOver {
    kind: String,
    identifier: String,
    said_at_ms: i64,
}

/// A status item that the phone can't report.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ItemError {
    item: String,
    reasons: Vec<String>,
}

/// A phone's declarations.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeclarationsView {
    declarations: Vec<Declaration>,
    left_over: Vec<LeftOver>,
    errors: Vec<ItemError>,
    /// When the phone last sent a status report.
    status_at_ms: Option<i64>,
}

fn standing(wanted: &WantedDeclaration, state: Option<&DeclarationState>) -> Standing {
    match state {
        Some(s) if s.token != wanted.item.token.0 => Standing::Waiting,
        Some(s) if s.valid == 1 => Standing::Invalid,
        Some(s) if s.valid == 2 && (s.active || !wanted.item.in_force) => Standing::Confirmed,
        Some(_) => Standing::NotActive,
        None => Standing::Waiting,
    }
}

fn view(v: &View<'_>, slot: store::Slot) -> Result<DeclarationsView, StoreError> {
    let states = v.declaration_states(slot)?;
    let wanted = v.wanted_declarations(slot)?;
    let is = |s: &DeclarationState, w: &WantedDeclaration| {
        s.kind == w.item.kind && s.identifier == w.item.identifier
    };
    let left_over = states.iter().filter(|s| wanted.iter().all(|w| !is(s, w))).map(|s| LeftOver {
        kind: s.kind.clone(),
        identifier: s.identifier.clone(),
        said_at_ms: s.at_ms,
    });
    let left_over = left_over.collect();
    let declarations = wanted.into_iter().map(|w| {
        let state = states.iter().find(|s| is(s, &w));
        let ours = state.filter(|s| s.token == w.item.token.0);
        Declaration {
            standing: standing(&w, state),
            reasons: ours.map(|s| s.reasons.clone()).unwrap_or_default(),
            said_at_ms: ours.map(|s| s.at_ms),
            set: w.set,
            order: w.order,
            set_at_ms: w.at_ms,
            kind: w.item.kind,
            identifier: w.item.identifier,
            declared_type: w.item.declared_type,
            token: w.item.token,
            in_force: w.item.in_force,
        }
    });
    let error = |e: StatusError| ItemError { item: e.item, reasons: e.reasons };
    Ok(DeclarationsView {
        declarations: declarations.collect(),
        left_over,
        errors: v.status_errors(slot)?.into_iter().map(error).collect(),
        status_at_ms: v.reports(slot)?.into_iter().find(|r| r.kind == STATUS).map(|r| r.at_ms),
    })
}

#[utoipa::path(get, path = "/api/v1/devices/{enrolment}/declarations", params(
    ("enrolment" = String, Path, description = "an enrolment id, or its first 6 digits or more"),
), responses(
    (status = 200, body = DeclarationsView),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn get_declarations(
    permit: Permit<Devices>,
    Extension(room): Extension<Arc<Room>>,
    Path(enrolment): Path<String>,
) -> Result<Json<DeclarationsView>, Problem> {
    let item = named(&room, permit.actor(), &enrolment).await?;
    Ok(Json(room.store.read(move |v| view(v, item.slot)).await?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::SetItem;

    #[test]
    fn only_what_the_phone_says_of_this_very_content_counts_as_confirmed() {
        let wanted = |in_force| WantedDeclaration {
            set: "policy".into(),
            order: OrderId([1; 16]),
            at_ms: 1,
            item: SetItem {
                kind: "configuration".into(),
                identifier: "a".into(),
                declared_type: "com.apple.configuration.management.test".into(),
                token: Digest([1; 32]),
                digest: Digest([2; 32]),
                in_force,
            },
        };
        let state = |token: u8, active, valid| DeclarationState {
            kind: "configuration".into(),
            identifier: "a".into(),
            token: vec![token; 32],
            active,
            valid,
            reasons: vec![],
            at_ms: 2,
        };
        for (in_force, said, is) in [
            (true, None, Standing::Waiting),
            (true, Some(state(9, true, 2)), Standing::Waiting),
            (true, Some(state(1, true, 2)), Standing::Confirmed),
            (true, Some(state(1, false, 2)), Standing::NotActive),
            (false, Some(state(1, false, 2)), Standing::Confirmed),
            (true, Some(state(1, true, 0)), Standing::NotActive),
            (true, Some(state(1, false, 1)), Standing::Invalid),
            (true, Some(state(9, false, 1)), Standing::Waiting),
        ] {
            assert_eq!(standing(&wanted(in_force), said.as_ref()), is, "{said:?}");
        }
    }
}
