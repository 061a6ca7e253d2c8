//! Rule files.

use serde_json::Value;

use super::Detection;
use super::condition::Condition;
use super::test::Selection;
use crate::finding::{Confidence, Grade, RuleRef, Stage};

/// A rule ready to use.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What reports show.
    pub info: RuleRef,
    /// Grade of a line that matches.
    pub grade: Grade,
    /// What a match shows and what not.
    pub note: String,
    /// The detection.
    pub detection: Detection,
    /// Texts of which a line that may match holds one; `None`: every line must be looked at.
    pub literals: Option<Vec<String>>,
    /// Higher wins when several rules match a line equally badly.
    pub order: i64,
}

/// Longest rule file, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// Reads a rule file (one or several documents). The error names the file's fault.
pub fn parse_rules(text: &str, builtin: bool) -> Result<Vec<Rule>, String> {
    if text.len() > MAX_BYTES {
        return Err(format!("longer than {MAX_BYTES} bytes"));
    }
    let docs: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|e| format!("not YAML: {e}"))?;
    let mut out = Vec::new();
    for doc in docs.iter().filter(|d| !d.is_null()) {
        out.push(rule(doc, builtin)?);
    }
    if out.is_empty() { Err("no rule in it".into()) } else { Ok(out) }
}

fn rule(doc: &Value, builtin: bool) -> Result<Rule, String> {
    let text = |k: &str| doc.get(k).and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    let title = text("title");
    if let Some(c) = doc.get("correlation") {
        let kind = c.get("type").and_then(Value::as_str).unwrap_or("unnamed");
        return Err(format!(
            "`{title}` is a correlation rule ({kind}); this tool joins lines by itself and applies rules to one line at a time. Nothing of this file was used, so that its parts are not taken for alarms: put a rule that stands alone into a file of its own"
        ));
    }
    if let Some(g) = doc.get("action").and_then(Value::as_str) {
        return Err(format!("`action: {g}` (several rules out of one) is not supported"));
    }
    about_the_web(doc).map_err(|e| format!("`{title}`: {e}"))?;
    if title.is_empty() {
        return Err("a rule without a title".into());
    }
    let mut detection =
        detection(doc.get("detection").ok_or_else(|| format!("`{title}`: no detection"))?, builtin)
            .map_err(|e| format!("`{title}`: {e}"))?;
    let tags: Vec<String> = doc
        .get("tags")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_ascii_lowercase)
        .collect();
    let mut cves: Vec<String> = tags
        .iter()
        .filter_map(|t| t.strip_prefix("cve."))
        .map(|c| format!("CVE-{}", c.trim_start_matches("cve-")))
        .collect();
    cves.sort();
    let mut techniques: Vec<String> = tags
        .iter()
        .filter_map(|t| t.strip_prefix("attack.t"))
        .filter(|t| t.starts_with(|c: char| c.is_ascii_digit()))
        .map(|t| format!("T{t}"))
        .collect();
    techniques.sort();
    let own = doc.get("matron").filter(|_| builtin);
    let field = |k: &str| own.and_then(|o| o.get(k)).and_then(Value::as_str);
    let level = text("level");
    // A foreign rule's level is its author's word about suspicion, not about success.
    let (grade, stage) = match level.as_str() {
        "high" | "critical" => (Grade::Attempted, Stage::Attempt),
        _ => (Grade::Probed, Stage::Probe),
    };
    let grade = match field("grade") {
        Some(g) => {
            serde_json::from_value(Value::String(g.into())).map_err(|_| format!("`{title}`: grade `{g}`"))?
        }
        None => grade,
    };
    let stage = match field("stage") {
        Some(s) => {
            serde_json::from_value(Value::String(s.into())).map_err(|_| format!("`{title}`: stage `{s}`"))?
        }
        None => stage,
    };
    let confidence = match field("confidence") {
        Some(c) => serde_json::from_value(Value::String(c.into()))
            .map_err(|_| format!("`{title}`: confidence `{c}`"))?,
        None => Confidence::SecondHand,
    };
    let literals = match own.and_then(|o| o.get("literals")).and_then(Value::as_array) {
        Some(l) => Some(l.iter().filter_map(Value::as_str).map(str::to_ascii_lowercase).collect()),
        None => detection.literals(),
    };
    detection.order();
    let mut id = text("id");
    if id.is_empty() {
        id = format!("no-id:{title}");
    }
    let mut name = text("name");
    if name.is_empty() {
        name = title
            .to_ascii_lowercase()
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|w| !w.is_empty())
            .collect::<Vec<_>>()
            .join("-");
    }
    let version = [text("modified"), text("date")].into_iter().find(|d| !d.is_empty()).unwrap_or_default();
    let source = field("source").map_or_else(
        || {
            let who = text("author");
            if who.is_empty() { "rule file of the user".into() } else { format!("rule by {who}") }
        },
        str::to_owned,
    );
    Ok(Rule {
        info: RuleRef {
            id,
            name,
            title,
            version,
            cves,
            techniques,
            stage,
            confidence,
            source,
            builtin,
            hits: 0,
        },
        grade,
        note: field("note").map_or_else(
            || {
                let d = text("description");
                if d.is_empty() { "Matched a rule of the user.".into() } else { d }
            },
            str::to_owned,
        ),
        detection,
        literals,
        order: own.and_then(|o| o.get("order")).and_then(Value::as_i64).unwrap_or(0),
    })
}

