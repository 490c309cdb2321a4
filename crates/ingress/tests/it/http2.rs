//! HTTP/2, frame by frame (RFC 9113): streams that are opened and reset at once, and streams whose window stays shut.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Listener, PATIENCE, eventually, limits};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM_AND_HEADERS: u8 = 5;
const INITIAL_WINDOW_SIZE: u16 = 4;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `POST /v1/chat/completions` without a body, by HPACK's static table (RFC 7541, appendix A) and literals.
fn request(stream: u32) -> Vec<u8> {
    let path = b"/v1/chat/completions";
    let head = [&[0x83, 0x86, 0x41, 1, b'x', 0x44, u8::try_from(path.len()).unwrap()][..], path].concat();
    frame(HEADERS, END_STREAM_AND_HEADERS, stream, &head)
}

async fn open(listener: &Listener, window: Option<u32>) -> TcpStream {
    let mut socket = listener.connect().await;
    let setting = window.map(|window| [&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &window.to_be_bytes()].concat());
    let settings = frame(SETTINGS, 0, 0, &setting.unwrap_or_default());
    socket.write_all(&[PREFACE, settings.as_slice()].concat()).await.unwrap();
    socket
}

/// Reads until a frame of that kind comes; its payload. `None`: the connection ended.
async fn next(socket: &mut TcpStream, kind: u8) -> Option<Vec<u8>> {
    loop {
        let mut head = [0; 9];
        timeout(PATIENCE, socket.read_exact(&mut head)).await.expect("in time").ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        socket.read_exact(&mut payload).await.ok()?;
        if head[3] == kind {
            return Some(payload);
        }
    }
}

#[tokio::test]
async fn streams_that_are_reset_as_they_come_end_the_connection() {
    let listener = Listener::start(limits()).await;
    let mut socket = open(&listener, None).await;
    // In one piece, so that they are all there before any is served.
    let burst: Vec<u8> = (0..500u32)
        .map(|i| 2 * i + 1)
        .flat_map(|id| [request(id), frame(RST_STREAM, 0, id, &CANCEL.to_be_bytes())].concat())
        .collect();
    // It may hang up before it has read everything.
    let _ = socket.write_all(&burst).await;
    let goaway = next(&mut socket, GOAWAY).await;
    if let Some(goaway) = goaway {
        assert_eq!(u32::from_be_bytes([goaway[4], goaway[5], goaway[6], goaway[7]]), ENHANCE_YOUR_CALM);
    }
    eventually("nothing of it is held", || listener.open() == 0).await;
}

#[tokio::test]
async fn an_answer_whose_window_stays_shut_is_dropped_while_the_connection_lives() {
    let listener = Listener::start(limits()).await;
    let mut socket = open(&listener, Some(0)).await;
    socket.write_all(&request(1)).await.unwrap();
    eventually("the answer began", || listener.open() == 1).await;
    eventually("it was given up", || listener.open() == 0).await;
    socket.write_all(&request(3)).await.unwrap();
    eventually("the next one is served", || listener.open() == 1).await;
}

#[tokio::test]
async fn of_an_answer_that_nobody_reads_only_a_window_is_sent() {
    let listener = Listener::start(limits()).await;
    let mut socket = open(&listener, Some(1000)).await;
    socket.write_all(&request(1)).await.unwrap();
    let first = next(&mut socket, DATA).await.unwrap();
    assert!(first.len() <= 1000);
    let more = timeout(Duration::from_millis(200), next(&mut socket, DATA)).await;
    assert!(more.is_err() || first.len() < 1000, "beyond the window");
}
