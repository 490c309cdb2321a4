//! What is answered and in which steps: text or tool arguments cut into pieces, then a script of bytes and waits.

mod reply;
mod sample;
mod script;

pub use reply::expected_text;
pub(crate) use reply::{Finish, Reply, Wish};
pub(crate) use sample::sample;
pub(crate) use script::{Pace, Script, Step};
