//! A started simulator and a client that notes everything it is given.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use meridian_host::{Network, SystemClock, TcpNetwork};
use meridian_lifecycle::{ShutdownTrigger, shutdown};
use meridian_sim::{Options, Simulator};
use serde_json::{Value, json};
use tokio::time::Instant;

/// A simulator on a port of its own.
pub(crate) struct Sim {
    pub(crate) simulator: Simulator,
    pub(crate) address: SocketAddr,
    trigger: ShutdownTrigger,
}

/// What came back.
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Frames, and when each arrived after the request was sent.
    pub(crate) frames: Vec<(Duration, Bytes)>,
    /// Whether the body broke off.
    pub(crate) broken: bool,
}

impl Sim {
    pub(crate) async fn start(options: Options) -> Self {
        let listener = TcpNetwork.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let simulator = Simulator::new(options, Arc::new(SystemClock));
        let (trigger, seen) = shutdown();
        let serving = simulator.clone();
        tokio::spawn(async move { serving.serve(listener, seen).await });
        Self { simulator, address, trigger }
    }

    pub(crate) async fn instant() -> Self {
        Self::start(Options::instant()).await
    }

    /// Sends one request on a connection of its own; `None` if there was no HTTP answer.
    pub(crate) async fn send(
        &self,
        source: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Option<Got> {
        let source: IpAddr = source.parse().unwrap();
        let connection = TcpNetwork.connect_from(source, &self.address.to_string()).await.ok()?;
        let (mut sender, http) = hyper::client::conn::http1::handshake(TokioIo::new(connection.io)).await.unwrap();
        tokio::spawn(http);
        let mut request = Request::builder().method(method).uri(path).header("host", "sim");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let since = Instant::now();
        let answer = sender.send_request(request.body(Full::new(Bytes::from(body.to_owned()))).unwrap()).await.ok()?;
        let (head, mut body) = answer.into_parts();
        let mut got = Got { status: head.status, headers: head.headers, frames: Vec::new(), broken: false };
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => got.frames.push((since.elapsed(), frame.into_data().unwrap())),
                Err(_) => got.broken = true,
            }
        }
        Some(got)
    }

    /// An OpenAI chat with a fault.
    pub(crate) async fn chat(&self, fault: &str, body: Value) -> Option<Got> {
        let headers = [("authorization", "Bearer sk-test"), ("x-sim-fault", fault)];
        let headers = if fault.is_empty() { &headers[..1] } else { &headers[..] };
        self.send("127.0.0.1", "POST", "/v1/chat/completions", headers, &body.to_string()).await
    }

    /// Anthropic messages with a fault.
    pub(crate) async fn messages(&self, fault: &str, body: Value) -> Option<Got> {
        let headers = [("x-api-key", "sk-test"), ("anthropic-version", "2023-06-01"), ("x-sim-fault", fault)];
        let headers = if fault.is_empty() { &headers[..2] } else { &headers[..] };
        self.send("127.0.0.1", "POST", "/v1/messages", headers, &body.to_string()).await
    }

    /// An admin request.
    pub(crate) async fn admin(&self, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
        let got = self.send("127.0.0.1", method, path, &[], &body.to_string()).await.unwrap();
        (got.status, got.json())
    }

    /// Takes nothing new from now on.
    pub(crate) fn drain(&self) {
        self.trigger.drain();
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.trigger.force();
    }
}

impl Got {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.frames.iter().flat_map(|(_, bytes)| bytes.to_vec()).collect()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes()).unwrap()
    }

    /// Data lines of the events; one that is no JSON is `null`.
    pub(crate) fn events(&self) -> Vec<Value> {
        let text = String::from_utf8_lossy(&self.bytes()).into_owned();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap_or_default()).collect()
    }

    pub(crate) fn has_done(&self) -> bool {
        self.bytes().ends_with(b"data: [DONE]\n\n")
    }

    /// Text of all content events, either dialect.
    pub(crate) fn text(&self) -> String {
        let piece = |event: &Value| {
            let openai = event.pointer("/choices/0/delta/content").and_then(Value::as_str);
            openai.or(event.pointer("/delta/text").and_then(Value::as_str)).unwrap_or_default().to_owned()
        };
        self.events().iter().map(piece).collect()
    }

    pub(crate) fn pieces(&self) -> usize {
        let piece = |event: &&Value| {
            let openai = event.pointer("/choices/0/delta/content").and_then(Value::as_str);
            openai.is_some_and(|text| !text.is_empty()) || event.pointer("/delta/text").is_some()
        };
        self.events().iter().filter(piece).count()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// A chat request body.
pub(crate) fn ask(text: &str, stream: bool) -> Value {
    json!({ "model": "m", "max_tokens": 1000, "stream": stream, "messages": [{ "role": "user", "content": text }] })
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
