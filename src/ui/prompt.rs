//! Questions to a person.

use std::io::{BufRead, Write};

use crate::error::ignore;

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Yes.
    Yes,
    /// No, or the end of input.
    No,
    /// There was nobody to ask.
    Nobody,
}

/// Reads an answer; what is not clearly one is none.
fn parse_answer(text: &str) -> Option<Answer> {
    match text.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Some(Answer::Yes),
        "n" | "no" | "" => Some(Answer::No),
        _ => None,
    }
}

/// Asks until the answer is clear. Enter means no.
pub(super) fn ask(question: &str) -> Answer {
    for _ in 0..3 {
        // The lock ends with the line: while the answer is waited for others may have to say something.
        let shown = format!("{question} [y/N] ");
        ignore(std::io::stderr().lock().write_all(shown.as_bytes()));
        let mut line = String::new();
        match std::io::stdin().lock().read_line(&mut line) {
            Ok(0) | Err(_) => return Answer::No,
            Ok(_) => {
                if let Some(answer) = parse_answer(&line) {
                    return answer;
                }
            }
        }
    }
    Answer::No
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_is_one() {
        assert_eq!(parse_answer("y\n"), Some(Answer::Yes));
        assert_eq!(parse_answer("YES"), Some(Answer::Yes));
        assert_eq!(parse_answer("\n"), Some(Answer::No));
        assert_eq!(parse_answer("yep"), None);
    }
}
