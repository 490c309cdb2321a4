//! An injected fault as the attempt meets it: as if the upstream did it, so that deadlines, classes and breakers see what
//! they would see of a real one.

use http::{HeaderMap, StatusCode};
use meridian_llm::Failure;
use meridian_providers::Provider as Codec;
use meridian_resilience::{Timeline, within};

use crate::faults::What;
use crate::source::late;

/// What an upstream would say. It reaches a client only with a status that is the client's affair, and then says whose.
const BODY: &[u8] = br#"{"type":"error","error":{"type":"injected_fault","code":"injected_fault","message":"an operator injected this fault"}}"#;

/// In place of the call, for faults that leave no call to be made.
pub(crate) async fn instead(what: What, codec: &dyn Codec, timeline: &mut Timeline) -> Result<(), Failure> {
    match what {
        What::Error(status) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Err(codec.classify(status, &HeaderMap::new(), BODY))
        }
        What::Hang => {
            timeline.connected();
            within(timeline.response_headers(), std::future::pending()).await.map_err(late)
        }
        What::Latency(_) | What::Cut(_) => Ok(()),
    }
}

/// After the answer's head came: holds it back for as long as the fault says.
pub(crate) async fn delay(what: What, timeline: &Timeline) -> Result<(), Failure> {
    let What::Latency(wait) = what else { return Ok(()) };
    within(timeline.response_headers(), tokio::time::sleep(wait)).await.map_err(late)
}

/// Events after which the connection breaks; `None`: it does not.
pub(crate) fn cut(what: Option<What>) -> Option<u32> {
    match what {
        Some(What::Cut(events)) => Some(events),
        _ => None,
    }
}
