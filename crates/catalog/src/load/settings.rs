//! `lakepulse.yaml`: name, clock, commit limits, targets.

use std::collections::BTreeMap;
use std::path::Path;

use model::ProjectName;

use super::Context;
use crate::fault::did_you_mean;
use crate::shape::files::PROJECT;
use crate::shape::object::{Object, Value};
use crate::{
    ClockKind, CommitLimits, KafkaTarget, LakeTarget, RegistryTarget, Setting, Target, TopicDefaults,
};

const FILE: &str = "lakepulse.yaml";
const EMBEDDED: &str = "embedded";

pub(super) struct Settings {
    pub name: ProjectName,
    pub clock: ClockKind,
    pub commit: CommitLimits,
    pub target: Target,
}

pub(super) fn read(cx: &mut Context<'_>, target: &str) -> Settings {
    let file = Path::new(FILE);
    let root = if cx.has(FILE) { cx.object(file, &PROJECT) } else { None };
    let root = root.unwrap_or_else(|| Object::empty(&PROJECT));
    let name = match root.text("name") {
        Some(name) => name.parse().unwrap_or_else(|bad: model::BadName| {
            let help = format!("a project name is {}", bad.rule);
            cx.faults.add_at(file, root.line_of("name"), format!("`name` is `{name}`"), help);
            folder_name(cx.dir)
        }),
        None => folder_name(cx.dir),
    };
    let clock = match root.text("clock") {
        Some("events") => ClockKind::Events,
        _ => ClockKind::Wall,
    };
    Settings { name, clock, commit: commit(&root), target: choose(cx, &root, target) }
}

/// The folder's own name as a project name.
fn folder_name(dir: &Path) -> ProjectName {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let name = dir.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let legal = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let name: String = name.chars().map(legal).take(60).collect();
    let name = name.trim_matches('-');
    name.parse().unwrap_or_else(|_| "lakepulse".parse().expect("lowercase letters are a project name"))
}

fn commit(root: &Object) -> CommitLimits {
    let default = CommitLimits::default();
    let Some(commit) = root.object("commit") else { return default };
    CommitLimits {
        interval: commit.duration("interval").unwrap_or(default.interval),
        max_rows: commit.count("max_rows").unwrap_or(default.max_rows),
        max_bytes: commit.size("max_bytes").unwrap_or(default.max_bytes),
    }
}

/// Checks every target and gives the one asked for.
fn choose(cx: &mut Context<'_>, root: &Object, wanted: &str) -> Target {
    let mut targets = BTreeMap::new();
    if let Some(all) = root.object("targets") {
        for (name, line, object) in all.objects() {
            targets.insert(name.clone(), target(cx, name, line, object));
        }
    }
    let embedded = || Target { name: EMBEDDED.to_owned(), embedded: true, ..Target::default() };
    match targets.remove(wanted) {
        Some(target) => target,
        None if wanted == EMBEDDED => embedded(),
        // A target with faults of its own is told by those.
        None if root.object("targets").is_some_and(|all| all.entries.contains_key(wanted)) => embedded(),
        None => {
            let known = targets.keys().map(String::as_str).chain([EMBEDDED]);
            let help = did_you_mean(wanted, known);
            let message = format!("there is no target `{wanted}`");
            cx.faults.add_at(Path::new(FILE), root.line_of("targets"), message, help);
            embedded()
        }
    }
}

fn target(cx: &mut Context<'_>, name: &str, line: usize, object: &Object) -> Target {
    let kafka = object.object("kafka").and_then(kafka);
    let registry = object.object("registry").and_then(|registry| {
        Some(RegistryTarget {
            url: registry.setting("url")?.clone(),
            user: registry.setting("user").cloned(),
            password: registry.setting("password").cloned(),
        })
    });
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

fn kafka(kafka: &Object) -> Option<KafkaTarget> {
    let mut config = BTreeMap::new();
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
    }
    config.extend(kafka.object("config").map(all_settings).unwrap_or_default());
    Some(KafkaTarget { bootstrap: kafka.setting("bootstrap")?.clone(), config })
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
    let mut options = BTreeMap::new();
    let named = [
        ("endpoint", "aws_endpoint"),
        ("region", "aws_region"),
        ("access_key", "aws_access_key_id"),
        ("secret_key", "aws_secret_access_key"),
    ];
    for (ours, theirs) in named {
        if let Some(setting) = lake.setting(ours) {
            options.insert(theirs.to_owned(), setting.clone());
        }
    }
    let plain = |setting: &Setting| setting.as_literal().is_some_and(|text| text.starts_with("http://"));
    if lake.setting("endpoint").is_some_and(plain) {
        options.insert("aws_allow_http".to_owned(), Setting::literal("true"));
    }
    options.extend(lake.object("options").map(all_settings).unwrap_or_default());
    Some(LakeTarget { url, options })
}

fn all_settings(object: &Object) -> BTreeMap<String, Setting> {
    let setting = |(key, entry): (&String, &crate::shape::object::Entry)| match &entry.value {
        Value::Setting(setting) => Some((key.clone(), setting.clone())),
        _ => None,
    };
    object.entries.iter().filter_map(setting).collect()
}

/// `partitions`, `replication` and `config` of a mapping that has them.
pub(super) fn topic_defaults(object: &Object) -> TopicDefaults {
    TopicDefaults {
        partitions: object.small("partitions"),
        replication: object.small("replication"),
        config: object.object("config").map(texts).unwrap_or_default(),
    }
}

fn texts(object: &Object) -> BTreeMap<String, String> {
    let text = |(key, entry): (&String, &crate::shape::object::Entry)| {
        entry.text().map(|text| (key.clone(), text.to_owned()))
    };
    object.entries.iter().filter_map(text).collect()
}
