//! Declarations: files in a folder become a set that phones hold, and what the phones say of it.

use std::path::{Path, PathBuf};

use apple::declaration::{self, Declaration, MAX_SET_BYTES};
use apple::harm::{self, Harm};
use apple::json::{self, Json};
use clap::{Args, Subcommand};
use model::clock::{DAY_MS, HOUR_MS};
use model::{Command, DeclarationKind, EnrolmentId, OsVersion, SealedOutline, SetName, TimeMs};
use order::{DeclarationSecrets, OrderKind, sha256};
use serde::Deserialize;

use super::act::{self, How};
use super::desk::{Desk, shaped};
use super::device_groups;
use super::devices::{self, Device};
use super::failure::{Result, failed, usage};
use super::place::{self, Draft};
use super::show;

#[derive(Debug, Subcommand)]
pub(crate) enum DeclarationsCommand {
    /// Write a folder to begin with: a passcode policy, status subscriptions, and their activation.
    Starter(Folder),
    /// Read a folder's declarations and say what is wrong with them, and what counts as erasure.
    Check(Folder),
    /// Make a folder's declarations a set of each phone's: what that set held before is taken away.
    Set(Set),
    /// Take a set away. What protects (a passcode policy, say) counts as erasure.
    Clear(Clear),
    /// What a phone should hold, and what it says it holds.
    Show(One),
    /// Have phones look for new declarations now.
    Sync(Sync),
}

#[derive(Debug, Args)]
pub(crate) struct Folder {
    /// The folder; each .json file in it is one declaration with Type, Identifier and Payload.
    dir: PathBuf,
}

/// Which phones.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Whom {
    /// An enrolment id, or its first 6 digits or more; may be given again.
    #[arg(long, value_name = "ID")]
    phone: Vec<String>,
    /// Every enrolled phone of this home group.
    #[arg(long, value_name = "GROUP")]
    all_of: Option<String>,
    /// Every phone that is in this device group now: its name, or its id.
    #[arg(long, value_name = "NAME")]
    device_group: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The folder; each .json file in it is one declaration with Type, Identifier and Payload.
    dir: PathBuf,
    #[command(flatten)]
    whom: Whom,
    /// The set's name. A phone has one set of a name, and holds what all its sets say.
    #[arg(long, default_value = "policy")]
    set: String,
    /// The holder's name, when the set counts as erasure.
    #[arg(long, value_name = "HOLDER NAME")]
    name: Option<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(crate) struct Clear {
    #[command(flatten)]
    whom: Whom,
    /// The set's name.
    #[arg(long)]
    set: String,
    /// The holder's name, when taking the set away counts as erasure.
    #[arg(long, value_name = "HOLDER NAME")]
    name: Option<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// The enrolment id, or its first 6 digits or more.
    id: String,
}

