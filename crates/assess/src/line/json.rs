//! JSON lines of a SIEM export, with a field map; Sentry's audit log.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::text::is_address;
use super::{Line, without_port};
use crate::finding::Layout;
use crate::moment::{self, Stamp};

/// Which JSON field holds what. Names may be dotted paths; the first that is there wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldMap {
    names: BTreeMap<&'static str, Vec<String>>,
}

const DEFAULTS: &[(&str, &[&str])] = &[
    (
        "time",
        &[
            "@timestamp",
            "timestamp",
            "time",
            "_time",
            "datetime",
            "date_time",
            "event.created",
            "TimeGenerated",
            "eventTime",
            "ts",
            "publishTime",
            "EdgeStartTimestamp",
            "deviceReceiptTime",
            "rt",
            "StartUTC",
            "timeStamp",
            // nginx's own variables, as they are named in many a log_format.
            "time_local",
            "time_iso8601",
            "msec",
        ],
    ),
    (
        "client",
        &[
            "client",
            "client.ip",
            "c-ip",
            "client_ip",
            "clientip",
            "clientIp",
            "ClientIP",
            "source.ip",
            "src_ip",
            "src",
            "sourceAddress",
            "remote_addr",
            "remoteAddr",
            "remote_ip",
            "clientHost",
            "srcip",
            "source.address",
            "request.client_ip",
            "request.remote_ip",
            "httpRequest.clientIp",
            "httpRequest.remoteIp",
            "properties.clientIP",
            "ClientHost",
        ],
    ),
    (
        "forwarded",
        &["forwardedFor", "x_forwarded_for", "xff", "http_x_forwarded_for", "X-Forwarded-For", "forwarded"],
    ),
    (
        "method",
        &[
            "method",
            "cs-method",
            "http.request.method",
            "httpMethod",
            "http_method",
            "request_method",
            "verb",
            "requestMethod",
            "ClientRequestMethod",
            "request.method",
            "httpRequest.httpMethod",
            "httpRequest.requestMethod",
            "properties.httpMethod",
            "RequestMethod",
        ],
    ),
    (
        "url",
        &[
            "url.original",
            "requestUrl",
            "request_uri",
            "uri",
            "url",
            "cs-uri",
            "http.url",
            "request_url",
            "requestUri",
            "ClientRequestURI",
            "path",
            "url.path",
            "cs-uri-stem",
            "uri_path",
            "request.uri",
            "httpRequest.requestUrl",
            "httpRequest.uri",
            "properties.requestUri",
            "RequestPath",
        ],
    ),
    (
        "query",
        &[
            "url.query",
            "cs-uri-query",
            "uri_query",
            "query_string",
            "args",
            "query",
            "httpRequest.args",
            "properties.requestQuery",
        ],
    ),
    ("request", &["request", "http.request", "request_line"]),
    (
        "status",
        &[
            "status",
            "sc-status",
            "http.response.status_code",
            "status_code",
            "response",
            "http_status",
            "statusCode",
            "EdgeResponseStatus",
            "responseCode",
            "httpRequest.status",
            "properties.httpStatus",
            "DownstreamStatus",
        ],
    ),
    (
        "bytes",
        &[
            "bytes",
            "sc-bytes",
            "http.response.bytes",
            "http.response.body.bytes",
            "body_bytes_sent",
            "bytes_out",
            "bytes_sent",
            "response_size",
            "EdgeResponseBytes",
            "size",
            "httpRequest.responseSize",
            "properties.sentBytes",
            "DownstreamContentSize",
        ],
    ),
    (
        "agent",
        &[
            "user_agent.original",
            "user_agent",
            "userAgent",
            "cs-user-agent",
            "cs(User-Agent)",
            "agent",
            "http_user_agent",
            "ClientRequestUserAgent",
            "request.headers.User-Agent",
            "httpRequest.userAgent",
            "properties.userAgent",
        ],
    ),
    ("referer", &["http.request.referrer", "referer", "referrer", "cs-referer", "http_referer"]),
    ("user", &["user.name", "userID", "user", "username", "cs-username", "suser"]),
    ("action", &["action", "event.action", "entryType", "message_type", "actionType", "Action"]),
    ("line", &["event.original", "_raw", "raw", "message", "msg", "log", "line"]),
];

