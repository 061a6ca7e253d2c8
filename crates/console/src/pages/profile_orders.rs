//! What is done with a profile of the library: installed on phones that are ticked or on those of a device group that lack it,
//! and removed from phones again.

use std::collections::HashMap;

use maud::{Markup, html};
use model::{Change, Command, DeviceGroupId, Digest, Duty, ProfileId};
use order::limits::Overview;
use order::{Order, OrderKind};
use serde_json::{Value, json};

use super::device_groups::{self, as_of};
use super::parts::{in_ascii, line, why};
use super::phone::{may, sealed_input};
use crate::api::{Api, Failure, path, sentence};
use crate::guard::Visitor;
use crate::layout::{shown, status_line};
use crate::shapes::{
    Device, DeviceGroup, MembersCounted, Page, ProfileMembers, ProfilePhone, ProfileVersion, VersionDetail,
};

/// Phones that are offered to tick; for more there is the command line. One order erases on no more.
const OFFERED: usize = 100;
/// Older versions whose differences from the newest are told.
const COMPARED: usize = 4;

/// A profile, and what the visitor looks at of it.
pub(super) struct Of<'a> {
    pub(super) id: ProfileId,
    pub(super) newest: &'a ProfileVersion,
    pub(super) told: &'a VersionDetail,
    /// It was taken out of the library.
    pub(super) ended: bool,
}

/// All that the sections are made of.
pub(super) struct Orders {
    groups: Vec<DeviceGroup>,
    chosen: Option<Chosen>,
    /// Phones to tick, where none is chosen.
    offered: Option<Page<Device>>,
    limits: Option<Overview>,
}

/// A device group that was chosen.
struct Chosen {
    group: DeviceGroupId,
    stand: Stand,
}

struct Stand {
    members: ProfileMembers,
    /// Versions that phones have, with what is different in the newest.
    changes: Vec<(u32, Vec<Change>)>,
    /// What is known of the phones to tick.
    devices: HashMap<String, Device>,
}

fn installs(v: &Visitor, erasing: bool) -> bool {
    let kind = OrderKind::InstallSaved {
        profile: ProfileId([0; 16]),
        version: 1,
        identifier: String::new(),
        erasing,
        shown: Digest([0; 32]),
    };
    v.role().is_some_and(|r| may(r, &kind, erasing))
}

fn removes(v: &Visitor) -> bool {
    let command = Command::RemoveProfile { identifier: String::new() };
    v.role().is_some_and(|r| may(r, &OrderKind::Command { command }, true))
}

/// How the phones of the device group that the address names stand with a profile.
pub(super) async fn members(
    api: &Api,
    v: &Visitor,
    profile: ProfileId,
    group: Option<&str>,
) -> Result<Option<ProfileMembers>, Failure> {
    let Some(group) = group.filter(|g| !g.is_empty()) else { return Ok(None) };
    let group: DeviceGroupId = group.parse().map_err(|_| Failure::not_found("device group"))?;
    api.get(&format!("/api/v1/profiles/{profile}/device-groups/{group}"), &v.bearer).await.map(Some)
}

impl Orders {
    /// Asks for it. `members`: of the device group that the address names.
    pub(super) async fn of(
        api: &Api,
        v: &Visitor,
        of: &Of<'_>,
        members: Option<ProfileMembers>,
    ) -> Result<Self, Failure> {
        let groups = device_groups::all(api, v, false).await?;
        let chosen = match members {
            Some(members) => {
                Some(Chosen { group: members.device_group, stand: Stand::of(api, v, of, members).await? })
            }
            None => None,
        };
        let offered = if chosen.is_none() && of.told.content && installs(v, of.newest.erasing) {
            let query = [("state", Some("enrolled".to_owned())), ("limit", Some(OFFERED.to_string()))];
            Some(api.get(&path("/api/v1/devices", &query), &v.bearer).await?)
        } else {
            None
        };
        let limits = match chosen {
            Some(_) if v.role().is_some() => Some(api.get("/api/v1/roles", &v.bearer).await?),
            _ => None,
        };
        Ok(Self { groups, chosen, offered, limits })
    }

    /// How the phones of the device group stand, where one is chosen and they are counted.
    fn counted(&self) -> Option<(&Stand, &MembersCounted)> {
        let stand = &self.chosen.as_ref()?.stand;
        Some((stand, stand.members.counted.as_ref()?))
    }

    /// The sections of the page. `phones` are the first that were asked to hold the profile.
    pub(super) fn markup(&self, v: &Visitor, of: &Of<'_>, phones: &[ProfilePhone]) -> Markup {
        html! {
            (self.group(v, of))
            @if installs(v, of.newest.erasing) && of.told.content { (self.install(of)) }
            @if removes(v) { (self.remove(of, phones)) }
        }
    }

