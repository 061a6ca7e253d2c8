//! Times of log lines: civil seconds as written, zones, and Unix milliseconds.
//!
//! Parsing is by fixed positions and does no allocation: it runs over samples
//! of every log. The zone is applied later and only to what is reported.

use jiff::{Timestamp, civil, tz::TimeZone};

use crate::finding::UnixMs;

/// `2025-05-15T02:01:36Z`; a time out of range is written as its number.
pub fn utc_text(ms: UnixMs) -> String {
    match Timestamp::from_millisecond(ms) {
        Ok(t) => t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Err(_) => format!("{ms} ms"),
    }
}

/// `1 May 2025, 00:00:00 BST` by a zone of [`Zone::parse`]'s names; by UTC where it is none.
pub fn local_text(ms: UnixMs, zone: &str) -> String {
    let tz = Zone::parse(zone).map_or(TimeZone::UTC, |z| z.tz);
    match Timestamp::from_millisecond(ms) {
        Ok(t) => {
            let (civil, offset) = (tz.to_datetime(t), tz.to_offset_info(t));
            format!("{} {}", civil.strftime("%-d %b %Y, %H:%M:%S"), offset.abbreviation())
        }
        Err(_) => format!("{ms} ms"),
    }
}

/// A time as a line has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Seconds since 1970-01-01 00:00:00 of the same clock.
    pub civil_s: i64,
    /// Offset from UTC in seconds, if the line says.
    pub offset_s: Option<i32>,
}

/// The zone for lines that have none.
#[derive(Clone, Debug)]
pub struct Zone {
    tz: TimeZone,
    /// Name to show.
    pub name: String,
}

impl Zone {
    /// An IANA name (`Europe/London`), `UTC`, or an offset (`+01:00`, `-0530`).
    pub fn parse(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("utc") || text.eq_ignore_ascii_case("z") {
            return Some(Self { tz: TimeZone::UTC, name: "UTC".into() });
        }
        if let Some(s) = offset_seconds(text.as_bytes()) {
            let tz = TimeZone::fixed(jiff::tz::Offset::from_seconds(s).ok()?);
            return Some(Self { tz, name: text.to_owned() });
        }
        TimeZone::get(text).ok().map(|tz| Self { tz, name: text.to_owned() })
    }

    /// UTC in milliseconds. A time that the clock showed twice means the first of the two.
    pub fn utc_ms(&self, stamp: Stamp) -> UnixMs {
        if let Some(o) = stamp.offset_s {
            return (stamp.civil_s - i64::from(o)).saturating_mul(1000);
        }
        self.civil(stamp.civil_s).map_or(stamp.civil_s.saturating_mul(1000), |a| {
            a.earlier().map_or(stamp.civil_s.saturating_mul(1000), |t| t.as_millisecond())
        })
    }

    /// The local clock showed this second twice (the night summer time ends).
    pub fn shown_twice(&self, stamp: Stamp) -> bool {
        stamp.offset_s.is_none() && self.civil(stamp.civil_s).is_some_and(|a| a.is_ambiguous())
    }

    fn civil(&self, civil_s: i64) -> Option<jiff::tz::AmbiguousTimestamp> {
        let at = Timestamp::from_second(civil_s).ok()?;
        let civil: civil::DateTime = TimeZone::UTC.to_datetime(at);
        Some(self.tz.to_ambiguous_timestamp(civil))
    }
}

