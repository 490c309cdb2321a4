//! Reads from a request's headers how long its client waits.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use meridian_llm::ClientError;
use meridian_resilience::Patience;
use tokio::time::Instant;

/// Whole milliseconds for the whole answer. Also what an upstream is told: what is left of it.
pub(crate) const TIMEOUT: HeaderName = HeaderName::from_static("x-meridian-timeout-ms");

/// Seconds of silence after which the SDKs for Python and for TypeScript give up; read timeouts begin anew with each
/// byte, so that they bound the time to the first one.
pub(crate) const READ_TIMEOUTS: [HeaderName; 2] =
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
    fn nonsense_of_ours_is_refused_and_of_an_sdk_ignored() {
        for bad in ["", "0", "-5", "1.5", "soon"] {
            check(&[("x-meridian-timeout-ms", bad)], None);
        }
        for odd in ["NOT_GIVEN", "nan", "-1", "0", "1e300"] {
            check(&[("x-stainless-read-timeout", odd)], Some([None, None]));
        }
    }
}
