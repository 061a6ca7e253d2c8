//! `matron doctor`: looks, says what it means and what to do, and changes nothing. (With `--alarms` it sends.)
//!
//! Every check is a [`Check`]. [`host`] looks at this machine; [`phone`] looks from outside, as a phone would.

mod acme;
mod alarms;
mod files;
mod held;
mod host;
mod keys;
mod oidc;
mod phone;
mod rooms;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::Place;
use crate::cli::failure::{Result, usage};
use crate::cli::show;
use crate::config::Config;

pub(crate) use phone::judge_chain;
pub(crate) use rooms::holder;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Ok,
    /// Could not be looked at, and why that is no fault.
    Skipped,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// A word that stays: programs look for it.
    pub(crate) id: &'static str,
    pub(crate) verdict: Verdict,
    pub(crate) found: String,
    /// What that means. Empty when all is well.
    pub(crate) means: String,
    /// What to do. Empty when there is nothing to do.
    pub(crate) remedy: String,
}

impl Check {
    pub(crate) fn ok(id: &'static str, found: impl Into<String>) -> Self {
        Self { id, verdict: Verdict::Ok, found: found.into(), means: String::new(), remedy: String::new() }
    }

    pub(crate) fn skipped(id: &'static str, found: impl Into<String>) -> Self {
        Self { verdict: Verdict::Skipped, ..Self::ok(id, found) }
    }

    pub(crate) fn warn(
        id: &'static str,
        found: impl Into<String>,
        means: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { id, verdict: Verdict::Warn, found: found.into(), means: means.into(), remedy: remedy.into() }
    }

    pub(crate) fn fail(
        id: &'static str,
        found: impl Into<String>,
        means: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { verdict: Verdict::Fail, ..Self::warn(id, found, means, remedy) }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Look from outside, as an iPhone would [default URL: base_url of the configuration].
    #[arg(long, num_args = 0..=1, value_name = "URL", default_missing_value = "")]
    phone_ready: Option<String>,
    /// With --phone-ready: an invitation link, to check the enrolment profile. Looking spends nothing; a file
    /// that holds the link can be given as @FILE.
    #[arg(long, requires = "phone_ready", value_name = "LINK")]
    link: Option<String>,
    /// With --phone-ready: certificates (PEM) that the phones were told to trust, such as the house's own ca.pem.
    #[arg(long, requires = "phone_ready", value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Send a test alarm to each configured destination.
    #[arg(long, conflicts_with_all = ["phone_ready", "deep"])]
    alarms: bool,
    /// Read the whole ledger, however long it is.
    #[arg(long, conflicts_with = "phone_ready")]
    deep: bool,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the checks. Exit code 0: nothing failed (there may be warnings); 1: something failed.
pub(crate) fn run(args: &Doctor) -> ExitCode {
    let done = match &args.phone_ready {
        None if args.alarms => alarms::checks(&args.place).map(|checks| (String::new(), checks)),
        Some(url) => from_outside(args, url),
        None => Ok((String::new(), host::checks(&args.place, args.deep))),
    };
    match done.and_then(|(of, checks)| tell(&of, &checks, args.json)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(e) => e.tell(args.json),
    }
}

fn from_outside(args: &Doctor, url: &str) -> Result<(String, Vec<Check>)> {
    let config = Config::read(&args.place);
    let url = match (url, &config) {
        ("", Ok(config)) => config.base_url.clone(),
        ("", Err(e)) => {
            return Err(usage(format!(
                "--phone-ready: give the URL; the configuration can't be read: {e:#}"
            )));
        }
        (url, _) => url.to_owned(),
    };
    let link = args.link.as_deref().map(read_link).transpose()?;
    let checks = phone::checks(&phone::Asked {
        url: url.clone(),
        link,
        trust: args.trust.clone(),
        config: config.ok(),
        place: args.place.clone(),
    })?;
    Ok((url, checks))
}

/// The link itself, or from a file: a link opens an enrolment, and a command line can be seen by others.
fn read_link(given: &str) -> Result<zeroize::Zeroizing<String>> {
    let text = match given.strip_prefix('@') {
        None => zeroize::Zeroizing::new(given.to_owned()),
        Some(path) => {
            let bytes = crate::certificate::read_file(Path::new(path))?;
            zeroize::Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned())
        }
    };
    Ok(zeroize::Zeroizing::new(text.trim().to_owned()))
}

/// Prints the checks; whether none failed.
fn tell(of: &str, checks: &[Check], json: bool) -> Result<bool> {
    let worst = checks.iter().map(|c| c.verdict).max().unwrap_or(Verdict::Ok);
    if json {
        let worst = if worst == Verdict::Skipped { Verdict::Ok } else { worst };
        let mut value = json!({ "verdict": worst, "checks": checks });
        if let (false, Some(map)) = (of.is_empty(), value.as_object_mut()) {
            map.insert("url".into(), of.into());
        }
        show::print_json(&value)?;
        return Ok(worst != Verdict::Fail);
    }
    show::print(&in_words(of, checks))?;
    Ok(worst != Verdict::Fail)
}

/// The checks for a person: one line each, and below it what it means and what to do.
pub(crate) fn in_words(of: &str, checks: &[Check]) -> String {
    let mut out = String::new();
    if !of.is_empty() {
        out.push_str(&format!("{}, as a phone sees it from here\n\n", show::line(of)));
    }
    let widest = checks.iter().map(|c| c.id.len()).max().unwrap_or(0);
    for c in checks {
        let word = match c.verdict {
            Verdict::Ok => "ok  ",
            Verdict::Skipped => "-   ",
            Verdict::Warn => "WARN",
            Verdict::Fail => "FAIL",
        };
        out.push_str(&format!("{word}  {:<widest$}  {}\n", c.id, show::line(&c.found)));
        for (label, text) in [("it means", &c.means), ("to do", &c.remedy)] {
            if !text.is_empty() {
                out.push_str(&format!("      {:<widest$}  {label}: {}\n", "", show::line(text)));
            }
        }
    }
    let count = |v: Verdict| checks.iter().filter(|c| c.verdict == v).count();
    out.push_str(&format!(
        "\n{} looked at, {} failed, {} to be warned of\n",
        checks.len() - count(Verdict::Skipped),
        count(Verdict::Fail),
        count(Verdict::Warn)
    ));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_told_with_what_it_means_and_what_to_do() {
        let checks = [
            Check::ok("dns", "mdm.example.org is 192.0.2.7"),
            Check::skipped("push.service", "no push certificate is configured"),
            Check::warn("tls.end", "20 days left", "soon no phone connects", "renew it"),
            Check::fail(
                "tls.chain",
                "an intermediate\u{1b}[2J is missing",
                "no phone connects",
                "send it along",
            ),
        ];
        insta::assert_snapshot!(in_words("https://mdm.example.org", &checks));
    }
}
