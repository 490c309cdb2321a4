//! What the node counts. Labels come from the configuration and from closed lists, never from clients.

use meridian_resilience::Change;
use meridian_routing::TargetId;
use meridian_types::{ModelName, ProviderName, RegionName};
use meridian_upstream::Sign;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::ticket::Changes;

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Ended {
    /// `answered`, `failed`, `refused`, `cancelled` or `shed`.
    pub(crate) outcome: &'static str,
    /// Code of the closed list; empty if answered or cancelled.
    pub(crate) code: &'static str,
}

/// A request for which there was no place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Shed {
    /// `critical`, `default` or `batch`.
    pub(crate) class: &'static str,
}

/// What came of asking another node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct HandedOver {
    /// Where it is.
    pub(crate) region: String,
    /// `exhausted`: no target of ours served; `shed`: there was no place.
    pub(crate) reason: &'static str,
    /// `ok`, `full`, `pressed`, `failed`, `refused` or `unreachable`.
    pub(crate) result: &'static str,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Attempted {
    pub(crate) provider: String,
    pub(crate) model: String,
    /// `ok`, or the failure's class; `interrupted` after content; `outrun` by another that was asked beside it.
    pub(crate) result: &'static str,
}

/// A call that an injected fault struck.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Injected {
    pub(crate) provider: String,
    pub(crate) model: String,
    /// `latency`, `error`, `hang` or `cut`.
    pub(crate) kind: &'static str,
}

/// A provider.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Of {
    pub(crate) provider: String,
}

/// How a probe of a provider ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Probed {
    pub(crate) provider: String,
    /// `good`, `bad` or `unclear`.
    pub(crate) result: &'static str,
}

/// A breaker's state change.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Changed {
    pub(crate) provider: String,
    pub(crate) model: String,
    /// `opened`, `half_open`, `closed` or `rests`.
    pub(crate) to: &'static str,
    /// Why it opened or rests; empty otherwise.
    pub(crate) reason: &'static str,
}

/// A credential was refused, or is taken again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CredentialChanged {
    pub(crate) provider: String,
    /// `opened`: it is left alone. `half_open`: it is tried. `closed`: it is used again.
    pub(crate) to: &'static str,
}

/// A first target was late with its first content, at a model that hedges.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Hedged {
    /// `won`: the second one was faster; `lost`: the first one was after all; `failed`: both failed; `no_budget`: no
    /// second one was asked.
    pub(crate) result: &'static str,
}

/// Tokens that a target took in or put out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Used {
    /// The public model that was served.
    pub(crate) served: String,
    pub(crate) provider: String,
    pub(crate) model: String,
    /// `input` or `output`.
    pub(crate) kind: &'static str,
}

/// What became of a stream that died after content, at a model whose streams go on elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Died {
    /// `continued`; or why not: `no_target`, `not_text`, `failed` (whoever was asked could not), `not_continued` (it had
    /// gone on often enough, or nobody else may serve after such a failure).
    pub(crate) result: &'static str,
}

