//! Layouts A and B of EPMM, Apache's Common and Combined, and what resembles them.
//!
//! All of them have the request in quotes; they are told apart by what stands
//! before it, so a syslog prefix or a virtual host in front does no harm.

use std::borrow::Cow;
use std::net::IpAddr;

use super::{Line, balancer, without_port};
use crate::finding::Layout;
use crate::moment::{self, Stamp};

/// Words before a line's time that are looked at.
const MAX_WORDS: usize = 64;

/// Parses a line with a quoted request; `None` if there is none.
pub fn parse(bytes: &[u8]) -> Option<Line<'_>> {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let open = memchr::memchr(b'"', bytes)?;
    let head = bytes.get(..open)?;
    let rest = bytes.get(open + 1..)?;
    // A line cut inside its request still says what was asked for.
    let close = closing_quote(rest).unwrap_or(rest.len());
    let request = rest.get(..close)?;
    let tail = rest.get(close + 1..).unwrap_or_default();

    let mut line = Line::empty(Layout::Unrecognised);
    read_head(head, &mut line);
    read_request(request, &mut line);
    let like_a_path = |t: &[u8]| t.starts_with(b"/") || t.starts_with(b"http");
    if line.stamp.is_none() && !line.target.as_deref().is_some_and(like_a_path) {
        return None;
    }
    read_tail(tail, &mut line);
    Some(line)
}

/// Only the time and layout: what samples need.
pub fn stamp_of(bytes: &[u8]) -> Option<(Stamp, Layout)> {
    let open = memchr::memchr(b'"', bytes)?;
    let mut line = Line::empty(Layout::Unrecognised);
    read_head(bytes.get(..open)?, &mut line);
    line.stamp.map(|s| (s, line.layout))
}

fn read_head<'a>(head: &'a [u8], line: &mut Line<'a>) {
    if balancer::haproxy(head, line) || balancer::alb(head, line) {
        return;
    }
    // Apache: three words and a bracketed time.
    if let Some(bracket) = memchr::memrchr(b'[', head)
        && let Some(stamp) = head.get(bracket + 1..).and_then(moment::apache)
    {
        line.stamp = Some(stamp);
        line.layout = Layout::Common;
        read_client(head.get(..bracket).unwrap_or_default(), line);
        return;
    }
    let stamp_in = |word: &[u8]| (word.len() == 20).then(|| moment::epmm(word)).flatten();
    let bare = head.trim_ascii_end();
    let last = memchr::memrchr2(b' ', b'\t', bare).map_or(0, |i| i + 1);
    if last > 0
        && let Some(stamp) = bare.get(last..).and_then(stamp_in)
    {
        line.stamp = Some(stamp);
        line.layout = Layout::EpmmAccess;
        read_client(bare.get(..last).unwrap_or_default(), line);
        return;
    }
    let mut all = words(head);
    while let Some(word) = all.next() {
        if let Some(stamp) = stamp_in(word) {
            line.stamp = Some(stamp);
            line.layout = Layout::EpmmRequest;
            line.peer = all.next().map(without_port).map(Cow::Borrowed);
            return;
        }
    }
    // Something else: any time and the first thing that is an address.
    for word in words(head) {
        if line.stamp.is_none() {
            line.stamp = moment::iso(word.strip_prefix(b"[").unwrap_or(word));
        }
        if line.peer.is_none() && is_address(without_port(word)) {
            line.peer = Some(Cow::Borrowed(without_port(word)));
        }
    }
}

