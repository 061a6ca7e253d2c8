//! The steps that make the house and let people in.

use std::os::unix::fs::MetadataExt;

use super::{Stand, Walk};
use crate::cli::failure::{CliError, Result};
use crate::cli::{Desk, Invitee, Reach, invite_one, join_first, show};
use crate::config::Config;

/// How long a test invitation's link works.
const INVITATION_DAYS: u8 = 7;

fn command(walk: &Walk, what: &str) -> String {
    format!("matron {what} --config {} --data {}", walk.file.path.display(), walk.place.data.display())
}

pub(super) fn house(walk: &mut Walk) -> Result<Stand> {
    let rooms = walk.data.join("rooms");
    if !rooms.exists() {
        if walk.check || walk.file.is_new {
            return Ok(Stand::Open("not made yet".into(), command(walk, "init")));
        }
        // The TLS certificate of the house's own CA is for base_url's host: not before that is known.
        if walk.file.text("base_url").is_none() {
            return Ok(Stand::Open("it is made once the host name is given".into(), String::new()));
        }
        let owner = std::fs::metadata(&walk.data).map(|m| m.uid()).unwrap_or_default();
        if rustix::process::geteuid().as_raw() != owner {
            return Ok(Stand::Open(
                "it has to be made by the user that Matron runs as".into(),
                format!("sudo -u '#{owner}' {}", command(walk, "init")),
            ));
        }
        if let Err(e) = crate::serve::init(&walk.place) {
            return Ok(Stand::Wrong(format!("{e:#}"), String::new()));
        }
    }
    Ok(match crate::doctor::holder(&walk.data) {
        Some(pid) => Stand::Done(format!("made, and runs (process {pid})")),
        None => Stand::Open(
            "made; it does not run".into(),
            format!("systemctl start matron, or: {}", command(walk, "serve")),
        ),
    })
}

/// The desk of whoever runs this, at the listener that the configuration names.
fn desk(walk: &Walk) -> Result<Desk> {
    let mut reach: Reach = walk.reach.clone();
    if reach.server.is_none()
        && let Ok(config) = Config::read(&walk.place)
    {
        let a = &config.administrators;
        let scheme = if a.tls_certificate.is_some() { "https" } else { "http" };
        let ip =
            if a.listen.ip().is_unspecified() { "127.0.0.1".to_owned() } else { a.listen.ip().to_string() };
        let ip = if ip.contains(':') { format!("[{ip}]") } else { ip };
        reach.server = Some(format!("{scheme}://{ip}:{}", a.listen.port()));
    }
    Desk::open(reach)
}

/// What an error of a step that needs the running house says.
fn told(e: CliError) -> Stand {
    match e {
        CliError::Unreachable(_) => {
            Stand::Open("Matron does not answer yet".into(), "start it, then run this again".into())
        }
        other => Stand::Wrong(other.to_string(), String::new()),
    }
}

pub(super) fn administrator(walk: &mut Walk) -> Result<Stand> {
    let desk = match desk(walk) {
        Ok(desk) => desk,
        Err(e) => return Ok(told(e)),
    };
    if desk.has_joined()? {
        return Ok(Stand::Done(format!("your key is in {}", desk.home_path().display())));
    }
    let how = "matron admin join --token matron-join-… --name 'Your Name', on your own machine; the token was \
               printed when the house was made";
    if walk.check || crate::doctor::holder(&walk.data).is_none() {
        return Ok(Stand::Open("nobody has joined from here".into(), how.into()));
    }
    let token = match &walk.answers.token {
        Some(token) => Some(token.clone()),
        None => walk.asker.line("The one-time token, if you are the first administrator (empty: later):")?,
    };
    let Some(token) = token else { return Ok(Stand::Open("nobody has joined from here".into(), how.into())) };
    let name = match &walk.answers.administrator {
        Some(name) => Some(name.clone()),
        None => walk.asker.line("Your name (it is sealed to the vault):")?,
    };
    let Some(name) = name else {
        return Ok(Stand::Open("nobody has joined from here".into(), "--administrator 'Your Name'".into()));
    };
    Ok(match join_first(&desk, token, name) {
        Ok(()) => Stand::Done(format!("you; your key is in {}", desk.home_path().display())),
        Err(e) => told(e),
    })
}

pub(super) fn standing_order(walk: &mut Walk) -> Result<Stand> {
    let desk = match desk(walk) {
        Ok(desk) => desk,
        Err(e) => return Ok(told(e)),
    };
    let how = "matron standing make: the vault then renews the phones' certificates by itself";
    if !desk.has_joined()? {
        return Ok(Stand::Open("an administrator signs it once they have joined".into(), how.into()));
    }
    Ok(match desk.get("/api/v1/health") {
        Err(e) => told(e),
        Ok(health) => {
            let until = health.pointer("/renewal/standing_expires_at_ms").and_then(serde_json::Value::as_i64);
            match until {
                Some(until_ms) => {
                    Stand::Done(format!("certificates are renewed under it until {}", show::time(until_ms)))
                }
                None => Stand::Open("none renews the phones' certificates".into(), how.into()),
            }
        }
    })
}

pub(super) fn invitation(walk: &mut Walk) -> Result<Stand> {
    let desk = match desk(walk) {
        Ok(desk) => desk,
        Err(e) => return Ok(told(e)),
    };
    let how = "matron invite --name … --email … --group …";
    if walk.check || !desk.has_joined()? {
        return Ok(Stand::Open("none was made by this".into(), how.into()));
    }
    let ask = |given: &Option<String>, question: &str| -> Result<Option<String>> {
        match given {
            Some(g) => Ok(Some(g.clone())),
            None => walk.asker.line(question),
        }
    };
    let Some(name) =
        ask(&walk.answers.invite_name, "Invite a test phone: its holder's name (empty: later):")?
    else {
        return Ok(Stand::Open("none was made by this".into(), how.into()));
    };
    let email = ask(&walk.answers.invite_email, "Their email address:")?;
    let group = ask(&walk.answers.invite_group, "The phone's group, for example ward-7:")?;
    let (Some(email), Some(group)) = (email, group) else {
        return Ok(Stand::Open("email and group are missing".into(), how.into()));
    };
    let invitee = match Invitee::check(&name, &email, &group) {
        Ok(invitee) => invitee,
        Err(why) => return Ok(Stand::Wrong(why, String::new())),
    };
    Ok(match invite_one(&desk, &invitee, INVITATION_DAYS, "a test phone, by matron setup") {
        Ok(done) => {
            show::print(&format!("\n      {}\n\n", show::line(&done.link)))?;
            Stand::Done(format!(
                "open the link above on the phone, once, until {}",
                show::time(done.expires_at_ms)
            ))
        }
        Err(e) => told(e),
    })
}
