//! What both ends of a connection between nodes have to know.

/// Requests under way on one connection: a node needs one to another for all that it hands over, and its own places and the
/// other's admission bound them. The end that accepts announces it (RFC 9113, section 6.5.2); the end that connects makes room
/// for as many answers.
pub const MAX_STREAMS: u32 = 4096;
