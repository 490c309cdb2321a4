//! The closed list of error codes, with its one table to HTTP, gRPC and the clients' dialects.

/// What went wrong, for programs. Texts may change, these do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorCode {
    /// The request cannot be read or breaks a rule.
    InvalidRequest,
    /// A field has a value that is not allowed.
    InvalidField,
    /// A required field is missing.
    MissingField,
    /// The field is right in itself, but no target of the model can honour it.
    UnsupportedParameter,
    /// The body's media type is not one that is read here.
    UnsupportedMediaType,
    /// Two things share one name.
    Duplicate,
    /// A name refers to something that does not exist.
    UnknownReference,
    /// Something cannot be removed while others refer to it.
    InUse,
    /// A secret was written where only a reference may stand.
    LiteralSecret,
    /// No key, or one that is unknown, expired or revoked.
    InvalidApiKey,
    /// The key's tenant may not do this.
    PermissionDenied,
    /// Residency rules leave no place where the request may go.
    ResidencyRefused,
    /// There is no such model.
    ModelNotFound,
    /// There is no such path or resource.
    NotFound,
    /// The method is not allowed on the path.
    MethodNotAllowed,
    /// The body or the headers are larger than allowed.
    TooLarge,
    /// The client sends or takes too slowly.
    ClientTimeout,
    /// The node holds as many requests as it may.
    Overloaded,
    /// The node is stopping.
    Draining,
    /// Every upstream asked us to slow down: the account sends more than it may.
    RateLimited,
    /// Every upstream has more to do than it can, whoever asks.
    UpstreamOverloaded,
    /// No upstream can serve now.
    UpstreamUnavailable,
    /// Our credential for the upstream is refused: not the client's fault.
    UpstreamCredentials,
    /// The upstream did not answer in time.
    UpstreamTimeout,
    /// The upstream answered that it failed: a 5xx, or an error inside its answer.
    UpstreamError,
    /// The upstream answered something that is no answer: what its protocol does not allow.
    UpstreamInvalid,
    /// The upstream's stream ended before its answer did.
    UpstreamInterrupted,
    /// The upstream refused the content.
    ContentRefused,
    /// The prompt is longer than the model takes.
    ContextLengthExceeded,
    /// What the write was decided on has changed.
    Conflict,
    /// The store cannot be written now.
    ReadOnly,
    /// A mistake of ours.
    Internal,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The code as text: OpenAI's `code` where OpenAI has one.
    pub text: &'static str,
    /// HTTP status.
    pub http: u16,
    /// OpenAI's error `type` (<https://platform.openai.com/docs/guides/error-codes>).
    pub openai_type: &'static str,
    /// Anthropic's error `type` (<https://docs.anthropic.com/en/api/errors>).
    pub anthropic_type: &'static str,
    /// gRPC status code (<https://grpc.io/docs/guides/status-codes/>).
    pub grpc: i32,
}

impl ErrorCode {
    /// The code's row.
    pub fn row(self) -> Row {
        const fn row(text: &'static str, http: u16, openai: &'static str, anthropic: &'static str, grpc: i32) -> Row {
            Row { text, http, openai_type: openai, anthropic_type: anthropic, grpc }
        }
        const INVALID: &str = "invalid_request_error";
        match self {
            Self::InvalidRequest => row("invalid_request", 400, INVALID, INVALID, 3),
            Self::InvalidField => row("invalid_field", 400, INVALID, INVALID, 3),
            Self::MissingField => row("missing_field", 400, INVALID, INVALID, 3),
            Self::UnsupportedParameter => row("unsupported_parameter", 400, INVALID, INVALID, 3),
            Self::UnsupportedMediaType => row("unsupported_media_type", 415, INVALID, INVALID, 3),
            Self::Duplicate => row("duplicate", 400, INVALID, INVALID, 3),
            Self::UnknownReference => row("unknown_reference", 400, INVALID, INVALID, 3),
            Self::InUse => row("in_use", 400, INVALID, INVALID, 9),
            Self::LiteralSecret => row("literal_secret", 400, INVALID, INVALID, 3),
            Self::InvalidApiKey => row("invalid_api_key", 401, INVALID, "authentication_error", 16),
            Self::PermissionDenied => row("permission_denied", 403, "permission_error", "permission_error", 7),
            Self::ResidencyRefused => row("residency_refused", 403, "permission_error", "permission_error", 7),
            Self::ModelNotFound => row("model_not_found", 404, INVALID, "not_found_error", 5),
            Self::NotFound => row("not_found", 404, INVALID, "not_found_error", 5),
            Self::MethodNotAllowed => row("method_not_allowed", 405, INVALID, INVALID, 12),
            Self::TooLarge => row("request_too_large", 413, INVALID, "request_too_large", 8),
            Self::ClientTimeout => row("request_timeout", 408, INVALID, INVALID, 4),
            Self::Overloaded => row("overloaded", 503, "overloaded_error", "overloaded_error", 8),
            Self::Draining => row("draining", 503, "overloaded_error", "overloaded_error", 14),
            Self::RateLimited => row("rate_limit_exceeded", 429, "rate_limit_error", "rate_limit_error", 8),
            Self::UpstreamOverloaded => row("upstream_overloaded", 503, "overloaded_error", "overloaded_error", 14),
            Self::UpstreamUnavailable => row("upstream_unavailable", 503, "api_error", "api_error", 14),
            Self::UpstreamCredentials => row("upstream_credentials_exhausted", 502, "api_error", "api_error", 14),
            Self::UpstreamTimeout => row("upstream_timeout", 504, "api_error", "timeout_error", 4),
            Self::UpstreamError => row("upstream_error", 502, "api_error", "api_error", 14),
            Self::UpstreamInvalid => row("upstream_invalid_response", 502, "api_error", "api_error", 14),
            Self::UpstreamInterrupted => row("upstream_interrupted", 502, "api_error", "api_error", 14),
            Self::ContentRefused => row("content_filter", 400, INVALID, INVALID, 9),
            Self::ContextLengthExceeded => row("context_length_exceeded", 400, INVALID, INVALID, 3),
            Self::Conflict => row("conflict", 409, INVALID, INVALID, 10),
            Self::ReadOnly => row("read_only", 503, "api_error", "api_error", 14),
            Self::Internal => row("internal", 500, "api_error", "api_error", 13),
        }
    }

    /// The code as text.
    pub fn as_str(self) -> &'static str {
        self.row().text
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
