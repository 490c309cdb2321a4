//! A client's request and its reading of the answer, with codecs of its own: what is tested must not read its own writing.

use std::time::Duration;

use anyhow::Context;
use meridian_host::Host;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::hosts::{MODEL, NODE, NODE_PORT, TOKENS};

/// A client that has heard nothing for this long gives up: beyond two silent providers, asked one after the other, and a
/// wait for one that has asked for a rest.
const PATIENCE: Duration = Duration::from_secs(12);
/// Bytes of an answer, more or less.
const ROOM: usize = 8 * 1024;
const PROMPT: &str = "hello there";

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Whole,
    Stream,
    /// A stream that it leaves after the first words.
    Glimpse,
}

/// What it got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// Who served, as the answer says.
    pub(super) provider: String,
    pub(super) end: End,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// Word for word.
    Answered,
    /// By an error inside the stream.
    Told {
        /// After so much text.
        characters: usize,
    },
    /// An error from the beginning.
    Refused(u16),
    /// The client left.
    Left,
    /// In a way in which no answer may end.
    Wrong(String),
}

impl End {
    /// For the log.
    pub(super) fn letter(&self) -> char {
        match self {
            Self::Answered => '.',
            Self::Told { .. } => 'T',
            Self::Refused(_) => 'R',
            Self::Left => 'l',
            Self::Wrong(_) => 'W',
        }
    }
}

/// Asks on a connection of its own.
pub(super) async fn ask(host: &Host, key: &str, wish: Wish) -> Answer {
    let stream = wish != Wish::Whole;
    let body = format!(r#"{{"model":"chat","stream":{stream},"messages":[{{"role":"user","content":"{PROMPT}"}}]}}"#);
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {NODE}\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let enough = |bytes: &[u8]| wish == Wish::Glimpse && Events::of(&Parts::of(bytes).body).text.contains(' ');
    match exchange(host, &request, enough).await {
        Ok((bytes, true)) => read(&bytes, stream),
        Ok((bytes, false)) => Answer { end: End::Left, ..read(&bytes, stream) },
        Err(error) => Answer { provider: String::new(), end: End::Wrong(format!("no answer: {error:#}")) },
    }
}

/// The node's metrics.
pub(super) async fn metrics(host: &Host) -> anyhow::Result<String> {
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {NODE}\r\nconnection: close\r\n\r\n");
    let (bytes, _) = exchange(host, &request, |_| false).await?;
    Ok(String::from_utf8_lossy(&Parts::of(&bytes).body).into_owned())
}

/// What came, until the end or until it is enough; whether it is the end.
async fn exchange(host: &Host, request: &str, enough: impl Fn(&[u8]) -> bool) -> anyhow::Result<(Vec<u8>, bool)> {
    let exchange = async {
        let mut connection = host.net.connect(&format!("{NODE}:{NODE_PORT}")).await?;
        connection.io.write_all(request.as_bytes()).await?;
        let mut answer = Vec::with_capacity(ROOM);
        while connection.io.read_buf(&mut answer).await? > 0 {
            if enough(&answer) {
                return anyhow::Ok((answer, false));
            }
        }
        Ok((answer, true))
    };
    timeout(PATIENCE, exchange).await.context("the client's patience is over")?
}

/// An HTTP/1.1 answer, as far as it came.
struct Parts {
    status: u16,
    provider: String,
    /// Without the framing of chunks.
    body: Vec<u8>,
    /// Whether its framing says that this is all.
    is_whole: bool,
}

impl Parts {
    fn of(answer: &[u8]) -> Self {
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(answer.len());
        let (head, body) = answer.split_at(end);
        let head = String::from_utf8_lossy(head).to_lowercase();
        let body = body.get(4..).unwrap_or_default();
        let header = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.trim_start_matches(':').trim().to_owned())
        };
        let (body, is_whole) = match header("content-length").and_then(|length| length.parse::<usize>().ok()) {
            Some(length) => (body.to_vec(), body.len() == length),
            None => chunks(body),
        };
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        Self { status, provider: header("x-meridian-provider").unwrap_or_default(), body, is_whole }
    }
}

/// The content of a chunked body, and whether its last chunk is there.
fn chunks(mut body: &[u8]) -> (Vec<u8>, bool) {
    let mut content = Vec::new();
    loop {
        let Some(end) = body.windows(2).position(|window| window == b"\r\n") else { return (content, false) };
        let (size, rest) = body.split_at(end);
        let Some(size) = str::from_utf8(size).ok().and_then(|size| usize::from_str_radix(size, 16).ok()) else {
            return (content, false);
        };
        let rest = rest.get(2..).unwrap_or_default();
        if size == 0 {
            return (content, rest == b"\r\n");
        }
        let (chunk, rest) = rest.split_at(size.min(rest.len()));
        content.extend_from_slice(chunk);
        body = rest.get(2..).unwrap_or_default();
    }
}

/// What a stream has said.
#[derive(Default)]
struct Events {
    text: String,
    /// It said that it is complete.
    done: bool,
    /// It said that it failed.
    failed: bool,
    /// It said something that nobody understands, or went on after its end.
    odd: Option<String>,
}

