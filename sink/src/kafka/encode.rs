//! Encodes rows as Avro with the registry's frame, by the registered schemas.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_avro::schema::{FingerprintStrategy, SCHEMA_METADATA_KEY};
use arrow_avro::writer::WriterBuilder;
use arrow_avro::writer::format::AvroSoeFormat;
use bytes::Bytes;
use stage::columns_of;

/// One Avro schema and its id in the registry.
#[derive(Debug, Clone)]
pub struct Registered {
    /// Its id.
    pub id: u32,
    /// The schema as JSON.
    pub json: Arc<str>,
}

/// Encodes keys and values of one table.
#[derive(Debug)]
pub struct Encoders {
    key: Encoder,
    value: Encoder,
}
impl Encoders {
    /// Encoders for a table with the columns `schema`, keyed by `keys`.
    pub fn try_new(
        schema: &SchemaRef,
        keys: &[String],
        key: &Registered,
        value: &Registered,
    ) -> Result<Self, ArrowError> {
        let at: Vec<usize> = keys.iter().map(|k| schema.index_of(k)).collect::<Result<_, _>>()?;
        Ok(Self { key: Encoder::new(&schema.project(&at)?, key), value: Encoder::new(schema, value) })
    }

    /// One framed key per row.
    pub fn keys(&self, rows: &RecordBatch) -> Result<Vec<Bytes>, ArrowError> {
        self.key.encode(rows)
    }

    /// One framed value per row.
    pub fn values(&self, rows: &RecordBatch) -> Result<Vec<Bytes>, ArrowError> {
        self.value.encode(rows)
    }
}

#[derive(Debug)]
struct Encoder {
    columns: SchemaRef,
    id: u32,
}
impl Encoder {
    fn new(columns: &Schema, registered: &Registered) -> Self {
        let schema = [(SCHEMA_METADATA_KEY.to_owned(), registered.json.to_string())];
        let columns = Schema::new_with_metadata(columns.fields().clone(), schema.into());
        Self { columns: Arc::new(columns), id: registered.id }
    }

    fn encode(&self, rows: &RecordBatch) -> Result<Vec<Bytes>, ArrowError> {
        if rows.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let avro = |e: arrow_avro::errors::AvroError| ArrowError::AvroError(e.to_string());
        let mut encoder = WriterBuilder::new(self.columns.as_ref().clone())
            .with_fingerprint_strategy(FingerprintStrategy::Id(self.id))
            .with_row_capacity(rows.num_rows())
            .build_encoder::<AvroSoeFormat>()
            .map_err(avro)?;
        for batch in columns_of(std::slice::from_ref(rows), &self.columns)? {
            encoder.encode(&batch).map_err(avro)?;
        }
        Ok(encoder.flush().iter().collect())
    }
}

#[cfg(test)]
mod extremes;

#[cfg(test)]
mod tests {
    use arrow::array::{
        BooleanArray, Date32Array, Decimal128Array, Float64Array, Int8Array, Int64Array, ListArray,
        StringArray, TimestampMicrosecondArray,
    };
    use arrow::datatypes::{DataType, Field, Int64Type, TimeUnit};
    use arrow_avro::reader::ReaderBuilder;
    use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};

    use super::*;

    fn rows() -> RecordBatch {
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let list = DataType::List(Arc::new(Field::new("element", DataType::Int64, true)));
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, true),
            Field::new("name", DataType::Utf8, true),
            Field::new("total", DataType::Decimal128(38, 4), true),
            Field::new("rate", DataType::Float64, true),
            Field::new("day", DataType::Date32, true),
            Field::new("at", utc, true),
            Field::new("ok", DataType::Boolean, true),
            Field::new("tier", DataType::Int8, true),
            Field::new("list", list, true),
        ]);
        let lists = vec![Some(vec![Some(1), None]), None, Some(vec![])];
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(lists);
        let lists = arrow::compute::cast(&lists, schema.field(8).data_type()).expect("a list is a list");
        RecordBatch::try_new(
            Arc::new(schema),
            vec![
                Arc::new(Int64Array::from(vec![Some(1), None, Some(i64::MIN)])),
                Arc::new(StringArray::from(vec![Some("ä"), None, Some("")])),
                Arc::new(
                    Decimal128Array::from(vec![
                        Some(-12_345_678),
                        None,
                        Some(i128::from(u64::MAX) * 1_000_000_000),
                    ])
                    .with_precision_and_scale(38, 4)
                    .expect("fits"),
                ),
                Arc::new(Float64Array::from(vec![Some(0.1), None, Some(f64::NAN)])),
                Arc::new(Date32Array::from(vec![Some(20_000), None, Some(-1)])),
                Arc::new(
                    TimestampMicrosecondArray::from(vec![Some(1_700_000_000_000_001), None, Some(0)])
                        .with_timezone("UTC"),
                ),
                Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
                Arc::new(Int8Array::from(vec![Some(-5), None, Some(5)])),
                lists,
            ],
        )
        .expect("columns of the schema")
    }

    #[test]
    fn every_type_comes_back_as_it_was() {
        let rows = rows();
        let schema = rows.schema();
        let json: Arc<str> = avro::from_arrow("t", "gold", &schema, &[]).expect("a schema").into();
        let key: Arc<str> =
            avro::from_arrow("t_key", "gold", &schema, &["id".to_owned()]).expect("a schema").into();
        let encoders = Encoders::try_new(
            &schema,
            &["id".to_owned()],
            &Registered { id: 3, json: key },
            &Registered { id: 258, json: json.clone() },
        )
        .expect("encoders");
        let values = encoders.values(&rows).expect("encoded");
        assert_eq!(values.len(), 3);
        assert!(values.iter().all(|v| v[..5] == [0, 0, 0, 1, 2]));
        let keys = encoders.keys(&rows).expect("encoded");
        assert_eq!(keys[0].as_ref(), [0, 0, 0, 0, 3, 2, 2], "frame, second branch of the union, zigzag 1");

        let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
        store.set(Fingerprint::Id(258), AvroSchema::new(json.to_string())).expect("set");
        let mut decoder =
            ReaderBuilder::new().with_writer_schema_store(store).build_decoder().expect("a decoder");
        for value in &values {
            assert_eq!(decoder.decode(value).expect("decoded"), value.len());
        }
        let back = decoder.flush().expect("flushed").expect("rows");
        let back = columns_of(&[back], &schema).expect("converted").remove(0);
        assert_eq!(format!("{back:?}"), format!("{rows:?}"));
    }
}
