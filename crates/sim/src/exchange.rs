//! One request and its answer: route, read, apply faults, check, play.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use hyper::body::Incoming;

use crate::answer::{Pace, Reply, Script, Wish};
use crate::dialect::{Call, Dialect, Identity, Refusal};
use crate::fault::{ErrorAnswer, ErrorKind, NoAnswer, Plan, What};
use crate::link::{BrokenOff, LastWords, Link};
use crate::playback::Playback;
use crate::record::{Arrival, Flight, Outcome};
use crate::server::Shared;
use crate::strikes::{self, SpecRefused};

/// Largest request body: Anthropic's documented limit of 32 MB.
const MAX_BODY: usize = 32 * 1024 * 1024;

/// A response body: a fixed one, or a script.
pub(crate) type Answer = Response<Either<Full<Bytes>, Playback>>;

/// What a path stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Route {
    Chat(Dialect),
    CountTokens,
    Models,
    Model(String),
    Unknown,
}

fn route(method: &Method, path: &str) -> Route {
    match (method.as_str(), path) {
        ("POST", "/v1/chat/completions") => Route::Chat(Dialect::OpenAi),
        ("POST", "/v1/messages") => Route::Chat(Dialect::Anthropic),
        ("POST", "/v1/messages/count_tokens") => Route::CountTokens,
        ("GET", "/v1/models") => Route::Models,
        ("GET", path) => {
            path.strip_prefix("/v1/models/").map_or(Route::Unknown, |model| Route::Model(model.to_owned()))
        }
        _ => Route::Unknown,
    }
}

/// Answers a request to a provider's path.
pub(crate) async fn answer(
    shared: Arc<Shared>,
    link: Link,
    client: SocketAddr,
    request: Request<Incoming>,
) -> Result<Answer, BrokenOff> {
    let (head, body) = request.into_parts();
    let route = route(&head.method, head.uri.path());
    let arrival =
        Arrival { client, method: head.method.to_string(), path: head.uri.path().to_owned(), headers: head.headers };
    let mut flight = shared.recorder.begin(&arrival);
    let dialect = match route {
        Route::Chat(dialect) => dialect,
        Route::CountTokens => Dialect::Anthropic,
        _ if arrival.headers.contains_key("anthropic-version") => Dialect::Anthropic,
        _ => Dialect::OpenAi,
    };
    let identity = Identity {
        digits: format!("{:08x}{:08x}", shared.options.seed & 0xffff_ffff, flight.id()),
        created: shared.recorder.now_unix_ms() / 1000,
    };
    let read = read_body(body).await;
    let call = match (&read, &route) {
        (Ok(body), Route::Chat(_) | Route::CountTokens) => {
            flight.body(body);
            Some(dialect.read(body))
        }
        (Ok(_), _) => None,
        (Err(refusal), _) => Some(Err(refusal.clone())),
    };
    drop(read);
    if let Some(Ok(call)) = &call {
        flight.model(&call.model, call.stream);
    }
    let model = call.as_ref().and_then(|call| call.as_ref().ok()).map(|call| call.model.as_str());
    let planned = strikes::plan(&shared, &arrival, model);
    let exchange = Exchange { shared, link, dialect, identity, headers: arrival.headers };
    match planned {
        Err(refused) => Ok(exchange.misused(&refused, flight)),
        Ok((plan, names)) => {
            flight.faults(names);
            exchange.run(route, call, &plan, flight).await
        }
    }
}

async fn read_body(body: Incoming) -> Result<Bytes, Refusal> {
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Refusal { kind: ErrorKind::TooLarge, message: "the request body is too large".into(), param: None })
        }
        Err(_) => Err(Refusal::invalid("the request body did not arrive whole", None)),
    }
}

/// What stays the same while one request is answered.
struct Exchange {
    shared: Arc<Shared>,
    link: Link,
    dialect: Dialect,
    identity: Identity,
    headers: HeaderMap,
}

