//! The tokens of one target's answer, counted once, however the answer ends.

use std::sync::Arc;

use meridian_llm::Usage;
use meridian_providers::Step;
use meridian_routing::TargetId;
use meridian_types::ModelName;

use crate::node::Node;

/// What is known of the tokens of an answer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tokens {
    /// What the upstream said last.
    reported: Option<Usage>,
    /// Events with content; each took a token at least.
    pieces: u64,
}

impl Tokens {
    pub(crate) fn reported(usage: Option<Usage>) -> Self {
        Self { reported: usage, pieces: 0 }
    }

    pub(crate) fn add(&mut self, step: &Step) {
        self.pieces += u64::from(step.content);
        self.reported = step.usage.or(self.reported);
    }

    /// Input and output. Of an answer that was broken off, what has been seen: the upstream took the exact number with it.
    pub(crate) fn known(&self) -> (u64, u64) {
        let reported = self.reported.unwrap_or_default();
        (reported.prompt_tokens, reported.completion_tokens.max(self.pieces))
    }
}

/// The account of one target's part of an answer; settled when it is dropped.
pub(crate) struct Tally {
    node: Arc<Node>,
    model: ModelName,
    target: TargetId,
    pub(crate) tokens: Tokens,
}

impl Tally {
    /// `model` is the public one.
    pub(crate) fn open(node: &Arc<Node>, model: ModelName, target: TargetId, tokens: Tokens) -> Self {
        Self { node: Arc::clone(node), model, target, tokens }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.node.metrics.used(&self.model, &self.target, self.tokens.known());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(steps: &[(bool, Option<(u64, u64)>)], expected: (u64, u64)) {
        let mut tokens = Tokens::default();
        for (content, usage) in steps {
            let usage = usage.map(|(prompt_tokens, completion_tokens)| Usage {
                prompt_tokens,
                completion_tokens,
                ..Usage::default()
            });
            tokens.add(&Step { content: *content, usage, ..Step::default() });
        }
        assert_eq!(tokens.known(), expected, "{steps:?}");
    }

    #[test]
    fn what_is_reported_counts_and_never_less_than_was_seen() {
        check(&[], (0, 0));
        check(&[(false, None), (true, None), (true, None)], (0, 2));
        check(&[(false, Some((9, 1))), (true, None), (true, None), (true, None)], (9, 3));
        check(&[(false, Some((9, 1))), (true, None), (false, Some((9, 40)))], (9, 40));
    }
}
