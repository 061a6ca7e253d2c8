//! STIX 2.1, MISP JSON and CSV, read as a stream: a file of any size takes
//! no more memory than the indicators that are kept of it.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::IpAddr;
use std::path::Path;

use regex::Regex;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{Indicator, Indicators};
use crate::finding::{IndicatorKind, UnixMs};
use crate::moment::{self, Zone};

/// Longest value kept.
const MAX_VALUE_BYTES: usize = 4096;

/// What came of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadReport {
    /// Indicators taken.
    pub taken: usize,
    /// Indicators of a kind or form that can't be matched here.
    pub passed_over: usize,
    /// Why the file was read in part only.
    pub fault: Option<String>,
}

pub(super) fn file(into: &mut Indicators, path: &Path) -> std::io::Result<ReadReport> {
    let mut reader = BufReader::with_capacity(1 << 16, File::open(path)?);
    let name = path.file_name().map_or_else(String::new, |n| crate::fold::inert(n.as_encoded_bytes()));
    let head = reader.fill_buf()?;
    let json = head.trim_ascii_start().first().is_some_and(|b| matches!(b, b'{' | b'['))
        || head.starts_with(b"\xef\xbb\xbf{");
    let mut take = Take { into, report: ReadReport::default(), file: name, pattern: pattern() };
    if json {
        if reader.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
            reader.consume(3);
        }
        let mut de = serde_json::Deserializer::from_reader(reader);
        if let Err(e) = Walk(&mut take).deserialize(&mut de) {
            take.report.fault = Some(format!("not JSON to its end: {e}"));
        }
    } else {
        csv(&mut take, reader);
    }
    Ok(take.report)
}

fn pattern() -> Option<Regex> {
    Regex::new(
        r#"(?i)(ipv4-addr|ipv6-addr|domain-name|url|file|directory|network-traffic)\s*:\s*(value|name|path|hashes\.'?"?(?:MD5|SHA-?1|SHA-?256)'?"?|dst_ref\.value|src_ref\.value|extensions\.'http-request-ext'\.request_header\.'User-Agent')\s*=\s*'((?:[^'\\]|\\.)*)'"#,
    )
    .ok()
}

struct Take<'a> {
    into: &'a mut Indicators,
    report: ReadReport,
    file: String,
    pattern: Option<Regex>,
}

impl Take<'_> {
    fn one(&mut self, kind: IndicatorKind, value: &str, source: &str, dated_ms: Option<UnixMs>) {
        let value = value.trim();
        if value.is_empty() || value.len() > MAX_VALUE_BYTES {
            self.report.passed_over += 1;
            return;
        }
        let source = match source.trim() {
            "" => self.file.clone(),
            s => format!("{} ({})", crate::fold::inert(s.get(..200).unwrap_or(s).as_bytes()), self.file),
        };
        if self.into.add(Indicator { kind, value: value.to_owned(), source, dated_ms }) {
            self.report.taken += 1;
        } else {
            self.report.passed_over += 1;
            self.report.fault = Some(format!("only the first {} indicators are kept", super::MAX_INDICATORS));
        }
    }

    fn object(&mut self, o: &Object) {
        if o.kind == "indicator" && !o.pattern.is_empty() {
            let dated = o.valid_from.as_deref().or(o.modified.as_deref()).and_then(time);
            let found: Vec<(IndicatorKind, String)> = self
                .pattern
                .iter()
                .flat_map(|p| p.captures_iter(&o.pattern))
                .filter_map(|c| {
                    let (object, field) =
                        (c.get(1)?.as_str().to_ascii_lowercase(), c.get(2)?.as_str().to_ascii_lowercase());
                    let value = c.get(3)?.as_str().replace("\\'", "'").replace("\\\\", "\\");
                    Some((stix_kind(&object, &field)?, value))
                })
                .collect();
            if found.is_empty() {
                self.report.passed_over += 1;
            }
            for (kind, value) in found {
                self.one(kind, &value, &o.name, dated);
            }
        } else if !o.value.is_empty() && (o.category || o.to_ids.is_some()) {
            let dated = o
                .timestamp
                .as_deref()
                .and_then(|t| t.parse().ok())
                .and_then(moment::unix)
                .map(|s| s.civil_s * 1000);
            if o.to_ids == Some(false) {
                self.report.passed_over += 1;
                return;
            }
            let mut any = false;
            for (t, v) in o.kind.split('|').zip(o.value.split('|')) {
                if let Some(kind) = misp_kind(t) {
                    any = true;
                    self.one(kind, v, "MISP event", dated);
                }
            }
            self.report.passed_over += usize::from(!any);
        }
    }
}