/// Products whose logs are web logs, where no category says so.
const WEB_PRODUCTS: &[&str] = &[
    "apache",
    "nginx",
    "tomcat",
    "iis",
    "haproxy",
    "envoy",
    "java",
    "jvm",
    "spring",
    "django",
    "php",
    "python",
    "nodejs",
    "ruby_on_rails",
    "velocity",
    "struts",
    "any",
];

/// A rule about processes or registries must not be tried on a web log.
fn about_the_web(doc: &Value) -> Result<(), String> {
    let of = |k: &str| doc.get("logsource").and_then(|l| l.get(k)).and_then(Value::as_str);
    match (of("category"), of("product")) {
        (Some("webserver" | "proxy" | "application" | "web" | "waf"), _) => Ok(()),
        (Some(other), _) => Err(format!("its logsource is `{other}`, not a web log")),
        (None, Some(p)) if !WEB_PRODUCTS.contains(&p) && !p.starts_with("ivanti") => {
            Err(format!("its logsource is `{p}`, not a web log"))
        }
        _ => Ok(()),
    }
}

fn detection(v: &Value, builtin: bool) -> Result<Detection, String> {
    let map = v.as_object().ok_or("the detection is no map")?;
    let mut selections = Vec::new();
    for (name, s) in map {
        match name.as_str() {
            "condition" => {}
            "timeframe" => return Err("`timeframe` joins several lines, which rules here don't".into()),
            _ => selections.push((
                name.clone(),
                Selection::compile(s, builtin).map_err(|e| format!("selection `{name}`: {e}"))?,
            )),
        }
    }
    let names: Vec<String> = selections.iter().map(|(n, _)| n.clone()).collect();
    let conditions = match map.get("condition") {
        Some(Value::String(c)) => vec![Condition::compile(c, &names)?],
        Some(Value::Array(list)) => list
            .iter()
            .map(|c| Condition::compile(c.as_str().ok_or("a condition is no text")?, &names))
            .collect::<Result<_, _>>()?,
        _ => return Err("no condition".into()),
    };
    if conditions.is_empty() {
        return Err("no condition".into());
    }
    Ok(Detection { selections, conditions })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::Target;
    use crate::line::parse_text;
    use crate::sigma::{Answer, Event};

    fn answer(detection: &str, line: &str) -> Answer {
        let text = format!("title: t\nid: x\nlevel: high\ndetection:\n{detection}");
        let rule = parse_rules(&text, false).unwrap().remove(0);
        let line_ = parse_text(line.as_bytes()).unwrap();
        let target = Target::fold(line_.target.as_deref().unwrap_or_default());
        rule.detection.answer(&Event { line: &line_, target: &target, raw: line.as_bytes() })
    }

    const A: &str =
        r#"203.0.113.7:58224 - - 2025-05-16--03-01-36 "GET /a/B?x=1&y=%61bc HTTP/1.1" 404 168 "-" "UA" 2509"#;
    const B: &str = r#"2025-05-15--17-43-27 198.51.100.9 TLSv1.2 X "GET /a/B HTTP/1.1" 277 "-" "UA""#;

    #[test]
    fn every_modifier_answers_as_sigma_says() {
        for (test, want) in [
            ("cs-uri-stem: /A/b", true),
            ("cs-uri-stem|cased: /A/b", false),
            ("cs-uri-stem|startswith: /a/", true),
            ("cs-uri-stem|endswith: /a/", false),
            ("cs-uri-stem: '*/b'", true),
            ("cs-uri-stem: '/?/b'", true),
            ("cs-uri-stem|contains|all: [a, b]", true),
            ("cs-uri-stem|contains|all: [a, z]", false),
            ("param.y: abc", true),
            ("param.y|re: '^a.c$'", true),
            ("cs-method|re|i: '^get$'", true),
            ("sc-status: [200, 404]", true),
            ("sc-bytes|gt: 167", true),
            ("sc-bytes|lte: 167", false),
            ("c-ip|cidr: 203.0.113.0/24", true),
            ("c-ip|cidr: 198.51.100.0/24", false),
            ("cs-referer|exists: false", true),
            ("cs-referer: null", true),
        ] {
            let got = answer(&format!("  s:\n    {test}\n  condition: s\n"), A);
            assert_eq!(got, want.into(), "{test}");
        }
        assert_eq!(answer("  k: [uA, zzz]\n  condition: k\n", A), Answer::Yes);
    }

    #[test]
    fn a_field_that_the_layout_lacks_is_unknown_and_spoils_only_what_depends_on_it() {
        let d = "  p:\n    cs-uri-stem: /a/b\n  s:\n    sc-status: 404\n  condition: ";
        assert_eq!(answer(&format!("{d}p and s\n"), B), Answer::Unknown);
        assert_eq!(answer(&format!("{d}p and not s\n"), B), Answer::Unknown);
        assert_eq!(answer(&format!("{d}p or s\n"), B), Answer::Yes);
        assert_eq!(answer(&format!("{d}not p and s\n"), B), Answer::No);
        assert_eq!(answer(&format!("{d}p and s\n"), A), Answer::Yes);
    }

    #[test]
    fn conditions_bind_as_sigma_says() {
        let d =
            "  a1:\n    cs-method: GET\n  a2:\n    sc-status: 200\n  b:\n    sc-status: 404\n  condition: ";
        for (c, want) in [
            ("1 of a*", true),
            ("all of a*", false),
            ("all of them", false),
            ("not a2 and b", true),
            ("a2 or a1 and b", true),
            ("(a2 or a1) and not b", false),
        ] {
            assert_eq!(answer(&format!("{d}{c}\n"), A), want.into(), "{c}");
        }
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        let bad = |d: &str| parse_rules(&format!("title: t\ndetection:\n{d}"), false).unwrap_err();
        assert!(bad("  s:\n    cs-uri|fieldref: x\n  condition: s").contains("fieldref"));
        assert!(bad("  s:\n    cs-uri: x\n  condition: s | count() > 5").contains("aggregation"));
        assert!(bad("  s:\n    cs-uri: x\n  timeframe: 5m\n  condition: s").contains("timeframe"));
        assert!(bad("  s:\n    CommandLine: x\n  condition: s").contains("CommandLine"));
        assert!(bad("  s:\n    cs-uri: x\n  condition: s and t").contains('t'));
        assert!(bad("  s:\n    cs-uri|re: '('\n  condition: s").contains("regular expression"));
        let deep = "(".repeat(200);
        assert!(bad(&format!("  s:\n    cs-uri: x\n  condition: {deep}s")).contains("deeper"));
        assert!(parse_rules("title: [", false).unwrap_err().contains("YAML"));
    }

    #[test]
    fn a_correlation_rule_and_a_rule_about_processes_are_refused_with_the_reason() {
        let e = parse_rules(
            "title: base\nname: b\ndetection:\n  s:\n    sc-status: 404\n  condition: s\n---\ntitle: many\ncorrelation:\n  type: event_count\n  rules: [b]\n  group-by: [c-ip]\n  timespan: 5m\n  condition:\n    gte: 10\n",
            false,
        )
        .unwrap_err();
        assert!(e.contains("`many`") && e.contains("event_count"), "{e}");
        let e = parse_rules(
            "title: t\nlogsource:\n  category: process_creation\ndetection:\n  k: [abcd]\n  condition: k\n",
            false,
        )
        .unwrap_err();
        assert!(e.contains("process_creation"), "{e}");
        assert!(
            parse_rules(
                "title: t\nlogsource:\n  product: windows\ndetection:\n  k: [abcd]\n  condition: k\n",
                false
            )
            .is_err()
        );
    }

    #[test]
    fn a_rule_of_others_meets_a_path_as_it_stands_decoded_and_folded() {
        let line = r#"203.0.113.7 - - [16/May/2025:03:01:36 +0100] "GET https://www.example.org:8443/Cgi/../a%2eJSP?q=%2e%2e%2Fx&z=aW5lcnQ HTTP/1.1" 404 168 "-" "UA""#;
        for (test, want) in [
            ("cs-uri-stem|contains: '/../'", true),
            ("cs-uri-stem|endswith: .jsp", true),
            ("cs-uri-stem|contains|cased: a%2eJSP", true),
            ("cs-uri-stem: /a.jsp", true),
            ("cs-uri-query|contains: '../x'", true),
            ("cs-uri-query|contains: '%2e%2e%2f'", true),
            ("c-uri|contains|all: ['/a', 'q=']", true),
            ("c-uri-extension: jsp", true),
            ("cs-host: www.example.org", true),
            ("cs-uri-query|contains|base64: nothing", false),
            ("cs-uri-query|base64|contains: inert", false),
            ("cs-uri-query|base64offset|contains: inert", true),
            ("cs-user-agent|windash: UA", true),
            ("cs-uri-query|contains: abcd", false),
        ] {
            let got = answer(&format!("  s:\n    {test}\n  condition: s\n"), line);
            assert_eq!(got, want.into(), "{test}");
        }
        let k = |d: &str| answer(d, line);
        assert_eq!(k("  k: cgi\n  condition: k\n"), Answer::Yes);
        assert_eq!(k("  k:\n    '|all': [cgi, zzzz]\n  condition: k\n"), Answer::No);
        assert_eq!(k("  k: ['c?i*jsp', zzzz]\n  condition: any of k*\n"), Answer::Yes);
        assert_eq!(k("  s:\n    cs-cookie|contains: x\n  condition: s\n"), Answer::Unknown);
    }

    #[test]
    fn literals_follow_from_the_rule_or_are_said_not_to() {
        let l =
            |d: &str| parse_rules(&format!("title: t\ndetection:\n{d}"), false).unwrap().remove(0).literals;
        assert_eq!(
            l("  s:\n    cs-uri|contains: /mifs/Example.jsp\n  condition: s"),
            Some(vec!["example.jsp".into()])
        );
        assert_eq!(l("  s:\n    cs-uri|re: abcdef\n  condition: s"), None);
        assert_eq!(
            l("  s:\n    cs-uri|contains: [abcd, efgh]\n    cs-method: GET\n  condition: s"),
            Some(vec!["abcd".into(), "efgh".into()])
        );
        assert_eq!(l("  s:\n    cs-uri|contains: abcd\n  t:\n    sc-status: 1\n  condition: s or t"), None);
    }
}
