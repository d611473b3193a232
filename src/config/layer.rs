//! One source of settings: a file, the environment, the command line. Nothing here does I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::excerpt::{Position, excerpt, position};
use crate::config::keys::{Key, PRESETS, Scope, Value, find, find_preset_key, tables};
use crate::config::nearest::{
    hint_for_key, hint_for_path, hint_for_preset_key, hint_for_table, hint_for_variable,
};
use crate::error::{Error, Kind, Result};
use crate::names::{PresetName, shown};

/// Who set a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "from", rename_all = "kebab-case")]
pub enum Origin {
    /// Nobody: it is the default.
    Default,
    /// A file.
    File {
        /// Its path.
        path: PathBuf,
        /// Line of the key, from 1.
        line: usize,
        /// Column of the key, in characters from 1.
        column: usize,
    },
    /// An environment variable.
    Env {
        /// Its name.
        variable: String,
    },
    /// The command line.
    Flag {
        /// The option, as it is spelled there.
        flag: &'static str,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.pad("default"),
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Env { variable } => f.pad(variable),
            Self::Flag { flag } => f.pad(flag),
        }
    }
}

impl Origin {
    /// Where the value of the key at `path` stands, as errors begin.
    pub(super) fn place(&self, path: &str) -> String {
        match self {
            Self::Default => format!("`{path}`"),
            Self::File { .. } => format!("{self}: `{path}`"),
            Self::Env { variable } => format!("`{variable}`"),
            Self::Flag { flag } => place_of_flag(flag, path),
        }
    }
}

/// `--set` sets anything, so its errors say what; an option of its own speaks for itself.
fn place_of_flag(flag: &str, path: &str) -> String {
    if flag == "--set" { format!("`{flag} {path}`") } else { format!("`{flag}`") }
}

/// Whose file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The user's own.
    Personal,
    /// A project's, which may be anybody's: personal keys are refused.
    Project,
}

/// What one source sets: checked values, by the key's path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    keys: BTreeMap<&'static str, (Value, Origin)>,
    /// By the preset's name, then by the key's name in its table.
    presets: BTreeMap<String, BTreeMap<&'static str, (Value, Origin)>>,
}

/// A key set on the command line, by an option of its own or by `--set KEY=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Dotted path.
    pub key: String,
    /// The value as text; the items of a list stand between blanks.
    pub value: String,
    /// The option, as it is spelled: `--set`.
    pub flag: &'static str,
}

impl Layer {
    /// What this layer says about a key.
    pub fn get(&self, path: &str) -> Option<&(Value, Origin)> {
        self.keys.get(path)
    }

    /// What this layer says about a key of a preset.
    pub fn get_preset(&self, name: &str, leaf: &str) -> Option<&(Value, Origin)> {
        self.presets.get(name)?.get(leaf)
    }

    /// The presets that this layer says anything about.
    pub fn preset_names(&self) -> impl Iterator<Item = &String> {
        self.presets.keys()
    }

    /// Sets a key, over what was set before.
    pub fn set(&mut self, key: &'static Key, value: Value, origin: Origin) {
        self.keys.insert(key.path, (value, origin));
    }

    /// Says nothing of any preset any more.
    pub(super) fn forget_presets(&mut self) {
        self.presets.clear();
    }

    fn set_in(&mut self, preset: Option<&str>, key: &'static Key, value: Value, origin: Origin) {
        match preset {
            None => self.set(key, value, origin),
            Some(name) => {
                self.presets.entry(name.to_owned()).or_default().insert(key.leaf(), (value, origin));
            }
        }
    }
}

/// Reads a file's text. `path` is for messages and origins only.
///
/// # Errors
/// [`Kind::Usage`] with everything that is wrong at once: the first mistake is the message, the
/// others are details. Each comes as `PATH:LINE:COLUMN` with the line.
pub fn parse_file(text: &str, path: &Path, trust: Trust) -> Result<Layer> {
    let Part { layer, mistakes, .. } = parse_in_part(text, path, trust);
    mistakes.map_or(Ok(layer), Err)
}

