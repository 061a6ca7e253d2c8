//! Invitations: one person, one phone, once.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use model::clock::DAY_MS;
use model::{EnrolmentId, Group, TimeMs};
use order::{InviteAnswer, InviteSecrets, OrderKind};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use serde::Deserialize;
use serde_json::json;

use super::desk::{Desk, shaped};
use super::failure::{Result, failed, usage};
use super::holder_card::{address, card_in_words};
use super::place::{Beside, Draft, opened, send_order};
use super::{devices, show};

/// The most rows of a file.
const MOST_ROWS: usize = 20_000;

#[derive(Args)]
pub(crate) struct Invite {
    /// Who will hold the phone; sealed to the vault.
    #[arg(long, required_unless_present = "csv")]
    name: Option<String>,
    /// Their email address; sealed to the vault.
    #[arg(long, required_unless_present = "csv")]
    email: Option<String>,
    /// The phone's home group, for example ward-7. With --csv: for rows that have none.
    #[arg(long, required_unless_present = "csv")]
    group: Option<String>,
    /// Many at once: a file with the columns name, email, group.
    #[arg(long, conflicts_with_all = ["name", "email"], value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Where the links of --csv go (0600; must not exist) [default: FILE with .links.csv].
    #[arg(long, requires = "csv", value_name = "FILE")]
    out: Option<PathBuf>,
    /// How many days the link works, 1 to 60.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u8).range(1..=60))]
    days: u8,
    /// Why; no names here.
    #[arg(long, default_value = "a phone is to be enrolled")]
    reason: String,
    /// Print the QR code even when this is no terminal.
    #[arg(long)]
    qr: bool,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
}

impl std::fmt::Debug for Invite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Invite(sealed)")
    }
}

/// A person who is invited.
pub(crate) struct Invitee {
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) group: Group,
}

/// An invitation's link.
pub(crate) struct Invited {
    pub(crate) enrolment: EnrolmentId,
    pub(crate) link: String,
    pub(crate) expires_at_ms: TimeMs,
    /// The code of the holder's card.
    pub(crate) holder_code: Option<String>,
    /// The number to call that stands on it.
    call: Option<String>,
}

impl Invitee {
    /// Checks what the vault would refuse, without repeating what was typed.
    pub(crate) fn check(name: &str, email: &str, group: &str) -> Result<Self, String> {
        let (name, email) = (name.trim(), email.trim());
        let fits =
            |t: &str, most| !t.is_empty() && t.chars().count() <= most && !t.chars().any(char::is_control);
        if !fits(name, 200) {
            return Err("name: 1 to 200 characters".into());
        }
        if !fits(email, 254) || !email.contains('@') || email.contains(char::is_whitespace) {
            return Err("email: not an address; give one such as name@example.org".into());
        }
        let group = Group::new(group.trim()).map_err(|e| format!("group: {e}"))?;
        Ok(Self { name: name.to_owned(), email: email.to_owned(), group })
    }

    fn draft(&self, days: u8, reason: &str) -> Draft {
        let kind = OrderKind::Invite { group: self.group.clone(), valid_ms: i64::from(days) * DAY_MS };
        let secrets = InviteSecrets { name: self.name.clone(), email: self.email.clone() };
        let sealed = vec![("name", self.name.clone()), ("email", self.email.clone())];
        Draft::new(kind, reason).sealing(&secrets).beside(Beside { sealed, ..Beside::default() })
    }
}

/// Invites one person; nothing is asked.
pub(crate) fn invite_one(desk: &Desk, invitee: &Invitee, days: u8, reason: &str) -> Result<Invited> {
    let placed = send_order(desk, &invitee.draft(days, reason).sign(desk)?)?;
    invited(opened(&placed)?)
}

fn invited(answer: InviteAnswer) -> Result<Invited> {
    let base = answer.base_url.trim_end_matches('/');
    Ok(Invited {
        enrolment: answer.enrolment,
        link: format!("{base}/enrol/{}", answer.link_secret),
        expires_at_ms: answer.expires_at_ms,
        holder_code: answer.holder_code,
        call: answer.call,
    })
}

