//! The steps that say where phones connect, and what they are shown.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::path::Path;

use super::ask::Tls;
use super::{Stand, Walk};
use crate::certificate::{fits, read_chain, read_key};
use crate::cli::failure::Result;
use crate::cli::show;
use crate::config::Config;
use crate::doctor::{Verdict, judge_chain};

/// `mdm.example.org`, with a port or `https://` before it as people type it: host and base URL.
fn host_and_url(text: &str) -> Option<(String, u16, String)> {
    let bare = text.trim().trim_end_matches('/');
    let bare = bare.strip_prefix("https://").unwrap_or(bare).to_ascii_lowercase();
    let (host, port) = match bare.rsplit_once(':') {
        Some((host, port)) => (host.to_owned(), port.parse::<u16>().ok().filter(|p| *p > 0)?),
        None => (bare.clone(), 443),
    };
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    let good = host.len() <= 253 && host.split('.').all(label);
    let url = if port == 443 { format!("https://{host}") } else { format!("https://{host}:{port}") };
    good.then_some((host, port, url))
}

/// Whether an address is one of this machine's.
fn is_here(ip: IpAddr) -> bool {
    UdpSocket::bind(SocketAddr::new(ip, 0)).is_ok()
}

/// What the packaged configuration file has in a host's place.
const NO_HOST_YET: &str = "https://localhost";

pub(super) fn host(walk: &mut Walk) -> Result<Stand> {
    let is_host = |u: &String| host_and_url(u).is_some() && u.trim_end_matches('/') != NO_HOST_YET;
    let kept = walk.file.text("base_url").filter(is_host);
    let given = match (&walk.answers.host, &kept) {
        (Some(given), _) => Some(given.clone()),
        (None, Some(kept)) => Some(kept.clone()),
        (None, None) => {
            walk.asker.line("The host name that phones will use, for example mdm.example.org:")?
        }
    };
    let Some(given) = given else {
        return Ok(Stand::Open(
            "not given yet".into(),
            "--host mdm.example.org: it can't change once phones are enrolled, so take one that stays".into(),
        ));
    };
    let Some((host, port, url)) = host_and_url(&given) else {
        return Ok(Stand::Wrong(format!("'{given}' is no host name"), "for example mdm.example.org".into()));
    };
    if let Some(kept) = kept.filter(|k| k.trim_end_matches('/') != url) {
        let database = walk.data.join("rooms/core").join(core_room::DATABASE_FILE);
        let running = crate::doctor::holder(&walk.data).is_some();
        let phones = if database.exists() {
            core_room::examine(&database, running).map_or(1, |seen| seen.living_enrolments)
        } else {
            0
        };
        if phones > 0 {
            return Ok(Stand::Wrong(
                format!("{kept} can't become {url}: phones are enrolled with it"),
                "each would have to be enrolled anew; keep the name, and point it to where Matron is".into(),
            ));
        }
    }
    if !walk.check {
        walk.file.set("base_url", url.clone())?;
        let listen = match walk.answers.listen {
            Some(listen) => Some(listen),
            None if walk.file.text("phones.listen").is_none() => Some(SocketAddr::from(([0, 0, 0, 0], port))),
            None => None,
        };
        if let Some(listen) = listen.filter(|l| *l != Config::default().phones.listen) {
            walk.file.set("phones.listen", listen.to_string())?;
        }
    }
    let found: Vec<IpAddr> =
        (host.as_str(), port).to_socket_addrs().map(|a| a.map(|s| s.ip()).collect()).unwrap_or_default();
    if found.is_empty() {
        return Ok(Stand::Open(
            format!("{url}; the name has no address yet"),
            "set an A (and AAAA) record for it".into(),
        ));
    }
    let here = found.iter().any(|ip| is_here(*ip));
    let mut told: Vec<String> = found.iter().map(ToString::to_string).collect();
    told.sort();
    told.dedup();
    Ok(Stand::Done(format!(
        "{url}, {}{}",
        told.join(", "),
        if here {
            ", this machine"
        } else {
            ": not an address of this machine; something must pass the port on"
        }
    )))
}

