//! Decodes the payloads of one schema id, by column; a bad payload never affects another one.
//!
//! 1. [`avro::Checker`] walks each payload's bytes: only exact payloads go on.
//! 2. The vectorised decoder reads them all into columns; each call must consume its whole payload.
//! 3. Columns are converted to the table's types ([`crate::conform`]); a row that does not fit is refused.
//!
//! If the decoder refuses or panics on a payload that passed the check, its state is unusable: it is rebuilt
//! and the payloads are halved until the refused one is alone.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::{Fields, SchemaRef};
use avro::{BadSchema, Mismatch, repeat};

use crate::conform::{Incompatible, Misfit, Reason, conform};

/// Why a payload became an error row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Zero bytes.
    #[error("the value is empty")]
    Empty,
    /// The first byte is not the 0 of the registry's frame.
    #[error("the first byte is {0}, not the 0 of a registry frame")]
    Magic(u8),
    /// Shorter than a frame.
    #[error("the value is shorter than a registry frame")]
    Short,
    /// The registry has no such schema.
    #[error("the registry knows no schema {0}")]
    UnknownSchema(u32),
    /// A schema that no table can hold.
    #[error("schema {id} is not usable: {why}")]
    BadSchema {
        /// Its id.
        id: u32,
        /// What is wrong with it.
        why: String,
    },
    /// A schema whose columns do not go into this table.
    #[error("schema {id} does not fit the table: {why}")]
    Incompatible {
        /// Its id.
        id: u32,
        /// The column and its types, or the reason.
        why: String,
    },
    /// Bytes that are not a datum of their schema.
    #[error(transparent)]
    Fault(#[from] Mismatch),
    /// A value that the stored type cannot hold exactly.
    #[error("column `{column}`: {reason}")]
    Misfit {
        /// Top-level column; its dotted path where the value is JSON.
        column: String,
        /// What is wrong.
        reason: Reason,
    },
    /// Text that is not a JSON object of the topic's shape.
    #[error("the value is not the topic's JSON: {0}")]
    Json(String),
    /// JSON without its schema, on a topic that declares none.
    #[error(
        "the value carries no schema and its topic declares none: set `schemas.enable` of the converter, \
         or declare `schema:`"
    )]
    NoSchemaPart,
    /// JSON with a schema that no table, or not this one, can hold.
    #[error("the value's schema part is not usable: {why}")]
    SchemaPart {
        /// What is wrong with it.
        why: String,
    },
    /// JSON of another type than its schema has.
    #[error("`{column}`: {wanted} is expected")]
    Unlike {
        /// Dotted path.
        column: String,
        /// The expected value.
        wanted: &'static str,
    },
    /// Passed the check, but the decoder refused it.
    #[error("the decoder refuses the value")]
    Decoder,
}
impl Refusal {
    /// The metric label.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Magic(_) => "wrong_magic_byte",
            Self::Short => "short_frame",
            Self::UnknownSchema(_) => "unknown_schema_id",
            Self::BadSchema { .. } | Self::SchemaPart { .. } => "unusable_schema",
            Self::Incompatible { .. } => "incompatible_schema",
            Self::NoSchemaPart => "no_schema_part",
            Self::Unlike { .. } => "unlike_schema",
            Self::Fault(fault) => fault.label(),
            Self::Misfit { reason, .. } => reason.label(),
            Self::Json(_) => "bad_json",
            Self::Decoder => "refused_by_decoder",
        }
    }
}

/// Decodes the records of one schema.
#[derive(Debug)]
pub struct Decoder(avro::Decoder);

/// The rows of one decoder, with what it refused. Positions count in the input.
#[derive(Debug)]
pub struct Decoded {
    /// Position of each row in the input, ascending.
    pub rows: Vec<u32>,
    /// The requested columns, each as long as `rows`.
    pub columns: Vec<ArrayRef>,
    /// Payloads that became error rows, with the reason.
    pub refused: Vec<(u32, Refusal)>,
    /// Payloads without bytes behind the frame: all their columns are null.
    pub hollow: Vec<u32>,
}

