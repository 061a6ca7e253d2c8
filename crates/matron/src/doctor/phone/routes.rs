//! What phones fetch: the enrolment link, SCEP, the check-in's URL.

use std::net::{IpAddr, SocketAddr};

use apple::cms;
use apple::x509::Algorithms;
use http::Method;
use jiff::fmt::rfc2822;
use model::{Clock, SystemClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::chain::Trusted;
use super::wire::{Answer, BOTH, PATIENCE, Probed, Wire, taking_any, trusting};
use super::{Asked, Check};
use crate::cli::show;
use crate::config::{Config, TlsEnds};

/// A link that no invitation has: 32 characters, as a real one.
const NO_LINK: &str = "/enrol/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
/// A clock that is off by more is warned of, or a fault.
const SOME_OFF_MS: i64 = 60_000;
const FAR_OFF_MS: i64 = 300_000;

pub(super) fn client_certificate(probed: &Probed, config: Option<&Config>) -> Check {
    let id = "tls.client_certificate";
    if probed.requires_certificate {
        return Check::fail(
            id,
            "the server ends the connection for want of a client certificate",
            "a phone that enrols has none yet: nobody can enrol",
            "let the server ask for certificates without requiring them",
        );
    }
    if probed.asks_for_certificate {
        return Check::ok(id, "the server asks for a phone's certificate, and goes on without one");
    }
    if config.is_some_and(|c| c.phones.tls_ends == TlsEnds::LoadBalancer) {
        return Check::ok(
            id,
            "it is not asked for: TLS ends at a load balancer (phones.tls_ends), and phones sign their messages",
        );
    }
    Check::warn(
        id,
        "the server does not ask for a phone's certificate",
        "a phone is known by it; without it every check-in is refused, unless a load balancer ends TLS and the profile \
         asks for signed messages (Mdm-Signature)",
        "pass TLS through to Matron (SECURITY.md says what it costs to end it before)",
    )
}

/// An error with its causes: hyper's own words alone say little.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(e) = cause {
        let more = e.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = e.source();
    }
    text
}

/// A step that did not work, told by how.
fn unanswered(id: &'static str, what: &str, error: &std::io::Error) -> Check {
    let text = in_full(error);
    Check::fail(
        id,
        format!("{what}: {}", show::line(&text)),
        "a phone can't enrol",
        "journalctl -u matron, and what stands in front of it",
    )
}

pub(super) async fn checks(
    wire: &Wire,
    base: &str,
    asked: &Asked,
    trust: (&Trusted, bool),
    asks_for_certificate: bool,
    out: &mut Vec<Check>,
) {
    let ask = async |method: Method, path: &str, body: &'static [u8]| -> std::io::Result<Answer> {
        wire.ask(taking_any(BOTH)?, method, path, body).await
    };
    let before_ms = SystemClock.now_ms();
    let link = ask(Method::GET, NO_LINK, b"").await;
    let after_ms = SystemClock.now_ms();
    match &link {
        Err(e) => {
            out.push(unanswered("enrol", "an enrolment link", e));
            return;
        }
        Ok(answer) => {
            out.push(enrol(answer));
            out.push(clock(answer, before_ms, after_ms));
        }
    }
    out.push(match ask(Method::GET, "/scep?operation=GetCACaps", b"").await {
        Ok(answer) => caps(&answer),
        Err(e) => unanswered("scep.capabilities", "GetCACaps", &e),
    });
    out.push(match ask(Method::GET, "/scep?operation=GetCACert", b"").await {
        Ok(answer) => ca_certificates(&answer),
        Err(e) => unanswered("scep.certificates", "GetCACert", &e),
    });
    out.push(match ask(Method::PUT, "/mdm", b"").await {
        Ok(answer) => check_in(&answer),
        Err(e) => unanswered("checkin", "a check-in without a certificate", &e),
    });
    out.push(profile(wire, base, asked, trust, asks_for_certificate).await);
}

/// Nothing but the link's own answer may stand between a phone and the server.
fn redirected(id: &'static str, answer: &Answer) -> Option<Check> {
    (300..400).contains(&answer.status).then(|| {
        Check::fail(
            id,
            format!("{} to {}", answer.status, show::line(answer.header("location").unwrap_or("nowhere"))),
            "a phone keeps the URLs of its profile: nothing on its way may be redirected",
            "let the listener answer by itself; no login page, no other host name",
        )
    })
}

