//! A line as a rule sees it.

use std::borrow::Cow;

use super::Answer;
use crate::fold::Target;
use crate::line::{Field, Line, layout_has};

/// A parsed line with its folded target.
pub struct Event<'a> {
    /// The line.
    pub line: &'a Line<'a>,
    /// Its target, folded.
    pub target: &'a Target,
    /// The bytes as they stand in the log.
    pub raw: &'a [u8],
}

/// What a field holds.
pub(super) enum Values<'a> {
    /// The layout has no such field.
    NotInLayout,
    /// These values; none if the line has the field empty.
    These(Vec<Cow<'a, [u8]>>),
}

/// Names of fields that rules may use, besides `param.NAME` and a JSON field's name.
pub(super) const FIELDS: &[&str] = &[
    "cs-method",
    "cs-uri",
    "c-uri",
    "c-uri-stem",
    "c-uri-query",
    "c-uri-extension",
    "cs-host",
    "r-dns",
    "cs-uri-stem",
    "cs-uri-text",
    "cs-uri-query",
    "cs-uri-raw",
    "params",
    "sc-status",
    "sc-bytes",
    "c-ip",
    "src_ip",
    "cs-user-agent",
    "c-useragent",
    "cs-referer",
    "cs-referrer",
    "cs-username",
    "action",
    // Known to Sigma, and in no layout that is read here: never decided, and said so.
    "cs-cookie",
    "cs-bytes",
    "cs-version",
    "sc-substatus",
    "sc-win32-status",
    "s-ip",
    "s-port",
    "dst_ip",
    "dst_port",
    "time-taken",
];

impl<'a> Event<'a> {
    pub(super) fn values(&self, field: &str) -> Values<'a> {
        let (line, target) = (self.line, self.target);
        let one = |v: Option<&'a [u8]>| Values::These(v.map(Cow::Borrowed).into_iter().collect());
        let number = |v: Option<u64>| {
            Values::These(v.map(|n| Cow::Owned(n.to_string().into_bytes())).into_iter().collect())
        };
        match field {
            "cs-method" => one(line.method.as_deref()),
            "cs-cookie" | "cs-bytes" | "cs-version" | "sc-substatus" | "sc-win32-status" | "s-ip"
            | "s-port" | "dst_ip" | "dst_port" | "time-taken" => Values::NotInLayout,
            "cs-host" | "r-dns" => match line.target.as_deref().and_then(crate::fold::authority) {
                Some(host) => one(Some(host)),
                None => Values::NotInLayout,
            },
            "c-uri-extension" => {
                let name = target.stem.rsplit(|b| *b == b'/').next().unwrap_or_default();
                one(name.contains(&b'.').then(|| name.rsplit(|b| *b == b'.').next().unwrap_or_default()))
            }
            "cs-uri-stem" => one(line.target.is_some().then_some(target.stem.as_slice())),
            "cs-uri-text" => one(line.target.is_some().then_some(target.stem_text.as_slice())),
            "cs-uri-query" => one((!target.query.is_empty()).then_some(target.query.as_slice())),
            "cs-uri-raw" => one(line.target.as_deref()),
            "cs-uri" | "c-uri" => {
                let mut whole = target.stem.clone();
                if !target.query.is_empty() {
                    whole.push(b'?');
                    whole.extend_from_slice(&target.query);
                }
                Values::These(vec![Cow::Owned(whole)])
            }
            "params" => Values::These(
                target.params.iter().flat_map(|(n, v)| [n, v]).map(|v| Cow::Borrowed(v.as_slice())).collect(),
            ),
            "sc-status" if !layout_has(line.layout, Field::Status) => Values::NotInLayout,
            "sc-status" => match line.status {
                Some(s) => number(Some(u64::from(s))),
                // Cut lines and unknown layouts: nothing can be said.
                None => Values::NotInLayout,
            },
            "sc-bytes" => match line.bytes {
                Some(b) => number(Some(b)),
                None => Values::NotInLayout,
            },
            "c-ip" | "src_ip" => one(line.client().0),
            "cs-user-agent" | "c-useragent" if !layout_has(line.layout, Field::Agent) => Values::NotInLayout,
            "cs-user-agent" | "c-useragent" => one(line.agent.as_deref()),
            "cs-referer" | "cs-referrer" if !layout_has(line.layout, Field::Referer) => Values::NotInLayout,
            "cs-referer" | "cs-referrer" => one(line.referer.as_deref()),
            "cs-username" => one(line.user.as_deref()),
            f => match f.strip_prefix("param.") {
                Some(name) => Values::These(
                    target
                        .params
                        .iter()
                        .filter(|(n, _)| n == name.as_bytes())
                        .map(|(_, v)| Cow::Borrowed(v.as_slice()))
                        .collect(),
                ),
                None => Values::These(
                    line.extra
                        .iter()
                        .filter(|(n, _)| n == f)
                        .map(|(_, v)| Cow::Borrowed(v.as_slice()))
                        .collect(),
                ),
            },
        }
    }

    /// A field of an address as a foreign rule may mean it: as it stands in the log, decoded, and folded.
    pub(super) fn spellings(&self, field: &str) -> Values<'a> {
        let (line, target) = (self.line, self.target);
        let Some(raw) = line.target.as_deref() else { return Values::These(vec![]) };
        let at = raw.iter().position(|b| *b == b'?').unwrap_or(raw.len());
        let (path, query) = (raw.get(..at).unwrap_or_default(), raw.get(at + 1..).unwrap_or_default());
        let with_query = |path: &[u8], query: &[u8]| {
            let mut whole = path.to_vec();
            if !query.is_empty() {
                whole.push(b'?');
                whole.extend_from_slice(query);
            }
            Cow::Owned(whole)
        };
        let (stem, text, decoded) = (&target.stem, &target.stem_text, &target.query);
        let mut all: Vec<Cow<'a, [u8]>> = match field {
            "cs-uri-stem" | "c-uri-stem" => vec![path.into(), text.as_slice().into(), stem.as_slice().into()],
            "cs-uri-query" | "c-uri-query" => vec![query.into(), decoded.as_slice().into()],
            _ => vec![raw.into(), with_query(text, decoded), with_query(stem, decoded)],
        };
        all.retain(|v| !v.is_empty());
        all.dedup();
        Values::These(all)
    }

    pub(super) fn exists(&self, field: &str) -> Answer {
        match self.values(field) {
            Values::NotInLayout => Answer::Unknown,
            Values::These(v) => (!v.is_empty()).into(),
        }
    }
}
