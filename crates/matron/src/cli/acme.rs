//! The public TLS certificate by ACME: how it stands, what to put into DNS, a try now.

use clap::Subcommand;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::desk::{Desk, shaped};
use super::failure::{CliError, Result};
use super::show;

#[derive(Debug, Subcommand)]
pub(crate) enum AcmeCommand {
    /// Until when the certificate is good, when the next try is due, what last went wrong.
    Status,
    /// The account, and the CAA records that keep every other account from a certificate for the host.
    Show,
    /// Try now.
    Renew,
}

#[derive(Deserialize)]
struct Acme {
    directory: String,
    hosts: Vec<String>,
    challenge: String,
    account: String,
    caa_identities: Vec<String>,
    expires_at_ms: Option<i64>,
    next_try_at_ms: Option<i64>,
    failures: u32,
    last_error: String,
    issued: u64,
}

pub(crate) fn run(desk: &Desk, command: AcmeCommand) -> Result<()> {
    if let AcmeCommand::Renew = command {
        let said = desk.call(&Method::POST, "/api/v1/tls-certificate/renew", None)?;
        return if desk.reach.json {
            show::print_json(&said)
        } else {
            show::print("A try begins now; 'matron acme status' says what came of it.\n")
        };
    }
    let value = desk.get("/api/v1/health")?.pointer("/courier/acme").cloned().unwrap_or(Value::Null);
    if value.is_null() {
        let why = "no certificate by ACME is configured, or the courier does not answer; see the section \
                   acme in docs/configuration.md";
        return Err(CliError::NotFound(why.into()));
    }
    let acme: Acme = shaped(&value)?;
    match command {
        AcmeCommand::Show => {
            let records = caa_records(&acme);
            if desk.reach.json {
                return show::print_json(&json!({ "account": acme.account, "caa_records": records }));
            }
            show::print(&account_in_words(&acme, &records))
        }
        _ if desk.reach.json => show::print_json(&value),
        _ => show::print(&status_in_words(&acme)),
    }
}

fn status_in_words(acme: &Acme) -> String {
    let failed = match acme.failures {
        0 => "-".to_owned(),
        n => format!("{n} times in a row; the last time: {}", acme.last_error),
    };
    let until = acme
        .expires_at_ms
        .map_or_else(|| "none yet".to_owned(), |at| format!("good until {}", show::time(at)));
    show::facts(&[
        ("hosts", acme.hosts.join(", ")),
        ("certificate", until),
        ("next try", show::maybe_time(acme.next_try_at_ms)),
        ("failed", failed),
        ("taken up since the start", acme.issued.to_string()),
        ("authority", acme.directory.clone()),
        ("proof", acme.challenge.clone()),
    ])
}

/// RFC 8659 and RFC 8657: this authority, this account, this kind of proof, and no other.
fn caa_records(acme: &Acme) -> Vec<String> {
    if acme.account.is_empty() {
        return Vec::new();
    }
    let mut records = Vec::new();
    for host in &acme.hosts {
        for authority in &acme.caa_identities {
            records.push(format!(
                "{host}. CAA 0 issue \"{authority}; accounturi={}; validationmethods={}\"",
                acme.account, acme.challenge
            ));
        }
    }
    records
}

fn account_in_words(acme: &Acme, records: &[String]) -> String {
    if acme.account.is_empty() {
        return "There is no account yet; the first try makes one.\n".to_owned();
    }
    let mut out = show::facts(&[("account", acme.account.clone()), ("authority", acme.directory.clone())]);
    if records.is_empty() {
        out.push_str("\nThe authority does not say by which name it is called in CAA records.\n");
        return out;
    }
    out.push_str("\nSet these records in DNS: no other account then gets a certificate for the host.\n\n");
    for record in records {
        out.push_str(&format!("    {}\n", show::line(record)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acme() -> Acme {
        Acme {
            directory: "https://acme.example.org/directory".into(),
            hosts: vec!["mdm.example.org".into()],
            challenge: "tls-alpn-01".into(),
            account: "https://acme.example.org/account/7".into(),
            caa_identities: vec!["example.org".into()],
            expires_at_ms: None,
            next_try_at_ms: None,
            failures: 2,
            last_error: "no".into(),
            issued: 0,
        }
    }

    #[test]
    fn the_caa_record_names_authority_account_and_proof() {
        assert_eq!(
            caa_records(&acme()),
            ["mdm.example.org. CAA 0 issue \"example.org; accounturi=https://acme.example.org/account/7; \
              validationmethods=tls-alpn-01\""]
        );
        assert!(caa_records(&Acme { account: String::new(), ..acme() }).is_empty());
        assert!(account_in_words(&Acme { caa_identities: vec![], ..acme() }, &[]).contains("does not say"));
    }

    #[test]
    fn the_status_says_what_last_went_wrong() {
        let words = status_in_words(&acme());
        assert!(
            words.contains("none yet") && words.contains("2 times in a row; the last time: no"),
            "{words}"
        );
    }
}
