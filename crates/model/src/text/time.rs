//! Dates, times of day and instants in the extended form of ISO 8601 only.

use super::Unread;

const MICROS_A_SECOND: i64 = 1_000_000;
const MICROS_A_DAY: i64 = 86_400 * MICROS_A_SECOND;

/// Days since 1970-01-01. Years have four digits, 0001 to 9999. A trailing `Z` is ignored.
pub fn date(text: &str) -> Result<i32, Unread> {
    far(text)?;
    let bare = text.strip_suffix('Z').unwrap_or(text);
    let Some((day, "")) = split_date(bare) else { return Err(Unread::Form) };
    day
}

/// Microseconds since midnight. A trailing `Z` is ignored.
pub fn time(text: &str) -> Result<i64, Unread> {
    let bare = text.strip_suffix('Z').unwrap_or(text);
    match split_time(bare) {
        Some((micros, "")) => micros,
        _ => Err(Unread::Form),
    }
}

/// Microseconds since 1970-01-01 00:00:00 UTC. An instant without a zone is UTC.
pub fn instant(text: &str) -> Result<i64, Unread> {
    far(text)?;
    let (day, rest) = split_date(text).ok_or(Unread::Form)?;
    let rest = rest.strip_prefix(['T', ' ']).ok_or(Unread::Form)?;
    let (time, zone) = split_time(rest).ok_or(Unread::Form)?;
    let offset = match zone {
        "" | "Z" => 0,
        zone => zone_micros(zone).ok_or(Unread::Form)?,
    };
    let at = i64::from(day?).saturating_mul(MICROS_A_DAY).saturating_add(time?).saturating_sub(offset);
    // The zone offset may move an instant out of the supported years.
    let years = i64::from(FIRST_DAY).saturating_mul(MICROS_A_DAY)
        ..i64::from(LAST_DAY).saturating_add(1).saturating_mul(MICROS_A_DAY);
    if years.contains(&at) { Ok(at) } else { Err(Unread::Range) }
}

/// Days of 0001-01-01 and 9999-12-31.
const FIRST_DAY: i32 = -719_162;
const LAST_DAY: i32 = 2_932_896;

/// Returns [`Unread::Range`] for infinities and years of the expanded form: no table can hold them.
fn far(text: &str) -> Result<(), Unread> {
    if text == "infinity" || text == "-infinity" {
        return Err(Unread::Range);
    }
    let Some(unsigned) = text.strip_prefix(['+', '-']) else { return Ok(()) };
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    let (year, rest) = unsigned.split_at(digits);
    let is_date = split_date(&format!("2000{}", rest.get(..6).unwrap_or_default())).is_some();
    let is_expanded = is_date && digits > 4 && (text.starts_with('-') || !year.starts_with("00"));
    Err(if is_expanded { Unread::Range } else { Unread::Form })
}

/// `YYYY-MM-DD`, and the rest of the text.
fn split_date(text: &str) -> Option<(Result<i32, Unread>, &str)> {
    let (year, rest) = digits(text, 4)?;
    let (month, rest) = digits(rest.strip_prefix('-')?, 2)?;
    let (day, rest) = digits(rest.strip_prefix('-')?, 2)?;
    if !(1..=12).contains(&month) || !(1..=days_of(year, month)).contains(&day) {
        return None;
    }
    Some((if year == 0 { Err(Unread::Range) } else { Ok(days_since_epoch(year, month, day)) }, rest))
}

/// `HH:MM:SS` with an optional fraction, as microseconds since midnight, and the rest of the text.
fn split_time(text: &str) -> Option<(Result<i64, Unread>, &str)> {
    let (hour, rest) = digits(text, 2)?;
    let (minute, rest) = digits(rest.strip_prefix(':')?, 2)?;
    let (second, rest) = digits(rest.strip_prefix(':')?, 2)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction, rest) = match rest.strip_prefix('.') {
        None => (Ok(0), rest),
        Some(rest) => {
            let count = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (fraction, rest) = rest.split_at(count);
            if fraction.is_empty() {
                return None;
            }
            (micros_of(fraction), rest)
        }
    };
    let seconds = i64::from(hour)
        .saturating_mul(3_600)
        .saturating_add(i64::from(minute).saturating_mul(60))
        .saturating_add(i64::from(second));
    Some((fraction.map(|micros| seconds.saturating_mul(MICROS_A_SECOND).saturating_add(micros)), rest))
}

/// The fraction of a second, as microseconds.
fn micros_of(fraction: &str) -> Result<i64, Unread> {
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 6 {
        return Err(Unread::Finer);
    }
    let padded = format!("{fraction:0<6}");
    padded.parse().map_err(|_| Unread::Form)
}

/// `+HH:MM` or `+HH`.
fn zone_micros(zone: &str) -> Option<i64> {
    let (sign, rest) = match zone.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, zone.strip_prefix('+')?),
    };
    let (hour, rest) = digits(rest, 2)?;
    let (minute, rest) = match rest.strip_prefix(':') {
        Some(rest) => digits(rest, 2)?,
        None => (0, rest),
    };
    if hour > 23 || minute > 59 || !rest.is_empty() {
        return None;
    }
    let minutes = i64::from(hour).saturating_mul(60).saturating_add(i64::from(minute));
    Some(minutes.saturating_mul(60 * MICROS_A_SECOND).saturating_mul(sign))
}

/// A number of exactly `count` digits, and the rest of the text.
fn digits(text: &str, count: usize) -> Option<(i32, &str)> {
    let (digits, rest) = text.split_at_checked(count)?;
    let all = digits.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| digits.parse().ok()).flatten().map(|number| (number, rest))
}

/// Whether a year of the Gregorian calendar is a leap year.
pub const fn is_leap(year: i32) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_of(year: i32, month: i32) -> i32 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Years are 0 to 9999 and months 1 to 12, so no step comes near the limits of `i32`.
#[allow(clippy::arithmetic_side_effects, reason = "all parts are bounded by the digits they were read from")]
const fn days_since_epoch(year: i32, month: i32, day: i32) -> i32 {
    // Years begin in March, so that the leap day is the last day of its year.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}
