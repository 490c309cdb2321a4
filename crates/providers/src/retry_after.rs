//! How long an upstream asks to be left alone.

use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};

/// Longest wait that is believed. Providers reset their windows within minutes, some daily ones within hours; anything
/// longer is a mistake or an attack on routing.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// Reads `retry-after-ms` (milliseconds), else `retry-after` (seconds, or an HTTP date), as SDKs do.
///
/// A date is compared with the answer's own `date` header: both come from one clock, so ours need not agree, and a
/// codec needs no clock. RFC 9110, section 10.2.3.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let milliseconds = text("retry-after-ms").and_then(|ms| seconds(ms, 0.001));
    let wait = milliseconds.or_else(|| {
        let value = text(RETRY_AFTER.as_str())?;
        seconds(value, 1.0).or_else(|| {
            let until = httpdate::parse_http_date(value).ok()?;
            let now = httpdate::parse_http_date(text(DATE.as_str())?).ok()?;
            Some(until.duration_since(now).unwrap_or(Duration::ZERO))
        })
    })?;
    Some(wait.min(MAX_RETRY_AFTER))
}

fn seconds(text: &str, unit: f64) -> Option<Duration> {
    let value: f64 = text.trim().parse().ok()?;
    Duration::try_from_secs_f64((value * unit).clamp(0.0, MAX_RETRY_AFTER.as_secs_f64())).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(headers: &[(&'static str, &'static str)], expected_ms: Option<u64>) {
        let map = headers.iter().map(|(n, v)| (n.parse().unwrap(), HeaderValue::from_static(v))).collect();
        assert_eq!(retry_after(&map), expected_ms.map(Duration::from_millis), "{headers:?}");
    }

    #[test]
    fn all_forms_are_read_and_nonsense_is_none() {
        check(&[], None);
        check(&[("retry-after", "2")], Some(2000));
        check(&[("retry-after", "0.25")], Some(250));
        check(&[("retry-after", "9"), ("retry-after-ms", "150.0")], Some(150));
        check(&[("retry-after", "99999999")], Some(3_600_000));
        check(&[("retry-after", "-5")], Some(0));
        check(&[("retry-after", "nan")], None);
        check(&[("retry-after", "soon")], None);
        let date = ("date", "Sat, 21 Nov 2026 10:00:00 GMT");
        check(&[date, ("retry-after", "Sat, 21 Nov 2026 10:00:30 GMT")], Some(30_000));
        check(&[date, ("retry-after", "Sat, 21 Nov 2026 09:00:00 GMT")], Some(0));
        check(&[("retry-after", "Sat, 21 Nov 2026 10:00:30 GMT")], None);
    }
}
