//! A `--format` string in Apache's or nginx's notation.

use std::borrow::Cow;

use super::text::{is_address, number};
use super::{Line, without_port};
use crate::finding::Layout;
use crate::moment;

/// A compiled `--format` string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Vec<u8>),
    Field(What),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Peer,
    Time,
    Request,
    Method,
    Path,
    Query,
    Uri,
    Status,
    Bytes,
    Referer,
    Agent,
    Forwarded,
    User,
    Skip,
}

impl Format {
    /// Compiles a format; the error says which part isn't understood.
    pub fn compile(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let after = rest.get(c.len_utf8()..).unwrap_or_default();
            let (what, next) = match c {
                '%' if after.starts_with('%') => {
                    literal.push(b'%');
                    rest = after.get(1..).unwrap_or_default();
                    continue;
                }
                '%' => apache(after)?,
                '$' => nginx(after)?,
                '\\' if after.starts_with('"') => {
                    literal.push(b'"');
                    rest = after.get(1..).unwrap_or_default();
                    continue;
                }
                c => {
                    let mut buf = [0; 4];
                    literal.extend_from_slice(c.encode_utf8(&mut buf).as_bytes());
                    rest = after;
                    continue;
                }
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            } else if matches!(parts.last(), Some(Part::Field(_))) && what != What::Query {
                return Err(format!(
                    "two fields stand side by side near `{c}{after}`; nothing tells them apart"
                ));
            }
            parts.push(Part::Field(what));
            rest = next;
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        let has = |w: &[What]| parts.iter().any(|p| matches!(p, Part::Field(f) if w.contains(f)));
        if !has(&[What::Request, What::Path, What::Uri]) {
            return Err("the format names no request (%r, %U, $request, $request_uri)".into());
        }
        Ok(Self { parts })
    }

    /// Reads a line; `None` if it doesn't fit.
    pub fn parse<'a>(&self, bytes: &'a [u8]) -> Option<Line<'a>> {
        let mut rest = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let mut line = Line::empty(Layout::Custom);
        let (mut path, mut query): (Option<&[u8]>, Option<&[u8]>) = (None, None);
        let mut parts = self.parts.iter().peekable();
        while let Some(part) = parts.next() {
            match part {
                Part::Literal(l) => rest = rest.strip_prefix(l.as_slice())?,
                Part::Field(what) => {
                    let end = match parts.peek() {
                        // A list of forwarded addresses has the separator inside it.
                        Some(Part::Literal(l)) if *what == What::Forwarded => {
                            memchr::memmem::find_iter(rest, l)
                                .find(|i| !rest.get(..*i).is_some_and(|v| v.ends_with(b",")))?
                        }
                        Some(Part::Literal(l)) => memchr::memmem::find(rest, l)?,
                        Some(Part::Field(_)) => rest.iter().position(|b| *b == b'?').unwrap_or(
                            rest.iter().position(|b| *b == b' ' || *b == b'"').unwrap_or(rest.len()),
                        ),
                        None => rest.len(),
                    };
                    let value = rest.get(..end)?;
                    rest = rest.get(end..)?;
                    set(*what, value, &mut line, &mut path, &mut query);
                }
            }
        }
        if let Some(p) = path {
            let mut t = p.to_vec();
            if let Some(q) = query.filter(|q| !q.is_empty() && *q != b"-") {
                if !q.starts_with(b"?") {
                    t.push(b'?');
                }
                t.extend_from_slice(q);
            }
            line.target = Some(Cow::Owned(t));
        }
        Some(line)
    }
}

fn set<'a>(
    what: What,
    v: &'a [u8],
    line: &mut Line<'a>,
    path: &mut Option<&'a [u8]>,
    query: &mut Option<&'a [u8]>,
) {
    let some = || (v != b"-" && !v.is_empty()).then_some(Cow::Borrowed(v));
    match what {
        What::Peer => line.peer = Some(Cow::Borrowed(without_port(v))),
        What::Time => {
            let t = v.strip_prefix(b"[").unwrap_or(v);
            line.stamp =
                moment::apache(t).or_else(|| moment::epmm(t)).or_else(|| moment::iso(t)).or_else(|| {
                    number(t.split(|b| *b == b'.').next()?).and_then(|n| moment::unix(i64::try_from(n).ok()?))
                });
        }
        What::Request => {
            let mut words = v.splitn(2, |b| *b == b' ');
            line.method = words.next().map(Cow::Borrowed);
            if let Some(t) = words.next() {
                let t = match memchr::memrchr(b' ', t) {
                    Some(i) if t.get(i + 1..).is_some_and(|x| x.starts_with(b"HTTP/")) => {
                        t.get(..i).unwrap_or(t)
                    }
                    _ => t,
                };
                line.target = Some(Cow::Borrowed(t));
            }
        }
        What::Method => line.method = some(),
        What::Path => *path = Some(v),
        What::Query => *query = Some(v),
        What::Uri => line.target = Some(Cow::Borrowed(v)),
        What::Status => line.status = number(v).and_then(|n| u16::try_from(n).ok()),
        What::Bytes => line.bytes = if v == b"-" { Some(0) } else { number(v) },
        What::Referer => line.referer = some(),
        What::Agent => line.agent = some(),
        What::Forwarded => {
            line.forwarded = some()
                .filter(|f| is_address(without_port(f.split(|b| *b == b',').next().unwrap_or_default())));
        }
        What::User => line.user = some(),
        What::Skip => {}
    }
}

