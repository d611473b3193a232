//! Volumes of local boxes: folders.

use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, OrFail, Result, tick};
use crate::names::VolumeName;
use crate::provider::Volume;

/// Where a box finds the volume `name`: as on Lambda, so that guests see no difference.
pub(super) fn mount_point(name: &VolumeName) -> String {
    format!("/lambda/nfs/{name}")
}

/// The folder of the volume `name`.
pub(super) fn folder(volumes: &Path, name: &VolumeName) -> PathBuf {
    volumes.join(name.as_str())
}

/// The volume `name`, if its folder exists.
pub(super) fn find(volumes: &Path, name: &VolumeName) -> Result<Option<Volume>> {
    let folder = folder(volumes, name);
    let refused = |why: &str| {
        Error::new(Kind::Volume, format!("the volume `{name}` can't be used: {} {why}", tick(&folder)))
    };
    match std::fs::metadata(&folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(refused("can't be looked at").caused_by(e)),
        Ok(meta) if !meta.is_dir() => {
            return Err(refused("is no folder").hint("move it away, or choose another `volume.name`"));
        }
        Ok(_) => {}
    }
    // Only trying tells: root ignores permissions, and a filesystem can be read-only.
    tempfile::tempfile_in(&folder).map_err(|e| {
        refused("is not writable").hint("run as its owner, or mount its filesystem writable").caused_by(e)
    })?;
    let place = folder.display().to_string();
    let id = name.to_string();
    Ok(Some(Volume { name: name.clone(), id, mount_point: mount_point(name), region: None, place }))
}

/// Makes the volume `name`, or finds it made.
pub(super) fn create(volumes: &Path, name: &VolumeName) -> Result<Volume> {
    let folder = folder(volumes, name);
    let what = || format!("can't make the volume `{name}` at {}", tick(&folder));
    if !folder.exists() {
        std::fs::create_dir_all(&folder).or_kind(Kind::Volume, what)?;
    }
    find(volumes, name)?.ok_or_else(|| Error::new(Kind::Volume, what()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_found_where_it_was_made() {
        let dir = tempfile::tempdir().unwrap();
        let name: VolumeName = "data".parse().unwrap();
        assert_eq!(find(dir.path(), &name).unwrap(), None);
        let made = create(dir.path(), &name).unwrap();
        assert_eq!(made.mount_point, "/lambda/nfs/data");
        assert_eq!(find(dir.path(), &name).unwrap(), Some(made.clone()));
        assert_eq!(create(dir.path(), &name).unwrap(), made);
    }

    #[test]
    fn a_file_is_no_volume() {
        let dir = tempfile::tempdir().unwrap();
        let name: VolumeName = "data".parse().unwrap();
        std::fs::write(dir.path().join("data"), "").unwrap();
        let error = find(dir.path(), &name).unwrap_err();
        assert_eq!(error.kind(), Kind::Volume);
        assert!(error.message().ends_with("is no folder"), "{error}");
    }

    #[test]
    fn a_folder_that_takes_no_files_is_refused() {
        // The one filesystem every Linux machine has that refuses files even to root.
        let error = find(Path::new("/proc"), &"sys".parse().unwrap()).unwrap_err();
        assert_eq!(error.kind(), Kind::Volume);
        assert!(error.message().ends_with("is not writable"), "{error}");
    }
}
