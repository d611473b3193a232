//! Waiting for the box to set itself up, showing its steps live.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::events::{Events, Phase, Unit};
use crate::names::LaunchId;
use crate::process::Cmd;
use crate::ssh::{Guest, argv};

const WATCH: &str = include_str!("scripts/watch.sh");

/// The steps of a set-up, in order.
const STEPS: [&str; 5] = ["volume", "store", "home", "nix", "driver"];

/// Where a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepState {
    /// Under way.
    Running,
    /// Finished.
    Done,
    /// Given up.
    Failed,
}

/// One step as the box reports it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Step {
    /// `volume`, `store`, `home`, `nix` or `driver`.
    pub step: String,
    /// Where it stands.
    pub state: StepState,
    /// What it does, did, or failed at.
    pub detail: String,
    /// The way out of a failure; may be empty.
    #[serde(default)]
    pub hint: String,
    /// The launch of the box that is waited for, if one is.
    #[serde(default)]
    pub holder: String,
}

/// `/run/devbox/status.json`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Status {
    /// The steps that have begun.
    pub steps: Vec<Step>,
}

impl Status {
    /// The step that was given up, if any.
    pub fn failed(&self) -> Option<&Step> {
        self.steps.iter().find(|s| s.state == StepState::Failed)
    }

    /// The launch that has the store image, where this box waits for it.
    pub fn waits_for(&self) -> Option<LaunchId> {
        let waiting = |s: &&Step| s.state == StepState::Running && !s.holder.is_empty();
        self.steps.iter().find(waiting)?.holder.parse().ok()
    }

    fn all_done(&self) -> bool {
        STEPS.iter().all(|name| self.steps.iter().any(|s| s.step == *name && s.state == StepState::Done))
    }
}

/// Reads one line of the watch. What is no status is none.
pub fn parse_status(line: &str) -> Option<Status> {
    serde_json::from_str(line).ok()
}

/// The error of a set-up that stopped at a step. A volume or a store image at fault is the volume's
/// error, the rest is the box's.
pub fn failed_step(name: &str, step: &Step) -> Error {
    let kind = if matches!(step.step.as_str(), "volume" | "store") { Kind::Volume } else { Kind::Guest };
    let error = Error::new(kind, format!("`{name}` could not set up its {}: {}", step.step, step.detail));
    let error = if step.hint.is_empty() { error } else { error.hint(step.hint.clone()) };
    error.hint(format!("`devbox ssh --plain {name}` still gets in; `devbox down {name}` ends it"))
}

/// Waits until the box has volume, store, home and Nix. With `again`, a step that was given up
/// earlier is tried once more first. `holder` is told which launch has the store image while this box waits for it.
///
/// # Errors
/// [`Kind::Volume`] or [`Kind::Guest`], naming the step that failed, or the time that is up. The box
/// takes ssh all the same.
pub async fn wait_until_set_up(
    guest: &Guest,
    again: bool,
    patience: Duration,
    events: &Events,
    holder: impl Fn(Option<LaunchId>),
) -> Result<()> {
    let phase = events.phase(Phase::Bootstrap);
    let seconds = patience.as_secs().to_string();
    let words = ["bash", "-s", "--", &seconds, if again { "again" } else { "" }];
    let cmd: Cmd = argv::argv_run(&guest.files.ours, &guest.name, &words)
        .input(WATCH)
        .deadline(patience + Duration::from_secs(30));
    let mut status = Status::default();
    let mut said: BTreeMap<String, StepState> = BTreeMap::new();
    let mut rest = Vec::new();
    let output = cmd
        .run_lines(
            |line| {
                let Some(now) = parse_status(line) else {
                    rest.push(line.to_owned());
                    return;
                };
                for step in &now.steps {
                    if said.insert(step.step.clone(), step.state) != Some(step.state)
                        && step.state == StepState::Done
                    {
                        events.detail(format!("{}: {}", step.step, step.detail));
                    }
                }
                let done = now.steps.iter().filter(|s| s.state == StepState::Done).count();
                if let Some(step) = now.steps.iter().find(|s| s.state == StepState::Running) {
                    let detail = format!("{}: {}", step.step, step.detail);
                    phase.progress(done as u64, STEPS.len() as u64, Unit::Items, detail);
                }
                holder(now.waits_for());
                status = now;
            },
            |_| {},
        )
        .await
        .map_err(|e| e.with_kind(Kind::Guest))?;
    guest.judge(&cmd, output)?;
    if let Some(step) = status.failed() {
        return Err(failed_step(guest.name.as_str(), step));
    }
    if !rest.is_empty() || !status.all_done() {
        let why = rest.first().map_or("it says no more", String::as_str).to_owned();
        return Err(Error::new(
            Kind::Guest,
            format!("`{}` was not set up (waited at most {} s): {why}", guest.name, patience.as_secs()),
        )
        .details(rest.into_iter().skip(1))
        .hint(format!("`devbox ssh --plain {} -- journalctl -u 'devbox*'` tells more", guest.name)));
    }
    let store = status.steps.iter().find(|s| s.step == "store").map(|s| s.detail.clone()).unwrap_or_default();
    phase.done(store);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LINE: &str = r#"{"steps":[{"step":"volume","state":"done","detail":"ext4 from /dev/vda","hint":"","uptime":1.5},{"step":"store","state":"failed","detail":"no room","hint":"make room","uptime":2.0}]}"#;

    #[test]
    fn a_failed_store_is_the_volumes_error() {
        let status = parse_status(LINE).unwrap();
        let error = failed_step("hello", status.failed().unwrap());
        assert_eq!(error.kind(), Kind::Volume);
        assert_eq!(error.to_string(), "`hello` could not set up its store: no room");
        assert_eq!(error.hints()[0], "make room");
    }

    #[test]
    fn a_set_up_is_over_when_all_steps_are_done() {
        let done = |steps: &[&str]| Status {
            steps: steps
                .iter()
                .map(|s| Step {
                    step: (*s).into(),
                    state: StepState::Done,
                    detail: String::new(),
                    hint: String::new(),
                    holder: String::new(),
                })
                .collect(),
        };
        assert!(done(&STEPS).all_done());
        assert!(!done(&["volume", "store", "home", "nix"]).all_done());
    }

    proptest! {
        #[test]
        fn no_line_panics(line in ".{0,200}") {
            parse_status(&line);
        }
    }
}
