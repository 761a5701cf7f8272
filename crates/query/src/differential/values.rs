//! Random tables with few values, so that rows match, and with the extreme values of each type.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::column;
use super::generate::Dice;

/// Types of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Integer,
    Decimal,
    Double,
    Text,
    Truth,
    Time,
    Date,
}

pub(super) const TYPES: [Type; 7] =
    [Type::Integer, Type::Decimal, Type::Double, Type::Text, Type::Truth, Type::Time, Type::Date];

impl Type {
    pub(super) fn arrow(self) -> DataType {
        match self {
            Self::Integer => DataType::Int64,
            Self::Decimal => DataType::Decimal128(20, 2),
            Self::Double => DataType::Float64,
            Self::Text => DataType::Utf8,
            Self::Truth => DataType::Boolean,
            Self::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Date => DataType::Date32,
        }
    }
    /// Its name in every dialect.
    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::Integer => "BIGINT",
            Self::Decimal => "DECIMAL(20,2)",
            Self::Double => "DOUBLE PRECISION",
            Self::Text => "VARCHAR",
            Self::Truth => "BOOLEAN",
            Self::Time => "TIMESTAMP",
            Self::Date => "DATE",
        }
    }
    fn letter(self) -> char {
        match self {
            Self::Integer => 'i',
            Self::Decimal => 'd',
            Self::Double => 'f',
            Self::Text => 's',
            Self::Truth => 'b',
            Self::Time => 't',
            Self::Date => 'y',
        }
    }
    /// A value as text.
    pub(super) fn value(self, dice: &mut Dice) -> &'static str {
        dice.of(match self {
            Self::Integer => {
                &["0", "1", "2", "3", "-1", "7", "9223372036854775807", "-9223372036854775807"][..]
            }
            Self::Decimal => &["0.00", "1.00", "2.50", "-1.25", "0.01", "123456789012345678.99"],
            Self::Double => {
                &["0.0", "1.0", "2.5", "-1.25", "1e-16", "1e16", "1e300", "NaN", "inf", "-inf", "-0.0"]
            }
            Self::Text => &["", "a", "b", "A", "ab", "a b", "ä", "%", "NULL"],
            Self::Truth => &["true", "false"],
            Self::Time => &[
                "2024-01-01 00:00:00",
                "2024-02-29 12:34:56.789012",
                "1969-12-31 23:59:59.999999",
                "9999-12-31 00:00:00",
                "0001-01-01 00:00:00",
            ],
            Self::Date => &["2024-01-01", "2024-02-29", "1969-12-31", "9999-12-31", "0001-01-01"],
        })
    }
    /// A literal in every dialect.
    pub(super) fn literal(self, dice: &mut Dice) -> String {
        let value = self.value(dice);
        match self {
            Self::Integer if value.len() > 10 => format!("CAST('{value}' AS BIGINT)"),
            Self::Integer | Self::Decimal => format!("({value})"),
            Self::Truth => value.to_owned(),
            Self::Double if dice.one_in(2) && value.len() < 6 && !value.contains(['N', 'i', 'e']) => {
                format!("({value})")
            }
            Self::Double => format!("CAST('{value}' AS DOUBLE PRECISION)"),
            Self::Text => format!("'{value}'"),
            Self::Time => format!("TIMESTAMP '{value}'"),
            Self::Date => format!("DATE '{value}'"),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) columns: Vec<(String, Type)>,
    rows: Vec<Vec<Option<String>>>,
}

impl Table {
    /// A table with `id`, which is unique, and some more columns.
    pub(super) fn random(dice: &mut Dice) -> Self {
        let mut columns = vec![("id".to_owned(), Type::Integer)];
        // A column in every table, so that a join is always possible.
        columns.push(("k".to_owned(), Type::Integer));
        for at in 0..3 + dice.below(3) {
            let kind = dice.of(&TYPES);
            columns.push((format!("{}{at}", kind.letter()), kind));
        }
        let mut table = Self { columns, rows: Vec::new() };
        for id in 0..dice.below(8) {
            let row = table.row(id, dice);
            table.rows.push(row);
        }
        table
    }

    fn row(&self, id: usize, dice: &mut Dice) -> Vec<Option<String>> {
        let value = |(at, (_, kind)): (usize, &(String, Type))| match at {
            0 => Some(id.to_string()),
            _ if dice.one_in(5) => None,
            1 => Some(dice.below(4).to_string()),
            _ => Some(kind.value(dice).to_owned()),
        };
        self.columns.iter().enumerate().map(value).collect()
    }

    /// Adds, deletes and changes some rows. Returns the removed and the added rows.
    pub(super) fn change(&mut self, dice: &mut Dice) -> (RecordBatch, RecordBatch) {
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        for _ in 0..1 + dice.below(3) {
            let id = dice.below(9);
            let text = Some(id.to_string());
            if let Some(at) = self.rows.iter().position(|row| row[0] == text) {
                removed.push(self.rows.remove(at));
            }
            if !dice.one_in(3) {
                let row = self.row(id, dice);
                added.push(row.clone());
                self.rows.push(row);
            }
        }
        (self.of(&removed), self.of(&added))
    }

    pub(super) fn schema(&self) -> SchemaRef {
        let field = |(name, kind): &(String, Type)| Field::new(name, kind.arrow(), true);
        Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()))
    }

    pub(super) fn batch(&self) -> RecordBatch {
        self.of(&self.rows)
    }

    fn of(&self, rows: &[Vec<Option<String>>]) -> RecordBatch {
        let columns =
            self.columns.iter().enumerate().map(|(at, (_, kind))| {
                column(rows.iter().map(|row| row[at].clone()).collect(), &kind.arrow())
            });
        RecordBatch::try_new(self.schema(), columns.collect()).expect("columns of the schema")
    }

    pub(super) fn to_json(&self) -> serde_json::Value {
        let columns: Vec<_> =
            self.columns.iter().map(|(name, kind)| serde_json::json!([name, kind.sql()])).collect();
        serde_json::json!({ "columns": columns, "rows": self.rows })
    }
}
