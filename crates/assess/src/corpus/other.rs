//! Lines as web servers and load balancers in front of an appliance write them.

use std::io::{self, Write};

use jiff::Timestamp;

use super::Request;
use crate::finding::Layout;

/// Lines after which a header comes again.
const HEADER_EVERY: u64 = 1_000;
const IIS: &str = "#Software: Microsoft Internet Information Services 10.0\r\n#Version: 1.0\r\n#Date: 2025-05-01 00:00:00\r\n#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) sc-status sc-substatus sc-win32-status sc-bytes time-taken X-Forwarded-For\r\n";
const CLOUDFRONT: &str = "#Version: 1.0\n#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent) cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header cs-protocol cs-bytes time-taken x-forwarded-for\n";

/// The header that stands before the line behind so many others.
pub(super) fn header(layout: Layout, lines: u64) -> Option<&'static str> {
    match layout {
        Layout::W3c if lines.is_multiple_of(HEADER_EVERY) => Some(IIS),
        Layout::CloudFront if lines == 0 => Some(CLOUDFRONT),
        _ => None,
    }
}

fn parts(target: &str) -> (&str, &str) {
    target.split_once('?').map_or((target, "-"), |(p, q)| (p, if q.is_empty() { "-" } else { q }))
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

pub(super) fn iis(
    out: &mut Vec<u8>,
    q: &Request,
    (client, passed): (&str, &str),
    t: Timestamp,
) -> io::Result<()> {
    let (stem, query) = parts(&q.target);
    let agent = q.agent.replace(' ', "+");
    writeln!(
        out,
        "{} 192.0.2.10 {} {stem} {query} 443 - {client} {agent} - {} 0 0 {} 31 {}\r",
        t.strftime("%Y-%m-%d %H:%M:%S"),
        q.method,
        q.status,
        q.bytes,
        or_dash(passed)
    )
}

pub(super) fn cloudfront(
    out: &mut Vec<u8>,
    q: &Request,
    (client, passed): (&str, &str),
    t: Timestamp,
) -> io::Result<()> {
    let (stem, query) = parts(&q.target);
    let agent = q.agent.replace(' ', "%20");
    writeln!(
        out,
        "{}\tLHR62-C2\t{}\t{client}\t{}\td111.cloudfront.example\t{stem}\t{}\t-\t{agent}\t{query}\t-\tMiss\tINERT==\tmdm.example.org\thttps\t318\t0.044\t{}",
        t.strftime("%Y-%m-%d\t%H:%M:%S"),
        q.bytes,
        q.method,
        q.status,
        or_dash(passed)
    )
}

pub(super) fn alb(out: &mut Vec<u8>, q: &Request, client: &str, port: u64, t: Timestamp) -> io::Result<()> {
    writeln!(
        out,
        "https {}.186641Z app/mdm/50dc6c495c0c9188 {client}:{port} 10.0.0.1:443 0.000 0.001 0.000 {} {} 34 {} \"{} https://mdm.example.org:443{} HTTP/1.1\" \"{}\" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 arn:aws:elasticloadbalancing:eu-west-2:123456789012:targetgroup/t/73e2d6bc24d8a067 \"Root=1-58337262-36d228ad5d99923122bbe354\" \"-\" \"-\" 0",
        t.strftime("%Y-%m-%dT%H:%M:%S"),
        q.status,
        q.status,
        q.bytes,
        q.method,
        q.target,
        q.agent
    )
}

pub(super) fn haproxy(
    out: &mut Vec<u8>,
    q: &Request,
    (client, passed): (&str, &str),
    port: u64,
    t: Timestamp,
) -> io::Result<()> {
    let captured = if passed.is_empty() { String::new() } else { format!("{{{passed}|{}}} ", q.agent) };
    let target = q.target.replace('#', "#23").replace('"', "#22");
    writeln!(
        out,
        "{} lb1 haproxy[2211]: {client}:{port} [{}.123] https-in~ mdm/mdm1 0/0/1/14/15 {} {} - - ---- 120/118/3/1/0 0/0 {captured}\"{} {target} HTTP/1.1\"",
        t.strftime("%b %e %H:%M:%S"),
        t.strftime("%d/%b/%Y:%H:%M:%S"),
        q.status,
        q.bytes,
        q.method
    )
}
