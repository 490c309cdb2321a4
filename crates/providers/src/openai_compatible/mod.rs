//! Any upstream that speaks OpenAI's chat completions: OpenAI itself, vLLM, Ollama, DeepSeek, and many more.
//!
//! Bytes of clients that speak the same pass through both ways. Only the model name, `stream_options` and the credential
//! change; each answer and each stream event is judged in one scan and forwarded as it came. For clients that speak
//! Anthropic's Messages, `translate` turns requests, answers and streams.

mod auth;
mod error;
mod request;
mod response;
mod stream;
mod translate;
mod wire;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use meridian_llm::{ClientError, ClientRequest, Failure};
use meridian_types::model::Prefill;

use crate::fused::Fused;
use crate::halves::Halves;
use crate::{AuthError, CallContext, Capabilities, ClientAnswer, Dialect, Provider, StreamTranslator, UpstreamRequest};

/// The `openai_compatible` provider.
pub(crate) struct OpenAiCompatible;

impl Provider for OpenAiCompatible {
    fn name(&self) -> &'static str {
        "openai_compatible"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            dialect: Dialect::OpenAi,
            many_choices: true,
            log_probabilities: true,
            json_object: true,
            json_schema: true,
            // The API's own models begin anew.
            prefill: Prefill::No,
        }
    }

    fn chat_request(&self, request: &ClientRequest, upstream_model: &str) -> Result<UpstreamRequest, ClientError> {
        request::build(request, upstream_model)
    }

    fn authorize(&self, headers: &mut HeaderMap, secret: &str) -> Result<(), AuthError> {
        auth::authorize(headers, secret)
    }

    fn chat_response(&self, context: &CallContext, body: &Bytes) -> Result<ClientAnswer, Failure> {
        match context.endpoint.dialect() {
            Dialect::OpenAi => response::pass_on(body),
            Dialect::Anthropic => translate::answer(context, body),
        }
    }

    fn stream(&self, context: CallContext) -> Box<dyn StreamTranslator> {
        match context.endpoint.dialect() {
            Dialect::OpenAi => Box::new(Fused::new(stream::Translator::new(context.include_usage))),
            Dialect::Anthropic => Box::new(Fused::new(Halves::new(translate::Translator::new(context)))),
        }
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
        error::classify(status, headers, body)
    }
}
