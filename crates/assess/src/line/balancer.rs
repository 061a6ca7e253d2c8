//! What stands before the request in lines of load balancers: HAProxy's `httplog`, AWS's application
//! and classic load balancers. Both have the status there, and not behind the request.

use std::borrow::Cow;

use super::text::{byte_count, is_address, number, words};
use super::{Line, without_port};
use crate::finding::Layout;
use crate::moment;

/// Kinds of connection that an application load balancer writes first.
const ALB_KINDS: [&[u8]; 6] = [b"http", b"https", b"h2", b"grpcs", b"ws", b"wss"];

fn status(word: &[u8]) -> Option<u16> {
    number(word).and_then(|n| u16::try_from(n).ok()).filter(|n| (100..=999).contains(n))
}

/// An address with its port: that a balancer writes, and no server's log at these places.
fn with_port(word: &[u8]) -> Option<&[u8]> {
    let bare = without_port(word);
    (bare.len() < word.len() && is_address(bare)).then_some(bare)
}

/// `198.51.100.9:51234 [16/May/2025:03:01:36.123] front~ back/server 0/0/1/14/15 200 512 …`, with
/// anything before it. The first bracket counts: captured headers, which clients write, come later.
pub(super) fn haproxy<'a>(head: &'a [u8], line: &mut Line<'a>) -> bool {
    memchr::memchr_iter(b'[', head).any(|at| {
        let (before, after) = (head.get(..at).unwrap_or_default(), head.get(at + 1..).unwrap_or_default());
        let Some(stamp) = moment::apache(after) else { return false };
        let Some(peer) = words(before).next_back().and_then(with_port) else { return false };
        let close = memchr::memchr(b']', after).map_or(after.len(), |i| i + 1);
        let mut rest = words(after.get(close..).unwrap_or_default());
        let (_, server, timers) = (rest.next(), rest.next(), rest.next());
        let is_timers =
            |t: &[u8]| t.contains(&b'/') && t.iter().all(|b| b.is_ascii_digit() || b"/+-".contains(b));
        if !server.is_some_and(|s| s.contains(&b'/')) || !timers.is_some_and(is_timers) {
            return false;
        }
        line.layout = Layout::Haproxy;
        line.stamp = Some(stamp);
        line.peer = Some(Cow::Borrowed(peer));
        line.status = rest.next().and_then(status);
        line.bytes = rest.next().map(|b| b.strip_prefix(b"+").unwrap_or(b)).and_then(byte_count);
        // `{203.0.113.9|…}`: a captured X-Forwarded-For.
        line.forwarded = rest
            .filter_map(|w| w.strip_prefix(b"{"))
            .filter_map(|w| w.split(|b| matches!(b, b'|' | b'}' | b',')).next())
            .find(|a| is_address(without_port(a)))
            .map(Cow::Borrowed);
        true
    })
}

/// `https 2025-05-16T03:01:36.186641Z app/x/50dc 198.51.100.9:46532 10.0.0.1:80 0.000 0.001 0.000 200 200 34 366`;
/// a classic load balancer's without the first word.
pub(super) fn alb<'a>(head: &'a [u8], line: &mut Line<'a>) -> bool {
    let mut all = words(head).peekable();
    if all.peek().is_some_and(|w| ALB_KINDS.contains(w)) {
        all.next();
    }
    let Some(stamp) = all.next().and_then(moment::iso) else { return false };
    let (Some(_), Some(client), Some(_)) = (all.next(), all.next().and_then(with_port), all.next()) else {
        return false;
    };
    let seconds =
        |w: &[u8]| w == b"-1" || (!w.is_empty() && w.iter().all(|b| b.is_ascii_digit() || *b == b'.'));
    if !all.by_ref().take(3).all(seconds) {
        return false;
    }
    let numbers: Vec<&[u8]> = all.take(5).collect();
    let [answered, _, received, sent] = numbers.as_slice() else { return false };
    if number(received).is_none() || number(sent).is_none() {
        return false;
    }
    line.layout = Layout::Alb;
    line.stamp = Some(stamp);
    line.peer = Some(Cow::Borrowed(client));
    line.status = status(answered);
    line.bytes = number(sent);
    true
}

/// HAProxy writes what can't be printed, and quotes and `#`, as `#XX`.
pub(super) fn unescape(field: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'#', field).is_none() {
        return Cow::Borrowed(field);
    }
    let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'#'
            && let [a, b, after @ ..] = tail
            && let Some((a, b)) = digit(a).zip(digit(b))
        {
            out.push(a * 16 + b);
            rest = after;
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::super::parse_text;
    use super::*;

    #[test]
    fn a_line_of_haproxy_has_its_client_status_and_bytes_whatever_a_client_put_into_a_captured_header() {
        for captured in ["", "{www.example.org|Mozilla [16/May/2020:00:00:00 x} ", "{203.0.113.9|UA} {} "] {
            let text = format!(
                "May 16 03:01:36 lb1 haproxy[2211]: 198.51.100.9:51234 [16/May/2025:03:01:36.123] https-in~ web/web1 0/0/1/14/15 404 512 - - ---- 120/118/3/1/0 0/0 {captured}\"GET /p?format=#23{{INERT}} HTTP/1.1\""
            );
            let l = parse_text(text.as_bytes()).unwrap();
            assert_eq!((l.layout, l.status, l.bytes), (Layout::Haproxy, Some(404), Some(512)), "{text}");
            assert_eq!(l.stamp, moment::apache(b"16/May/2025:03:01:36"));
            assert_eq!(l.peer.as_deref(), Some(b"198.51.100.9".as_slice()));
            assert_eq!(l.forwarded.is_some(), captured.contains("203.0.113.9"));
            assert_eq!(l.target.as_deref(), Some(b"/p?format=#{INERT}".as_slice()));
        }
    }

    #[test]
    fn a_line_of_an_application_or_classic_load_balancer_has_its_client_status_and_bytes() {
        for (kind, name) in [("https ", "app/mdm/50dc6c495c0c9188"), ("", "my-loadbalancer")] {
            let text = format!(
                "{kind}2025-05-16T02:01:36.186641Z {name} 203.0.113.7:46532 10.0.0.1:80 0.000 0.001 0.000 400 400 34 366 \"GET https://mdm.example.org:443/p?a=1 HTTP/1.1\" \"curl/7.46.0\" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2"
            );
            let l = parse_text(text.as_bytes()).unwrap();
            assert_eq!((l.layout, l.status, l.bytes), (Layout::Alb, Some(400), Some(366)), "{text}");
            assert_eq!(l.peer.as_deref(), Some(b"203.0.113.7".as_slice()));
            assert_eq!(l.agent.as_deref(), Some(b"curl/7.46.0".as_slice()));
            assert_eq!(l.stamp.and_then(|s| s.offset_s), Some(0));
        }
    }

    #[test]
    fn apaches_line_stays_apaches() {
        let l = parse_text(br#"198.51.100.9 - bob [16/May/2025:03:01:36 +0100] "GET /p HTTP/1.1" 200 5"#)
            .unwrap();
        assert_eq!((l.layout, l.user.as_deref()), (Layout::Common, Some(b"bob".as_slice())));
    }
}