#[derive(Debug, Args)]
pub(crate) struct Sync {
    /// Enrolment ids, or their first 6 digits or more.
    #[arg(required = true)]
    ids: Vec<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(crate) struct UpdateOs {
    /// Enrolment ids, or their first 6 digits or more.
    #[arg(required = true)]
    ids: Vec<String>,
    /// The version, for example 18.1.
    #[arg(long)]
    version: String,
    /// Its build, for example 22B83.
    #[arg(long)]
    build: Option<String>,
    /// The phone's local time by which it installs it by itself, for example 2026-12-01T20:00.
    #[arg(long, value_name = "DATE AND TIME")]
    by: String,
    /// An https page that the phone shows about it.
    #[arg(long)]
    details_url: Option<String>,
    #[command(flatten)]
    how: How,
}

pub(crate) fn run(desk: &Desk, command: DeclarationsCommand) -> Result<()> {
    match command {
        DeclarationsCommand::Starter(f) => starter(&f.dir),
        DeclarationsCommand::Check(f) => check(&f.dir),
        DeclarationsCommand::Set(s) => {
            let json = read_folder(&s.dir, &s.set)?;
            let phones = whom(desk, &s.whom)?;
            place_set(desk, &s.set, &json, &phones, s.name, s.how)
        }
        DeclarationsCommand::Clear(c) => {
            let phones = whom(desk, &c.whom)?;
            place_set(desk, &c.set, "[]", &phones, c.name, c.how)
        }
        DeclarationsCommand::Show(o) => show_one(desk, &o.id),
        DeclarationsCommand::Sync(s) => sync(desk, s),
    }
}

/// Every status item that stands in the clear and an iPhone has, besides the system's own.
const SUBSCRIBED: &[&str] = &[
    "device.model.family",
    "device.model.identifier",
    "device.model.number",
    "device.operating-system.build-version",
    "device.operating-system.family",
    "device.operating-system.version",
    "mdm.app",
    "passcode.is-compliant",
    "passcode.is-present",
    "softwareupdate.failure-reason",
    "softwareupdate.install-reason",
    "softwareupdate.install-state",
    "softwareupdate.pending-version",
];
/// What an update is followed by.
const UPDATE_ITEMS: &[&str] = &[
    "device.operating-system.version",
    "softwareupdate.failure-reason",
    "softwareupdate.install-reason",
    "softwareupdate.install-state",
    "softwareupdate.pending-version",
];

fn text(value: &str) -> Json {
    Json::Text(value.to_owned())
}

fn one(declared: &str, identifier: &str, payload: Json) -> Json {
    Json::object([("Identifier", text(identifier)), ("Payload", payload), ("Type", text(declared))])
}

fn activation(identifier: &str, configurations: &[String]) -> Json {
    let list = Json::List(configurations.iter().map(|c| text(c)).collect());
    one("com.apple.activation.simple", identifier, Json::object([("StandardConfigurations", list)]))
}

fn subscriptions(identifier: &str, items: &[&str]) -> Json {
    let items = items.iter().map(|i| Json::object([("Name", text(i))])).collect();
    let payload = Json::object([("StatusItems", Json::List(items))]);
    one("com.apple.configuration.management.status-subscriptions", identifier, payload)
}

fn starter(dir: &Path) -> Result<()> {
    let wrong = |e: std::io::Error| usage(format!("{}: {e}", dir.display()));
    std::fs::create_dir_all(dir).map_err(wrong)?;
    let passcode = Json::object([("MinimumLength", Json::Whole(6)), ("RequirePasscode", Json::Truth(true))]);
    let on = ["matron.passcode".to_owned(), "matron.status".to_owned()];
    for (file, content) in [
        ("activation.json", activation("matron.activation", &on)),
        ("passcode.json", one("com.apple.configuration.passcode.settings", "matron.passcode", passcode)),
        ("status.json", subscriptions("matron.status", SUBSCRIBED)),
    ] {
        let path = dir.join(file);
        if path.exists() {
            return Err(usage(format!("{} is there already; nothing is overwritten", path.display())));
        }
        // Laid out for people: the vault writes it anew anyway.
        let value: serde_json::Value = serde_json::from_str(&content.write()).map_err(failed)?;
        let text = serde_json::to_string_pretty(&value).map_err(failed)?;
        std::fs::write(&path, format!("{text}\n")).map_err(wrong)?;
    }
    show::print(&format!(
        "Three declarations are in {0}. Change them, then: matron declarations check {0}\n",
        dir.display()
    ))
}

/// The folder's declarations as a set's JSON. When it has configurations and no activation, one is added
/// that puts them all into force.
fn read_folder(dir: &Path, set: &str) -> Result<String> {
    let wrong = |what: &dyn std::fmt::Display| usage(format!("{}: {what}", dir.display()));
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .map_err(|e| wrong(&e))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort_unstable();
    if files.is_empty() {
        return Err(wrong(&"there is no .json file; to take a set away: matron declarations clear"));
    }
    let mut all = Vec::new();
    for file in files {
        let wrong = |what: &dyn std::fmt::Display| usage(format!("{}: {what}", file.display()));
        let size = std::fs::metadata(&file).map_err(|e| wrong(&e))?.len();
        if size > MAX_SET_BYTES as u64 {
            return Err(wrong(&format!("{size} bytes; a whole set may have {MAX_SET_BYTES}")));
        }
        let bytes = std::fs::read(&file).map_err(|e| wrong(&e))?;
        let content = json::read(&bytes, MAX_SET_BYTES).map_err(|e| wrong(&e))?;
        declaration::read_alone(&content).map_err(|e| wrong(&e))?;
        all.push(content);
    }
    let of = |prefix: &str| {
        let typed = |d: &&Json| d.get("Type").and_then(Json::as_text).is_some_and(|t| t.starts_with(prefix));
        let named = |d: &Json| d.get("Identifier").and_then(Json::as_text).map(str::to_owned);
        all.iter().filter(typed).filter_map(named).collect::<Vec<_>>()
    };
    let configurations = of("com.apple.configuration.");
    if of("com.apple.activation.").is_empty() && !configurations.is_empty() {
        let mut name = format!("{set}.activation");
        name.truncate(64);
        all.push(activation(&name, &configurations));
    }
    Ok(Json::List(all).write())
}

fn read_set(json: &str) -> Result<Vec<Declaration>> {
    declaration::read_set(json.as_bytes()).map_err(usage)
}

fn check(dir: &Path) -> Result<()> {
    let set = read_set(&read_folder(dir, "policy")?)?;
    let harm = declaration::judge(&set);
    let in_force = declaration::in_force(&set);
    let rows = set.iter().map(|d| {
        let on = match d.kind() {
            DeclarationKind::Configuration if !in_force.contains(d.identifier().as_str()) => "no",
            _ => "yes",
        };
        let supervised = if d.needs_supervision() { "supervised only" } else { "" };
        vec![d.identifier().to_string(), d.declared_type().to_owned(), on.to_owned(), supervised.to_owned()]
    });
    let mut out = show::table(&["IDENTIFIER", "TYPE", "IN FORCE", "NEEDS"], rows);
    for why in act::erasing_because(&harm) {
        out.push_str(&format!("{why}\n"));
    }
    out.push_str(if harm.is_erasing() {
        "It counts as erasure: one phone an order, and its holder's name.\n"
    } else {
        "It is mild by its content. Taking away what a phone held before may still count as erasure.\n"
    });
    show::print(&out)
}

fn whom(desk: &Desk, whom: &Whom) -> Result<Vec<Device>> {
    match (&whom.all_of, &whom.device_group) {
        (Some(group), _) => {
            devices::enrolled(desk, &format!("home group {group}"), ("group", Some(group.clone())))
        }
        (None, Some(named)) => device_groups::devices_in(desk, named),
        (None, None) => devices::find_all(desk, &whom.phone),
    }
}

fn place_set(
    desk: &Desk,
    set: &str,
    json: &str,
    phones: &[Device],
    holder: Option<String>,
    how: How,
) -> Result<()> {
    let name = SetName::new(set).map_err(usage)?;
    let declarations = read_set(json)?;
    let harm = declaration::judge(&declarations);
    if harm.is_erasing() && phones.len() != 1 {
        return Err(usage(format!(
            "this counts as erasure, and an order that erases names one phone only\n  {}",
            act::erasing_because(&harm).join("\n  ")
        )));
    }
    let holder = match (holder, &harm) {
        (None, Harm::Erasing { .. }) => {
            for why in act::erasing_because(&harm) {
                eprintln!("{why}");
            }
            Some(show::ask("Type the holder's name, as on the invitation:", "--name")?)
        }
        (holder, _) => holder,
    };
    if let Some(d) = declarations.iter().find(|d| d.needs_supervision())
        && let Some(p) = phones.iter().find(|p| p.supervised == Some(false))
    {
        return Err(failed(format!(
            "{} needs supervision, and phone {} is not supervised; leave it out",
            d.identifier(),
            p.enrolment
        )));
    }
    let reason = place::reason(how.reason)?;
    let mut beside = devices::labels(phones);
    let digest = sha256(json.as_bytes());
    let said = format!("{}, SHA-256 {digest}", show::count(declarations.len() as u64, "declaration"));
    beside.sealed.push(("declarations", said));
    for d in &declarations {
        beside.sealed.push(("declaration", format!("{} ({})", d.identifier(), d.declared_type())));
    }
    beside.sealed.extend(holder.clone().map(|h| ("holder", h)));
    beside.warnings = act::erasing_because(&harm);
    let outline = SealedOutline::Declarations(apple::outline::of_set(&declarations));
    let secrets = DeclarationSecrets { declarations: json.as_bytes().to_vec(), holder_name: holder };
    let draft = Draft::new(OrderKind::SetDeclarations { set: name }, &reason)
        .to(phones.iter().map(|p| p.enrolment).collect())
        .living(i64::from(how.days) * DAY_MS)
        .beside(beside)
        .sealing(&secrets)
        .telling(Some(outline));
    let placed = draft.place(desk, how.yes)?;
    act::tell(desk, &placed, "DeclarativeManagement", phones.len(), how.wait)
}

fn sync(desk: &Desk, s: Sync) -> Result<()> {
    let phones = devices::find_all(desk, &s.ids)?;
    let reason = place::reason(s.how.reason)?;
    let kind = OrderKind::Command { command: Command::DeclarativeManagement };
    let draft = Draft::new(kind, &reason)
        .to(phones.iter().map(|p| p.enrolment).collect())
        .living(i64::from(s.how.days) * DAY_MS)
        .beside(devices::labels(&phones));
    let placed = draft.place(desk, s.how.yes)?;
    act::tell(desk, &placed, "DeclarativeManagement", phones.len(), s.how.wait)
}

pub(crate) fn update_os(desk: &Desk, u: UpdateOs) -> Result<()> {
    check_update(&u, desk.now_ms())?;
    let phones = devices::find_all(desk, &u.ids)?;
    place_set(desk, "os-update", &update_set(&u)?, &phones, None, u.how)
}

/// What a phone would take without a word and never do.
fn check_update(u: &UpdateOs, now_ms: TimeMs) -> Result<()> {
    u.version.parse::<OsVersion>().map_err(|e| usage(format!("--version {}: {e}", u.version)))?;
    // By the phone's own clock; no two are further apart than 26 hours.
    let passed = words::wall_time(now_ms - 26 * HOUR_MS);
    if u.by.replace('T', " ") < passed {
        return Err(usage(format!("--by {}: that time has passed; give one to come", u.by)));
    }
    Ok(())
}

/// A set of its own, so that it leaves a phone's policies as they are.
fn update_set(u: &UpdateOs) -> Result<String> {
    let by = if u.by.len() == 16 { format!("{}:00", u.by) } else { u.by.clone() };
    let mut payload = vec![("TargetOSVersion", text(&u.version)), ("TargetLocalDateTime", text(&by))];
    payload.extend(u.build.as_deref().map(|b| ("TargetBuildVersion", text(b))));
    payload.extend(u.details_url.as_deref().map(|url| ("DetailsURL", text(url))));
    let payload = Json::Object(payload.into_iter().map(|(k, v)| (k.to_owned(), v)).collect());
    let on = ["matron.os-update".to_owned(), "matron.os-update.status".to_owned()];
    let json = Json::List(vec![
        activation("matron.os-update.activation", &on),
        one("com.apple.configuration.softwareupdate.enforcement.specific", "matron.os-update", payload),
        subscriptions("matron.os-update.status", UPDATE_ITEMS),
    ])
    .write();
    if let Harm::Erasing { because } = declaration::judge(&read_set(&json)?) {
        let finding = |f: &harm::Finding| format!("{}: {}", f.key, f.why);
        let why: Vec<_> = because.iter().map(finding).collect();
        return Err(usage(format!(
            "this is no update by deadline: {} (--by is like 2026-12-01T20:00, the phone's local time; \
             --details-url is an https address)",
            why.join("; ")
        )));
    }
    Ok(json)
}

#[derive(Deserialize)]
struct Held {
    set: String,
    kind: String,
    identifier: String,
    standing: String,
    reasons: Vec<String>,
    said_at_ms: Option<TimeMs>,
}

#[derive(Deserialize)]
struct LeftOver {
    kind: String,
    identifier: String,
}

#[derive(Deserialize)]
struct ItemError {
    item: String,
    reasons: Vec<String>,
}

#[derive(Deserialize)]
struct View {
    declarations: Vec<Held>,
    left_over: Vec<LeftOver>,
    errors: Vec<ItemError>,
    status_at_ms: Option<TimeMs>,
}

fn show_one(desk: &Desk, id: &str) -> Result<()> {
    let phone: EnrolmentId = devices::find(desk, id)?.enrolment;
    let value = desk.get(&format!("/api/v1/devices/{phone}/declarations"))?;
    if desk.reach.json {
        return show::print_json(&value);
    }
    let view: View = shaped(&value)?;
    let mut out = String::new();
    if view.declarations.is_empty() {
        out.push_str("No declarations are set for this phone.\n");
    } else {
        let rows = view.declarations.iter().map(|d| {
            let reasons = d.reasons.join(", ");
            let said = show::maybe_time(d.said_at_ms);
            vec![d.set.clone(), d.kind.clone(), d.identifier.clone(), d.standing.clone(), said, reasons]
        });
        out.push_str(&show::table(&["SET", "KIND", "IDENTIFIER", "STANDS", "SAID AT", "REASONS"], rows));
    }
    for l in &view.left_over {
        let name = show::line(&l.identifier);
        out.push_str(&format!("still on the phone, by its last report: {} {name}\n", show::line(&l.kind)));
    }
    for e in &view.errors {
        let reasons = show::line(&e.reasons.join(", "));
        out.push_str(&format!("the phone can't report {}: {reasons}\n", show::line(&e.item)));
    }
    out.push_str(&format!("Last status report: {}\n", show::ago(view.status_at_ms, desk.now_ms())));
    show::print(&out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(by: &str, details_url: Option<&str>) -> UpdateOs {
        UpdateOs {
            ids: vec![],
            version: "18.1".into(),
            build: Some("22B83".into()),
            by: by.into(),
            details_url: details_url.map(str::to_owned),
            how: How { reason: None, days: 7, wait: None, yes: true },
        }
    }

    #[test]
    fn an_update_to_no_version_or_by_a_time_that_has_passed_is_refused() {
        // 2026-11-28, about noon.
        let now_ms = 1_795_867_200_000;
        assert!(check_update(&update("2026-12-01T20:00", None), now_ms).is_ok());
        assert!(check_update(&update("2026-11-28T09:00", None), now_ms).is_ok(), "it may be earlier there");
        assert!(check_update(&update("2026-11-25T20:00", None), now_ms).is_err());
        assert!(
            check_update(&UpdateOs { version: "banana".into(), ..update("2026-12-01T20:00", None) }, now_ms)
                .is_err()
        );
    }

    #[test]
    fn an_update_is_a_mild_set_of_its_own_and_a_deadline_that_is_none_is_refused() {
        for by in ["2026-12-01T20:00", "2026-12-01T20:00:00"] {
            let set = read_set(&update_set(&update(by, Some("https://example.org/u"))).unwrap()).unwrap();
            assert_eq!(declaration::judge(&set), Harm::Mild);
            assert_eq!(declaration::in_force(&set).len(), 2);
        }
        for (by, url) in
            [("tomorrow", None), ("2026-02-30T20:00", None), ("2026-12-01T20:00", Some("http://x"))]
        {
            assert!(update_set(&update(by, url)).is_err(), "{by}");
        }
    }

    #[test]
    fn a_starters_files_are_a_mild_set_and_without_its_activation_one_is_added() {
        let dir = tempfile::tempdir().unwrap();
        starter(dir.path()).unwrap();
        assert!(starter(dir.path()).is_err(), "nothing is overwritten");
        let whole = read_set(&read_folder(dir.path(), "policy").unwrap()).unwrap();
        assert_eq!((whole.len(), declaration::judge(&whole)), (3, Harm::Mild));
        std::fs::remove_file(dir.path().join("activation.json")).unwrap();
        let added = read_set(&read_folder(dir.path(), "policy").unwrap()).unwrap();
        assert_eq!(declaration::in_force(&added), declaration::in_force(&whole));
        std::fs::write(dir.path().join("bad.json"), "{\"Type\": 1}").unwrap();
        let Err(e) = read_folder(dir.path(), "policy") else { panic!("it reads what is none") };
        assert!(format!("{e:?}").contains("bad.json"));
        assert!(read_folder(&dir.path().join("nowhere"), "policy").is_err());
    }
}
