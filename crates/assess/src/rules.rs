//! The embedded rules, those of the user, and what they say about a line.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use aho_corasick::AhoCorasick;

use crate::finding::{Grade, NotAssessable};
use crate::line::Line;
use crate::sigma::{Answer, Event, Rule, parse_rules};

macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../rules/", $name, ".yml")))),*]
    };
}

/// Our own rules, by file name.
pub const EMBEDDED: &[(&str, &str)] = embedded![
    "epmm-2023-35078-answered",
    "epmm-2023-35078-data",
    "epmm-2023-35078-probe",
    "epmm-2023-35082-answered",
    "epmm-2023-35082-data",
    "epmm-2023-35082-probe",
    "epmm-2025-4427-probe",
    "epmm-2025-4428-attempt",
    "epmm-2025-4428-upload",
    "epmm-2026-1281-attempt",
    "epmm-2026-1281-malformed",
    "epmm-2026-1281-probe",
    "epmm-audit-new-administrator",
    "epmm-audit-wipe",
    "epmm-class-upload",
    "epmm-class-upload-refused",
    "epmm-loader-called",
    "epmm-loader-page",
    "epmm-loader-posted",
    "epmm-loader-refused",
    "epmm-staged-asked",
    "epmm-staged-fetched",
    "epmm-staged-present",
    "frp-tunnel",
    "frp-tunnel-open",
    "scanner-label",
    "sentry-2026-10520-attempt",
    "sentry-2026-10520-probe",
];

/// Largest number of rules, ours and the user's.
const MAX_RULES: usize = 5000;

/// A set of rules, in the order of their names.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    /// The rules.
    pub rules: Vec<Rule>,
    /// Rule files of the user that could not be used: file and reason.
    pub refused: Vec<(String, String)>,
    /// Names of rules for which every line must be looked at.
    pub costly: Vec<String>,
    sieve: Option<Sieve>,
}

/// Which rules a line without hidden letters can concern, by their literals.
#[derive(Clone, Debug)]
struct Sieve {
    search: AhoCorasick,
    /// For each literal, its rules.
    of: Vec<Vec<usize>>,
    /// Rules without literals.
    always: Vec<usize>,
}

impl Sieve {
    fn new(rules: &[Rule]) -> Option<Self> {
        let mut by: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut always = Vec::new();
        for (i, r) in rules.iter().enumerate() {
            match r.literals.as_deref() {
                None | Some([]) => always.push(i),
                Some(list) => list.iter().for_each(|l| by.entry(l).or_default().push(i)),
            }
        }
        let search = AhoCorasick::new(by.keys()).ok()?;
        Some(Self { search, of: by.into_values().collect(), always })
    }

    fn rules(&self, low: &[u8]) -> Vec<usize> {
        let mut all = self.always.clone();
        for m in self.search.find_overlapping_iter(low) {
            all.extend(self.of.get(m.pattern().as_usize()).into_iter().flatten());
        }
        all.sort_unstable();
        all.dedup();
        all
    }
}

impl RuleSet {
    /// Our rules alone.
    pub fn embedded() -> Result<Self, String> {
        let mut set = Self::default();
        for (name, text) in EMBEDDED {
            set.rules.extend(parse_rules(text, true).map_err(|e| format!("built-in rule {name}: {e}"))?);
        }
        set.rules.sort_by(|a, b| a.info.name.cmp(&b.info.name));
        set.sieve = Sieve::new(&set.rules);
        Ok(set)
    }

    /// Adds the `.yml` and `.yaml` files of a folder, or one file. What can't be used is noted, not fatal.
    pub fn add_folder(&mut self, path: &Path) -> std::io::Result<()> {
        let mut files = Vec::new();
        if path.is_dir() {
            for entry in fs::read_dir(path)? {
                let p = entry?.path();
                if p.extension().is_some_and(|e| e == "yml" || e == "yaml") {
                    files.push(p);
                }
            }
        } else {
            files.push(path.to_owned());
        }
        files.sort();
        for f in files {
            let name = crate::fold::inert(f.as_os_str().as_encoded_bytes());
            let read = fs::metadata(&f).and_then(|m| {
                if m.len() > 1 << 20 {
                    Err(std::io::Error::other("longer than 1 MiB"))
                } else {
                    fs::read_to_string(&f)
                }
            });
            match read.map_err(|e| e.to_string()).and_then(|t| parse_rules(&t, false)) {
                Ok(rules) if self.rules.len() + rules.len() <= MAX_RULES => {
                    for r in rules {
                        if r.literals.is_none() {
                            self.costly.push(r.info.title.clone());
                        }
                        self.rules.push(r);
                    }
                }
                Ok(_) => self.refused.push((name, format!("more than {MAX_RULES} rules"))),
                Err(e) => self.refused.push((name, e)),
            }
        }
        self.rules.sort_by(|a, b| (&a.info.name, &a.info.id).cmp(&(&b.info.name, &b.info.id)));
        self.sieve = Sieve::new(&self.rules);
        Ok(())
    }

