//! The only place that prints. stdout is data, stderr is talk.

pub mod card;
mod json;
mod plain;
mod prompt;
pub mod table;
mod terminal;
pub mod text;
pub mod timeline;

use std::io::{IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::env;
use crate::error::{Error, ignore};
use crate::events::{Event, Events, Level};

pub use prompt::Answer;

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How to talk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// One JSON document, or one event a line.
    pub json: bool,
    /// Which of the two: this command's JSON is a stream of events.
    pub stream: bool,
    /// Warnings and errors only.
    pub quiet: bool,
    /// 1: details, 2: every command.
    pub verbose: u8,
    /// No moving lines, even on a terminal.
    pub no_progress: bool,
    /// Colour.
    pub color: ColorChoice,
    /// Take questions as answered with yes.
    pub yes: bool,
}

/// Where commands talk to people and hand out data.
pub struct Ui {
    /// What work emits.
    pub events: Events,
    options: Options,
    color: bool,
}

/// Whether a level is to be shown.
fn shows(options: Options, level: Level) -> bool {
    match level {
        Level::Warning => true,
        Level::Info | Level::Hint => !options.quiet,
        Level::Detail => options.verbose >= 1,
        Level::Trace => options.verbose >= 2,
    }
}

impl Ui {
    /// The display that fits the options and the terminal.
    pub fn new(options: Options) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let color = match options.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminal && env::get(env::NO_COLOR).is_none(),
        };
        console::set_colors_enabled_stderr(color);
        let sink: Box<dyn crate::events::Sink> = if options.json && options.stream {
            Box::new(json::Json(options))
        } else if terminal && !options.json && !options.no_progress && !options.quiet {
            Box::new(terminal::Terminal::new(options, color))
        } else {
            Box::new(plain::Plain::new(options, color))
        };
        Self { events: Events::new(sink), options, color }
    }

    /// Whether data goes out as JSON.
    pub fn is_json(&self) -> bool {
        self.options.json
    }

    /// How many columns data has on standard output; where that is no terminal, as many as it likes.
    pub fn columns(&self) -> usize {
        console::Term::stdout().size_checked().map_or(UNLIMITED, |(_, columns)| usize::from(columns))
    }

    /// Hands out data. A reader that went away is no failure of ours.
    pub fn data(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        ignore(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
    }

    /// Hands out one JSON document.
    pub fn document(&self, document: &impl Serialize) {
        match serde_json::to_string_pretty(document) {
            Ok(text) => self.data(&format!("{text}\n")),
            Err(e) => self.events.warn(format!("can't write JSON: {e}")),
        }
    }

    /// The result of long work, as its last event with `--json`.
    pub fn result(&self, of: &'static str, data: serde_json::Value) {
        if self.options.json && self.options.stream {
            self.events.emit(&Event::Result { of, data });
        }
    }

    /// Asks a question that is answered by yes or no. [`Answer::Nobody`] when there is nobody to ask.
    /// Ctrl-C ends the question like everything else.
    pub async fn confirm(&self, question: &str) -> Answer {
        if self.options.yes {
            return Answer::Yes;
        }
        if !self.can_ask() {
            return Answer::Nobody;
        }
        // On a thread of its own: reading a terminal can't be interrupted, waiting for that thread can.
        let question = question.to_owned();
        tokio::task::spawn_blocking(move || prompt::ask(&question)).await.unwrap_or(Answer::No)
    }

    /// Whether there is somebody to ask.
    pub fn can_ask(&self) -> bool {
        !self.options.json && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Draws lines for people, indented and apart from what stands around them, unless `-q`. A program that reads
    /// events has the same from those.
    pub fn block(&self, lines: impl IntoIterator<Item = String>) {
        if self.options.json && self.options.stream {
            return;
        }
        self.events.info("");
        for line in lines {
            self.events.info(format!("  {line}"));
        }
        self.events.info("");
    }

    /// Prints an error: message, evidence, causes, ways out.
    pub fn error(&self, error: &Error) {
        if self.options.json && self.options.stream {
            let document = serde_json::json!({
                "seconds": json::rounded(self.events.elapsed()),
                "event": "error",
                "message": error.message(),
                "details": error.detail_lines(),
                "causes": error.causes(),
                "hints": error.hints(),
                "exit-code": error.kind().exit_code(),
            });
            self.data(&format!("{document}\n"));
        }
        self.talk(&render_error(error, self.color));
    }

    fn talk(&self, text: &str) {
        ignore(std::io::stderr().lock().write_all(text.as_bytes()));
    }
}

/// Wider than any line: what is piped on is not cut.
const UNLIMITED: usize = 100_000;

const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default().bold();
const CYAN: Style = AnsiColor::Cyan.on_default().bold();

/// A word in a style, where colour is wanted.
fn styled(word: &str, style: Style, color: bool) -> String {
    if color { format!("{style}{word}{style:#}") } else { word.to_owned() }
}

/// An error as a person reads it.
pub fn render_error(error: &Error, color: bool) -> String {
    let mut text = format!("{} {}\n", styled("error:", RED, color), error.message());
    for line in error.detail_lines() {
        text.push_str(&format!("  {line}\n"));
    }
    for cause in error.causes() {
        text.push_str(&format!("  caused by: {cause}\n"));
    }
    for hint in error.hints() {
        text.push_str(&format!("{} {hint}\n", styled("hint:", CYAN, color)));
    }
    text
}

/// A note as a person reads it.
fn render_note(level: Level, message: &str, color: bool) -> String {
    match level {
        Level::Warning => format!("{} {message}", styled("warning:", YELLOW, color)),
        Level::Hint => format!("{} {message}", styled("hint:", CYAN, color)),
        Level::Trace => format!("$ {message}"),
        Level::Info | Level::Detail => message.to_owned(),
    }
}

/// Seconds as a person reads them: `0.4 s`, `12 s`, `3 min 5 s`.
pub fn render_seconds(seconds: f64) -> String {
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    // Far below 2^53, and never negative.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a duration in seconds")]
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn an_error_has_evidence_causes_and_ways_out() {
        let error = Error::new(Kind::Guest, "`hello` can't be reached")
            .detail("ssh: connect: refused")
            .hint("`devbox status` tells more")
            .caused_by(std::io::Error::other("deep"));
        insta::assert_snapshot!(render_error(&error, false), @r"
        error: `hello` can't be reached
          ssh: connect: refused
          caused by: deep
        hint: `devbox status` tells more
        ");
    }

    #[test]
    fn seconds_are_short() {
        let cases =
            [(0.04, "0.0 s"), (1.26, "1.3 s"), (9.96, "10 s"), (61.0, "1 min 1 s"), (3700.0, "1 h 1 min")];
        for (seconds, expected) in cases {
            assert_eq!(render_seconds(seconds), expected);
        }
    }
}
