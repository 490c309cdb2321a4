//! The deterministic answer: a function of model, prompt and length, so that a test can tell a lost, doubled or swapped piece.

use std::borrow::Cow;

use crate::dialect::Call;

/// Words of the prompt that are echoed.
const MAX_ECHO_WORDS: usize = 64;
/// Longest answer, whoever asks.
const MAX_TOKENS: u32 = 100_000;
/// Characters in one piece of tool arguments or of a JSON answer.
const FRAGMENT_CHARS: usize = 7;
/// Pieces before the echo: "Simulated reply from MODEL:".
const GREETING: u32 = 4;
/// What the emoji fault puts in the place of a piece: four bytes of UTF-8 and a surrogate pair in UTF-16.
const EMOJI: &str = " \u{1F30D}";

/// Why an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    Stop,
    Length,
    Tool,
    Refusal,
}

/// What the length and the content of an answer depend on besides the request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish {
    /// Tokens of the whole answer, a prefill included.
    pub(crate) tokens: u32,
    /// Refuse after so many pieces.
    pub(crate) refusal: Option<u32>,
    /// Index of the piece that is an emoji.
    pub(crate) emoji: Option<u32>,
}

/// An answer in pieces; one piece is one token.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    source: Source,
    len: u32,
    finish: Finish,
    emoji: Option<u32>,
}

#[derive(Clone, Debug)]
enum Source {
    /// `skip` words were already said in the prefill.
    Words {
        model: String,
        echo: Vec<String>,
        skip: u32,
    },
    Fragments(Vec<String>),
}

/// The text that the simulator answers to `prompt`, the text of the last user message, in `tokens` tokens.
///
/// Four tokens "Simulated reply from MODEL:", then up to 64 words of the prompt, then "wordN" where N is the index of the
/// token. If the conversation ends with a partial answer of k words, only what follows the first k tokens is sent.
pub fn expected_text(model: &str, prompt: &str, tokens: u32) -> String {
    let source = Source::words(model, prompt, None);
    (0..tokens.min(MAX_TOKENS)).map(|index| source.piece(index).into_owned()).collect()
}

impl Reply {
    /// The answer to a request.
    pub(crate) fn new(call: &Call, wish: Wish) -> Self {
        let (source, whole, mut finish) = if let Some(tool) = &call.tool {
            let fragments = fragments(&tool.arguments.to_string());
            (Source::Fragments(fragments), None, Finish::Tool)
        } else if let Some(json) = &call.json {
            (Source::Fragments(fragments(&json.to_string())), None, Finish::Stop)
        } else {
            let tokens = directive(&call.prompt.last_user).unwrap_or(wish.tokens).min(MAX_TOKENS);
            let source = Source::words(&call.model, &call.prompt.last_user, call.prompt.prefill.as_deref());
            (source, Some(tokens), Finish::Stop)
        };
        let mut len = match &source {
            Source::Words { skip, .. } => whole.unwrap_or_default().saturating_sub(*skip),
            Source::Fragments(fragments) => u32::try_from(fragments.len()).unwrap_or(MAX_TOKENS),
        };
        if let Some(cap) = call.max_tokens.filter(|cap| *cap < len) {
            (len, finish) = (cap, Finish::Length);
        }
        if let Some(after) = wish.refusal {
            (len, finish) = (len.min(after), Finish::Refusal);
        }
        let words = matches!(source, Source::Words { .. });
        let emoji = wish.emoji.filter(|_| words && len > 0).map(|index| index.min(len - 1));
        Self { source, len, finish, emoji }
    }

    /// Pieces, which are also the completion tokens of the usage.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn finish(&self) -> Finish {
        self.finish
    }

    /// Index of the piece that is an emoji.
    pub(crate) fn emoji(&self) -> Option<u32> {
        self.emoji
    }

    /// One piece, with the space that separates it from the one before.
    pub(crate) fn piece(&self, index: u32) -> Cow<'_, str> {
        if self.emoji == Some(index) { Cow::Borrowed(EMOJI) } else { self.source.piece(index) }
    }

    /// All pieces.
    pub(crate) fn text(&self) -> String {
        (0..self.len).map(|index| self.piece(index)).collect()
    }
}

impl Source {
    fn words(model: &str, prompt: &str, prefill: Option<&str>) -> Self {
        let echo = prompt.split_whitespace().take(MAX_ECHO_WORDS).map(str::to_owned).collect();
        let said = prefill.map_or(0, |text| text.split_whitespace().count());
        Self::Words { model: model.to_owned(), echo, skip: u32::try_from(said).unwrap_or(u32::MAX) }
    }

    fn piece(&self, index: u32) -> Cow<'_, str> {
        match self {
            Self::Fragments(fragments) => Cow::Borrowed(fragments.get(index as usize).map_or("", String::as_str)),
            Self::Words { model, echo, skip } => {
                let index = index.saturating_add(*skip);
                match index {
                    0 => Cow::Borrowed("Simulated"),
                    1 => Cow::Borrowed(" reply"),
                    2 => Cow::Borrowed(" from"),
                    3 => Cow::Owned(format!(" {model}:")),
                    _ => match echo.get((index - GREETING) as usize) {
                        Some(word) => Cow::Owned(format!(" {word}")),
                        None => Cow::Owned(format!(" word{index}")),
                    },
                }
            }
        }
    }
}

/// `tokens=N` in a prompt: the length of the answer, for callers whose headers do not reach the simulator.
fn directive(prompt: &str) -> Option<u32> {
    prompt.split_whitespace().find_map(|word| word.strip_prefix("tokens=")?.parse().ok())
}

fn fragments(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    chars.chunks(FRAGMENT_CHARS).map(|chunk| chunk.iter().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Prompt;

    fn call(prompt: &str, prefill: Option<&str>, max_tokens: Option<u32>) -> Call {
        let prompt = Prompt { last_user: prompt.into(), prefill: prefill.map(String::from), ..Prompt::default() };
        Call { model: "m".into(), prompt, max_tokens, ..Call::default() }
    }

    fn reply(call: &Call, tokens: u32) -> (String, Finish) {
        let reply = Reply::new(call, Wish { tokens, ..Wish::default() });
        (reply.text(), reply.finish())
    }

    #[test]
    fn the_answer_echoes_the_prompt_and_then_counts() {
        let expected = "Simulated reply from m: hello there word6 word7";
        assert_eq!(reply(&call("hello there", None, None), 8), (expected.into(), Finish::Stop));
        assert_eq!(expected_text("m", "hello there", 8), expected);
    }

    #[test]
    fn length_comes_from_the_prompt_and_is_capped_by_max_tokens() {
        assert_eq!(reply(&call("tokens=3", None, None), 8).0, "Simulated reply from");
        assert_eq!(reply(&call("hi", None, Some(2)), 8), ("Simulated reply".into(), Finish::Length));
        assert_eq!(reply(&call("hi", None, Some(8)), 8).1, Finish::Stop);
    }

    #[test]
    fn a_prefill_and_its_continuation_make_the_whole_answer() {
        let whole = reply(&call("a b c", None, None), 12).0;
        for (cut, _) in whole.match_indices(' ') {
            let (said, _) = whole.split_at(cut);
            let rest = reply(&call("a b c", Some(said), None), 12).0;
            assert_eq!(format!("{said}{rest}"), whole);
        }
        assert_eq!(reply(&call("a b c", Some(&whole), None), 12).0, "");
    }
}
