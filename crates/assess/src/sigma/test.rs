//! Selections: tests of fields.

use std::net::IpAddr;

use regex::bytes::{Regex, RegexBuilder};
use serde_json::Value;

use super::event::{FIELDS, Values};
use super::rewrite::{self, Rewrite};
use super::{Answer, Event};

/// A compiled regex may take this many bytes.
const REGEX_BYTES: usize = 2 << 20;

/// A named selection of a detection.
#[derive(Clone, Debug)]
pub(super) enum Selection {
    /// Every test must hold.
    All(Vec<FieldTest>),
    /// Any of these groups.
    Any(Vec<Vec<FieldTest>>),
    /// Any (or all) of these texts stand somewhere in the line.
    Keywords { words: Vec<Want>, all: bool },
}

#[derive(Clone, Debug)]
pub(super) struct FieldTest {
    field: String,
    all: bool,
    /// The rule is another's: an address is compared as it stands, decoded and folded.
    spellings: bool,
    wants: Vec<Want>,
}

#[derive(Clone, Debug)]
pub(super) enum Want {
    Text { text: Vec<u8>, how: How, cased: bool },
    Regex(Regex),
    Number(fn(f64, f64) -> bool, f64),
    Network(IpAddr, u8),
    Exists(bool),
    Absent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Equals,
    Contains,
    Starts,
    Ends,
}

impl Selection {
    /// `builtin`: one of ours, whose addresses are the folded ones.
    pub(super) fn compile(v: &Value, builtin: bool) -> Result<Self, String> {
        match v {
            Value::Object(map) if map.len() == 1 && map.keys().all(|k| k.is_empty() || k == "|all") => {
                let all = map.contains_key("|all");
                keywords(map.values().next().unwrap_or(v), all)
            }
            Value::Object(map) => Ok(Self::All(
                map.iter().map(|(k, v)| FieldTest::compile(k, v, builtin)).collect::<Result<_, _>>()?,
            )),
            Value::Array(list) if list.iter().all(Value::is_object) && !list.is_empty() => {
                let groups = list.iter().map(|g| {
                    let map = g.as_object().ok_or("a group is not a map")?;
                    map.iter()
                        .map(|(k, v)| FieldTest::compile(k, v, builtin))
                        .collect::<Result<Vec<_>, String>>()
                });
                Ok(Self::Any(groups.collect::<Result<_, String>>()?))
            }
            Value::Array(_) | Value::String(_) | Value::Number(_) => keywords(v, false),
            _ => Err("a selection must be a map, a list or a text".into()),
        }
    }

    pub(super) fn answer(&self, e: &Event<'_>) -> Answer {
        match self {
            Self::All(tests) => Answer::all(tests.iter().map(|t| t.answer(e))),
            Self::Any(groups) => {
                Answer::any(groups.iter().map(|g| Answer::all(g.iter().map(|t| t.answer(e)))))
            }
            Self::Keywords { words, all } => {
                let (text, query) = (&e.target.stem_text, &e.target.query);
                let holds = |w: &Want| w.holds(e.raw) || w.holds(text) || w.holds(query);
                if *all { words.iter().all(holds) } else { words.iter().any(holds) }.into()
            }
        }
    }

    /// What an answer costs, roughly: a regular expression most.
    pub(super) fn cost(&self) -> u32 {
        match self {
            Self::All(tests) => tests.iter().map(FieldTest::cost).sum(),
            Self::Any(groups) => groups.iter().flatten().map(FieldTest::cost).sum(),
            Self::Keywords { words, .. } => words.iter().map(|w| 3 * w.cost()).sum(),
        }
    }

    /// Puts what costs least first; the answer is the same in any order.
    pub(super) fn order(&mut self) {
        match self {
            Self::All(tests) => tests.sort_by_key(FieldTest::cost),
            Self::Any(groups) => {
                groups.iter_mut().for_each(|g| g.sort_by_key(FieldTest::cost));
                groups.sort_by_key(|g| g.iter().map(FieldTest::cost).sum::<u32>());
            }
            Self::Keywords { .. } => {}
        }
    }

