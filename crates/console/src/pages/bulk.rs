//! What can be done with several phones of the list at once.

use maud::{Markup, html};
use model::{Command as Ordered, Role};
use order::OrderKind;

use super::phone::{Action, may, sealed_input};
use crate::guard::Visitor;

/// Whether the list has boxes to tick.
pub(super) fn may_any(v: &Visitor) -> bool {
    v.role().is_some_and(may_lock)
}

fn command(role: Role, command: Ordered, erasing: bool) -> bool {
    may(role, &OrderKind::Command { command }, erasing)
}

fn may_lock(role: Role) -> bool {
    command(role, Ordered::DeviceLock, false)
}

/// The actions, for the phones that are ticked.
pub(super) fn actions(v: &Visitor) -> Markup {
    let Some(role) = v.role().filter(|r| may_lock(*r)) else { return html! {} };
    let erase = Ordered::EraseDevice { preserve_data_plan: false, disallow_proximity_setup: false };
    html! {
        section.app-actions aria-labelledby="h-bulk" {
            h2.nhsuk-heading-m #h-bulk { "With the ticked phones" }
            p.nhsuk-hint data-ticks="" role="status" { "Tick phones in the list first." }
            (Action {
                id: "lock", title: "Lock their screens", order: r#"{"kind":"lock"}"#, sealed: true, grave: false,
                says: "The screens lock at once. Their holders open them with their passcodes and go on working.",
                fields: sealed_input("lock", "message", "Message on the screens (if you like)", false), button: "Lock",
            }.markup(""))
            @if command(role, Ordered::EnableLostMode, false) {
                (Action {
                    id: "lost-mode", title: "Lost mode", order: r#"{"kind":"lost_mode"}"#, sealed: true, grave: false,
                    says: "The phones show your message and nothing else until lost mode is ended. Supervised phones only.",
                    fields: html! {
                        (sealed_input("lost-mode", "message", "Message on the screens", true))
                        (sealed_input("lost-mode", "phone_number", "Number to call (if you like)", false))
                    },
                    button: "Turn lost mode on",
                }.markup(""))
            }
            @if command(role, Ordered::RestartDevice { notify_user: true }, false) {
                (Action {
                    id: "restart", title: "Restart", order: r#"{"kind":"restart","ask":true}"#, sealed: false, grave: false,
                    says: "Their holders are asked first. What is not saved in an app may be lost. Supervised phones only.",
                    fields: html! {}, button: "Restart",
                }.markup(""))
            }
            @if command(role, erase, true) {
                (Action {
                    id: "erase", title: "Erase everything", order: r#"{"kind":"erase"}"#, sealed: false, grave: true,
                    says: "Everything on the phones is deleted for good, and they leave management. It waits for a second \
                           administrator, then cools off. A single phone is erased from its own page, by its holder's name.",
                    fields: html! {
                        .nhsuk-form-group { .nhsuk-checkboxes { .nhsuk-checkboxes__item {
                            input.nhsuk-checkboxes__input #erase-keep_esim name="keep_esim" type="checkbox" checked;
                            label.nhsuk-label.nhsuk-checkboxes__label for="erase-keep_esim" { "Keep the eSIM" }
                        } } }
                    },
                    button: "Erase these phones",
                }.markup(""))
            }
        }
    }
}
