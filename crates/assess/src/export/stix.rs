//! STIX 2.1: a bundle with a report, what it rests on, and what to do.
//!
//! Ids are UUIDv5: observables by the rule of the standard (section 2.9), other objects by what they
//! are about. So the same inputs give the same bundle, and two hospitals' bundles about one flaw
//! share its `vulnerability`. An intrusion set appears only as attributed by a named source.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::export::{Tlp, attack, made_ms};
use crate::finding::{Assessment, Chain, Grade, IndicatorKind, Step, UnixMs};
use crate::report::brief::{Brief, BriefOptions};
use crate::report::json::inert;
use crate::report::plain::visible_within;
use crate::report::words;

/// The namespace that STIX 2.1 prescribes for ids of observables.
const OBSERVABLES: Uuid = Uuid::from_u128(0x00ab_edb4_aa42_466c_9c01_fed2_3315_a9b7);
/// Ours, for all other objects.
const OURS: Uuid = Uuid::from_u128(0x6b7c_1f2e_9d54_4c0a_8e31_52a7_d0c4_f9b6);
/// What does not depend on this run (flaws, techniques, the tool) is dated so.
const FIXED: &str = "2025-11-01T00:00:00.000Z";
/// Chains that become observed data; the report says so when there are more.
const MOST_CHAINS: usize = 500;
/// Steps that become network traffic objects.
const MOST_STEPS: usize = 500;
/// Days for which an address seen here is worth looking for.
const ADDRESS_DAYS: i64 = 90;

/// Writes the bundle, indented, ending with a line feed.
///
/// # Errors
/// `serde_json`'s, which a plain structure like this one does not cause.
pub fn render(a: &Assessment, options: &BriefOptions, tlp: Tlp) -> Result<String, serde_json::Error> {
    let mut bundle = Bundle::new(a, tlp);
    bundle.flaws_and_techniques(a);
    for chain in a.chains.iter().take(MOST_CHAINS) {
        bundle.chain(chain);
    }
    bundle.addresses(a);
    bundle.public_indicators(a);
    bundle.attributions(a);
    let brief = Brief::of(a, options);
    bundle.advice(a, &brief);
    bundle.notes(a, &brief);
    bundle.report(a, &brief);
    let objects: Vec<Value> = bundle.objects.into_values().collect();
    let whole = json!({ "type": "bundle", "id": format!("bundle--{}", ours(&format!("bundle {}", bundle.seed))), "objects": objects });
    Ok(inert(&serde_json::to_string_pretty(&whole)?) + "\n")
}

fn ours(what: &str) -> Uuid {
    Uuid::new_v5(&OURS, what.as_bytes())
}

/// The id of an observable: UUIDv5 over the canonical JSON of its contributing properties.
fn observable_id(kind: &str, contributing: &Value) -> String {
    format!("{kind}--{}", Uuid::new_v5(&OBSERVABLES, canonical(contributing).as_bytes()))
}

