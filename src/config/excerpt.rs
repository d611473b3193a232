//! Where in a text something stands, and the line a person should look at.

use std::ops::Range;

/// How much of a long line is shown, in characters.
const WIDTH: usize = 100;

/// A place in a text. Both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// Where the byte at `offset` stands; what lies behind the end is the end.
pub(crate) fn position(text: &str, offset: usize) -> Position {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |newline| newline + 1);
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    Position { line, column: String::from_utf8_lossy(&before[start..]).chars().count() + 1 }
}

/// The line on which `span` starts, and carets under the part of it that lies on that line.
pub(crate) fn excerpt(text: &str, span: &Range<usize>) -> [String; 2] {
    let Position { line, column } = position(text, span.start);
    // Control characters would move the carets, or worse.
    let whole: Vec<char> = text
        .split('\n')
        .nth(line - 1)
        .unwrap_or_default()
        .trim_end()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let skip = if whole.len() > WIDTH { column.saturating_sub(WIDTH / 2) } else { 0 };
    let whole = veiled(&whole);
    let visible: String = whole.iter().skip(skip).take(WIDTH).collect();
    let before = column - 1 - skip.min(column - 1);
    let spanned = text.get(span.start..span.end.min(text.len())).unwrap_or_default();
    let marked = spanned.split('\n').next().unwrap_or_default().trim_end().chars().count();
    let marks = marked.min(visible.chars().count().saturating_sub(before)).max(1);
    let number = line.to_string();
    [
        format!("{number} | {visible}").trim_end().to_owned(),
        format!("{} | {}{}", " ".repeat(number.len()), " ".repeat(before), "^".repeat(marks)),
    ]
}

/// The same line with asterisks for what may be a secret: the value of a key that is called so, where it is neither a
/// path nor a command.
fn veiled(line: &[char]) -> Vec<char> {
    let Some(equals) = line.iter().position(|c| *c == '=') else { return line.to_vec() };
    let (key, value) = line.split_at(equals + 1);
    let name: String = key.iter().collect::<String>().to_ascii_lowercase();
    let secret = ["key", "secret", "token", "password"].iter().any(|word| name.contains(word));
    let text: String = value.iter().collect();
    if !secret || text.contains('/') || text.trim().contains(char::is_whitespace) {
        return line.to_vec();
    }
    let veil = |c: &char| if c.is_whitespace() || "\"'[],".contains(*c) { *c } else { '*' };
    key.iter().copied().chain(value.iter().map(veil)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn columns_are_characters() {
        assert_eq!(position("a\nüb", 4), Position { line: 2, column: 2 });
        assert_eq!(position("a\n", 99), Position { line: 2, column: 1 });
    }

    #[test]
    fn the_carets_stand_under_the_words() {
        assert_eq!(excerpt("a = 1\n\tb = [\n2]", &(11..15)), ["2 |  b = [", "  |      ^"]);
        assert_eq!(excerpt("", &(0..0)), ["1 |", "  | ^"]);
    }

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        assert_eq!(excerpt("api-key = 'secret_1'", &(0..7)), ["1 | api-key = '********'", "  | ^^^^^^^"]);
        assert_eq!(excerpt("api-key = secret_1", &(10..11))[0], "1 | api-key = ********");
        for shown in ["api-key-command = 'pass show lambda'", "key = '~/.ssh/id'", "size = 'secret'"] {
            assert_eq!(excerpt(shown, &(0..1))[0], format!("1 | {shown}"));
        }
    }

    proptest! {
        #[test]
        fn any_span_of_any_text_can_be_shown(text in "(?s).{0,200}", start in 0usize..300, len in 0usize..300) {
            let [line, carets] = excerpt(&text, &(start..start + len));
            prop_assert!(line.chars().count() <= WIDTH + 8 && carets.contains('^'));
        }

        #[test]
        fn the_carets_of_a_long_line_stay_in_sight(pad in 0usize..500) {
            let text = format!("{}key{}", " ".repeat(pad), "x".repeat(300));
            let [line, carets] = excerpt(&text, &(pad..pad + 3));
            prop_assert_eq!(&line[carets.find('^').unwrap()..][..3], "key");
        }
    }
}