/// What is right of a source, and what is not.
#[derive(Default)]
pub(super) struct Part {
    /// What is right.
    pub(super) layer: Layer,
    /// The presets with a mistake in them.
    pub(super) wrong_presets: BTreeSet<String>,
    /// The keys whose values are wrong.
    pub(super) wrong_keys: BTreeSet<&'static str>,
    /// Everything that is wrong.
    pub(super) mistakes: Option<Error>,
    /// Whether it could be read at all.
    pub(super) is_toml: bool,
}

/// The same as [`parse_file`], for those who go on with what is right.
pub(super) fn parse_in_part(text: &str, path: &Path, trust: Trust) -> Part {
    let part = Part::default();
    let mut file = File { text, path, trust, part, mistakes: Vec::new() };
    let root = DeTable::parse(text);
    file.part.is_toml = root.is_ok();
    match root {
        Ok(root) => file.table("", root.get_ref()),
        Err(e) => {
            let span = e.span().unwrap_or(text.len()..text.len());
            let what = format!("this is not TOML: {}", e.message().replace('\n', "; "));
            file.refuse(&span, &Error::new(Kind::Usage, what));
        }
    }
    file.mistakes.sort_by_key(|(at, _)| *at);
    let mistakes = merged(file.mistakes.into_iter().map(|(_, mistake)| mistake));
    Part { mistakes, ..file.part }
}

/// Reads the variables that start with [`crate::env::PREFIX`].
///
/// # Errors
/// [`Kind::Usage`] for unknown variables and bad values, all at once.
pub fn parse_env<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Layer> {
    let Part { layer, mistakes, .. } = parse_env_in_part(variables);
    mistakes.map_or(Ok(layer), Err)
}

/// The same as [`parse_env`], for those who go on with what is right.
pub(super) fn parse_env_in_part<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Part {
    let mut part = Part::default();
    let mut mistakes = Vec::new();
    for (name, text) in variables {
        if crate::env::RESERVED.contains(&name) {
            continue;
        }
        let Some(key) = crate::config::keys::KEYS.iter().find(|key| key.variable() == name) else {
            let unknown = Error::new(Kind::Usage, format!("unknown environment variable `{}`", shown(name)));
            mistakes.push(unknown.hint(hint_for_variable(name)));
            continue;
        };
        match key.parse(text) {
            Ok(value) => part.layer.set(key, value, Origin::Env { variable: name.to_owned() }),
            Err(e) => {
                part.wrong_keys.insert(key.path);
                mistakes.push(at(format!("`{name}`"), &e));
            }
        }
    }
    Part { mistakes: merged(mistakes), ..part }
}

/// Reads what the command line sets. The last word on a key holds.
///
/// # Errors
/// [`Kind::Usage`] for unknown keys and bad values, all at once.
pub fn parse_flags(assignments: &[Assignment]) -> Result<Layer> {
    let mut layer = Layer::default();
    let mut mistakes = Vec::new();
    for Assignment { key: path, value, flag } in assignments {
        let (preset, key) = match of_preset(path) {
            Some((name, leaf)) => {
                if let Err(e) = name.parse::<PresetName>() {
                    mistakes.push(at(place_of_flag(flag, path), &e));
                    continue;
                }
                (Some(name), find_preset_key(leaf))
            }
            None => (None, find(path)),
        };
        let Some(key) = key else {
            let unknown = Error::new(Kind::Usage, format!("`{flag}`: unknown key `{}`", shown(path)));
            mistakes.push(unknown.hint(hint_for_path(path)));
            continue;
        };
        match key.parse(value) {
            Ok(value) => layer.set_in(preset, key, value, Origin::Flag { flag }),
            Err(e) => mistakes.push(at(place_of_flag(flag, path), &e)),
        }
    }
    all_or_error(layer, mistakes)
}

/// The key's dotted path, in the preset where it is one's.
pub(super) fn path_of(preset: Option<&str>, key: &Key) -> String {
    match preset {
        Some(name) => format!("{PRESETS}.{name}.{}", key.leaf()),
        None => key.path.to_owned(),
    }
}

/// The preset and the key's name in its table, of a path such as `presets.gh200.regions`.
pub(super) fn of_preset(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix(PRESETS)?.strip_prefix('.')?.split_once('.')
}

