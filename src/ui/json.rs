//! One event a line on stdout, for machines.

use std::io::Write;
use std::time::Duration;

use serde::Serialize;

use crate::error::ignore;
use crate::events::{Event, Sink};
use crate::ui::{Options, shows};

/// Writes events as JSON lines; details and commands only where they are asked for.
pub(super) struct Json(pub(super) Options);

#[derive(Serialize)]
struct Line<'a> {
    seconds: f64,
    #[serde(flatten)]
    event: &'a Event,
}

/// Seconds, to the millisecond.
pub(super) fn rounded(at: Duration) -> f64 {
    (at.as_secs_f64() * 1000.0).round() / 1000.0
}

impl Sink for Json {
    fn take(&mut self, at: Duration, event: &Event) {
        if let Event::Note { level, .. } = event
            && !shows(Options { quiet: false, ..self.0 }, *level)
        {
            return;
        }
        let seconds = rounded(at);
        if let Ok(mut line) = serde_json::to_vec(&Line { seconds, event }) {
            line.push(b'\n');
            // A reader that went away is no failure of ours.
            ignore(std::io::stdout().lock().write_all(&line));
        }
    }
}