pub(crate) fn run(desk: &Desk, args: Invite) -> Result<()> {
    if let Some(csv) = &args.csv {
        return from_file(desk, csv, &args);
    }
    let (Some(name), Some(email), Some(group)) = (&args.name, &args.email, &args.group) else {
        return Err(usage("give --name, --email and --group, or --csv"));
    };
    let invitee = Invitee::check(name, email, group).map_err(usage)?;
    let placed = invitee.draft(args.days, &args.reason).place(desk, args.yes)?;
    let done = invited(opened(&placed)?)?;
    if desk.reach.json {
        return show::print_json(&json!({
            "order": placed.order,
            "enrolment": done.enrolment,
            "link": done.link,
            "expires_at_ms": done.expires_at_ms,
            "holder_code": done.holder_code,
        }));
    }
    let mut text = String::new();
    if args.qr || std::io::IsTerminal::is_terminal(&std::io::stdout()) {
        text.push_str(&qr(&done.link)?);
        text.push('\n');
    }
    text.push_str(&format!("{}\n", show::line(&done.link)));
    show::print(&text)?;
    eprintln!(
        "For one person and one phone, once, until {}. Enrolment {}.",
        show::time(done.expires_at_ms),
        done.enrolment
    );
    if let Some(code) = &done.holder_code {
        let whose = format!("{name}, {group}");
        let card = card_in_words(&whose, code, &address(desk), done.call.as_deref());
        eprintln!(
            "\n{card}For its holder alone, kept apart from the phone: with it they see what the hospital sees of the phone, and report it lost."
        );
    }
    Ok(())
}

/// The link as a QR code of half blocks, light on dark, with its quiet zone.
fn qr(link: &str) -> Result<String> {
    let code = QrCode::new(link.as_bytes()).map_err(|e| failed(format!("the link makes no QR code: {e}")))?;
    let image = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .quiet_zone(true)
        .build();
    Ok(image + "\n")
}

/// Reads and checks every row. Nobody is invited from a file that has a mistake.
fn read_rows(text: &[u8], group: Option<&str>) -> Result<Vec<Invitee>> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(false).from_reader(text);
    let head = reader.headers().map_err(|_| usage("--csv: the file is not UTF-8 text"))?.clone();
    let column =
        |name: &str| head.iter().position(|h| h.trim_start_matches('\u{feff}').eq_ignore_ascii_case(name));
    let (Some(name_at), Some(email_at)) = (column("name"), column("email")) else {
        return Err(usage("--csv: the first line has to name the columns: name,email,group"));
    };
    let group_at = column("group");
    let mut rows = Vec::new();
    let mut wrong = Vec::new();
    for (n, record) in reader.records().enumerate() {
        if n >= MOST_ROWS {
            return Err(usage(format!("--csv: at most {MOST_ROWS} rows")));
        }
        let line = n + 2;
        let Ok(record) = record else {
            wrong.push(format!("row {line}: not as many columns as the first line, or not UTF-8"));
            continue;
        };
        let of_row = group_at.and_then(|at| record.get(at)).filter(|g| !g.is_empty());
        let cell = |at| record.get(at).unwrap_or_default();
        match Invitee::check(cell(name_at), cell(email_at), of_row.or(group).unwrap_or_default()) {
            Ok(i) => rows.push(i),
            Err(why) => wrong.push(format!("row {line}: {why}")),
        }
    }
    if !wrong.is_empty() {
        let more = wrong.len().saturating_sub(20);
        wrong.truncate(20);
        let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
        return Err(usage(format!("--csv: nobody was invited:\n  {}{more}", wrong.join("\n  "))));
    }
    if rows.is_empty() { Err(usage("--csv: the file has no rows")) } else { Ok(rows) }
}

fn from_file(desk: &Desk, csv: &Path, args: &Invite) -> Result<()> {
    let text = std::fs::read(csv).map_err(|e| usage(format!("--csv: {}: {e}", csv.display())))?;
    let rows = read_rows(&text, args.group.as_deref())?;
    let out = args.out.clone().unwrap_or_else(|| csv.with_extension("links.csv"));
    if out.exists() {
        return Err(usage(format!("--out: {} is there already; nobody was invited", out.display())));
    }
    // Whoever runs this sees what one such order says, and how many there are.
    if let Some(first) = rows.first() {
        let example = first.draft(args.days, &args.reason).sign(desk)?;
        if !(args.yes && desk.reach.json) {
            eprintln!("{} such orders, one a row, each with its own name:", rows.len());
        }
        example.show_and_ask(desk, args.yes)?;
    }
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&out);
    let file = file.map_err(|e| usage(format!("--out: {}: {e}; nobody was invited", out.display())))?;
    let mut writer = csv::Writer::from_writer(file);
    let wrote = |e: csv::Error| failed(format!("{}: {e}", out.display()));
    writer
        .write_record(["name", "email", "group", "enrolment", "link", "expires", "holder_code"])
        .map_err(wrote)?;
    for (n, row) in rows.iter().enumerate() {
        let done = invite_one(desk, row, args.days, &args.reason).inspect_err(|_| {
            eprintln!(
                "matron: stopped at row {}: the {n} rows before it are invited, their links are in {}. Take them \
                 out of the file before you run it again",
                n + 2,
                out.display()
            );
        })?;
        let (enrolment, until) = (done.enrolment.to_string(), show::time(done.expires_at_ms));
        writer
            .write_record([
                &row.name,
                &row.email,
                row.group.as_str(),
                &enrolment,
                &done.link,
                &until,
                done.holder_code.as_deref().unwrap_or_default(),
            ])
            .map_err(wrote)?;
        writer.flush().map_err(failed)?;
    }
    writer.into_inner().map_err(failed)?.flush().map_err(failed)?;
    if desk.reach.json {
        return show::print_json(&json!({ "invited": rows.len(), "links": out }));
    }
    show::print(&format!(
        "{} invited. The links are in {}; it is yours alone (0600).\n",
        rows.len(),
        out.display()
    ))
}

