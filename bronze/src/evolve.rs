//! How a new version of a topic's schema changes its table.
//!
//! Tables only ever gain nullable columns. A field may differ from the stored type if some values can fit
//! exactly; each value is then tried. If no value can fit, the schema is refused, and its records become
//! error rows until a person decides.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};

use crate::conform;

/// Why a schema's columns do not fit a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Clash {
    /// A column that no value of the new schema fits.
    #[error("column `{column}` is `{has}` in the table and `{wants}` in the schema")]
    Type {
        /// Dotted path.
        column: String,
        /// The table's type.
        has: DataType,
        /// The schema's type.
        wants: DataType,
    },
    /// Delta treats the two names as one.
    #[error("column `{column}` differs from the table's `{has}` by upper and lower case only")]
    Case {
        /// Dotted path.
        column: String,
        /// The table's name at that level.
        has: String,
    },
    /// More columns than the limit.
    #[error("the table would have {columns} columns, nested ones counted, and may have {most}")]
    TooMany {
        /// The number of columns, including the schema's.
        columns: usize,
        /// The limit.
        most: usize,
    },
}

/// Limit of columns, including nested ones; beyond it no schema adds columns to a table. Each column costs
/// memory and time in every commit, and anyone who writes to the topic can send a schema.
pub const MOST_COLUMNS: usize = 2_000;

/// Adds the columns of `wanted` that the table lacks, nullable and at the end of their struct. `None` if the
/// table has them all.
pub fn widen(table: &SchemaRef, wanted: &Schema) -> Result<Option<SchemaRef>, Clash> {
    let Some(fields) = merge(table.fields(), wanted.fields(), "")? else { return Ok(None) };
    let columns = count(&fields);
    if columns > MOST_COLUMNS {
        return Err(Clash::TooMany { columns, most: MOST_COLUMNS });
    }
    Ok(Some(Arc::new(Schema::new_with_metadata(fields, table.metadata().clone()))))
}

/// Counts columns, including nested ones.
pub fn count(fields: &Fields) -> usize {
    let below = |kind: &DataType| match kind {
        DataType::Struct(fields) => count(fields),
        DataType::List(item) | DataType::Map(item, _) => count(&vec![item.clone()].into()),
        _ => 0,
    };
    fields.iter().map(|field| 1 + below(field.data_type())).sum()
}

fn merge(has: &Fields, wants: &Fields, path: &str) -> Result<Option<Fields>, Clash> {
    let mut merged: Vec<FieldRef> = has.iter().cloned().collect();
    let mut names: HashMap<String, &str> =
        has.iter().map(|field| (field.name().to_lowercase(), field.name().as_str())).collect();
    let mut changed = false;
    for wanted in wants {
        let column =
            if path.is_empty() { wanted.name().clone() } else { format!("{path}.{}", wanted.name()) };
        match has.find(wanted.name()) {
            None => {
                if let Some(has) = names.insert(wanted.name().to_lowercase(), wanted.name()) {
                    return Err(Clash::Case { column, has: has.to_owned() });
                }
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

/// The wider type, if it differs from the table's.
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
            Err(_) => Err(Clash::Type { column: column.to_owned(), has: has.clone(), wants: wants.clone() }),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        assert!(matches!(&clash, Clash::Type { column, .. } if column == "after.id"), "{clash}");
    }

    /// A type that contains `inner` at some depth.
    fn nested(inner: DataType, how: &[u8]) -> DataType {
        how.iter().fold(inner, |inner, how| match how {
            0 => DataType::Struct(vec![Field::new("in", inner, true)].into()),
            1 => DataType::List(Field::new("element", inner, true).into()),
            _ => {
                let entry = vec![Field::new("key", DataType::Utf8, false), Field::new("value", inner, true)];
                DataType::Map(Field::new("key_value", DataType::Struct(entry.into()), false).into(), false)
            }
        })
    }
    fn lower_twice(fields: &Fields) -> bool {
        let mut names = std::collections::HashSet::new();
        fields.iter().any(|field| {
            !names.insert(field.name().to_lowercase())
                || match field.data_type() {
                    DataType::Struct(fields) => lower_twice(fields),
                    DataType::List(item) | DataType::Map(item, _) => lower_twice(&vec![item.clone()].into()),
                    _ => false,
                }
        })
    }

    proptest! {
        /// Delta sees no two columns as one, at any depth and in any order of arrival.
        #[test]
        fn names_that_differ_by_case_only_never_stand_beside_each_other(
            has in prop::collection::hash_set("[abAB]{1,2}|[Éé]", 1..5),
            wants in prop::collection::hash_set("[abAB]{1,2}|[Éé]", 1..5),
            how in prop::collection::vec(0..3_u8, 0..4),
        ) {
            // A table has no two such names to begin with.
            let has: std::collections::HashMap<_, _> = has.into_iter().map(|name| (name.to_lowercase(), name)).collect();
            let has: std::collections::HashSet<String> = has.into_values().collect();
            let made = |names: &std::collections::HashSet<String>| {
                let fields: Fields = names.iter().map(|name| int(name)).collect();
                schema(vec![Field::new("v", nested(DataType::Struct(fields), &how), true)])
            };
            let table = made(&has);
            match widen(&table, &made(&wants)) {
                Ok(Some(wide)) => prop_assert!(!lower_twice(wide.fields())),
                Ok(None) => prop_assert!(wants.is_subset(&has)),
                Err(Clash::Case { .. }) => {
                    let all: Fields = has.union(&wants).map(|name| int(name)).collect();
                    prop_assert!(lower_twice(&all));
                }
                Err(clash) => prop_assert!(false, "{}", clash),
            }
        }
    }

    #[test]
    fn a_schema_of_very_many_columns_is_refused_and_one_that_brings_nothing_new_never_is() {
        let many = |n: usize| (0..n).map(|n| int(&format!("c{n}"))).collect::<Vec<_>>();
        let table = schema(vec![inner(many(MOST_COLUMNS - 1))]);
        assert_eq!(widen(&table, &table), Ok(None));
        let clash = widen(&table, &schema(vec![inner(many(MOST_COLUMNS))])).expect_err("one too many");
        assert_eq!(clash, Clash::TooMany { columns: MOST_COLUMNS + 1, most: MOST_COLUMNS });
        let wide = schema(vec![inner(many(MOST_COLUMNS + 100))]);
        assert_eq!(widen(&wide, &table), Ok(None), "a declared table may be wider");
    }
}
