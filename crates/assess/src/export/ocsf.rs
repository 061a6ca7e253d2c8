//! OCSF 1.3: a Detection Finding (2004) for each chain, one JSON object a line.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::export::{attack, made_ms};
use crate::finding::{Assessment, Chain, Confidence, Grade, Step};
use crate::report::brief::{Brief, BriefOptions};
use crate::report::json::inert;
use crate::report::plain::visible_within;
use crate::report::words;

/// The version of the schema.
pub const VERSION: &str = "1.3.0";
/// Steps that go into one finding.
const MOST_EVIDENCES: usize = 200;
const OURS: Uuid = Uuid::from_u128(0x0c5f_2d1b_7a3e_4e86_9f40_18d2_b3a6_c7e5);

/// Writes the findings as JSON lines. Without any chain there is one informational finding that
/// carries the verdict and the coverage, so that "nothing found" and "not run" look different.
///
/// # Errors
/// `serde_json`'s, which a plain structure like this one does not cause.
pub fn render(a: &Assessment, options: &BriefOptions) -> Result<String, serde_json::Error> {
    let brief = Brief::of(a, options);
    let findings: Vec<Value> = if a.chains.is_empty() {
        vec![nothing(a, &brief)]
    } else {
        a.chains.iter().map(|c| finding(a, c, &brief)).collect()
    };
    let mut out = String::new();
    for f in findings {
        out.push_str(&inert(&serde_json::to_string(&f)?));
        out.push('\n');
    }
    Ok(out)
}