/// Splits the `KEY=VALUE` of `--set`.
///
/// # Errors
/// [`Kind::Usage`] when there is no `=`.
pub fn parse_assignment(text: &str) -> Result<Assignment> {
    let (key, value) = text.split_once('=').ok_or_else(|| {
        Error::new(Kind::Usage, format!("`--set` takes `KEY=VALUE`, not `{}`", shown(text)))
            .hint("for example `--set volume.store-size=100GiB`")
    })?;
    Ok(Assignment { key: key.trim().to_owned(), value: value.trim().to_owned(), flag: "--set" })
}

/// The same error with the place before its message.
pub(super) fn at(place: impl fmt::Display, e: &Error) -> Error {
    let mut moved =
        Error::new(e.kind(), format!("{place}: {}", e.message())).details(e.detail_lines().to_vec());
    for hint in e.hints() {
        moved = moved.hint(hint);
    }
    let cause = e.causes();
    if cause.is_empty() { moved } else { moved.caused_by(cause.join(": ")) }
}

/// The layer, or everything that is wrong.
fn all_or_error(layer: Layer, mistakes: impl IntoIterator<Item = Error>) -> Result<Layer> {
    merged(mistakes).map_or(Ok(layer), Err)
}

/// The first mistake with the others as its details and every way out once.
pub(super) fn merged(mistakes: impl IntoIterator<Item = Error>) -> Option<Error> {
    mistakes.into_iter().reduce(|first, other| {
        let mut first = first.detail(other.message()).details(other.detail_lines().to_vec());
        first = first.details(other.causes().into_iter().map(|cause| format!("caused by: {cause}")));
        for hint in other.hints() {
            if !first.hints().contains(hint) {
                first = first.hint(hint);
            }
        }
        first
    })
}

/// A file being read.
struct File<'a> {
    text: &'a str,
    path: &'a Path,
    trust: Trust,
    part: Part,
    /// With where they stand, since tables are visited in the order of their names.
    mistakes: Vec<(usize, Error)>,
}

