//! Presets: which machines would do. Built in, changed key by key in every layer, extending one another.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::config::duration::Timespan;
use crate::config::keys::{Fallback, PRESET_KEYS, PRESETS, Value, find_preset_key};
use crate::config::layer::{Layer, Origin, at, path_of};
use crate::config::nearest::hint_for_preset;
use crate::error::{Error, Kind, Result};
use crate::names::{System, VolumeName, shown};

/// A preset, with all that it takes from those it extends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preset {
    /// Its name.
    pub name: String,
    /// The one it extends.
    pub extends: Option<String>,
    /// Names of instance types in order of preference; a `*` at the end stands for any rest.
    pub instance_types: Vec<String>,
    /// The cheapest first, instead of the order given.
    pub by_price: bool,
    /// Regions in order of preference; empty: wherever there is a volume.
    pub regions: Vec<String>,
    /// Volumes in order of preference; empty: `volume.name`.
    pub volumes: Vec<VolumeName>,
    /// The family of the image.
    pub image_family: String,
    /// What it runs, where the name of the instance type tells it wrong.
    pub system: Option<System>,
    /// How long ssh may take to answer; nothing: `box.boot-timeout`.
    pub boot_timeout: Option<Duration>,
    /// Whether devbox comes with it.
    pub built_in: bool,
}

/// Name, instance types, order, boot time-out. Machines with eight GPUs take 10 to 15 minutes (lambda-cloud.md).
const BUILT_IN: [(&str, &str, &str, &str); 6] = [
    ("gh200", "gpu_1x_gh200", "preference", ""),
    ("h100", "gpu_1x_h100_sxm5 gpu_1x_h100_pcie gpu_1x_h100*", "preference", ""),
    ("8xh100", "gpu_8x_h100_sxm5 gpu_8x_h100*", "preference", "25min"),
    ("a100", "gpu_1x_a100_sxm4 gpu_1x_a100*", "preference", ""),
    ("8xa100", "gpu_8x_a100_80gb_sxm4 gpu_8x_a100*", "preference", "25min"),
    ("cheapest", "gpu_1x_*", "price", ""),
];

/// What one preset itself says, and who said it: by the key's name.
type Own = BTreeMap<&'static str, (Value, Origin)>;

/// The names of those that devbox comes with.
pub(super) fn built_in_names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, ..)| *name)
}

fn built_in() -> Result<BTreeMap<String, Own>> {
    let mut all = BTreeMap::new();
    for (name, types, order, timeout) in BUILT_IN {
        let mut own = Own::new();
        for (leaf, text) in [("instance-types", types), ("order", order), ("boot-timeout", timeout)] {
            if let Some(key) = find_preset_key(leaf).filter(|_| !text.is_empty()) {
                own.insert(key.leaf(), (key.parse(text)?, Origin::Default));
            }
        }
        all.insert(name.to_owned(), own);
    }
    Ok(all)
}

/// What somebody set of the presets: dotted path, value, origin. The nearest layer wins.
pub(super) fn settings(layers: &[Layer]) -> Vec<(String, Value, Origin)> {
    let names: BTreeSet<&String> = layers.iter().flat_map(Layer::preset_names).collect();
    let mut all = Vec::new();
    for name in names {
        for key in PRESET_KEYS {
            if let Some((value, origin)) = layers.iter().rev().find_map(|l| l.get_preset(name, key.leaf())) {
                all.push((path_of(Some(name), key), value.clone(), origin.clone()));
            }
        }
    }
    all
}

/// Every preset, whole.
///
/// # Errors
/// [`Kind::Usage`] when one extends what does not exist, or itself.
pub(super) fn resolve(layers: &[Layer]) -> Result<BTreeMap<String, Preset>> {
    let own = own(layers)?;
    own.keys().map(|name| Ok((name.clone(), whole(name, &own)?))).collect()
}

/// Every preset by itself, so that one that is wrong hides no other.
///
/// # Errors
/// When those that devbox comes with can't be read.
pub(super) fn resolve_each(layers: &[Layer]) -> Result<Vec<(String, Result<Preset>)>> {
    let own = own(layers)?;
    Ok(own.keys().map(|name| (name.clone(), whole(name, &own))).collect())
}

