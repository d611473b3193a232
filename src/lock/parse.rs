//! Reading a lock: every slip with its place, its line and the way out.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::excerpt::{Position, excerpt, position};
use crate::config::nearest::hint_for_name;
use crate::error::{Error, Kind, Result};
use crate::lock::packages::parse_name;
use crate::lock::{Lock, Package, Section, VERSION};
use crate::names::{System, shown};
use crate::nix::Fingerprint;
use crate::nix::closure::is_store_path;
use crate::nix::listing::is_sha256;

const BY_HAND: &str = "devbox writes this file: `git checkout devbox.lock` brings it back as it was committed; where it is \
                       deleted, `devbox lock` writes it anew";

/// Reads a lock file. `path` is for messages.
///
/// # Errors
/// [`Kind::Usage`], with `PATH:LINE:COLUMN` and the line, where it is no lock of this version.
pub fn parse_lock(text: &str, path: &Path) -> Result<Lock> {
    let file = File { text, path };
    file.refuse_conflicts()?;
    let root = DeTable::parse(text).map_err(|e| {
        let span = e.span().unwrap_or(text.len()..text.len());
        file.wrong(&span, &format!("this is not TOML: {}", e.message().replace('\n', "; ")))
    })?;
    let root = Table { file: &file, name: "", span: 0..0, table: root.get_ref() };
    root.refuse_unless_version()?;
    let mut lock = Lock::default();
    for (key, value) in root.table {
        let name = key.get_ref().as_ref();
        if name == "version" {
            continue;
        }
        let system: System = name.parse().map_err(|e: Error| {
            let unknown = file.wrong(&key.span(), &format!("unknown section `[{}]`", shown(name)));
            e.hints().iter().fold(unknown, |unknown, hint| unknown.hint(hint))
        })?;
        let table = root.sub(name, &key.span(), value)?;
        lock.sections.insert(system, table.section()?);
    }
    Ok(lock)
}

struct File<'a> {
    text: &'a str,
    path: &'a Path,
}

impl File<'_> {
    fn at(&self, span: &Range<usize>, what: &str) -> Error {
        let Position { line, column } = position(self.text, span.start);
        Error::new(Kind::Usage, format!("{}:{line}:{column}: {what}", self.path.display()))
            .details(excerpt(self.text, span))
    }

    fn wrong(&self, span: &Range<usize>, what: &str) -> Error {
        self.at(span, what).hint(BY_HAND)
    }

    /// What git leaves where two branches have changed the same lines.
    fn refuse_conflicts(&self) -> Result<()> {
        let mut offset = 0;
        for line in self.text.split_inclusive('\n') {
            if ["<<<<<<< ", "||||||| ", ">>>>>>> "].iter().any(|mark| line.starts_with(mark)) {
                let span = offset..offset + line.trim_end().len();
                return Err(self.at(&span, "there are two versions of this file in it, from a merge").hint(
                    "keep either of them (`git checkout --ours devbox.lock`, or `--theirs`), then `devbox lock --update` \
                     writes what the project evaluates to",
                ));
            }
            offset += line.len();
        }
        Ok(())
    }
}

/// A table being read.
struct Table<'a> {
    file: &'a File<'a>,
    /// Its dotted path.
    name: &'a str,
    /// Where it begins.
    span: Range<usize>,
    table: &'a DeTable<'a>,
}

impl<'a> Table<'a> {
    fn refuse_unless_version(&self) -> Result<()> {
        let Some(value) = self.table.get("version") else {
            return Err(self.file.wrong(&self.span, "it has no `version`"));
        };
        match integer(value) {
            Some(VERSION) => Ok(()),
            Some(newer) if newer > VERSION => {
                let what = format!("it has version {newer}, and this devbox knows {VERSION}");
                Err(self.file.at(&value.span(), &what).hint("a newer devbox wrote it: upgrade yours"))
            }
            _ => Err(self.file.wrong(&value.span(), &format!("`version` must be {VERSION}"))),
        }
    }

