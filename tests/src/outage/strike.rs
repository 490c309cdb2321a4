//! What strikes whom, when and for how long: drawn from the seed.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::hosts::{FALLBACK, PRIMARY};

/// An outage begins when there has been some traffic: budgets and averages have something to stand on.
const BEGINS_MS: Range<u64> = 4_000..8_000;
/// Long enough for the breaker to open more than once.
const LASTS_MS: Range<u64> = 5_000..25_000;
/// Of a total outage: at its beginning everything is tried, which counts for less the longer it lasts.
const TOTAL_LASTS_MS: Range<u64> = 40_000..60_000;
/// One outage in so many is a total one ...
const TOTALS: u32 = 4;
/// ... and in so many of these the fallback is down for longer or less long than the primary.
const APART: u32 = 2;
const APART_MS: u64 = 8_000;
/// Of outages of the primary alone one in so many comes and goes ...
const FLAPS: u32 = 5;
/// ... staying and staying away for so long ...
const BEAT_MS: Range<u64> = 1_000..4_000;
/// ... and one in so many strikes only some of the calls ...
const PARTIAL: u32 = 4;
/// ... namely so many in a hundred.
const PERCENT: Range<u32> = 20..80;
/// Tokens of an answer after which something strikes it; answers have more.
const AFTER: Range<u32> = 0..12;
/// What is asked with a 429, in seconds.
const RETRY_AFTER_S: Range<u32> = 1..9;

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// This status.
    Status(u16),
    /// 429 with so many seconds of Retry-After.
    Limited(u32),
    /// The connection is reset.
    Reset,
    /// Nobody listens.
    Refused,
    /// The request is taken and never answered.
    Silent,
    /// Silence after the head and so many tokens; of a document, after half of it.
    Stalls(u32),
    /// The connection dies after so many tokens; of a document, after half of it.
    Cut(u32),
    /// The same inside an event.
    Truncated(u32),
    /// 200 with half a document, whatever was asked for.
    Half,
    /// An event that is no JSON after so many tokens; of a document, half of it.
    Malformed(u32),
}

/// What a strike is to whoever meets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    /// Every call fails at once, probes too.
    Dead,
    /// Every call waits in vain, probes too.
    Silent,
    /// It answers that it has too much to do.
    Pressed,
    /// Nothing comes of a call, or a stream that begins and then dies, and probes find nothing wrong.
    Hidden,
}

impl Kind {
    /// The fault of the simulated provider; `None`: it takes no connection.
    pub(super) fn fault(self) -> Option<String> {
        Some(match self {
            Self::Status(status) => format!("error;status={status}"),
            Self::Limited(seconds) => format!("error;status=429;retry_after={seconds}"),
            Self::Reset => "refuse".to_owned(),
            Self::Refused => return None,
            Self::Silent => "hang".to_owned(),
            Self::Stalls(after) => format!("stall;after={after}"),
            Self::Cut(after) => format!("cut;after={after};how=reset"),
            Self::Truncated(after) => format!("truncate;after={after}"),
            Self::Half => "bad_json".to_owned(),
            Self::Malformed(after) => format!("bad_sse;after={after}"),
        })
    }

    pub(super) fn nature(self) -> Nature {
        match self {
            Self::Status(500) | Self::Reset | Self::Refused => Nature::Dead,
            Self::Silent => Nature::Silent,
            Self::Status(_) | Self::Limited(_) => Nature::Pressed,
            Self::Stalls(_) | Self::Cut(_) | Self::Truncated(_) | Self::Half | Self::Malformed(_) => Nature::Hidden,
        }
    }

    /// Of those after which no client has got anything.
    fn total(random: &mut StdRng) -> Self {
        match Self::any(random) {
            Self::Stalls(_) => Self::Stalls(0),
            Self::Cut(_) => Self::Cut(0),
            Self::Truncated(_) => Self::Truncated(0),
            Self::Malformed(_) => Self::Malformed(0),
            kind => kind,
        }
    }

