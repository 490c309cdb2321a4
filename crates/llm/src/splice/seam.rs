//! The white space where two pieces of a text meet.
//!
//! An answer that ends in white space is sent to the next target without it, because some refuse it there. A target may
//! begin with that white space again, or go on without it; either way the client has it already.

/// What is left of the white space that the client has and that may come again.
pub(super) struct Seam {
    left: String,
}

impl Seam {
    /// After a text that ends with `space`.
    pub(super) fn new(space: &str) -> Self {
        Self { left: space.to_owned() }
    }

    /// The next piece of the continuing text, without what it repeats.
    pub(super) fn join<'a>(&mut self, piece: &'a str) -> &'a str {
        if self.left.is_empty() {
            return piece;
        }
        let same = self.left.chars().zip(piece.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
        let (_, rest) = piece.split_at(same);
        if rest.is_empty() {
            self.left.drain(..same);
        } else {
            self.left.clear();
        }
        rest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(space: &str, pieces: &[&str], expected: &str) {
        let mut seam = Seam::new(space);
        let joined: String = pieces.iter().map(|piece| seam.join(piece)).collect();
        assert_eq!(joined, expected, "{space:?} {pieces:?}");
    }

    #[test]
    fn white_space_that_the_client_has_is_not_said_twice() {
        check(" ", &[" word"], "word");
        check(" ", &["word", " next"], "word next");
        check("\n\n", &["\n", "", "\nx", "\n\n"], "x\n\n");
        check("\n", &["\n\n- a"], "\n- a");
        check(" ", &["\n"], "\n");
        check("", &["  a"], "  a");
        check("\u{3000}", &["\u{3000}x"], "x");
    }

    proptest! {
        #[test]
        fn a_target_that_repeats_all_or_nothing_gives_the_same_text(space in "[ \n\t]{0,4}", rest in "[a-z][a-z \n]{0,12}", cut in 0usize..20) {
            for begins in [format!("{space}{rest}"), rest.clone()] {
                let (one, two) = begins.split_at(cut.min(begins.len()));
                let mut seam = Seam::new(&space);
                prop_assert_eq!(format!("{}{}", seam.join(one), seam.join(two)), rest.clone());
            }
        }
    }
}
