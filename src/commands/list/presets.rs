//! `devbox list presets`: what `up --preset` takes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::commands::list::listing::Listing;
use crate::config::Preset;
use crate::config::duration::Timespan;
use crate::ui::card::Card;
use crate::ui::table::{Cell, Column};

const COLUMNS: &[Column] = &[
    Column::new("NAME"),
    Column::new("INSTANCE TYPES").flexible(24),
    Column::new("ORDER").optional(3),
    Column::new("REGIONS").flexible(15).optional(1),
    Column::new("VOLUMES").flexible(10).optional(2),
    Column::new("BUILT IN").spare(4),
];

fn order(preset: &Preset) -> &'static str {
    if preset.by_price { "price" } else { "preference" }
}

fn volumes(preset: &Preset) -> Vec<String> {
    preset.volumes.iter().map(ToString::to_string).collect()
}

fn span(duration: Duration) -> String {
    Timespan::of_duration(duration).to_string()
}

pub(super) fn listing(presets: &[Preset]) -> Listing {
    let or = |list: &[String], fallback: &str| {
        if list.is_empty() { fallback.to_owned() } else { list.join(", ") }
    };
    let card = |p: &Preset| {
        let mut card = Card::new(&p.name);
        card.line("instance types", or(&p.instance_types, "none")).line("order", order(p));
        card.line("regions", or(&p.regions, "wherever a volume lives"));
        card.line("volumes", or(&volumes(p), "that of `volume.name`"));
        card.line("image family", &p.image_family).maybe("system", p.system.map(|s| s.to_string()));
        card.maybe("boot timeout", p.boot_timeout.map(span)).maybe("extends", p.extends.as_ref());
        card.line("from", if p.built_in { "devbox" } else { "the configuration" });
        card
    };
    let row = |p: &Preset| -> Vec<Cell> {
        vec![
            p.name.as_str().into(),
            p.instance_types.clone().into(),
            order(p).into(),
            p.regions.clone().into(),
            volumes(p).into(),
            if p.built_in { "yes" } else { "no" }.into(),
        ]
    };
    Listing::of(presets, card, COLUMNS, row)
}

/// A preset as JSON, by the names that a configuration file has.
pub(super) fn document(preset: &Preset) -> Value {
    json!({
        "name": preset.name,
        "extends": preset.extends,
        "instance-types": preset.instance_types,
        "order": order(preset),
        "regions": preset.regions,
        "volumes": preset.volumes,
        "image-family": preset.image_family,
        "system": preset.system,
        "boot-timeout": preset.boot_timeout.map(span),
        "built-in": preset.built_in,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::layer::{Trust, parse_file};
    use crate::config::{Defaults, resolve};

    #[test]
    fn what_up_takes() {
        let file = "
            [presets.train]
            extends = '8xh100'
            regions = ['us-south-2', 'us-east-1', 'us-west-1']
            volumes = ['data', 'data-west']
            [presets.cpu]
            instance-types = ['cpu_4x_general']
            system = 'x86_64-linux'
            order = 'price'
        ";
        let layer = parse_file(file, std::path::Path::new("devbox.toml"), Trust::Project).unwrap();
        let defaults = Defaults { project_root: None, home: "/h".into(), state: "/s".into() };
        let all: Vec<Preset> = resolve(&[layer], &defaults).unwrap().config.presets.into_values().collect();
        insta::assert_snapshot!(listing(&all).seen());
        let gh200 = all.iter().find(|p| p.name == "gh200").unwrap();
        assert_eq!(document(gh200)["instance-types"], json!(["gpu_1x_gh200"]));
    }
}
