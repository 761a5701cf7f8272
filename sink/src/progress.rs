//! How far a table is published.

use model::{TableId, TableName, Version};

/// How far a destination has got in its table's versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Id of the table.
    pub id: TableId,
    /// Its name.
    pub table: TableName,
    /// Name of the destination.
    pub destination: String,
    /// The version that was published last, or is being published.
    pub version: Version,
    /// The last published key; `None` for a version without changes.
    pub last_key: Option<Vec<u8>>,
    /// True if that version is complete.
    pub last: bool,
    /// True if that version is published as the whole table.
    pub whole: bool,
}

impl Progress {
    /// The first progress, which assigns a destination to a table before anything is published.
    pub fn first(id: TableId, table: TableName, destination: String, version: Version) -> Self {
        Self { id, table, destination, version, last_key: None, last: false, whole: true }
    }

    /// The oldest version that the publisher still needs. An incomplete whole version is read again at that
    /// version; an incomplete difference, from the version before it.
    pub fn needs(&self) -> Version {
        match (self.last, self.whole) {
            (true, _) | (false, true) => self.version,
            (false, false) => Version(self.version.0.saturating_sub(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::complete(true, false, 7)]
    #[case::complete_as_a_whole(true, true, 7)]
    #[case::in_the_middle_of_the_whole(false, true, 7)]
    #[case::in_the_middle_of_a_difference(false, false, 6)]
    fn what_is_still_needed_is_what_a_restart_reads(
        #[case] last: bool,
        #[case] whole: bool,
        #[case] needs: u64,
    ) {
        let (id, table) = ("0b5e".parse().expect("valid"), "gold.t".parse().expect("valid"));
        let progress = Progress::first(id, table, "gold.t.v1".to_owned(), Version(7));
        assert_eq!(Progress { last, whole, ..progress }.needs(), Version(needs));
    }
}
