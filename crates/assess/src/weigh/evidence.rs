//! The first answer: the worst that was found, and what it rests on.

use std::collections::BTreeSet;

use crate::finding::{Chain, Evidence, Grade, Ground, GroundKind, IndicatorHit, Stage, Step};

/// Reasons listed.
const MAX_GROUNDS: usize = 12;

fn ground_kind(s: &Step) -> GroundKind {
    match s.stage {
        // What was only asked for rests on its route, whatever it would have been.
        Stage::Fetch | Stage::ApiAccess if s.grade <= Grade::Probed => GroundKind::Route,
        Stage::Fetch => GroundKind::StagedFileFetched,
        Stage::KnownFile => GroundKind::KnownFile,
        Stage::ApiAccess => GroundKind::AnsweredWithData,
        Stage::Attempt | Stage::Upload if s.version_open.is_some() => GroundKind::VersionOpenThatDay,
        Stage::Attempt => GroundKind::ExploitText,
        Stage::Upload if s.grade <= Grade::Attempted => GroundKind::ExploitText,
        Stage::Probe => GroundKind::Route,
        _ if s.grade <= Grade::Probed => GroundKind::Route,
        _ => GroundKind::AfterStep,
    }
}

/// The worst grade, with its reasons.
pub(super) fn evidence(chains: &[Chain], indicators: &[IndicatorHit]) -> Evidence {
    let mut grounds: Vec<Ground> = Vec::new();
    let mut told: BTreeSet<(Grade, &str)> = BTreeSet::new();
    for (ci, c) in chains.iter().enumerate() {
        for (si, s) in c.steps.iter().enumerate().filter(|(_, s)| s.grade > Grade::NoTrace) {
            // One reason a rule and grade is enough; the chains list the rest.
            if !told.insert((s.grade, &s.rule)) {
                continue;
            }
            let open = s.version_open.as_ref().map(|v| format!(" ({v})")).unwrap_or_default();
            grounds.push(Ground {
                grade: s.grade,
                kind: ground_kind(s),
                text: format!("{}{open}. {}", s.title, s.note),
                chain: Some(ci),
                step: Some(si),
            });
        }
    }
    for h in indicators.iter().filter(|h| h.grade > Grade::NoTrace) {
        grounds.push(Ground {
            grade: h.grade,
            kind: GroundKind::Indicator,
            text: format!(
                "{} was published as an indicator by {} and stands in {} line{}.",
                h.value,
                h.source,
                h.hits,
                if h.hits == 1 { "" } else { "s" }
            ),
            chain: None,
            step: None,
        });
    }
    grounds.sort_by(|a, b| {
        b.grade
            .cmp(&a.grade)
            .then_with(|| (a.chain.is_none(), a.chain, a.step).cmp(&(b.chain.is_none(), b.chain, b.step)))
    });
    grounds.truncate(MAX_GROUNDS);
    Evidence { grade: grounds.first().map_or(Grade::NoTrace, |g| g.grade), rests_on: grounds }
}
