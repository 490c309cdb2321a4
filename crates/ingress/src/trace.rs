//! Trace context: taken from the client or made, and carried upstream, whether or not spans are exported.
//!
//! Source: W3C Trace Context, <https://www.w3.org/TR/trace-context/>. With an OpenTelemetry layer installed, spans take
//! part in the same trace and their ids are what goes upstream; without one, ids are made here.

use http::{HeaderMap, HeaderName, HeaderValue};
use meridian_host::Entropy;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Longest `tracestate` carried on; the standard asks for at least 512.
const MAX_STATE_BYTES: usize = 512;

/// Where a request stands in its trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    trace: u128,
    span: u64,
    flags: u8,
    state: Option<HeaderValue>,
}

impl TraceContext {
    /// The client's context, or the beginning of a new trace.
    pub(crate) fn of(headers: &HeaderMap, entropy: &dyn Entropy) -> Self {
        let sent = headers.get(TRACEPARENT).and_then(|value| Self::parse(value.as_bytes()));
        match sent {
            Some((trace, span, flags)) => {
                let state = headers.get(TRACESTATE).filter(|state| state.len() <= MAX_STATE_BYTES).cloned();
                Self { trace, span, flags, state }
            }
            None => {
                let trace = (u128::from(entropy.next_u64()) << 64 | u128::from(entropy.next_u64())).max(1);
                Self { trace, span: entropy.next_u64().max(1), flags: 0, state: None }
            }
        }
    }

    /// `00-<32 hex>-<16 hex>-<2 hex>`; later versions may have more behind it.
    fn parse(text: &[u8]) -> Option<(u128, u64, u8)> {
        let text = std::str::from_utf8(text).ok()?;
        let mut parts = text.splitn(5, '-');
        let mut hex = |length: usize| {
            let part = parts.next()?;
            let valid = part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            valid.then(|| u128::from_str_radix(part, 16).ok()).flatten()
        };
        let (version, trace, span, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
        let more = parts.next().is_some();
        let valid = version != 0xff && !(version == 0 && more) && trace != 0 && span != 0;
        valid.then_some((trace, u64::try_from(span).ok()?, u8::try_from(flags).ok()?))
    }

    /// Makes `span` a child of this context, if spans are exported.
    pub(crate) fn adopt(&self, span: &Span) {
        if span.is_disabled() {
            return;
        }
        let parent = SpanContext::new(
            TraceId::from_bytes(self.trace.to_be_bytes()),
            SpanId::from_bytes(self.span.to_be_bytes()),
            TraceFlags::new(self.flags),
            true,
            TraceState::default(),
        );
        // It fails only if nothing exports.
        let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(parent));
    }

    /// The headers to send upstream for `span`; `entropy` makes a span id if none is exported.
    #[must_use]
    pub fn outgoing(&self, span: &Span, entropy: &dyn Entropy) -> Vec<(HeaderName, HeaderValue)> {
        let context = span.context();
        let exported = context.span().span_context().clone();
        let text = if exported.is_valid() {
            format!("00-{}-{}-{:02x}", exported.trace_id(), exported.span_id(), exported.trace_flags().to_u8())
        } else {
            format!("00-{:032x}-{:016x}-{:02x}", self.trace, entropy.next_u64().max(1), self.flags)
        };
        let parent = HeaderValue::try_from(text).ok().map(|value| (TRACEPARENT, value));
        let state = self.state.clone().map(|value| (TRACESTATE, value));
        parent.into_iter().chain(state).collect()
    }
}

#[cfg(test)]
mod tests {
    use meridian_host::OsEntropy;

    use super::*;

    #[track_caller]
    fn check(sent: &str, kept: bool) {
        let headers = HeaderMap::from_iter([(TRACEPARENT, HeaderValue::from_str(sent).unwrap())]);
        let outgoing = TraceContext::of(&headers, &OsEntropy).outgoing(&Span::none(), &OsEntropy);
        let text = outgoing[0].1.to_str().unwrap();
        assert_eq!(text.len(), 55);
        assert_eq!(text[3..35] == sent[3..35.min(sent.len())], kept, "{sent} -> {text}");
        assert_ne!(&text[36..52], "00f067aa0ba902b7", "the span is a new one");
    }

    // Examples of the standard, section 3.2, and what it says is invalid.
    #[test]
    fn a_valid_parent_is_kept_and_anything_else_starts_a_new_trace() {
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true);
        check("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future", true);
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", false);
        check("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false);
        check("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false);
        check("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false);
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false);
        check("00-short", false);
    }

    #[test]
    fn with_an_exporter_the_upstream_is_a_child_of_our_own_span() {
        use opentelemetry::trace::TracerProvider;
        use tracing_subscriber::layer::SubscriberExt;

        let provider = opentelemetry_sdk::trace::SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let sent = HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
            let context = TraceContext::of(&HeaderMap::from_iter([(TRACEPARENT, sent)]), &OsEntropy);
            let request = tracing::info_span!("request");
            context.adopt(&request);
            let attempt = tracing::info_span!(parent: &request, "attempt");
            let outgoing = context.outgoing(&attempt, &OsEntropy);
            let own = attempt.context().span().span_context().span_id();
            assert_eq!(outgoing[0].1, format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{own}-01"));
        });
    }
}