    /// Which device group is looked at, and how its phones stand.
    fn group(&self, v: &Visitor, of: &Of<'_>) -> Markup {
        let chosen = self.chosen.as_ref().map(|c| c.group);
        if self.groups.is_empty() && chosen.is_none() {
            return html! {};
        }
        html! {
            section aria-labelledby="h-group" {
                h2.nhsuk-heading-m #h-group { "A device group’s phones" }
                form.app-narrow method="get" action={ "/profiles/" (of.id) "#h-group" } {
                    .nhsuk-form-group {
                        label.nhsuk-label for="group" { "Device group" }
                        select.nhsuk-select #group name="device_group" {
                            option value="" { "None: tick phones one by one" }
                            @for g in &self.groups { option value=(g.device_group) selected[chosen == Some(g.device_group)] { (shown(&g.name)) } }
                        }
                    }
                    button.nhsuk-button.nhsuk-button--secondary.nhsuk-button--small type="submit" { "Look who has it" }
                }
                @if let Some(c) = &self.chosen { #members data-live { (self.told(v, of, &c.stand.members)) } (changes(&c.stand)) }
            }
        }
    }

    fn told(&self, v: &Visitor, of: &Of<'_>, members: &ProfileMembers) -> Markup {
        let phones = |n: u32| words::count(n.into(), "phone");
        let newest = members.newest;
        let group = html! { a href={ "/device-groups/" (members.device_group) } { (shown(&members.name)) } };
        let Some(m) = &members.counted else {
            return html! { dl.nhsuk-summary-list { (line("Device group", html! { (group) ": its phones are being counted" })) } };
        };
        html! {
            dl.nhsuk-summary-list {
                (line("Device group", html! { (group) ": " (phones(m.phones)) " now." (as_of(m.counted_at_ms, v.session.now_ms)) }))
                (line(&format!("Have version {newest}"), html! { (phones(m.on_newest)) @if newest == of.newest.version { ", the newest" } }))
                @if m.asked > 0 { (line("Were asked for it", html! { (phones(m.asked)) ", and may still answer" })) }
                @for o in &m.older {
                    @if o.version == newest { (line("Have it", html! { (phones(o.phones)) ", and are asked for something else" })) }
                    @else { (line(&format!("Have version {}", o.version), phones(o.phones))) }
                }
                (line("Have none", phones(m.without)))
                @if m.removing > 0 { (line("Asked to remove it", html! { (phones(m.removing)) ", and may still answer" })) }
                @if !of.ended { (line("To install on", html! { @if m.to_install == 0 { "none: each has it, or may still answer" } @else { strong { (phones(m.to_install)) } "; those that have it or may still answer are left out" } })) }
                @if !of.ended && m.to_install > 0 && installs(v, of.newest.erasing) {
                    (line("It takes", self.takes(v, of.newest.erasing, m.to_install)))
                }
            }
        }
    }

    /// How many sign, and how long it cools off.
    fn takes(&self, v: &Visitor, erasing: bool, phones: u32) -> String {
        let duty = if erasing { Duty::Erase } else { Duty::Configure };
        match (v.role(), &self.limits) {
            (Some(role), Some(o)) => sentence(words::limits::preview(o, role, duty, phones).trim_end()),
            _ => String::new(),
        }
    }

