//! The project's checks: commands that must pass in the dev shell on the box before it is called ready. How they stand is
//! remembered on the box until its next boot.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::error::{Error, Kind, Result};
use crate::guest::script;
use crate::names::{BoxName, ProjectName};
use crate::nix::Fingerprint;
use crate::ssh::Guest;

/// How many of the last lines of a check a failure shows.
const SHOWN: usize = 20;
/// Beyond its own time: the connection, and what does not heed SIGTERM.
const GRACE: Duration = Duration::from_secs(30);
/// `check.sh`'s exit status when the time was up.
const TIME_IS_UP: i32 = 124;

/// How checks stand on a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// They were begun. Where nobody runs them any more they were cut off.
    Running,
    /// All passed.
    Passed,
    /// One did not.
    Failed,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Passed => "passed",
            Self::Failed => "failed",
        }
    }
}

/// What a box remembers of them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Standing {
    /// How they stand.
    pub state: State,
    /// What they were run for: [`key_of`].
    pub key: String,
    /// The one that was run last; may be empty.
    pub command: String,
}

impl Standing {
    /// Why the box is not ready, as far as they tell; nothing where they passed. Pure.
    pub fn hindrance(&self, name: &BoxName) -> Option<String> {
        match self.state {
            State::Passed => None,
            State::Running => Some(format!("its checks have not passed yet; `devbox up {name}` runs them")),
            State::Failed => {
                Some(format!("its check `{}` failed; `devbox up {name}` runs it again", self.command))
            }
        }
    }
}

/// What is to be done about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Todo {
    /// There are none, or they passed for just this.
    Nothing,
    /// There are none any more, and the box remembers some that did not pass.
    Forget,
    /// They are to be run.
    Run,
}

/// What checks are run for: these commands, in this environment.
pub fn key_of(fingerprint: &Fingerprint, checks: &[String]) -> String {
    let text = format!("{fingerprint}\n{}", checks.join("\n"));
    Sha256::digest(text).iter().take(16).map(|b| format!("{b:02x}")).collect()
}

/// Whether they are to be run; `again` though they passed. Pure.
pub fn plan_checks(checks: &[String], key: &str, there: Option<&Standing>, again: bool) -> Todo {
    let passed = |s: &&Standing| s.state == State::Passed;
    match there {
        None if checks.is_empty() => Todo::Nothing,
        Some(standing) if checks.is_empty() => {
            if passed(&standing) {
                Todo::Nothing
            } else {
                Todo::Forget
            }
        }
        Some(standing) if !again && passed(&standing) && standing.key == key => Todo::Nothing,
        _ => Todo::Run,
    }
}

/// The box remembers how they stand.
///
/// # Errors
/// [`Kind::Guest`] when it can't be reached.
pub async fn remember(
    guest: &Guest,
    project: &ProjectName,
    state: State,
    key: &str,
    command: &str,
) -> Result<()> {
    guest.check(&["sudo", &script("checked"), project.as_str(), state.word(), key, command]).await.map(drop)
}

/// The box remembers nothing of them.
///
/// # Errors
/// [`Kind::Guest`] when it can't be reached.
pub async fn forget(guest: &Guest, project: &ProjectName) -> Result<()> {
    guest.check(&["sudo", &script("checked"), project.as_str()]).await.map(drop)
}

