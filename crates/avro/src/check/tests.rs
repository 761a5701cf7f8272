use proptest::prelude::*;
use rstest::rstest;
use testkit::samples::{EVERYTHING, body, everything, read, schema};

use super::*;
use crate::BadSchema;

const ONE: &str = r#"{"type":"record","name":"R","fields":[{"name":"f","type":TYPE}]}"#;

fn checker(kind: &str) -> Checker {
    Checker::try_new(&ONE.replace("TYPE", kind)).expect("a schema")
}

#[rstest]
#[case::boolean(r#""boolean""#, &[2], Mismatch::Boolean)]
#[case::int_of_five_full_bytes(r#""int""#, &[0xff, 0xff, 0xff, 0xff, 0x1f], Mismatch::Varint)]
#[case::endless_varint(r#""long""#, &[0xff; 11], Mismatch::Varint)]
#[case::nothing(r#""long""#, &[], Mismatch::Truncated)]
#[case::half_a_double(r#""double""#, &[0; 7], Mismatch::Truncated)]
#[case::half_a_text(r#""string""#, &[8, b'a'], Mismatch::Truncated)]
#[case::negative_length(r#""bytes""#, &[1], Mismatch::Length)]
#[case::not_utf8(r#""string""#, &[2, 0xff], Mismatch::Utf8)]
#[case::map_key_not_utf8(r#"{"type":"map","values":"int"}"#, &[2, 2, 0xff, 0, 0], Mismatch::Utf8)]
#[case::branch(r#"["null","int"]"#, &[4], Mismatch::Branch)]
#[case::negative_branch(r#"["null","int"]"#, &[1, 0], Mismatch::Branch)]
#[case::symbol(r#"{"type":"enum","name":"E","symbols":["a"]}"#, &[2], Mismatch::Symbol)]
#[case::trailing(r#""int""#, &[0, 0], Mismatch::Trailing)]
#[case::more_items_than_bytes(r#"{"type":"array","items":"int"}"#, &[200, 1, 0], Mismatch::Length)]
#[case::items_of_nothing(r#"{"type":"array","items":"null"}"#, &[0xfe, 0xff, 0xff, 0xff, 0x0f, 0], Mismatch::Length)]
#[case::block_size_lies(r#"{"type":"array","items":"int"}"#, &[1, 4, 2, 0], Mismatch::Length)]
#[case::uuid(r#"{"type":"string","logicalType":"uuid"}"#, &[2, b'x'], Mismatch::Uuid)]
#[case::decimal(r#"{"type":"bytes","logicalType":"decimal","precision":38}"#, &[34, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], Mismatch::Decimal)]
fn a_fault_has_its_name(#[case] kind: &str, #[case] payload: &[u8], #[case] fault: Mismatch) {
    assert_eq!(checker(kind).check(payload), Err(fault));
}

#[rstest]
#[case::recursive(r#"["null","R"]"#)]
#[case::undefined(r#""Nobody""#)]
#[case::number("5")]
#[case::fixed_without_size(r#"{"type":"fixed","name":"F"}"#)]
fn a_schema_no_table_can_hold_is_refused(#[case] kind: &str) {
    assert!(Checker::try_new(&ONE.replace("TYPE", kind)).is_err());
}

#[test]
fn a_schema_nested_without_end_is_refused() {
    let mut kind = r#""int""#.to_owned();
    for _ in 0..60 {
        kind = format!(r#"{{"type":"array","items":{kind}}}"#);
    }
    assert!(matches!(Checker::try_new(&ONE.replace("TYPE", &kind)), Err(BadSchema::Shape(_))));
}

#[test]
fn many_blocks_of_nothing_are_bounded_together() {
    let lists = checker(r#"{"type":"array","items":{"type":"array","items":"null"}}"#);
    let mut payload = vec![100]; // 50 lists, each of 65,536 nulls
    for _ in 0..50 {
        payload.extend([0x80, 0x80, 0x08, 0]);
    }
    payload.push(0);
    assert_eq!(lists.check(&payload), Err(Mismatch::Length));
}

proptest! {
    #![proptest_config(cases::few(400))]

    #[test]
    fn what_was_written_passes(seed in any::<i64>()) {
        let (checker, schema) = (Checker::try_new(EVERYTHING).expect("a schema"), schema(EVERYTHING));
        prop_assert_eq!(checker.check(&body(&schema, everything(seed))), Ok(()));
    }

    /// The check may be stricter than another reader (that one takes a varint cut at the end), never laxer.
    #[test]
    fn what_passes_another_reader_reads_to_its_end(seed in any::<i64>(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let (checker, schema) = (Checker::try_new(EVERYTHING).expect("a schema"), schema(EVERYTHING));
        let mut payload = body(&schema, everything(seed));
        let at = at.index(payload.len());
        if cut { payload.truncate(at) } else { payload[at] = byte }
        match checker.check(&payload) {
            Ok(()) => prop_assert!(read(&schema, &payload).is_some(), "{payload:02x?}"),
            Err(Mismatch::Trailing | Mismatch::Branch | Mismatch::Symbol | Mismatch::Utf8) => {
                prop_assert!(read(&schema, &payload).is_none(), "{payload:02x?}");
            }
            Err(_) => {}
        }
    }

    #[test]
    fn no_bytes_make_it_panic(payload in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Checker::try_new(EVERYTHING).expect("a schema").check(&payload);
    }
}
