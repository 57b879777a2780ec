//! Logs, and the trace that a change carries from the request to the last consumer.

use std::path::Path;

use opentelemetry::{propagation::TextMapPropagator, trace::TracerProvider};
use opentelemetry_sdk::{propagation::TraceContextPropagator, trace::SdkTracerProvider};
use thiserror::Error;
use tracing::Span;
use tracing_appender::{non_blocking::WorkerGuard, rolling};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::LevelFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

use crate::{
    config::{LogFormat, Telemetry},
    event::TraceContext,
};

#[derive(Debug, Error)]
pub enum TelemetryError {
    #[error("configuration: telemetry.log_filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    #[error("configuration: telemetry.log_directory: {0}")]
    Directory(#[from] std::io::Error),
    #[error("configuration: telemetry.log_directory: {0}")]
    File(#[from] rolling::InitError),
    #[error("logging was begun twice")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Keep it until the end of `main`: the last lines of the file are written when it is dropped.
#[must_use]
pub struct TelemetryGuard {
    _file: Option<WorkerGuard>,
    traces: SdkTracerProvider,
}

impl Drop for TelemetryGuard {
    fn drop(&mut self) {
        if let Err(error) = self.traces.shutdown() {
            tracing::debug!(error = one_line(&error), "the tracer did not shut down");
        }
    }
}

/// Begins logging to standard error and, where configured, to a file whose name begins with `file_name`.
pub fn init(settings: &Telemetry, file_name: &str) -> Result<TelemetryGuard, TelemetryError> {
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let mut outputs = vec![lines(settings, std::io::stderr, colours)?];
    let mut file = None;
    if !settings.log_directory.is_empty() {
        std::fs::create_dir_all(&settings.log_directory)?;
        let appender = rolling::Builder::new()
            .rotation(rolling::Rotation::DAILY)
            .filename_prefix(file_name)
            .latest_symlink(file_name)
            .max_log_files(14)
            .build(Path::new(&settings.log_directory))?;
        let (writer, guard) = tracing_appender::non_blocking(appender);
        outputs.push(lines(settings, writer, false)?);
        file = Some(guard);
    }
    // No exporter: the tracer gives every request its ids, which answers, logs and events carry.
    let traces = SdkTracerProvider::builder().build();
    tracing_subscriber::registry()
        .with(outputs)
        // Whatever is logged, every request has a trace.
        .with(tracing_opentelemetry::layer().with_tracer(traces.tracer("sluice")).with_filter(LevelFilter::INFO))
        .try_init()?;
    Ok(TelemetryGuard { _file: file, traces })
}

type Lines = Box<dyn Layer<Registry> + Send + Sync>;

fn lines<W>(settings: &Telemetry, writer: W, colours: bool) -> Result<Lines, TelemetryError>
where
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = fmt::layer().with_writer(writer).with_ansi(colours);
    let filter = EnvFilter::try_new(&settings.log_filter)?;
    Ok(match settings.log_format {
        LogFormat::Pretty => lines.with_filter(filter).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).with_filter(filter).boxed(),
    })
}

/// The context of a span, to be carried on.
#[must_use]
pub fn trace_context(span: &Span) -> TraceContext {
    let mut headers = std::collections::HashMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut headers);
    TraceContext::from_headers(headers.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

/// Makes a span a part of the trace that a client or an event brought. A malformed context is ignored.
pub fn continue_trace(span: &Span, context: &TraceContext) {
    let mut headers = std::collections::HashMap::new();
    headers.extend(context.traceparent.iter().map(|value| ("traceparent".to_owned(), value.clone())));
    headers.extend(context.tracestate.iter().map(|value| ("tracestate".to_owned(), value.clone())));
    // It fails only where no tracer listens, as in tests.
    let _ = span.set_parent(TraceContextPropagator::new().extract(&headers));
}

/// An error and its causes in one line. A cause that its error already tells is not repeated.
#[must_use]
pub fn one_line(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        cause = error.source();
    }
    line.replace('\n', " ")
}
