//! The library of profiles: saved as versions, looked at, compared, installed.

use std::collections::HashSet;
use std::path::PathBuf;

use apple::harm;
use apple::profile::{self, schema};
use clap::{Args, Subcommand};
use model::clock::DAY_MS;
use model::{Change, CommandSecrets, EnrolmentId, OrderId, Outline, OutlinedValue, ProfileId};
use order::{OrderKind, SaveSecrets, SavedAnswer};
use serde::Deserialize;
use serde_json::{Value, json};
use words::profile as told;

use super::act::{self, How};
use super::desk::{Desk, shaped};
use super::device_groups;
use super::devices;
use super::failure::{CliError, Result, failed, usage};
use super::files::read_file;
use super::place::{self, Beside, Draft};
use super::show;

#[derive(Debug, Subcommand)]
pub(crate) enum ProfilesCommand {
    /// The library: each profile with its newest version, and how many phones said they hold it.
    List(List),
    /// A profile's versions, and what one of them says.
    Show(Show),
    /// Save a .mobileconfig (signed or not) as a new profile, or as the next version of one. No phone is told.
    Save(Save),
    /// Install a saved version on phones.
    Install(Install),
    /// What is different between two versions.
    Diff(Diff),
    /// Which phones were asked to hold it, and which said that they do.
    Phones(One),
    /// Take a profile out of the library, for good: nothing of it is installed any more. Phones keep what they have.
    End(End),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Those that were taken out, instead.
    #[arg(long)]
    ended: bool,
}

