//! STIX 2.1: a bundle with a report, what it rests on, and what to do.
//!
//! Ids are UUIDv5: observables by the rule of the standard (section 2.9), other objects by what they
//! are about. So the same inputs give the same bundle, and two hospitals' bundles about one flaw
//! share its `vulnerability`. An intrusion set appears only as attributed by a named source.

mod objects;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::export::{Tlp, made_ms};
use crate::finding::{Assessment, UnixMs};
use crate::report::brief::{Brief, BriefOptions};
use crate::report::json::inert;

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
