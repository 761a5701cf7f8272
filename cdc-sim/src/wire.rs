//! Avro's primitive encodings and numbers as text, appended to a buffer that is used again.

/// Branch 0 of a `["null", T]` union.
pub const NULL: u8 = 0;
/// Branch 1 of a `["null", T]` union.
pub const PRESENT: u8 = 2;

/// Avro `int` and `long`: zigzag, then seven bits a byte.
#[inline]
pub fn long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Avro `bytes` of a decimal: the unscaled number, big-endian two's complement, no byte too many.
#[inline]
pub fn decimal(unscaled: i64, out: &mut Vec<u8>) {
    let bytes = unscaled.to_be_bytes();
    let sign_bits = if unscaled < 0 { unscaled.leading_ones() } else { unscaled.leading_zeros() };
    // One sign bit must stay, so 7 bits of value fit the last byte.
    let skip = ((sign_bits - 1) / 8).min(7) as usize;
    out.push(((8 - skip) * 2) as u8);
    out.extend_from_slice(&bytes[skip..]);
}

/// Avro `string`.
#[inline]
pub fn text(text: &str, out: &mut Vec<u8>) {
    long(text.len() as i64, out);
    out.extend_from_slice(text.as_bytes());
}

/// A place to write a number's digits without allocating.
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

/// Kafka's own hash of a key, so that tools which partition by default agree with us.
pub fn murmur2(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c_u32 ^ key.len() as u32;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    if !rest.is_empty() {
        for (i, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * i);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::zero(0, &[2, 0])]
    #[case::thirteen(1300, &[4, 0x05, 0x14])]
    #[case::minus_thirteen(-1300, &[4, 0xfa, 0xec])]
    #[case::needs_a_sign_byte(128, &[4, 0x00, 0x80])]
    #[case::fills_a_byte(-128, &[2, 0x80])]
    #[case::largest(i64::MAX, &[16, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])]
    #[case::smallest(i64::MIN, &[16, 0x80, 0, 0, 0, 0, 0, 0, 0])]
    fn a_decimal_is_the_shortest_twos_complement(#[case] unscaled: i64, #[case] expected: &[u8]) {
        let mut out = Vec::new();
        decimal(unscaled, &mut out);
        assert_eq!(out, expected);
    }

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

    /// Vectors of Kafka's own `UtilsTest`.
    #[rstest]
    #[case("21", -973_932_308)]
    #[case("foobar", -790_332_482)]
    #[case("a-little-bit-long-string", -985_981_536)]
    #[case("a-little-bit-longer-string", -1_486_304_829)]
    #[case("abc", 479_470_107)]
    fn murmur2_is_kafkas(#[case] key: &str, #[case] expected: i32) {
        assert_eq!(murmur2(key.as_bytes()).cast_signed(), expected);
    }
}
