//! `targets:` of `lakepulse.yaml`: where the services are, and our credentials.
//!
//! A setting is a fault here if it would fail only when a service is contacted, or would work without the
//! intended protection (a trusted certificate for a connection without TLS).

use std::collections::BTreeMap;
use std::path::Path;

use super::Context;
use super::settings::{FILE, topic_defaults};
use crate::shape::object::{Entry, Object, Value};
use crate::{KafkaTarget, LakeTarget, RegistryTarget, Setting, Target};

pub(super) fn read(cx: &mut Context<'_>, name: &str, line: usize, object: &Object) -> Target {
    let kafka = object.object("kafka").and_then(|kafka| self::kafka(cx, kafka));
    let registry = object.object("registry").and_then(|registry| self::registry(cx, registry));
    if object.has("kafka") != object.has("registry") {
        let (one, other) = if object.has("kafka") { ("kafka", "registry") } else { ("registry", "kafka") };
        let message = format!("target `{name}` has `{one}` and no `{other}`");
        let help = "the embedded broker and registry come together: give both or none";
        cx.faults.add_at(Path::new(FILE), line, message, help);
    }
    let lake = object.object("lake").and_then(|lake| self::lake(cx, lake));
    let topics = object.object("topics").map(topic_defaults).unwrap_or_default();
    Target { name: name.to_owned(), embedded: kafka.is_none(), kafka, registry, lake, topics }
}

fn kafka(cx: &mut Context<'_>, kafka: &Object) -> Option<KafkaTarget> {
    let mut config = BTreeMap::new();
    let given = kafka.object("config").map(all_settings).unwrap_or_default();
    if let Some(security) = kafka.object("security") {
        for (ours, theirs) in [("protocol", "security.protocol"), ("mechanism", "sasl.mechanism")] {
            if let Some(word) = security.text(ours) {
                config.insert(theirs.to_owned(), Setting::literal(word));
            }
        }
        let settings = [
            ("username", "sasl.username"),
            ("password", "sasl.password"),
            ("ca", "ssl.ca.location"),
            ("certificate", "ssl.certificate.location"),
            ("key", "ssl.key.location"),
            ("key_password", "ssl.key.password"),
        ];
        for (ours, theirs) in settings {
            if let Some(setting) = security.setting(ours) {
                config.insert(theirs.to_owned(), setting.clone());
            }
        }
        // A user who sets librdkafka's own security options is not second-guessed.
        if !given.keys().any(|name| name.starts_with("sasl.") || name.starts_with("security.")) {
            secured(cx, security);
        }
    }
    config.extend(given);
    Some(KafkaTarget { bootstrap: kafka.setting("bootstrap")?.clone(), config })
}

