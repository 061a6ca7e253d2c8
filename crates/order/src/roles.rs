//! Who may sign what: the closed table. The vault asks it for every order; nobody else decides.
//!
//! Scope: a role is either held to its holder's group or reaches every phone. How much of it, how many sign
//! and how long it cools off: [`crate::limits`].

use model::{AppSource, Command, CommandKind, Role, Setting};

use crate::OrderKind;

/// What a role may do with one kind of order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Held to the phones of the signer's own group.
    pub own_group_only: bool,
    /// The most phones one order may name.
    pub most_targets: usize,
}

/// The most phones that an order of the service desk's names.
const DESK_TARGETS: usize = 10;
/// The most phones for a command that stops people working (lost mode, passcodes, switching off),
/// whoever signs.
const DISRUPTIVE_TARGETS: usize = 100;
/// The most phones that one order makes new holder's cards for: a ward's, printed at once.
const CARDS_TARGETS: usize = 100;
/// The most phones that one order erases, however many sign.
const ERASED_TARGETS: usize = 100;

const EVERYWHERE: Rule = Rule { own_group_only: false, most_targets: crate::Order::MOST_TARGETS };
const DESK: Rule = Rule { most_targets: DESK_TARGETS, ..EVERYWHERE };
const OWN_GROUP: Rule = Rule { own_group_only: true, ..DESK };

/// The rule for `role` signing `kind`; `erasing` is the vault's own judgement of the content.
/// `None`: not allowed.
#[must_use]
pub fn rule(role: Role, kind: &OrderKind, erasing: bool) -> Option<Rule> {
    use Role::{Administrator, Auditor, Engineer, ServiceDesk, WardManager};
    match kind {
        // Signed by the one-time token's key, before any role exists.
        OrderKind::JoinFirst { .. } => None,
        OrderKind::AddPerson { .. }
        | OrderKind::RemovePerson { .. }
        | OrderKind::MakeApiKey { .. }
        | OrderKind::EndApiKey { .. }
        | OrderKind::SetServiceToken { .. }
        | OrderKind::MakeStanding { .. }
        | OrderKind::SetLimit { .. }
        | OrderKind::EndStanding { .. }
        | OrderKind::Reject { .. }
        | OrderKind::ConfirmRestore { .. }
        | OrderKind::RotateKeys { .. }
        | OrderKind::AssumeBreach { .. }
        | OrderKind::EndOlderCa { .. }
        | OrderKind::ErasePerson { .. } => (role == Administrator).then_some(EVERYWHERE),
        // For oneself: another key, a session, its end.
        OrderKind::AddKey { .. } | OrderKind::EndKey { .. } | OrderKind::EndSession { .. } => {
            Some(EVERYWHERE)
        }
        OrderKind::Grant { records, searches, .. } => match role {
            Auditor => (*records == 0 && *searches == 0).then_some(EVERYWHERE),
            WardManager => Some(OWN_GROUP),
            _ => Some(EVERYWHERE),
        },
        OrderKind::Invite { .. } | OrderKind::WithdrawInvitation | OrderKind::Open { .. } => match role {
            Administrator | Engineer | ServiceDesk => Some(EVERYWHERE),
            WardManager => Some(OWN_GROUP),
            Auditor => None,
        },
        // As with an invitation, which brings a card too.
        OrderKind::HolderCards => match role {
            Administrator | Engineer | ServiceDesk => {
                Some(Rule { most_targets: CARDS_TARGETS, ..EVERYWHERE })
            }
            WardManager => Some(Rule { most_targets: CARDS_TARGETS, ..OWN_GROUP }),
            Auditor => None,
        },
        OrderKind::Recall { .. } => match role {
            Administrator | Engineer => Some(EVERYWHERE),
            ServiceDesk => Some(EVERYWHERE),
            WardManager => Some(OWN_GROUP),
            Auditor => None,
        },
        // It reaches no phone, but people choose by it.
        OrderKind::SaveDeviceGroup { .. } | OrderKind::EndDeviceGroup { .. } => match role {
            Administrator | Engineer => Some(EVERYWHERE),
            ServiceDesk | WardManager | Auditor => None,
        },
        // What is taken away with a set counts as erasure (the vault's judgement), one phone at a time.
        OrderKind::SetDeclarations { .. } => match role {
            Administrator | Engineer if erasing => Some(Rule { most_targets: 1, ..EVERYWHERE }),
            Administrator | Engineer => Some(EVERYWHERE),
            ServiceDesk | WardManager | Auditor => None,
        },
        OrderKind::SaveProfile { .. } | OrderKind::EndProfile { .. } => {
            matches!(role, Administrator | Engineer).then_some(EVERYWHERE)
        }
        // What is installed is the same, wherever it comes from.
        OrderKind::InstallSaved { .. } => {
            rule(role, &OrderKind::Command { command: Command::InstallProfile }, erasing)
        }
        OrderKind::Command { command } => match role {
            // By several people, and after a cooling-off (`limits`).
            Administrator | Engineer if erasing => Some(Rule { most_targets: ERASED_TARGETS, ..EVERYWHERE }),
            Administrator | Engineer if is_disruptive(command) => {
                Some(Rule { most_targets: DISRUPTIVE_TARGETS, ..EVERYWHERE })
            }
            Administrator | Engineer => Some(EVERYWHERE),
            _ if erasing => None,
            ServiceDesk => service_desk(command).then_some(DESK),
            WardManager => ward_manager(command.kind()).then_some(OWN_GROUP),
            Auditor => None,
        },
    }
}

