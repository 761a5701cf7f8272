//! Numbers with a unit or an origin.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Position of a record in its Kafka partition. Positions skip numbers (compaction, transaction markers), so a
/// range of offsets is never a row count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Offset(pub i64);
impl Offset {
    /// Where to resume once the record at `self` is durable.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Version of a Delta table. The first is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version(pub u64);
impl Version {
    /// The version of the next commit on top of this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
    /// From the `version` of a Delta `txn` action. `None`: below zero there is no version, so nothing was read.
    pub fn of_position(position: i64) -> Option<Self> {
        u64::try_from(position).ok().map(Self)
    }
    /// As the `version` of a Delta `txn` action.
    pub const fn position(self) -> i64 {
        self.0.cast_signed()
    }
}
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Milliseconds since the epoch on the pipeline's own clock. What a record was stamped with is [`Millis`] or
/// [`Micros`]; they never mix, and none of them orders changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClockMs(pub i64);
impl ClockMs {
    /// Whether at least `span` has passed since `then`.
    pub fn is_past(self, then: Self, span: Duration) -> bool {
        let passed = u128::try_from(self.0.saturating_sub(then.0));
        passed.is_ok_and(|passed| passed >= span.as_millis())
    }
    /// Seconds since `then`, for a metric; 0 when the clock was set back.
    #[expect(clippy::cast_precision_loss, reason = "no metric tells milliseconds of 285,000 years apart")]
    pub fn seconds_since(self, then: Self) -> f64 {
        self.0.saturating_sub(then.0).max(0) as f64 / 1000.0
    }
    /// Rounded down to a multiple of `tick`, also before 1970.
    #[must_use]
    pub fn floor(self, tick: Duration) -> Self {
        let tick = i64::try_from(tick.as_millis()).unwrap_or(i64::MAX).max(1);
        Self(self.0.div_euclid(tick).saturating_mul(tick))
    }
    /// As tables store it.
    pub const fn micros(self) -> Micros {
        Micros(self.0.saturating_mul(1000))
    }
}

/// Milliseconds since the epoch, as a source, a producer or the broker stamped a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Millis(pub i64);
impl Millis {
    /// The time of a clock that follows events.
    pub const fn on_clock(self) -> ClockMs {
        ClockMs(self.0)
    }
}

/// Microseconds since the epoch, as a source, a producer or the broker stamped a record: what tables store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Micros(pub i64);
impl Micros {
    /// The millisecond it lies in.
    pub const fn millis(self) -> Millis {
        Millis(self.0.div_euclid(1000))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::within(1_999, 1)]
    #[case::before_the_epoch(-1, -1)]
    #[case::exact(-2_000, -2)]
    fn a_microsecond_lies_in_the_millisecond_before_it(#[case] micros: i64, #[case] millis: i64) {
        assert_eq!(Micros(micros).millis(), Millis(millis));
    }

    #[rstest]
    #[case::not_yet(999, 0, 1_000, false)]
    #[case::just_now(1_000, 0, 1_000, true)]
    #[case::at_once(7, 7, 0, true)]
    #[case::set_back(6, 7, 0, false)]
    #[case::longest(i64::MAX, i64::MIN, u64::MAX, false)]
    fn a_span_is_past_when_so_much_of_it_is_gone(
        #[case] now: i64,
        #[case] then: i64,
        #[case] span: u64,
        #[case] past: bool,
    ) {
        assert_eq!(ClockMs(now).is_past(ClockMs(then), Duration::from_millis(span)), past);
    }
    #[rstest]
    #[case::next_day(86_400_001, 86_400_000)]
    #[case::first_day(86_399_999, 0)]
    #[case::before_the_epoch(-1, -86_400_000)]
    #[case::earliest(i64::MIN, i64::MIN)]
    fn a_time_is_floored_to_its_day(#[case] time: i64, #[case] floored: i64) {
        assert_eq!(ClockMs(time).floor(Duration::from_secs(86_400)), ClockMs(floored));
    }
}
