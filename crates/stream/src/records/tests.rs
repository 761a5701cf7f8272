use super::*;

fn empty() -> Records {
    Records::new("t".parse().expect("valid"), "id".parse().expect("valid"), 3)
}

fn push(batch: &mut Records, offset: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
    let headers: &[(&str, Option<&[u8]>)] = &[("a", Some(b"1")), ("none", None), ("a", Some(b""))];
    let headers = if offset % 2 == 0 { headers } else { &[] };
    batch.push(&Record { offset: Offset(offset), timestamp: offset * 10, key, value, headers });
}

fn sample() -> Records {
    let mut batch = empty();
    push(&mut batch, 4, Some(b"k"), Some(b"value"));
    push(&mut batch, 5, None, None);
    push(&mut batch, 8, Some(b""), Some(b""));
    push(&mut batch, 9, Some(b"last"), None);
    batch
}

#[test]
fn null_is_not_empty() {
    let batch = sample();
    assert_eq!((batch.key(0), batch.value(0)), (Some(&b"k"[..]), Some(&b"value"[..])));
    assert_eq!((batch.key(1), batch.value(1)), (None, None));
    assert_eq!((batch.key(2), batch.value(2)), (Some(&b""[..]), Some(&b""[..])));
    assert_eq!((batch.key(3), batch.value(3)), (Some(&b"last"[..]), None));
}

#[test]
fn headers_keep_order_repeats_and_nulls() {
    let batch = sample();
    let headers: Vec<_> = batch.headers(2).collect();
    assert_eq!(headers, [("a", Some(&b"1"[..])), ("none", None), ("a", Some(&b""[..]))]);
    assert_eq!(batch.headers(1).count(), 0);
    assert_eq!(batch.header(0, "a"), Some(&b""[..]));
    assert_eq!(batch.header(0, "absent"), None);
}

#[test]
fn both_halves_of_a_split_are_whole() {
    for at in 0..=4 {
        let mut head = sample();
        let tail = head.split_off(at);
        assert_eq!((head.len(), tail.len()), (at, 4 - at));
        head.append(&tail);
        assert_eq!(head, sample(), "split at {at}");
    }
}

#[test]
fn a_replay_is_cut_at_the_offset_even_if_that_was_skipped() {
    let mut batch = sample();
    batch.drop_below(Offset(6));
    assert_eq!((batch.first(), batch.next()), (Some(Offset(8)), Some(Offset(10))));
    assert_eq!(batch.key(1), Some(&b"last"[..]));
    batch.drop_below(Offset(100));
    assert!(batch.is_empty());
    assert_eq!(batch.bytes(), 0);
}

#[test]
fn headers_are_found_by_name_without_a_look_at_each_record() {
    let mut records = empty();
    for offset in 0..100 {
        let number = offset.to_string();
        let headers: &[(&str, Option<&[u8]>)] = match offset {
            40 | 70 => &[("other", None), ("traceparent", Some(number.as_bytes()))],
            50 => &[("traceparent", None), ("tracestate", Some(b"x"))],
            _ => &[],
        };
        // A text that only mentions the name is none.
        let value = Some(b"traceparent".as_slice());
        records.push(&Record { offset: Offset(offset), timestamp: 0, key: None, value, headers });
    }
    assert_eq!(records.find_headers("traceparent", 8), [b"40", b"70"]);
    assert_eq!(records.find_headers("traceparent", 1), [b"40"]);
    assert!(records.find_headers("tracepare", 8).is_empty());
}
