//! OpenTelemetry traces, against a collector that decodes what it is sent.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use crate::harness::{Project, until};

/// Takes spans over HTTP for as long as the test runs.
struct Collector {
    address: String,
    spans: Arc<Mutex<Vec<Span>>>,
    services: Arc<Mutex<Vec<String>>>,
}
impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let collector = Self { address, spans: Arc::default(), services: Arc::default() };
        let (spans, services) = (Arc::clone(&collector.spans), Arc::clone(&collector.services));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let request = take(&stream);
                for resource in request.resource_spans {
                    let named = resource.resource.into_iter().flat_map(|r| r.attributes);
                    let named = named.filter(|a| a.key == "service.name").map(|a| format!("{:?}", a.value));
                    services.lock().expect("nobody panics with it").extend(named);
                    let new = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
                    spans.lock().expect("nobody panics with it").extend(new);
                }
            }
        });
        collector
    }
    fn spans(&self) -> Vec<Span> {
        self.spans.lock().expect("nobody panics with it").clone()
    }
    /// Spans of these names, each caused by the one before: its child, or linked to it.
    fn chain(&self, names: &[&str]) -> Option<Vec<Span>> {
        let spans = self.spans();
        let (first, rest) = names.split_first()?;
        let starts = spans.iter().filter(|span| span.name == *first);
        starts.into_iter().find_map(|start| behind(start, rest, &spans))
    }
}

fn behind(start: &Span, names: &[&str], spans: &[Span]) -> Option<Vec<Span>> {
    let Some((next, rest)) = names.split_first() else { return Some(vec![start.clone()]) };
    let linked = |span: &Span| span.links.iter().any(|link| link.span_id == start.span_id);
    let caused = |span: &&Span| span.name == *next && (span.parent_span_id == start.span_id || linked(span));
    let found = spans.iter().filter(caused).find_map(|span| behind(span, rest, spans))?;
    Some([vec![start.clone()], found].concat())
}

/// One request, answered.
fn take(mut stream: &TcpStream) -> ExportTraceServiceRequest {
    let mut lines = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while lines.read_line(&mut line).expect("a line") > 2 {
        if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse().expect("a number");
        }
        line.clear();
    }
    let mut body = vec![0; length];
    lines.read_exact(&mut body).expect("a body");
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").expect("answered");
    ExportTraceServiceRequest::decode(&*body).expect("protobuf")
}

/// Rows of bronze whose record had the header.
fn traced_rows(project: &Project) -> usize {
    let rows = project.query("SELECT * FROM bronze.readings");
    assert!(!rows.is_empty());
    rows.iter().filter(|row| row.to_string().contains("traceparent")).count()
}

/// A file of three readings.
fn drop_file(project: &Project, number: usize) {
    let at = |second: usize| format!("2026-01-01T00:{number:02}:{second:02}Z");
    let lines = format!("sensor_id,celsius,at\na,20.5,{}\nb,21.5,{}\na,{number}.5,{}\n", at(0), at(1), at(2));
    project.write(&format!("readings/{number}.csv"), &lines);
}

#[test]
fn one_trace_goes_from_lines_of_a_file_to_the_gold_topic() {
    let collector = Collector::start();
    let project = Project::empty();
    project.run(&["init"]).ok();
    let log = std::fs::File::create(project.dir.path().join("up.err")).expect("created");
    let mut up = project
        .command(&["up", "--plain"])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", collector.address))
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the binary starts");
    // A first fill is caused by whatever is there: what is about one file comes later.
    let filled =
        project.dir.path().join(format!(".lakepulse/lake/gold/sensor_summary/_delta_log/{:020}.json", 1));
    until("gold is filled", Duration::from_secs(120), || filled.exists());
    let chain = ["publish lines", "bronze commit", "silver commit", "gold commit", "publish version"];
    let (mut found, mut polls, mut files) = (None, 0, 0);
    until("spans of all kinds have come, each caused by the one before", Duration::from_secs(120), || {
        // A publisher that starts behind a version publishes the whole table, which has no one cause: then
        // the next file has.
        if polls % 200 == 0 {
            drop_file(&project, files);
            files += 1;
        }
        polls += 1;
        found = collector.chain(&chain);
        found.is_some()
    });
    let found = found.expect("found");
    let _ = up.kill();
    let _ = up.wait();
    let names: Vec<&str> = found.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, chain);
    for span in &found {
        assert_eq!(span.trace_id, found[0].trace_id, "{}", span.name);
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano, "{}", span.name);
    }
    let tables: Vec<String> = found[1..]
        .iter()
        .map(|span| {
            let table = span.attributes.iter().find(|a| a.key == "lakepulse.table");
            format!("{:?}", table.expect("its table").value)
        })
        .collect();
    for (said, table) in tables.iter().zip(["bronze.readings", "silver.readings", "gold.sensor_summary"]) {
        assert!(said.contains(table), "{said}");
    }
    let services = collector.services.lock().expect("nobody panics with it").clone();
    assert!(services.iter().all(|name| name.contains("lakepulse")) && !services.is_empty(), "{services:?}");
    let traced = traced_rows(&project);
    assert!(
        (1..=files).contains(&traced),
        "{traced} of {files} files: one record of a transaction is sampled"
    );
}

#[test]
fn without_a_collector_no_record_carries_a_trace() {
    let project = Project::empty();
    project.run(&["init"]).ok();
    drop_file(&project, 0);
    project.run(&["up", "--plain", "--until-drained"]).ok();
    assert_eq!(traced_rows(&project), 0);
}
