//! Which lines are worth parsing: a vector search over whole blocks.
//!
//! The block is lowered once, then searched for the rules' literals (all at
//! once, packed), for percent signs whose code nobody needs to write (`%66`
//! for `f`), which is how a path is hidden, and for static assets under
//! `/mifs/` that are not known well enough yet. Everything else is never
//! looked at line by line.

use aho_corasick::packed;

/// File name endings of static assets, as they stand before a space, `?` or quote.
fn is_ending(after_dot: &[u8]) -> bool {
    matches!(
        after_dot,
        b"css"
            | b"js"
            | b"png"
            | b"gif"
            | b"jpg"
            | b"jpeg"
            | b"svg"
            | b"ico"
            | b"txt"
            | b"xml"
            | b"json"
            | b"html"
            | b"zip"
            | b"gz"
            | b"tgz"
            | b"tar"
            | b"sql"
            | b"7z"
            | b"bak"
            | b"log"
            | b"csv"
            | b"dat"
            | b"bin"
            | b"map"
            | b"woff2"
            | b"woff"
            | b"ttf"
    )
}
/// The longest of them, with its dot.
const LONGEST_ENDING: usize = 6;
/// Where an asset's path begins, but for its slash.
const ROOT: &[u8] = b"mifs/";
/// Longest path of an asset that is looked at, beyond [`ROOT`].
const MAX_PATH_BYTES: usize = 512;

/// The compiled search.
#[derive(Debug)]
pub struct Prefilter {
    packed: Option<packed::Searcher>,
    /// Used when the literals are too many for the packed search.
    general: Option<aho_corasick::AhoCorasick>,
    root: memchr::memmem::Finder<'static>,
    every_line: bool,
}

/// How the lines of a block may hide their text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Look {
    /// JSON's `\u00NN` hides text too.
    pub escapes: bool,
    /// Each line is a candidate.
    pub every_line: bool,
}

impl Prefilter {
    /// `literals` in lower case; `words` are exact texts (addresses of indicators) too.
    pub fn new(literals: &[String], every_line: bool) -> Result<Self, String> {
        let all = || literals.iter().map(String::as_bytes).chain([crate::line::HEADER_LITERAL.as_bytes()]);
        let packed = packed::Config::new()
            .match_kind(packed::MatchKind::LeftmostFirst)
            .builder()
            .extend(all())
            .build();
        let general = if packed.is_none() {
            let built = aho_corasick::AhoCorasick::builder()
                .match_kind(aho_corasick::MatchKind::LeftmostFirst)
                .build(all())
                .map_err(|e| format!("too many literals: {e}"))?;
            Some(built)
        } else {
            None
        };
        Ok(Self { packed, general, root: memchr::memmem::Finder::new(ROOT), every_line })
    }

    fn find_at(&self, low: &[u8], at: usize) -> Option<(usize, usize)> {
        if let Some(p) = &self.packed {
            return p.find_in(low, (at..low.len()).into()).map(|m| (m.start(), m.end()));
        }
        let input = aho_corasick::Input::new(low).range(at..);
        self.general.as_ref()?.find(input).map(|m| (m.start(), m.end()))
    }

    /// Starts of candidate lines in `block` (whole lines), sorted, each once.
    /// `low` is the same block in lower case. `known`: this asset (its path in lower case) needs no
    /// further look.
    pub fn candidates(
        &self,
        block: &[u8],
        low: &[u8],
        how: Look,
        known: impl FnMut(&[u8]) -> bool,
        out: &mut Vec<Candidate>,
    ) {
        out.clear();
        if self.every_line || how.every_line {
            let mut start = 0;
            while start < block.len() {
                let end = line_end(block, start);
                out.push(Candidate { start, end, literal: start, asset: None, hidden: true });
                start = end + 1;
            }
            return;
        }
        let mut at = 0;
        while let Some((start, end)) = self.find_at(low, at) {
            let (first, last) = (line_start(block, start), line_end(block, end));
            at = last;
            out.push(Candidate { start: first, end: last, literal: start, asset: None, hidden: false });
        }
        self.assets(block, low, known, out);
        hidden(block, b'%', hides, out);
        if how.escapes {
            hidden(block, b'\\', |after| after.starts_with(b"u00"), out);
        }
        // Several on one line: the one that may be anything looks at all of it, a literal's at the asset too.
        out.sort_by_key(|c| (c.start, !c.hidden, c.asset.is_some()));
        out.dedup_by_key(|c| c.start);
    }

    /// Lines that ask for a static asset under `/mifs/`.
    fn assets(
        &self,
        block: &[u8],
        low: &[u8],
        mut known: impl FnMut(&[u8]) -> bool,
        out: &mut Vec<Candidate>,
    ) {
        for found in self.root.find_iter(low) {
            let Some(end) = asset_end(low, found + ROOT.len()) else { continue };
            let Some(start) = asset_start(low, found) else { continue };
            if !low.get(start..end).is_some_and(&mut known) {
                let (first, last) = (line_start(block, start), line_end(block, end));
                let asset = Some((start, end));
                out.push(Candidate { start: first, end: last, literal: last, asset, hidden: false });
            }
        }
    }
}

/// Whether a path (lower case) ends like a static asset.
pub fn is_asset(path: &[u8]) -> bool {
    let from = path.len().saturating_sub(LONGEST_ENDING);
    path.get(from..).and_then(|tail| tail.get(memchr::memrchr(b'.', tail)? + 1..)).is_some_and(is_ending)
}

