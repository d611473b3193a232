//! What happens on the box: its user data, its set-up, what it tells, how it is ended.
//!
//! The scripts and units beside this file are laid onto the box by cloud-init; `shellcheck` reads
//! them as they are. Their parameters come from `/etc/devbox/box.env`.

pub mod activate;
pub mod bootstrap;
pub mod build;
pub mod checks;
pub mod facts;
pub mod locked;
pub mod machine;
pub mod quiesce;
pub mod seed;
pub mod store;
mod tar;
pub mod user_data;
pub mod verify;

use crate::error::{Error, Kind};
use crate::names::BoxName;

/// The folder of our scripts on the box.
pub const LIB: &str = "/usr/local/lib/devbox";

/// The path of one of our scripts on the box.
pub fn script(name: &str) -> String {
    format!("{LIB}/{name}.sh")
}

/// The error where the kernel gave up on a mounted store: it takes another mount to get over it. Pure.
pub fn store_broke(name: &BoxName, why: &str) -> Error {
    Error::new(Kind::Volume, format!("`{name}`: {why}; what was written last is not all on its volume"))
        .hint("make room on the volume, where that is why: `devbox store snapshot --delete NAME`")
        .hint(format!(
            "`devbox down {name} --force`, then `devbox up {name}`: the store comes back as it was when it was last synced"
        ))
}
