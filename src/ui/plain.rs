//! Plain lines, for logs and pipes.

use std::io::Write;
use std::time::Duration;

use crate::error::ignore;
use crate::events::{Event, Level, Outcome, Phase, Sink};
use crate::ui::{Options, render_note, render_seconds, shows};

/// Writes a line for each beginning and end.
pub(super) struct Plain {
    options: Options,
    color: bool,
}

impl Plain {
    pub(super) fn new(options: Options, color: bool) -> Self {
        Self { options, color }
    }
}

/// The line for a phase that has ended.
pub(super) fn render_finished(phase: Phase, outcome: Outcome, summary: &str, took: f64) -> String {
    let took = render_seconds(took);
    let summary = if summary.is_empty() { String::new() } else { format!("  {summary}") };
    match outcome {
        Outcome::Done | Outcome::Nothing => format!("{:<15} {took:>8}{summary}", phase.label()),
        Outcome::Failed => format!("{:<15} {took:>8}  failed", phase.label()),
    }
}

impl Sink for Plain {
    fn take(&mut self, _at: Duration, event: &Event) {
        let line = match event {
            Event::Started { phase } if shows(self.options, Level::Detail) => {
                format!("{:<15} …", phase.label())
            }
            Event::Finished { phase, outcome, summary, took } if shows(self.options, Level::Info) => {
                render_finished(*phase, *outcome, summary, *took)
            }
            Event::Note { level, message } if shows(self.options, *level) => {
                render_note(*level, message, self.color)
            }
            _ => return,
        };
        ignore(writeln!(std::io::stderr().lock(), "{line}"));
    }
}
