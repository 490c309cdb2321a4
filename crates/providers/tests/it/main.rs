//! The codecs through their public face: fixtures in, bytes and judgements out.

mod anthropic_answers;
mod anthropic_requests;
mod anthropic_streams;
mod battery;
mod errors;
mod openai_compatible;
mod support;