fn enrol(answer: &Answer) -> Check {
    let id = "enrol";
    redirected(id, answer).unwrap_or_else(|| match answer.status {
        400..=410 if answer.status != 401 && answer.status != 403 => {
            Check::ok(id, format!("a link that is none gets {}, without a client certificate", answer.status))
        }
        401 | 403 => Check::fail(
            id,
            format!("{}: something asks for a login", answer.status),
            "a phone that enrols can't log in",
            "let /enrol/ through to Matron as it is",
        ),
        502..=504 => Check::fail(
            id,
            format!("{}", answer.status),
            "a phone can't enrol",
            "Matron, or what is in front of it, does not answer: 'matron doctor' on its host",
        ),
        status => Check::fail(
            id,
            format!("a link that is none gets {status}"),
            "this is not Matron's phones' listener",
            "is this the right host and port?",
        ),
    })
}

fn clock(answer: &Answer, before_ms: i64, after_ms: i64) -> Check {
    let id = "clock";
    let date = answer.header("date").and_then(|d| rfc2822::DateTimeParser::new().parse_timestamp(d).ok());
    let Some(date) = date else {
        return Check::skipped(id, "the server tells no date");
    };
    // Its date has whole seconds.
    let theirs_ms = date.as_millisecond();
    let off_ms = if theirs_ms + 1000 < before_ms {
        theirs_ms + 1000 - before_ms
    } else {
        (theirs_ms - after_ms).max(0)
    };
    let found = format!(
        "the server's clock is {} from this machine's",
        if off_ms == 0 {
            "less than a second".into()
        } else {
            format!("{} {}", show::span(off_ms.abs()), if off_ms < 0 { "behind" } else { "ahead" })
        }
    );
    let remedy = "keep both by chrony or systemd-timesyncd; then look again";
    let means = "phones take their time from Apple: certificates that the server issues may not be valid yet, or warrants have run out";
    match off_ms.abs() {
        off if off > FAR_OFF_MS => Check::fail(id, found, means, remedy),
        off if off > SOME_OFF_MS => Check::warn(id, found, means, remedy),
        _ => Check::ok(id, found),
    }
}

fn caps(answer: &Answer) -> Check {
    let id = "scep.capabilities";
    if let Some(check) = redirected(id, answer) {
        return check;
    }
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let has = |word: &str| text.lines().any(|l| l.trim().eq_ignore_ascii_case(word));
    let none = "a phone gets no certificate: nobody can enrol";
    if answer.status != 200 {
        return Check::fail(
            id,
            format!("GetCACaps gets {}", answer.status),
            none,
            "let /scep through to Matron as it is, with its query",
        );
    }
    let strong = has("AES") && has("SHA-256");
    if strong || has("SCEPStandard") {
        Check::ok(id, text.split_whitespace().take(12).collect::<Vec<_>>().join(" "))
    } else {
        Check::fail(
            id,
            format!(
                "it offers neither AES nor SHA-256: {}",
                show::line(&text.chars().take(80).collect::<String>())
            ),
            none,
            "is this Matron's own /scep?",
        )
    }
}

fn ca_certificates(answer: &Answer) -> Check {
    let id = "scep.certificates";
    if let Some(check) = redirected(id, answer) {
        return check;
    }
    let none = "a phone gets no certificate: nobody can enrol";
    let remedy = "let /scep through to Matron as it is, with its query";
    if answer.status != 200 {
        return Check::fail(id, format!("GetCACert gets {}", answer.status), none, remedy);
    }
    if answer.kind() != "application/x-x509-ca-ra-cert" {
        return Check::fail(id, format!("its content type is '{}'", show::line(answer.kind())), none, remedy);
    }
    match apple::scep::client::open_ca_cert(&answer.body) {
        Ok(certificates) if certificates.len() >= 2 => Check::ok(
            id,
            format!("{} certificates: the CA and its registration authority", certificates.len()),
        ),
        Ok(_) => Check::fail(id, "the CA or its registration authority is missing", none, remedy),
        Err(e) => Check::fail(id, e.to_string(), none, remedy),
    }
}

