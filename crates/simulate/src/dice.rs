//! Choices that come out the same for the same seed (SplitMix64, Steele, Lea and Flood 2014). For made-up
//! content only: no key, nonce or challenge comes from here.

/// A run of choices.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The choices of one phone about one subject; other subjects are independent of it.
    pub(crate) fn of(seed: u64, index: u32, subject: u64) -> Self {
        let mut dice = Self(seed ^ subject.wrapping_mul(0xd6e8_feb8_6659_fd93));
        let mixed = dice.next() ^ u64::from(index).wrapping_mul(0xa076_1d64_78bd_642f);
        Self(mixed)
    }

    /// 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n` (0 if `n` is 0).
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        u64::try_from((u128::from(self.next()) * u128::from(n)) >> 64).unwrap_or(0)
    }

    /// True `k` times of a thousand.
    pub(crate) fn per_mille(&mut self, k: u16) -> bool {
        self.below(1000) < u64::from(k)
    }

    /// One of `from`; None only when it is empty.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(usize::try_from(self.below(from.len() as u64)).unwrap_or(0))
    }

    /// Fills `out`.
    pub(crate) fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let bytes = self.next().to_le_bytes();
            for (o, b) in chunk.iter_mut().zip(bytes) {
                *o = b;
            }
        }
    }

    /// `N` bytes.
    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }

    /// `n` decimal digits.
    pub(crate) fn digits(&mut self, n: usize) -> String {
        (0..n).map(|_| char::from(b'0' + u8::try_from(self.below(10)).unwrap_or(0))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_choices_and_another_index_makes_others() {
        let of = |seed, index, subject| Dice::of(seed, index, subject).bytes::<32>();
        assert_eq!(of(1, 2, 3), of(1, 2, 3));
        for other in [of(2, 2, 3), of(1, 3, 3), of(1, 2, 4)] {
            assert_ne!(of(1, 2, 3), other);
        }
    }

    #[test]
    fn choices_stay_within_their_bounds() {
        let mut dice = Dice::of(7, 0, 0);
        let mut seen = [false; 6];
        for _ in 0..1000 {
            seen[usize::try_from(dice.below(6)).unwrap()] = true;
        }
        assert_eq!(seen, [true; 6]);
        assert_eq!(dice.below(0), 0);
        assert!(dice.pick::<u8>(&[]).is_none());
        assert!((0..1000).filter(|_| dice.per_mille(100)).count().abs_diff(100) < 60);
    }
}
