//! Every environment variable that devbox reads, in one place.

use std::ffi::OsString;
use std::path::PathBuf;

/// Folder of the user; everything personal is found from here.
pub const HOME: &str = "HOME";
/// XDG base folders (freedesktop.org, XDG Base Directory Specification 0.8).
pub const XDG_CONFIG_HOME: &str = "XDG_CONFIG_HOME";
/// See [`XDG_CONFIG_HOME`].
pub const XDG_STATE_HOME: &str = "XDG_STATE_HOME";
/// See [`XDG_CONFIG_HOME`].
pub const XDG_CACHE_HOME: &str = "XDG_CACHE_HOME";
/// See [`XDG_CONFIG_HOME`].
pub const XDG_RUNTIME_DIR: &str = "XDG_RUNTIME_DIR";
/// Any value turns colour off (no-color.org).
pub const NO_COLOR: &str = "NO_COLOR";
/// The key of the account at Lambda Cloud, as Lambda's own documentation calls it. No configuration
/// key: it is not kept, shown, or passed on to anything that we start.
pub const LAMBDA_API_KEY: &str = "LAMBDA_API_KEY";
/// Prefix of the variables that set configuration keys: `DEVBOX_VOLUME_STORE_SIZE`.
pub const PREFIX: &str = "DEVBOX_";
/// `STEP` or `STEP=kill`: the process ends itself with SIGKILL at that step. For tests of what a
/// crash leaves behind; see [`crate::failpoint`].
pub const FAILPOINT: &str = "DEVBOX_FAILPOINT";
/// Variables with our prefix that are no configuration keys.
pub const RESERVED: &[&str] = &[FAILPOINT];

/// The value of a variable; empty counts as unset.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn get(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|v| !v.is_empty())
}

/// The value of a variable as text; what is not UTF-8 counts as unset.
pub fn text(name: &str) -> Option<String> {
    get(name)?.into_string().ok()
}

/// The user's home folder.
pub fn home() -> Option<PathBuf> {
    get(HOME).map(PathBuf::from).filter(|p| p.is_absolute())
}

/// Every variable with our prefix, sorted.
pub fn ours() -> Vec<(String, String)> {
    let mut all: Vec<_> = std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .filter(|(k, v)| k.starts_with(PREFIX) && !v.is_empty())
        .collect();
    all.sort();
    all
}
