//! What a new version of a topic's schema means for its table.
//!
//! Tables only ever gain nullable columns. A field whose stored type differs is fine as long as
//! every value can be tried for an exact fit; where no value could be, the schema is refused, and
//! its records become error rows until a person decides.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};

use crate::conform;

/// A column that no value of the new schema can go into.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column `{column}` is `{has}` in the table and `{wants}` in the schema")]
pub struct Clash {
    /// Dotted path.
    pub column: String,
    /// The table's type.
    pub has: DataType,
    /// The schema's.
    pub wants: DataType,
}

/// The table's columns with those of `wanted` that it lacks, nullable, at the end of their struct.
/// `None`: the table has them all.
pub fn widen(table: &SchemaRef, wanted: &Schema) -> Result<Option<SchemaRef>, Clash> {
    let fields = merge(table.fields(), wanted.fields(), "")?;
    Ok(fields.map(|fields| Arc::new(Schema::new_with_metadata(fields, table.metadata().clone()))))
}

fn merge(has: &Fields, wants: &Fields, path: &str) -> Result<Option<Fields>, Clash> {
    let mut merged: Vec<FieldRef> = has.iter().cloned().collect();
    let mut changed = false;
    for wanted in wants {
        let column =
            if path.is_empty() { wanted.name().clone() } else { format!("{path}.{}", wanted.name()) };
        match has.find(wanted.name()) {
            None => {
                merged.push(Arc::new(Field::new(wanted.name(), wanted.data_type().clone(), true)));
                changed = true;
            }
            Some((at, field)) => {
                if let Some(kind) = merge_type(field.data_type(), wanted.data_type(), &column)? {
                    merged[at] = Arc::new(field.as_ref().clone().with_data_type(kind));
                    changed = true;
                }
            }
        }
    }
    Ok(changed.then(|| merged.into()))
}

/// The wider type, where it differs from the table's.
fn merge_type(has: &DataType, wants: &DataType, column: &str) -> Result<Option<DataType>, Clash> {
    let inside = |field: &FieldRef, wanted: &FieldRef, name: &str| {
        let kind = merge_type(field.data_type(), wanted.data_type(), &format!("{column}.{name}"))?;
        Ok(kind.map(|kind| Arc::new(field.as_ref().clone().with_data_type(kind))))
    };
    match (has, wants) {
        (has, wants) if has == wants => Ok(None),
        (DataType::Struct(has), DataType::Struct(wants)) => {
            Ok(merge(has, wants, column)?.map(DataType::Struct))
        }
        (DataType::List(has), DataType::List(wants)) => Ok(inside(has, wants, "item")?.map(DataType::List)),
        (DataType::Map(has, sorted), DataType::Map(wants, _)) => {
            Ok(inside(has, wants, "entry")?.map(|entries| DataType::Map(entries, *sorted)))
        }
        _ => match conform::check(wants, has) {
            Ok(()) => Ok(None),
            Err(_) => Err(Clash { column: column.to_owned(), has: has.clone(), wants: wants.clone() }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(fields: Vec<Field>) -> SchemaRef {
        Arc::new(Schema::new(fields))
    }
    fn inner(fields: Vec<Field>) -> Field {
        Field::new("after", DataType::Struct(fields.into()), true)
    }
    fn int(name: &str) -> Field {
        Field::new(name, DataType::Int64, true)
    }

    #[test]
    fn a_new_column_goes_to_the_end_of_its_struct_and_is_nullable() {
        let table = schema(vec![inner(vec![int("id")]), int("_offset")]);
        let email = Field::new("email", DataType::Utf8, false);
        let wanted = schema(vec![inner(vec![email.clone(), int("id")]), int("_offset")]);
        let wide = widen(&table, &wanted).expect("no clash").expect("wider");
        assert_eq!(
            *wide,
            Schema::new(vec![inner(vec![int("id"), email.with_nullable(true)]), int("_offset")])
        );
        assert_eq!(widen(&wide, &wanted), Ok(None));
        assert_eq!(widen(&wide, &table), Ok(None), "a field that went stays");
    }

    #[test]
    fn a_number_of_another_width_is_tried_value_by_value() {
        let table = schema(vec![int("n"), Field::new("d", DataType::Decimal128(38, 2), true)]);
        let wanted = schema(vec![
            Field::new("n", DataType::Float64, true),
            Field::new("d", DataType::Decimal128(38, 4), true),
        ]);
        assert_eq!(widen(&table, &wanted), Ok(None));
    }

    #[test]
    fn a_type_of_another_kind_clashes_and_is_named() {
        let table = schema(vec![inner(vec![int("id")])]);
        let wanted = schema(vec![inner(vec![Field::new("id", DataType::Utf8, true)])]);
        let clash = widen(&table, &wanted).expect_err("text is no number");
        assert_eq!(clash.column, "after.id");
    }
}
