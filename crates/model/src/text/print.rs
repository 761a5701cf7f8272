//! Values as text that parses back to the same value.

/// A date: `2026-01-31`. Years outside 0 to 9999 have a sign and at least six digits, the expanded form of ISO
/// 8601, which [`super::date`] refuses.
pub fn print_date(days: i32) -> String {
    let (year, month, day) = civil(i64::from(days));
    format!("{}-{month:02}-{day:02}", Year(year))
}

/// A time of day, given in nanoseconds since midnight: `23:59:59.123`.
pub fn print_time(nanos: i64) -> String {
    let (seconds, nanos) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{hour:02}:{minute:02}:{second:02}{}", Fraction(nanos))
}

/// An instant, in seconds since 1970 and nanoseconds: `2026-01-31T23:59:59.500Z`. Without a zone there is no
/// `Z`.
pub fn print_instant(seconds: i64, nanos: u32, is_zoned: bool) -> String {
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    let zone = if is_zoned { "Z" } else { "" };
    let (year, fraction) = (Year(year), Fraction(nanos.into()));
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}")
}

/// A decimal with all digits of its scale: `-0.50`. A negative scale prints trailing zeros.
pub fn print_decimal(unscaled: i128, scale: i8) -> String {
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = unscaled.unsigned_abs().to_string();
    let places = usize::from(scale.unsigned_abs());
    if scale <= 0 {
        let zeros = if unscaled == 0 { 0 } else { places };
        return format!("{sign}{digits}{}", "0".repeat(zeros));
    }
    let padded = format!("{digits:0>width$}", width = places.saturating_add(1));
    let (whole, behind) = padded.split_at(padded.len().saturating_sub(places));
    format!("{sign}{whole}.{behind}")
}

/// A double with the fewest digits that read back as the same value; `NaN`, `Infinity` and `-Infinity` are
/// spelled out. Very large and very small values have an exponent.
pub fn print_double(value: f64) -> String {
    match special(value) {
        Some(text) => text.to_owned(),
        None => format!("{value:?}"),
    }
}

/// As [`print_double`], for a float.
pub fn print_float(value: f32) -> String {
    match special(f64::from(value)) {
        Some(text) => text.to_owned(),
        None => format!("{value:?}"),
    }
}

fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value.is_infinite() {
        Some(if value > 0.0 { "Infinity" } else { "-Infinity" })
    } else {
        None
    }
}

/// The hyphenated, lowercase form of a UUID.
pub fn print_uuid(raw: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in raw.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// A year with four digits, or with a sign and at least six.
struct Year(i64);
impl std::fmt::Display for Year {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            year @ 0..=9_999 => write!(f, "{year:04}"),
            year => write!(f, "{year:+07}"),
        }
    }
}

/// A point and nanoseconds in as many groups of three digits as needed; nothing for zero.
struct Fraction(i64);
impl std::fmt::Display for Fraction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            0 => Ok(()),
            nanos if nanos % 1_000_000 == 0 => write!(f, ".{:03}", nanos / 1_000_000),
            nanos if nanos % 1_000 == 0 => write!(f, ".{:06}", nanos / 1_000),
            nanos => write!(f, ".{nanos:09}"),
        }
    }
}

/// Year, month and day of a day since 1970. The days of any `i64` of seconds are in range.
#[allow(clippy::arithmetic_side_effects, reason = "days are at most i64::MAX / 86,400")]
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}
