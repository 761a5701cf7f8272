//! Drops records that a file source sent twice.
//!
//! A file source sends each line once, in a Kafka transaction, but a broker may show records of an aborted
//! transaction. So its records carry file and line, the lines of a file rise within a partition, and a line
//! that is not above the last one is a repeat.
//!
//! Lines are known from two places. *Landed* lines are in the table: they are read from it at the first such
//! record of a partition, and then follow the commits. Lines *ahead* were read and wait for a commit. If that
//! commit never comes (the partition moves to another process, or a commit fails), the records are read
//! again. The lines ahead must then be forgotten too, or every such record would be dropped as a repeat of
//! itself.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, RecordBatch, StructArray};
use arrow::datatypes::Int64Type;
use model::{Offset, column, header};
use stream::Records;

/// The last line of each file.
pub type Lines = HashMap<String, i64>;

/// The last line of each file in each partition.
#[derive(Debug, Default)]
pub struct Ledger(HashMap<i32, Part>);

#[derive(Debug, Default)]
struct Part {
    /// The table's position at which `landed` holds.
    position: Option<Offset>,
    landed: Lines,
    /// Lines of records that wait for a commit.
    ahead: Lines,
}

/// The last lines of each partition.
pub type Partitions = HashMap<i32, Lines>;

/// The columns that [`learn`] reads.
pub const COLUMNS: [&str; 3] = [column::TOPIC_ID, column::PARTITION, column::HEADERS];

impl Ledger {
    /// True if a record was read from a file.
    pub fn concerns(records: &Records, kept: &[u32]) -> bool {
        kept.iter().any(|&row| records.headers(row as usize).any(|(name, _)| name == header::FILE))
    }

    /// True if the table need not be read for the lines of a partition.
    pub fn knows(&self, partition: i32) -> bool {
        self.0.contains_key(&partition)
    }

    /// Starts a partition at the table's `position`. Forgets the lines ahead, and the landed ones unless they
    /// belong to exactly that position: another process may have landed more.
    pub fn begin(&mut self, partition: i32, position: Option<Offset>) {
        match (position, self.0.get_mut(&partition)) {
            (None, _) => drop(self.0.insert(partition, Part::default())),
            (Some(_), Some(part)) if part.position == position => part.ahead.clear(),
            (Some(_), _) => drop(self.0.remove(&partition)),
        }
    }

    /// Drops the lines that wait for a commit.
    pub fn drop_waiting(&mut self, partition: i32) {
        if let Some(part) = self.0.get_mut(&partition) {
            part.ahead.clear();
        }
    }

    /// Sets the lines that the table has at `position`.
    pub fn put(&mut self, partition: i32, position: Option<Offset>, landed: Lines) {
        self.0.insert(partition, Part { position, landed, ahead: Lines::new() });
    }

    /// Records that a commit moved a partition from one position to another, with these lines.
    pub fn landed(&mut self, partition: i32, from: Option<Offset>, to: Offset, lines: &Lines) {
        let Some(part) = self.0.get_mut(&partition) else { return };
        if part.position != from {
            // Lines in between are unknown: read from the table when needed.
            self.0.remove(&partition);
            return;
        }
        part.position = Some(to);
        raise(&mut part.landed, lines);
        let landed = &part.landed;
        part.ahead.retain(|file, line| landed.get(file).is_none_or(|last| *line > *last));
    }

    /// Removes repeats from `kept`. Returns their number and the last lines of the kept rows.
    pub fn drop_repeats(&mut self, records: &Records, kept: &mut Vec<u32>) -> (u64, Lines) {
        let before = kept.len();
        let part = self.0.entry(records.partition).or_default();
        let mut lines = Lines::new();
        kept.retain(|&row| {
            let row = row as usize;
            let text = |name| records.header(row, name).and_then(|bytes| str::from_utf8(bytes).ok());
            match (text(header::FILE), text(header::LINE).and_then(|line| line.parse().ok())) {
                (Some(file), Some(line)) => {
                    let new = part.is_new(file, line);
                    if new {
                        note(&mut part.ahead, file, line);
                        note(&mut lines, file, line);
                    }
                    new
                }
                _ => true,
            }
        });
        ((before - kept.len()) as u64, lines)
    }
}

