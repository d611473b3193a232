//! Reading a scenario. What is wrong with one is told with its place: better than wondering about it later.

use std::ops::Range;
use std::path::Path;

use devbox::error::{Error, Kind, OrFail, Result, tick};
use toml::de::{DeTable, DeValue};

use super::catalog;
use super::scenario::{Place, Scenario};

/// Where all is explained.
const MANUAL: &str = "`tests/sim/README.md` has every key";

/// Reads a scenario.
///
/// # Errors
/// When it is none, has a key that there isn't, or names what there isn't.
pub(crate) fn parse(text: &str) -> Result<Scenario> {
    read(text, "scenario")
}

/// Reads the scenario in a file.
///
/// # Errors
/// As [`parse`], or when it can't be read.
pub(crate) fn load(file: &Path) -> Result<Scenario> {
    let text = std::fs::read_to_string(file).or_kind(Kind::Usage, || format!("can't read {}", tick(file)))?;
    read(&text, &file.display().to_string())
}

/// `name` is what to call the text.
fn read(text: &str, name: &str) -> Result<Scenario> {
    let places = places(text);
    let error = |span: Range<usize>, what: String, hint: Option<String>| {
        let (line, column) = position(text, span.start);
        let error = Error::new(Kind::Usage, format!("{name}:{line}:{column}: {what}"));
        let shown = text.lines().nth(line - 1).unwrap_or_default().trim_end();
        let error = error.detail(format!("{line} | {shown}"));
        hint.into_iter().fold(error, Error::hint).hint(MANUAL)
    };
    let scenario: Scenario = toml::from_str(text).map_err(|e| {
        let span = e.span().unwrap_or(0..0);
        let at = places.iter().filter(|(_, place)| place.contains(&span.start));
        let at = at.min_by_key(|(_, place)| place.len()).map(|(path, _)| path.as_str());
        let (what, hint) = told(e.message(), at);
        error(span, what, hint)
    })?;
    match mistake(&scenario) {
        Some(Mistake { path, why, hint }) => {
            let place = places.iter().find(|(known, _)| *known == path);
            Err(error(place.map_or(0..0, |(_, span)| span.clone()), format!("`{path}`: {why}"), hint))
        }
        None => Ok(scenario),
    }
}

/// Line and column of a byte, from 1.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}

/// Every key of a text by its path, `launches[0].outcome`, and where it stands with its value. Empty for what is no TOML.
fn places(text: &str) -> Vec<(String, Range<usize>)> {
    fn of_value(
        path: &str,
        from: usize,
        value: &toml::Spanned<DeValue<'_>>,
        out: &mut Vec<(String, Range<usize>)>,
    ) {
        out.push((path.to_owned(), from..value.span().end.max(from)));
        match value.get_ref() {
            DeValue::Table(table) => of_table(path, table, out),
            DeValue::Array(items) => {
                for (n, item) in items.iter().enumerate() {
                    of_value(&format!("{path}[{n}]"), item.span().start, item, out);
                }
            }
            _ => {}
        }
    }
    fn of_table(path: &str, table: &DeTable<'_>, out: &mut Vec<(String, Range<usize>)>) {
        for (key, value) in table {
            let dot = if path.is_empty() { "" } else { "." };
            of_value(&format!("{path}{dot}{}", key.get_ref()), key.span().start, value, out);
        }
    }
    let mut out = Vec::new();
    if let Ok(root) = DeTable::parse(text) {
        of_table("", root.get_ref(), &mut out);
    }
    out
}

/// What the parser says, in our words: what is wrong at the key `at`, and what may have been meant.
fn told(message: &str, at: Option<&str>) -> (String, Option<String>) {
    let Some(path) = at else { return (message.to_owned(), None) };
    // "unknown field `this`, expected one of `that`, `other`", and the same of a variant.
    let mut words = message.split('`').skip(1).step_by(2);
    let what = match words.next() {
        Some(_) if message.starts_with("unknown field") => format!("unknown key `{path}`"),
        Some(wrong) if message.starts_with("unknown variant") => format!("`{path}`: there is no `{wrong}`"),
        _ => return (format!("`{path}`: {message}"), None),
    };
    let wrong = message.split('`').nth(1).unwrap_or_default();
    (what, did_you_mean(wrong, words))
}

fn did_you_mean<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let known: Vec<_> = known.collect();
    let distance = |word: &&&str| strsim::damerau_levenshtein(wrong, word);
    match known.iter().min_by_key(distance).filter(|near| distance(near) <= wrong.len() / 3 + 1) {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None if known.is_empty() => None,
        None => Some(format!("it can be {}", known.join(", "))),
    }
}

/// What can't be meant.
struct Mistake {
    /// The key.
    path: String,
    why: String,
    hint: Option<String>,
}

/// The first of them, if there is one.
fn mistake(scenario: &Scenario) -> Option<Mistake> {
    region_mistake(scenario).or_else(|| type_mistake(scenario)).or_else(|| time_mistake(scenario))
}

