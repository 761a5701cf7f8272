//! Kafka's record batch as bytes: the fields that the log reads without unpacking a batch.

use bytes::Bytes;
use tansu_sans_io::record::{Record, deflated, inflated};
use tansu_sans_io::{BatchAttribute, ControlBatch, EndTransactionMarker};

/// Bytes of a batch before its records.
pub(super) const HEAD: usize = 61;
/// Bytes before the part that the batch's length field counts.
const LENGTH_FIELD_END: usize = 12;
const TRANSACTIONAL: i16 = 0b01_0000;
const CONTROL: i16 = 0b10_0000;

/// The fixed fields of a stored batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Offset of the first record.
    pub base: i64,
    /// Offset of the last record.
    pub last: i64,
    /// Whole size in bytes, head included.
    pub size: u32,
    pub max_timestamp: i64,
    pub producer: i64,
    pub epoch: i16,
    /// Sequence of the first record, -1 without idempotence.
    pub sequence: i32,
    pub records: u32,
    attributes: i16,
}

impl Head {
    /// Parses a head. `None` if these bytes are not one.
    pub(super) fn parse(bytes: &[u8; HEAD]) -> Option<Self> {
        fn at<const N: usize>(bytes: &[u8; HEAD], from: usize) -> [u8; N] {
            std::array::from_fn(|i| bytes[from + i])
        }
        let base = i64::from_be_bytes(at(bytes, 0));
        let length = u32::try_from(i32::from_be_bytes(at(bytes, 8))).ok()?;
        let last_delta = i32::from_be_bytes(at(bytes, 23));
        let size = length.checked_add(LENGTH_FIELD_END as u32)?;
        if bytes[16] != 2 || (size as usize) < HEAD || base < 0 || last_delta < 0 {
            return None;
        }
        Some(Self {
            base,
            last: base + i64::from(last_delta),
            size,
            attributes: i16::from_be_bytes(at(bytes, 21)),
            max_timestamp: i64::from_be_bytes(at(bytes, 35)),
            producer: i64::from_be_bytes(at(bytes, 43)),
            epoch: i16::from_be_bytes(at(bytes, 51)),
            sequence: i32::from_be_bytes(at(bytes, 53)),
            records: u32::from_be_bytes(at(bytes, 57)),
        })
    }

    pub(super) fn of(batch: &deflated::Batch) -> Self {
        Self {
            base: batch.base_offset,
            last: batch.max_offset(),
            size: (HEAD + batch.record_data.len()) as u32,
            attributes: batch.attributes,
            max_timestamp: batch.max_timestamp,
            producer: batch.producer_id,
            epoch: batch.producer_epoch,
            sequence: batch.base_sequence,
            records: batch.record_count,
        }
    }

    /// Sequence of the last record; Kafka's sequences wrap to 0.
    pub(super) fn last_sequence(&self) -> i32 {
        let span = (self.last - self.base) as i32;
        let room = i32::MAX - self.sequence;
        if span <= room { self.sequence + span } else { span - room - 1 }
    }

    pub(super) fn is_idempotent(&self) -> bool {
        self.producer >= 0 && self.sequence >= 0
    }

    pub(super) fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    pub(super) fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }
}

/// Whether a control batch commits. `None` if it is not a marker.
pub(super) fn commits(batch: &deflated::Batch) -> Option<bool> {
    let records: Vec<Record> = batch.clone().try_into().ok()?;
    let control = ControlBatch::try_from(records.first()?.key.clone()?).ok()?;
    Some(control.is_commit())
}

/// The batch that ends a producer's transaction in one partition.
pub(super) fn marker(
    producer: i64,
    epoch: i16,
    commit: bool,
    now: i64,
) -> Result<deflated::Batch, tansu_sans_io::Error> {
    let control = if commit { ControlBatch::default().commit() } else { ControlBatch::default().abort() };
    let key: Bytes = control.try_into()?;
    let value: Bytes = EndTransactionMarker::default().try_into()?;
    let attributes = BatchAttribute::default().control(true).transaction(true).into();
    inflated::Batch::builder()
        .record(Record::builder().key(key.into()).value(value.into()))
        .attributes(attributes)
        .base_timestamp(now)
        .max_timestamp(now)
        .producer_id(producer)
        .producer_epoch(epoch)
        .base_sequence(-1)
        .build()
        .and_then(TryInto::try_into)
}

/// A batch of one record.
pub(crate) fn single(
    key: Bytes,
    value: Option<Bytes>,
    now: i64,
) -> Result<deflated::Batch, tansu_sans_io::Error> {
    inflated::Batch::builder()
        .record(Record::builder().key(Some(key)).value(value))
        .base_timestamp(now)
        .max_timestamp(now)
        .producer_epoch(-1)
        .base_sequence(-1)
        .build()
        .and_then(TryInto::try_into)
}