    /// All literals, in lower case, sorted; a rule with an empty list adds none.
    pub fn literals(&self) -> Vec<String> {
        let mut all: Vec<String> =
            self.rules.iter().flat_map(|r| r.literals.clone().unwrap_or_default()).collect();
        all.sort();
        all.dedup();
        all
    }

    /// A rule without literals needs every line parsed.
    pub fn every_line(&self) -> bool {
        self.rules.iter().any(|r| r.literals.is_none())
    }

    /// Judges one line.
    pub fn judge(&self, event: &Event<'_>) -> Judgement {
        self.judge_by(event, 0..self.rules.len())
    }

    /// Judges a line in which no letter is hidden (see [`crate::scan::prefilter`]): only by rules one of
    /// whose literals stands in it. `low` is the line in lower case, perhaps only from its first literal on.
    pub fn judge_plain(&self, event: &Event<'_>, low: &[u8]) -> Judgement {
        match &self.sieve {
            Some(s) => self.judge_by(event, s.rules(low)),
            None => self.judge(event),
        }
    }

    fn judge_by(&self, event: &Event<'_>, rules: impl IntoIterator<Item = usize>) -> Judgement {
        let mut j = Judgement::default();
        for (i, r) in rules.into_iter().filter_map(|i| Some((i, self.rules.get(i)?))) {
            match r.detection.answer(event) {
                Answer::Yes => j.matched.push(i),
                Answer::Unknown => j.unknown.push(i),
                Answer::No => {}
            }
        }
        j.primary = j
            .matched
            .iter()
            .filter_map(|i| self.rules.get(*i).map(|r| (r.grade, r.order, *i)))
            .max_by_key(|(g, o, i)| (*g, *o, std::cmp::Reverse(*i)))
            .map(|(_, _, i)| i);
        j
    }

    /// The grade of a rule.
    pub fn grade(&self, rule: usize) -> Grade {
        self.rules.get(rule).map_or(Grade::NoTrace, |r| r.grade)
    }

    /// "Not assessable here" for a rule on a line's layout.
    pub fn not_assessable(&self, rule: usize, line: &Line<'_>) -> Option<NotAssessable> {
        let r = self.rules.get(rule)?;
        let lacks = if r.detection.uses("sc-status") && line.status.is_none() {
            "no status"
        } else {
            "not all fields"
        };
        Some(NotAssessable {
            rule: r.info.id.clone(),
            title: r.info.title.clone(),
            layout: Some(line.layout),
            why: format!(
                "A line that this rule may concern has {lacks}, so the rule can't be decided there."
            ),
        })
    }
}

