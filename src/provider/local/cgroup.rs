//! A box's own control groups: what holds all its processes, says whether any lives, and kills them
//! at once.
//!
//! On a pure version 2 machine that is one folder. On a hybrid one nspawn wants to find itself in a
//! group of its own in the older hierarchies too.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Error, Kind, OrFail, Result, tick};

use super::mounts::{self, Mount};

/// The parts of a box's group: processes live in leaves only (cgroups(7), "no internal processes").
const PARTS: [&str; 2] = ["launcher", "box"];

/// The older hierarchies that the launcher joins, by mount option.
const OLDER: [&str; 3] = ["name=systemd", "freezer", "pids"];

/// How long the kernel may take to end killed processes. One that writes to a dead network
/// filesystem takes long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where this machine's hierarchies are mounted: the unified one first. None without a unified one.
pub(super) fn parse_hierarchies(mounts: &[Mount]) -> Option<Vec<PathBuf>> {
    let unified = mounts.iter().find(|m| m.kind == "cgroup2")?;
    let older = OLDER.iter().filter_map(|name| {
        mounts.iter().find(|m| m.kind == "cgroup" && m.options.iter().any(|option| option == name))
    });
    Some(std::iter::once(unified).chain(older).map(|m| m.point.clone()).collect())
}

/// What `cgroup.events` says about living processes. None where it says nothing.
pub(super) fn parse_populated(events: &str) -> Option<bool> {
    events.lines().find_map(|line| match line.split_once(' ')? {
        ("populated", "0") => Some(false),
        ("populated", "1") => Some(true),
        _ => None,
    })
}

/// This machine's hierarchies.
///
/// # Errors
/// When there is no unified one.
pub(super) fn hierarchies() -> Result<Vec<PathBuf>> {
    let table = std::fs::read_to_string(mounts::TABLE)
        .or_kind(Kind::Provider, || format!("can't read `{}`", mounts::TABLE))?;
    parse_hierarchies(&mounts::parse_mounts(&table)).ok_or_else(|| {
        Error::new(Kind::Provider, "no unified control group hierarchy is mounted")
            .hint("boot with `systemd.unified_cgroup_hierarchy=1`")
    })
}

/// The control groups of one box. They may not exist.
pub(super) struct Groups {
    /// One folder in each hierarchy, the unified one first.
    dirs: Vec<PathBuf>,
}

impl Groups {
    /// Those of the box `id`.
    pub(super) fn of(id: &str) -> Result<Self> {
        Ok(Self { dirs: hierarchies()?.iter().map(|top| top.join(format!("devbox-{id}"))).collect() })
    }

    /// The folders, the unified one first.
    pub(super) fn dirs(&self) -> &[PathBuf] {
        &self.dirs
    }

    fn unified(&self) -> &Path {
        &self.dirs[0]
    }

    /// Makes them.
    pub(super) fn make(&self) -> Result<()> {
        for dir in self.dirs.iter().flat_map(|dir| PARTS.map(|part| dir.join(part))) {
            std::fs::create_dir_all(&dir)
                .or_fail(|| format!("can't make the control group {}", tick(&dir)))?;
        }
        Ok(())
    }

    /// Whether any process of the box lives. Zombies don't.
    pub(super) fn populated(&self) -> Result<bool> {
        populated(self.unified())
    }

    /// Whether the box's own init has been started, not only what starts it.
    pub(super) fn booted(&self) -> Result<bool> {
        populated(&self.unified().join("box/payload"))
    }

    /// Kills every process of the box at once, and waits until none lives.
    pub(super) async fn kill(&self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while self.populated()? {
            let switch = self.unified().join("cgroup.kill");
            match std::fs::write(&switch, "1") {
                Err(e) if e.kind() == ErrorKind::NotFound && !self.unified().exists() => return Ok(()),
                written => written.or_fail(|| format!("can't write {}", tick(&switch)))?,
            }
            if Instant::now() > until {
                return Err(Error::new(
                    Kind::Provider,
                    format!("processes in {} did not end when killed", tick(self.unified())),
                )
                .hint("`ps -o pid,stat,wchan,cmd` shows what they wait for"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Removes them. A process that joined meanwhile is killed.
    pub(super) async fn remove(&self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            self.kill().await?;
            let removed: Result<Vec<()>> = self.dirs.iter().map(|dir| remove_tree(dir)).collect();
            match removed {
                Ok(_) => return Ok(()),
                Err(e) if Instant::now() > until => return Err(e),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

fn populated(group: &Path) -> Result<bool> {
    let file = group.join("cgroup.events");
    match std::fs::read_to_string(&file) {
        Ok(text) => parse_populated(&text)
            .ok_or_else(|| Error::new(Kind::Provider, format!("{} says nothing known", tick(&file)))),
        // ENODEV: removed between opening and reading.
        Err(e) if e.kind() == ErrorKind::NotFound || e.raw_os_error() == Some(19) => Ok(false),
        Err(e) => Err(e).or_fail(|| format!("can't read {}", tick(&file))),
    }
}

/// Removes a group and the groups in it, depth first. Its files go by themselves.
fn remove_tree(dir: &Path) -> Result<()> {
    let what = || format!("can't remove the control group {}", tick(dir));
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.or_fail(what)?,
    };
    for entry in entries {
        let entry = entry.or_fail(what)?;
        if entry.file_type().or_fail(what)?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match std::fs::remove_dir(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.or_fail(what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HYBRID: &str = "tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0
cgroup /sys/fs/cgroup/freezer cgroup rw,relatime,freezer 0 0
cgroup /sys/fs/cgroup/pids cgroup rw,relatime,pids 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,name=systemd 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
";

    #[test]
    fn a_hybrid_machine_has_four_and_the_unified_one_is_first() {
        let tops = parse_hierarchies(&mounts::parse_mounts(HYBRID)).unwrap();
        let tops: Vec<_> = tops.iter().map(|p| p.to_str().unwrap()).collect();
        assert_eq!(
            tops,
            [
                "/sys/fs/cgroup/unified",
                "/sys/fs/cgroup/systemd",
                "/sys/fs/cgroup/freezer",
                "/sys/fs/cgroup/pids"
            ]
        );
    }

    #[test]
    fn a_version_2_machine_has_one_and_a_version_1_machine_will_not_do() {
        let pure = mounts::parse_mounts("cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n");
        assert_eq!(parse_hierarchies(&pure).unwrap(), [Path::new("/sys/fs/cgroup")]);
        let old = mounts::parse_mounts("cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0\n");
        assert_eq!(parse_hierarchies(&old), None);
    }

    #[test]
    fn populated_is_read_among_other_keys() {
        assert_eq!(parse_populated("populated 1\nfrozen 0\n"), Some(true));
        assert_eq!(parse_populated("frozen 1\npopulated 0\n"), Some(false));
        assert_eq!(parse_populated("frozen 0\n"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(populated|frozen| |[01x]|\\n){0,20}") {
            parse_populated(&text);
            parse_hierarchies(&mounts::parse_mounts(&text));
        }
    }
}
