//! Random numbers from a seed. Only integers, with the rules written out here: a library that draws ranges
//! differently from one version to the next would change every log.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};

/// A stream of draws: the n-th depends only on the seed and on n.
#[derive(Debug, Clone)]
pub struct Rng(Xoshiro256PlusPlus);
impl Rng {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }
    /// An even draw from `0..n`. `n` must not be 0.
    pub fn below(&mut self, n: u32) -> u32 {
        let drawn = self.0.next_u64() >> 32;
        u32::try_from((drawn * u64::from(n)) >> 32).expect("a 32-bit fraction of `n` is below `n`")
    }
    /// An even draw from `least..=most`.
    pub fn between(&mut self, least: i32, most: i32) -> i32 {
        let width = most.abs_diff(least) + 1;
        least + self.below(width).cast_signed()
    }
    /// True with a probability of `n` in a thousand.
    pub fn per_mille(&mut self, n: u32) -> bool {
        self.below(1000) < n
    }
    /// One of the entries, drawn evenly.
    pub fn pick<'a, T>(&mut self, entries: &'a [T]) -> &'a T {
        &entries[self.index(entries.len())]
    }
    /// An index below `len`, drawn evenly.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(u32::try_from(len).expect("no table here has 2^32 rows")) as usize
    }
    /// An index, drawn in proportion to its weight.
    pub fn weighted(&mut self, weights: &[u32]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (i, weight) in weights.iter().enumerate() {
            if left < *weight {
                return i;
            }
            left -= weight;
        }
        weights.len() - 1
    }
}

/// The subject of a decision on one event, so that decisions on the same event are independent.
#[derive(Debug, Clone, Copy)]
pub enum Decision {
    /// Does it arrive late?
    Disorder = 1,
    /// After how many records?
    Distance = 2,
    /// Is it sent twice?
    Duplicate = 3,
    /// After how many records does the second one follow?
    Echo = 4,
    /// Does poison follow it?
    Poison = 5,
    /// Of which kind?
    PoisonKind = 6,
}

/// An evenly distributed number for one decision on one event: a pure function of (seed, sequence).
pub fn decide(seed: u64, sequence: u64, decision: Decision) -> u64 {
    let mut z = seed ^ (decision as u64).wrapping_mul(0xd6e8_feb8_6659_fd93);
    for word in [sequence, decision as u64] {
        z = z.wrapping_add(word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
    }
    z
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_never_change_from_one_build_to_the_next() {
        let mut rng = Rng::new(7);
        let drawn: Vec<u32> = (0..6).map(|_| rng.below(1000)).collect();
        assert_eq!(drawn, [55, 172, 717, 427, 963, 465]);
        assert_eq!(decide(7, 1, Decision::Poison), 6_469_207_962_971_208_153);
    }

    #[test]
    fn draws_are_even_and_in_range() {
        let mut rng = Rng::new(1);
        let mut seen = [0_u32; 5];
        for _ in 0..50_000 {
            seen[usize::try_from(rng.between(-2, 2) + 2).expect("not negative")] += 1;
        }
        assert!(seen.iter().all(|n| (9_500..10_500).contains(n)), "{seen:?}");
    }

    #[test]
    fn weights_are_kept() {
        let mut rng = Rng::new(1);
        let mut seen = [0_u32; 3];
        for _ in 0..10_000 {
            seen[rng.weighted(&[1, 0, 3])] += 1;
        }
        assert_eq!(seen[1], 0);
        assert!((2_300..2_700).contains(&seen[0]), "{seen:?}");
    }

    #[test]
    fn decisions_on_one_event_are_independent() {
        let half = |decision| (0..10_000).filter(|n| decide(3, *n, decision) >> 63 == 1).count();
        assert!((4_800..5_200).contains(&half(Decision::Disorder)));
        let both = |n: &u64| {
            decide(3, *n, Decision::Disorder) >> 63 == 1 && decide(3, *n, Decision::Duplicate) >> 63 == 1
        };
        assert!((2_300..2_700).contains(&(0..10_000).filter(both).count()));
    }
}
