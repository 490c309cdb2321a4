//! The attempt loop: one candidate after the other, until one begins a real answer or none is left.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use meridian_ingress::TraceContext;
use meridian_llm::{ClientError, ClientRequest, Failure, FailureClass};
use meridian_providers::{CallContext, UpstreamRequest};
use meridian_resilience::{MAX_ATTEMPTS, Next, Timeline, after_failure};
use meridian_routing::Candidate;
use meridian_types::{ErrorCode, ModelName};
use meridian_upstream::SendError;
use tracing::{Instrument, Span};

use crate::account::Account;
use crate::node::Node;
use crate::snapshot::Snapshot;
use crate::source::{self, Source};
use crate::target::Target;
use crate::ticket::Ticket;

/// Start-up events held back while no content has come. Providers send a handful; more is commitment enough.
const MAX_HELD_EVENTS: usize = 64;
const MAX_HELD_BYTES: usize = 256 * 1024;

/// What the loop works on.
pub(crate) struct Attempts<'a> {
    pub(crate) node: &'a Arc<Node>,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) request: &'a ClientRequest,
    pub(crate) trace: &'a TraceContext,
}

/// A target that has begun to answer.
pub(crate) struct Served {
    pub(crate) answer: Answer,
    /// What holds places at the target while its answer goes on.
    pub(crate) ticket: Ticket,
    /// Which public model it is: the one asked for, or a fallback.
    pub(crate) model: ModelName,
    /// Targets asked, this one included.
    pub(crate) attempts: usize,
    /// Parameters that were dropped or clamped.
    pub(crate) adjusted: Vec<String>,
}

/// The beginning of an answer.
pub(crate) enum Answer {
    /// All of it.
    Whole(Bytes),
    /// What was held back, and where more comes from; `None` if that was all.
    Stream(Bytes, Option<Box<Source>>),
}

/// Nobody served.
pub(crate) struct Lost {
    /// Targets asked.
    pub(crate) attempts: usize,
    /// How each failed, in order.
    pub(crate) failures: Vec<Failure>,
    /// Why a target was not asked: it cannot honour the request.
    pub(crate) unsupported: Option<ClientError>,
}

impl Attempts<'_> {
    /// Asks the candidates in order.
    pub(crate) async fn run(&self, candidates: Vec<Candidate>) -> Result<Served, Lost> {
        let mut lost = Lost { attempts: 0, failures: Vec::new(), unsupported: None };
        // A model whose context is too small.
        let mut too_small: Option<ModelName> = None;
        for candidate in candidates {
            if lost.attempts == MAX_ATTEMPTS {
                break;
            }
            if too_small.as_ref() == Some(&candidate.model) {
                continue;
            }
            let id = &candidate.target;
            let (Some(account), Some(target)) =
                (self.snapshot.providers.get(&id.provider), self.snapshot.targets.get(id))
            else {
                continue;
            };
            let translated = match account.upstream.codec().chat_request(self.request, id.model.as_str()) {
                Ok(translated) => translated,
                Err(error) => {
                    let elsewhere = error.code == ErrorCode::UnsupportedParameter;
                    lost.unsupported = Some(error);
                    if elsewhere { continue } else { break }
                }
            };
            let Some(mut ticket) = Ticket::begin(account, target, candidate.last_resort) else { continue };
            lost.attempts += 1;
            let adjusted = translated.adjusted.clone();
            match self.ask(account, target, translated).await {
                Ok((answer, first_token)) => {
                    self.settle(&mut ticket, Ok(first_token));
                    return Ok(Served { answer, ticket, model: candidate.model, attempts: lost.attempts, adjusted });
                }
                Err(failure) => {
                    self.settle(&mut ticket, Err(&failure));
                    let next = after_failure(failure.class);
                    lost.failures.push(failure);
                    match next {
                        Next::Target => {}
                        Next::Model => too_small = Some(candidate.model),
                        Next::Answer => break,
                    }
                }
            }
        }
        Err(lost)
    }

    async fn ask(
        &self,
        account: &Account,
        target: &Target,
        translated: UpstreamRequest,
    ) -> Result<(Answer, std::time::Duration), Failure> {
        let span = tracing::info_span!(
            "attempt",
            otel.name = "chat upstream",
            otel.kind = "client",
            provider = %target.id.provider,
            model = %target.id.model,
            class = tracing::field::Empty,
        );
        let asking = self.ask_in_span(account, target, translated, &span).instrument(span.clone());
        // Large, and seldom the last one: off the stack of the request.
        let outcome = Box::pin(asking).await;
        if let Err(failure) = &outcome {
            span.record("class", failure.class.as_str());
        }
        outcome
    }

    async fn ask_in_span(
        &self,
        account: &Account,
        target: &Target,
        translated: UpstreamRequest,
        span: &Span,
    ) -> Result<(Answer, std::time::Duration), Failure> {
        let (upstream, codec) = (&account.upstream, account.upstream.codec());
        let head = self.request.head();
        let mut timeline = Timeline::start(upstream.provider().deadlines, head.stream);
        let traced = self.trace.outgoing(span, self.node.host.entropy.as_ref());
        let answer = upstream.send(translated, traced, &mut timeline).await.map_err(|error| unsent(&error))?;
        if !answer.status.is_success() {
            let body = source::read_error(answer.body).await;
            return Err(codec.classify(answer.status, &answer.headers, &body));
        }
        let context = CallContext {
            endpoint: self.request.endpoint(),
            upstream_model: target.id.model.to_string(),
            include_usage: head.include_usage,
            created: u64::try_from(self.node.now_unix_ms() / 1000).unwrap_or_default(),
        };
        if head.stream {
            let source = Source::new(answer.body, codec.stream(context), timeline);
            open(source).await
        } else {
            let body = source::read_whole(answer.body, &timeline).await?;
            let answer = codec.chat_response(&context, &body)?;
            Ok((Answer::Whole(answer.body), timeline.elapsed()))
        }
    }

    fn settle(&self, ticket: &mut Ticket, outcome: Result<std::time::Duration, &Failure>) {
        let unit = self.node.host.entropy.unit();
        let (result, changes) = match outcome {
            Ok(first_token) => ("ok", ticket.answered(first_token, unit)),
            Err(failure) => (failure.class.as_str(), ticket.failed(failure, unit)),
        };
        let id = &ticket.target().id;
        self.node.metrics.attempted(id, result);
        if let Err(failure) = outcome {
            let (status, code) = (failure.status, failure.code.as_deref());
            tracing::debug!(target = %id, class = result, status, code, "{}", failure.message);
        }
        self.node.metrics.changed(id, changes);
    }
}

/// Reads until the first content, and holds back what comes before it.
async fn open(mut source: Source) -> Result<(Answer, std::time::Duration), Failure> {
    let mut held = BytesMut::new();
    for _ in 0..MAX_HELD_EVENTS {
        let Some(step) = source.next_before_content().await? else {
            return Err(Failure::truncated("the stream ended before its answer"));
        };
        held.extend_from_slice(&step.bytes);
        if step.done {
            let took = source.elapsed();
            source.finish();
            return Ok((Answer::Stream(held.freeze(), None), took));
        }
        if step.content || step.finished || held.len() > MAX_HELD_BYTES {
            break;
        }
    }
    let took = source.elapsed();
    Ok((Answer::Stream(held.freeze(), Some(Box::new(source))), took))
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
