//! Anthropic's Messages API. Clients that speak it have their bytes passed through; for those that speak OpenAI's chat
//! completions requests, answers and streams are translated.
//!
//! Source: Anthropic API reference, "Messages" and "Streaming messages", <https://platform.claude.com/docs/en/api/messages>,
//! and the types of anthropic-python 2.12.

mod auth;
mod error;
mod pass_through;
mod request;
mod response;
mod stream;
mod turns;
mod wire;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use meridian_llm::{ClientError, ClientRequest, Failure};
use meridian_types::model::Prefill;

use crate::fused::Fused;
use crate::halves::Halves;
use crate::{AuthError, CallContext, Capabilities, ClientAnswer, Dialect, Provider, StreamTranslator, UpstreamRequest};

/// The `anthropic` provider.
pub(crate) struct Anthropic;

impl Provider for Anthropic {
    fn name(&self) -> &'static str {
        "anthropic"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            dialect: Dialect::Anthropic,
            many_choices: false,
            log_probabilities: false,
            json_object: false,
            json_schema: true,
            // Not every model of the API does; those that do not refuse it.
            prefill: Prefill::LastMessage,
        }
    }

    fn probe_request(&self) -> UpstreamRequest {
        UpstreamRequest { headers: request::headers(false), ..UpstreamRequest::get("/models") }
    }

    fn chat_request(&self, request: &ClientRequest, upstream_model: &str) -> Result<UpstreamRequest, ClientError> {
        request::build(request, upstream_model)
    }

    fn authorize(&self, headers: &mut HeaderMap, secret: &str) -> Result<(), AuthError> {
        auth::authorize(headers, secret)
    }

    fn chat_response(&self, context: &CallContext, body: &Bytes) -> Result<ClientAnswer, Failure> {
        match context.endpoint.dialect() {
            Dialect::Anthropic => pass_through::answer(context.endpoint, body),
            Dialect::OpenAi => response::translate(context, body),
        }
    }

    fn stream(&self, context: CallContext) -> Box<dyn StreamTranslator> {
        match context.endpoint.dialect() {
            Dialect::Anthropic => Box::new(Fused::new(pass_through::Forwarder::default())),
            Dialect::OpenAi => Box::new(Fused::new(Halves::new(stream::Translator::new(context)))),
        }
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
        error::classify(status, headers, body)
    }
}
