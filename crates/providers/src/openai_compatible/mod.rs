//! Any upstream that speaks OpenAI's chat completions: OpenAI itself, vLLM, Ollama, DeepSeek, and many more.
//!
//! Bytes pass through both ways. Only the model name, `stream_options` and the credential change; each answer and each
//! stream event is judged in one scan and forwarded as it came.

mod auth;
mod error;
mod request;
mod response;
mod stream;
mod wire;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use meridian_llm::openai::ChatRequestBody;
use meridian_llm::{ClientError, Failure};

use crate::fused::Fused;
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
            pass_through: true,
            many_choices: true,
            log_probabilities: true,
            json_object: true,
            json_schema: true,
        }
    }

    fn chat_request(&self, request: &ChatRequestBody, upstream_model: &str) -> Result<UpstreamRequest, ClientError> {
        Ok(request::build(request, upstream_model))
    }

    fn authorize(&self, headers: &mut HeaderMap, secret: &str) -> Result<(), AuthError> {
        auth::authorize(headers, secret)
    }

    fn chat_response(&self, _: &CallContext, body: &Bytes) -> Result<ClientAnswer, Failure> {
        response::translate(body)
    }

    fn stream(&self, context: CallContext) -> Box<dyn StreamTranslator> {
        Box::new(Fused::new(stream::Translator::new(context.include_usage)))
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
        error::classify(status, headers, body)
    }
}