/// What is said of each preset, by the nearest that says it.
fn own(layers: &[Layer]) -> Result<BTreeMap<String, Own>> {
    let mut own = built_in()?;
    let names: BTreeSet<&String> = layers.iter().flat_map(Layer::preset_names).collect();
    for name in names {
        let keys = own.entry(name.clone()).or_default();
        for key in PRESET_KEYS {
            if let Some(set) = layers.iter().rev().find_map(|l| l.get_preset(name, key.leaf())) {
                keys.insert(key.leaf(), set.clone());
            }
        }
    }
    Ok(own)
}

/// The preset `name` with what it takes from others.
fn whole(name: &str, all: &BTreeMap<String, Own>) -> Result<Preset> {
    let mut chain = vec![name];
    while let Some((extended, origin)) = chain.last().and_then(|at| all.get(*at)?.get("extends")) {
        let place = origin.place(&format!("{PRESETS}.{}.extends", chain.last().unwrap_or(&name)));
        let extended = extended.to_string();
        let Some((known, _)) = all.get_key_value(&extended) else {
            return Err(hint_for_preset(unknown(&extended, &place), &extended, all.keys()));
        };
        let round = chain.contains(&known.as_str());
        chain.push(known);
        if round {
            let what = format!("{place}: the preset extends itself: {}", chain.join(" → "));
            return Err(Error::new(Kind::Usage, what).hint(
                "leave one `extends` out; what is not set of a preset that devbox comes with stays as it is",
            ));
        }
    }
    let find = |leaf: &str| chain.iter().find_map(|at| Some(&all.get(*at)?.get(leaf)?.0));
    let text = |leaf: &str| {
        find(leaf).map(ToString::to_string).or_else(|| match find_preset_key(leaf)?.fallback {
            Fallback::Text(text) => Some(text.to_owned()),
            Fallback::Found(_) => None,
        })
    };
    let list = |leaf: &str| match find(leaf) {
        Some(Value::Many(items) | Value::Lines(items)) => items.clone(),
        Some(Value::One(item)) => vec![item.clone()],
        None => Vec::new(),
    };
    Ok(Preset {
        name: name.to_owned(),
        extends: chain.get(1).map(|&extended| extended.to_owned()),
        instance_types: list("instance-types"),
        by_price: text("order").as_deref() == Some("price"),
        regions: list("regions"),
        volumes: list("volumes").iter().map(|name| name.parse()).collect::<Result<_>>()?,
        image_family: text("image-family").unwrap_or_default(),
        system: text("system").map(|text| text.parse()).transpose()?,
        boot_timeout: text("boot-timeout")
            .map(|text| text.parse::<Timespan>().map(Timespan::as_duration))
            .transpose()?,
        built_in: built_in_names().any(|built_in| built_in == name),
    })
}

/// The preset that is chosen, by `origin`.
///
/// # Errors
/// [`Kind::Usage`] when there is none of that name, or it names no machine.
pub(super) fn chosen<'a>(
    presets: &'a BTreeMap<String, Preset>,
    name: &str,
    origin: &Origin,
) -> Result<&'a Preset> {
    let place = origin.place("box.preset");
    let any_case =
        || presets.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, preset)| preset);
    let preset = presets
        .get(name)
        .or_else(any_case)
        .ok_or_else(|| hint_for_preset(unknown(name, &place), name, presets.keys()))?;
    if preset.instance_types.is_empty() {
        let none = Error::new(Kind::Usage, format!("the preset `{name}` names no instance types"));
        return Err(at(place, &none).hint(format!(
            "set `instance-types` in `[presets.{name}]`, or let it extend one that has some"
        )));
    }
    Ok(preset)
}

