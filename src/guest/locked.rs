//! Store paths with just the bytes that a lock names, as far as the box has them or its caches do.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::guest::script;
use crate::nix::closure::is_store_path;
use crate::ssh::Guest;

/// Caches may be slow.
const DEADLINE: Duration = Duration::from_secs(2 * 3600);

/// Where the bytes of a store path are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// The box's store has them: its volume had.
    Volume,
    /// They came from this cache.
    Cache(String),
    /// The box's store has others.
    Other,
    /// Neither the box nor a cache has them.
    Nowhere,
}

/// Has the box get them. `wanted` are store paths, each with the SHA-256 of its NAR.
///
/// # Errors
/// [`Kind::Guest`].
pub async fn get(guest: &Guest, wanted: &BTreeMap<&str, &str>) -> Result<BTreeMap<String, From>> {
    let input: String = wanted.iter().map(|(path, hash)| format!("{path} {hash}\n")).collect();
    let cmd = guest.command(&["sudo", &script("locked")]).input(input.into_bytes()).deadline(DEADLINE);
    let found = parse_found(&guest.checked(&cmd).await?.text());
    match wanted.keys().find(|path| !found.contains_key(**path)) {
        None => Ok(found),
        Some(path) => {
            Err(Error::new(Kind::Guest, format!("`{}` did not say whether it has `{path}`", guest.name))
                .hint(
                    "it may have been set up by another version of devbox: `devbox down`, then `devbox up`",
                ))
        }
    }
}

/// Reads what `locked.sh` printed; other lines are passed over. Pure.
fn parse_found(text: &str) -> BTreeMap<String, From> {
    let found = |line: &str| {
        let (path, from) = line.split_once(' ').filter(|(path, _)| is_store_path(path))?;
        let from = match from {
            "here" => From::Volume,
            "other" => From::Other,
            "none" => From::Nowhere,
            cache => From::Cache(cache.to_owned()),
        };
        Some((path.to_owned(), from))
    };
    text.lines().filter_map(found).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_box_found() {
        let path = |name: &str| format!("/nix/store/4x1kkg1q61mvzx0z5hv15px24pv0axln-{name}");
        let text = format!(
            "{} here\nwarning: odd\n{} other\n{} https://cache.nixos.org\n{} none\n",
            path("a"),
            path("b"),
            path("c"),
            path("d")
        );
        let found: Vec<From> = parse_found(&text).into_values().collect();
        assert_eq!(
            found,
            [From::Volume, From::Other, From::Cache("https://cache.nixos.org".into()), From::Nowhere]
        );
    }
}
