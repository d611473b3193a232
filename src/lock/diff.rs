//! What is different between two environments: packages with their versions and sizes, the closure, the rest counted.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::lock::packages::{named_packages, parse_name};
use crate::lock::{Package, Section};
use crate::nix::Listing;
use crate::ui::table::{Cell, Column, render_table};

/// One of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// The packages that people care about, by their names.
    pub packages: BTreeMap<String, Item>,
    /// The bytes of all NARs, where that is known.
    pub size: Option<u64>,
    /// All store paths, where these are known.
    pub listing: Option<Listing>,
}

/// A package, as far as it is known: what is not built yet has neither bytes nor size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Item {
    /// Its version, where its name has one.
    pub version: Option<String>,
    /// Its store path.
    pub path: String,
    /// The SHA-256 of its NAR.
    pub nar_hash: Option<String>,
    /// The size of its NAR in bytes.
    pub size: Option<u64>,
}

impl From<&Package> for Item {
    fn from(package: &Package) -> Self {
        Self {
            version: package.version.clone(),
            path: package.path.clone(),
            nar_hash: Some(package.nar_hash.clone()),
            size: Some(package.size),
        }
    }
}

impl Side {
    /// The packages of all these store paths.
    pub fn of_listing(listing: &Listing, patterns: &[String]) -> Self {
        let named = named_packages(listing, patterns);
        Self {
            packages: named.iter().map(|(name, package)| (name.clone(), package.into())).collect(),
            size: Some(listing.bytes()),
            listing: Some(listing.clone()),
        }
    }

    /// What a section of a lock says; with `listing`, where somebody has kept it.
    pub fn of_section(section: &Section, listing: Option<Listing>) -> Self {
        Self {
            packages: section.packages.iter().map(|(name, package)| (name.clone(), package.into())).collect(),
            size: Some(section.size),
            listing,
        }
    }
}

/// What became of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It has another version.
    Version,
    /// It is another build of that version: its store path is another.
    Rebuilt,
    /// Its store path is the same, its bytes are not.
    Bytes,
}

/// A package that is different.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its name in the lock.
    pub name: String,
    /// What became of it.
    pub how: How,
    /// What it was.
    pub from: Option<Item>,
    /// What it is.
    pub to: Option<Item>,
}

/// Store paths that are different and are no packages that people care about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Others {
    /// New ones.
    pub added: usize,
    /// Those that are gone.
    pub removed: usize,
    /// Those in whose place there is another of the same name, and those with other bytes.
    pub changed: usize,
}

/// What is different.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Packages, by their names.
    pub packages: Vec<Change>,
    /// The bytes of the closure before.
    pub size_from: Option<u64>,
    /// The bytes of the closure after.
    pub size_to: Option<u64>,
    /// The rest; nothing where not all store paths of both are known.
    pub others: Option<Others>,
}

impl Diff {
    /// From one to the other.
    pub fn new(from: &Side, to: &Side) -> Self {
        let names: std::collections::BTreeSet<_> = from.packages.keys().chain(to.packages.keys()).collect();
        let packages: Vec<Change> = names
            .into_iter()
            .filter_map(|name| change(name, from.packages.get(name), to.packages.get(name)))
            .collect();
        let others = match (&from.listing, &to.listing) {
            (Some(one), Some(other)) => Some(others(one, other, &packages)),
            _ => None,
        };
        Self { packages, size_from: from.size, size_to: to.size, others }
    }

    /// Whether nothing is, as far as that is known.
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty() && self.others.is_none_or(|others| others == Others::default())
    }
}

fn change(name: &str, from: Option<&Item>, to: Option<&Item>) -> Option<Change> {
    let how = match (from, to) {
        (None, None) => return None,
        (None, Some(_)) => How::Added,
        (Some(_), None) => How::Removed,
        (Some(from), Some(to)) if from.version != to.version => How::Version,
        (Some(from), Some(to)) if from.path != to.path => How::Rebuilt,
        (Some(from), Some(to)) => match (&from.nar_hash, &to.nar_hash) {
            (Some(one), Some(other)) if one != other => How::Bytes,
            _ => return None,
        },
    };
    Some(Change { name: name.to_owned(), how, from: from.cloned(), to: to.cloned() })
}

