//! Which project a command is about.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, OrFail, Result, tick};

/// The file that makes a folder a project.
pub const FLAKE: &str = "flake.nix";
/// A project's configuration, beside its flake.
pub const FILE: &str = "devbox.toml";

/// A folder with a flake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// The folder: absolute, without symbolic links, which flakes of old Nix versions trip over.
    pub root: PathBuf,
}

impl Project {
    /// The nearest project at or above `start`: the current folder, or that of `-C`. Not above the root of the git
    /// repository that `start` is in: as for git and Nix, what is outside is another project.
    ///
    /// # Errors
    /// [`Kind::Usage`] when `start` is not a folder, [`Kind::Environment`] when there is no flake,
    /// [`Kind::Failed`] when a folder can't be looked into.
    pub fn find(start: &Path) -> Result<Self> {
        let here = start
            .canonicalize()
            .or_kind(Kind::Usage, || format!("can't look for a project in {}", tick(start)))?;
        if !here.is_dir() {
            return Err(Error::new(Kind::Usage, format!("{} is not a folder", tick(start))));
        }
        let mut up_to = " or any folder above it".to_owned();
        for folder in here.ancestors() {
            let flake = folder.join(FLAKE);
            match std::fs::metadata(&flake) {
                Ok(meta) if meta.is_file() => return Ok(Self { root: folder.to_owned() }),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(e).or_fail(|| format!("can't look at {}", tick(&flake))),
            }
            // A folder, or the file that worktrees and submodules have.
            if folder.join(".git").exists() {
                up_to = if folder == here {
                    ", the root of its repository".to_owned()
                } else {
                    format!(" or above it, up to its repository's root {}", tick(folder))
                };
                break;
            }
        }
        Err(Error::new(Kind::Environment, format!("no `{FLAKE}` in {}{up_to}", tick(&here)))
            .hint("`devbox init` writes one; `devbox init --template cuda-torch` one with CUDA and PyTorch")
            .hint("`-C DIR` names another folder"))
    }

    /// Its configuration, whether it exists or not.
    pub fn file(&self) -> PathBuf {
        self.root.join(FILE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_flake_above_counts() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let (inner, deep) = (top.join("a"), top.join("a/b/c"));
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(top.join(FLAKE), "").unwrap();
        std::fs::write(inner.join(FLAKE), "").unwrap();
        // A folder of that name is no flake.
        std::fs::create_dir(deep.join(FLAKE)).unwrap();
        assert_eq!(Project::find(&deep).unwrap().root, inner);
        assert_eq!(Project::find(&inner).unwrap().root, inner);
        assert_eq!(Project::find(&top).unwrap().file(), top.join("devbox.toml"));
    }

    #[test]
    fn a_repository_within_another_is_none_of_its_project() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let (inner, deep) = (top.join("inner"), top.join("inner/deep"));
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(top.join(FLAKE), "").unwrap();
        std::fs::create_dir(top.join(".git")).unwrap();
        assert_eq!(Project::find(&deep).unwrap().root, top);
        // As a submodule has it.
        std::fs::write(inner.join(".git"), "gitdir: ../.git/modules/inner\n").unwrap();
        let message = |start: &Path| Project::find(start).unwrap_err().message().to_owned();
        let root = tick(&inner);
        assert!(message(&deep).ends_with(&format!(" or above it, up to its repository's root {root}")));
        assert!(message(&inner).ends_with(&format!(" in {root}, the root of its repository")));
        std::fs::write(inner.join(FLAKE), "").unwrap();
        assert_eq!(Project::find(&deep).unwrap().root, inner);
    }

    #[test]
    fn without_a_flake_it_says_how_to_get_one() {
        let dir = tempfile::tempdir().unwrap();
        let error = Project::find(dir.path()).unwrap_err();
        assert_eq!(error.kind(), Kind::Environment);
        assert!(error.message().starts_with("no `flake.nix` in `"), "{error}");
        assert!(error.hints()[0].starts_with("`devbox init` writes one; "), "{:?}", error.hints());
        assert_eq!(error.hints()[1], "`-C DIR` names another folder");
    }

    #[test]
    fn a_missing_folder_and_a_file_are_usage_errors() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        for bad in [dir.path().join("gone"), file] {
            assert_eq!(Project::find(&bad).unwrap_err().kind(), Kind::Usage, "{bad:?}");
        }
    }
}
