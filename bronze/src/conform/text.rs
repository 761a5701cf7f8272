//! Text and UUIDs.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};

use super::{Misfit, Reason};

/// The hyphenated, lowercase form of each 16 bytes.
pub(super) fn uuids(array: &ArrayRef) -> ArrayRef {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let raw = array.as_fixed_size_binary();
    let mut texts = StringBuilder::with_capacity(raw.len(), raw.len() * 36);
    for row in 0..raw.len() {
        if raw.is_null(row) {
            texts.append_null();
            continue;
        }
        let mut text = [b'-'; 36];
        let mut at = 0;
        for (i, byte) in raw.value(row).iter().enumerate() {
            at += usize::from(matches!(i, 4 | 6 | 8 | 10));
            text[at] = HEX[usize::from(byte >> 4)];
            text[at + 1] = HEX[usize::from(byte & 15)];
            at += 2;
        }
        texts.append_value(str::from_utf8(&text).expect("hex digits and hyphens are ASCII"));
    }
    Arc::new(texts.finish())
}

/// Bytes that a schema later called text.
pub(super) fn texts(array: &ArrayRef, misfits: &mut Vec<Misfit>) -> ArrayRef {
    let raw = array.as_binary::<i32>();
    let mut texts = StringBuilder::with_capacity(raw.len(), raw.value_data().len());
    for (row, bytes) in raw.iter().enumerate() {
        let text = bytes.map(str::from_utf8);
        if let Some(Err(_)) = text {
            misfits.push(Misfit { row: row as u32, reason: Reason::Utf8 });
        }
        texts.append_option(text.and_then(Result::ok));
    }
    Arc::new(texts.finish())
}
