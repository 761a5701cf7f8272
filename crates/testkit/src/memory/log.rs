//! One partition: its records in offset order, and which of them can be read.

use model::Offset;
use stream::Outgoing;

/// What takes an offset.
pub(super) struct Entry {
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
    state: Visibility,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visibility {
    /// Of a transaction of this producer that is open.
    Open(u64),
    Visible,
    Aborted,
    /// Says that a transaction ended.
    Marker,
}

/// One partition.
#[derive(Default)]
pub(super) struct Log {
    low: i64,
    entries: Vec<Entry>,
}

impl Log {
    /// Where the log starts.
    pub fn low(&self) -> Offset {
        Offset(self.low)
    }
    /// Where the next record goes.
    pub fn high(&self) -> Offset {
        Offset(self.low + i64::try_from(self.entries.len()).expect("a model has few records"))
    }
    /// Where reading ends: at the first record of an open transaction.
    pub fn stable(&self) -> Offset {
        let open = self.entries.iter().position(|entry| matches!(entry.state, Visibility::Open(_)));
        let before = open.map_or(self.entries.len(), |open| open);
        Offset(self.low + i64::try_from(before).expect("a model has few records"))
    }

    /// Appends a record, of an open transaction if a producer is named.
    pub fn append(&mut self, record: &Outgoing<'_>, now: i64, transaction_of: Option<u64>) {
        let owned = |(name, value): &(&str, &[u8])| ((*name).to_owned(), value.to_vec());
        self.entries.push(Entry {
            timestamp: record.timestamp.unwrap_or(now),
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.iter().map(owned).collect(),
            state: transaction_of.map_or(Visibility::Visible, Visibility::Open),
        });
    }

    /// Ends the open transaction of a producer; its marker takes an offset.
    pub fn end(&mut self, producer: u64, commits: bool, now: i64) {
        let state = if commits { Visibility::Visible } else { Visibility::Aborted };
        let mut took_part = false;
        for entry in self.entries.iter_mut().filter(|entry| entry.state == Visibility::Open(producer)) {
            entry.state = state;
            took_part = true;
        }
        if took_part {
            let headers = Vec::new();
            self.entries.push(Entry {
                timestamp: now,
                key: None,
                value: None,
                headers,
                state: Visibility::Marker,
            });
        }
    }

    /// What can be read from `from` on.
    pub fn visible(&self, from: Offset) -> impl Iterator<Item = (Offset, &Entry)> {
        let end = self.stable();
        let entries = (self.low..).map(Offset).zip(&self.entries);
        entries
            .skip_while(move |(offset, _)| *offset < from)
            .take_while(move |(offset, _)| *offset < end)
            .filter(|(_, entry)| entry.state == Visibility::Visible)
    }

    pub fn forget_below(&mut self, offset: Offset) {
        let many = usize::try_from(offset.0 - self.low).unwrap_or_default().min(self.entries.len());
        self.entries.drain(..many);
        self.low += i64::try_from(many).expect("a model has few records");
    }
}
