//! What goes into a bundle: flaws, techniques, chains, indicators, advice, the report.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{ADDRESS_DAYS, Bundle, FIXED, MOST_STEPS, ours, stamp};
use crate::export::{attack, made_ms};
use crate::finding::{Assessment, Chain, Grade, IndicatorKind, Step, UnixMs};
use crate::report::brief::Brief;
use crate::report::plain::visible_within;
use crate::report::words;

impl Bundle {
    pub(super) fn flaw(&mut self, cve: &str) -> String {
        let body = json!({
            "name": cve,
            "external_references": [{ "source_name": "cve", "external_id": cve }]
        });
        self.add(2, "vulnerability", cve, FIXED, body)
    }

    pub(super) fn technique(&mut self, id: &str) -> String {
        let body = json!({
            "name": attack::name(id),
            "description": format!("ATT&CK for Enterprise, version {}.", attack::VERSION),
            "external_references": [{ "source_name": "mitre-attack", "external_id": id, "url": attack::url(id) }]
        });
        self.add(2, "attack-pattern", id, FIXED, body)
    }

    pub(super) fn flaws_and_techniques(&mut self, a: &Assessment) {
        for chain in &a.chains {
            for cve in chain.cves.iter().filter(|c| is_cve(c)) {
                let flaw = self.flaw(cve);
                let technique = self.technique("T1190");
                self.relate(&technique, "targets", &flaw);
            }
            for id in chain.steps.iter().flat_map(|s| s.techniques.iter()).filter(|t| attack::is_id(t)) {
                self.technique(id);
            }
        }
    }

    pub(super) fn chain(&mut self, chain: &Chain) {
        let mut seen = Vec::new();
        for step in chain.steps.iter().take(MOST_STEPS) {
            seen.extend(self.step(step));
        }
        seen.sort();
        seen.dedup();
        let (Some(first), Some(last)) = (chain.first_ms, chain.last_ms) else { return };
        if seen.is_empty() {
            return;
        }
        let number: u64 = chain.steps.iter().map(|s| 1 + s.repeats).sum::<u64>() + chain.steps_left_out;
        let about = format!("{} chain {}", self.seed, chain.number);
        let made = self.made.clone();
        let body = json!({
            "first_observed": stamp(first), "last_observed": stamp(last.max(first)),
            "number_observed": number.clamp(1, 999_999_999), "object_refs": seen,
            "labels": [format!("grade:{}", words::grade(chain.grade))]
        });
        self.add(5, "observed-data", &about, &made, body);
    }

    pub(super) fn step(&mut self, step: &Step) -> Vec<String> {
        let Some(address) = step.client.as_deref().and_then(|c| c.parse::<IpAddr>().ok()) else {
            return Vec::new();
        };
        let source = self.address(address);
        let (Some(path), Some(method)) = (&step.path, &step.method) else { return vec![source] };
        let version = if address.is_ipv4() { "ipv4" } else { "ipv6" };
        let mut traffic = json!({
            "src_ref": source, "protocols": [version, "tcp", "https"],
            "extensions": { "http-request-ext": {
                "request_method": visible_within(&method.0, 40).to_lowercase(),
                "request_value": visible_within(&path.0, 2_000),
            } }
        });
        if let (Some(at), Value::Object(map)) = (step.at_ms, &mut traffic) {
            map.insert("start".into(), stamp(at).into());
            map.insert("end".into(), stamp(step.repeats_until_ms.unwrap_or(at).max(at)).into());
        }
        let id = self.observe("network-traffic", traffic);
        // Ended, as the standard wants it said beside `end`; not part of the id.
        if let (Some(_), Some(Value::Object(map))) = (step.at_ms, self.objects.get_mut(&(4, id.clone()))) {
            map.insert("is_active".into(), false.into());
        }
        vec![id, source]
    }

