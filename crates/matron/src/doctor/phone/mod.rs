//! What an iPhone will check, looked at from outside, in the order in which it would meet it.
//!
//! Sources: Apple, "Requirements for trusted certificates in iOS 13 and macOS 10.15" (support.apple.com/103769);
//! "About upcoming limits on trusted certificates" (102028); App Transport Security, which Apple's device
//! management obeys; RFC 8894. Apple's own list of roots isn't here: Mozilla's and this machine's stand in.

mod chain;
mod routes;
mod wire;

use std::net::IpAddr;
use std::path::PathBuf;

use http::Uri;
use model::{Clock, SystemClock};
use zeroize::Zeroizing;

use super::{Check, host};
use crate::Place;
use crate::cli::failure::{Result, failed, usage};
use crate::config::Config;
use wire::{Probed, Wire};

/// What is to be looked at.
pub(super) struct Asked {
    pub(super) url: String,
    /// An invitation link: a secret.
    pub(super) link: Option<Zeroizing<String>>,
    pub(super) trust: Option<PathBuf>,
    pub(super) config: Option<Config>,
    pub(super) place: Place,
}

/// Where phones connect.
struct Target {
    host: String,
    port: u16,
    /// `https://host[:port]`, as it must stand in profiles.
    base: String,
    authority: String,
}

fn target(url: &str) -> Result<Target> {
    let wrong =
        |why: &str| usage(format!("--phone-ready: '{url}': {why}, for example https://mdm.example.org"));
    let uri: Uri = url.trim().trim_end_matches('/').parse().map_err(|_| wrong("it is no URL"))?;
    if uri.scheme_str() != Some("https") {
        return Err(wrong("phones take https alone"));
    }
    let authority = uri.authority().ok_or_else(|| wrong("it names no host"))?;
    if authority.as_str().contains('@') || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(wrong("give the host and the port, without a path"));
    }
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    Ok(Target {
        host,
        port: authority.port_u16().unwrap_or(443),
        base: format!("https://{authority}"),
        authority: authority.to_string(),
    })
}

/// Judges a certificate and its chain before a server shows them, as a phone would.
pub(crate) fn judge_chain(
    host: &str,
    chain: Vec<rustls_pki_types::CertificateDer<'static>>,
    trust: Option<&std::path::Path>,
    now_ms: model::TimeMs,
) -> Result<Vec<Check>> {
    let probed = Probed { chain, asks_for_certificate: true, requires_certificate: false };
    let mut out = Vec::new();
    chain::checks(host, &probed, &chain::Trusted::read(trust)?, now_ms, &mut out);
    Ok(out)
}

/// All checks of a server, from outside. What can't be reached hides what lies behind it.
pub(super) fn checks(asked: &Asked) -> Result<Vec<Check>> {
    let target = target(&asked.url)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let mut out = vec![consistent(&target, asked)];
    let now_ms = SystemClock.now_ms();
    let addresses = runtime.block_on(names(&target, &mut out));
    if addresses.is_empty() {
        return Ok(out);
    }
    let Some(address) = runtime.block_on(wire::reachable(&addresses, target.port, &mut out)) else {
        return Ok(out);
    };
    let trusted = chain::Trusted::read(asked.trust.as_deref())?;
    let wire = Wire { address, host: target.host.clone(), authority: target.authority.clone() };
    let probed: Option<Probed> = runtime.block_on(wire::handshakes(&wire, &mut out));
    let Some(probed) = probed else { return Ok(out) };
    let is_trusted = chain::checks(&target.host, &probed, &trusted, now_ms, &mut out);
    out.push(routes::client_certificate(&probed, asked.config.as_ref()));
    if probed.requires_certificate {
        return Ok(out);
    }
    runtime.block_on(routes::checks(
        &wire,
        &target.base,
        asked,
        (&trusted, is_trusted),
        probed.asks_for_certificate,
        &mut out,
    ));
    runtime.block_on(routes::plain_http(&target.host, address.ip(), &mut out));
    if let Some(config) = &asked.config
        && config.base_url.trim_end_matches('/') == target.base
    {
        out.push(host::probe_push(config, &asked.place.data, now_ms));
    } else {
        out.push(Check::skipped("push.service", "it is shown by the server's own 'matron doctor'"));
    }
    Ok(out)
}

/// Phones keep the URL they enrolled with.
fn consistent(target: &Target, asked: &Asked) -> Check {
    let id = "base_url";
    match &asked.config {
        Some(c) if c.base_url.trim_end_matches('/') == target.base => {
            Check::ok(id, format!("{}, as the configuration has it", target.base))
        }
        Some(c) if *c != Config::default() => Check::warn(
            id,
            format!("{} was given, base_url is {}", target.base, c.base_url),
            "profiles carry base_url: phones connect there, not to what is looked at here",
            "look at base_url, or correct it before the first phone enrols",
        ),
        _ => Check::ok(id, target.base.clone()),
    }
}

fn is_private(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

async fn names(target: &Target, out: &mut Vec<Check>) -> Vec<IpAddr> {
    let id = "dns";
    if let Ok(ip) = target.host.parse::<IpAddr>() {
        out.push(Check::warn(
            id,
            format!("{ip} is an address, no name"),
            "a public CA hardly certifies addresses, and the address can never change again",
            "give the server a name before the first phone enrols",
        ));
        return vec![ip];
    }
    let looked =
        tokio::time::timeout(wire::PATIENCE, tokio::net::lookup_host((target.host.as_str(), target.port)))
            .await;
    let mut all: Vec<IpAddr> = match looked {
        Ok(Ok(found)) => found.map(|a| a.ip()).collect(),
        _ => Vec::new(),
    };
    all.sort();
    all.dedup();
    if all.is_empty() {
        out.push(Check::fail(
            id,
            format!("{} has no address", target.host),
            "phones don't find the server",
            "set an A (and AAAA) record; in the hospital's own DNS too, if it answers for this name inside",
        ));
        return all;
    }
    let told: Vec<String> = all.iter().map(ToString::to_string).collect();
    let found = format!("{} is {}", target.host, told.join(", "));
    out.push(if all.iter().all(is_private) {
        Check::warn(
            id,
            found,
            "these are addresses of an inner network: a phone outside it does not reach the server",
            "fine for a trial inside; a fleet needs a public address, or a VPN on each phone",
        )
    } else {
        Check::ok(id, found)
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_phones_would_not_take_is_refused() {
        for bad in [
            "",
            "mdm.example.org",
            "http://mdm.example.org",
            "https://",
            "https://a@mdm.example.org",
            "https://mdm.example.org/x",
            "https://mdm.example.org?x",
        ] {
            assert!(target(bad).is_err(), "{bad}");
        }
        let good = target("https://mdm.example.org:8443/").unwrap();
        assert_eq!(
            (good.host.as_str(), good.port, good.base.as_str()),
            ("mdm.example.org", 8443, "https://mdm.example.org:8443")
        );
        let v6 = target("https://[2001:db8::1]").unwrap();
        assert_eq!((v6.host.as_str(), v6.port), ("2001:db8::1", 443));
    }
}