/// Runs one of them. `on_line` gets what it prints, line by line, safe to show. Returns its last line on standard output.
///
/// # Errors
/// [`Kind::Failed`] when it does not pass in `time`, with its last lines; [`Kind::Guest`] when the box can't be reached.
pub async fn run(
    guest: &Guest,
    project: &ProjectName,
    command: &str,
    time: Duration,
    on_line: impl Fn(&str),
) -> Result<String> {
    let seconds = time.as_secs().to_string();
    let cmd = guest
        .command(&[script("check").as_str(), project.as_str(), &seconds, command])
        .held()
        .deadline(time + GRACE);
    let (last, answer) = (RefCell::new(VecDeque::new()), RefCell::new(String::new()));
    let keep = |line: &str| {
        let line = plain(line);
        if !line.trim().is_empty() {
            on_line(&line);
            let mut last = last.borrow_mut();
            last.push_back(line.clone());
            if last.len() > SHOWN {
                last.pop_front();
            }
        }
        line
    };
    let began = Instant::now();
    let said = |line: &str| {
        let line = keep(line);
        if !line.trim().is_empty() {
            *answer.borrow_mut() = line;
        }
    };
    let output = cmd.run_lines(said, |line| drop(keep(line))).await.map_err(|e| e.with_kind(Kind::Guest))?;
    let how = match output.status.code() {
        Some(0) => return Ok(answer.into_inner()),
        Some(TIME_IS_UP) if began.elapsed() >= time => format!("did not end within {seconds} s"),
        Some(255) | None => return guest.judge(&cmd, output).map(|_| String::new()),
        Some(code) => format!("failed (exit status {code})"),
    };
    Err(Error::new(Kind::Failed, format!("the check `{}` {how} on `{}`", plain(command), guest.name))
        .details(last.into_inner()))
}

/// A line that does nothing to a terminal: of a progress bar that writes over itself the last that is seen. Pure.
pub fn plain(line: &str) -> String {
    let line = console::strip_ansi_codes(line);
    let last = line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default();
    last.replace('\t', "    ").chars().filter(|c| !c.is_control()).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn standing(state: State, key: &str) -> Standing {
        Standing { state, key: key.into(), command: "check-cuda".into() }
    }

    #[test]
    fn they_run_until_they_have_passed_for_just_this() {
        let checks = ["check-cuda".to_owned()];
        let plan = |there: Option<Standing>, again| plan_checks(&checks, "k", there.as_ref(), again);
        assert_eq!(plan(None, false), Todo::Run);
        assert_eq!(plan(Some(standing(State::Passed, "k")), false), Todo::Nothing);
        assert_eq!(plan(Some(standing(State::Passed, "k")), true), Todo::Run);
        assert_eq!(plan(Some(standing(State::Passed, "other")), false), Todo::Run);
        assert_eq!(plan(Some(standing(State::Failed, "k")), false), Todo::Run);
        assert_eq!(plan(Some(standing(State::Running, "k")), false), Todo::Run);
    }

    #[test]
    fn without_any_a_box_is_not_held_up_by_those_of_before() {
        let plan = |there: Option<Standing>| plan_checks(&[], "k", there.as_ref(), true);
        assert_eq!(plan(None), Todo::Nothing);
        assert_eq!(plan(Some(standing(State::Passed, "k"))), Todo::Nothing);
        assert_eq!(plan(Some(standing(State::Failed, "k"))), Todo::Forget);
    }

    #[test]
    fn the_key_tells_environments_and_commands_apart() {
        let print = |digit: &str| Fingerprint(digit.repeat(64));
        let key = |digit, checks: &[&str]| {
            key_of(&print(digit), &checks.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(key("a", &["x", "y"]), key("a", &["x", "y"]));
        assert_ne!(key("a", &["x", "y"]), key("b", &["x", "y"]));
        assert_ne!(key("a", &["x", "y"]), key("a", &["x y"]));
    }

    #[test]
    fn what_a_check_prints_does_nothing_to_a_terminal() {
        assert_eq!(plain("\u{1b}[31mred\u{1b}[0m\u{7}"), "red");
        assert_eq!(plain(" 10%\r 50%\r100% done\r"), "100% done");
        assert_eq!(plain("a\tb  "), "a    b");
    }

    proptest! {
        #[test]
        fn no_line_keeps_a_control_character(line in "(.|\r|\u{1b}|\n){0,80}") {
            prop_assert!(!plain(&line).chars().any(char::is_control));
        }
    }
}
