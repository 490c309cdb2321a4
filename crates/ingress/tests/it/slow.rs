//! HTTP/1.1: heads and bodies that come too slowly or too large, and clients that do not read.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::support::{Listener, PATIENCE, drip, eventually, limits};

const HEAD: &str = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n";
const PAUSE: Duration = Duration::from_millis(50);

#[tokio::test]
async fn a_head_that_drips_is_not_waited_for() {
    let listener = Listener::start(limits()).await;
    for first in ["", HEAD] {
        let mut socket = listener.connect().await;
        socket.write_all(first.as_bytes()).await.unwrap();
        let started = Instant::now();
        if first.is_empty() {
            let mut nothing = [0; 1];
            let ended = timeout(PATIENCE, socket.read(&mut nothing)).await.unwrap();
            assert!(!matches!(ended, Ok(1..)));
        } else {
            drip(socket, b"a: b\r\n", PAUSE).await;
        }
        assert!(started.elapsed() < Duration::from_secs(5), "{first:?}: {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_body_that_drips_is_given_up_with_a_408() {
    let listener = Listener::start(limits()).await;
    let mut socket = listener.connect().await;
    socket.write_all(format!("{HEAD}content-length: 1000000\r\n\r\n").as_bytes()).await.unwrap();
    let said = drip(socket, b"x", PAUSE).await;
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    // Silence is found out sooner than a drip.
    let mut socket = listener.connect().await;
    socket.write_all(format!("{HEAD}content-length: 10\r\n\r\nx").as_bytes()).await.unwrap();
    let mut said = vec![0; 12];
    timeout(limits().body, socket.read_exact(&mut said)).await.unwrap().unwrap();
    assert_eq!(said, b"HTTP/1.1 408");
}

#[tokio::test]
async fn too_many_headers_are_refused() {
    let listener = Listener::start(limits()).await;
    let mut socket = listener.connect().await;
    let many: String = (0..limits().max_headers).map(|i| format!("x-{i}: y\r\n")).collect();
    socket.write_all(format!("{HEAD}{many}\r\n").as_bytes()).await.unwrap();
    let mut said = vec![0; 12];
    timeout(PATIENCE, socket.read_exact(&mut said)).await.unwrap().unwrap();
    assert_eq!(said, b"HTTP/1.1 431");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_and_its_answer_dropped() {
    let listener = Listener::start(limits()).await;
    let mut socket = listener.connect().await;
    socket.write_all(format!("{HEAD}content-length: 2\r\n\r\n{{}}").as_bytes()).await.unwrap();
    eventually("the answer began", || listener.open() == 1).await;
    eventually("it was given up", || listener.open() == 0).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_as_they_come_and_the_others_go_on() {
    let listener = Listener::start(limits()).await;
    let mut held = Vec::new();
    for _ in 0..limits().max_connections {
        let mut socket = listener.connect().await;
        // Whole, so that the connection may idle for the head's time.
        socket.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut said = vec![0; 12];
        timeout(PATIENCE, socket.read_exact(&mut said)).await.unwrap().unwrap();
        assert_eq!(said, b"HTTP/1.1 200");
        held.push(socket);
    }
    let mut one_more = listener.connect().await;
    let ended = timeout(PATIENCE, one_more.read(&mut [0; 1])).await.unwrap();
    assert!(!matches!(ended, Ok(1..)));
    held[0].write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(timeout(PATIENCE, held[0].read(&mut [0; 64])).await.unwrap().unwrap() > 0);
}
