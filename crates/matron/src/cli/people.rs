//! The people who sign orders.

use clap::{Args, Subcommand};
use model::{DataSubject, Group, KeyId, PersonId, Role, TimeMs};
use order::{JoinSecrets, OrderKind, PersonKey, Scheme};
use serde::Deserialize;
use serde_json::json;

use super::desk::{Desk, shaped};
use super::failure::{CliError, Result, usage};
use super::place::Beside;
use super::place::Draft;
use super::show;

#[derive(Debug, Subcommand)]
pub(crate) enum PeopleCommand {
    /// Add a person, by the public key that their 'matron admin key' printed.
    Add(Add),
    /// Everyone who may sign orders. Names are sealed; here are ids.
    List,
    /// A person leaves: their keys, sessions and grants end.
    Remove(Remove),
    /// Destroy the key under which the ledger keeps a person's name (UK GDPR, article 17). There is no way
    /// back; the ledger still verifies.
    Erase(Erase),
}

#[derive(Debug, Args)]
pub(crate) struct Erase {
    /// The id of someone who signed orders and was removed, or its first digits.
    #[arg(required_unless_present = "phone", conflicts_with = "phone")]
    person: Option<String>,
    /// The holder of this phone instead: its enrolment id, or its first digits.
    #[arg(long, value_name = "PHONE")]
    phone: Option<String>,
    /// Also while the phone is under management. It can then not be erased by order any more.
    #[arg(long, requires = "phone")]
    even_if_enrolled: bool,
    /// Why.
    #[arg(long)]
    reason: Option<String>,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    /// The person's name; it is sealed to the vault.
    #[arg(long)]
    name: String,
    /// administrator, engineer, service_desk, ward_manager or auditor.
    #[arg(long, value_parser = ["administrator", "engineer", "service_desk", "ward_manager", "auditor"])]
    role: String,
    /// The group of a ward manager.
    #[arg(long)]
    group: Option<String>,
    /// The person's public key: 64 hexadecimal digits.
    #[arg(long, required_unless_present = "passkey")]
    key: Option<String>,
    /// A passkey instead, for the console: prints a link for the person to open in their browser, and waits.
    #[arg(long, conflicts_with = "key")]
    passkey: bool,
    /// Why.
    #[arg(long)]
    reason: Option<String>,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// The person's id, or its first digits.
    person: String,
    /// Why.
    #[arg(long)]
    reason: Option<String>,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
}

/// A person as the API tells them.
#[derive(Deserialize)]
pub(crate) struct Person {
    pub(crate) person: PersonId,
    pub(crate) role: String,
    pub(crate) group: Option<String>,
    pub(crate) keys: Vec<KeyId>,
    pub(crate) joined_at_ms: TimeMs,
    pub(crate) removed_at_ms: Option<TimeMs>,
}

#[derive(Deserialize)]
struct People {
    items: Vec<Person>,
}

fn all(desk: &Desk) -> Result<serde_json::Value> {
    desk.list("/api/v1/people", &[], 10_000, None)
}

/// Whose key it is.
pub(crate) fn find_by_key(desk: &Desk, key: &KeyId) -> Result<Option<Person>> {
    let people: People = shaped(&all(desk)?)?;
    Ok(people.items.into_iter().find(|p| p.removed_at_ms.is_none() && p.keys.contains(key)))
}

pub(crate) fn run(desk: &Desk, command: PeopleCommand) -> Result<()> {
    match command {
        PeopleCommand::Add(a) => add(desk, a),
        PeopleCommand::List => list(desk),
        PeopleCommand::Remove(r) => remove(desk, &r),
        PeopleCommand::Erase(e) => erase(desk, &e),
    }
}

/// A public key as 'matron admin key' prints it.
pub(crate) fn public_key(text: &str) -> Result<PersonKey> {
    let public: model::Digest = text
        .trim()
        .parse()
        .map_err(|_| usage("the key: 64 hexadecimal digits, as 'matron admin key' prints"))?;
    Ok(PersonKey { scheme: Scheme::Ed25519, public: public.0.to_vec() })
}

/// The key that was given, or a passkey from whoever opens the link.
pub(crate) fn new_key(desk: &Desk, given: Option<&str>) -> Result<PersonKey> {
    given.map_or_else(|| super::passkey::registered(desk), public_key)
}