/// The node's metrics.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    pub(crate) in_flight: Gauge,
    pub(crate) requests: Family<Ended, Counter>,
    pub(crate) shed: Family<Shed, Counter>,
    pub(crate) handed_over: Family<HandedOver, Counter>,
    pub(crate) first_token: Histogram,
    pub(crate) duration: Histogram,
    pub(crate) attempts: Family<Attempted, Counter>,
    pub(crate) retries_refused: Family<Of, Counter>,
    pub(crate) faults: Family<Injected, Counter>,
    pub(crate) continuations: Family<Died, Counter>,
    pub(crate) hedges: Family<Hedged, Counter>,
    pub(crate) tokens: Family<Used, Counter>,
    pub(crate) probes: Family<Probed, Counter>,
    pub(crate) breakers: Family<Changed, Counter>,
    pub(crate) credentials: Family<CredentialChanged, Counter>,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry, held: &Gauge) -> Self {
        // 5 ms to 164 s, and 10 ms to 655 s: first tokens of small models to the longest deadlines.
        let metrics = Self {
            in_flight: Gauge::default(),
            requests: Family::default(),
            shed: Family::default(),
            handed_over: Family::default(),
            first_token: Histogram::new(exponential_buckets(0.005, 2.0, 16)),
            duration: Histogram::new(exponential_buckets(0.01, 2.0, 17)),
            attempts: Family::default(),
            retries_refused: Family::default(),
            faults: Family::default(),
            continuations: Family::default(),
            hedges: Family::default(),
            tokens: Family::default(),
            probes: Family::default(),
            breakers: Family::default(),
            credentials: Family::default(),
        };
        let registry = registry.sub_registry_with_prefix("meridian_node");
        registry.register("requests_in_flight", "Requests admitted and not ended", metrics.in_flight.clone());
        registry.register_with_unit(
            "held",
            "Memory that requests (twice their size) and whole answers hold, of the node's max_held_mib",
            Unit::Bytes,
            held.clone(),
        );
        registry.register("requests", "Requests by how they ended", metrics.requests.clone());
        registry.register(
            "requests_shed_by_class",
            "Requests for which the node had no place, also those that another node then served",
            metrics.shed.clone(),
        );
        registry.register(
            "handovers",
            "Requests handed over to other nodes, by region, reason and result",
            metrics.handed_over.clone(),
        );
        registry.register_with_unit(
            "first_token",
            "Time from the head of a streamed request to its first content",
            Unit::Seconds,
            metrics.first_token.clone(),
        );
        registry.register_with_unit(
            "request_duration",
            "Time that a request stayed in flight",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        registry.register("attempts", "Attempts by target and result", metrics.attempts.clone());
        registry.register(
            "retries_refused",
            "Attempts that were not made because their provider's retry budget was spent",
            metrics.retries_refused.clone(),
        );
        registry.register("faults_injected", "Attempts that an operator's fault struck", metrics.faults.clone());
        registry.register(
            "continuations",
            "Streams that died after content at models whose streams go on elsewhere, by what became of them",
            metrics.continuations.clone(),
        );
        registry.register(
            "hedges",
            "Streams whose first target was late, at models that ask a second one, by what came of that",
            metrics.hedges.clone(),
        );
        registry.register(
            "tokens",
            "Tokens by public model and target, as reported, and never fewer than were seen of answers broken off",
            metrics.tokens.clone(),
        );
        registry.register("provider_probes", "Probes of providers by result", metrics.probes.clone());
        registry.register("breaker_changes", "State changes of breakers by target", metrics.breakers.clone());
        registry.register(
            "credential_changes",
            "Refusals of providers' credentials, and returns to their use",
            metrics.credentials.clone(),
        );
        metrics
    }

    pub(crate) fn attempted(&self, target: &TargetId, result: &'static str) {
        let (provider, model) = (target.provider.to_string(), target.model.to_string());
        self.attempts.get_or_create(&Attempted { provider, model, result }).inc();
    }

    pub(crate) fn handed_over(&self, region: &RegionName, reason: &'static str, result: &'static str) {
        self.handed_over.get_or_create(&HandedOver { region: region.to_string(), reason, result }).inc();
    }

    pub(crate) fn retry_refused(&self, target: &TargetId) {
        self.retries_refused.get_or_create(&Of { provider: target.provider.to_string() }).inc();
    }

    pub(crate) fn injected(&self, target: &TargetId, kind: &'static str) {
        let (provider, model) = (target.provider.to_string(), target.model.to_string());
        self.faults.get_or_create(&Injected { provider, model, kind }).inc();
    }

    pub(crate) fn hedged(&self, result: &'static str) {
        self.hedges.get_or_create(&Hedged { result }).inc();
    }

    pub(crate) fn used(&self, served: &ModelName, target: &TargetId, (input, output): (u64, u64)) {
        for (kind, tokens) in [("input", input), ("output", output)] {
            let (provider, model) = (target.provider.to_string(), target.model.to_string());
            let used = Used { served: served.to_string(), provider, model, kind };
            self.tokens.get_or_create(&used).inc_by(tokens);
        }
    }

    pub(crate) fn stream_died(&self, result: &'static str) {
        self.continuations.get_or_create(&Died { result }).inc();
    }

    pub(crate) fn probed(&self, provider: &ProviderName, sign: Sign) {
        let result = match sign {
            Sign::Alive => "good",
            Sign::Dead => "bad",
            Sign::Unclear => "unclear",
        };
        self.probes.get_or_create(&Probed { provider: provider.to_string(), result }).inc();
    }

    /// State changes of a target's breaker and of its credential's.
    pub(crate) fn changed(&self, target: &TargetId, changes: Changes) {
        if let Some(Described { to, reason, wait_ms }) = changes.target.map(Described::of) {
            tracing::info!(%target, to, reason, wait_ms, "breaker changed");
            let (provider, model) = (target.provider.to_string(), target.model.to_string());
            self.breakers.get_or_create(&Changed { provider, model, to, reason }).inc();
        }
        if let Some(Described { to, wait_ms, .. }) = changes.credential.map(Described::of) {
            // A person has to act, so that this is louder.
            tracing::warn!(provider = %target.provider, to, wait_ms, "use of the credential changed");
            self.credentials.get_or_create(&CredentialChanged { provider: target.provider.to_string(), to }).inc();
        }
    }
}

/// A state change in words of closed lists.
struct Described {
    to: &'static str,
    reason: &'static str,
    wait_ms: Option<u128>,
}

impl Described {
    fn of(change: Change) -> Self {
        let (to, reason, wait) = match change {
            Change::Opened(wait, reason) => ("opened", reason.as_str(), Some(wait)),
            Change::Rests(wait, true) => ("rests", "asked", Some(wait)),
            Change::Rests(wait, false) => ("rests", "pressure", Some(wait)),
            Change::HalfOpen => ("half_open", "", None),
            Change::Closed => ("closed", "", None),
        };
        Self { to, reason, wait_ms: wait.map(|wait| wait.as_millis()) }
    }
}
