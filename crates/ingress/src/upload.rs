//! A request's body: read within size, time and the shared budget.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, EXPECT};
use http_body::Body as _;
use http_body_util::BodyExt;
use meridian_types::ErrorCode;
use tokio::time::{Instant, timeout_at};

use crate::{Budget, Limits, Refused, Retry};

/// First allocation for a body whose length is known; more comes as bytes come, so that a lie costs nothing.
const FIRST_ALLOCATION: usize = 64 * 1024;

/// So much of a body, or its end, must come within `body_gap` each time: 0.8 KiB/s, less than any network of today gives.
/// Whoever sends less holds what came before for nothing.
const LEAST_PROGRESS: usize = 16 * 1024;

/// What is read of a body that is refused, so that its sender gets to see the answer: closing a connection with unread
/// bytes resets it.
const LINGER_BYTES: usize = 64 * 1024 * 1024;
const LINGER: std::time::Duration = std::time::Duration::from_secs(3);

/// A body that is still to be read. Dropped before, it is read on for a moment and thrown away.
#[derive(Debug)]
pub struct Upload {
    body: axum::body::Body,
    /// The client waits for our word before it sends (RFC 9110, section 10.1.1): without it nothing comes.
    waits: bool,
    declared: Option<usize>,
    limits: Limits,
    budget: Budget,
}

impl Upload {
    pub(crate) fn new(headers: &HeaderMap, body: axum::body::Body, limits: Limits, budget: Budget) -> Self {
        let text = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let declared = text.and_then(|text| text.parse().ok()).or(body.size_hint().exact());
        let declared = declared.map(|length: u64| usize::try_from(length).unwrap_or(usize::MAX));
        Self { body, waits: headers.contains_key(EXPECT), declared, limits, budget }
    }

    /// Refuses a body that says it is too large, before a byte of it is read.
    ///
    /// # Errors
    /// 413.
    pub(crate) fn check_declared(self) -> Result<Self, Refused> {
        if self.declared.is_some_and(|length| length > self.limits.max_body_bytes) {
            return Err(self.too_large());
        }
        Ok(self)
    }

    /// Reads the whole body, which holds its share of the budget: twice its size, because a provider is sent a copy with
    /// its own name of the model. What is only announced holds nothing; it is refused here if there is no room for it now.
    ///
    /// # Errors
    /// 413 if it is too large, 503 if too many bytes are held already, 408 if it comes too slowly, 400 if it breaks off.
    pub async fn read(mut self) -> Result<Bytes, Refused> {
        let end = Instant::now() + self.limits.body;
        let declared = self.declared.unwrap_or(0);
        if !self.budget.has_room(with_copy(declared)) {
            return Err(overloaded());
        }
        let mut share = self.budget.nothing();
        let mut bytes = BytesMut::with_capacity(declared.min(FIRST_ALLOCATION));
        let (mut gap, mut wanted) = (Instant::now() + self.limits.body_gap, LEAST_PROGRESS);
        loop {
            let frame = timeout_at(end.min(gap), self.body.frame()).await;
            let frame = frame.map_err(|_| Refused::new(ErrorCode::ClientTimeout, "the body did not arrive in time"))?;
            let Some(frame) = frame else { break };
            let broken = |_| Refused::new(ErrorCode::InvalidRequest, "the body broke off");
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            if bytes.len() + data.len() > self.limits.max_body_bytes {
                return Err(self.too_large());
            }
            if !self.budget.grow(&mut share, with_copy(bytes.len() + data.len())) {
                return Err(overloaded());
            }
            bytes.extend_from_slice(&data);
            if bytes.len() >= wanted {
                (gap, wanted) = (Instant::now() + self.limits.body_gap, bytes.len() + LEAST_PROGRESS);
            }
        }
        Ok(share.hold(bytes.freeze()))
    }

    fn too_large(&self) -> Refused {
        let message = format!("the body exceeds {} bytes", self.limits.max_body_bytes);
        Refused::new(ErrorCode::TooLarge, message).retry(Retry::Never)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.waits || self.body.is_end_stream() {
            return;
        }
        // Without a runtime nobody is there to send either.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let mut body = std::mem::take(&mut self.body);
        runtime.spawn(async move {
            let end = Instant::now() + LINGER;
            let mut left = LINGER_BYTES;
            while let Ok(Some(Ok(frame))) = timeout_at(end, body.frame()).await {
                let length = frame.data_ref().map_or(0, Bytes::len);
                if length >= left {
                    break;
                }
                left -= length;
            }
        });
    }
}

