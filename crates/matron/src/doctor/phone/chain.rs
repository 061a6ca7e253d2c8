//! The server's certificate and its chain, as a phone judges them.

use std::path::Path;

use model::TimeMs;
use model::clock::DAY_MS;
use rustls::RootCertStore;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::server::ParsedCertificate;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::super::Check;
use super::wire::Probed;
use crate::certificate::{Facts, Key, Signature, days_left, facts, read_chain};
use crate::cli::failure::Result;
use crate::cli::show;
use crate::push::in_days;

/// Apple, 102028: certificates below roots that come with the system, from 1 September 2020 on.
const PUBLIC_LIFE_DAYS: i64 = 398;
/// Apple, 103769: all others, from 1 July 2019 on.
const OWN_LIFE_DAYS: i64 = 825;
/// Where systems keep the certificates they trust.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Whom a phone might trust.
pub(super) struct Trusted {
    mozilla: RootCertStore,
    system: RootCertStore,
    /// What the operator says that phones were told to trust.
    given: RootCertStore,
}

impl Trusted {
    pub(super) fn read(given: Option<&Path>) -> Result<Self> {
        let mut mozilla = RootCertStore::empty();
        mozilla.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let mut system = RootCertStore::empty();
        if let Some(path) = BUNDLES.iter().map(Path::new).find(|p| p.is_file())
            && let Ok(bytes) = std::fs::read(path)
        {
            use rustls_pki_types::pem::PemObject;
            system.add_parsable_certificates(CertificateDer::pem_slice_iter(&bytes).flatten());
        }
        let mut own = RootCertStore::empty();
        if let Some(path) = given {
            own.add_parsable_certificates(read_chain(path)?);
        }
        Ok(Self { mozilla, system, given: own })
    }

    /// All of them: what a verified connection is made with.
    pub(super) fn all(&self) -> RootCertStore {
        let mut all = self.mozilla.clone();
        all.roots.extend(self.system.roots.iter().cloned());
        all.roots.extend(self.given.roots.iter().cloned());
        all
    }
}

/// Judges the chain; whether a phone that trusts the given roots would connect.
pub(super) fn checks(
    host: &str,
    probed: &Probed,
    trusted: &Trusted,
    now_ms: TimeMs,
    out: &mut Vec<Check>,
) -> bool {
    let Some(own) = probed.chain.first() else {
        out.push(Check::fail(
            "tls.chain",
            "the server shows no certificate",
            "a phone refuses the connection",
            "configure one",
        ));
        return false;
    };
    let Ok(read) = facts(own) else {
        out.push(Check::fail(
            "tls.chain",
            "the server's certificate can't be read",
            "a phone refuses the connection",
            "ask for a new one",
        ));
        return false;
    };
    let begin = out.len();
    let anchored = chain(&read, probed, trusted, out);
    out.push(name(host, own, &read));
    out.push(dates(&read, now_ms));
    for (n, certificate) in probed.chain.iter().enumerate() {
        if let Ok(f) = facts(certificate) {
            strength(n, &f, out);
        }
    }
    let public = anchored.is_some_and(|a| a == Anchor::Public);
    out.push(life(&read, public));
    out.push(usage(&read));
    if public {
        out.push(timestamps(&read));
    }
    let failed = out.iter().skip(begin).any(|c| c.verdict == super::super::Verdict::Fail);
    anchored.is_some() && !failed
}

/// What the chain ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Anchor {
    Public,
    Given,
}

