//! Whether what a box has is what the lock says, and where not.

use serde::Serialize;

use crate::guest::verify::Found;
use crate::lock::Section;
use crate::nix::Listing;
use crate::nix::listing::parse_listing;

/// What is wrong with a store path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wrong {
    /// Another environment is current than the lock's.
    AnotherEnvironment,
    /// The script that enters it is not the one that was written with it.
    Script,
    /// It is registered, and not there.
    Missing,
    /// Its files are not what was registered.
    Modified,
    /// Other bytes are registered than the lock names.
    OtherBytes,
}

/// Something that is not as the lock says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is wrong.
    pub wrong: Wrong,
    /// The store path.
    pub path: String,
    /// What there is to say of it; may be empty.
    pub why: String,
}

impl Finding {
    /// In a line, with the store path.
    pub fn render(&self) -> String {
        let Self { path, why, .. } = self;
        match self.wrong {
            Wrong::AnotherEnvironment => format!("another environment   {path}, {why}"),
            Wrong::Script => format!("the script that enters it   {path}: {why}"),
            Wrong::Missing => format!("missing   {path}"),
            Wrong::Modified => format!("modified   {path}"),
            Wrong::OtherBytes if path.is_empty() => format!("other bytes   {why}"),
            Wrong::OtherBytes => format!("other bytes   {path}"),
        }
    }
}

/// Everything that is wrong, by what is. `kept` is the list of the lock's store paths, where anybody has it.
pub fn findings(section: &Section, kept: Option<&Listing>, found: &Found) -> Vec<Finding> {
    let mut all = Vec::new();
    let mut say = |wrong, path: &str, why: &str| {
        all.push(Finding { wrong, path: path.to_owned(), why: why.to_owned() });
    };
    let remembered = found.remembered();
    let there = parse_listing(&found.listing.join("\n")).unwrap_or_default();
    let is_unknown = found.fingerprint.0.is_empty();
    let differs = found.fingerprint != section.fingerprint && !is_unknown;
    let of_other = remembered.derivation.as_ref().is_some_and(|drv| *drv != section.derivation);
    if of_other || differs && !has_the_paths_of(section, kept, &there) {
        let generation = format!("generation {} is current", found.generation);
        say(Wrong::AnotherEnvironment, &found.environment, &generation);
    } else if differs {
        compare(section, kept, &there, &mut say);
    }
    if remembered.script.is_some_and(|script| script != found.script) {
        let why = if found.script.is_empty() { "it is missing" } else { "it was changed" };
        say(Wrong::Script, &found.environment, why);
    }
    for path in &found.gone {
        say(Wrong::Missing, path, "");
    }
    for damage in &found.damaged {
        say(Wrong::Modified, &damage.path, &damage.why);
    }
    all.sort_by(|a, b| (a.wrong, &a.path).cmp(&(b.wrong, &b.path)));
    all.dedup();
    all
}

/// Whether a box has the store paths of a lock, whatever their bytes.
fn has_the_paths_of(section: &Section, kept: Option<&Listing>, there: &Listing) -> bool {
    match kept {
        Some(kept) => kept.0.keys().eq(there.0.keys()),
        None => {
            section.paths == there.0.len()
                && section.packages.values().all(|package| there.0.contains_key(&package.path))
        }
    }
}

/// Names the paths whose bytes differ: all where they are known, else those that the lock names.
fn compare(
    section: &Section,
    kept: Option<&Listing>,
    there: &Listing,
    say: &mut impl FnMut(Wrong, &str, &str),
) {
    let before = |hash: &str| format!("the lock has sha256:{hash}");
    if let Some(kept) = kept {
        for path in kept.other_bytes(there) {
            say(Wrong::OtherBytes, &path, &before(&kept.0[&path].hash));
        }
        return;
    }
    let mut unnamed = true;
    for package in section.packages.values() {
        if there.0.get(&package.path).is_some_and(|nar| nar.hash != package.nar_hash) {
            unnamed = false;
            say(Wrong::OtherBytes, &package.path, &before(&package.nar_hash));
        }
    }
    if unnamed {
        say(
            Wrong::OtherBytes,
            "",
            "nobody has kept the list of the lock's store paths, so that it can't be named",
        );
    }
}

