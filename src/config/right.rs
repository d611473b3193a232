//! What is right of a configuration that is wrong somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::config::layer::{
    Assignment, Layer, Part, Trust, merged, parse_env, parse_env_in_part, parse_flags, parse_in_part,
};
use crate::config::{Defaults, Preset, Resolved, no_such_file, presets, project, read_text, resolve};
use crate::error::{Error, Kind, Result, tick};
use crate::paths::Paths;

/// The key that says who is asked, and gets the account's key.
const ADDRESS: &str = "lambda.address";

/// What is right of every source, key by key, and everything that is wrong. A slip in a file must not keep anybody
/// from seeing and ending what they pay for.
///
/// # Errors
/// [`Kind::Usage`] where going on would do something else than was typed: the command line is wrong, or where to ask
/// is.
pub fn load_what_is_right(
    paths: &Paths,
    project_root: Option<&Path>,
    file: Option<&Path>,
    flags: &[Assignment],
) -> Result<(Resolved, Option<Error>)> {
    let typed = parse_flags(flags)?;
    let files = read_in_part(paths, project_root, file)?;
    let ours = crate::env::ours();
    let variables = parse_env_in_part(ours.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let mut layers = Vec::new();
    let mut mistakes = Vec::new();
    for part in files.into_iter().chain([variables]) {
        if part.wrong_keys.contains(ADDRESS) {
            // The key would go to whoever is at the address of another layer.
            return Err(part
                .mistakes
                .unwrap_or_else(|| Error::new(Kind::Usage, format!("`{ADDRESS}` is wrong"))));
        }
        layers.push(part.layer);
        mistakes.extend(part.mistakes);
    }
    layers.push(typed);
    let defaults = Defaults { project_root: None, home: paths.home.clone(), state: paths.state.clone() };
    let resolved = match resolve(&layers, &defaults) {
        Ok(resolved) => resolved,
        // Presets that extend one another in a ring: nothing that runs depends on them.
        Err(e) => {
            mistakes.push(e);
            layers.iter_mut().for_each(Layer::forget_presets);
            resolve(&layers, &defaults)?
        }
    };
    Ok((resolved, merged(mistakes)))
}

/// The files, the user's own first.
///
/// # Errors
/// [`Kind::Usage`] when the one that was named is none.
fn read_in_part(paths: &Paths, project_root: Option<&Path>, file: Option<&Path>) -> Result<Vec<Part>> {
    let user = file.map_or_else(|| paths.config.join("config.toml"), Path::to_owned);
    let files =
        [(Some(user), Trust::Personal), (project_root.map(|r| r.join(project::FILE)), Trust::Project)];
    let mut parts = Vec::new();
    for (path, trust) in files.into_iter().filter_map(|(path, trust)| Some((path?, trust))) {
        match read_text(&path) {
            Ok(Some(text)) => parts.push(parse_in_part(&text, &path, trust)),
            Ok(None) if file == Some(&path) => return Err(no_such_file(&path)),
            Ok(None) => {}
            Err(e) => parts.push(Part { mistakes: Some(e), ..Part::default() }),
        }
    }
    Ok(parts)
}

/// Every preset that is right, and everything that is wrong: one with a slip in it, and those that extend it, hide no
/// other.
pub fn presets_that_are_right(
    paths: &Paths,
    project_root: Option<&Path>,
    file: Option<&Path>,
    flags: &[Assignment],
) -> (BTreeMap<String, Preset>, Result<()>) {
    let user = file.map_or_else(|| paths.config.join("config.toml"), Path::to_owned);
    let (mut layers, mut mistakes, mut wrong) = (Vec::new(), Vec::new(), BTreeSet::new());
    let files =
        [(Some(user), Trust::Personal), (project_root.map(|r| r.join(project::FILE)), Trust::Project)];
    let unread = |path: &Path, e: Error| e.hint(format!("no preset of {} is listed", tick(path)));
    for (path, trust) in files.into_iter().filter_map(|(path, trust)| Some((path?, trust))) {
        match read_text(&path) {
            Ok(Some(text)) => {
                let part = parse_in_part(&text, &path, trust);
                layers.push(part.layer);
                mistakes.extend(part.mistakes.map(|e| if part.is_toml { e } else { unread(&path, e) }));
                wrong.extend(part.wrong_presets);
            }
            Ok(None) if file == Some(&path) => mistakes.push(no_such_file(&path)),
            Ok(None) => {}
            Err(e) => mistakes.push(unread(&path, e)),
        }
    }
    let ours = crate::env::ours();
    mistakes.extend(parse_env(ours.iter().map(|(name, value)| (name.as_str(), value.as_str()))).err());
    match parse_flags(flags) {
        Ok(layer) => layers.push(layer),
        Err(e) => mistakes.push(e),
    }
    let (right, wrong, more) = split(&layers, &wrong);
    mistakes.extend(more);
    let left_out: Vec<_> = wrong.iter().map(|name| format!("`{name}`")).collect();
    let hint = |e: Error| match left_out.is_empty() {
        true => e,
        false => e.hint(format!("left out of the list for that: {}", left_out.join(", "))),
    };
    (right, merged(mistakes).map_or(Ok(()), |e| Err(hint(e))))
}

/// The presets that are right; the names of all that are not, with those that extend one that is in `wrong`; and
/// what else is wrong with them.
fn split(
    layers: &[Layer],
    wrong: &BTreeSet<String>,
) -> (BTreeMap<String, Preset>, BTreeSet<String>, Vec<Error>) {
    let (mut right, mut wrong, mut mistakes) = (BTreeMap::new(), wrong.clone(), Vec::<Error>::new());
    match presets::resolve_each(layers) {
        Ok(all) => {
            for (name, preset) in all {
                match preset {
                    Ok(preset) => drop(right.insert(name, preset)),
                    Err(e) => {
                        wrong.insert(name);
                        // All that extend one another find the same mistake.
                        if !mistakes.iter().any(|m| m.message() == e.message()) {
                            mistakes.push(e);
                        }
                    }
                }
            }
        }
        Err(e) => mistakes.push(e),
    }
    let is_wrong = |name: &str, right: &BTreeMap<String, Preset>, wrong: &BTreeSet<String>| {
        wrong.contains(name)
            || right.get(name).and_then(|p| p.extends.as_ref()).is_some_and(|e| wrong.contains(e))
    };
    // As often as one may extend the next.
    while let Some(name) = right.keys().find(|name| is_wrong(name, &right, &wrong)).cloned() {
        right.remove(&name);
        wrong.insert(name);
    }
    (right, wrong, mistakes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str) -> (Vec<String>, BTreeSet<String>, Vec<String>) {
        let part = parse_in_part(text, Path::new("devbox.toml"), Trust::Project);
        let (right, wrong, more) = split(&[part.layer], &part.wrong_presets);
        let ours = right.into_values().filter(|p| !p.built_in).map(|p| p.name).collect();
        let mistakes = part.mistakes.into_iter().chain(more).map(|e| e.message().to_owned());
        (ours, wrong, mistakes.collect())
    }

    #[test]
    fn a_slip_hides_no_other_preset() {
        let (right, wrong, mistakes) = listed(
            "
            [volume]
            nmae = 'x'
            [presets.good]
            extends = 'h100'
            [presets.gh200]
            region = ['us-east-3']
            [presets.child]
            extends = 'gh200'
            [presets.grandchild]
            extends = 'child'
            [presets.lost]
            extends = 'gh20'
            [presets.round]
            extends = 'trip'
            [presets.trip]
            extends = 'round'",
        );
        assert_eq!(right, ["good"]);
        assert_eq!(
            wrong.iter().map(String::as_str).collect::<Vec<_>>(),
            ["child", "gh200", "grandchild", "lost", "round", "trip"]
        );
        insta::assert_snapshot!(mistakes.join("\n"), @r"
        devbox.toml:3:13: unknown key `volume.nmae`
        devbox.toml:13:13: `presets.lost.extends`: there is no preset `gh20`
        devbox.toml:17:13: `presets.trip.extends`: the preset extends itself: round → trip → round
        devbox.toml:15:13: `presets.round.extends`: the preset extends itself: trip → round → trip
        ");
    }

    #[test]
    fn of_a_file_that_is_no_toml_nothing_is_known() {
        let (right, wrong, mistakes) = listed("[presets.good");
        assert!(right.is_empty() && wrong.is_empty());
        assert!(mistakes[0].starts_with("devbox.toml:1:14: this is not TOML"), "{mistakes:?}");
    }
}
