//! An entry of a table's log, which any program may have written.

/// The entry's bytes.
pub fn run(data: &[u8]) {
    if let Ok(entry) = lake::LogEntry::read("fuzz.table", 3, data) {
        assert_eq!(entry.version.0, 3);
    }
}
