//! What an order does, in words.

use model::{AppSource, Command, CommandKind, Compartment, DataSubject, Setting, StandingTemplate};
use order::{ApiScope, OrderKind, key_id};

use crate::{count, device_group, limits, line, span, time};

/// What an order does, in a sentence.
#[must_use]
pub fn what(kind: &OrderKind) -> String {
    match kind {
        OrderKind::JoinFirst { key } => {
            format!("whoever signs becomes the first administrator, with key {}", key_id(&key.public))
        }
        OrderKind::AddPerson { key, role, group } => {
            let of = group.as_ref().map(|g| format!(" of {g}")).unwrap_or_default();
            format!("a person joins as {}{of}, with key {}", role.name(), key_id(&key.public))
        }
        OrderKind::AddKey { key } => {
            format!("one more key for the person who signs: {}", key_id(&key.public))
        }
        OrderKind::RemovePerson { person } => {
            format!("person {person} signs no more orders; their sessions and grants end")
        }
        OrderKind::Invite { group, valid_ms } => {
            format!("one phone may enrol into {group}; the link works for {}", span(*valid_ms))
        }
        OrderKind::WithdrawInvitation => "the invitation is taken back; its link stops working".into(),
        OrderKind::Open { fields } => format!("open {}", fields.join(", ")),
        OrderKind::Grant { records, searches, compartments, valid_ms, .. } => {
            grant(*records, *searches, compartments, &span(*valid_ms))
        }
        OrderKind::Command { command } => command_in_words(command),
        OrderKind::Recall { order } => {
            format!("call back order {order}: what it has not yet done to a phone is not done")
        }
        OrderKind::Reject { order } => {
            format!("reject order {order}, which waits for a signature: it is refused for good")
        }
        OrderKind::MakeApiKey { scopes, valid_ms, label, .. } => {
            let scopes: Vec<_> = scopes.iter().map(|s| scope_name(*s)).collect();
            format!(
                "make an API key '{label}' that reads {} (masks only) for {}",
                scopes.join(", "),
                span(*valid_ms)
            )
        }
        OrderKind::EndApiKey { hash } => format!("end the API key with hash {hash}"),
        OrderKind::EndSession { session } => {
            format!(
                "end the session with hash {} and its grant",
                session.to_string().get(..16).unwrap_or_default()
            )
        }
        OrderKind::SetServiceToken { service } => {
            format!("the token that phones get when they ask for {}'s", line(service))
        }
        OrderKind::MakeStanding { template, cap_an_hour, expires_at_ms } => {
            let does = match template {
                StandingTemplate::RenewCertificates { before_ms } => format!(
                    "asks phones by itself to renew their certificates, {} before they end, up to {} an hour",
                    span(*before_ms),
                    count((*cap_an_hour).into(), "phone")
                ),
                StandingTemplate::HolderLostMode => format!(
                    "puts a phone in lost mode when its holder asks with the code of the holder's card, up to {} an hour",
                    count((*cap_an_hour).into(), "phone")
                ),
                StandingTemplate::HolderRings => format!(
                    "makes a phone in lost mode ring when its holder asks with the code of the holder's card, up to {} an hour",
                    if *cap_an_hour == 1 { "once".to_owned() } else { format!("{cap_an_hour} times") }
                ),
                StandingTemplate::InstallSaved { install } => {
                    let home =
                        install.home.as_ref().map(|g| format!(" of home group {g}")).unwrap_or_default();
                    format!(
                        "installs '{}' (version {} of profile {} of the library, which is mild) by itself on phones{home} that are in the \
                         device group '{}' ({}) and lack it, also those that come later, up to {} an hour",
                        line(&install.identifier),
                        install.version,
                        install.profile,
                        line(install.name.as_str()),
                        install.device_group.to_string().get(..12).unwrap_or_default(),
                        count((*cap_an_hour).into(), "phone")
                    )
                }
            };
            format!("from now on the vault {does}, until {}", time(*expires_at_ms))
        }
        OrderKind::EndStanding { order } => {
            format!("end standing order {order}: the vault does nothing more by itself under it")
        }
        OrderKind::ConfirmRestore { manifest, made_at_ms, without } => format!(
            "confirm that this house was restored from the backup of {} (manifest {}), so that it opens and commands \
             again{}",
            time(*made_at_ms),
            manifest.to_string().get(..16).unwrap_or_default(),
            match without.as_slice() {
                [] => String::new(),
                people => format!(
                    "; removed again with it: {}",
                    people.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                ),
            }
        ),
        OrderKind::SetLimit { limit, value } => {
            format!("another number in the table of limits: {}", limits::limit(limit, *value))
        }
        OrderKind::ErasePerson { subject, despite_enrolled } => {
            let whose = match subject {
                DataSubject::Person(person) => format!("person {person}"),
                DataSubject::Holder(enrolment) => format!("the holder of phone {enrolment}"),
            };
            let despite = if *despite_enrolled {
                ", though the phone may still be under management: it can then not be erased by order"
            } else {
                ""
            };
            format!("ERASE what the ledger keeps of {whose}, for good{despite}")
        }
        OrderKind::RotateKeys { keys } => {
            let names: Vec<_> = keys.iter().map(|k| k.name()).collect();
            format!(
                "make these keys of the vault's anew: {}; what is under the old ones is sealed again, and then they are \
                 destroyed",
                names.join(", ")
            )
        }
        OrderKind::AssumeBreach { reissues_an_hour } => format!(
            "ASSUME A BREACH: every key of the vault's is made anew; whatever was signed before counts no more; sessions, \
             API keys, open invitations, standing orders, and all people's keys but those that sign this END; phones get \
             new certificates as they come, {} an hour",
            count((*reissues_an_hour).into(), "phone")
        ),
        OrderKind::EndOlderCa { before } => format!(
            "END the CAs before that of epoch {before}: a phone that has not changed to a certificate of the newest one is let \
             in no more and has to be invited again"
        ),
        OrderKind::EndKey { key } => format!("the key {key} of the person who signs, signs no more"),
        OrderKind::SaveDeviceGroup { group, replaces, name, definition } => {
            let how = if replaces.is_some() { "change" } else { "make" };
            format!(
                "{how} the device group '{}' ({}): {}. No phone is told anything",
                line(name.as_str()),
                group.to_string().get(..12).unwrap_or_default(),
                device_group::definition(definition)
            )
        }
        OrderKind::EndDeviceGroup { group } => {
            format!("end the device group {group}; its phones stay as they are")
        }
        OrderKind::SaveProfile { profile } => {
            format!(
                "keep the profile given in the library, as the next version of profile {profile}; no phone is told"
            )
        }
        OrderKind::EndProfile { profile } => {
            format!(
                "take profile {profile} out of the library for good: it is not installed any more, and its identifier is not used \
                 again; phones keep what they have"
            )
        }
        OrderKind::InstallSaved { profile, version, identifier, erasing, .. } => {
            let harm = if *erasing { ", which COUNTS AS ERASURE" } else { "" };
            format!(
                "install '{}' (version {version} of profile {profile} of the library){harm}",
                line(identifier)
            )
        }
        OrderKind::HolderCards => {
            "make a new holder's card for each phone; the card that its holder has now is void".into()
        }
        OrderKind::SetDeclarations { set } => {
            format!("replace the set of declarations '{set}': what it held before is taken away")
        }
    }
}