    fn any(random: &mut StdRng) -> Self {
        let after = random.random_range(AFTER);
        match random.random_range(0..12) {
            0 => Self::Status(500),
            1 => Self::Status(503),
            2 => Self::Status(529),
            3 => Self::Limited(random.random_range(RETRY_AFTER_S)),
            4 => Self::Reset,
            5 => Self::Refused,
            6 => Self::Silent,
            7 => Self::Stalls(after),
            8 => Self::Cut(after),
            9 => Self::Truncated(after),
            10 => Self::Half,
            _ => Self::Malformed(after),
        }
    }

    /// Of those that come and go with a process.
    fn flapping(random: &mut StdRng) -> Self {
        match random.random_range(0..4) {
            0 => Self::Status(500),
            1 => Self::Status(503),
            2 => Self::Reset,
            _ => Self::Refused,
        }
    }
}

/// What one provider suffers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Strike {
    pub(super) kind: Kind,
    /// Of a hundred calls so many; of a kind that is no answer at all, every one.
    pub(super) percent: u32,
    /// Since the start of the history.
    pub(super) at: Duration,
    pub(super) lasts: Duration,
    /// It comes and goes: how long it stays, and stays away.
    pub(super) beat: Option<Duration>,
}

impl Strike {
    pub(super) fn end(&self) -> Duration {
        self.at + self.lasts
    }

    /// Nothing comes of any call while it lasts.
    pub(super) fn is_whole(&self) -> bool {
        self.percent == 100 && self.beat.is_none()
    }

    /// When calls are struck.
    pub(super) fn struck(&self) -> Vec<Range<Duration>> {
        let Some(beat) = self.beat else { return vec![self.at..self.end()] };
        let mut struck = Vec::new();
        let mut from = self.at;
        while from < self.end() {
            struck.push(from..(from + beat).min(self.end()));
            from += 2 * beat;
        }
        struck
    }
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, percent, at, lasts, beat } = self;
        let (at, lasts) = (at.as_secs_f64(), lasts.as_secs_f64());
        write!(f, "at {at:.1} s for {lasts:.1} s: {kind:?}, {percent} % of the calls")?;
        beat.map_or(Ok(()), |beat| write!(f, ", coming and going every {:.1} s", beat.as_secs_f64()))
    }
}

/// One history's outage.
#[derive(Debug, Clone, PartialEq)]
pub struct Outage {
    pub(super) primary: Strike,
    /// `None`: the fallback is well.
    pub(super) fallback: Option<Strike>,
    /// Of the primary and of the fallback.
    pub(super) codecs: [&'static str; 2],
}

impl Outage {
    /// The outage of a seed.
    pub(super) fn draw(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let at = millis(&mut random, BEGINS_MS);
        let (primary, fallback) = match random.random_ratio(1, TOTALS) {
            true => total(&mut random, at),
            false => (alone(&mut random, at), None),
        };
        let mut codec = || if random.random_ratio(1, 2) { "anthropic" } else { "openai_compatible" };
        Self { primary, fallback, codecs: [codec(), codec()] }
    }

    fn of_primary(kind: Kind) -> Self {
        let (at, lasts) = (Duration::from_secs(5), Duration::from_secs(15));
        let primary = Strike { kind, percent: 100, at, lasts, beat: None };
        Self { primary, fallback: None, codecs: ["openai_compatible"; 2] }
    }

    /// The primary answers 500.
    #[must_use]
    pub fn errors() -> Self {
        Self::of_primary(Kind::Status(500))
    }

    /// Nobody listens at the primary.
    #[must_use]
    pub fn refused() -> Self {
        Self::of_primary(Kind::Refused)
    }

    /// The primary takes requests and says nothing.
    #[must_use]
    pub fn silence() -> Self {
        Self::of_primary(Kind::Silent)
    }

    /// The primary dies after some tokens of every answer.
    #[must_use]
    pub fn cut() -> Self {
        Self::of_primary(Kind::Cut(5))
    }

