//! Where things are on this machine.

use std::path::{Path, PathBuf};

use crate::env;
use crate::error::{Error, Kind, OrFail, Result, tick};

/// The folders devbox reads and writes. All absolute.
#[derive(Clone, Debug)]
pub struct Paths {
    /// The user's home.
    pub home: PathBuf,
    /// `devbox/` in the XDG config folder: the user's configuration.
    pub config: PathBuf,
    /// `devbox/` in the XDG state folder: journal, keys, GC roots, known hosts. Lost, it costs trust and history.
    pub state: PathBuf,
    /// `devbox/` in the XDG cache folder: what can be made again.
    pub cache: PathBuf,
    /// Sockets and locks of this boot. Short and without white space, since socket paths are
    /// limited to 104 bytes and old Nix splits `NIX_SSHOPTS` at blanks.
    pub runtime: PathBuf,
}

impl Paths {
    /// The folders as the environment names them.
    ///
    /// # Errors
    /// [`Kind::Usage`] when `HOME` is not set.
    pub fn from_env() -> Result<Self> {
        let home = env::home().ok_or_else(|| {
            Error::new(Kind::Usage, "`HOME` is not set to an absolute path")
                .hint("set `HOME` to your home folder")
        })?;
        let xdg = |name: &str, fallback: &str| {
            env::get(name)
                .map(PathBuf::from)
                .filter(|p| p.is_absolute())
                .unwrap_or_else(|| home.join(fallback))
                .join("devbox")
        };
        let config = xdg(env::XDG_CONFIG_HOME, ".config");
        let state = xdg(env::XDG_STATE_HOME, ".local/state");
        let cache = xdg(env::XDG_CACHE_HOME, ".cache");
        let uid = rustix::process::getuid().as_raw();
        let fallback = || std::env::temp_dir().join(format!("devbox-{uid}-{:08x}", short_hash(&state)));
        let runtime = env::get(env::XDG_RUNTIME_DIR)
            .map(PathBuf::from)
            .filter(|p| p.is_absolute() && p.as_os_str().len() < 40 && !has_blank(p))
            .map(|p| p.join(format!("devbox-{:08x}", short_hash(&state))))
            .unwrap_or_else(fallback);
        Ok(Self { config, state, cache, runtime, home })
    }

    /// `~/.ssh`.
    pub fn ssh(&self) -> PathBuf {
        self.home.join(".ssh")
    }

    /// The runtime folder, made if need be, ours alone.
    ///
    /// # Errors
    /// When it can't be made, or belongs to somebody else (it may be in a shared `/tmp`).
    pub fn make_runtime(&self) -> Result<&Path> {
        make_private(&self.runtime)?;
        let meta = std::fs::symlink_metadata(&self.runtime)
            .or_fail(|| format!("can't look at {}", tick(&self.runtime)))?;
        let ours = std::os::unix::fs::MetadataExt::uid(&meta) == rustix::process::getuid().as_raw();
        if !meta.is_dir() || !ours {
            return Err(Error::new(
                Kind::Failed,
                format!("{} is not a folder of yours", tick(&self.runtime)),
            )
            .hint("set `XDG_RUNTIME_DIR` to a folder that only you can write"));
        }
        Ok(&self.runtime)
    }
}

fn has_blank(path: &Path) -> bool {
    path.to_string_lossy().chars().any(char::is_whitespace)
}

/// A short stable number for a path, to tell folders of several states apart.
pub fn short_hash(path: &Path) -> u32 {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(path.as_os_str().as_encoded_bytes());
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// Makes a folder and its parents; the last one is readable by its owner alone.
///
/// # Errors
/// When the filesystem refuses.
pub fn make_private(dir: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if let Some(parent) = dir.parent() {
        std::fs::create_dir_all(parent).map_err(|e| cant("make", parent, e))?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(cant("make", dir, e)),
        Ok(()) => Ok(()),
    }
}

/// The error where the filesystem refuses, with the way out. `verb` is one of `make`, `read`, `write`.
pub fn cant(verb: &str, path: &Path, e: std::io::Error) -> Error {
    use std::io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let hint = match e.kind() {
        StorageFull | QuotaExceeded => Some("free some space there, then run the command again"),
        ReadOnlyFilesystem => {
            Some("its filesystem is mounted read-only: mount it writable, then run the command again")
        }
        PermissionDenied => {
            Some("is it somebody else's? `sudo devbox` may have made it: `sudo chown` gives it to you")
        }
        _ => None,
    };
    let error = Error::new(Kind::Failed, format!("can't {verb} {}", tick(path))).caused_by(e);
    hint.into_iter().fold(error, Error::hint)
}

/// Writes a file so that a crash leaves the old text or the new one, never half of it: a
/// temporary file beside it, synced, renamed, the folder synced. What says the same already is left alone.
///
/// # Errors
/// When the filesystem refuses; the old file is untouched then.
pub fn write_atomic(path: &Path, text: &[u8], mode: u32) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    let failed = |e: std::io::Error| cant("write", path, e);
    let has_mode =
        |path: &Path| std::fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o777 == mode);
    if std::fs::read(path).is_ok_and(|old| old == text) && has_mode(path) {
        return Ok(());
    }
    let dir = path.parent().ok_or_else(|| Error::new(Kind::Failed, format!("can't write {}", tick(path))))?;
    std::fs::create_dir_all(dir).map_err(failed)?;
    let mut file = tempfile::Builder::new().prefix(".devbox-").tempfile_in(dir).map_err(failed)?;
    file.write_all(text).map_err(failed)?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    std::fs::File::open(dir).and_then(|d| d.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_atomic_write_replaces_and_leaves_nothing_else() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("deep/er/x");
        write_atomic(&file, b"one", 0o600).unwrap();
        write_atomic(&file, b"two", 0o600).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    }
}
