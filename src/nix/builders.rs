//! For which systems this machine can build: by itself, and by the remote builders of its nix.conf.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;

use crate::error::{Error, Kind, Result};
use crate::nix::command::argv_settings;
use crate::nix::version::Version;

/// The systems that this machine can build for, in Nix's names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Builders {
    /// By itself: its own, and `extra-platforms`. Its own comes first.
    pub own: Vec<String>,
    /// By remote builders.
    pub remote: BTreeSet<String>,
}

/// What nix.conf says of building.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    own: Vec<String>,
    /// Lists of machines, in the words of the setting.
    machines: Vec<String>,
    /// Files of such lists.
    pub files: Vec<PathBuf>,
}

/// Reads Nix's settings as JSON.
///
/// # Errors
/// [`Kind::Environment`] where they are not there.
pub fn parse_settings(text: &str) -> Result<Settings> {
    let odd = || Error::new(Kind::Environment, "Nix does not tell its settings");
    let all: Value = serde_json::from_str(text).map_err(|e| odd().caused_by(e))?;
    let value = |name: &str| all.get(name).and_then(|setting| setting.get("value"));
    let mut own = vec![value("system").and_then(Value::as_str).ok_or_else(odd)?.to_owned()];
    let extra = value("extra-platforms").and_then(Value::as_array).into_iter().flatten();
    own.extend(extra.filter_map(Value::as_str).map(str::to_owned));
    let mut settings = Settings { own, ..Settings::default() };
    // Machines are parted by line breaks or semicolons; what begins with `@` is a file of them.
    let builders = value("builders").and_then(Value::as_str).unwrap_or_default();
    for machine in builders.split(['\n', ';']).map(str::trim).filter(|m| !m.is_empty()) {
        match machine.strip_prefix('@') {
            Some(file) => settings.files.push(file.into()),
            None => settings.machines.push(machine.to_owned()),
        }
    }
    Ok(settings)
}

impl Settings {
    /// What can be built, `files` being the texts of the files.
    pub fn builders(&self, files: &[String]) -> Builders {
        let lines = self
            .machines
            .iter()
            .map(String::as_str)
            .chain(files.iter().flat_map(|text| text.split(['\n', ';'])));
        let own = self.own.first().map(String::as_str).unwrap_or_default();
        Builders { own: self.own.clone(), remote: lines.flat_map(|line| parse_machine(line, own)).collect() }
    }
}

/// The systems of one remote builder: `ssh://mac x86_64-linux,aarch64-linux key 4 …`. Without them, or with `-`, it
/// builds for what this machine is.
fn parse_machine(line: &str, own: &str) -> Vec<String> {
    let line = line.split('#').next().unwrap_or_default();
    let mut words = line.split_whitespace();
    if words.next().is_none() {
        return Vec::new();
    }
    match words.next() {
        None | Some("-") => vec![own.to_owned()],
        Some(systems) => systems.split(',').filter(|s| !s.is_empty()).map(str::to_owned).collect(),
    }
}

/// For which systems the Nix of this machine can build.
///
/// # Errors
/// [`Kind::Environment`] when it does not tell.
pub async fn builders(version: Version) -> Result<Builders> {
    let told = argv_settings(version).check().await.map_err(|e| e.with_kind(Kind::Environment))?;
    let settings = parse_settings(&told.text())?;
    // Nix too passes over a file that is not there.
    let files: Vec<String> =
        settings.files.iter().filter_map(|file| std::fs::read_to_string(file).ok()).collect();
    Ok(settings.builders(&files))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settings(builders: &str, extra: &[&str]) -> Settings {
        let json = serde_json::json!({
            "system": {"value": "x86_64-linux"}, "extra-platforms": {"value": extra}, "builders": {"value": builders},
        });
        parse_settings(&json.to_string()).unwrap()
    }

    #[test]
    fn a_machine_by_itself() {
        let found = settings("", &["i686-linux", "aarch64-linux"]);
        assert_eq!(found.builders(&[]).own, ["x86_64-linux", "i686-linux", "aarch64-linux"]);
        assert!(found.builders(&[]).remote.is_empty());
    }

    #[test]
    fn remote_builders_in_the_setting_and_in_files() {
        let found =
            settings("ssh://mac aarch64-linux,aarch64-darwin - 4 ; @/etc/nix/machines\nssh://other", &[]);
        assert_eq!(found.files, [PathBuf::from("/etc/nix/machines")]);
        let file = "# mine\nssh-ng://big riscv64-linux /root/key 8 2 kvm # the loud one\n\nssh://same -\n"
            .to_owned();
        let remote = found.builders(&[file]).remote;
        let remote: Vec<_> = remote.iter().map(String::as_str).collect();
        assert_eq!(remote, ["aarch64-darwin", "aarch64-linux", "riscv64-linux", "x86_64-linux"]);
    }

    #[test]
    fn what_is_no_answer() {
        assert!(parse_settings("").is_err());
        assert!(parse_settings("{}").is_err());
    }

    proptest! {
        #[test]
        fn no_file_panics(text in ".{0,80}") {
            settings("", &[]).builders(&[text]);
        }
    }
}
