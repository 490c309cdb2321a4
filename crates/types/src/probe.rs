//! The two headers by which nodes gossip: a probe asks for them, and its answer says what the answering node last saw.

/// Set in a probe's request, to any value.
pub const ASKS: &str = "x-meridian-probe";
/// In its answer: `<region>=up;<age in ms>` or `<region>=down;<age in ms>`, with commas between.
pub const SEEN: &str = "x-meridian-seen";