fn base(a: &Assessment, brief: &Brief, about: &str) -> Map<String, Value> {
    let hashes: Vec<&str> = a.inputs.iter().filter_map(|i| i.sha256.as_deref()).collect();
    let uid = Uuid::new_v5(&OURS, format!("{} {:?} {about}", hashes.join(" "), a.as_of_ms).as_bytes());
    let whole = json!({
        "activity_id": 1, "activity_name": "Create",
        "category_uid": 2, "category_name": "Findings",
        "class_uid": 2004, "class_name": "Detection Finding",
        "type_uid": 200_401, "type_name": "Detection Finding: Create",
        "status_id": 1, "status": "New",
        "metadata": {
            "version": VERSION, "uid": uid.to_string(),
            "product": { "name": "matron assess", "vendor_name": "Matron", "version": a.tool_version }
        },
        "unmapped": { "verdict": a.verdict, "evidence": brief.evidence, "coverage": brief.coverage }
    });
    match whole {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn nothing(a: &Assessment, brief: &Brief) -> Value {
    let mut map = base(a, brief, "nothing");
    map.insert("time".into(), made_ms(a).into());
    map.insert("severity_id".into(), 1.into());
    map.insert("severity".into(), "Informational".into());
    map.insert("message".into(), brief.means.clone().into());
    let uid = map.get("metadata").and_then(|m| m.get("uid")).cloned().unwrap_or_default();
    let info = json!({ "uid": uid, "title": format!("Ivanti EPMM assessment: {}", brief.verdict), "desc": brief.means });
    map.insert("finding_info".into(), info);
    Value::Object(map)
}

fn finding(a: &Assessment, chain: &Chain, brief: &Brief) -> Value {
    let mut map = base(a, brief, &format!("chain {}", chain.number));
    let (severity_id, severity) = severity(chain.grade);
    map.insert("severity_id".into(), severity_id.into());
    map.insert("severity".into(), severity.into());
    map.insert("time".into(), chain.first_ms.unwrap_or_else(|| made_ms(a)).into());
    if let (Some(first), Some(last)) = (chain.first_ms, chain.last_ms) {
        map.insert("start_time".into(), first.into());
        map.insert("end_time".into(), last.into());
    }
    let count = chain.steps.iter().map(|s| 1 + s.repeats).sum::<u64>() + chain.steps_left_out;
    map.insert("count".into(), count.min(i32::MAX as u64).into());
    let (confidence_id, confidence) = confidence(chain);
    map.insert("confidence_id".into(), confidence_id.into());
    map.insert("confidence".into(), confidence.into());
    map.insert("message".into(), chain.joined_by.join("; ").into());
    let uid = map.get("metadata").and_then(|m| m.get("uid")).cloned().unwrap_or_default();
    map.insert("finding_info".into(), info(chain, &uid));
    map.insert("evidences".into(), chain.steps.iter().take(MOST_EVIDENCES).map(evidence).collect());
    map.insert("observables".into(), observables(chain));
    let flaws: Vec<Value> = chain.cves.iter().map(|c| json!({ "cve": { "uid": c } })).collect();
    if !flaws.is_empty() {
        map.insert("vulnerabilities".into(), flaws.into());
    }
    if let Some(first) = brief.actions.first() {
        map.insert("remediation".into(), json!({ "desc": first.what }));
    }
    Value::Object(map)
}

fn severity(grade: Grade) -> (u8, &'static str) {
    match grade {
        Grade::NoTrace => (1, "Informational"),
        Grade::Probed => (2, "Low"),
        Grade::Attempted => (3, "Medium"),
        Grade::LikelyCompromised => (5, "Critical"),
        Grade::DataLeft => (5, "Critical"),
    }
}

/// As sure as the least certain fact that the worst step rests on.
fn confidence(chain: &Chain) -> (u8, &'static str) {
    let worst = chain.steps.iter().filter(|s| s.grade == chain.grade).map(|s| s.confidence).min();
    match worst {
        Some(Confidence::Verified) => (3, "High"),
        Some(Confidence::SecondHand) => (2, "Medium"),
        Some(Confidence::FromMemory | Confidence::Inferred) => (1, "Low"),
        None => (0, "Unknown"),
    }
}

fn info(chain: &Chain, uid: &Value) -> Value {
    let mut techniques: Vec<&String> =
        chain.steps.iter().flat_map(|s| s.techniques.iter()).filter(|t| attack::is_id(t)).collect();
    techniques.sort();
    techniques.dedup();
    let attacks: Vec<Value> = techniques
        .into_iter()
        .map(|id| {
            json!({
                "version": attack::VERSION,
                "technique": { "uid": id, "name": attack::name(id), "src_url": attack::url(id) }
            })
        })
        .collect();
    let mut info = json!({
        "uid": uid,
        "title": format!("Ivanti EPMM: {} (chain {})", words::grade(chain.grade), chain.number),
        "desc": format!("{} bytes out; joined by: {}", chain.bytes_out, chain.joined_by.join("; ")),
        "analytic": { "uid": "matron-assess", "name": "matron assess", "type_id": 1, "type": "Rule" },
        "attacks": attacks
    });
    if let (Some(first), Some(last), Value::Object(map)) = (chain.first_ms, chain.last_ms, &mut info) {
        map.insert("first_seen_time".into(), first.into());
        map.insert("last_seen_time".into(), last.into());
    }
    info
}

fn evidence(step: &Step) -> Value {
    let mut map = Map::new();
    if let Some(client) = step.client.as_deref().filter(|c| c.parse::<std::net::IpAddr>().is_ok()) {
        map.insert("src_endpoint".into(), json!({ "ip": client }));
    }
    if let Some(path) = &step.path {
        map.insert("url".into(), json!({ "path": visible_within(&path.0, 2_000) }));
    }
    let data = json!({
        "time": step.at_ms, "stage": step.stage, "grade": step.grade, "rule": step.rule_name,
        "rule_uid": step.rule, "method": step.method, "status": step.status, "bytes_out": step.bytes_out,
        "repeats": step.repeats, "file": step.cite.file, "line": step.cite.line,
        "byte_offset": step.cite.byte_offset, "raw": visible_within(&step.cite.raw.0, 4_000)
    });
    map.insert("data".into(), data);
    Value::Object(map)
}

fn observables(chain: &Chain) -> Value {
    chain
        .clients
        .iter()
        .filter(|c| c.parse::<std::net::IpAddr>().is_ok())
        .map(|c| json!({ "name": "evidences.src_endpoint.ip", "type_id": 2, "type": "IP Address", "value": c }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn lines(a: &Assessment) -> Vec<Value> {
        let text = render(a, &BriefOptions::default()).unwrap();
        text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    }

    #[test]
    fn the_findings_of_stolen_data_are_as_before() {
        insta::assert_snapshot!(render(&sample::data_left(), &BriefOptions::default()).unwrap());
    }

    #[test]
    fn a_finding_has_what_the_schema_requires() {
        for finding in lines(&sample::data_left()).into_iter().chain(lines(&sample::unknown())) {
            assert_eq!(finding["type_uid"], 2004 * 100 + 1);
            for field in [
                "activity_id",
                "category_uid",
                "class_uid",
                "severity_id",
                "time",
                "metadata",
                "finding_info",
            ] {
                assert!(!finding[field].is_null(), "{field}");
            }
            assert!(finding["finding_info"]["uid"].is_string());
        }
    }

    #[test]
    fn nothing_found_is_told_and_is_not_an_empty_file() {
        let found = lines(&sample::no_trace());
        assert_eq!((found.len(), &found[0]["severity_id"]), (1, &json!(1)));
    }
}
