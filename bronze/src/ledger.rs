//! Drops what a file source sent twice.
//!
//! A source of files sends each line once in a Kafka transaction, but a broker may show what an
//! aborted transaction wrote. So its records carry file and line, lines of a file rise within a
//! partition, and a line that is not above the last one is a repeat. What the last lines are is read
//! from the table itself, when the first such record comes along.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, RecordBatch, StructArray};
use arrow::datatypes::Int64Type;
use stream::Records;

use crate::assemble::column;

/// Header with the identity of the file a record was read from.
pub const FILE_HEADER: &str = "lp.file";
/// Header with its line, from 1.
pub const LINE_HEADER: &str = "lp.line";

/// The last line of each file in each partition.
#[derive(Debug, Default)]
pub struct Ledger(HashMap<i32, HashMap<String, i64>>);

/// Columns [`Ledger::learn`] needs.
pub const COLUMNS: [&str; 2] = [column::PARTITION, column::HEADERS];

impl Ledger {
    /// Whether any of these was read from a file.
    pub fn concerns(records: &Records, kept: &[u32]) -> bool {
        kept.iter().any(|&row| records.headers(row as usize).any(|(name, _)| name == FILE_HEADER))
    }

    /// Takes in rows of the table.
    pub fn learn(&mut self, rows: &RecordBatch) {
        let partitions = rows.column_by_name(column::PARTITION);
        let headers = rows.column_by_name(column::HEADERS);
        let (Some(partitions), Some(headers)) = (partitions, headers) else { return };
        let partitions = partitions.as_primitive::<Int64Type>();
        for row in 0..rows.num_rows() {
            let pairs = match headers.as_list_opt::<i32>() {
                Some(list) if list.is_valid(row) => list.value(row),
                _ => continue,
            };
            let (file, line) = in_row(pairs.as_struct());
            if let (Some(file), Some(line), Ok(partition)) =
                (file, line, i32::try_from(partitions.value(row)))
            {
                self.is_new(partition, &file, line);
            }
        }
    }

    /// Keeps the rows that are no repeats. Returns how many were.
    pub fn drop_repeats(&mut self, records: &Records, kept: &mut Vec<u32>) -> u64 {
        let before = kept.len();
        kept.retain(|&row| {
            let row = row as usize;
            let text = |name| records.header(row, name).and_then(|bytes| str::from_utf8(bytes).ok());
            match (text(FILE_HEADER), text(LINE_HEADER).and_then(|line| line.parse().ok())) {
                (Some(file), Some(line)) => self.is_new(records.partition, file, line),
                _ => true,
            }
        });
        (before - kept.len()) as u64
    }

    fn is_new(&mut self, partition: i32, file: &str, line: i64) -> bool {
        let files = self.0.entry(partition).or_default();
        match files.get_mut(file) {
            Some(last) if line <= *last => false,
            Some(last) => {
                *last = line;
                true
            }
            None => {
                files.insert(file.to_owned(), line);
                true
            }
        }
    }
}

/// File and line among the header pairs of one row.
fn in_row(pairs: &StructArray) -> (Option<String>, Option<i64>) {
    let (Some(names), Some(values)) =
        (pairs.column(0).as_string_opt::<i32>(), pairs.column(1).as_binary_opt::<i32>())
    else {
        return (None, None);
    };
    let find = |wanted: &str| {
        let at = (0..names.len()).rev().find(|&i| names.is_valid(i) && names.value(i) == wanted)?;
        values.is_valid(at).then(|| str::from_utf8(values.value(at)).ok())?
    };
    (find(FILE_HEADER).map(str::to_owned), find(LINE_HEADER).and_then(|line| line.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Literal, all, records};

    fn line(offset: i64, file: &'static [u8], line: &'static [u8]) -> Literal {
        let headers = vec![(FILE_HEADER, Some(file)), (LINE_HEADER, Some(line))];
        Literal { offset, headers, ..Literal::default() }
    }

    #[test]
    fn a_line_that_came_before_is_dropped_whichever_batch_it_came_in() {
        let mut ledger = Ledger::default();
        let first =
            records(&[line(0, b"a", b"1"), line(1, b"a", b"2"), line(2, b"b", b"1"), line(3, b"a", b"2")]);
        let mut kept = all(&first);
        assert_eq!(ledger.drop_repeats(&first, &mut kept), 1);
        assert_eq!(kept, [0, 1, 2]);
        let second =
            records(&[line(4, b"a", b"1"), line(5, b"a", b"3"), Literal { offset: 6, ..Literal::default() }]);
        let mut kept = all(&second);
        assert_eq!(ledger.drop_repeats(&second, &mut kept), 1);
        assert_eq!(kept, [1, 2], "what no file sent is no repeat");
    }

    #[test]
    fn only_records_of_files_need_it() {
        let log = records(&[Literal::default(), line(1, b"a", b"1")]);
        assert!(Ledger::concerns(&log, &[0, 1]));
        assert!(!Ledger::concerns(&log, &[0]));
    }
}
