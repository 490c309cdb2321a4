//! Answers on one connection to another node do not wait for each other.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use meridian_host::{Host, Listen, TcpNetwork};
use meridian_types::peer::MAX_STREAMS;
use meridian_upstream::Link;
use tokio::time::{Instant, timeout};

use crate::support::{PATIENCE, transport};

/// Clients that read nothing: more than 8 MiB, the window of the connection once, have room for.
const SLOW: usize = 80;

/// What an answer may be ahead of its client, at least.
const AHEAD: usize = 128 * 1024;

/// What each answer is made of, and what the other node keeps of one beside it.
const PIECE: Bytes = Bytes::from_static(&[b'x'; 8 * 1024]);
const SEND_BUFFER: usize = 16 * 1024;

/// An answer without end; what of it found room is added to `sent`.
async fn endless(
    sent: Arc<AtomicUsize>,
) -> Result<Response<StreamBody<impl futures::Stream<Item = Result<Frame<Bytes>, Infallible>>>>, Infallible> {
    let pieces = stream::repeat_with(move || {
        sent.fetch_add(PIECE.len(), Ordering::Relaxed);
        Ok(Frame::data(PIECE))
    });
    Ok(Response::new(StreamBody::new(pieces)))
}

async fn serve(mut listener: Box<dyn Listen>, sent: Arc<AtomicUsize>, connections: Arc<AtomicUsize>) {
    loop {
        let connection = listener.accept().await.unwrap();
        connections.fetch_add(1, Ordering::Relaxed);
        let sent = Arc::clone(&sent);
        let answer = service_fn(move |_: Request<Incoming>| endless(Arc::clone(&sent)));
        let mut builder = Builder::new(TokioExecutor::new());
        builder.max_concurrent_streams(MAX_STREAMS).max_send_buf_size(SEND_BUFFER);
        tokio::spawn(builder.serve_connection(TokioIo::new(connection.io), answer));
    }
}

async fn post(link: &Link) -> Incoming {
    let asking = link.post("/v1/chat/completions", HeaderMap::new(), Bytes::from_static(b"{}"));
    timeout(PATIENCE, asking).await.expect("in time").expect("an answer").into_body()
}

#[tokio::test]
async fn clients_that_read_nothing_do_not_stop_one_that_reads() {
    let listener = Host::real().net.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sent, connections) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    tokio::spawn(serve(listener, Arc::clone(&sent), Arc::clone(&connections)));
    let identity = "spiffe://meridian/node/eu-west/n1".parse().unwrap();
    let link = transport(Arc::new(TcpNetwork), None).await.link(&address, identity, None);

    let mut slow = Vec::new();
    for _ in 0..SLOW {
        slow.push(post(&link).await);
    }
    // Each of them has got all that it may be ahead.
    let end = Instant::now() + PATIENCE;
    while sent.load(Ordering::Relaxed) < SLOW * (AHEAD + SEND_BUFFER / 2) {
        assert!(Instant::now() < end, "{} bytes have found room", sent.load(Ordering::Relaxed));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    let mut body = post(&link).await;
    let mut read = 0;
    while read < 8 * AHEAD {
        let frame = timeout(PATIENCE, body.frame()).await.expect("it goes on").unwrap().unwrap();
        read += frame.into_data().unwrap().len();
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
    drop(slow);
}
