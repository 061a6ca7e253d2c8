//! Paths and queries as the server would have understood them.
//!
//! A request target is decoded up to [`ROUNDS`] times (a proxy, the container
//! and the application may each decode once), and its path is folded: back
//! slashes become slashes, `;parameters` go, doubled slashes and dot segments
//! go, letters become small. Nothing here recurses and every output is at most
//! as long as its input.

/// How often a part is decoded before it is called unreadable.
pub const ROUNDS: u8 = 3;

/// Longest target that is looked at, in bytes; the rest is cut.
pub const MAX_TARGET_BYTES: usize = 256 * 1024;

/// Most query parameters that are looked at.
const MAX_PARAMS: usize = 512;

/// A folded request target. All text is bytes, since a log is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Path: decoded, folded, lower case, beginning with `/`.
    pub stem: Vec<u8>,
    /// Path decoded but neither folded nor lower-cased: exploit text is looked for here.
    pub stem_text: Vec<u8>,
    /// Whole query, decoded; empty if none.
    pub query: Vec<u8>,
    /// Parameters in their order: name (lower case) and value, decoded.
    pub params: Vec<(Vec<u8>, Vec<u8>)>,
    /// Most rounds of decoding that any part needed.
    pub rounds: u8,
    /// Something would still decode after [`ROUNDS`].
    pub deeper: bool,
    /// The path had capital letters where the folded one has small ones.
    pub case_folded: bool,
    /// The target was longer than [`MAX_TARGET_BYTES`].
    pub cut: bool,
}

impl Target {
    /// Folds a raw request target as it stands in a log.
    pub fn fold(raw: &[u8]) -> Self {
        let cut = raw.len() > MAX_TARGET_BYTES;
        let raw = raw.get(..MAX_TARGET_BYTES).unwrap_or(raw);
        let raw = without_authority(raw);
        let at = raw.iter().position(|b| *b == b'?');
        let (path, query) = match at {
            Some(i) => (raw.get(..i).unwrap_or_default(), raw.get(i + 1..).unwrap_or_default()),
            None => (raw, &[][..]),
        };
        let mut out = Self { cut, ..Self::default() };
        let text = out.decoded(path, false);
        // An encoded question mark that only a later decoder sees begins a query too.
        let (path_text, late_query) = match text.iter().position(|b| *b == b'?') {
            Some(i) if !path.contains(&b'?') => {
                (text.get(..i).unwrap_or_default().to_vec(), text.get(i + 1..).unwrap_or_default().to_vec())
            }
            _ => (text.clone(), Vec::new()),
        };
        let folded = fold_path(&path_text);
        out.stem = folded.to_ascii_lowercase();
        out.case_folded = out.stem != folded;
        out.stem_text = text;
        out.query = out.decoded(query, true);
        let mut params = Vec::new();
        for part in query.split(|b| *b == b'&').take(MAX_PARAMS) {
            out.push_param(part, &mut params);
        }
        if !late_query.is_empty() {
            for part in late_query.split(|b| *b == b'&').take(MAX_PARAMS) {
                out.push_param(part, &mut params);
            }
            if out.query.is_empty() {
                out.query = late_query;
            }
        }
        out.params = params;
        out
    }

    fn push_param(&mut self, part: &[u8], params: &mut Vec<(Vec<u8>, Vec<u8>)>) {
        if part.is_empty() {
            return;
        }
        let (name, value) = match part.iter().position(|b| *b == b'=') {
            Some(i) => (part.get(..i).unwrap_or_default(), part.get(i + 1..).unwrap_or_default()),
            None => (part, &[][..]),
        };
        let name = self.decoded(name, true).to_ascii_lowercase();
        let value = self.decoded(value, true);
        params.push((name, value));
    }

