//! Apple's push certificate: asked for, signed by a vendor, taken up, renewed, shown.
//!
//! Its key is made here, on the host, in `DATA/push` (0700), before there is any room: Apple's and the
//! vendor's part takes days. What is imported is one file, certificate and key together, so that taking up
//! a renewed one is one rename. Only the courier reads it; no room writes there.

mod files;
mod import;
mod sign;

use std::process::ExitCode;

use apple::x509::RsaSigner;
use clap::{Args, Subcommand};
use model::{Clock, SystemClock, TimeMs};
use serde_json::json;

use crate::Place;
use crate::certificate::{days_left, facts, fits, read_chain, read_key};
use crate::cli::failure::{CliError, Result, failed};
use crate::cli::show;

pub(crate) use files::Folder;
pub(crate) use import::{Import, import};

/// Where Apple's portal is.
pub(crate) const PORTAL: &str = "https://identity.apple.com/pushcert/";

/// The push certificate's commands. They work on the host, in the data folder; none needs a running Matron.
#[derive(Debug, Subcommand)]
pub(crate) enum PushCommand {
    /// Make a key (RSA 2048, 0600) and a certificate request for it.
    Csr(Csr),
    /// The request for a vendor: print it, put a vendor's signature to it, or check what a vendor sent.
    Request(sign::Request),
    /// The vendor's part: sign a hospital's request with an MDM vendor certificate.
    VendorSign(sign::VendorSign),
    /// Take up the certificate that Apple's portal gave. A running Matron notices by itself.
    Import(Import),
    /// The certificate in use, and how long it lives.
    Show(Show),
}

