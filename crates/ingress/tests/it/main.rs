//! What a client can do to the listener: too slow, too much, too many. Limits are short, so that tests of them are quick.

#![cfg(test)] // clippy's allowances for tests then reach helpers too

mod http2;
mod slow;
mod support;