/// Adds the lines of this topic's rows.
pub fn learn(rows: &RecordBatch, topic_id: &str, all: &mut Partitions) {
    let columns = COLUMNS.map(|name| rows.column_by_name(name));
    let [Some(ids), Some(partitions), Some(headers)] = columns else { return };
    let (Some(ids), Some(partitions), Some(headers)) = (
        ids.as_string_opt::<i32>(),
        partitions.as_primitive_opt::<Int64Type>(),
        headers.as_list_opt::<i32>(),
    ) else {
        return;
    };
    for row in 0..rows.num_rows() {
        if headers.is_null(row) || ids.value(row) != topic_id {
            continue;
        }
        let pairs = headers.value(row);
        if let ((Some(file), Some(line)), Ok(partition)) =
            (in_row(pairs.as_struct()), i32::try_from(partitions.value(row)))
        {
            note(all.entry(partition).or_default(), &file, line);
        }
    }
}

impl Part {
    fn is_new(&self, file: &str, line: i64) -> bool {
        [&self.landed, &self.ahead].iter().all(|lines| lines.get(file).is_none_or(|last| line > *last))
    }
}

/// Raises `lines` to those of `more`.
pub fn raise(lines: &mut Lines, more: &Lines) {
    more.iter().for_each(|(file, line)| note(lines, file, *line));
}

fn note(lines: &mut Lines, file: &str, line: i64) {
    match lines.get_mut(file) {
        Some(last) => *last = line.max(*last),
        None => drop(lines.insert(file.to_owned(), line)),
    }
}

/// File and line from the headers of one row.
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
    (find(header::FILE).map(str::to_owned), find(header::LINE).and_then(|line| line.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Literal, all, records};

    /// The partition of [`records`].
    const PARTITION: i32 = 3;

    fn line(offset: i64, file: &'static [u8], line: &'static [u8]) -> Literal {
        let headers = vec![(header::FILE, Some(file)), (header::LINE, Some(line))];
        Literal { offset, headers, ..Literal::default() }
    }
    fn read(ledger: &mut Ledger, literals: &[Literal]) -> (Vec<u32>, Lines) {
        let records = records(literals);
        let mut kept = all(&records);
        let (_, lines) = ledger.drop_repeats(&records, &mut kept);
        (kept, lines)
    }

    #[test]
    fn a_line_that_came_before_is_dropped_whichever_batch_it_came_in() {
        let mut ledger = Ledger::default();
        let first = [line(0, b"a", b"1"), line(1, b"a", b"2"), line(2, b"b", b"1"), line(3, b"a", b"2")];
        assert_eq!(read(&mut ledger, &first).0, [0, 1, 2]);
        let second = [line(4, b"a", b"1"), line(5, b"a", b"3"), Literal { offset: 6, ..Literal::default() }];
        assert_eq!(read(&mut ledger, &second).0, [1, 2], "what no file sent is no repeat");
    }

    #[test]
    fn what_was_read_and_not_committed_is_no_repeat_when_it_comes_again() {
        let log = [line(0, b"a", b"1"), line(1, b"a", b"2")];
        let mut ledger = Ledger::default();
        ledger.begin(PARTITION, None);
        read(&mut ledger, &log);
        ledger.begin(PARTITION, None);
        assert_eq!(read(&mut ledger, &log).0, [0, 1], "begun again");
        ledger.drop_waiting(PARTITION);
        let (kept, lines) = read(&mut ledger, &log);
        assert_eq!(kept, [0, 1], "given up");
        ledger.landed(PARTITION, None, Offset(2), &lines);
        ledger.begin(PARTITION, Some(Offset(2)));
        assert!(ledger.knows(PARTITION), "nothing landed but what is known");
        assert_eq!(read(&mut ledger, &log).0, [0_u32; 0], "in the table");
        ledger.begin(PARTITION, Some(Offset(5)));
        assert!(!ledger.knows(PARTITION), "another process landed what is not known here");
    }

    #[test]
    fn a_commit_that_does_not_follow_what_is_known_is_read_from_the_table() {
        let mut ledger = Ledger::default();
        ledger.put(PARTITION, Some(Offset(4)), Lines::new());
        ledger.landed(PARTITION, Some(Offset(7)), Offset(9), &Lines::new());
        assert!(!ledger.knows(PARTITION));
    }

    #[test]
    fn only_records_of_files_need_it() {
        let log = records(&[Literal::default(), line(1, b"a", b"1")]);
        assert!(Ledger::concerns(&log, &[0, 1]));
        assert!(!Ledger::concerns(&log, &[0]));
    }
}
