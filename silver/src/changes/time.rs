//! Event times, as the source gives them. They order nothing.

use arrow::array::{Array as _, ArrayRef, AsArray as _, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use catalog::Envelope;
use model::column;

/// The event time of every row: from the declared path, else from the envelope, else Kafka's timestamp.
pub fn event_time(
    bronze: &RecordBatch,
    declared: Option<&str>,
    envelope: Envelope,
) -> Result<TimestampMicrosecondArray, ArrowError> {
    let kafka = bronze.column_by_name(column::TIMESTAMP).map(|c| micros(c, column::TIMESTAMP)).transpose()?;
    let own = own_time(bronze, declared, envelope)?;
    Ok(match (own, kafka) {
        (Some(own), Some(kafka)) if own.null_count() > 0 => {
            let either = |row| {
                own.is_valid(row).then(|| own.value(row)).or(kafka.is_valid(row).then(|| kafka.value(row)))
            };
            (0..own.len()).map(either).collect::<TimestampMicrosecondArray>().with_timezone("UTC")
        }
        (Some(one), _) | (None, Some(one)) => one,
        (None, None) => TimestampMicrosecondArray::new_null(bronze.num_rows()).with_timezone("UTC"),
    })
}

/// The source's time of each row: from the declared path, else from the envelope. `None` if the table has no
/// such column.
pub fn own_time(
    bronze: &RecordBatch,
    declared: Option<&str>,
    envelope: Envelope,
) -> Result<Option<TimestampMicrosecondArray>, ArrowError> {
    let usual = match envelope {
        Envelope::Debezium => Some("source.ts_ms"),
        Envelope::DebeziumFlat => Some("__source_ts_ms"),
        Envelope::None => None,
    };
    let own = declared.or(usual).and_then(|path| Some((super::path(bronze, path)?, path)));
    own.map(|(column, path)| micros(&column, path)).transpose()
}

/// A column as microseconds. The suffix of its name gives the unit of a number, with milliseconds as the
/// default. A value that is not a time is null.
fn micros(column: &ArrayRef, name: &str) -> Result<TimestampMicrosecondArray, ArrowError> {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let column = match column.data_type() {
        DataType::Int64 => {
            let numbers = column.as_primitive::<Int64Type>();
            let scaled: Int64Array = match name.rsplit('_').next() {
                Some("us") => numbers.clone(),
                Some("ns") => numbers.unary(|n: i64| n.div_euclid(1000)),
                // A number out of range is not a time.
                _ => numbers.iter().map(|n| n?.checked_mul(1000)).collect(),
            };
            std::sync::Arc::new(scaled) as ArrayRef
        }
        _ => std::sync::Arc::clone(column),
    };
    Ok(cast(&column, &utc)?.as_primitive::<TimestampMicrosecondType>().clone().with_timezone("UTC"))
}