    /// An indicator and a sighting for each outside address beyond probing.
    pub(super) fn addresses(&mut self, a: &Assessment) {
        for (address, client) in crate::export::addresses(a, Grade::Attempted) {
            let (Some(first), Some(last)) = (client.first_ms, client.last_ms) else { continue };
            let kind = if address.is_ipv4() { "ipv4-addr" } else { "ipv6-addr" };
            let made = self.made.clone();
            let body = json!({
                "name": format!("Address in the evidence: {}", words::grade(client.grade)),
                "description": "Seen in requests. An address shows where a request came from, not who sent it; it may be shared or rented, and ages.",
                "indicator_types": ["anomalous-activity"],
                "pattern": format!("[{kind}:value = '{address}']"), "pattern_type": "stix", "pattern_version": "2.1",
                "valid_from": stamp(first), "valid_until": stamp(last + ADDRESS_DAYS * 86_400_000)
            });
            let indicator = self.add(3, "indicator", &format!("{} {address}", self.seed), &made, body);
            let technique = self.technique("T1190");
            self.relate(&indicator, "indicates", &technique);
            self.sighting(&indicator, first, last, client.requests);
        }
    }

    pub(super) fn sighting(&mut self, indicator: &str, first: UnixMs, last: UnixMs, count: u64) {
        let about = format!("{} {indicator}", self.seed);
        let made = self.made.clone();
        let body = json!({
            "sighting_of_ref": indicator, "first_seen": stamp(first), "last_seen": stamp(last.max(first)),
            "count": count.min(999_999_999), "where_sighted_refs": [self.maker]
        });
        self.add(6, "sighting", &about, &made, body);
    }

    /// Published file hashes that were met; their source is named.
    pub(super) fn public_indicators(&mut self, a: &Assessment) {
        for hit in a.indicator_hits.iter().filter(|h| h.kind == IndicatorKind::FileHash && !h.stale) {
            let Some(algorithm) = algorithm(&hit.value) else { continue };
            let made = self.made.clone();
            let from = stamp(hit.dated_ms.or(hit.first_ms).unwrap_or(0));
            let body = json!({
                "name": "Published file hash that was met",
                "description": format!("Published by {}.", visible_within(&hit.source, 200)),
                "indicator_types": ["malicious-activity"],
                "pattern": format!("[file:hashes.'{algorithm}' = '{}']", hit.value), "pattern_type": "stix",
                "pattern_version": "2.1", "valid_from": from
            });
            let indicator = self.add(3, "indicator", &hit.value, &made, body);
            let at = hit.first_ms.unwrap_or_else(|| made_ms(a));
            self.sighting(&indicator, at, hit.last_ms.unwrap_or(at), hit.hits);
        }
    }

    pub(super) fn attributions(&mut self, a: &Assessment) {
        for at in &a.attributions {
            let Some(actor) = &at.actor else { continue };
            let by_whom = visible_within(&at.by_whom, 120);
            let source = self.add(
                1,
                "identity",
                &by_whom,
                FIXED,
                json!({ "name": by_whom, "identity_class": "organization" }),
            );
            let body = json!({
                "name": visible_within(actor, 120),
                "description": format!(
                    "As attributed by {by_whom} for {} ({}). Not a finding of this report: what was found here overlaps in {}.",
                    at.campaign, words::confidence(at.confidence), at.overlap.join(", ")
                )
            });
            let set = self.add(2, "intrusion-set", &format!("{actor} by {by_whom}"), FIXED, body);
            let made = self.made.clone();
            let note = json!({
                "abstract": format!("{by_whom} attributes {} to {actor}", at.campaign),
                "content": "An overlap is not an identity. The attribution is the named source's, for the campaign, not for this intrusion.",
                "authors": [by_whom], "object_refs": [set, source]
            });
            self.add(8, "note", &format!("{} attribution {actor}", self.seed), &made, note);
        }
    }

