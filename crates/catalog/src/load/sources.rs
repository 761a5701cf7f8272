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
use crate::{Connection, FileFormat, Files, Location, Nature, Pattern, Postgres, Setting, Source, WwiSim};

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
        let Some(connection) = connection(cx, file, &text, &object, &connector, contracts) else { continue };
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
) -> Option<Connection> {
    let shape = match connector {
        "wwi-sim" => &WWI_SIM,
        "files" => &FILES,
        "postgres" => &POSTGRES,
        _ => return Some(Connection::Other),
    };
    let before = cx.faults.len();
    let settings = reread(text, "settings", shape, file, cx.dir, &mut cx.faults);
    let connection = match (connector, settings) {
        ("wwi-sim", settings) => wwi_sim(cx, file, &settings.unwrap_or_else(|| Object::empty(&WWI_SIM))),
        ("postgres", Some(settings)) => postgres(cx, file, object, &settings),
        (_, Some(settings)) => files(cx, file, &settings, contracts),
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

fn files(cx: &mut Context<'_>, file: &Path, settings: &Object, contracts: &Contracts) -> Option<Connection> {
    let dead_letter: TopicName = settings.text("dead_letter")?.parse().ok()?;
    declared(cx, file, settings.line_of("dead_letter"), &dead_letter, contracts);
    Some(Connection::Files(Files {
        dir: cx.dir.join(settings.text("dir")?),
        dead_letter,
        format: settings.text("format").map(|format| match format {
            "csv" => FileFormat::Csv,
            _ => FileFormat::JsonLines,
        }),
        poll: settings.duration("poll").unwrap_or(Duration::from_secs(1)),
    }))
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
