//! Gives up an answer that its client does not take, on HTTP/2.
//!
//! On HTTP/1.1 such a client stalls its socket, which is noticed there (`guard`). On HTTP/2 it may answer pings and take
//! other answers, and only never open one stream's window: then nobody asks the body for more, and what it holds (a place, a
//! provider's connection, megabytes) would be held for ever. So somebody else looks; and one that opens it for a few bytes
//! now and then is held to the same rate as on HTTP/1.1.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use meridian_resilience::Meter;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use crate::Limits;

/// What is handed over at once. HTTP/2 keeps a whole frame until it is taken; a large answer handed over whole could not be
/// taken back.
const PART: usize = 32 * 1024;

/// An answer's body under watch.
struct Watched {
    state: Arc<Mutex<State>>,
    /// Ends the watch with the body.
    _watch: oneshot::Sender<()>,
}

struct State {
    /// `None`: given up.
    body: Option<Body>,
    /// Came from `body`, and not yet handed over.
    rest: Bytes,
    /// When the client was given something and has not asked for more since; `None`: it waits for us.
    given: Option<Instant>,
    /// How much that was.
    part: usize,
    /// What the client takes, over the time in which it was waited for.
    taken: Meter,
}

impl State {
    /// The client asks for more. Whether it took what it was given fast enough.
    fn took(&mut self) -> bool {
        let waited = self.given.take().map_or(Duration::ZERO, |given| given.elapsed());
        self.taken.add(std::mem::take(&mut self.part), waited).is_ok()
    }
}

/// The same body, dropped when the client takes nothing of it for too long, or too little.
pub(crate) fn watched(body: Body, limits: &Limits) -> Body {
    let is_small = body.size_hint().exact().is_some_and(|length| length <= PART as u64);
    if is_small || body.is_end_stream() {
        return body;
    }
    let (alive, ended) = oneshot::channel();
    let (given, limit) = (Some(Instant::now()), limits.write_stall);
    let taken = Meter::new(limits.min_taken_per_s, limit);
    let state = Arc::new(Mutex::new(State { body: Some(body), rest: Bytes::new(), given, part: 0, taken }));
    tokio::spawn(watch(Arc::clone(&state), limit, ended));
    Body::new(Watched { state, _watch: alive })
}

async fn watch(state: Arc<Mutex<State>>, limit: Duration, mut ended: oneshot::Receiver<()>) {
    loop {
        let given = lock(&state).given;
        let due = given.unwrap_or_else(Instant::now) + limit;
        tokio::select! {
            _ = &mut ended => return,
            () = sleep_until(due) => {}
        }
        let mut now = lock(&state);
        if given.is_some() && now.given == given {
            tracing::debug!("a client takes nothing of its answer: given up");
            let body = now.body.take();
            now.rest = Bytes::new();
            drop(now);
            drop(body);
            return;
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A body that panics is not asked again.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut state = lock(&self.state);
        if !state.took() {
            tracing::debug!("a client takes its answer too slowly: given up");
            state.body = None;
            state.rest = Bytes::new();
        }
        if state.rest.is_empty() {
            let Some(body) = &mut state.body else {
                return Poll::Ready(Some(Err(axum::Error::new(io::Error::from(io::ErrorKind::TimedOut)))));
            };
            match ready!(Pin::new(body).poll_frame(cx)).transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => state.rest = data,
                Some(Err(other)) => return Poll::Ready(Some(Ok(other))),
                None => return Poll::Ready(None),
            }
        }
        let length = state.rest.len().min(PART);
        let part = state.rest.split_to(length);
        state.part = length;
        state.given = Some(Instant::now());
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        let state = lock(&self.state);
        state.rest.is_empty() && state.body.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let state = lock(&self.state);
        let rest = state.rest.len() as u64;
        let mut hint = state.body.as_ref().map(http_body::Body::size_hint).unwrap_or_default();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use http_body_util::BodyExt;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn limits() -> Limits {
        Limits { write_stall: LIMIT, min_taken_per_s: 1024, ..Limits::default() }
    }

    /// So many of `part`; says when it is dropped.
    fn endless(part: &'static [u8], parts: usize) -> (Body, oneshot::Receiver<()>) {
        let (held, dropped) = oneshot::channel::<()>();
        let parts = stream::unfold((0, held), move |(sent, held)| async move {
            if sent == parts {
                std::future::pending::<()>().await;
            }
            Some((Ok::<_, io::Error>(Bytes::from_static(part)), (sent + 1, held)))
        });
        (Body::from_stream(parts), dropped)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_taken_is_given_up_and_says_so() {
        let (body, dropped) = endless(&[b'x'; PART], usize::MAX);
        let mut body = watched(body, &limits());
        for _ in 0..5 {
            body.frame().await.unwrap().unwrap();
            tokio::time::sleep(LIMIT / 2).await;
        }
        let since = Instant::now();
        assert!(dropped.await.is_err());
        assert_eq!(since.elapsed(), LIMIT / 2);
        assert!(body.frame().await.unwrap().is_err(), "it is not a whole answer");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_taken_bit_by_bit_is_given_up_after_a_minute_of_waiting() {
        let (body, dropped) = endless(b"data: x\n\n", usize::MAX);
        let mut body = watched(body, &limits());
        let since = Instant::now();
        let mut taken = 0;
        while body.frame().await.is_some_and(|frame| frame.is_ok()) {
            taken += 1;
            tokio::time::sleep(LIMIT / 10).await;
        }
        assert_eq!((since.elapsed(), taken), (LIMIT, 10));
        assert!(dropped.await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_waits_for_us_is_waited_for() {
        let (body, mut dropped) = endless(b"data: x\n\n", 1);
        let mut body = watched(body, &limits());
        body.frame().await.unwrap().unwrap();
        assert!(tokio::time::timeout(LIMIT * 20, body.frame()).await.is_err());
        assert!(dropped.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
    }

    #[tokio::test(start_paused = true)]
    async fn large_answers_go_in_parts_and_stay_whole() {
        let text: Vec<u8> = (0..200_001u32).map(|i| i as u8).collect();
        let mut body = watched(Body::from(text.clone()), &limits());
        assert_eq!(body.size_hint().exact(), Some(text.len() as u64));
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!((first.len(), body.size_hint().exact()), (PART, Some((text.len() - PART) as u64)));
        let rest = body.collect().await.unwrap().to_bytes();
        assert!([first, rest].concat() == text);
    }
}
