//! The part of `up` about a build that came to the store paths of the lock and to other bytes: those of the lock are
//! looked for, and taken in place of it.

use std::collections::BTreeMap;

use super::{BoxUp, Story};
use crate::commands::lock::files::known_listing;
use crate::error::{Error, Kind, Result};
use crate::guest::locked::{self, From};
use crate::lock::{FILE, Section};
use crate::nix::closure::{Closure, PathInfo, render_paths};
use crate::nix::{Environment, Listing};

/// How many store paths are named.
const NAMED: usize = 10;

impl Story<'_> {
    /// The environment with the bytes that the lock names: as it was realised, or with those of the volume and of caches
    /// in the place of what was built differently.
    pub(super) async fn with_locked_bytes(
        &self,
        environment: Environment,
        up: &BoxUp,
    ) -> Result<Environment> {
        let Some(section) = self.locked.section(environment.system) else { return Ok(environment) };
        let listing = environment.listing();
        if listing.fingerprint() == section.fingerprint {
            return Ok(environment);
        }
        let known = known_listing(&self.cx.paths, &up.guest, &self.project_name, &section.fingerprint).await;
        let Some(known) = known else {
            let paths = unlike_packages(section, &listing);
            return Err(self.refuse_bytes(&environment, section, paths).detail(
                "the list of all store paths of the lock is neither on this machine nor on the volume",
            ));
        };
        let differ = plan_differing(&known, &listing);
        let wanted = differ.iter().map(|path| (path.as_str(), known.0[path].hash.as_str())).collect();
        let found = locked::get(&up.guest, &wanted).await?;
        let lost = found.iter().filter(|(_, from)| matches!(from, From::Other | From::Nowhere));
        let lost: Vec<String> = lost
            .map(|(path, from)| match from {
                From::Other => format!("{path}, of which the volume has other bytes"),
                _ => path.clone(),
            })
            .collect();
        if !lost.is_empty() {
            return Err(self.refuse_bytes(&environment, section, lost));
        }
        self.cx.ui.events.warn(render_taken(&found));
        Ok(with_bytes(environment, &known))
    }

    fn refuse_bytes(&self, environment: &Environment, section: &Section, paths: Vec<String>) -> Error {
        let more = paths.len().saturating_sub(NAMED);
        let more = (more > 0).then(|| format!("and {more} more"));
        Error::new(
            Kind::Differs,
            format!("what was built has the store paths of `{FILE}`, and other bytes, and those of the lock are not to be had"),
        )
        .detail(format!("lock   {}", section.fingerprint))
        .detail(format!("built  {}", environment.fingerprint))
        .details(paths.into_iter().take(NAMED).chain(more))
        .hint("a volume on which it ran has them, as has a cache that was given them: `caches.substituters`")
        .hint(format!(
            "`{}` takes what was built into the lock",
            self.lock_command(environment.system, " --update")
        ))
    }
}

/// The store paths of the lock that were not built with its bytes. Pure.
fn plan_differing(locked: &Listing, built: &Listing) -> Vec<String> {
    locked
        .0
        .iter()
        .filter(|(path, nar)| built.0.get(*path) != Some(nar))
        .map(|(path, _)| path.clone())
        .collect()
}

/// Where only the lock's own packages are known: those of them that were built with other bytes. Pure.
fn unlike_packages(section: &Section, built: &Listing) -> Vec<String> {
    let unlike =
        section.packages.values().filter(|p| built.0.get(&p.path).is_none_or(|nar| nar.hash != p.nar_hash));
    unlike.map(|package| package.path.clone()).collect()
}

/// The same environment with what the lock lists. Pure.
fn with_bytes(environment: Environment, locked: &Listing) -> Environment {
    let wrapper =
        environment.closure.0.get_key_value(&environment.output).map(|(p, i)| (p.clone(), i.clone()));
    let info = |path: &String, nar: &crate::nix::Nar| PathInfo {
        nar_hash: nar.hash.clone(),
        nar_size: nar.size,
        references: environment.closure.0.get(path).map(|info| info.references.clone()).unwrap_or_default(),
    };
    let paths = locked.0.iter().map(|(path, nar)| (path.clone(), info(path, nar)));
    let closure = Closure(paths.chain(wrapper).collect());
    Environment { fingerprint: locked.fingerprint(), closure, ..environment }
}