const fn with_copy(bytes: usize) -> usize {
    bytes.saturating_mul(2)
}

fn overloaded() -> Refused {
    /// Bodies are held until their answer begins: seconds.
    const PAUSE: std::time::Duration = std::time::Duration::from_secs(1);
    Refused::new(ErrorCode::Overloaded, "the node holds as many bytes of requests and answers as it may")
        .retry(Retry::After(PAUSE))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn upload(length: Option<usize>, parts: &[usize], limits: Limits) -> Upload {
        let parts: Vec<_> = parts.iter().map(|n| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; *n]))).collect();
        let body = axum::body::Body::from_stream(tokio_stream_of(parts));
        let headers = HeaderMap::from_iter(length.map(|n| (CONTENT_LENGTH, http::HeaderValue::from(n))));
        Upload::new(&headers, body, limits, Budget::new(limits.budget_bytes))
    }

    fn tokio_stream_of<T: Send + 'static>(items: Vec<T>) -> impl futures::Stream<Item = T> + Send + 'static {
        futures::stream::iter(items)
    }

    async fn status(length: Option<usize>, parts: &[usize]) -> u16 {
        let limits = Limits { max_body_bytes: 10_000, budget_bytes: 16_000, ..Limits::default() };
        let read = async { upload(length, parts, limits).check_declared()?.read().await };
        read.await.map_or_else(|refused| refused.error.status().as_u16(), |body| body.len() as u16)
    }

    #[tokio::test(start_paused = true)]
    async fn size_is_limited_by_what_is_said_and_by_what_comes() {
        assert_eq!(status(Some(3), &[1, 2]).await, 3);
        assert_eq!(status(None, &[4000, 4000]).await, 8000);
        assert_eq!(status(Some(10_001), &[]).await, 413);
        assert_eq!(status(Some(1), &[8000, 8000]).await, 413);
        assert_eq!(status(None, &[4000, 5000]).await, 503, "beyond the budget");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_given_up() {
        let body = axum::body::Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        let upload = Upload::new(&HeaderMap::new(), body, Limits::default(), Budget::new(8192));
        let started = Instant::now();
        assert_eq!(upload.read().await.unwrap_err().error.status(), 408);
        assert_eq!(started.elapsed(), Limits::default().body_gap);
    }

    /// A body of which a part comes every ten seconds, for ever.
    fn trickle(part: usize, budget: &Budget) -> Upload {
        let parts = futures::stream::unfold((), move |()| async move {
            tokio::time::sleep(Duration::from_secs(10)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; part])), ()))
        });
        let limits = Limits::default();
        let headers = HeaderMap::from_iter([(CONTENT_LENGTH, http::HeaderValue::from(limits.max_body_bytes))]);
        Upload::new(&headers, axum::body::Body::from_stream(parts), limits, budget.clone())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_is_given_up_and_one_that_is_merely_slow_is_not() {
        let limits = Limits::default();
        for (part, after) in
            [(1, limits.body_gap), (LEAST_PROGRESS / 3, limits.body_gap), (LEAST_PROGRESS, limits.body)]
        {
            let started = Instant::now();
            let refused = trickle(part, &Budget::new(limits.budget_bytes)).read().await.unwrap_err();
            assert_eq!((refused.error.status().as_u16(), started.elapsed()), (408, after), "{part} bytes");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_announced_and_does_not_come_holds_nothing_and_what_has_no_room_is_refused_at_once() {
        let budget = Budget::new(Limits::default().budget_bytes);
        let idle: Vec<_> = (0..100).map(|_| tokio::spawn(trickle(1, &budget).read())).collect();
        tokio::time::sleep(Duration::from_secs(15)).await;
        assert_eq!(budget.held().get(), 100 * with_copy(1) as i64);
        idle.iter().for_each(tokio::task::JoinHandle::abort);
        let small = Budget::new(Limits::default().max_body_bytes);
        let started = Instant::now();
        assert_eq!(trickle(1, &small).read().await.unwrap_err().error.status(), 503);
        assert_eq!(started.elapsed(), Duration::ZERO);
    }
}
