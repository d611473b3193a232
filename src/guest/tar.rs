//! The tar that seeds a box. Written here, since the `tar` of a Mac takes other options than GNU's, and knows nothing
//! of what Nix does to names where the filesystem minds no case.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tar::{Builder, EntryType, Header};

use crate::error::{OrFail, Result, tick};

/// What Nix appends, with a number, to the name of a file whose directory has another one that differs only in case.
const CASE_HACK: &[u8] = b"~nix~case~hack~";

/// The name that a file has in its archive. Pure.
fn without_hack(name: &OsStr) -> OsString {
    let bytes = name.as_bytes();
    let end = bytes.windows(CASE_HACK.len()).position(|part| part == CASE_HACK);
    OsString::from_vec(bytes[..end.unwrap_or(bytes.len())].to_owned())
}

/// A header with what Nix has every file be: root's, as old as can be, nobody's to write. Pure.
fn header(kind: EntryType, size: u64, executable: bool) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(if executable { 0o555 } else { 0o444 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1);
    header
}

/// Writes the store paths and all that is in them, under their names without the first `/`, then `last`, a file of
/// that name. With `hacked` the store is one with Nix's `use-case-hack`, as every Mac's.
///
/// # Errors
/// When a file can't be read, or nobody takes the tar.
pub(super) fn write<W: Write>(out: W, paths: &[String], hacked: bool, last: (&str, &[u8])) -> Result<()> {
    let mut tar = Builder::new(out);
    for path in paths {
        let member = Path::new(path.trim_start_matches('/'));
        append(&mut tar, Path::new(path), member, hacked)?;
    }
    let what = || format!("can't send {}", tick(last.0));
    let mut of_last = header(EntryType::Regular, last.1.len() as u64, false);
    tar.append_data(&mut of_last, last.0, last.1).or_fail(what)?;
    tar.into_inner().and_then(|mut out| out.flush()).or_fail(what)
}

/// Appends what is at `path` as `member`.
fn append<W: Write>(tar: &mut Builder<W>, path: &Path, member: &Path, hacked: bool) -> Result<()> {
    let what = || format!("can't send {}", tick(path));
    let meta = path.symlink_metadata().or_fail(what)?;
    if meta.is_symlink() {
        let target = path.read_link().or_fail(what)?;
        return append_link(tar, member, target.as_os_str().as_bytes()).or_fail(what);
    }
    if meta.is_dir() {
        tar.append_data(&mut header(EntryType::Directory, 0, true), member, io::empty()).or_fail(what)?;
        let listed: io::Result<Vec<_>> =
            path.read_dir().or_fail(what)?.map(|entry| Ok(entry?.file_name())).collect();
        let name = |on_disk: &OsString| if hacked { without_hack(on_disk) } else { on_disk.clone() };
        let mut names: Vec<_> =
            listed.or_fail(what)?.into_iter().map(|on_disk| (name(&on_disk), on_disk)).collect();
        names.sort();
        for (name, on_disk) in names {
            append(tar, &path.join(on_disk), &member.join(name), hacked)?;
        }
        return Ok(());
    }
    let file = std::fs::File::open(path).or_fail(what)?;
    let executable = meta.permissions().mode() & 0o100 != 0;
    tar.append_data(&mut header(EntryType::Regular, meta.len(), executable), member, file).or_fail(what)
}

/// Appends a symbolic link that says `target` to the letter, as its NAR does: `./x` is not `x`.
fn append_link<W: Write>(tar: &mut Builder<W>, member: &Path, target: &[u8]) -> io::Result<()> {
    let mut link = header(EntryType::Symlink, 0, true);
    let room = link.as_old().linkname.len();
    if target.len() > room {
        let mut long = header(EntryType::GNULongLink, target.len() as u64 + 1, false);
        long.set_path("././@LongLink")?;
        long.set_cksum();
        tar.append(&long, target.chain(&b"\0"[..]))?;
    }
    link.set_link_name_literal(&target[..target.len().min(room)])?;
    tar.append_data(&mut link, member, io::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// What is in the tar of `root`: kind, mode, name, and what it holds or points to.
    fn members(root: &Path, hacked: bool) -> Vec<String> {
        let mut bytes = Vec::new();
        write(&mut bytes, &[root.display().to_string()], hacked, ("registration", b"r")).unwrap();
        let top = format!("{}", root.strip_prefix("/").unwrap().display());
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let (kind, mode) = (entry.header().entry_type(), entry.header().mode().unwrap());
            assert_eq!((entry.header().uid().unwrap(), entry.header().mtime().unwrap()), (0, 1));
            let name = entry.path().unwrap().display().to_string().replace(&top, "TOP");
            let target = entry.link_name().unwrap().map(|to| to.display().to_string());
            let text = target.unwrap_or_else(|| io::read_to_string(&mut entry).unwrap());
            format!("{kind:?} {mode:o} {name} {text}").trim_end().to_owned()
        });
        entries.collect()
    }

    #[test]
    fn all_that_a_store_path_has_is_sent_as_nix_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let long = "x".repeat(120);
        fs::create_dir(dir.path().join("bin")).unwrap();
        fs::write(dir.path().join("bin/run"), "#!").unwrap();
        fs::set_permissions(dir.path().join("bin/run"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(dir.path().join(&long), "long").unwrap();
        std::os::unix::fs::symlink(format!("/nix/store/{long}"), dir.path().join("link")).unwrap();
        assert_eq!(
            members(dir.path(), false),
            [
                "Directory 555 TOP".to_owned(),
                "Directory 555 TOP/bin".to_owned(),
                "Regular 555 TOP/bin/run #!".to_owned(),
                format!("Symlink 555 TOP/link /nix/store/{long}"),
                format!("Regular 444 TOP/{long} long"),
                "Regular 444 registration r".to_owned(),
            ]
        );
    }

    #[test]
    fn a_link_says_what_it_said() {
        let dir = tempfile::tempdir().unwrap();
        let (exact, over) = ("y".repeat(100), format!("./{}", "z".repeat(99)));
        let targets = ["./x", "a//b", "dir/", "..", "/", "../../share/x", &exact, &over];
        for (n, target) in targets.iter().enumerate() {
            std::os::unix::fs::symlink(target, dir.path().join(n.to_string())).unwrap();
        }
        let mut bytes = Vec::new();
        write(&mut bytes, &[dir.path().display().to_string()], false, ("r", b"")).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let links = archive.entries().unwrap().filter_map(|entry| {
            let to = entry.unwrap().link_name_bytes()?.into_owned();
            Some(String::from_utf8(to).unwrap())
        });
        assert_eq!(links.collect::<Vec<_>>(), targets);
    }

    #[test]
    fn names_that_differ_only_in_case_get_them_back() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("A")).unwrap();
        fs::create_dir(dir.path().join("a~nix~case~hack~1")).unwrap();
        fs::write(dir.path().join("a~nix~case~hack~1/ansi"), "").unwrap();
        let names = |hacked| -> Vec<_> {
            let all = members(dir.path(), hacked);
            all[1..all.len() - 1].iter().map(|m| m.rsplit(' ').next().unwrap().to_owned()).collect()
        };
        assert_eq!(names(true), ["TOP/A", "TOP/a", "TOP/a/ansi"]);
        // Elsewhere it is a name like any other.
        assert_eq!(names(false)[1], "TOP/a~nix~case~hack~1");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let error = write(Vec::new(), &["/no/such/path".into()], false, ("r", b"")).unwrap_err();
        assert_eq!(error.message(), "can't send `/no/such/path`");
    }
}