impl Events {
    fn of(body: &[u8]) -> Self {
        let mut events = Self::default();
        // What follows the last empty line is no event yet.
        let body = String::from_utf8_lossy(body);
        let whole = body.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
        for data in whole.split("\n\n").filter_map(|event| event.strip_prefix("data: ")) {
            events.take(data);
        }
        events
    }

    fn take(&mut self, data: &str) {
        if self.done || self.failed {
            self.odd = Some(data.to_owned());
        } else if data == "[DONE]" {
            self.done = true;
        } else if let Ok(event) = serde_json::from_str::<Value>(data) {
            self.failed = event.get("error").is_some_and(Value::is_object);
            self.text.push_str(event.pointer("/choices/0/delta/content").and_then(Value::as_str).unwrap_or_default());
        } else {
            self.odd = Some(data.to_owned());
        }
    }
}

fn expected() -> String {
    meridian_sim::expected_text(MODEL, PROMPT, TOKENS)
}

/// What an answer that came to its end means.
fn read(answer: &[u8], stream: bool) -> Answer {
    let Parts { status, provider, body, is_whole } = Parts::of(answer);
    let end = match status {
        _ if !is_whole => End::Wrong(format!("an answer with status {status} broke off")),
        200 if stream => stream_end(&body),
        200 => whole_end(&body),
        _ => error_end(status, &body),
    };
    Answer { provider, end }
}

fn stream_end(body: &[u8]) -> End {
    let expected = expected();
    let Events { text, done, failed, odd } = Events::of(body);
    let characters = text.len();
    match odd {
        Some(odd) => End::Wrong(format!("a stream says {odd:?}")),
        None if !expected.starts_with(&text) => End::Wrong(format!("a stream reads {text:?}")),
        None if failed => End::Told { characters },
        None if done && text == expected => End::Answered,
        None if done => End::Wrong(format!("a stream says [DONE] after {text:?}")),
        None => End::Wrong(format!("a stream ends silently after {text:?}")),
    }
}

fn whole_end(body: &[u8]) -> End {
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    match document.pointer("/choices/0/message/content").and_then(Value::as_str) {
        Some(text) if text == expected() => End::Answered,
        text => End::Wrong(format!("a whole answer reads {text:?}")),
    }
}

fn error_end(status: u16, body: &[u8]) -> End {
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    match document.pointer("/error/message").is_some_and(Value::is_string) {
        true => End::Refused(status),
        false => End::Wrong(format!("status {status} without an error that says why")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunked(parts: &[&str]) -> String {
        let chunks: String = parts.iter().map(|part| format!("{:x}\r\n{part}\r\n", part.len())).collect();
        format!("HTTP/1.1 200 OK\r\nx-meridian-provider: primary\r\n\r\n{chunks}")
    }

    fn delta(text: &str) -> String {
        format!("data: {}\n\n", serde_json::json!({"choices": [{"delta": {"content": text}}]}))
    }

    #[track_caller]
    fn check(parts: &[&str], last: &str, expected: &str) {
        let answer = read((chunked(parts) + last).as_bytes(), true);
        assert_eq!(answer.provider, "primary");
        let told = format!("{:?}", answer.end);
        assert!(told.starts_with(expected), "{parts:?}: {told}");
    }

    #[test]
    fn a_stream_is_complete_or_says_that_it_is_not() {
        let (all, some) = (delta(&expected()), delta("Simulated reply"));
        let (done, error) = ("data: [DONE]\n\n", "data: {\"error\":{}}\n\n");
        check(&[&all, done], "0\r\n\r\n", "Answered");
        check(&[&all[..9], &all[9..], done], "0\r\n\r\n", "Answered");
        check(&[&some, error], "0\r\n\r\n", "Told { characters: 15 }");
        check(&[error], "0\r\n\r\n", "Told { characters: 0 }");
        check(&[&all, done], "", "Wrong(\"an answer with status 200 broke off");
        check(&[&all, done], "0\r\n", "Wrong(\"an answer with status 200 broke off");
        check(&[&some], "0\r\n\r\n", "Wrong(\"a stream ends silently after");
        check(&[&all], "0\r\n\r\n", "Wrong(\"a stream ends silently after");
        check(&[&some, ": comment\n\n"], "0\r\n\r\n", "Wrong(\"a stream ends silently after");
        check(&[&some, done], "0\r\n\r\n", "Wrong(\"a stream says [DONE] after");
        check(&[&some, error, done], "0\r\n\r\n", "Wrong(\"a stream says \\\"[DONE]");
        check(&[&some, &some], "0\r\n\r\n", "Wrong(\"a stream reads");
        check(&[&some, "data: {\"choi\n\n"], "0\r\n\r\n", "Wrong(\"a stream says");
    }

    #[test]
    fn a_whole_answer_is_the_expected_one_or_an_error_that_says_why() {
        let end = |status: u16, body: &str| {
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            format!("{:?}", read(answer.as_bytes(), false).end)
        };
        let document = |text: &str| serde_json::json!({"choices": [{"message": {"content": text}}]}).to_string();
        assert_eq!(end(200, &document(&expected())), "Answered");
        assert!(end(200, &document("Simulated")).starts_with("Wrong"));
        assert!(end(200, "{}").starts_with("Wrong"));
        assert_eq!(end(502, r#"{"error":{"message":"down"}}"#), "Refused(502)");
        assert!(end(502, "bad gateway").starts_with("Wrong"));
    }
}
