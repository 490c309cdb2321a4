//! Provider codecs: what to send upstream, what its answers mean, how to classify its errors. No sockets.
//!
//! One trait, one registry. Bytes and headers go in, bytes and typed judgements come out; sending, retrying and timing
//! belong to others. A new provider is a directory here, one line in [`registry`], and its fixtures.

mod anthropic;
mod call;
mod fused;
mod halves;
mod openai_compatible;
mod prefill;
mod probe;
mod provider;
mod registry;
mod retry_after;
mod status;
mod token_limit;

pub use call::{CallContext, ClientAnswer, Step, UpstreamRequest};
pub use meridian_llm::Dialect;
pub use prefill::{can_continue, continue_request};
pub use probe::{completion_came, completion_probe};
pub use provider::{AuthError, Capabilities, Provider, StreamTranslator};
pub use registry::{find, names, registry};
pub use token_limit::name_token_limit;
