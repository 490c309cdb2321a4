//! One event: its exact bytes and its parsed fields.

use bytes::{Bytes, BytesMut};
use memchr::memchr2;

/// One whole event of a stream.
///
/// `id` and `retry` fields are not parsed: no model API uses them, and they are forwarded inside `raw`.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    raw: Bytes,
    name: Bytes,
    data: Option<Bytes>,
}

impl Event {
    /// Parses one event. `raw` runs up to and including its blank line.
    pub(crate) fn parse(raw: Bytes) -> Self {
        let mut name = Bytes::new();
        let mut data = Data::None;
        for (start, end) in lines(&raw) {
            let line = raw.get(start..end).unwrap_or_default();
            if let Some(at) = value_of(line, b"data") {
                data.push(raw.slice(start + at..end));
            } else if let Some(at) = value_of(line, b"event") {
                name = raw.slice(start + at..end);
            }
        }
        Self { raw, name, data: data.join() }
    }

    /// The event exactly as it was received, blank line included: what a pass-through forwards.
    #[must_use]
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// Gives the exact bytes away.
    #[must_use]
    pub fn into_raw(self) -> Bytes {
        self.raw
    }

    /// The same event with other data; its raw bytes stay as they were received.
    #[must_use]
    pub fn with_data(self, data: Bytes) -> Self {
        Self { data: Some(data), ..self }
    }

    /// The value of the last `event` field; empty when there is none.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The `data` lines joined by `\n`; `None` when the event has no `data` field (a comment, a lone blank line),
    /// in which case a client dispatches nothing.
    #[must_use]
    pub fn data(&self) -> Option<&Bytes> {
        self.data.as_ref()
    }
}

/// Sizes only: the content of an event is a completion and must not reach logs.
impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Event")
            .field("raw_bytes", &self.raw.len())
            .field("data_bytes", &self.data.as_ref().map(Bytes::len))
            .finish_non_exhaustive()
    }
}

/// The data of an event: nearly always one line, which stays a slice.
enum Data {
    None,
    One(Bytes),
    Many(BytesMut),
}

impl Data {
    fn push(&mut self, line: Bytes) {
        *self = match std::mem::replace(self, Self::None) {
            Self::None => Self::One(line),
            Self::One(first) => {
                let mut joined = BytesMut::with_capacity(first.len() + 1 + line.len());
                joined.extend_from_slice(&first);
                joined.extend_from_slice(b"\n");
                joined.extend_from_slice(&line);
                Self::Many(joined)
            }
            Self::Many(mut joined) => {
                joined.extend_from_slice(b"\n");
                joined.extend_from_slice(&line);
                Self::Many(joined)
            }
        };
    }

    fn join(self) -> Option<Bytes> {
        match self {
            Self::None => None,
            Self::One(line) => Some(line),
            Self::Many(joined) => Some(joined.freeze()),
        }
    }
}

/// The lines of `raw` as `(start, end)` without their line ends.
fn lines(raw: &[u8]) -> impl Iterator<Item = (usize, usize)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = raw.get(at..).filter(|rest| !rest.is_empty())?;
        let start = at;
        let len = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let ends_crlf = rest.get(len..len + 2) == Some(b"\r\n");
        at = start + len + if ends_crlf { 2 } else { 1 };
        Some((start, start + len))
    })
}

/// Where the value of `field` starts in `line`; one space after the colon is not part of the value.
fn value_of(line: &[u8], field: &[u8]) -> Option<usize> {
    match line.strip_prefix(field)? {
        [] => Some(line.len()),
        [b':', b' ', ..] => Some(field.len() + 2),
        [b':', ..] => Some(field.len() + 1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &'static str, name: &str, data: Option<&str>) {
        let event = Event::parse(Bytes::from_static(raw.as_bytes()));
        assert_eq!(event.name(), name.as_bytes(), "{raw:?}");
        assert_eq!(event.data().map(|d| std::str::from_utf8(d).unwrap()), data, "{raw:?}");
    }

    // The examples of the specification, section 9.2.6 ("Interpreting an event stream").
    #[test]
    fn fields_are_read_as_the_specification_says() {
        check("data: YHOO\ndata: +2\ndata: 10\n\n", "", Some("YHOO\n+2\n10"));
        check(": test stream\n\n", "", None);
        check("data: first event\nid: 1\n\n", "", Some("first event"));
        check("data:second event\nid\n\n", "", Some("second event"));
        check("data:  third event\n\n", "", Some(" third event"));
        check("data\n\n", "", Some(""));
        check("data\ndata\n\n", "", Some("\n"));
        check("event: add\ndata: 73857293\n\n", "add", Some("73857293"));
        check("event: a\r\ndata: x\r\n\r\n", "a", Some("x"));
        check("event: a\rdata: x\r\r", "a", Some("x"));
        check("database: x\n\n", "", None);
        check(":data: x\n\n", "", None);
    }

    #[test]
    fn debug_output_never_shows_content() {
        let event = Event::parse(Bytes::from_static(b"data: secret\n\n"));
        assert!(!format!("{event:?}").contains("secret"));
    }
}