#[derive(Debug, Args)]
pub(crate) struct End {
    /// The profile's id, its first 6 digits or more, or its identifier.
    profile: String,
    /// Why. Auditors read it; no names or numbers here.
    #[arg(long)]
    reason: Option<String>,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// The profile's id, its first 6 digits or more, or its identifier.
    profile: String,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The profile's id, its first 6 digits or more, or its identifier.
    profile: String,
    /// Which version [default: the newest].
    #[arg(long, value_name = "NUMBER")]
    of: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct Save {
    /// The .mobileconfig.
    file: PathBuf,
    /// As the next version of this profile [default: of the one with the same identifier, or a new one].
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// Why. Auditors read it; no names or numbers here.
    #[arg(long)]
    reason: Option<String>,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Install {
    /// The profile's id, its first 6 digits or more, or its identifier.
    profile: String,
    /// Enrolment ids, or their first 6 digits or more.
    #[arg(required_unless_present = "device_group")]
    ids: Vec<String>,
    /// The phones that are in this device group now: its name, or its id.
    #[arg(long, value_name = "NAME", conflicts_with = "ids")]
    device_group: Option<String>,
    /// Which version [default: the newest].
    #[arg(long, value_name = "NUMBER")]
    of: Option<u32>,
    /// The holder's name, when the profile counts as erasure.
    #[arg(long, value_name = "HOLDER NAME")]
    name: Option<String>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The profile's id, its first 6 digits or more, or its identifier.
    profile: String,
    /// The older version [default: the one before the newer].
    #[arg(long, value_name = "NUMBER")]
    from: Option<u32>,
    /// The newer version [default: the newest].
    #[arg(long, value_name = "NUMBER")]
    to: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Page<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    profile: ProfileId,
    newest: Version,
    confirmed: u32,
}

#[derive(Debug, Deserialize)]
struct Version {
    version: u32,
    order: OrderId,
    saved_at_ms: i64,
    identifier: String,
    signed: bool,
    erasing: bool,
    payloads: Vec<String>,
    phones: Phones,
}

#[derive(Debug, Deserialize)]
struct Phones {
    asked: u32,
    failed: u32,
    confirmed: u32,
}

#[derive(Debug, Deserialize)]
struct Detail {
    versions: Vec<Version>,
    removing: Phones,
    ended_at_ms: Option<i64>,
    ended_by: Option<OrderId>,
}

#[derive(Debug, Deserialize)]
struct VersionDetail {
    version: Version,
    outline: Outline,
    because: Vec<(String, String)>,
    content: bool,
    against: Option<u32>,
    changes: Vec<Change>,
}

#[derive(Debug, Deserialize)]
struct Phone {
    enrolment: EnrolmentId,
    version: u32,
    state: String,
    command: Option<String>,
    confirmed: u32,
    confirmed_at_ms: Option<i64>,
}

pub(crate) fn run(desk: &Desk, command: ProfilesCommand) -> Result<()> {
    match command {
        ProfilesCommand::List(l) => list(desk, l.ended),
        ProfilesCommand::Show(s) => show_one(desk, &s),
        ProfilesCommand::Save(s) => save(desk, s),
        ProfilesCommand::Install(i) => install(desk, i),
        ProfilesCommand::Diff(d) => diff(desk, &d),
        ProfilesCommand::Phones(o) => phones(desk, &o.profile),
        ProfilesCommand::End(e) => end(desk, e),
    }
}

fn listed(desk: &Desk, ended: bool) -> Result<(Value, Vec<Listed>)> {
    let value = desk.get(if ended { "/api/v1/profiles?ended=true" } else { "/api/v1/profiles" })?;
    let page: Page<Listed> = shaped(&value)?;
    Ok((value, page.items))
}

/// The profile that is meant, also one that was taken out.
fn find_any(desk: &Desk, named: &str) -> Result<Listed> {
    match find(desk, named) {
        Err(CliError::NotFound(why)) => match among(listed(desk, true)?.1, named)? {
            Some(ended) => Ok(ended),
            None => Err(CliError::NotFound(why)),
        },
        found => found,
    }
}

/// The profile of the library that is meant.
fn find(desk: &Desk, named: &str) -> Result<Listed> {
    among(listed(desk, false)?.1, named)?.ok_or_else(|| {
        CliError::NotFound(format!(
            "the library has no profile '{}'; 'matron profiles list' has them all, with --ended those that were taken out",
            show::line(named)
        ))
    })
}

fn among(mut found: Vec<Listed>, named: &str) -> Result<Option<Listed>> {
    let digits = named.to_ascii_lowercase();
    let by_id = digits.len() >= 6 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    found.retain(|p| p.newest.identifier == named || (by_id && p.profile.to_string().starts_with(&digits)));
    match (found.pop(), found.is_empty()) {
        (one, true) => Ok(one),
        (None, false) => Ok(None),
        (Some(_), false) => Err(usage(format!(
            "several profiles are meant by '{}'; give an id's first digits",
            show::line(named)
        ))),
    }
}

fn list(desk: &Desk, ended: bool) -> Result<()> {
    let (value, items) = listed(desk, ended)?;
    if desk.reach.json {
        return show::print_json(&value);
    }
    if items.is_empty() && ended {
        return show::print("None was taken out of the library.\n");
    }
    if items.is_empty() {
        return show::print("The library is empty. A first profile: matron profiles save FILE\n");
    }
    let rows = items.iter().map(|p| {
        vec![
            p.profile.to_string().chars().take(8).collect(),
            p.newest.identifier.clone(),
            p.newest.version.to_string(),
            payloads(&p.newest.payloads),
            if p.newest.erasing { "counts as erasure".into() } else { String::new() },
            format!("{} of {}", p.newest.phones.confirmed, p.confirmed),
        ]
    });
    show::print(&show::table(&["PROFILE", "IDENTIFIER", "VERSION", "WHAT", "HARM", "ON THE NEWEST"], rows))
}

fn payloads(types: &[String]) -> String {
    types.iter().map(|t| told::payload(t)).collect::<Vec<_>>().join(", ")
}

fn version(
    desk: &Desk,
    profile: ProfileId,
    number: u32,
    against: Option<u32>,
) -> Result<(Value, VersionDetail)> {
    let against = against.map(|a| format!("?against={a}")).unwrap_or_default();
    let value = desk.get(&format!("/api/v1/profiles/{profile}/versions/{number}{against}"))?;
    let detail = shaped(&value)?;
    Ok((value, detail))
}

fn show_one(desk: &Desk, s: &Show) -> Result<()> {
    let found = find_any(desk, &s.profile)?;
    let number = s.of.unwrap_or(found.newest.version);
    let (value, one) = version(desk, found.profile, number, None)?;
    let all = desk.get(&format!("/api/v1/profiles/{}", found.profile))?;
    if desk.reach.json {
        return show::print_json(&json!({ "profile": all, "version": value }));
    }
    let all: Detail = shaped(&all)?;
    let content = match (all.ended_at_ms, all.ended_by) {
        (Some(at_ms), Some(by)) => {
            format!("no: it was taken out of the library {} by order {by}", show::time(at_ms))
        }
        _ if one.content => "yes".into(),
        _ => "no: its content is lost; save it again".into(),
    };
    let mut out = show::facts(&[
        ("profile", found.profile.to_string()),
        ("identifier", one.version.identifier.clone()),
        ("version", format!("{number} of {}", found.newest.version)),
        ("saved", format!("{} by order {}", show::time(one.version.saved_at_ms), one.version.order)),
        (
            "signed",
            if one.version.signed { "yes; nobody has vouched for the certificate" } else { "no" }.into(),
        ),
        ("harm", harm_of(&one)),
        ("can be installed", content),
    ]);
    out.push('\n');
    out.push_str(&outlined(&one.outline, &[]));
    if let Some(against) = one.against {
        out.push_str(&format!("\nDifferent from version {against}:\n"));
        out.push_str(&changes(&one.changes));
    }
    out.push('\n');
    let rows = all.versions.iter().map(|v| {
        vec![
            v.version.to_string(),
            show::time(v.saved_at_ms),
            v.phones.confirmed.to_string(),
            v.phones.asked.to_string(),
            v.phones.failed.to_string(),
        ]
    });
    out.push_str(&show::table(&["VERSION", "SAVED", "CONFIRMED", "ASKED", "FAILED"], rows));
    if all.removing.asked > 0 {
        out.push_str(&format!("Asked to remove it: {}\n", show::count(all.removing.asked.into(), "phone")));
    }
    show::print(&out)
}

/// What is told of a version here, for the order's digest.
fn shown(one: &VersionDetail) -> order::ShownVersion {
    order::ShownVersion {
        saved_by: one.version.order,
        outline: one.outline.clone(),
        erasing: one.version.erasing,
        because: one.because.clone(),
    }
}

/// What an order does that installs a saved version, held against the digest that stands in the order: the server's word
/// alone is not shown.
pub(crate) fn inside(desk: &Desk, kind: &OrderKind) -> Result<Vec<String>> {
    let Some((profile, number, digest)) = order::installs(kind) else { return Ok(Vec::new()) };
    let (_, one) = match version(desk, profile, number, None) {
        Err(CliError::NotFound(_)) => {
            return Err(failed(format!(
                "what version {number} of profile {profile} says is not there any more, so that what the order does can't be \
                 shown; nothing was signed"
            )));
        }
        found => found?,
    };
    if shown(&one).digest() != digest {
        return Err(failed(format!(
            "what the server shows as version {number} of profile {profile} is not what the order was signed for; nothing was \
             signed"
        )));
    }
    let mut out = words::outline::saved(&one.outline);
    out.push(format!("it was saved by order {}; {}", one.version.order, harm_of(&one)));
    Ok(out)
}

/// A version that is mild: its profile, its number, and what an order about it carries. It is told first.
pub(crate) fn mild(
    desk: &Desk,
    named: &str,
    of: Option<u32>,
) -> Result<(ProfileId, u32, String, model::Digest)> {
    let found = find(desk, named)?;
    let number = of.unwrap_or(found.newest.version);
    let (_, one) = version(desk, found.profile, number, None)?;
    if one.version.erasing {
        return Err(usage(format!(
            "--profile: this version {}; mild ones alone are installed by themselves",
            harm_of(&one)
        )));
    }
    if !one.content {
        return Err(failed("what was saved as this version is lost; save it again, and install that"));
    }
    if !desk.reach.json {
        eprint!("{}", outlined(&one.outline, &[]));
    }
    let shown = shown(&one).digest();
    Ok((found.profile, number, one.outline.identifier, shown))
}

fn harm_of(one: &VersionDetail) -> String {
    if !one.version.erasing {
        return "mild".into();
    }
    format!("counts as erasure: {}", told::because(&one.because))
}

/// An outline as a table; `texts` are those that whoever saved it is told.
fn outlined(outline: &Outline, texts: &[order::SavedText]) -> String {
    let of = |name: &str, at: Option<u32>, key: &model::OutlinedKey| {
        let text = texts.iter().find(|t| t.payload == at && t.path == key.path);
        let value = match (&key.value, text) {
            (OutlinedValue::Set(_), Some(t)) => t.text.clone(),
            (value, _) => told::value(value),
        };
        vec![name.to_owned(), told::key(&key.path), value]
    };
    let mut rows: Vec<_> = outline.keys.iter().map(|k| of("The profile itself", None, k)).collect();
    for (at, payload) in (0u32..).zip(&outline.payloads) {
        let name = told::payload(&payload.payload_type);
        rows.extend(payload.keys.iter().map(|k| of(&name, Some(at), k)));
        if payload.unknown_keys > 0 {
            let keys = show::count(payload.unknown_keys.into(), "key");
            rows.push(vec![name, keys, "not in Apple's schema, as it is known here".into()]);
        }
    }
    if outline.left_out > 0 {
        rows.push(vec![String::new(), "and more".into(), show::count(outline.left_out.into(), "key")]);
    }
    show::table(&["PAYLOAD", "KEY", "VALUE"], rows)
}

fn changes(changes: &[Change]) -> String {
    if changes.is_empty() {
        return "  nothing that can be told\n".into();
    }
    changes.iter().map(|c| format!("  {}\n", show::line(&told::change(c)))).collect()
}

fn diff(desk: &Desk, d: &Diff) -> Result<()> {
    let found = find_any(desk, &d.profile)?;
    let to = d.to.unwrap_or(found.newest.version);
    if d.from.is_none() && to < 2 {
        return Err(usage("there is only one version; nothing to compare it with"));
    }
    let (value, one) = version(desk, found.profile, to, d.from)?;
    if desk.reach.json {
        return show::print_json(&json!({ "from": one.against, "to": to, "changes": value.get("changes") }));
    }
    let from = one.against.unwrap_or_default();
    show::print(&format!(
        "{}, from version {from} to {to}:\n{}",
        show::line(&one.version.identifier),
        changes(&one.changes)
    ))
}

fn phones(desk: &Desk, named: &str) -> Result<()> {
    let found = find_any(desk, named)?;
    let path = format!("/api/v1/profiles/{}/phones", found.profile);
    let value = desk.list(&path, &[], 20_000, None)?;
    if desk.reach.json {
        return show::print_json(&value);
    }
    let page: Page<Phone> = shaped(&value)?;
    let rows = page.items.iter().map(|p| {
        let confirmed = match p.confirmed {
            0 => "-".to_owned(),
            n => format!("{n}, {}", show::maybe_time(p.confirmed_at_ms)),
        };
        let asked = if p.version == 0 { "to remove it".into() } else { format!("version {}", p.version) };
        let answer = match (p.state.as_str(), p.command.as_deref()) {
            ("asked", Some(command)) => command.to_owned(),
            ("asked", None) => "no answer".into(),
            (state, _) => state.to_owned(),
        };
        vec![p.enrolment.to_string().chars().take(12).collect(), asked, answer, confirmed]
    });
    let more = if page.next_cursor.is_some() { "There are more.\n" } else { "" };
    show::print(&format!(
        "{}{more}Confirmed: the phone said that it installed it, and was told nothing else of it since.\n",
        show::table(&["PHONE", "ASKED", "ANSWER", "CONFIRMED"], rows)
    ))
}

/// What a file would be saved as, told before anything is signed.
fn read_version(path: &std::path::Path) -> Result<(Vec<u8>, schema::Profile, Beside)> {
    let wrong = |e: &dyn std::fmt::Display| usage(format!("the profile {}: {e}", path.display()));
    let bytes = read_file(path, profile::MAX_PROFILE_BYTES)?;
    let unwrapped = profile::unwrapped(&bytes).map_err(|e| wrong(&e))?;
    let read = schema::read(&unwrapped.profile).map_err(|e| wrong(&e))?;
    let harm = harm::judge(&unwrapped.profile).map_err(|e| wrong(&e))?;
    let mut beside = Beside::default();
    let digest = order::sha256(&bytes);
    beside.sealed.push(("profile", format!("{} bytes, SHA-256 {digest}", bytes.len())));
    beside.sealed.push(("identifier", read.outline.identifier.clone()));
    beside.sealed.extend(unwrapped.signed_by.map(|by| ("signed by", by)));
    beside.warnings = act::erasing_because(&harm);
    beside.warnings.extend(read.remarks.iter().map(|r| format!("{}: {}", r.path, r.why)));
    Ok((bytes, read, beside))
}

fn save(desk: &Desk, s: Save) -> Result<()> {
    let (profile_bytes, read, mut beside) = read_version(&s.file)?;
    let same = |p: &Listed| p.newest.identifier == read.outline.identifier;
    let into = match &s.profile {
        Some(named) => Some(find(desk, named)?),
        None => listed(desk, false)?.1.into_iter().find(same),
    };
    if let Some(p) = into.as_ref().filter(|p| !same(p)) {
        return Err(usage(format!(
            "the profile's identifier is '{}', the file's is '{}': phones would take it for another profile beside the one \
             they hold; save it as a profile of its own",
            show::line(&p.newest.identifier),
            show::line(&read.outline.identifier)
        )));
    }
    beside.warnings.push(
        "the identifier, and what is told of the profile after it is saved, stand in the ledger in the clear, for good".into(),
    );
    let profile = match &into {
        Some(p) => p.profile,
        None => ProfileId(desk.random()?),
    };
    let reason = place::reason(s.reason)?;
    let secrets = SaveSecrets { profile: profile_bytes, salt: desk.random::<32>()?.to_vec() };
    let draft = Draft::new(OrderKind::SaveProfile { profile }, &reason).beside(beside).sealing(&secrets);
    let placed = draft.place(desk, s.yes)?;
    let saved: SavedAnswer = place::opened(&placed)?;
    if desk.reach.json {
        return show::print_json(&json!({
            "order": placed.order, "position": placed.position, "profile": saved.profile, "version": saved.version,
            "outline": saved.outline, "signed_by": saved.signed_by, "remarks": saved.remarks, "because": saved.because,
        }));
    }
    let mut out = format!(
        "Saved as version {} of profile {}, ledger entry {}. No phone was told.\n\n{}",
        saved.version,
        saved.profile,
        placed.position,
        outlined(&saved.outline, &saved.texts)
    );
    for because in &saved.because {
        out.push_str(&format!("counts as erasure: {}\n", show::line(because)));
    }
    show::print(&out)
}

/// The phones of a device group that lack the newest version: who has it, or was asked and may still answer, is left out.
fn lacking(desk: &Desk, profile: ProfileId, named: &str) -> Result<Vec<devices::Device>> {
    #[derive(Deserialize)]
    struct Lacking {
        phones: HashSet<EnrolmentId>,
    }
    let group = device_groups::find(desk, named)?.device_group;
    let lacking: Lacking =
        shaped(&desk.get(&format!("/api/v1/profiles/{profile}/device-groups/{group}/phones"))?)?;
    let mut phones = device_groups::devices_in(desk, named)?;
    let all = phones.len();
    phones.retain(|d| lacking.phones.contains(&d.enrolment));
    if phones.is_empty() {
        return Err(usage(format!(
            "--device-group: none of the {} in it lacks the newest version, or each was asked and may still answer",
            show::count(all as u64, "phone")
        )));
    }
    if phones.len() < all {
        eprintln!(
            "{} in it are left out: they have this version, or may still answer.",
            show::count((all - phones.len()) as u64, "phone")
        );
    }
    Ok(phones)
}

fn end(desk: &Desk, e: End) -> Result<()> {
    let found = find(desk, &e.profile)?;
    let identifier = show::line(&found.newest.identifier);
    let remove = format!("matron devices remove-profile '{identifier}' PHONE");
    let mut beside = Beside::default();
    beside.warnings.push(format!(
        "it is '{identifier}'; its identifier is not used again, and what is sealed of its {} is deleted",
        show::count(found.newest.version.into(), "version")
    ));
    if found.confirmed > 0 {
        beside.warnings.push(format!(
            "{} said that they hold it, and keep it: '{remove}' removes it, which counts as erasure",
            show::count(found.confirmed.into(), "phone")
        ));
    }
    let reason = place::reason(e.reason)?;
    let kind = OrderKind::EndProfile { profile: found.profile };
    let placed = Draft::new(kind, &reason).beside(beside).place(desk, e.yes)?;
    if desk.reach.json {
        return show::print_json(
            &json!({ "order": placed.order, "position": placed.position, "ended": found.profile }),
        );
    }
    show::print(&format!(
        "Profile '{identifier}' is taken out of the library, ledger entry {}. 'matron profiles phones {}' lists the phones that have it.\n",
        placed.position, found.profile
    ))
}

fn install(desk: &Desk, i: Install) -> Result<()> {
    let found = find(desk, &i.profile)?;
    let number = i.of.unwrap_or(found.newest.version);
    let (_, one) = version(desk, found.profile, number, None)?;
    if !one.content {
        return Err(failed("what was saved as this version is lost; save it again, and install that"));
    }
    // Which phones a rule holds is the server's word: what erases names them one by one.
    if one.version.erasing && i.device_group.is_some() {
        return Err(usage(format!(
            "--device-group: this version {}; name each phone by its id\n  'matron device-groups phones {}' lists those in it",
            show::line(&harm_of(&one)),
            show::line(i.device_group.as_deref().unwrap_or_default())
        )));
    }
    let phones = match &i.device_group {
        Some(named) if number == found.newest.version => lacking(desk, found.profile, named)?,
        Some(named) => device_groups::devices_in(desk, named)?,
        None => devices::find_all(desk, &i.ids)?,
    };
    let mut holder = i.name;
    if one.version.erasing && phones.len() == 1 && holder.is_none() {
        eprintln!("{}", show::line(&harm_of(&one)));
        holder = Some(show::ask("Type the holder's name, as on the invitation:", "--name")?);
    }
    if phones.len() > 1 && holder.is_some() {
        return Err(usage("--name: the holder's name is for one phone; several take a second administrator"));
    }
    let reason = place::reason(i.how.reason)?;
    let mut beside = devices::labels(&phones);
    beside.sealed.extend(holder.clone().map(|h| ("holder", h)));
    // All that the order's digest stands for: the vault installs this or nothing.
    let types: Vec<String> = one.outline.payloads.iter().map(|p| p.payload_type.clone()).collect();
    beside.warnings.push(format!(
        "it is '{}', saved by order {}: {}",
        show::line(&one.outline.identifier),
        one.version.order,
        payloads(&types)
    ));
    if !desk.reach.json {
        eprint!("{}", outlined(&one.outline, &[]));
    }
    if one.version.erasing {
        beside.warnings.push(harm_of(&one));
    }
    let shown = shown(&one).digest();
    let kind = OrderKind::InstallSaved {
        profile: found.profile,
        version: number,
        identifier: one.outline.identifier.clone(),
        erasing: one.version.erasing,
        shown,
    };
    let mut draft = Draft::new(kind, &reason)
        .to(phones.iter().map(|p| p.enrolment).collect())
        .living(i64::from(i.how.days) * DAY_MS)
        .beside(beside);
    if holder.is_some() {
        draft = draft.sealing(&CommandSecrets { holder_name: holder, ..CommandSecrets::default() });
    }
    let placed = draft.place(desk, i.how.yes)?;
    act::tell(desk, &placed, "InstallProfile", phones.len(), i.how.wait)
}
