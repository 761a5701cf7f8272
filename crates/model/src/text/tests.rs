//! Each value that is printed reads back as itself, and a text that differs is the same value or refused.

#![allow(clippy::arithmetic_side_effects, reason = "a test's own numbers")]

use proptest::prelude::*;
use rstest::rstest;

use super::*;

const FIRST_DAY: i32 = -719_162;
const LAST_DAY: i32 = 2_932_896;

fn unscaled() -> impl Strategy<Value = i128> {
    let bound = 10_i128.pow(38) - 1;
    prop_oneof![-bound..=bound, -1_000_i128..1_000, Just(bound), Just(-bound), Just(0)]
}

/// The same number with another exponent, zeros and sign, made from `digits * 10^-scale`.
fn respelt(unscaled: i128, scale: u32, shift: i64, zeros: usize, plus: bool) -> String {
    let sign = match unscaled {
        i128::MIN..0 => "-",
        _ if plus => "+",
        _ => "",
    };
    let zeros = "0".repeat(zeros);
    let digits = unscaled.unsigned_abs();
    let exponent = -(i64::from(scale)) - shift;
    format!("{sign}{zeros}{digits}{}.{zeros}e{exponent}", "0".repeat(shift as usize))
}

proptest! {
    #[test]
    fn a_decimal_reads_back_as_what_was_printed(unscaled in unscaled(), scale in 0_u32..=38) {
        let text = print_decimal(unscaled, scale as i8);
        prop_assert_eq!(decimal(&text, 38, scale), Ok(unscaled));
    }

    #[test]
    fn a_decimal_is_the_same_however_it_is_spelt(
        unscaled in unscaled(), scale in 0_u32..=38, shift in 0_i64..20, zeros in 0_usize..5, plus: bool,
    ) {
        let text = respelt(unscaled, scale, shift, zeros, plus);
        prop_assert_eq!(decimal(&text, 38, scale), Ok(unscaled), "{}", text);
    }

    #[test]
    fn a_decimal_of_more_digits_than_its_type_is_refused(unscaled in unscaled(), scale in 0_u32..=38, precision in 1_u32..=38) {
        let text = print_decimal(unscaled, scale as i8);
        let fits = unscaled.unsigned_abs() < 10_u128.pow(precision);
        prop_assert_eq!(decimal(&text, precision, scale), if fits { Ok(unscaled) } else { Err(Unread::Range) });
        if scale > 0 {
            let coarser = decimal(&text, 38, scale - 1);
            prop_assert_eq!(coarser, if unscaled % 10 == 0 { Ok(unscaled / 10) } else { Err(Unread::Finer) });
        }
    }

    #[test]
    fn an_integer_reads_back_and_what_is_beyond_is_refused(value: i64, above in 1_i128..i128::from(i64::MAX)) {
        prop_assert_eq!(integer(&value.to_string()), Ok(value));
        prop_assert_eq!(integer(&format!("{value}.000")), Ok(value));
        prop_assert_eq!(integer(&(i128::from(i64::MAX) + above).to_string()), Err(Unread::Range));
        prop_assert_eq!(integer(&format!("{value}.5")), Err(Unread::Finer));
    }

    #[test]
    fn doubles_and_floats_read_back_bit_by_bit(double_bits: u64, float_bits: u32) {
        let (wide, narrow) = (f64::from_bits(double_bits), f32::from_bits(float_bits));
        let (read_wide, read_narrow) = (double(&print_double(wide)), float(&print_float(narrow)));
        if wide.is_nan() {
            prop_assert!(read_wide.is_ok_and(f64::is_nan));
        } else {
            prop_assert_eq!(read_wide.map(f64::to_bits), Ok(double_bits));
        }
        if narrow.is_nan() {
            prop_assert!(read_narrow.is_ok_and(f32::is_nan));
        } else {
            prop_assert_eq!(read_narrow.map(f32::to_bits), Ok(float_bits));
            // As those print it who know doubles only, and those who print nine digits.
            prop_assert_eq!(float(&print_double(f64::from(narrow))).map(f32::to_bits), Ok(float_bits));
            if narrow.is_finite() {
                prop_assert_eq!(float(&format!("{narrow:.8e}")).map(f32::to_bits), Ok(float_bits));
            }
        }
    }

    #[test]
    fn a_whole_number_is_a_double_only_where_one_holds_it(value: i64) {
        let exact = value as f64 as i128 == i128::from(value);
        match double(&value.to_string()) {
            Ok(read) => {
                prop_assert_eq!(read, value as f64);
                // JavaScript prints the shortest digits of a large double and zeros behind them.
                prop_assert!(exact || value % 10 == 0);
            }
            Err(unread) => prop_assert_eq!((unread, exact), (Unread::Finer, false)),
        }
    }

    #[test]
    fn dates_times_and_instants_read_back(
        day in FIRST_DAY..=LAST_DAY, micros in 0_i64..86_400_000_000, zoned: bool,
    ) {
        prop_assert_eq!(date(&print_date(day)), Ok(day));
        prop_assert_eq!(time(&print_time(micros * 1_000)), Ok(micros));
        let at = i64::from(day) * 86_400_000_000 + micros;
        let nanos = at.rem_euclid(1_000_000) as u32 * 1_000;
        let text = print_instant(at.div_euclid(1_000_000), nanos, zoned);
        prop_assert_eq!(instant(&text), Ok(at));
        prop_assert_eq!(instant(&text.replace('T', " ")), Ok(at));
    }

    /// The offset says how far the clock on the wall is ahead.
    #[test]
    fn an_offset_moves_an_instant(day in -700_000..2_900_000, minutes in -1_439_i64..=1_439) {
        let wall = print_instant(i64::from(day) * 86_400, 0, false);
        let (sign, size) = (if minutes < 0 { '-' } else { '+' }, minutes.abs());
        let text = format!("{wall}{sign}{:02}:{:02}", size / 60, size % 60);
        prop_assert_eq!(instant(&text), Ok((i64::from(day) * 86_400 - minutes * 60) * 1_000_000));
    }

    #[test]
    fn a_changed_character_makes_another_value_or_no_value(
        day in FIRST_DAY..=LAST_DAY, micros in 0_i64..86_400_000_000, at: prop::sample::Index, put in "[ -~]",
    ) {
        let whole = i64::from(day) * 86_400 + micros / 1_000_000;
        for (text, read) in [
            (print_date(day), (|text| date(text).map(i64::from)) as fn(&str) -> Result<i64, Unread>),
            (print_time(micros * 1_000), time),
            (print_instant(whole, 0, true), instant),
        ] {
            let at = at.index(text.len() + 1);
            let mut longer = text.clone();
            longer.insert_str(at, &put);
            // A longer text is another value only by a digit of the fraction, or with a `Z` behind it.
            let grown = read(&longer);
            prop_assert!(grown.is_err() || longer.ends_with('Z') || longer.contains('.'), "{longer}");
            if at < text.len() {
                let mut other = text.clone();
                other.replace_range(at..=at, &put);
                let same = put == text[at..=at]
                    || (&text[at..=at] == "T" && put == " ")
                    // A zero at the end of a fraction says nothing, and neither does a `Z`.
                    || (&text[at..=at] == "0" && text.contains('.') && put == "Z");
                prop_assert!(same || read(&other).is_err() || read(&other) != read(&text), "{other}");
                let mut shorter = text.clone();
                shorter.remove(at);
                let zoneless = at + 1 == text.len() && text.ends_with('Z');
                prop_assert!(read(&shorter).is_err() || zoneless || text.contains('.'), "{shorter}");
            }
        }
    }

    #[test]
    fn bytes_read_back_in_the_form_that_was_declared(raw: Vec<u8>, id: [u8; 16]) {
        for form in [BytesForm::Base64, BytesForm::Hex, BytesForm::Text] {
            match print_bytes(&raw, form) {
                Some(text) => prop_assert_eq!(bytes(&text, form), Ok(raw.clone())),
                None => prop_assert!(form == BytesForm::Text && std::str::from_utf8(&raw).is_err()),
            }
        }
        prop_assert_eq!(uuid(&print_uuid(id)), Ok(id));
        prop_assert_eq!(uuid(&print_uuid(id).to_uppercase()), Ok(id));
    }

    #[test]
    fn no_text_breaks_a_reader(text in "[-+0-9.eE:TZ in]{0,40}", precision: u32, scale: u32) {
        let _ = (integer(&text), decimal(&text, precision, scale), double(&text), float(&text));
        let _ = (date(&text), time(&text), instant(&text), uuid(&text), boolean(&text));
        let _ = (bytes(&text, BytesForm::Base64), bytes(&text, BytesForm::Hex));
    }

    #[test]
    fn far_times_print_as_themselves_and_no_two_alike(seconds: i64, other: i64, nanos in 0_u32..1_000_000_000) {
        let text = print_instant(seconds, nanos, true);
        prop_assert_eq!(text == print_instant(other, nanos, true), seconds == other);
    }
}

