//! Ending a box: from any state, as often as one likes, until nothing of it is left.
//!
//! The order matters. Processes first, since all else is held by them; the record last, so that what
//! could not be removed is still listed.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Kind, OrFail, Result, tick};
use crate::process::Cmd;

use super::boxes::Place;
use super::cgroup::Groups;
use super::{loops, mounts, network};

/// Where nspawn keeps what outlives it when it is killed.
const NSPAWN_RUN: &str = "/run/systemd/nspawn";

/// Ends the box and removes everything of it.
pub(super) async fn tear_down(place: &Place) -> Result<()> {
    if !place.dir().exists() && !Groups::of(place.id())?.dirs()[0].exists() {
        // Its network may have outlived a state folder that somebody removed.
        return network::detach(place.id(), digits(place)).await;
    }
    clear(place).await?;
    remove(&[place.dir().to_owned()]).await
}

/// Ends the box and removes everything of it but its record.
pub(super) async fn clear(place: &Place) -> Result<()> {
    let groups = Groups::of(place.id())?;
    groups.kill().await.map_err(|e| still_there(place, "its processes", &e))?;
    detach_loops(place).await.map_err(|e| still_there(place, "loop devices on its volume", &e))?;
    groups.remove().await.map_err(|e| still_there(place, "its control groups", &e))?;
    network::detach(place.id(), digits(place)).await.map_err(|e| still_there(place, "its network", &e))?;
    let mounts = |e: Error| still_there(place, "its mounts", &e);
    // Before the root is unmounted, by which its lock is found.
    let nspawns = nspawns_leavings(place);
    mounts::unmount_below(&nspawns).await.map_err(mounts)?;
    remove(&nspawns).await?;
    mounts::unmount_below(&[place.dir().to_owned()]).await.map_err(mounts)?;
    remove(&all_but_the_record(place)?).await
}

fn digits(place: &Place) -> &str {
    super::boxes::digits_of(place.id()).unwrap_or_default()
}

/// The error of a step that failed. It names what is left; the same command tries again.
fn still_there(place: &Place, what: &str, e: &Error) -> Error {
    let error =
        Error::new(Kind::Provider, format!("can't end the local box `{}`: {what} are left", place.id()))
            .detail(e.message().to_owned())
            .details(e.detail_lines().iter().cloned())
            .details(e.causes());
    e.hints().iter().fold(error, |error, hint| error.hint(hint.clone())).hint("the same command tries again")
}

async fn detach_loops(place: &Place) -> Result<()> {
    let record = place.record();
    let root = place.root();
    let volume = record.as_ref().map(|r| (r.folder.as_path(), r.mount_point().into()));
    loops::Backing { root: &root, volume }.detach().await
}

/// What nspawn leaves of a box when it is killed: `propagate/ID` and its like, and the lock that is
/// named by device and inode of the box's root, which has to be mounted still.
fn nspawns_leavings(place: &Place) -> Vec<PathBuf> {
    let Ok(kinds) = std::fs::read_dir(NSPAWN_RUN) else { return Vec::new() };
    let mut leavings: Vec<_> = kinds.flatten().map(|kind| kind.path().join(place.id())).collect();
    if let Ok(root) = std::fs::metadata(place.root()) {
        leavings.push(Path::new(NSPAWN_RUN).join(format!("locks/inode-{}:{}", root.dev(), root.ino())));
    }
    leavings.retain(|path| path.exists());
    leavings
}

fn all_but_the_record(place: &Place) -> Result<Vec<PathBuf>> {
    let what = || format!("can't read {}", tick(place.dir()));
    let record = place.record_file();
    let mut all = Vec::new();
    match std::fs::read_dir(place.dir()) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        entries => {
            for entry in entries.or_kind(Kind::Provider, what)? {
                all.push(entry.or_kind(Kind::Provider, what)?.path());
            }
        }
    }
    all.retain(|path| *path != record);
    Ok(all)
}

/// Removes folders and files; never what is mounted in them.
async fn remove(paths: &[PathBuf]) -> Result<()> {
    let there: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    if there.is_empty() {
        return Ok(());
    }
    let rm = Cmd::new("rm").args(["-rf", "--one-file-system", "--"]).args(there);
    rm.deadline(Duration::from_secs(120)).check().await.map_err(|e| e.with_kind(Kind::Provider)).map(drop)
}
