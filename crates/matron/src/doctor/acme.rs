//! A certificate by ACME: is there one, how long does it live, can the authority be asked.

use std::time::Duration;

use super::Check;
use super::host::{Host, until};
use crate::certificate::{facts, read_file};
use crate::cli::show;

/// Renewed when a third of its life is left: with ten days something has failed for weeks.
const SOON_DAYS: i64 = 10;
const PATIENCE: Duration = Duration::from_secs(35);

pub(super) fn checks(host: &Host<'_>) -> Vec<Check> {
    let Some(config) = &host.config else { return vec![] };
    let Some(part) = config.courier(&host.data.join("rooms")).acme else { return vec![] };
    vec![certificate(host, &part.directory), directory(&part)]
}

fn certificate(host: &Host<'_>, from: &str) -> Check {
    let id = "acme.certificate";
    let path = host.data.join("rooms/door/acme.chain.der");
    let remedy = "matron acme status says what the authority answered; matron acme renew tries again";
    if !path.exists() {
        return Check::warn(
            id,
            format!("none yet from {from}"),
            "phones are shown the certificate of the house's own CA, which they do not trust",
            format!(
                "let Matron run, with port 443 (or 80, by acme.challenge) reached from outside; {remedy}"
            ),
        );
    }
    match read_file(&path).and_then(|bytes| facts(&bytes)) {
        Ok(read) => until(id, &format!("from {from}"), read.not_after_ms, SOON_DAYS, host, remedy),
        Err(e) => Check::fail(id, format!("{e:#}"), "the door shows another certificate", remedy),
    }
}

/// Asks for the directory alone: no account is used.
fn directory(part: &courier::AcmeConfig) -> Check {
    let id = "acme.directory";
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return Check::skipped(id, e.to_string()),
    };
    let asked = runtime.block_on(async { tokio::time::timeout(PATIENCE, courier::probe_acme(part)).await });
    let silent = |why: &str| {
        Check::fail(
            id,
            format!("{} can't be asked: {}", part.directory, show::line(why)),
            "the certificate is not renewed; phones connect until it runs out",
            "let this host reach it (https, no proxy that opens TLS); correct acme.directory or acme.trust_anchor",
        )
    };
    match asked {
        Err(_) => silent("no answer within 35 seconds"),
        Ok(Err(e)) => silent(&e.to_string()),
        Ok(Ok(Err(why))) => silent(&why),
        Ok(Ok(Ok(said))) if said.wants_binding => Check::fail(
            id,
            format!("{} wants accounts that are bound to one made elsewhere", part.directory),
            "no account can be made, so there is no certificate",
            "take an authority without external account binding, or phones.tls_certificate",
        ),
        Ok(Ok(Ok(said))) => {
            let terms = said.terms.map(|t| format!("; its terms: {}", show::line(&t))).unwrap_or_default();
            Check::ok(id, format!("{} answers{terms}", part.directory))
        }
    }
}
