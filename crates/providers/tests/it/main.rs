//! The codecs through their public face: fixtures in, bytes and judgements out.

#![cfg(test)] // clippy's allowances for tests then reach helpers too

mod anthropic_answers;
mod anthropic_requests;
mod anthropic_streams;
mod battery;
mod errors;
mod messages_pass_through;
mod messages_translated;
mod openai_compatible;
mod prefill;
mod support;
mod token_limit;
