//! One value of a text as PostgreSQL prints it, by the strict reader.

use apache_avro::schema::{DecimalSchema, InnerDecimalSchema};
use apache_avro::types::Value;
use apache_avro::{Decimal, Schema};
use model::text;

/// The value, or what it should have been.
pub(crate) fn value(schema: &Schema, text: &str) -> Result<Value, String> {
    let int = || text::integer(text).ok().and_then(|whole| i32::try_from(whole).ok());
    Ok(match schema {
        Schema::Boolean => Value::Boolean(text::boolean(text).map_err(|_| "boolean")?),
        Schema::Int => Value::Int(int().ok_or("int of 32 bits")?),
        Schema::Long => Value::Long(text::integer(text).map_err(|_| "long")?),
        Schema::Float => Value::Float(text::float(text).map_err(|_| "number that a float holds")?),
        Schema::Double => Value::Double(text::double(text).map_err(|_| "number that a double holds")?),
        Schema::String => Value::String(text.to_owned()),
        Schema::Bytes => Value::Bytes(text.as_bytes().to_vec()),
        Schema::Fixed(fixed) if text.len() == fixed.size => {
            Value::Fixed(fixed.size, text.as_bytes().to_vec())
        }
        Schema::Fixed(fixed) => return Err(format!("text of {} bytes", fixed.size)),
        Schema::Enum(kind) => {
            let at = kind.symbols.iter().position(|symbol| symbol == text);
            let at = at.ok_or_else(|| format!("one of {}", kind.symbols.join(", ")))?;
            Value::Enum(u32::try_from(at).map_err(|_| "symbol")?, text.to_owned())
        }
        Schema::Uuid(_) => {
            let raw = text::uuid(text).map_err(|_| "uuid")?;
            Value::Uuid(text::print_uuid(raw).parse().map_err(|_| "uuid")?)
        }
        Schema::Decimal(kind) => Value::Decimal(decimal(kind, text)?),
        Schema::Date => Value::Date(text::date(text).map_err(|_| "date like 2026-01-31")?),
        Schema::TimeMillis => {
            let millis = exact(text::time(text).map_err(|_| "time like 23:59:59.999")?, 1_000);
            Value::TimeMillis(millis.and_then(|millis| i32::try_from(millis).ok()).ok_or("time")?)
        }
        Schema::TimeMicros => Value::TimeMicros(text::time(text).map_err(|_| "time like 23:59:59.999999")?),
        Schema::TimestampMillis => Value::TimestampMillis(instant(text, 1_000)?),
        Schema::TimestampMicros => Value::TimestampMicros(instant(text, 1)?),
        Schema::LocalTimestampMillis => Value::LocalTimestampMillis(instant(text, 1_000)?),
        Schema::LocalTimestampMicros => Value::LocalTimestampMicros(instant(text, 1)?),
        other => {
            let kind = apache_avro::schema::SchemaKind::from(other);
            return Err(format!("{kind:?} that a text can hold"));
        }
    })
}

/// An instant in units of `unit` microseconds.
fn instant(text: &str, unit: i64) -> Result<i64, String> {
    let micros = text::instant(text).map_err(|_| "timestamp like 2026-01-31T12:00:00Z")?;
    exact(micros, unit).ok_or_else(|| "timestamp as coarse as its type".to_owned())
}

fn exact(micros: i64, unit: i64) -> Option<i64> {
    (micros.checked_rem(unit)? == 0).then(|| micros.checked_div(unit)).flatten()
}

fn decimal(kind: &DecimalSchema, text: &str) -> Result<Decimal, String> {
    let wanted = || format!("decimal of {} digits, {} of them behind the point", kind.precision, kind.scale);
    let (precision, scale) = (u32::try_from(kind.precision), u32::try_from(kind.scale));
    let (Ok(precision), Ok(scale)) = (precision, scale) else { return Err(wanted()) };
    let unscaled = text::decimal(text, precision, scale).map_err(|_| wanted())?;
    let wide = unscaled.to_be_bytes();
    let size = match &kind.inner {
        InnerDecimalSchema::Fixed(fixed) => fixed.size.min(16),
        InnerDecimalSchema::Bytes => {
            // The fewest bytes that keep the sign.
            let fill = if unscaled < 0 { 0xff } else { 0 };
            let spare = wide.windows(2).take_while(|pair| pair[0] == fill && (pair[1] ^ fill) & 0x80 == 0);
            16_usize.saturating_sub(spare.count())
        }
    };
    let (spare, kept) = wide.split_at(16_usize.saturating_sub(size));
    let fill = if unscaled < 0 { 0xff } else { 0 };
    let keeps_sign = kept.first().is_some_and(|first| (first ^ fill) & 0x80 == 0);
    if !keeps_sign || spare.iter().any(|byte| *byte != fill) {
        return Err(wanted());
    }
    Ok(Decimal::from(kept))
}
