//! Made-up assessments for the tests of the outputs: documentation addresses, drama numbers, inert lines.

use crate::exposure::{Counts, Exposure, MappedColumn};
use crate::finding::*;

/// 28 May 2025, 09:30 BST.
pub(crate) const AWARE_MS: UnixMs = 1_748_421_000_000;
/// 15 May 2025, 03:01:36 BST.
const HIT_MS: UnixMs = 1_747_274_496_000;
const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;
const ACCESS: &str = "showtech.tar.gz!/logs/https-access_log";

fn raw(s: &str) -> Raw {
    Raw(s.to_owned())
}

fn strings(items: &[&str]) -> Vec<String> {
    items.iter().map(|s| (*s).to_owned()).collect()
}

struct Line<'a> {
    minute: i64,
    stage: Stage,
    grade: Grade,
    rule: &'a str,
    client: &'a str,
    path: &'a str,
    status: u16,
    bytes: u64,
    line: u64,
}

fn step(l: &Line<'_>) -> Step {
    let at = HIT_MS + l.minute * MINUTE_MS;
    Step {
        at_ms: Some(at),
        zone_guessed: true,
        stage: l.stage,
        grade: l.grade,
        rule: format!("00000000-0000-4000-8000-{:012}", l.line),
        rule_name: l.rule.to_owned(),
        title: format!("Title of {}", l.rule),
        confidence: if l.stage == Stage::Loader { Confidence::SecondHand } else { Confidence::Verified },
        cves: strings(&["CVE-2025-4427", "CVE-2025-4428"]),
        techniques: strings(match l.stage {
            Stage::Fetch => &["T1041", "T1074.001"],
            Stage::Loader => &["T1505.003"],
            _ => &["T1190"],
        }),
        client: Some(l.client.to_owned()),
        via: None,
        method: Some(raw("GET")),
        path: Some(raw(l.path)),
        status: Some(l.status),
        bytes_out: Some(l.bytes),
        user_agent: Some(raw("ExampleAgent/1.0")),
        repeats: if l.stage == Stage::Attempt { 14 } else { 0 },
        repeats_until_ms: (l.stage == Stage::Attempt).then_some(at + 8 * MINUTE_MS),
        note: "The status answers both success and failure.".to_owned(),
        cite: Cite {
            file: ACCESS.to_owned(),
            line: l.line,
            byte_offset: l.line * 151,
            raw: raw(&format!(
                "{}:58224 - - 2025-05-15--03-01-36 \"GET {} HTTP/1.1\" {} {} \"-\" \"ExampleAgent/1.0\" 2509",
                l.client, l.path, l.status, l.bytes
            )),
            cut: false,
        },
        version_open: None,
    }
}

fn rule(name: &str, stage: Stage, confidence: Confidence, hits: u64) -> RuleRef {
    RuleRef {
        id: "5d0c7b9e-0000-4000-8000-000000000001".to_owned(),
        name: name.to_owned(),
        title: format!("Title of {name}"),
        version: "2025-11-20".to_owned(),
        cves: strings(&["CVE-2025-4427"]),
        techniques: strings(&["T1190"]),
        stage,
        confidence,
        source: "public advisories".to_owned(),
        builtin: true,
        hits,
    }
}

