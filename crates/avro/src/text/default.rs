//! A default of a schema, as Avro's specification writes it: bytes are characters up to U+00FF, also those
//! of a decimal, and a union takes the first branch that fits.

use serde_json::Value;

use super::shape::{Node, Unit, UuidForm};
use crate::wire::{bytes, long};

/// What is written of a field that is missing and has no default. `None`: it must not be missing.
pub(crate) fn null(node: &Node) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    write(node, &Value::Null, &mut out).then_some(out)
}

/// The datum of a default. `None`: it is no value of the type.
pub(crate) fn datum(node: &Node, json: &Value) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    write(node, json, &mut out).then_some(out)
}

/// Whether the default is a value of the type. What was appended for one that is not is worth nothing.
fn write(node: &Node, json: &Value, out: &mut Vec<u8>) -> bool {
    let whole = |out: &mut Vec<u8>, narrow: bool| match json.as_i64() {
        Some(value) if !narrow || i32::try_from(value).is_ok() => {
            long(value, out);
            true
        }
        _ => false,
    };
    match (node, json) {
        (Node::Null, Value::Null) => true,
        (Node::Boolean, Value::Bool(value)) => {
            out.push((*value).into());
            true
        }
        (Node::Int | Node::Date | Node::Time(Unit::Millis), _) => whole(out, true),
        (Node::Long | Node::Time(_) | Node::Instant(_), _) => whole(out, false),
        (Node::Float, _) => double(json).is_some_and(|value| {
            out.extend_from_slice(&(value as f32).to_le_bytes());
            true
        }),
        (Node::Double, _) => double(json).is_some_and(|value| {
            out.extend_from_slice(&value.to_le_bytes());
            true
        }),
        (Node::Text | Node::Uuid(UuidForm::Text), Value::String(text)) => {
            bytes(text.as_bytes(), out);
            true
        }
        (Node::Symbols(symbols), Value::String(text)) => {
            let at = symbols.iter().position(|symbol| symbol == text);
            at.and_then(|at| i64::try_from(at).ok()).is_some_and(|at| {
                long(at, out);
                true
            })
        }
        (Node::Bytes | Node::Uuid(UuidForm::Bytes), Value::String(text)) => latin1(text).is_some_and(|raw| {
            bytes(&raw, out);
            true
        }),
        (Node::Decimal(digits), Value::String(text)) => {
            latin1(text).filter(|raw| digits.size.is_none_or(|size| size == raw.len())).is_some_and(|raw| {
                match digits.size {
                    None => bytes(&raw, out),
                    Some(_) => out.extend_from_slice(&raw),
                }
                true
            })
        }
        (Node::Fixed(size), Value::String(text)) => fixed(text, *size, out),
        (Node::Uuid(UuidForm::Fixed), Value::String(text)) => fixed(text, 16, out),
        (Node::List(item), Value::Array(items)) => {
            for json in items {
                long(1, out);
                if !write(item, json, out) {
                    return false;
                }
            }
            long(0, out);
            true
        }
        (Node::Map(inner), Value::Object(entries)) => {
            for (key, json) in entries {
                long(1, out);
                bytes(key.as_bytes(), out);
                if !write(inner, json, out) {
                    return false;
                }
            }
            long(0, out);
            true
        }
        (Node::Record(record), Value::Object(entries)) => {
            record.fields.iter().all(|field| match (entries.get(&field.name), &field.absent) {
                (Some(json), _) => write(&field.node, json, out),
                (None, Some(absent)) => {
                    out.extend_from_slice(absent);
                    true
                }
                (None, None) => false,
            })
        }
        (Node::Optional { null, .. }, Value::Null) => {
            long(*null, out);
            true
        }
        (Node::Optional { some, inner, .. }, _) => {
            long(*some, out);
            write(inner, json, out)
        }
        (Node::Union(branches), _) => {
            let start = out.len();
            (0..).zip(branches).any(|(at, branch)| {
                out.truncate(start);
                long(at, out);
                write(branch, json, out)
            })
        }
        _ => false,
    }
}

fn double(json: &Value) -> Option<f64> {
    match json {
        Value::String(word) => model::text::double(word).ok().filter(|value| !value.is_finite()),
        other => other.as_f64(),
    }
}

fn fixed(text: &str, size: usize, out: &mut Vec<u8>) -> bool {
    latin1(text).filter(|raw| raw.len() == size).is_some_and(|raw| {
        out.extend_from_slice(&raw);
        true
    })
}

fn latin1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect()
}