fn chain(read: &Facts, probed: &Probed, trusted: &Trusted, out: &mut Vec<Check>) -> Option<Anchor> {
    let id = "tls.chain";
    let ends_in = |roots: &RootCertStore| ends_in(read, probed, roots);
    let (mozilla, system, given) =
        (ends_in(&trusted.mozilla), ends_in(&trusted.system), ends_in(&trusted.given));
    let sent = show::count(probed.chain.len() as u64, "certificate");
    if mozilla.is_ok() || system.is_ok() {
        let whose = match (mozilla.is_ok(), system.is_ok()) {
            (true, true) => "in Mozilla's list and in this machine's",
            (true, false) => "in Mozilla's list",
            _ => "in this machine's list, not in Mozilla's",
        };
        let found = format!("{sent}, up to a root {whose} (Apple's own list isn't here)");
        out.push(if mozilla.is_ok() {
            Check::ok(id, found)
        } else {
            Check::warn(
                id,
                found,
                "a root that was added to this machine is not on the phones",
                "use a public CA, or install the root on each phone",
            )
        });
        return Some(if mozilla.is_ok() { Anchor::Public } else { Anchor::Given });
    }
    if given.is_ok() {
        out.push(Check::warn(
            id,
            format!("{sent}, up to a root of --trust"),
            "a phone connects only once it was told to trust that root: its enrolment link gives a warning before",
            "fine for a trial; a fleet wants a public certificate",
        ));
        return Some(Anchor::Given);
    }
    out.push(broken(probed, mozilla.err()));
    None
}

fn ends_in(read: &Facts, probed: &Probed, roots: &RootCertStore) -> Result<(), rustls::Error> {
    let Some((own, others)) = probed.chain.split_first() else {
        return Err(rustls::Error::NoCertificatesPresented);
    };
    let parsed = ParsedCertificate::try_from(own)?;
    // As of a moment within its life: the dates are a check of their own.
    let at_ms = read.not_before_ms / 2 + read.not_after_ms / 2;
    let now_ms = model::Clock::now_ms(&model::SystemClock);
    let at_ms = if (read.not_before_ms..=read.not_after_ms).contains(&now_ms) { now_ms } else { at_ms };
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_millis(
        u64::try_from(at_ms).unwrap_or_default(),
    ));
    let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    verify_server_cert_signed_by_trust_anchor(&parsed, roots, others, at, algorithms.all)
}

/// Says where the chain breaks: which certificate's issuer is neither sent nor a root.
fn broken(probed: &Probed, error: Option<rustls::Error>) -> Check {
    let id = "tls.chain";
    let all: Vec<Facts> = probed.chain.iter().filter_map(|c| facts(c).ok()).collect();
    let Some(mut top) = all.first() else {
        return Check::fail(
            id,
            "no certificate can be read",
            "a phone refuses the connection",
            "ask for a new one",
        );
    };
    // Up from the server's own, whatever the order in which they were sent.
    for _ in 0..all.len() {
        match all.iter().find(|f| f.subject == top.issuer && f.subject != top.subject) {
            Some(next) if !top.self_issued => top = next,
            _ => break,
        }
    }
    let refused = "a phone refuses the connection";
    if top.self_issued {
        return Check::fail(
            id,
            format!("it ends in '{}', a root of nobody's list", show::line(&top.subject)),
            refused,
            "use a certificate of a public CA; or give the root to --trust here and to each phone before it enrols",
        );
    }
    if !matches!(
        error,
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)) | None
    ) {
        let why = error.map(|e| e.to_string()).unwrap_or_default();
        return Check::fail(
            id,
            format!("it does not hold: {why}"),
            refused,
            "see the checks below, or ask the CA for a new one",
        );
    }
    let fetch = top.issuer_url.as_ref().map(|u| format!(" (it is at {})", show::line(u))).unwrap_or_default();
    Check::fail(
        id,
        format!(
            "the certificate of '{}', which issued '{}', is not sent",
            show::line(&top.issuer),
            show::line(&top.subject)
        ),
        "browsers may fetch it by themselves; a phone's device management does not, and refuses the connection",
        format!("append it to the file of phones.tls_certificate{fetch}"),
    )
}

fn name(host: &str, own: &CertificateDer<'_>, read: &Facts) -> Check {
    let id = "tls.name";
    let names: Vec<String> = read.names.iter().take(8).map(|n| show::line(n)).collect();
    let fits = ParsedCertificate::try_from(own)
        .ok()
        .zip(ServerName::try_from(host.to_owned()).ok())
        .is_some_and(|(parsed, name)| verify_server_name(&parsed, &name).is_ok());
    if fits {
        return Check::ok(id, format!("it is for {}", names.join(", ")));
    }
    let found = if names.is_empty() {
        format!("it names no host but in its common name ('{}')", show::line(&read.subject))
    } else {
        format!("it is for {}, not for {host}", names.join(", "))
    };
    Check::fail(
        id,
        found,
        "a phone refuses the connection",
        format!("ask for a certificate whose subject alternative name has {host}"),
    )
}