fn input(name: &str, read: ReadState, layout: Option<Layout>, inside: Option<usize>) -> InputFile {
    InputFile {
        name: name.to_owned(),
        sha256: Some("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned()),
        bytes: 48_211_004,
        kind: if layout.is_some() { InputKind::WebLog } else { InputKind::Archive },
        layouts: layout.into_iter().collect(),
        read,
        first_ms: Some(HIT_MS - 3 * DAY_MS),
        last_ms: Some(HIT_MS + 18 * DAY_MS),
        lines: 318_402,
        relevant_lines: 21,
        double_of: None,
        inside,
    }
}

/// Data left on 15 May 2025: probe, attempts, loader, a staged file, its fetch from another address.
pub(crate) fn data_left() -> Assessment {
    let (a, b) = ("203.0.113.7", "198.51.100.9");
    let lines = [
        Line {
            minute: 0,
            stage: Stage::Probe,
            grade: Grade::Probed,
            rule: "matron-epmm-2025-4427-probe",
            client: a,
            path: "/mifs/rs/api/v2/featureusage?format=x",
            status: 400,
            bytes: 168,
            line: 120_331,
        },
        Line {
            minute: 2,
            stage: Stage::Attempt,
            grade: Grade::Attempted,
            rule: "matron-epmm-2025-4427-attempt",
            client: a,
            path: "/mifs/rs/api/v2/featureusage?format=$%7Binert%7D",
            status: 400,
            bytes: 277,
            line: 120_340,
        },
        Line {
            minute: 14,
            stage: Stage::Loader,
            grade: Grade::LikelyCompromised,
            rule: "matron-epmm-loader-page",
            client: a,
            path: "/mifs/403.jsp?k1=inert",
            status: 200,
            bytes: 12,
            line: 120_391,
        },
        Line {
            minute: 31,
            stage: Stage::Stage,
            grade: Grade::LikelyCompromised,
            rule: "matron-epmm-staged-file",
            client: b,
            path: "/mifs/css/mibasecss1.css",
            status: 200,
            bytes: 48_210_112,
            line: 120_477,
        },
        Line {
            minute: 33,
            stage: Stage::Fetch,
            grade: Grade::DataLeft,
            rule: "matron-epmm-staged-file-fetched",
            client: b,
            path: "/mifs/css/mibasecss1.css",
            status: 200,
            bytes: 48_210_112,
            line: 120_480,
        },
    ];
    let steps: Vec<Step> = lines.iter().map(step).collect();
    let chain = Chain {
        number: 1,
        grade: Grade::DataLeft,
        clients: strings(&[b, a]),
        joined_by: strings(&["one client", "the same laid-down file"]),
        cves: strings(&["CVE-2025-4427", "CVE-2025-4428"]),
        first_ms: Some(HIT_MS),
        last_ms: Some(HIT_MS + 33 * MINUTE_MS),
        bytes_out: 48_210_112,
        steps,
        steps_left_out: 0,
    };
    let cite = chain.steps[4].cite.clone();
    let first = chain.steps[0].cite.clone();
    Assessment {
        tool_version: "0.1.0".to_owned(),
        verdict: Verdict::DataLeft,
        evidence: Evidence {
            grade: Grade::DataLeft,
            rests_on: vec![
                Ground { grade: Grade::DataLeft, kind: GroundKind::StagedFileFetched, text: "48,210,112 bytes of /mifs/css/mibasecss1.css went to 198.51.100.9 two minutes after the file was first seen.".to_owned(), chain: Some(0), step: Some(4) },
                Ground { grade: Grade::LikelyCompromised, kind: GroundKind::AfterStep, text: "A class loader page was asked for twelve minutes after exploit text.".to_owned(), chain: Some(0), step: Some(2) },
            ],
        },
        coverage: Coverage {
            grade: CoverageGrade::Part,
            first_ms: Some(HIT_MS - 3 * DAY_MS),
            last_ms: Some(HIT_MS + 18 * DAY_MS),
            holes: vec![Hole { from_ms: HIT_MS + 40 * MINUTE_MS, to_ms: HIT_MS + 400 * MINUTE_MS, why: "this log has a line every few seconds at all hours.".to_owned() }],
            window: Some(ExposureWindow { from_ms: Some(HIT_MS - 14 * DAY_MS), to_ms: Some(HIT_MS + 6 * DAY_MS), source: "--exposed-from 2025-05-01 --exposed-to 2025-05-21".to_owned(), cves: strings(&["CVE-2025-4427"]) }),
            window_covered: Some(false),
            not_epmm: vec![],
            not_assessable: vec![NotAssessable { rule: "CVE-2026-10520".to_owned(), title: "Sentry command injection".to_owned(), layout: None, why: "The request is a POST whose body is in no log.".to_owned() }],
            reasons: strings(&["logs/https-access_log.3.gz ends in the middle and was read in part.", "The window begins 11 days before the first line."]),
        },
        as_of_ms: Some(HIT_MS + 18 * DAY_MS),
        timezone: TimeZoneNote { name: "Europe/London".to_owned(), guessed: true, why: "the lines carry no offset; London is assumed, and May is summer time.".to_owned(), lines_without_offset: 318_402 },
        rule_set: vec![
            rule("matron-epmm-2025-4427-attempt", Stage::Attempt, Confidence::Verified, 15),
            rule("matron-epmm-loader-page", Stage::Loader, Confidence::SecondHand, 1),
            rule("matron-epmm-staged-file-fetched", Stage::Fetch, Confidence::Verified, 1),
        ],
        inputs: vec![
            input("showtech.tar.gz", ReadState::Whole, None, None),
            input(ACCESS, ReadState::Whole, Some(Layout::EpmmAccess), Some(0)),
            input("showtech.tar.gz!/logs/https-access_log.3.gz", ReadState::Part("the gzip stream ends in the middle".to_owned()), Some(Layout::EpmmAccess), Some(0)),
            input("showtech.tar.gz!/etc/hosts", ReadState::NotALog("no lines of a web log".to_owned()), None, Some(0)),
        ],
        chains: vec![chain],
        clients: vec![client(b, Grade::DataLeft, 2, 48_210_112), client(a, Grade::LikelyCompromised, 19, 0)],
        indicator_hits: vec![IndicatorHit { value: "203.0.113.7".to_owned(), kind: IndicatorKind::Address, source: "example feed, made up".to_owned(), dated_ms: Some(HIT_MS - 200 * DAY_MS), age_days: Some(200), stale: true, grade: Grade::Probed, hits: 19, first: first.clone(), first_ms: Some(HIT_MS), last_ms: Some(HIT_MS + 14 * MINUTE_MS) }],
        integrity: vec![IntegrityFinding { kind: IntegrityKind::Gap, file: ACCESS.to_owned(), from_ms: Some(HIT_MS + 40 * MINUTE_MS), to_ms: Some(HIT_MS + 400 * MINUTE_MS), cite: Some(cite), count: 1, text: "No line for six hours beginning seven minutes after the fetch; the longest other pause is 41 seconds.".to_owned() }],
        proxy: None,
        remarks: vec![Remark { about: "192.0.2.44".to_owned(), text: "calls itself a research scanner; agents are borrowed, so this changes nothing.".to_owned() }],
        attributions: vec![Attribution { campaign: "the EPMM intrusions of May 2025".to_owned(), actor: Some("UNC5221".to_owned()), by_whom: "EclecticIQ".to_owned(), confidence: Confidence::SecondHand, overlap: strings(&["the flaw", "the days", "a laid-down file"]), techniques: strings(&["T1190", "T1505.003"]) }],
        origins: vec![OriginRow { origin: origin("NL", "Netherlands", 64500, "Example Hosting"), clients: 2, requests: 21, grade: Grade::DataLeft }],
        exposure: Some(exposure()),
    }
}

fn origin(code: &str, name: &str, asn: u32, network: &str) -> Origin {
    Origin {
        country: Some(code.to_owned()),
        country_name: Some(name.to_owned()),
        asn: Some(asn),
        network: Some(network.to_owned()),
    }
}

fn client(address: &str, grade: Grade, requests: u64, bytes_out: u64) -> ClientSummary {
    ClientSummary {
        address: address.to_owned(),
        first_ms: Some(HIT_MS),
        last_ms: Some(HIT_MS + 33 * MINUTE_MS),
        requests,
        bytes_out,
        grade,
        stages: vec![Stage::Probe, Stage::Attempt],
        chains: vec![1],
        origin: Some(origin("NL", "Netherlands", 64500, "Example Hosting")),
        user_agents: vec![raw("ExampleAgent/1.0")],
        internal: false,
    }
}

pub(crate) fn exposure() -> Exposure {
    Exposure {
        file: "devices-2025-05-20.csv".to_owned(),
        sha256: "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae".to_owned(),
        bytes: 812_201,
        encoding: "UTF-8".to_owned(),
        dated_ms: Some(HIT_MS + 5 * DAY_MS),
        dated_by: "the newest check-in in it".to_owned(),
        columns: vec![
            MappedColumn {
                heading: "User ID".to_owned(),
                field: "user".to_owned(),
                how: "by its heading".to_owned(),
            },
            MappedColumn {
                heading: "IMEI".to_owned(),
                field: "imei".to_owned(),
                how: "by its heading".to_owned(),
            },
        ],
        unread_columns: strings(&["Model", "OS Version"]),
        rows: 2_811,
        rows_without_person: 12,
        counts: Counts {
            people: 2_410,
            accounts: 2_410,
            devices: 2_811,
            phone_numbers: 2_377,
            imeis: 2_799,
            emails: 2_402,
            locations: 0,
            serials: 2_811,
        },
        notes: strings(&[
            "12 rows name no person (shared or unassigned devices); the number of people may be higher.",
        ]),
    }
}

/// Exploit text and no more.
pub(crate) fn attempted() -> Assessment {
    let mut a = data_left();
    a.verdict = Verdict::Attempted;
    a.evidence = Evidence {
        grade: Grade::Attempted,
        rests_on: vec![Ground {
            grade: Grade::Attempted,
            kind: GroundKind::ExploitText,
            text: "15 requests carry exploit text for CVE-2025-4428.".to_owned(),
            chain: Some(0),
            step: Some(1),
        }],
    };
    for chain in &mut a.chains {
        chain.grade = Grade::Attempted;
        chain.bytes_out = 0;
        chain.clients = strings(&["203.0.113.7"]);
        chain.last_ms = Some(HIT_MS + 10 * MINUTE_MS);
        chain.steps.truncate(2);
    }
    a.clients.remove(0);
    a.clients[0].grade = Grade::Attempted;
    a.integrity.clear();
    a.coverage.holes.clear();
    a.attributions.clear();
    a.origins.clear();
    a.exposure = None;
    a
}

/// Everything read, the window covered, nothing found.
pub(crate) fn no_trace() -> Assessment {
    let mut a = attempted();
    a.verdict = Verdict::NoTrace;
    a.evidence = Evidence { grade: Grade::NoTrace, rests_on: Vec::new() };
    a.chains.clear();
    a.clients.clear();
    a.indicator_hits.clear();
    a.remarks.clear();
    a.inputs.remove(2);
    a.coverage.grade = CoverageGrade::Whole;
    a.coverage.window_covered = Some(true);
    a.coverage.reasons.clear();
    for r in &mut a.rule_set {
        r.hits = 0;
    }
    a
}

/// Nothing found, and too little read.
pub(crate) fn unknown() -> Assessment {
    let mut a = no_trace();
    a.verdict = Verdict::Unknown;
    a.coverage.grade = CoverageGrade::Part;
    a.coverage.window_covered = Some(false);
    a.coverage.reasons = strings(&["logs/https-access_log.3.gz could not be read: permission denied."]);
    a
}

/// A log that tries to steer whoever reads it. The engine makes lines inert; the outputs must not rely on it.
pub(crate) fn hostile() -> Assessment {
    hostile_with("\x1b[2J\x1b]0;owned\x07<script>alert(1)</script>\u{202e}\"'&\u{9b}31m`](x)=cmd")
}

/// [`data_left`] with `evil` wherever text from outside can stand.
pub(crate) fn hostile_with(evil: &str) -> Assessment {
    let mut a = data_left();
    let long = "/".to_owned() + &"a".repeat(5_000);
    for input in &mut a.inputs {
        input.name = format!("{evil}{}", input.name);
    }
    a.timezone.name = format!("Europe/London{evil}");
    a.remarks.push(Remark { about: evil.to_owned(), text: evil.to_owned() });
    a.indicator_hits[0].value = evil.to_owned();
    a.indicator_hits[0].source = evil.to_owned();
    a.coverage.reasons.push(evil.to_owned());
    a.origins[0].origin.network = Some(evil.to_owned());
    for chain in &mut a.chains {
        chain.clients = vec![evil.to_owned()];
        for step in &mut chain.steps {
            step.path = Some(Raw(evil.to_owned() + &long));
            step.method = Some(Raw(evil.to_owned()));
            step.user_agent = Some(Raw(evil.to_owned()));
            step.client = Some(evil.to_owned());
            step.cite.raw = Raw(evil.to_owned() + &long);
            step.cite.file = evil.to_owned();
            step.title = evil.to_owned();
        }
    }
    for client in &mut a.clients {
        client.address = evil.to_owned();
        client.user_agents = vec![Raw(evil.to_owned())];
    }
    a
}
