//! What somebody meant who wrote a key that does not exist.

use crate::config::keys::{KEYS, Key, PRESET_KEYS, PRESETS, find, tables};
use crate::config::layer::of_preset;
use crate::error::Error;
use crate::names::shown;

/// Longer names are nobody's slip, and comparing them would cost.
const LONGEST: usize = 64;

/// `did you mean …?`, where one of the names is near.
pub(crate) fn hint_for_name<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    nearest(name, known).map(|near| format!("did you mean `{near}`?"))
}

/// The candidate nearest to `name`, where it is near enough for a slip. One that has all of its
/// words is nearer than any other: `size` is short for `store-size`, not a slip for `name`.
fn nearest<T: AsRef<str>>(name: &str, candidates: impl Iterator<Item = T>) -> Option<T> {
    if name.len() > LONGEST {
        return None;
    }
    candidates
        .map(|candidate| {
            let partial = !words(name).all(|word| words(candidate.as_ref()).any(|other| word == other));
            ((partial, strsim::damerau_levenshtein(name, candidate.as_ref())), candidate)
        })
        .filter(|((partial, distance), candidate)| {
            !partial || *distance <= candidate.as_ref().len().max(name.len()) / 3 + 1
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn words(name: &str) -> impl Iterator<Item = &str> {
    name.split(['.', '-', '_'])
}

/// The way out for an unknown key `leaf` in `table` (empty for the top of the file).
pub(super) fn hint_for_key(table: &str, leaf: &str) -> String {
    if ["api-key", "key", "token", "secret"].contains(&leaf) && table == "lambda" {
        return "the key itself is never written here: `api-key-file` names a file that holds it, `api-key-command` a command that prints it"
            .to_owned();
    }
    let siblings = || KEYS.iter().filter(|key| key.table() == table);
    if let Some(near) = nearest(leaf, siblings().map(Key::leaf)) {
        return format!("did you mean `{near}`?");
    }
    let all = || KEYS.iter().chain(PRESET_KEYS);
    if let Some(key) = all().find(|key| key.leaf() == leaf || key.path == leaf) {
        return match key.table() {
            "" => format!("`{}` belongs at the top of the file, before any `[table]`", key.leaf()),
            table => format!("`{}` belongs to `[{table}]`", key.leaf()),
        };
    }
    if table.is_empty()
        && tables().chain([PRESETS]).any(|known| nearest(leaf, std::iter::once(known)).is_some())
    {
        return hint_for_table(leaf);
    }
    if let Some(near) = nearest(leaf, all().map(Key::leaf)) {
        let key = all().find(|key| key.leaf() == near);
        return format!("did you mean `{}`?", key.map_or(near, |key| key.path));
    }
    let known: Vec<_> = siblings().map(|key| format!("`{}`", key.leaf())).collect();
    match table {
        "" => format!("at the top of the file it can be {}", known.join(", ")),
        table => format!("`[{}]` knows {}", shown(table), known.join(", ")),
    }
}

/// The way out for an unknown key of a preset.
pub(super) fn hint_for_preset_key(leaf: &str) -> String {
    match nearest(leaf, PRESET_KEYS.iter().map(Key::leaf)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let known: Vec<_> = PRESET_KEYS.iter().map(|key| format!("`{}`", key.leaf())).collect();
            format!("a preset knows {}", known.join(", "))
        }
    }
}

/// The ways out for an unknown preset.
pub(super) fn hint_for_preset<'a>(
    error: Error,
    name: &str,
    known: impl Iterator<Item = &'a String> + Clone,
) -> Error {
    let error = match nearest(name, known.clone()) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    };
    let known: Vec<_> = known.map(|name| format!("`{name}`")).collect();
    error.hint(format!("the presets are {}", known.join(", ")))
}

/// The way out for an unknown table.
pub(super) fn hint_for_table(name: &str) -> String {
    let written =
        |table| if table == PRESETS { "`[presets.NAME]`".to_owned() } else { format!("`[{table}]`") };
    let known = || tables().chain([PRESETS]);
    match nearest(name, known()) {
        Some(near) => format!("did you mean {}?", written(near)),
        None => format!("the tables are {}", known().map(written).collect::<Vec<_>>().join(", ")),
    }
}

/// The way out for an unknown dotted path, as on a command line.
pub(super) fn hint_for_path(path: &str) -> String {
    if let Some((name, leaf)) = of_preset(path) {
        return match nearest(leaf, PRESET_KEYS.iter().map(Key::leaf)) {
            Some(near) => format!("did you mean `{PRESETS}.{name}.{near}`?"),
            None => hint_for_preset_key(leaf),
        };
    }
    if path.split('.').next() == Some(PRESETS) {
        return format!("name the preset and its key, as in `{PRESETS}.gh200.regions`");
    }
    if let Some(near) = nearest(path, KEYS.iter().map(|key| key.path)) {
        return format!("did you mean `{near}`?");
    }
    let (table, leaf) = path.rsplit_once('.').unwrap_or(("", path));
    match KEYS.iter().find(|key| key.leaf() == leaf) {
        Some(key) => format!("did you mean `{}`?", key.path),
        None if tables().any(|known| known == table) => hint_for_key(table, leaf),
        None => format!("the keys are {}", KEYS.iter().map(|key| key.path).collect::<Vec<_>>().join(", ")),
    }
}

/// The way out for an unknown variable.
pub(super) fn hint_for_variable(name: &str) -> String {
    // Without the prefix, which would make everything look alike.
    let bare = |name: &str| name.trim_start_matches(crate::env::PREFIX).to_owned();
    match nearest(&bare(name), KEYS.iter().map(|key| bare(&key.variable()))) {
        Some(near) => format!("did you mean `{}{near}`?", crate::env::PREFIX),
        None => format!(
            "unset it: what starts with `{}` sets a key, as `{}` does",
            crate::env::PREFIX,
            find("volume.name").map(Key::variable).unwrap_or_default()
        ),
    }
}
