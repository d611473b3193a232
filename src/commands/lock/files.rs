//! The lock on disk, and the lists of store paths that are kept of environments.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Kind, OrFail, Result, ignore, tick};
use crate::guest::verify::listed;
use crate::lock::{FILE, Lock, Section, parse_lock, with_section};
use crate::names::{ProjectName, System};
use crate::nix::listing::{hex_sha256, parse_listing};
use crate::nix::{Fingerprint, Listing};
use crate::paths::{Paths, write_atomic};
use crate::ssh::Guest;

/// How many lists are kept; those that nobody has used for longest go first.
const KEEP: usize = 100;

/// The lock of the project in `root`.
pub fn file(root: &Path) -> PathBuf {
    root.join(FILE)
}

/// The lock of a project; nothing where it has none.
///
/// # Errors
/// [`Kind::Usage`] where it can't be read, or is no lock.
pub fn read(root: &Path) -> Result<Option<Lock>> {
    read_file(&file(root))
}

/// A lock file; nothing where there is none.
///
/// # Errors
/// As [`read`].
pub fn read_file(path: &Path) -> Result<Option<Lock>> {
    read_text(path)?.map(|text| parse_lock(&text, path)).transpose()
}

fn read_text(path: &Path) -> Result<Option<String>> {
    let bytes = match fs::read(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.or_kind(Kind::Usage, || format!("can't read {}", tick(path)))?,
    };
    String::from_utf8(bytes).map(Some).or_kind(Kind::Usage, || format!("{} is not UTF-8 text", tick(path)))
}

/// Writes one section into the lock of a project, and makes the file where there is none. A crash leaves the old file or
/// the new one.
///
/// # Errors
/// [`Kind::Usage`] where the file is no lock; when the disk refuses.
pub fn write(root: &Path, system: System, section: &Section) -> Result<()> {
    // A link to a file elsewhere stays one.
    let path = file(root);
    let path = path.canonicalize().unwrap_or(path);
    let text = with_section(read_text(&path)?.as_deref(), &path, system, section)?;
    let mode = fs::metadata(&path).map_or(0o644, |meta| meta.permissions().mode() & 0o777);
    write_atomic(&path, text.as_bytes(), mode)
}

/// `sha256:` and the hash of a project's `flake.lock`; nothing where it has none.
///
/// # Errors
/// When it can't be read.
pub fn flake_lock(root: &Path) -> Result<Option<String>> {
    let path = root.join("flake.lock");
    match fs::read(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        other => {
            let bytes = other.or_fail(|| format!("can't read {}", tick(&path)))?;
            Ok(Some(format!("sha256:{}", hex_sha256(&bytes))))
        }
    }
}

fn kept(paths: &Paths) -> PathBuf {
    paths.state.join("environments")
}

/// Keeps the list of an environment's store paths, so that those that are different later can be named.
///
/// # Errors
/// When the disk refuses.
pub fn keep_listing(paths: &Paths, listing: &Listing) -> Result<()> {
    let folder = kept(paths);
    let file = folder.join(format!("{}.paths", listing.fingerprint()));
    write_atomic(&file, listing.render().as_bytes(), 0o644)?;
    // Used just now, though its text is as it was. What can't be dated goes a little earlier.
    ignore(
        fs::File::options()
            .append(true)
            .open(&file)
            .and_then(|f| f.set_modified(std::time::SystemTime::now())),
    );
    forget_old(&folder)
}

fn forget_old(folder: &Path) -> Result<()> {
    let what = || format!("can't tidy {}", tick(folder));
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).or_fail(what)? {
        let entry = entry.or_fail(what)?;
        let modified = entry.metadata().and_then(|meta| meta.modified()).or_fail(what)?;
        all.push((modified, entry.path()));
    }
    all.sort();
    let many = all.len().saturating_sub(KEEP);
    for (_, old) in all.into_iter().take(many) {
        // Another devbox may have been quicker.
        ignore(fs::remove_file(old));
    }
    Ok(())
}

/// The list that was kept of an environment. One that is not what it was is none.
pub fn kept_listing(paths: &Paths, fingerprint: &Fingerprint) -> Option<Listing> {
    let text = fs::read_to_string(kept(paths).join(format!("{fingerprint}.paths"))).ok()?;
    parse_listing(&text).ok().filter(|listing| listing.fingerprint() == *fingerprint)
}

/// The list of an environment's store paths: the one that was kept here, or else what the volume remembers, which is
/// kept from then on.
pub async fn known_listing(
    paths: &Paths,
    guest: &Guest,
    project: &ProjectName,
    fingerprint: &Fingerprint,
) -> Option<Listing> {
    if let Some(kept) = kept_listing(paths, fingerprint) {
        return Some(kept);
    }
    // A box of an older devbox can't tell, which is as good as nothing known.
    let listing = listed(guest, project, &fingerprint.0).await.ok()?.listing()?;
    if listing.fingerprint() != *fingerprint {
        return None;
    }
    ignore(keep_listing(paths, &listing));
    Some(listing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nix::Nar;

    fn listing(size: u64) -> Listing {
        let path = "/nix/store/4x1kkg1q61mvzx0z5hv15px24pv0axln-a".to_owned();
        Listing([(path, Nar { hash: "a".repeat(64), size })].into())
    }

    #[test]
    fn lists_are_kept_until_there_are_too_many_and_damaged_ones_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let paths =
            Paths { home: at("h"), config: at("c"), state: at("s"), cache: at("x"), runtime: at("r") };
        let first = listing(0);
        keep_listing(&paths, &first).unwrap();
        assert_eq!(kept_listing(&paths, &first.fingerprint()), Some(first.clone()));
        let file = at("s/environments").join(format!("{}.paths", first.fingerprint()));
        fs::write(&file, first.render().replace(" 0", " 1")).unwrap();
        assert_eq!(kept_listing(&paths, &first.fingerprint()), None);
        for size in 1..=KEEP as u64 {
            keep_listing(&paths, &listing(size)).unwrap();
        }
        assert_eq!(fs::read_dir(at("s/environments")).unwrap().count(), KEEP);
        assert!(!file.exists());
    }

    #[test]
    fn a_lock_that_is_a_link_stays_one() {
        let dir = tempfile::tempdir().unwrap();
        let (elsewhere, project) = (dir.path().join("elsewhere"), dir.path().join("project"));
        fs::create_dir(&project).unwrap();
        let section = crate::lock::tests::section();
        fs::write(&elsewhere, with_section(None, &elsewhere, System::X86_64Linux, &section).unwrap())
            .unwrap();
        fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&elsewhere, file(&project)).unwrap();
        write(&project, System::Aarch64Linux, &section).unwrap();
        assert!(file(&project).is_symlink());
        assert_eq!(fs::metadata(&elsewhere).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(&project).unwrap().unwrap().sections.len(), 2);
    }
}