pub(super) fn organization(walk: &mut Walk) -> Result<Stand> {
    let kept = walk.file.text("organization").filter(|o| *o != Config::default().organization);
    let given = match (&walk.answers.organization, kept) {
        (Some(given), _) => Some(given.clone()),
        (None, Some(kept)) => Some(kept),
        (None, None) => walk.asker.line("The organisation's name, as phones show it:")?,
    };
    let Some(name) = given.map(|n| n.trim().to_owned()) else {
        return Ok(Stand::Open("not given yet".into(), "--organization 'Example Hospital'".into()));
    };
    if name.is_empty() || name.chars().count() > 60 || name.chars().any(char::is_control) {
        return Ok(Stand::Wrong("the organisation's name has 1 to 60 characters".into(), String::new()));
    }
    if !walk.check {
        walk.file.set("organization", name.clone())?;
    }
    Ok(Stand::Done(name))
}

/// Whether this build knows a section of the configuration.
fn knows(section: &str) -> bool {
    serde_json::to_value(Config::default()).is_ok_and(|all| all.get(section).is_some())
}

pub(super) fn tls(walk: &mut Walk) -> Result<Stand> {
    let kept = if walk.file.text("acme.directory").is_some() {
        Some(Tls::Acme)
    } else if walk.file.text("phones.tls_certificate").is_some() {
        Some(Tls::Files)
    } else if walk.file.text("phones.tls_own").as_deref() == Some("true") {
        Some(Tls::Own)
    } else {
        None
    };
    let named = walk.answers.tls_certificate.is_some().then_some(Tls::Files);
    let chosen = match walk.answers.tls.or(named).or(kept) {
        Some(chosen) => Some(chosen),
        None => match walk
            .asker
            .line("The TLS certificate: files (of a public CA), acme, or own (phones have to be told)?")?
            .as_deref()
        {
            Some("files") => Some(Tls::Files),
            Some("acme") => Some(Tls::Acme),
            Some("own") => Some(Tls::Own),
            Some(other) => {
                return Ok(Stand::Wrong(format!("'{other}' is none of files, acme, own"), String::new()));
            }
            None => None,
        },
    };
    match chosen {
        Some(Tls::Files) => files(walk),
        Some(Tls::Acme) => acme(walk),
        Some(Tls::Own) => own(walk),
        None => Ok(Stand::Open(
            "not chosen: until then the CA of this house makes one, which no iPhone trusts by itself".into(),
            "--tls files --tls-certificate CHAIN.pem --tls-key KEY.pem, or --tls acme, or --tls own for a trial".into(),
        )),
    }
}

fn own(walk: &mut Walk) -> Result<Stand> {
    for other in ["phones.tls_certificate", "acme.directory"] {
        if walk.file.text(other).is_some() {
            return Ok(Stand::Wrong(
                format!("the configuration has {other}; the listener shows one certificate"),
                format!("take {other} out of it first"),
            ));
        }
    }
    if !walk.check {
        walk.file.set("phones.tls_own", true)?;
    }
    Ok(Stand::Done(
        "the CA of this house makes one; each iPhone has to be told to trust ca.pem before it opens the link"
            .into(),
    ))
}

