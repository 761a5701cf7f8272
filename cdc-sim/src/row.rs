//! What every table row can do, and the macro that makes a table from one list of columns.

use crate::field::Kind;
use crate::tables::Table;

/// A column as schemas and checksums see it.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Name in the database, in Avro and in silver.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Whether it may be absent.
    pub nullable: bool,
    /// What a schema change does to it.
    pub change: Change,
}

/// What the scheduled schema change does to a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Stays,
    /// The column does not exist before.
    Added,
    /// From `int` to `long`. Avro writes both alike, so only the schema changes.
    Widened,
}

/// A row of a table.
pub trait Row {
    /// The table.
    const TABLE: Table;
    /// Its columns, the primary key first.
    const COLUMNS: &'static [Column];
    /// Primary key.
    fn key(&self) -> i32;
    /// What decides the partition: the customer for orders and their lines, else the key.
    fn route(&self) -> i32 {
        self.key()
    }
    /// What the row adds to the oracle's revenue, in cents.
    fn revenue(&self) -> i64 {
        0
    }
    /// Appends the Avro record. `added`: with the columns of the schema change.
    fn avro(&self, added: bool, out: &mut Vec<u8>);
    /// Appends the columns as SQL literals, a call each. `added`: as for [`Row::avro`].
    fn sql(&self, added: bool, column: &mut dyn FnMut(&'static str, &[u8]));
    /// Appends the canonical text: see [`crate::oracle`].
    fn canonical(&self, out: &mut Vec<u8>);
}

/// Makes a row type, its columns, its encoding and its canonical text from one list of columns.
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
        impl $crate::row::Row for $name {
            const TABLE: Table = Table::$table;
            const COLUMNS: &'static [$crate::row::Column] = &[
                $crate::row::Column {
                    name: stringify!($key),
                    kind: Kind::Int,
                    nullable: false,
                    change: Change::Stays,
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
    (@change) => { Change::Stays };
    (@change $change:ident) => { Change::$change };
    (@added) => { false };
    (@added Added) => { true };
    (@added Widened) => { false };
}
pub(crate) use table;
