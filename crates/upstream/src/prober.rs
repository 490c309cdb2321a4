//! Asks whether someone answers, over a new connection each time: a pooled one would hide that new ones fail.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::Full;
use meridian_types::probe;
use tokio::time::timeout;

use crate::Transport;
use crate::transport::Pool;

/// Sends probes; cheap to clone.
#[derive(Clone)]
pub struct Prober {
    pool: Pool,
    deadline: Duration,
}

impl Prober {
    pub(crate) fn new(pool: Pool, deadline: Duration) -> Self {
        Self { pool, deadline }
    }

    /// `GET url`: the status and what the other one sees of the regions, or in a few words why there is no answer.
    ///
    /// # Errors
    /// When no head came within the deadline.
    pub async fn get(&self, url: Uri) -> Result<(StatusCode, Option<String>), String> {
        let mut request = Request::new(Full::new(Bytes::new()));
        *request.uri_mut() = url;
        request.headers_mut().insert(probe::ASKS, HeaderValue::from_static("1"));
        match timeout(self.deadline, self.pool.request(request)).await {
            Ok(Ok(answer)) => {
                let seen = answer.headers().get(probe::SEEN).and_then(|seen| seen.to_str().ok());
                Ok((answer.status(), seen.map(str::to_owned)))
            }
            Ok(Err(error)) if error.is_connect() => Err("cannot be connected to".to_owned()),
            Ok(Err(_)) => Err("broke off".to_owned()),
            Err(_) => Err(format!("silent for {} ms", self.deadline.as_millis())),
        }
    }
}

impl std::fmt::Debug for Prober {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prober").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl Transport {
    /// A prober whose probes take at most `deadline`.
    #[must_use]
    pub fn prober(&self, deadline: Duration) -> Prober {
        Prober::new(self.pool(self.connector(deadline), 0), deadline)
    }
}
