//! `sources/*.yaml`: connectors, their settings, and the topics their streams go to.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use indexmap::IndexMap;
use model::TopicName;

use super::Context;
use super::contracts::Contracts;
use super::files::Found;
use super::publish::Claims;
use crate::fault::did_you_mean;
use crate::shape::check::reread;
use crate::shape::files::{FILES, POSTGRES, SOURCE, WWI_SIM};
use crate::shape::object::Object;
use crate::source::is_pattern;
use crate::{
    Connection, Csv, Encoding, Envelope, FileFormat, FileIdentity, FilePattern, Files, Location, Nature,
    Pattern, Postgres, Setting, Source, ValueFormat, WwiSim,
};

pub(super) fn read(
    cx: &mut Context<'_>,
    found: &Found,
    contracts: &Contracts,
    published: &Claims,
) -> IndexMap<String, Source> {
    let mut sources = IndexMap::new();
    let mut writers: BTreeMap<TopicName, String> = BTreeMap::new();
    for file in &found.sources {
        let Some(text) = cx.text(file) else { continue };
        let read = crate::shape::check::read(&text, &SOURCE, file, 1, cx.dir, &mut cx.faults);
        let Some(object) = read else { continue };
        let name = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let streams = streams(cx, file, &object, contracts, published);
        for (stream, topic) in &streams {
            if let Some(other) = writers.insert(topic.clone(), name.clone()) {
                let line = object.object("streams").map_or(1, |all| all.line_of(stream));
                let message = format!("topic `{topic}` is already written by source `{other}`");
                cx.faults.add_at(file, line, message, "one source writes a topic; give the stream its own");
            }
        }
        let Some(connector) = object.owned("connector") else { continue };
        let Some(connection) = connection(cx, file, &text, &object, &connector, contracts, published) else {
            continue;
        };
        let source = Source {
            description: object.owned("description"),
            settings: object.any("settings").cloned().unwrap_or(serde_json::Value::Null),
            connection,
            streams,
            location: Location::new(file, 1),
            connector,
            name: name.clone(),
        };
        sources.insert(name, source);
    }
    sources
}

fn streams(
    cx: &mut Context<'_>,
    file: &Path,
    object: &Object,
    contracts: &Contracts,
    published: &Claims,
) -> IndexMap<String, TopicName> {
    let mut streams = IndexMap::new();
    let Some(all) = object.object("streams") else { return streams };
    for (stream, entry) in &all.entries {
        let Some(topic) = entry.text().and_then(|topic| topic.parse::<TopicName>().ok()) else { continue };
        if published.contains_key(&topic) {
            let message = format!("stream `{stream}` goes to `{topic}`, on which a gold table is published");
            cx.faults.add_at(file, entry.line, message, "give it a topic of its own");
        } else if declared(cx, file, entry.line, &topic, contracts) {
            streams.insert(stream.clone(), topic);
        }
    }
    streams
}

fn declared(
    cx: &mut Context<'_>,
    file: &Path,
    line: usize,
    topic: &TopicName,
    contracts: &Contracts,
) -> bool {
    let known = contracts.knows(topic);
    if !known {
        let near = did_you_mean(topic.as_str(), contracts.names());
        let help = if near.starts_with("did") { near } else { "declare it in topics.yaml".to_owned() };
        cx.faults.add_at(file, line, format!("topic `{topic}` is not declared"), help);
    }
    known
}

fn connection(
    cx: &mut Context<'_>,
    file: &Path,
    text: &str,
    object: &Object,
    connector: &str,
    contracts: &Contracts,
    published: &Claims,
) -> Option<Connection> {
    let shape = match connector {
        "wwi-sim" => &WWI_SIM,
        "files" => &FILES,
        "postgres" => &POSTGRES,
        // The shape has reported a name that is not among CONNECTORS.
        _ => return None,
    };
    let before = cx.faults.len();
    let settings = reread(text, "settings", shape, file, cx.dir, &mut cx.faults);
    let connection = match (connector, settings) {
        ("wwi-sim", settings) => wwi_sim(cx, file, &settings.unwrap_or_else(|| Object::empty(&WWI_SIM))),
        ("postgres", Some(settings)) => postgres(cx, file, object, &settings),
        ("files", Some(settings)) => files(cx, file, object, &settings, contracts, published),
        (connector, Some(_)) => unreachable!("connector `{connector}` has a shape and no reader"),
        (_, None) => {
            if cx.faults.len() == before {
                let help = match connector {
                    "postgres" => "say at least `url`",
                    _ => "say at least `dir` and `dead_letter`",
                };
                cx.faults.add_at(file, object.line_of("connector"), "missing key `settings`", help);
            }
            None
        }
    };
    connection.filter(|_| cx.faults.len() == before)
}