fn time(text: &str) -> Option<UnixMs> {
    moment::typed(text, &Zone::parse("UTC")?)
}

fn stix_kind(object: &str, field: &str) -> Option<IndicatorKind> {
    Some(match (object, field) {
        ("ipv4-addr" | "ipv6-addr", "value") => IndicatorKind::Address,
        ("network-traffic", "dst_ref.value" | "src_ref.value") => IndicatorKind::Address,
        ("network-traffic", f) if f.contains("user-agent") => IndicatorKind::UserAgent,
        ("domain-name", "value") => IndicatorKind::Domain,
        ("url", "value") => IndicatorKind::Url,
        ("file", f) if f.starts_with("hashes") => IndicatorKind::FileHash,
        ("file", "name") | ("directory", "path") => IndicatorKind::FileName,
        _ => return None,
    })
}

fn misp_kind(t: &str) -> Option<IndicatorKind> {
    Some(match t {
        "ip-src" | "ip-dst" | "ip" => IndicatorKind::Address,
        "domain" | "hostname" => IndicatorKind::Domain,
        "url" | "uri" => IndicatorKind::Url,
        "md5" | "sha1" | "sha256" => IndicatorKind::FileHash,
        "filename" => IndicatorKind::FileName,
        "user-agent" => IndicatorKind::UserAgent,
        _ => return None,
    })
}

/// By its form; `None` for what is not clear.
fn kind_by_form(v: &str) -> Option<IndicatorKind> {
    if v.parse::<IpAddr>().is_ok() {
        return Some(IndicatorKind::Address);
    }
    if matches!(v.len(), 32 | 40 | 64) && v.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Some(IndicatorKind::FileHash);
    }
    if v.starts_with("http://") || v.starts_with("https://") || v.starts_with('/') {
        return Some(IndicatorKind::Url);
    }
    let domain = v.contains('.')
        && v.len() < 254
        && v.split('.').all(|l| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
    let tld =
        v.rsplit('.').next().is_some_and(|t| t.len() >= 2 && t.bytes().all(|b| b.is_ascii_alphabetic()));
    (domain && tld).then_some(IndicatorKind::Domain)
}

/// Places of value, type, source and date.
type Columns = (usize, Option<usize>, Option<usize>, Option<usize>);

fn csv(take: &mut Take<'_>, reader: impl Read) {
    let mut rows = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(reader);
    let mut columns: Option<Columns> = None;
    let mut record = csv::ByteRecord::new();
    let mut first = true;
    loop {
        match rows.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => return,
            Err(e) => {
                take.report.fault = Some(format!("not CSV to its end: {e}"));
                return;
            }
        }
        let cell = |i: usize| {
            record.get(i).map(|c| String::from_utf8_lossy(c).trim().to_owned()).unwrap_or_default()
        };
        if first {
            first = false;
            let names: Vec<String> = (0..record.len()).map(|i| cell(i).to_ascii_lowercase()).collect();
            let find = |words: &[&str]| names.iter().position(|n| words.contains(&n.as_str()));
            if let Some(v) = find(&[
                "value",
                "indicator",
                "ioc",
                "observable",
                "ip",
                "address",
                "hash",
                "sha256",
                "url",
                "domain",
            ]) {
                columns = Some((
                    v,
                    find(&["type", "kind", "indicator_type"]),
                    find(&["source", "reference", "publisher"]),
                    find(&["date", "first_seen", "valid_from", "last_seen", "published"]),
                ));
                continue;
            }
        }
        let (value, kind, source, date) = match columns {
            Some((v, k, s, d)) => (cell(v), k.map(cell), s.map(cell), d.map(cell)),
            None => (
                (0..record.len()).map(cell).find(|c| kind_by_form(c).is_some()).unwrap_or_default(),
                None,
                None,
                None,
            ),
        };
        let kind = kind.and_then(|k| misp_kind(&k.to_ascii_lowercase())).or_else(|| kind_by_form(&value));
        match kind {
            Some(k) => {
                take.one(k, &value, source.as_deref().unwrap_or_default(), date.as_deref().and_then(time))
            }
            None => take.report.passed_over += 1,
        }
    }
}