impl Default for FieldMap {
    fn default() -> Self {
        let names = DEFAULTS.iter().map(|(k, v)| (*k, v.iter().map(|s| (*s).to_owned()).collect())).collect();
        Self { names }
    }
}

impl FieldMap {
    /// Adds `client=src,url=http.target`: these names are then tried first.
    pub fn extend(&mut self, text: &str) -> Result<(), String> {
        for pair in text.split(',').filter(|p| !p.trim().is_empty()) {
            let (field, name) =
                pair.split_once('=').ok_or_else(|| format!("`{pair}` is not `field=json_name`"))?;
            let known: Vec<&str> = self.names.keys().copied().collect();
            let list = self
                .names
                .get_mut(field.trim())
                .ok_or_else(|| format!("unknown field `{}`; known: {}", field.trim(), known.join(", ")))?;
            list.insert(0, name.trim().to_owned());
        }
        Ok(())
    }

    /// The first name that holds something: `client` may be an object whose `ip` is what is meant.
    fn find<'v>(&self, field: &str, v: &'v Value) -> Option<&'v Value> {
        self.names.get(field)?.iter().filter_map(|n| lookup(v, n)).find(|x| !x.is_null() && !x.is_object())
    }

    fn text(&self, field: &str, v: &Value) -> Option<Vec<u8>> {
        match self.find(field, v)? {
            Value::String(s) if s.is_empty() || s == "-" => None,
            Value::String(s) => Some(s.as_bytes().to_vec()),
            Value::Number(n) => Some(n.to_string().into_bytes()),
            Value::Array(a) => {
                Some(a.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ").into_bytes())
            }
            _ => None,
        }
    }

    fn number(&self, field: &str, v: &Value) -> Option<u64> {
        let n = self.find(field, v)?;
        n.as_u64().or_else(|| n.as_str().and_then(|s| s.trim().parse().ok()))
    }
}

/// A key as it stands, else as a dotted path (at most 8 deep).
fn lookup<'v>(v: &'v Value, name: &str) -> Option<&'v Value> {
    if let Some(x) = v.get(name) {
        return Some(x);
    }
    if !name.contains('.') {
        return None;
    }
    let mut at = v;
    for part in name.split('.').take(8) {
        at = at.get(part)?;
    }
    Some(at)
}

/// Reads one JSON object; `None` if it is none or holds nothing of a request.
pub fn parse(bytes: &[u8], map: &FieldMap) -> Option<Line<'static>> {
    // serde_json bounds its own recursion (128).
    let v: Value = serde_json::from_slice(bytes).ok()?;
    let v = v.get("result").filter(|r| r.is_object()).unwrap_or(&v);
    let v = v.get("_source").filter(|r| r.is_object()).unwrap_or(v);
    v.as_object()?;
    let sentry =
        ["useCaseID", "entryType", "requestUrl"].iter().filter(|k| v.get(**k).is_some()).count() >= 2;
    let mut line = Line::empty(if sentry { Layout::SentryAudit } else { Layout::Json });
    fill(v, map, &mut line);
    if line.target.is_none()
        && let Some(raw) = map.text("line", v)
        && let Some(inner) = super::parse_text(&raw)
    {
        // A whole line was exported: it says more than the fields around it.
        let stamp = inner.stamp.or(line.stamp);
        let mut own = owned(inner);
        own.stamp = stamp;
        own.forwarded = own.forwarded.or(line.forwarded);
        return Some(own);
    }
    if line.target.is_none() && line.extra.is_empty() {
        return None;
    }
    Some(line)
}