/// Commands after which the holder can't work until someone helps; and those that put code or settings of
/// someone's choice on a phone, where one stolen signature must not reach the fleet in one order.
fn is_disruptive(command: &Command) -> bool {
    match command {
        Command::EnableLostMode
        | Command::ShutDownDevice
        | Command::ClearPasscode
        | Command::InstallApplication { .. }
        | Command::ClearActivationLockBypassCode
        | Command::Raw { .. } => true,
        Command::Settings { items } => items.iter().any(|i| {
            matches!(i, Setting::ApplicationConfiguration { .. } | Setting::ApplicationAttributes { .. })
        }),
        _ => false,
    }
}

fn service_desk(command: &Command) -> bool {
    match command {
        // From the App Store alone: an in-house app is code of whoever keeps its manifest.
        Command::InstallApplication { source, .. } => matches!(source, AppSource::Store { .. }),
        _ => {
            ward_manager(command.kind())
                || matches!(
                    command.kind(),
                    CommandKind::ClearPasscode
                        | CommandKind::RestartDevice
                        | CommandKind::InstallProfile
                        | CommandKind::ValidateApplications
                        | CommandKind::ManagedApplicationAttributes
                )
        }
    }
}

fn ward_manager(kind: CommandKind) -> bool {
    matches!(
        kind,
        CommandKind::DeviceLock
            | CommandKind::EnableLostMode
            | CommandKind::DisableLostMode
            | CommandKind::DeviceLocation
            | CommandKind::PlayLostModeSound
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn erase() -> OrderKind {
        let command = Command::EraseDevice { preserve_data_plan: false, disallow_proximity_setup: false };
        OrderKind::Command { command }
    }

    #[test]
    fn only_administrators_and_engineers_erase() {
        for role in Role::ALL {
            let may = matches!(role, Role::Administrator | Role::Engineer);
            assert_eq!(rule(role, &erase(), true).is_some(), may, "{role:?}");
        }
    }

    #[test]
    fn only_administrators_and_engineers_set_declarations() {
        let kind = OrderKind::SetDeclarations { set: model::SetName::new("policy").unwrap() };
        for role in Role::ALL {
            let may = matches!(role, Role::Administrator | Role::Engineer);
            let most = |erasing| rule(role, &kind, erasing).map(|r| r.most_targets);
            assert_eq!(most(true), may.then_some(1), "{role:?}");
            assert_eq!(most(false), may.then_some(crate::Order::MOST_TARGETS), "{role:?}");
        }
    }

    #[test]
    fn only_administrators_and_engineers_save_and_end_device_groups() {
        let group = model::DeviceGroupId([1; 16]);
        let save = OrderKind::SaveDeviceGroup {
            group,
            replaces: None,
            name: model::DeviceGroupName::new("theatres").unwrap(),
            definition: model::DeviceGroupDefinition::List,
        };
        for kind in [save, OrderKind::EndDeviceGroup { group }] {
            for role in Role::ALL {
                let may = matches!(role, Role::Administrator | Role::Engineer);
                assert_eq!(rule(role, &kind, false).is_some(), may, "{role:?}");
            }
        }
    }

    #[test]
    fn the_service_desk_installs_no_profile_that_counts_as_erasure() {
        let install = OrderKind::Command { command: Command::InstallProfile };
        assert!(rule(Role::ServiceDesk, &install, false).is_some());
        assert!(rule(Role::ServiceDesk, &install, true).is_none());
    }

    #[test]
    fn the_library_is_administrators_and_engineers_to_change_and_a_saved_profile_installs_like_any_other() {
        let save = OrderKind::SaveProfile { profile: model::ProfileId([1; 16]) };
        let saved = OrderKind::InstallSaved {
            profile: model::ProfileId([1; 16]),
            version: 1,
            identifier: "org.example.wifi".into(),
            erasing: false,
            shown: model::Digest([1; 32]),
        };
        let given = OrderKind::Command { command: Command::InstallProfile };
        for role in Role::ALL {
            let may = matches!(role, Role::Administrator | Role::Engineer);
            assert_eq!(rule(role, &save, false).is_some(), may, "{role:?}");
            for erasing in [false, true] {
                assert_eq!(rule(role, &saved, erasing), rule(role, &given, erasing), "{role:?}");
            }
        }
    }

    #[test]
    fn an_order_that_stops_people_working_names_few_phones_whoever_signs() {
        let lost = OrderKind::Command { command: Command::EnableLostMode };
        let most = |role, kind: &OrderKind, erasing| rule(role, kind, erasing).map(|r| r.most_targets);
        assert_eq!(most(Role::Administrator, &lost, false), Some(100));
        assert_eq!(most(Role::ServiceDesk, &lost, false), Some(10));
        assert_eq!(most(Role::WardManager, &lost, false), Some(10));
        assert_eq!(most(Role::Engineer, &erase(), true), Some(100));
        for command in [Command::ClearPasscode, Command::ShutDownDevice] {
            let kind = OrderKind::Command { command };
            for role in Role::ALL {
                let few = if matches!(role, Role::Administrator | Role::Engineer) { 100 } else { 10 };
                assert!(most(role, &kind, false).is_none_or(|most| most <= few), "{role:?} {kind:?}");
            }
            assert_eq!(most(Role::Administrator, &kind, false), Some(100), "{kind:?}");
        }
    }

    #[test]
    fn the_service_desk_installs_apps_of_the_store_and_no_code_from_elsewhere() {
        let install = |source| {
            let command = Command::InstallApplication {
                identifier: "org.example.pager".into(),
                source,
                remove_with_management: true,
                no_backup: false,
                take_over: false,
            };
            OrderKind::Command { command }
        };
        let store = install(AppSource::Store { id: 1, licensed: true });
        let manifest = install(AppSource::Manifest { url: "https://apps.example.org/m.plist".into() });
        assert!(rule(Role::ServiceDesk, &store, false).is_some());
        assert!(rule(Role::ServiceDesk, &manifest, false).is_none());
        assert!(rule(Role::WardManager, &store, false).is_none());
        assert_eq!(rule(Role::Engineer, &manifest, false).map(|r| r.most_targets), Some(100));
    }

    #[test]
    fn raw_commands_and_app_settings_are_for_administrators_and_engineers_and_few_phones() {
        let raw = OrderKind::Command { command: Command::Raw { request_type: "StopMirroring".into() } };
        let items = vec![Setting::ApplicationConfiguration { identifier: "org.example.pager".into() }];
        let settings = OrderKind::Command { command: Command::Settings { items } };
        for kind in [&raw, &settings] {
            for role in Role::ALL {
                let may = matches!(role, Role::Administrator | Role::Engineer);
                let most = rule(role, kind, false).map(|r| r.most_targets);
                assert_eq!(most, may.then_some(100), "{role:?}");
            }
        }
    }

    #[test]
    fn an_auditor_signs_in_to_read_masks_and_nothing_else() {
        let grant = |records| OrderKind::Grant {
            session: model::Digest([0; 32]),
            records,
            searches: 0,
            compartments: vec![],
            valid_ms: 1,
        };
        assert!(rule(Role::Auditor, &grant(0), false).is_some());
        assert!(rule(Role::Auditor, &grant(1), false).is_none());
        assert!(rule(Role::Auditor, &OrderKind::Open { fields: vec![] }, false).is_none());
    }

    #[test]
    fn who_may_invite_may_make_holders_cards_of_a_ward_at_once() {
        let invite = OrderKind::Invite { group: model::Group::new("ward-7").unwrap(), valid_ms: 1 };
        for role in Role::ALL {
            let (may, cards) = (rule(role, &invite, false), rule(role, &OrderKind::HolderCards, false));
            assert_eq!(cards.map(|r| r.own_group_only), may.map(|r| r.own_group_only), "{role:?}");
            assert_eq!(cards.map(|r| r.most_targets), may.map(|_| 100), "{role:?}");
        }
    }

    #[test]
    fn a_ward_manager_is_held_to_the_own_group() {
        let lock = OrderKind::Command { command: Command::DeviceLock };
        assert!(rule(Role::WardManager, &lock, false).is_some_and(|r| r.own_group_only));
    }
}
