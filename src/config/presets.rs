//! Presets: which machines would do. Built in, changed key by key in every layer, extending one another.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::config::duration::Timespan;
use crate::config::keys::{Fallback, PRESET_KEYS, PRESETS, Value, find_preset_key};
use crate::config::layer::{Layer, Origin};
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
    ("cheapest", "gpu_1x_* gpu_*", "price", ""),
];

/// What one preset itself says: by the key's name.
type Own = BTreeMap<&'static str, Value>;

fn built_in() -> Result<BTreeMap<String, Own>> {
    let mut all = BTreeMap::new();
    for (name, types, order, timeout) in BUILT_IN {
        let mut own = Own::new();
        for (leaf, text) in [("instance-types", types), ("order", order), ("boot-timeout", timeout)] {
            if let Some(key) = find_preset_key(leaf).filter(|_| !text.is_empty()) {
                own.insert(key.leaf(), key.parse(text)?);
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
                all.push((format!("{PRESETS}.{name}.{}", key.leaf()), value.clone(), origin.clone()));
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
    let mut own = built_in()?;
    let names: BTreeSet<&String> = layers.iter().flat_map(Layer::preset_names).collect();
    for name in names {
        let keys = own.entry(name.clone()).or_default();
        for key in PRESET_KEYS {
            if let Some((value, _)) = layers.iter().rev().find_map(|l| l.get_preset(name, key.leaf())) {
                keys.insert(key.leaf(), value.clone());
            }
        }
    }
    own.keys().map(|name| Ok((name.clone(), whole(name, &own)?))).collect()
}

/// The preset `name` with what it takes from others.
fn whole(name: &str, all: &BTreeMap<String, Own>) -> Result<Preset> {
    let mut chain: Vec<&str> = Vec::new();
    let mut next = Some(name.to_owned());
    while let Some(current) = next {
        let Some((known, own)) = all.get_key_value(&current) else {
            let by = chain.last().copied().unwrap_or(name);
            return Err(Error::new(
                Kind::Usage,
                format!("the preset `{by}` extends `{}`, which does not exist", shown(&current)),
            )
            .hint(hint_for_preset(&current, all.keys())));
        };
        if chain.contains(&known.as_str()) {
            chain.push(known);
            return Err(Error::new(
                Kind::Usage,
                format!("the preset `{name}` extends itself: {}", chain.join(" → ")),
            )
            .hint("take one `extends` out of the chain"));
        }
        chain.push(known);
        next = own.get("extends").map(ToString::to_string);
    }
    let find = |leaf: &str| chain.iter().find_map(|at| all.get(*at)?.get(leaf));
    let text = |leaf: &str| {
        find(leaf).map(ToString::to_string).or_else(|| match find_preset_key(leaf)?.fallback {
            Fallback::Text(text) => Some(text.to_owned()),
            Fallback::Found(_) => None,
        })
    };
    let list = |leaf: &str| match find(leaf) {
        Some(Value::Many(items)) => items.clone(),
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
        built_in: BUILT_IN.iter().any(|(built_in, ..)| *built_in == name),
    })
}

/// The preset that is chosen.
///
/// # Errors
/// [`Kind::Usage`] when there is none of that name, or it names no machine.
pub(super) fn chosen<'a>(presets: &'a BTreeMap<String, Preset>, name: &str) -> Result<&'a Preset> {
    let preset = presets.get(name).ok_or_else(|| {
        Error::new(Kind::Usage, format!("there is no preset `{}`", shown(name)))
            .hint(hint_for_preset(name, presets.keys()))
    })?;
    if preset.instance_types.is_empty() {
        return Err(Error::new(Kind::Usage, format!("the preset `{name}` names no instance types")).hint(
            format!("set `instance-types` in `[presets.{name}]`, or let it extend one that has some"),
        ));
    }
    Ok(preset)
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
        let train = chosen(&all, "train").unwrap();
        assert_eq!(train.boot_timeout, Some(Duration::from_secs(1500)));
        assert_eq!(train.volumes.len(), 2);
        assert!(!train.built_in);
        let error = resolve(&[layer("[presets.a]\nextends = 'b'\n[presets.b]\nextends = 'a'")]).unwrap_err();
        assert_eq!(error.to_string(), "the preset `a` extends itself: a → b → a");
        let error = resolve(&[layer("[presets.a]\nextends = 'gh20'")]).unwrap_err();
        assert_eq!(error.hints(), ["did you mean `gh200`?"]);
    }

    #[test]
    fn a_choice_that_can_not_be_is_refused() {
        let all = resolve(&[layer("[presets.empty]\nregions = ['a']")]).unwrap();
        assert_eq!(chosen(&all, "gh20").unwrap_err().hints(), ["did you mean `gh200`?"]);
        assert!(chosen(&all, "empty").unwrap_err().message().contains("names no instance types"));
    }

    #[test]
    fn mistakes_in_a_preset_are_named_with_their_place() {
        let wrong = |text: &str| parse_file(text, Path::new("devbox.toml"), Trust::Project).unwrap_err();
        let error = wrong("[presets.a]\nregion = ['x']");
        assert!(error.message().starts_with("devbox.toml:2:1: unknown key `presets.a.region`"), "{error}");
        assert_eq!(error.hints(), ["did you mean `regions`?"]);
        assert!(wrong("[presets.'A b']\nregions = []").message().contains("a preset's name"));
        assert!(wrong("presets.a = 1").message().contains("is a table"));
        assert!(wrong("[presets.a]\nregions = 'x'").message().contains("takes a list of regions"));
    }
}
