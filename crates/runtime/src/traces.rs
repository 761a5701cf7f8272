//! OpenTelemetry traces: one span per batch or commit, never one per record.
//!
//! Off unless the environment names a collector, by OpenTelemetry's own variables
//! (`OTEL_EXPORTER_OTLP_ENDPOINT`; `OTEL_SDK_DISABLED=true` wins). When on, a thread of its own sends spans as
//! protobuf over HTTP; it drops spans rather than block work. When off, a [`Span`] is empty and costs one
//! branch.
//!
//! A trace goes from record to commit to commit as a [`Cause`]: W3C's `traceparent`, in the header of a record
//! that a source sampled, in the commit info of each table, and in the headers of published records. A commit
//! has many causes: the first is the parent of its span, the others are links.

use std::fmt;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags,
    TraceId, TraceState, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

/// Name of the header, and of the key in a commit's info.
pub const TRACEPARENT: &str = "traceparent";

/// The most causes that one span refers to.
pub const MAX_CAUSES: usize = 16;

/// How long the last spans may take to be sent when a process ends.
const LAST_CALL: Duration = Duration::from_secs(2);

/// Makes spans, or none. Clones share the exporter.
#[derive(Clone, Default)]
pub struct Traces(Option<On>);

#[derive(Clone)]
struct On {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_on() { "Traces(on)" } else { "Traces(off)" })
    }
}

/// The environment asks for traces that cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("cannot send traces: correct `OTEL_EXPORTER_OTLP_…` of the environment, or take it away")]
pub struct CannotTrace {
    source: ExporterBuildError,
}

impl Traces {
    /// Reads the environment. The service is called `lakepulse` unless `OTEL_SERVICE_NAME` is set.
    pub fn from_environment() -> Result<Self, CannotTrace> {
        let said = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let asked = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
        let disabled = said("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if disabled || !asked.into_iter().any(|name| said(name).is_some()) {
            return Ok(Self::default());
        }
        // The exporter has a thread and a client of its own: it never runs on the async runtime.
        let exporter = SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary).build();
        let exporter = exporter.map_err(|source| CannotTrace { source })?;
        let mut resource = Resource::builder();
        if said("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name("lakepulse");
        }
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build())
            .build();
        let tracer = provider.tracer("lakepulse");
        Ok(Self(Some(On { provider, tracer })))
    }

    /// Whether spans are recorded, so that causes are worth collecting.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// A span that begins now and ends when it is dropped.
    pub fn span(&self, name: &'static str, role: Role, causes: &[Cause]) -> Span {
        self.begin().span(name, role, causes)
    }

    /// Remembers when something began whose causes are not known yet.
    #[allow(
        clippy::disallowed_methods,
        reason = "collectors put spans of several machines beside each other"
    )]
    pub fn begin(&self) -> Begun<'_> {
        Begun(self.0.as_ref().map(|on| (&on.tracer, SystemTime::now())))
    }

    /// Sends the remaining spans, and waits only briefly.
    pub async fn shut_down(&self) {
        let Some(On { provider, .. }) = self.0.clone() else { return };
        let ended = crate::cpu::run(move || provider.shutdown_with_timeout(LAST_CALL)).await;
        if let Err(error) = ended {
            tracing::warn!(%error, "the last spans did not leave");
        }
    }
}

/// Something that began before its causes were known.
pub struct Begun<'a>(Option<(&'a SdkTracer, SystemTime)>);
impl Begun<'_> {
    /// Its span, now that its causes are known. The span ends when it is dropped.
    pub fn span(self, name: &'static str, role: Role, causes: &[Cause]) -> Span {
        let Some((tracer, started)) = self.0 else { return Span(None) };
        let kind = match role {
            Role::Reads => SpanKind::Consumer,
            Role::Writes => SpanKind::Internal,
            Role::Publishes => SpanKind::Producer,
        };
        let mut links = causes.iter().take(MAX_CAUSES).map(|cause| cause.0.clone());
        let parent = match links.next() {
            Some(first) => Context::new().with_remote_span_context(first),
            None => Context::new(),
        };
        let links = links.map(Link::with_context).collect();
        let span = SpanBuilder::from_name(name).with_kind(kind).with_links(links).with_start_time(started);
        Span(Some(span.start_with_context(tracer, &parent)))
    }
}

