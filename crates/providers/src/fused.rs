//! Keeps a finished or failed translator silent, so that no provider has to think of it.

use meridian_llm::Failure;
use meridian_sse::Event;

use crate::{Step, StreamTranslator};

/// Passes events to `inner` until it is done or has failed.
pub(crate) struct Fused<T> {
    inner: T,
    state: State,
}

enum State {
    Open,
    Done,
    Failed(Failure),
}

impl<T> Fused<T> {
    pub(crate) const fn new(inner: T) -> Self {
        Self { inner, state: State::Open }
    }
}

impl<T: StreamTranslator> Fused<T> {
    fn step(&mut self, next: impl FnOnce(&mut T) -> Result<Step, Failure>) -> Result<Step, Failure> {
        match &self.state {
            State::Open => {}
            State::Done => return Ok(Step { finished: true, done: true, ..Step::default() }),
            State::Failed(failure) => return Err(failure.clone()),
        }
        let result = next(&mut self.inner);
        match &result {
            Ok(step) if step.done => self.state = State::Done,
            Ok(_) => {}
            Err(failure) => self.state = State::Failed(failure.clone()),
        }
        result
    }
}

impl<T: StreamTranslator> StreamTranslator for Fused<T> {
    fn event(&mut self, event: Event) -> Result<Step, Failure> {
        self.step(|inner| inner.event(event))
    }

    fn end(&mut self) -> Result<Step, Failure> {
        self.step(StreamTranslator::end)
    }
}
