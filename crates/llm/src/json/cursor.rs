//! The cursor: one position in a JSON text, moved forward by checked steps.

use std::ops::Range;

use memchr::memchr2;

use super::Text;

/// Deepest nesting accepted: serde_json's own limit, and one bit a level in the cursor's stack.
pub const MAX_DEPTH: u32 = 128;

/// Where a value lies: byte offsets into the text.
pub type Span = Range<usize>;

/// The text is not JSON that we accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset}")]
pub struct JsonError {
    /// Byte offset of the mistake.
    pub offset: usize,
    /// What is wrong, from closed texts.
    pub what: &'static str,
}

impl JsonError {
    pub(super) const fn new(offset: usize, what: &'static str) -> Self {
        Self { offset, what }
    }

    /// The text is JSON, but lacks something that it must have.
    pub(crate) const fn missing(what: &'static str) -> Self {
        Self::new(0, what)
    }
}

/// A reading position. Every method skips white space before it reads.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Starts at the beginning of `bytes`.
    ///
    /// # Errors
    /// When they are not UTF-8.
    pub fn new(bytes: &'a [u8]) -> Result<Self, JsonError> {
        let text = std::str::from_utf8(bytes).map_err(|e| JsonError::new(e.valid_up_to(), "invalid UTF-8"))?;
        Ok(Self { text, at: 0 })
    }

    /// The byte offset of the cursor.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.at
    }

    /// The first byte of the next value (`{ [ " t f n -` or a digit), or `None` at the end.
    pub fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte() {
            self.at += 1;
        }
        self.byte()
    }

    /// Checks that nothing but white space is left.
    ///
    /// # Errors
    /// When something is.
    pub fn end(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.error("trailing characters")),
        }
    }

    /// Reads an object. `field` is called once a member with the cursor before its value, which it must read.
    ///
    /// # Errors
    /// When the text is no object, or as `field` says.
    pub fn object<E: From<JsonError>>(
        &mut self,
        mut field: impl FnMut(&mut Self, Text<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.expect(b'{', "expected an object")?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            let key = self.key()?;
            field(self, key)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.error("expected , or }").into()),
            }
        }
    }

    /// Reads an array. `item` is called once an element with the cursor before it.
    ///
    /// # Errors
    /// When the text is no array, or as `item` says.
    pub fn array<E: From<JsonError>>(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), E>) -> Result<(), E> {
        self.expect(b'[', "expected an array")?;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            item(self)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.error("expected , or ]").into()),
            }
        }
    }

    /// Reads a string.
    ///
    /// # Errors
    /// When the next value is no string, or a broken one.
    pub fn string(&mut self) -> Result<Text<'a>, JsonError> {
        self.expect(b'"', "expected a string")?;
        let start = self.at;
        let mut escaped = false;
        loop {
            let rest = self.rest();
            let stop = memchr2(b'"', b'\\', rest).ok_or_else(|| self.error("unterminated string"))?;
            if has_control(rest.get(..stop).unwrap_or_default()) {
                return Err(self.error("control character in a string"));
            }
            self.at += stop;
            if self.byte() == Some(b'"') {
                let written = self.text.get(start..self.at).unwrap_or_default();
                self.at += 1;
                return Ok(Text::new(written, start, escaped));
            }
            self.escape()?;
            escaped = true;
        }
    }

    /// Reads a number that is a whole one from 0 to 2^64 - 1; any other value is skipped and gives `None`.
    ///
    /// # Errors
    /// When the value is broken.
    pub fn whole_number(&mut self) -> Result<Option<u64>, JsonError> {
        let span = self.skip()?;
        Ok(self.text.get(span).and_then(|digits| digits.parse().ok()))
    }

    /// Reads `true`, `false` or `null` (`None`).
    ///
    /// # Errors
    /// When the value is anything else.
    pub fn boolean(&mut self) -> Result<Option<bool>, JsonError> {
        match self.peek() {
            Some(b't') => self.word("true").map(|()| Some(true)),
            Some(b'f') => self.word("false").map(|()| Some(false)),
            Some(b'n') => self.word("null").map(|()| None),
            _ => Err(self.error("expected a boolean")),
        }
    }

    /// Skips one value of any kind and says whether it carries something: everything but `null`, `false`, `""`, `[]`
    /// and `{}` does.
    ///
    /// # Errors
    /// When the value is broken.
    pub fn carries(&mut self) -> Result<bool, JsonError> {
        match self.peek() {
            Some(b'"') => self.string().map(|text| !text.is_empty()),
            Some(first @ (b'{' | b'[')) => {
                let mut inside = self.clone();
                inside.at += 1;
                let empty = inside.peek() == Some(if first == b'{' { b'}' } else { b']' });
                self.skip().map(|_| !empty)
            }
            Some(b'n' | b'f') => self.skip().map(|_| false),
            _ => self.skip().map(|_| true),
        }
    }

    /// Skips one value of any kind, checks it, and says where it lay. Never recurses.
    ///
    /// # Errors
    /// When the value is broken or nested deeper than [`MAX_DEPTH`].
    pub fn skip(&mut self) -> Result<Span, JsonError> {
        self.peek();
        let start = self.at;
        let mut nesting = Nesting::default();
        loop {
            match self.peek() {
                Some(b'{') => {
                    self.at += 1;
                    if self.peek() == Some(b'}') {
                        self.at += 1;
                    } else {
                        nesting.open(true).ok_or_else(|| self.error("nested too deeply"))?;
                        self.key()?;
                        continue;
                    }
                }
                Some(b'[') => {
                    self.at += 1;
                    if self.peek() == Some(b']') {
                        self.at += 1;
                    } else {
                        nesting.open(false).ok_or_else(|| self.error("nested too deeply"))?;
                        continue;
                    }
                }
                _ => self.scalar()?,
            }
            if self.close(&mut nesting)? {
                return Ok(start..self.at);
            }
        }
    }

    /// After a value: closes what ends here. True when the outermost value is complete, false before the next one.
    fn close(&mut self, nesting: &mut Nesting) -> Result<bool, JsonError> {
        while let Some(in_object) = nesting.innermost() {
            match (self.peek(), in_object) {
                (Some(b','), true) => {
                    self.at += 1;
                    self.key()?;
                    return Ok(false);
                }
                (Some(b','), false) => {
                    self.at += 1;
                    return Ok(false);
                }
                (Some(b'}'), true) | (Some(b']'), false) => {
                    self.at += 1;
                    nesting.close();
                }
                _ => return Err(self.error("expected , or a closing bracket")),
            }
        }
        Ok(true)
    }

    fn scalar(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'"') => self.string().map(|_| ()),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.error("expected a value")),
        }
    }

    fn number(&mut self) -> Result<(), JsonError> {
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        if self.byte() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let count = self.rest().iter().take_while(|b| b.is_ascii_digit()).count();
        if count == 0 {
            return Err(self.error("expected a digit"));
        }
        self.at += count;
        Ok(())
    }

    fn word(&mut self, word: &'static str) -> Result<(), JsonError> {
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(self.error("expected a value"));
        }
        self.at += word.len();
        Ok(())
    }

    /// An escape, with the cursor on its backslash. Surrogates need not pair up: see the module's first lines.
    fn escape(&mut self) -> Result<(), JsonError> {
        match self.rest() {
            [_, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => self.at += 2,
            [_, b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(|h| h.is_ascii_hexdigit()) => self.at += 6,
            _ => return Err(self.error("invalid escape")),
        }
        Ok(())
    }

    fn key(&mut self) -> Result<Text<'a>, JsonError> {
        let key = self.string()?;
        self.expect(b':', "expected :")?;
        Ok(key)
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), JsonError> {
        if self.peek() != Some(byte) {
            return Err(self.error(what));
        }
        self.at += 1;
        Ok(())
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    const fn error(&self, what: &'static str) -> JsonError {
        JsonError::new(self.at, what)
    }
}

/// Which kinds of bracket are open: one bit a level, set for objects.
#[derive(Default)]
struct Nesting {
    kinds: u128,
    depth: u32,
}

impl Nesting {
    fn open(&mut self, object: bool) -> Option<()> {
        if self.depth == MAX_DEPTH {
            return None;
        }
        self.kinds = (self.kinds << 1) | u128::from(object);
        self.depth += 1;
        Some(())
    }

    fn close(&mut self) {
        self.kinds >>= 1;
        self.depth = self.depth.saturating_sub(1);
    }

    fn innermost(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.kinds & 1 == 1)
    }
}

/// Looks at every byte, so that the compiler looks at many at once: prompts are long, and hold none.
fn has_control(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |found, byte| found | (*byte < 0x20))
}

#[cfg(test)]
mod tests;
