//! Any chunking gives the same events; limits hold; slices stay slices.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn events_of(chunks: impl IntoIterator<Item = Bytes>) -> Vec<Event> {
    let mut framer = Framer::default();
    let mut events = Vec::new();
    for chunk in chunks {
        framer.feed(chunk);
        while let Some(event) = framer.next_event().unwrap() {
            events.push(event);
        }
    }
    events
}

/// What a client sees of the events: blank lines and comments dispatch nothing.
fn seen(events: &[Event]) -> Vec<(Vec<u8>, Vec<u8>)> {
    events.iter().filter_map(|e| e.data().map(|d| (e.name().to_vec(), d.to_vec()))).collect()
}

fn cut(stream: &[u8], at: &[usize]) -> Vec<Bytes> {
    let mut cuts: Vec<usize> = at.iter().map(|c| c % (stream.len() + 1)).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|w| Bytes::copy_from_slice(&stream[w[0]..w[1]])).collect()
}

const MIXED: &str =
    "\u{feff}: hi\n\nevent: a\ndata: 1\n\ndata: zwei \u{1F600}\r\n\r\ndata: x\rdata: y\r\r\n\ndata: [DONE]\n\n";

#[test]
fn every_single_and_double_cut_gives_the_same_events() {
    let stream = MIXED.as_bytes();
    let whole = seen(&events_of([Bytes::copy_from_slice(stream)]));
    assert_eq!(whole.len(), 4);
    assert_eq!(whole[2], (b"".to_vec(), b"x\ny".to_vec()));
    for a in 0..=stream.len() {
        for b in a..=stream.len() {
            assert_eq!(seen(&events_of(cut(stream, &[a, b]))), whole, "cut at {a} and {b}");
        }
    }
}

#[test]
fn an_event_in_one_chunk_is_a_slice_of_it() {
    let chunk = Bytes::from_static(b"data: a\n\ndata: b\n\n");
    let events = events_of([chunk.clone()]);
    assert_eq!(events[1].raw().as_ptr(), chunk[9..].as_ptr());
    assert_eq!(events[1].data().unwrap().as_ptr(), chunk[15..].as_ptr());
}

#[test]
fn an_event_over_the_limit_is_an_error_and_stays_one() {
    for chunks in [vec!["data: 0123456789\n\n"], vec!["data: 0", "1234567", "89"]] {
        let mut framer = Framer::new(12);
        let result = chunks.iter().try_for_each(|c| {
            framer.feed(Bytes::from_static(c.as_bytes()));
            framer.next_event().map(|_| ())
        });
        assert_eq!(result, Err(FrameError::TooLarge { limit: 12 }));
        framer.feed(Bytes::from_static(b"\n\ndata: 1\n\n"));
        assert_eq!(framer.next_event(), Err(FrameError::TooLarge { limit: 12 }));
    }
}

#[test]
fn an_unfinished_event_is_never_dispatched() {
    let mut framer = Framer::default();
    framer.feed(Bytes::from_static(b"data: a\n\ndata: b\n"));
    assert!(framer.next_event().unwrap().is_some());
    assert!(framer.next_event().unwrap().is_none());
    assert!(!framer.is_clean());
}

proptest! {
    #[test]
    fn any_chunking_of_any_bytes_gives_the_same_events(
        pieces in prop::collection::vec(prop_oneof![
            Just("data: ".to_owned()), Just("event: ".to_owned()), Just("\n".to_owned()), Just("\r".to_owned()),
            Just("\r\n".to_owned()), Just(":".to_owned()), Just("\u{feff}".to_owned()), "[a-z\u{e9}\u{1F600}]{0,4}",
        ], 0..60),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let stream = pieces.concat().into_bytes();
        let whole = events_of([Bytes::copy_from_slice(&stream)]);
        prop_assert_eq!(seen(&events_of(cut(&stream, &cuts))), seen(&whole));
        // Nothing is invented or reordered: the raw bytes are a prefix of the stream (less a byte order mark).
        let raw: Vec<u8> = whole.iter().flat_map(|e| e.raw().to_vec()).collect();
        let body = stream.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&stream);
        prop_assert!(body.starts_with(&raw));
    }
}
