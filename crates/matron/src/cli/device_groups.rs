//! Device groups: selections of phones, by a rule over what they reported, or as a list.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use model::{
    DeviceGroupDefinition, DeviceGroupId, DeviceGroupName, EnrolmentId, OrderId, PersonId, RuleForm, TimeMs,
};
use order::{Order, OrderKind};
use serde::Deserialize;
use serde_json::json;

use super::desk::{Desk, shaped};
use super::devices::{self, Device, Devices};
use super::failure::{CliError, Result, failed, usage};
use super::place::{self, Draft};
use super::{http, show};

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceGroupsCommand {
    /// Every device group, and how many phones are in it now.
    List,
    /// One device group. Its phones: 'matron devices list --device-group NAME'.
    Show(One),
    /// The phones in it now, an enrolment id a line, for other commands: matron devices lock $(matron device-groups phones
    /// NAME).
    Phones(One),
    /// Make a device group, or change the one of that name.
    Save(Save),
    /// End a device group; its phones stay as they are.
    End(End),
    /// Who would be in by a rule, before anything is saved.
    Preview(Preview),
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// Its name, or its id or the first 6 digits or more of it.
    name: String,
}

/// A rule's conditions. A phone that has not said something is in no group that asks for it, nor for its opposite.
#[derive(Debug, Args)]
#[command(next_help_heading = "By a rule")]
pub(crate) struct Conditions {
    /// One of the conditions is enough, instead of all of them.
    #[arg(long)]
    any: bool,
    /// With an older system than this, for example 17.5.
    #[arg(long, value_name = "VERSION")]
    os_below: Option<String>,
    /// With this system or a newer one.
    #[arg(long, value_name = "VERSION")]
    os_at_least: Option<String>,
    /// Of this model, for example iPhone14,5; given again: or of that one.
    #[arg(long)]
    model: Vec<String>,
    /// Of this home group; given again: or of that one.
    #[arg(long, value_name = "GROUP")]
    home_group: Vec<String>,
    /// Not heard of for so many days.
    #[arg(long, value_name = "DAYS")]
    silent_days: Option<u16>,
    /// Supervised or not.
    #[arg(long, value_name = "true|false")]
    supervised: Option<bool>,
    /// The passcode complies or does not.
    #[arg(long, value_name = "true|false")]
    passcode_compliant: Option<bool>,
    /// In lost mode or not.
    #[arg(long, value_name = "true|false")]
    lost: Option<bool>,
    /// With Apple's data protection (full encryption and a passcode) or without.
    #[arg(long, value_name = "true|false")]
    data_protected: Option<bool>,
}

