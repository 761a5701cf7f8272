//! Publishes one file from its cursor to its end: each transaction has lines, then the cursor.

use std::io::Read;
use std::sync::Arc;

use model::{TopicName, header};
use runtime::Traces;
use runtime::traces::{Role, Span, TRACEPARENT};
use source::{CursorRecord, DeadLetter, Outbox, Sent, SourceBatch};
use stream::Outgoing;

use super::content;
use super::cursor::{self, FileCursor};
use super::folder::Found;
use super::form::Form;
use super::lines::{Line, Lines, Place, Written};
use crate::{Error, Settings};

/// A file that is being published.
pub(super) struct OpenFile {
    pub file: Found,
    lines: Lines<Box<dyn Read + Send>>,
    /// Lines up to this number are published. Only used for a cursor of version 1, which knows nothing but
    /// the line.
    skipped: u64,
    pub cursor: FileCursor,
    /// What was sent of the file in this attempt.
    pub sent: Sent,
    /// The span of the current transaction, from its first send to its commit.
    span: Option<Span>,
}

impl OpenFile {
    /// Opens a file at its cursor.
    pub async fn open(file: Found, written: Written, gzip: bool, cursor: FileCursor) -> Result<Self, Error> {
        let skipped = if cursor.old_digest.is_some() { cursor.end.line } else { 0 };
        let (path, size, at) = (file.path.clone(), file.state.size, cursor.end.clone());
        let opened = runtime::cpu::run(move || {
            let mut lines = Lines::new(written, content::open(&path, size, gzip)?);
            lines.resume(&at).map(|is_same| is_same.then_some(lines))
        });
        let opened = opened.await.map_err(|source| Error::File { path: file.path.clone(), source })?;
        let lines = opened.ok_or_else(|| Error::Changed { path: file.path.clone() })?;
        Ok(Self { file, lines, skipped, cursor, sent: Sent::default(), span: None })
    }

    /// Reads the lines of the next transaction, and moves the cursor after them.
    pub async fn take(self, limits: &Settings) -> Result<(Self, Vec<Line>), Error> {
        let (most_lines, most_bytes) = (limits.batch_lines, limits.batch_bytes);
        let (mut this, part) = runtime::cpu::run(move || {
            let mut this = self;
            let part = take(&mut this.lines, this.skipped, most_lines, most_bytes);
            (this, part)
        })
        .await;
        let part = part.map_err(|source| Error::File { path: this.file.path.clone(), source })?;
        if part.is_last && this.lines.place().mark != this.cursor.aim {
            return Err(Error::Changed { path: this.file.path });
        }
        this.cursor.end = part.end;
        if part.is_last {
            this.cursor.finish(this.lines.before_open().cloned());
        }
        Ok((this, part.lines))
    }

    /// Encodes the lines as records and dead letters.
    pub fn batch(
        &mut self,
        lines: Vec<Line>,
        form: &Arc<Form>,
        dead_letter: &TopicName,
        traces: &Traces,
    ) -> SourceBatch {
        let span = traces.span("publish lines", Role::Publishes, &[]);
        let trace = span.cause().map(|cause| cause.to_string());
        self.span = Some(span);
        let (form, dead_letter, identity) = (form.clone(), dead_letter.clone(), self.cursor.identity.clone());
        SourceBatch::new(move |outbox| {
            let sent = send_lines(outbox, &form, &dead_letter, &identity, &lines, trace.as_deref());
            Ok(sent.map_err(|source| Error::Stream { topic: form.topic.name.clone(), source })?)
        })
    }

    /// Counts lines that were sent.
    pub fn sent(&mut self, sent: Sent, topic: &TopicName) {
        self.sent = self.sent.and(sent);
        (self.cursor.records, self.cursor.bad_lines) =
            (self.cursor.records + sent.records, self.cursor.bad_lines + sent.bad);
        if let Some(span) = &mut self.span {
            span.set_attribute("messaging.system", "kafka");
            span.set_attribute("messaging.destination.name", topic.as_str().to_owned());
            span.set_attribute("messaging.batch.message_count", sent.records.cast_signed());
            span.set_attribute("lakepulse.file", self.file.name.clone());
        }
    }

    /// Whether lines were sent that are not committed yet.
    pub fn is_under_way(&self) -> bool {
        self.span.is_some()
    }

    /// Notes that lines and cursor are committed.
    pub fn committed(&mut self) {
        self.span = None;
    }
}

/// A cursor as its record.
pub(super) fn record(topic: &TopicName, cursor: &FileCursor) -> CursorRecord {
    CursorRecord { key: cursor::key(topic, cursor).into_bytes(), value: Some(cursor::value(cursor)) }
}

/// The lines of one transaction.
pub(super) struct Part {
    pub lines: Vec<Line>,
    /// The place after the last line.
    pub end: Place,
    pub is_last: bool,
}

/// The next lines after number `skipped`.
pub(super) fn take<R: Read>(
    lines: &mut Lines<R>,
    skipped: u64,
    most_lines: usize,
    most_bytes: usize,
) -> std::io::Result<Part> {
    let (mut taken, mut bytes) = (Vec::new(), 0);
    while taken.len() < most_lines.max(1) && bytes < most_bytes.max(1) {
        match lines.next()? {
            None => return Ok(Part { lines: taken, end: lines.end(), is_last: true }),
            Some(piece) => {
                if let Some(line) = piece.line.filter(|line| line.number > skipped) {
                    bytes += line.raw.len();
                    taken.push(line);
                }
            }
        }
    }
    // A line without end is the last. The file may grow before the next transaction, so this one must end it.
    Ok(Part { lines: taken, end: lines.end(), is_last: lines.before_open().is_some() })
}

fn send_lines(
    outbox: &mut Outbox<'_>,
    form: &Form,
    dead_letter: &TopicName,
    identity: &str,
    lines: &[Line],
    trace: Option<&str>,
) -> stream::Result<()> {
    // Several topics may share a dead-letter topic, and two folders may contain the same file.
    let dead = format!("{}/{identity}", form.topic.name);
    for line in lines {
        let number = line.number.to_string();
        let place = [(header::FILE, identity.as_bytes()), (header::LINE, number.as_bytes())];
        // One record per transaction carries the trace context, as a sample of the others.
        let sampled =
            trace.filter(|_| outbox.sent().records == 0).map(|trace| (TRACEPARENT, trace.as_bytes()));
        let sampled = sampled.map(|header| [place[0], place[1], header]);
        let encoded = match &line.row {
            Ok(row) => form.encode(&line.raw, row),
            Err(bad) => Err(bad.clone()),
        };
        let reason = match encoded {
            Ok(record) => {
                let outgoing = Outgoing {
                    topic: &form.topic.name,
                    partition: record.partition,
                    key: record.key.as_deref(),
                    value: Some(&record.value),
                    headers: sampled.as_ref().map_or(&place[..], |headers| &headers[..]),
                    timestamp: None,
                };
                match outbox.send(outgoing) {
                    Ok(()) => continue,
                    // Too large for the broker, so it is treated as a bad line.
                    Err(error @ stream::Error::Unsendable { .. }) => error.to_string(),
                    Err(error) => return Err(error),
                }
            }
            Err(bad) => bad.to_string(),
        };
        outbox.dead_letter(&DeadLetter {
            topic: dead_letter,
            meant_for: &form.topic.name,
            key: identity.as_bytes(),
            place: &[(header::FILE, dead.as_bytes()), (header::LINE, number.as_bytes())],
            raw: &line.raw,
            length: line.cut_of.unwrap_or(line.raw.len() as u64),
            reason: &reason,
        })?;
    }
    Ok(())
}