/// `client ident user`, with anything before it. A name that somebody typed to log in may hold spaces, and
/// then words that look like a client: so the first address that is followed by `-` is the client.
fn read_client<'a>(before: &'a [u8], line: &mut Line<'a>) {
    let all: Vec<&[u8]> = words(before).take(MAX_WORDS).collect();
    let is = |w: &[u8]| is_address(without_port(w));
    let third_last = all.len().saturating_sub(3);
    let named = all.windows(3).position(|w| matches!(w, [client, b"-", _] if is(client)));
    let at = named
        .or_else(|| (all.len() == 3 || all.get(third_last).is_some_and(|w| is(w))).then_some(third_last))
        .or_else(|| all.iter().position(|w| is(w)))
        .unwrap_or(third_last);
    line.peer =
        all.get(at).map(|w| without_port(w)).filter(|w| all.len() > 2 || is_address(w)).map(Cow::Borrowed);
    let mut rest = before;
    for _ in 0..at + 2 {
        rest = rest.trim_ascii_start();
        rest = rest.get(memchr::memchr2(b' ', b'\t', rest).unwrap_or(rest.len())..).unwrap_or_default();
    }
    let user = rest.trim_ascii();
    line.user = (!user.is_empty() && user != b"-").then_some(Cow::Borrowed(user));
}

fn read_request<'a>(request: &'a [u8], line: &mut Line<'a>) {
    let Some(space) = memchr::memchr(b' ', request) else { return };
    let method = request.get(..space).unwrap_or_default();
    let is_method = !method.is_empty()
        && method.len() <= 32
        && method.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_' || *b == b'-');
    if !is_method {
        return;
    }
    let mut target = request.get(space + 1..).unwrap_or_default();
    if let Some(last) = memchr::memrchr(b' ', target)
        && target.get(last + 1..).is_some_and(|v| v.starts_with(b"HTTP/"))
    {
        target = target.get(..last).unwrap_or_default();
    }
    line.method = Some(Cow::Borrowed(method));
    let target = if line.layout == Layout::Haproxy { balancer::unescape(target) } else { unescape(target) };
    line.target = Some(target);
}

fn read_tail<'a>(tail: &'a [u8], line: &mut Line<'a>) {
    match line.layout {
        // Status and bytes stand before the request.
        Layout::Haproxy => return,
        Layout::Alb => {
            let open = memchr::memchr(b'"', tail).map_or(tail.len(), |i| i + 1);
            let inner = tail.get(open..).unwrap_or_default();
            let agent = inner.get(..closing_quote(inner).unwrap_or(inner.len())).unwrap_or_default();
            line.agent = (agent != b"-" && !agent.is_empty()).then(|| unescape(agent));
            return;
        }
        _ => {}
    }
    let quote = memchr::memchr(b'"', tail).unwrap_or(tail.len());
    let mut numbers = words(tail.get(..quote).unwrap_or_default());
    let first = numbers.next();
    let second = numbers.next();
    if line.layout == Layout::EpmmRequest && second.is_none() {
        line.bytes = first.and_then(byte_count);
    } else {
        line.status =
            first.and_then(number).and_then(|n| u16::try_from(n).ok()).filter(|n| (100..=999).contains(n));
        line.bytes = second.and_then(byte_count);
    }
    let mut rest = tail.get(quote..).unwrap_or_default();
    let mut nth = 0;
    while let Some(open) = memchr::memchr(b'"', rest) {
        let inner = rest.get(open + 1..).unwrap_or_default();
        let close = closing_quote(inner).unwrap_or(inner.len());
        let field = inner.get(..close).unwrap_or_default();
        rest = inner.get(close + 1..).unwrap_or_default();
        if field != b"-" && !field.is_empty() {
            match nth {
                0 => line.referer = Some(unescape(field)),
                1 => line.agent = Some(unescape(field)),
                _ if line.forwarded.is_none() && is_address_list(field) => {
                    line.forwarded = Some(Cow::Borrowed(field));
                }
                _ => {}
            }
        }
        nth += 1;
    }
    if line.layout == Layout::Common && nth >= 2 {
        line.layout = Layout::Combined;
    }
    if line.layout == Layout::EpmmRequest && line.status.is_some() {
        // A status after all: not the layout that is known.
        line.layout = Layout::Unrecognised;
    }
}