#[derive(Debug, Subcommand)]
pub(crate) enum InvitationsCommand {
    /// Invitations that no phone has used yet.
    List(ListInvitations),
    /// Take an invitation back.
    Withdraw(Withdraw),
}

#[derive(Debug, Args)]
pub(crate) struct ListInvitations {
    /// How many to show.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Where the list before ended.
    #[arg(long)]
    cursor: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Withdraw {
    /// The enrolment id, or its first 6 digits or more.
    id: String,
    /// Why.
    #[arg(long, default_value = "the invitation is no longer needed")]
    reason: String,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Deserialize)]
struct Invitation {
    enrolment: EnrolmentId,
    group: String,
    invited_at_ms: TimeMs,
    expires_at_ms: TimeMs,
    expired: bool,
}

#[derive(Deserialize)]
struct Invitations {
    items: Vec<Invitation>,
    next_cursor: Option<String>,
}

pub(crate) fn invitations(desk: &Desk, command: InvitationsCommand) -> Result<()> {
    match command {
        InvitationsCommand::List(l) => {
            let value = desk.list("/api/v1/invitations", &[], l.limit, l.cursor)?;
            if desk.reach.json {
                return show::print_json(&value);
            }
            let page: Invitations = shaped(&value)?;
            let rows = page.items.into_iter().map(|i| {
                let until = show::time(i.expires_at_ms);
                vec![
                    i.enrolment.to_string(),
                    i.group,
                    show::time(i.invited_at_ms),
                    if i.expired { format!("{until} (run out)") } else { until },
                ]
            });
            show::print(&show::table(&["ENROLMENT", "GROUP", "INVITED", "UNTIL"], rows))?;
            devices::tell_more(page.next_cursor.as_deref());
            Ok(())
        }
        InvitationsCommand::Withdraw(w) => {
            let phone = devices::find(desk, &w.id)?;
            let placed = Draft::new(OrderKind::WithdrawInvitation, &w.reason)
                .to(vec![phone.enrolment])
                .beside(devices::labels(std::slice::from_ref(&phone)))
                .place(desk, w.yes)?;
            if desk.reach.json {
                return show::print_json(&json!({ "order": placed.order, "withdrawn": phone.enrolment }));
            }
            show::print("The invitation is taken back; its link works no more.\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_wrong_row_and_nobody_is_invited() {
        let good = b"name,email,group\nAda Example,ada@example.org,ward-7\n";
        assert_eq!(read_rows(good, None).unwrap().len(), 1);
        let bad = b"name,email,group\nAda Example,ada@example.org,ward-7\n,x@example.org,ward-7\nB,nothing,Ward 7\n";
        let told = read_rows(bad, None).err().unwrap().to_string();
        assert!(told.contains("row 3: name") && told.contains("row 4: email") && !told.contains("nothing\n"));
    }

    #[test]
    fn columns_come_in_any_order_and_a_group_can_be_given_for_all() {
        let rows =
            read_rows(b"\xef\xbb\xbfEmail,Name\nada@example.org,Ada Example\n", Some("ward-7")).unwrap();
        let first = rows.first().unwrap();
        assert_eq!((first.name.as_str(), first.group.as_str()), ("Ada Example", "ward-7"));
        assert!(read_rows(b"email,name\nada@example.org,Ada Example\n", None).is_err());
        assert!(read_rows(b"a,b\n1,2\n", None).is_err());
        assert!(read_rows(b"name,email,group\n", None).is_err());
    }

    #[test]
    fn a_qr_code_has_a_quiet_zone() {
        let code = qr("https://mdm.example.org/enrol/abc").unwrap();
        let first = code.lines().next().unwrap();
        assert!(first.chars().all(|c| c == '\u{2588}'), "{first}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_file_makes_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_rows(&bytes, Some("ward-7"));
            let _ = read_rows(&[b"name,email,group\n".as_slice(), &bytes].concat(), None);
        }
    }
}