fn wwi_sim(cx: &mut Context<'_>, file: &Path, settings: &Object) -> Option<Connection> {
    let default = WwiSim::default();
    let rate = settings.number("rate");
    if rate.is_some_and(|rate| rate < 0.0) {
        let help = "write events a second, or 0 for as fast as they are taken";
        cx.faults.add_at(file, settings.line_of("rate"), "`rate` is less than nothing", help);
    }
    Some(Connection::WwiSim(WwiSim {
        seed: settings.count("seed").unwrap_or(default.seed),
        events: settings.count("events"),
        rate: rate.map_or(default.rate, |rate| (rate > 0.0).then_some(rate)),
        pattern: match settings.text("pattern") {
            Some("bulk") => Pattern::Bulk,
            Some("burst") => Pattern::Burst,
            _ => Pattern::Trickle,
        },
        disorder: settings.number("disorder").unwrap_or(default.disorder),
        duplicates: settings.number("duplicates").unwrap_or(default.duplicates),
        poison: settings.number("poison").unwrap_or(default.poison),
        schema_change_at: settings.count("schema_change_at"),
    }))
}

fn files(
    cx: &mut Context<'_>,
    file: &Path,
    object: &Object,
    settings: &Object,
    contracts: &Contracts,
    published: &Claims,
) -> Option<Connection> {
    let dead_letter: TopicName = settings.text("dead_letter")?.parse().ok()?;
    let at = settings.line_of("dead_letter");
    dead_letters(cx, file, at, &dead_letter, contracts, published);
    file_streams(cx, file, object, &dead_letter, contracts);
    let character = |key: &str| settings.text(key).and_then(|text| text.bytes().next());
    let format = settings.text("format").map(|format| match format {
        "csv" => FileFormat::Csv,
        "tsv" => FileFormat::Tsv,
        "json" => FileFormat::Json,
        _ => FileFormat::JsonLines,
    });
    let csv = Csv {
        delimiter: character("delimiter"),
        quote: match settings.text("quote") {
            None => Csv::default().quote,
            Some("none") => None,
            Some(_) => character("quote"),
        },
        header: settings.flag("header").unwrap_or(true),
        columns: settings.texts("columns"),
    };
    csv_settings(cx, file, settings, format, &csv);
    Some(Connection::Files(Files {
        dir: cx.dir.join(settings.text("dir")?),
        format,
        csv,
        encoding: match settings.text("encoding") {
            Some("latin1" | "iso-8859-1") => Encoding::Latin1,
            Some("windows-1252") => Encoding::Windows1252,
            Some("utf-16") => Encoding::Utf16,
            Some("utf-16le") => Encoding::Utf16Le,
            Some("utf-16be") => Encoding::Utf16Be,
            _ => Encoding::Utf8,
        },
        gzip: settings.text("compression").map(|compression| compression == "gzip"),
        identity: match settings.text("identity") {
            Some("path") => FileIdentity::Path,
            _ => FileIdentity::Content,
        },
        poll: settings.duration("poll").unwrap_or(Duration::from_secs(1)),
        settle: settings.duration("settle"),
        max_line_bytes: settings.size("max_line_bytes"),
        dead_letter,
    }))
}

/// The topic for bad lines takes plain bytes, because the lines may come from files for any topic.
fn dead_letters(
    cx: &mut Context<'_>,
    file: &Path,
    line: usize,
    topic: &TopicName,
    contracts: &Contracts,
    published: &Claims,
) {
    if published.contains_key(topic) {
        let message = format!("bad lines go to `{topic}`, on which a gold table is published");
        cx.faults.add_at(file, line, message, "give them a topic of their own");
    } else if declared(cx, file, line, topic, contracts)
        && let Some(contract) = contracts.contract(topic)
        && contract.value != ValueFormat::Bytes
    {
        let message = format!("topic `{topic}` cannot take bad lines: they are bytes of any form");
        cx.faults.add_at(file, line, message, "declare it as `value: bytes`");
    }
}

