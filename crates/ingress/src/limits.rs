//! What a client may take of this process.

use std::time::Duration;

/// Limits of the public listener.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest request body: OpenAI takes up to 20 MB of images and Anthropic 32 MB in all.
    pub max_body_bytes: usize,
    /// Bytes of requests (each twice: as it came, and as it is sent) and of whole answers that are held at once; beyond it
    /// requests are shed before they take memory. Room for one of the largest at least.
    pub budget_bytes: usize,
    /// Headers of one request; SDKs send about 25.
    pub max_headers: usize,
    /// Largest head of a request. Also what one read takes at most.
    pub max_head_bytes: usize,
    /// Connections open at once; more are closed as they come, so that the client tries another address at once.
    pub max_connections: usize,
    /// From the connection's start to its first bytes.
    pub first_byte: Duration,
    /// For a request's head, and how long a kept-alive connection may idle. Longer than clients keep theirs (httpx:
    /// 5 s, Go: 90 s is the exception), shorter than what a hoarder would like.
    pub head: Duration,
    /// For the next 16 KiB of a request's body, or its end.
    pub body_gap: Duration,
    /// For a whole request's body: 32 MiB at 1 Mbit/s.
    pub body: Duration,
    /// How long a client may take nothing of what is there for it before it counts as gone: of its connection, or of one
    /// answer among several.
    pub write_stall: Duration,
    /// Bytes a second that a client must take once something waits for it, averaged over `write_stall` of waiting. Who takes
    /// a segment a minute holds as much as who takes nothing.
    pub min_taken_per_s: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body_bytes: 32 * 1024 * 1024,
            // 8 of the largest, or 5,000 of 50 KiB: a long chat.
            budget_bytes: 512 * 1024 * 1024,
            max_headers: 100,
            max_head_bytes: 64 * 1024,
            max_connections: 10_000,
            first_byte: Duration::from_secs(10),
            head: Duration::from_secs(75),
            body_gap: Duration::from_secs(20),
            body: Duration::from_secs(270),
            write_stall: Duration::from_secs(60),
            // A fifth of what the slowest mobile network carries (GPRS), and as many tokens as a person reads.
            min_taken_per_s: 1024,
        }
    }
}