/// `+0100`, `+01:00`, `-05` → seconds.
pub fn offset_seconds(t: &[u8]) -> Option<i32> {
    let (sign, rest) = t.split_first()?;
    let sign = match sign {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (h, m) = match *rest {
        [a, b] => (two(a, b)?, 0),
        [a, b, c, d] | [a, b, b':', c, d] => (two(a, b)?, two(c, d)?),
        _ => return None,
    };
    (h <= 15 && m < 60).then_some(sign * (h * 3600 + m * 60))
}

fn two(a: u8, b: u8) -> Option<i32> {
    (a.is_ascii_digit() && b.is_ascii_digit()).then(|| i32::from(a - b'0') * 10 + i32::from(b - b'0'))
}

/// Days since 1970-01-01 (Howard Hinnant's method), for years 1970 to 9999.
fn days(y: i32, m: i32, d: i32) -> i64 {
    let y = if m <= 2 { y - 1 } else { y };
    let era = y / 400;
    let yoe = y - era * 400;
    let doy = (153 * (if m > 2 { m - 3 } else { m + 9 }) + 2) / 5 + d - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    i64::from(era) * 146_097 + i64::from(doe) - 719_468
}

fn civil(y: i32, mo: i32, d: i32, h: i32, mi: i32, s: i32) -> Option<i64> {
    let ok = (1970..=9999).contains(&y)
        && (1..=12).contains(&mo)
        && (1..=31).contains(&d)
        && (0..24).contains(&h)
        && (0..60).contains(&mi)
        && (0..=60).contains(&s);
    ok.then(|| days(y, mo, d) * 86_400 + i64::from(h * 3600 + mi * 60 + s))
}

/// `2025-05-16--03-01-36` at the start of `t`.
pub fn epmm(t: &[u8]) -> Option<Stamp> {
    let &[a, b, c, d, b'-', e, f, b'-', g, h, b'-', b'-', i, j, b'-', k, l, b'-', m, n, ..] = t else {
        return None;
    };
    let y = two(a, b)? * 100 + two(c, d)?;
    let civil_s = civil(y, two(e, f)?, two(g, h)?, two(i, j)?, two(k, l)?, two(m, n)?)?;
    Some(Stamp { civil_s, offset_s: None })
}

/// `16/May/2025:03:01:36 +0100` at the start of `t`; the offset may be missing.
pub fn apache(t: &[u8]) -> Option<Stamp> {
    let &[a, b, b'/', ref mon @ ..] = t else { return None };
    let &[m1, m2, m3, b'/', c, d, e, f, b':', g, h, b':', i, j, b':', k, l, ref rest @ ..] = mon else {
        return None;
    };
    let month = match [m1, m2, m3].map(|x| x.to_ascii_lowercase()) {
        [b'j', b'a', b'n'] => 1,
        [b'f', b'e', b'b'] => 2,
        [b'm', b'a', b'r'] => 3,
        [b'a', b'p', b'r'] => 4,
        [b'm', b'a', b'y'] => 5,
        [b'j', b'u', b'n'] => 6,
        [b'j', b'u', b'l'] => 7,
        [b'a', b'u', b'g'] => 8,
        [b's', b'e', b'p'] => 9,
        [b'o', b'c', b't'] => 10,
        [b'n', b'o', b'v'] => 11,
        [b'd', b'e', b'c'] => 12,
        _ => return None,
    };
    let y = two(c, d)? * 100 + two(e, f)?;
    let civil_s = civil(y, month, two(a, b)?, two(g, h)?, two(i, j)?, two(k, l)?)?;
    let offset_s = rest.strip_prefix(b" ").and_then(|r| offset_seconds(r.get(..5)?));
    Some(Stamp { civil_s, offset_s })
}

/// ISO 8601 / RFC 3339 at the start of `t`: `2025-05-16T03:01:36[.123][Z|+01:00]`, a space for the `T` too.
pub fn iso(t: &[u8]) -> Option<Stamp> {
    let &[
        a,
        b,
        c,
        d,
        b'-',
        e,
        f,
        b'-',
        g,
        h,
        b'T' | b't' | b' ',
        i,
        j,
        b':',
        k,
        l,
        b':',
        m,
        n,
        ref rest @ ..,
    ] = t
    else {
        return None;
    };
    let y = two(a, b)? * 100 + two(c, d)?;
    let civil_s = civil(y, two(e, f)?, two(g, h)?, two(i, j)?, two(k, l)?, two(m, n)?)?;
    let mut rest = rest;
    if let Some((b'.' | b',', tail)) = rest.split_first() {
        let n = tail.iter().take_while(|b| b.is_ascii_digit()).count();
        rest = tail.get(n..).unwrap_or_default();
    }
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    let offset_s = match rest.first() {
        Some(b'Z' | b'z') => Some(0),
        Some(b'+' | b'-') => rest
            .get(..6)
            .and_then(offset_seconds)
            .or_else(|| rest.get(..5).and_then(offset_seconds))
            .or_else(|| rest.get(..3).and_then(offset_seconds)),
        _ => rest.starts_with(b"UTC").then_some(0),
    };
    Some(Stamp { civil_s, offset_s })
}

/// Unix time in seconds, milliseconds, microseconds or nanoseconds, told apart by size.
pub fn unix(n: i64) -> Option<Stamp> {
    let s = match n {
        0..=99_999_999_999 => n,
        100_000_000_000..=99_999_999_999_999 => n / 1000,
        100_000_000_000_000..=99_999_999_999_999_999 => n / 1_000_000,
        100_000_000_000_000_000.. => n / 1_000_000_000,
        _ => return None,
    };
    Some(Stamp { civil_s: s, offset_s: Some(0) })
}

/// What a person types: `2025-05-15`, a date and time, with or without an offset.
pub fn typed(text: &str, zone: &Zone) -> Option<UnixMs> {
    let t = text.trim();
    let stamp = if t.len() == 10 { iso(format!("{t}T00:00:00").as_bytes()) } else { iso(t.as_bytes()) }
        .or_else(|| (t.len() == 16).then(|| iso(format!("{t}:00").as_bytes())).flatten())
        .or_else(|| epmm(t.as_bytes()))?;
    Some(zone.utc_ms(stamp))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_known_second_is_written_as_utc() {
        assert_eq!(utc_text(1_747_274_496_000), "2025-05-15T02:01:36Z");
        assert_eq!(utc_text(i64::MAX), format!("{} ms", i64::MAX));
    }

    #[test]
    fn a_known_second_is_written_by_the_clock_of_a_zone() {
        assert_eq!(local_text(1_747_274_496_000, "Europe/London"), "15 May 2025, 03:01:36 BST");
        assert_eq!(local_text(1_747_274_496_000, "Nowhere"), "15 May 2025, 02:01:36 UTC");
    }

    #[test]
    fn the_three_layouts_of_one_second_agree() {
        let london = Zone::parse("Europe/London").unwrap();
        for s in [
            epmm(b"2025-05-15--03-01-36").unwrap(),
            apache(b"15/May/2025:03:01:36 +0100").unwrap(),
            apache(b"15/May/2025:03:01:36]").unwrap(),
            iso(b"2025-05-15T03:01:36.250+01:00").unwrap(),
            iso(b"2025-05-15 02:01:36Z").unwrap(),
            unix(1_747_274_496).unwrap(),
            unix(1_747_274_496_123).unwrap(),
        ] {
            assert_eq!(london.utc_ms(s), 1_747_274_496_000, "{s:?}");
        }
        assert_eq!(typed("2025-05-15", &london), Some(1_747_263_600_000));
    }

    #[test]
    fn the_hour_that_a_clock_shows_twice_is_known() {
        let london = Zone::parse("Europe/London").unwrap();
        assert!(london.shown_twice(epmm(b"2025-10-26--01-30-00").unwrap()));
        assert!(!london.shown_twice(epmm(b"2025-10-26--03-30-00").unwrap()));
    }

    #[test]
    fn nonsense_is_no_time() {
        assert_eq!(epmm(b"2025-13-16--03-01-36"), None);
        assert_eq!(apache(b"16/Foo/2025:03:01:36 +0100"), None);
        assert_eq!(iso(b"2025-05-16"), None);
        assert!(Zone::parse("Europe/Nowhere").is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
        #[test]
        fn any_second_survives_the_epmm_layout(s in 0i64..7_000_000_000) {
            let t = Timestamp::from_second(s).unwrap().strftime("%Y-%m-%d--%H-%M-%S").to_string();
            prop_assert_eq!(epmm(t.as_bytes()).unwrap().civil_s, s);
        }

        #[test]
        fn no_bytes_upset_a_time_parser(raw in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = (epmm(&raw), apache(&raw), iso(&raw), offset_seconds(&raw));
        }
    }
}
