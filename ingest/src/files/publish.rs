//! Sends the lines of a file and its cursor, a transaction at a time.

use std::fs::File;
use std::io::BufReader;
use std::sync::Arc;

use catalog::{Envelope, Topic, ValueFormat};
use model::TopicName;
use runtime::Traces;
use runtime::traces::{Role, TRACEPARENT};
use stream::hash::partition_of;
use stream::{Admin, Outgoing, Producer, frame, internal};

use super::cursor::{self, Cursor, Cursors};
use super::folder::{Found, hash};
use super::lines::{BadLine, Line, Lines, format_of};
use super::{Context, Feed, Summary};
use crate::Error;
use crate::shape::{Row, Shape};

/// Header with the identity of the file.
const FILE: &str = "lp.file";
/// Header with the line in it.
const LINE: &str = "lp.line";
/// Bytes of a bad line that its dead letter keeps.
const KEPT: usize = 512 << 10;

/// A schema and its registry id.
#[derive(Debug)]
struct Written {
    id: u32,
    shape: Shape,
}

/// How rows become records of the topic.
#[derive(Debug)]
struct Form {
    topic: Topic,
    partitions: i32,
    /// `None`: the value is the line as it is.
    value: Option<Written>,
    key: Option<Written>,
}

/// A record to be.
struct Encoded {
    key: Option<Vec<u8>>,
    value: Vec<u8>,
    partition: Option<i32>,
}

/// Publishes files of one feed.
pub(super) struct Publisher {
    producer: Arc<Producer>,
    form: Arc<Form>,
    cursors_topic: TopicName,
    pub cursors: Cursors,
    traces: Traces,
}

impl Publisher {
    /// Shuts out whoever fed the topic before, then reads the cursors.
    pub async fn open(context: &Context, feed: &Feed) -> Result<Self, Error> {
        let form = Form::try_new(context, &feed.topic).await?;
        let topic = &feed.topic.name;
        let id = format!("{}.ingest.files.{topic}", context.project.name);
        let failed = |source| Error::Stream { topic: topic.clone(), source };
        let producer = Producer::transactional(&context.kafka, &id).await.map_err(failed)?;
        let cursors_topic = internal::cursors(&context.project.name);
        let records = stream::latest(&context.kafka, &cursors_topic).await.map_err(failed)?;
        let cursors = Cursors::parse(topic, records)?;
        let traces = context.meters.traces().clone();
        Ok(Self { producer: Arc::new(producer), form: Arc::new(form), cursors_topic, cursors, traces })
    }

    /// Publishes a file from its cursor to its end.
    pub async fn publish(&mut self, context: &Context, feed: &Feed, file: &Found) -> Result<Summary, Error> {
        let format = feed.format.or_else(|| format_of(&file.name));
        let Some(format) = format else {
            tracing::warn!(file = file.name, "file is neither .csv nor .jsonl, it is left alone");
            let mut left = self.cursors.of(file);
            left.done = true;
            self.cursors.set(file, left);
            return Ok(Summary::default());
        };
        let mut cursor = self.cursors.of(file);
        let mut summary = Summary::default();
        let opened =
            File::open(&file.path).map_err(|source| Error::File { path: file.path.clone(), source })?;
        let mut lines = Lines::new(format, BufReader::new(opened), context.settings.max_line_bytes);
        while !cursor.done {
            let (limits, after, path) = (context.settings.clone(), cursor.line, file.path.clone());
            let (back, batch) = runtime::cpu::run(move || {
                let batch = take(&mut lines, after, limits.batch_lines, limits.batch_bytes);
                (lines, batch.map_err(|source| Error::File { path, source }))
            })
            .await;
            lines = back;
            let batch = batch?;
            cursor.done = batch.is_last;
            if batch.is_last {
                // A file written to while it was read is not done: it is found anew, as another.
                let path = file.path.clone();
                let now = runtime::cpu::run(move || hash(&path)).await?;
                if file.identity != format!("{}@{now}", file.name) {
                    return Err(Error::Changed { path: file.path.clone() });
                }
            }
            let sent = self.send(feed, file, batch.lines, &mut cursor).await?;
            summary.records += sent.records;
            summary.bad_lines += sent.bad_lines;
        }
        Ok(summary)
    }

