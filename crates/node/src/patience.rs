//! Reads from a request's headers how long its client waits.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use meridian_llm::ClientError;
use meridian_resilience::Patience;
use tokio::time::Instant;

/// Whole milliseconds for the whole answer.
const TIMEOUT: HeaderName = HeaderName::from_static("x-meridian-timeout-ms");

/// Seconds of silence after which the SDKs for Python and for TypeScript give up; read timeouts begin anew with each
/// byte, so that they bound the time to the first one.
const READ_TIMEOUTS: [HeaderName; 2] =
    [HeaderName::from_static("x-stainless-read-timeout"), HeaderName::from_static("x-stainless-timeout")];

/// Longest time that a client may name; more means the same as nothing.
const LONGEST: Duration = Duration::from_secs(3600);

/// The patience of a client whose request's head was there at `asked`.
///
/// # Errors
/// 400 if our own header is no number: ignoring it would break a promise that the client relies on. What an SDK writes
/// by itself is not worth a refusal.
pub(crate) fn of(headers: &HeaderMap, asked: Instant) -> Result<Patience, ClientError> {
    let end = headers.get(TIMEOUT).map(|value| {
        let ms = value.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok());
        let ms = ms.filter(|ms| *ms > 0).map(Duration::from_millis);
        ms.ok_or_else(|| ClientError::invalid(TIMEOUT.as_str(), "must be a whole number of milliseconds above 0"))
    });
    let read = |name| {
        let seconds: f64 = headers.get(name)?.to_str().ok()?.trim().parse().ok()?;
        Duration::try_from_secs_f64(seconds).ok().filter(|wait| !wait.is_zero())
    };
    let begin = READ_TIMEOUTS.iter().find_map(read);
    let sane = |wait: &Duration| *wait <= LONGEST;
    Ok(Patience::since(asked, begin.filter(sane), end.transpose()?.filter(sane)))
}

/// What a gateway that is asked for the client is told at `now`: in the same headers, what is left of each time. The one for
/// the whole answer is not that for its beginning, and a stream may go on long after that.
pub(crate) fn told(patience: Patience, now: Instant) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    // Nothing left is not the same as nothing said, which is what 0 means there.
    let left = move |until: Instant| until.saturating_duration_since(now).max(Duration::from_millis(1));
    let [read, _] = READ_TIMEOUTS;
    let whole = patience.end.map(|end| (TIMEOUT, left(end).as_millis().to_string()));
    let begin = patience.begin.map(|begin| (read, left(begin).as_secs_f64().to_string()));
    let all = whole.into_iter().chain(begin);
    all.filter_map(|(name, text)| HeaderValue::try_from(text).ok().map(|value| (name, value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `expected`: milliseconds left until the first content and until the end, a tenth less than asked.
    #[track_caller]
    fn check(headers: &[(&'static str, &str)], expected: Option<[Option<u128>; 2]>) {
        let map = headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let now = Instant::now();
        let patience = of(&map.collect(), now).ok();
        let left = |until: Option<Instant>| until.map(|until| (until - now).as_millis());
        assert_eq!(patience.map(|patience| [left(patience.first()), left(patience.end)]), expected, "{headers:?}");
    }

    #[test]
    fn our_header_bounds_the_whole_and_an_sdks_the_wait_for_the_first_byte() {
        check(&[], Some([None, None]));
        check(&[("x-meridian-timeout-ms", "2000")], Some([Some(1800), Some(1800)]));
        check(&[("x-stainless-read-timeout", "600")], Some([Some(599_500), None]));
        check(&[("x-stainless-read-timeout", "2.5")], Some([Some(2250), None]));
        check(&[("x-stainless-timeout", "1")], Some([Some(900), None]));
        check(&[("x-meridian-timeout-ms", "2000"), ("x-stainless-read-timeout", "1")], Some([Some(900), Some(1800)]));
    }

    #[test]
    fn another_gateway_is_told_what_is_left_of_the_whole_and_of_the_wait_for_its_beginning_each_as_what_it_is() {
        let (asked, seconds) = (Instant::now(), Duration::from_secs);
        let check = |begin_s: Option<u64>, end_s: Option<u64>, passed_s: u64, expected: &[(&str, &str)]| {
            let until = |s: Option<u64>| s.map(|s| asked + seconds(s));
            let patience = Patience { begin: until(begin_s), end: until(end_s) };
            let told: Vec<_> = told(patience, asked + seconds(passed_s)).collect();
            let told: Vec<_> = told.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
            assert_eq!(told, expected, "{begin_s:?} {end_s:?}");
        };
        check(None, None, 1, &[]);
        check(Some(20), None, 5, &[("x-stainless-read-timeout", "15")]);
        check(None, Some(10), 4, &[("x-meridian-timeout-ms", "6000")]);
        check(Some(3), Some(10), 2, &[("x-meridian-timeout-ms", "8000"), ("x-stainless-read-timeout", "1")]);
        check(Some(3), Some(4), 9, &[("x-meridian-timeout-ms", "1"), ("x-stainless-read-timeout", "0.001")]);
    }

    #[test]
    fn nonsense_of_ours_is_refused_and_of_an_sdk_ignored() {
        for bad in ["", "0", "-5", "1.5", "soon"] {
            check(&[("x-meridian-timeout-ms", bad)], None);
        }
        for odd in ["NOT_GIVEN", "nan", "-1", "0", "1e300"] {
            check(&[("x-stainless-read-timeout", odd)], Some([None, None]));
        }
    }
}
