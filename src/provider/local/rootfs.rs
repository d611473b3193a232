//! The root filesystem under every local box: Debian, made once by a recipe and kept in the cache.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::error::{Error, Kind, OrFail, Result, tick};
use crate::events::{Events, Phase, Running};
use crate::names::System;
use crate::process::Cmd;

use super::{kernel, lock, mounts, preflight};

const RECIPE: &str = include_str!("rootfs.sh");
/// Debian 13's systemd does not come up under qemu-user.
const EMULATED_SUITE: &str = "bookworm";
const SUITE: &str = "trixie";
/// Most of it is downloading; a slow line is no failure.
const DEADLINE: Duration = Duration::from_secs(30 * 60);
/// An emulated one takes minutes per step.
const EMULATED_DEADLINE: Duration = Duration::from_secs(2 * 3600);
/// What making one takes at its fullest, in bytes.
pub(super) const SPACE: u64 = 1 << 30;

/// The cache's key: all that goes into the result.
fn key(system: System, emulated: bool) -> String {
    let suite = suite(emulated);
    let digest = Sha256::digest(format!("{suite}\n{system}\n{emulated}\n{RECIPE}"));
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{suite}-{system}-{hex}")
}

fn suite(emulated: bool) -> &'static str {
    if emulated { EMULATED_SUITE } else { SUITE }
}

/// Whether a box of this system is not one that this machine runs by itself.
fn is_emulated(system: System) -> bool {
    preflight::native() != Some(system)
}

/// What Debian calls it.
fn debian_architecture(system: System) -> &'static str {
    match system {
        System::X86_64Linux => "amd64",
        System::Aarch64Linux => "arm64",
    }
}

fn shelf(cache: &Path) -> PathBuf {
    cache.join("rootfs")
}

/// Whether it is in the cache.
pub(super) fn is_ready(cache: &Path, system: System) -> bool {
    shelf(cache).join(key(system, is_emulated(system))).is_dir()
}

/// The folder of the root filesystem, made if it is not in the cache. Never write to it: boxes that
/// run have it as their lower layer.
pub(super) async fn ready(cache: &Path, system: System, events: &Events) -> Result<PathBuf> {
    let shelf = shelf(cache);
    let key = key(system, is_emulated(system));
    let done = shelf.join(&key);
    if done.is_dir() {
        return Ok(done);
    }
    let phase = events.phase(Phase::RootFilesystem);
    let _lock = lock::take(&shelf.join(format!("{key}.lock")), || {
        phase.doing("another devbox is making it");
    })
    .await?;
    if done.is_dir() {
        phase.nothing("made by another devbox meanwhile");
        return Ok(done);
    }
    make(&shelf.join(format!("{key}.partial")), &done, system, &phase).await?;
    phase.done(format!("Debian {}", suite(is_emulated(system))));
    Ok(done)
}

/// Makes it in `partial` and renames it to `done` when it is whole and on disk.
async fn make(partial: &Path, done: &Path, system: System, phase: &Running) -> Result<()> {
    // A devbox that was killed leaves its recipe running: that holds this lock until it ends, which it
    // does soon, since nobody reads what it says.
    let recipe_lock = partial.with_extension("recipe-lock");
    drop(lock::take(&recipe_lock, || phase.doing("waiting for a recipe that was cut off")).await?);
    discard(partial).await?;
    crate::paths::make_private(partial)?;
    let (script, root) = (partial.join("recipe.sh"), partial.join("root"));
    std::fs::write(&script, RECIPE).or_fail(|| format!("can't write {}", tick(&script)))?;

    let emulated = is_emulated(system);
    phase.doing(match emulated {
        false => "the first local box takes about a minute more",
        true => "the first emulated box takes about ten minutes more",
    });
    let recipe = Cmd::new("flock")
        .arg(&recipe_lock)
        .arg("sh")
        .arg(&script)
        .env("ROOT", &root)
        .env("SUITE", suite(emulated))
        .env("ARCHITECTURE", debian_architecture(system))
        .env("EMULATED", if emulated { "yes" } else { "" })
        .env("LC_ALL", "C")
        .deadline(if emulated { EMULATED_DEADLINE } else { DEADLINE });
    let output = recipe
        .run_lines(|_| {}, |line| line.strip_prefix("I: ").into_iter().for_each(|step| phase.doing(step)))
        .await?;
    if !output.status.success() {
        let why = recipe.failed(&output);
        return Err(Error::new(Kind::Provider, "can't make the root filesystem of local boxes")
            .details(why.detail_lines().iter().cloned())
            .hint("it comes from Debian's package mirrors: is there a network?"));
    }

    let what = || format!("can't put {} in place", tick(done));
    kernel::sync_filesystem(&root).or_fail(what)?;
    std::fs::rename(&root, done).or_fail(what)?;
    discard(partial).await
}

/// Removes what a recipe that was cut off left, its mounts first.
async fn discard(partial: &Path) -> Result<()> {
    mounts::unmount_below(&[partial.to_owned()]).await?;
    let rm = Cmd::new("rm").args(["-rf", "--one-file-system", "--"]).arg(partial);
    rm.deadline(Duration::from_secs(300)).check().await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_tells_systems_apart_and_is_a_plain_file_name() {
        let (x86, arm) = (key(System::X86_64Linux, false), key(System::Aarch64Linux, false));
        assert_ne!(x86, arm);
        assert!(key(System::Aarch64Linux, true).starts_with("bookworm-aarch64-linux-"));
        assert!(x86.starts_with("trixie-x86_64-linux-") && !x86.contains('/'));
    }
}