#[rstest]
#[case::small("0.0000001", 9, Ok(100))]
#[case::exponent("1.2e-7", 9, Ok(120))]
#[case::long_zeros("000000000000000000000000000000000000000000000001.50", 1, Ok(15))]
#[case::zero_of_any_exponent("0e-99999999999999999999", 0, Ok(0))]
#[case::far_exponent("1e99999999999999999999", 0, Err(Unread::Range))]
#[case::deep_exponent("1e-99999999999999999999", 0, Err(Unread::Finer))]
#[case::beyond_i64("100000000000000000001", 0, Ok(100_000_000_000_000_000_001))]
#[case::no_digit(".", 0, Err(Unread::Form))]
#[case::two_points("1.2.3", 2, Err(Unread::Form))]
#[case::separators("1,000", 0, Err(Unread::Form))]
#[case::space(" 1", 0, Err(Unread::Form))]
#[case::two_signs("--1", 0, Err(Unread::Form))]
#[case::hexadecimal("0x10", 0, Err(Unread::Form))]
#[case::other_digits("١", 0, Err(Unread::Form))]
#[case::empty("", 0, Err(Unread::Form))]
fn a_decimal_is_exact_or_refused(
    #[case] text: &str,
    #[case] scale: u32,
    #[case] expected: Result<i128, Unread>,
) {
    assert_eq!(decimal(text, 38, scale), expected);
}

