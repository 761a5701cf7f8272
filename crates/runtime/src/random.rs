//! Where randomness comes in. In a simulated run ([`crate::simulation`]) it comes from the seed.

use rand::Rng as _;
use uuid::Uuid;

use crate::simulation::Shared;

/// 64 random bits.
#[allow(clippy::disallowed_methods, reason = "this is where randomness comes in")]
pub fn bits() -> u64 {
    Shared::current().map_or_else(|| rand::rng().next_u64(), |run| run.random())
}

/// A number below `end`; 0 if that is 0. Not quite even for an end beyond 2^32.
pub fn below(end: u64) -> u64 {
    let wide = u128::from(bits()) * u128::from(end);
    u64::try_from(wide >> 64).expect("the upper half of 128 bits")
}

/// A number from 0 up to 1.
pub fn part() -> f64 {
    // As many bits as the number has digits for.
    (bits() >> 11) as f64 / (1_u64 << 53) as f64
}

/// A UUID of version 4.
pub fn uuid() -> Uuid {
    uuid::Builder::from_random_bytes((u128::from(bits()) << 64 | u128::from(bits())).to_be_bytes())
        .into_uuid()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn numbers_stay_in_their_range_and_uuids_differ() {
        assert!((0..1_000).all(|_| below(7) < 7 && (0.0..1.0).contains(&part())));
        assert_eq!((0..1_000).map(|_| below(7)).collect::<HashSet<_>>().len(), 7);
        assert_eq!(below(0), 0);
        let uuids: HashSet<Uuid> = (0..1_000).map(|_| uuid()).collect();
        assert_eq!(uuids.len(), 1_000);
        assert!(uuids.iter().all(|uuid| uuid.get_version_num() == 4));
    }
}
