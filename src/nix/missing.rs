//! What realising derivations would build and fetch, as Nix says before it does it.
//!
//! Nix tells this in words only, and the words differ: 2.8 to 2.26 give sizes in MiB, newer ones choose the unit.

use std::time::Duration;

use crate::error::{Error, Kind, Result};
use crate::nix::closure::is_store_path;
use crate::nix::log::short_name;
use crate::process::Cmd;

/// Asking the caches for thousands of paths takes a while on a slow line.
const DEADLINE: Duration = Duration::from_secs(600);

/// What is missing of some derivations' outputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Missing {
    /// The derivations that would be built, in the order of their dependencies.
    pub build: Vec<String>,
    /// The store paths that would be fetched from caches.
    pub fetch: Vec<String>,
    /// What neither this store nor a cache has, and no derivation makes.
    pub unknown: Vec<String>,
    /// Bytes to be downloaded, as exactly as Nix says.
    pub download: u64,
    /// Bytes that they take unpacked.
    pub unpacked: u64,
}

impl Missing {
    /// Whether everything is there.
    pub fn is_nothing(&self) -> bool {
        self.build.is_empty() && self.fetch.is_empty() && self.unknown.is_empty()
    }

    /// The names of the derivations that would be built: `flash-attn-2.8.3`.
    pub fn build_names(&self) -> Vec<&str> {
        self.build.iter().map(|drv| derivation_name(drv)).collect()
    }
}

/// The name of a derivation, without folder, hash and `.drv`.
pub fn derivation_name(drv: &str) -> &str {
    let name = short_name(drv);
    name.strip_suffix(".drv").unwrap_or(name)
}

/// Asks what realising would do, and does nothing. `targets` are derivations, or store paths; `…drv!out` is
/// one output.
pub fn argv_missing(targets: &[String]) -> Cmd {
    Cmd::new("nix-store").args(["--realise", "--dry-run"]).args(targets).env("LC_ALL", "C").deadline(DEADLINE)
}

/// Reads what Nix said on standard error. Lines that say something else are passed over. Pure.
pub fn parse_missing(text: &str) -> Missing {
    enum List {
        Build,
        Fetch,
        Unknown,
        None,
    }
    let mut missing = Missing::default();
    let mut list = List::None;
    for line in text.lines() {
        let line = console::strip_ansi_codes(line);
        let path = line.trim();
        let is_item = line.starts_with(' ') && is_store_path(path);
        match (is_item, &list) {
            (true, List::Build) => missing.build.push(path.to_owned()),
            (true, List::Fetch) => missing.fetch.push(path.to_owned()),
            (true, List::Unknown) => missing.unknown.push(path.to_owned()),
            (true, List::None) => {}
            (false, _) if path.ends_with("will be built:") => list = List::Build,
            (false, _) if path.contains("will be fetched") => {
                (missing.download, missing.unpacked) = parse_sizes(path);
                list = List::Fetch;
            }
            (false, _) if path.starts_with("don't know how to build") => list = List::Unknown,
            // A warning may come between.
            (false, _) if path.starts_with("warning:") => {}
            (false, _) => list = List::None,
        }
    }
    missing
}

/// The sizes in `… (38.52 MiB download, 178.20 MiB unpacked):`; 0 where one is not there. Pure.
fn parse_sizes(line: &str) -> (u64, u64) {
    let Some((_, inside)) = line.rsplit_once('(') else { return (0, 0) };
    let size = |word: &str| {
        inside.split(',').find(|part| part.contains(word)).map_or(0, |part| {
            let words: Vec<&str> = part.split_whitespace().collect();
            parse_size(words.first().copied().unwrap_or_default(), words.get(1).copied().unwrap_or_default())
        })
    };
    (size("download"), size("unpacked"))
}

/// A number and its unit, in bytes. Pure.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative; what is too large is the largest"
)]
fn parse_size(number: &str, unit: &str) -> u64 {
    let Ok(number) = number.parse::<f64>() else { return 0 };
    let power = match unit {
        "KiB" => 1,
        "MiB" => 2,
        "GiB" => 3,
        "TiB" => 4,
        "PiB" => 5,
        _ => 0,
    };
    (number.max(0.0) * 1024_f64.powi(power)).round() as u64
}

