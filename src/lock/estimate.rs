//! The packages of an environment that is not built yet.

use std::collections::BTreeMap;

use crate::lock::diff::{Item, Side};
use crate::lock::packages::{name_if_cared_for, parse_name};
use crate::nix::graph::Outlook;

/// How far from the dev shell a package may be to be taken for a part of it: what is farther away may only be needed for
/// building. A package of `python.withPackages` has the distance 2.
const NEAR: usize = 2;

/// What the project evaluates to, for a diff. What is here is exact. Of what is to come, a package that `before` has is
/// there as long as anything needs it, in the version that is nearest to the dev shell; others are new when they are near.
pub fn side_of_outlook(outlook: &Outlook, before: &BTreeMap<String, Item>, patterns: &[String]) -> Side {
    match outlook {
        Outlook::Here(listing) => Side::of_listing(listing, patterns),
        Outlook::ToCome(candidates) => {
            Side { packages: estimate(candidates, before, patterns), ..Side::default() }
        }
    }
}

fn estimate(
    candidates: &BTreeMap<String, usize>,
    before: &BTreeMap<String, Item>,
    patterns: &[String],
) -> BTreeMap<String, Item> {
    let mut packages = BTreeMap::new();
    // By their names without what tells several of one name apart, nearest first.
    let mut by_key: BTreeMap<String, Vec<(usize, &String)>> = BTreeMap::new();
    for (path, depth) in candidates {
        if let Some(name) = name_if_cared_for(path, patterns) {
            by_key.entry(name.key()).or_default().push((*depth, path));
        }
    }
    by_key.values_mut().for_each(|paths| paths.sort());
    let is_taken = |path: &String| before.values().any(|item| item.path == *path);
    let mut known = Vec::new();
    for (name, item) in before {
        let key = parse_name(&item.path).key();
        if candidates.contains_key(&item.path) {
            packages.insert(name.clone(), item.clone());
        } else if let Some((_, path)) =
            by_key.get(&key).and_then(|paths| paths.iter().find(|(_, path)| !is_taken(path)))
        {
            packages.insert(name.clone(), to_come(path));
        }
        known.push(key);
    }
    for (key, paths) in &by_key {
        if let (Some((_, path)), false) =
            (paths.iter().find(|(depth, _)| *depth <= NEAR), known.contains(key))
        {
            packages.insert(key.clone(), to_come(path));
        }
    }
    packages
}

fn to_come(path: &str) -> Item {
    Item { version: parse_name(path).version, path: path.to_owned(), nar_hash: None, size: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::diff::{Diff, render_diff};
    use crate::lock::tests::section;

    fn path(hash: char, name: &str) -> String {
        format!("/nix/store/{}-{name}", hash.to_string().repeat(32))
    }

    #[test]
    fn what_is_to_come_is_told_from_the_derivations() {
        let before = Side::of_section(&section(), None);
        let python = before.packages["python3"].path.clone();
        let candidates = [
            (python, 2),
            (path('1', "python3.12-torch-2.8.1"), 2),
            // What only its tests need.
            (path('2', "python3.12-torch-2.7.0"), 7),
            (path('3', "python3.12-flash-attn-2.8.3"), 2),
            (path('4', "cuda_nvcc-12.8.93"), 5),
            (path('5', "gcc-14"), 1),
        ];
        let now = side_of_outlook(&Outlook::ToCome(candidates.into()), &before.packages, &[]);
        insta::assert_snapshot!(render_diff(&Diff::new(&before, &now), 80).join("\n"));
        let nothing = side_of_outlook(&Outlook::ToCome(BTreeMap::new()), &before.packages, &[]);
        assert!(Diff::new(&before, &nothing).packages.iter().all(|c| c.to.is_none()));
    }
}
