//! Arrow and Delta schemas, and widening one schema by another.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use delta_kernel::engine::arrow_conversion::{TryIntoArrow as _, TryIntoKernel as _};
use delta_kernel::schema::StructType;

use crate::{Error, Result};

/// Parses the schema of a Metadata action. Strings are `Utf8`, timestamps are microseconds in UTC.
pub(crate) fn parse(table: &str, schema_string: &str) -> Result<SchemaRef> {
    let bad = |source: crate::error::BoxError| Error::BadLog { table: table.to_owned(), source };
    let delta: StructType = serde_json::from_str(schema_string).map_err(|e| bad(e.into()))?;
    let arrow: Schema = (&delta).try_into_arrow().map_err(|e| bad(e.into()))?;
    Ok(Arc::new(arrow))
}

/// A schema in Delta's form.
pub(crate) fn print(table: &str, schema: &Schema) -> Result<String> {
    let unfit = |e: String| Error::Unsupported { table: table.to_owned(), feature: e };
    let delta: StructType = plain(schema).as_ref().try_into_kernel().map_err(|e| unfit(e.to_string()))?;
    serde_json::to_string(&delta).map_err(|e| unfit(e.to_string()))
}

/// The schema of these columns once they are stored: no views, dictionaries or unusual widths.
pub(crate) fn stored(table: &str, schema: &Schema) -> Result<SchemaRef> {
    parse(table, &print(table, schema)?)
}

/// Removes what Delta cannot express: dictionaries become their values, and of a field's metadata only the
/// comment is kept.
fn plain(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().iter().map(plain_field).collect::<Fields>()))
}

fn plain_field(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Dictionary(_, values) => values.as_ref().clone(),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_field).collect()),
        DataType::List(item) => DataType::List(plain_field(item)),
        DataType::LargeList(item) => DataType::LargeList(plain_field(item)),
        DataType::Map(entries, sorted) => DataType::Map(plain_field(entries), *sorted),
        DataType::Timestamp(unit, Some(zone)) if ["+00:00", "Z", "utc"].contains(&zone.as_ref()) => {
            DataType::Timestamp(*unit, Some("UTC".into()))
        }
        other => other.clone(),
    };
    let comment = field.metadata().get("comment").map(|c| ("comment".to_owned(), c.clone()));
    let plain = Field::new(field.name(), data_type, field.is_nullable());
    Arc::new(plain.with_metadata(comment.into_iter().collect()))
}

/// Adds the columns of `wanted` that `current` lacks, at the end, nullable, at every depth. Two writers that
/// each add a column get both, in either order. A column that both have must have the same type.
pub(crate) fn widen(table: &str, current: &Schema, wanted: &Schema) -> Result<SchemaRef> {
    let fields = widen_fields(table, "", current.fields(), stored(table, wanted)?.fields())?;
    Ok(Arc::new(Schema::new_with_metadata(fields, current.metadata().clone())))
}

fn widen_fields(table: &str, path: &str, current: &Fields, wanted: &Fields) -> Result<Fields> {
    let mut all: Vec<FieldRef> = Vec::with_capacity(current.len());
    for have in current {
        all.push(match wanted.iter().find(|w| w.name() == have.name()) {
            Some(want) => Arc::new(widen_field(table, path, have, want)?),
            None => have.clone(),
        });
    }
    let mut names: HashMap<String, &str> =
        current.iter().map(|field| (field.name().to_lowercase(), field.name().as_str())).collect();
    for want in wanted.iter().filter(|w| !current.iter().any(|c| c.name() == w.name())) {
        // Delta's column names are case-insensitive.
        if let Some(have) = names.insert(want.name().to_lowercase(), want.name()) {
            return Err(Error::SchemaConflict {
                table: table.to_owned(),
                column: format!("{path}{}", want.name()),
                have: format!("a column `{have}`"),
                want: want.data_type().to_string(),
            });
        }
        all.push(Arc::new(want.as_ref().clone().with_nullable(true)));
    }
    Ok(all.into())
}

fn widen_field(table: &str, path: &str, have: &FieldRef, want: &FieldRef) -> Result<Field> {
    let column = format!("{path}{}", have.name());
    let inner = format!("{column}.");
    let same = |field: DataType| {
        Field::new(have.name(), field, have.is_nullable()).with_metadata(have.metadata().clone())
    };
    Ok(match (have.data_type(), want.data_type()) {
        (DataType::Struct(a), DataType::Struct(b)) => {
            same(DataType::Struct(widen_fields(table, &inner, a, b)?))
        }
        (DataType::List(a), DataType::List(b)) => {
            same(DataType::List(Arc::new(widen_field(table, &inner, a, b)?)))
        }
        (DataType::Map(a, sorted), DataType::Map(b, _)) => {
            same(DataType::Map(Arc::new(widen_field(table, &inner, a, b)?), *sorted))
        }
        (a, b) if a == b => have.as_ref().clone(),
        (a, b) => {
            return Err(Error::SchemaConflict {
                table: table.to_owned(),
                column,
                have: a.to_string(),
                want: b.to_string(),
            });
        }
    })
}

/// The named columns, in the given order.
pub(crate) fn project(table: &str, schema: &Schema, columns: &[String]) -> Result<SchemaRef> {
    let field = |name: &String| {
        let no_column = || Error::NoColumn { table: table.to_owned(), column: name.clone() };
        schema.fields().find(name).map(|(_, field)| field.clone()).ok_or_else(no_column)
    };
    Ok(Arc::new(Schema::new(columns.iter().map(field).collect::<Result<Fields>>()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(fields: &[(&str, DataType)]) -> Schema {
        Schema::new(fields.iter().map(|(name, t)| Field::new(*name, t.clone(), true)).collect::<Vec<_>>())
    }

    #[test]
    fn types_come_back_as_the_table_stores_them() {
        let views = schema(&[
            ("s", DataType::Utf8View),
            ("d", DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))),
            ("t", DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("+00:00".into()))),
            ("m", DataType::Decimal128(38, 4)),
        ]);
        let stored = stored("t", &views).expect("storable");
        let types: Vec<String> = stored.fields().iter().map(|f| f.data_type().to_string()).collect();
        assert_eq!(types, ["Utf8", "Utf8", "Timestamp(µs, \"UTC\")", "Decimal128(38, 4)"]);
    }

    #[test]
    fn two_widenings_give_both_columns_at_any_depth() {
        let after = |extra: &[(&str, DataType)]| {
            let mut fields = vec![("id", DataType::Int64)];
            fields.extend_from_slice(extra);
            schema(&[("after", DataType::Struct(schema(&fields).fields().clone()))])
        };
        let one = widen("t", &after(&[]), &after(&[("x", DataType::Utf8)])).expect("widens");
        let both = widen("t", &one, &after(&[("y", DataType::Int64)])).expect("widens");
        assert_eq!(*both, after(&[("x", DataType::Utf8), ("y", DataType::Int64)]));
        let same = widen("t", &both, &after(&[("X", DataType::Utf8)]));
        assert!(matches!(same, Err(Error::SchemaConflict { .. })), "Delta takes `X` for `x`");
        let clash = widen("t", &both, &after(&[("x", DataType::Int64)]));
        assert!(matches!(clash, Err(Error::SchemaConflict { column, .. }) if column == "after.x"));
    }

    #[test]
    fn a_new_column_is_nullable_whatever_was_asked() {
        let wanted = Schema::new(vec![Field::new("b", DataType::Int64, false)]);
        let wide = widen("t", &schema(&[("a", DataType::Int64)]), &wanted).expect("widens");
        assert!(wide.field(1).is_nullable());
    }
}