fn check_in(answer: &Answer) -> Check {
    let id = "checkin";
    redirected(id, answer).unwrap_or_else(|| match answer.status {
        400 => Check::ok(id, "without a phone's certificate it gets 400"),
        401 | 403 => Check::fail(
            id,
            format!("without a phone's certificate it gets {}", answer.status),
            "a phone that sees this drops its management",
            "Matron never says so by itself: something in front of it does; let /mdm through as it is",
        ),
        404 | 405 => Check::fail(
            id,
            format!("it gets {}", answer.status),
            "phones can't check in",
            "let PUT /mdm through to Matron as it is",
        ),
        413 => Check::fail(
            id,
            "it gets 413",
            "larger reports of phones are thrown away",
            "let bodies of phones.largest_body_bytes through",
        ),
        status => Check::fail(
            id,
            format!("it gets {status}"),
            "phones can't check in",
            "'matron doctor' on the host, and what stands in front of it",
        ),
    })
}

/// The profile behind an invitation link. Fetching it spends nothing.
async fn profile(
    wire: &Wire,
    base: &str,
    asked: &Asked,
    (trusted, is_trusted): (&Trusted, bool),
    asks_for_certificate: bool,
) -> Check {
    let id = "profile";
    let Some(link) = &asked.link else {
        return Check::skipped(
            id,
            "give an invitation's link with --link @FILE to check the profile and its signature",
        );
    };
    let Some(path) =
        link.strip_prefix(base).filter(|p| p.starts_with("/enrol/") && !p.contains(['?', '#', ' ']))
    else {
        return Check::fail(
            id,
            "the link is for another URL than the one that is looked at",
            "phones go where the link says",
            "base_url must be the URL that phones use; correct it before the first phone enrols",
        );
    };
    if !is_trusted {
        return Check::skipped(id, "the link was not sent: the connection is none that a phone would trust");
    }
    let answer = match trusting(trusted.all()) {
        Ok(config) => wire.ask(config, Method::GET, path, b"").await,
        Err(e) => Err(e),
    };
    let answer = match answer {
        Ok(a) => a,
        Err(e) => return unanswered(id, "the enrolment profile", &e),
    };
    if let Some(check) = redirected(id, &answer) {
        return check;
    }
    judge_profile(&answer, base, asked, asks_for_certificate)
}

fn judge_profile(answer: &Answer, base: &str, asked: &Asked, asks_for_certificate: bool) -> Check {
    let id = "profile";
    let cant = "a phone can't enrol";
    if answer.status != 200 {
        return Check::fail(
            id,
            format!("the link gets {}", answer.status),
            cant,
            "it has run out, was used or withdrawn: matron invitations list",
        );
    }
    if answer.kind() != "application/x-apple-aspen-config" {
        return Check::fail(
            id,
            format!("its content type is '{}'", show::line(answer.kind())),
            "a phone shows it as a page or a file instead of a profile",
            "let the answer through as Matron gives it",
        );
    }
    if answer.body.first() != Some(&0x30) {
        return Check::warn(
            id,
            "the profile is not signed",
            "a phone shows 'Not Signed' in red, and who sits in between could have changed it",
            "set enrolment.unsigned_profiles = false",
        );
    }
    let opened = cms::unwrap_signed(&answer.body)
        .and_then(|content| Ok((cms::verify_detached(&answer.body, &content, Algorithms::Strong)?, content)));
    let (signer, content) = match opened {
        Ok(opened) => opened,
        Err(e) => {
            return Check::fail(
                id,
                format!("its signature does not hold: {e}"),
                cant,
                "something in between changed it",
            );
        }
    };
    let read = match apple::profile::parse(&content) {
        Ok(read) => read,
        Err(e) => {
            return Check::fail(
                id,
                format!("it is no enrolment profile: {e}"),
                cant,
                "is this Matron's own answer?",
            );
        }
    };
    for (what, url) in
        [("ServerURL", &read.server_url), ("CheckInURL", &read.check_in_url), ("SCEP's URL", &read.scep_url)]
    {
        if url.strip_prefix(base).is_none_or(|rest| !rest.starts_with('/')) {
            return Check::fail(
                id,
                format!("{what} in it is not at {base}"),
                "phones go where the profile says, for as long as they are enrolled",
                "set base_url to the URL that phones use, before the first phone enrols",
            );
        }
    }
    if !asks_for_certificate && !read.sign_message {
        return Check::fail(
            id,
            "the server asks for no phone's certificate, and the profile for no signed messages",
            "nothing says which phone speaks: every check-in is refused",
            "pass TLS through to Matron; or set phones.tls_ends = \"load_balancer\" before the first phone enrols",
        );
    }
    if let Some(config) = &asked.config
        && config.base_url.trim_end_matches('/') == base
        && config.push.topic != read.topic
    {
        return Check::fail(
            id,
            format!("its topic is {}, push.topic is {}", show::line(&read.topic), config.push.topic),
            "a phone that enrols with it can't be woken",
            "restart Matron after push.topic was changed",
        );
    }
    let by = crate::certificate::facts(&signer).map(|f| f.subject).unwrap_or_default();
    Check::ok(id, format!("signed by '{}', for {base}, topic {}", show::line(&by), show::line(&read.topic)))
}