#[derive(Debug, Args)]
pub(crate) struct Csr {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The organisation's name in the request; Apple does not need it.
    #[arg(long, default_value = "Matron push")]
    pub(crate) name: String,
    /// Forget a request that was begun, with its key, and begin another.
    #[arg(long)]
    pub(crate) new_key: bool,
    /// Answer in JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    #[command(flatten)]
    place: Place,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

impl From<anyhow::Error> for CliError {
    fn from(e: anyhow::Error) -> Self {
        failed(format!("{e:#}"))
    }
}

pub(crate) fn run(command: PushCommand) -> ExitCode {
    let (json, done) = match command {
        PushCommand::Csr(c) => (c.json, csr(&c)),
        PushCommand::Request(r) => (r.json, sign::request(&r)),
        PushCommand::VendorSign(v) => (v.json, sign::vendor_sign(&v)),
        PushCommand::Import(i) => (i.json, import::run(&i)),
        PushCommand::Show(s) => (s.json, show_it(&s)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => e.tell(json),
    }
}

/// Makes the key and its request, or finds those that were made.
pub(crate) fn prepare(folder: &Folder, name: &str, new_key: bool) -> Result<bool> {
    folder.make()?;
    if new_key {
        folder.forget_next()?;
    }
    let made = !folder.next_key().exists();
    let signer = if made {
        let signer = RsaSigner::generate().map_err(failed)?;
        let pkcs8 = signer.to_pkcs8().map_err(failed)?;
        folder.write_pem("next.key", "PRIVATE KEY", &pkcs8)?;
        signer
    } else {
        let key = read_key(&folder.next_key())?;
        RsaSigner::from_pkcs8(key.secret_der()).map_err(failed)?
    };
    if made || !folder.next_csr().exists() {
        let der = apple::csr::build(&signer, name.trim(), None).map_err(failed)?;
        folder.write_pem("next.csr", "CERTIFICATE REQUEST", &der)?;
    }
    Ok(made)
}

/// The topic and the end of the certificate that was imported.
pub(crate) fn current(folder: &Folder) -> Option<(String, TimeMs)> {
    let read = facts(read_chain(&folder.current()).ok()?.first()?).ok()?;
    Some((read.topic?, read.not_after_ms))
}

/// Whether this file's certificate is the imported one.
pub(crate) fn is_current(folder: &Folder, file: &std::path::Path) -> bool {
    let first = |path: &std::path::Path| read_chain(path).ok()?.into_iter().next();
    first(file).is_some_and(|new| first(&folder.current()) == Some(new))
}

fn csr(args: &Csr) -> Result<()> {
    let folder = Folder::of(&args.place.data)?;
    let made = prepare(&folder, &args.name, args.new_key)?;
    let (key, request) = (folder.next_key(), folder.next_csr());
    if args.json {
        return show::print_json(&json!({ "made": made, "key": key, "request": request }));
    }
    let first = if made { "A key was made" } else { "The key is there since an earlier run" };
    show::print(&format!(
        "{first}: {} (0600; it never leaves this machine).\n\
         The request: {}\n\n\
         Apple takes it only with the signature of an MDM vendor. Next:\n  \
         - with an MDM vendor certificate of your own:\n      \
         matron push vendor-sign --csr {} --vendor-cert … --vendor-key … --chain … --out push-request.txt\n  \
         - with a vendor: send them the request, and check what comes back:\n      \
         matron push request --data {} --signed push-request.txt\n\
         Then upload push-request.txt at {PORTAL} (to renew: 'Renew' beside the certificate you have, under\n\
         the same Apple ID, never 'Create'), and: matron push import --data {} DOWNLOADED.pem\n",
        key.display(),
        request.display(),
        request.display(),
        args.place.data.display(),
        args.place.data.display(),
    ))
}

/// How soon a push certificate runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// In 60 days or later.
    Far,
    /// Within 60, 30 or 7 days.
    Within(i64),
    Over,
}

pub(crate) fn ending(not_after_ms: TimeMs, now_ms: TimeMs) -> Ending {
    match days_left(not_after_ms, now_ms) {
        left if left < 0 => Ending::Over,
        left => [7, 30, 60].into_iter().find(|t| left < *t).map_or(Ending::Far, Ending::Within),
    }
}

fn show_it(args: &Show) -> Result<()> {
    let folder = Folder::of(&args.place.data)?;
    let now_ms = SystemClock.now_ms();
    let pending = folder.next_key().exists();
    let path = folder.current();
    if !path.exists() {
        if args.json {
            return show::print_json(&json!({ "imported": false, "request_pending": pending }));
        }
        let next = if pending {
            "a request was made; when Apple's certificate is there: matron push import FILE.pem"
        } else {
            "begin with: matron push csr"
        };
        return show::print(&format!(
            "No push certificate was imported into {}.\n{next}\n",
            folder.path().display()
        ));
    }
    let chain = read_chain(&path)?;
    let first = chain.first().ok_or_else(|| failed("no certificate"))?;
    let read = facts(first)?;
    let good_key = fits(first, &read_key(&path)?)?;
    let left = days_left(read.not_after_ms, now_ms);
    if args.json {
        return show::print_json(&json!({
            "imported": true,
            "file": path,
            "topic": read.topic,
            "subject": read.subject,
            "issuer": read.issuer,
            "not_before_ms": read.not_before_ms,
            "expires_at_ms": read.not_after_ms,
            "days_left": left,
            "key_fits": good_key,
            "request_pending": pending,
        }));
    }
    let until = format!("{} ({})", show::time(read.not_after_ms), in_days(left));
    let mut text = show::facts(&[
        ("topic", read.topic.clone().unwrap_or_else(|| "none".into())),
        ("subject", read.subject.clone()),
        ("issuer", read.issuer.clone()),
        ("valid until", until),
        ("key", if good_key { "fits".into() } else { "DOES NOT FIT".into() }),
        ("file", path.display().to_string()),
        ("next request", if pending { "begun".into() } else { "none".into() }),
    ]);
    match ending(read.not_after_ms, now_ms) {
        Ending::Far => {}
        Ending::Within(_) => {
            text.push_str("\nRenew it now: matron push csr, then 'Renew' under the same Apple ID.\n")
        }
        Ending::Over => text.push_str("\nIt has run out: no phone can be woken until it is renewed.\n"),
    }
    show::print(&text)
}

pub(crate) fn in_days(left: i64) -> String {
    match left {
        l if l < 0 => "run out".to_owned(),
        0 => "less than a day left".to_owned(),
        1 => "1 day left".to_owned(),
        l => format!("{l} days left"),
    }
}

/// The file that a person named, for messages.
pub(crate) fn shown(path: &std::path::Path) -> String {
    show::line(&path.display().to_string())
}

/// Refuses to write over a file that is there.
fn new_file(path: &std::path::Path, what: &str) -> Result<()> {
    if path.exists() {
        return Err(crate::cli::failure::usage(format!(
            "{what}: {} is there already; nothing was written",
            shown(path)
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::clock::DAY_MS;
    use std::path::PathBuf;

    #[test]
    fn the_end_comes_nearer_at_60_30_and_7_days() {
        let now = 1_800_000_000_000;
        for (days, end) in [
            (400, Ending::Far),
            (60, Ending::Far),
            (59, Ending::Within(60)),
            (29, Ending::Within(30)),
            (6, Ending::Within(7)),
            (0, Ending::Within(7)),
        ] {
            assert_eq!(ending(now + days * DAY_MS, now), end, "{days}");
        }
        assert_eq!(ending(now - 1, now), Ending::Over);
    }

    #[test]
    fn a_request_that_was_begun_keeps_its_key_until_another_is_asked_for() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::of(dir.path()).unwrap();
        assert!(prepare(&folder, "Example Hospital", false).unwrap());
        let read = |p: PathBuf| std::fs::read(p).unwrap();
        let (key, request) = (read(folder.next_key()), read(folder.next_csr()));
        // The request was lost between the two writes: it is made again from the key.
        std::fs::remove_file(folder.next_csr()).unwrap();
        assert!(!prepare(&folder, "Example Hospital", false).unwrap());
        assert_eq!(read(folder.next_key()), key);
        assert!(request.starts_with(b"-----BEGIN CERTIFICATE REQUEST-----") && folder.next_csr().exists());
        let mode = std::fs::metadata(folder.next_key()).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert!(prepare(&folder, "Example Hospital", true).unwrap());
        assert_ne!(read(folder.next_key()), key);
    }
}
