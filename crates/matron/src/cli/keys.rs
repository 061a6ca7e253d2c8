//! The house's keys: how they stand, new ones by order, and what is done when somebody was in.

use clap::{Args, Subcommand};
use model::{KeyId, KeyName, TimeMs};
use order::OrderKind;
use serde::Deserialize;
use serde_json::json;

use super::desk::{Desk, shaped};
use super::failure::{Result, failed, usage};
use super::place::{self, Beside, Draft};
use super::{people, show};

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Every key of the house: since when it serves, and what is still under older ones.
    Show,
    /// Make keys anew, by their names or 'all'. It takes two administrators, where there are two.
    Rotate(Rotate),
    /// End the older CA now, though phones are left that use its certificates: they have to be invited again. It takes two
    /// administrators, where there are two.
    EndOld(EndOld),
}

#[derive(Debug, Args)]
pub(crate) struct EndOld {
    /// Why.
    #[arg(long)]
    reason: Option<String>,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// Names as 'matron keys show' has them, or 'all' (but the CA and the root key, each by its own name: with another CA
    /// every phone gets a new certificate, and another root key is alarmed of by witnesses).
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,
    /// Why.
    #[arg(long)]
    reason: Option<String>,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AssumeBreach {
    #[command(subcommand)]
    command: Option<BreachCommand>,
    /// How many phones an hour are asked for a new certificate, 1 to 20000.
    #[arg(long, value_name = "PHONES", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    reissues_an_hour: u32,
    /// Why.
    #[arg(long)]
    reason: Option<String>,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BreachCommand {
    /// What is not yet done. Exit code 0 only when nothing is left of what Matron does.
    Status,
}

/// What Matron's command does not reach, and who does it.
const BEYOND: &str = "\
Not done by this, do it yourself where the intruder may have been (docs/operations.md, \"Keys\"):
  root key               made anew with this; compare its fingerprint ('matron admin whoami') with one another, and with each
                         witness's alarm: a thief of the older one can name another to who was not led on yet
  reader's phone tags    not rotated: by them it knows which phone is which
  TLS key from files     a new one from whoever certifies it (phones.tls_key); by ACME: a new account
  push certificate       revoke it in Apple's portal and ask for a new one ('matron push')
  SIEM, webhook, backup  secrets that the configuration names; the backups' recipients
  sets of declarations   they stand: look through them ('matron declarations')
";

#[derive(Deserialize)]
struct Keys {
    epoch: u32,
    keys: Vec<Key>,
    breach: Option<Breach>,
}

#[derive(Deserialize)]
struct Key {
    name: String,
    held_by: String,
    epoch: u32,
    made_at_ms: Option<TimeMs>,
    state: String,
    left: u64,
}

#[derive(Deserialize)]
struct Breach {
    at_ms: TimeMs,
    position: u64,
    phones: u64,
    signers: u64,
    people_without_key: u64,
    rows: u64,
    rooms_follow: bool,
    done: bool,
}

pub(crate) fn run(desk: &Desk, command: KeysCommand) -> Result<()> {
    match command {
        KeysCommand::Show => show_keys(desk),
        KeysCommand::Rotate(r) => rotate(desk, r),
        KeysCommand::EndOld(e) => end_old(desk, e),
    }
}

/// Held elsewhere than in the vault, or not rotated yet.
const ELSEWHERE: [(&str, &str); 6] = [
    ("links", "vault; made anew by 'matron assume-breach' alone"),
    ("phone tags", "reader; not rotated in this release: by it a phone is known again"),
    (
        "profile signer",
        "vault; not rotated in this release: by it a phone takes a newer profile for the same",
    ),
    ("another TLS key", "door makes it for ACME, or reads it from your files (phones.tls_key)"),
    ("push certificate", "courier reads it; 'matron push' renews it"),
    ("backup recipients", "kept offline; set by backup.recipients"),
];

fn show_keys(desk: &Desk) -> Result<()> {
    let value = desk.get("/api/v1/keys")?;
    if desk.reach.json {
        return show::print_json(&value);
    }
    let all: Keys = shaped(&value)?;
    let rows = all.keys.into_iter().filter(|k| k.name != KeyName::Links.name()).map(|k| {
        let state = match k.state.as_str() {
            "in_force" => "in force".to_owned(),
            "awaited" => format!("the {} makes a new one; the older one serves on", k.held_by),
            "reissuing" if k.left > 0 => format!(
                "in force; {} left with a certificate of the older one, which counts until then",
                show::count(k.left, "phone")
            ),
            "reissuing" => "in force; the older one is about to end".into(),
            "certifying" => "in force once it is certified; the door shows the older one until then".into(),
            "kept" => "in force; the older one is kept until what was sealed to it has run out".into(),
            _ if k.left == 0 => "in force; the older one is about to be destroyed".into(),
            _ if k.name == KeyName::Delivery.name() => {
                format!("{} of what waits for phones left to look through", k.left)
            }
            _ => format!("{} left under older ones", show::count(k.left, "row")),
        };
        let made = k.made_at_ms.map_or_else(|| "at the installation".into(), show::time);
        vec![k.name, k.held_by, k.epoch.to_string(), made, state]
    });
    show::print(&show::table(&["KEY", "HELD BY", "EPOCH", "MADE", "STATE"], rows))?;
    show::print(&format!("The key statement in force is of epoch {}.\n\n", all.epoch))?;
    let rows = ELSEWHERE.iter().map(|(name, what)| vec![(*name).to_owned(), (*what).to_owned()]);
    show::print(&show::table(&["OTHER KEYS", "HELD BY"], rows))
}

/// What another root key brings.
const NEW_ROOT: &str = "Rooms, administrators' homes, browsers and witnesses are led to the new root key by the one before, which is then \
                        destroyed. Witnesses alarm of it once. Proofs that were kept as files are to be made anew, and a fingerprint \
                        that somebody wrote down is another.";

/// The names that were given, ascending.
fn named(given: &[String]) -> Result<Vec<KeyName>> {
    if given.iter().any(|g| g == "all") {
        return Ok(KeyName::rotatable().collect());
    }
    let mut keys = Vec::new();
    for name in given {
        let key = KeyName::from_name(name).filter(|k| *k != KeyName::Links).ok_or_else(|| {
            let all: Vec<_> =
                KeyName::rotatable().chain([KeyName::Ca, KeyName::Root]).map(KeyName::name).collect();
            usage(format!("'{name}' is no key that an order rotates; one of {}, or all", all.join(", ")))
        })?;
        keys.push(key);
        // The door's certificate is made anew under the newest CA in any case.
        if key == KeyName::Ca {
            keys.push(KeyName::Tls);
        }
    }
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}

fn rotate(desk: &Desk, r: Rotate) -> Result<()> {
    let keys = named(&r.keys)?;
    let reason = place::reason(r.reason)?;
    let with_ca = keys.contains(&KeyName::Ca);
    let with_root = keys.contains(&KeyName::Root);
    let warnings = [(with_ca, NEW_CA), (with_root, NEW_ROOT)];
    let warnings = warnings.iter().filter(|(given, _)| *given).map(|(_, what)| (*what).to_owned()).collect();
    let beside = Beside { warnings, ..Beside::default() };
    let placed = Draft::new(OrderKind::RotateKeys { keys }, &reason).beside(beside).place(desk, r.yes)?;
    if desk.reach.json {
        return show::print_json(&json!({ "order": placed.order, "position": placed.position }));
    }
    show::print("The keys are made anew. 'matron keys show' says what is still under the older ones.\n")
}

/// Said before a CA is made anew.
const NEW_CA: &str = "Every phone gets a certificate of the new CA when it comes, under the standing order that renews certificates \
                      ('matron standing'): without one none does. The older CA counts until the last phone has changed, or until \
                      'matron keys end-old'";

fn end_old(desk: &Desk, e: EndOld) -> Result<()> {
    let all: Keys = shaped(&desk.get("/api/v1/keys")?)?;
    let ca = all.keys.iter().find(|k| k.name == KeyName::Ca.name());
    let older = ca.filter(|k| k.state == "reissuing").map(|k| (k.left, k.epoch));
    let Some((left, before)) = older else { return Err(failed("there is no older CA: nothing to end")) };
    let warning = format!(
        "{} can't connect any more then, and each has to be invited again",
        show::count(left, "phone")
    );
    let beside = Beside { warnings: if left > 0 { vec![warning] } else { vec![] }, ..Beside::default() };
    let reason = place::reason(e.reason)?;
    let placed = Draft::new(OrderKind::EndOlderCa { before }, &reason).beside(beside).place(desk, e.yes)?;
    if desk.reach.json {
        return show::print_json(
            &json!({ "order": placed.order, "position": placed.position, "phones": left }),
        );
    }
    show::print("The older CA has ended: the door takes its certificates no more.\n")
}

pub(crate) fn assume_breach(desk: &Desk, b: AssumeBreach) -> Result<()> {
    if let Some(BreachCommand::Status) = b.command {
        return status(desk);
    }
    let beside = Beside {
        warnings: vec![
            "Everyone but those who sign this loses their key and has to be added anew; every session and API key ends; \
             open invitations, orders under way and standing orders end. There is no way back"
                .into(),
        ],
        ..Beside::default()
    };
    let reason = place::reason(b.reason)?;
    let kind = OrderKind::AssumeBreach { reissues_an_hour: b.reissues_an_hour };
    let placed = Draft::new(kind, &reason).beside(beside).place(desk, b.yes)?;
    if desk.reach.json {
        return show::print_json(&json!({ "order": placed.order, "position": placed.position }));
    }
    show::print(&format!(
        "What was signed before counts no more. Your session has ended too: 'matron signin', then\n  \
         matron assume-breach status   what is left, until it says that nothing is\n  \
         matron admin key              a new key for you; 'matron admin end-key' ends the one that signed this\n\n{BEYOND}"
    ))
}

fn status(desk: &Desk) -> Result<()> {
    let value = desk.get("/api/v1/keys")?;
    let all: Keys = shaped(&value)?;
    let Some(b) = all.breach else { return Err(failed("no breach was assumed in this house")) };
    if desk.reach.json {
        show::print_json(&value)?;
    } else {
        let left = |n: u64, of: &str, what: &str| match n {
            0 => "done".to_owned(),
            n => format!("{} {what}", show::count(n, of)).replace("persons", "people"),
        };
        let kept = all.keys.iter().filter(|k| k.state != "in_force").count() as u64;
        let rows = [
            (
                "rooms go by the new keys",
                if b.rooms_follow { "done".into() } else { "door or reader does not yet".into() },
            ),
            ("rows and search entries", left(b.rows, "row", "left under older keys")),
            ("older keys destroyed", left(kept, "key", "still kept")),
            (
                "phones' certificates",
                left(b.phones, "phone", "with one from before; each gets a new one when it comes"),
            ),
            (
                "keys that signed it",
                left(b.signers, "key", "to be replaced: 'matron admin end-key' says how"),
            ),
            (
                "people without a key",
                left(b.people_without_key, "person", "to be removed or added anew ('matron people')"),
            ),
        ];
        let rows = rows.into_iter().map(|(what, state)| vec![what.to_owned(), state]);
        show::print(&format!(
            "A breach was assumed on {}, ledger entry {}.\n",
            show::time(b.at_ms),
            b.position
        ))?;
        show::print(&show::table(&["WHAT", "STATE"], rows))?;
        show::print(&format!("\n{BEYOND}"))?;
    }
    if b.done { Ok(()) } else { Err(failed("not all is done yet; look again later")) }
}

#[derive(Debug, Args)]
pub(crate) struct AddKey {
    /// The public half: 64 hexadecimal digits, as 'matron --home NEW admin key' prints.
    #[arg(required_unless_present = "passkey")]
    key: Option<String>,
    /// A passkey instead, for the console: prints a link to open in a browser, and waits.
    #[arg(long, conflicts_with = "key")]
    passkey: bool,
    /// Why.
    #[arg(long)]
    reason: Option<String>,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
}

pub(crate) fn add_key(desk: &Desk, a: AddKey) -> Result<()> {
    let key = people::new_key(desk, a.key.as_deref())?;
    let id = order::key_id(&key.public);
    let reason = place::reason(a.reason)?;
    let placed = Draft::new(OrderKind::AddKey { key }, &reason).place(desk, a.yes)?;
    if desk.reach.json {
        return show::print_json(&json!({ "order": placed.order, "key": id }));
    }
    show::print(&format!(
        "Key {id} signs for you too. {}\n",
        if a.passkey { "Sign in with it." } else { "With it, 'matron admin end-key' ends the one before." }
    ))
}

#[derive(Debug, Args)]
pub(crate) struct EndKey {
    /// The key's id: as 'matron admin whoami' shows it. Sign with the key that stays.
    key: String,
    /// Why.
    #[arg(long)]
    reason: Option<String>,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
}

pub(crate) fn end_key(desk: &Desk, e: EndKey) -> Result<()> {
    let key: KeyId = e.key.parse().map_err(|why| usage(format!("the key: {why}")))?;
    let reason = place::reason(e.reason)?;
    let placed = Draft::new(OrderKind::EndKey { key }, &reason).place(desk, e.yes)?;
    if desk.reach.json {
        return show::print_json(&json!({ "order": placed.order, "ended": key }));
    }
    show::print(&format!("Key {key} signs no more.\n"))
}
