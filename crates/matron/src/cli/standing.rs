//! Standing orders, and the page of who is late with renewing.

use clap::{Args, Subcommand};
use model::clock::{DAY_MS, HOUR_MS};
use model::{DeviceGroupName, EnrolmentId, Group, OrderId, StandingInstall, StandingTemplate, TimeMs};
use order::OrderKind;
use serde::Deserialize;
use serde_json::json;

use super::desk::{Desk, shaped};
use super::failure::{Result, usage};
use super::place::{self, Draft};
use super::{device_groups, devices, profiles, show};

#[derive(Debug, Args)]
pub(crate) struct Certificates {
    /// Only those that are ok, due, asked, late or expired.
    #[arg(long, value_parser = ["ok", "due", "asked", "late", "expired"])]
    state: Option<String>,
    /// Only of this group.
    #[arg(long)]
    group: Option<String>,
    /// How many at most.
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// Where the page before ended.
    #[arg(long)]
    cursor: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StandingCommand {
    /// Let the vault renew the phones' certificates by itself, or do what a phone's holder asks for.
    Make(Make),
    /// Every standing order, and how often it was used.
    List,
    /// End one: the vault does nothing more by itself under it.
    End(End),
}

#[derive(Debug, Args)]
pub(crate) struct Make {
    /// What the vault does: renew_certificates; holder_lost_mode or holder_rings, when a phone's holder asks with the
    /// code of the holder's card; install_saved, a mild profile of the library on phones that come to a device group.
    #[arg(long, default_value = "renew_certificates",
        value_parser = ["renew_certificates", "holder_lost_mode", "holder_rings", "install_saved"])]
    does: String,
    /// What install_saved installs: the profile's id, its first 6 digits or more, or its identifier.
    #[arg(long, required_if_eq("does", "install_saved"))]
    profile: Option<String>,
    /// Which version of it [default: the newest].
    #[arg(long, value_name = "NUMBER", requires = "profile")]
    of: Option<u32>,
    /// On which phones: the device group's name, or its id.
    #[arg(long, value_name = "NAME", required_if_eq("does", "install_saved"))]
    device_group: Option<String>,
    /// Of these phones those of this home group alone.
    #[arg(long, value_name = "GROUP", requires = "profile")]
    group: Option<String>,
    /// How many days before its end a certificate is renewed, 1 to 365 [default: 60].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=365))]
    before_days: Option<u16>,
    /// The same in hours, for short-lived certificates.
    #[arg(long, conflicts_with = "before_days", value_parser = clap::value_parser!(u16).range(1..=8760))]
    before_hours: Option<u16>,
    /// How many phones an hour, the most harm that it can do: 1 to 20000 [default: 200]; holder_lost_mode 1 to 200
    /// [default: 20]; holder_rings and install_saved 1 to 1000 [default: 100].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    cap: Option<u32>,
    /// For how many days the order stands, 1 to 1096.
    #[arg(long, default_value_t = 1096, value_parser = clap::value_parser!(u16).range(1..=1096))]
    days: u16,
    /// Why.
    #[arg(long)]
    reason: Option<String>,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct End {
    /// The order that made it.
    id: String,
    /// Why.
    #[arg(long)]
    reason: Option<String>,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
}

pub(crate) fn run(desk: &Desk, command: StandingCommand) -> Result<()> {
    match command {
        StandingCommand::Make(m) => make(desk, m),
        StandingCommand::List => list(desk),
        StandingCommand::End(e) => end(desk, e),
    }
}

fn make(desk: &Desk, m: Make) -> Result<()> {
    let before_ms = match (m.before_hours, m.before_days) {
        (Some(hours), _) => TimeMs::from(hours) * HOUR_MS,
        (None, days) => days.map_or(StandingTemplate::USUAL_BEFORE_MS, |d| TimeMs::from(d) * DAY_MS),
    };
    if m.does != "renew_certificates" && (m.before_hours.is_some() || m.before_days.is_some()) {
        return Err(usage(format!(
            "--before-days and --before-hours say when certificates renew; {} has no use for them",
            m.does
        )));
    }
    if m.does != "install_saved" && (m.profile.is_some() || m.device_group.is_some()) {
        return Err(usage(format!(
            "--profile and --device-group say what install_saved installs; {} has no use for them",
            m.does
        )));
    }
    let expires_at_ms = desk.now_ms() + TimeMs::from(m.days) * DAY_MS - HOUR_MS;
    let (lost_an_hour, rings_an_hour) = StandingTemplate::USUAL_HOLDERS_AN_HOUR;
    let (template, usual_cap, why, then) = match m.does.as_str() {
        "holder_lost_mode" => (
            StandingTemplate::HolderLostMode,
            lost_an_hour,
            "holders may have their lost phones put in lost mode",
            "A phone's holder turns lost mode on at /my-phone; ending it stays the service desk's.",
        ),
        "holder_rings" => (
            StandingTemplate::HolderRings,
            rings_an_hour,
            "holders may make their lost phones ring",
            "A phone's holder makes it ring at /my-phone, once it is in lost mode.",
        ),
        "install_saved" => (
            StandingTemplate::InstallSaved { install: Box::new(install(desk, &m)?) },
            100,
            "phones that come to the device group get this profile",
            "Phones that are in the device group and were never asked for it get it, also those that come later.",
        ),
        _ => (
            StandingTemplate::RenewCertificates { before_ms },
            200,
            "certificates renew by themselves",
            "'matron certificates' shows who is late.",
        ),
    };
    let cap_an_hour = m.cap.unwrap_or(usual_cap);
    if cap_an_hour > template.most_an_hour() {
        return Err(usage(format!("--cap: at most {} an hour for {}", template.most_an_hour(), m.does)));
    }
    // Several of one kind are sometimes meant; where they are not, both caps count.
    let alike = match template.install() {
        Some(_) => Vec::new(),
        None => standing(desk)?
            .into_iter()
            .filter(|s| s.template == template.name() && s.state == "stands")
            .collect(),
    };
    let kind = OrderKind::MakeStanding { template, cap_an_hour, expires_at_ms };
    let reason = m.reason.unwrap_or_else(|| why.into());
    let placed = Draft::new(kind, &reason).place(desk, m.yes)?;
    if desk.reach.json {
        return show::print_json(&json!({ "order": placed.order, "position": placed.position }));
    }
    let mut out =
        format!("Standing order {} stands, ledger entry {}. {then}\n", placed.order, placed.position);
    for older in alike {
        out.push_str(&format!(
            "Another of the same kind stands too, {} an hour: 'matron standing end {}' ends it, if this one is to take its place.\n",
            older.cap_an_hour, older.order
        ));
    }
    show::print(&out)
}

