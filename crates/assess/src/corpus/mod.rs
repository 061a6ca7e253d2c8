//! A made-up corpus with known truth: ordinary lines, decoys and inert attack
//! lines in any layout, the same for the same seed.
//!
//! The attack lines hold the routes and signs of the flaws and the word
//! `INERT`, never anything that would do something.

use std::io::{self, Write};

mod check;
mod other;
mod plant;

pub use check::{Checked, check, setup as setup_for};
pub use plant::disguise;

use crate::finding::{Grade, Layout};
use plant::ATTACKS;

/// What to write.
#[derive(Clone, Debug)]
pub struct Plan {
    /// About so many bytes.
    pub bytes: u64,
    /// At most so many lines.
    pub lines: u64,
    /// Seed.
    pub seed: u64,
    /// Layout; those of file listings and EPMM's audit export are not written.
    pub layout: Layout,
    /// One line in so many is an attack line; 0: none.
    pub one_in: u64,
    /// First second, as Unix time.
    pub start_s: i64,
    /// Lines a day.
    pub lines_a_day: u64,
    /// Scanners come by.
    pub scanners: bool,
    /// How clients reach the appliance.
    pub proxy: Proxy,
}

/// What stands between clients and the appliance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proxy {
    /// Nothing: a line has the client's address.
    #[default]
    None,
    /// A proxy that passes the client's address on, where the layout has a place for it.
    Forwarding,
    /// A proxy whose address stands in every line.
    Hiding,
}

/// The proxy's address.
const PROXY: &str = "10.255.255.1";

/// The `--format` that [`Layout::Custom`] is written in.
pub const CUSTOM_FORMAT: &str = r#"%{%s}t %a %m "%U%q" %>s/%B "%{User-Agent}i""#;

impl Default for Plan {
    fn default() -> Self {
        Self {
            bytes: 1 << 20,
            lines: u64::MAX,
            seed: 1,
            layout: Layout::EpmmAccess,
            one_in: 10_000,
            start_s: 1_746_057_600,
            lines_a_day: 400_000,
            scanners: true,
            proxy: Proxy::None,
        }
    }
}

/// A planted line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planted {
    /// Line number from 1.
    pub line: u64,
    /// Offset of its first byte.
    pub offset: u64,
    /// Which kind.
    pub kind: &'static str,
    /// The least grade it must get where the layout has a status.
    pub least: Grade,
}

/// What was written.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// Lines.
    pub lines: u64,
    /// Bytes.
    pub bytes: u64,
    /// Planted attack lines.
    pub planted: Vec<Planted>,
}

/// SplitMix64: small, fast, the same everywhere.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `n` (which is not 0).
    pub fn below(&mut self, n: u64) -> u64 {
        self.number() % n.max(1)
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        list.get(usize::try_from(self.below(list.len() as u64)).unwrap_or(0))
    }
}

struct Request {
    client: String,
    method: &'static str,
    target: String,
    status: u16,
    bytes: u64,
    agent: &'static str,
}

const AGENTS: &[&str] = &[
    "Go/MobileIron (iOS 18.5)",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5)",
    "MobileIron/OpenSSL (Android 15)",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64)",
    "Dalvik/2.1.0 (Linux; U; Android 14)",
];

const ASSETS: &[(&str, u64)] = &[
    ("/mifs/css/main.css", 48_211),
    ("/mifs/css/login.css", 9_120),
    ("/mifs/js/app.js", 913_004),
    ("/mifs/images/logo.png", 18_222),
    ("/mifs/scripts/vendor.js", 702_119),
];

