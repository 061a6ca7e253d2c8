//! Commands that change phones: each an order, shown in words before it is sent.

use std::path::PathBuf;

use apple::harm::{self, Harm};
use clap::{Args, Subcommand, ValueEnum};
use model::clock::DAY_MS;
use model::{Command, CommandSecrets, Setting};
use order::OrderKind;
use serde_json::json;

use super::desk::Desk;
use super::failure::{CliError, Result, failed, usage};
use super::files::read_file;
use super::place::{self, Draft, Placed};
use super::{declarations, devices, follow, show};

/// The most phones that one order erases.
const MOST_ERASED: usize = 100;

#[derive(Debug, Subcommand)]
pub(crate) enum ActCommand {
    /// Lock the screen; a message and a number may stand on it.
    Lock(Lock),
    /// Remove the passcode; its user sets a new one.
    ClearPasscode(Plain),
    /// ERASE everything on a phone. Its holder's name has to be typed; several phones take a second administrator.
    Erase(Erase),
    /// A lost phone: lost mode on and off, where it is, make it ring. Supervised phones only.
    #[command(subcommand)]
    LostMode(LostMode),
    /// Restart (supervised phones only).
    Restart(Restart),
    /// Switch off (supervised phones only).
    Shutdown(Plain),
    /// Install a configuration profile (an unsigned .mobileconfig).
    InstallProfile(InstallProfile),
    /// Remove a profile by its identifier.
    RemoveProfile(RemoveProfile),
    /// Change settings.
    Settings(Settings),
    /// Update the system by a deadline: a declaration that the phone holds by itself (iOS 17 or newer).
    #[command(disable_version_flag = true)]
    UpdateOs(declarations::UpdateOs),
}

