//! Whether a dev shell is made of the whole project folder: then every edit changes it, that of its own lock too.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::nix::closure::parse_registrations;
use crate::nix::command;

/// What `nix flake metadata --json` says of the folder of a flake, as Nix copies it into the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct Metadata {
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    locked: Locked,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Locked {
    #[serde(default)]
    nar_hash: Option<String>,
}

/// `sha256-BASE64` in lower-case hexadecimal. Pure.
fn parse_sri(text: &str) -> Option<String> {
    let bytes = STANDARD.decode(text.strip_prefix("sha256-")?).ok()?;
    Some(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// Those of `paths` that may be a copy of a flake's folder: that is what these are called. Pure.
fn sources(paths: &str) -> Vec<String> {
    paths.lines().filter(|path| path.ends_with("-source")).map(str::to_owned).collect()
}

/// The flake that an installable names, where it is a folder of this machine and not one that its lock pins. Pure.
fn folder_of(shell: &str) -> Option<&str> {
    let flake = shell.split_once('#').map_or(shell, |(flake, _)| flake);
    let is_here = flake.is_empty() || ["path:", "git+file:", ".", "/"].iter().any(|p| flake.starts_with(p));
    is_here.then_some(if flake.is_empty() { "." } else { flake })
}

/// The store path of the whole folder of the project in `root`, where its dev shell is made of that. Nothing where Nix
/// does not tell: it is advice.
pub async fn whole_folder(root: &Path, shell: &str, derivation: &str) -> Option<String> {
    let flake = folder_of(shell)?;
    let all = command::argv_requisites(&[derivation.to_owned()]).check().await.ok()?.text();
    let sources = sources(&all);
    if sources.is_empty() {
        return None;
    }
    let said = command::argv_metadata(root, flake).check().await.ok()?.text();
    let metadata: Metadata = serde_json::from_str(&said).ok()?;
    if let Some(path) = metadata.path.filter(|path| sources.contains(path)) {
        return Some(path);
    }
    // A flake that is copied again has another path, and the same bytes.
    let hash = parse_sri(&metadata.locked.nar_hash?)?;
    let registered = command::argv_dump_db(&sources).check().await.ok()?.text();
    let registered = parse_registrations(&registered).ok()?;
    registered.0.into_iter().find(|(_, info)| info.nar_hash == hash).map(|(path, _)| path)
}

/// What to do about it.
pub fn render_way_out(path: &str) -> String {
    format!(
        "the dev shell is made of the whole project folder ({path}), so that every edit changes it, and writing \
         `devbox.lock` too: let it take only the files that it needs, with `lib.fileset.toSource` or by their own paths"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_flakes_have_them() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(parse_sri("sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=").as_deref(), Some(hex));
        assert_eq!(parse_sri("sha512-AAAA"), None);
        assert_eq!(parse_sri("sha256-!"), None);
    }

    #[test]
    fn only_a_folder_of_this_machine_changes_with_an_edit() {
        for (shell, flake) in [(".#x", "."), ("#x", "."), ("path:.#x", "path:."), ("/a#x", "/a"), ("", ".")] {
            assert_eq!(folder_of(shell), Some(flake), "{shell}");
        }
        assert_eq!(folder_of("github:a/b#x"), None);
        assert_eq!(folder_of("nixpkgs#x"), None);
    }
}
