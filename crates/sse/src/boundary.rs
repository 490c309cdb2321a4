//! Finds where an event ends, across chunks and without allocation.
//!
//! An event ends at an empty line. A line ends with `\n`, `\r\n` or a lone `\r`; the cut between `\r` and `\n`
//! may fall between two chunks, so the scanner carries two bits of state.

use memchr::memchr2;

/// Incremental scanner for the blank line that ends an event.
///
/// Feed it every byte of the stream once, in order. After an end is reported the next byte belongs to the next event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boundary {
    /// No byte of the current line has been seen yet.
    at_line_start: bool,
    /// The last byte was a `\r` whose `\n`, if it comes, belongs to the same line end.
    after_cr: bool,
}

impl Default for Boundary {
    fn default() -> Self {
        Self { at_line_start: true, after_cr: false }
    }
}

impl Boundary {
    /// Scans `bytes` and returns the offset just past the first event end in it, if there is one.
    ///
    /// With `\r\n` line ends the end lies after the `\n`, if that byte is already here. If not, the event ends after
    /// the `\r` at once (waiting for a byte that may never come would hold the event back), and [`Self::skip_lf`]
    /// says so at the start of the next chunk.
    pub fn scan(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if self.after_cr {
                self.after_cr = false;
                if rest.first() == Some(&b'\n') {
                    at += 1;
                    continue;
                }
            }
            let Some(line) = memchr2(b'\n', b'\r', rest) else {
                self.at_line_start = false;
                return None;
            };
            let blank = line == 0 && self.at_line_start;
            let is_cr = rest.get(line) == Some(&b'\r');
            self.at_line_start = true;
            self.after_cr = is_cr;
            at += line + 1;
            if blank {
                if is_cr && bytes.get(at) == Some(&b'\n') {
                    self.after_cr = false;
                    at += 1;
                }
                return Some(at);
            }
        }
        None
    }

    /// True once when the first byte of `bytes` is the `\n` of a `\r\n` that the previous chunk was cut in *and* that
    /// ended an event there. The caller drops that byte: the event it belongs to has already gone.
    pub fn skip_lf(&mut self, bytes: &[u8]) -> bool {
        let skip = self.after_cr && bytes.first() == Some(&b'\n');
        if skip {
            self.after_cr = false;
        }
        skip
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &str, expected: Option<usize>) {
        assert_eq!(Boundary::default().scan(input.as_bytes()), expected, "{input:?}");
        // Byte by byte finds the same end, except that a trailing LF of CRLF is then not part of it.
        let mut scanner = Boundary::default();
        let by_bytes = (0..input.len()).find_map(|i| scanner.scan(&input.as_bytes()[i..=i]).map(|n| i + n));
        let expected = expected.map(|n| if input[..n].ends_with("\r\n") { n - 1 } else { n });
        assert_eq!(by_bytes, expected, "{input:?} byte by byte");
    }

    #[test]
    fn an_empty_line_of_any_kind_ends_an_event() {
        check("data: a\n\ndata: b\n\n", Some(9));
        check("data: a\r\n\r\nx", Some(11));
        check("data: a\r\rx", Some(9));
        check("data: a\n\rx", Some(9));
        check("data: a\r\n\nx", Some(10));
        check("data: a\r\ndata: b\r\n", None);
        check("data: a\n", None);
        check("\n", Some(1));
        check("", None);
    }
}