fn closing_quote(rest: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(i) = memchr::memchr(b'"', rest.get(from..)?) {
        let at = from + i;
        let slashes = rest.get(..at)?.iter().rev().take_while(|b| **b == b'\\').count();
        if slashes % 2 == 0 {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// Undoes what Apache does to unprintable bytes: `\"`, `\\`, `\xNN`.
fn unescape(field: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\\', field).is_none() {
        return Cow::Borrowed(field);
    }
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        match (first, tail) {
            (b'\\', [b'x', a, b, after @ ..]) if digit(a).is_some() && digit(b).is_some() => {
                out.push(digit(a).unwrap_or(0) * 16 + digit(b).unwrap_or(0));
                rest = after;
            }
            (b'\\', [c @ (b'"' | b'\\'), after @ ..]) => {
                out.push(*c);
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    Cow::Owned(out)
}

pub(super) fn words(text: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    text.split(|b| *b == b' ' || *b == b'\t').filter(|w| !w.is_empty())
}

/// Digits only, at most 18 of them.
pub(super) fn number(word: &[u8]) -> Option<u64> {
    if word.is_empty() || word.len() > 18 || !word.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(word.iter().fold(0, |n, b| n * 10 + u64::from(b - b'0')))
}

pub(super) fn byte_count(word: &[u8]) -> Option<u64> {
    if word == b"-" { Some(0) } else { number(word) }
}

/// Is this text an IP address?
pub fn is_address(word: &[u8]) -> bool {
    word.len() <= 45
        && word.first().is_some_and(|b| b.is_ascii_hexdigit() || *b == b':')
        && std::str::from_utf8(word).is_ok_and(|s| s.parse::<IpAddr>().is_ok())
}

fn is_address_list(field: &[u8]) -> bool {
    field.len() <= 512
        && field.split(|b| *b == b',').all(|a| {
            let a = a.trim_ascii();
            is_address(without_port(a)) || a == b"unknown"
        })
        && field.iter().any(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: &str =
        r#"203.0.113.7:58224 - - 2025-05-16--03-01-36 "GET /path?a=1 HTTP/1.1" 400 168 "-" "UA \"x\"" 2509"#;
    const B: &str = r#"2025-05-15--17-43-27 198.51.100.9 TLSv1.2 ECDHE-RSA-AES128-GCM-SHA256 "GET /path HTTP/1.1" 277 "-" "UA""#;

    #[test]
    fn layout_a_has_client_status_and_bytes() {
        let l = parse(A.as_bytes()).unwrap();
        assert_eq!(l.layout, Layout::EpmmAccess);
        assert_eq!(l.peer.as_deref(), Some(b"203.0.113.7".as_slice()));
        assert_eq!((l.status, l.bytes), (Some(400), Some(168)));
        assert_eq!(l.target.as_deref(), Some(b"/path?a=1".as_slice()));
        assert_eq!(l.agent.as_deref(), Some(b"UA \"x\"".as_slice()));
        assert_eq!(l.referer, None);
    }

    #[test]
    fn layout_b_has_no_status_and_its_number_is_bytes() {
        let l = parse(B.as_bytes()).unwrap();
        assert_eq!(l.layout, Layout::EpmmRequest);
        assert_eq!(l.peer.as_deref(), Some(b"198.51.100.9".as_slice()));
        assert_eq!((l.status, l.bytes), (None, Some(277)));
    }

    #[test]
    fn common_and_combined_are_told_apart_and_a_prefix_does_no_harm() {
        let c = r#"198.51.100.9 - bob [16/May/2025:03:01:36 +0100] "GET /p HTTP/1.1" 200 -"#;
        let l = parse(c.as_bytes()).unwrap();
        assert_eq!((l.layout, l.status, l.bytes), (Layout::Common, Some(200), Some(0)));
        assert_eq!(l.user.as_deref(), Some(b"bob".as_slice()));
        let c = r#"May 16 03:01:36 lb httpd: mdm.example.org:443 198.51.100.9 - - [16/May/2025:03:01:36 +0100] "GET /p HTTP/1.1" 200 5 "-" "UA" "203.0.113.8, 10.0.0.1""#;
        let l = parse(c.as_bytes()).unwrap();
        assert_eq!(l.layout, Layout::Combined);
        assert_eq!(l.client(), (Some(b"203.0.113.8".as_slice()), Some(b"198.51.100.9".as_slice())));
    }

    #[test]
    fn a_name_typed_to_log_in_that_looks_like_a_client_is_taken_for_a_name() {
        for (head, peer, user) in [
            // As nginx writes it: the name as it was typed.
            ("203.0.113.7 - ward 7 [16/May/2025:03:01:36 +0100]", "203.0.113.7", "ward 7"),
            ("203.0.113.7 - x 192.0.2.1 - y [16/May/2025:03:01:36 +0100]", "203.0.113.7", "x 192.0.2.1 - y"),
            ("203.0.113.7:5 - x 192.0.2.1:7 - y 2025-05-16--03-01-36", "203.0.113.7", "x 192.0.2.1:7 - y"),
            (
                "203.0.113.7:5 - 2025-05-16--03-01-35 192.0.2.1 2025-05-16--03-01-36",
                "203.0.113.7",
                "2025-05-16--03-01-35 192.0.2.1",
            ),
            // lighttpd writes the host where others write `-`.
            ("203.0.113.7 www.example.org ann [16/May/2025:03:01:36 +0100]", "203.0.113.7", "ann"),
            ("203.0.113.7 www.example.org ward 7 [16/May/2025:03:01:36 +0100]", "203.0.113.7", "ward 7"),
            ("192.0.2.10:443 203.0.113.7 - ann [16/May/2025:03:01:36 +0100]", "203.0.113.7", "ann"),
            (
                "May 16 03:01:36 192.0.2.10 nginx: 203.0.113.7 - ann [16/May/2025:03:01:36 +0100]",
                "203.0.113.7",
                "ann",
            ),
            ("pc7.example.org - 192.0.2.1 [16/May/2025:03:01:36 +0100]", "pc7.example.org", "192.0.2.1"),
            ("pc7.example.org - ann [16/May/2025:03:01:36 +0100]", "pc7.example.org", "ann"),
        ] {
            let raw = format!("{head} \"GET /p HTTP/1.1\" 200 5");
            let l = parse(raw.as_bytes()).unwrap();
            assert_eq!(l.peer.as_deref(), Some(peer.as_bytes()), "{head}");
            assert_eq!(l.user.as_deref(), Some(user.as_bytes()), "{head}");
        }
    }

    #[test]
    fn a_line_that_was_cut_still_says_what_was_asked() {
        let l = parse(&A.as_bytes()[..60]).unwrap();
        assert!(l.target.unwrap().starts_with(b"/p"));
        assert_eq!(l.status, None);
    }

    #[test]
    fn ports_leave_addresses_of_both_kinds() {
        for (with, bare) in [
            ("203.0.113.7:1", "203.0.113.7"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("2001:db8:1:2:3:4:5:6:58224", "2001:db8:1:2:3:4:5:6"),
            ("host.example.org", "host.example.org"),
        ] {
            assert_eq!(without_port(with.as_bytes()), bare.as_bytes());
        }
    }

    #[test]
    fn a_request_that_is_no_request_gives_no_target() {
        let l = parse(br#"198.51.100.9 - - [16/May/2025:03:01:36 +0100] "\x16\x03\x01" 400 226 "-" "-""#)
            .unwrap();
        assert_eq!((l.method, l.target, l.status), (None, None, Some(400)));
        assert_eq!(parse(b"nothing \"at all\" here"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
        #[test]
        fn no_line_upsets_the_parser(raw in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&raw);
            let _ = stamp_of(&raw);
        }

        #[test]
        fn no_mangled_real_line_upsets_the_parser(at in 0usize..110, b in any::<u8>(), cut in 0usize..130) {
            for s in [A, B] {
                let mut raw = s.as_bytes().to_vec();
                if let Some(x) = raw.get_mut(at) { *x = b; }
                raw.truncate(cut);
                let _ = parse(&raw);
            }
        }
    }
}