impl Exchange {
    async fn run(
        self,
        route: Route,
        call: Option<Result<Call, Refusal>>,
        plan: &Plan,
        mut flight: Flight,
    ) -> Result<Answer, BrokenOff> {
        if let Some(NoAnswer::Break(how)) = plan.no_answer {
            flight.ends_as(Outcome::Broken);
            return Err(self.link.break_off(how.last_words()));
        }
        if let Some(delay) = plan.latency {
            tokio::time::sleep(delay).await;
        }
        if plan.no_answer == Some(NoAnswer::Hang) {
            // Dropped with the connection, and then counted as cancelled.
            std::future::pending::<()>().await;
        }
        if let Some(error) = &plan.error {
            return Ok(self.error(error, None, flight));
        }
        if let Err(refusal) = self.authorized() {
            return Ok(self.refuse(&refusal, flight));
        }
        let call = match call.transpose() {
            Ok(call) => call,
            Err(refusal) => return Ok(self.refuse(&refusal, flight)),
        };
        let document = match (route, call) {
            (Route::Chat(_), Some(call)) => return self.chat(&call, plan, flight).await,
            (Route::CountTokens, Some(call)) => Dialect::count_tokens(&call),
            (Route::Models, _) => self.dialect.models(&self.shared.options.models),
            (Route::Model(model), _) if self.shared.options.models.contains(&model) => self.dialect.model(&model),
            (Route::Model(_), _) => {
                let error = ErrorAnswer { kind: Some(ErrorKind::NotFound), ..ErrorAnswer::default() };
                return Ok(self.error(&error, None, flight));
            }
            _ => {
                let message = "the simulator has no such path".to_owned();
                return Ok(self.refuse(&Refusal { kind: ErrorKind::NotFound, message, param: None }, flight));
            }
        };
        self.document(document, plan, false, flight)
    }

    async fn chat(self, call: &Call, plan: &Plan, flight: Flight) -> Result<Answer, BrokenOff> {
        if let Err(refusal) = self.acceptable(call, plan) {
            return Ok(self.refuse(&refusal, flight));
        }
        let options = &self.shared.options;
        let tokens = match self.headers.get("x-sim-tokens").map(|value| value.to_str().ok()?.parse().ok()) {
            None => options.tokens,
            Some(Some(tokens)) => tokens,
            Some(None) => {
                return Ok(self.refuse(&Refusal::invalid("x-sim-tokens is not a number of tokens", None), flight));
            }
        };
        let wish = Wish { tokens, refusal: plan.refusal, emoji: plan.emoji.map(|(after, _)| after) };
        let reply = Reply::new(call, wish);
        let pace = Pace { first_token: options.first_token, gap: options.gap };
        if !call.stream || plan.bad_json {
            let thinking = plan.first_token.map_or(pace.first_token, |(delay, _)| delay);
            let gaps = plan.gap.map_or(pace.gap, |(pause, _)| pause) * reply.len().saturating_sub(1);
            sleep_some(thinking + gaps).await;
            let document = self.dialect.document(call, &reply, &self.identity);
            return self.document(document, plan, reply.emoji().is_some(), flight);
        }
        let events = self.dialect.events(call, &reply, &self.identity);
        let script = Script::stream(self.dialect, &self.identity, reply, events, pace, plan);
        if let Some(delta) = plan.wrong_length {
            return Err(self.wrong_length("text/event-stream; charset=utf-8", &script.bytes(), delta, flight));
        }
        let mut answer = self.play(StatusCode::OK, script, plan.bytes_per_s, flight);
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        Ok(answer)
    }

    /// One JSON document, with those faults that a document can have.
    fn document(&self, document: Bytes, plan: &Plan, emoji: bool, flight: Flight) -> Result<Answer, BrokenOff> {
        let incident = plan.incident.map(|incident| incident.what);
        let document = match incident {
            Some(What::Error(kind)) => {
                let error = ErrorAnswer { kind: Some(kind), ..ErrorAnswer::default() };
                self.dialect.error(&error, None, &self.identity).1
            }
            // An early end of a document is a document that is cut short and says so in its length.
            Some(What::BadSse | What::End) => document.slice(..document.len() / 2),
            _ if plan.bad_json => document.slice(..document.len() / 2),
            Some(What::Stall(_) | What::Cut(_) | What::NoFinish | What::Truncate) | None => document,
        };
        if let Some(delta) = plan.wrong_length {
            return Err(self.wrong_length("application/json", &document, delta, flight));
        }
        let length = document.len();
        let script = Script::document(document, incident.filter(|what| *what != What::End), emoji);
        let mut answer = self.play(StatusCode::OK, script, plan.bytes_per_s, flight);
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        Ok(answer)
    }

