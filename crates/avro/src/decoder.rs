//! Framed datums of one schema to columns, all at once.
//!
//! The library appends field by field and cannot take a row back, so a payload is handed to it only after the
//! [`Checker`] has accepted it. Should it refuse one all the same, or panic, its state is worth nothing: it is
//! built anew, and whoever called finds out which payload it was.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow_avro::codec::Tz;
use arrow_avro::reader::ReaderBuilder;
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};

use crate::check::{Checker, Mismatch};
use crate::connect::{Form, in_form};
use crate::frame::Frame;
use crate::resolve::{Fill, resolve};
use crate::schema::BadSchema;

/// The decoder holds no memory for capacity it has not used.
const NO_LIMIT: usize = 1 << 30;

/// Decodes what one schema wrote.
pub struct Decoder {
    id: u32,
    json: Arc<str>,
    checker: Checker,
    inner: arrow_avro::reader::Decoder,
    /// What the declared schema says of what the writer's lacks.
    fill: Fill,
}
impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("id", &self.id).finish_non_exhaustive()
    }
}
impl Decoder {
    /// A decoder for the schema with that registry id.
    pub fn try_new(id: u32, json: Arc<str>) -> Result<Self, BadSchema> {
        Self::resolving(id, json, None)
    }
    /// As [`Decoder::try_new`], of records that are read as a declared schema says.
    pub fn resolving(id: u32, json: Arc<str>, declared: Option<&str>) -> Result<Self, BadSchema> {
        let json = match in_form(&json, Form::Wire) {
            Cow::Borrowed(_) => json,
            Cow::Owned(json) => json.into(),
        };
        let (json, fill) = match declared {
            Some(declared) => resolve(&json, declared),
            None => (json, Fill::Nothing),
        };
        let checker = Checker::try_new(&json)?;
        let inner = build(id, &json)?;
        Ok(Self { id, json, checker, inner, fill })
    }
    /// The writer's schema, its fields called as declared.
    pub fn writer(&self) -> &str {
        &self.json
    }
    /// What the declared schema puts into the columns that are decoded.
    pub fn fill(&self) -> &Fill {
        &self.fill
    }
    /// The registry's id of the schema.
    pub fn id(&self) -> u32 {
        self.id
    }
    /// The columns that it yields.
    pub fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    /// Whether what is behind the frame is exactly one datum. Says whether it has any bytes: for a datum of none,
    /// [`Decoder::decode`] would wait for ever.
    #[inline]
    pub fn check(&self, framed: &[u8]) -> Result<bool, Mismatch> {
        let body = framed.get(Frame::LEN..).ok_or(Mismatch::Truncated)?;
        self.checker.check(body).map(|()| !body.is_empty())
    }
    /// Decodes framed payloads that were checked and have bytes, each as one row. `None`: one of them is refused.
    pub fn decode<'a>(&mut self, payloads: impl ExactSizeIterator<Item = &'a [u8]>) -> Option<RecordBatch> {
        let (inner, rows) = (&mut self.inner, payloads.len());
        let batch = catch_unwind(AssertUnwindSafe(|| {
            for payload in payloads {
                if inner.decode(payload).ok()? != payload.len() {
                    return None;
                }
            }
            inner.flush().ok().flatten().filter(|batch| batch.num_rows() == rows)
        }));
        let batch = batch.ok().flatten();
        if batch.is_none() {
            self.inner = build(self.id, &self.json).expect("the same schema was built before");
        }
        batch
    }
}

fn build(id: u32, json: &str) -> Result<arrow_avro::reader::Decoder, BadSchema> {
    let refuse = |error: ArrowError| BadSchema::Shape(error.to_string());
    let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
    store.set(Fingerprint::Id(id), AvroSchema::new(json.to_owned())).map_err(refuse)?;
    ReaderBuilder::new()
        .with_writer_schema_store(store)
        .with_batch_size(NO_LIMIT)
        // Delta knows no other zone, and the decoder's default is spelt `+00:00`.
        .with_tz(Tz::Utc)
        .build_decoder()
        .map_err(refuse)
}
