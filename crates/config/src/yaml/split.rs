//! Where one YAML document ends and the next begins, so that an unreadable one does not hide the others.
//!
//! Lines are enough: `---` and `...` at the start of a line, followed by white space or nothing, are markers wherever
//! they stand, also inside a quoted or a block scalar (YAML 1.2.2 section 9.1.2, `c-forbidden`).

/// A part of a text with one document at most.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) text: &'a str,
    /// How many lines stand before it.
    pub(super) lines_before: u64,
}

/// The parts of a text, in order; together they are the whole text.
pub(super) fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let (mut start, mut start_line) = (0, 0);
    let (mut at, mut line_number) = (0, 0);
    let mut has_content = false;
    let mut cut = |from: &mut usize, from_line: &mut u64, to: usize, to_line: u64| {
        if let Some(text) = text.get(*from..to).filter(|text| !text.is_empty()) {
            parts.push(Part { text, lines_before: *from_line });
        }
        (*from, *from_line) = (to, to_line);
    };
    for line in text.split_inclusive('\n') {
        if is_marker(line, "---") {
            // Comments and directives (`%YAML 1.2`) before the marker belong to what follows it.
            if has_content {
                cut(&mut start, &mut start_line, at, line_number);
            }
            has_content = true;
        } else if !line.trim().is_empty() && !line.starts_with(['#', '%']) {
            has_content = true;
        }
        at += line.len();
        line_number += 1;
        if is_marker(line, "...") {
            cut(&mut start, &mut start_line, at, line_number);
            has_content = false;
        }
    }
    cut(&mut start, &mut start_line, at, line_number);
    parts
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_cut_and_what_only_looks_like_one_does_not() {
        let check = |text: &str, expected: &[(&str, u64)]| {
            let found: Vec<_> = parts(text).iter().map(|part| (part.text, part.lines_before)).collect();
            assert_eq!(found, expected, "{text:?}");
        };
        check("", &[]);
        check("a: 1", &[("a: 1", 0)]);
        check("a: 1\n---\nb: 2\n", &[("a: 1\n", 0), ("---\nb: 2\n", 1)]);
        check("--- a\n--- b\n", &[("--- a\n", 0), ("--- b\n", 1)]);
        check("# about\n%YAML 1.2\n---\na: 1\n", &[("# about\n%YAML 1.2\n---\na: 1\n", 0)]);
        check("a: 1\r\n---\r\nb: 2\r\n", &[("a: 1\r\n", 0), ("---\r\nb: 2\r\n", 1)]);
        check("a: 1\n...\n# b\n---\nb: 2\n", &[("a: 1\n...\n", 0), ("# b\n---\nb: 2\n", 2)]);
        check("a: ---\n ---\n----\n---b\n", &[("a: ---\n ---\n----\n---b\n", 0)]);
        check("a: [\n---\nb: 2\n", &[("a: [\n", 0), ("---\nb: 2\n", 1)]);
    }
}
