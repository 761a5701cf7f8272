//! One value: from JSON, or from text that says the same.

use apache_avro::schema::{DecimalSchema, InnerDecimalSchema};
use apache_avro::types::Value;
use apache_avro::{Decimal, Schema};
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use serde_json::Value as Json;

/// The value, or what it should have been.
pub(crate) fn value(schema: &Schema, json: &Json) -> Result<Value, String> {
    let text = json.as_str();
    Ok(match schema {
        Schema::Boolean => match (json, text) {
            (Json::Bool(value), _) => Value::Boolean(*value),
            (_, Some("true")) => Value::Boolean(true),
            (_, Some("false")) => Value::Boolean(false),
            _ => return Err("boolean".to_owned()),
        },
        Schema::Int => Value::Int(i32::try_from(whole(json).ok_or("int")?).map_err(|_| "int of 32 bits")?),
        Schema::Long => Value::Long(whole(json).ok_or("long")?),
        Schema::Float => Value::Float(number(json).ok_or("number")? as f32),
        Schema::Double => Value::Double(number(json).ok_or("number")?),
        Schema::String => Value::String(text.ok_or("text")?.to_owned()),
        Schema::Bytes => Value::Bytes(text.ok_or("text")?.as_bytes().to_vec()),
        Schema::Fixed(fixed) => match text.map(str::as_bytes) {
            Some(bytes) if bytes.len() == fixed.size => Value::Fixed(fixed.size, bytes.to_vec()),
            _ => return Err(format!("text of {} bytes", fixed.size)),
        },
        Schema::Enum(kind) => {
            let at = text.and_then(|text| kind.symbols.iter().position(|symbol| symbol == text));
            let at = at.ok_or_else(|| format!("one of {}", kind.symbols.join(", ")))?;
            Value::Enum(at as u32, kind.symbols[at].clone())
        }
        Schema::Uuid(_) => Value::Uuid(text.and_then(|text| text.parse().ok()).ok_or("uuid")?),
        Schema::Decimal(kind) => Value::Decimal(decimal(kind, json)?),
        Schema::Date => match text {
            Some(text) => Value::Date(date(text).ok_or("date like 2026-01-31")?),
            None => Value::Date(i32::try_from(whole(json).ok_or("date")?).map_err(|_| "date")?),
        },
        Schema::TimeMillis => {
            Value::TimeMillis(i32::try_from(time(json, 1_000).ok_or("time")?).map_err(|_| "time")?)
        }
        Schema::TimeMicros => Value::TimeMicros(time(json, 1).ok_or("time")?),
        Schema::TimestampMillis => Value::TimestampMillis(instant(json, 1_000)?),
        Schema::TimestampMicros => Value::TimestampMicros(instant(json, 1)?),
        Schema::LocalTimestampMillis => Value::LocalTimestampMillis(instant(json, 1_000)?),
        Schema::LocalTimestampMicros => Value::LocalTimestampMicros(instant(json, 1)?),
        other => {
            return Err(format!("{:?} that files can hold", apache_avro::schema::SchemaKind::from(other)));
        }
    })
}

fn whole(json: &Json) -> Option<i64> {
    match json {
        Json::String(text) => text.trim().parse().ok(),
        other => other.as_i64(),
    }
}

fn number(json: &Json) -> Option<f64> {
    match json {
        Json::String(text) => text.trim().parse().ok(),
        other => other.as_f64(),
    }
}

fn date(text: &str) -> Option<i32> {
    let day = NaiveDate::parse_from_str(text.trim(), "%Y-%m-%d").ok()?;
    i32::try_from(day.signed_duration_since(NaiveDate::default()).num_days()).ok()
}

/// Microseconds since midnight, divided by `unit` if that leaves nothing over.
fn time(json: &Json, unit: i64) -> Option<i64> {
    let Json::String(text) = json else { return json.as_i64() };
    let time = chrono::NaiveTime::parse_from_str(text.trim(), "%H:%M:%S%.f").ok()?;
    exact(time.signed_duration_since(chrono::NaiveTime::MIN).num_microseconds()?, unit)
}

/// An instant in units of `unit` microseconds. A number counts them.
fn instant(json: &Json, unit: i64) -> Result<i64, String> {
    let kind = "timestamp like 2026-01-31T12:00:00Z";
    let Json::String(text) = json else { return json.as_i64().ok_or_else(|| kind.to_owned()) };
    let text = text.trim();
    let zoned = DateTime::parse_from_rfc3339(text).map(|at| at.timestamp_micros());
    let plain = || {
        let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];
        let parsed = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
        parsed.map(|at| at.and_utc().timestamp_micros())
    };
    let micros = zoned.ok().or_else(plain).ok_or(kind)?;
    exact(micros, unit).ok_or_else(|| "timestamp as coarse as its type".to_owned())
}

fn exact(micros: i64, unit: i64) -> Option<i64> {
    (micros % unit == 0).then_some(micros / unit)
}

fn decimal(kind: &DecimalSchema, json: &Json) -> Result<Decimal, String> {
    let wanted = || format!("decimal of {} digits, {} of them behind the point", kind.precision, kind.scale);
    let text = match json {
        Json::String(text) => text.trim().to_owned(),
        Json::Number(number) if number.is_f64() => {
            let text = number.to_string();
            // A double holds 15 digits for sure; more may be the neighbour's.
            if text.chars().filter(char::is_ascii_digit).count() > 15 {
                return Err(format!("{}: write more than 15 digits as text", wanted()));
            }
            text
        }
        Json::Number(number) => number.to_string(),
        _ => return Err(wanted()),
    };
    let unscaled = unscaled(&text, kind.scale, kind.precision).ok_or_else(wanted)?;
    let wide = unscaled.to_be_bytes();
    let size = match &kind.inner {
        InnerDecimalSchema::Fixed(fixed) => fixed.size.min(16),
        InnerDecimalSchema::Bytes => {
            // The fewest bytes that keep the sign.
            let fill = if unscaled < 0 { 0xff } else { 0 };
            let spare = wide.windows(2).take_while(|pair| pair[0] == fill && (pair[1] ^ fill) & 0x80 == 0);
            16 - spare.count()
        }
    };
    Ok(Decimal::from(&wide[16 - size..]))
}

/// Digits and at most one point, as a whole number of `10^-scale`.
fn unscaled(text: &str, scale: usize, precision: usize) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (before, behind) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let behind = behind.trim_end_matches('0');
    if before.is_empty() && behind.is_empty() && !digits.contains('0') {
        return None;
    }
    if !all_digits(before) || !all_digits(behind) || behind.len() > scale {
        return None;
    }
    let significant = format!("{before}{behind:0<scale$}");
    let significant = significant.trim_start_matches('0');
    if significant.len() > precision.min(38) {
        return None;
    }
    let value: i128 = if significant.is_empty() { 0 } else { significant.parse().ok()? };
    Some(if negative { -value } else { value })
}
