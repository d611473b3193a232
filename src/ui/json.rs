//! One event a line on stdout, for machines.

use std::io::Write;
use std::time::Duration;

use serde::Serialize;

use crate::error::ignore;
use crate::events::{Event, Sink};

/// Writes events as JSON lines.
pub(super) struct Json;

#[derive(Serialize)]
struct Line<'a> {
    seconds: f64,
    #[serde(flatten)]
    event: &'a Event,
}

impl Sink for Json {
    fn take(&mut self, at: Duration, event: &Event) {
        let seconds = (at.as_secs_f64() * 1000.0).round() / 1000.0;
        if let Ok(mut line) = serde_json::to_vec(&Line { seconds, event }) {
            line.push(b'\n');
            // A reader that went away is no failure of ours.
            ignore(std::io::stdout().lock().write_all(&line));
        }
    }
}