    fn install(&self, of: &Of<'_>) -> Markup {
        let (newest, erasing) = (of.newest, of.newest.erasing);
        let order = install_order(of);
        let phones = match &self.chosen {
            Some(c) if !erasing => Some(format!("/profiles/{}/device-groups/{}/phones", of.id, c.group)),
            _ => None,
        };
        let nothing = match (&self.chosen, self.counted(), &self.offered) {
            (Some(_), None, _) => {
                Some("The device group’s phones are being counted: load the page again in a moment.")
            }
            (_, Some((_, m)), _) if m.to_install == 0 => Some("No phone of the device group lacks it."),
            (_, Some((_, m)), _) if !erasing && m.to_install as usize > Order::MOST_TARGETS => {
                Some("More phones lack it than one order names (20,000): choose a device group with fewer.")
            }
            (None, _, Some(offered)) if offered.items.is_empty() => Some("No phone is enrolled."),
            _ => None,
        };
        let ticks = match (self.counted(), &self.offered) {
            (Some((s, m)), _) if erasing => Some(boxes("phone", &m.first_to_install, &s.devices)),
            (None, Some(offered)) => {
                let ids: Vec<String> = offered.items.iter().map(|d| d.enrolment.clone()).collect();
                Some(boxes("phone", &ids, &by_id(&offered.items)))
            }
            _ => None,
        };
        let more = self.offered.as_ref().filter(|o| o.next_cursor.is_some());
        html! {
            section.app-actions aria-labelledby="h-install" {
                h2.nhsuk-heading-m #h-install { "Install version " (newest.version) }
                @if let Some(nothing) = nothing { p.nhsuk-hint { (nothing) } }
                @else {
                    @if let Some((s, m)) = self.counted().filter(|_| !erasing) {
                        p { "On the phones of " strong { (shown(&s.members.name)) } " that lack it when you sign: "
                            (words::count(m.to_install.into(), "phone")) " now. The order names them one by one, so none that comes later." }
                    }
                    form #install method="dialog" data-order=(order) data-all=[phones.as_deref()] data-ticked[ticks.is_some()] data-secrets=[erasing.then_some("command")]
                        data-nothing=[phones.as_ref().map(|_| "No phone of the device group lacks it any more.")]
                        data-done="Signed and accepted. Each phone is told as soon as it can be reached." {
                        @if let Some(ticks) = ticks {
                            (ticks)
                            @if let Some(more) = more {
                                p.nhsuk-hint { "These are the first " (more.items.len()) ". For others: " code.app-break { "matron profiles install " (shown(&newest.identifier)) " ID…" } }
                            }
                        }
                        @if erasing { (sealed_input("install", "holder_name", "Its holder’s name, as on the invitation (one phone)", false)) }
                        (why("install-reason"))
                        (status_line())
                        button.nhsuk-button.nhsuk-button--small.nhsuk-button--warning[erasing] type="submit" { "Install" }
                    }
                }
            }
        }
    }

