//! Giving a box its Nix: a tar of store paths and their registration, as the official tarball does.

use std::time::Duration;

use crate::error::{Kind, Result};
use crate::events::{Events, Phase, Unit};
use crate::guest::{script, tar};
use crate::nix::closure::{render_paths, render_registrations};
use crate::nix::environment::GuestNix;
use crate::ssh::Guest;

/// Seeds the box with the environment's Nix and starts its daemon.
///
/// # Errors
/// [`Kind::Guest`].
pub async fn seed(guest: &Guest, nix: &GuestNix, events: &Events) -> Result<()> {
    let phase = events.phase(Phase::Seed);
    let total = nix.closure.bytes();
    let sink = guest.command(&["sudo", &script("seed"), &nix.path]).deadline(Duration::from_secs(3600));
    let paths: Vec<String> = nix.closure.0.keys().cloned().collect();
    let registrations = render_registrations(&nix.closure);
    let hacked = cfg!(target_os = "macos");
    sink.fed_by(
        move |out| tar::write(out, &paths, hacked, ("registration", registrations.as_bytes())),
        |done| phase.progress(done.min(total), total, Unit::Bytes, "sending"),
    )
    .await
    .map_err(|e| e.with_kind(Kind::Guest))?;
    phase.done(format!("{}, {}", render_paths(nix.closure.0.len()), indicatif::BinaryBytes(total)));
    Ok(())
}