fn ordinary(r: &mut Rng, scanners: bool) -> Request {
    let device = r.below(40_000);
    let (method, target, status, bytes) = match r.below(100) {
        0..=54 => ("POST", format!("/mifs/c/i/mdm/mdm.html?deviceid={device:08x}"), 200, 0),
        55..=69 => (
            "GET",
            format!("/mifs/c/d/android.html?id={device:08x}&page={}", r.below(9)),
            200,
            300 + r.below(900),
        ),
        70..=79 => {
            let (p, b) = r.pick(ASSETS).copied().unwrap_or(("/mifs/css/main.css", 48_211));
            ("GET", p.to_owned(), if r.below(5) == 0 { 304 } else { 200 }, b)
        }
        80..=84 => ("GET", "/mifs/user/login.jsp".to_owned(), 200, 6_120),
        85..=88 => ("GET", format!("/status/status.html?x=%20a%3A{}", r.below(99)), 200, 40),
        89..=91 => ("PUT", format!("/mifs/rs/api/v2/devices/{device}/checkin"), 200, 210),
        92..=93 => (
            "GET",
            format!("/mifs/c/appstore/fob/3/{}/sha256:{:064x}/ward.ipa", r.below(90), u128::from(r.number())),
            200,
            5_000_000 + r.below(900_000),
        ),
        94 => ("GET", "/mifs/rs/api/v2/featureusage?format=csv".to_owned(), 200, 4_100),
        95 => (
            "GET",
            format!("/mifs/rs/api/v2/search?q=%22ward%20{}%22&fields=common.id", r.below(99)),
            200,
            2_000,
        ),
        96 => ("GET", format!("/favicon{}.ico", r.below(3)), 404, 196),
        97 => ("GET", "/mifs/c/appstore/list?limit=50&q=%C3%A9t%C3%A9".to_owned(), 200, 1_200),
        98 => ("HEAD", "/".to_owned(), 302, 0),
        _ if scanners && r.below(40) == 0 => scanner(r),
        _ => decoy(r),
    };
    Request {
        client: format!("10.{}.{}.{}", r.below(4), r.below(256), 1 + r.below(254)),
        method,
        target,
        status,
        bytes,
        agent: r.pick(AGENTS).copied().unwrap_or("-"),
    }
}

/// What scanners ask every server for: probes by whoever it is, and never more.
fn scanner(r: &mut Rng) -> (&'static str, String, u16, u64) {
    match r.below(6) {
        0 => ("GET", "/mifs/aad/api/v2/ping".into(), 401, 80),
        1 => ("GET", "/mifs/asfV3/api/v2/ping".into(), 404, 196),
        2 => ("GET", "/mifs/rs/api/v2/featureusage?format=INERT".into(), 400, 168),
        3 => ("GET", "/~!frp".into(), 404, 196),
        4 => ("HEAD", "/mifs/css/mibasecss1.css".into(), 404, 0),
        _ => ("GET", "/mics/api/v2/sentry/mics-config/handleMessage".into(), 404, 196),
    }
}

/// What looks like something and is nothing.
fn decoy(r: &mut Rng) -> (&'static str, String, u16, u64) {
    match r.below(12) {
        0 => (
            "GET",
            format!("/mifs/c/appstore/fob/3/{}/sha256:{:064x}/ward.ipa", r.below(90), u128::from(r.number())),
            200,
            91_404,
        ),
        1 => ("GET", "/wp-login.php".into(), 404, 196),
        2 => ("GET", "/index.php?q=%24%7BINERT%7D".into(), 404, 196),
        3 => ("GET", "/shop/featureusage?format=${INERT}".into(), 404, 196),
        4 => ("GET", "/.env".into(), 404, 196),
        5 => ("GET", "/api/v2/users".into(), 401, 80),
        6 => (
            "GET",
            format!("/mifs/c/appstore/fob/3/{}/sha256:{:064x}/gone.ipa", r.below(90), u128::from(r.number())),
            404,
            196,
        ),
        7 => ("GET", "/mifs/css/%6Dain.css".into(), 200, 48_211),
        8 => ("GET", "/403.jsp?k=INERT".into(), 404, 196),
        9 => ("GET", "/x/yv66vgAAINERT".into(), 404, 196),
        10 => ("GET", "/cgi-bin/%2e%2e/%2e%2e/etc/INERT".into(), 400, 226),
        _ => ("GET", "/mifs/rs/api/v2/featureusage?format=json".into(), 401, 90),
    }
}