/// What every such order has.
#[derive(Debug, Args)]
pub(crate) struct How {
    /// Why. Auditors read it; no names or numbers here.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    /// How many days the order waits for a phone that is off, 1 to 30.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u8).range(1..=30))]
    pub(crate) days: u8,
    /// Wait so many seconds for the phones' answers.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) wait: Option<u64>,
    /// Don't ask.
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Plain {
    /// Enrolment ids, or their first 6 digits or more.
    #[arg(required = true)]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) how: How,
}

#[derive(Debug, Args)]
pub(crate) struct Lock {
    /// Enrolment ids, or their first 6 digits or more.
    #[arg(required = true)]
    ids: Vec<String>,
    /// The text on the locked screen.
    #[arg(long)]
    message: Option<String>,
    /// The number to call, on the locked screen.
    #[arg(long)]
    phone: Option<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(crate) struct Erase {
    /// Enrolment ids, or their first 6 digits or more. Several take a second administrator, and cool off.
    #[arg(required = true)]
    ids: Vec<String>,
    /// The holder's name as on the invitation, for one phone; the vault compares it.
    #[arg(long, value_name = "HOLDER NAME")]
    name: Option<String>,
    /// Keep an eSIM.
    #[arg(long)]
    keep_data_plan: bool,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LostMode {
    /// On: the phone shows the message and nothing else.
    On(LostModeOn),
    /// Off.
    Off(Plain),
    /// Ask where it is (only in lost mode).
    Locate(Plain),
    /// Make it ring (only in lost mode).
    Ring(Plain),
}

#[derive(Debug, Args)]
pub(crate) struct LostModeOn {
    /// Enrolment ids, or their first 6 digits or more.
    #[arg(required = true)]
    ids: Vec<String>,
    /// The text on the screen.
    #[arg(long, required_unless_present = "phone")]
    message: Option<String>,
    /// The number to call.
    #[arg(long)]
    phone: Option<String>,
    /// The small print.
    #[arg(long)]
    footnote: Option<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(crate) struct Restart {
    /// Enrolment ids, or their first 6 digits or more.
    #[arg(required = true)]
    ids: Vec<String>,
    /// Let the phone's user choose the moment.
    #[arg(long)]
    notify: bool,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(crate) struct InstallProfile {
    /// Enrolment ids, or their first 6 digits or more; the last word is the profile's FILE.
    #[arg(required = true, num_args = 2.., value_name = "ID… FILE")]
    ids_and_file: Vec<String>,
    /// The holder's name, when the profile counts as erasure.
    #[arg(long, value_name = "HOLDER NAME")]
    name: Option<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveProfile {
    /// The enrolment id, or its first 6 digits or more.
    id: String,
    /// The profile's PayloadIdentifier.
    identifier: String,
    /// The holder's name: removing a profile counts as erasure.
    #[arg(long, value_name = "HOLDER NAME")]
    name: Option<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Enrolment ids, or their first 6 digits or more.
    #[arg(required = true)]
    ids: Vec<String>,
    /// Bluetooth (supervised phones only).
    #[arg(long)]
    bluetooth: Option<Switch>,
    /// Data roaming.
    #[arg(long)]
    data_roaming: Option<Switch>,
    /// Voice roaming.
    #[arg(long)]
    voice_roaming: Option<Switch>,
    /// The personal hotspot.
    #[arg(long)]
    personal_hotspot: Option<Switch>,
    /// Another name for the device; sealed (supervised phones only).
    #[arg(long)]
    device_name: Option<String>,
    /// An IANA time zone such as Europe/London (supervised phones only).
    #[arg(long)]
    time_zone: Option<String>,
    /// The holder's name, when a setting counts as erasure.
    #[arg(long, value_name = "HOLDER NAME")]
    name: Option<String>,
    #[command(flatten)]
    how: How,
}

pub(crate) fn run(desk: &Desk, command: ActCommand) -> Result<()> {
    let plain = |p: Plain, command| order_all(desk, &p.ids, command, CommandSecrets::default(), p.how);
    match command {
        ActCommand::Lock(l) => {
            let secrets =
                CommandSecrets { message: l.message, phone_number: l.phone, ..CommandSecrets::default() };
            order_all(desk, &l.ids, Command::DeviceLock, secrets, l.how)
        }
        ActCommand::ClearPasscode(p) => plain(p, Command::ClearPasscode),
        ActCommand::Erase(e) => {
            let command = Command::EraseDevice {
                preserve_data_plan: e.keep_data_plan,
                disallow_proximity_setup: false,
            };
            let secrets = CommandSecrets { holder_name: e.name, ..CommandSecrets::default() };
            order_all(desk, &e.ids, command, secrets, e.how)
        }
        ActCommand::LostMode(LostMode::On(l)) => {
            let secrets = CommandSecrets {
                message: l.message,
                phone_number: l.phone,
                footnote: l.footnote,
                ..CommandSecrets::default()
            };
            order_all(desk, &l.ids, Command::EnableLostMode, secrets, l.how)
        }
        ActCommand::LostMode(LostMode::Off(p)) => plain(p, Command::DisableLostMode),
        ActCommand::LostMode(LostMode::Locate(p)) => plain(p, Command::DeviceLocation),
        ActCommand::LostMode(LostMode::Ring(p)) => plain(p, Command::PlayLostModeSound),
        ActCommand::Restart(r) => {
            let command = Command::RestartDevice { notify_user: r.notify };
            order_all(desk, &r.ids, command, CommandSecrets::default(), r.how)
        }
        ActCommand::Shutdown(p) => plain(p, Command::ShutDownDevice),
        ActCommand::InstallProfile(i) => {
            let Some((file, ids)) = i.ids_and_file.split_last() else {
                return Err(usage("give the phones' ids and the profile's file"));
            };
            let secrets = CommandSecrets {
                profile: Some(read_profile(&PathBuf::from(file))?),
                holder_name: i.name,
                ..CommandSecrets::default()
            };
            order_all(desk, ids, Command::InstallProfile, secrets, i.how)
        }
        ActCommand::RemoveProfile(r) => {
            let command = Command::RemoveProfile { identifier: r.identifier };
            let secrets = CommandSecrets { holder_name: r.name, ..CommandSecrets::default() };
            order_all(desk, &[r.id], command, secrets, r.how)
        }
        ActCommand::Settings(s) => settings(desk, s),
        ActCommand::UpdateOs(u) => declarations::update_os(desk, u),
    }
}

fn settings(desk: &Desk, s: Settings) -> Result<()> {
    let on = |s: Option<Switch>| s.map(|s| s == Switch::On);
    let mut items = Vec::new();
    items.extend(on(s.bluetooth).map(|enabled| Setting::Bluetooth { enabled }));
    items.extend(on(s.data_roaming).map(|enabled| Setting::DataRoaming { enabled }));
    items.extend(on(s.voice_roaming).map(|enabled| Setting::VoiceRoaming { enabled }));
    items.extend(on(s.personal_hotspot).map(|enabled| Setting::PersonalHotspot { enabled }));
    items.extend(s.device_name.as_ref().map(|_| Setting::DeviceName));
    items.extend(s.time_zone.map(|name| Setting::TimeZone { name }));
    if items.is_empty() {
        return Err(usage("name at least one setting, for example --bluetooth on"));
    }
    let secrets =
        CommandSecrets { device_name: s.device_name, holder_name: s.name, ..CommandSecrets::default() };
    order_all(desk, &s.ids, Command::Settings { items }, secrets, s.how)
}

fn read_profile(path: &std::path::Path) -> Result<Vec<u8>> {
    let wrong = |e: &dyn std::fmt::Display| usage(format!("the profile {}: {e}", path.display()));
    let bytes = read_file(path, apple::profile::MAX_PROFILE_BYTES)?;
    // What the vault would refuse, told before anything is signed.
    match harm::judge(&bytes) {
        Ok(_) => Ok(bytes),
        Err(e) => Err(wrong(&e)),
    }
}

/// What lies sealed in the order, as this person gave it.
fn sealed_words(secrets: &CommandSecrets) -> Vec<(&'static str, String)> {
    let mut out = Vec::new();
    let mut add = |name, value: &Option<String>| out.extend(value.clone().map(|v| (name, v)));
    add("message", &secrets.message);
    add("number", &secrets.phone_number);
    add("footnote", &secrets.footnote);
    add("device name", &secrets.device_name);
    add("holder", &secrets.holder_name);
    for (name, bytes) in [("app settings", &secrets.app_configuration), ("command", &secrets.raw)] {
        let text = |b: &Vec<u8>| format!("{} bytes, SHA-256 {}", b.len(), order::sha256(b));
        out.extend(bytes.as_ref().map(|b| (name, text(b))));
    }
    if let Some(profile) = &secrets.profile {
        out.push(("profile", format!("{} bytes, SHA-256 {}", profile.len(), order::sha256(profile))));
    }
    out
}

/// Why it counts as erasure.
pub(crate) fn erasing_because(harm: &Harm) -> Vec<String> {
    let Harm::Erasing { because } = harm else { return Vec::new() };
    let finding = |f: &harm::Finding| {
        let key = if f.key.is_empty() { String::new() } else { format!(".{}", f.key) };
        format!("counts as erasure: {}{key}: {}", f.payload_type, f.why)
    };
    because.iter().map(finding).collect()
}

pub(crate) fn order_all(
    desk: &Desk,
    ids: &[String],
    command: Command,
    mut secrets: CommandSecrets,
    how: How,
) -> Result<()> {
    let phones = devices::find_all(desk, ids)?;
    let harm = harm::judge_command(&command, &secrets);
    if harm.is_erasing() {
        if phones.len() > 1 && secrets.holder_name.is_some() {
            return Err(usage(
                "--name: the holder's name is for one phone; several take a second administrator",
            ));
        }
        if phones.len() > MOST_ERASED {
            return Err(usage(format!(
                "this counts as erasure, and one order erases {MOST_ERASED} phones at most\n  {}",
                erasing_because(&harm).join("\n  ")
            )));
        }
        if phones.len() == 1 && secrets.holder_name.is_none() {
            for why in erasing_because(&harm) {
                eprintln!("{why}");
            }
            secrets.holder_name = Some(show::ask("Type the holder's name, as on the invitation:", "--name")?);
        }
    }
    let outline = apple::outline::of_command(&command, &secrets);
    let kind = command.kind();
    let request_type = command.request_type().to_owned();
    if command.needs_supervision()
        && let Some(p) = phones.iter().find(|p| p.supervised == Some(false))
    {
        return Err(failed(format!(
            "{request_type} needs supervision, and phone {} is not supervised; leave it out",
            p.enrolment
        )));
    }
    if let Some(p) = phones.iter().find(|p| p.state != "enrolled") {
        eprintln!(
            "matron: phone {} is {}; it may never fetch the command",
            p.enrolment,
            show::line(&p.state)
        );
    }
    let reason = place::reason(how.reason)?;
    let mut beside = devices::labels(&phones);
    beside.sealed = sealed_words(&secrets);
    beside.warnings = erasing_because(&harm);
    if harm.is_erasing() && phones.len() > 1 {
        beside.warnings.push("several phones: it waits for a second administrator, and cools off".into());
    }
    if words::is_for_lost_phones(kind) {
        beside.warnings.push("works only while the phone is in lost mode".into());
    }
    let mut draft = Draft::new(OrderKind::Command { command }, &reason)
        .to(phones.iter().map(|p| p.enrolment).collect())
        .living(i64::from(how.days) * DAY_MS)
        .beside(beside);
    if secrets != CommandSecrets::default() {
        draft = draft.sealing(&secrets).telling(outline);
    }
    let placed = draft.place(desk, how.yes)?;
    tell(desk, &placed, &request_type, phones.len(), how.wait)?;
    if words::is_confirmed_later(kind) && !desk.reach.json {
        show::print(
            "Acknowledged is not yet done: 'matron devices show' says what the phone has confirmed.\n",
        )?;
    }
    Ok(())
}

pub(crate) fn tell(desk: &Desk, placed: &Placed, name: &str, phones: usize, wait: Option<u64>) -> Result<()> {
    if !desk.reach.json {
        show::print(&format!(
            "Accepted: order {}, ledger entry {}. {name} goes to {} at the next check-in.{}\n",
            placed.order,
            placed.position,
            show::count(phones as u64, "phone"),
            place::cooling_in_words(placed.order, placed.cools_until_ms),
        ))?;
    }
    let answers = match wait {
        Some(seconds) => Some(follow::wait_for(desk, &placed.order, phones, seconds)?),
        None => None,
    };
    if desk.reach.json {
        show::print_json(&json!({
            "order": placed.order,
            "position": placed.position,
            "erasing": placed.erasing,
            "cools_until_ms": placed.cools_until_ms,
            "commands": placed.commands,
            "phones": answers.as_ref().map(|a| &a.items),
        }))?;
    }
    match answers {
        Some(a) if !a.all_done => Err(CliError::Failed(format!(
            "not every phone has answered yet; see 'matron orders show {}'",
            placed.order
        ))),
        Some(a) if a.failed > 0 => Err(failed(format!("{} did not obey", show::count(a.failed, "phone")))),
        _ => Ok(()),
    }
}
