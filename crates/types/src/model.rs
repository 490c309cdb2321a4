//! Models: public names and where requests for them may go.

use std::time::Duration;

use crate::provider::Deadlines;
use crate::{ModelName, ProviderName};

/// A public model name with its tiers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// What clients send.
    pub name: ModelName,
    /// Tried in order; each has at least one target.
    pub tiers: Vec<Vec<Target>>,
    /// Models whose tiers come after this one's own, in order.
    pub fallbacks: Vec<ModelName>,
    /// How its requests are treated.
    pub policy: Policy,
}

/// How requests for a model are treated.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// Replace those of the providers.
    pub deadlines: Overrides,
    /// The order within a tier.
    pub choice: Choice,
    /// What a content filter refused may be asked of other providers.
    pub reroute_refusals: bool,
    /// A stream that dies after content goes on at another target.
    pub continue_streams: bool,
    /// A second target is asked when the first is late with its first content.
    pub hedge: Option<Hedge>,
}

/// How much of hedging a model allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hedge {
    /// Of a hundred streamed requests so many may be asked of a second target.
    pub budget_percent: u32,
    /// Most that the second target may charge, in percent of the first one's price; `None`: whatever it does.
    pub max_price_percent: Option<u32>,
}

/// [`Hedge::budget_percent`], if nothing else is written: what the 95th percentile makes late.
pub const DEFAULT_HEDGE_PERCENT: u32 = 5;

/// The order in which the targets of one tier are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// At random by weight.
    #[default]
    Weighted,
    /// Of two drawn by weight, the one that is faster and less busy.
    Fastest,
    /// As listed.
    Priority,
    /// By price.
    LowestCost,
    /// The same one for the same session.
    Session,
}

/// Deadlines that differ from the provider's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Overrides {
    /// See [`Deadlines::connect`]; as the following ones.
    pub connect: Option<Duration>,
    /// See [`Deadlines::response_headers`].
    pub response_headers: Option<Duration>,
    /// See [`Deadlines::first_token`].
    pub first_token: Option<Duration>,
    /// See [`Deadlines::idle`].
    pub idle: Option<Duration>,
    /// See [`Deadlines::total`].
    pub total: Option<Duration>,
    /// See [`Deadlines::min_bytes_per_s`].
    pub min_bytes_per_s: Option<u32>,
}

impl Overrides {
    /// The provider's deadlines with these in place of its own.
    pub fn over(&self, base: Deadlines) -> Deadlines {
        Deadlines {
            connect: self.connect.unwrap_or(base.connect),
            response_headers: self.response_headers.unwrap_or(base.response_headers),
            first_token: self.first_token.unwrap_or(base.first_token),
            idle: self.idle.unwrap_or(base.idle),
            total: self.total.unwrap_or(base.total),
            min_bytes_per_s: self.min_bytes_per_s.unwrap_or(base.min_bytes_per_s),
        }
    }
}

/// One place where a request can be served.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// Which account.
    pub provider: ProviderName,
    /// What the provider calls the model.
    pub model: ModelName,
    /// Relative share within the tier; 0 is used last.
    pub weight: u32,
    /// What the provider charges, if that is known.
    pub price: Option<Price>,
    /// How it is told to go on with an answer that has begun; `None`: as its codec's API does.
    pub prefill: Option<Prefill>,
}

/// How an upstream is told to go on with the last message, the assistant's, in place of a new answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Prefill {
    /// It cannot.
    No,
    /// It does so by itself.
    LastMessage,
    /// By `"prefix": true` in the message.
    PrefixField,
    /// By `"partial": true` in the message.
    PartialField,
    /// By `"continue_final_message": true` and `"add_generation_prompt": false` in the request.
    ContinueFinalMessage,
}

/// Millionths of a US dollar for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Price {
    /// Of the prompt.
    pub input_micro_usd: u64,
    /// Of the answer.
    pub output_micro_usd: u64,
}

impl Price {
    /// What one chat costs in relation to others: of today's, three tokens are sent for each one that is got.
    #[must_use]
    pub const fn weighed(&self) -> u64 {
        const INPUT_SHARE: u64 = 3;
        self.input_micro_usd.saturating_mul(INPUT_SHARE).saturating_add(self.output_micro_usd)
    }
}