/// How a span relates to Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reads records.
    Reads,
    /// Reads and writes tables.
    Writes,
    /// Publishes records.
    Publishes,
}

/// An operation that takes time. It ends when it is dropped.
pub struct Span(Option<opentelemetry_sdk::trace::Span>);
impl Span {
    /// Sets an attribute.
    pub fn set_attribute(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(name, value));
        }
    }
    /// Marks the operation as failed.
    pub fn failed(&mut self, why: &dyn fmt::Display) {
        if let Some(span) = &mut self.0 {
            span.set_status(Status::error(why.to_string()));
        }
    }
    /// The reference by which later spans name this one as their cause.
    pub fn cause(&self) -> Option<Cause> {
        self.0.as_ref().map(|span| Cause(span.span_context().clone()))
    }
}

/// A reference to a span, possibly of another process: W3C's `traceparent`.
#[derive(Debug, Clone, PartialEq)]
pub struct Cause(SpanContext);
impl Cause {
    /// Parses `00-<trace>-<span>-<flags>`. Returns `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut hex = |length: usize| {
            parts.next().filter(|part| part.len() == length && part.bytes().all(|b| b.is_ascii_hexdigit()))
        };
        let (version, trace, span, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
        // A later version may have more parts; version 00 has none.
        if version == "ff" || (version == "00" && parts.next().is_some()) {
            return None;
        }
        let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
        let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
        let context = SpanContext::new(trace, span, flags, true, TraceState::NONE);
        context.is_valid().then_some(Self(context))
    }
    /// Parses the bytes of a header.
    pub fn of_header(value: &[u8]) -> Option<Self> {
        std::str::from_utf8(value).ok().and_then(Self::parse)
    }
    /// Adds this cause to `causes` unless it is there or `causes` is full.
    pub fn add_to(self, causes: &mut Vec<Self>) {
        if causes.len() < MAX_CAUSES && !causes.contains(&self) {
            causes.push(self);
        }
    }
}
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span) = (self.0.trace_id(), self.0.span_id());
        write!(f, "00-{trace}-{span}-{:02x}", self.0.trace_flags().to_u8())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_read_is_written() {
        assert_eq!(Cause::parse(TEXT).map(|cause| cause.to_string()).as_deref(), Some(TEXT));
        let later = TEXT.replacen("00", "cc", 1) + "-what-comes";
        assert_eq!(Cause::parse(&later).map(|cause| cause.to_string()).as_deref(), Some(TEXT));
    }

    #[test]
    fn what_is_no_traceparent_is_no_cause() {
        let zero = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        for text in ["", "00", zero, &TEXT[1..], &format!("{TEXT}-00"), &TEXT.replacen("00", "ff", 1)] {
            assert_eq!(Cause::parse(text), None, "{text}");
        }
        assert_eq!(Cause::of_header(b"\xff"), None);
    }

    #[test]
    fn causes_are_few_and_different() {
        let mut causes = Vec::new();
        for at in (0..MAX_CAUSES + 5).chain(0..3) {
            let text = format!("00-0af7651916cd43dd8448eb211c80319c-{:016x}-01", at + 1);
            Cause::parse(&text).expect("a traceparent").add_to(&mut causes);
        }
        assert_eq!(causes.len(), MAX_CAUSES);
    }

    #[test]
    fn no_collector_no_span() {
        let traces = Traces::default();
        let mut span = traces.span("bronze commit", Role::Reads, &[]);
        span.set_attribute("rows", 1);
        assert!(!traces.is_on() && span.cause().is_none());
    }
}
