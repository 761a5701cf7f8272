//! What to generate, how fast, and what to spoil on the way.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Settings of a simulated source. `seed`, `disorder`, `duplicates`, `poison` and `schema_change` determine
/// the log and must stay the same when a run is resumed; the others may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The same seed gives the same bytes.
    pub seed: u64,
    /// Number of change events, without tombstones, duplicates and poison. `None`: until stopped.
    pub events: Option<u64>,
    /// Mean change events per second. `None`: the pattern's default.
    pub rate: Option<NonZeroU32>,
    /// When events are sent. It never decides which. `None`: `bulk` if `events` is given, else `trickle`.
    pub pattern: Option<Pattern>,
    /// Share of events that arrive late in their partition.
    pub disorder: Share,
    /// Share of events that are sent a second time.
    pub duplicates: Share,
    /// Poison records sent, as a share of events. They never replace a real record.
    pub poison: Share,
    /// A change of schemas while the log is written.
    pub schema_change: Option<SchemaChange>,
    /// Incarnation of the simulated database: header `lp.epoch`.
    pub epoch: i64,
}
impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 1,
            events: None,
            rate: None,
            pattern: None,
            disorder: Share::NONE,
            duplicates: Share::NONE,
            poison: Share::NONE,
            schema_change: None,
            epoch: 1,
        }
    }
}
impl Settings {
    /// The effective pattern.
    pub fn pattern(&self) -> Pattern {
        self.pattern.unwrap_or(if self.events.is_some() { Pattern::Bulk } else { Pattern::Trickle })
    }
}

/// When events are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pattern {
    /// Evenly: 200 per second unless a rate is given.
    Trickle,
    /// As fast as possible, or evenly at the given rate.
    Bulk,
    /// One second in five at five times the rate (default 1,000 per second), then quiet.
    Burst,
}
impl FromStr for Pattern {
    type Err = BadSetting;
    fn from_str(text: &str) -> Result<Self, BadSetting> {
        match text {
            "trickle" => Ok(Self::Trickle),
            "bulk" => Ok(Self::Bulk),
            "burst" => Ok(Self::Burst),
            _ => Err(BadSetting::new(text, "pattern", "`trickle`, `bulk` or `burst`")),
        }
    }
}
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trickle => "trickle",
            Self::Bulk => "bulk",
            Self::Burst => "burst",
        })
    }
}

/// A share of events, in millionths. Text: `1%`, `0.1%` or `0.01`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);
impl Share {
    /// No event.
    pub const NONE: Self = Self(0);
    /// This many of a million events; at most all of them.
    pub fn millionths(n: u32) -> Self {
        Self(n.min(1_000_000))
    }
    /// From a number between 0 and 1; numbers outside are clamped.
    pub fn of(part: f64) -> Self {
        // The cast saturates, and turns NaN into 0.
        Self::millionths((part * 1e6).round() as u32)
    }
    /// Whether it is no event at all.
    pub fn is_none(self) -> bool {
        self.0 == 0
    }
    /// Whether a number drawn evenly from all of `u64` falls into this share.
    pub fn takes(self, drawn: u64) -> bool {
        (u128::from(drawn) * 1_000_000) >> 64 < u128::from(self.0)
    }
}
impl FromStr for Share {
    type Err = BadSetting;
    fn from_str(text: &str) -> Result<Self, BadSetting> {
        let bad = || BadSetting::new(text, "share", "a number from 0 to 1 (`0.01`) or a percentage (`1%`)");
        let (number, one) = text.strip_suffix('%').map_or((text, 1_000_000), |n| (n, 10_000));
        let (whole, part) = number.trim().split_once('.').unwrap_or((number.trim(), ""));
        let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit()) && t.len() <= 9;
        if !digits(whole) || !digits(part) || (whole.is_empty() && part.is_empty()) {
            return Err(bad());
        }
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| bad())? };
        let scale = 10_u64.pow(u32::try_from(part.len()).map_err(|_| bad())?);
        let part: u64 = if part.is_empty() { 0 } else { part.parse().map_err(|_| bad())? };
        let millionths = whole * one + part * one / scale;
        u32::try_from(millionths).ok().filter(|n| *n <= 1_000_000).map(Self).ok_or_else(bad)
    }
}
impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 10_000, self.0 % 10_000);
        if part == 0 {
            return write!(f, "{whole}%");
        }
        let part = format!("{part:04}");
        write!(f, "{whole}.{}%", part.trim_end_matches('0'))
    }
}

/// A schema change at a given event. Text: `column@5000`, `widen@5000`, or `5000` for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaChange {
    /// The first transaction that begins at this event or later uses the new schemas.
    pub at: u64,
    /// `customers` gets the nullable column `loyalty_tier`.
    pub column: bool,
    /// `quantity_on_hand` of `stock_item_holdings` becomes a `long`.
    pub widen: bool,
}
impl FromStr for SchemaChange {
    type Err = BadSetting;
    fn from_str(text: &str) -> Result<Self, BadSetting> {
        let bad =
            || BadSetting::new(text, "schema change", "`column@N`, `widen@N`, or `N` for both, at event N");
        let (what, at) = text.split_once('@').map_or((None, text), |(what, at)| (Some(what), at));
        let at = at.parse().map_err(|_| bad())?;
        match what {
            None => Ok(Self { at, column: true, widen: true }),
            Some("column") => Ok(Self { at, column: true, widen: false }),
            Some("widen") => Ok(Self { at, column: false, widen: true }),
            Some(_) => Err(bad()),
        }
    }
}

/// A setting that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {kind}: give {rule}")]
pub struct BadSetting {
    text: String,
    kind: &'static str,
    rule: &'static str,
}
impl BadSetting {
    fn new(text: &str, kind: &'static str, rule: &'static str) -> Self {
        Self { text: text.to_owned(), kind, rule }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::percent("1%", 10_000)]
    #[case::part_of_a_percent("0.1%", 1_000)]
    #[case::number("0.01", 10_000)]
    #[case::bare_point(".5", 500_000)]
    #[case::nothing("0", 0)]
    #[case::everything("100%", 1_000_000)]
    fn a_share_is_read_exactly(#[case] text: &str, #[case] millionths: u32) {
        assert_eq!(text.parse(), Ok(Share(millionths)));
    }

    #[rstest]
    #[case::empty("")]
    #[case::percent_sign_alone("%")]
    #[case::above_all("101%")]
    #[case::negative("-1%")]
    #[case::word("few")]
    #[case::second_point("1.2.3")]
    fn what_is_no_share_is_refused(#[case] text: &str) {
        assert!(text.parse::<Share>().is_err());
    }

    #[test]
    fn a_share_is_shown_as_it_is_read() {
        for text in ["1%", "0.1%", "0.0001%", "100%"] {
            assert_eq!(text.parse::<Share>().map(|share| share.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn all_takes_every_number_and_none_takes_no_number() {
        let (all, none) = (Share::millionths(1_000_000), Share::NONE);
        for drawn in [0, 1, u64::MAX / 2, u64::MAX] {
            assert!(all.takes(drawn) && !none.takes(drawn));
        }
    }

    #[test]
    fn a_schema_change_names_what_and_when() {
        assert_eq!("column@9".parse(), Ok(SchemaChange { at: 9, column: true, widen: false }));
        assert_eq!("9".parse(), Ok(SchemaChange { at: 9, column: true, widen: true }));
        assert!("drop@9".parse::<SchemaChange>().is_err());
    }
}