fn grant(records: u32, searches: u32, compartments: &[Compartment], life: &str) -> String {
    if records == 0 && searches == 0 {
        return format!("a session for {life} that reads masks and opens nothing");
    }
    let names: Vec<_> = compartments.iter().map(|c| c.name()).collect();
    let of = if names.is_empty() { String::new() } else { format!(" of {}", names.join(", ")) };
    format!(
        "a session for {life} that opens up to {}{of} and makes up to {}",
        count(records.into(), "record"),
        if searches == 1 { "1 search".into() } else { format!("{searches} searches") },
    )
}

/// A scope's word.
#[must_use]
pub fn scope_name(scope: ApiScope) -> &'static str {
    match scope {
        ApiScope::Devices => "devices",
        ApiScope::Commands => "commands",
        ApiScope::Ledger => "ledger",
        ApiScope::Metrics => "metrics",
    }
}

fn command_in_words(command: &Command) -> String {
    let text = match command {
        Command::InstallProfile => "install the profile given",
        Command::RemoveProfile { identifier } => {
            return format!("remove the profile '{identifier}' (RemoveProfile)");
        }
        Command::DeviceLock => "lock the screen",
        Command::ClearPasscode => "remove the passcode",
        Command::EraseDevice { preserve_data_plan, disallow_proximity_setup } => {
            let plan = if *preserve_data_plan { ", keep the eSIM" } else { "" };
            let setup = if *disallow_proximity_setup { ", no setup by another device near it" } else { "" };
            return format!("ERASE EVERYTHING on the phone{plan}{setup} (EraseDevice)");
        }
        Command::EnableLostMode => "lost mode on: the phone shows the message and nothing else",
        Command::DisableLostMode => "lost mode off",
        Command::DeviceLocation => "ask where the phone is",
        Command::PlayLostModeSound => "make the phone ring",
        Command::RestartDevice { notify_user } => {
            return format!(
                "restart{} (RestartDevice)",
                if *notify_user { ", asking its user first" } else { "" }
            );
        }
        Command::ShutDownDevice => "switch the phone off",
        Command::DeclarativeManagement => "have the phone look for new declarations",
        Command::Settings { items } => {
            let items: Vec<_> = items.iter().map(setting_in_words).collect();
            return format!("settings: {} (Settings)", items.join(", "));
        }
        Command::InstallApplication { identifier, source, remove_with_management, no_backup, take_over } => {
            let from = match source {
                AppSource::Manifest { url } => format!("by the manifest {}", line(url)),
                AppSource::Store { id, .. } => format!("from the App Store, number {id}"),
            };
            let how: Vec<_> = [
                (*take_over, "take it over if the person installed it"),
                (*remove_with_management, "remove it with the management"),
                (*no_backup, "keep its data out of backups"),
            ]
            .into_iter()
            .filter_map(|(is, what)| is.then_some(what))
            .collect();
            let how = if how.is_empty() { String::new() } else { format!(", {}", how.join(", ")) };
            return format!("install the app {} {from}{how} (InstallApplication)", line(identifier));
        }
        Command::RemoveApplication { identifier } => {
            return format!("REMOVE the app {} with its data (RemoveApplication)", line(identifier));
        }
        Command::ClearActivationLockBypassCode => "another Activation Lock bypass code",
        Command::ManagedApplicationConfiguration { identifiers } => {
            return about_apps("ask for the settings of", identifiers, command);
        }
        Command::ManagedApplicationFeedback { identifiers, delete_feedback } => {
            let what = if *delete_feedback {
                "ask for and delete the feedback of"
            } else {
                "ask for the feedback of"
            };
            return about_apps(what, identifiers, command);
        }
        Command::ManagedApplicationAttributes { identifiers } => {
            return about_apps("ask for the attributes of", identifiers, command);
        }
        Command::ValidateApplications { identifiers } => {
            return about_apps("check the provisioning profiles of", identifiers, command);
        }
        Command::Raw { request_type } => {
            return format!("the raw command given ({})", line(request_type));
        }
    };
    format!("{text} ({})", command.kind().request_type())
}

