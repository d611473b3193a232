//! Programs of a root filesystem of their own.

use std::path::{Path, PathBuf};

use devbox::process::Cmd;

/// That root filesystem.
#[derive(Clone, Debug)]
pub(super) struct Tools(pub(super) PathBuf);

/// Mounts go with the mount namespace, so nothing is left of them however the program ends.
const ENTER: &str = r#"
root=$1
shift
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/mnt"
while [ "$1" != -- ]; do
    mkdir -p "$root/mnt$1"
    mount --bind "$1" "$root/mnt$1"
    shift
done
shift
exec chroot "$root" "$@"
"#;

impl Tools {
    /// A program that sees `dirs` where [`inside`] says.
    pub(super) fn cmd(&self, dirs: &[&Path], program: &str) -> Cmd {
        let enter =
            Cmd::new("unshare").args(["--mount", "--propagation", "private", "sh", "-euc", ENTER, "sh"]);
        enter.arg(&self.0).args(dirs).args(["--", program])
    }
}

/// How a program sees an absolute path of this machine.
pub(super) fn inside(path: &Path) -> String {
    format!("/mnt{}", path.display())
}

/// A value among QEMU's options, which are separated by commas.
pub(super) fn option(value: &str) -> String {
    value.replace(',', ",,")
}
