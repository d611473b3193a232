//! `nix copy` over ssh-ng: Nix's own, always there.

use async_trait::async_trait;

use crate::error::{Error, Kind, Result};
use crate::events::{Event, Events, Phase, Unit};
use crate::nix::command::{argv_copy, argv_sign};
use crate::nix::log::Log;
use crate::ssh::Guest;
use crate::transfer::{Cargo, Engine};

/// Store paths in one command line.
const BATCH: usize = 4000;

/// Moves store paths with `nix copy --to ssh-ng://`.
#[derive(Clone, Copy, Debug)]
pub struct NixCopy;

#[async_trait(?Send)]
impl Engine for NixCopy {
    async fn carry(&self, cargo: &Cargo<'_>, guest: &Guest, events: &Events) -> Result<()> {
        let signed = sign(cargo, events).await?;
        let total = cargo.bytes();
        let mut log = Log::default();
        let cmd = argv_copy(guest.name.as_str(), &guest.files.ours, signed, &cargo.environment.tops());
        let output = cmd
            .run_lines(
                |_| {},
                |line| {
                    if let Some(now) = log.line(line) {
                        events.emit(&Event::Progress {
                            phase: Phase::Transfer,
                            done: now.bytes.0.min(total),
                            total,
                            unit: Unit::Bytes,
                            detail: now.detail.clone(),
                        });
                    }
                },
            )
            .await?;
        if output.status.success() { Ok(()) } else { Err(explain(&log, guest)) }
    }
}

/// Signs what is missing with this machine's key. False when this machine's Nix does not let us: then
/// the guest takes the paths on the word of a trusted user, over ssh.
async fn sign(cargo: &Cargo<'_>, events: &Events) -> Result<bool> {
    for batch in cargo.missing.chunks(BATCH) {
        let cmd = argv_sign(&cargo.key.secret, batch);
        let output = cmd.run().await?;
        if !output.status.success() {
            if String::from_utf8_lossy(&output.stderr).contains("privileged") {
                events.detail("Nix on this machine does not let you sign store paths: copying unsigned, as a trusted user");
                return Ok(false);
            }
            return Err(cmd.failed(&output));
        }
    }
    Ok(true)
}

/// The error of a copy that failed. Pure.
fn explain(log: &Log, guest: &Guest) -> Error {
    let lines = log.messages();
    let said = |words: &[&str]| words.iter().any(|w| lines.iter().any(|line| line.contains(w)));
    let name = &guest.name;
    let last = lines[lines.len().saturating_sub(8)..].to_vec();
    if said(&["No space left on device", "database or disk is full", "disk is full"]) {
        return Error::new(Kind::Volume, format!("the store image or the volume of `{name}` is full"))
            .details(last)
            .hint(super::more_room(name))
            .hint("then `devbox up` copies the rest");
    }
    if said(&["lacks a valid signature", "lacks a signature"]) {
        return Error::new(Kind::Guest, format!("`{name}` does not trust the signatures of this machine"))
            .details(last)
            .hint("the key of this machine has changed since the box was launched: `devbox down`, then `devbox up`");
    }
    Error::new(Kind::Guest, format!("copying to `{name}` failed"))
        .details(last)
        .hint("`devbox up` copies the rest; what arrived stays")
}
