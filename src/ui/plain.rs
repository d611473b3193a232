//! Plain lines, for logs and pipes.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use crate::error::ignore;
use crate::events::{Event, Level, Outcome, Phase, Sink};
use crate::ui::{Options, render_note, render_seconds, shows};

/// How often a phase that goes on says so: a log must not fall silent while something is paid for.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Writes a line for each beginning and end, and now and then one for what goes on.
pub(super) struct Plain {
    options: Options,
    color: bool,
    /// The phases under way: when each began, and when it was last heard of.
    running: BTreeMap<Phase, (Duration, Duration)>,
}

impl Plain {
    pub(super) fn new(options: Options, color: bool) -> Self {
        Self { options, color, running: BTreeMap::new() }
    }
}

/// The line for a phase that has ended.
pub(super) fn render_finished(phase: Phase, outcome: Outcome, summary: &str, took: f64) -> String {
    let took = render_seconds(took);
    let summary = if summary.is_empty() { String::new() } else { format!("  {summary}") };
    match outcome {
        Outcome::Done | Outcome::Nothing => format!("{:<15} {took:>8}{summary}", phase.label()),
        Outcome::Failed => format!("{:<15} {took:>8}  failed", phase.label()),
        Outcome::Stopped => format!("{:<15} {took:>8}  stopped", phase.label()),
    }
}

impl Plain {
    /// The line for a phase that goes on, when it is time for one.
    fn heartbeat(&mut self, at: Duration, phase: Phase, detail: &str) -> Option<String> {
        let (began, heard) = self.running.get_mut(&phase)?;
        if detail.is_empty() || at.saturating_sub(*heard) < HEARTBEAT || !shows(self.options, Level::Info) {
            return None;
        }
        *heard = at;
        let took = render_seconds(at.saturating_sub(*began).as_secs_f64());
        Some(format!("{:<15} {took:>8}  … {detail}", phase.label()))
    }
}

impl Sink for Plain {
    fn take(&mut self, at: Duration, event: &Event) {
        match event {
            Event::Started { phase } => {
                self.running.insert(*phase, (at, at));
            }
            Event::Finished { phase, .. } => {
                self.running.remove(phase);
            }
            Event::Progress { phase, detail, .. } => {
                if let Some(line) = self.heartbeat(at, *phase, detail) {
                    ignore(writeln!(std::io::stderr().lock(), "{line}"));
                }
            }
            _ => {}
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_heard_of_now_and_then() {
        let mut plain = Plain::new(Options::default(), false);
        plain.take(Duration::ZERO, &Event::Started { phase: Phase::Launch });
        let heard: Vec<_> = (0..95)
            .filter_map(|second| plain.heartbeat(Duration::from_secs(second), Phase::Launch, "waited"))
            .collect();
        assert_eq!(heard.len(), 3);
        assert_eq!(heard[2], "launch          1 min 30 s  … waited");
        assert_eq!(plain.heartbeat(Duration::from_secs(999), Phase::Boot, "not begun"), None);
    }
}
