//! Numbers: all have one grammar and differ in what they keep of it.

use super::Unread;

/// The most digits that a decimal of a table has.
const MOST_DIGITS: u32 = 38;

/// A number as it is written: `digits * 10^exponent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Digits<'a> {
    negative: bool,
    /// Before the point, without zeros at its begin.
    whole: &'a str,
    /// Behind the point, without zeros at its end.
    behind: &'a str,
    /// Of the text's `e`, held within `i64` with room to add a length.
    exponent: i64,
    /// Whether there is neither point nor exponent.
    plain: bool,
}

impl<'a> Digits<'a> {
    /// `[+-] digits [. digits] [(e|E) [+-] digits]`, with a digit before or behind the point.
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

    /// As a whole number of `10^-scale` with at most `precision` digits.
    fn unscaled(self, scale: u32, precision: u32) -> Result<i128, Unread> {
        let digits = || self.whole.bytes().chain(self.behind.bytes());
        // Zeros at the ends say nothing of the value: `0.05` has one digit, and so has `500`.
        let first = digits().position(|digit| digit != b'0');
        let Some(first) = first else { return Ok(0) };
        let after = digits().rev().position(|digit| digit != b'0').unwrap_or_default();
        let last = self.whole.len().saturating_add(self.behind.len()).saturating_sub(after);
        let count = last.saturating_sub(first);
        // Place of the last digit that is not zero, as a power of ten above `10^-scale`.
        let zeros = as_i64(self.whole.len()).saturating_sub(as_i64(last));
        let shift = self.exponent.saturating_add(zeros).saturating_add(i64::from(scale));
        if shift < 0 {
            return Err(Unread::Finer);
        }
        let width = as_i64(count).saturating_add(shift);
        if width > i64::from(precision.min(MOST_DIGITS)) {
            return Err(Unread::Range);
        }
        // At most 38 digits, which an i128 holds.
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
    /// Beyond every length that a text can have, and far from the ends of `i64`.
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

/// A whole number of 64 bits.
pub fn integer(text: &str) -> Result<i64, Unread> {
    let value = Digits::parse(text)?.unscaled(0, MOST_DIGITS)?;
    i64::try_from(value).map_err(|_| Unread::Range)
}

/// A decimal as a whole number of `10^-scale`, of at most `precision` digits (and 38 in any case).
pub fn decimal(text: &str, precision: u32, scale: u32) -> Result<i128, Unread> {
    Digits::parse(text)?.unscaled(scale, precision)
}

/// The nearest double. A whole number that no double prints is refused, and so is a number that would become
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
    // Fifteen digits are always a double's own.
    if digits.plain && digits.whole.len() > 15 && !prints_as(value, &format!("{value:e}"), digits) {
        return Err(Unread::Finer);
    }
    Ok(value)
}

/// The float that prints the digits of the text. Where the text has more digits than the float keeps, it is
/// refused, unless these are how the float goes on.
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

/// Whether what was written is how `value` prints: in as many digits, in the fewest that read back as a
/// double, or in `shortest`, the fewest of its own type.
fn prints_as(value: f64, shortest: &str, digits: Digits<'_>) -> bool {
    let written: String = [digits.whole, digits.behind].concat();
    let written = written.trim_matches('0');
    if written.is_empty() {
        return value == 0.0;
    }
    // The exponents agree: `value` is the nearest to what was written.
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