    pub(super) fn uses(&self, field: &str) -> bool {
        match self {
            Self::All(t) => t.iter().any(|t| t.field == field),
            Self::Any(g) => g.iter().flatten().any(|t| t.field == field),
            Self::Keywords { .. } => false,
        }
    }

    pub(super) fn literals(&self) -> Option<Vec<String>> {
        let best = |tests: &[FieldTest]| {
            tests
                .iter()
                .filter_map(FieldTest::literals)
                .max_by_key(|l| l.iter().map(String::len).min().unwrap_or(0))
        };
        match self {
            Self::All(tests) => best(tests),
            Self::Any(groups) => {
                let mut out = Vec::new();
                for g in groups {
                    out.extend(best(g)?);
                }
                Some(out)
            }
            Self::Keywords { words, all } => {
                let each = words.iter().map(Want::literal);
                if *all { each.flatten().max_by_key(String::len).map(|l| vec![l]) } else { each.collect() }
            }
        }
    }
}

/// Keywords: texts with wildcards, one or a list of them.
fn keywords(v: &Value, all: bool) -> Result<Selection, String> {
    let list = match v {
        Value::Array(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    let mut words = Vec::new();
    for word in list {
        let text = scalar(word).filter(|t| !t.is_empty()).ok_or("a keyword must be a text or a number")?;
        words.push(wildcard(&text, How::Contains, false)?);
    }
    if words.is_empty() {
        return Err("an empty list of keywords".into());
    }
    Ok(Selection::Keywords { words, all })
}

fn scalar(v: &Value) -> Option<String> {
    match v {
        Value::String(s) => Some(s.clone()),
        Value::Number(n) => Some(n.to_string()),
        Value::Bool(b) => Some(b.to_string()),
        _ => None,
    }
}

impl FieldTest {
    fn compile(key: &str, v: &Value, builtin: bool) -> Result<Self, String> {
        let mut parts = key.split('|');
        let field = parts.next().unwrap_or_default().to_owned();
        let known = FIELDS.contains(&field.as_str()) || field.starts_with("param.");
        if !known {
            return Err(format!("field `{field}` is not one that a web log has"));
        }
        let (mut how, mut cased, mut all, mut regex, mut compare, mut cidr, mut exists) =
            (How::Equals, false, false, None, None, false, false);
        let mut rewritten = Vec::new();
        for m in parts {
            match m {
                "contains" => how = How::Contains,
                "startswith" => how = How::Starts,
                "endswith" => how = How::Ends,
                "cased" => cased = true,
                "all" => all = true,
                "re" => regex = Some((false, false, false)),
                "i" if regex.is_some() => regex = regex.map(|(_, m, s)| (true, m, s)),
                "m" if regex.is_some() => regex = regex.map(|(i, _, s)| (i, true, s)),
                "s" if regex.is_some() => regex = regex.map(|(i, m, _)| (i, m, true)),
                "gt" => compare = Some((|a, b| a > b) as fn(f64, f64) -> bool),
                "gte" => compare = Some((|a, b| a >= b) as fn(f64, f64) -> bool),
                "lt" => compare = Some((|a, b| a < b) as fn(f64, f64) -> bool),
                "lte" => compare = Some((|a, b| a <= b) as fn(f64, f64) -> bool),
                "cidr" => cidr = true,
                "exists" => exists = true,
                "base64" => rewritten.push(Rewrite::Base64),
                "base64offset" => rewritten.push(Rewrite::Base64Offset),
                "wide" | "utf16le" => rewritten.push(Rewrite::Wide),
                "windash" => rewritten.push(Rewrite::Dashes),
                "fieldref" | "expand" => {
                    return Err(format!("modifier `{m}` needs more than one line of a log"));
                }
                other => return Err(format!("modifier `{other}` is not supported")),
            }
        }
        let values: Vec<&Value> = match v {
            Value::Array(list) => list.iter().collect(),
            one => vec![one],
        };
        let mut wants = Vec::new();
        for value in values {
            if value.is_null() {
                wants.push(Want::Absent);
                continue;
            }
            let text =
                scalar(value).ok_or_else(|| format!("`{key}` has a value that is no text or number"))?;
            wants.push(if let Some((i, m, s)) = regex {
                Want::Regex(build(&text, i, m, s)?)
            } else if let Some(f) = compare {
                Want::Number(f, text.parse().map_err(|_| format!("`{text}` is not a number"))?)
            } else if cidr {
                network(&text)?
            } else if exists {
                Want::Exists(text == "true")
            } else if rewritten.is_empty() {
                wildcard(&text, how, cased)?
            } else {
                if all && rewritten.iter().any(|r| !matches!(r, Rewrite::Base64 | Rewrite::Wide)) {
                    return Err(format!("`{key}`: `all` together with several spellings is not supported"));
                }
                wants.extend(rewrite::texts(&text, &rewritten)?.into_iter().map(|(text, exact)| {
                    let cased = cased || exact;
                    let text = if cased { text } else { text.to_ascii_lowercase() };
                    Want::Text { text, how, cased }
                }));
                continue;
            });
        }
        if wants.is_empty() {
            return Err(format!("`{key}` has no value"));
        }
        let spellings = !builtin
            && matches!(
                field.as_str(),
                "cs-uri-stem" | "c-uri-stem" | "cs-uri-query" | "c-uri-query" | "cs-uri" | "c-uri"
            );
        Ok(Self { field, all, spellings, wants })
    }

    fn cost(&self) -> u32 {
        self.wants.iter().map(Want::cost).sum()
    }

    fn answer(&self, e: &Event<'_>) -> Answer {
        if let [Want::Exists(want)] = self.wants.as_slice() {
            let there = e.exists(&self.field);
            return if *want { there } else { there.not() };
        }
        let values = match if self.spellings { e.spellings(&self.field) } else { e.values(&self.field) } {
            Values::NotInLayout => return Answer::Unknown,
            Values::These(v) => v,
        };
        let holds = |w: &Want| match w {
            Want::Absent => values.is_empty(),
            w => values.iter().any(|v| w.holds(v)),
        };
        if self.all { self.wants.iter().all(holds) } else { self.wants.iter().any(holds) }.into()
    }

    fn literals(&self) -> Option<Vec<String>> {
        if !self.field.starts_with("cs-")
            && !self.field.starts_with("param")
            && !self.field.starts_with("c-u")
            && self.field != "r-dns"
        {
            return None;
        }
        if matches!(self.field.as_str(), "cs-method" | "cs-username") {
            return None;
        }
        let each = self.wants.iter().map(Want::literal);
        if self.all { each.flatten().max_by_key(String::len).map(|l| vec![l]) } else { each.collect() }
    }
}

/// The longest part between characters that an encoding or folding may change.
fn longest_chunk(text: &[u8]) -> Option<String> {
    text.split(|b| !b.is_ascii_alphanumeric() && !matches!(b, b'.' | b'_' | b'-'))
        .filter(|c| c.len() >= 4)
        .max_by_key(|c| c.len())
        .map(|c| String::from_utf8_lossy(c).to_ascii_lowercase())
}

impl Want {
    /// A text that a line must hold for this to match, if one follows.
    fn literal(&self) -> Option<String> {
        match self {
            Self::Text { text, .. } => longest_chunk(text),
            _ => None,
        }
    }

    fn cost(&self) -> u32 {
        match self {
            Self::Regex(_) => 50,
            Self::Text { how: How::Contains, .. } => 10,
            Self::Text { .. } | Self::Number(..) | Self::Network(..) | Self::Exists(_) | Self::Absent => 1,
        }
    }

    fn holds(&self, v: &[u8]) -> bool {
        match self {
            Self::Regex(r) => r.is_match(v),
            Self::Number(f, want) => std::str::from_utf8(v)
                .ok()
                .and_then(|s| s.trim().parse().ok())
                .is_some_and(|n: f64| f(n, *want)),
            Self::Network(net, bits) => std::str::from_utf8(v)
                .ok()
                .and_then(|s| s.parse().ok())
                .is_some_and(|a: IpAddr| within(a, *net, *bits)),
            Self::Text { text, how, cased } => {
                let same = |part: Option<&[u8]>| {
                    part.is_some_and(|p| if *cased { p == text } else { p.eq_ignore_ascii_case(text) })
                };
                match how {
                    How::Equals => same(Some(v)),
                    How::Contains if *cased => memchr::memmem::find(v, text).is_some(),
                    How::Contains => memchr::memmem::find(&v.to_ascii_lowercase(), text).is_some(),
                    How::Starts => same(v.get(..text.len())),
                    How::Ends => same(v.len().checked_sub(text.len()).and_then(|at| v.get(at..))),
                }
            }
            Self::Exists(_) | Self::Absent => false,
        }
    }
}

fn build(text: &str, i: bool, m: bool, s: bool) -> Result<Regex, String> {
    RegexBuilder::new(text)
        .case_insensitive(i)
        .multi_line(m)
        .dot_matches_new_line(s)
        .unicode(false)
        .size_limit(REGEX_BYTES)
        .build()
        .map_err(|e| format!("the regular expression `{text}` can't be used: {e}"))
}

/// A Sigma text: `*` and `?` are wildcards, a backslash escapes them.
fn wildcard(text: &str, how: How, cased: bool) -> Result<Want, String> {
    let mut plain = Vec::new();
    let mut pattern = String::new();
    let mut wild = false;
    let mut chars = text.chars().peekable();
    let push = |c: char, plain: &mut Vec<u8>, pattern: &mut String| {
        let mut buf = [0; 4];
        let s = c.encode_utf8(&mut buf);
        plain.extend_from_slice(s.as_bytes());
        for b in s.bytes() {
            pattern.push_str(&format!("\\x{b:02x}"));
        }
    };
    while let Some(c) = chars.next() {
        match c {
            '\\' if matches!(chars.peek(), Some('*' | '?' | '\\')) => {
                push(chars.next().unwrap_or('\\'), &mut plain, &mut pattern);
            }
            '*' => {
                wild = true;
                pattern.push_str(".*");
            }
            '?' => {
                wild = true;
                pattern.push('.');
            }
            c => push(c, &mut plain, &mut pattern),
        }
    }
    if !wild {
        if !cased {
            plain.make_ascii_lowercase();
        }
        return Ok(Want::Text { text: plain, how, cased });
    }
    let pattern = match how {
        How::Equals => format!("^{pattern}$"),
        How::Contains => pattern,
        How::Starts => format!("^{pattern}"),
        How::Ends => format!("{pattern}$"),
    };
    Ok(Want::Regex(build(&pattern, !cased, false, true)?))
}

fn network(text: &str) -> Result<Want, String> {
    let (a, bits) = text.split_once('/').unwrap_or((text, ""));
    let net: IpAddr = a.parse().map_err(|_| format!("`{text}` is not a network"))?;
    let most = if net.is_ipv4() { 32 } else { 128 };
    let bits = if bits.is_empty() {
        most
    } else {
        bits.parse().map_err(|_| format!("`{text}` is not a network"))?
    };
    if bits > most {
        return Err(format!("`{text}` is not a network"));
    }
    Ok(Want::Network(net, bits))
}

fn within(a: IpAddr, net: IpAddr, bits: u8) -> bool {
    let shift = |len: u8| u32::from(len.saturating_sub(bits));
    match (a, net) {
        (IpAddr::V4(a), IpAddr::V4(n)) => {
            bits == 0 || u32::from(a) >> shift(32).min(31) == u32::from(n) >> shift(32).min(31)
        }
        (IpAddr::V6(a), IpAddr::V6(n)) => {
            bits == 0 || u128::from(a) >> shift(128).min(127) == u128::from(n) >> shift(128).min(127)
        }
        _ => false,
    }
}
