//! Which store paths of an environment are packages that people care about, and what these are called.

use std::collections::BTreeMap;

use crate::lock::Package;
use crate::nix::Listing;
use crate::nix::log::short_name;

/// Suffixes of store path names behind the version, as nixpkgs names outputs. `env` is that of `python.withPackages`.
const OUTPUTS: [&str; 16] = [
    "bin", "cxxdev", "debug", "dev", "devdoc", "dist", "doc", "env", "include", "info", "lib", "man", "out",
    "sample", "static", "stubs",
];

/// What is no package, though it may be called like one: helpers of a build.
const HELPERS: [&str; 6] = ["-hook", ".sh", ".patch", ".diff", ".nix", "-source"];

/// The name of a store path, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// `python3.12-torch`; never empty for a store path.
    pub name: String,
    /// `2.8.0`, where there is one.
    pub version: Option<String>,
    /// `lib`, where it is not the main output.
    pub output: Option<String>,
}

/// Takes the name of a store path apart as Nix does: the version begins at the first `-` with no letter behind it.
pub fn parse_name(store_path: &str) -> Name {
    let text = short_name(store_path);
    let bytes = text.as_bytes();
    let dash = (0..bytes.len()).find(|at| {
        bytes[*at] == b'-'
            && bytes.get(at + 1).is_some_and(|next| !next.is_ascii_alphabetic() && *next != b'-')
    });
    let Some((name, version)) = dash.filter(|at| *at > 0).map(|at| (&text[..at], &text[at + 1..])) else {
        return Name { name: text.to_owned(), version: None, output: None };
    };
    let (version, output) = match version.rsplit_once('-') {
        Some((version, output)) if OUTPUTS.contains(&output) => (version, Some(output.to_owned())),
        _ => (version, None),
    };
    Name { name: name.to_owned(), version: Some(version.to_owned()), output }
}

impl Name {
    /// Without the prefix of nixpkgs' package sets: `python3.12-torch` is `torch`, `cuda12.8-libcublas` is `libcublas`.
    pub fn bare(&self) -> &str {
        let of_set = |set: &str| {
            let (version, rest) = self.name.strip_prefix(set)?.split_once('-')?;
            let is_version = version.starts_with(|c: char| c.is_ascii_digit())
                && version.chars().all(|c| c.is_ascii_digit() || "._".contains(c));
            (is_version && !rest.is_empty()).then_some(rest)
        };
        of_set("python").or_else(|| of_set("cuda")).unwrap_or(&self.name)
    }

    /// What the lock calls it, where nothing else is called so.
    pub fn key(&self) -> String {
        match &self.output {
            Some(output) => format!("{}-{output}", self.bare()),
            None => self.bare().to_owned(),
        }
    }

    /// Whether it is one of those that decide about CUDA and PyTorch.
    fn is_known(&self) -> bool {
        let bare = self.bare().replace('_', "-").to_ascii_lowercase();
        let python =
            bare.strip_prefix("python").is_some_and(|v| v.chars().all(|c| c.is_ascii_digit() || c == '.'));
        let exact = ["torch", "flash-attn", "flash-attention", "triton"].contains(&bare.as_str());
        python
            || exact
            || self.name.starts_with("cuda")
            || ["cuda", "cudnn"].iter().any(|p| bare.starts_with(p))
    }

    /// Whether one of `patterns` means it: a name with or without its prefix, a `*` at the end stands for any rest.
    fn is_meant(&self, patterns: &[String]) -> bool {
        patterns.iter().any(|pattern| is_meant_by(pattern, self))
    }
}

/// Whether a pattern means a name.
pub fn is_meant_by(pattern: &str, name: &Name) -> bool {
    let key = name.key();
    let names = [name.bare(), name.name.as_str(), key.as_str()];
    match pattern.strip_suffix('*') {
        Some(start) => names.iter().any(|n| n.starts_with(start)),
        None => names.contains(&pattern),
    }
}

/// The name of a store path that people care about, or that `patterns` mean.
pub fn name_if_cared_for(path: &str, patterns: &[String]) -> Option<Name> {
    if HELPERS.iter().any(|end| path.ends_with(end)) {
        return None;
    }
    Some(parse_name(path)).filter(|name| name.is_known() || name.is_meant(patterns))
}

/// The packages of a listing that people care about: those that decide about CUDA and PyTorch, and those that `patterns`
/// mean. By their names; where several have one name, with their versions, and where that does not tell them apart, with
/// the beginning of their hashes.
pub fn named_packages(listing: &Listing, patterns: &[String]) -> BTreeMap<String, Package> {
    let named: Vec<(Name, Package)> = listing
        .0
        .iter()
        .filter_map(|(path, nar)| Some((name_if_cared_for(path, patterns)?, path, nar)))
        .map(|(name, path, nar)| {
            let version = name.version.clone();
            let package = Package { version, path: path.clone(), nar_hash: nar.hash.clone(), size: nar.size };
            (name, package)
        })
        .collect();
    let keys = unique_keys(&named);
    keys.into_iter().zip(named).map(|(key, (_, package))| (key, package)).collect()
}

