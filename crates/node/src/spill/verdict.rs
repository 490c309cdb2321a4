//! What another node's answer means: for the client, and for what is asked of that node next.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use meridian_resilience::Outcome;

use super::links::Verdict;
use crate::stack::ATTEMPTS;

/// What is done with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judged {
    /// It goes to the client.
    Final(Verdict),
    /// The next one is asked; the word is for metrics.
    Next(Verdict, &'static str),
}

/// The other node could not be asked, or went away.
pub(crate) const UNREACHABLE: Verdict = Verdict { node: Outcome::Failed, model: Outcome::Unknown };

/// It takes connections, and its providers are silent for longer than any deadline.
pub(crate) const SILENT: Verdict = Verdict { node: Outcome::Unknown, model: Outcome::Failed };

/// Nothing was learned.
pub(crate) const UNJUDGED: Verdict = Verdict { node: Outcome::Unknown, model: Outcome::Unknown };

/// Judges by the answer's head. A node that asked no provider speaks of itself: it is full, or does not know the tenant
/// yet. One that did speaks of the model as it is served there; so does a 429, which no node says of itself: it leaves its
/// targets alone for as long as they have asked for. What the request itself is to blame for is final.
pub(crate) fn judge(status: StatusCode, headers: &HeaderMap) -> Judged {
    use Outcome::{Answered, Failed, Pressed, Unknown};
    let well = Verdict { node: Answered, model: Answered };
    if status.is_success() {
        return Judged::Final(well);
    }
    let asked_a_provider = headers.get(ATTEMPTS).is_some_and(|attempts| attempts != "0");
    match (status.as_u16(), asked_a_provider) {
        // It may not, or cannot yet: accounts and configurations arrive within a second everywhere.
        (401 | 403 | 404 | 408, _) => Judged::Next(UNJUDGED, "refused"),
        (429, _) => Judged::Next(Verdict { node: Answered, model: Pressed(wait(headers)) }, "pressed"),
        // It has nobody who might serve it, and no trouble of its own: operators have switched them off.
        (503 | 529, false) if is_hopeless(headers) => Judged::Next(UNJUDGED, "refused"),
        (503 | 529, false) => Judged::Next(Verdict { node: Pressed(wait(headers)), model: Unknown }, "full"),
        (400..500, _) => Judged::Final(well),
        (_, true) => Judged::Next(Verdict { node: Answered, model: Failed }, "failed"),
        (_, false) => Judged::Next(Verdict { node: Failed, model: Unknown }, "failed"),
    }
}

/// Whether the same request would fail there again; a node that is full does not say so.
fn is_hopeless(headers: &HeaderMap) -> bool {
    headers.get("x-should-retry").is_some_and(|should| should == "false")
}

/// As our own nodes say it.
fn wait(headers: &HeaderMap) -> Option<Duration> {
    let ms = headers.get("retry-after-ms")?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[track_caller]
    fn check(status: u16, attempts: Option<&str>, expected: Judged) {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after-ms", 1500.into());
        if let Some(attempts) = attempts {
            headers.insert(ATTEMPTS, attempts.parse().unwrap());
        }
        assert_eq!(judge(StatusCode::from_u16(status).unwrap(), &headers), expected, "{status} {attempts:?}");
    }

    #[test]
    fn a_node_that_is_full_is_not_a_model_that_fails_and_a_bad_request_is_bad_everywhere() {
        use Outcome::{Answered, Failed, Pressed, Unknown};
        let verdict = |node, model| Verdict { node, model };
        let pressed = Pressed(Some(Duration::from_millis(1500)));
        check(200, Some("1"), Judged::Final(verdict(Answered, Answered)));
        check(400, Some("1"), Judged::Final(verdict(Answered, Answered)));
        check(413, None, Judged::Final(verdict(Answered, Answered)));
        check(503, None, Judged::Next(verdict(pressed, Unknown), "full"));
        check(529, None, Judged::Next(verdict(pressed, Unknown), "full"));
        check(503, Some("0"), Judged::Next(verdict(pressed, Unknown), "full"));
        check(503, Some("2"), Judged::Next(verdict(Answered, Failed), "failed"));
        check(502, Some("1"), Judged::Next(verdict(Answered, Failed), "failed"));
        check(500, None, Judged::Next(verdict(Failed, Unknown), "failed"));
        check(429, Some("1"), Judged::Next(verdict(Answered, pressed), "pressed"));
        check(429, Some("0"), Judged::Next(verdict(Answered, pressed), "pressed"));
        for status in [401, 403, 404] {
            check(status, None, Judged::Next(verdict(Unknown, Unknown), "refused"));
        }
        let hopeless: HeaderMap = [(HeaderName::from_static("x-should-retry"), HeaderValue::from_static("false"))]
            .into_iter()
            .chain([(ATTEMPTS, HeaderValue::from_static("0"))])
            .collect();
        let switched_off = judge(StatusCode::SERVICE_UNAVAILABLE, &hopeless);
        assert_eq!(switched_off, Judged::Next(verdict(Unknown, Unknown), "refused"));
    }
}
