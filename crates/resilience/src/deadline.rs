//! The deadlines of one attempt.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use meridian_types::provider::Deadlines;
use tokio::time::Instant;

use crate::{Meter, Patience};

/// An upstream sends the head of a whole (not streamed) answer only when it has generated all of it, so that silence
/// says less: such an answer gets this many times the configured wait for a head.
pub const WHOLE_ANSWER_FACTOR: u32 = 4;

/// Keep-alives alone (pings, comments, white space) hold an answer that has begun open for so many times its `idle`: what
/// sends them may be a proxy in front of a model that is gone. Models that think say so in content.
const KEPT_ALIVE_FACTOR: u32 = 4;

/// What an attempt was waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// TCP and TLS.
    Connect,
    /// The response's head.
    ResponseHeaders,
    /// The first event with content.
    FirstToken,
    /// The next event, or the next part of a body.
    Idle,
    /// More content: only keep-alives come.
    Content,
    /// More bytes: they come, but too slowly.
    MinimumRate,
    /// The end of the whole attempt.
    Total,
    /// Whatever it was, the client would not have waited for it any longer.
    Client,
}

impl Stage {
    /// The stable name, as in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::ResponseHeaders => "response_headers",
            Self::FirstToken => "first_token",
            Self::Idle => "idle",
            Self::Content => "content",
            Self::MinimumRate => "minimum_rate",
            Self::Total => "total",
            Self::Client => "client",
        }
    }

    /// What happened when its deadline passed: for logs and clients.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Connect => "the upstream could not be connected to in time",
            Self::ResponseHeaders => "the upstream did not begin its answer in time",
            Self::FirstToken => "the upstream sent no content in time",
            Self::Idle => "the upstream fell silent",
            Self::Content => "the upstream sent nothing but keep-alives for too long",
            Self::MinimumRate => "the upstream sends too slowly",
            Self::Total => "the upstream did not finish its answer in time",
            Self::Client => "no answer came within the time that the client gives it",
        }
    }
}

/// A deadline has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expired {
    /// Which.
    pub stage: Stage,
}

impl fmt::Display for Expired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.stage.message())
    }
}

impl std::error::Error for Expired {}

/// When each step of one attempt has to be done. The total bounds all of them.
#[derive(Debug, Clone, Copy)]
pub struct Timeline {
    started: Instant,
    sent: Instant,
    deadlines: Deadlines,
    patience: Patience,
    streamed: bool,
}

impl Timeline {
    /// An attempt that starts now. Until [`Timeline::connected`] is called, the request counts as sent at once.
    #[must_use]
    pub fn start(deadlines: Deadlines, patience: Patience, streamed: bool) -> Self {
        let now = Instant::now();
        Self { started: now, sent: now, deadlines, patience, streamed }
    }

    /// A connection is there, and the request goes out on it now.
    pub fn connected(&mut self) {
        self.sent = Instant::now();
    }

    /// When the attempt began.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// By when the connection has to be there.
    #[must_use]
    pub fn connect(&self) -> (Instant, Stage) {
        self.before_content(self.started + self.deadlines.connect, Stage::Connect)
    }

    /// By when the response's head has to be there.
    #[must_use]
    pub fn response_headers(&self) -> (Instant, Stage) {
        self.before_content(self.sent + head(&self.deadlines, self.streamed), Stage::ResponseHeaders)
    }

    /// By when the next event, which is waited for since `since`, has to be there, while no content has come.
    #[must_use]
    pub fn first_token(&self, since: Instant) -> (Instant, Stage) {
        let first = self.before_content(self.sent + self.deadlines.first_token, Stage::FirstToken);
        let idle = self.idle(since);
        if idle.0 < first.0 { idle } else { first }
    }

    /// By when the whole of the next event, or the next part of a body, which is waited for since `since`, has to be
    /// there.
    #[must_use]
    pub fn idle(&self, since: Instant) -> (Instant, Stage) {
        let idle = (since + self.deadlines.idle, Stage::Idle);
        // A whole answer has not begun for the client before all of it is here.
        if self.streamed { self.bounded(idle, self.patience.end) } else { self.bounded(idle, self.patience.first()) }
    }