fn fill(v: &Value, map: &FieldMap, line: &mut Line<'static>) {
    line.stamp = map.find("time", v).and_then(stamp);
    line.peer = map.text("client", v).map(|p| Cow::Owned(without_port(&p).to_vec()));
    line.forwarded = map
        .text("forwarded", v)
        .filter(|f| is_address(without_port(f.split(|b| *b == b',').next().unwrap_or_default().trim_ascii())))
        .map(Cow::Owned);
    line.method = map.text("method", v).map(Cow::Owned);
    line.status = map.number("status", v).and_then(|n| u16::try_from(n).ok());
    line.bytes = map.number("bytes", v);
    line.agent = map.text("agent", v).map(Cow::Owned);
    line.referer = map.text("referer", v).map(Cow::Owned);
    line.user = map.text("user", v).map(Cow::Owned);
    if let Some(action) = map.text("action", v) {
        line.extra.push(("action".into(), action));
    }
    let mut target = map.text("url", v).filter(|u| u.contains(&b'/'));
    if let (Some(t), Some(q)) = (&mut target, map.text("query", v))
        && !t.contains(&b'?')
    {
        t.push(b'?');
        t.extend_from_slice(q.strip_prefix(b"?").unwrap_or(&q));
    }
    if target.is_none()
        && let Some(request) = map.text("request", v)
    {
        let mut words = request.split(|b| *b == b' ').filter(|w| !w.is_empty());
        match (words.next(), words.next()) {
            (Some(m), Some(t)) => {
                line.method = Some(Cow::Owned(m.to_vec()));
                target = Some(t.to_vec());
            }
            (Some(t), None) if t.starts_with(b"/") => target = Some(t.to_vec()),
            _ => {}
        }
    }
    line.target = target.map(Cow::Owned);
}

fn stamp(v: &Value) -> Option<Stamp> {
    if let Some(n) = v.as_i64() {
        return moment::unix(n);
    }
    if let Some(f) = v.as_f64() {
        // Seconds with a fraction; beyond i64 it is no time.
        return (f.is_finite() && (0.0..1e15).contains(&f)).then(|| moment::unix(f as i64)).flatten();
    }
    let s = v.as_str()?.trim().as_bytes();
    moment::iso(s)
        .or_else(|| moment::apache(s.strip_prefix(b"[").unwrap_or(s)))
        .or_else(|| moment::epmm(s))
        .or_else(|| {
            std::str::from_utf8(s).ok()?.split('.').next()?.parse::<i64>().ok().and_then(moment::unix)
        })
}

