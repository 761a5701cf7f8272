//! Defaults for rows whose writers did not know the column yet, as described in `docs/topics.md`: rows of a
//! partition before the first row with the column get the default from the table's property.

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
    from: BTreeMap<String, i64>,
}

/// The missing defaults by the column's path.
#[derive(Default)]
pub struct Lacking(BTreeMap<String, Lacked>);

impl Lacking {
    /// Reads the property of a bronze table.
    pub fn of(bronze: &lake::Table) -> Result<Self> {
        let Some(property) = bronze.property(PROPERTY) else { return Ok(Self::default()) };
        Ok(Self(serde_json::from_str(property).with_context(|| format!("property `{PROPERTY}`"))?))
    }

    /// The rows with the defaults filled in.
    pub fn put(&self, bronze: &RecordBatch) -> Result<RecordBatch> {
        if self.0.is_empty() {
            return Ok(bronze.clone());
        }
        let open: Vec<Option<(String, i64)>> = places(bronze);
        let mut columns = bronze.columns().to_vec();
        let schema = bronze.schema();
        for (path, lacked) in &self.0 {
            let steps: Vec<&str> = path.split('.').collect();
            let Ok(at) = schema.index_of(steps[0]) else { continue };
            let lacks = |place: &Option<(String, i64)>| {
                let Some((app, offset)) = place else { return false };
                lacked.from.get(app).is_none_or(|from| offset < from)
            };
            let rows: Vec<bool> = open.iter().map(lacks).collect();
            if rows.contains(&true) {
                columns[at] = placed(&columns[at], &steps[1..], &lacked.value, &rows)?;
            }
        }
        Ok(RecordBatch::try_new(schema, columns)?)
    }
}

/// Input and offset of each row that may lack a column: rows with a value that were read once and in order.
fn places(bronze: &RecordBatch) -> Vec<Option<(String, i64)>> {
    let number =
        |name: &str| bronze.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>());
    let topics = bronze.column_by_name("_topic_id").and_then(|column| column.as_string_opt::<i32>());
    let (Some(topics), Some(partitions), Some(offsets)) = (topics, number("_partition"), number("_offset"))
    else {
        return vec![None; bronze.num_rows()];
    };
    let meta = catalog::columns::meta_names();
    let schema = bronze.schema();
    let named = schema.fields().iter().zip(bronze.columns());
    let own: Vec<&ArrayRef> = named
        .filter(|(field, _)| field.name() != "_keys" && !meta.contains(field.name()))
        .map(|(_, column)| column)
        .collect();
    let is = |name: &str, row: usize| bronze.column_by_name(name).is_some_and(|column| column.is_valid(row));
    let place = |row: usize| {
        let has_value = is("_schema_id", row) || own.iter().any(|column| column.is_valid(row));
        let app = || format!("lp/{}/{}", topics.value(row), partitions.value(row));
        (has_value && !is("_error", row) && !is("_redrive", row)).then(|| (app(), offsets.value(row)))
    };
    (0..bronze.num_rows()).map(place).collect()
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
