//! Values that rows lack because they were written before their table had the column, as `docs/topics.md` says:
//! rows of a partition below an offset have what the table's property says the default was.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch, StructArray};
use arrow::compute::interleave;
use arrow::datatypes::Int64Type;
use arrow::json::ReaderBuilder;
use serde::Deserialize;

/// The property of a bronze table.
const PROPERTY: &str = "lakepulse.defaults";

#[derive(Deserialize)]
struct Lacked {
    value: String,
    #[serde(default)]
    below: BTreeMap<String, i64>,
}

/// What rows lack, by the column's path.
#[derive(Default)]
pub struct Lacking(BTreeMap<String, Lacked>);

impl Lacking {
    /// Of a bronze table.
    pub fn of(bronze: &lake::Table) -> Result<Self> {
        let Some(property) = bronze.property(PROPERTY) else { return Ok(Self::default()) };
        Ok(Self(serde_json::from_str(property).with_context(|| format!("property `{PROPERTY}`"))?))
    }

    /// The rows with it.
    pub fn put(&self, bronze: &RecordBatch) -> Result<RecordBatch> {
        let mut columns = bronze.columns().to_vec();
        let schema = bronze.schema();
        for (path, lacked) in self.0.iter().filter(|(_, lacked)| !lacked.below.is_empty()) {
            let steps: Vec<&str> = path.split('.').collect();
            let Ok(at) = schema.index_of(steps[0]) else { continue };
            let rows: Vec<bool> = (0..bronze.num_rows()).map(|row| lacked.by(bronze, row)).collect();
            if rows.contains(&true) {
                columns[at] = placed(&columns[at], &steps[1..], &lacked.value, &rows)?;
            }
        }
        Ok(RecordBatch::try_new(schema, columns)?)
    }
}

impl Lacked {
    fn by(&self, bronze: &RecordBatch, row: usize) -> bool {
        let is = |name: &str| bronze.column_by_name(name).is_some_and(|column| column.is_valid(row));
        let number =
            |name: &str| Some(bronze.column_by_name(name)?.as_primitive_opt::<Int64Type>()?.value(row));
        let place = || {
            let topic = bronze.column_by_name("_topic_id")?.as_string_opt::<i32>()?.value(row);
            let below = self.below.get(&format!("lp/{topic}/{}", number("_partition")?))?;
            Some(number("_offset")? < *below)
        };
        let meta = catalog::avro::meta_names();
        let schema = bronze.schema();
        let own = |name: &str| name != "_keys" && !meta.iter().any(|meta| meta == name);
        let has_value =
            || is("_schema_id") || schema.fields().iter().any(|field| own(field.name()) && is(field.name()));
        !is("_error") && !is("_redrive") && place() == Some(true) && has_value()
    }
}

fn placed(column: &ArrayRef, steps: &[&str], value: &str, rows: &[bool]) -> Result<ArrayRef> {
    if let Some((name, steps)) = steps.split_first() {
        let record = column.as_struct_opt().context("a default of a field of what is no record")?;
        let Some((at, _)) = record.fields().find(name) else { return Ok(Arc::clone(column)) };
        let rows: Vec<bool> =
            rows.iter().enumerate().map(|(row, lacks)| *lacks && record.is_valid(row)).collect();
        let mut columns = record.columns().to_vec();
        columns[at] = placed(&columns[at], steps, value, &rows)?;
        return Ok(Arc::new(StructArray::try_new(
            record.fields().clone(),
            columns,
            record.nulls().cloned(),
        )?));
    }
    let field = arrow::datatypes::Field::new("value", column.data_type().clone(), true);
    let schema = Arc::new(arrow::datatypes::Schema::new(vec![field]));
    let text = format!("{{\"value\":{value}}}");
    let read = ReaderBuilder::new(schema).build(text.as_bytes())?.next();
    let one = read.context("a default that is no value")??.column(0).clone();
    let pick: Vec<(usize, usize)> = rows
        .iter()
        .enumerate()
        .map(|(row, lacks)| if *lacks && column.is_null(row) { (1, 0) } else { (0, row) })
        .collect();
    Ok(interleave(&[column.as_ref(), one.as_ref()], &pick)?)
}
