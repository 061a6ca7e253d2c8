//! Signing in by OpenID Connect: can the provider be asked, does its metadata lead where the configuration allows, do
//! the clocks agree. No code or secret is sent.

use std::time::Duration;

use super::Check;
use super::host::Host;
use crate::cli::show;

/// Three requests, ten seconds each.
const PATIENCE: Duration = Duration::from_secs(35);
/// Tokens are refused that are a minute from the future, or one after their end.
const MOST_APART_S: i64 = 45;

pub(super) fn checks(host: &Host<'_>) -> Vec<Check> {
    let Some(part) = host.config.as_ref().and_then(|c| c.oidc()) else { return vec![] };
    vec![provider(&part)]
}

fn provider(part: &courier::OidcConfig) -> Check {
    let id = "oidc.provider";
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return Check::skipped(id, e.to_string()),
    };
    let asked = runtime.block_on(async { tokio::time::timeout(PATIENCE, courier::probe_oidc(part)).await });
    let fails = |why: &str| {
        Check::fail(
            id,
            format!("{}: {}", part.issuer, show::line(why)),
            "nobody signs in with the organisation's account; passkeys and the command line go on",
            "let this host reach it (https, no proxy that opens TLS); correct oidc.issuer, oidc.hosts, oidc.client_secret or oidc.trust_anchor (docs/sign-in.md)",
        )
    };
    match asked {
        Err(_) => fails("no answer within 35 seconds"),
        Ok(Err(e)) => fails(&e.to_string()),
        Ok(Ok(Err(why))) => fails(&why),
        Ok(Ok(Ok(said))) => match said.ahead_s {
            Some(s) if s.abs() > MOST_APART_S => Check::fail(
                id,
                format!(
                    "{} is {} s {} this host",
                    part.issuer,
                    s.abs(),
                    if s > 0 { "ahead of" } else { "behind" }
                ),
                "its tokens are refused as from the future or as run out",
                "have both keep time by NTP",
            ),
            _ => Check::ok(
                id,
                format!("{} answers, and signs with {}", part.issuer, show::count(said.keys as u64, "key")),
            ),
        },
    }
}
