//! Values as JSON: scalars for what stands in the clear, objects for what is sealed as one row.

use std::fmt::Write;

use apple::message::{Field, FieldValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::TimeMs;

/// A moment as RFC 3339 in UTC: `2026-11-24T08:15:00Z`, with milliseconds only when there are some.
pub(crate) fn rfc3339(at_ms: TimeMs) -> String {
    let (day, in_day_ms) = (at_ms.div_euclid(86_400_000), at_ms.rem_euclid(86_400_000));
    let (year, month, day) = civil(day);
    let (second, ms) = (in_day_ms / 1000, in_day_ms % 1000);
    let mut out = format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
        second / 3600,
        second / 60 % 60,
        second % 60
    );
    if ms != 0 {
        let _ = write!(out, ".{ms:03}");
    }
    out.push('Z');
    out
}

/// Year, month and day of a number of days since 1970-01-01 (the Gregorian calendar, counted in 400-year
/// eras that begin on the first of March).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Appends `text` as a JSON string.
pub(crate) fn push_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if u32::from(c) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Appends a value: data as `{"data":"<base64>"}`, a date as its RFC 3339 text, a number that JSON does not
/// know (NaN, infinity) as text.
pub(crate) fn push_value(out: &mut String, value: &FieldValue) {
    match value {
        FieldValue::Text(text) => push_text(out, text),
        FieldValue::Bytes(bytes) => {
            out.push_str("{\"data\":\"");
            STANDARD.encode_string(bytes, out);
            out.push_str("\"}");
        }
        FieldValue::Integer(i) => {
            let _ = write!(out, "{i}");
        }
        // Debug keeps the point in `20.0`, so that a real stays a real.
        FieldValue::Real(r) if r.is_finite() => {
            let _ = write!(out, "{r:?}");
        }
        FieldValue::Real(r) => push_text(out, &r.to_string()),
        FieldValue::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        FieldValue::Date(ms) => push_text(out, &rfc3339(*ms)),
    }
}

/// One object from path to value; `fields` come sorted, without a path twice.
pub(crate) fn object<'a>(fields: impl IntoIterator<Item = (&'a str, &'a FieldValue)>) -> String {
    let mut out = String::with_capacity(256);
    out.push('{');
    for (i, (name, value)) in fields.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        push_text(&mut out, name);
        out.push(':');
        push_value(&mut out, value);
    }
    out.push('}');
    out
}

/// One item of a list as an object, its paths in order.
pub(crate) fn item(fields: &[Field]) -> String {
    let mut sorted: Vec<&Field> = fields.iter().collect();
    sorted.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    sorted.dedup_by(|a, b| a.name == b.name);
    object(sorted.into_iter().map(|f| (f.name.as_str(), &f.value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_moments_read_as_rfc_3339() {
        // RFC 3339, section 5.8, and the ends of the years that a property list may hold.
        for (ms, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (482_196_050_520, "1985-04-12T23:20:50.520Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (253_402_300_799_000, "9999-12-31T23:59:59Z"),
            (-62_167_219_200_000, "0000-01-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(ms), text);
        }
    }

    #[test]
    fn a_real_stays_a_real_and_what_json_does_not_know_becomes_text() {
        let json = |v| {
            let mut out = String::new();
            push_value(&mut out, &v);
            out
        };
        assert_eq!(json(FieldValue::Real(20.0)), "20.0");
        assert_eq!(json(FieldValue::Real(f64::NAN)), "\"NaN\"");
        assert_eq!(json(FieldValue::Bytes(vec![0, 255])), "{\"data\":\"AP8=\"}");
        assert_eq!(json(FieldValue::Date(0)), "\"1970-01-01T00:00:00Z\"");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_text_is_valid_json_and_reads_back(text in ".*", number in any::<f64>()) {
            let mut out = String::new();
            push_text(&mut out, &text);
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
            let mut out = String::new();
            push_value(&mut out, &FieldValue::Real(number));
            prop_assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok());
        }
    }
}