fn unknown(name: &str, place: &str) -> Error {
    Error::new(Kind::Usage, format!("{place}: there is no preset `{}`", shown(name)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::layer::{Trust, parse_file};

    fn layer(text: &str) -> Layer {
        parse_file(text, Path::new("devbox.toml"), Trust::Project).unwrap()
    }

    #[test]
    fn those_that_devbox_comes_with() {
        let all = resolve(&[]).unwrap();
        assert_eq!(all.keys().collect::<Vec<_>>(), ["8xa100", "8xh100", "a100", "cheapest", "gh200", "h100"]);
        assert_eq!(all["gh200"].instance_types, ["gpu_1x_gh200"]);
        assert_eq!(all["8xh100"].boot_timeout, Some(Duration::from_secs(1500)));
        assert!(all["cheapest"].by_price && all["cheapest"].built_in);
        assert!(all.values().all(|p| p.image_family == "lambda-stack-24-04"));
    }

    #[test]
    fn one_key_of_a_built_in_can_be_changed_and_the_nearer_layer_wins() {
        let far = layer("[presets.gh200]\nregions = ['a']\nsystem = 'x86_64-linux'");
        let near = layer("[presets.gh200]\nregions = ['b', 'c']");
        let gh200 = resolve(&[far, near]).unwrap().remove("gh200").unwrap();
        assert_eq!(gh200.regions, ["b", "c"]);
        assert_eq!(gh200.system, Some(System::X86_64Linux));
        assert_eq!(gh200.instance_types, ["gpu_1x_gh200"]);
    }

    #[test]
    fn presets_extend_one_another_but_not_themselves() {
        let all = resolve(&[layer("[presets.train]\nextends = '8xh100'\nvolumes = ['data', 'data-west']")])
            .unwrap();
        let train = chosen(&all, "train", &Origin::Default).unwrap();
        assert_eq!(train.boot_timeout, Some(Duration::from_secs(1500)));
        assert_eq!(train.volumes.len(), 2);
        assert!(!train.built_in);
        let refused = |text: &str| resolve(&[layer(text)]).unwrap_err();
        let error = refused("[presets.a]\nextends = 'b'\n[presets.b]\nextends = 'a'");
        assert_eq!(
            error.to_string(),
            "devbox.toml:4:1: `presets.b.extends`: the preset extends itself: a → b → a"
        );
        let error = refused("[presets.gh200]\nextends = 'gh200'");
        assert!(error.message().ends_with("extends itself: gh200 → gh200"), "{error}");
        let error = refused("[presets.a]\nextends = 'gh20'");
        assert_eq!(error.to_string(), "devbox.toml:2:1: `presets.a.extends`: there is no preset `gh20`");
        assert_eq!(error.hints()[0], "did you mean `gh200`?");
        assert!(error.hints()[1].starts_with("the presets are `8xa100`"), "{:?}", error.hints());
    }

    #[test]
    fn a_choice_that_can_not_be_is_refused() {
        let all = resolve(&[layer("[presets.empty]")]).unwrap();
        let refused = |name, origin| chosen(&all, name, &origin).unwrap_err();
        let error = refused("gh20", Origin::Flag { flag: "--preset" });
        assert_eq!(error.to_string(), "`--preset`: there is no preset `gh20`");
        assert_eq!(error.hints()[0], "did you mean `gh200`?");
        let error = refused("empty", Origin::Env { variable: "DEVBOX_BOX_PRESET".into() });
        assert_eq!(error.to_string(), "`DEVBOX_BOX_PRESET`: the preset `empty` names no instance types");
    }

    #[test]
    fn mistakes_in_a_preset_are_named_with_their_place() {
        let wrong = |text: &str| parse_file(text, Path::new("devbox.toml"), Trust::Project).unwrap_err();
        let error = wrong("[presets.a]\nregion = ['x']");
        assert!(error.message().starts_with("devbox.toml:2:1: unknown key `presets.a.region`"), "{error}");
        assert_eq!(error.hints(), ["did you mean `regions`?"]);
        assert!(wrong("[presets.'A b']\nregions = []").message().contains("`A b` can't be a preset name"));
        assert!(wrong("presets.a = 1").message().contains("is a table"));
        assert!(
            wrong("[presets.a]\nregions = 'x'")
                .message()
                .contains("`presets.a.regions` takes a list of regions")
        );
        let error = wrong("[presets.a]\nsystem = 'x'");
        assert_eq!(error.message(), "devbox.toml:2:10: `presets.a.system`: `x` is not known");
        assert_eq!(wrong("[preset.a]\nregions = []").hints(), ["did you mean `[presets.NAME]`?"]);
        assert_eq!(wrong("presets = 1").hints(), ["write `[presets.NAME]`, and its keys on the lines below"]);
        assert_eq!(
            wrong("[box]\nimage-family = 'x'").hints(),
            ["`image-family` belongs to `[presets.NAME]`"]
        );
    }
}