fn about_apps(what: &str, identifiers: &[String], command: &Command) -> String {
    let apps = match identifiers {
        [] => "all managed apps".to_owned(),
        some => some.iter().map(|i| line(i)).collect::<Vec<_>>().join(", "),
    };
    format!("{what} {apps} ({})", command.request_type())
}

fn setting_in_words(item: &Setting) -> String {
    let switch = |name: &str, enabled: bool| format!("{name} {}", if enabled { "on" } else { "off" });
    match item {
        Setting::Bluetooth { enabled } => switch("Bluetooth", *enabled),
        Setting::DataRoaming { enabled } => switch("data roaming", *enabled),
        Setting::VoiceRoaming { enabled } => switch("voice roaming", *enabled),
        Setting::PersonalHotspot { enabled } => switch("personal hotspot", *enabled),
        Setting::DeviceName => "another name for the device".into(),
        Setting::TimeZone { name } => format!("time zone {name}"),
        Setting::ApplicationConfiguration { identifier } => {
            format!("the settings of the app {}", line(identifier))
        }
        Setting::ApplicationAttributes { identifier, attributes } => {
            let mut what = Vec::new();
            what.extend(attributes.vpn_uuid.as_ref().map(|uuid| format!("VPN {}", line(uuid))));
            what.extend(attributes.removable.map(|b| format!("removable {b}")));
            what.extend(attributes.tap_to_pay_screen_lock.map(|b| format!("screen lock after payment {b}")));
            let what = if what.is_empty() { "none".to_owned() } else { what.join(", ") };
            format!("the attributes of the app {}: {what}", line(identifier))
        }
    }
}

