//! A made-up corpus with known truth: ordinary lines, decoys and inert attack
//! lines in any layout, the same for the same seed.
//!
//! The attack lines hold the routes and signs of the flaws and the word
//! `INERT`, never anything that would do something.

use std::io::{self, Write};

use crate::finding::{Grade, Layout};

/// What to write.
#[derive(Clone, Debug)]
pub struct Plan {
    /// About so many bytes.
    pub bytes: u64,
    /// Seed.
    pub seed: u64,
    /// Layout: `EpmmAccess`, `EpmmRequest`, `Common`, `Combined` or `Json`.
    pub layout: Layout,
    /// One line in so many is an attack line; 0: none.
    pub one_in: u64,
    /// First second, as Unix time.
    pub start_s: i64,
    /// Lines a day.
    pub lines_a_day: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            bytes: 1 << 20,
            seed: 1,
            layout: Layout::EpmmAccess,
            one_in: 10_000,
            start_s: 1_746_057_600,
            lines_a_day: 400_000,
        }
    }
}

/// A planted line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planted {
    /// Line number from 1.
    pub line: u64,
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

fn ordinary(r: &mut Rng) -> Request {
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

/// Kinds of attack line: name, method, target, status, bytes, least grade.
const ATTACKS: &[(&str, &str, &str, u16, u64, Grade)] = &[
    ("2023-35078 probe", "GET", "/mifs/aad/api/v2/ping", 401, 80, Grade::Probed),
    (
        "2023-35078 data",
        "GET",
        "/mifs/aad/api/v2/authorized/users?adminDeviceSpaceId=1",
        200,
        48_000,
        Grade::LikelyCompromised,
    ),
    ("2023-35082 data", "GET", "/mifs/asfV3/api/v2/admins/users", 200, 9_000, Grade::LikelyCompromised),
    ("2025-4427 probe", "GET", "/mifs/rs/api/v2/featureusage_history?format=INERT", 400, 168, Grade::Probed),
    ("2025-4428", "GET", "/mifs/rs/api/v2/featureusage?format=${INERT}", 400, 168, Grade::Attempted),
    ("2025-4428 short", "GET", "/rs/api/v2/featureusage_history?format=#{INERT}", 400, 168, Grade::Attempted),
    ("2025-4428 bare", "GET", "/api/v2/featureusage?format=${ INERT}", 400, 168, Grade::Attempted),
    (
        "2026-1281",
        "GET",
        "/mifs/c/appstore/fob/3/5/sha256:kid=1,st=`INERT`,et=1,h=x/x.ipa",
        404,
        196,
        Grade::Attempted,
    ),
    (
        "2026-1340",
        "GET",
        "/mifs/c/aftstore/fob/3/5/sha256:kid=1,st=$(INERT),et=1,h=x/x.apk",
        404,
        196,
        Grade::Attempted,
    ),
    (
        "2026-10520",
        "GET",
        "/mics/api/v2/sentry/mics-config/handleMessage?message=execute_INERT",
        200,
        30,
        Grade::Attempted,
    ),
    ("2026-10520 post", "POST", "/mics/api/v2/sentry/mics-config/handleMessage", 200, 30, Grade::Probed),
    ("loader", "GET", "/mifs/403.jsp?k0f53=INERT", 200, 12, Grade::LikelyCompromised),
    ("staged dump", "GET", "/mifs/css/mibasecss7.css", 200, 9_400_000, Grade::DataLeft),
];

/// Writes letters as percent codes, doubles slashes, flips case, as intruders do.
pub fn disguise(r: &mut Rng, target: &str) -> String {
    let way = r.below(6);
    let depth = 1 + r.below(3);
    let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
    let mut out = String::new();
    let code = |c: char, out: &mut String| {
        let mut b = [0; 4];
        for byte in c.encode_utf8(&mut b).bytes() {
            let mut s = format!("%{byte:02X}");
            for _ in 1..depth {
                s = s.replace('%', "%25");
            }
            out.push_str(&s);
        }
    };
    for c in path.chars() {
        match (way, c) {
            (1, '/') => out.push_str("//"),
            (2, '/') => out.push_str("/./"),
            (3, c) if c.is_ascii_lowercase() && r.below(4) == 0 => code(c, &mut out),
            (4, c) if c.is_ascii_lowercase() && r.below(3) == 0 => out.push(c.to_ascii_uppercase()),
            // These can't stand in a request line as they are.
            (_, '`' | '$' | '(' | ')' | '|' | ' ' | '{' | '}' | '#') => code(c, &mut out),
            (_, c) => out.push(c),
        }
    }
    if let Some(q) = query {
        out.push('?');
        for c in q.chars() {
            match c {
                '=' | '&' => out.push(c),
                c if !c.is_ascii_alphanumeric() && c != '_' => code(c, &mut out),
                c if way == 5 && r.below(3) == 0 => code(c, &mut out),
                c => out.push(c),
            }
        }
    }
    out
}

/// Writes a corpus.
pub fn write(plan: &Plan, out: &mut dyn Write) -> io::Result<Truth> {
    let mut r = Rng::new(plan.seed);
    let mut truth = Truth::default();
    let mut line = Vec::with_capacity(512);
    let day = plan.lines_a_day.max(1);
    while truth.bytes < plan.bytes {
        truth.lines += 1;
        let n = truth.lines;
        let attack = plan.one_in > 0 && r.below(plan.one_in) == 0;
        let request = if attack {
            let Some((kind, method, target, status, bytes, least)) = r.pick(ATTACKS).copied() else {
                continue;
            };
            truth.planted.push(Planted { line: n, kind, least });
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
            ordinary(&mut r)
        };
        let at = plan.start_s + i64::try_from(u128::from(n) * 86_400 / u128::from(day)).unwrap_or(0);
        line.clear();
        format_line(plan.layout, &request, at, r.below(64_000) + 1024, &mut line)?;
        out.write_all(&line)?;
        truth.bytes += line.len() as u64;
    }
    Ok(truth)
}

fn format_line(layout: Layout, q: &Request, at: i64, port: u64, out: &mut Vec<u8>) -> io::Result<()> {
    let t = jiff::Timestamp::from_second(at).map_err(io::Error::other)?;
    let d = jiff::tz::TimeZone::UTC.to_datetime(t);
    let (y, mo, da, h, mi, s) = (d.year(), d.month(), d.day(), d.hour(), d.minute(), d.second());
    let Request { client, method, target, status, bytes, agent } = q;
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = MONTHS.get(usize::try_from(mo - 1).unwrap_or(0)).copied().unwrap_or("Jan");
    match layout {
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
        Layout::Combined => writeln!(
            out,
            "{client} - - [{da:02}/{month}/{y}:{h:02}:{mi:02}:{s:02} +0000] \"{method} {target} HTTP/1.1\" {status} {bytes} \"-\" \"{agent}\""
        ),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::indicators::Indicators;
    use crate::line::FieldMap;
    use crate::moment::Zone;
    use crate::rules::RuleSet;
    use crate::scan::prefilter::Prefilter;
    use crate::scan::{Findings, Mode, Segment, Setup, scan_reader};

    pub(crate) fn setup() -> Setup {
        let rules = RuleSet::embedded().unwrap();
        let prefilter = Prefilter::new(&rules.literals(), false).unwrap();
        Setup {
            rules,
            prefilter,
            indicators: Indicators::default(),
            format: None,
            fields: FieldMap::default(),
            zone: Zone::parse("UTC").unwrap(),
        }
    }

    fn scan(setup: &Setup, text: &[u8], layout: Layout, segment: Segment) -> Findings {
        let mode = if layout == Layout::Json { Mode::Json } else { Mode::Text };
        let mut r = &text[usize::try_from(segment.start.saturating_sub(1)).unwrap()..];
        scan_reader(setup, &mut r, mode, segment, &mut |_| {}).0
    }

    #[test]
    fn every_planted_line_is_found_and_no_other_line_is_more_than_probed_in_every_layout() {
        let s = setup();
        for (i, layout) in
            [Layout::EpmmAccess, Layout::EpmmRequest, Layout::Common, Layout::Combined, Layout::Json]
                .into_iter()
                .enumerate()
        {
            let mut text = Vec::new();
            let plan = Plan { bytes: 700_000, seed: i as u64 + 7, layout, one_in: 15, ..Plan::default() };
            let truth = write(&plan, &mut text).unwrap();
            let f = scan(&s, &text, layout, Segment::ALL);
            assert_eq!((f.lines, f.bytes), (truth.lines, truth.bytes));
            assert!(truth.planted.len() > 100);
            for p in &truth.planted {
                let raw = text.split(|b| *b == b'\n').nth(usize::try_from(p.line).unwrap() - 1).unwrap();
                let raw = String::from_utf8_lossy(raw);
                let hit = f.hits.lines.iter().find(|h| h.line == p.line);
                // Full lines are kept up to a bound a client; the counts are complete.
                if hit.is_none() && f.hits.uncited > 0 {
                    continue;
                }
                let hit = hit.unwrap_or_else(|| panic!("{layout:?} {} not found: {raw}", p.kind));
                let least = if layout == Layout::EpmmRequest && p.least > Grade::Attempted {
                    Grade::Probed
                } else {
                    p.least
                };
                assert!(hit.grade >= least, "{layout:?} {}: {:?} {raw}", p.kind, hit.grade);
            }
            let planted: std::collections::BTreeSet<u64> = truth.planted.iter().map(|p| p.line).collect();
            for h in f.hits.lines.iter().filter(|h| !planted.contains(&h.line)) {
                assert!(h.grade <= Grade::Probed, "{}", String::from_utf8_lossy(&h.raw));
            }
        }
    }

    #[test]
    fn a_corpus_cut_into_segments_gives_the_same_findings() {
        let s = setup();
        let mut text = Vec::new();
        write(&Plan { bytes: 2_000_000, one_in: 200, ..Plan::default() }, &mut text).unwrap();
        let whole = scan(&s, &text, Layout::EpmmAccess, Segment::ALL);
        let len = text.len() as u64;
        let mut joined = Findings::default();
        for start in (0..len).step_by(333_333) {
            let end = if start + 333_333 >= len { u64::MAX } else { start + 333_333 };
            joined.append(scan(&s, &text, Layout::EpmmAccess, Segment { start, end }));
        }
        assert_eq!((whole.lines, whole.bytes), (joined.lines, joined.bytes));
        assert_eq!(whole.hits.lines, joined.hits.lines);
        assert_eq!(whole.hits.counts, joined.hits.counts);
        assert_eq!((whole.first_ms, whole.last_ms), (joined.first_ms, joined.last_ms));
    }

    #[test]
    fn the_same_seed_writes_the_same_bytes() {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        write(&Plan::default(), &mut a).unwrap();
        write(&Plan::default(), &mut b).unwrap();
        assert!(a == b);
    }
}