    /// Both answer 500.
    #[must_use]
    pub fn total() -> Self {
        let one = Self::errors();
        let primary = Strike { lasts: Duration::from_secs(40), ..one.primary };
        Self { primary, fallback: Some(primary), ..one }
    }

    /// Who is struck, and how.
    pub(super) fn strikes(&self) -> impl Iterator<Item = (&'static str, &Strike)> {
        [(PRIMARY, Some(&self.primary)), (FALLBACK, self.fallback.as_ref())]
            .into_iter()
            .filter_map(|(provider, strike)| Some((provider, strike?)))
    }

    /// When everything is well again.
    pub(super) fn end(&self) -> Duration {
        self.strikes().map(|(_, strike)| strike.end()).max().unwrap_or_default()
    }

    /// While both are struck.
    pub(super) fn total_while(&self) -> Option<Range<Duration>> {
        let fallback = self.fallback?;
        Some(self.primary.at.max(fallback.at)..self.primary.end().min(fallback.end()))
    }
}

fn millis(random: &mut StdRng, range: Range<u64>) -> Duration {
    Duration::from_millis(random.random_range(range))
}

/// The primary alone.
fn alone(random: &mut StdRng, at: Duration) -> Strike {
    let lasts = millis(random, LASTS_MS);
    if random.random_ratio(1, FLAPS) {
        let (kind, beat) = (Kind::flapping(random), Some(millis(random, BEAT_MS)));
        return Strike { kind, percent: 100, at, lasts, beat };
    }
    let kind = Kind::any(random);
    let partial = random.random_ratio(1, PARTIAL) && kind.fault().is_some();
    let percent = if partial { random.random_range(PERCENT) } else { 100 };
    Strike { kind, percent, at, lasts, beat: None }
}

/// Both, each in its own way.
fn total(random: &mut StdRng, at: Duration) -> (Strike, Option<Strike>) {
    let lasts = millis(random, TOTAL_LASTS_MS);
    let (mut longer, mut other) = (lasts, lasts);
    if random.random_ratio(1, APART) {
        longer += millis(random, 0..APART_MS);
        if random.random_ratio(1, 2) {
            std::mem::swap(&mut longer, &mut other);
        }
    }
    let mut strike = |lasts| Strike { kind: Kind::total(random), percent: 100, at, lasts, beat: None };
    (strike(longer), Some(strike(other)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_means_one_outage_and_three_hundred_seeds_draw_every_kind() {
        assert_eq!(Outage::draw(7), Outage::draw(7));
        assert_ne!(Outage::draw(7), Outage::draw(8));
        let all: Vec<_> = (0..300).map(Outage::draw).collect();
        let kind = |strike: &Strike| format!("{:?}", strike.kind).split('(').next().unwrap().to_owned();
        let kinds = |outage: &Outage| outage.strikes().map(|(_, strike)| kind(strike)).collect::<Vec<_>>();
        let count = |total: bool| {
            let some = all.iter().filter(|outage| outage.fallback.is_some() == total);
            some.flat_map(kinds).collect::<BTreeSet<_>>().len()
        };
        assert_eq!((count(false), count(true)), (10, 10));
        assert!(all.iter().any(|outage| outage.primary.beat.is_some()));
        assert!(all.iter().any(|outage| outage.primary.percent < 100));
        assert!(all.iter().filter(|outage| outage.fallback.is_some()).all(|outage| outage.primary.is_whole()));
    }

    #[test]
    fn what_comes_and_goes_ends_with_its_time() {
        let strike = Strike { beat: Some(Duration::from_secs(4)), ..Outage::errors().primary };
        let seconds: Vec<_> = strike.struck().iter().map(|s| (s.start.as_secs(), s.end.as_secs())).collect();
        assert_eq!(seconds, [(5, 9), (13, 17)]);
        let strike = Strike { beat: Some(Duration::from_secs(5)), ..strike };
        let seconds: Vec<_> = strike.struck().iter().map(|s| (s.start.as_secs(), s.end.as_secs())).collect();
        assert_eq!(seconds, [(5, 10), (15, 20)]);
    }
}
