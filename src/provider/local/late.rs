//! Reaching into a running box from outside: to mount its volume later than it boots, and to restart it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, OrFail, Result, tick};
use crate::process::Cmd;

use super::boxes::Place;
use super::cgroup::Groups;
use super::mounts;

/// Where a box has its volume before it is attached. In `/run`, so that nothing of it outlives a boot.
pub(super) const ASIDE: &str = "/run/devbox-volume-aside";

/// Mounts the volume where the box is to see it, if the box has come that far. Whether it is there now.
pub(super) async fn attach(place: &Place) -> Result<bool> {
    let Some(record) = place.record() else { return Ok(false) };
    let Some(pid) = init(place)? else { return Ok(false) };
    let table = PathBuf::from(format!("/proc/{pid}/mounts"));
    let table = match std::fs::read_to_string(&table) {
        Err(_) if !table.exists() => return Ok(false),
        text => mounts::parse_mounts(&text.or_fail(|| format!("can't read {}", tick(&table)))?),
    };
    let mount_point = record.mount_point();
    let is_mounted = |point: &str| table.iter().any(|m| m.point == Path::new(point));
    if !is_mounted(ASIDE) {
        return Ok(is_mounted(&mount_point));
    }
    // Not moved: a mount below a shared one can't be.
    inside(pid, &["mkdir", "-p", "--", &mount_point]).check().await?;
    inside(pid, &["mount", "--bind", "--", ASIDE, &mount_point]).check().await?;
    inside(pid, &["umount", "--", ASIDE]).check().await?;
    Ok(true)
}

/// Tells the box's init to restart.
pub(super) async fn reboot(place: &Place) -> Result<()> {
    let pid = init(place)?
        .ok_or_else(|| Error::new(Kind::Provider, format!("the local box `{}` does not run", place.id())))?;
    // The command may be ended by what it asks for.
    inside(pid, &["systemctl", "--no-block", "reboot"]).run().await.map(drop)
}

/// A command in the box's namespaces, as root.
fn inside(pid: u32, argv: &[&str]) -> Cmd {
    Cmd::new("nsenter").args(["--target", &pid.to_string(), "--mount", "--pid", "--root", "--"]).args(argv)
}

/// The process that is number 1 in the box.
fn init(place: &Place) -> Result<Option<u32>> {
    let mut groups = vec![Groups::of(place.id())?.dirs()[0].join("box/payload")];
    while let Some(group) = groups.pop() {
        let entries = match std::fs::read_dir(&group) {
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            entries => entries.or_fail(|| format!("can't read {}", tick(&group)))?,
        };
        groups
            .extend(entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()));
        let pids = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        let is_init = |pid: &u32| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            is_first(&status)
        };
        if let Some(pid) = pids.lines().filter_map(|line| line.parse().ok()).find(is_init) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

/// Whether `/proc/PID/status` is that of the first process of a namespace.
fn is_first(status: &str) -> bool {
    let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    pids.is_some_and(|pids| {
        let mut pids = pids.split_whitespace();
        pids.next().is_some() && pids.next_back() == Some("1")
    })
}

#[cfg(test)]
mod tests {
    use super::is_first;

    #[test]
    fn the_first_process_of_a_namespace_is_told_from_others() {
        assert!(is_first("Name:\tsystemd\nNSpid:\t4711\t1\n"));
        for other in ["NSpid:\t4711\t7\n", "NSpid:\t1\n", "NSpid:\n", "Name:\tx\n", ""] {
            assert!(!is_first(other), "{other:?}");
        }
    }
}