/// The ways out, one for each thing that is wrong.
pub fn ways_out(findings: &[Finding], name: &str) -> Vec<String> {
    let has = |wrongs: &[Wrong]| findings.iter().any(|f| wrongs.contains(&f.wrong));
    let mut hints = Vec::new();
    if has(&[Wrong::Missing, Wrong::Modified]) {
        hints.push(format!(
            "`devbox store check --repair --box {name}` fetches anew or throws away what is damaged; then `devbox up {name}` \
             brings it again"
        ));
    }
    if has(&[Wrong::AnotherEnvironment]) {
        hints.push(format!("`devbox up {name}` makes the environment of the lock current"));
    }
    if has(&[Wrong::OtherBytes]) {
        hints.push(format!(
            "`devbox up {name}` looks for the bytes of the lock, and puts them in their place"
        ));
    }
    if has(&[Wrong::Script]) {
        hints.push(format!("`devbox up {name}` writes the script again"));
    }
    hints
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::store::answers::Damage;
    use crate::lock::tests::{listing, section};

    const ENV: &str = "/nix/store/0c4mxxq3mjvs3fgycxsh8ddfdskgvydr-shell-env";

    fn good() -> Found {
        Found {
            generation: 1,
            environment: ENV.into(),
            fingerprint: section().fingerprint,
            paths: 3,
            bytes: 123,
            manifest: format!(r#"{{"derivation":"{}","script":"aa"}}"#, section().derivation),
            script: "aa".into(),
            gone: vec![],
            deep: true,
            seconds: 1,
            damaged: vec![],
            listing: vec![],
        }
    }

    fn with(listing: &Listing) -> Found {
        let listing: Vec<_> = listing.render().lines().map(str::to_owned).collect();
        Found { fingerprint: crate::nix::Fingerprint("0".repeat(64)), listing, ..good() }
    }

    fn shown(kept: Option<&Listing>, found: &Found) -> String {
        let all = findings(&section(), kept, found);
        let lines = all.iter().map(Finding::render).chain(ways_out(&all, "hello"));
        lines.map(|line| format!("{line}\n")).collect::<String>() + "--\n"
    }

    #[test]
    fn every_thing_that_can_be_wrong_is_named() {
        let kept = listing();
        assert!(findings(&section(), Some(&kept), &good()).is_empty());
        assert!(findings(&section(), None, &Found { manifest: String::new(), ..good() }).is_empty());
        let torch = section().packages["torch"].path.clone();
        let mut bytes = listing();
        bytes.0.get_mut(&torch).unwrap().hash = "d".repeat(64);
        let mut unnamed = listing();
        unnamed.0.values_mut().next().unwrap().hash = "d".repeat(64);
        let mut less = listing();
        less.0.remove(&torch);
        let damaged = vec![Damage { path: torch.clone(), why: "was modified!".into() }];
        let all = [
            shown(Some(&kept), &with(&bytes)),
            shown(None, &with(&bytes)),
            shown(None, &with(&unnamed)),
            shown(Some(&kept), &with(&less)),
            shown(None, &with(&less)),
            // Only variables differ: the same closure, another derivation.
            shown(Some(&kept), &Found { manifest: r#"{"derivation":"/nix/store/x.drv"}"#.into(), ..good() }),
            shown(Some(&kept), &Found { script: "bb".into(), gone: vec![torch.clone()], damaged, ..good() }),
            shown(
                Some(&kept),
                &Found {
                    script: String::new(),
                    fingerprint: crate::nix::Fingerprint(String::new()),
                    gone: vec![ENV.into()],
                    ..good()
                },
            ),
        ];
        insta::assert_snapshot!(all.concat());
    }
}