    /// The same once there was content, since which `quiet` was spent waiting for more: keep-alives are life, but not for
    /// ever.
    #[must_use]
    pub fn more(&self, since: Instant, quiet: Duration) -> (Instant, Stage) {
        let left = (self.deadlines.idle * KEPT_ALIVE_FACTOR).saturating_sub(quiet);
        let (idle, content) = (self.idle(since), (since + left, Stage::Content));
        if content.0 < idle.0 { content } else { idle }
    }

    /// Whether a deadline of all of it has passed at `now`. What is waited for has its own; this is for what was there, and
    /// nobody took.
    ///
    /// # Errors
    /// Which one has.
    pub fn in_time(&self, now: Instant) -> Result<(), Expired> {
        let (at, stage) = self.bounded((self.started + self.deadlines.total, Stage::Total), self.patience.end);
        if now < at { Ok(()) } else { Err(Expired { stage }) }
    }

    fn before_content(&self, deadline: Instant, stage: Stage) -> (Instant, Stage) {
        self.bounded((deadline, stage), self.patience.first())
    }

    fn bounded(&self, deadline: (Instant, Stage), client: Option<Instant>) -> (Instant, Stage) {
        let total = (self.started + self.deadlines.total, Stage::Total);
        let client = client.map(|until| (until, Stage::Client));
        // Of two at the same time the first one listed is to blame.
        [Some(deadline), Some(total), client].into_iter().flatten().min_by_key(|(at, _)| *at).unwrap_or(deadline)
    }

    /// A meter of the answer's rate.
    #[must_use]
    pub fn meter(&self) -> Meter {
        Meter::new(self.deadlines.min_bytes_per_s, self.deadlines.idle)
    }

