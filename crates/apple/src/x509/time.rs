//! `Time` of RFC 5280 (section 4.1.2.5): UTCTime through 2049, GeneralizedTime from 2050.

use super::der::{Malformed, Tlv, tag, tlv};
use model::clock::TimeMs;

const DAY_S: i64 = 86_400;

/// Year, month and day of a day counted from 1970-01-01 (proleptic Gregorian calendar).
fn civil(days: i64) -> (i64, i64, i64) {
    // Years begin in March here, so that the leap day comes last.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let m = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * m + 2) / 5 + 1;
    let month = if m < 10 { m + 3 } else { m - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// The day counted from 1970-01-01 of a date.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let m = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * m + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Encodes a time, whole seconds (rounded down); None outside the years 1950 to 9999.
pub(crate) fn write_time(time_ms: TimeMs) -> Option<Vec<u8>> {
    let seconds = time_ms.div_euclid(1000);
    let (year, month, day) = civil(seconds.div_euclid(DAY_S));
    let second_of_day = seconds.rem_euclid(DAY_S);
    let (h, m, s) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    match year {
        1950..=2049 => {
            let text = format!("{:02}{month:02}{day:02}{h:02}{m:02}{s:02}Z", year % 100);
            Some(tlv(tag::UTC_TIME, &[text.as_bytes()]))
        }
        2050..=9999 => {
            let text = format!("{year:04}{month:02}{day:02}{h:02}{m:02}{s:02}Z");
            Some(tlv(tag::GENERALIZED_TIME, &[text.as_bytes()]))
        }
        _ => None,
    }
}

/// Reads a time; fractions and offsets are refused, as RFC 5280 asks.
pub(crate) fn read_time(time: &Tlv<'_>) -> Result<TimeMs, Malformed> {
    const BAD: Malformed = Malformed("a time is not as RFC 5280 writes it");
    let digits = time.body.strip_suffix(b"Z").ok_or(BAD)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(BAD);
    }
    let (year_digits, rest) = match time.tag {
        tag::UTC_TIME if digits.len() == 12 => digits.split_at_checked(2).ok_or(BAD)?,
        tag::GENERALIZED_TIME if digits.len() == 14 => digits.split_at_checked(4).ok_or(BAD)?,
        _ => return Err(BAD),
    };
    let number = |d: &[u8]| d.iter().fold(0i64, |n, c| n * 10 + i64::from(c - b'0'));
    let year = match (year_digits.len(), number(year_digits)) {
        (2, yy) if yy < 50 => 2000 + yy,
        (2, yy) => 1900 + yy,
        (_, year) => year,
    };
    let mut pairs = rest.chunks_exact(2).map(number);
    let mut next = || pairs.next().ok_or(BAD);
    let (month, day, h, m, s) = (next()?, next()?, next()?, next()?, next()?);
    let date = days(year, month, day);
    if !(1..=12).contains(&month) || civil(date) != (year, month, day) || h > 23 || m > 59 || s > 59 {
        return Err(BAD);
    }
    Ok((date * DAY_S + h * 3600 + m * 60 + s) * 1000)
}

#[cfg(test)]
mod tests {
    use super::super::der::Reader;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn utc_time_is_written_through_2049_and_generalized_time_after() {
        assert_eq!(&write_time(0).unwrap()[2..], b"700101000000Z");
        assert_eq!(&write_time(2_524_607_999_999).unwrap()[2..], b"491231235959Z");
        assert_eq!(&write_time(2_524_608_000_000).unwrap()[2..], b"20500101000000Z");
        assert_eq!(&write_time(1_709_210_096_000).unwrap()[2..], b"240229123456Z");
        assert_eq!(write_time(i64::MAX), None);
    }

    #[test]
    fn a_day_that_does_not_exist_is_refused() {
        for bad in [
            &b"\x17\x0d230229000000Z"[..],
            b"\x17\x0d241301000000Z",
            b"\x17\x0d240101240000Z",
            b"\x17\x0b2401010000Z",
        ] {
            assert!(read_time(&Reader::new(bad).any().unwrap()).is_err());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn a_written_time_is_read_back(seconds in -631_152_000i64..253_402_300_800) {
            let bytes = write_time(seconds * 1000 + 999).unwrap();
            prop_assert_eq!(read_time(&Reader::new(&bytes).any().unwrap()).unwrap(), seconds * 1000);
        }
    }
}