fn files(walk: &mut Walk) -> Result<Stand> {
    let answer = |given: &Option<std::path::PathBuf>, key: &str, question: &str| -> Result<Option<String>> {
        match given {
            Some(path) => {
                Ok(Some(std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string()))
            }
            None => match walk.file.text(key) {
                Some(kept) => Ok(Some(kept)),
                None => walk.asker.line(question),
            },
        }
    };
    let certificate = answer(
        &walk.answers.tls_certificate,
        "phones.tls_certificate",
        "The file of the certificate and its chain (PEM):",
    )?;
    let key = answer(&walk.answers.tls_key, "phones.tls_key", "The file of its key (PEM):")?;
    let (Some(certificate), Some(key)) = (certificate, key) else {
        return Ok(Stand::Open(
            "files: which?".into(),
            "--tls-certificate CHAIN.pem --tls-key KEY.pem".into(),
        ));
    };
    let read = (|| {
        let chain = read_chain(Path::new(&certificate))?;
        let own = read_key(Path::new(&key))?;
        let first = chain.first().ok_or_else(|| anyhow::anyhow!("no certificate"))?;
        Ok::<_, anyhow::Error>((fits(first, &own)?, chain))
    })();
    let (fits, chain) = match read {
        Ok(read) => read,
        Err(e) => return Ok(Stand::Wrong(format!("{e:#}"), "nothing of it was written".into())),
    };
    if !fits {
        return Ok(Stand::Wrong(
            format!("{key} is not the key of {certificate}"),
            "nothing of it was written".into(),
        ));
    }
    let Some((host, ..)) = walk.file.text("base_url").and_then(|u| host_and_url(&u)) else {
        return Ok(Stand::Open("it can be judged once the host name is given".into(), String::new()));
    };
    let checks = judge_chain(&host, chain, walk.answers.tls_trust.as_deref(), walk.now_ms)?;
    let wrong: Vec<_> = checks.iter().filter(|c| c.verdict == Verdict::Fail).collect();
    if let Some(first) = wrong.first() {
        let all: Vec<String> = wrong.iter().map(|c| c.found.clone()).collect();
        let own = first.id == "tls.chain" && walk.answers.tls_trust.is_none();
        let own = if own { "\nif it is of a CA of your own: --tls-trust ROOT.pem" } else { "" };
        return Ok(Stand::Wrong(all.join("; "), format!("{}{own}\nnothing of it was written", first.remedy)));
    }
    if !walk.check {
        walk.file.remove("phones.tls_own");
        walk.file.set("phones.tls_certificate", certificate.clone())?;
        walk.file.set("phones.tls_key", key)?;
    }
    let dates = checks.iter().find(|c| c.id == "tls.dates").map(|c| c.found.clone()).unwrap_or_default();
    Ok(Stand::Done(format!("{certificate}: {}", show::line(&dates))))
}

/// Let's Encrypt, unless another is named.
const DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";

fn acme(walk: &mut Walk) -> Result<Stand> {
    if !knows("acme") {
        return Ok(Stand::Wrong("this build of Matron has no ACME".into(), "use --tls files".into()));
    }
    if walk.file.text("phones.tls_certificate").is_some() {
        return Ok(Stand::Wrong(
            "the configuration names certificate files already; the listener shows one of them".into(),
            "take phones.tls_certificate and phones.tls_key out of it first".into(),
        ));
    }
    if let Some(kept) = walk.file.text("acme.directory") {
        return Ok(Stand::Done(format!("by ACME from {kept}; 'matron acme status' says how it stands")));
    }
    let directory = walk.answers.acme_directory.clone().unwrap_or_else(|| DIRECTORY.to_owned());
    let contact = match &walk.answers.acme_contact {
        Some(given) => Some(given.clone()),
        None => walk.asker.line("Whom may the CA write to (an email address; empty: nobody)?")?,
    };
    let agrees = walk.answers.acme_agree
        || walk
            .asker
            .line(&format!("Did you read the terms of service of {directory} and agree (yes/no)?"))?
            .as_deref()
            == Some("yes");
    if !agrees {
        return Ok(Stand::Open(
            "by ACME: an account needs your consent to the CA's terms".into(),
            "read them, then --acme-agree".into(),
        ));
    }
    if !walk.check {
        walk.file.remove("phones.tls_own");
        walk.file.set("acme.directory", directory.clone())?;
        walk.file.set("acme.agree_to_terms", true)?;
        if let Some(contact) = contact {
            let contact = contact.strip_prefix("mailto:").unwrap_or(&contact).to_owned();
            walk.file.set("acme.contact", format!("mailto:{contact}"))?;
        }
    }
    Ok(Stand::Done(format!("by ACME from {directory}, once Matron runs and port 443 reaches it")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_is_taken_as_people_type_it() {
        let of = |t: &str| host_and_url(t).map(|(_, _, url)| url);
        assert_eq!(of("mdm.example.org").as_deref(), Some("https://mdm.example.org"));
        assert_eq!(of(" https://MDM.example.org/ ").as_deref(), Some("https://mdm.example.org"));
        assert_eq!(of("mdm.example.org:8443").as_deref(), Some("https://mdm.example.org:8443"));
        for bad in [
            "",
            "http://mdm.example.org",
            "mdm..org",
            "mdm.example.org/x",
            "-a.org",
            "a b",
            "mdm.example.org:0",
            "mdm_x.org",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
