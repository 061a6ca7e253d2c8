//! A file that was laid down: judged by suddenness, size, who came before and
//! whether it is gone later. Called suspect, never more.

use std::collections::{BTreeMap, BTreeSet};

use super::steps::is_foreign;
use crate::finding::{Cite, Confidence, Grade, Raw, Stage, Step};
use crate::fold::inert;
use crate::input::Content;
use crate::scan::assets::{Asset, Sight};

/// Id of this judgement, where others have a rule's.
pub const RULE: &str = "c0b4a6de-6d0f-5a57-9d3e-2f2a6b0c8f01";
/// Its name.
pub const RULE_NAME: &str = "epmm-staged-suddenly";
/// How soon after an exploit line.
const SOON_MS: i64 = 72 * 3_600_000;
/// History that must lie before to call a file new.
const HISTORY_MS: i64 = 86_400_000;
/// A file that more clients ask for is part of the product.
const FEW_CLIENTS: usize = 3;

/// Bytes beyond which a file of this ending is larger than its type usually is.
fn usual_bytes(path: &[u8]) -> u64 {
    let ends = |e: &[&str]| e.iter().any(|e| path.ends_with(e.as_bytes()));
    if ends(&[".zip", ".gz", ".tgz", ".tar", ".sql", ".7z", ".bak", ".dat", ".bin"]) {
        10_000
    } else if ends(&[".txt", ".log", ".csv", ".xml", ".json", ".html"]) {
        100_000
    } else if ends(&[".css", ".svg", ".ico"]) {
        300_000
    } else {
        3_000_000
    }
}

fn ending(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'.').next().unwrap_or(path)
}

/// Suspect files, as steps. `attempts`: time and client of exploit lines, in order of time.
pub(super) fn suspects(
    contents: &[Content],
    skip: &BTreeSet<usize>,
    attempts: &[(i64, Option<String>)],
    named: &BTreeSet<String>,
    zone_guessed: bool,
) -> Vec<Step> {
    let Some(first_attempt) = attempts.first().map(|a| a.0) else { return Vec::new() };
    let attackers: BTreeSet<&str> = attempts.iter().filter_map(|a| a.1.as_deref()).collect();
    // Sights of all files together, by path.
    let mut all: BTreeMap<&[u8], Vec<(&Sight, &str)>> = BTreeMap::new();
    let mut crowd: BTreeSet<&[u8]> = BTreeSet::new();
    let mut history: Option<i64> = None;
    for (i, c) in contents.iter().enumerate() {
        let Some(f) = c.findings.as_ref().filter(|_| !skip.contains(&i) && !is_foreign(c)) else { continue };
        history = crate::scan::hits::earliest(history, f.first_ms);
        for (path, Asset { sights, more }) in &f.assets.paths {
            if *more {
                crowd.insert(path);
            }
            all.entry(path).or_default().extend(sights.iter().map(|s| (s, c.name.as_str())));
        }
    }
    for s in all.values_mut() {
        s.sort_by_key(|(s, f)| (s.at_ms.unwrap_or(i64::MAX), *f, s.offset));
    }
    // The largest answer of each ending before the first exploit line.
    let mut usual: BTreeMap<&[u8], u64> = BTreeMap::new();
    for (path, sights) in &all {
        for (s, _) in sights.iter().filter(|(s, _)| s.at_ms.is_some_and(|t| t < first_attempt)) {
            let u = usual.entry(ending(path)).or_default();
            *u = (*u).max(s.bytes.unwrap_or(0));
        }
    }
    let mut out = Vec::new();
    for (path, sights) in &all {
        if crowd.contains(path) || named.contains(&inert(path)) {
            continue;
        }
        let Some(first) = sights.first().and_then(|(s, _)| s.at_ms) else { continue };
        let Some(before) = attempts.iter().rev().find(|a| a.0 <= first) else { continue };
        let clients: BTreeSet<&str> = sights.iter().map(|(s, _)| s.client.as_str()).collect();
        if first - before.0 > SOON_MS || clients.len() > FEW_CLIENTS {
            continue;
        }
        let floor = usual_bytes(path).max(usual.get(ending(path)).map_or(0, |u| u.saturating_mul(3)));
        let sent = |s: &Sight| s.get && matches!(s.status, Some(200 | 206)) && s.bytes.unwrap_or(0) > floor;
        let Some((fetch, file)) = sights.iter().filter(|(s, _)| sent(s)).max_by_key(|(s, _)| s.bytes) else {
            continue;
        };
        let gone = sights.iter().any(|(s, _)| s.status == Some(404) && s.at_ms > fetch.at_ms);
        let by_attacker = clients.iter().any(|c| attackers.contains(c));
        let known_history = history.is_some_and(|h| before.0 - h >= HISTORY_MS);
        // Two signs beyond suddenness and size, so that an upgrade's new files are not called loot.
        let signs = u8::from(gone) + u8::from(by_attacker) + u8::from(known_history);
        if !(gone || by_attacker) || signs < 2 {
            continue;
        }
        let mut note = format!(
            "Suspect: first asked for {} minutes after an exploit line, answered with {} bytes, more than a file of its type usually has",
            (first - before.0) / 60_000,
            fetch.bytes.unwrap_or(0)
        );
        note.push_str(if gone { ", and gone later (404)." } else { ", and not asked for before." });
        if by_attacker {
            note.push_str(" The client, or another that took it, also sent exploit text.");
        } else {
            note.push_str(" The client is not the one that sent the exploit text.");
        }
        note.push_str(
            " There is no public list of the vendor's own files: compare with a clean installation.",
        );
        out.push(Step {
            at_ms: fetch.at_ms,
            zone_guessed: fetch.zone_assumed && zone_guessed,
            stage: Stage::Fetch,
            grade: Grade::DataLeft,
            rule: RULE.into(),
            rule_name: RULE_NAME.into(),
            title: "A large static file appeared after an exploit line and was fetched".into(),
            confidence: Confidence::Inferred,
            cves: vec![],
            techniques: vec!["T1041".into(), "T1074.001".into()],
            client: Some(fetch.client.clone()).filter(|c| c != "-"),
            via: fetch.via.clone(),
            method: Some(Raw("GET".into())),
            path: Some(Raw(inert(path))),
            status: fetch.status,
            bytes_out: fetch.bytes,
            user_agent: None,
            repeats: sights.iter().filter(|(s, _)| sent(s)).count() as u64 - 1,
            repeats_until_ms: sights
                .iter()
                .filter(|(s, _)| sent(s))
                .filter_map(|(s, _)| s.at_ms)
                .max()
                .filter(|t| Some(*t) != fetch.at_ms),
            note,
            cite: Cite {
                file: (*file).to_owned(),
                line: fetch.line,
                byte_offset: fetch.offset,
                raw: Raw(inert(&fetch.raw)),
                cut: fetch.raw.len() >= crate::scan::assets::SIGHT_BYTES,
            },
            version_open: None,
        });
    }
    out
}
