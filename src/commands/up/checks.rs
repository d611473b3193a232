//! The part of `up` between a box that has its environment and the word "ready": the project's checks.

use super::{BoxUp, Story};
use crate::error::{Error, Kind, Result};
use crate::events::{Phase, Unit};
use crate::guest::checks::{self, State, Todo, plain, plan_checks};
use crate::guest::facts::Facts;
use crate::nix::Fingerprint;

impl Story<'_> {
    /// Runs the project's checks in the dev shell on the box, unless they have passed there for this environment since it
    /// booted; `again` even then.
    ///
    /// # Errors
    /// [`Kind::Failed`] for the first that does not pass; [`Kind::Guest`] when the box can't be reached.
    pub(super) async fn check(
        &self,
        up: &BoxUp,
        facts: &Facts,
        fingerprint: &Fingerprint,
        again: bool,
    ) -> Result<()> {
        let all = &self.config.environment.checks;
        let key = checks::key_of(fingerprint, all);
        match plan_checks(all, &key, facts.checks.as_ref(), again) {
            Todo::Nothing => Ok(()),
            Todo::Forget => checks::forget(&up.guest, &self.project_name).await,
            Todo::Run => match self.run_checks(up, &key).await {
                Err(e) if e.kind() == Kind::Guest => {
                    let e = self.unless_broken(&up.guest, e).await;
                    Err(self.unless_dead(&up.entry, e).await)
                }
                done => done,
            },
        }
    }

    async fn run_checks(&self, up: &BoxUp, key: &str) -> Result<()> {
        let (guest, project) = (&up.guest, &self.project_name);
        let settings = &self.config.environment;
        let events = &self.cx.ui.events;
        let phase = events.phase(Phase::Checks);
        let total = settings.checks.len() as u64;
        checks::remember(guest, project, State::Running, key, "").await?;
        let mut answer = String::new();
        for (command, done) in settings.checks.iter().zip(0..) {
            self.say(&format!("checking: {}", plain(command)));
            phase.progress(done, total, Unit::Items, plain(command));
            let on_line = |line: &str| {
                phase.progress(done, total, Unit::Items, line);
                events.detail(line);
            };
            answer = match checks::run(guest, project, command, settings.check_timeout, on_line).await {
                Ok(answer) => answer,
                Err(e) if e.kind() == Kind::Failed => {
                    checks::remember(guest, project, State::Failed, key, command).await?;
                    return Err(self.with_ways_out(e));
                }
                Err(e) => return Err(e),
            };
        }
        checks::remember(guest, project, State::Passed, key, "").await?;
        let passed = format!("{total} passed");
        phase.done(if answer.is_empty() { passed } else { format!("{passed}: {answer}") });
        Ok(())
    }

    /// The environment is there, and what is wrong is best looked at in it.
    fn with_ways_out(&self, e: Error) -> Error {
        let ssh = self.cx.command(&format!("ssh {}", self.wanted.name));
        e.hint(format!("the environment is current there: `{ssh}` takes you in")).hint(
            "`environment.checks` in `devbox.toml` names the checks, `environment.check-timeout` their time",
        )
    }
}