/// Whether the parts of a security block fit together.
fn secured(cx: &mut Context<'_>, security: &Object) {
    let protocol = security.text("protocol").unwrap_or("plaintext");
    let (sasl, tls) = (protocol.starts_with("sasl_"), protocol.ends_with("ssl"));
    let mut fault = |key: &str, message: String, help: &str| {
        cx.faults.add_at(Path::new(FILE), security.line_of(key), message, help);
    };
    let first = |keys: &[&'static str]| keys.iter().copied().find(|key| security.has(key));
    if !sasl && let Some(key) = first(&["mechanism", "username", "password"]) {
        let message = format!("`{key}` is given, but protocol `{protocol}` does not authenticate");
        fault(key, message, "write `protocol: sasl_ssl`, or `sasl_plaintext` where the network is trusted");
    }
    if !tls && let Some(key) = first(&["ca", "certificate", "key", "key_password"]) {
        let message = format!("`{key}` is given, but protocol `{protocol}` does not encrypt");
        fault(key, message, "write `protocol: ssl` or `protocol: sasl_ssl`");
    }
    if sasl && !security.has("mechanism") && !security.is_faulty("mechanism") {
        let message = format!("protocol `{protocol}` has no `mechanism`");
        fault("protocol", message, "add `mechanism:`, such as SCRAM-SHA-512");
    }
    if let Some(mechanism) = security.text("mechanism").filter(|word| sasl && *word != "OAUTHBEARER") {
        for key in ["username", "password"] {
            if !security.has(key) && !security.is_faulty(key) {
                let message = format!("mechanism `{mechanism}` has no `{key}`");
                fault("mechanism", message, "add both `username:` and `password:`");
            }
        }
    }
    both(cx, security, "certificate", "key");
}

fn registry(cx: &mut Context<'_>, registry: &Object) -> Option<RegistryTarget> {
    no_password_in(cx, registry, "url", "give it in `user:` and `password:`")?;
    both(cx, registry, "certificate", "key");
    both(cx, registry, "user", "password");
    let url = registry.setting("url")?.clone();
    if url.as_literal().is_some_and(|url| url.starts_with("http:"))
        && let Some(key) = ["ca", "certificate", "key"].iter().find(|key| registry.has(key))
    {
        let message = format!("`{key}` is given, but the registry's `url` does not encrypt");
        cx.faults.add_at(Path::new(FILE), registry.line_of("url"), message, "write `https://…`");
    }
    let setting = |key: &str| registry.setting(key).cloned();
    Some(RegistryTarget {
        url,
        user: setting("user"),
        password: setting("password"),
        ca: setting("ca"),
        certificate: setting("certificate"),
        key: setting("key"),
    })
}

fn lake(cx: &mut Context<'_>, lake: &Object) -> Option<LakeTarget> {
    let url = lake.setting("url")?.clone();
    if let Some(text) = url.as_literal() {
        let fault = match url::Url::parse(text) {
            Ok(url) if !matches!(url.scheme(), "s3" | "s3a" | "file") => {
                Some(format!("the lake's `url` begins with `{}:`", url.scheme()))
            }
            Ok(url) if url.scheme() != "file" && url.host_str().is_none_or(str::is_empty) => {
                Some("the lake's `url` names no bucket".to_owned())
            }
            Ok(_) => None,
            Err(error) => Some(format!("the lake's `url` is `{text}`: {error}")),
        };
        if let Some(message) = fault {
            let help = "write `s3://bucket/prefix` or `file:///path`";
            cx.faults.add_at(Path::new(FILE), lake.line_of("url"), message, help);
            return None;
        }
    }
    for key in ["url", "endpoint"] {
        no_password_in(cx, lake, key, "give keys in `access_key:` and `secret_key:`")?;
    }
    both(cx, lake, "access_key", "secret_key");
    let mut options = BTreeMap::new();
    let named = [
        ("endpoint", "aws_endpoint"),
        ("region", "aws_region"),
        ("access_key", "aws_access_key_id"),
        ("secret_key", "aws_secret_access_key"),
        ("ca", "ca"),
    ];
    for (ours, theirs) in named {
        if let Some(setting) = lake.setting(ours) {
            options.insert(theirs.to_owned(), setting.clone());
        }
    }
    options.extend(lake.object("options").map(all_settings).unwrap_or_default());
    Some(LakeTarget { url, options })
}

/// Adds a fault if only one of two keys is present that need each other.
fn both(cx: &mut Context<'_>, object: &Object, one: &str, other: &str) {
    for (here, missing) in [(one, other), (other, one)] {
        if object.has(here) && !object.has(missing) && !object.is_faulty(missing) {
            let message = format!("`{here}` is given without `{missing}`");
            cx.faults.add_at(Path::new(FILE), object.line_of(here), message, "give both or none");
        }
    }
}

/// A URL is shown in messages about its service, so it must not contain a password.
fn no_password_in(cx: &mut Context<'_>, object: &Object, key: &str, help: &str) -> Option<()> {
    let literal = object.setting(key).and_then(Setting::as_literal);
    if literal.and_then(|text| url::Url::parse(text).ok()).is_some_and(|url| url.password().is_some()) {
        let message = format!("`{key}` holds a password that stands in the file");
        cx.faults.add_at(Path::new(FILE), object.line_of(key), message, help);
        return None;
    }
    Some(())
}

fn all_settings(object: &Object) -> BTreeMap<String, Setting> {
    let setting = |(key, entry): (&String, &Entry)| match &entry.value {
        Value::Setting(setting) => Some((key.clone(), setting.clone())),
        _ => None,
    };
    object.entries.iter().filter_map(setting).collect()
}

#[cfg(test)]
mod tests;
