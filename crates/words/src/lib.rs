//! Orders, the ledger's entries, limits, times and counts in plain words, for whoever reads them.
//!
//! One telling for the command line and the console. Pure but for the host's time zone, which is read once.

pub mod device_group;
pub mod entry;
mod holder;
pub mod limits;
mod order;
pub mod outline;
pub mod profile;
mod refused;
mod sold_as;

use std::sync::LazyLock;

use jiff::tz::TimeZone;
use model::TimeMs;
use model::clock::{DAY_MS, HOUR_MS, MINUTE_MS};

pub use crate::holder::{SEEN, done_to_phone, opened_of_holder};
pub use crate::order::{is_confirmed_later, is_for_lost_phones, scope_name, what};
pub use crate::refused::refused;
pub use crate::sold_as::{model, model_and_identifier};

static ZONE: LazyLock<TimeZone> = LazyLock::new(TimeZone::system);

/// Reads the host's time zone now: a room does so before it closes itself in, where the zone's files are out of reach.
pub fn read_time_zone() {
    LazyLock::force(&ZONE);
}

/// Text without what would steer a terminal or turn the direction of writing.
#[must_use]
pub fn plain(text: &str) -> String {
    let steers = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

/// The same on one line.
#[must_use]
pub fn line(text: &str) -> String {
    plain(text).replace('\n', " ")
}

/// A text that somebody chose, in quotes that it can't end itself.
#[must_use]
pub fn quoted(text: &str) -> String {
    format!("'{}'", line(text).replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Local time to the minute, with its zone: `2026-12-01 20:00 UTC`, `2026-07-01 20:00 BST (+01:00)`.
#[must_use]
pub fn time(at_ms: TimeMs) -> String {
    format!("{} {}", wall_time(at_ms), zone(at_ms))
}

/// The same without a zone, for what is compared with a time that has none.
#[must_use]
pub fn wall_time(at_ms: TimeMs) -> String {
    in_zone(at_ms, ZONE.clone(), "%Y-%m-%d %H:%M")
}

/// The zone in which times are told, as of then: `UTC`, `BST (+01:00)`, `+05:00`.
#[must_use]
pub fn zone(at_ms: TimeMs) -> String {
    zone_of(at_ms, ZONE.clone())
}

/// With its distance from UTC, since one name is several zones' (`IST`, `CST`).
fn zone_of(at_ms: TimeMs, zone: TimeZone) -> String {
    let (name, offset) = (in_zone(at_ms, zone.clone(), "%Z"), in_zone(at_ms, zone, "%:z"));
    if name == "UTC" {
        name
    } else if name.starts_with(['+', '-']) {
        offset
    } else {
        format!("{name} ({offset})")
    }
}

fn in_zone(at_ms: TimeMs, zone: TimeZone, form: &str) -> String {
    match jiff::Timestamp::from_millisecond(at_ms) {
        Ok(t) => t.to_zoned_datetime(zone).strftime(form).to_string(),
        Err(_) => "?".to_owned(),
    }
}

/// The moment at which a day (`2026-03-31`) begins here; `None` for any other text.
#[must_use]
pub fn day(text: &str) -> Option<TimeMs> {
    let day: jiff::civil::Date = text.parse().ok().filter(|_| text.len() == 10)?;
    Some(day.to_zoned_datetime(ZONE.clone()).ok()?.timestamp().as_millisecond())
}

/// A moment's day, `31 Mar`.
#[must_use]
pub fn day_of(at_ms: TimeMs) -> String {
    match jiff::Timestamp::from_millisecond(at_ms) {
        Ok(t) => t.to_zoned_datetime(TimeZone::UTC).strftime("%-d %b").to_string(),
        Err(_) => "?".to_owned(),
    }
}

/// [`time`], or a dash.
#[must_use]
pub fn maybe_time(at_ms: Option<TimeMs>) -> String {
    at_ms.map_or_else(|| "-".to_owned(), time)
}

/// `3 days`, `1 hour`, …: the largest unit that fits.
#[must_use]
pub fn span(ms: TimeMs) -> String {
    let (n, unit) = match ms {
        _ if ms >= 2 * DAY_MS || (ms >= DAY_MS && ms % DAY_MS == 0) => (ms / DAY_MS, "day"),
        _ if ms >= HOUR_MS => (ms / HOUR_MS, "hour"),
        _ if ms >= MINUTE_MS => (ms / MINUTE_MS, "minute"),
        _ => (ms.max(0) / 1000, "second"),
    };
    format!("{n} {unit}{}", if n == 1 { "" } else { "s" })
}

/// How long ago, or that it never was.
#[must_use]
pub fn ago(at_ms: Option<TimeMs>, now_ms: TimeMs) -> String {
    at_ms.map_or_else(|| "never".to_owned(), |t| format!("{} ago", span(now_ms - t)))
}

/// `1 phone`, `3 phones`; `1 entry`, `3 entries`.
#[must_use]
pub fn count(n: u64, what: &str) -> String {
    let vowel = |c: char| "aeiou".contains(c);
    match what.strip_suffix('y') {
        _ if n == 1 => format!("{n} {what}"),
        Some(stem) if !stem.ends_with(vowel) => format!("{n} {stem}ies"),
        _ => format!("{n} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn many_are_told_as_many() {
        let told =
            [count(1, "entry"), count(2, "entry"), count(0, "day"), count(2, "key"), count(1, "phone")];
        assert_eq!(told, ["1 entry", "2 entries", "0 days", "2 keys", "1 phone"]);
    }

    #[test]
    fn spans_are_told_in_their_largest_unit() {
        for (ms, text) in [
            (0, "0 seconds"),
            (1_000, "1 second"),
            (MINUTE_MS, "1 minute"),
            (HOUR_MS, "1 hour"),
            (DAY_MS, "1 day"),
            (DAY_MS + HOUR_MS, "25 hours"),
            (7 * DAY_MS, "7 days"),
        ] {
            assert_eq!(span(ms), text);
        }
    }

    #[test]
    fn a_day_begins_at_its_midnight_and_no_other_text_is_one() {
        assert_eq!(wall_time(day("2026-03-31").unwrap()), "2026-03-31 00:00");
        assert_eq!(day("2026-04-01").unwrap() - day("2026-03-31").unwrap(), DAY_MS);
        for text in ["", "2026-02-30", "31/03/2026", "2026-03-31T10:00", "20260331"] {
            assert_eq!(day(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_says_its_zone_in_summer_and_winter_and_far_away() {
        let told = |at_ms, zone: &str| zone_of(at_ms, TimeZone::get(zone).unwrap());
        let (winter, summer) = (1_764_547_200_000, 1_782_907_200_000);
        assert_eq!(told(winter, "Europe/London"), "GMT (+00:00)");
        assert_eq!(told(summer, "Europe/London"), "BST (+01:00)");
        assert_eq!(told(winter, "UTC"), "UTC");
        assert_eq!(told(winter, "Asia/Tashkent"), "+05:00");
        assert_eq!(told(winter, "Asia/Kolkata"), "IST (+05:30)");
        assert_eq!(told(winter, "Asia/Jerusalem"), "IST (+02:00)");
        assert_eq!(time(winter), format!("{} {}", wall_time(winter), zone(winter)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn no_line_steers_whoever_shows_it(text in any::<String>()) {
            let shown = line(&text);
            prop_assert!(!shown.chars().any(|c| c.is_control() || c == '\u{202e}'), "it steers");
        }
    }

    #[test]
    fn what_turns_the_writing_breaks_lines_or_is_not_seen_is_made_visible() {
        for hidden in [
            '\u{61c}', '\u{200b}', '\u{200d}', '\u{200f}', '\u{2028}', '\u{2029}', '\u{202e}', '\u{2066}',
            '\u{feff}',
        ] {
            assert_eq!(line(&format!("a{hidden}b")), "a\u{fffd}b", "{hidden:?}");
        }
    }
}
