//! Giving a box its Nix: a tar of store paths and their registration, as the official tarball does.

use std::path::Path;
use std::time::Duration;

use crate::error::{Kind, OrFail, Result};
use crate::events::{Events, Phase, Unit};
use crate::guest::script;
use crate::nix::closure::{render_paths, render_registrations};
use crate::nix::environment::GuestNix;
use crate::process::Cmd;
use crate::ssh::Guest;

/// The tar of a closure: the store paths, then a file with their registration. Pure.
fn argv_tar(nix: &GuestNix, registration: &Path) -> Cmd {
    let members = nix.closure.0.keys().map(|p| p.trim_start_matches('/').to_owned());
    let folder = registration.parent().unwrap_or(Path::new("/"));
    Cmd::new("tar")
        .args(["--create", "--file=-", "--numeric-owner", "--owner=0", "--group=0", "--directory=/"])
        .args(members)
        .arg(format!("--directory={}", folder.display()))
        .arg("registration")
}

/// Seeds the box with the environment's Nix and starts its daemon.
///
/// # Errors
/// [`Kind::Guest`].
pub async fn seed(guest: &Guest, nix: &GuestNix, events: &Events) -> Result<()> {
    let phase = events.phase(Phase::Seed);
    let dir = tempfile::Builder::new()
        .prefix("devbox-")
        .tempdir()
        .or_fail(|| "can't make a temporary folder".into())?;
    let registration = dir.path().join("registration");
    std::fs::write(&registration, render_registrations(&nix.closure))
        .or_fail(|| "can't write a registration".into())?;

    let total = nix.closure.bytes();
    let sink = guest.command(&["sudo", &script("seed"), &nix.path]).deadline(Duration::from_secs(3600));
    argv_tar(nix, &registration)
        .pipe_into(&sink, |done| phase.progress(done.min(total), total, Unit::Bytes, "sending"))
        .await
        .map_err(|e| e.with_kind(Kind::Guest))?;
    phase.done(format!("{}, {}", render_paths(nix.closure.0.len()), indicatif::BinaryBytes(total)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nix::{Closure, PathInfo};

    #[test]
    fn the_registration_comes_last() {
        let path = "/nix/store/4x1kkg1q61mvzx0z5hv15px24pv0axln-nix".to_owned();
        let info = PathInfo { nar_hash: "a".repeat(64), nar_size: 1, references: vec![] };
        let nix = GuestNix { path: path.clone(), closure: Closure([(path, info)].into()) };
        let argv = argv_tar(&nix, Path::new("/tmp/x/registration")).argv();
        assert_eq!(
            argv[argv.len() - 3..],
            ["nix/store/4x1kkg1q61mvzx0z5hv15px24pv0axln-nix", "--directory=/tmp/x", "registration"]
        );
    }
}
