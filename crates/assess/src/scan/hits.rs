//! Lines that matched, kept within bounds.

use std::collections::BTreeMap;

use crate::finding::{Grade, Layout, UnixMs};

/// Longest part of a line that is kept.
pub const RAW_BYTES: usize = 8 * 1024;
/// Full lines kept of each client and rule, whatever their day.
const PER_CLIENT_RULE: u64 = 120;
/// After them, so many of each day: behind a proxy all clients are one, and a later day may matter more.
const PER_DAY: u64 = 24;
/// And so many of a day and user agent, however many others came before: behind such a proxy the user agent
/// is all that tells one client from another.
const PER_AGENT: u8 = 4;
/// User agents are told apart by so many values of a digest.
const AGENTS: usize = 64;
const DAY_MS: i64 = 86_400_000;
/// Full lines kept of each grade, in one content.
const PER_GRADE: usize = 20_000;
/// Clients and rules counted apart.
const MAX_COUNTS: usize = 200_000;

/// Bytes of lines kept in one content; after them lines are cut short.
const RAW_BUDGET_BYTES: usize = 12 << 20;
/// What a line is cut to then.
const SHORT_BYTES: usize = 256;

/// A line that a rule or an indicator matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Line number from 1; inside a segment, from the segment's start until merged.
    pub line: u64,
    /// Offset of its first byte.
    pub offset: u64,
    /// The line.
    pub raw: Vec<u8>,
    /// `raw` was cut.
    pub cut: bool,
    /// Time.
    pub at_ms: Option<UnixMs>,
    /// The line had no offset of its own.
    pub zone_assumed: bool,
    /// Layout.
    pub layout: Layout,
    /// Client.
    pub client: String,
    /// Peer, when it differs.
    pub via: Option<String>,
    /// Method.
    pub method: Option<Vec<u8>>,
    /// Folded path.
    pub path: Vec<u8>,
    /// A digest of the folded query, to tell chunks apart.
    pub query_key: u64,
    /// Status.
    pub status: Option<u16>,
    /// Bytes.
    pub bytes: Option<u64>,
    /// User agent.
    pub agent: Option<Vec<u8>>,
    /// User, for audit logs.
    pub user: Option<Vec<u8>>,
    /// Index of the rule that grades it.
    pub rule: usize,
    /// Grade of that rule.
    pub grade: Grade,
    /// Other rules that matched.
    pub others: Vec<usize>,
    /// Something decodes further than it was followed.
    pub deeper: bool,
}

/// Number and times of a client's lines under one rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Lines.
    pub lines: u64,
    /// Bytes of their answers.
    pub bytes: u64,
    /// First time.
    pub first_ms: Option<UnixMs>,
    /// Last time.
    pub last_ms: Option<UnixMs>,
}

impl Count {
    pub(crate) fn add(&mut self, o: Self) {
        self.lines += o.lines;
        self.bytes = self.bytes.saturating_add(o.bytes);
        self.first_ms = earliest(self.first_ms, o.first_ms);
        self.last_ms = self.last_ms.max(o.last_ms);
    }
}

/// The earlier of two, where `None` is no time.
pub fn earliest(a: Option<UnixMs>, b: Option<UnixMs>) -> Option<UnixMs> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Hits within bounds: counts are complete, full lines are not beyond the caps.
#[derive(Clone, Debug, Default)]
pub struct Hits {
    /// Full lines, in order.
    pub lines: Vec<Hit>,
    /// Counts by client and rule.
    pub counts: BTreeMap<(String, usize), Count>,
    kept: BTreeMap<(String, usize), u64>,
    kept_of_day: BTreeMap<(String, usize, i64), OfDay>,
    per_grade: BTreeMap<Grade, usize>,
    raw_bytes: usize,
    /// All matched lines.
    pub total: u64,
    /// Matched lines of which only the count was kept.
    pub uncited: u64,
    /// Those of them that are more than a probe.
    pub uncited_serious: u64,
}

