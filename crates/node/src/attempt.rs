//! One attempt: translate, send, and read until the answer has really begun.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use meridian_ingress::TraceContext;
use meridian_llm::{ClientRequest, Failure, FailureClass};
use meridian_providers::{CallContext, UpstreamRequest};
use meridian_resilience::{Patience, Timeline};
use meridian_types::provider::Deadlines;
use meridian_upstream::SendError;
use tokio::time::Instant;
use tracing::{Instrument, Span};

use crate::account::Account;
use crate::faults::What;
use crate::injected;
use crate::journal::Note;
use crate::node::Node;
use crate::patience;
use crate::source::{self, Source};
use crate::tally::Tokens;
use crate::ticket::Ticket;

/// Start-up events held back while no content has come. Providers send a handful; more is commitment enough.
const MAX_HELD_EVENTS: usize = 64;
const MAX_HELD_BYTES: usize = 256 * 1024;

/// The beginning of an answer.
pub(crate) struct Answer {
    pub(crate) body: Part,
    /// The tokens of what is in `body`.
    pub(crate) tokens: Tokens,
}

/// What is there of an answer.
pub(crate) enum Part {
    /// All of it, with its share of the node's budget.
    Whole(Bytes),
    /// What was held back, and where more comes from; `None` if that was all.
    Stream(Bytes, Option<Box<Source>>),
}

/// One attempt at one target.
pub(crate) struct Attempt<'a> {
    pub(crate) node: &'a Node,
    pub(crate) request: &'a ClientRequest,
    pub(crate) trace: &'a TraceContext,
    pub(crate) account: &'a Account,
    /// Its places at the target.
    pub(crate) ticket: &'a Ticket,
    /// The provider's, with those of the model in place of them.
    pub(crate) deadlines: Deadlines,
    /// How long the client waits.
    pub(crate) patience: Patience,
    /// Counts the request's attempts from 1.
    pub(crate) number: usize,
    /// Its place among the notes of the request.
    pub(crate) note: Note<'a>,
}

impl Attempt<'_> {
    /// The beginning of an answer, and how long it took.
    pub(crate) async fn run(&self, translated: UpstreamRequest) -> Result<(Answer, Duration), Failure> {
        let span = tracing::debug_span!(
            "attempt",
            otel.name = "chat upstream",
            otel.kind = "client",
            provider = %self.ticket.target().id.provider,
            model = %self.ticket.target().id.model,
            number = self.number,
            class = tracing::field::Empty,
        );
        let asking = self.ask(translated, &span).instrument(span.clone());
        // Large, and seldom the last one: off the stack of the request.
        let outcome = Box::pin(asking).await;
        self.note.end(outcome.as_ref());
        if let Err(failure) = &outcome {
            span.record("class", failure.class.as_str());
        }
        outcome
    }

    async fn ask(&self, translated: UpstreamRequest, span: &Span) -> Result<(Answer, Duration), Failure> {
        let (upstream, codec) = (&self.account.upstream, self.account.upstream.codec());
        let head = self.request.head();
        let mut timeline = Timeline::start(self.deadlines, self.patience, head.stream);
        let fault = self.strike();
        if let Some(fault) = fault {
            injected::instead(fault, codec, &mut timeline).await?;
        }
        let traced = self.trace.outgoing(span, self.node.host.entropy.as_ref());
        // In our own header alone: those of SDKs are not ours to send.
        let whole = Patience { begin: None, ..self.patience };
        let headers = traced.into_iter().chain(patience::told(whole, Instant::now()));
        let answer = upstream.send(translated, headers, &mut timeline).await.map_err(|error| unsent(&error))?;
        if let Some(fault) = fault {
            injected::delay(fault, &timeline).await?;
        }
        if !answer.status.is_success() {
            let body = source::read_error(answer.body).await;
            return Err(codec.classify(answer.status, &answer.headers, &body));
        }
        let context = CallContext {
            endpoint: self.request.endpoint(),
            upstream_model: self.ticket.target().id.model.to_string(),
            include_usage: head.include_usage,
            created: u64::try_from(self.node.now_unix_ms() / 1000).unwrap_or_default(),
        };
        if head.stream {
            let source = Source::new(answer.body, codec.stream(context), timeline).cut_after(injected::cut(fault));
            open(source).await
        } else {
            if injected::cut(fault).is_some() {
                return Err(source::broken());
            }
            let (body, share) = source::read_whole(answer.body, &timeline, &self.node.budget).await?;
            let answer = codec.chat_response(&context, &body)?;
            let tokens = Tokens::reported(answer.usage);
            Ok((Answer { body: Part::Whole(share.hold(answer.body)), tokens }, timeline.elapsed()))
        }
    }

    /// An injected fault that strikes this attempt.
    fn strike(&self) -> Option<What> {
        let target = &self.ticket.target().id;
        let strike = self.node.faults.strike(target, || self.node.host.entropy.unit())?;
        self.ticket.strike();
        self.note.struck(&strike.id);
        self.node.metrics.injected(target, strike.what.as_str());
        Some(strike.what)
    }
}

/// Reads until the first content, and holds back what comes before it.
async fn open(mut source: Source) -> Result<(Answer, Duration), Failure> {
    let mut held = BytesMut::new();
    let mut tokens = Tokens::default();
    for _ in 0..MAX_HELD_EVENTS {
        let Some(step) = source.next_before_content().await? else {
            return Err(Failure::truncated("the stream ended before its answer"));
        };
        held.extend_from_slice(&step.bytes);
        tokens.add(&step);
        if step.done {
            let took = source.elapsed();
            source.finish();
            return Ok((Answer { body: Part::Stream(held.freeze(), None), tokens }, took));
        }
        if step.content || step.finished || held.len() > MAX_HELD_BYTES {
            break;
        }
    }
    let took = source.elapsed();
    Ok((Answer { body: Part::Stream(held.freeze(), Some(Box::new(source))), tokens }, took))
}

/// A request that got no answer, as a failure.
fn unsent(error: &SendError) -> Failure {
    tracing::debug!(error = error as &dyn std::error::Error, "no answer from the upstream");
    match error {
        SendError::Credential(_) => Failure::new(FailureClass::Credential, error.message()),
        SendError::Url => Failure::new(FailureClass::Provider, error.message()),
        SendError::Deadline(stage) => source::late(meridian_resilience::Expired { stage: *stage }),
        SendError::Connect(_) | SendError::Broken(_) => Failure::new(FailureClass::Transport, error.message()),
    }
}