impl Conditions {
    fn form(&self) -> RuleForm {
        let several = |values: &[String]| Some(values.join(" ")).filter(|v| !v.is_empty());
        let yes = |value: Option<bool>| value.map(|v| v.to_string());
        RuleForm {
            join: self.any.then(|| "any".to_owned()),
            os_below: self.os_below.clone(),
            os_at_least: self.os_at_least.clone(),
            model: several(&self.model),
            home_group: several(&self.home_group),
            silent_for_days: self.silent_days.map(|d| d.to_string()),
            supervised: yes(self.supervised),
            passcode_compliant: yes(self.passcode_compliant),
            lost: yes(self.lost),
            data_protected: yes(self.data_protected),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Preview {
    #[command(flatten)]
    conditions: Conditions,
}

#[derive(Debug, Args)]
pub(crate) struct Save {
    /// Its name. It stands in the ledger: no person's name.
    name: String,
    /// Call it this from now on.
    #[arg(long, value_name = "NAME")]
    rename: Option<String>,
    #[command(flatten)]
    conditions: Conditions,
    /// A list of this phone alone: an enrolment id, or its first 6 digits or more; may be given again.
    #[arg(long, value_name = "ID", help_heading = "As a list")]
    phone: Vec<String>,
    /// A list of the phones in this file: whole enrolment ids, one a line ('-': standard input).
    #[arg(long, value_name = "FILE", help_heading = "As a list")]
    phones_from: Option<PathBuf>,
    /// Add this phone to the list; may be given again.
    #[arg(long, value_name = "ID", conflicts_with_all = ["phone", "phones_from"], help_heading = "As a list")]
    add: Vec<String>,
    /// Take this phone off the list; may be given again.
    #[arg(long, value_name = "ID", conflicts_with_all = ["phone", "phones_from"], help_heading = "As a list")]
    drop: Vec<String>,
    /// Why. Auditors read it; no names or numbers here.
    #[arg(long)]
    reason: Option<String>,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct End {
    /// Its name, or its id or the first 6 digits or more of it.
    name: String,
    /// Why. Auditors read it; no names or numbers here.
    #[arg(long)]
    reason: Option<String>,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
}

/// A device group as the API tells it.
#[derive(Debug, Deserialize)]
pub(crate) struct DeviceGroup {
    pub(crate) device_group: DeviceGroupId,
    pub(crate) name: String,
    kind: String,
    definition: DeviceGroupDefinition,
    phones: Option<u64>,
    listed: Option<u32>,
    order: OrderId,
    saved_by: PersonId,
    saved_at_ms: TimeMs,
}

#[derive(Deserialize)]
struct DeviceGroups {
    items: Vec<DeviceGroup>,
}

const PATH: &str = "/api/v1/device-groups";
/// More than there may be.
const ALL: u32 = 1_000;

pub(crate) fn run(desk: &Desk, command: DeviceGroupsCommand) -> Result<()> {
    match command {
        DeviceGroupsCommand::List => list(desk),
        DeviceGroupsCommand::Show(o) => show_one(desk, &o.name),
        DeviceGroupsCommand::Phones(o) => phones(desk, &o.name),
        DeviceGroupsCommand::Save(s) => save(desk, s),
        DeviceGroupsCommand::End(e) => end(desk, e),
        DeviceGroupsCommand::Preview(p) => preview(desk, &p.conditions),
    }
}

fn in_words(count: Option<u64>) -> String {
    count.map_or_else(|| "being counted".into(), |n| n.to_string())
}

fn list(desk: &Desk) -> Result<()> {
    let value = desk.list(PATH, &[("counts", Some("true".into()))], ALL, None)?;
    if desk.reach.json {
        return show::print_json(&value);
    }
    let mut all: DeviceGroups = shaped(&value)?;
    if all.items.is_empty() {
        return show::print("There is none. 'matron device-groups save' makes one.\n");
    }
    all.items.sort_by_key(|g| g.name.to_lowercase());
    let rows = all.items.iter().map(|g| {
        let id: String = g.device_group.to_string().chars().take(12).collect();
        vec![id, g.name.clone(), in_words(g.phones), words::device_group::definition(&g.definition)]
    });
    show::print(&show::table(&["ID", "NAME", "PHONES", "HOLDS"], rows))
}

/// The device group of that name, or of that id or beginning.
pub(crate) fn find(desk: &Desk, named: &str) -> Result<DeviceGroup> {
    find_maybe(desk, named)?.ok_or_else(|| {
        CliError::NotFound(format!(
            "there is no device group '{}'; see 'matron device-groups list'",
            show::line(named)
        ))
    })
}

fn find_maybe(desk: &Desk, named: &str) -> Result<Option<DeviceGroup>> {
    let all: DeviceGroups = shaped(&desk.list(PATH, &[], ALL, None)?)?;
    let (folded, digits) = (named.to_lowercase(), named.to_ascii_lowercase());
    let is_id = (6..=32).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let (by_name, others): (Vec<_>, Vec<_>) =
        all.items.into_iter().partition(|g| g.name.to_lowercase() == folded);
    if let Some(found) = by_name.into_iter().next() {
        return Ok(Some(found));
    }
    let mut by_id = others
        .into_iter()
        .filter(|g| is_id && g.device_group.to_string().starts_with(&digits))
        .collect::<Vec<_>>();
    match by_id.len() {
        0 | 1 => Ok(by_id.pop()),
        _ => Err(usage("more than one device group's id begins so; give more digits")),
    }
}

fn show_one(desk: &Desk, named: &str) -> Result<()> {
    let found = find(desk, named)?;
    let value = desk.get(&format!("{PATH}/{}", found.device_group))?;
    if desk.reach.json {
        return show::print_json(&value);
    }
    let g: DeviceGroup = shaped(&value)?;
    let mut facts = vec![
        ("device group", g.device_group.to_string()),
        ("name", g.name.clone()),
        ("kind", g.kind),
        ("holds", words::device_group::definition(&g.definition)),
        ("phones now", in_words(g.phones)),
    ];
    facts.extend(g.listed.map(|n| ("listed", format!("{n}, those that have left since among them"))));
    facts.extend([
        ("saved", show::time(g.saved_at_ms)),
        ("by", g.saved_by.to_string()),
        ("order", g.order.to_string()),
    ]);
    show::print(&show::facts(&facts))
}

fn preview(desk: &Desk, conditions: &Conditions) -> Result<()> {
    let form = conditions.form();
    form.rule().map_err(|e| usage(e.to_string()))?;
    let value = desk.get(&format!("{PATH}/preview{}", http::query(&form.fields())))?;
    if desk.reach.json {
        return show::print_json(&value);
    }
    #[derive(Deserialize)]
    struct Preview {
        definition: DeviceGroupDefinition,
        phones: u64,
        #[serde(flatten)]
        first: Devices,
    }
    let p: Preview = shaped(&value)?;
    let are = if p.phones == 1 { "is" } else { "are" };
    show::print(&format!(
        "{} {are} in now: {}.\n",
        show::count(p.phones, "phone"),
        words::device_group::definition(&p.definition)
    ))?;
    if p.first.items.is_empty() { Ok(()) } else { devices::print_devices(desk, &p.first.items, false) }
}

/// The phones that are in it now, for an order that names them.
pub(crate) fn devices_in(desk: &Desk, named: &str) -> Result<Vec<Device>> {
    let group = find(desk, named)?;
    let of = format!("device group {}", group.name);
    devices::enrolled(desk, &of, ("device_group", Some(group.device_group.to_string())))
}

fn phones(desk: &Desk, named: &str) -> Result<()> {
    let phones = members(desk, &find(desk, named)?)?;
    if desk.reach.json {
        return show::print_json(&json!({ "phones": phones }));
    }
    show::print(&phones.iter().map(|id| format!("{id}\n")).collect::<String>())
}

/// Every enrolled phone that is in it.
fn members(desk: &Desk, group: &DeviceGroup) -> Result<Vec<EnrolmentId>> {
    #[derive(Deserialize)]
    struct Members {
        phones: Vec<EnrolmentId>,
    }
    let found: Members = shaped(&desk.get(&format!("{PATH}/{}/phones", group.device_group))?)?;
    Ok(found.phones)
}

fn read_ids(path: &PathBuf) -> Result<Vec<EnrolmentId>> {
    let text = if path.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    let text = text.map_err(|e| failed(format!("{}: {e}", path.display())))?;
    let mut ids: Vec<EnrolmentId> = Vec::new();
    for (n, line) in (1..).zip(text.lines()).filter(|(_, l)| !l.trim().is_empty()) {
        let id = line.trim().parse().map_err(|e| usage(format!("{}, line {n}: {e}", path.display())))?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// The list that it shall be, when it shall be one.
fn listed(desk: &Desk, s: &Save, before: Option<&DeviceGroup>) -> Result<Option<Vec<EnrolmentId>>> {
    let ids = |of: &[String]| -> Result<Vec<EnrolmentId>> {
        Ok(devices::find_all(desk, of)?.into_iter().map(|d| d.enrolment).collect())
    };
    let was_list = before.filter(|g| g.definition == DeviceGroupDefinition::List);
    if !s.phone.is_empty() || s.phones_from.is_some() {
        let mut all = s.phones_from.as_ref().map(read_ids).transpose()?.unwrap_or_default();
        all.extend(ids(&s.phone)?.into_iter().filter(|id| !all.contains(id)).collect::<Vec<_>>());
        return Ok(Some(all));
    }
    let changes = !s.add.is_empty() || !s.drop.is_empty();
    if changes && before.is_some() && was_list.is_none() {
        return Err(usage("--add, --drop: this device group is a rule; whom it holds follows from that"));
    }
    match was_list {
        Some(group) if changes || s.conditions.form().is_empty() => {
            let mut all = members(desk, group)?;
            let (add, drop) = (ids(&s.add)?, ids(&s.drop)?);
            all.retain(|id| !drop.contains(id));
            all.extend(add.into_iter().filter(|id| !all.contains(id)).collect::<Vec<_>>());
            Ok(Some(all))
        }
        None if !s.add.is_empty() => Ok(Some(ids(&s.add)?)),
        _ => Ok(None),
    }
}

fn save(desk: &Desk, s: Save) -> Result<()> {
    let before = find_maybe(desk, &s.name)?;
    let called =
        s.rename.clone().or_else(|| before.as_ref().map(|g| g.name.clone())).unwrap_or(s.name.clone());
    let name = DeviceGroupName::new(called.trim()).map_err(|e| usage(e.to_string()))?;
    let form = s.conditions.form();
    let list = listed(desk, &s, before.as_ref())?;
    let (definition, targets) = match (list, form.is_empty(), &before) {
        (Some(_), false, _) => {
            return Err(usage("give conditions or phones: a device group is a rule or a list"));
        }
        (Some(phones), true, _) if phones.is_empty() => {
            return Err(usage("a list holds at least one phone; 'matron device-groups end' ends it"));
        }
        (Some(phones), true, _) => (DeviceGroupDefinition::List, phones),
        (None, true, Some(group)) => (group.definition.clone(), vec![]),
        (None, _, _) => (DeviceGroupDefinition::Rule(form.rule().map_err(|e| usage(e.to_string()))?), vec![]),
    };
    if targets.len() > Order::MOST_TARGETS {
        return Err(usage(format!("a list holds up to {} phones", Order::MOST_TARGETS)));
    }
    let (group, replaces) = match &before {
        Some(g) => (g.device_group, Some(g.order)),
        None => (DeviceGroupId(desk.random()?), None),
    };
    let reason = place::reason(s.reason)?;
    let kind = OrderKind::SaveDeviceGroup { group, replaces, name: name.clone(), definition };
    let placed = Draft::new(kind, &reason).to(targets).place(desk, s.yes)?;
    if desk.reach.json {
        return show::print_json(
            &json!({ "order": placed.order, "device_group": group, "position": placed.position }),
        );
    }
    show::print(&format!(
        "Device group '{name}' ({}) is saved. 'matron devices list --device-group' shows who is in.\n",
        group.to_string().get(..12).unwrap_or_default()
    ))
}

fn end(desk: &Desk, e: End) -> Result<()> {
    let found = find(desk, &e.name)?;
    let reason = place::reason(e.reason)?;
    let kind = OrderKind::EndDeviceGroup { group: found.device_group };
    let placed = Draft::new(kind, &reason).place(desk, e.yes)?;
    if desk.reach.json {
        return show::print_json(&json!({ "order": placed.order, "ended": found.device_group }));
    }
    show::print(&format!(
        "Device group '{}' has ended; its phones stay as they are.\n",
        show::line(&found.name)
    ))
}
