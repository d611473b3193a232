//! What is mounted where, and ending it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::error::{OrFail, Result};
use crate::process::Cmd;

/// The kernel's table for this process.
pub(super) const TABLE: &str = "/proc/self/mounts";

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Where.
    pub(super) point: PathBuf,
    /// The filesystem's type.
    pub(super) kind: String,
    /// Its options.
    pub(super) options: Vec<String>,
}

/// Reads the table; lines that are none are left out.
pub(super) fn parse_mounts(text: &str) -> Vec<Mount> {
    let line = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        Some(Mount {
            point: unescape(fields.next()?),
            kind: fields.next()?.to_owned(),
            options: fields.next()?.split(',').map(str::to_owned).collect(),
        })
    };
    text.lines().filter_map(line).collect()
}

/// Undoes the kernel's `\040` for a blank, and its like.
fn unescape(field: &str) -> PathBuf {
    let bytes = field.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let code = bytes
            .get(at + 1..at + 4)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) if byte == b'\\' => {
                out.push(code);
                at += 4;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    OsString::from_vec(out).into()
}

/// The mount points at or below one of `tops`, in the order to unmount them: the last mounted first.
pub(super) fn plan_unmounts(mounts: &[Mount], tops: &[PathBuf]) -> Vec<PathBuf> {
    let ours = |m: &&Mount| tops.iter().any(|top| m.point.starts_with(top));
    mounts.iter().filter(ours).map(|m| m.point.clone()).rev().collect()
}

/// The mount points at or below one of `tops` now, the last mounted first.
pub(super) fn below(tops: &[PathBuf]) -> Result<Vec<PathBuf>> {
    // Paths may hold any bytes; what is no text can't be ours.
    let table = std::fs::read(TABLE).or_fail(|| format!("can't read `{TABLE}`"))?;
    Ok(plan_unmounts(&parse_mounts(&String::from_utf8_lossy(&table)), tops))
}

/// Unmounts everything at or below `tops`, lazily where somebody still looks at it.
pub(super) async fn unmount_below(tops: &[PathBuf]) -> Result<()> {
    for point in below(tops)? {
        if unmount(&point, &[]).await.is_err() {
            unmount(&point, &["--lazy"]).await?;
        }
    }
    Ok(())
}

async fn unmount(point: &Path, how: &[&str]) -> Result<()> {
    Cmd::new("umount").args(how).arg("--").arg(point).check().await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn blanks_in_mount_points_come_back() {
        let mounts = parse_mounts("overlay /a\\040b/root overlay rw,lowerdir=lower 0 0\nnonsense\n");
        assert_eq!(mounts.len(), 1);
        assert_eq!(mounts[0].point, Path::new("/a b/root"));
        assert_eq!(mounts[0].options, ["rw", "lowerdir=lower"]);
    }

    #[test]
    fn what_was_mounted_last_is_unmounted_first_and_neighbours_are_left_alone() {
        let mounts = parse_mounts("x /b/root t o 0 0\nx /b/root/sub t o 0 0\nx /b/rooted t o 0 0\n");
        let plan = plan_unmounts(&mounts, &["/b/root".into()]);
        assert_eq!(plan, [Path::new("/b/root/sub"), Path::new("/b/root")]);
    }

    proptest! {
        #[test]
        fn no_table_makes_it_panic(text in "[ -~\\n\\\\0-7é]{0,200}") {
            parse_mounts(&text);
        }
    }
}
