//! Single values: parsing them, and naming their types in faults.

use std::time::Duration;

use model::{TableName, TopicName};

use super::Type;
use super::object::Value;
use crate::fault::listed;

/// Whether a setting of this name holds a secret, judged by the words in librdkafka's and object_store's names.
/// Settings that only say where a secret is may be shown.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let words: Vec<&str> = name.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let has = |any: &[&str]| words.iter().any(|word| any.contains(word));
    if words.last().is_some_and(|last| ["location", "file", "url", "uri", "path"].contains(last)) {
        return false;
    }
    has(&["password", "passphrase", "secret", "token", "credential", "credentials", "jaas"])
        || (has(&["key"]) && has(&["access", "private", "customer", "pem"]))
}

pub(super) fn parse(text: &str, kind: &Type) -> Option<Value> {
    Some(match kind {
        Type::Text => Value::Text(text.to_owned()),
        Type::Flag => Value::Flag(match text.to_ascii_lowercase().as_str() {
            "true" | "on" | "yes" => true,
            "false" | "off" | "no" => false,
            _ => return None,
        }),
        Type::Whole(least, most) => {
            let whole: i64 = text.replace('_', "").parse().ok()?;
            if whole < *least || whole > *most {
                return None;
            }
            Value::Whole(whole)
        }
        Type::Number => Value::Number(text.parse().ok().filter(|number: &f64| number.is_finite())?),
        Type::Share => {
            let (digits, unit) = text.strip_suffix('%').map_or((text, 1.0), |digits| (digits, 100.0));
            let share: f64 = digits.trim().parse::<f64>().ok()? / unit;
            if !(0.0..=1.0).contains(&share) {
                return None;
            }
            Value::Number(share)
        }
        Type::Duration => Value::Duration(duration(text)?),
        Type::Retention if text == "forever" => Value::Forever,
        Type::Retention => Value::Duration(duration(text)?),
        Type::Size => Value::Size(size(text)?),
        Type::Character => Value::Text(character(text)?.to_owned()),
        Type::Choice(words) => Value::Text(words.iter().find(|word| **word == text)?.to_string()),
        Type::Topic => Value::Text(text.parse::<TopicName>().ok()?.into()),
        Type::Table => Value::Text(text.parse::<TableName>().ok()?.into()),
        Type::Setting
        | Type::Secret
        | Type::Path
        | Type::List(_)
        | Type::Map(_)
        | Type::Object(_)
        | Type::Any => {
            return None;
        }
    })
}

/// A positive duration of at most a thousand years, so that the sum of two never overflows.
fn duration(text: &str) -> Option<Duration> {
    let most = Duration::from_secs(1000 * 366 * 86_400);
    humantime::parse_duration(text).ok().filter(|duration| !duration.is_zero() && *duration <= most)
}

/// A tab may be written as a tab, as `tab`, or as YAML's `\t`.
fn character(text: &str) -> Option<&str> {
    match text {
        "none" => Some(text),
        "tab" | "\\t" => Some("\t"),
        _ => match text.as_bytes() {
            [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !b"\r\n\0".contains(byte) => {
                Some(text)
            }
            _ => None,
        },
    }
}

fn size(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit: u64 = match text[split..].trim() {
        "B" | "" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    text[..split].parse::<u64>().ok()?.checked_mul(unit).filter(|bytes| *bytes > 0)
}

pub(super) fn expected(kind: &Type) -> String {
    match kind {
        Type::Text | Type::Setting => "a text".to_owned(),
        Type::Secret => "`${env:NAME}` or `${file:PATH}`".to_owned(),
        Type::Path => "a path".to_owned(),
        Type::Flag => "`true` or `false`".to_owned(),
        Type::Whole(least, i64::MAX) => format!("a whole number from {least} on"),
        Type::Whole(least, most) if least == most => format!("`{least}`"),
        Type::Whole(least, most) => format!("a whole number from {least} to {most}"),
        Type::Number => "a number".to_owned(),
        Type::Share => "a share such as `1%` or `0.01`".to_owned(),
        Type::Duration => "a duration such as `500ms`, `15m` or `7d`".to_owned(),
        Type::Retention => "a duration such as `7d`, or `forever`".to_owned(),
        Type::Size => "a size such as `128MiB`".to_owned(),
        Type::Character => "one character of ASCII such as `;`, `tab`, or `none`".to_owned(),
        Type::Choice(words) => format!("one of {}", listed(words.iter())),
        Type::Topic => "a topic name: 1 to 249 letters, digits, `.`, `_`, `-`".to_owned(),
        Type::Table => "a table name: `schema.table`, both of lowercase letters, digits and `_`".to_owned(),
        Type::List(_) => "a list".to_owned(),
        Type::Map(_) | Type::Object(_) => "a mapping".to_owned(),
        Type::Any => "a value".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_told_from_names_of_places() {
        for name in [
            "password",
            "key_password",
            "secret_key",
            "access_key",
            "client_secret",
            "sasl.password",
            "ssl.key.pem",
            "ssl.keystore.password",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.assertion.private.key.passphrase",
            "aws_secret_access_key",
            "aws_access_key_id",
            "aws_session_token",
            "aws_sse_customer_key_base64",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "sasl.mechanism",
            "sasl.username",
            "ssl.key.location",
            "ssl.ca.pem",
            "sasl.oauthbearer.token.endpoint.url",
            "aws_web_identity_token_file",
            "aws_sse_kms_key_id",
            "fetch.wait.max.ms",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
