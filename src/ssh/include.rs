//! The one line that devbox adds to the user's own ssh configuration, when it may.

use std::path::{Path, PathBuf};

use crate::error::{OrFail, Result, tick};
use crate::paths::{Paths, make_private, write_atomic};

/// What makes ssh read our files. Relative paths are taken from `~/.ssh` (ssh_config(5)).
pub const LINE: &str = "Include devbox/*.conf";

/// Whether a configuration includes our files for every host: an `Include` counts only before the
/// first `Host` or `Match`.
pub fn is_included(text: &str) -> bool {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim().replace('=', " "))
        .take_while(|line| {
            let word = line.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
            word != "host" && word != "match"
        })
        .any(|line| {
            let mut words = line.split_whitespace();
            words.next().is_some_and(|w| w.eq_ignore_ascii_case("include"))
                && words.map(|w| w.trim_matches('"')).any(|w| {
                    w == "devbox/*.conf"
                        || w == "devbox/*"
                        || w.ends_with("/.ssh/devbox/*.conf")
                        || w.ends_with("/.ssh/devbox/*")
                })
        })
}

/// The configuration with our line on top; every byte of the rest as it was.
pub fn with_include(text: &str) -> String {
    if is_included(text) {
        return text.to_owned();
    }
    let gap = if text.is_empty() { "" } else { "\n" };
    format!("# Boxes of devbox, so that `ssh NAME` finds them.\n{LINE}\n{gap}{text}")
}

/// The user's ssh configuration: the file, through a link if it is one.
fn user_config(paths: &Paths) -> PathBuf {
    let file = paths.ssh().join("config");
    std::fs::canonicalize(&file).unwrap_or(file)
}

fn read(file: &Path) -> Result<String> {
    match std::fs::read_to_string(file) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        other => other.or_fail(|| format!("can't read {}", tick(file))),
    }
}

/// Whether plain ssh finds our files already.
///
/// # Errors
/// When the user's configuration can't be read.
pub fn present(paths: &Paths) -> Result<bool> {
    Ok(is_included(&read(&user_config(paths))?))
}

/// Adds our line to the user's configuration, atomically, its mode kept.
///
/// # Errors
/// When the disk refuses; the file is as it was then.
pub fn add(paths: &Paths) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    make_private(&paths.ssh())?;
    let file = user_config(paths);
    let mode = std::fs::metadata(&file).map_or(0o600, |m| m.permissions().mode() & 0o777);
    write_atomic(&file, with_include(&read(&file)?).as_bytes(), mode)
}

/// Whether the user has been asked before, whatever the answer was. Remembers that now they have.
///
/// # Errors
/// When the disk refuses.
pub fn asked_before(paths: &Paths) -> Result<bool> {
    let mark = paths.state.join("ssh-include-offered");
    if mark.exists() {
        return Ok(true);
    }
    write_atomic(&mark, b"", 0o600)?;
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_include_inside_a_host_block_does_not_count() {
        assert!(is_included("# x\nInclude devbox/*.conf\nHost a\n"));
        assert!(is_included("include ~/.ssh/devbox/*\n"));
        assert!(is_included("Include=\"devbox/*.conf\"\n"));
        assert!(!is_included("Host a\n  Include devbox/*.conf\n"));
        assert!(!is_included("# Include devbox/*.conf\n"));
        assert!(!is_included("Include other/*.conf\n"));
    }

    #[test]
    fn the_users_file_is_changed_through_a_link_and_keeps_its_mode() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths {
            home: dir.path().into(),
            config: dir.path().join("c"),
            state: dir.path().join("s"),
            cache: dir.path().join("k"),
            runtime: dir.path().join("r"),
        };
        let real = dir.path().join("dotfiles-ssh-config");
        std::fs::write(&real, "Host a\n").unwrap();
        std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
        std::fs::create_dir(paths.ssh()).unwrap();
        std::os::unix::fs::symlink(&real, paths.ssh().join("config")).unwrap();
        assert!(!present(&paths).unwrap());
        add(&paths).unwrap();
        assert!(present(&paths).unwrap());
        assert!(std::fs::symlink_metadata(paths.ssh().join("config")).unwrap().is_symlink());
        assert_eq!(std::fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(!asked_before(&paths).unwrap());
        assert!(asked_before(&paths).unwrap());
    }

    proptest! {
        #[test]
        fn the_rest_stays_byte_for_byte_and_twice_is_once(text in "(.|\n){0,200}") {
            let once = with_include(&text);
            prop_assert!(once.ends_with(&text));
            prop_assert!(is_included(&once));
            prop_assert_eq!(with_include(&once), once.clone());
        }
    }
}
