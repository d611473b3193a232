//! How listings look: cards and tables of the same things. Pure.

use indicatif::BinaryBytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::config::Preset;
use crate::config::duration::Timespan;
use crate::plan::cost::{render_hourly, render_price};
use crate::provider::Instance;
use crate::provider::catalog::{Availability, Filesystem, Image, Region, Rule, Ruleset, SshKey, system_of};
use crate::ui::card::{Card, render_cards};
use crate::ui::render_seconds;
use crate::ui::table::{Column, render_table};

/// Hours in a month, as clouds count them.
const MONTH: u64 = 730;

/// The same things twice: one card and one row each.
#[derive(Debug)]
pub(super) struct Listing {
    cards: Vec<Card>,
    columns: &'static [Column],
    rows: Vec<Vec<String>>,
}

impl Listing {
    fn of<T>(
        items: &[T],
        columns: &'static [Column],
        card: impl Fn(&T) -> Card,
        row: impl Fn(&T) -> Vec<String>,
    ) -> Self {
        Self { cards: items.iter().map(card).collect(), columns, rows: items.iter().map(row).collect() }
    }

    pub(super) fn cards(&self, width: usize) -> String {
        render_cards(&self.cards, width)
    }

    pub(super) fn table(&self, width: usize) -> String {
        render_table(self.columns, &self.rows, width)
    }
}

fn place(region: &Region) -> String {
    if region.description.is_empty() {
        region.name.clone()
    } else {
        format!("{} ({})", region.name, region.description)
    }
}

fn number(n: Option<u64>) -> String {
    n.map_or_else(|| "?".to_owned(), |n| n.to_string())
}

/// `2026-11-25 06:00` of an ISO 8601 time; what is none stays as it came.
fn minute(time: &str) -> String {
    time.parse::<Timestamp>().map_or_else(|_| time.to_owned(), |t| t.strftime("%Y-%m-%d %H:%M").to_string())
}

/// Available first, then by price, then by name.
pub(super) fn sort_instance_types(types: &mut [Availability]) {
    types.sort_by_key(|a| {
        let price = a.instance_type.price_cents_per_hour.unwrap_or(u32::MAX);
        (a.regions_with_capacity_available.is_empty(), price, a.instance_type.name.clone())
    });
}

pub(super) fn instance_types(types: &[Availability]) -> Listing {
    const COLUMNS: &[Column] = &[
        Column::new("NAME"),
        Column::new("USD/H").right(),
        Column::new("GPUS").right(),
        Column::new("VCPUS").right().optional(),
        Column::new("GIB").right().optional(),
        Column::new("SYSTEM").optional(),
        Column::new("FREE IN").flexible(),
        Column::new("WHAT").flexible().optional(),
    ];
    let card = |a: &Availability| {
        let (t, s) = (&a.instance_type, &a.instance_type.specs);
        let mut card = Card::new(&t.name);
        card.line("what", &t.description);
        let gpu = if t.gpu_description.is_empty() { "GPU" } else { &t.gpu_description };
        card.maybe("gpus", s.gpus.map(|n| if n == 0 { "none".to_owned() } else { format!("{n} × {gpu}") }));
        let (memory, disk) = (number(s.memory_gib), number(s.storage_gib));
        card.line("has", format!("{} vCPUs, {memory} GiB memory, {disk} GiB disk", number(s.vcpus)));
        card.line("system", system_of(&t.name).as_str());
        card.line("price", prices(t.price_cents_per_hour));
        if a.regions_with_capacity_available.is_empty() {
            card.line("free in", "none now");
        } else {
            card.lines("free in", a.regions_with_capacity_available.iter().map(place));
        }
        card.extra("", &t.extra).extra("specs.", &s.extra).extra("", &a.extra);
        card
    };
    let row = |a: &Availability| {
        let (t, s) = (&a.instance_type, &a.instance_type.specs);
        let free: Vec<_> = a.regions_with_capacity_available.iter().map(|r| r.name.as_str()).collect();
        vec![
            t.name.clone(),
            t.price_cents_per_hour.map_or_else(|| "?".to_owned(), |c| format!("{}.{:02}", c / 100, c % 100)),
            number(s.gpus),
            number(s.vcpus),
            number(s.memory_gib),
            system_of(&t.name).to_string(),
            if free.is_empty() { "-".to_owned() } else { free.join(", ") },
            t.description.clone(),
        ]
    };
    Listing::of(types, COLUMNS, card, row)
}

/// `1.49 USD an hour, 35.76 a day, 1087.70 a month`.
fn prices(cents: Option<u32>) -> String {
    let Some(cents) = cents else { return "unknown".to_owned() };
    let bare = |cents: u64| format!("{}.{:02}", cents / 100, cents % 100);
    let cents = u64::from(cents);
    format!("{} an hour, {} a day, {} a month", render_price(cents), bare(cents * 24), bare(cents * MONTH))
}

