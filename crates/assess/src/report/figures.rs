//! Times, numbers and sizes as a person reads them.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

use crate::finding::{TimeZoneNote, UnixMs};

/// Writes times in the zone in which the logs were read, always naming it.
#[derive(Debug, Clone)]
pub struct Times {
    zone: TimeZone,
}

impl Times {
    /// The zone of an assessment; a name that is not known gives UTC, which is then named.
    pub fn of(note: &TimeZoneNote) -> Self {
        Self::named(&note.name)
    }

    /// A zone by IANA name (`Europe/London`) or offset (`+01:00`); UTC when it is neither.
    pub fn named(name: &str) -> Self {
        let zone = offset(name).map(TimeZone::fixed).or_else(|| TimeZone::get(name).ok());
        Self { zone: zone.unwrap_or(TimeZone::UTC) }
    }

    /// `15 May 2025, 03:01:36 BST`.
    pub fn full(&self, ms: UnixMs) -> String {
        self.format(ms, "%-d %b %Y, %H:%M:%S %Z")
    }

    /// `15 May 2025, 03:01 BST`.
    pub fn minute(&self, ms: UnixMs) -> String {
        self.format(ms, "%-d %b %Y, %H:%M %Z")
    }

    /// `15 May 2025`.
    pub fn day(&self, ms: UnixMs) -> String {
        self.format(ms, "%-d %b %Y")
    }

    /// `03:01:36`.
    pub fn clock(&self, ms: UnixMs) -> String {
        self.format(ms, "%H:%M:%S")
    }

    /// `2025-05-15 03:01:36 +01:00`, for tables.
    pub fn sortable(&self, ms: UnixMs) -> String {
        self.format(ms, "%Y-%m-%d %H:%M:%S %:z")
    }

    /// `full`, or words for a time that no line says.
    pub fn full_or(&self, ms: Option<UnixMs>, otherwise: &str) -> String {
        ms.map_or_else(|| otherwise.to_owned(), |ms| self.full(ms))
    }

    fn format(&self, ms: UnixMs, pattern: &str) -> String {
        let Ok(at) = Timestamp::from_millisecond(ms) else { return format!("{ms} ms") };
        // A pattern of ours can't fail; a failure would still only cost the zone's name.
        let mut out = String::new();
        let zoned = at.to_zoned_datetime(self.zone.clone());
        if std::fmt::write(&mut out, format_args!("{}", zoned.strftime(pattern))).is_ok() {
            return out;
        }
        crate::moment::utc_text(ms)
    }
}

fn offset(name: &str) -> Option<Offset> {
    let name = name.strip_prefix("UTC").unwrap_or(name);
    let (sign, rest) = match name.strip_prefix('+') {
        Some(rest) => (1, rest),
        None => (-1, name.strip_prefix('-').or_else(|| name.strip_prefix('−'))?),
    };
    let (hours, minutes) = rest.split_once(':').unwrap_or_else(|| match rest.len() {
        4 => rest.split_at(2),
        _ => (rest, "0"),
    });
    let seconds =
        hours.parse::<i32>().ok()?.checked_mul(3600)? + minutes.parse::<i32>().ok()?.checked_mul(60)?;
    Offset::from_seconds(sign * seconds).ok()
}

/// `48,211,004`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// `48.2 MB`, in powers of ten; below ten thousand, the bytes themselves.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 10_000 {
        return format!("{} bytes", grouped(bytes));
    }
    let mut scaled = bytes;
    for unit in UNITS {
        // In tenths, so that the rounding is exact and the same everywhere.
        let tenths = scaled.saturating_add(50) / 100;
        if tenths < 10_000 {
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
        scaled /= 1000;
    }
    format!("{} bytes", grouped(bytes))
}

/// `1 person`, `2 people`.
pub fn count(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(n), if n == 1 { one } else { many })
}

/// `20 minutes`, `3 hours`, `2 days`: whole units, rounded down.
pub fn span(ms: i64) -> String {
    let n = |ms: i64, unit: i64| u64::try_from(ms / unit).unwrap_or(0);
    match ms {
        i64::MIN..1_000 => "less than a second".to_owned(),
        1_000..120_000 => count(n(ms, 1_000), "second", "seconds"),
        120_000..7_200_000 => count(n(ms, 60_000), "minute", "minutes"),
        7_200_000..172_800_000 => count(n(ms, 3_600_000), "hour", "hours"),
        _ => count(n(ms, 86_400_000), "day", "days"),
    }
}

/// `a`, `a and b`, `a, b and c`; beyond `most`, `and 4 more`.
pub fn list<S: AsRef<str>>(items: &[S], most: usize) -> String {
    let shown: Vec<&str> = items.iter().take(most).map(AsRef::as_ref).collect();
    let left = items.len() - shown.len();
    if left > 0 {
        return format!("{} and {left} more", shown.join(", "));
    }
    match shown.split_last() {
        None => String::new(),
        Some((only, [])) => (*only).to_owned(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn may_in_london_is_summer_time() {
        let times = Times::named("Europe/London");
        assert_eq!(times.full(1_747_274_496_000), "15 May 2025, 03:01:36 BST");
        assert_eq!(times.sortable(1_747_274_496_000), "2025-05-15 03:01:36 +01:00");
    }

    #[test]
    fn an_offset_is_a_zone_too() {
        assert_eq!(Times::named("+01:00").sortable(0), "1970-01-01 01:00:00 +01:00");
        assert_eq!(Times::named("-0330").sortable(0), "1969-12-31 20:30:00 -03:30");
        assert_eq!(Times::named("nowhere").sortable(0), "1970-01-01 00:00:00 +00:00");
    }

    #[test]
    fn a_size_is_rounded_in_powers_of_ten() {
        assert_eq!(size(9_999), "9,999 bytes");
        assert_eq!(size(48_211_004), "48.2 MB");
        assert_eq!(size(999_999), "1.0 MB");
    }

    #[test]
    fn a_list_says_how_many_it_leaves_out() {
        assert_eq!(list(&["a"], 3), "a");
        assert_eq!(list(&["a", "b", "c"], 3), "a, b and c");
        assert_eq!(list(&["a", "b", "c", "d"], 2), "a, b and 2 more");
    }

    #[test]
    fn a_span_is_in_the_unit_one_would_say() {
        assert_eq!(span(59_000), "59 seconds");
        assert_eq!(span(3_540_000), "59 minutes");
        assert_eq!(span(90_000_000), "25 hours");
        assert_eq!(span(260_000_000), "3 days");
    }
}
