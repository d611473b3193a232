//! Quiet two-column cards: a title, then what there is to say of it. Pure.

use console::measure_text_width;
use serde_json::{Map, Value};

use crate::ui::text::{harmless, wrap};

/// Longer labels don't push the values of all the others away.
const LABEL: usize = 24;
/// Values get so many columns on the narrowest terminal.
const VALUE: usize = 20;

/// One thing. What it is given may be foreign text.
#[derive(Clone, Debug, Default)]
pub struct Card {
    title: String,
    lines: Vec<(String, Vec<String>)>,
}

impl Card {
    /// A card without lines.
    pub fn new(title: &str) -> Self {
        let title = harmless(title);
        Self { title: if title.is_empty() { "(no name)".to_owned() } else { title }, lines: Vec::new() }
    }

    /// A line, unless there is nothing to say.
    pub fn line(&mut self, label: &str, value: impl AsRef<str>) -> &mut Self {
        self.lines(label, [value])
    }

    /// A line, where there is a value.
    pub fn maybe(&mut self, label: &str, value: Option<impl AsRef<str>>) -> &mut Self {
        self.lines(label, value)
    }

    /// Several values of one label, one below the other.
    pub fn lines(&mut self, label: &str, values: impl IntoIterator<Item = impl AsRef<str>>) -> &mut Self {
        let values: Vec<String> =
            values.into_iter().map(|v| harmless(v.as_ref())).filter(|v| !v.is_empty()).collect();
        if !values.is_empty() {
            self.lines.push((harmless(label), values));
        }
        self
    }

    /// What else came, by its own names behind `prefix`.
    pub fn extra(&mut self, prefix: &str, extra: &Map<String, Value>) -> &mut Self {
        for (name, value) in crate::provider::catalog::without_secrets(extra) {
            self.line(&format!("{prefix}{name}"), compact(&value));
        }
        self
    }
}

/// A value in one line: JSON, but text without its quotes.
pub fn compact(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Cards below each other, `width` columns wide where labels leave room for that.
pub fn render_cards(cards: &[Card], width: usize) -> String {
    let labels = cards.iter().flat_map(|c| &c.lines).map(|(label, _)| measure_text_width(label));
    let label = labels.filter(|w| *w <= LABEL).max().unwrap_or(0);
    // Two blanks before the label, two behind it.
    let indent = label + 4;
    let room = width.saturating_sub(indent).max(VALUE);
    let rendered = cards.iter().map(|card| {
        let mut text: String = wrap(&card.title, width.max(VALUE)).iter().map(|l| format!("{l}\n")).collect();
        for (name, values) in &card.lines {
            let mut head = format!("  {name}");
            if measure_text_width(name) > label {
                // Alone on its line, however long.
                for line in wrap(name, width.saturating_sub(2).max(VALUE)) {
                    text.push_str(&format!("  {line}\n"));
                }
                head.clear();
            }
            // Where there are several values, each is seen to begin.
            let hang = if values.len() > 1 { 2 } else { 0 };
            for line in values.iter().flat_map(|value| hanging(value, room, hang)) {
                let gap = " ".repeat(indent.saturating_sub(measure_text_width(&head)));
                text.push_str(&format!("{head}{gap}{line}\n"));
                head.clear();
            }
        }
        text
    });
    rendered.collect::<Vec<_>>().join("\n")
}

/// The lines of a value, all but the first behind `hang` blanks.
fn hanging(value: &str, room: usize, hang: usize) -> Vec<String> {
    let lines = wrap(value, room);
    if lines.len() < 2 {
        return lines;
    }
    let lines = wrap(value, room - hang).into_iter().enumerate();
    lines.map(|(n, line)| if n == 0 { line } else { " ".repeat(hang) + &line }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn long_values_hang_and_nothing_to_say_is_not_said() {
        let mut card = Card::new("web\x1b[2J");
        card.line("id", "0123")
            .line("none", "")
            .maybe("absent", None::<&str>)
            .line("note", "a long description that does not fit into one line")
            .lines("at", ["Zürich, where the lake ends in a river", "東京"]);
        let mut other = Card::new("");
        let extra = json!({
            "is_reserved": false, "a_name_that_is_longer_than_any_label": "text", "list": [1, {"a": null}],
            "jupyter_token": "secret",
        });
        other.extra("", extra.as_object().unwrap());
        insta::assert_snapshot!(render_cards(&[card, other], 44));
    }
}
