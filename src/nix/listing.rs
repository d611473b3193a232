//! What a fingerprint is made of: store paths, each with hash and size of its NAR.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::error::{Error, Kind, Result};
use crate::nix::closure::{Closure, Fingerprint, is_store_path};

/// A store path's bytes, as Nix counts them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nar {
    /// The SHA-256 of its NAR, in lower-case hexadecimal.
    pub hash: String,
    /// The size of its NAR in bytes.
    pub size: u64,
}

/// Store paths with their NARs. Its text is what is kept as `.paths`, and that text's SHA-256 is the fingerprint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing(pub BTreeMap<String, Nar>);

impl Listing {
    /// That of a closure, leaving out `wrapper`, Nix's own `…-env` path: it differs with the version of Nix that wrote it
    /// (design.md, Words).
    pub fn of(closure: &Closure, wrapper: &str) -> Self {
        let paths = closure.0.iter().filter(|(path, _)| *path != wrapper);
        Self(
            paths
                .map(|(path, info)| (path.clone(), Nar { hash: info.nar_hash.clone(), size: info.nar_size }))
                .collect(),
        )
    }

    /// One line for each store path, sorted: the path, `sha256:` and the NAR hash, the NAR size, set apart by one blank.
    pub fn render(&self) -> String {
        self.0.iter().map(|(path, nar)| format!("{path} sha256:{} {}\n", nar.hash, nar.size)).collect()
    }

    /// The SHA-256 of its text.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(hex_sha256(self.render().as_bytes()))
    }

    /// The bytes of all NARs.
    pub fn bytes(&self) -> u64 {
        self.0.values().fold(0, |sum, nar| sum.saturating_add(nar.size))
    }

    /// The store paths that both have, with other bytes.
    pub fn other_bytes(&self, other: &Self) -> Vec<String> {
        let differs = |(path, nar): &(&String, &Nar)| other.0.get(*path).is_some_and(|o| o.hash != nar.hash);
        self.0.iter().filter(differs).map(|(path, _)| path.clone()).collect()
    }
}

/// The SHA-256 of some bytes, in lower-case hexadecimal.
pub fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// Whether `text` is the SHA-256 of something, in lower-case hexadecimal.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
}

/// Reads what [`Listing::render`] wrote.
///
/// # Errors
/// [`Kind::Failed`], naming the line, where it is no such text.
pub fn parse_listing(text: &str) -> Result<Listing> {
    let mut listing = Listing::default();
    for (n, line) in text.lines().enumerate() {
        let bad = || Error::new(Kind::Failed, format!("line {} is no `STORE-PATH sha256:HASH SIZE`", n + 1));
        let mut words = line.split(' ');
        let (path, hash, size) = (words.next(), words.next(), words.next());
        let path = path.filter(|p| is_store_path(p)).ok_or_else(bad)?;
        let hash = hash.and_then(|h| h.strip_prefix("sha256:")).filter(|h| is_sha256(h)).ok_or_else(bad)?;
        let size = size.and_then(|s| s.parse().ok()).filter(|_| words.next().is_none()).ok_or_else(bad)?;
        listing.0.insert(path.to_owned(), Nar { hash: hash.to_owned(), size });
    }
    Ok(listing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_listing_goes_round(entries in proptest::collection::btree_map("[0-9a-df-np-sv-z]{32}-[a-z]{1,8}", ("[0-9a-f]{64}", any::<u64>()), 0..6)) {
            let paths = entries.into_iter().map(|(name, (hash, size))| (format!("/nix/store/{name}"), Nar { hash, size }));
            let listing = Listing(paths.collect());
            prop_assert_eq!(&parse_listing(&listing.render()).unwrap(), &listing);
            prop_assert!(listing.other_bytes(&listing).is_empty());
        }

        #[test]
        fn no_text_panics(text in "(.|\n){0,200}") {
            drop(parse_listing(&text));
        }
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        let good = format!("/nix/store/4x1kkg1q61mvzx0z5hv15px24pv0axln-a sha256:{} 5", "a".repeat(64));
        for bad in ["x", &format!("{good} 1"), &good.replace("sha256:", ""), &good.replace(" 5", "")] {
            let error = parse_listing(&format!("{good}\n{bad}\n")).unwrap_err();
            assert!(error.message().starts_with("line 2 "), "{error}");
        }
    }
}