#[rstest]
#[case::two_digit_year("26-01-31", Err(Unread::Form))]
#[case::three_digit_year("126-01-31", Err(Unread::Form))]
#[case::short_month("2026-1-05", Err(Unread::Form))]
#[case::short_day("2026-01-5", Err(Unread::Form))]
#[case::space_before(" 2026-01-31", Err(Unread::Form))]
#[case::space_behind("2026-01-31 ", Err(Unread::Form))]
#[case::no_such_day("2026-02-29", Err(Unread::Form))]
#[case::leap_day("2024-02-29", Ok(19_782))]
#[case::century("1900-02-29", Err(Unread::Form))]
#[case::zulu("1970-01-02Z", Ok(1))]
#[case::two_zulu("1970-01-02ZZ", Err(Unread::Form))]
#[case::basic("20260131", Err(Unread::Form))]
#[case::year_zero("0000-01-01", Err(Unread::Range))]
#[case::infinity("-infinity", Err(Unread::Range))]
#[case::expanded("+12026-01-31", Err(Unread::Range))]
#[case::signed("+2026-01-31", Err(Unread::Form))]
#[case::expanded_without_need("+002026-01-31", Err(Unread::Form))]
fn a_date_is_iso_or_refused(#[case] text: &str, #[case] expected: Result<i32, Unread>) {
    assert_eq!(date(text), expected);
}

