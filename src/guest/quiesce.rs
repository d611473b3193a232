//! Ending work on a box so that nothing is lost: daemon stopped, home and store unmounted, volume
//! synced, lease given back.

use std::time::Duration;

use serde::Deserialize;

use crate::error::{Error, Kind, Result};
use crate::events::{Events, Phase};
use crate::guest::script;
use crate::ssh::Guest;

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
    /// Everything is on the volume; the box can be ended.
    Ended {
        /// Whether home or store were on it.
        had: bool,
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

/// Brings the box to rest. With `force`, what is in the way is ended first.
///
/// # Errors
/// [`Kind::Guest`] when it can't be reached, is busy (nothing was touched then), or does not come to rest.
pub async fn quiesce(guest: &Guest, force: bool, events: &Events) -> Result<()> {
    let phase = events.phase(Phase::Quiesce);
    phase.doing("stopping work, unmounting, syncing");
    let quiesce = script("quiesce");
    // Out of the home first, which this very command would keep busy; and as a unit of its own, which
    // finishes even when the connection does not last.
    let mut words = vec!["cd / && exec \"$@\"", "devbox", "sudo", "systemd-run"];
    words.extend(["--pipe", "--wait", "--collect", "--quiet", quiesce.as_str()]);
    if force {
        words.push("--force");
    }
    let answer = guest
        .checked(
            &guest.command(&[&["bash", "-c"], words.as_slice()].concat()).deadline(Duration::from_secs(300)),
        )
        .await?;
    let name = &guest.name;
    match parse_quiesced(&answer.text())? {
        Quiesced::Ended { had: true } => {
            phase.done("home and store are on the volume");
            Ok(())
        }
        Quiesced::Ended { had: false } => {
            phase.done("nothing was mounted");
            Ok(())
        }
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
            parse_quiesced("noise\n{\"result\":\"ended\",\"had\":true}\n").unwrap(),
            Quiesced::Ended { had: true }
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
