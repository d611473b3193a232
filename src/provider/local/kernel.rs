//! What the kernel does for us that only Linux's does. Elsewhere each of it is an error, after
//! [`preflight`](super::preflight) has said so in better words: all else of devbox needs no Linux.

use std::io;
use std::path::Path;

/// Makes the node of a block device, for root alone.
#[cfg(target_os = "linux")]
pub(super) fn make_block_node(path: &Path, major: u32, minor: u32) -> io::Result<()> {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, path, FileType::BlockDevice, mode, makedev(major, minor)).map_err(io::Error::from)
}

/// Writes what is pending of the filesystem that `path` is on, and says what went wrong with it.
#[cfg(target_os = "linux")]
pub(super) fn sync_filesystem(path: &Path) -> io::Result<()> {
    rustix::fs::syncfs(std::fs::File::open(path)?).map_err(io::Error::from)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn make_block_node(_: &Path, _: u32, _: u32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn sync_filesystem(_: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A device as `stat` has it: Linux packs the two numbers like this (`makedev(3)`), on every processor.
pub(super) const fn device_number(major: u32, minor: u32) -> u64 {
    let (major, minor) = (major as u64, minor as u64);
    (major & 0xffff_f000) << 32 | (major & 0xfff) << 8 | (minor & 0xffff_ff00) << 12 | (minor & 0xff)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn devices_are_packed_as_the_system_does(major in any::<u32>(), minor in any::<u32>()) {
            prop_assert_eq!(device_number(major, minor), rustix::fs::makedev(major, minor));
        }
    }
}
