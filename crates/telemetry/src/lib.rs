//! Logs, trace export, and the metrics registry of a process.
//!
//! Libraries use the macros of `tracing` and register their metrics in the registry that they are given; what becomes of
//! both is decided here, once, by the binary. Logs go to standard error. Spans are exported over OTLP if the standard
//! variable `OTEL_EXPORTER_OTLP_ENDPOINT` (or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`) is set.

mod export;
mod logs;
mod metrics;

pub use export::ExportError;
pub use logs::{Format, FormatError};
pub use metrics::registry;

use tracing_subscriber::filter::FilterExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// What is logged if nothing else is said: our own news, and of others only what is odd.
const DEFAULT_FILTER: &str = "info,h2=warn,hyper=warn,hyper_util=warn,tonic=warn,tower=warn,opentelemetry=warn,\
                              opentelemetry_sdk=warn,opentelemetry_otlp=warn,rustls=warn";

/// How a process tells what it does.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which process, for example `meridian-node`: the traces' `service.name` unless `OTEL_SERVICE_NAME` is set.
    pub service: String,
    /// Name of the instance, for example the node's.
    pub instance: String,
    /// Its version.
    pub version: String,
    /// A filter as in `RUST_LOG`, for example `info,meridian_dns=debug`; `None`: the default.
    pub filter: Option<String>,
    /// How lines look.
    pub format: Format,
    /// Whether lines carry colours.
    pub colour: bool,
}

/// Why telemetry cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter is not understood.
    #[error("log filter {filter:?} is not understood; write for example info,meridian_dns=debug")]
    Filter {
        /// As given.
        filter: String,
        /// Why.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Traces cannot be exported.
    #[error("set up trace export")]
    Export(#[from] ExportError),
    /// Another subscriber was there first.
    #[error("telemetry is set up already")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Keeps the export alive; [`Telemetry::shutdown`] it last of all.
#[derive(Debug)]
#[must_use = "spans are exported as long as this lives"]
pub struct Telemetry {
    export: Option<export::Export>,
}

impl Telemetry {
    /// Whether spans leave the process.
    pub fn exports(&self) -> bool {
        self.export.is_some()
    }

    /// Sends what is still queued, for at most 3 s. Blocks: call it when the runtime has ended.
    pub fn shutdown(self) {
        if let Some(export) = self.export {
            export.shutdown();
        }
    }
}

/// Sets up logs and export for the whole process. Call it once, outside of any runtime.
///
/// # Errors
/// The filter or an OTLP variable is not understood, or something else has set up telemetry before.
pub fn init(options: &Options) -> Result<Telemetry, Error> {
    let export = export::from_environment(options)?;
    let layers = layers(options, export.as_ref())?;
    tracing_subscriber::registry().with(layers).try_init().map_err(Error::Twice)?;
    Ok(Telemetry { export })
}

type Layers = Vec<Box<dyn Layer<Registry> + Send + Sync>>;

/// A list, and each with its own filter: beside a layer that may be missing, filters would be asked each time, and not
/// once for each place in the code.
fn layers(options: &Options, export: Option<&export::Export>) -> Result<Layers, Error> {
    let text = options.filter.as_deref().unwrap_or(DEFAULT_FILTER);
    let filter = || EnvFilter::try_new(text).map_err(|source| Error::Filter { filter: text.to_owned(), source });
    let mut layers = vec![logs::layer(options.format, options.colour).with_filter(filter()?).boxed()];
    if let Some(export) = export {
        layers.push(export.layer().with_filter(filter()?.or(export::own_spans())).boxed());
    }
    Ok(layers)
}

#[cfg(test)]
mod tests {
    use tracing::Subscriber;
    use tracing::level_filters::LevelFilter;

    use super::*;

    #[test]
    fn what_is_not_logged_is_off_at_its_place_in_the_code() {
        let subscriber = tracing_subscriber::registry().with(layers(&Options::default(), None).unwrap());
        assert_eq!(subscriber.max_level_hint(), Some(LevelFilter::INFO));
        tracing::subscriber::with_default(subscriber, || {
            assert!(tracing::debug_span!("request").is_disabled());
            assert!(!tracing::info_span!("start").is_disabled());
        });
    }
}