#[rstest]
#[case::micros("1970-01-01T00:00:00.000001Z", Ok(1))]
#[case::zeros_behind("1970-01-01T00:00:00.000001000Z", Ok(1))]
#[case::nanos("1970-01-01T00:00:00.000000001Z", Err(Unread::Finer))]
#[case::space("1970-01-01 00:00:01", Ok(1_000_000))]
#[case::postgres("1970-01-01 01:00:00+01", Ok(0))]
#[case::two_spaces("1970-01-01  00:00:01", Err(Unread::Form))]
#[case::space_before_the_zone("1970-01-01 00:00:01 Z", Err(Unread::Form))]
#[case::two_digit_year("26-01-31 10:00:00", Err(Unread::Form))]
#[case::date_only("1970-01-01", Err(Unread::Form))]
#[case::no_seconds("1970-01-01T00:00Z", Err(Unread::Form))]
#[case::leap_second("2016-12-31T23:59:60Z", Err(Unread::Form))]
#[case::midnight_as_24("2016-12-31T24:00:00Z", Err(Unread::Form))]
#[case::comma("1970-01-01T00:00:00,5Z", Err(Unread::Form))]
#[case::point_without_digits("1970-01-01T00:00:00.Z", Err(Unread::Form))]
#[case::first("0001-01-01T00:00:00Z", Ok(-62_135_596_800_000_000))]
#[case::before_first("0001-01-01T00:00:00+00:01", Err(Unread::Range))]
#[case::last("9999-12-31T23:59:59.999999Z", Ok(253_402_300_799_999_999))]
#[case::after_last("9999-12-31T23:59:59.999999-00:01", Err(Unread::Range))]
#[case::infinity("infinity", Err(Unread::Range))]
#[case::far("+294276-12-31T23:59:59Z", Err(Unread::Range))]
#[case::wide_offset("1970-01-01T00:00:00+24:00", Err(Unread::Form))]
#[case::no_time("__debezium_unavailable_value", Err(Unread::Form))]
fn an_instant_is_iso_or_refused(#[case] text: &str, #[case] expected: Result<i64, Unread>) {
    assert_eq!(instant(text), expected);
}

#[rstest]
#[case::tenth("0.1", Ok(0.1))]
#[case::rounds_to_infinity("3.5e38", Err(Unread::Range))]
#[case::rounds_to_zero("1e-60", Err(Unread::Range))]
#[case::loses_a_digit("16777217", Err(Unread::Finer))]
#[case::loses_digits("0.123456789", Err(Unread::Finer))]
#[case::as_a_double("0.10000000149011612", Ok(0.1))]
#[case::infinite("-inf", Ok(f32::NEG_INFINITY))]
fn a_float_keeps_the_digits_or_is_refused(#[case] text: &str, #[case] expected: Result<f32, Unread>) {
    assert_eq!(float(text), expected);
}

#[rstest]
#[case::rounds_to_infinity("1e999", Err(Unread::Range))]
#[case::rounds_to_zero("-1e-999", Err(Unread::Range))]
#[case::zero("-0e-999", Ok(-0.0))]
#[case::whole_between_doubles("9007199254740993", Err(Unread::Finer))]
#[case::java_infinity("Infinity", Ok(f64::INFINITY))]
#[case::rust_infinity("infinity", Err(Unread::Form))]
#[case::nan_of_another_case("nan", Err(Unread::Form))]
#[case::space(" 1.5", Err(Unread::Form))]
fn a_double_is_the_nearest_or_refused(#[case] text: &str, #[case] expected: Result<f64, Unread>) {
    assert_eq!(double(text), expected);
}

#[rstest]
#[case::no_padding("YQ", BytesForm::Base64)]
#[case::spare_bits("YR==", BytesForm::Base64)]
#[case::url_alphabet("-_==", BytesForm::Base64)]
#[case::line_break("YWFh\n", BytesForm::Base64)]
#[case::half_a_byte("abc", BytesForm::Hex)]
#[case::prefix("0x61", BytesForm::Hex)]
#[case::sign("+a", BytesForm::Hex)]
fn bytes_of_another_form_are_refused(#[case] text: &str, #[case] form: BytesForm) {
    assert_eq!(bytes(text, form), Err(Unread::Form));
}

#[rstest]
#[case::plain("0123456789abcdef0123456789abcdef")]
#[case::braces("{01234567-89ab-cdef-0123-456789abcdef}")]
#[case::other_places("0123456-789ab-cdef-0123-456789abcdef0")]
fn a_uuid_has_one_form(#[case] text: &str) {
    assert_eq!(uuid(text), Err(Unread::Form));
}