    /// One transaction: lines, bad lines, then the cursor.
    async fn send(
        &mut self,
        feed: &Feed,
        file: &Found,
        lines: Vec<Line>,
        cursor: &mut Cursor,
    ) -> Result<Summary, Error> {
        let topic = &feed.topic.name;
        let failed = |source| Error::Stream { topic: topic.clone(), source };
        self.producer.begin().await.map_err(failed)?;
        if let Some(last) = lines.last() {
            cursor.line = last.number;
        }
        let (producer, form) = (self.producer.clone(), self.form.clone());
        let (identity, dead_letter) = (file.identity.clone(), feed.dead_letter.clone());
        // Sending blocks while the client's queue is full.
        let mut span = self.traces.span("publish lines", Role::Publishes, &[]);
        let trace = span.cause().map(|cause| cause.to_string());
        let sent = runtime::cpu::run(move || {
            send_lines(&producer, &form, &dead_letter, &identity, &lines, trace.as_deref())
        });
        let sent = sent.await.map_err(failed)?;
        span.says("messaging.system", "kafka");
        span.says("messaging.destination.name", topic.as_str().to_owned());
        span.says("messaging.batch.message_count", sent.records.cast_signed());
        span.says("lakepulse.file", file.name.clone());
        cursor.records += sent.records;
        cursor.bad_lines += sent.bad_lines;
        let (key, value) = (cursor::key(topic, &file.identity), cursor::value(cursor));
        let record = Outgoing {
            topic: &self.cursors_topic,
            partition: Some(0),
            key: Some(key.as_bytes()),
            value: Some(&value),
            headers: &[],
            timestamp: None,
        };
        self.producer.commit_with(record).await.map_err(failed)?;
        self.cursors.set(file, cursor.clone());
        Ok(sent)
    }
}

/// Lines of one transaction.
struct Batch {
    lines: Vec<Line>,
    is_last: bool,
}

/// The next lines behind `after`.
fn take(
    lines: &mut Lines<BufReader<File>>,
    after: u64,
    most_lines: usize,
    most_bytes: usize,
) -> std::io::Result<Batch> {
    let (mut taken, mut bytes) = (Vec::new(), 0);
    while taken.len() < most_lines.max(1) && bytes < most_bytes.max(1) {
        match lines.next()? {
            None => return Ok(Batch { lines: taken, is_last: true }),
            Some(line) if line.number <= after => {}
            Some(line) => {
                bytes += line.raw.len();
                taken.push(line);
            }
        }
    }
    Ok(Batch { lines: taken, is_last: false })
}

fn send_lines(
    producer: &Producer,
    form: &Form,
    dead_letter: &TopicName,
    identity: &str,
    lines: &[Line],
    trace: Option<&str>,
) -> Result<Summary, stream::Error> {
    let mut sent = Summary::default();
    let dead = format!("{}/{identity}", form.topic.name);
    for line in lines {
        let number = line.number.to_string();
        let place = [(FILE, identity.as_bytes()), (LINE, number.as_bytes())];
        // One record of a transaction is sampled: it stands for the others.
        let sampled = trace.filter(|_| sent.records == 0).map(|trace| (TRACEPARENT, trace.as_bytes()));
        let sampled = sampled.map(|header| [place[0], place[1], header]);
        let reason = match line.row.clone().and_then(|row| form.encode(line, &row)) {
            Ok(record) => {
                let outgoing = Outgoing {
                    topic: &form.topic.name,
                    partition: record.partition,
                    key: record.key.as_deref(),
                    value: Some(&record.value),
                    headers: sampled.as_ref().map_or(&place[..], |headers| &headers[..]),
                    timestamp: None,
                };
                match producer.send(outgoing) {
                    Ok(()) => {
                        sent.records += 1;
                        continue;
                    }
                    // The broker takes no record as large as this one: as bad as any bad line.
                    Err(error @ stream::Error::Unsendable { .. }) => error.to_string(),
                    Err(error) => return Err(error),
                }
            }
            Err(bad) => bad.to_string(),
        };
        // The topic of dead letters takes lines meant for several: the same file may be in two folders.
        let headers = [
            (FILE, dead.as_bytes()),
            (LINE, number.as_bytes()),
            ("error", reason.as_bytes()),
            ("source_topic", form.topic.name.as_str().as_bytes()),
        ];
        producer.send(Outgoing {
            topic: dead_letter,
            partition: None,
            key: Some(identity.as_bytes()),
            value: Some(&line.raw[..line.raw.len().min(KEPT)]),
            headers: &headers,
            timestamp: None,
        })?;
        sent.bad_lines += 1;
    }
    Ok(sent)
}