    /// Time since the attempt began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// From the request's end to the response's head.
fn head(deadlines: &Deadlines, streamed: bool) -> Duration {
    deadlines.response_headers * if streamed { 1 } else { WHOLE_ANSWER_FACTOR }
}

/// How long an attempt waits at a silent target before its own deadlines end it.
#[must_use]
pub fn longest_silence(deadlines: &Deadlines, streamed: bool) -> Duration {
    let head = head(deadlines, streamed);
    let content = if streamed { head.max(deadlines.first_token) } else { head };
    (deadlines.connect + content).min(deadlines.total)
}

/// Runs `work` until its deadline; dropping it then cancels it.
///
/// # Errors
/// When the deadline passes first.
pub async fn within<T>((at, stage): (Instant, Stage), work: impl Future<Output = T>) -> Result<T, Expired> {
    tokio::time::timeout_at(at, work).await.map_err(|_| Expired { stage })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deadlines() -> Deadlines {
        let seconds = Duration::from_secs;
        Deadlines {
            connect: seconds(2),
            response_headers: seconds(10),
            first_token: seconds(20),
            idle: seconds(15),
            total: seconds(60),
            min_bytes_per_s: 16,
        }
    }

    #[track_caller]
    fn check(got: (Instant, Stage), since: Instant, seconds: u64, stage: Stage) {
        assert_eq!((got.0 - since, got.1), (Duration::from_secs(seconds), stage));
    }

    #[tokio::test(start_paused = true)]
    async fn each_step_counts_from_where_it_began_and_the_total_bounds_all() {
        let start = Instant::now();
        let mut timeline = Timeline::start(deadlines(), Patience::default(), true);
        check(timeline.connect(), start, 2, Stage::Connect);
        tokio::time::advance(Duration::from_secs(1)).await;
        timeline.connected();
        check(timeline.response_headers(), start, 11, Stage::ResponseHeaders);
        check(timeline.first_token(Instant::now()), start, 16, Stage::Idle);
        tokio::time::advance(Duration::from_secs(9)).await;
        check(timeline.first_token(Instant::now()), start, 21, Stage::FirstToken);
        check(timeline.idle(Instant::now()), start, 25, Stage::Idle);
        tokio::time::advance(Duration::from_secs(40)).await;
        check(timeline.idle(Instant::now()), start, 60, Stage::Total);
    }

    #[tokio::test(start_paused = true)]
    async fn a_whole_answer_may_be_silent_for_longer() {
        let start = Instant::now();
        let timeline = Timeline::start(deadlines(), Patience::default(), false);
        check(timeline.response_headers(), start, 40, Stage::ResponseHeaders);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clients_patience_bounds_all_until_content_and_its_end_bounds_the_rest() {
        let start = Instant::now();
        let patience =
            Patience { begin: Some(start + Duration::from_secs(5)), end: Some(start + Duration::from_secs(12)) };
        let streamed = Timeline::start(deadlines(), patience, true);
        check(streamed.connect(), start, 2, Stage::Connect);
        check(streamed.response_headers(), start, 5, Stage::Client);
        check(streamed.first_token(Instant::now()), start, 5, Stage::Client);
        check(streamed.idle(Instant::now()), start, 12, Stage::Client);
        check(Timeline::start(deadlines(), patience, false).idle(Instant::now()), start, 5, Stage::Client);
    }

    #[tokio::test(start_paused = true)]
    async fn keep_alives_alone_are_waited_for_four_times_as_long_as_silence() {
        let start = Instant::now();
        let timeline =
            Timeline::start(Deadlines { total: Duration::from_secs(600), ..deadlines() }, Patience::default(), true);
        for (quiet_s, wait_s, stage) in
            [(0, 15, Stage::Idle), (45, 15, Stage::Idle), (46, 14, Stage::Content), (90, 0, Stage::Content)]
        {
            check(timeline.more(start, Duration::from_secs(quiet_s)), start, wait_s, stage);
        }
        let patience = Patience { begin: None, end: Some(start + Duration::from_secs(7)) };
        check(Timeline::start(deadlines(), patience, true).more(start, Duration::ZERO), start, 7, Stage::Client);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_all_is_kept_by_the_clock_too() {
        let start = Instant::now();
        let seconds = Duration::from_secs;
        for (end_s, over_s, stage) in
            [(None, 60, Stage::Total), (Some(12), 12, Stage::Client), (Some(90), 60, Stage::Total)]
        {
            let patience = Patience { begin: Some(start + seconds(1)), end: end_s.map(|end_s| start + seconds(end_s)) };
            let timeline = Timeline::start(deadlines(), patience, true);
            assert_eq!(timeline.in_time(start + seconds(over_s) - Duration::from_millis(1)), Ok(()));
            assert_eq!(timeline.in_time(start + seconds(over_s)), Err(Expired { stage }));
        }
    }

    #[test]
    fn a_silent_target_costs_a_connection_and_the_longer_of_head_and_content() {
        let check = |deadlines: Deadlines, streamed: bool, seconds: u64| {
            assert_eq!(longest_silence(&deadlines, streamed), Duration::from_secs(seconds), "{streamed} {deadlines:?}");
        };
        check(deadlines(), true, 22);
        check(deadlines(), false, 42);
        check(Deadlines::default(), false, 122);
        check(Deadlines { response_headers: Duration::from_secs(30), ..deadlines() }, true, 32);
        check(Deadlines { response_headers: Duration::from_secs(30), ..deadlines() }, false, 60);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_is_late_is_dropped_and_says_at_which_step() {
        let timeline = Timeline::start(deadlines(), Patience::default(), true);
        let outcome = within(timeline.connect(), std::future::pending::<()>()).await;
        assert_eq!(outcome, Err(Expired { stage: Stage::Connect }));
        assert_eq!(timeline.elapsed(), Duration::from_secs(2));
        assert_eq!(within(timeline.idle(Instant::now()), async { 7 }).await, Ok(7));
    }
}
