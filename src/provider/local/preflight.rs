//! What this machine lacks for local boxes. Looks, touches nothing.

use std::path::{Path, PathBuf};

use crate::error::{Error, Kind};
use crate::names::System;

use super::{cgroup, emulation, rootfs};

/// Something this machine lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What it is, one short phrase.
    pub what: String,
    /// What it is for.
    pub why: &'static str,
    /// The way to get it: a command, or a sentence.
    pub fix: String,
}

/// A program, the Debian package it is in, and what it is for.
const TOOLS: [(&str, &str, &str); 10] = [
    ("systemd-nspawn", "systemd-container", "runs the box"),
    ("mmdebstrap", "mmdebstrap", "makes the box's root filesystem"),
    ("ip", "iproute2", "makes the box's network"),
    ("losetup", "mount", "detaches the box's disk images"),
    ("mount", "mount", "mounts the box's root"),
    ("umount", "mount", "unmounts the box's root"),
    ("mke2fs", "e2fsprogs", "makes disk images"),
    ("ssh", "openssh-client", "logs into the box"),
    ("flock", "util-linux", "lets one devbox at a time make the root filesystem"),
    ("setsid", "util-linux", "lets the box outlive devbox"),
];

/// The oldest kernel with `cgroup.kill`.
const KERNEL: (u32, u32) = (5, 14);

/// All that is missing.
pub(super) fn missing(cache: &Path, system: Option<System>) -> Vec<Missing> {
    if !cfg!(target_os = "linux") {
        let fix = "use another provider, or run devbox on a Linux machine".to_owned();
        return vec![Missing { what: "Linux".into(), why: "local boxes share its kernel", fix }];
    }
    let mut missing: Vec<Missing> = TOOLS.into_iter().filter_map(tool).collect();
    let mut lack = |there: bool, what: String, why, fix: &str| {
        if !there {
            missing.push(Missing { what, why, fix: fix.to_owned() });
        }
    };
    lack(
        rustix::process::geteuid().is_root(),
        "root".into(),
        "mounts, networks and control groups are root's",
        "run as root, for example with `sudo`",
    );
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    lack(
        parse_kernel(&release).is_none_or(|version| version >= KERNEL),
        format!("Linux {}.{} (this is {release})", KERNEL.0, KERNEL.1),
        "ends all processes of a box at once",
        "upgrade the kernel",
    );
    lack(
        has_overlay(&release),
        "overlay filesystem".into(),
        "lets boxes share one root filesystem",
        "modprobe overlay",
    );
    lack(
        Path::new("/dev/loop-control").exists(),
        "`/dev/loop-control`".into(),
        "the box mounts its store image",
        "modprobe loop",
    );
    if let Err(e) = cgroup::hierarchies() {
        lack(false, e.message().to_owned(), "holds the box's processes", &e.hints().join("; "));
    }
    let system = system.or_else(native);
    if system.is_some_and(|system| !rootfs::is_ready(cache, system)) {
        let free = free_bytes(cache);
        lack(
            free.is_none_or(|free| free >= rootfs::SPACE),
            format!("{} MiB free at `{}`", rootfs::SPACE >> 20, cache.display()),
            "the box's root filesystem is kept there",
            "free some space, or set `XDG_CACHE_HOME`",
        );
    }
    if let Some(system) = system.filter(|system| native() != Some(*system)) {
        missing.extend(emulation::missing(system, !rootfs::is_ready(cache, system)));
    }
    missing
}

pub(super) fn tool((program, package, why): (&str, &str, &'static str)) -> Option<Missing> {
    // Debian's users have no sbin folders on their PATH, but `sudo` has.
    let found = which::which(program).is_ok()
        || ["/usr/sbin", "/sbin"].iter().any(|dir| Path::new(dir).join(program).exists());
    let fix = format!("apt-get install {package}");
    (!found).then(|| Missing { what: format!("`{program}`"), why, fix })
}

/// Everything missing as one error. None when nothing is.
pub(super) fn render_error(missing: &[Missing]) -> Option<Error> {
    if missing.is_empty() {
        return None;
    }
    let names: Vec<_> = missing.iter().map(|m| m.what.as_str()).collect();
    let error =
        Error::new(Kind::Provider, format!("this machine lacks for local boxes: {}", names.join(", ")));
    let error = missing.iter().fold(error, |error, m| error.detail(format!("{}: {}", m.what, m.why)));
    let install = |m: &Missing| m.fix.strip_prefix("apt-get install ").map(str::to_owned);
    let mut packages: Vec<_> = missing.iter().filter_map(install).collect();
    packages.sort();
    packages.dedup();
    let error = match packages.as_slice() {
        [] => error,
        some => error.hint(format!("apt-get install {}", some.join(" "))),
    };
    let others = missing.iter().filter(|m| install(m).is_none());
    Some(others.fold(error, |error, m| error.hint(m.fix.clone())))
}

/// What this machine runs.
pub(super) fn native() -> Option<System> {
    System::of_machine(&rustix::system::uname().machine().to_string_lossy())
}

/// Major and minor number of a kernel release.
fn parse_kernel(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Whether the kernel has overlayfs, or can load it when asked to mount one.
fn has_overlay(release: &str) -> bool {
    let loaded = std::fs::read_to_string("/proc/filesystems")
        .is_ok_and(|text| text.lines().any(|line| line.trim_start_matches("nodev").trim() == "overlay"));
    loaded || Path::new("/lib/modules").join(release).join("kernel/fs/overlayfs").exists()
}

/// Free space at the nearest folder above `path` that exists. None when nobody can tell.
fn free_bytes(path: &Path) -> Option<u64> {
    let there: PathBuf = path.ancestors().find(|p| p.exists())?.to_owned();
    let stat = rustix::fs::statvfs(&there).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn kernel_releases_are_read() {
        assert_eq!(parse_kernel("6.18.44-fc-v657"), Some((6, 18)));
        assert_eq!(parse_kernel("5.14.0-362.el9"), Some((5, 14)));
        assert_eq!(parse_kernel("odd"), None);
        assert!(parse_kernel("5.4.0").is_some_and(|version| version < KERNEL));
    }

    #[test]
    fn one_error_names_everything_and_one_command_installs_it() {
        let lacking =
            |what: &str, fix: &str| Missing { what: what.into(), why: "is needed", fix: fix.into() };
        let all = [
            lacking("`mount`", "apt-get install mount"),
            lacking("root", "run as root, for example with `sudo`"),
            lacking("`losetup`", "apt-get install mount"),
            lacking("`ip`", "apt-get install iproute2"),
        ];
        let error = render_error(&all).unwrap();
        assert_eq!(error.message(), "this machine lacks for local boxes: `mount`, root, `losetup`, `ip`");
        assert_eq!(error.hints(), ["apt-get install iproute2 mount", "run as root, for example with `sudo`"]);
        assert!(render_error(&[]).is_none());
    }

    proptest! {
        #[test]
        fn no_release_makes_it_panic(release in "\\PC{0,20}") {
            parse_kernel(&release);
        }
    }
}
