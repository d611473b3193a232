//! A root filesystem without Nix, as a cloud's images are: what a box knows of Nix there came with
//! its environment.

use std::io::ErrorKind;
use std::path::Path;

use crate::error::{OrFail, Result, tick};

/// Where dpkg writes down which files a package brought.
const LISTS: &str = "var/lib/dpkg/info";

/// Whether a list is that of a package of Nix: `nix-bin.list`, `nix-setup-systemd.list`.
fn is_nixs(list: &str) -> bool {
    list.ends_with(".list") && (list == "nix.list" || list.starts_with("nix-"))
}

/// Removes the files of Nix's packages below `root`; folders stay, others may have files there.
pub(super) fn remove_nix(root: &Path) -> Result<()> {
    let lists = root.join(LISTS);
    let what = || format!("can't read {}", tick(&lists));
    for entry in std::fs::read_dir(&lists).or_fail(what)? {
        let entry = entry.or_fail(what)?;
        if !entry.file_name().to_str().is_some_and(is_nixs) {
            continue;
        }
        let list = std::fs::read_to_string(entry.path()).or_fail(what)?;
        for file in list.lines().map(|line| root.join(line.trim_start_matches('/'))) {
            remove_file(&file)?;
        }
    }
    Ok(())
}

fn remove_file(file: &Path) -> Result<()> {
    let what = || format!("can't remove {}", tick(file));
    match std::fs::symlink_metadata(file) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Ok(meta) if meta.is_dir() => Ok(()),
        _ => std::fs::remove_file(file).or_fail(what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_nix_go_and_all_else_stays() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for folder in ["var/lib/dpkg/info", "usr/bin", "bin"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        for file in ["usr/bin/nix", "usr/bin/sh"] {
            std::fs::write(root.join(file), "").unwrap();
        }
        std::os::unix::fs::symlink("nix", root.join("usr/bin/nix-store")).unwrap();
        let lists = root.join("var/lib/dpkg/info");
        std::fs::write(
            lists.join("nix-bin.list"),
            "/.\n/usr\n/usr/bin\n/usr/bin/nix\n/usr/bin/nix-store\n/gone\n",
        )
        .unwrap();
        std::fs::write(lists.join("dash.list"), "/usr/bin/sh\n").unwrap();
        remove_nix(root).unwrap();
        let left: Vec<_> =
            std::fs::read_dir(root.join("usr/bin")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["sh"]);
    }
}
