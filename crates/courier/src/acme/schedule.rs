//! When a certificate is renewed, and when a try that failed is repeated. Pure, but for the dice.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use model::TimeMs;
use order::sha256;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

const FIRST_PAUSE_MS: TimeMs = 60_000;
const LONGEST_PAUSE_MS: TimeMs = 12 * 3_600_000;

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before_ms: TimeMs,
    pub(super) not_after_ms: TimeMs,
    /// Whether it is for all the hosts.
    pub(super) covers: bool,
}

impl Validity {
    /// `None` when these bytes are no certificate.
    pub(super) fn read(certificate: &[u8], hosts: &[String]) -> Option<Self> {
        let (_, read) = X509Certificate::from_der(certificate).ok()?;
        let names = read.subject_alternative_name().ok().flatten();
        let named = |host: &String| {
            names.as_ref().is_some_and(|n| {
                n.value
                    .general_names
                    .iter()
                    .any(|n| matches!(n, GeneralName::DNSName(name) if name.eq_ignore_ascii_case(host)))
            })
        };
        let validity = read.validity();
        Some(Self {
            not_before_ms: validity.not_before.timestamp().saturating_mul(1000),
            not_after_ms: validity.not_after.timestamp().saturating_mul(1000),
            covers: hosts.iter().all(named),
        })
    }

    /// When it is to be renewed: when a third of its life is left, or when the authority suggests, but not
    /// in its last sixth.
    pub(super) fn due_ms(&self, suggested_ms: Option<TimeMs>) -> TimeMs {
        let life_ms = self.not_after_ms.saturating_sub(self.not_before_ms).max(0);
        match suggested_ms {
            Some(at_ms) => at_ms.min(self.not_after_ms - life_ms / 6),
            None => self.not_after_ms - life_ms / 3,
        }
    }
}

/// The pause after so many failures in a row: doubled each time from a minute on, half a day at most, a
/// quarter more or less by `fraction` (0 to 1), so that many houses don't come at once.
pub(super) fn pause_ms(failures: u32, fraction: f64) -> TimeMs {
    let doubled = FIRST_PAUSE_MS << failures.saturating_sub(1).min(16);
    let pause_ms = doubled.min(LONGEST_PAUSE_MS);
    pause_ms * 3 / 4 + (pause_ms as f64 / 2.0 * fraction.clamp(0.0, 1.0)) as TimeMs
}

/// A random number from 0 to 1; one half when the system has none.
pub(super) fn fraction() -> f64 {
    let mut bytes = [0; 4];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}

/// What the authority suggests for one certificate (RFC 9773).
#[derive(Debug, Default)]
pub(super) struct Suggested {
    /// SHA-256 of that certificate.
    of: Option<[u8; 32]>,
    at_ms: Option<TimeMs>,
    /// When to ask again.
    again_at_ms: TimeMs,
}

impl Suggested {
    pub(super) fn at_ms(&self, certificate: &[u8]) -> Option<TimeMs> {
        self.at_ms.filter(|_| self.of == Some(sha256(certificate).0))
    }

    /// Whether it is time to ask about this certificate.
    pub(super) fn is_due(&self, certificate: &[u8], now_ms: TimeMs) -> bool {
        self.of != Some(sha256(certificate).0) || self.again_at_ms <= now_ms
    }

    pub(super) fn remember(&mut self, certificate: &[u8], at_ms: Option<TimeMs>, again_at_ms: TimeMs) {
        let of = Some(sha256(certificate).0);
        // The same window keeps the moment that was drawn first, unless the new one is earlier: then the
        // authority is in a hurry.
        if self.of == of
            && let (Some(before), Some(now)) = (self.at_ms, at_ms)
            && before <= now
        {
            self.again_at_ms = again_at_ms;
            return;
        }
        *self = Self { of, at_ms, again_at_ms };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_of_the_life_before_the_end_is_due() {
        let v = Validity { not_before_ms: 0, not_after_ms: 90, covers: true };
        assert_eq!(v.due_ms(None), 60);
        assert_eq!(v.due_ms(Some(20)), 20);
        assert_eq!(v.due_ms(Some(89)), 75);
    }

    #[test]
    fn pauses_double_up_to_half_a_day_and_differ() {
        assert_eq!(pause_ms(1, 0.5), 60_000);
        assert_eq!(pause_ms(2, 0.5), 120_000);
        assert_eq!((pause_ms(1, 0.0), pause_ms(1, 1.0)), (45_000, 75_000));
        assert_eq!(pause_ms(u32::MAX, 0.5), LONGEST_PAUSE_MS);
        assert!((0.0..=1.0).contains(&fraction()));
    }

    #[test]
    fn a_suggestion_holds_for_its_certificate_and_may_become_earlier() {
        let mut s = Suggested::default();
        assert!(s.is_due(b"a", 0));
        s.remember(b"a", Some(50), 10);
        assert_eq!((s.at_ms(b"a"), s.at_ms(b"b")), (Some(50), None));
        assert!(!s.is_due(b"a", 9) && s.is_due(b"a", 10) && s.is_due(b"b", 9));
        s.remember(b"a", Some(60), 20);
        assert_eq!(s.at_ms(b"a"), Some(50));
        s.remember(b"a", Some(5), 30);
        assert_eq!(s.at_ms(b"a"), Some(5));
        s.remember(b"a", None, 40);
        assert_eq!(s.at_ms(b"a"), None);
    }
}
