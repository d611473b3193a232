//! Work on the store of a box: a script that runs as a unit of its own, so that it ends properly when our connection
//! does not last; its progress live, its answer as a type.

pub mod answers;
pub mod status;

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Kind, Result};
use crate::events::{Running, Unit};
use crate::guest::quiesce::{Holder, render_holders};
use crate::guest::script;
use crate::ssh::Guest;

/// The exit status when the box has no such script: another version of devbox set it up.
const NO_SCRIPT: i32 = 72;
/// How much sooner the box gives up than we do: it is to have the last word.
const AHEAD: Duration = Duration::from_secs(30);
/// What a command that is cut off here has left there.
pub const GOES_ON: &str = "what was begun on the box goes on there; `devbox store status` shows the store";

/// One piece of work for a box.
#[derive(Clone, Debug)]
pub struct Work {
    script: &'static str,
    args: Vec<String>,
    deadline: Duration,
    /// Whether it ends with our connection: it only looks.
    looks: bool,
}

impl Work {
    /// The script of that name, which may take so long.
    pub fn new(script: &'static str, deadline: Duration) -> Self {
        Self { script, args: Vec::new(), deadline, looks: false }
    }

    /// The same for a script that changes nothing: it ends with our connection.
    pub fn look(script: &'static str, deadline: Duration) -> Self {
        Self { looks: true, ..Self::new(script, deadline) }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds an argument where there is one.
    #[must_use]
    pub fn maybe(mut self, arg: Option<impl Into<String>>) -> Self {
        self.args.extend(arg.map(Into::into));
        self
    }
}

/// The words that do it on the box. Pure. Out of the home first, which this very command would keep busy.
pub fn argv_work(work: &Work) -> Vec<String> {
    let path = script(work.script);
    let first =
        format!("script=$1; shift; cd / && {{ [ -x \"$script\" ] || exit {NO_SCRIPT}; }} && exec \"$@\"");
    let mut words: Vec<String> = vec!["bash".into(), "-c".into(), first, "devbox".into(), path.clone()];
    words.push("sudo".to_owned());
    if !work.looks {
        words.extend(["systemd-run", "--pipe", "--wait", "--collect", "--quiet"].map(str::to_owned));
        words.push(format!("--property=RuntimeMaxSec={}", work.deadline.as_secs()));
        words.push(format!("--property=ExecStopPost={}", script("thaw")));
    }
    words.push(path);
    words.extend(work.args.iter().cloned());
    words
}

/// How far a script is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Progress {
    /// How much is done, in `unit`.
    pub done: u64,
    /// How much there is; 0 where that is not known.
    pub total: u64,
    /// `items` or `bytes`.
    pub unit: String,
    /// What it is at.
    pub detail: String,
}

/// Reads a line of progress; what is none is nothing.
pub fn parse_progress(line: &str) -> Option<Progress> {
    #[derive(Deserialize)]
    struct Line {
        progress: Progress,
    }
    serde_json::from_str::<Line>(line).ok().map(|line| line.progress)
}

/// What a script answers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Answer<T> {
    /// What it did, or found.
    Done(T),
    /// It did not do it, and says why.
    Refused(Refusal),
    /// The store is in use; nothing was touched.
    Busy {
        /// By whom.
        by: Vec<Holder>,
    },
    /// The store's filesystem has met errors; nothing was touched.
    Damaged {
        /// Which.
        why: String,
    },
    /// The store did not come to rest.
    Failed {
        /// What did not work.
        why: String,
        /// Who may be in the way.
        by: Vec<Holder>,
    },
}

/// A no.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Refusal {
    /// `usage`, `guest`, `volume` or `differs`.
    pub kind: String,
    /// One line.
    pub why: String,
    /// The way out; may be empty.
    pub hint: String,
    /// Evidence.
    pub lines: Vec<String>,
}

/// Reads what a script printed: its last line is the answer.
///
/// # Errors
/// [`Kind::Guest`] where that is none.
pub fn parse_answer<T: DeserializeOwned>(text: &str) -> Result<Answer<T>> {
    serde_json::from_str(text.lines().last().unwrap_or_default()).map_err(|e| {
        Error::new(Kind::Guest, "the box did not say what came of it")
            .details(text.lines().filter(|line| parse_progress(line).is_none()).take(10))
            .hint("it may have been set up by another version of devbox: `devbox down`, then `devbox up`")
            .caused_by(e)
    })
}

