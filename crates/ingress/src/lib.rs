//! The HTTP surface: listens, keeps clients within limits, gives every request an id and a trace, and speaks the paths and
//! error bodies of OpenAI and of Anthropic. What a request means is behind [`Surface`]; this crate knows no models and no keys.

mod budget;
mod farewell;
mod guard;
mod limits;
mod metrics;
mod models;
mod reply;
mod request_id;
mod routes;
mod server;
mod stall;
mod status;
mod surface;
pub mod trace;
mod upload;

pub use budget::{Budget, Share};
pub use limits::Limits;
pub use reply::{Audience, Body, Refused, Reply, Retry};
pub use request_id::RequestId;
pub use server::{Callers, Options, Service};
pub use status::{Status, open_metrics};
pub use surface::{Call, ModelCard, Surface};
pub use trace::TraceContext;
pub use upload::Upload;