    pub(super) fn advice(&mut self, a: &Assessment, brief: &Brief) {
        let flaws: Vec<String> = a
            .chains
            .iter()
            .flat_map(|c| c.cves.iter())
            .filter(|c| is_cve(c))
            .map(|c| format!("vulnerability--{}", ours(&format!("vulnerability {c}"))))
            .collect();
        for action in &brief.actions {
            let body = json!({
                "name": visible_within(&action.what, 120),
                "description": format!("{} Owner: {}. Clock: {}. {}", action.what, action.owner, action.clock, action.why)
            });
            let made = self.made.clone();
            let course =
                self.add(6, "course-of-action", &format!("{} {}", self.seed, action.what), &made, body);
            let mut flaws = flaws.clone();
            flaws.sort();
            flaws.dedup();
            for flaw in &flaws {
                self.relate(&course, "mitigates", flaw);
            }
        }
    }

    pub(super) fn notes(&mut self, a: &Assessment, brief: &Brief) {
        let made = self.made.clone();
        let about: Vec<String> = vec![self.maker.clone()];
        let mut coverage = vec![brief.coverage.clone()];
        coverage.extend(brief.coverage_reasons.iter().cloned());
        coverage.extend(
            a.coverage.not_assessable.iter().map(|n| format!("Not assessable: {}. {}", n.title, n.why)),
        );
        let evidence = json!({
            "abstract": format!("Evidence: {}", brief.evidence),
            "content": a.evidence.rests_on.iter().map(|g| g.text.as_str()).chain([brief.means.as_str()]).collect::<Vec<_>>().join("\n"),
            "object_refs": about
        });
        self.add(8, "note", &format!("{} evidence", self.seed), &made, evidence);
        let coverage = json!({
            "abstract": "Coverage: how much was read. It never changes the evidence.",
            "content": coverage.join("\n"), "object_refs": about
        });
        self.add(8, "note", &format!("{} coverage", self.seed), &made, coverage);
        let inputs: Vec<String> = a
            .inputs
            .iter()
            .take(2_000)
            .map(|i| format!("{} {}", i.sha256.as_deref().unwrap_or("-"), visible_within(&i.name, 300)))
            .collect();
        let rules: Vec<String> =
            a.rule_set.iter().map(|r| format!("{} {} {}", r.name, r.version, r.id)).collect();
        let made_of = json!({
            "abstract": format!("Made by matron assess {}", a.tool_version),
            "content": format!("SHA-256 of the inputs:\n{}\n\nRules:\n{}", inputs.join("\n"), rules.join("\n")),
            "object_refs": about
        });
        self.add(8, "note", &format!("{} inputs", self.seed), &made, made_of);
    }

    pub(super) fn report(&mut self, a: &Assessment, brief: &Brief) {
        let made = self.made.clone();
        let mut refs = self.refs.clone();
        refs.push(self.maker.clone());
        refs.sort();
        refs.dedup();
        let body = json!({
            "name": format!("Ivanti EPMM assessment: {}", brief.verdict),
            "description": format!("{} Evidence: {}. Coverage: {}.", brief.means, brief.evidence, brief.coverage),
            "report_types": ["threat-report", "observed-data"], "published": made,
            "labels": [format!("verdict:{}", words::verdict(a.verdict).to_lowercase().replace(' ', "-"))],
            "object_refs": refs
        });
        self.add(9, "report", &self.seed.clone(), &made, body);
    }
}

fn is_cve(id: &str) -> bool {
    let Some((year, number)) = id.strip_prefix("CVE-").and_then(|r| r.split_once('-')) else { return false };
    let digits = |s: &str| !s.is_empty() && s.len() <= 12 && s.bytes().all(|b| b.is_ascii_digit());
    year.len() == 4 && digits(year) && digits(number)
}

fn algorithm(hash: &str) -> Option<&'static str> {
    let hex = hash.bytes().all(|b| b.is_ascii_hexdigit());
    match hash.len() {
        64 if hex => Some("SHA-256"),
        40 if hex => Some("SHA-1"),
        32 if hex => Some("MD5"),
        _ => None,
    }
}
