//! What every row can do, and the macro that generates a table from one list of columns.

use crate::field::Kind;
use crate::tables::SourceTable;

/// A column, as schemas and checksums need it.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name in the database, in Avro and in silver.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Whether it may be null.
    pub nullable: bool,
    /// The effect of the schema change.
    pub change: ColumnChange,
}

/// The effect of the scheduled schema change on a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnChange {
    /// None.
    Stays,
    /// The column does not exist before.
    Added,
    /// From `int` to `long`. Avro encodes both in the same way, so only the schema changes.
    Widened,
}

/// A row of a table.
pub trait TableRow {
    /// The table.
    const TABLE: SourceTable;
    /// Its columns, the primary key first.
    const COLUMNS: &'static [Column];
    /// Primary key.
    fn key(&self) -> i32;
    /// The value that decides the partition: the customer for orders and their lines, else the key.
    fn route(&self) -> i32 {
        self.key()
    }
    /// Its contribution to the oracle's revenue, in cents.
    fn revenue(&self) -> i64 {
        0
    }
    /// Appends the Avro record. `added`: with the columns of the schema change.
    fn avro(&self, added: bool, out: &mut Vec<u8>);
    /// Calls `column` with the name and SQL literal of each column. `added`: as for [`TableRow::avro`].
    fn sql(&self, added: bool, column: &mut dyn FnMut(&'static str, &[u8]));
    /// Appends the canonical text: see [`crate::oracle`].
    fn canonical(&self, out: &mut Vec<u8>);
}

/// Generates a row type, its columns, its encoding and its canonical text from one list of columns.
macro_rules! table {
    (
        $(#[$doc:meta])*
        $name:ident in $table:ident {
            $key:ident: i32,
            $($column:ident: $type:ty $([$change:ident])?,)+
        }
        $(route: $route:ident;)?
        $(revenue: $revenue:expr;)?
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the columns are Wide World Importers' own")]
        pub struct $name {
            pub $key: i32,
            $(pub $column: $type,)+
        }
        impl $crate::row::TableRow for $name {
            const TABLE: SourceTable = SourceTable::$table;
            const COLUMNS: &'static [$crate::row::Column] = &[
                $crate::row::Column {
                    name: stringify!($key),
                    kind: Kind::Int,
                    nullable: false,
                    change: ColumnChange::Stays,
                },
                $($crate::row::Column {
                    name: stringify!($column),
                    kind: <$type as Field>::KIND,
                    nullable: <$type as Field>::NULLABLE,
                    change: table!(@change $($change)?),
                },)+
            ];
            fn key(&self) -> i32 {
                self.$key
            }
            $(fn route(&self) -> i32 {
                self.$route
            })?
            $(fn revenue(&self) -> i64 {
                let revenue: fn(&Self) -> i64 = $revenue;
                revenue(self)
            })?
            #[inline]
            fn avro(&self, added: bool, out: &mut Vec<u8>) {
                self.$key.avro(out);
                $(if added || !table!(@added $($change)?) {
                    self.$column.avro(out);
                })+
            }
            fn sql(&self, added: bool, column: &mut dyn FnMut(&'static str, &[u8])) {
                let mut literal = Vec::new();
                self.$key.sql(&mut literal);
                column(stringify!($key), &literal);
                $(if added || !table!(@added $($change)?) {
                    literal.clear();
                    self.$column.sql(&mut literal);
                    column(stringify!($column), &literal);
                })+
            }
            #[inline]
            fn canonical(&self, out: &mut Vec<u8>) {
                self.$key.text(out);
                $(if !table!(@added $($change)?) {
                    out.push(b'|');
                    self.$column.text(out);
                })+
            }
        }
    };
    (@change) => { ColumnChange::Stays };
    (@change $change:ident) => { ColumnChange::$change };
    (@added) => { false };
    (@added Added) => { true };
    (@added Widened) => { false };
}
pub(crate) use table;
