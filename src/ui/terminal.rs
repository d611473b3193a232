//! Moving lines on a terminal: one for each phase under way, those that run side by side one below the other.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::error::ignore;
use crate::events::{Event, Outcome, Phase, Sink, Unit};
use crate::ui::plain::render_finished;
use crate::ui::{CYAN, Options, RED, render_note, shows, styled};

const TICK: Duration = Duration::from_millis(100);

/// Draws with indicatif.
pub(super) struct Terminal {
    options: Options,
    color: bool,
    all: MultiProgress,
    running: BTreeMap<Phase, ProgressBar>,
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants; a wrong one falls back to the plain look.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ")
        .progress_chars("━╸ ")
}

impl Terminal {
    pub(super) fn new(options: Options, color: bool) -> Self {
        Self { options, color, all: MultiProgress::new(), running: BTreeMap::new() }
    }

    fn print(&self, line: &str) {
        // A terminal that went away is no failure of ours.
        ignore(self.all.println(line));
    }
}

impl Sink for Terminal {
    fn take(&mut self, _at: Duration, event: &Event) {
        match event {
            Event::Started { phase } => {
                let bar = self.all.add(ProgressBar::new_spinner());
                bar.set_style(style("{spinner} {prefix:<15} {elapsed:>6}  {wide_msg}"));
                bar.set_prefix(phase.label());
                bar.enable_steady_tick(TICK);
                self.running.insert(*phase, bar);
            }
            Event::Progress { phase, done, total, unit, detail } => {
                let Some(bar) = self.running.get(phase) else { return };
                if *total > 0 {
                    if bar.length() != Some(*total) {
                        bar.set_length(*total);
                        bar.set_style(style(match unit {
                            Unit::Bytes => {
                                "{spinner} {prefix:<15} {elapsed:>6}  {bar:16} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}  {wide_msg}"
                            }
                            Unit::Items => "{spinner} {prefix:<15} {elapsed:>6}  {bar:16} {pos}/{len}  {wide_msg}",
                        }));
                    }
                    bar.set_position(*done);
                }
                bar.set_message(detail.clone());
            }
            Event::Finished { phase, outcome, summary, took } => {
                if let Some(bar) = self.running.remove(phase) {
                    bar.finish_and_clear();
                    self.all.remove(&bar);
                }
                let mark = match outcome {
                    Outcome::Done | Outcome::Nothing => styled("✓", CYAN, self.color),
                    Outcome::Failed => styled("✗", RED, self.color),
                    Outcome::Stopped => "-".to_owned(),
                };
                self.print(&format!("{mark} {}", render_finished(*phase, *outcome, summary, *took)));
            }
            Event::Note { level, message } if shows(self.options, *level) => {
                self.print(&render_note(*level, message, self.color));
            }
            Event::Note { .. } | Event::Launched { .. } | Event::Result { .. } => {}
        }
    }
}