/// Lines of one client, rule and day that were kept.
#[derive(Clone, Debug)]
struct OfDay {
    kept: u64,
    by_agent: [u8; AGENTS],
}

impl Default for OfDay {
    fn default() -> Self {
        Self { kept: 0, by_agent: [0; AGENTS] }
    }
}

impl OfDay {
    /// Whether one more line is kept; `free`: the client has had few so far.
    ///
    /// The first of each sort are kept, so that what is kept of all is kept of every part of it.
    fn keeps(&mut self, agent: Option<&[u8]>, free: bool) -> bool {
        let h = super::digest(agent.unwrap_or_default());
        let place = usize::try_from((h ^ (h >> 32)) % AGENTS as u64).unwrap_or(0);
        let of_agent = self.by_agent.get_mut(place);
        let keeps = free || self.kept < PER_DAY || of_agent.as_deref().is_some_and(|n| *n < PER_AGENT);
        if keeps {
            self.kept += 1;
            if let Some(n) = of_agent {
                *n = n.saturating_add(1);
            }
        }
        keeps
    }
}

/// The client under which those beyond [`MAX_COUNTS`] are counted.
pub const OTHER_CLIENTS: &str = "(other clients)";

impl Hits {
    /// Adds a line.
    pub fn push(&mut self, hit: Hit) {
        let key = (hit.client.clone(), hit.rule);
        let count =
            Count { lines: 1, bytes: hit.bytes.unwrap_or(0), first_ms: hit.at_ms, last_ms: hit.at_ms };
        self.count(key.clone(), count);
        self.total += 1;
        self.keep(key, hit);
    }

    fn count(&mut self, key: (String, usize), count: Count) {
        let key = if self.counts.len() < MAX_COUNTS || self.counts.contains_key(&key) {
            key
        } else {
            (OTHER_CLIENTS.to_owned(), key.1)
        };
        self.counts.entry(key).or_default().add(count);
    }

    fn keep(&mut self, key: (String, usize), mut hit: Hit) {
        if self.raw_bytes > RAW_BUDGET_BYTES && hit.raw.len() > SHORT_BYTES {
            hit.raw.truncate(SHORT_BYTES);
            hit.raw.shrink_to_fit();
            hit.cut = true;
        }
        let of_grade = self.per_grade.entry(hit.grade).or_default();
        let keeps = *of_grade < PER_GRADE && {
            let day = hit.at_ms.map_or(i64::MIN, |t| t.div_euclid(DAY_MS));
            let of_day = self.kept_of_day.entry((key.0.clone(), key.1, day)).or_default();
            let kept = self.kept.entry(key).or_default();
            let keeps = of_day.keeps(hit.agent.as_deref(), *kept < PER_CLIENT_RULE);
            *kept += u64::from(keeps);
            keeps
        };
        if !keeps {
            self.uncited += 1;
            self.uncited_serious += u64::from(hit.grade > Grade::Probed);
            return;
        }
        *of_grade += 1;
        self.raw_bytes += hit.raw.len();
        self.lines.push(hit);
    }

