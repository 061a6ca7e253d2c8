//! Which lines are worth parsing: a vector search over whole blocks.
//!
//! The block is lowered once, then searched for the rules' literals (all at
//! once, packed) and for percent signs whose code nobody needs to write
//! (`%66` for `f`), which is how a path is hidden. Everything else is never
//! looked at line by line.

use aho_corasick::packed;

/// File name endings of static assets, as they stand before a space, `?` or quote.
pub const ASSET_ENDINGS: &[&str] = &[
    ".css", ".js", ".png", ".gif", ".jpg", ".jpeg", ".svg", ".ico", ".txt", ".xml", ".json", ".html", ".zip",
    ".gz", ".tgz", ".tar", ".sql", ".7z", ".bak", ".log", ".csv", ".dat", ".bin", ".map", ".woff2", ".woff",
    ".ttf",
];

/// The compiled search.
#[derive(Debug)]
pub struct Prefilter {
    packed: Option<packed::Searcher>,
    /// Used when the literals are too many for the packed search.
    general: Option<aho_corasick::AhoCorasick>,
    literals: usize,
    every_line: bool,
}

impl Prefilter {
    /// `literals` in lower case; `words` are exact texts (addresses of indicators) too.
    pub fn new(literals: &[String], every_line: bool) -> Result<Self, String> {
        let wanted = literals.iter().map(String::as_str).chain([crate::line::HEADER_LITERAL]);
        let all: Vec<&str> = wanted.chain(ASSET_ENDINGS.iter().copied()).collect();
        let packed = packed::Config::new()
            .match_kind(packed::MatchKind::LeftmostFirst)
            .builder()
            .extend(all.iter().map(|s| s.as_bytes()))
            .build();
        let general = if packed.is_none() {
            let built = aho_corasick::AhoCorasick::builder()
                .match_kind(aho_corasick::MatchKind::LeftmostFirst)
                .build(all.iter().map(|s| s.as_bytes()))
                .map_err(|e| format!("too many literals: {e}"))?;
            Some(built)
        } else {
            None
        };
        Ok(Self { packed, general, literals: literals.len() + 1, every_line })
    }

    fn find_at(&self, low: &[u8], at: usize) -> Option<(usize, usize, usize)> {
        if let Some(p) = &self.packed {
            return p
                .find_in(low, (at..low.len()).into())
                .map(|m| (m.pattern().as_usize(), m.start(), m.end()));
        }
        let input = aho_corasick::Input::new(low).range(at..);
        self.general.as_ref()?.find(input).map(|m| (m.pattern().as_usize(), m.start(), m.end()))
    }

    /// Starts of candidate lines in `block` (whole lines), sorted, each once.
    /// `low` is the same block in lower case. `escapes`: JSON's `\u00NN` hides text too.
    pub fn candidates(
        &self,
        block: &[u8],
        low: &[u8],
        escapes: bool,
        every_line: bool,
        out: &mut Vec<Candidate>,
    ) {
        out.clear();
        if self.every_line || every_line {
            let mut start = 0;
            while start < block.len() {
                let end = line_end(block, start);
                out.push(Candidate { start, end, asset: None, hidden: true });
                start = end + 1;
            }
            return;
        }
        let mut at = 0;
        while let Some((pattern, start, end)) = self.find_at(low, at) {
            if pattern < self.literals {
                let (start, end) = (line_start(block, start), line_end(block, end));
                at = end;
                out.push(Candidate { start, end, asset: None, hidden: false });
            } else {
                at = end;
                if let Some(path_start) = asset_path(low, start, end) {
                    out.push(Candidate {
                        start: line_start(block, path_start),
                        end: line_end(block, end),
                        asset: Some((path_start, end)),
                        hidden: false,
                    });
                }
            }
        }
        hidden(block, b'%', hides, out);
        if escapes {
            hidden(block, b'\\', |after| after.starts_with(b"u00"), out);
        }
        // Several on one line: the one that may be anything looks at all of it, a literal's at the asset too.
        out.sort_by_key(|c| (c.start, !c.hidden, c.asset.is_some()));
        out.dedup_by_key(|c| c.start);
    }
}

/// A line to be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// First byte.
    pub start: usize,
    /// One past its last byte (the line feed's place).
    pub end: usize,
    /// Only because of a static asset under `/mifs/`: the path's range.
    pub asset: Option<(usize, usize)>,
    /// Letters of it may be hidden by an encoding, so that its literals need not stand in it.
    pub hidden: bool,
}

fn hidden(block: &[u8], sign: u8, is: impl Fn(&[u8]) -> bool, out: &mut Vec<Candidate>) {
    let mut at = 0;
    while let Some(i) = block.get(at..).and_then(|b| memchr::memchr(sign, b)) {
        let p = at + i;
        at = p + 1;
        if block.get(p + 1..).is_some_and(&is) {
            let c =
                Candidate { start: line_start(block, p), end: line_end(block, p), asset: None, hidden: true };
            at = c.end;
            out.push(c);
        }
    }
}

/// A percent code that a browser has no reason to write: letters, digits,
/// `-._~`, back slash, a percent sign (double encoding), overlong UTF-8, `%u00`.
fn hides(after: &[u8]) -> bool {
    let &[a, b, ..] = after else { return false };
    let low = b | 0x20;
    match a {
        b'2' => matches!(low, b'5' | b'd' | b'e') || b == b'5',
        b'3' => b.is_ascii_digit(),
        b'4' | b'6' => (b.is_ascii_digit() && b != b'0') || (b'a'..=b'f').contains(&low),
        b'5' => b.is_ascii_digit() || matches!(low, b'a' | b'c' | b'f'),
        b'7' => b.is_ascii_digit() || matches!(low, b'a' | b'e'),
        b'c' | b'C' => b == b'0' || b == b'1',
        b'e' | b'E' => b == b'0' && (after.starts_with(b"e0%8") || after.starts_with(b"E0%8")),
        b'u' | b'U' => b == b'0',
        _ => false,
    }
}

