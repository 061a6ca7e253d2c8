//! Unix milliseconds as text, without a wall clock.

use jiff::Timestamp;

use crate::finding::UnixMs;

/// `2025-05-15T02:01:36Z`; a time out of range is written as its number.
pub fn utc_text(ms: UnixMs) -> String {
    match Timestamp::from_millisecond(ms) {
        Ok(t) => t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Err(_) => format!("{ms} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_second_is_written_as_utc() {
        assert_eq!(utc_text(1_747_274_496_000), "2025-05-15T02:01:36Z");
        assert_eq!(utc_text(i64::MAX), format!("{} ms", i64::MAX));
    }
}