/// RFC 8785 as far as these objects need it: sorted keys, no spaces; strings as serde writes them.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            let pairs: Vec<String> = sorted
                .into_iter()
                .map(|(k, v)| format!("{}:{}", Value::from(k.as_str()), canonical(v)))
                .collect();
            format!("{{{}}}", pairs.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

fn stamp(ms: UnixMs) -> String {
    let whole = crate::moment::utc_text(ms);
    whole.strip_suffix('Z').map_or_else(|| FIXED.to_owned(), |s| format!("{s}.{:03}Z", ms.rem_euclid(1000)))
}

struct Bundle {
    /// By place (so that the order is fixed) and id (so that none comes twice).
    objects: BTreeMap<(u8, String), Value>,
    refs: Vec<String>,
    seed: String,
    made: String,
    maker: String,
    marking: String,
}

/// What differs between two runs: the inputs' hashes, the tool, the verdict.
fn seed(a: &Assessment) -> String {
    let mut seed = format!("{} {:?} {:?}", a.tool_version, a.verdict, a.as_of_ms);
    for input in &a.inputs {
        seed.push('\n');
        seed.push_str(input.sha256.as_deref().unwrap_or(&input.name));
    }
    seed
}

impl Bundle {
    fn new(a: &Assessment, tlp: Tlp) -> Self {
        let (id, name, value) = tlp.marking();
        let marking = format!("marking-definition--{id}");
        let maker = format!("identity--{}", ours("identity matron assess"));
        let mut bundle = Self {
            objects: BTreeMap::new(),
            refs: Vec::new(),
            seed: seed(a),
            made: stamp(made_ms(a)),
            maker: maker.clone(),
            marking: marking.clone(),
        };
        // The TLP 2.0 markings are fixed objects of the standard's extension.
        let definition = json!({
            "type": "marking-definition", "spec_version": "2.1", "id": marking,
            "created": "2022-10-01T00:00:00.000Z", "name": name,
            "extensions": { "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d":
                { "extension_type": "property-extension", "tlp_2_0": value } }
        });
        bundle.objects.insert((0, marking), definition);
        let tool = json!({
            "type": "identity", "spec_version": "2.1", "id": maker, "created": FIXED, "modified": FIXED,
            "name": "matron assess", "identity_class": "system",
            "description": "Reads log files of Ivanti EPMM offline. A system, not a person or an organisation."
        });
        bundle.objects.insert((1, maker), tool);
        bundle
    }

    /// Adds a domain object with what all of them have, and gives its id.
    fn add(&mut self, place: u8, kind: &str, about: &str, at: &str, properties: Value) -> String {
        let id = format!("{kind}--{}", ours(&format!("{kind} {about}")));
        let mut object = Map::new();
        object.insert("type".into(), kind.into());
        object.insert("spec_version".into(), "2.1".into());
        object.insert("id".into(), id.clone().into());
        object.insert("created_by_ref".into(), self.maker.clone().into());
        object.insert("created".into(), at.into());
        object.insert("modified".into(), at.into());
        if let Value::Object(map) = properties {
            object.extend(map);
        }
        object.insert("object_marking_refs".into(), json!([self.marking]));
        if self.objects.insert((place, id.clone()), Value::Object(object)).is_none() && kind != "report" {
            self.refs.push(id.clone());
        }
        id
    }

    fn relate(&mut self, from: &str, how: &str, to: &str) {
        let about = format!("{from} {how} {to}");
        let made = self.made.clone();
        let body = json!({ "relationship_type": how, "source_ref": from, "target_ref": to });
        self.add(7, "relationship", &about, &made, body);
    }

    fn observe(&mut self, kind: &str, contributing: Value) -> String {
        let id = observable_id(kind, &contributing);
        let mut object = Map::new();
        object.insert("type".into(), kind.into());
        object.insert("spec_version".into(), "2.1".into());
        object.insert("id".into(), id.clone().into());
        if let Value::Object(map) = contributing {
            object.extend(map);
        }
        if self.objects.insert((4, id.clone()), Value::Object(object)).is_none() {
            self.refs.push(id.clone());
        }
        id
    }

    fn address(&mut self, address: IpAddr) -> String {
        let kind = if address.is_ipv4() { "ipv4-addr" } else { "ipv6-addr" };
        self.observe(kind, json!({ "value": address.to_string() }))
    }

    fn flaw(&mut self, cve: &str) -> String {
        let body = json!({
            "name": cve,
            "external_references": [{ "source_name": "cve", "external_id": cve }]
        });
        self.add(2, "vulnerability", cve, FIXED, body)
    }

    fn technique(&mut self, id: &str) -> String {
        let body = json!({
            "name": attack::name(id),
            "description": format!("ATT&CK for Enterprise, version {}.", attack::VERSION),
            "external_references": [{ "source_name": "mitre-attack", "external_id": id, "url": attack::url(id) }]
        });
        self.add(2, "attack-pattern", id, FIXED, body)
    }

    fn flaws_and_techniques(&mut self, a: &Assessment) {
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

    fn chain(&mut self, chain: &Chain) {
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

    fn step(&mut self, step: &Step) -> Vec<String> {
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
    fn addresses(&mut self, a: &Assessment) {
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

    fn sighting(&mut self, indicator: &str, first: UnixMs, last: UnixMs, count: u64) {
        let about = format!("{} {indicator}", self.seed);
        let made = self.made.clone();
        let body = json!({
            "sighting_of_ref": indicator, "first_seen": stamp(first), "last_seen": stamp(last.max(first)),
            "count": count.min(999_999_999), "where_sighted_refs": [self.maker]
        });
        self.add(6, "sighting", &about, &made, body);
    }

    /// Published file hashes that were met; their source is named.
    fn public_indicators(&mut self, a: &Assessment) {
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

    fn attributions(&mut self, a: &Assessment) {
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

    fn advice(&mut self, a: &Assessment, brief: &Brief) {
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

    fn notes(&mut self, a: &Assessment, brief: &Brief) {
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

    fn report(&mut self, a: &Assessment, brief: &Brief) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use std::collections::HashSet;

    fn bundle(a: &Assessment) -> Value {
        serde_json::from_str(&render(a, &BriefOptions::default(), Tlp::default()).unwrap()).unwrap()
    }

    #[test]
    fn the_bundle_of_stolen_data_is_as_before() {
        insta::assert_snapshot!(
            render(&sample::data_left(), &BriefOptions::default(), Tlp::default()).unwrap()
        );
    }

    #[test]
    fn an_address_has_the_id_that_the_standard_prescribes() {
        // Computed with OASIS's stix2 library for 198.51.100.3.
        let id = observable_id("ipv4-addr", &json!({ "value": "198.51.100.3" }));
        assert_eq!(id, "ipv4-addr--28bb3599-77cd-5a82-a950-b5bc3caf07c4");
    }

    #[test]
    fn a_request_has_the_id_that_the_standard_prescribes() {
        // Computed with OASIS's stix2 library.
        let traffic = json!({
            "src_ref": "ipv4-addr--28bb3599-77cd-5a82-a950-b5bc3caf07c4", "protocols": ["ipv4", "tcp", "https"],
            "start": "2025-05-15T02:01:36.123Z", "end": "2025-05-15T02:01:37.456Z",
            "extensions": { "http-request-ext": { "request_value": "/mifs/é", "request_method": "get" } }
        });
        assert_eq!(
            observable_id("network-traffic", &traffic),
            "network-traffic--45b6c201-53b4-568b-9f46-27671aa20a58"
        );
    }

    #[test]
    fn every_reference_points_to_an_object_of_the_bundle() {
        for a in [sample::data_left(), sample::hostile(), sample::unknown()] {
            let bundle = bundle(&a);
            let objects = bundle["objects"].as_array().unwrap();
            let ids: HashSet<&str> = objects.iter().map(|o| o["id"].as_str().unwrap()).collect();
            assert_eq!(ids.len(), objects.len(), "an id comes twice");
            for object in objects {
                for (key, value) in object.as_object().unwrap() {
                    let refs: Vec<&str> = match value {
                        Value::String(s) if key.ends_with("_ref") => vec![s],
                        Value::Array(list) if key.ends_with("_refs") => {
                            list.iter().map(|v| v.as_str().unwrap()).collect()
                        }
                        _ => continue,
                    };
                    assert!(refs.iter().all(|r| ids.contains(r)), "{key} of {}", object["id"]);
                }
            }
        }
    }

    #[test]
    fn an_intrusion_set_names_who_attributes() {
        let bundle = bundle(&sample::data_left());
        let set = bundle["objects"]
            .as_array()
            .unwrap()
            .iter()
            .find(|o| o["type"] == "intrusion-set")
            .unwrap()
            .clone();
        assert!(set["description"].as_str().unwrap().starts_with("As attributed by EclecticIQ"));
    }

    #[test]
    fn nothing_that_is_no_address_gets_into_a_pattern() {
        let bundle = bundle(&sample::hostile());
        assert!(!bundle["objects"].as_array().unwrap().iter().any(|o| o["type"] == "indicator"));
    }
}