impl Decoder {
    /// A decoder for the schema with that registry id.
    pub fn try_new(id: u32, json: Arc<str>) -> Result<Self, BadSchema> {
        Self::resolving(id, json, None)
    }
    /// As [`Decoder::try_new`], but reads records as the declared schema.
    pub fn resolving(id: u32, json: Arc<str>, declared: Option<&str>) -> Result<Self, BadSchema> {
        avro::Decoder::resolving(id, json, declared).map(Self)
    }
    /// The writer's schema, with the declared names of its fields.
    pub fn writer(&self) -> &str {
        self.0.writer()
    }
    /// The registry's id of the schema.
    pub fn id(&self) -> u32 {
        self.0.id()
    }
    /// The writer's columns as decoded.
    pub fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    /// Decodes framed payloads into `wanted` columns. `at` gives the payload at a position.
    pub fn decode<'a>(
        &mut self,
        positions: &[u32],
        at: impl Fn(u32) -> &'a [u8],
        wanted: &Fields,
    ) -> Result<Decoded, (String, Incompatible)> {
        let mut refused = Vec::new();
        let mut hollow = Vec::new();
        let mut good = Vec::with_capacity(positions.len());
        for &position in positions {
            match self.0.check(at(position)) {
                Err(fault) => refused.push((position, Refusal::Fault(fault))),
                Ok(true) => good.push(position),
                Ok(false) => hollow.push(position),
            }
        }
        let mut batches = Vec::new();
        let mut rows = Vec::with_capacity(good.len());
        self.halve(&good, &at, &mut rows, &mut batches, &mut refused);
        let columns = self.stored(&batches, wanted, &rows, &mut refused)?;
        Ok(Decoded { rows, columns, refused, hollow })
    }

    /// Decodes all payloads, or halves them until a refused one is alone.
    fn halve<'a>(
        &mut self,
        positions: &[u32],
        at: &impl Fn(u32) -> &'a [u8],
        rows: &mut Vec<u32>,
        batches: &mut Vec<RecordBatch>,
        refused: &mut Vec<(u32, Refusal)>,
    ) {
        if positions.is_empty() {
            return;
        }
        if let Some(batch) = self.0.decode(positions.iter().map(|&position| at(position))) {
            rows.extend_from_slice(positions);
            batches.push(batch);
            return;
        }
        if let [alone] = positions {
            refused.push((*alone, Refusal::Decoder));
            return;
        }
        let (left, right) = positions.split_at(positions.len() / 2);
        self.halve(left, at, rows, batches, refused);
        self.halve(right, at, rows, batches, refused);
    }

    fn stored(
        &self,
        batches: &[RecordBatch],
        wanted: &Fields,
        rows: &[u32],
        refused: &mut Vec<(u32, Refusal)>,
    ) -> Result<Vec<ArrayRef>, (String, Incompatible)> {
        let schema = self.schema();
        let mut misfit_rows: HashMap<u32, (&str, Reason)> = HashMap::new();
        let mut columns = Vec::with_capacity(wanted.len());
        for field in wanted {
            let Ok(index) = schema.index_of(field.name()) else {
                columns.push(match self.0.fill().absent(field.name()) {
                    Some(one) => {
                        let one = conform(one, field.data_type(), &mut Vec::new());
                        repeat(&one.map_err(|error| (field.name().clone(), error))?, rows.len())
                    }
                    None => new_null_array(field.data_type(), rows.len()),
                });
                continue;
            };
            let fill = self.0.fill().field(field.name());
            let parts: Vec<_> = batches.iter().map(|batch| fill.put_into(batch.column(index))).collect();
            let named = |error| (field.name().clone(), error);
            let mut misfits: Vec<Misfit> = Vec::new();
            let mut stored = Vec::with_capacity(parts.len());
            let mut before = 0;
            for part in &parts {
                let mut found = Vec::new();
                stored.push(conform(part, field.data_type(), &mut found).map_err(named)?);
                misfits.extend(found.into_iter().map(|m| Misfit { row: m.row + before, ..m }));
                before += u32::try_from(part.len()).expect("a batch has fewer than 2^32 rows");
            }
            columns.push(join(stored, field.data_type()));
            for misfit in misfits {
                misfit_rows.entry(misfit.row).or_insert((field.name(), misfit.reason));
            }
        }
        for (row, (column, reason)) in misfit_rows {
            refused.push((rows[row as usize], Refusal::Misfit { column: column.to_owned(), reason }));
        }
        Ok(columns)
    }
}

/// Concatenates parts of one type.
pub(crate) fn join(mut parts: Vec<ArrayRef>, kind: &arrow::datatypes::DataType) -> ArrayRef {
    match parts.len() {
        0 => new_null_array(kind, 0),
        1 => parts.swap_remove(0),
        _ => {
            let parts: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
            concat(&parts).expect("the parts are of one type and below 2^31 rows")
        }
    }
}

#[cfg(test)]
mod resolving;
#[cfg(test)]
mod tests;