/// By architecture and region, then by family, the newest first.
pub(super) fn sort_images(images: &mut [Image]) {
    images.sort_by(|a, b| {
        let key = |i: &Image| (i.architecture.clone(), i.region.name.clone(), i.family.clone());
        key(a).cmp(&key(b)).then_with(|| b.updated_time.cmp(&a.updated_time))
    });
}

pub(super) fn images(images: &[Image]) -> Listing {
    const COLUMNS: &[Column] = &[
        Column::new("ARCHITECTURE"),
        Column::new("REGION"),
        Column::new("FAMILY").flexible(),
        Column::new("VERSION").flexible().optional(),
        Column::new("UPDATED").optional(),
        Column::new("ID").optional(),
    ];
    let card = |i: &Image| {
        let mut card = Card::new(&format!("{}, {}, {}", i.family, i.architecture, i.region.name));
        card.line("name", &i.name).line("what", &i.description).line("version", &i.version);
        card.line("region", place(&i.region)).line("updated", minute(&i.updated_time));
        card.line("created", minute(&i.created_time)).line("id", &i.id).extra("", &i.extra);
        card
    };
    let row = |i: &Image| {
        vec![
            i.architecture.clone(),
            i.region.name.clone(),
            i.family.clone(),
            i.version.clone(),
            minute(&i.updated_time),
            i.id.clone(),
        ]
    };
    Listing::of(images, COLUMNS, card, row)
}

pub(super) fn filesystems(filesystems: &[Filesystem]) -> Listing {
    const COLUMNS: &[Column] = &[
        Column::new("NAME").flexible(),
        Column::new("REGION"),
        Column::new("SIZE").right(),
        Column::new("IN USE"),
        Column::new("MOUNT POINT").flexible(),
        Column::new("CREATED").optional(),
        Column::new("ID").optional(),
    ];
    let size = |f: &Filesystem| {
        f.bytes_used.map_or_else(|| "unknown".to_owned(), |bytes| BinaryBytes(bytes).to_string())
    };
    let in_use = |f: &Filesystem| if f.is_in_use { "yes" } else { "no" };
    let card = |f: &Filesystem| {
        let mut card = Card::new(&f.name);
        card.line("region", place(&f.region)).line("size", size(f)).line("in use", in_use(f));
        card.line("mount point", &f.mount_point);
        let by = if f.created_by.email.is_empty() { &f.created_by.id } else { &f.created_by.email };
        let by = if by.is_empty() { String::new() } else { format!(" by {by}") };
        card.line("created", format!("{}{by}", minute(&f.created))).line("id", &f.id);
        card.extra("", &f.extra);
        card
    };
    let row = |f: &Filesystem| {
        vec![
            f.name.clone(),
            f.region.name.clone(),
            size(f),
            in_use(f).to_owned(),
            f.mount_point.clone(),
            minute(&f.created),
            f.id.clone(),
        ]
    };
    Listing::of(filesystems, COLUMNS, card, row)
}

pub(super) fn ssh_keys(keys: &[SshKey]) -> Listing {
    const COLUMNS: &[Column] = &[
        Column::new("NAME").flexible(),
        Column::new("TYPE"),
        Column::new("KEY").flexible(),
        Column::new("ID").optional(),
    ];
    /// Type, the end of the key, which tells keys apart, and the comment.
    fn parts(key: &SshKey) -> (String, String, String) {
        let mut words = key.public_key.split_whitespace();
        let kind = words.next().unwrap_or_default().to_owned();
        let body = words.next().unwrap_or_default();
        let skip = body.chars().count().saturating_sub(16);
        let end: String = body.chars().skip(skip).collect();
        (kind, if skip > 0 { format!("…{end}") } else { end }, words.collect::<Vec<_>>().join(" "))
    }
    let card = |k: &SshKey| {
        let (kind, end, comment) = parts(k);
        let mut card = Card::new(&k.name);
        card.line("type", kind).line("key", end).line("comment", comment).line("id", &k.id);
        card.extra("", &k.extra);
        card
    };
    let row = |k: &SshKey| {
        let (kind, end, _) = parts(k);
        vec![k.name.clone(), kind, end, k.id.clone()]
    };
    Listing::of(keys, COLUMNS, card, row)
}

pub(super) fn rulesets(rulesets: &[Ruleset]) -> Listing {
    const COLUMNS: &[Column] = &[
        Column::new("NAME").flexible(),
        Column::new("WHERE"),
        Column::new("INSTANCES").right(),
        Column::new("LETS IN").flexible(),
        Column::new("ID").optional(),
    ];
    let at = |r: &Ruleset| r.region.as_ref().map_or_else(|| "everywhere".to_owned(), |r| r.name.clone());
    let card = |r: &Ruleset| {
        let mut card = Card::new(&r.name);
        card.line("where", r.region.as_ref().map_or_else(|| "everywhere".to_owned(), place));
        if r.rules.is_empty() {
            card.line("lets in", "nothing");
        } else {
            card.lines("lets in", r.rules.iter().map(rule));
        }
        card.line("instances", r.instance_ids.join(", ")).line("created", minute(&r.created));
        card.line("id", &r.id).extra("", &r.extra);
        card
    };
    let row = |r: &Ruleset| {
        let rules: Vec<_> = r.rules.iter().map(rule).collect();
        let instances = if r.region.is_none() { "all".to_owned() } else { r.instance_ids.len().to_string() };
        vec![r.name.clone(), at(r), instances, rules.join("; "), r.id.clone()]
    };
    Listing::of(rulesets, COLUMNS, card, row)
}

