//! Avro's primitive encodings, appended to a buffer that is used again.

/// `int` and `long`: zigzag, then seven bits a byte.
#[inline]
pub fn long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// The number that a zigzag varint holds.
#[inline]
pub(crate) fn unzigzag(raw: u64) -> i64 {
    (raw >> 1).cast_signed() ^ (raw & 1).cast_signed().wrapping_neg()
}

/// `bytes`: behind their length.
#[inline]
pub fn bytes(raw: &[u8], out: &mut Vec<u8>) {
    long(raw.len() as i64, out);
    out.extend_from_slice(raw);
}

/// `string`.
#[inline]
pub fn text(text: &str, out: &mut Vec<u8>) {
    bytes(text.as_bytes(), out);
}

/// `bytes` of a decimal: the unscaled number, big-endian two's complement, no byte too many.
#[inline]
pub fn decimal(unscaled: i128, out: &mut Vec<u8>) {
    let raw = unscaled.to_be_bytes();
    let sign_bits = if unscaled < 0 { unscaled.leading_ones() } else { unscaled.leading_zeros() };
    // One sign bit must stay, so 7 bits of value fit the last byte.
    let spare = (sign_bits.saturating_sub(1) / 8).min(15) as usize;
    bytes(&raw[spare..], out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::zero(0, &[2, 0])]
    #[case::thirteen(1300, &[4, 0x05, 0x14])]
    #[case::minus_thirteen(-1300, &[4, 0xfa, 0xec])]
    #[case::minus_one(-1, &[2, 0xff])]
    #[case::needs_a_sign_byte(128, &[4, 0x00, 0x80])]
    #[case::fills_a_byte(-128, &[2, 0x80])]
    #[case::largest(i64::MAX.into(), &[16, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])]
    #[case::smallest(i64::MIN.into(), &[16, 0x80, 0, 0, 0, 0, 0, 0, 0])]
    fn a_decimal_is_the_shortest_twos_complement(#[case] unscaled: i128, #[case] expected: &[u8]) {
        let mut out = Vec::new();
        decimal(unscaled, &mut out);
        assert_eq!(out, expected);
    }

    proptest! {
        #[test]
        fn a_long_is_the_varint_that_the_library_writes(value: i64) {
            let mut out = Vec::new();
            long(value, &mut out);
            let writer = apache_avro::writer::datum::GenericDatumWriter::builder(&apache_avro::Schema::Long);
            let judged = writer.build().expect("a writer").write_value_to_vec(value).expect("a long");
            prop_assert_eq!(out, judged);
            prop_assert_eq!(unzigzag(((value << 1) ^ (value >> 63)).cast_unsigned()), value);
        }
    }
}
