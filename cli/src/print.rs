//! Rows as a table, CSV or JSON Lines.

use std::io::Write;

use anyhow::Result;
use arrow::array::RecordBatch;

use crate::args::Format;

/// Writes `batches` to `out`. An empty result still has its header in a table and in CSV.
pub fn rows(out: &mut impl Write, batches: &[RecordBatch], format: Format) -> Result<()> {
    match format {
        Format::Table => writeln!(out, "{}", arrow::util::pretty::pretty_format_batches(batches)?)?,
        Format::Csv => {
            let mut writer = arrow::csv::WriterBuilder::new().with_header(true).build(&mut *out);
            for batch in batches {
                writer.write(batch)?;
            }
        }
        Format::Json => {
            let mut writer = arrow::json::LineDelimitedWriter::new(&mut *out);
            for batch in batches {
                writer.write(batch)?;
            }
            writer.finish()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Decimal128Array, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    #[test]
    fn the_three_formats_say_the_same() {
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("name", DataType::Utf8, true),
            Field::new("sum", DataType::Decimal128(38, 2), true),
        ]);
        let sums =
            Decimal128Array::from(vec![Some(1_050), None]).with_precision_and_scale(38, 2).expect("fits");
        let batch = RecordBatch::try_new(
            Arc::new(schema),
            vec![
                Arc::new(Int64Array::from(vec![1, 2])),
                Arc::new(StringArray::from(vec![Some("a,b"), None])),
                Arc::new(sums),
            ],
        )
        .expect("columns fit");
        let text = |format| {
            let mut out = Vec::new();
            rows(&mut out, std::slice::from_ref(&batch), format).expect("in memory");
            String::from_utf8(out).expect("text")
        };
        assert_eq!(text(Format::Csv), "id,name,sum\n1,\"a,b\",10.50\n2,,\n");
        assert!(
            text(Format::Json).starts_with(r#"{"id":1,"name":"a,b","sum":10.50}"#),
            "{}",
            text(Format::Json)
        );
        assert!(text(Format::Table).contains("| 1  | a,b  | 10.50 |"), "{}", text(Format::Table));
    }
}
