//! Sends the lines of a file and its cursor, a transaction at a time.

use std::io::Read;
use std::sync::Arc;

use model::TopicName;
use runtime::Traces;
use runtime::traces::{Role, TRACEPARENT};
use stream::{Outgoing, Producer, internal};

use super::content;
use super::cursor::{self, Cursor, Cursors};
use super::folder::Found;
use super::form::Form;
use super::lines::{Line, Lines, Place, Written};
use super::{Context, Feed, Summary};
use crate::Error;

/// Header with the identity of the file.
const FILE: &str = "lp.file";
/// Header with the line in it.
const LINE: &str = "lp.line";
/// Bytes of a bad line that its dead letter keeps.
const KEPT: usize = 512 << 10;

/// Publishes files of one feed.
pub(super) struct Publisher {
    producer: Arc<Producer>,
    pub form: Arc<Form>,
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
        let cursors = Cursors::parse(topic, &form.id, records)?;
        let traces = context.meters.traces().clone();
        let mut publisher =
            Self { producer: Arc::new(producer), form: Arc::new(form), cursors_topic, cursors, traces };
        publisher.write_outdated_anew().await?;
        Ok(publisher)
    }

    /// Cursors that only have the topic's name get its id, while it is the topic that they are of.
    async fn write_outdated_anew(&mut self) -> Result<(), Error> {
        let outdated = std::mem::take(&mut self.cursors.outdated);
        let all: Vec<Cursor> =
            self.cursors.all().filter(|cursor| cursor.old_digest.is_some()).cloned().collect();
        if outdated.is_empty() {
            return Ok(());
        }
        self.remember(all).await?;
        let topic = self.form.topic.name.clone();
        let failed = |source| Error::Stream { topic: topic.clone(), source };
        self.producer.begin().await.map_err(failed)?;
        for key in &outdated {
            self.producer.send(self.cursor_record(key, None)).map_err(failed)?;
        }
        self.producer.commit().await.map_err(failed)
    }

    fn cursor_record<'a>(&'a self, key: &'a [u8], value: Option<&'a [u8]>) -> Outgoing<'a> {
        let topic = &self.cursors_topic;
        Outgoing { topic, partition: Some(0), key: Some(key), value, headers: &[], timestamp: None }
    }

    /// Writes cursors that no line goes with, in a transaction of their own.
    pub async fn remember(&mut self, cursors: Vec<Cursor>) -> Result<(), Error> {
        if cursors.is_empty() {
            return Ok(());
        }
        let topic = self.form.topic.name.clone();
        let failed = |source| Error::Stream { topic: topic.clone(), source };
        self.producer.begin().await.map_err(failed)?;
        for cursor in &cursors {
            let (key, value) = (cursor::key(&topic, cursor), cursor::value(cursor));
            self.producer.send(self.cursor_record(key.as_bytes(), Some(&value))).map_err(failed)?;
        }
        self.producer.commit().await.map_err(failed)?;
        cursors.into_iter().for_each(|cursor| self.cursors.set(cursor));
        Ok(())
    }

    /// Publishes a file from its cursor to its end.
    pub async fn publish(
        &mut self,
        context: &Context,
        feed: &Feed,
        file: &Found,
        written: Written,
        gzip: bool,
        mut cursor: Cursor,
    ) -> Result<Summary, Error> {
        let unread = |source| Error::File { path: file.path.clone(), source };
        let mut summary = Summary { files: 1, ..Summary::default() };
        // Of version 1 only the line is known.
        let skipped = if cursor.old_digest.is_some() { cursor.end.line } else { 0 };
        let (path, size, at) = (file.path.clone(), file.state.size, cursor.end.clone());
        let opened = runtime::cpu::run(move || {
            let mut lines = Lines::new(written, content::open(&path, size, gzip)?);
            lines.resume(&at).map(|is_same| is_same.then_some(lines))
        });
        let changed = || Error::Changed { path: file.path.clone() };
        let mut lines = opened.await.map_err(unread)?.ok_or_else(changed)?;
        while !cursor.done {
            let limits = context.settings.clone();
            let (back, batch) = runtime::cpu::run(move || {
                let batch = take(&mut lines, skipped, limits.batch_lines, limits.batch_bytes);
                (lines, batch)
            })
            .await;
            lines = back;
            let batch = batch.map_err(unread)?;
            if batch.is_last && lines.place().mark != cursor.aim {
                return Err(changed());
            }
            cursor.end = batch.end;
            if batch.is_last {
                cursor.finish(lines.before_open().cloned());
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
        let (producer, form) = (self.producer.clone(), self.form.clone());
        let (identity, dead_letter) = (cursor.identity.clone(), feed.files.dead_letter.clone());
        // Sending blocks while the client's queue is full.
        let mut span = self.traces.span("publish lines", Role::Publishes, &[]);
        let trace = span.cause().map(|cause| cause.to_string());
        let sent = runtime::cpu::run(move || {
            send_lines(&producer, &form, &dead_letter, &identity, &lines, trace.as_deref())
        });
        let sent = sent.await.map_err(failed)?;
        span.set_attribute("messaging.system", "kafka");
        span.set_attribute("messaging.destination.name", topic.as_str().to_owned());
        span.set_attribute("messaging.batch.message_count", sent.records.cast_signed());
        span.set_attribute("lakepulse.file", file.name.clone());
        cursor.records += sent.records;
        cursor.bad_lines += sent.bad_lines;
        let (key, value) = (cursor::key(topic, cursor), cursor::value(cursor));
        self.producer.commit_with(self.cursor_record(key.as_bytes(), Some(&value))).await.map_err(failed)?;
        self.cursors.set(cursor.clone());
        Ok(sent)
    }
}

/// Lines of one transaction.
struct Batch {
    lines: Vec<Line>,
    /// Behind the last of them.
    end: Place,
    is_last: bool,
}

/// The next lines behind number `skipped`.
fn take<R: Read>(
    lines: &mut Lines<R>,
    skipped: u64,
    most_lines: usize,
    most_bytes: usize,
) -> std::io::Result<Batch> {
    let (mut taken, mut bytes) = (Vec::new(), 0);
    while taken.len() < most_lines.max(1) && bytes < most_bytes.max(1) {
        match lines.next()? {
            None => return Ok(Batch { lines: taken, end: lines.end(), is_last: true }),
            Some(piece) => {
                if let Some(line) = piece.line.filter(|line| line.number > skipped) {
                    bytes += line.raw.len();
                    taken.push(line);
                }
            }
        }
    }
    Ok(Batch { lines: taken, end: lines.place(), is_last: false })
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
        let encoded = match &line.row {
            Ok(row) => form.encode(&line.raw, row),
            Err(bad) => Err(bad.clone()),
        };
        let mut reason = match encoded {
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
        let kept = &line.raw[..line.raw.len().min(KEPT)];
        let length = line.cut_of.unwrap_or(line.raw.len() as u64);
        if length > kept.len() as u64 {
            reason = format!("{reason} (the first {} of its {length} bytes are kept here)", kept.len());
        }
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
            value: Some(kept),
            headers: &headers,
            timestamp: None,
        })?;
        sent.bad_lines += 1;
    }
    Ok(sent)
}