/// What realising `targets` on this machine would build and fetch.
///
/// # Errors
/// [`Kind::Environment`] when Nix does not say.
pub async fn missing(targets: &[String]) -> Result<Missing> {
    if targets.is_empty() {
        return Ok(Missing::default());
    }
    let cmd = argv_missing(targets);
    let output = cmd.run().await.map_err(|e| e.with_kind(Kind::Environment))?;
    let found = parse_missing(&String::from_utf8_lossy(&output.stderr));
    // What nothing makes is a failure to Nix, and an answer to us.
    if output.status.success() || !found.is_nothing() {
        return Ok(found);
    }
    let why = cmd.failed(&output);
    Err(Error::new(Kind::Environment, "Nix does not say what is to be built")
        .details(why.detail_lines().iter().cloned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "/nix/store/v17l86hngzvw21q6y464w3j55qbn8ra6-hello-base.drv";
    const B: &str = "/nix/store/jxv4x9zqgj5hq82c44k72r6r8ka80lrs-greeting.drv";
    const P: &str = "/nix/store/4x1kkg1q61mvzx0z5hv15px24pv0axln-bin";

    #[test]
    fn captured_from_nix_2_8() {
        let found = parse_missing(&format!("these 2 derivations will be built:\n  {A}\n  {B}\n"));
        assert_eq!(found.build, [A, B]);
        assert_eq!(found.build_names(), ["hello-base", "greeting"]);
        assert_eq!(found.fetch, Vec::<String>::new());
        assert!(!found.is_nothing());
    }

    #[test]
    fn one_of_each_and_sizes_in_mebibytes() {
        let found = parse_missing(&format!(
            "warning: unknown setting 'x'\nthis derivation will be built:\n  {A}\n\
             this path will be fetched (0.04 MiB download, 1.50 MiB unpacked):\n  {P}\n"
        ));
        assert_eq!((found.build.as_slice(), found.fetch.as_slice()), (&[A.into()][..], &[P.into()][..]));
        assert_eq!((found.download, found.unpacked), (41_943, 1_572_864));
    }

    #[test]
    fn newer_ones_choose_the_unit() {
        let line = "these 2 paths will be fetched (38.5 KiB download, 1.2 GiB unpacked):";
        assert_eq!(parse_sizes(line), (39_424, 1_288_490_189));
        assert_eq!(parse_sizes("these paths will be fetched:"), (0, 0));
    }

    #[test]
    fn what_nobody_can_make_is_told_apart() {
        let found = parse_missing(&format!(
            "don't know how to build these paths (may be caused by read-only store access):\n  {P}\n"
        ));
        assert_eq!(found.unknown, [P]);
        assert!(found.build.is_empty());
    }

    #[test]
    fn nothing_said_is_nothing_missing() {
        assert!(parse_missing("").is_nothing());
        assert!(parse_missing("warning: you did not specify '--add-root'\n").is_nothing());
    }

    #[test]
    fn a_list_ends_where_something_else_is_said() {
        let found =
            parse_missing(&format!("this derivation will be built:\n  {A}\nsome other list:\n  {B}\n"));
        assert_eq!(found.build, [A]);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(.|\n){0,200}") {
            parse_missing(&text);
        }

        #[test]
        fn no_size_panics(number in ".{0,12}", unit in ".{0,4}", float in any::<f64>()) {
            parse_size(&number, &unit);
            parse_size(&float.to_string(), "PiB");
        }

        #[test]
        fn lists_go_round(builds in proptest::collection::vec("[0-9a-df-np-sv-z]{32}-[a-z]{1,9}\\.drv", 0..5),
                          fetches in proptest::collection::vec("[0-9a-df-np-sv-z]{32}-[a-z]{1,9}", 0..5)) {
            let list = |names: &[String]| names.iter().map(|n| format!("  /nix/store/{n}\n")).collect::<String>();
            let mut text = String::new();
            if !builds.is_empty() {
                text.push_str(&format!("these {} derivations will be built:\n{}", builds.len(), list(&builds)));
            }
            if !fetches.is_empty() {
                text.push_str(&format!("these {} paths will be fetched (1.00 MiB download, 2.00 MiB unpacked):\n{}", fetches.len(), list(&fetches)));
            }
            let found = parse_missing(&text);
            prop_assert_eq!(found.build.len(), builds.len());
            prop_assert_eq!(found.fetch.len(), fetches.len());
            prop_assert_eq!(found.download, if fetches.is_empty() { 0 } else { 1 << 20 });
        }
    }
}