/// Phones never use it; people type it.
pub(super) async fn plain_http(host: &str, ip: IpAddr, out: &mut Vec<Check>) {
    let id = "http";
    let asked = async {
        let mut tcp = TcpStream::connect(SocketAddr::new(ip, 80)).await?;
        tcp.write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())
            .await?;
        let mut head = vec![0; 4096];
        let n = tcp.read(&mut head).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(head.get(..n).unwrap_or_default()).into_owned())
    };
    let answer = match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(answer)) => answer,
        _ => {
            out.push(Check::ok(id, "port 80 is closed; phones don't use it"));
            return;
        }
    };
    let status = answer.split_whitespace().nth(1).unwrap_or("?").to_owned();
    let to_https = answer.lines().any(|l| l.to_ascii_lowercase().starts_with("location: https://"));
    out.push(if status.starts_with('3') && to_https {
        Check::ok(id, "port 80 leads to https; phones don't use it")
    } else {
        Check::warn(
            id,
            format!("port 80 answers {}", show::line(&status)),
            "phones don't use it; a person who types the name may land there",
            "close it, or let it redirect to https",
        )
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;
    use bytes::Bytes;
    use http::HeaderMap;

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &'static [u8]) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        Answer { status, headers: map, body: Bytes::from_static(body) }
    }

    #[test]
    fn a_clock_is_off_only_beyond_what_the_answer_took() {
        let at = |date: &str, before_ms, after_ms| {
            clock(&answer(404, &[("date", date)], b""), before_ms, after_ms)
        };
        let date = "Wed, 25 Nov 2026 07:00:00 GMT";
        let then_ms = 1_795_590_000_000;
        assert_eq!(at(date, then_ms + 900, then_ms + 1000).verdict, Verdict::Ok);
        assert_eq!(at(date, then_ms + 90_000, then_ms + 90_001).verdict, Verdict::Warn);
        assert_eq!(at(date, then_ms - 400_000, then_ms - 399_999).verdict, Verdict::Fail);
        assert_eq!(at("yesterday", 0, 0).verdict, Verdict::Skipped);
    }

    #[test]
    fn what_stands_in_front_of_matron_is_recognised_by_its_answers() {
        assert_eq!(enrol(&answer(404, &[], b"")).verdict, Verdict::Ok);
        for status in [200, 302, 401, 403, 502] {
            assert_eq!(enrol(&answer(status, &[], b"")).verdict, Verdict::Fail, "{status}");
        }
        assert_eq!(check_in(&answer(400, &[], b"")).verdict, Verdict::Ok);
        for status in [200, 301, 401, 403, 404, 413, 502] {
            assert_eq!(check_in(&answer(status, &[], b"")).verdict, Verdict::Fail, "{status}");
        }
        assert_eq!(caps(&answer(200, &[], b"AES\nSHA-256\nPOSTPKIOperation\n")).verdict, Verdict::Ok);
        assert_eq!(caps(&answer(404, &[], b"")).verdict, Verdict::Fail);
        assert_eq!(caps(&answer(200, &[], b"<html>")).verdict, Verdict::Fail);
        assert_eq!(
            ca_certificates(&answer(200, &[("content-type", "text/html")], b"")).verdict,
            Verdict::Fail
        );
    }
}
