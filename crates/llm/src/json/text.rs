//! The content of a JSON string, as written.

use std::borrow::Cow;

use super::{JsonError, Span};

/// The bytes between the quotes of a JSON string, escapes untouched.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<'a> {
    written: &'a str,
    offset: usize,
    /// Noted while it was read, so that nobody has to look again.
    escaped: bool,
}

impl<'a> Text<'a> {
    pub(super) const fn new(written: &'a str, offset: usize, escaped: bool) -> Self {
        Self { written, offset, escaped }
    }

    /// Where it lies, with its quotes.
    pub(crate) const fn span(&self) -> Span {
        self.offset - 1..self.offset + self.written.len() + 1
    }

    /// True for `""`.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.written.is_empty()
    }

    /// True when the string means `expected`, however it is escaped: `"mod\u0065l"` is `model`, to us as to the
    /// upstream that will read it.
    #[must_use]
    pub fn is(&self, expected: &str) -> bool {
        if !self.escaped {
            return self.written == expected;
        }
        // An escape is at least as long as what it stands for, and at most six bytes a byte.
        self.written.len() <= expected.len() * 6 && self.decode().is_ok_and(|text| text == expected)
    }

    /// The decoded string.
    ///
    /// # Errors
    /// When it has a lone surrogate, which no Rust string (and no UTF-8) can hold.
    pub fn decode(&self) -> Result<Cow<'a, str>, JsonError> {
        if !self.escaped {
            return Ok(Cow::Borrowed(self.written));
        }
        let quoted = format!("\"{}\"", self.written);
        serde_json::from_str::<String>(&quoted)
            .map(Cow::Owned)
            .map_err(|_| JsonError::new(self.offset, "lone surrogate in a string"))
    }
}

/// A string may be a prompt or a completion.
impl std::fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Text({} bytes)", self.written.len())
    }
}