/// Counts what is different beside the packages.
fn others(from: &Listing, to: &Listing, packages: &[Change]) -> Others {
    let told = |path: &String| {
        packages.iter().any(|c| [&c.from, &c.to].into_iter().flatten().any(|item| item.path == *path))
    };
    let only = |one: &Listing, other: &Listing| {
        let mut keys: BTreeMap<String, usize> = BTreeMap::new();
        for path in one.0.keys().filter(|path| !other.0.contains_key(*path) && !told(path)) {
            *keys.entry(parse_name(path).key()).or_default() += 1;
        }
        keys
    };
    let (gone, new) = (only(from, to), only(to, from));
    let paired: usize = gone.iter().map(|(key, n)| new.get(key).map_or(0, |m| *n.min(m))).sum();
    let bytes = from.other_bytes(to).iter().filter(|path| !told(path)).count();
    Others {
        added: new.values().sum::<usize>() - paired,
        removed: gone.values().sum::<usize>() - paired,
        changed: paired + bytes,
    }
}

const COLUMNS: [Column; 4] = [
    Column::new("PACKAGE").flexible(12),
    Column::new("FROM").flexible(10),
    Column::new("TO").flexible(10),
    Column::new("SIZE").right().optional(1),
];

/// Bytes as people read them.
fn bytes(n: u64) -> String {
    indicatif::BinaryBytes(n).to_string()
}

/// From one size to another, as people read it.
fn from_to(from: u64, to: u64) -> String {
    let (sign, by) = if to < from { ("-", from - to) } else { ("+", to - from) };
    match bytes(from) == bytes(to) {
        true if by == 0 => bytes(to),
        _ => format!("{} → {} ({sign}{})", bytes(from), bytes(to), bytes(by)),
    }
}

/// How large a package is, or was and is. Of what is to come nobody knows that before it is built.
fn size_of(change: &Change) -> Option<String> {
    let size = |item: &Option<Item>| item.as_ref().and_then(|item| item.size);
    match (size(&change.from), size(&change.to)) {
        (Some(from), Some(to)) if bytes(from) != bytes(to) => {
            Some(format!("{} → {}", bytes(from), bytes(to)))
        }
        (_, Some(size)) => Some(bytes(size)),
        (Some(size), None) if change.to.is_none() => Some(bytes(size)),
        _ => None,
    }
}

fn row(change: &Change) -> Vec<Cell> {
    // What has no version is told apart by the beginning of its hash.
    let says = |item: &Option<Item>| {
        let item = item.as_ref()?;
        let hash = || item.path.trim_start_matches("/nix/store/").chars().take(8).collect();
        Some(item.version.clone().unwrap_or_else(hash))
    };
    let to = says(&change.to).unwrap_or_default();
    let to = match change.how {
        How::Rebuilt if change.to.as_ref().is_some_and(|item| item.version.is_some()) => {
            format!("{to}, rebuilt")
        }
        How::Bytes => format!("{to}, other bytes"),
        _ => to,
    };
    let size = size_of(change).unwrap_or_default();
    vec![change.name.as_str().into(), says(&change.from).unwrap_or_default().into(), to.into(), size.into()]
}

