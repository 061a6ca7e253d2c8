//! Campaigns that others named and that overlap with what was found.

use std::collections::BTreeSet;

use crate::finding::{Attribution, Chain, Confidence, Grade, Stage, Step};

/// Campaigns, as others name them.
pub(super) fn attributions(chains: &[Chain]) -> Vec<Attribution> {
    let serious: Vec<&Step> =
        chains.iter().flat_map(|c| &c.steps).filter(|s| s.grade >= Grade::Attempted).collect();
    let within = |s: &Step, from: i64, to: i64| s.at_ms.is_some_and(|t| t >= from && t < to);
    let mut out = Vec::new();
    let mut campaign =
        |name: &str, actor: Option<&str>, by: &str, confidence, steps: Vec<&Step>, what: &str| {
            if steps.is_empty() {
                return;
            }
            let techniques: BTreeSet<String> = steps.iter().flat_map(|s| s.techniques.clone()).collect();
            out.push(Attribution {
                campaign: name.into(),
                actor: actor.map(Into::into),
                by_whom: by.into(),
                confidence,
                overlap: vec![match steps.len() {
                    1 => format!("{what}: one step here"),
                    n => format!("{what}: {n} steps here"),
                }],
                techniques: techniques.into_iter().collect(),
            });
        };
    let of = |cve: &str, from, to| {
        serious
            .iter()
            .copied()
            .filter(|s| s.cves.iter().any(|c| c == cve) && within(s, from, to))
            .collect::<Vec<_>>()
    };
    // 15 May to 31 August 2025; 1 January to 30 April 2026.
    campaign(
        "Exploitation of CVE-2025-4427 and CVE-2025-4428, from 15 May 2025",
        Some("UNC5221"),
        "EclecticIQ",
        Confidence::Verified,
        of("CVE-2025-4428", 1_747_267_200_000, 1_756_684_800_000),
        "the same flaw in the same months",
    );
    let mut early: Vec<&Step> = of("CVE-2026-1281", 1_767_225_600_000, 1_777_593_600_000);
    early.extend(
        serious
            .iter()
            .copied()
            .filter(|s| s.stage == Stage::Loader && within(s, 1_767_225_600_000, 1_777_593_600_000)),
    );
    campaign(
        "Exploitation of CVE-2026-1281 and CVE-2026-1340, January and February 2026, with sleeping loaders",
        None,
        "public analyses; no actor is named by them here",
        Confidence::SecondHand,
        early,
        "the same flaw or loader in the same months",
    );
    out
}
