//! Steps joined to chains, and the clients in them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::finding::{Chain, ClientSummary, Grade, MAX_STEPS, Raw, Stage, Step};

/// Behind one proxy, steps further apart than this are not joined.
const SAME_VISIT_MS: i64 = 60 * 60 * 1000;
/// An after-step joins the exploit lines before it within this time.
const AFTER_MS: i64 = 45 * 86_400_000;
/// Clients listed.
const MAX_CLIENTS: usize = 5_000;

struct Joiner(Vec<usize>);

impl Joiner {
    fn root(&mut self, mut i: usize) -> usize {
        while let Some(&p) = self.0.get(i) {
            if p == i {
                break;
            }
            i = p;
        }
        i
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        let (low, high) = (a.min(b), a.max(b));
        if let Some(p) = self.0.get_mut(high) {
            *p = low;
        }
    }
}

fn after_step(s: &Step) -> bool {
    matches!(
        s.stage,
        Stage::Loader
            | Stage::Stage
            | Stage::Fetch
            | Stage::Tunnel
            | Stage::Persistence
            | Stage::Destruction
            | Stage::KnownFile
    )
}

/// Joins steps (in order of time). `proxies`: addresses that many clients share.
pub(super) fn chains(steps: Vec<Step>, proxies: &BTreeSet<String>) -> Vec<Chain> {
    let mut j = Joiner((0..steps.len()).collect());
    let mut last_of: BTreeMap<String, usize> = BTreeMap::new();
    let mut last_path: BTreeMap<String, usize> = BTreeMap::new();
    let mut last_attempt: Option<usize> = None;
    let mut last_probe: Option<usize> = None;
    for (i, s) in steps.iter().enumerate() {
        let serious = s.grade >= Grade::Attempted;
        if let Some(c) = &s.client {
            let near = |p: usize| {
                !proxies.contains(c)
                    || steps
                        .get(p)
                        .and_then(|p| p.at_ms)
                        .zip(s.at_ms)
                        .is_some_and(|(a, b)| b - a <= SAME_VISIT_MS)
            };
            if let Some(p) = last_of.get(c).copied().filter(|p| near(*p)) {
                j.join(p, i);
            }
            last_of.insert(c.clone(), i);
        }
        if let Some(p) = s.path.as_ref().filter(|_| after_step(s)) {
            if let Some(q) = last_path.get(&p.0) {
                j.join(*q, i);
            }
            last_path.insert(p.0.clone(), i);
        }
        if after_step(s)
            && s.grade > Grade::Probed
            && let Some(a) = last_attempt
            && steps.get(a).and_then(|a| a.at_ms).zip(s.at_ms).is_some_and(|(a, b)| b - a <= AFTER_MS)
        {
            j.join(a, i);
        }
        if serious && !after_step(s) {
            last_attempt = Some(i);
        }
        last_probe = last_probe.or(Some(i));
    }
    let mut groups: BTreeMap<usize, Vec<Step>> = BTreeMap::new();
    for (i, s) in steps.into_iter().enumerate() {
        groups.entry(j.root(i)).or_default().push(s);
    }
    // Clients that only probed are told together: there may be thousands.
    let (mut probes, mut chains) = (Vec::new(), Vec::new());
    for g in groups.into_values() {
        if g.iter().all(|s| s.grade <= Grade::Probed) {
            probes.extend(g)
        } else {
            chains.push(chain(g, proxies, false))
        }
    }
    if !probes.is_empty() {
        probes.sort_by(|a, b| {
            (a.at_ms.unwrap_or(i64::MAX), &a.cite).cmp(&(b.at_ms.unwrap_or(i64::MAX), &b.cite))
        });
        chains.push(chain(probes, proxies, true));
    }
    chains.sort_by(|a, b| {
        b.grade
            .cmp(&a.grade)
            .then_with(|| a.first_ms.cmp(&b.first_ms))
            .then_with(|| a.clients.cmp(&b.clients))
    });
    for (n, c) in chains.iter_mut().enumerate() {
        c.number = n + 1;
    }
    chains
}

