//! Ending work on a box so that nothing is lost: daemon stopped, home and store unmounted, volume
//! synced, lease given back.

use std::time::Duration;

use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::events::{Events, Phase};
use crate::guest::script;
use crate::names::BoxName;
use crate::ssh::Guest;

/// How long unmounting and syncing may take, what is busy not counted.
const PATIENCE: Duration = Duration::from_secs(300);

/// Somebody who uses the home or the store.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Holder {
    /// Process id on the box.
    pub pid: u32,
    /// Whose process.
    pub user: String,
    /// Its command line, shortened.
    pub command: String,
}

/// The answer of `quiesce.sh`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Quiesced {
    /// The box can be ended.
    Ended {
        /// Whether home or store were on the volume.
        had: bool,
        /// Whether all of them is on it.
        whole: bool,
    },
    /// Nothing was touched: these use it.
    Busy {
        /// Who.
        by: Vec<Holder>,
    },
    /// Nothing was touched: the store's filesystem has met errors.
    Damaged {
        /// Which.
        why: String,
    },
    /// It did not come to rest.
    Failed {
        /// What did not work.
        why: String,
        /// Who may be in the way.
        by: Vec<Holder>,
    },
}

/// Reads the answer of `quiesce.sh`.
///
/// # Errors
/// [`Kind::Guest`] where it is no such answer.
pub fn parse_quiesced(text: &str) -> Result<Quiesced> {
    serde_json::from_str(text.lines().last().unwrap_or_default()).map_err(|e| {
        Error::new(Kind::Guest, "the box did not say whether it came to rest")
            .details(text.lines().take(10))
            .caused_by(e)
    })
}

/// Lines for a person: who is in the way.
pub fn render_holders(holders: &[Holder]) -> Vec<String> {
    holders.iter().map(|h| format!("{} (process {}, {})", h.command.trim(), h.pid, h.user)).collect()
}

/// Tries to bring the box to rest. With `grace`, whoever is busy is told, asked to end, and ended after so long, and
/// errors of the store's filesystem are no hindrance; without, the box is left as it is then.
///
/// # Errors
/// [`Kind::Guest`] when it can't be reached.
pub async fn quiesce(guest: &Guest, grace: Option<Duration>, events: &Events) -> Result<Quiesced> {
    let phase = events.phase(Phase::Quiesce);
    phase.doing("stopping work, unmounting, syncing");
    let quiesce = script("quiesce");
    // Out of the home first, which this very command would keep busy; and as a unit of its own, which
    // finishes even when the connection does not last.
    let mut words = vec!["cd / && exec \"$@\"", "devbox", "sudo", "systemd-run"];
    words.extend(["--pipe", "--wait", "--collect", "--quiet", quiesce.as_str()]);
    let seconds = grace.map(|grace| grace.as_secs().to_string());
    words.extend(seconds.as_deref());
    let deadline = PATIENCE + grace.unwrap_or_default();
    let answer = guest
        .checked(&guest.command(&[&["bash", "-c"], words.as_slice()].concat()).deadline(deadline))
        .await
        .map_err(|e| explain(&guest.name, e))?;
    let quiesced = parse_quiesced(&answer.text())?;
    match &quiesced {
        Quiesced::Ended { whole: false, .. } => {
            phase.done("unmounted; what was written last is not all on the volume");
        }
        Quiesced::Ended { had: true, .. } => phase.done("home and store are on the volume"),
        Quiesced::Ended { had: false, .. } => phase.done("nothing was mounted"),
        Quiesced::Busy { .. } | Quiesced::Damaged { .. } | Quiesced::Failed { .. } => drop(phase),
    }
    Ok(quiesced)
}

/// The better error, where systemd starts nothing any more. Pure.
fn explain(name: &BoxName, e: Error) -> Error {
    let goes_down = |line: &str| line.contains("is destructive") || line.contains("shutting down");
    if !goes_down(&e.to_string()) && !e.detail_lines().iter().any(|line| goes_down(line)) {
        return e;
    }
    Error::new(Kind::Guest, format!("`{name}` is shutting down by itself, which brings it to rest too"))
        .caused_by(e)
        .hint(format!("in a minute or two `devbox down {name}` ends what is billed of it"))
}

/// That the box came to rest, or why not.
///
/// # Errors
/// [`Kind::Guest`] when it is busy (nothing was touched then) or did not come to rest; [`Kind::Volume`] when its store
/// has met errors (nothing was touched).
pub fn judge(name: &BoxName, quiesced: Quiesced) -> Result<()> {
    match quiesced {
        Quiesced::Ended { .. } => Ok(()),
        Quiesced::Busy { by } => {
            Err(Error::new(Kind::Guest, format!("`{name}` is busy; nothing was touched"))
                .details(render_holders(&by))
                .hint("end these, then try again")
                .hint(format!(
                    "`devbox down {name} --force` ends them for you: what they have not saved is lost"
                )))
        }
        Quiesced::Damaged { why } => Err(Error::new(
            Kind::Volume,
            format!("`{name}`: {why}; what was written last is not all on its volume"),
        )
        .hint("save what you need from the box while it runs, and free space on the volume")
        .hint(format!(
            "`devbox down {name} --force` ends it all the same; the next `up` checks the store image"
        ))),
        Quiesced::Failed { why, by } => {
            Err(Error::new(Kind::Guest, format!("`{name}` did not come to rest: {why}"))
                .details(render_holders(&by))
                .hint(format!("`devbox down {name}` tries again; the box still runs")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_answers_are_read() {
        assert_eq!(
            parse_quiesced("noise\n{\"result\":\"ended\",\"had\":true,\"whole\":true}\n").unwrap(),
            Quiesced::Ended { had: true, whole: true }
        );
        let busy =
            parse_quiesced(r#"{"result":"busy","by":[{"pid":7,"user":"ubuntu","command":"sleep 9 "}]}"#)
                .unwrap();
        let Quiesced::Busy { by } = busy else { panic!("{busy:?}") };
        assert_eq!(render_holders(&by), ["sleep 9 (process 7, ubuntu)"]);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(.|\n){0,200}") {
            drop(parse_quiesced(&text));
        }
    }
}
