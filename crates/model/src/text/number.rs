//! Numbers. All types share one grammar and differ in what they accept of it.

use super::Unread;

/// The most digits of a decimal in a table.
const MOST_DIGITS: u32 = 38;

/// A number as written: `digits * 10^exponent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Digits<'a> {
    negative: bool,
    /// Digits before the point, without leading zeros.
    whole: &'a str,
    /// Digits after the point, without trailing zeros.
    behind: &'a str,
    /// The exponent, bounded so that a length can be added without overflow.
    exponent: i64,
    /// True if there is neither a point nor an exponent.
    plain: bool,
}

impl<'a> Digits<'a> {
    /// `[+-] digits [. digits] [(e|E) [+-] digits]`, with a digit before or after the point.
    fn parse(text: &'a str) -> Result<Self, Unread> {
        let (negative, unsigned) = sign(text);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            None => (unsigned, None),
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        };
        let (whole, behind) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if !is_digits(whole) || !is_digits(behind) || whole.is_empty() && behind.is_empty() {
            return Err(Unread::Form);
        }
        let plain = mantissa.len() == whole.len() && exponent.is_none();
        let exponent = exponent.map_or(Ok(0), parse_exponent)?;
        let (whole, behind) = (whole.trim_start_matches('0'), behind.trim_end_matches('0'));
        Ok(Self { negative, whole, behind, exponent, plain })
    }

    /// The value as a multiple of `10^-scale` with at most `precision` digits.
    fn unscaled(self, scale: u32, precision: u32) -> Result<i128, Unread> {
        let digits = || self.whole.bytes().chain(self.behind.bytes());
        // Zeros at the ends do not count as digits: `0.05` has one, and so has `500`.
        let first = digits().position(|digit| digit != b'0');
        let Some(first) = first else { return Ok(0) };
        let after = digits().rev().position(|digit| digit != b'0').unwrap_or_default();
        let last = self.whole.len().saturating_add(self.behind.len()).saturating_sub(after);
        let count = last.saturating_sub(first);
        // Place of the last nonzero digit, as a power of ten above `10^-scale`.
        let zeros = as_i64(self.whole.len()).saturating_sub(as_i64(last));
        let shift = self.exponent.saturating_add(zeros).saturating_add(i64::from(scale));
        if shift < 0 {
            return Err(Unread::Finer);
        }
        let width = as_i64(count).saturating_add(shift);
        if width > i64::from(precision.min(MOST_DIGITS)) {
            return Err(Unread::Range);
        }
        // At most 38 digits, which fit in an `i128`.
        let padded = digits().skip(first).take(count).chain(std::iter::repeat(b'0'));
        let places = usize::try_from(width).map_err(|_| Unread::Range)?;
        let value = padded.take(places).fold(0_i128, |value, digit| {
            value.wrapping_mul(10).wrapping_add(i128::from(digit.wrapping_sub(b'0')))
        });
        Ok(if self.negative { value.wrapping_neg() } else { value })
    }
    fn is_zero(self) -> bool {
        self.whole.is_empty() && self.behind.bytes().all(|digit| digit == b'0')
    }
}

fn sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn as_i64(length: usize) -> i64 {
    i64::try_from(length).expect("no text in memory is as long")
}

fn parse_exponent(text: &str) -> Result<i64, Unread> {
    /// More than the length of any text, and far from the limits of `i64`.
    const FAR: i64 = 1 << 61;
    let (negative, digits) = sign(text);
    if digits.is_empty() || !is_digits(digits) {
        return Err(Unread::Form);
    }
    let size = digits.bytes().fold(0_i64, |size, digit| {
        size.saturating_mul(10).saturating_add(i64::from(digit.wrapping_sub(b'0'))).min(FAR)
    });
    Ok(if negative { size.saturating_neg() } else { size })
}

/// A 64-bit integer.
pub fn integer(text: &str) -> Result<i64, Unread> {
    let value = Digits::parse(text)?.unscaled(0, MOST_DIGITS)?;
    i64::try_from(value).map_err(|_| Unread::Range)
}

/// A decimal as a multiple of `10^-scale`, with at most `precision` digits and never more than 38.
pub fn decimal(text: &str, precision: u32, scale: u32) -> Result<i128, Unread> {
    Digits::parse(text)?.unscaled(scale, precision)
}

/// The nearest double. Refuses a whole number that no double represents, and a number that would become
/// infinite or zero.
pub fn double(text: &str) -> Result<f64, Unread> {
    if let Some(special) = special(text) {
        return Ok(special);
    }
    let digits = Digits::parse(text)?;
    let value: f64 = text.parse().map_err(|_| Unread::Form)?;
    if value.is_infinite() || value == 0.0 && !digits.is_zero() {
        return Err(Unread::Range);
    }
    // A double represents every whole number of up to fifteen digits.
    if digits.plain && digits.whole.len() > 15 && !prints_as(value, &format!("{value:e}"), digits) {
        return Err(Unread::Finer);
    }
    Ok(value)
}

/// The float that prints with the digits of the text. A text with more digits than a float keeps is refused,
/// unless they are the further digits of that float.
pub fn float(text: &str) -> Result<f32, Unread> {
    if let Some(special) = special(text) {
        return Ok(special as f32);
    }
    let digits = Digits::parse(text)?;
    let value: f32 = text.parse().map_err(|_| Unread::Form)?;
    if value.is_infinite() || value == 0.0 && !digits.is_zero() {
        return Err(Unread::Range);
    }
    if prints_as(f64::from(value), &format!("{value:e}"), digits) { Ok(value) } else { Err(Unread::Finer) }
}

fn special(text: &str) -> Option<f64> {
    Some(match text {
        "NaN" => f64::NAN,
        "Infinity" | "inf" => f64::INFINITY,
        "-Infinity" | "-inf" => f64::NEG_INFINITY,
        _ => return None,
    })
}

/// Whether the written digits are how `value` prints: with as many digits, with the fewest that read back as
/// the same double, or as `shortest`, the fewest that read back as its own type.
fn prints_as(value: f64, shortest: &str, digits: Digits<'_>) -> bool {
    let written: String = [digits.whole, digits.behind].concat();
    let written = written.trim_matches('0');
    if written.is_empty() {
        return value == 0.0;
    }
    // Only the digits are compared: `value` is the nearest to the text, so the exponents agree.
    let is_written = |printed: &str| {
        let mantissa = printed.split_once('e').map_or(printed, |(mantissa, _)| mantissa);
        let printed: String = mantissa.chars().filter(char::is_ascii_digit).collect();
        printed.trim_end_matches('0') == written
    };
    is_written(shortest)
        || is_written(&format!("{value:e}"))
        || is_written(&format!("{:.*e}", written.len().saturating_sub(1), value))
}

/// `true` or `false`.
pub fn boolean(text: &str) -> Result<bool, Unread> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Unread::Form),
    }
}