    fn error(&self, error: &ErrorAnswer, refusal: Option<&Refusal>, flight: Flight) -> Answer {
        let (status, body) = self.dialect.error(error, refusal, &self.identity);
        let length = body.len();
        let mut answer = self.play(status, Script::document(body, None, false), None, flight);
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        if let Some(seconds) = error.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(millis) = error.retry_after_ms {
            headers.insert(HeaderName::from_static("retry-after-ms"), HeaderValue::from(millis));
        }
        answer
    }

    fn refuse(&self, refusal: &Refusal, flight: Flight) -> Answer {
        let error = ErrorAnswer { kind: Some(refusal.kind), ..ErrorAnswer::default() };
        self.error(&error, Some(refusal), flight)
    }

    /// A fault that was asked for and is not understood: a mistake of the test, said loudly and not in a provider's words.
    fn misused(&self, refused: &SpecRefused, flight: Flight) -> Answer {
        let error = ErrorAnswer {
            status: Some(StatusCode::NOT_IMPLEMENTED),
            kind: Some(ErrorKind::InvalidRequest),
            ..ErrorAnswer::default()
        };
        let refusal = Refusal::invalid(format!("simulator: {}: {}", refused.origin, refused.source), None);
        self.error(&error, Some(&refusal), flight)
    }

    fn play(&self, status: StatusCode, script: Script, bytes_per_s: Option<u32>, flight: Flight) -> Answer {
        flight.status(status);
        let body = Playback::new(script, bytes_per_s, flight, self.link.clone());
        let mut answer = Response::new(Either::Right(body));
        *answer.status_mut() = status;
        self.dialect.decorate(answer.headers_mut(), &self.identity);
        answer
    }

    /// hyper keeps lengths right, so a wrong one is written by hand as the connection's last words.
    fn wrong_length(&self, content_type: &str, body: &[u8], delta: i64, mut flight: Flight) -> BrokenOff {
        let length = i64::try_from(body.len()).unwrap_or(i64::MAX).saturating_add(delta).max(0);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n");
        flight.status(StatusCode::OK);
        flight.sent(body.len());
        flight.ends_as(Outcome::Broken);
        self.link.break_off(LastWords::Raw([head.as_bytes(), body].concat().into()))
    }

    fn authorized(&self) -> Result<(), Refusal> {
        let keys = &self.shared.options.keys;
        let refused = match self.dialect.key(&self.headers) {
            None => "No API key was provided.",
            Some(key) if !keys.is_empty() && !keys.iter().any(|known| known == key) => "The API key is not known.",
            Some(_) => return Ok(()),
        };
        Err(Refusal { kind: ErrorKind::InvalidKey, message: refused.into(), param: None })
    }

    /// What the provider checks besides the shape of the body.
    fn acceptable(&self, call: &Call, plan: &Plan) -> Result<(), Refusal> {
        if plan.reject_prefill && call.prompt.prefill.is_some() {
            let message = "This model does not support assistant message prefill. \
                           The conversation must end with a user message.";
            return Err(Refusal { kind: ErrorKind::PrefillRejected, message: message.into(), param: Some("messages") });
        }
        if self.dialect == Dialect::Anthropic {
            if !self.headers.contains_key("anthropic-version") {
                return Err(Refusal::invalid("anthropic-version: header is required", None));
            }
            if call.max_tokens.is_none() {
                return Err(Refusal::invalid("max_tokens: Field required", None));
            }
        }
        if call.max_tokens == Some(0) {
            return Err(Refusal::invalid("max_tokens: must be at least 1", Some("max_tokens")));
        }
        Ok(())
    }
}

async fn sleep_some(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}