/// What the rules say about one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Rules that matched.
    pub matched: Vec<usize>,
    /// Rules that the layout leaves open.
    pub unknown: Vec<usize>,
    /// The worst of the matched ones.
    pub primary: Option<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::Target;
    use crate::line::parse_text;

    /// Name of the rule that grades a request, with layout A.
    fn primary(method: &str, target: &str, status: u16, bytes: u64) -> Option<String> {
        let set = RuleSet::embedded().unwrap();
        let text = format!(
            r#"203.0.113.7:58224 - - 2025-05-16--03-01-36 "{method} {target} HTTP/1.1" {status} {bytes} "-" "UA" 2509"#
        );
        let line = parse_text(text.as_bytes()).unwrap();
        let t = Target::fold(line.target.as_deref().unwrap());
        let j = set.judge(&Event { line: &line, target: &t, raw: text.as_bytes() });
        j.primary.map(|i| set.rules[i].info.name.clone())
    }

    fn get(target: &str, status: u16, bytes: u64) -> String {
        primary("GET", target, status, bytes).unwrap_or_default()
    }

    #[test]
    fn every_embedded_rule_reads_and_all_files_of_the_folder_are_embedded() {
        let set = RuleSet::embedded().unwrap();
        assert_eq!(set.rules.len(), EMBEDDED.len());
        assert!(!set.every_line());
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
        assert_eq!(fs::read_dir(dir).unwrap().count(), EMBEDDED.len());
        let mut ids: Vec<_> = set.rules.iter().map(|r| r.info.id.clone()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), EMBEDDED.len(), "ids are unique");
    }

    #[test]
    fn the_routes_of_2023_are_graded_by_what_they_answered() {
        for alias in ["aad", "asfV3"] {
            assert!(get(&format!("/mifs/{alias}/api/v2/ping"), 401, 0).ends_with("-probe"));
            assert!(get(&format!("/mifs/{alias}/api/v2/ping"), 200, 91).ends_with("-answered"));
            assert!(
                get(&format!("/mifs//{alias}/api/v2/authorized/users?adminDeviceSpaceId=1"), 200, 9000)
                    .ends_with("-data")
            );
        }
        assert_eq!(get("/mifs/rs/api/v2/ping", 200, 91), "");
    }

    #[test]
    fn the_route_of_2025_needs_an_odd_format_and_exploit_text_is_seen_through_encodings() {
        let p = "/mifs/rs/api/v2/featureusage";
        assert_eq!(get(&format!("{p}?format=csv"), 200, 100), "");
        assert_eq!(get(&format!("{p}?format=JSON"), 401, 100), "");
        assert_eq!(get(p, 401, 0), "");
        assert_eq!(get(&format!("{p}?format=xx"), 400, 168), "epmm-2025-4427-probe");
        for t in [
            "/mifs/rs/api/v2/featureusage?format=${inert}",
            "/rs/api/v2/featureusage_history?format=%24%7Binert%7D",
            "/api/v2/featureusage?format=%2524%257Binert%257D",
            "//MIFS/rs;x=y/api/v2/%66eatureusage_history/?FORMAT=%252523%25257Binert",
            "/mifs/rs/api/v2/featureusage/%24%7binert%7d",
        ] {
            assert_eq!(get(t, 400, 168), "epmm-2025-4428-attempt", "{t}");
        }
        assert_eq!(get("/shop/featureusage?format=${inert}", 200, 1), "");
        let chunk = "QUJD".repeat(40);
        assert_eq!(get(&format!("{p}?format={chunk}"), 400, 168), "epmm-2025-4428-upload");
    }

    #[test]
    fn an_app_link_of_2026_is_graded_by_its_text_and_a_good_download_is_silent() {
        let good = format!("/mifs/c/appstore/fob/3/17/sha256:{}/app.ipa", "0a".repeat(32));
        let signed =
            "/mifs/c/appstore/fob/3/17/sha256:kid=1,st=1769700000,et=1769703600,h=0a1b2c/My%20App%20(2).ipa";
        for ok in [good.as_str(), signed] {
            assert_eq!(get(ok, 200, 91404), "");
            assert_eq!(get(ok, 206, 5), "");
            assert_eq!(get(ok, 404, 91404), "epmm-2026-1281-probe");
        }
        assert_eq!(get("/mifs/c/aftstore/fob/3/5/sha256:INERT-SAMPLE/x.ipa", 404, 9), "epmm-2026-1281-probe");
        assert_eq!(
            get("/mifs/c/aftstore/fob/3/5/sha256:kid=1,st=inert,et=1,h=x/x.ipa", 404, 9),
            "epmm-2026-1281-malformed"
        );
        for slash in [";a=b/", "%5c", "%2F", "/x/../"] {
            assert_eq!(
                get(&format!("/mifs/c/appstore/fob{slash}3/5/sha256:kid=1,st=inert,et=1,h=x/x.ipa"), 404, 9),
                "epmm-2026-1281-malformed",
                "{slash}"
            );
        }
        for t in ["a%60inert%60b", "%24(inert)", "gPath%5Binert%5D,x=gpath%5B", "h=gPath%5Binert"] {
            assert_eq!(
                get(&format!("/mifs/c/appstore//fob/3/5/sha256:{t}/x.ipa"), 404, 9),
                "epmm-2026-1281-attempt",
                "{t}"
            );
        }
        assert_eq!(get("/mifs/c/appstore/list", 404, 9), "");
    }

    #[test]
    fn loaders_staged_dumps_and_sentry_are_graded() {
        assert_eq!(get("/mifs/403.jsp", 200, 5), "epmm-loader-page");
        assert_eq!(get("/mifs/403.jsp?k0=x", 200, 5), "epmm-loader-called");
        assert_eq!(get("/mifs/403.jsp?k0=x", 404, 5), "epmm-loader-refused");
        assert_eq!(get("/mifs/a.jsp?x=yv66vgAAinert", 200, 5), "epmm-class-upload");
        assert_eq!(get("/shop/a.jsp?x=yv66vgAAinert", 200, 5), "");
        assert_eq!(get("/mifs/css/mibasecss12.css", 200, 9_000_000), "epmm-staged-fetched");
        assert_eq!(get("/mifs/css/mibasecss.css", 404, 9), "epmm-staged-asked");
        assert_eq!(primary("HEAD", "/mifs/css/mibasecss.css", 200, 0).unwrap(), "epmm-staged-present");
        let s = "/mics/api/v2/sentry/mics-config/handleMessage";
        assert_eq!(primary("POST", s, 200, 9).unwrap(), "sentry-2026-10520-probe");
        assert_eq!(get(&format!("{s}?message=execute%20inert"), 200, 9), "sentry-2026-10520-attempt");
    }

    #[test]
    fn ordinary_lines_of_other_products_say_nothing() {
        for t in [
            "/",
            "/wp-login.php",
            "/wp-content/plugins/x/${jndi:inert}",
            "/api/v2/users?format=${x}",
            "/index.php?q=%24%7Bx%7D",
            "/mifs/services/x",
            "/mifs/user/login.jsp",
            "/css/mibasecss.css",
            "/foo/fob/bar",
            "/a/aad/api/v2/x",
            "/403.jsp?k=1",
        ] {
            assert_eq!(get(t, 404, 9), "", "{t}");
            assert_eq!(get(t, 200, 9), "", "{t}");
        }
    }
}
