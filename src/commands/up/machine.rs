//! The part of `up` about what Nix does not pin: the machine under the environment.

use jiff::Timestamp;

use super::Story;
use crate::guest::facts::Facts;
use crate::guest::machine::{Machine, Record, record};
use crate::journal::Entry;
use crate::nix::Fingerprint;
use crate::ssh::Guest;

impl Story<'_> {
    /// Writes the launch down on the volume, where it or its environment is new, and says what has changed since the one
    /// before. That it can't be written is no reason to be without a box.
    pub(super) async fn note_machine(
        &self,
        guest: &Guest,
        was: &Entry,
        facts: &Facts,
        fingerprint: &Fingerprint,
    ) -> Machine {
        let events = &self.cx.ui.events;
        let machine = facts.whole_machine();
        if let Some(why) = facts.driver_trouble() {
            events.warn(why);
        }
        if was.machine.as_ref() == Some(&machine) && was.fingerprint.as_ref() == Some(fingerprint) {
            return machine;
        }
        let now = Record::new(was, machine.clone(), fingerprint, facts.generation, Timestamp::now());
        match record(guest, self.project_name.as_str(), &now).await {
            Ok(Some(before)) => {
                let changes = machine.changes(&before.machine);
                if !changes.is_empty() {
                    let day = before.at.strftime("%Y-%m-%d");
                    let changes = changes.join("; ");
                    events.info(format!("not pinned by Nix, and changed since {day}: {changes}"));
                }
            }
            Ok(None) => {}
            Err(e) => events.warn(format!("this launch could not be written down on the volume: {e}")),
        }
        machine
    }
}
