//! Closures and their fingerprints.

use std::collections::BTreeMap;
use std::fmt;

use nix_derivation::store_path::StorePath;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::nix::listing::Listing;

/// What Nix's database says of one store path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathInfo {
    /// The SHA-256 of its NAR, in lower-case hexadecimal.
    pub nar_hash: String,
    /// The size of its NAR in bytes.
    pub nar_size: u64,
    /// The store paths it refers to; itself too where it does.
    pub references: Vec<String>,
}

/// A set of store paths that holds all they refer to, keyed by store path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closure(pub BTreeMap<String, PathInfo>);

impl Closure {
    /// The bytes of all its NARs.
    pub fn bytes(&self) -> u64 {
        self.0.values().map(|p| p.nar_size).sum()
    }

    /// Its store paths, sorted.
    pub fn paths(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// The fingerprint, leaving out `wrapper`, Nix's own `…-env` path: the SHA-256 of its [`Listing`]'s text.
    pub fn fingerprint(&self, wrapper: &str) -> Fingerprint {
        Listing::of(self, wrapper).fingerprint()
    }
}

/// The identity of an environment: 64 hexadecimal digits. Equal fingerprints mean the same store
/// paths with the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub String);

impl Fingerprint {
    /// Enough of it to tell environments apart by eye.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Whether `text` is a store path under `/nix/store`, with nothing behind it.
pub fn is_store_path(text: &str) -> bool {
    StorePath::from_absolute_path(text.as_bytes()).is_ok()
}

/// Reads registrations as `nix-store --dump-db` prints them: path, NAR hash, NAR size, deriver,
/// number of references, the references, each on a line of its own.
///
/// # Errors
/// [`Kind::Environment`], naming the record, where the text is no such list.
pub fn parse_registrations(text: &str) -> Result<Closure> {
    let bad = |what: &str, record: usize| {
        Error::new(Kind::Environment, format!("record {record} of Nix's registrations has no {what}")).hint(
            "`nix-store --dump-db` printed something unexpected; please report it with the version of Nix",
        )
    };
    let mut closure = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(path) = lines.next() {
        let record = closure.len() + 1;
        if !is_store_path(path) {
            return Err(bad("store path", record));
        }
        let hash = lines.next().map(|h| h.strip_prefix("sha256:").unwrap_or(h));
        let nar_hash = hash
            .filter(|h| h.len() == 64 && h.chars().all(|c| c.is_ascii_hexdigit()))
            .ok_or_else(|| bad("NAR hash", record))?
            .to_ascii_lowercase();
        let nar_size = lines.next().and_then(|n| n.parse().ok()).ok_or_else(|| bad("NAR size", record))?;
        lines.next().ok_or_else(|| bad("deriver", record))?;
        let count: usize =
            lines.next().and_then(|n| n.parse().ok()).ok_or_else(|| bad("count of references", record))?;
        let references: Vec<String> = lines.by_ref().take(count).map(str::to_owned).collect();
        if references.len() != count || !references.iter().all(|r| is_store_path(r)) {
            return Err(bad("full list of references", record));
        }
        closure.insert(path.to_owned(), PathInfo { nar_hash, nar_size, references });
    }
    Ok(Closure(closure))
}

/// Writes registrations in the form that `nix-store --load-db` reads. Derivers are left out: the
/// derivations are not there.
pub fn render_registrations(closure: &Closure) -> String {
    let mut text = String::new();
    for (path, info) in &closure.0 {
        text.push_str(&format!(
            "{path}\n{}\n{}\n\n{}\n",
            info.nar_hash,
            info.nar_size,
            info.references.len()
        ));
        for reference in &info.references {
            text.push_str(reference);
            text.push('\n');
        }
    }
    text
}

/// So many store paths, as a person reads it.
pub fn render_paths(count: usize) -> String {
    if count == 1 { "1 path".to_owned() } else { format!("{count} paths") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    const A: &str = "/nix/store/4x1kkg1q61mvzx0z5hv15px24pv0axln-bin";
    const B: &str = "/nix/store/v7xa9h0xla15ciz778yn8rhiq4562fpz-a-1";

    fn info(byte: char, size: u64, references: &[&str]) -> PathInfo {
        PathInfo {
            nar_hash: byte.to_string().repeat(64),
            nar_size: size,
            references: references.iter().map(|r| (*r).to_owned()).collect(),
        }
    }

    fn two() -> Closure {
        Closure(BTreeMap::from([(A.into(), info('a', 10, &[])), (B.into(), info('b', 20, &[A, B]))]))
    }

    #[test]
    fn registrations_go_round() {
        assert_eq!(parse_registrations(&render_registrations(&two())).unwrap(), two());
    }

    #[test]
    fn captured_from_nix_2_8() {
        let text = format!(
            "{A}\n{}\n4323616\n\n0\n{B}\n{}\n488\n/nix/store/r9hmymlx5mjvs3fgycxsh8ddfdskgvyd-a-1.drv\n1\n{A}\n",
            "1".repeat(64),
            "2".repeat(64)
        );
        let closure = parse_registrations(&text).unwrap();
        assert_eq!(closure.bytes(), 4_323_616 + 488);
        assert_eq!(closure.0[B].references, [A]);
    }

    #[test]
    fn a_cut_off_answer_is_an_error_not_a_smaller_closure() {
        let whole = render_registrations(&two());
        let lines: Vec<_> = whole.lines().collect();
        for keep in 1..lines.len() {
            let cut = lines[..keep].join("\n");
            match parse_registrations(&cut) {
                Ok(closure) => assert_eq!(closure.0.len(), 1, "{keep} lines: one whole record"),
                Err(e) => assert_eq!(e.kind(), Kind::Environment),
            }
        }
    }

    #[test]
    fn the_wrapper_does_not_count() {
        let mut other = two();
        other.0.insert("/nix/store/r9hmymlx5mjvs3fgycxsh8ddfdskgvyd-x-env".into(), info('c', 5, &[B]));
        assert_eq!(
            other.fingerprint("/nix/store/r9hmymlx5mjvs3fgycxsh8ddfdskgvyd-x-env"),
            two().fingerprint("/nix/store/none")
        );
        assert_ne!(other.fingerprint("none"), two().fingerprint("none"));
    }

    #[test]
    fn the_fingerprint_is_the_documented_hash() {
        let text = format!("{A} sha256:{} 10\n{B} sha256:{} 20\n", "a".repeat(64), "b".repeat(64));
        let expected: String = Sha256::digest(text).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(two().fingerprint("").0, expected);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(.|\n){0,200}") {
            drop(parse_registrations(&text));
        }

        #[test]
        fn one_changed_byte_count_changes_the_fingerprint(size in 0u64..u64::MAX / 2) {
            let mut one = two();
            one.0.insert(A.into(), info('a', size, &[]));
            prop_assert_eq!(one.fingerprint("") == two().fingerprint(""), size == 10);
        }
    }
}
