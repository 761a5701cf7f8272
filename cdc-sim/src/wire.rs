//! Avro's primitive encodings and numbers as text, appended to a reused buffer.

pub use avro::wire::{decimal, long, text};

/// Branch 0 of a `["null", T]` union.
pub const NULL: u8 = 0;
/// Branch 1 of a `["null", T]` union.
pub const PRESENT: u8 = 2;

/// A buffer for a number's digits, to avoid an allocation.
#[derive(Debug, Default, Clone, Copy)]
pub struct Digits([u8; 20]);
impl Digits {
    /// The number as decimal text.
    pub fn of(&mut self, value: i64) -> &str {
        let (mut at, mut rest) = (self.0.len(), value.unsigned_abs());
        loop {
            at -= 1;
            self.0[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if value < 0 {
            at -= 1;
            self.0[at] = b'-';
        }
        std::str::from_utf8(&self.0[at..]).expect("digits and a sign are ASCII")
    }
}

/// A number as decimal text.
#[inline]
pub fn digits(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(Digits::default().of(value).as_bytes());
}

/// A decimal as text: `-0.05` for -5 at scale 2.
#[inline]
pub fn fixed_point(unscaled: i64, scale: u32, out: &mut Vec<u8>) {
    if unscaled < 0 {
        out.push(b'-');
    }
    let (rest, one) = (unscaled.unsigned_abs(), 10_u64.pow(scale));
    digits((rest / one).cast_signed(), out);
    out.push(b'.');
    let mut place = one / 10;
    while place > 0 {
        out.push(b'0' + (rest / place % 10) as u8);
        place /= 10;
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::below_one(-5, 2, "-0.05")]
    #[case::cents(189_900, 2, "1899.00")]
    #[case::thousandths(15_001, 3, "15.001")]
    fn a_decimal_shows_all_its_places(#[case] unscaled: i64, #[case] scale: u32, #[case] expected: &str) {
        let mut out = Vec::new();
        fixed_point(unscaled, scale, &mut out);
        assert_eq!(out, expected.as_bytes());
    }

    #[test]
    fn the_widest_numbers_have_room() {
        assert_eq!(Digits::default().of(i64::MIN), "-9223372036854775808");
        assert_eq!(Digits::default().of(i64::MAX), "9223372036854775807");
    }
}