    fn sub(&self, name: &'a str, span: &Range<usize>, value: &'a Spanned<DeValue<'a>>) -> Result<Table<'a>> {
        match value.get_ref() {
            DeValue::Table(table) => Ok(Table { file: self.file, name, span: span.clone(), table }),
            _ => Err(self.file.wrong(&value.span(), &format!("`{}` must be a table", shown(name)))),
        }
    }

    /// No other keys than these may stand in it.
    fn refuse_others(&self, known: &[&str]) -> Result<()> {
        for (key, _) in self.table {
            let name = key.get_ref().as_ref();
            if !known.contains(&name) {
                let what = format!("unknown key `{}` in `[{}]`", shown(name), shown(self.name));
                let error = self.file.at(&key.span(), &what);
                let near = hint_for_name(name, known.iter().copied());
                return Err(near.into_iter().fold(error, Error::hint).hint(BY_HAND));
            }
        }
        Ok(())
    }

    fn maybe(&self, key: &str, is_right: impl Fn(&str) -> bool, what: &str) -> Result<Option<String>> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::String(text) if is_right(text) => Ok(Some(text.clone().into_owned())),
            _ => Err(self.file.wrong(&value.span(), &format!("`{key}` must be {what}"))),
        }
    }

    fn text(&self, key: &str, is_right: impl Fn(&str) -> bool, what: &str) -> Result<String> {
        self.maybe(key, is_right, what)?.ok_or_else(|| self.lacks(key))
    }

    fn lacks(&self, key: &str) -> Error {
        self.file.wrong(&self.span, &format!("`[{}]` has no `{key}`", shown(self.name)))
    }

    fn number<T: TryFrom<i64>>(&self, key: &str) -> Result<T> {
        let value = self.table.get(key).ok_or_else(|| self.lacks(key))?;
        integer(value)
            .and_then(|n| T::try_from(n).ok())
            .ok_or_else(|| self.file.wrong(&value.span(), &format!("`{key}` must be a number")))
    }

    fn section(&self) -> Result<Section> {
        const KEYS: [&str; 10] = [
            "shell",
            "flake-lock",
            "derivation",
            "output",
            "output-from",
            "nix",
            "fingerprint",
            "size",
            "paths",
            "packages",
        ];
        self.refuse_others(&KEYS)?;
        let is_plain = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
        let is_output = |text: &str| is_store_path(text) && !text.ends_with(".drv");
        Ok(Section {
            shell: self.text("shell", is_plain, "an installable")?,
            flake_lock: self.maybe("flake-lock", is_hash, "`sha256:` and 64 hexadecimal digits")?,
            derivation: self.text(
                "derivation",
                |t| is_store_path(t) && t.ends_with(".drv"),
                "a derivation's store path",
            )?,
            output: self.text("output", is_output, "a store path")?,
            output_from: self.text("output-from", is_plain, "the name and version of a Nix")?,
            nix: self.maybe("nix", is_output, "a store path")?,
            fingerprint: Fingerprint(self.text("fingerprint", is_sha256, "64 hexadecimal digits")?),
            size: self.number("size")?,
            paths: self.number("paths")?,
            packages: self.packages()?,
        })
    }

    fn packages(&self) -> Result<BTreeMap<String, Package>> {
        let mut packages = BTreeMap::new();
        let Some(value) = self.table.get("packages") else { return Ok(packages) };
        let all = self.sub("packages", &value.span(), value)?;
        for (key, value) in all.table {
            let name = key.get_ref().as_ref();
            let table = all.sub(name, &key.span(), value)?;
            packages.insert(name.to_owned(), table.package()?);
        }
        Ok(packages)
    }

    fn package(&self) -> Result<Package> {
        self.refuse_others(&["version", "path", "nar-hash", "size"])?;
        let path = self.text("path", is_store_path, "a store path")?;
        let version = parse_name(&path).version;
        let is_version = |text: &str| version.as_deref() == Some(text);
        let found = self.maybe("version", is_version, "that of its `path`")?;
        if found != version {
            return Err(self.lacks("version"));
        }
        let hash = self.text("nar-hash", is_hash, "`sha256:` and 64 hexadecimal digits")?;
        Ok(Package {
            version,
            path,
            nar_hash: hash.trim_start_matches("sha256:").to_owned(),
            size: self.number("size")?,
        })
    }
}

/// `sha256:` and 64 hexadecimal digits.
fn is_hash(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(is_sha256)
}

fn integer(value: &Spanned<DeValue<'_>>) -> Option<i64> {
    match value.get_ref() {
        DeValue::Integer(n) => i64::from_str_radix(n.as_str(), n.radix()).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::tests::{arbitrary_section, section};
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Lock> {
        parse_lock(text, Path::new("devbox.lock"))
    }

    fn good() -> String {
        Lock { sections: [(System::X86_64Linux, section())].into() }.render()
    }

    #[test]
    fn every_slip_has_its_place_its_line_and_a_way_out() {
        let edits = [
            ("version = 1", "version = 2"),
            ("version = 1", "version = \"1\""),
            ("version = 1\n", ""),
            ("size = 12", "sise = 12"),
            ("size = 12", "size = -1"),
            ("size = 12", "size = many"),
            ("paths = 3", "path = 3"),
            ("[x86_64-linux]", "[x86_64-darwin]"),
            ("fingerprint = \"7", "fingerprint = \"g"),
            (".drv\"", "\""),
            ("2.8.0\"\npath", "2.9.0\"\npath"),
            ("nar-hash = \"sha256:", "nar-hash = \""),
            ("shell = \".#default\"\n", ""),
            ("[x86_64-linux.packages.torch]", "[x86_64-linux.package.torch]"),
            ("\nshell", "\n<<<<<<< HEAD\nshell"),
        ];
        let shown: Vec<String> = edits
            .iter()
            .map(|(from, to)| {
                let text = good().replacen(from, to, 1);
                assert_ne!(text, good(), "{from}");
                let error = parse(&text).unwrap_err();
                assert_eq!(error.kind(), Kind::Usage);
                assert!(!error.hints().is_empty());
                crate::ui::render_error(&error, false)
            })
            .collect();
        insta::assert_snapshot!(shown.join("\n"));
    }

    proptest! {
        #[test]
        fn a_lock_goes_round(one in arbitrary_section(), two in arbitrary_section()) {
            let lock = Lock { sections: [(System::X86_64Linux, one), (System::Aarch64Linux, two)].into() };
            prop_assert_eq!(parse(&lock.render()).unwrap(), lock);
        }

        #[test]
        fn no_text_panics(text in "(.|\n){0,200}", at in 0usize..3000, cut in 0usize..40) {
            drop(parse(&text));
            let mut damaged = good();
            let at = at % damaged.len();
            damaged.replace_range(at..(at + cut).min(damaged.len()), &text);
            drop(parse(&damaged));
        }
    }
}
