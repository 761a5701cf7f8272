//! What it means for a stored table, and for readers, that a schema became another.

use apache_avro::Schema as Avro;
use arrow::datatypes::DataType;

use crate::columns::stored_type;
use crate::schema::{Error, Schema};

/// Class of a change from one Avro schema to the next. The order is that of severity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compat {
    /// Every column is as it was.
    Same,
    /// Fields that may be absent came or went: the table gets columns, no row changes.
    Additive(Vec<String>),
    /// Types grew within what the table already stores.
    Promoted(Vec<String>),
    /// Old and new values do not fit one column.
    Incompatible(Vec<String>),
}

/// Compares two schemas of the same values, older first.
pub fn compatibility(old: &str, new: &str) -> Result<Compat, Error> {
    let found = differences(old, new, false)?;
    let moved: Vec<String> = found.added.into_iter().chain(found.gone).collect();
    Ok(if !found.broken.is_empty() {
        Compat::Incompatible(found.broken)
    } else if !found.grown.is_empty() {
        Compat::Promoted(found.grown.into_iter().chain(moved).collect())
    } else if !moved.is_empty() {
        Compat::Additive(moved)
    } else {
        Compat::Same
    })
}

/// Whether `latest` is `declared` with more fields or wider types: the producer went on, and there is
/// nothing of `declared` left to register.
pub fn is_ahead(latest: &str, declared: &str) -> Result<bool, Error> {
    let found = differences(declared, latest, false)?;
    Ok(found.broken.is_empty()
        && found.gone.is_empty()
        && !(found.added.is_empty() && found.grown.is_empty()))
}

/// Whether records that others write by `latest` can be read into the columns of `declared`, value by value.
/// Their schema is theirs: it is neither registered nor complained about.
pub fn is_read_as(latest: &str, declared: &str) -> Result<bool, Error> {
    Ok(differences(latest, declared, true)?.broken.is_empty())
}

/// Whether bronze brings values that are stored as `from` to columns of `to`, exactly or refusing one by one.
pub fn is_brought(from: &DataType, to: &DataType) -> bool {
    use DataType::{Binary, Date32, Decimal128, Float64, Int64, Timestamp, Utf8};
    from == to
        || matches!(
            (from, to),
            (Timestamp(..) | Date32, Utf8 | Int64)
                | (Utf8, Timestamp(..) | Date32 | Binary | Decimal128(..))
                | (Binary, Utf8)
                | (Decimal128(..), Decimal128(..) | Utf8 | Int64)
                | (Int64, Decimal128(..) | Float64)
                | (Float64, Int64)
        )
}

/// In words, by what they mean.
#[derive(Default)]
struct Differences {
    added: Vec<String>,
    gone: Vec<String>,
    grown: Vec<String>,
    broken: Vec<String>,
}

fn differences(old: &str, new: &str, is_read: bool) -> Result<Differences, Error> {
    let (old, new) = (Schema::parse(old)?, Schema::parse(new)?);
    let mut comparison =
        Comparison { old: &old, new: &new, is_read, open: Vec::new(), found: Differences::default() };
    comparison.compare("", &old.root, &new.root);
    Ok(comparison.found)
}

struct Comparison<'a> {
    old: &'a Schema,
    new: &'a Schema,
    /// Whether one is only read into the other.
    is_read: bool,
    /// Records being compared: a record that holds itself is compared once.
    open: Vec<String>,
    found: Differences,
}
impl Comparison<'_> {
    fn compare(&mut self, path: &str, old: &Avro, new: &Avro) {
        let (old_schema, new_schema) = (self.old, self.new);
        let (Some((old, old_null)), Some((new, new_null))) =
            (old_schema.non_null(old), new_schema.non_null(new))
        else {
            if old != new {
                self.found.broken.push(format!("`{path}`: the union changed"));
            }
            return;
        };
        if old_null && !new_null && !self.is_read {
            self.found.broken.push(format!("`{path}`: old values may be null, new ones may not"));
        }
        if self.is_read && !matches!((old, new), (Avro::Record(_), Avro::Record(_))) {
            let stored = |schema, of| stored_type(of, schema, path).ok();
            let pair = stored(old, old_schema).zip(stored(new, new_schema));
            if pair.is_some_and(|(from, to)| is_brought(&from, &to)) {
                return;
            }
        }
        match (old, new) {
            (Avro::Record(from), Avro::Record(to)) => {
                let name = from.name.fullname(None);
                if self.open.contains(&name) {
                    return;
                }
                self.open.push(name);
                for field in &to.fields {
                    let below = join(path, &field.name);
                    match from.fields.iter().find(|f| f.name == field.name) {
                        Some(before) => self.compare(&below, &before.schema, &field.schema),
                        None if field.default.is_some() || self.is_read => {
                            self.found.added.push(format!("`{below}` is new"))
                        }
                        None => self.found.broken.push(format!("`{below}` is new and has no default")),
                    }
                }
                for field in &from.fields {
                    if !to.fields.iter().any(|f| f.name == field.name) {
                        self.found.gone.push(format!("`{}` is gone", join(path, &field.name)));
                    }
                }
                self.open.pop();
            }
            (Avro::Array(from), Avro::Array(to)) => {
                self.compare(&format!("{path}[]"), &from.items, &to.items)
            }
            (Avro::Map(from), Avro::Map(to)) => self.compare(&format!("{path}{{}}"), &from.types, &to.types),
            (Avro::Int, Avro::Long) | (Avro::Float, Avro::Double) => {
                self.found.grown.push(format!("`{path}` grew from {} to {}", word(old), word(new)));
            }
            (Avro::Enum(from), Avro::Enum(to)) => {
                for symbol in from.symbols.iter().filter(|symbol| !to.symbols.contains(symbol)) {
                    self.found.broken.push(format!("`{path}` lost the symbol `{symbol}`"));
                }
                for symbol in to.symbols.iter().filter(|symbol| !from.symbols.contains(symbol)) {
                    self.found.grown.push(format!("`{path}` got the symbol `{symbol}`"));
                }
            }
            (Avro::Decimal(from), Avro::Decimal(to)) => {
                if from.scale != to.scale {
                    let (from, to) = (from.scale, to.scale);
                    self.found
                        .broken
                        .push(format!("`{path}` went from {from} to {to} digits behind the point"));
                } else if from.precision != to.precision {
                    let (from, to) = (from.precision, to.precision);
                    self.found.grown.push(format!("`{path}` went from {from} to {to} digits"));
                }
            }
            (Avro::Fixed(from), Avro::Fixed(to)) if from.size != to.size => {
                self.found.broken.push(format!("`{path}` went from {} to {} bytes", from.size, to.size));
            }
            _ if std::mem::discriminant(old) == std::mem::discriminant(new) => {}
            _ => self.found.broken.push(format!("`{path}` went from {} to {}", word(old), word(new))),
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn word(schema: &Avro) -> String {
    format!("{:?}", apache_avro::schema::SchemaKind::from(schema)).to_lowercase()
}
