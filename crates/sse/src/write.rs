//! Writes events. Every event written ends with its blank line, so that it may be flushed at once.

use bytes::{BufMut, Bytes, BytesMut};

/// Appends `data: <payload>\n\n`. A payload with line ends becomes several `data` lines, so that no payload can
/// break out of its event.
pub fn write_data(out: &mut BytesMut, payload: &[u8]) {
    out.reserve(payload.len() + 8);
    let mut lines = payload;
    loop {
        let end = memchr::memchr2(b'\n', b'\r', lines).unwrap_or(lines.len());
        let (line, rest) = lines.split_at(end);
        out.put_slice(b"data: ");
        out.put_slice(line);
        out.put_u8(b'\n');
        match rest {
            [] => break,
            [b'\r', b'\n', rest @ ..] | [_, rest @ ..] => lines = rest,
        }
    }
    out.put_u8(b'\n');
}

/// One event with `data` only.
#[must_use]
pub fn data(payload: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    write_data(&mut out, payload);
    out.freeze()
}

/// One event with a name. `name` must hold no line end; everything from one on is cut off.
#[must_use]
pub fn named(name: &str, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_slice(b"event: ");
    out.put_slice(name.lines().next().unwrap_or_default().as_bytes());
    out.put_u8(b'\n');
    write_data(&mut out, payload);
    out.freeze()
}

/// `: <text>\n\n`, which clients ignore: a keep-alive. Everything from a line end on is cut off.
#[must_use]
pub fn comment(text: &str) -> Bytes {
    Bytes::from(format!(": {}\n\n", text.split(['\n', '\r']).next().unwrap_or_default()))
}

/// `data: [DONE]\n\n`, the end of a stream in OpenAI's dialect.
#[must_use]
pub const fn done() -> Bytes {
    Bytes::from_static(b"data: [DONE]\n\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Framer;

    fn read_back(bytes: Bytes) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut framer = Framer::default();
        framer.feed(bytes);
        std::iter::from_fn(|| framer.next_event().unwrap())
            .map(|e| (e.name().to_vec(), e.data().map(|d| d.to_vec()).unwrap_or_default()))
            .collect()
    }

    #[test]
    fn a_written_event_is_read_back() {
        assert_eq!(data(b"{}"), "data: {}\n\n");
        assert_eq!(named("ping", b"{}"), "event: ping\ndata: {}\n\n");
        assert_eq!(comment("keep-alive\ndata: x"), ": keep-alive\n\n");
        assert_eq!(done(), "data: [DONE]\n\n");
        assert_eq!(data(b""), "data: \n\n");
    }

    proptest! {
        #[test]
        fn no_payload_breaks_out_of_its_event(payload in "[a-z:\n\r ]{0,40}") {
            let normalized = payload.replace("\r\n", "\n").replace('\r', "\n");
            prop_assert_eq!(read_back(data(payload.as_bytes())), vec![(Vec::new(), normalized.into_bytes())]);
        }
    }
}
