//! Foreign text on a terminal: harmless, and no wider than it may be. Pure.

use console::measure_text_width;

/// Foreign text as one harmless line: whatever is no visible character stands there as its escape, so
/// that it neither moves the cursor nor hides what follows. Lines and tabs become blanks.
pub fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_whitespace() {
            out.push(' ');
        } else if is_visible(c) {
            out.push(c);
        } else {
            out.extend(c.escape_unicode());
        }
    }
    out.trim().to_owned()
}

/// Whether a character shows, by itself or on the one before it: no control, no direction marks.
fn is_visible(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_graphic();
    }
    // The standard library knows what is printable, and escapes marks only at the start of a text.
    let mut buffer = [b'a'; 5];
    let length = c.encode_utf8(&mut buffer[1..]).len();
    std::str::from_utf8(&buffer[..=length]).is_ok_and(|text| text.escape_debug().eq(['a', c]))
}

/// How many columns a character takes at most, wherever it stands.
fn columns(c: char) -> usize {
    // They widen the sign before them: a quotation mark, an emoji.
    const WIDENING: [char; 2] = ['\u{fe01}', '\u{fe0f}'];
    if WIDENING.contains(&c) { 1 } else { measure_text_width(c.encode_utf8(&mut [0; 4])) }
}

/// Where to cut so that what is before it fits: never before the first character.
fn cut(text: &str, width: usize) -> usize {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += columns(c);
        if used > width && at > 0 {
            return at;
        }
    }
    text.len()
}

/// No wider than `width`: what is cut off is shown as `…`.
pub fn shorten(text: &str, width: usize) -> String {
    if measure_text_width(text) <= width {
        return text.to_owned();
    }
    let Some(room) = width.checked_sub(1) else { return String::new() };
    let mut kept = text[..cut(text, room)].to_owned();
    while measure_text_width(&kept) > room {
        kept.pop();
    }
    format!("{}…", kept.trim_end())
}

/// Lines no wider than `width`, broken at blanks where that is possible. At least one.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut line, mut used) = (String::new(), 0);
    for (at, word) in text.split(' ').enumerate() {
        let wide = measure_text_width(word);
        if at > 0 && used + 1 + wide <= width {
            line.push(' ');
            line.push_str(word);
            used += 1 + wide;
            continue;
        }
        if !line.trim_end().is_empty() {
            lines.push(line.trim_end().to_owned());
        }
        let mut rest = word;
        while measure_text_width(rest) > width {
            let at = cut(rest, width);
            if at == rest.len() {
                break;
            }
            lines.push(rest[..at].to_owned());
            rest = &rest[at..];
        }
        (line, used) = (rest.to_owned(), measure_text_width(rest));
    }
    if !line.trim_end().is_empty() || lines.is_empty() {
        lines.push(line.trim_end().to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_would_act_is_shown_instead() {
        let cases = [
            ("Zürich 東京 🦀 e\u{301} C:\\ \"a\" it's", "Zürich 東京 🦀 e\u{301} C:\\ \"a\" it's"),
            ("\x1b[31mred\x1b]0;title\x07", "\\u{1b}[31mred\\u{1b}]0;title\\u{7}"),
            ("c1 \u{9b}2J", "c1 \\u{9b}2J"),
            ("\u{202e}txt.exe", "\\u{202e}txt.exe"),
            ("two\nlines\tand\u{2028}more\r\n", "two lines and more"),
        ];
        for (text, expected) in cases {
            assert_eq!(harmless(text), expected);
        }
    }

    #[test]
    fn what_is_too_wide_is_cut_by_columns() {
        let cases = [
            ("gpu_1x_gh200", 12, "gpu_1x_gh200"),
            ("gpu_1x_gh200", 8, "gpu_1x_…"),
            ("東京東京", 6, "東京…"),
            ("Name of a thing", 6, "Name…"),
            ("ab", 1, "…"),
            ("ab", 0, ""),
        ];
        for (text, width, expected) in cases {
            assert_eq!(shorten(text, width), expected, "{text} {width}");
        }
    }

    #[test]
    fn lines_break_at_blanks_or_else_anywhere() {
        let cases: [(&str, usize, &[&str]); 6] = [
            ("allow ssh from anywhere", 10, &["allow ssh", "from", "anywhere"]),
            ("tcp  22", 10, &["tcp  22"]),
            ("0123456789 ab", 4, &["0123", "4567", "89", "ab"]),
            ("東京東京", 5, &["東京", "東京"]),
            ("a‘\u{fe01}b", 3, &["a‘\u{fe01}", "b"]),
            ("", 5, &[""]),
        ];
        for (text, width, expected) in cases {
            assert_eq!(wrap(text, width), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_wider_and_nothing_is_lost(
            text in proptest::collection::vec(any::<char>(), 0..60).prop_map(String::from_iter),
            width in 2_usize..60,
        ) {
            let text = harmless(&text);
            prop_assert!(!text.chars().any(char::is_control));
            prop_assert!(measure_text_width(&shorten(&text, width)) <= width);
            let lines = wrap(&text, width);
            for line in &lines {
                prop_assert!(measure_text_width(line) <= width, "{:?}", line);
            }
            let letters = |text: &str| text.chars().filter(|c| *c != ' ').collect::<String>();
            prop_assert_eq!(letters(&lines.concat()), letters(&text));
        }
    }
}