    /// Values of one parameter, name in lower case.
    pub fn param(&self, name: &[u8]) -> impl Iterator<Item = &[u8]> {
        self.params.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_slice())
    }

    fn decoded(&mut self, part: &[u8], plus: bool) -> Vec<u8> {
        let mut now: Vec<u8> = if plus {
            part.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect()
        } else {
            part.to_vec()
        };
        for round in 1..=ROUNDS {
            match decode_once(&now) {
                Some(next) => {
                    now = next;
                    self.rounds = self.rounds.max(round);
                }
                None => return now,
            }
        }
        if decode_once(&now).is_some() {
            self.deeper = true;
        }
        now
    }
}

/// `http://host/path` → `/path`.
pub(crate) fn without_authority(raw: &[u8]) -> &[u8] {
    let Some(at) = memchr::memmem::find(raw.get(..16).unwrap_or(raw), b"://") else { return raw };
    let rest = raw.get(at + 3..).unwrap_or_default();
    match rest.iter().position(|b| *b == b'/' || *b == b'?') {
        Some(i) => rest.get(i..).unwrap_or_default(),
        None => b"/",
    }
}

/// `http://host:8080/path` → `host`; `None` for a target that is only a path.
pub(crate) fn authority(raw: &[u8]) -> Option<&[u8]> {
    let at = memchr::memmem::find(raw.get(..16).unwrap_or(raw), b"://")?;
    let rest = raw.get(at + 3..)?;
    let host = rest.split(|b| matches!(*b, b'/' | b'?')).next()?;
    if host.starts_with(b"[") {
        return Some(crate::line::without_port(host));
    }
    host.split(|b| *b == b':').next()
}

/// One round of percent decoding; `None` when nothing decodes.
pub fn decode_once(part: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr(b'%', part)?;
    let mut out = Vec::with_capacity(part.len());
    let mut changed = false;
    let mut rest = part;
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            if let [a, b, after @ ..] = tail
                && let (Some(a), Some(b)) = (hex(*a), hex(*b))
            {
                // Overlong UTF-8 (0xC0/0xC1 and one more byte) is what old decoders took for ASCII.
                let byte = a * 16 + b;
                if (byte == 0xC0 || byte == 0xC1)
                    && let [b'%', c, d, later @ ..] = after
                    && let (Some(c), Some(d)) = (hex(*c), hex(*d))
                    && (c * 16 + d) & 0xC0 == 0x80
                {
                    out.push(((byte & 0x1F) << 6) | ((c * 16 + d) & 0x3F));
                    changed = true;
                    rest = later;
                    continue;
                }
                // The same in three bytes: 0xE0, 0x80 or 0x81, and one more.
                if byte == 0xE0
                    && let [b'%', b'8', high @ (b'0' | b'1'), b'%', e, f, later @ ..] = after
                    && let (Some(e), Some(f)) = (hex(*e), hex(*f))
                    && (e * 16 + f) & 0xC0 == 0x80
                {
                    out.push(((high & 1) << 6) | ((e * 16 + f) & 0x3F));
                    changed = true;
                    rest = later;
                    continue;
                }
                out.push(byte);
                changed = true;
                rest = after;
                continue;
            }
            if let [b'u' | b'U', b'0', b'0', a, b, after @ ..] = tail
                && let (Some(a), Some(b)) = (hex(*a), hex(*b))
            {
                out.push(a * 16 + b);
                changed = true;
                rest = after;
                continue;
            }
        }
        out.push(*first);
        rest = tail;
    }
    changed.then_some(out)
}