fn owned(l: Line<'_>) -> Line<'static> {
    let own = |c: Option<Cow<'_, [u8]>>| c.map(|c| Cow::Owned(c.into_owned()));
    Line {
        layout: l.layout,
        stamp: l.stamp,
        peer: own(l.peer),
        forwarded: own(l.forwarded),
        method: own(l.method),
        target: own(l.target),
        status: l.status,
        bytes: l.bytes,
        referer: own(l.referer),
        agent: own(l.agent),
        user: own(l.user),
        extra: l.extra,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(s: &str) -> Line<'static> {
        parse(s.as_bytes(), &FieldMap::default()).unwrap()
    }

    #[test]
    fn flat_nested_and_raw_exports_give_the_same_request() {
        for s in [
            r#"{"timestamp":"2025-05-16T02:01:36Z","src_ip":"203.0.113.7","method":"GET","uri":"/p?a=1","status":400,"bytes":"168"}"#,
            r#"{"@timestamp":"2025-05-16T02:01:36.000Z","source":{"ip":"203.0.113.7"},"http":{"request":{"method":"GET"},"response":{"status_code":400,"bytes":168}},"url":{"original":"/p?a=1"}}"#,
            r#"{"@timestamp":"2025-05-16T02:01:36.000Z","client":{"ip":"203.0.113.7"},"http":{"request":{"method":"GET"},"response":{"status_code":400,"bytes":168}},"url":{"original":"/p?a=1"}}"#,
            r#"{"result":{"_time":"2025-05-16T03:01:36+01:00","_raw":"203.0.113.7 - - [16/May/2025:03:01:36 +0100] \"GET /p?a=1 HTTP/1.1\" 400 168"}}"#,
            // Caddy, Google's and Azure's load balancers, AWS WAF (whose status is not in this place), Traefik.
            r#"{"ts":1747360896.25,"request":{"remote_ip":"10.0.0.1","client_ip":"203.0.113.7","method":"GET","uri":"/p?a=1"},"size":168,"status":400}"#,
            r#"{"timestamp":"2025-05-16T02:01:36Z","httpRequest":{"remoteIp":"203.0.113.7","requestMethod":"GET","requestUrl":"/p?a=1","status":400,"responseSize":"168"}}"#,
            r#"{"timeStamp":"2025-05-16T02:01:36Z","properties":{"clientIP":"203.0.113.7","httpMethod":"GET","requestUri":"/p","requestQuery":"a=1","httpStatus":400,"sentBytes":168}}"#,
            r#"{"timestamp":1747360896000,"httpRequest":{"clientIp":"203.0.113.7","httpMethod":"GET","uri":"/p","args":"a=1"},"status":400,"bytes":168}"#,
            r#"{"StartUTC":"2025-05-16T02:01:36.1Z","ClientHost":"203.0.113.7","RequestMethod":"GET","RequestPath":"/p?a=1","DownstreamStatus":400,"DownstreamContentSize":168}"#,
            // nginx with a log_format of its variables.
            r#"{"time_local":"16/May/2025:03:01:36 +0100","remote_addr":"203.0.113.7","request":"GET /p?a=1 HTTP/1.1","status":"400","body_bytes_sent":"168"}"#,
            r#"{"msec":"1747360896.250","remote_addr":"203.0.113.7","request":"GET /p?a=1 HTTP/1.1","status":"400","body_bytes_sent":"168"}"#,
            r#"{"time":1747360896,"clientip":"203.0.113.7","request":"GET /p?a=1 HTTP/1.1","response":"400","bytes":168}"#,
        ] {
            let l = read(s);
            assert_eq!(l.peer.as_deref(), Some(b"203.0.113.7".as_slice()), "{s}");
            assert_eq!((l.status, l.bytes), (Some(400), Some(168)), "{s}");
            assert_eq!(l.target.as_deref(), Some(b"/p?a=1".as_slice()), "{s}");
            let st = l.stamp.unwrap();
            assert_eq!(st.civil_s - i64::from(st.offset_s.unwrap()), 1_747_360_896, "{s}");
        }
    }

    #[test]
    fn a_field_map_of_the_user_wins_and_a_wrong_one_is_refused() {
        let mut m = FieldMap::default();
        m.extend("client=who,url=what.where").unwrap();
        let l = parse(br#"{"who":"203.0.113.7","client":"10.0.0.1","what":{"where":"/p"}}"#, &m).unwrap();
        assert_eq!(l.peer.as_deref(), Some(b"203.0.113.7".as_slice()));
        assert!(m.extend("colour=red").unwrap_err().contains("unknown field"));
    }

    #[test]
    fn sentrys_audit_log_is_known_by_its_fields() {
        let l = read(
            r#"{"publishTime":"2026-06-12T10:00:00Z","entryID":1,"useCaseID":"x","entryType":"y","clientHost":"203.0.113.7","forwardedFor":"198.51.100.4","requestUrl":"/mics/x","httpMethod":"POST","action":"z"}"#,
        );
        assert_eq!(l.layout, Layout::SentryAudit);
        assert_eq!(l.client().0, Some(b"198.51.100.4".as_slice()));
    }

    #[test]
    fn deep_nesting_is_refused_not_followed() {
        let deep = "{\"a\":".repeat(100_000) + "1" + &"}".repeat(100_000);
        assert_eq!(parse(deep.as_bytes(), &FieldMap::default()), None);
    }
}
