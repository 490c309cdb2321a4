//! Spans over OTLP (gRPC), <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.
//!
//! The exporter has a runtime of its own: on the process's runtime a flush at the end could wait for a worker that
//! waits for the flush. Spans wait in a bounded queue; when it is full they are dropped, never a request delayed.

use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider};
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata, Subscriber};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::registry::LookupSpan;

use crate::Options;

/// Tells the exporter where to send spans; the second is for traces alone and wins.
const ENDPOINT_VARIABLES: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
/// Spans of about 2 s at 1,000 requests a second, 4 spans each: a collector that is away for longer loses some.
const QUEUE: usize = 8192;
/// A span is seen this long after its end; a quarter of a second more does not matter to who looks, many sends do.
const SEND_INTERVAL: Duration = Duration::from_secs(1);
/// A collector that takes longer is not there.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// A process must not hang in its end because a collector does.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(3);

/// Why spans cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Its threads cannot be started.
    #[error("start the exporter's runtime")]
    Runtime(#[source] std::io::Error),
    /// A variable is not understood.
    #[error("build the OTLP exporter; check the OTEL_EXPORTER_OTLP_ variables")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
}

#[derive(Debug)]
pub(crate) struct Export {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    runtime: Option<tokio::runtime::Runtime>,
}

/// The export that the environment asks for, if it does.
pub(crate) fn from_environment(options: &Options) -> Result<Option<Export>, ExportError> {
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if ENDPOINT_VARIABLES.iter().any(is_set) { build(options, None).map(Some) } else { Ok(None) }
}

/// Lets our own spans through, also those that logs do not show.
pub(crate) fn own_spans() -> FilterFn {
    let own: fn(&Metadata<'_>) -> bool =
        |metadata| metadata.is_span() && metadata.target().starts_with("meridian") && *metadata.level() <= Level::DEBUG;
    FilterFn::new(own).with_max_level_hint(LevelFilter::DEBUG)
}

/// `endpoint` overrides the environment's.
fn build(options: &Options, endpoint: Option<&str>) -> Result<Export, ExportError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("meridian-otlp")
        .enable_all()
        .build()
        .map_err(ExportError::Runtime)?;
    let exporter = {
        // The channel's tasks live on the runtime that it is made in.
        let _inside = runtime.enter();
        let builder = SpanExporter::builder().with_tonic().with_timeout(SEND_TIMEOUT);
        let builder = match endpoint {
            Some(endpoint) => builder.with_endpoint(endpoint),
            None => builder,
        };
        builder.build().map_err(ExportError::Exporter)?
    };
    let config = BatchConfigBuilder::default().with_max_queue_size(QUEUE).with_scheduled_delay(SEND_INTERVAL).build();
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
    let provider = SdkTracerProvider::builder().with_span_processor(processor).with_resource(resource(options)).build();
    let scope = InstrumentationScope::builder("meridian").with_version(options.version.clone()).build();
    let tracer = provider.tracer_with_scope(scope);
    Ok(Export { provider, tracer, runtime: Some(runtime) })
}

fn resource(options: &Options) -> Resource {
    let builder = Resource::builder();
    // The builder reads the variable itself, but a name set here would win over it.
    let builder = match std::env::var_os("OTEL_SERVICE_NAME") {
        Some(_) => builder,
        None => builder.with_service_name(options.service.clone()),
    };
    builder
        .with_attribute(KeyValue::new("service.instance.id", options.instance.clone()))
        .with_attribute(KeyValue::new("service.version", options.version.clone()))
        .build()
}

impl Export {
    pub(crate) fn layer<S>(&self) -> OpenTelemetryLayer<S, SdkTracer>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        tracing_opentelemetry::layer().with_tracer(self.tracer.clone())
    }

    pub(crate) fn shutdown(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(SHUTDOWN_LIMIT) {
            tracing::warn!(%error, "the last spans could not be exported");
        }
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        // Dropping a runtime waits for its tasks, and panics inside another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
    use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
    use tokio::sync::mpsc;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    struct Collector(mpsc::UnboundedSender<ExportTraceServiceRequest>);

    #[tonic::async_trait]
    impl TraceService for Collector {
        async fn export(
            &self,
            request: tonic::Request<ExportTraceServiceRequest>,
        ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
            self.0.send(request.into_inner()).ok();
            Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
        }
    }

    fn options() -> Options {
        Options { service: "meridian-test".into(), instance: "n1".into(), version: "1".into(), ..Options::default() }
    }

    #[test]
    fn spans_reach_a_collector_before_shutdown_returns() {
        let collectors = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (sender, mut received) = mpsc::unbounded_channel();
        let address: SocketAddr = collectors.block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
            let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(Collector(sender)));
            tokio::spawn(server.serve_with_incoming(incoming));
            address
        });
        let export = build(&options(), Some(&format!("http://{address}"))).unwrap();
        let layers = crate::layers(&options(), Some(&export)).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layers), || {
            let _outer = tracing::info_span!("outer").entered();
            tracing::debug_span!("inner").in_scope(|| tracing::debug!("this is not logged"));
        });
        export.shutdown();
        let mut names = Vec::new();
        let mut traces = std::collections::BTreeSet::new();
        while let Ok(request) = received.try_recv() {
            for spans in request.resource_spans {
                let attributes = spans.resource.unwrap().attributes;
                assert!(attributes.iter().any(|attribute| attribute.key == "service.name"), "{attributes:?}");
                for span in spans.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                    assert!(span.events.is_empty(), "{span:?}");
                    names.push(span.name);
                    traces.insert(span.trace_id);
                }
            }
        }
        names.sort();
        assert_eq!((names, traces.len()), (vec!["inner".to_owned(), "outer".to_owned()], 1));
    }

    #[test]
    fn a_collector_that_is_away_does_not_hold_the_end_up() {
        // Port 9 (discard) of a loopback address that nothing listens on.
        let export = build(&options(), Some("http://127.9.9.9:9")).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(export.layer()), || {
            tracing::info_span!("lost").in_scope(|| {});
        });
        let started = tokio::time::Instant::now();
        export.shutdown();
        assert!(started.elapsed() < SHUTDOWN_LIMIT + Duration::from_secs(2));
    }
}
