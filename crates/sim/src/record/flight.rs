//! A request under way. Its end is recorded exactly once, whichever way it ends: dropped before the end is "the client left".

use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::{Outcome, Recorder};

/// Held by whatever works on the request at the moment.
#[derive(Debug)]
pub(crate) struct Flight {
    recorder: Arc<Recorder>,
    id: u64,
    client: IpAddr,
    since: Instant,
    model: Option<String>,
    sent_bytes: u64,
    outcome: Outcome,
}

impl Flight {
    pub(super) fn new(recorder: Arc<Recorder>, id: u64, client: IpAddr, since: Instant) -> Self {
        Self { recorder, id, client, since, model: None, sent_bytes: 0, outcome: Outcome::Cancelled }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The body has been read.
    pub(crate) fn body(&self, body: &[u8]) {
        let fits = body.len() <= self.recorder.body_bytes();
        let json = if fits { serde_json::from_slice(body).ok() } else { None };
        self.recorder.update(self.id, |seen| {
            seen.body_bytes = body.len() as u64;
            seen.body_truncated = !fits;
            seen.body = json;
        });
    }

    /// The model is known.
    pub(crate) fn model(&mut self, model: &str, stream: bool) {
        self.model = Some(model.to_owned());
        self.recorder.count(|stats| stats.model(model));
        self.recorder.update(self.id, |seen| {
            seen.model = Some(model.to_owned());
            seen.stream = Some(stream);
        });
    }

    /// Faults apply.
    pub(crate) fn faults(&self, faults: Vec<String>) {
        if faults.is_empty() {
            return;
        }
        self.recorder.count(|stats| stats.faulty(self.client, self.model.as_deref()));
        self.recorder.update(self.id, |seen| seen.faults = faults);
    }

    /// The head of the answer was made.
    pub(crate) fn status(&self, status: http::StatusCode) {
        self.recorder.update(self.id, |seen| seen.status = Some(status.as_u16()));
    }

    /// Bytes of the answer were handed over.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.sent_bytes += bytes as u64;
    }

    /// From now on its end counts as this. Set when the last byte is handed over or the connection is broken.
    pub(crate) fn ends_as(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let duration_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.recorder.count(|stats| stats.end(self.client, self.model.as_deref(), self.outcome));
        self.recorder.update(self.id, |seen| {
            seen.outcome = self.outcome;
            seen.sent_bytes = self.sent_bytes;
            seen.duration_ms = Some(duration_ms);
        });
    }
}