/// What is different, as a person reads it, `width` columns wide: a table, then the rest in words.
pub fn render_diff(diff: &Diff, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    if !diff.packages.is_empty() {
        let mut rows: Vec<_> = diff.packages.iter().map(row).collect();
        let has_sizes = diff.packages.iter().any(|c| size_of(c).is_some());
        let columns = if has_sizes { &COLUMNS[..] } else { &COLUMNS[..3] };
        rows.iter_mut().for_each(|row| row.truncate(columns.len()));
        lines.extend(render_table(columns, &rows, width).lines().map(str::to_owned));
    }
    if let (Some(from), Some(to)) = (diff.size_from, diff.size_to) {
        lines.push(format!("closure  {}", from_to(from, to)));
    }
    if let Some(others) = diff.others.filter(|o| *o != Others::default()) {
        let Others { added, removed, changed } = others;
        let parts = [(added, "added"), (removed, "removed"), (changed, "changed")];
        let parts = parts.iter().filter(|(n, _)| *n > 0).map(|(n, how)| format!("{n} {how}"));
        let (other, paths) = match (diff.packages.is_empty(), added + removed + changed) {
            (true, 1) => ("", "store path"),
            (true, _) => ("", "store paths"),
            (false, 1) => ("other ", "store path"),
            (false, _) => ("other ", "store paths"),
        };
        lines.push(format!("{other}{paths}: {}", parts.collect::<Vec<_>>().join(", ")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nix::Nar;
    use proptest::prelude::*;

    fn listing(paths: &[(char, &str, char, u64)]) -> Listing {
        let entry = |(hash, name, nar, size): &(char, &str, char, u64)| {
            let path = format!("/nix/store/{}-{name}", hash.to_string().repeat(32));
            (path, Nar { hash: nar.to_string().repeat(64), size: *size })
        };
        Listing(paths.iter().map(entry).collect())
    }

    fn side(listing: &Listing) -> Side {
        let named = crate::lock::packages::named_packages(listing, &["tool".to_owned()]);
        Side {
            packages: named.iter().map(|(name, package)| (name.clone(), package.into())).collect(),
            size: Some(listing.bytes()),
            listing: Some(listing.clone()),
        }
    }

    fn before() -> Listing {
        listing(&[
            ('1', "python3.12-torch-2.7.1", 'a', 1_300_000_000),
            ('2', "python3-3.12.11", 'b', 60_000_000),
            ('3', "python3.12-triton-3.3.0", 'c', 500_000_000),
            ('4', "cudnn-9.8.0", 'd', 700_000_000),
            ('5', "tool", 'e', 1000),
            ('6', "glibc-2.40", 'f', 40_000_000),
            ('7', "zlib-1.3", 'a', 100_000),
            ('8', "gone-1", 'a', 100_000),
        ])
    }

    fn after() -> Listing {
        listing(&[
            ('a', "python3.12-torch-2.8.0", 'a', 1_400_000_000),
            ('b', "python3-3.12.11", 'b', 60_000_000),
            ('c', "python3.12-flash-attn-2.8.2", 'c', 200_000_000),
            ('4', "cudnn-9.8.0", 'e', 700_000_000),
            ('d', "tool", 'e', 1200),
            ('9', "glibc-2.40", 'f', 40_000_000),
            ('7', "zlib-1.3", 'b', 100_000),
            ('f', "new-1", 'b', 100_000),
        ])
    }

    #[test]
    fn every_kind_of_change() {
        let diff = Diff::new(&side(&before()), &side(&after()));
        let at = |width: usize| format!("--- {width}\n{}\n", render_diff(&diff, width).join("\n"));
        insta::assert_snapshot!([80, 44].map(at).concat());
        assert!(Diff::new(&side(&before()), &side(&before())).is_empty());
        assert_eq!(render_diff(&Diff::new(&side(&before()), &side(&before())), 80), ["closure  2.42 GiB"]);
    }

    #[test]
    fn what_is_not_built_yet_has_no_size() {
        let from = side(&before());
        let mut to = side(&after());
        to.listing = None;
        to.size = None;
        to.packages.values_mut().for_each(|item| (item.size, item.nar_hash) = (None, None));
        insta::assert_snapshot!(render_diff(&Diff::new(&from, &to), 80).join("\n"));
    }

    proptest! {
        #[test]
        fn every_path_is_told_once(
            one in proptest::collection::btree_map("[1-9]{1}", ("(torch-1|torch-2|a|b|tool)", 1u64..5), 0..7),
            two in proptest::collection::btree_map("[1-9]{1}", ("(torch-1|torch-2|a|b|tool)", 1u64..5), 0..7),
        ) {
            let make = |of: &BTreeMap<String, (String, u64)>| {
                let paths: Vec<_> = of.iter().map(|(h, (name, nar))| (h.chars().next().unwrap(), name.as_str(), char::from_digit(*nar as u32, 10).unwrap(), *nar)).collect();
                listing(&paths)
            };
            let (one, two) = (make(&one), make(&two));
            let diff = Diff::new(&side(&one), &side(&two));
            let others = diff.others.unwrap();
            let gone = one.0.keys().filter(|p| !two.0.contains_key(*p)).count();
            let new = two.0.keys().filter(|p| !one.0.contains_key(*p)).count();
            let told: usize = diff.packages.iter().map(|c| usize::from(c.from.is_some()) + usize::from(c.to.is_some())).sum();
            let bytes = one.other_bytes(&two).len();
            // A changed path is one on either side, other bytes are one path.
            prop_assert!(told + others.added + others.removed + 2 * others.changed >= gone + new);
            prop_assert_eq!(diff.is_empty(), gone + new + bytes == 0);
        }
    }
}
