//! `devbox.lock`: the exact environment of a project, one section for each system. Pure.
//!
//! TOML that is read in a diff: in a stable order, one value a line. Writing one section leaves every other byte alone.

pub mod compare;
pub mod diff;
mod edit;
mod estimate;
pub mod packages;
mod parse;
pub mod proof;
mod render;

pub use compare::{Deviation, Now};
pub use edit::with_section;
pub use estimate::side_of_outlook;
pub use parse::parse_lock;

use std::collections::BTreeMap;

use crate::names::System;
use crate::nix::{Fingerprint, Listing};

/// The file, beside `flake.nix`.
pub const FILE: &str = "devbox.lock";

/// What this devbox writes at the top of the file, and the only one that it reads.
pub const VERSION: i64 = 1;

/// A lock file that is right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// By their systems.
    pub sections: BTreeMap<System, Section>,
}

/// The environment for one system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The dev shell, as the configuration named it.
    pub shell: String,
    /// `sha256:` and the hash of `flake.lock`; nothing where there was none.
    pub flake_lock: Option<String>,
    /// The dev shell's own derivation.
    pub derivation: String,
    /// Nix's `…-env` path. For information: it differs between versions of Nix, and is never compared.
    pub output: String,
    /// The Nix that made it, as `Nix 2.8`.
    pub output_from: String,
    /// The box's Nix, where the project names one.
    pub nix: Option<String>,
    /// The fingerprint of all store paths that the dev shell refers to.
    pub fingerprint: Fingerprint,
    /// The bytes of their NARs.
    pub size: u64,
    /// How many there are.
    pub paths: usize,
    /// Those that people care about, by their names.
    pub packages: BTreeMap<String, Package>,
}

/// A store path that people care about.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Package {
    /// Its version, where its name has one.
    pub version: Option<String>,
    /// Its store path.
    pub path: String,
    /// The SHA-256 of its NAR, in lower-case hexadecimal.
    pub nar_hash: String,
    /// The size of its NAR in bytes.
    pub size: u64,
}

/// What a section is made from.
#[derive(Clone, Copy, Debug)]
pub struct Made<'a> {
    /// What the project evaluates to.
    pub now: Now<'a>,
    /// Nix's `…-env` path.
    pub output: &'a str,
    /// The Nix that made it, as `Nix 2.8`.
    pub output_from: &'a str,
    /// All store paths that the dev shell refers to.
    pub listing: &'a Listing,
    /// What else is named: `environment.packages`.
    pub patterns: &'a [String],
}

impl Section {
    /// The section of an environment.
    pub fn new(made: &Made<'_>) -> Self {
        let Made { now, output, output_from, listing, patterns } = *made;
        Self {
            shell: now.shell.to_owned(),
            flake_lock: now.flake_lock.map(str::to_owned),
            derivation: now.derivation.to_owned(),
            output: output.to_owned(),
            output_from: output_from.to_owned(),
            nix: now.nix.map(str::to_owned),
            fingerprint: listing.fingerprint(),
            size: listing.bytes(),
            paths: listing.0.len(),
            packages: packages::named_packages(listing, patterns),
        }
    }

    /// The same, as far as `before` and this mean the same environment: what is for information stays as it was.
    #[must_use]
    pub fn settled(mut self, before: Option<&Self>) -> Self {
        if let Some(before) = before.filter(|b| b.derivation == self.derivation) {
            self.output.clone_from(&before.output);
            self.output_from.clone_from(&before.output_from);
        }
        self
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::nix::Nar;
    use proptest::prelude::*;

    pub(crate) fn listing() -> Listing {
        let nar = |c: char, size| Nar { hash: c.to_string().repeat(64), size };
        Listing(
            [
                ("/nix/store/4x1kkg1q61mvzx0z5hv15px24pv0axln-bash-5.2", nar('a', 100)),
                ("/nix/store/v7xa9h0xla15ciz778yn8rhiq4562fpz-python3-3.12.11", nar('b', 20)),
                ("/nix/store/r9hmymlx5mjvs3fgycxsh8ddfdskgvyd-python3.12-torch-2.8.0", nar('c', 3)),
            ]
            .map(|(path, nar)| (path.to_owned(), nar))
            .into(),
        )
    }

    pub(crate) fn section() -> Section {
        Section::new(&Made {
            now: Now {
                shell: ".#default",
                flake_lock: Some("sha256:1111111111111111111111111111111111111111111111111111111111111111"),
                derivation: "/nix/store/k3v4c19ln4p3nc3qixyvqmcixnmmxq3f-shell.drv",
                nix: None,
            },
            output: "/nix/store/0c4mxxq3mjvs3fgycxsh8ddfdskgvydr-shell-env",
            output_from: "Nix 2.8",
            listing: &listing(),
            patterns: &["python3*".to_owned()],
        })
    }

    pub(crate) fn arbitrary_section() -> impl Strategy<Value = Section> {
        let store = |end: &str| {
            let name = format!("/nix/store/[0-9a-df-np-sv-z]{{32}}-[a-z+?=_]{{1,9}}{end}");
            proptest::string::string_regex(&name).unwrap()
        };
        let hash = || "[0-9a-f]{64}";
        let package = (store("(-[0-9.]{1,5})?"), hash(), 0..i64::MAX).prop_map(|(path, nar_hash, size)| {
            let version = packages::parse_name(&path).version;
            Package { version, path, nar_hash, size: size.unsigned_abs() }
        });
        let packages = proptest::collection::btree_map("[a-z0-9.+?=_-]{1,12}", package, 0..4);
        (
            (
                "[!-~ äöü]{1,20}",
                proptest::option::of(hash()),
                store("\\.drv"),
                store("-env"),
                "Nix 2\\.[0-9]{1,2}",
            ),
            (proptest::option::of(store("-nix")), hash(), 0..i64::MAX, 0..i64::from(i32::MAX), packages),
        )
            .prop_map(
                |(
                    (shell, flake_lock, derivation, output, output_from),
                    (nix, print, size, paths, packages),
                )| {
                    Section {
                        shell,
                        flake_lock: flake_lock.map(|hash| format!("sha256:{hash}")),
                        derivation,
                        output,
                        output_from,
                        nix,
                        fingerprint: Fingerprint(print),
                        size: size.unsigned_abs(),
                        paths: usize::try_from(paths).unwrap_or_default(),
                        packages,
                    }
                },
            )
    }

    #[test]
    fn the_lock_names_what_people_care_about() {
        let section = section();
        assert_eq!(section.packages.keys().collect::<Vec<_>>(), ["python3", "torch"]);
        assert_eq!((section.size, section.paths), (123, 3));
        assert_eq!(section.packages["torch"].version.as_deref(), Some("2.8.0"));
    }
}
