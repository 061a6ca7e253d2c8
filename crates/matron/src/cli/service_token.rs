//! Tokens that phones get when they ask for a service's (`GetToken`).

use std::path::PathBuf;

use clap::{Args, Subcommand};
use order::{OrderKind, ServiceTokenSecrets};
use serde_json::json;

use super::desk::Desk;
use super::failure::{Result, usage};
use super::place::{self, Beside, Draft};
use super::show;

#[derive(Debug, Subcommand)]
pub(crate) enum ServiceTokenCommand {
    /// Keep a token, sealed with the vault; phones that ask for this service's get it.
    Set(Set),
    /// Give it to no phone any more.
    Clear(Clear),
}

#[derive(Debug, Args)]
pub(crate) struct Set {
    /// Apple's TokenServiceType: com.apple.maid or com.apple.watch.pairing.
    service: String,
    /// The token's bytes, as phones get them.
    #[arg(long)]
    file: PathBuf,
    /// Why. Auditors read it; no names or numbers here.
    #[arg(long)]
    reason: Option<String>,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Clear {
    /// Apple's TokenServiceType.
    service: String,
    /// Why. Auditors read it; no names or numbers here.
    #[arg(long)]
    reason: Option<String>,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
}

pub(crate) fn run(desk: &Desk, command: ServiceTokenCommand) -> Result<()> {
    match command {
        ServiceTokenCommand::Set(s) => {
            let wrong = |e: &dyn std::fmt::Display| usage(format!("{}: {e}", s.file.display()));
            let most = apple::returned::MAX_TOKEN_BYTES;
            let size = std::fs::metadata(&s.file).map_err(|e| wrong(&e))?.len();
            if size == 0 || size > most as u64 {
                return Err(wrong(&format!("{size} bytes; a token has between 1 and {most}")));
            }
            let token = std::fs::read(&s.file).map_err(|e| wrong(&e))?;
            let digest = order::sha256(&token);
            let sealed = vec![("token", format!("{} bytes, SHA-256 {digest}", token.len()))];
            place(desk, s.service, Some(ServiceTokenSecrets { token }), sealed, s.reason, s.yes)
        }
        ServiceTokenCommand::Clear(c) => place(desk, c.service, None, Vec::new(), c.reason, c.yes),
    }
}

fn place(
    desk: &Desk,
    service: String,
    secrets: Option<ServiceTokenSecrets>,
    sealed: Vec<(&'static str, String)>,
    reason: Option<String>,
    yes: bool,
) -> Result<()> {
    if !apple::returned::is_service_type(&service) {
        return Err(usage("a service is called like com.apple.maid: letters, digits, dots and hyphens"));
    }
    let reason = place::reason(reason)?;
    let kept = secrets.is_some();
    let mut draft = Draft::new(OrderKind::SetServiceToken { service: service.clone() }, &reason)
        .beside(Beside { sealed, ..Beside::default() });
    if let Some(secrets) = secrets {
        draft = draft.sealing(&secrets);
    }
    let placed = draft.place(desk, yes)?;
    if desk.reach.json {
        return show::print_json(&json!({ "order": placed.order, "service": service, "kept": kept }));
    }
    let what = if kept { "Phones that ask get this token" } else { "No phone gets a token any more" };
    show::print(&format!("{what} for {service}: order {}, ledger entry {}.\n", placed.order, placed.position))
}