/// The few texts of a JSON object that matter, whatever the object is.
#[derive(Default)]
struct Object {
    kind: String,
    pattern: String,
    name: String,
    value: String,
    valid_from: Option<String>,
    modified: Option<String>,
    timestamp: Option<String>,
    to_ids: Option<bool>,
    category: bool,
}

/// Walks any JSON, showing each object to `Take` when it ends. serde_json bounds the depth.
struct Walk<'a, 'b>(&'a mut Take<'b>);

impl<'de> DeserializeSeed<'de> for Walk<'_, '_> {
    type Value = Scalar;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Scalar, D::Error> {
        d.deserialize_any(self)
    }
}

enum Scalar {
    Text(String),
    Bool(bool),
    Other,
}

impl<'de> Visitor<'de> for Walk<'_, '_> {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_str<E>(self, s: &str) -> Result<Scalar, E> {
        Ok(if s.len() <= 4 * MAX_VALUE_BYTES { Scalar::Text(s.to_owned()) } else { Scalar::Other })
    }

    fn visit_bool<E>(self, b: bool) -> Result<Scalar, E> {
        Ok(Scalar::Bool(b))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Scalar, E> {
        Ok(Scalar::Text(n.to_string()))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar, A::Error> {
        while seq.next_element_seed(Walk(&mut *self.0))?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        let mut o = Object::default();
        while let Some(key) = map.next_key::<String>()? {
            let v = map.next_value_seed(Walk(&mut *self.0))?;
            match (key.as_str(), v) {
                ("type", Scalar::Text(t)) => o.kind = t,
                ("pattern", Scalar::Text(t)) => o.pattern = t,
                ("name", Scalar::Text(t)) => o.name = t,
                ("value", Scalar::Text(t)) => o.value = t,
                ("valid_from", Scalar::Text(t)) => o.valid_from = Some(t),
                ("modified", Scalar::Text(t)) => o.modified = Some(t),
                ("timestamp", Scalar::Text(t)) => o.timestamp = Some(t),
                ("to_ids", Scalar::Bool(b)) => o.to_ids = Some(b),
                ("category", Scalar::Text(_)) => o.category = true,
                _ => {}
            }
        }
        self.0.object(&o);
        Ok(Scalar::Other)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(text: &str) -> (Indicators, ReadReport) {
        let mut f = tempfile::NamedTempFile::new().unwrap();
        f.write_all(text.as_bytes()).unwrap();
        let mut i = Indicators::default();
        let r = i.add_file(f.path()).unwrap();
        (i, r)
    }

    #[test]
    fn stix_misp_and_csv_give_the_same_address() {
        let stix = r#"{"type":"bundle","objects":[{"type":"indicator","name":"x","valid_from":"2025-05-20T00:00:00Z","pattern":"[ipv4-addr:value = '203.0.113.7'] OR [file:hashes.'SHA-256' = 'AA']"},{"type":"identity","name":"y"}]}"#;
        let misp = r#"{"Event":{"Attribute":[{"type":"ip-dst","category":"Network activity","value":"203.0.113.7","to_ids":true,"timestamp":"1747699200"},{"type":"comment","category":"x","value":"y","to_ids":true}]}}"#;
        let csv = "type,value,source,date\nip-src,203.0.113.7,somebody,2025-05-20\n";
        let bare = "203.0.113.7\nnonsense here\n";
        for (t, dated) in [(stix, true), (misp, true), (csv, true), (bare, false)] {
            let (i, r) = read(t);
            let one = i.list.iter().find(|x| x.value == "203.0.113.7").unwrap_or_else(|| panic!("{t}"));
            assert_eq!(one.kind, IndicatorKind::Address);
            assert_eq!(one.dated_ms, dated.then_some(1_747_699_200_000), "{t}");
            assert_eq!(r.fault, None);
        }
    }

    #[test]
    fn a_file_that_is_cut_gives_what_it_had_and_says_so() {
        let (i, r) = read(
            r#"{"type":"bundle","objects":[{"type":"indicator","pattern":"[url:value = 'https://a.example.org/x']"},{"ty"#,
        );
        assert_eq!((i.list.len(), r.taken), (1, 1));
        assert!(r.fault.unwrap().contains("not JSON"));
    }

    #[test]
    fn a_deep_file_is_refused_not_followed() {
        let (_, r) = read(&"[".repeat(1_000_000));
        assert!(r.fault.is_some());
    }
}