/// Checks that each stream is a pattern that can match, and that its topic can take rows.
fn file_streams(
    cx: &mut Context<'_>,
    file: &Path,
    object: &Object,
    dead_letter: &TopicName,
    contracts: &Contracts,
) {
    let Some(all) = object.object("streams") else { return };
    if all.entries.is_empty() && all.faulty.is_empty() {
        let help = "write a pattern of file names and the topic they go to, as `\"*.csv\": shop.orders`";
        cx.faults.add_at(file, object.line_of("streams"), "the source has no stream", help);
    }
    for (stream, entry) in &all.entries {
        let (line, several) = (entry.line, all.entries.len() > 1);
        if let Err(why) = FilePattern::parse(stream) {
            let message = format!("stream `{stream}` is no pattern of file names: {why}");
            cx.faults.add_at(file, line, message, "write it as `orders-*.csv`");
        } else if several && !is_pattern(stream) && !stream.contains(['.', '/']) {
            let message = format!("stream `{stream}` would take files of exactly this name");
            let help = "of several streams each is a pattern of file names, as `orders*`";
            cx.faults.add_at(file, line, message, help);
        }
        let topic = entry.text().and_then(|topic| topic.parse::<TopicName>().ok());
        let Some(topic) = topic else { continue };
        if topic == *dead_letter {
            let message = format!("topic `{topic}` cannot take both the rows and the bad lines");
            cx.faults.add_at(file, line, message, "give bad lines a topic of their own");
        }
        if contracts.contract(&topic).is_some_and(|contract| contract.envelope != Envelope::None) {
            let message =
                format!("topic `{topic}` cannot be fed from files: its values are changes, not rows");
            cx.faults.add_at(file, line, message, "declare it without `envelope`, or feed another");
        }
    }
}

fn csv_settings(cx: &mut Context<'_>, file: &Path, settings: &Object, format: Option<FileFormat>, csv: &Csv) {
    let mut fault = |key: &str, message: String, help: &str| {
        cx.faults.add_at(file, settings.line_of(key), message, help);
    };
    if matches!(format, Some(FileFormat::JsonLines | FileFormat::Json)) {
        for key in ["delimiter", "quote", "header", "columns"].into_iter().filter(|key| settings.has(key)) {
            fault(key, format!("`{key}` means nothing to JSON"), "drop it, or say `format: csv`");
        }
    }
    if settings.text("delimiter") == Some("none") {
        fault("delimiter", "`delimiter` is `none`".to_owned(), "write one character");
    } else if csv.delimiter.is_some() && csv.delimiter == csv.quote {
        fault("delimiter", "`delimiter` and `quote` are the same character".to_owned(), "change one of them");
    }
    if csv.header && !csv.columns.is_empty() {
        let message = "`columns` are said, and the files have a header".to_owned();
        fault("columns", message, "drop them, or say `header: false`");
    }
    if !csv.header && csv.columns.is_empty() {
        let message = "the files have no header, and nothing else names the columns".to_owned();
        fault("header", message, "name them in order: `columns: [id, …]`");
    }
    for (at, column) in csv.columns.iter().enumerate() {
        if csv.columns[..at].contains(column) {
            fault("columns", format!("column `{column}` is named twice"), "name each column once");
        }
    }
}

fn postgres(cx: &mut Context<'_>, file: &Path, object: &Object, settings: &Object) -> Option<Connection> {
    let url = match Setting::parse(settings.text("url")?, cx.dir, Nature::Secret) {
        Ok(url) => url,
        Err(error) => {
            let help = "write `${env:NAME}` or `${file:PATH}`";
            cx.faults.add_at(file, settings.line_of("url"), error.to_string(), help);
            return None;
        }
    };
    for (stream, entry) in object.object("streams").iter().flat_map(|all| &all.entries) {
        if stream.split('.').filter(|part| !part.is_empty()).count() != 2 {
            let message = format!("stream `{stream}` is no table");
            cx.faults.add_at(file, entry.line, message, "write `schema.table`, as `public.orders`");
        }
    }
    let slot = settings.owned("slot");
    if let Some(slot) = &slot
        && !slot.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
    {
        let message = format!("`{slot}` is no name of a replication slot");
        cx.faults.add_at(file, settings.line_of("slot"), message, "use small letters, digits and `_`");
    }
    Some(Connection::Postgres(Postgres {
        url,
        slot,
        publication: settings.owned("publication").unwrap_or_else(|| "lakepulse".to_owned()),
        heartbeat: settings.duration("heartbeat").unwrap_or(Duration::from_secs(10)),
    }))
}