fn region_mistake(scenario: &Scenario) -> Option<Mistake> {
    let mut named: Vec<(String, &str)> = Vec::new();
    for (n, filesystem) in scenario.filesystems.iter().enumerate() {
        named.push((format!("filesystems[{n}].region"), &filesystem.region));
    }
    for (n, spec) in scenario.instance_types.iter().enumerate() {
        let regions = spec.regions.iter().enumerate();
        named.extend(
            regions.map(|(m, region)| (format!("instance-types[{n}].regions[{m}]"), region.as_str())),
        );
    }
    for (kind, places) in &scenario.capacity {
        named.extend(places.iter().enumerate().map(|(n, place)| {
            let inner = if matches!(place, Place::Limited(_)) { ".region" } else { "" };
            (format!("capacity.{kind}[{n}]{inner}"), place.region())
        }));
    }
    for (n, launch) in scenario.launches.iter().enumerate() {
        named.extend(launch.region.as_deref().map(|region| (format!("launches[{n}].region"), region)));
    }
    let (path, name) = named.into_iter().find(|(_, name)| catalog::region(name).is_none())?;
    let why = format!("there is no region `{name}`");
    Some(Mistake { path, why, hint: did_you_mean(name, catalog::REGIONS.iter().map(|(code, _)| *code)) })
}

fn type_mistake(scenario: &Scenario) -> Option<Mistake> {
    let known = catalog::types(scenario);
    let capacity = scenario.capacity.keys().filter(|name| *name != "*");
    let capacity = capacity.map(|name| (format!("capacity.{name}"), name.as_str()));
    let only = scenario.launches.iter().enumerate().filter_map(|(n, launch)| {
        Some((format!("launches[{n}].instance-type"), launch.instance_type.as_deref()?))
    });
    let (path, name) = capacity.chain(only).find(|(_, name)| known.iter().all(|t| t.name != *name))?;
    let why = format!("there is no instance type `{name}`");
    Some(Mistake { path, why, hint: did_you_mean(name, known.iter().map(|t| t.name.as_str())) })
}

fn time_mistake(scenario: &Scenario) -> Option<Mistake> {
    let Scenario { rates, boot, terminate, .. } = scenario;
    let mut times: Vec<(String, f64)> = [
        ("rates.scale", rates.scale),
        ("rates.tolerance", rates.tolerance),
        ("boot.seconds", boot.seconds),
        ("boot.ip-after", boot.ip_after),
        ("boot.mount-delay", boot.mount_delay),
        ("terminate.seconds", terminate.seconds),
        ("terminate.listed", terminate.listed),
    ]
    .map(|(path, time)| (path.to_owned(), time))
    .into();
    let launches = scenario.launches.iter().enumerate();
    times.extend(launches.filter_map(|(n, l)| Some((format!("launches[{n}].after"), l.after?))));
    let faults = scenario.faults.iter().enumerate();
    times.extend(faults.filter_map(|(n, f)| Some((format!("faults[{n}].after"), f.after?))));
    let (path, time) = times.into_iter().find(|(_, time)| !(time.is_finite() && *time >= 0.0))?;
    Some(Mistake { path, why: format!("{time} is no number of 0 or more"), hint: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_meant_is_told_with_its_place() {
        let told = |text: &str| {
            let error = parse(text).unwrap_err();
            let lines = error.detail_lines().iter().cloned();
            let hints = error.hints().iter().map(|hint| format!("hint: {hint}"));
            std::iter::once(error.to_string()).chain(lines).chain(hints).collect::<Vec<_>>().join("\n")
        };
        let all = [
            "rate = 1",
            "odd = false\n[boot]\nsecs = 1",
            "odd = false\nboot = { seconds = \"soon\" }",
            "[[launches]]\noutcome = 'ok'\n\n[[launches]]\noutcome = 'okk'",
            "[[launches]]\noutcome = 'ok'\nafer = 1",
            "[[launches]]\nafter = 1",
            "[capacity]\n# where\n'*' = ['us-east-3', 'us-east-9']",
            "[capacity]\ngpu_1x_gh200 = [{ reg = 'us-east-3' }]",
            "capacity = { gpu_1x_gh201 = [] }",
            "odd = true\nboot = { seconds = -1 }",
            "rates = { scale = nan }",
            "[[faults]]\nkind = '500'\nafter = inf",
            "[boot\nseconds = 1",
        ];
        // The simulator is part of two test programs: the snapshot is the same.
        insta::with_settings!({ prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!("what_can_not_be_meant", all.map(told).join("\n\n"));
        });
        assert_eq!(parse("").unwrap(), Scenario::default());
    }

    #[test]
    fn a_file_is_called_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("bad.toml");
        std::fs::write(&file, "\nbot = 1").unwrap();
        let message = load(&file).unwrap_err().to_string();
        assert_eq!(message, format!("{}:2:1: unknown key `bot`", file.display()));
        assert!(load(&dir.path().join("none")).unwrap_err().to_string().starts_with("can't read `"));
    }
}