impl File<'_> {
    fn mistake(&mut self, span: &Range<usize>, what: impl Into<String>, hint: impl Into<String>) {
        self.refuse(span, &Error::new(Kind::Usage, what).hint(hint));
    }

    /// Notes an error with its place before the message and its line behind it.
    fn refuse(&mut self, span: &Range<usize>, e: &Error) {
        let Position { line, column } = position(self.text, span.start);
        let place = format!("{}:{line}:{column}", self.path.display());
        self.mistakes.push((span.start, at(place, e).details(excerpt(self.text, span))));
    }

    fn table(&mut self, name: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let leaf = key.get_ref().as_ref();
            let path = if name.is_empty() { leaf.to_owned() } else { format!("{name}.{leaf}") };
            // A quoted key may hold a dot; `"volume.name"` is not `volume.name`.
            let known = if leaf.contains('.') { None } else { find(&path) };
            if let Some(known) = known {
                self.value(None, known, &key.span(), value);
            } else if path == PRESETS {
                match value.get_ref() {
                    DeValue::Table(inner) => self.presets(inner),
                    other => self.no_table(&value.span(), PRESETS, "presets.NAME", other),
                }
            } else if tables().any(|table| table == path) && !leaf.contains('.') {
                match value.get_ref() {
                    DeValue::Table(inner) => self.table(&path, inner),
                    other => self.no_table(&value.span(), &path, &path, other),
                }
            } else if name.is_empty() && value.get_ref().is_table() {
                self.mistake(&key.span(), format!("unknown table `[{}]`", shown(leaf)), hint_for_table(leaf));
            } else {
                self.mistake(
                    &key.span(),
                    format!("unknown key `{}`", shown(&path)),
                    hint_for_key(name, leaf),
                );
            }
        }
    }

    fn no_table(&mut self, span: &Range<usize>, path: &str, table: &str, value: &DeValue<'_>) {
        let what = format!("`{path}` is a table, found {}", found(value));
        self.mistake(span, what, format!("write `[{table}]`, and its keys on the lines below"));
    }

    /// `[presets.NAME]`, one table for each.
    fn presets(&mut self, presets: &DeTable<'_>) {
        for (name, preset) in presets {
            let (span, name) = (name.span(), name.get_ref().as_ref());
            if let Err(e) = name.parse::<PresetName>() {
                self.refuse(&span, &e);
                continue;
            }
            let before = self.mistakes.len();
            self.preset(name, preset);
            if self.mistakes.len() > before {
                self.part.wrong_presets.insert(name.to_owned());
            }
        }
    }

    fn preset(&mut self, name: &str, preset: &Spanned<DeValue<'_>>) {
        let path = format!("{PRESETS}.{name}");
        let DeValue::Table(keys) = preset.get_ref() else {
            return self.no_table(&preset.span(), &path, &path, preset.get_ref());
        };
        // It exists, even if it says nothing yet.
        self.part.layer.presets.entry(name.to_owned()).or_default();
        for (leaf, value) in keys {
            match find_preset_key(leaf.get_ref()) {
                Some(key) => self.value(Some(name), key, &leaf.span(), value),
                None => self.mistake(
                    &leaf.span(),
                    format!("unknown key `{path}.{}`", shown(leaf.get_ref())),
                    hint_for_preset_key(leaf.get_ref()),
                ),
            }
        }
    }

    fn value(
        &mut self,
        preset: Option<&str>,
        key: &'static Key,
        span: &Range<usize>,
        value: &Spanned<DeValue<'_>>,
    ) {
        if key.scope == Scope::Personal && self.trust == Trust::Project {
            let e =
                Error::new(Kind::Usage, format!("`{}` is personal, a project's file can't set it", key.path));
            let file =
                "a cloned repository is not trusted with it: write it to `~/.config/devbox/config.toml`";
            return self.refuse(span, &e.hint(format!("{file}, or set `{}`", key.variable())));
        }
        let path = path_of(preset, key);
        let value = match key.shape.is_list() {
            true => self.many(&path, key, value),
            false => self.one(&path, key, value).map(Value::One),
        };
        let Position { line, column } = position(self.text, span.start);
        let origin = Origin::File { path: self.path.to_owned(), line, column };
        match value {
            Some(value) => self.part.layer.set_in(preset, key, value, origin),
            None => drop(self.part.wrong_keys.insert(key.path)),
        }
    }

    /// The items, or nothing and at least one mistake noted.
    fn many(&mut self, path: &str, key: &'static Key, value: &Spanned<DeValue<'_>>) -> Option<Value> {
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type(path, key, value);
            return None;
        };
        // Every item is looked at, so that every mistake is found.
        let items: Vec<_> = items.iter().map(|item| self.one(path, key, item)).collect();
        items.into_iter().collect::<Option<_>>().map(|items| key.list(items))
    }

    /// The checked text, or nothing and the mistake noted.
    fn one(&mut self, path: &str, key: &'static Key, value: &Spanned<DeValue<'_>>) -> Option<String> {
        use crate::config::keys::Shape::{Bool, Count, Factor};
        let number;
        let text: &str = match (value.get_ref(), key.shape) {
            (DeValue::Boolean(truth), Bool) => return Some(truth.to_string()),
            (DeValue::Integer(n), Count(..) | Factor) => {
                number = n.to_string();
                &number
            }
            (DeValue::Float(n), Factor) => {
                number = n.to_string();
                &number
            }
            (DeValue::String(text), shape) if !matches!(shape, Bool) => text,
            _ => {
                self.wrong_type(path, key, value);
                return None;
            }
        };
        match key.shape.check(text) {
            Ok(text) => Some(text),
            Err(e) => {
                self.refuse(&value.span(), &at(format!("`{path}`"), &e));
                None
            }
        }
    }

    fn wrong_type(&mut self, path: &str, key: &'static Key, value: &Spanned<DeValue<'_>>) {
        let what = format!("`{path}` takes {}, found {}", key.shape, found(value.get_ref()));
        self.mistake(&value.span(), what, format!("write for example `{}`", key.sample()));
    }
}

/// A value's type with its article.
fn found(value: &DeValue<'_>) -> String {
    let name = value.type_str();
    let article = if name.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {name}")
}

#[cfg(test)]
#[path = "layer_tests.rs"]
mod tests;
