//! The part of `up` that is about words: the offer of plain ssh, the end of the story, and what still
//! runs after a failure.

use serde_json::json;

use super::Story;
use crate::commands::Context;
use crate::commands::whereabouts::{died, is_elsewhere};
use crate::config::project::Project;
use crate::error::{Error, Kind, Result};
use crate::events::Level;
use crate::journal::Entry;
use crate::names::BoxName;
use crate::nix::Environment;
use crate::plan::cost::render_hourly;
use crate::ssh::include;
use crate::transfer::Moved;
use crate::ui::timeline::render_timeline;
use crate::ui::{Answer, render_seconds};

impl Story<'_> {
    /// Once in a user's life: whether plain `ssh NAME` may find the boxes too.
    pub(super) async fn offer_include(&self) -> Result<()> {
        let Self { cx, .. } = self;
        if include::present(&cx.paths)? {
            return Ok(());
        }
        let name = &self.wanted.name;
        let hint = format!("for plain `ssh {name}`, put `{}` on top of ~/.ssh/config", include::LINE);
        if include::asked_before(&cx.paths)? {
            cx.ui.events.detail(hint);
            return Ok(());
        }
        let question = format!("Add `{}` to ~/.ssh/config, so that `ssh {name}` works?", include::LINE);
        match cx.ui.confirm(&question).await {
            Answer::Yes => {
                include::add(&cx.paths)?;
                cx.ui.events.info(format!("added `{}` to ~/.ssh/config", include::LINE));
                Ok(())
            }
            Answer::No | Answer::Nobody => {
                cx.ui.events.note(Level::Hint, hint);
                Ok(())
            }
        }
    }

    /// The timeline, and what to do next.
    pub(super) fn report(&self, entry: &Entry) {
        let Self { cx, .. } = self;
        let ui = &cx.ui;
        let took = ui.events.elapsed();
        let spans = ui.events.spans();
        if spans.len() > 2 {
            let width =
                console::Term::stderr().size_checked().map_or(80, |(_, columns)| usize::from(columns));
            ui.block(render_timeline(&spans, took, width.saturating_sub(2)));
        }
        let name = &entry.name;
        // The name may be left out where it is the project's own.
        let who =
            if self.config.box_.name.as_ref() == Some(name) { String::new() } else { format!(" {name}") };
        ui.events.info(format!(
            "`{name}` is ready after {}: `devbox ssh{who}` to work, `devbox down{who}` to end it",
            render_seconds(took.as_secs_f64())
        ));
    }

    /// The last event of `--json`.
    pub(super) fn result(&self, environment: &Environment, entry: &Entry, moved: Moved, generation: u64) {
        let (ui, name) = (&self.cx.ui, &entry.name);
        let took = ui.events.elapsed();
        ui.result(
            "up",
            json!({
                "box": name,
                "instance": entry.instance,
                "address": entry.address,
                "fingerprint": environment.fingerprint,
                "environment": environment.output,
                "machine": entry.machine,
                "generation": generation,
                "paths": environment.closure.0.len(),
                "bytes": environment.closure.bytes(),
                "copied-paths": moved.paths,
                "copied-bytes": moved.bytes,
                "checks": self.config.environment.checks,
                "seconds": took.as_secs_f64(),
            }),
        );
    }
}

/// After a failure: what still runs, what it costs, and the command that ends it.
pub fn still_running(cx: &Context, name: &BoxName, error: Error) -> Error {
    // The one has been ended, of the other nobody knows.
    if error.message() == died(name) || is_elsewhere(&error, name) {
        return error;
    }
    match cx.journal.of_box(name) {
        Ok(Some(entry)) => {
            let cost = render_hourly(entry.cents_per_hour);
            let what = match &entry.instance {
                Some(id) => format!("`{name}` is still running ({id}, {cost})"),
                None => {
                    format!("`{name}` may be running ({cost}): its launch was asked for and not answered")
                }
            };
            // Of another project these options say nothing.
            let (up, down) = match Project::find(&cx.dir).is_ok_and(|p| p.root == entry.root) {
                true => (cx.again(&format!("up {name}")), cx.command(&format!("down {name}"))),
                false => (format!("devbox up {name}"), format!("devbox down {name}")),
            };
            match error.kind() {
                // What was asked for can't be, as things stand.
                Kind::Usage | Kind::Differs => error.hint(format!("{what}: `{down}` ends it")),
                _ => error.hint(format!("{what}: `{up}` continues, `{down}` ends it")),
            }
        }
        Ok(None) => error,
        Err(unreadable) => error.hint(format!("{unreadable}: `devbox status` shows what runs")),
    }
}
