//! How often people sign in by the provider.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use model::clock::HOUR_MS;
use model::{Digest, TimeMs};

use super::NotIn;

/// One person, in an hour.
const MOST_OF_ONE: usize = 20;
/// All of them, in an hour. Fewer than the 2,000 words of it that the vault writes: what the vault does not know of, no order
/// can end.
const MOST: usize = 1_500;

/// When who signed in, within the last hour. It is known anew after a start from the sessions that stand.
#[derive(Debug, Default)]
pub(crate) struct SignIns(Mutex<VecDeque<(TimeMs, Digest)>>);

impl SignIns {
    pub fn known(all: impl Iterator<Item = (TimeMs, Digest)>) -> Self {
        Self(Mutex::new(all.collect()))
    }

    /// Counts one more, or says why it may not be.
    pub fn one_more(&self, subject: Digest, now_ms: TimeMs) -> Result<(), NotIn> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back holds nobody up for longer.
        all.iter_mut().for_each(|(at_ms, _)| *at_ms = now_ms.min(*at_ms));
        all.retain(|(at_ms, _)| now_ms - HOUR_MS < *at_ms);
        if all.iter().filter(|(_, whose)| *whose == subject).count() >= MOST_OF_ONE {
            return Err(NotIn::TooOften);
        }
        if all.len() >= MOST {
            return Err(NotIn::TooMany);
        }
        all.push_back((now_ms, subject));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(n: usize) -> Digest {
        let mut subject = Digest([0; 32]);
        subject.0[..8].copy_from_slice(&n.to_be_bytes());
        subject
    }

    #[test]
    fn one_person_signs_in_twenty_times_an_hour_and_nobody_waits_for_them() {
        let known = (0..MOST_OF_ONE - 1).map(|_| (0, person(1)));
        let sign_ins = SignIns::known(known);
        assert_eq!(sign_ins.one_more(person(1), HOUR_MS / 2), Ok(()));
        assert_eq!(sign_ins.one_more(person(1), HOUR_MS - 1), Err(NotIn::TooOften));
        assert_eq!(sign_ins.one_more(person(2), HOUR_MS - 1), Ok(()));
        assert_eq!(sign_ins.one_more(person(1), HOUR_MS), Ok(()), "those of before a start are an hour old");
    }

    #[test]
    fn fewer_sign_in_within_an_hour_than_the_vault_writes_down() {
        let sign_ins = SignIns::default();
        for n in 0..MOST {
            assert_eq!(sign_ins.one_more(person(n), 0), Ok(()));
        }
        const { assert!(MOST < 2_000) };
        assert_eq!(sign_ins.one_more(person(MOST), 1), Err(NotIn::TooMany));
        // Set back by a day, the clock frees them after an hour of its own.
        let day_back_ms = -24 * HOUR_MS;
        assert_eq!(sign_ins.one_more(person(MOST), day_back_ms), Err(NotIn::TooMany));
        assert_eq!(sign_ins.one_more(person(MOST), day_back_ms + HOUR_MS), Ok(()));
    }
}
