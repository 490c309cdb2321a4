//! Connections are kept, and one that has gone stale costs nobody a request.

use std::time::Duration;

use meridian_upstream::{SendError, Upstream};
use tokio::io::DuplexStream;
use tokio::join;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::support::{Pipes, ask, head, rest, serve, transport, upstream};

async fn start() -> (Upstream, UnboundedReceiver<DuplexStream>) {
    let (pipes, accepted) = Pipes::new();
    (upstream(&transport(pipes, None).await, "http://provider/v1", None), accepted)
}

/// One request over a connection that is made for it.
async fn first(upstream: &Upstream, accepted: &mut UnboundedReceiver<DuplexStream>) -> DuplexStream {
    let server = async {
        let mut server = accepted.recv().await.unwrap();
        serve(&mut server).await;
        server
    };
    let (answer, server) = join!(ask(upstream), server);
    answer.unwrap();
    server
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_used_again_until_servers_would_close_it() {
    let (upstream, mut accepted) = start().await;
    let mut server = first(&upstream, &mut accepted).await;
    tokio::time::sleep(Duration::from_secs(45)).await;
    let (answer, ()) = join!(ask(&upstream), serve(&mut server));
    answer.unwrap();
    assert!(accepted.is_empty(), "the second request took the first one's connection");
    // Load balancers give idle connections 60 s.
    tokio::time::sleep(Duration::from_secs(59)).await;
    first(&upstream, &mut accepted).await;
    assert_eq!(head(&mut server).await, None, "what was idle for so long is closed");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_meets_a_connection_just_closed_goes_to_a_new_one() {
    let (upstream, mut accepted) = start().await;
    let server = first(&upstream, &mut accepted).await;
    rest().await;
    // Nothing runs between this and the request: the pool still takes the connection for open.
    drop(server);
    first(&upstream, &mut accepted).await;
    assert!(accepted.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_may_have_been_read_is_not_sent_twice() {
    let (upstream, mut accepted) = start().await;
    let mut server = first(&upstream, &mut accepted).await;
    rest().await;
    let read_and_close = async {
        head(&mut server).await.unwrap();
        drop(server);
    };
    let (answer, ()) = join!(ask(&upstream), read_and_close);
    assert!(matches!(answer, Err(SendError::Broken(_))), "{answer:?}");
    rest().await;
    assert!(accepted.is_empty(), "no other connection was asked for it");
}