/// Writes a corpus.
pub fn write(plan: &Plan, out: &mut dyn Write) -> io::Result<Truth> {
    let mut r = Rng::new(plan.seed);
    let mut truth = Truth::default();
    let mut line = Vec::with_capacity(512);
    let day = plan.lines_a_day.max(1);
    while truth.bytes < plan.bytes && truth.lines < plan.lines {
        // A server that was started anew writes its header again, perhaps with other columns.
        if let Some(header) = other::header(plan.layout, truth.lines) {
            out.write_all(header.as_bytes())?;
            truth.bytes += header.len() as u64;
            truth.lines += header.lines().count() as u64;
        }
        truth.lines += 1;
        let n = truth.lines;
        let attack = plan.one_in > 0 && r.below(plan.one_in) == 0;
        let request = if attack {
            let Some((kind, method, target, status, bytes, least)) = r.pick(ATTACKS).copied() else {
                continue;
            };
            truth.planted.push(Planted { line: n, offset: truth.bytes, kind, least });
            let target = disguise(&mut r, target);
            Request {
                client: format!("203.0.113.{}", 1 + r.below(20)),
                method,
                target,
                status,
                bytes,
                agent: "python-requests/2.31",
            }
        } else {
            ordinary(&mut r, plan.scanners)
        };
        let at = plan.start_s + i64::try_from(u128::from(n) * 86_400 / u128::from(day)).unwrap_or(0);
        line.clear();
        format_line(plan, &request, at, r.below(64_000) + 1024, &mut line)?;
        out.write_all(&line)?;
        truth.bytes += line.len() as u64;
    }
    Ok(truth)
}

fn format_line(plan: &Plan, q: &Request, at: i64, port: u64, out: &mut Vec<u8>) -> io::Result<()> {
    let t = jiff::Timestamp::from_second(at).map_err(io::Error::other)?;
    let d = jiff::tz::TimeZone::UTC.to_datetime(t);
    let (y, mo, da, h, mi, s) = (d.year(), d.month(), d.day(), d.hour(), d.minute(), d.second());
    let Request { client, method, target, status, bytes, agent } = q;
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = MONTHS.get(usize::try_from(mo - 1).unwrap_or(0)).copied().unwrap_or("Jan");
    let (client, passed) = match plan.proxy {
        Proxy::None => (client.as_str(), String::new()),
        Proxy::Forwarding => (PROXY, client.clone()),
        Proxy::Hiding => (PROXY, String::new()),
    };
    match plan.layout {
        Layout::EpmmRequest => writeln!(
            out,
            "{y}-{mo:02}-{da:02}--{h:02}-{mi:02}-{s:02} {client} TLSv1.2 ECDHE-RSA-AES128-GCM-SHA256 \"{method} {target} HTTP/1.1\" {bytes} \"-\" \"{agent}\""
        ),
        Layout::Common => {
            writeln!(
                out,
                "{client} - - [{da:02}/{month}/{y}:{h:02}:{mi:02}:{s:02} +0000] \"{method} {target} HTTP/1.1\" {status} {bytes}"
            )
        }
        Layout::Combined => {
            write!(
                out,
                "{client} - - [{da:02}/{month}/{y}:{h:02}:{mi:02}:{s:02} +0000] \"{method} {target} HTTP/1.1\" {status} {bytes} \"-\" \"{agent}\""
            )?;
            if passed.is_empty() { writeln!(out) } else { writeln!(out, " \"{passed}, 10.255.255.2\"") }
        }
        Layout::W3c => other::iis(out, q, (client, &passed), t),
        Layout::CloudFront => other::cloudfront(out, q, (client, &passed), t),
        Layout::Alb => other::alb(out, q, client, port, t),
        Layout::Haproxy => other::haproxy(out, q, (client, &passed), port, t),
        Layout::Custom => {
            writeln!(out, "{at} {client} {method} \"{target}\" {status}/{bytes} \"{agent}\"")
        }
        Layout::SentryAudit => {
            let v = serde_json::json!({"publishTime": format!("{y}-{mo:02}-{da:02}T{h:02}:{mi:02}:{s:02}Z"), "entryID": port, "useCaseID": "made-up", "entryType": "made-up", "clientHost": client, "forwardedFor": passed, "requestUrl": target, "httpMethod": method, "action": "none"});
            serde_json::to_writer(&mut *out, &v)?;
            out.push(b'\n');
            Ok(())
        }
        Layout::Json => {
            let v = serde_json::json!({"@timestamp": format!("{y}-{mo:02}-{da:02}T{h:02}:{mi:02}:{s:02}Z"), "client": {"ip": client}, "http": {"request": {"method": method}, "response": {"status_code": status, "bytes": bytes}}, "url": {"original": target}, "user_agent": {"original": agent}});
            serde_json::to_writer(&mut *out, &v)?;
            out.push(b'\n');
            Ok(())
        }
        _ => writeln!(
            out,
            "{client}:{port} - - {y}-{mo:02}-{da:02}--{h:02}-{mi:02}-{s:02} \"{method} {target} HTTP/1.1\" {status} {bytes} \"-\" \"{agent}\" {}",
            port % 5000
        ),
    }
}