/// Start of the path if `low[start..end]` ends a path under `/mifs/`.
fn asset_path(low: &[u8], start: usize, end: usize) -> Option<usize> {
    if !matches!(low.get(end), Some(b' ' | b'?' | b'"' | b';' | b'#' | b'\t')) {
        return None;
    }
    let from = start.saturating_sub(512);
    let before = low.get(from..start)?;
    let space = from + memchr::memrchr3(b' ', b'"', b'\t', before)? + 1;
    let path = low.get(space..start)?;
    let path = path.strip_prefix(b"/").unwrap_or(path);
    (path.starts_with(b"/mifs/") || path.starts_with(b"mifs/")).then_some(space)
}

fn line_start(block: &[u8], at: usize) -> usize {
    block.get(..at).and_then(|b| memchr::memrchr(b'\n', b)).map_or(0, |i| i + 1)
}

fn line_end(block: &[u8], at: usize) -> usize {
    block.get(at..).and_then(|b| memchr::memchr(b'\n', b)).map_or(block.len(), |i| at + i)
}

/// Lowers `block` into `low` (same length); true if it holds a NUL byte.
pub fn lower(block: &[u8], low: &mut Vec<u8>) -> bool {
    low.clear();
    low.extend(block.iter().map(u8::to_ascii_lowercase));
    // Folded over small pieces so that it stays a vector operation.
    block.chunks(64).any(|c| c.iter().fold(0u8, |n, b| n | u8::from(*b == 0)) != 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fold::Target;
    use crate::line::parse_text;
    use crate::rules::RuleSet;
    use crate::sigma::Event;

    fn candidates(text: &str) -> Vec<Candidate> {
        let p = Prefilter::new(&RuleSet::embedded().unwrap().literals(), false).unwrap();
        let (mut low, mut out) = (Vec::new(), Vec::new());
        lower(text.as_bytes(), &mut low);
        p.candidates(text.as_bytes(), &low, false, false, &mut out);
        out
    }

    fn starts(text: &str) -> Vec<usize> {
        candidates(text).iter().map(|c| c.start).collect()
    }

    #[test]
    fn literals_hidden_letters_and_assets_are_candidates_and_plain_lines_are_not() {
        assert_eq!(starts("abc\nx FeatureUsage\ny %20%3a\nz %66eature\n"), vec![4, 28]);
        assert_eq!(starts("x \"GET /mifs/css/a.css HTTP\"\nx \"GET /other/a.css HTTP\"\n"), vec![0]);
        assert_eq!(starts("x %2e\nx %2E\nx %252e\nx %c0%af\nx %5C"), vec![0, 6, 12, 20, 29]);
        assert_eq!(starts("x %40 %26 %5B %7b\n"), Vec::<usize>::new());
    }

    #[test]
    fn the_packed_search_is_in_use() {
        let p = Prefilter::new(&RuleSet::embedded().unwrap().literals(), false).unwrap();
        assert!(p.packed.is_some());
    }

    /// Writes `text` with some letters percent-encoded `depth` times over.
    fn disguise(text: &str, which: &[bool], depth: u8) -> String {
        let mut out = String::new();
        for (i, c) in text.chars().enumerate() {
            if which.get(i).copied().unwrap_or(false) && c != '?' && c != '=' {
                let mut code = format!("%{:02x}", c as u32);
                for _ in 1..depth {
                    code = code.replace('%', "%25");
                }
                out.push_str(&code);
            } else {
                out.push(c);
            }
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]
        /// The promise of the two stages: what a rule would match, the first stage lets through.
        #[test]
        fn a_disguised_attack_that_a_rule_matches_is_a_candidate(
            which in proptest::collection::vec(any::<bool>(), 90), depth in 1u8..=3, pick in 0usize..5,
        ) {
            let target = [
                "/mifs/rs/api/v2/featureusage?format=${inert}",
                "/mifs/aad/api/v2/ping",
                "/mifs/asfV3/api/v2/ping",
                "/mifs/c/appstore/fob/3/5/sha256:`inert`/x.ipa",
                "/mifs/403.jsp?k=x",
            ][pick];
            let line = format!("203.0.113.7:1 - - 2025-05-16--03-01-36 \"GET {} HTTP/1.1\" 404 9 \"-\" \"UA\" 2\n", disguise(target, &which, depth));
            let parsed = parse_text(line.trim_end().as_bytes()).unwrap();
            let t = Target::fold(parsed.target.as_deref().unwrap());
            let set = RuleSet::embedded().unwrap();
            let event = Event { line: &parsed, target: &t, raw: line.as_bytes() };
            let j = set.judge(&event);
            prop_assert!(j.primary.is_some(), "{line}");
            let found = candidates(&line);
            prop_assert_eq!(found.iter().map(|c| c.start).collect::<Vec<_>>(), vec![0]);
            // Where no letter is hidden, the rules whose literals stand there are all that can match.
            if !found[0].hidden {
                prop_assert_eq!(set.judge_plain(&event, line.to_ascii_lowercase().as_bytes()), j);
            }
        }
    }
}