/// A key for each, no two alike.
fn unique_keys(named: &[(Name, Package)]) -> Vec<String> {
    let short: Vec<String> = named.iter().map(|(name, _)| name.key()).collect();
    let long: Vec<String> = named.iter().map(|(name, _)| long_key(name)).collect();
    let alone = |key: &String, among: &[String]| among.iter().filter(|k| *k == key).count() == 1;
    let pick = |at: usize| {
        if alone(&short[at], &short) {
            short[at].clone()
        } else if alone(&long[at], &long) && !short.contains(&long[at]) {
            long[at].clone()
        } else {
            format!("{}-{}", long[at], hash_of(&named[at].1.path))
        }
    };
    (0..named.len()).map(pick).collect()
}

fn long_key(name: &Name) -> String {
    match &name.version {
        Some(version) => format!("{}-{version}", name.key()),
        None => name.key(),
    }
}

/// Enough of a store path's hash to tell it from others of its name.
fn hash_of(path: &str) -> &str {
    path.strip_prefix("/nix/store/").and_then(|rest| rest.get(..8)).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nix::Nar;
    use proptest::prelude::*;

    fn path(hash: u8, name: &str) -> String {
        format!("/nix/store/{}-{name}", char::from(b'0' + hash).to_string().repeat(32))
    }

    fn listing(names: &[&str]) -> Listing {
        let nar = || Nar { hash: "a".repeat(64), size: 1 };
        let at = |(n, name): (usize, &&str)| (path(u8::try_from(n).unwrap() % 10, name), nar());
        Listing(names.iter().enumerate().map(at).collect())
    }

    fn keys(names: &[&str], patterns: &[&str]) -> Vec<String> {
        let patterns: Vec<_> = patterns.iter().map(|p| (*p).to_owned()).collect();
        named_packages(&listing(names), &patterns).into_keys().collect()
    }

    #[test]
    fn names_are_taken_apart_as_nix_does() {
        let cases = [
            ("python3.12-torch-2.8.0", "python3.12-torch", Some("2.8.0"), None, "torch"),
            ("python3.12-torch-2.8.0-lib", "python3.12-torch", Some("2.8.0"), Some("lib"), "torch-lib"),
            ("python3-3.12.11-env", "python3", Some("3.12.11"), Some("env"), "python3-env"),
            (
                "cuda12.8-libcublas-12.8.4.1-lib",
                "cuda12.8-libcublas",
                Some("12.8.4.1"),
                Some("lib"),
                "libcublas-lib",
            ),
            ("cuda_cudart-12.8.90", "cuda_cudart", Some("12.8.90"), None, "cuda_cudart"),
            ("cuda-merged-12.8", "cuda-merged", Some("12.8"), None, "cuda-merged"),
            ("hello-tools", "hello-tools", None, None, "hello-tools"),
            ("a-b-1-2024-01-02", "a-b", Some("1-2024-01-02"), None, "a-b"),
            ("-1", "-1", None, None, "-1"),
        ];
        for (text, name, version, output, key) in cases {
            let parsed = parse_name(&path(1, text));
            let seen = (parsed.name.as_str(), parsed.version.as_deref(), parsed.output.as_deref());
            assert_eq!(seen, (name, version, output), "{text}");
            assert_eq!(parsed.key(), key, "{text}");
        }
    }

    #[test]
    fn what_decides_about_cuda_and_pytorch_is_named_and_what_helps_building_is_not() {
        let named = keys(
            &[
                "cuda12.8-cuda_cudart-12.8.90-lib",
                "cuda12.8-cudnn-9.8.0.87",
                "python3.12-flash-attn-2.8.2",
                "python3.12-triton-3.4.0",
                "python3-3.12.11",
                "cuda-setup-hook",
                "python3.12-numpy-2.2",
                "glibc-2.40",
            ],
            &[],
        );
        assert_eq!(named, ["cuda_cudart-lib", "cudnn", "flash-attn", "python3", "triton"]);
    }

    #[test]
    fn patterns_mean_names_with_and_without_their_prefix() {
        let names = ["python3.12-numpy-2.2", "hello-2.12", "hello-all", "greeting"];
        assert_eq!(keys(&names, &["numpy", "hello*"]), ["hello", "hello-all", "numpy"]);
        assert_eq!(keys(&names, &["python3.12-numpy"]), ["numpy"]);
        assert!(keys(&names, &["hell"]).is_empty());
    }

    #[test]
    fn names_that_several_have_are_told_apart() {
        let two =
            keys(&["python3-3.12.1", "python3-3.13.0", "python3.12-torch-2", "python3.13-torch-2"], &[]);
        assert_eq!(two, ["python3-3.12.1", "python3-3.13.0", "torch-2-22222222", "torch-2-33333333"]);
    }

    proptest! {
        #[test]
        fn no_package_is_lost(names in proptest::collection::vec("(python3.12-)?(torch|a|a-1)(-[0-9])?(-lib)?", 0..9)) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let all = keys(&names, &["*"]);
            prop_assert_eq!(all.len(), listing(&names).0.len());
        }

        #[test]
        fn no_name_panics(text in ".{0,40}") {
            let name = parse_name(&text);
            name.key();
            is_meant_by(&text, &name);
        }
    }
}