fn dates(read: &Facts, now_ms: TimeMs) -> Check {
    let id = "tls.dates";
    let left = days_left(read.not_after_ms, now_ms);
    let found = format!(
        "{} to {} ({})",
        show::time(read.not_before_ms),
        show::time(read.not_after_ms),
        in_days(left)
    );
    let renew = "renew it and put the new files in the same places; Matron takes them up without a restart";
    if read.not_before_ms > now_ms {
        Check::fail(
            id,
            found,
            "it is not valid yet: a phone refuses the connection",
            "is this machine's clock right? Else wait, or ask for another",
        )
    } else if left < 0 {
        Check::fail(id, found, "it has run out: a phone refuses the connection", renew)
    } else if left < 14 {
        Check::warn(id, found, "then every phone refuses the connection", renew)
    } else {
        Check::ok(id, found)
    }
}

/// Key and signature of one certificate; a root's own signature is looked at by nobody.
fn strength(n: usize, f: &Facts, out: &mut Vec<Check>) {
    let who =
        if n == 0 { "the server's certificate".to_owned() } else { format!("'{}'", show::line(&f.subject)) };
    let refused = "Apple (103769): a phone refuses the connection";
    let weak = match f.key {
        Key::Rsa(bits) => bits < 2048,
        Key::Ec(bits) => bits < 256,
        Key::Other => true,
    };
    if weak {
        out.push(Check::fail(
            "tls.key",
            format!("{who} has a key that is {}", f.key),
            refused,
            "make a key of RSA 2048 or EC 256 bits, or more, and ask for a new certificate",
        ));
    } else if n == 0 {
        out.push(Check::ok("tls.key", f.key.to_string()));
    }
    if f.self_issued && n > 0 {
        return;
    }
    if f.signature != Signature::Sha2 {
        out.push(Check::fail(
            "tls.signature",
            format!("{who} is signed with {}", f.signature),
            refused,
            "ask the CA for a certificate that is signed with SHA-256",
        ));
    } else if n == 0 {
        out.push(Check::ok("tls.signature", f.signature.to_string()));
    }
}

fn life(read: &Facts, public: bool) -> Check {
    let id = "tls.life";
    // Both ends are part of it: 398 days are 398 × 86,400 seconds (Apple, 102028).
    let ms = read.not_after_ms - read.not_before_ms;
    let days = (ms + DAY_MS - 1).div_euclid(DAY_MS);
    let most = if public { PUBLIC_LIFE_DAYS } else { OWN_LIFE_DAYS };
    let of = if public { "of a public CA" } else { "of a CA that was added" };
    let found = format!("{days} days; the most {of} is {most}");
    if days > most {
        Check::fail(
            id,
            found,
            "Apple: a phone refuses the connection",
            "ask for a certificate with a shorter life",
        )
    } else {
        Check::ok(id, found)
    }
}

fn usage(read: &Facts) -> Check {
    let id = "tls.usage";
    let fix = "ask for a certificate for TLS servers";
    match read.server_auth {
        Some(true) => Check::ok(id, "for TLS servers"),
        Some(false) => Check::fail(
            id,
            "its extended key usage leaves TLS servers out",
            "a phone refuses the connection",
            fix,
        ),
        None => Check::fail(
            id,
            "it has no extended key usage",
            "Apple (103769): a phone refuses the connection",
            fix,
        ),
    }
}

fn timestamps(read: &Facts) -> Check {
    let id = "tls.transparency";
    if read.has_timestamps {
        return Check::ok(id, "it carries timestamps of certificate transparency logs");
    }
    Check::warn(
        id,
        "it carries no timestamps of certificate transparency logs",
        "Apple wants them of public CAs; unless the server sends them in the handshake, a phone refuses the connection",
        "ask the CA for a certificate with embedded timestamps (SCT)",
    )
}