fn hex(b: u8) -> Option<u8> {
    char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

/// Back slashes, `;parameters`, doubled slashes and dot segments, as a servlet container folds them.
fn fold_path(path: &[u8]) -> Vec<u8> {
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut trailing = false;
    for segment in path.split(|b| *b == b'/' || *b == b'\\') {
        let bare = segment.split(|b| *b == b';').next().unwrap_or_default();
        let bare = bare.strip_suffix(b"\0").unwrap_or(bare);
        trailing = false;
        match bare {
            b"" | b"." => trailing = true,
            b".." => {
                segments.pop();
                trailing = true;
            }
            s => segments.push(s),
        }
    }
    let mut out = Vec::with_capacity(path.len() + 1);
    for s in &segments {
        out.push(b'/');
        out.extend_from_slice(s);
    }
    if trailing || out.is_empty() {
        out.push(b'/');
    }
    out
}

/// Bytes of a log as text that is lossless and inert (see [`crate::finding::Raw`]).
pub fn inert(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                ' '..='~' => out.push(c),
                c if is_plain_letter(c) => out.push(c),
                c => {
                    let mut buf = [0u8; 4];
                    for b in c.encode_utf8(&mut buf).bytes() {
                        let _ = write!(out, "\\x{b:02x}");
                    }
                }
            }
        }
        for b in chunk.invalid() {
            let _ = write!(out, "\\x{b:02x}");
        }
    }
    out
}

/// Letters and digits beyond ASCII; no controls, marks, format or bidirectional characters.
fn is_plain_letter(c: char) -> bool {
    c.is_alphanumeric() && !matches!(c, '\u{115F}' | '\u{1160}' | '\u{3164}' | '\u{FFA0}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stem(s: &str) -> String {
        String::from_utf8(Target::fold(s.as_bytes()).stem).unwrap()
    }

    #[test]
    fn slashes_dots_parameters_case_and_encodings_fold_to_one_path() {
        for s in [
            "/mifs/rs/api/v2/featureusage",
            "//mifs///rs/api/v2/featureusage",
            "/mifs/./rs/x/../api/v2/featureusage",
            "/mifs;jsessionid=1/rs/api;a=b/v2/featureusage;x",
            "/MIFS/rs/api/v2/FeatureUsage",
            "/mifs/rs/api/v2/%66eatureusage",
            "/mifs/rs/api/v2/%2566eatureusage",
            "/mifs/rs/api/v2/%252566eatureusage",
            "/mifs%2frs%5capi/v2/featureusage",
            "/mifs%c0%afrs/api/v2/featureusage",
            "/mifs%e0%80%afrs/api/v2/featureusage",
            "/mifs/rs/api/v2/featureusage%3fformat=x",
            "https://mdm.example.org/mifs/rs/api/v2/featureusage?format=csv",
            "\\mifs\\rs\\api\\v2\\featureusage",
        ] {
            assert_eq!(stem(s), "/mifs/rs/api/v2/featureusage", "{s}");
        }
        assert_eq!(stem("/../../a"), "/a");
        assert_eq!(stem(""), "/");
    }

    #[test]
    fn a_parameter_is_decoded_three_times_and_a_fourth_is_reported() {
        let t = Target::fold(b"/x?format=%252524%25257Binert%25257D");
        assert_eq!(t.param(b"format").collect::<Vec<_>>(), vec![b"${inert}".as_slice()]);
        assert_eq!((t.rounds, t.deeper), (3, false));
        assert!(Target::fold(b"/x?format=%25252524").deeper);
        let t = Target::fold(b"/x?Format=a+b&c");
        assert_eq!(t.params, vec![(b"format".to_vec(), b"a b".to_vec()), (b"c".to_vec(), vec![])]);
    }

    #[test]
    fn terminal_escapes_and_bidirectional_marks_become_inert_and_stay_lossless() {
        assert_eq!(inert(b"a\x1b[31m\\x\xff"), "a\\x1b[31m\\\\x\\xff");
        assert_eq!(inert("b\u{202e}c é".as_bytes()), "b\\xe2\\x80\\xaec é");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
        #[test]
        fn folding_anything_ends_and_never_grows(raw in proptest::collection::vec(any::<u8>(), 0..400)) {
            let t = Target::fold(&raw);
            prop_assert!(t.stem.len() <= raw.len() + 1);
            prop_assert!(t.stem.starts_with(b"/"));
            prop_assert!(memchr::memmem::find(&t.stem, b"//").is_none());
        }

        #[test]
        fn inert_text_has_no_control_character(raw in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(inert(&raw).chars().all(|c| !c.is_control()));
        }
    }
}
