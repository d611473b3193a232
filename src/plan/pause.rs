//! How long to wait before asking for capacity again.

use std::time::Duration;

/// Pauses that grow: each `factor` times as long as the one before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pauses {
    /// The first.
    pub first: Duration,
    /// How much longer each is than the one before.
    pub factor: f64,
    /// The longest.
    pub longest: Duration,
}

impl Pauses {
    /// The pause after a round, counted from 0.
    pub fn after(&self, round: u32) -> Duration {
        let seconds = self.first.as_secs_f64() * self.factor.max(1.0).powf(f64::from(round));
        // Too large for a duration is longer than the longest.
        Duration::try_from_secs_f64(seconds).map_or(self.longest, |pause| pause.min(self.longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn five_seconds_half_as_long_again_each_time_two_minutes_at_most() {
        let pauses = Pauses { first: Duration::from_secs(5), factor: 1.5, longest: Duration::from_secs(120) };
        let seconds: Vec<_> = (0..10).map(|n| pauses.after(n).as_secs_f64().round()).collect();
        assert_eq!(seconds, [5.0, 8.0, 11.0, 17.0, 25.0, 38.0, 57.0, 85.0, 120.0, 120.0]);
    }

    proptest! {
        #[test]
        fn they_grow_and_stay_within_the_longest(first in 0_u64..10_000, factor in 0.0..20.0_f64, longest in 0_u64..10_000, round: u32) {
            let pauses = Pauses { first: Duration::from_millis(first), factor, longest: Duration::from_millis(longest) };
            prop_assert!(pauses.after(round) <= pauses.longest);
            prop_assert!(pauses.after(round.saturating_add(1)) >= pauses.after(round));
        }
    }
}
