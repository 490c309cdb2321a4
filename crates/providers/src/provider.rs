//! What a provider is: a codec for one wire dialect.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use meridian_llm::{ClientError, ClientRequest, Dialect, Failure};
use meridian_sse::Event;
use meridian_types::model::Prefill;

use crate::{CallContext, ClientAnswer, Step, UpstreamRequest};

/// What a provider's dialect can carry. Single models may do less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// What it speaks. The bytes of clients that speak the same pass through, so that parameters unknown to the gateway
    /// arrive; for the others requests, answers and streams are translated.
    pub dialect: Dialect,
    /// More than one answer a request (`n`).
    pub many_choices: bool,
    /// Log probabilities.
    pub log_probabilities: bool,
    /// `response_format: json_object`.
    pub json_object: bool,
    /// `response_format: json_schema`.
    pub json_schema: bool,
    /// How it is told to go on with an answer that has begun, where the configuration does not say.
    pub prefill: Prefill,
}

/// A credential cannot be put into a header. Holds nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthError;

impl std::fmt::Display for AuthError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the credential holds characters that no header may carry")
    }
}

impl std::error::Error for AuthError {}

/// A codec for one kind of upstream. Stateless: what belongs to a call is in its arguments.
pub trait Provider: Send + Sync + 'static {
    /// The kind, as written in configuration.
    fn name(&self) -> &'static str;

    /// What the dialect can carry.
    fn capabilities(&self) -> Capabilities;

    /// A cheap request that tells life and checks the credential.
    fn probe_request(&self) -> UpstreamRequest {
        UpstreamRequest::get("/models")
    }

    /// The request to send for a client's, whichever dialect that speaks.
    ///
    /// # Errors
    /// When this upstream cannot honour the request: the client's fault, or (with
    /// [`meridian_llm::ErrorCode::UnsupportedParameter`]) one that a target of another kind may not have.
    fn chat_request(&self, request: &ClientRequest, upstream_model: &str) -> Result<UpstreamRequest, ClientError>;

    /// Adds the credential. Header values are marked sensitive.
    ///
    /// # Errors
    /// When the secret cannot be a header value.
    fn authorize(&self, headers: &mut HeaderMap, secret: &str) -> Result<(), AuthError>;

    /// Translates a whole answer that came with a 2xx status.
    ///
    /// # Errors
    /// When the body is not what the dialect promises, or holds an error inside the 2xx.
    fn chat_response(&self, context: &CallContext, body: &Bytes) -> Result<ClientAnswer, Failure>;

    /// A translator for one streamed answer that came with a 2xx status.
    fn stream(&self, context: CallContext) -> Box<dyn StreamTranslator>;

    /// What a status outside 2xx means. `body` is what could be read of it within the caller's limit.
    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure;
}

/// The state machine of one streamed answer.
///
/// After a step that is `done` all further steps are empty; after an error every further call gives that error.
pub trait StreamTranslator: Send {
    /// Takes one upstream event and says what it means for the client.
    ///
    /// # Errors
    /// When the event is malformed or is an error of the upstream. Nothing of it is to reach the client; if content
    /// already has, the stream ends with an in-band error.
    fn event(&mut self, event: Event) -> Result<Step, Failure>;

    /// The upstream's body ended cleanly. Gives what is left to write (an end mark the upstream left out).
    ///
    /// # Errors
    /// When the answer was not complete: it must not pass for one.
    fn end(&mut self) -> Result<Step, Failure>;
}