/// Where the path begins in which [`ROOT`] was found: behind a space, tab or quote, or behind a method and
/// the server's address. A referrer, which has an address too, asks for nothing.
fn asset_start(low: &[u8], found: usize) -> Option<usize> {
    let start = match low.get(..found)? {
        [.., b'/'] => found - 1,
        _ => found,
    };
    let before = low.get(start.saturating_sub(MAX_PATH_BYTES)..start)?;
    if matches!(before, [.., b' ' | b'"' | b'\t']) {
        return Some(start);
    }
    let token = before.get(memchr::memrchr3(b' ', b'"', b'\t', before)?..)?;
    let behind_method = matches!(before.get(..before.len() - token.len())?, [.., b'a'..=b'z']);
    match token {
        [_, b'/', ..] => Some(start),
        [b' ', b'h', b't', b't', b'p', ..] if behind_method => Some(start),
        _ => None,
    }
}

/// Where the asset ends of whose path `low[at..]` is the rest; `None` if it is none.
fn asset_end(low: &[u8], at: usize) -> Option<usize> {
    let rest = low.get(at..)?;
    let rest = rest.get(..MAX_PATH_BYTES).unwrap_or(rest);
    let whole = rest.get(..memchr::memchr3(b' ', b'?', b'"', rest).unwrap_or(rest.len()))?;
    // Tab and `#` end a path too, a line feed all of it; behind `;` it may go on.
    let end = match memchr::memchr3(b'\t', b'#', b'\n', whole) {
        Some(i) if whole.get(i) == Some(&b'\n') => return None,
        Some(i) => i,
        None if whole.len() == rest.len() => return None,
        None => whole.len(),
    };
    let path = whole.get(..end)?;
    if is_asset(path) {
        return Some(at + end);
    }
    memchr::memchr_iter(b';', path).find(|e| path.get(..*e).is_some_and(is_asset)).map(|e| at + e)
}

/// A line to be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// First byte.
    pub start: usize,
    /// One past its last byte (the line feed's place).
    pub end: usize,
    /// No literal begins before this place, unless letters are hidden.
    pub literal: usize,
    /// Only because of a static asset under `/mifs/`: its path's range.
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
            let (start, end) = (line_start(block, p), line_end(block, p));
            at = end;
            out.push(Candidate { start, end, literal: start, asset: None, hidden: true });
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
    memchr::memchr(0, block).is_some()
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
        p.candidates(text.as_bytes(), &low, Look::default(), |_| false, &mut out);
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
    fn assets_are_found_in_any_layout_and_neither_behind_a_line_feed_nor_in_a_referrer() {
        let asset = |line: &str| {
            let low = line.to_ascii_lowercase();
            candidates(line).first().and_then(|c| c.asset).map(|(from, to)| low[from..to].to_owned())
        };
        for (line, path) in [
            ("1 \"GET /MIFS/css/A.css HTTP/1.1\" 200", "/mifs/css/a.css"),
            ("1 \"GET mifs/css/a.css HTTP/1.1\" 200", "mifs/css/a.css"),
            ("1 GET /mifs/css/a.css - 443", "/mifs/css/a.css"),
            ("1\tGET\t/mifs/css/a.css\t200", "/mifs/css/a.css"),
            ("1 \"GET /mifs/x.gz?y HTTP/1.1\" 200", "/mifs/x.gz"),
            ("1 \"GET /mifs/x.woff2#y HTTP/1.1\" 200", "/mifs/x.woff2"),
            ("1 \"GET /mifs/x.css;jsessionid=1 HTTP/1.1\" 200", "/mifs/x.css"),
            ("1 \"GET /mifs/x;a=1/y.css HTTP/1.1\" 200", "/mifs/x;a=1/y.css"),
            ("1 \"GET https://mdm.example.org:443/mifs/x.js HTTP/1.1\" 200", "/mifs/x.js"),
            ("1 \"GET /INERT/../mifs/x.js HTTP/1.1\" 200", "/mifs/x.js"),
            ("{\"url\":\"/mifs/x.js\"}", "/mifs/x.js"),
        ] {
            assert_eq!(asset(line).as_deref(), Some(path), "{line}");
        }
        for line in [
            "1 \"GET /x/mifs.css HTTP/1.1\" 200",
            "1 \"GET /mifs/user HTTP/1.1\" 200 1 \"https://mdm.example.org/mifs/index.html\" \"UA\"",
            "1 - /mifs/user\nx /other/y.css HTTP",
            "1 \"GET /mifs/x.cssx HTTP/1.1\" 200",
            "1 \"GET /mifs/css HTTP/1.1\" 200",
        ] {
            assert_eq!(asset(line), None, "{line}");
        }
    }

    #[test]
    fn an_asset_that_is_known_makes_no_candidate_and_a_literal_beside_it_does() {
        let p = Prefilter::new(&RuleSet::embedded().unwrap().literals(), false).unwrap();
        let text =
            "1 \"GET /mifs/a.css HTTP\"\n2 \"GET /mifs/b.css HTTP\"\n3 \"GET /mifs/a.css?featureusage\"\n";
        let mut out = Vec::new();
        p.candidates(text.as_bytes(), text.as_bytes(), Look::default(), |p| p == b"/mifs/a.css", &mut out);
        assert_eq!(
            out.iter().map(|c| (c.start, c.asset.is_some())).collect::<Vec<_>>(),
            [(25, true), (50, false)]
        );
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