/// Whether an acknowledgement is not yet the end of it.
#[must_use]
pub fn is_confirmed_later(kind: CommandKind) -> bool {
    matches!(kind, CommandKind::InstallApplication | CommandKind::RemoveApplication)
}

/// Whether the command waits for the phone's owner to be there at all.
#[must_use]
pub fn is_for_lost_phones(kind: CommandKind) -> bool {
    matches!(
        kind,
        CommandKind::DeviceLocation | CommandKind::PlayLostModeSound | CommandKind::DisableLostMode
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Digest, Group, OrderId, PersonId, Role};
    use order::Ed25519Secret;

    #[test]
    fn every_kind_of_order_has_its_words() {
        let key = Ed25519Secret::from_seed([2; 32]).unwrap().person_key();
        let day = model::clock::DAY_MS;
        let hash = Digest([3; 32]);
        let kinds = vec![
            OrderKind::JoinFirst { key: key.clone() },
            OrderKind::AddPerson {
                key: key.clone(),
                role: Role::WardManager,
                group: Group::new("ward-7").ok(),
            },
            OrderKind::AddKey { key },
            OrderKind::RemovePerson { person: PersonId([4; 16]) },
            OrderKind::Invite { group: Group::new("ward-7").unwrap(), valid_ms: 7 * day },
            OrderKind::WithdrawInvitation,
            OrderKind::Open { fields: vec!["IMEI".into(), "PhoneNumber".into()] },
            OrderKind::Grant {
                session: hash,
                records: 0,
                searches: 0,
                compartments: vec![],
                valid_ms: day / 3,
            },
            OrderKind::Grant {
                session: hash,
                records: 50,
                searches: 1,
                compartments: vec![Compartment::Identity],
                valid_ms: day / 2,
            },
            OrderKind::Recall { order: OrderId([5; 16]) },
            OrderKind::Reject { order: OrderId([5; 16]) },
            OrderKind::MakeApiKey {
                hash,
                scopes: vec![ApiScope::Devices, ApiScope::Metrics],
                valid_ms: 90 * day,
                label: "dashboard".into(),
            },
            OrderKind::EndApiKey { hash },
            OrderKind::EndSession { session: hash },
            OrderKind::EndStanding { order: OrderId([6; 16]) },
            OrderKind::MakeStanding {
                template: StandingTemplate::HolderLostMode,
                cap_an_hour: 20,
                expires_at_ms: 0,
            },
            OrderKind::MakeStanding {
                template: StandingTemplate::InstallSaved {
                    install: Box::new(model::StandingInstall {
                        profile: model::ProfileId([9; 16]),
                        version: 3,
                        identifier: "org.example.wifi".into(),
                        shown: model::Digest([9; 32]),
                        device_group: model::DeviceGroupId([9; 16]),
                        name: model::DeviceGroupName::new("Theatre 4").unwrap(),
                        home: Some(model::Group::new("ward-7").unwrap()),
                    }),
                },
                cap_an_hour: 100,
                expires_at_ms: 0,
            },
            OrderKind::MakeStanding {
                template: StandingTemplate::HolderRings,
                cap_an_hour: 100,
                expires_at_ms: 0,
            },
            OrderKind::HolderCards,
            OrderKind::ConfirmRestore { manifest: hash, made_at_ms: 0, without: vec![PersonId([7; 16])] },
            OrderKind::SetDeclarations { set: model::SetName::new("ward-policy").unwrap() },
            OrderKind::SetServiceToken { service: "com.apple.maid".into() },
            OrderKind::SetLimit { limit: model::Limit::CoolingOff { duty: model::Duty::Erase }, value: 7200 },
            OrderKind::RotateKeys { keys: vec![model::KeyName::Contact, model::KeyName::Index] },
            OrderKind::AssumeBreach { reissues_an_hour: 500 },
            OrderKind::EndKey { key: model::KeyId([8; 16]) },
            OrderKind::EndOlderCa { before: 3 },
            OrderKind::SaveDeviceGroup {
                group: model::DeviceGroupId([9; 16]),
                replaces: None,
                name: model::DeviceGroupName::new("Old systems").unwrap(),
                definition: model::DeviceGroupDefinition::Rule(device_group::tests::every_condition()),
            },
            OrderKind::SaveDeviceGroup {
                group: model::DeviceGroupId([9; 16]),
                replaces: Some(OrderId([5; 16])),
                name: model::DeviceGroupName::new("Theatre 4").unwrap(),
                definition: model::DeviceGroupDefinition::List,
            },
            OrderKind::EndDeviceGroup { group: model::DeviceGroupId([9; 16]) },
            OrderKind::SaveProfile { profile: model::ProfileId([9; 16]) },
            OrderKind::EndProfile { profile: model::ProfileId([9; 16]) },
            OrderKind::InstallSaved {
                profile: model::ProfileId([9; 16]),
                version: 3,
                identifier: "org.example.wifi".into(),
                erasing: true,
                shown: model::Digest([9; 32]),
            },
            OrderKind::ErasePerson {
                subject: DataSubject::Holder(model::EnrolmentId([7; 16])),
                despite_enrolled: true,
            },
            OrderKind::Command {
                command: Command::InstallApplication {
                    identifier: "org.example.pager".into(),
                    source: AppSource::Manifest { url: "https://apps.example.org/pager.plist".into() },
                    remove_with_management: true,
                    no_backup: false,
                    take_over: false,
                },
            },
            OrderKind::Command {
                command: Command::RemoveApplication { identifier: "org.example.pager".into() },
            },
            OrderKind::Command {
                command: Command::ManagedApplicationFeedback {
                    identifiers: vec!["org.example.pager".into(), "org.example.rota".into()],
                    delete_feedback: true,
                },
            },
            OrderKind::Command { command: Command::ValidateApplications { identifiers: vec![] } },
            OrderKind::Command { command: Command::Raw { request_type: "StopMirroring".into() } },
            OrderKind::Command { command: Command::InstallProfile },
            OrderKind::Command { command: Command::RemoveProfile { identifier: "org.example.wifi".into() } },
            OrderKind::Command {
                command: Command::EraseDevice { preserve_data_plan: true, disallow_proximity_setup: true },
            },
            OrderKind::Command {
                command: Command::Settings {
                    items: vec![
                        Setting::Bluetooth { enabled: true },
                        Setting::TimeZone { name: "Europe/London".into() },
                        Setting::DeviceName,
                        Setting::ApplicationConfiguration { identifier: "org.example.pager".into() },
                        Setting::ApplicationAttributes {
                            identifier: "org.example.pager".into(),
                            attributes: model::AppAttributes {
                                removable: Some(false),
                                ..model::AppAttributes::default()
                            },
                        },
                    ],
                },
            },
        ];
        let text: Vec<_> = kinds.iter().map(|k| format!("{}: {}", k.name(), what(k))).collect();
        insta::assert_snapshot!(text.join("\n"));
    }
}
