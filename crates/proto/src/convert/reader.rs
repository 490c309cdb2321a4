//! Collects the mistakes of one resource, so that all of them are reported and not only the first.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use meridian_types::{ErrorCode, Kind, Mistake};

/// What a message says as far as it can be read, and what is wrong in it.
#[derive(Debug)]
pub struct Reading<T> {
    /// With stand-ins where a mistake was found; `None` if nothing can be said.
    pub value: Option<T>,
    /// Each with the path of its field.
    pub mistakes: Vec<Mistake>,
}

impl<T> Reading<T> {
    /// The value, if nothing is wrong in it.
    pub fn checked(self) -> Result<T, Vec<Mistake>> {
        match self.value {
            Some(value) if self.mistakes.is_empty() => Ok(value),
            _ => Err(self.mistakes),
        }
    }
}

/// What has been found wrong so far.
pub(super) struct Reader {
    kind: Kind,
    name: String,
    mistakes: Vec<Mistake>,
}

impl Reader {
    pub(super) fn new(kind: Kind, name: &str) -> Self {
        Self { kind, name: name.to_owned(), mistakes: Vec::new() }
    }

    pub(super) fn mistake(&mut self, path: &str, code: ErrorCode, text: impl Into<String>) {
        let (kind, name) = (self.kind, self.name.clone());
        self.mistakes.push(Mistake { kind, name, path: path.to_owned(), code, text: text.into() });
    }

    /// Parses a required text.
    pub(super) fn text<T: FromStr<Err: std::fmt::Display>>(&mut self, path: &str, text: &str) -> Option<T> {
        if text.is_empty() {
            self.mistake(path, ErrorCode::MissingField, "this field is required");
            return None;
        }
        self.parsed(path, text.parse())
    }

    pub(super) fn parsed<T, E: std::fmt::Display>(&mut self, path: &str, parsed: Result<T, E>) -> Option<T> {
        parsed.map_err(|error| self.mistake(path, ErrorCode::InvalidField, error.to_string())).ok()
    }

    pub(super) fn in_range(&mut self, path: &str, value: u32, allowed: RangeInclusive<u32>) -> u32 {
        if !allowed.contains(&value) {
            let text = format!("{value} is not allowed; {} to {} is", allowed.start(), allowed.end());
            self.mistake(path, ErrorCode::InvalidField, text);
        }
        value
    }

    /// A duration, or `default` if there is none.
    pub(super) fn duration(
        &mut self,
        path: &str,
        value: Option<&pbjson_types::Duration>,
        default: Duration,
        allowed: RangeInclusive<Duration>,
    ) -> Duration {
        let Some(value) = value else { return default };
        let parsed = match (u64::try_from(value.seconds), u32::try_from(value.nanos)) {
            (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => Some(Duration::new(seconds, nanos)),
            _ => None,
        };
        match parsed {
            Some(duration) if allowed.contains(&duration) => duration,
            _ => {
                let (low, high) = (allowed.start().as_secs_f64(), allowed.end().as_secs_f64());
                self.mistake(path, ErrorCode::InvalidField, format!("the duration must be {low}s to {high}s"));
                default
            }
        }
    }

    /// Parses a required text; where it is wrong, `stand_in` takes its place, so that the rest is checked and keeps
    /// its position in a list.
    pub(super) fn text_or<T: FromStr<Err: std::fmt::Display>>(
        &mut self,
        path: &str,
        text: &str,
        stand_in: &str,
    ) -> Option<T> {
        self.text(path, text).or_else(|| stand_in.parse().ok())
    }

    /// Everything together; `value` is `None` only where a mistake has been reported.
    pub(super) fn finish<T>(mut self, value: Option<T>) -> Reading<T> {
        if value.is_none() && self.mistakes.is_empty() {
            self.mistake("", ErrorCode::Internal, "the resource was refused without a reason");
        }
        Reading { value, mistakes: self.mistakes }
    }
}