/// `tcp 22 from 0.0.0.0/0: Allow SSH from anywhere`.
fn rule(rule: &Rule) -> String {
    let ports = match rule.port_range.as_slice() {
        [from, to] if from == to => format!(" {from}"),
        [from, to] => format!(" {from} to {to}"),
        _ => String::new(),
    };
    let what = if rule.description.is_empty() { String::new() } else { format!(": {}", rule.description) };
    format!("{}{ports} from {}{what}", rule.protocol, rule.source_network)
}

pub(super) fn instances(instances: &[Instance], now: Timestamp) -> Listing {
    const COLUMNS: &[Column] = &[
        Column::new("NAME").flexible(),
        Column::new("STATUS"),
        Column::new("OURS"),
        Column::new("ADDRESS").optional(),
        Column::new("TYPE").flexible().optional(),
        Column::new("REGION").flexible().optional(),
        Column::new("USD/H").right(),
        Column::new("AGE").right().optional(),
        Column::new("ID"),
    ];
    let age = |i: &Instance| {
        #[expect(clippy::cast_precision_loss, reason = "seconds since a launch")]
        i.since.map(|since| render_seconds((now.as_second() - since.as_second()).max(0) as f64))
    };
    let card = |i: &Instance| {
        let mut card = Card::new(&i.id.0);
        card.line("name", &i.name).line("status", i.status.to_string());
        card.maybe("address", i.address.map(|a| a.to_string()));
        card.maybe("type", i.instance_type.as_ref()).maybe("region", i.region.as_ref());
        card.maybe("system", i.system.map(|s| s.to_string()));
        card.line("volumes", i.volumes.join(", "));
        card.maybe(
            "since",
            i.since.map(|since| {
                format!("{}, {} ago", since.strftime("%Y-%m-%d %H:%M:%S UTC"), age(i).unwrap_or_default())
            }),
        );
        card.maybe("price", i.cents_per_hour.map(|cents| render_hourly(Some(cents))));
        card.line(
            "ours",
            match (&i.launch, &i.launched_from) {
                (Some(_), Some(from)) => format!("yes, launched from `{from}`"),
                (Some(_), None) => "yes".to_owned(),
                (None, _) => "no, devbox never touches it".to_owned(),
            },
        );
        card.extra("", &i.extra);
        card
    };
    let row = |i: &Instance| {
        vec![
            i.name.clone(),
            i.status.to_string(),
            if i.launch.is_some() { "yes" } else { "no" }.to_owned(),
            i.address.map_or_else(|| "-".to_owned(), |a| a.to_string()),
            i.instance_type.clone().unwrap_or_else(|| "-".to_owned()),
            i.region.clone().unwrap_or_else(|| "-".to_owned()),
            i.cents_per_hour.map_or_else(|| "?".to_owned(), |c| format!("{}.{:02}", c / 100, c % 100)),
            age(i).unwrap_or_else(|| "?".to_owned()),
            i.id.to_string(),
        ]
    };
    Listing::of(instances, COLUMNS, card, row)
}

pub(super) fn presets(presets: &[Preset]) -> Listing {
    const COLUMNS: &[Column] = &[
        Column::new("NAME"),
        Column::new("INSTANCE TYPES").flexible(),
        Column::new("ORDER"),
        Column::new("REGIONS").flexible().optional(),
        Column::new("VOLUMES").flexible().optional(),
    ];
    let order = |p: &Preset| if p.by_price { "price" } else { "preference" };
    let or = |list: &[String], fallback: &str| {
        if list.is_empty() { fallback.to_owned() } else { list.join(", ") }
    };
    let volumes = |p: &Preset| p.volumes.iter().map(ToString::to_string).collect::<Vec<_>>();
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
    let row = |p: &Preset| {
        vec![
            p.name.clone(),
            or(&p.instance_types, "none"),
            order(p).to_owned(),
            or(&p.regions, "-"),
            or(&volumes(p), "-"),
        ]
    };
    Listing::of(presets, COLUMNS, card, row)
}

fn span(duration: std::time::Duration) -> String {
    Timespan::millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)).to_string()
}

/// A preset as JSON, by the names that a configuration file has.
pub(super) fn preset_document(preset: &Preset) -> Value {
    json!({
        "name": preset.name,
        "extends": preset.extends,
        "instance-types": preset.instance_types,
        "order": if preset.by_price { "price" } else { "preference" },
        "regions": preset.regions,
        "volumes": preset.volumes,
        "image-family": preset.image_family,
        "system": preset.system,
        "boot-timeout": preset.boot_timeout.map(span),
        "built-in": preset.built_in,
    })
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
