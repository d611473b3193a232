//! What happens on the box: its user data, its set-up, what it tells, how it is ended.
//!
//! The scripts and units beside this file are laid onto the box by cloud-init; `shellcheck` reads
//! them as they are. Their parameters come from `/etc/devbox/box.env`.

pub mod activate;
pub mod bootstrap;
pub mod facts;
pub mod quiesce;
pub mod seed;
pub mod store;
pub mod user_data;

/// The folder of our scripts on the box.
pub const LIB: &str = "/usr/local/lib/devbox";

/// The path of one of our scripts on the box.
pub fn script(name: &str) -> String {
    format!("{LIB}/{name}.sh")
}