/// Every standing order.
fn standing(desk: &Desk) -> Result<Vec<Standing>> {
    Ok(shaped::<Items<Standing>>(&desk.get("/api/v1/standing")?)?.items)
}

/// What install_saved installs, and on which phones.
fn install(desk: &Desk, m: &Make) -> Result<StandingInstall> {
    let (profile, version, identifier, shown) =
        profiles::mild(desk, m.profile.as_deref().unwrap_or_default(), m.of)?;
    let group = device_groups::find(desk, m.device_group.as_deref().unwrap_or_default())?;
    let home = m.group.as_deref().map(Group::new).transpose().map_err(|e| usage(format!("--group: {e}")))?;
    let name = DeviceGroupName::new(&group.name).map_err(|e| usage(format!("--device-group: {e}")))?;
    Ok(StandingInstall { profile, version, identifier, shown, device_group: group.device_group, name, home })
}

fn end(desk: &Desk, e: End) -> Result<()> {
    let order: OrderId = e.id.parse().map_err(|why| usage(format!("the order: {why}")))?;
    let reason = place::reason(e.reason)?;
    let placed = Draft::new(OrderKind::EndStanding { order }, &reason).place(desk, e.yes)?;
    if desk.reach.json {
        return show::print_json(&json!({ "order": placed.order, "ended": order }));
    }
    show::print(&format!("Standing order {order} has ended.\n"))
}

#[derive(Deserialize)]
struct Standing {
    order: OrderId,
    template: String,
    before_ms: Option<TimeMs>,
    install: Option<StandingInstall>,
    cap_an_hour: u32,
    state: String,
    rests: Option<String>,
    expires_at_ms: TimeMs,
    uses: u64,
    used_at_ms: Option<TimeMs>,
}

#[derive(Deserialize)]
struct Items<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

fn list(desk: &Desk) -> Result<()> {
    let value = desk.get("/api/v1/standing")?;
    if desk.reach.json {
        return show::print_json(&value);
    }
    let all: Items<Standing> = shaped(&value)?;
    if all.items.is_empty() {
        return show::print("There is none. 'matron standing make' lets the vault renew certificates.\n");
    }
    let resting = |s: &Standing| {
        let why = s.rests.as_deref().map(words::profile::rests)?;
        Some(format!("\n{} does nothing: {why}.\n", s.order))
    };
    let resting: String = all.items.iter().filter_map(resting).collect();
    let rows = all.items.into_iter().map(|s| {
        vec![
            s.order.to_string(),
            s.template,
            match (s.before_ms, s.install) {
                (Some(ms), _) => format!("{} before", show::span(ms)),
                (None, Some(i)) => format!("{} version {} on {}", i.identifier, i.version, i.name),
                (None, None) => String::new(),
            },
            s.cap_an_hour.to_string(),
            if s.rests.is_some() { "rests".to_owned() } else { s.state },
            show::time(s.expires_at_ms),
            s.uses.to_string(),
            show::maybe_time(s.used_at_ms),
        ]
    });
    let table = show::table(&["ORDER", "DOES", "WHAT", "AN HOUR", "STATE", "UNTIL", "USED", "LAST"], rows);
    show::print(&(table + &resting))
}

#[derive(Deserialize)]
struct Certificate {
    enrolment: EnrolmentId,
    group: String,
    state: String,
    not_after_ms: TimeMs,
    asked_at_ms: Option<TimeMs>,
    last_seen_ms: Option<TimeMs>,
}

/// What is to be done about it.
fn advice(state: &str) -> &'static str {
    match state {
        "late" => "have it switched on and online",
        "expired" => "invite its holder again",
        _ => "",
    }
}

/// `matron certificates`.
pub(crate) fn certificates(desk: &Desk, c: Certificates) -> Result<()> {
    let query = [("state", c.state), ("group", c.group)];
    let value = desk.list("/api/v1/certificates", &query, c.limit, c.cursor)?;
    if desk.reach.json {
        return show::print_json(&value);
    }
    let page: Items<Certificate> = shaped(&value)?;
    let now_ms = desk.now_ms();
    let rows = page.items.into_iter().map(|p| {
        vec![
            p.enrolment.to_string(),
            p.group,
            show::time(p.not_after_ms),
            show::maybe_time(p.asked_at_ms),
            show::ago(p.last_seen_ms, now_ms),
            advice(&p.state).to_owned(),
            p.state,
        ]
    });
    let rows = rows.map(|mut row| {
        row.swap(5, 6);
        row
    });
    show::print(&show::table(&["ENROLMENT", "GROUP", "ENDS", "ASKED", "LAST SEEN", "STATE", "DO"], rows))?;
    devices::tell_more(page.next_cursor.as_deref());
    Ok(())
}