/// Every layout and every way of standing behind a proxy.
pub const EVERY: &[(Layout, Proxy)] = &[
    (Layout::EpmmAccess, Proxy::None),
    (Layout::EpmmAccess, Proxy::Hiding),
    (Layout::EpmmRequest, Proxy::None),
    (Layout::Common, Proxy::None),
    (Layout::Combined, Proxy::None),
    (Layout::Combined, Proxy::Forwarding),
    (Layout::Combined, Proxy::Hiding),
    (Layout::Custom, Proxy::None),
    (Layout::W3c, Proxy::None),
    (Layout::W3c, Proxy::Forwarding),
    (Layout::CloudFront, Proxy::None),
    (Layout::Alb, Proxy::None),
    (Layout::Haproxy, Proxy::None),
    (Layout::Haproxy, Proxy::Forwarding),
    (Layout::Json, Proxy::None),
    (Layout::SentryAudit, Proxy::Forwarding),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_planted_line_is_found_and_no_other_line_is_more_than_probed_in_every_layout_and_behind_proxies()
    {
        let dir = tempfile::tempdir().unwrap();
        for (i, (layout, proxy)) in EVERY.iter().copied().enumerate() {
            let path = dir.path().join(format!("{i}.log"));
            let plan = Plan {
                bytes: u64::MAX,
                lines: 3_500,
                seed: i as u64 + 7,
                layout,
                one_in: 12,
                proxy,
                ..Plan::default()
            };
            let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
            let truth = write(&plan, &mut file).unwrap();
            file.flush().unwrap();
            let c = check(&plan, &truth, &path).unwrap();
            assert!(c.planted > 150, "{layout:?}: {c:?}");
            assert_eq!((c.found, c.missed.as_slice()), (c.planted, [].as_slice()), "{layout:?} {proxy:?}");
            assert_eq!((c.false_alarms.as_slice(), c.uncited), ([].as_slice(), 0), "{layout:?} {proxy:?}");
            assert_eq!(c.lines, truth.lines);
            assert!(c.kinds == plant::ATTACKS.len() as u64, "{layout:?}: not every kind was planted");
        }
    }

    #[test]
    fn the_comparison_with_the_truth_notices_a_planted_line_that_is_no_attack_and_an_attack_that_is_not_in_it()
     {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let mut text = Vec::new();
        let plan = Plan { bytes: 300_000, one_in: 20, ..Plan::default() };
        let mut truth = write(&plan, &mut text).unwrap();
        std::fs::write(&path, &text).unwrap();
        let worst = truth.planted.iter().position(|p| p.least > Grade::Attempted).unwrap();
        truth.planted.remove(worst);
        let ordinary = (1..).find(|n| truth.planted.iter().all(|p| p.line != *n)).unwrap();
        truth.planted.push(Planted { line: ordinary, offset: 0, kind: "made up", least: Grade::Attempted });
        let c = check(&plan, &truth, &path).unwrap();
        assert_eq!((c.planted - c.found, c.missed.len()), (1, 1));
        assert!(!c.false_alarms.is_empty());
    }

    #[test]
    fn the_same_seed_writes_the_same_bytes() {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        write(&Plan::default(), &mut a).unwrap();
        write(&Plan::default(), &mut b).unwrap();
        assert!(a == b);
    }
}