    /// Appends those of the next segment; its line numbers begin after `lines_before`.
    pub fn append(&mut self, next: Self, lines_before: u64) {
        for (k, c) in next.counts {
            self.count(k, c);
        }
        self.total += next.total;
        self.uncited += next.uncited;
        self.uncited_serious += next.uncited_serious;
        for mut hit in next.lines {
            hit.line += lines_before;
            self.keep((hit.client.clone(), hit.rule), hit);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn hit(client: &str, rule: usize) -> Hit {
        Hit {
            line: 1,
            offset: 0,
            raw: b"inert".to_vec(),
            cut: false,
            at_ms: Some(5),
            zone_assumed: false,
            layout: Layout::EpmmAccess,
            client: client.to_owned(),
            via: None,
            method: None,
            path: b"/".to_vec(),
            query_key: 0,
            status: None,
            bytes: Some(2),
            agent: None,
            user: None,
            rule,
            grade: Grade::Probed,
            others: vec![],
            deeper: false,
        }
    }

    #[test]
    fn a_flood_keeps_its_count_and_only_some_of_its_lines() {
        let mut h = Hits::default();
        for _ in 0..10_000 {
            h.push(hit("203.0.113.7", 1));
        }
        h.push(hit("203.0.113.8", 1));
        assert_eq!(h.lines.len() as u64, PER_CLIENT_RULE + 1);
        assert_eq!(h.counts[&("203.0.113.7".to_owned(), 1)].lines, 10_000);
        assert_eq!((h.total, h.uncited), (10_001, 10_000 - PER_CLIENT_RULE));
    }

    #[test]
    fn of_a_flood_over_days_each_day_keeps_some_of_its_lines_however_it_is_cut() {
        let day = |d: i64, n: usize| {
            std::iter::repeat_n(Hit { at_ms: Some(d * DAY_MS), ..hit("10.0.0.1", 1) }, n).enumerate()
        };
        let all: Vec<Hit> =
            (0..4).flat_map(|d| day(d, 500).map(|(i, h)| Hit { offset: i as u64, ..h })).collect();
        let mut whole = Hits::default();
        all.iter().cloned().for_each(|h| whole.push(h));
        let per_day =
            |h: &Hits, d: i64| h.lines.iter().filter(|l| l.at_ms == Some(d * DAY_MS)).count() as u64;
        assert_eq!((per_day(&whole, 0), per_day(&whole, 3)), (PER_CLIENT_RULE, PER_DAY));
        let mut joined = Hits::default();
        for part in all.chunks(333) {
            let mut h = Hits::default();
            part.iter().cloned().for_each(|l| h.push(l));
            joined.append(h, 0);
        }
        assert_eq!(whole.lines, joined.lines);
        assert_eq!((whole.total, whole.uncited), (joined.total, joined.uncited));
    }

    #[test]
    fn behind_a_proxy_a_line_of_another_user_agent_is_kept_however_late_it_comes_and_however_it_is_cut() {
        let like = |agent: &str| Hit { agent: Some(agent.into()), ..hit("10.0.0.1", 1) };
        let mut all = vec![like("scanner"); 3_000];
        all.insert(2_500, like("python-requests"));
        all.extend((0..3_000u64).map(|n| like(&format!("flood {n}"))));
        all.push(like("python-requests"));
        let number: Vec<Hit> = all.into_iter().zip(0..).map(|(h, offset)| Hit { offset, ..h }).collect();
        let mut whole = Hits::default();
        number.iter().cloned().for_each(|h| whole.push(h));
        assert!(whole.lines.iter().any(|h| h.offset == 2_500));
        assert!(whole.lines.len() <= PER_CLIENT_RULE as usize + AGENTS * usize::from(PER_AGENT));
        for size in [97, 1_500, 2_501] {
            let mut joined = Hits::default();
            for part in number.chunks(size) {
                let mut h = Hits::default();
                part.iter().cloned().for_each(|l| h.push(l));
                joined.append(h, 0);
            }
            assert_eq!(whole.lines, joined.lines, "{size}");
        }
    }

    #[test]
    fn when_a_grade_is_full_further_clients_cost_no_memory_but_their_count() {
        let mut h = Hits::default();
        for n in 0..PER_GRADE + 500 {
            h.push(hit(&format!("client {n}"), 1));
        }
        assert_eq!((h.lines.len(), h.kept.len(), h.kept_of_day.len()), (PER_GRADE, PER_GRADE, PER_GRADE));
        assert_eq!(h.counts.len(), PER_GRADE + 500);
    }

    #[test]
    fn appending_moves_line_numbers() {
        let (mut a, mut b) = (Hits::default(), Hits::default());
        a.push(hit("203.0.113.7", 1));
        b.push(hit("203.0.113.7", 1));
        a.append(b, 100);
        assert_eq!(a.lines.iter().map(|h| h.line).collect::<Vec<_>>(), vec![1, 101]);
    }
}
