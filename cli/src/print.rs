//! Rows as a table, CSV or JSON Lines. Module `value` defines the text of each value, which CSV and JSON
//! readers turn back into the same value.

mod value;

use std::io::Write;

use anyhow::Result;
use arrow::array::RecordBatch;

use crate::args::Format;

/// Writes `batches` to `out`. An empty result still has its header in a table and in CSV.
pub fn rows(out: &mut impl Write, batches: &[RecordBatch], format: Format) -> Result<()> {
    match format {
        Format::Table => writeln!(out, "{}", arrow::util::pretty::pretty_format_batches(batches)?)?,
        Format::Csv => {
            let mut line = String::new();
            if let Some(first) = batches.first() {
                let names = first.schema_ref().fields().iter().map(|field| field.name().clone());
                line = names.map(|name| value::Printed::Text(name).csv()).collect::<Vec<_>>().join(",");
                writeln!(out, "{line}")?;
            }
            for batch in batches {
                for row in 0..batch.num_rows() {
                    line.clear();
                    for (at, column) in batch.columns().iter().enumerate() {
                        if at > 0 {
                            line.push(',');
                        }
                        line += &value::value(column.as_ref(), row)?.csv();
                    }
                    writeln!(out, "{line}")?;
                }
            }
        }
        Format::Json => {
            for batch in batches {
                for row in 0..batch.num_rows() {
                    let fields = batch.schema_ref().fields();
                    let object = value::object(fields, |at| value::value(batch.column(at).as_ref(), row))?;
                    writeln!(out, "{}", object.json()?)?;
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
