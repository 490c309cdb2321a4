//! Providers: upstream accounts.

use std::time::Duration;

use crate::{Jurisdiction, ModelName, ProviderName};

/// Requests that one node keeps in flight towards a provider, if nothing else is written: above it an account's own
/// rate limits act first.
pub const DEFAULT_MAX_IN_FLIGHT: u32 = 1000;

/// One upstream account or deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct Provider {
    /// Its name.
    pub name: ProviderName,
    /// Name of its codec; the codecs' registry says whether there is one.
    pub codec: String,
    /// Absolute URL, `http` or `https`, without query and without final slash.
    pub base_url: String,
    /// Where its credential is found; none: requests carry none.
    pub credential: Option<CredentialRef>,
    /// Where it processes data.
    pub jurisdiction: Jurisdiction,
    /// In-flight limit of one node.
    pub max_in_flight: u32,
    /// How long each step may take.
    pub deadlines: Deadlines,
    /// How it is probed; none: by default, and only while a target is left alone for failures.
    pub probe: Option<Probe>,
    /// By which name it is told the limit to an answer's tokens; none: by the client's, or the codec's.
    pub token_limit: Option<TokenLimit>,
}

/// The names that chat completions have for the limit to an answer's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenLimit {
    /// `max_completion_tokens`.
    MaxCompletionTokens,
    /// `max_tokens`, the older one.
    MaxTokens,
}

/// How a provider is asked for a sign of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// How often.
    pub interval: Duration,
    /// For what.
    pub kind: ProbeKind,
}

/// What a probe asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeKind {
    /// The list of models.
    Models,
    /// A connection, and no more.
    Connect,
    /// One token of this model, by the provider's name for it.
    Completion(ModelName),
}

/// How often a provider is probed, if nothing else is written.
pub const DEFAULT_PROBE_INTERVAL: Duration = Duration::from_secs(5);

static DEFAULT_PROBE: Probe = Probe { interval: DEFAULT_PROBE_INTERVAL, kind: ProbeKind::Models };

impl Provider {
    /// How it is probed, regularly or while that is needed.
    pub fn probe(&self) -> &Probe {
        self.probe.as_ref().unwrap_or(&DEFAULT_PROBE)
    }
}

/// Where a node finds a credential.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CredentialRef {
    /// An environment variable.
    Env(String),
    /// A file.
    File(String),
}

/// How long each step of one attempt may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// TCP and TLS.
    pub connect: Duration,
    /// From the request's end to the response's head.
    pub response_headers: Duration,
    /// From the request's end to the first event with content.
    pub first_token: Duration,
    /// Between two whole events of a stream, or two parts of a body.
    pub idle: Duration,
    /// The whole attempt.
    pub total: Duration,
    /// Bytes a second that an answer must bring once it has begun, averaged over `idle`; 0: any.
    pub min_bytes_per_s: u32,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            // A living server in another continent accepts within 1 s, one lost SYN included.
            connect: Duration::from_secs(2),
            // Long prompts are read before the head is sent; a client waits 600 s, so that some attempts fit.
            response_headers: Duration::from_secs(30),
            first_token: Duration::from_secs(30),
            // Thinking models pause, but providers send a ping at least every 15 s or so.
            idle: Duration::from_secs(30),
            // What the OpenAI and Anthropic SDKs wait by default.
            total: Duration::from_secs(600),
            // An event of 240 bytes every 15 s: slower than the slowest model that anyone waits for.
            min_bytes_per_s: 16,
        }
    }
}