fn header(name: &str) -> What {
    match name.to_ascii_lowercase().as_str() {
        "referer" => What::Referer,
        "user-agent" => What::Agent,
        "x-forwarded-for" | "x-real-ip" | "true-client-ip" | "cf-connecting-ip" => What::Forwarded,
        _ => What::Skip,
    }
}

fn apache(after: &str) -> Result<(What, &str), String> {
    let rest = after.trim_start_matches(['>', '<']);
    if let Some(inner) = rest.strip_prefix('{') {
        let (name, tail) = inner.split_once('}').ok_or("`%{` without `}`")?;
        let kind = tail.chars().next().ok_or_else(|| format!("`%{{{name}}}` names no kind"))?;
        let what = match kind {
            'i' => header(name),
            't' => What::Time,
            'a' | 'h' => What::Peer,
            _ => What::Skip,
        };
        return Ok((what, tail.get(kind.len_utf8()..).unwrap_or_default()));
    }
    let c = rest.chars().next().ok_or("`%` at the end")?;
    let what = match c {
        'h' | 'a' => What::Peer,
        't' => What::Time,
        'r' => What::Request,
        'm' => What::Method,
        'U' => What::Path,
        'q' => What::Query,
        's' => What::Status,
        'b' | 'B' | 'O' => What::Bytes,
        'u' => What::User,
        c if c.is_ascii_alphabetic() => What::Skip,
        _ => return Err(format!("`%{c}` is not understood")),
    };
    Ok((what, rest.get(c.len_utf8()..).unwrap_or_default()))
}

fn nginx(after: &str) -> Result<(What, &str), String> {
    let n = after.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    let (name, rest) = (after.get(..n).unwrap_or_default(), after.get(n..).unwrap_or_default());
    let what = match name {
        "" => return Err("`$` without a name".into()),
        "remote_addr" => What::Peer,
        "time_local" | "time_iso8601" | "msec" => What::Time,
        "request" => What::Request,
        "request_method" => What::Method,
        "request_uri" => What::Uri,
        "uri" => What::Path,
        "args" | "query_string" => What::Query,
        "status" => What::Status,
        "body_bytes_sent" | "bytes_sent" => What::Bytes,
        "http_referer" => What::Referer,
        "http_user_agent" => What::Agent,
        "http_x_forwarded_for" | "http_x_real_ip" => What::Forwarded,
        "remote_user" => What::User,
        _ => What::Skip,
    };
    Ok((what, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_apache_format_with_a_forwarded_address_is_read() {
        let f = Format::compile(
            r#"%{X-Forwarded-For}i %h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i" %D"#,
        )
        .unwrap();
        let l = f
            .parse(br#"203.0.113.9, 10.0.0.1 10.0.0.2 - - [16/May/2025:03:01:36 +0100] "GET /p HTTP/1.1" 200 12 "-" "UA" 77"#)
            .unwrap();
        assert_eq!((l.status, l.bytes), (Some(200), Some(12)));
        assert!(l.stamp.is_some());
    }

    #[test]
    fn an_nginx_format_with_a_bar_is_read() {
        let f = Format::compile("$http_x_forwarded_for|$remote_addr|$time_iso8601|$request_method|$request_uri|$status|$body_bytes_sent").unwrap();
        let l = f.parse(b"203.0.113.9|10.0.0.2|2025-05-16T03:01:36+01:00|GET|/p?x=1|404|10").unwrap();
        assert_eq!(l.client().0, Some(b"203.0.113.9".as_slice()));
        assert_eq!(l.target.as_deref(), Some(b"/p?x=1".as_slice()));
        assert_eq!(f.parse(b"nothing like it"), None);
    }

    #[test]
    fn a_format_that_can_not_work_is_refused_with_a_reason() {
        assert!(Format::compile("%h %t %s").unwrap_err().contains("no request"));
        assert!(Format::compile("%h%t %r").unwrap_err().contains("side by side"));
        assert!(Format::compile("%r %{x").is_err());
    }
}