fn add(desk: &Desk, a: Add) -> Result<()> {
    let key = new_key(desk, a.key.as_deref())?;
    let role = Role::ALL.into_iter().find(|r| r.name() == a.role).ok_or_else(|| usage("--role"))?;
    let group = a.group.as_deref().map(Group::new).transpose().map_err(|e| usage(format!("--group: {e}")))?;
    if (role == Role::WardManager) != group.is_some() {
        return Err(usage("--group: a ward manager has one, the other roles have none"));
    }
    let key_id = order::key_id(&key.public);
    let beside = Beside { sealed: vec![("name", a.name.clone())], ..Beside::default() };
    let reason = a.reason.unwrap_or_else(|| "a person joins".into());
    let placed = Draft::new(OrderKind::AddPerson { key, role, group }, &reason)
        .sealing(&JoinSecrets { name: a.name.trim().to_owned() })
        .beside(beside)
        .place(desk, a.yes)?;
    let joined = find_by_key(desk, &key_id)?;
    if desk.reach.json {
        return show::print_json(&json!({ "order": placed.order, "person": joined.map(|p| p.person) }));
    }
    let id = joined.map(|p| p.person.to_string()).unwrap_or_default();
    show::print(&format!("Person {id} may sign orders as {} now.\n", a.role))
}

fn list(desk: &Desk) -> Result<()> {
    let value = all(desk)?;
    if desk.reach.json {
        return show::print_json(&value);
    }
    let people: People = shaped(&value)?;
    let rows = people.items.into_iter().map(|p| {
        vec![
            p.person.to_string(),
            p.role,
            p.group.unwrap_or_else(|| "-".into()),
            p.keys.len().to_string(),
            show::time(p.joined_at_ms),
            p.removed_at_ms.map_or_else(|| "-".into(), show::time),
        ]
    });
    show::print(&show::table(&["PERSON", "ROLE", "GROUP", "KEYS", "JOINED", "LEFT"], rows))
}

/// The present person whose id begins so.
pub(crate) fn find(desk: &Desk, wanted: &str) -> Result<PersonId> {
    let people: People = shaped(&all(desk)?)?;
    let wanted = wanted.to_ascii_lowercase();
    let found: Vec<_> = people
        .items
        .iter()
        .filter(|p| {
            wanted.len() >= 6 && p.removed_at_ms.is_none() && p.person.to_string().starts_with(&wanted)
        })
        .collect();
    match found.as_slice() {
        [one] => Ok(one.person),
        [] => Err(CliError::NotFound("there is no such person; see 'matron people list'".into())),
        _ => Err(usage("more than one person's id begins so; give more digits")),
    }
}

fn remove(desk: &Desk, r: &Remove) -> Result<()> {
    let person = find(desk, &r.person)?;
    let reason = super::place::reason(r.reason.clone())?;
    let placed = Draft::new(OrderKind::RemovePerson { person }, &reason).place(desk, r.yes)?;
    if desk.reach.json {
        return show::print_json(&json!({ "order": placed.order, "removed": person }));
    }
    show::print(&format!("Person {person} signs no more orders.\n"))
}

fn erase(desk: &Desk, e: &Erase) -> Result<()> {
    let subject = match (&e.person, &e.phone) {
        (Some(person), _) => {
            let people: People = shaped(&all(desk)?)?;
            let wanted = person.to_ascii_lowercase();
            let mut found =
                people.items.iter().map(|p| p.person).filter(|p| p.to_string().starts_with(&wanted));
            match (found.next().filter(|_| wanted.len() >= 6), found.next()) {
                (Some(one), None) => DataSubject::Person(one),
                (None, _) => {
                    return Err(CliError::NotFound(
                        "there is no such person; see 'matron people list'".into(),
                    ));
                }
                _ => return Err(usage("more than one person's id begins so; give more digits")),
            }
        }
        (None, Some(phone)) => DataSubject::Holder(super::devices::find(desk, phone)?.enrolment),
        (None, None) => return Err(usage("whom? A person's id, or --phone")),
    };
    let reason = super::place::reason(e.reason.clone())?;
    let kind = OrderKind::ErasePerson { subject, despite_enrolled: e.even_if_enrolled };
    let placed = Draft::new(kind, &reason).place(desk, e.yes)?;
    if desk.reach.json {
        return show::print_json(&json!({ "order": placed.order, "erased": subject }));
    }
    show::print(
        "Erased: the key is destroyed, and the ledger keeps only what nobody can read. Backups of persons.keys made \
         before still hold it: let them run out, or destroy them.\n",
    )
}
