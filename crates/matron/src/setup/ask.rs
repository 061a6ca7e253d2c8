//! Answers: from flags, from a file, from a person at the terminal, in this order.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;

use crate::cli::failure::{Result, failed, usage};
use crate::cli::show;

/// How the phones' listener gets its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tls {
    /// PEM files of a public CA.
    Files,
    /// Matron asks a public CA by itself.
    Acme,
    /// The CA of this house; each iPhone has to be told to trust it.
    Own,
}

/// What setup wants to know. The same names stand in an answer file.
#[derive(Default, Clone, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Answers {
    /// The host name that phones use, with a port if it is not 443: mdm.example.org.
    #[arg(long)]
    pub(super) host: Option<String>,
    /// Where the phones' listener is bound, if not at the port of --host on every address.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(super) listen: Option<std::net::SocketAddr>,
    /// The organisation's name, as phones show it.
    #[arg(long)]
    pub(super) organization: Option<String>,
    /// Where the certificate of the phones' listener comes from.
    #[arg(long, value_enum)]
    pub(super) tls: Option<Tls>,
    /// With --tls files: the certificate and its chain (PEM).
    #[arg(long, value_name = "FILE")]
    pub(super) tls_certificate: Option<PathBuf>,
    /// With --tls files: its key (PEM).
    #[arg(long, value_name = "FILE")]
    pub(super) tls_key: Option<PathBuf>,
    /// With --tls files of a CA of your own: its root, which phones are told to trust before they enrol.
    #[arg(long, value_name = "FILE")]
    pub(super) tls_trust: Option<PathBuf>,
    /// With --tls acme: whom the CA writes to.
    #[arg(long, value_name = "EMAIL")]
    pub(super) acme_contact: Option<String>,
    /// With --tls acme: the CA's directory.
    #[arg(long, value_name = "URL")]
    pub(super) acme_directory: Option<String>,
    /// With --tls acme: you read the CA's terms of service and agree.
    #[arg(long)]
    pub(super) acme_agree: bool,
    /// What Apple's portal gave, once it did (see 'matron push').
    #[arg(long, value_name = "FILE")]
    pub(super) push_certificate: Option<PathBuf>,
    /// Its key, if its request was not made here.
    #[arg(long, value_name = "FILE")]
    pub(super) push_key: Option<PathBuf>,
    /// The one-time token of the first administrator.
    #[arg(long, env = "MATRON_JOIN_TOKEN", hide_env_values = true)]
    pub(super) token: Option<String>,
    /// The first administrator's name.
    #[arg(long)]
    pub(super) administrator: Option<String>,
    /// A test invitation: the holder's name.
    #[arg(long)]
    pub(super) invite_name: Option<String>,
    /// A test invitation: the holder's email address.
    #[arg(long)]
    pub(super) invite_email: Option<String>,
    /// A test invitation: the phone's group.
    #[arg(long)]
    pub(super) invite_group: Option<String>,
}

impl std::fmt::Debug for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answers(sealed)")
    }
}

impl Answers {
    /// Flags before the file.
    pub(super) fn with_file(self, path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(self) };
        let text =
            std::fs::read_to_string(path).map_err(|e| usage(format!("--answer: {}: {e}", path.display())))?;
        // The parser's words may quote a token: only what and where.
        let file: Self = toml::from_str(&text)
            .map_err(|e| usage(format!("--answer: {}: {}", path.display(), e.message())))?;
        Ok(Self {
            host: self.host.or(file.host),
            listen: self.listen.or(file.listen),
            organization: self.organization.or(file.organization),
            tls: self.tls.or(file.tls),
            tls_certificate: self.tls_certificate.or(file.tls_certificate),
            tls_key: self.tls_key.or(file.tls_key),
            tls_trust: self.tls_trust.or(file.tls_trust),
            acme_contact: self.acme_contact.or(file.acme_contact),
            acme_directory: self.acme_directory.or(file.acme_directory),
            acme_agree: self.acme_agree || file.acme_agree,
            push_certificate: self.push_certificate.or(file.push_certificate),
            push_key: self.push_key.or(file.push_key),
            token: self.token.or(file.token),
            administrator: self.administrator.or(file.administrator),
            invite_name: self.invite_name.or(file.invite_name),
            invite_email: self.invite_email.or(file.invite_email),
            invite_group: self.invite_group.or(file.invite_group),
        })
    }
}

/// Asks a person, where there is one.
pub(super) struct Asker {
    pub(super) person: bool,
}

impl Asker {
    /// A line, or none when nobody is there or nothing was typed.
    pub(super) fn line(&self, question: &str) -> Result<Option<String>> {
        if !self.person {
            return Ok(None);
        }
        let mut err = std::io::stderr().lock();
        write!(err, "      {question} ").and_then(|()| err.flush()).map_err(failed)?;
        drop(err);
        let mut answer = String::new();
        if std::io::stdin().lock().read_line(&mut answer).map_err(failed)? == 0 {
            return Err(failed("the terminal was closed; run 'matron setup' again, it goes on from here"));
        }
        let answer = show::line(answer.trim());
        Ok(Some(answer).filter(|a| !a.is_empty()))
    }
}