    /// Removing counts as erasure, so each phone is ticked by whoever signs.
    fn remove(&self, of: &Of<'_>, phones: &[ProfilePhone]) -> Markup {
        let (ticks, any) = match (&self.chosen, self.counted()) {
            (Some(_), None) => return html! {},
            (_, Some((s, m))) => (boxes("remove", &m.first_to_remove, &s.devices), m.to_remove > 0),
            _ => {
                let ids: Vec<String> =
                    phones.iter().filter(|p| holds(p)).map(|p| p.enrolment.clone()).collect();
                (boxes("remove", &ids, &HashMap::new()), !ids.is_empty())
            }
        };
        let order = in_ascii(&json!({ "kind": "remove_profile", "identifier": of.told.outline.identifier }));
        html! {
            @if any {
                section.app-actions aria-labelledby="h-remove" {
                    h2.nhsuk-heading-m #h-remove { "Remove it" }
                    details.nhsuk-details.app-action #remove {
                        summary.nhsuk-details__summary { span.nhsuk-details__summary-text { "Remove it from phones" } }
                        .nhsuk-details__text {
                            p { "What it set up goes from the phones. It counts as erasure: for one phone you type its holder’s name; for several a second "
                                "administrator signs, and it cools off. So you tick each phone." }
                            form method="dialog" data-order=(order) data-ticked="" data-secrets="command"
                                data-done="Signed and accepted. Each phone is told as soon as it can be reached." {
                                (ticks)
                                @if self.counted().is_some_and(|(_, m)| m.to_remove as usize > OFFERED) {
                                    p.nhsuk-hint { "These are the first " (OFFERED) ": one order removes it from no more." }
                                }
                                (sealed_input("remove", "holder_name", "Its holder’s name, as on the invitation (one phone)", false))
                                (why("remove-reason"))
                                (status_line())
                                button.nhsuk-button.nhsuk-button--small.nhsuk-button--warning type="submit" { "Remove" }
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Stand {
    async fn of(api: &Api, v: &Visitor, of: &Of<'_>, members: ProfileMembers) -> Result<Self, Failure> {
        let group = members.device_group;
        let mut stand = Self { members, changes: Vec::new(), devices: HashMap::new() };
        let Some(counted) = &stand.members.counted else { return Ok(stand) };
        let newest = stand.members.newest;
        for older in counted.older.iter().filter(|o| o.version < newest).take(COMPARED) {
            let asked = format!("/api/v1/profiles/{}/versions/{newest}?against={}", of.id, older.version);
            let told: VersionDetail = api.get(&asked, &v.bearer).await?;
            stand.changes.push((older.version, told.changes));
        }
        let lack = of.newest.erasing && installs(v, true) && counted.to_install > 0;
        if lack || (removes(v) && counted.to_remove > 0) {
            let query = [("device_group", Some(group.to_string())), ("limit", Some(OFFERED.to_string()))];
            let devices: Page<Device> = api.get(&path("/api/v1/devices", &query), &v.bearer).await?;
            stand.devices = by_id(&devices.items);
        }
        Ok(stand)
    }
}

fn by_id(devices: &[Device]) -> HashMap<String, Device> {
    devices.iter().map(|d| (d.enrolment.clone(), d.clone())).collect()
}

/// Whether a phone was asked to hold it, or said that it does, and is not asked to be without it.
fn holds(p: &ProfilePhone) -> bool {
    let waits = matches!(p.command.as_deref(), Some("queued" | "sent" | "not_now"));
    if waits { p.version > 0 } else { p.confirmed > 0 }
}

fn install_order(of: &Of<'_>) -> String {
    // Of what this page shows: the vault installs nothing else.
    let shown_here = order::ShownVersion {
        saved_by: of.newest.order,
        outline: of.told.outline.clone(),
        erasing: of.newest.erasing,
        because: of.told.because.clone(),
    };
    let order: Value = json!({
        "kind": "install_saved", "profile": of.id, "version": of.newest.version, "identifier": of.told.outline.identifier,
        "erasing": of.newest.erasing, "shown": shown_here.digest(),
    });
    in_ascii(&order)
}

fn boxes(id: &str, phones: &[String], devices: &HashMap<String, Device>) -> Markup {
    html! {
        fieldset.nhsuk-fieldset {
            legend.nhsuk-fieldset__legend { @if id == "remove" { "From which phones?" } @else { "On which phones?" } }
            .nhsuk-checkboxes.nhsuk-checkboxes--small.app-choices {
                @for phone in phones {
                    @let short = phone.get(..8).unwrap_or(phone);
                    @let box_id = format!("{id}-{short}");
                    .nhsuk-checkboxes__item {
                        input.nhsuk-checkboxes__input id=(box_id) name="phone" type="checkbox" value=(phone);
                        label.nhsuk-label.nhsuk-checkboxes__label for=(box_id) {
                            code { (short) }
                            @if let Some(d) = devices.get(phone) { " " (shown(&d.group)) ", " (shown(words::model(&d.clear("ProductName").unwrap_or_default()))) }
                        }
                    }
                }
            }
        }
    }
}

/// What the newest version changes on phones that have an older one.
fn changes(stand: &Stand) -> Markup {
    html! {
        @for (from, changes) in &stand.changes {
            details.nhsuk-details id={ "from-" (from) } {
                summary.nhsuk-details__summary { span.nhsuk-details__summary-text { "What changes on phones with version " (from) } }
                .nhsuk-details__text {
                    @if changes.is_empty() { p.nhsuk-hint { "Nothing that can be told." } }
                    @else { ul.nhsuk-list.nhsuk-list--bullet { @for c in changes { li { (shown(&words::profile::change(c))) } } } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The section that installs a profile on a device group's phones, of which so many lack it; none: nobody has counted them yet.
    fn install(to_install: Option<u32>) -> String {
        let id = DeviceGroupId([9; 16]);
        let counted = to_install.map(|n| {
            json!({
                "phones": 100_000, "on_newest": 100_000 - n, "asked": 0, "older": [], "without": n, "to_install": n,
                "first_to_install": [], "to_remove": 0, "first_to_remove": [], "removing": 0, "counted_at_ms": 1,
            })
        });
        let members = json!({ "device_group": id, "name": "All", "newest": 2, "counted": counted });
        let members: ProfileMembers = serde_json::from_value(members).unwrap();
        let newest: ProfileVersion = serde_json::from_value(json!({
            "version": 2, "order": model::OrderId([1; 16]), "saved_at_ms": 1, "identifier": "org.example.wifi", "signed": false,
            "erasing": false, "payloads": [], "phones": { "asked": 0, "failed": 0, "confirmed": 0 },
        }))
        .unwrap();
        let told: VersionDetail = serde_json::from_value(json!({
            "outline": model::Outline::default(), "because": [], "content": true, "against": null, "changes": [],
        }))
        .unwrap();
        let stand = Stand { members, changes: Vec::new(), devices: HashMap::new() };
        let orders = Orders {
            groups: Vec::new(),
            chosen: Some(Chosen { group: id, stand }),
            offered: None,
            limits: None,
        };
        let of = Of { id: ProfileId([7; 16]), newest: &newest, told: &told, ended: false };
        orders.install(&of).into_string()
    }

    #[test]
    fn a_profile_is_offered_for_as_many_phones_of_a_device_group_as_one_order_names_once_they_are_counted() {
        let named_at_signing = format!("data-all=\"/profiles/{}/device-groups/", ProfileId([7; 16]));
        let offered = install(Some(20_000));
        assert!(offered.contains(&named_at_signing) && offered.contains("20000 phones now"), "{offered}");
        for (to_install, why) in [
            (Some(20_001), "More phones lack it than one order names"),
            (Some(0), "No phone of the device group lacks it."),
            (None, "are being counted"),
        ] {
            let refused = install(to_install);
            assert!(refused.contains(why) && !refused.contains("<form"), "{refused}");
        }
    }
}