fn chain(mut steps: Vec<Step>, proxies: &BTreeSet<String>, probes: bool) -> Chain {
    let clients: BTreeSet<String> = steps.iter().filter_map(|s| s.client.clone()).collect();
    let mut joined_by = Vec::new();
    if probes {
        joined_by.push("probes only; not connected with each other".to_owned());
    } else {
        if clients.iter().any(|c| proxies.contains(c)) {
            joined_by.push("the same minutes behind one shared address".to_owned());
        } else if steps.len() > 1 && clients.len() == 1 {
            joined_by.push("the same client".to_owned());
        }
        if clients.len() > 1 {
            joined_by.push(
                "later steps on what earlier ones made possible (the same file, or soon after exploit lines)"
                    .to_owned(),
            );
        }
    }
    let out =
        |s: &Step| matches!(s.stage, Stage::Fetch | Stage::ApiAccess) && s.grade >= Grade::LikelyCompromised;
    let bytes_out =
        steps.iter().filter(|s| out(s)).fold(0u64, |n, s| n.saturating_add(s.bytes_out.unwrap_or(0)));
    let first_ms = steps.iter().filter_map(|s| s.at_ms).min();
    let last_ms = steps.iter().flat_map(|s| [s.at_ms, s.repeats_until_ms]).flatten().max();
    let cves: BTreeSet<String> = steps.iter().flat_map(|s| s.cves.clone()).collect();
    let grade = steps.iter().map(|s| s.grade).max().unwrap_or(Grade::NoTrace);
    let mut left_out = 0;
    if steps.len() > MAX_STEPS {
        // The worst are kept, then put back into order.
        left_out = (steps.len() - MAX_STEPS) as u64;
        let mut order: Vec<usize> = (0..steps.len()).collect();
        order.sort_by_key(|i| (std::cmp::Reverse(steps.get(*i).map(|s| s.grade)), *i));
        let keep: BTreeSet<usize> = order.into_iter().take(MAX_STEPS).collect();
        let mut i = 0;
        steps.retain(|_| {
            i += 1;
            keep.contains(&(i - 1))
        });
    }
    Chain {
        number: 0,
        grade,
        clients: clients.into_iter().collect(),
        joined_by,
        cves: cves.into_iter().collect(),
        first_ms,
        last_ms,
        bytes_out,
        steps,
        steps_left_out: left_out,
    }
}

/// Summaries of the clients in all steps.
pub(super) fn clients(chains: &[Chain]) -> Vec<ClientSummary> {
    let mut by: BTreeMap<&str, ClientSummary> = BTreeMap::new();
    for c in chains {
        for s in &c.steps {
            let Some(address) = s.client.as_deref() else { continue };
            let e = by.entry(address).or_insert_with(|| ClientSummary {
                address: address.to_owned(),
                first_ms: None,
                last_ms: None,
                requests: 0,
                bytes_out: 0,
                grade: Grade::NoTrace,
                stages: vec![],
                chains: vec![],
                origin: None,
                user_agents: vec![],
                internal: internal(address),
            });
            e.first_ms = crate::scan::hits::earliest(e.first_ms, s.at_ms);
            e.last_ms = e.last_ms.max(s.at_ms).max(s.repeats_until_ms);
            e.requests += s.repeats + 1;
            if matches!(s.stage, Stage::Fetch | Stage::ApiAccess) && s.grade >= Grade::LikelyCompromised {
                e.bytes_out = e.bytes_out.saturating_add(s.bytes_out.unwrap_or(0));
            }
            e.grade = e.grade.max(s.grade);
            add_sorted(&mut e.stages, s.stage, usize::MAX);
            add_sorted(&mut e.chains, c.number, usize::MAX);
            if let Some(a) = &s.user_agent {
                add_sorted::<Raw>(&mut e.user_agents, a.clone(), 10);
            }
        }
    }
    let mut out: Vec<ClientSummary> = by.into_values().collect();
    out.sort_by(|a, b| b.grade.cmp(&a.grade).then_with(|| a.address.cmp(&b.address)));
    out.truncate(MAX_CLIENTS);
    out
}

fn add_sorted<T: Ord>(list: &mut Vec<T>, x: T, most: usize) {
    if let Err(at) = list.binary_search(&x)
        && list.len() < most
    {
        list.insert(at, x);
    }
}

/// Private, loopback, link-local, shared or documentation-free internal addresses.
pub(super) fn internal(address: &str) -> bool {
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(a)) => {
            let [x, y, ..] = a.octets();
            a.is_private()
                || a.is_loopback()
                || a.is_link_local()
                || a.is_unspecified()
                || (x == 100 && (64..128).contains(&y))
        }
        Ok(IpAddr::V6(a)) => {
            a.is_loopback()
                || a.is_unspecified()
                || a.segments().first().is_some_and(|s| s & 0xfe00 == 0xfc00 || s & 0xffc0 == 0xfe80)
        }
        Err(_) => false,
    }
}