/// What a script did, or the error that it answers with. Pure.
///
/// # Errors
/// As the script says.
pub fn judge<T>(name: &str, answer: Answer<T>) -> Result<T> {
    match answer {
        Answer::Done(done) => Ok(done),
        Answer::Refused(no) => {
            let kind = match no.kind.as_str() {
                "usage" => Kind::Usage,
                "volume" => Kind::Volume,
                "differs" => Kind::Differs,
                _ => Kind::Guest,
            };
            let error = Error::new(kind, format!("`{name}`: {}", no.why)).details(no.lines);
            Err(if no.hint.is_empty() { error } else { error.hint(no.hint) })
        }
        Answer::Busy { by } => Err(Error::new(Kind::Guest, format!("`{name}` is busy; nothing was touched"))
            .details(render_holders(&by))
            .hint("end these, then try again")),
        Answer::Damaged { why } => Err(Error::new(Kind::Volume, format!("`{name}`: {why}; nothing was touched"))
            .hint(format!("save what you need from the box while it runs; `devbox down {name} --force` and `devbox up` check the store image"))),
        Answer::Failed { why, by } => {
            Err(Error::new(Kind::Guest, format!("the store of `{name}` did not come to rest: {why}"))
                .details(render_holders(&by))
                .hint(format!("`devbox up {name}` brings the store up again")))
        }
    }
}

/// Lets the box do it. `phase` shows how far it is.
///
/// # Errors
/// [`Kind::Guest`] when the box can't be reached, is of another version, or does not answer in time; else what the
/// script answers with.
pub async fn ask<T: DeserializeOwned>(guest: &Guest, work: &Work, phase: Option<&Running>) -> Result<T> {
    let name = guest.name.as_str();
    let cmd = guest.command(&argv_work(work)).deadline(work.deadline + AHEAD);
    let told = |line: &str| {
        if let (Some(phase), Some(progress)) = (phase, parse_progress(line)) {
            let unit = if progress.unit == "bytes" { Unit::Bytes } else { Unit::Items };
            phase.progress(progress.done, progress.total, unit, progress.detail);
        }
    };
    let output = cmd.run_lines(told, |_| {}).await.map_err(|e| e.with_kind(Kind::Guest).hint(GOES_ON))?;
    if output.status.code() == Some(NO_SCRIPT) {
        return Err(Error::new(
            Kind::Guest,
            format!("`{name}` was set up by another version of devbox, which can't do this"),
        )
        .hint(format!(
            "`devbox down {name}`, then `devbox up {name}` brings it; what is on the volume stays"
        )));
    }
    let output = guest.judge(&cmd, output).map_err(|e| e.hint(GOES_ON))?;
    judge(name, parse_answer(&output.text())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, PartialEq, Eq, Deserialize)]
    struct Grown {
        after: u64,
    }

    #[test]
    fn the_last_line_is_the_answer() {
        let text = "{\"progress\":{\"done\":1,\"total\":2,\"unit\":\"items\",\"detail\":\"x\"}}\n{\"result\":\"done\",\"after\":7}\n";
        assert_eq!(parse_answer::<Grown>(text).unwrap(), Answer::Done(Grown { after: 7 }));
        let progress = parse_progress(text.lines().next().unwrap()).unwrap();
        assert_eq!((progress.done, progress.total, progress.unit.as_str()), (1, 2, "items"));
        let error = parse_answer::<Grown>("line 7 of x failed").unwrap_err();
        assert_eq!(error.detail_lines(), ["line 7 of x failed"]);
    }

    #[test]
    fn a_no_has_the_exit_code_that_it_names() {
        let text =
            r#"{"result":"refused","kind":"volume","why":"it is damaged","hint":"repair it","lines":["a"]}"#;
        let error = judge("hello", parse_answer::<Grown>(text).unwrap()).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Volume, "`hello`: it is damaged"));
        assert_eq!(
            (error.hints(), error.detail_lines()),
            (&["repair it".to_owned()][..], &["a".to_owned()][..])
        );
        let busy = r#"{"result":"busy","by":[{"pid":7,"user":"ubuntu","command":"sleep 9 "}]}"#;
        let error = judge("hello", parse_answer::<Grown>(busy).unwrap()).unwrap_err();
        assert_eq!(
            (error.kind(), error.detail_lines()[0].as_str()),
            (Kind::Guest, "sleep 9 (process 7, ubuntu)")
        );
    }

    #[test]
    fn the_work_outlives_our_connection_and_has_a_deadline() {
        let words = argv_work(&Work::new("store-gc", Duration::from_secs(60)).arg("3").maybe(None::<&str>));
        let line = words.join(" ");
        assert!(line.contains("devbox /usr/local/lib/devbox/store-gc.sh sudo systemd-run"), "{line}");
        assert!(line.contains("RuntimeMaxSec=60 "), "{line}");
        assert!(line.ends_with("thaw.sh /usr/local/lib/devbox/store-gc.sh 3"), "{line}");
        let line = argv_work(&Work::look("verify", Duration::from_secs(60)).arg("p")).join(" ");
        assert!(line.ends_with("verify.sh sudo /usr/local/lib/devbox/verify.sh p"), "{line}");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(.|\n){0,200}") {
            drop(parse_answer::<Grown>(&text));
            drop(parse_progress(&text));
        }
    }
}