impl Form {
    /// Registers the topic's schemas, if they are not, and finds its partitions.
    async fn try_new(context: &Context, topic: &Topic) -> Result<Self, Error> {
        let name = topic.name.clone();
        let bad = |why: &str| Error::BadTopic { topic: name.clone(), why: why.to_owned() };
        if topic.envelope != Envelope::None {
            return Err(bad("its values are changes of a database, not rows"));
        }
        let admin =
            Admin::try_new(&context.kafka).map_err(|source| Error::Stream { topic: name.clone(), source })?;
        let found = admin.describe(&topic.name).await;
        let found = found.map_err(|source| Error::Stream { topic: name.clone(), source })?;
        let missing =
            || Error::Stream { topic: name.clone(), source: stream::Error::NoTopic { topic: name.clone() } };
        let partitions = found.ok_or_else(missing)?.partitions;
        let value = match (topic.value, &topic.value_schema) {
            (ValueFormat::Avro, Some(schema)) => {
                Some(written(context, topic, &topic.value_subject(), schema).await?)
            }
            (ValueFormat::Avro, None) => return Err(bad("it declares no schema")),
            (ValueFormat::Json | ValueFormat::Bytes, _) => None,
        };
        let key = match &topic.key_schema {
            Some(schema) => Some(written(context, topic, &topic.key_subject(), schema).await?),
            None => None,
        };
        Ok(Self { topic: topic.clone(), partitions, value, key })
    }

    fn encode(
        &self,
        line: &Line,
        row: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<Encoded, BadLine> {
        let own = if line.is_json { str::from_utf8(&line.raw).ok() } else { None };
        // What some editors put before the first line.
        let own = own.map(|text| text.trim_start_matches('\u{feff}'));
        let given = own.map_or(Row::Cells(row), Row::Json);
        let framed = |written: &Written, body: &[u8]| {
            let mut out = Vec::with_capacity(body.len() + 5);
            frame(written.id, body, &mut out);
            out
        };
        let value = match (&self.value, self.topic.value) {
            (Some(written), _) => framed(written, &written.shape.encode(given)?),
            (None, ValueFormat::Json) => match own {
                // Its own digits: printed anew, a number may be another one.
                Some(text) => text.as_bytes().to_vec(),
                None => serde_json::to_vec(row).map_err(|error| BadLine::Json(error.to_string()))?,
            },
            (None, _) => line.raw.clone(),
        };
        let key = match &self.key {
            Some(written) => Some(framed(written, &written.shape.encode_part(given)?)),
            None => None,
        };
        Ok(Encoded { key, value, partition: self.partition(row) })
    }

    /// By other columns than the key's, where the contract says so; else Kafka's own choice.
    fn partition(&self, row: &serde_json::Map<String, serde_json::Value>) -> Option<i32> {
        let by = &self.topic.partition_by;
        if by.is_empty() || *by == self.topic.key {
            return None;
        }
        let texts = by.iter().map(|column| match row.get(column) {
            Some(serde_json::Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        });
        Some(partition_of(texts.collect::<Vec<_>>().join("\0").as_bytes(), self.partitions))
    }
}

async fn written(context: &Context, topic: &Topic, subject: &str, schema: &str) -> Result<Written, Error> {
    let shape =
        Shape::try_new(schema, topic).map_err(|why| Error::BadTopic { topic: topic.name.clone(), why })?;
    let id = context.registry.register(subject, schema).await;
    let id = id.map_err(|source| Error::Registry { topic: topic.name.clone(), source })?;
    Ok(Written { id, shape })
}