/// What was taken from where, as a person reads it. Pure.
fn render_taken(found: &BTreeMap<String, From>) -> String {
    let mut sources: BTreeMap<String, usize> = BTreeMap::new();
    for from in found.values() {
        let source = match from {
            From::Cache(cache) => cache.clone(),
            _ => "the volume".to_owned(),
        };
        *sources.entry(source).or_default() += 1;
    }
    let sources: Vec<String> = sources.iter().map(|(from, many)| format!("{many} from {from}")).collect();
    let names: Vec<&str> = found.keys().filter_map(|path| path.get("/nix/store/".len() + 33..)).collect();
    let more = names.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!(
        "{} came out of the build with other bytes than `{FILE}` names ({}{more}): those of the lock are taken, {}",
        render_paths(found.len()),
        names.into_iter().take(NAMED).collect::<Vec<_>>().join(", "),
        sources.join(", "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nix::Nar;
    use proptest::prelude::*;

    fn path(name: &str) -> String {
        format!("/nix/store/4x1kkg1q61mvzx0z5hv15px24pv0axln-{name}")
    }

    fn listing(paths: &[(&str, &str)]) -> Listing {
        let nar = |hash: &str| Nar { hash: hash.repeat(64), size: 8 };
        Listing(paths.iter().map(|(name, hash)| (path(name), nar(hash))).collect())
    }

    #[test]
    fn what_differs_and_what_is_missing() {
        let locked = listing(&[("a", "1"), ("b", "2"), ("c", "3")]);
        let built = listing(&[("a", "1"), ("b", "9"), ("d", "4")]);
        assert_eq!(plan_differing(&locked, &built), [path("b"), path("c")]);
        assert!(plan_differing(&locked, &locked).is_empty());
    }

    #[test]
    fn it_is_said_what_was_taken() {
        let found = BTreeMap::from([
            (path("torch-2.8.0"), From::Volume),
            (path("triton-3"), From::Volume),
            (path("numpy"), From::Cache("https://cache.example".into())),
        ]);
        insta::assert_snapshot!(render_taken(&found), @"3 paths came out of the build with other bytes than `devbox.lock` names (numpy, torch-2.8.0, triton-3): those of the lock are taken, 1 from https://cache.example, 2 from the volume");
    }

    proptest! {
        /// With those of the lock in their place nothing differs, and the fingerprint is the lock's.
        #[test]
        fn then_it_is_the_lock(
            locked in proptest::collection::btree_map("[a-d]", "[1-3]", 0..4),
            built in proptest::collection::btree_map("[a-d]", "[1-3]", 0..4),
        ) {
            let of = |map: &BTreeMap<String, String>| {
                listing(&map.iter().map(|(name, hash)| (name.as_str(), hash.as_str())).collect::<Vec<_>>())
            };
            let (locked, built) = (of(&locked), of(&built));
            let output = path("env");
            let info = |nar: &Nar| PathInfo { nar_hash: nar.hash.clone(), nar_size: nar.size, references: vec![] };
            let mut closure: BTreeMap<String, PathInfo> = built.0.iter().map(|(p, nar)| (p.clone(), info(nar))).collect();
            closure.insert(output.clone(), info(&Nar { hash: "e".repeat(64), size: 1 }));
            let environment = Environment {
                system: crate::names::System::X86_64Linux,
                derivation: path("env.drv"),
                output,
                script: vec![],
                fingerprint: built.fingerprint(),
                closure: Closure(closure),
                guest_nix: None,
            };
            let environment = with_bytes(environment, &locked);
            prop_assert_eq!(environment.listing(), locked.clone());
            prop_assert_eq!(&environment.fingerprint, &locked.fingerprint());
            prop_assert!(plan_differing(&locked, &environment.listing()).is_empty());
        }
    }
}
